/** One question and what comes of it, as it comes: stretches of text and calls, in their order. */

import { HANDLINGS, announce, duration, element, plural } from "./words.js";

export class Turn {
  constructor(question) {
    this.question = question;
    this.said = "";
    this.isWhole = false;  // ended of itself, so that it can be a part of what is sent with the next question
    this.calls = new Map();
    this.text = null;
    this.answer = element("div", "answer");
    this.answer.setAttribute("aria-busy", "true");
    this.pending = element("p", "waiting-dots", "…");
    this.pending.setAttribute("aria-hidden", "true");
    this.facts = element("p", "facts");
    this.node = element("li", "turn", element("h3", "", question), this.answer, this.pending, this.facts);
  }

  addText(text) {
    this.pending.remove();
    if (!this.text) this.answer.append(this.text = element("p", "text"));
    this.text.append(text);
    this.said += text;
  }

  showCall(call) {
    this.pending.remove();
    this.text = null;
    let card = this.calls.get(call.id);
    if (!card) {
      card = new CallCard(call);
      this.calls.set(call.id, card);
      this.answer.append(card.node);
      announce(`Calling ${call.name}`);
    }
    if (call.result !== null) card.end(call);
  }

  showTimings(timings) {
    const facts = [`first token ${duration(timings.ttft_s)}`];
    if (timings.tpot_s) facts.push(`${duration(timings.tpot_s)} a token`);
    if (this.calls.size) facts.push(`in calls ${duration(timings.api_s)}`);
    facts.push(`total ${duration(timings.e2e_s)}`);
    this.#addFacts(facts);
  }

  showUsage(usage) {
    const cached = usage.prompt_tokens_details?.cached_tokens;
    const read = plural(usage.prompt_tokens, "token") + (cached ? ` read, ${cached} of them from cache` : " read");
    this.#addFacts([`${read}, ${usage.completion_tokens} written`]);
  }

  /** Says that something went wrong, or short of the end. */
  fail(message, again = null) {
    this.answer.append(element("p", "error", message));
    if (again) this.#addButton("Try again", again);
    announce(message);
  }

  end() {
    this.pending.remove();
    for (const card of this.calls.values()) card.stop();
    this.answer.setAttribute("aria-busy", "false");
    if (!this.said.trim()) return;
    const button = this.#addButton("Copy", async () => {
      button.textContent = await copy(this.said.trim()) ? "Copied" : "Not copied: the browser forbids it";
      announce(button.textContent);
    });
    if (this.isWhole) announce(this.said.trim());
  }

  #addFacts(facts) { this.facts.append(...facts.map((fact) => element("span", "", fact))); }

  #addButton(label, act) {
    const button = element("button", "quiet", label);
    button.type = "button";
    button.addEventListener("click", act);
    this.facts.append(button);
    return button;
  }
}

class CallCard {
  constructor(call) {
    this.spinner = element("span", "spinner");
    this.list = element("dl");
    this.node = element("section", "call", element("h4", "", call.name, this.spinner), this.list);
    this.node.setAttribute("aria-label", `Call of the tool ${call.name}`);
    for (const [name, value] of Object.entries(call.arguments)) {
      this.#add(name, typeof value === "string" ? value : JSON.stringify(value), "argument");
    }
    const begun = performance.now();
    this.waited = this.#add("waiting", duration(0), "quiet");
    this.clock = setInterval(() => { this.waited.textContent = duration(Math.floor((performance.now() - begun) / 100) / 10); }, 100);
  }

  end(call) {
    this.stop();
    this.waited.previousSibling.remove();
    this.waited.remove();
    this.node.classList.toggle("failed", call.failed);
    this.#add(call.failed ? "error" : "result", call.result, "result");
    this.#add("waited", duration(call.duration_s), "quiet");
    if (call.handling) this.#add("memory", HANDLINGS[call.handling]?.long ?? call.handling, "quiet");
  }

  stop() {
    clearInterval(this.clock);
    this.spinner.remove();
  }

  #add(term, description, className) {
    const node = element("dd", className, description);
    this.list.append(element("dt", "", term), node);
    return node;
  }
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
