/** The live view: what the engine does now, second by second. */

import { events, request } from "./api.js";
import { StackedArea } from "./chart.js";
import { askForKey, whyKey } from "./key.js";
import { callsTable, latenciesTable, queueTable } from "./tables.js";
import { $, count, element } from "./words.js";

const WINDOW_S = 300;
const BLOCKS = [
  { key: "running", label: "running" },
  { key: "waiting", label: "waiting" },
  { key: "in_call", label: "in a call" },
  { key: "other", label: "kept or being copied", isRare: true },
  { key: "cached", label: "cached" },
  { key: "free", label: "free", isRest: true },
];
const REQUESTS = BLOCKS.slice(0, 3);

let charts = null;
let watching = null;  // an AbortController while there is a stream
let isShown = false, isPaused = false;
let seen = [];

$("live-pause").addEventListener("click", () => {
  isPaused = !isPaused;
  $("live-pause").textContent = isPaused ? "Go on" : "Pause";
  say(isPaused ? "Paused." : "");
  watchOrNot();
});

/** Begins to watch, or ceases. */
export function showLive(shown) {
  isShown = shown;
  watchOrNot();
}

function watchOrNot() {
  if (isShown && !isPaused && !watching) watch(watching = new AbortController());
  if ((!isShown || isPaused) && watching) {
    watching.abort();
    watching = null;
  }
}

async function watch(controller) {
  for (let pauseS = 1; !controller.signal.aborted;) {
    try {
      for await (const snapshot of events(await request("live", { signal: controller.signal }))) {
        pauseS = 1;
        show(snapshot);
      }
      say("The stream has ended; trying again.");
    } catch (error) {
      if (error.name === "AbortError") return;
      say(error.message, true);
      if (error.status === 401 && await askForKey(whyKey())) continue;
    }
    await new Promise((resolve) => setTimeout(resolve, 1000 * pauseS));
    pauseS = Math.min(2 * pauseS, 15);
  }
}

function show(snapshot) {
  if (snapshot.status !== "ready") {
    return say(snapshot.status === "loading" ? `Loading: ${snapshot.message}.` : snapshot.message, snapshot.status === "failed");
  }
  say("");
  remember(snapshot);
  describe(snapshot);
  charts ??= {
    device: new StackedArea($("chart-device"), BLOCKS),
    host: new StackedArea($("chart-host"), BLOCKS),
    requests: new StackedArea($("chart-requests"), REQUESTS),
  };
  $("chart-host").hidden = !snapshot.host.total;
  for (const [name, chart] of Object.entries(charts)) {
    chart.update(seen.map(({ time_s, ...parts }) => ({ time_s, ...parts[name] })));
  }
  $("queue").replaceChildren(queueTable(snapshot));
  $("calls").replaceChildren(callsTable(snapshot));
  $("latencies").replaceChildren(latenciesTable(snapshot));
}

function remember({ device, host, running, waiting, in_call }) {
  const time_s = performance.now() / 1000;
  seen.push({ time_s, device, host, requests: { running, waiting, in_call } });
  seen = seen.filter((sample) => sample.time_s > time_s - WINDOW_S);
}

function describe(snapshot) {
  const minutes = `${snapshot.window_s / 60} minutes`;
  $("live-what").replaceChildren(
    element("b", "", snapshot.model), " under the policy ", element("b", "", snapshot.policy), `: ${snapshot.policy_summary}.`,
  );
  const used = snapshot.device.total - snapshot.device.free - snapshot.device.cached;
  $("tiles").replaceChildren(
    ...tile("Running", count(snapshot.running), `of ${count(snapshot.max_num_seqs)}`, "running"),
    ...tile("Waiting", count(snapshot.waiting), "", "waiting"),
    ...tile("In a call", count(snapshot.in_call), "", "in_call"),
    ...tile("Memory held", `${Math.round(100 * used / snapshot.device.total)} %`, `of ${count(snapshot.device.total)} blocks`),
    ...tile("Preempted", count(snapshot.preemptions), "so far"),
    ...tile("Ended", count(snapshot.num_ended), `in ${minutes}`),
  );
  const more = snapshot.num_more ? ` ${count(snapshot.num_more)} more are not shown.` : "";
  $("queue-note").textContent = `Those that run, then those that wait, by rank: ${snapshot.rank_meaning}, least first. Tokens and calls: so far, of what is predicted.${more}`;
  $("latencies-note").textContent = `Of requests that ended in the last ${minutes}.`;
}

function tile(term, value, unit, swatch = "") {
  const dt = element("dt", "", ...(swatch ? [element("span", `swatch ${swatch}`)] : []), term);
  const node = element("div", "", dt, element("dd", "", value, unit ? element("small", "", unit) : ""));
  return [node];
}

function say(text, isBad = false) {
  const state = $("live-state");
  if (state.textContent !== text) state.textContent = text;
  state.className = isBad ? "failed" : "";
}
