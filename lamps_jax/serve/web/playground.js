/** The conversation. */

import { events, request } from "./api.js";
import { askForKey, whyKey } from "./key.js";
import { Turn } from "./turn.js";
import { $, element } from "./words.js";

const EXAMPLES = [
  "What is 48*37?",
  "Who wrote Moby-Dick?",
  "What day of the week is 2030-10-15?",
  "How many years lie between 1500 and the completion of Oath of the Horatii?",
  "In the kitchen there is a ladle. Take the ladle.",
  "Hello!",
];

let running = null;  // an AbortController while an answer comes
let turns = [];
let isFollowUpSettled = false;

export function startPlayground() {
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (running) return running.abort();
    const question = $("question").value.trim();
    if (!question || !settingsHold()) return;
    $("question").value = "";
    ask(question);
  });
  $("question").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!running) $("form").requestSubmit();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && running && !$("key-dialog").open) running.abort();
  });
  $("new-conversation").addEventListener("click", startAnew);
  $("follow-up").addEventListener("change", () => { isFollowUpSettled = true; });
  for (const example of EXAMPLES) {
    const button = element("button", "", example);
    button.type = "button";
    button.addEventListener("click", () => { if (!running && settingsHold()) ask(example); });
    $("examples").append(element("li", "", button));
  }
  $("settings").open = matchMedia("(min-width: 64rem)").matches;
}

/** Ticks that the conversation is sent, but for a model that takes each question by itself, and unless somebody has chosen. */
export function suggestFollowUp(modelName) {
  if (!isFollowUpSettled) $("follow-up").checked = modelName !== "embedded";
  isFollowUpSettled = true;
}

function startAnew() {
  running?.abort();
  turns = [];
  $("turns").replaceChildren();
  $("welcome").hidden = false;
  $("question").focus();
}

/** Whether what the settings say can be sent; otherwise the browser shows what cannot. */
function settingsHold() {
  for (const field of [$("temperature"), $("max-tokens")]) {
    if (field.checkValidity()) continue;
    $("settings").open = true;
    field.reportValidity();
    return false;
  }
  return true;
}

function body(question) {
  const messages = [];
  const system = $("system").value.trim();
  if (system) messages.push({ role: "system", content: system });
  if ($("follow-up").checked) {
    for (const turn of turns.filter((turn) => turn.isWhole)) {
      messages.push({ role: "user", content: turn.question }, { role: "assistant", content: turn.said.trim() });
    }
  }
  messages.push({ role: "user", content: question });
  const asked = { messages, stream: true, stream_options: { include_usage: true }, temperature: $("temperature").valueAsNumber };
  if ($("max-tokens").value) asked.max_tokens = $("max-tokens").valueAsNumber;
  if (!$("tools").checked) asked.tool_choice = "none";
  return asked;
}

async function ask(question) {
  const turn = new Turn(question), controller = running = new AbortController(), asked = body(question);
  turns.push(turn);
  $("welcome").hidden = true;
  $("turns").append(turn.node);
  $("ask").textContent = "Stop";
  $("question").required = false;
  $("question").focus();
  const follow = keepInView(turn);
  try {
    await answer(turn, asked, controller.signal);
  } catch (error) {
    if (error.name === "AbortError") turn.fail("Stopped.");
    else turn.fail(readable(error), () => again(turn));
  } finally {
    turn.end();
    follow.stop();
    running = null;
    $("ask").textContent = "Ask";
    $("question").required = true;
  }
}

/** Shows what comes; where the server wants a key, asks for it and then again. */
async function answer(turn, asked, signal) {
  let response;
  for (;;) {
    try {
      response = await request("v1/chat/completions", {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(asked), signal,
      });
      break;
    } catch (error) {
      if (error.status !== 401 || !await askForKey(whyKey())) throw error;
    }
  }
  for await (const chunk of events(response)) {
    if (chunk.error) throw new Error(chunk.error.message);
    const choice = chunk.choices[0];
    if (choice?.delta.content) turn.addText(choice.delta.content);
    if (chunk.lamps?.call) turn.showCall(chunk.lamps.call);
    if (chunk.lamps?.timings) turn.showTimings(chunk.lamps.timings);
    if (chunk.usage) turn.showUsage(chunk.usage);
    if (choice?.finish_reason === "length") turn.fail("The answer was cut: it has as many tokens as it may.");
    turn.isWhole ||= choice?.finish_reason === "stop";
  }
}

function again(turn) {
  if (running) return;
  turns = turns.filter((other) => other !== turn);
  turn.node.remove();
  ask(turn.question);
}

function readable(error) {
  if (error.code === "context_length_exceeded" && $("follow-up").checked && turns.length > 1) {
    return `That did not work: ${error.message}. Begin a new conversation, or do not send the one so far.`;
  }
  return `That did not work: ${error.message}`;
}

/** Scrolls with what is written, until the reader scrolls away from it. */
function keepInView(turn) {
  let follows = true;
  const end = turn.facts;
  const scroll = () => { if (follows) end.scrollIntoView({ block: "nearest" }); };
  const note = () => { follows = end.getBoundingClientRect().top < innerHeight; };
  const observer = new ResizeObserver(scroll);
  observer.observe(turn.node);
  addEventListener("scroll", note, { passive: true });
  return { stop: () => { scroll(); observer.disconnect(); removeEventListener("scroll", note); } };
}
