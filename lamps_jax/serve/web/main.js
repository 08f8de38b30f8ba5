/** Which view is shown, and how the server is. */

import { request } from "./api.js";
import { offerKey } from "./key.js";
import { showLive } from "./live.js";
import { startPlayground, suggestFollowUp } from "./playground.js";
import { $ } from "./words.js";

const VIEWS = { "#playground": "view-playground", "#live": "view-live" };
const TITLES = { "#playground": "lamps-jax", "#live": "Live – lamps-jax" };
const READY_S = 15;
let timer = null;

function showView() {
  const hash = VIEWS[location.hash] ? location.hash : "#playground";
  for (const [each, id] of Object.entries(VIEWS)) $(id).hidden = each !== hash;
  for (const link of document.querySelectorAll(".bar nav a")) {
    if (link.hash === hash) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = TITLES[hash];
  watchLive();
}

/** The live view is asked for only while somebody can see it. */
function watchLive() { showLive(location.hash === "#live" && !document.hidden); }

/** Says how the server is; asks often until it is ready, and then now and again. */
async function watchHealth() {
  clearTimeout(timer);
  const [says, state] = await health();
  if ($("status").textContent !== says) $("status").textContent = says;
  $("status").className = state;
  $("ask").disabled = state === "failed" || state === "loading";
  timer = setTimeout(watchHealth, state === "ready" ? 1000 * READY_S : 1000);
}

async function health() {
  try {
    await request("health");
    const models = await (await request("v1/models")).json();
    const name = models.data[0].id;
    suggestFollowUp(name);
    return [`${name} is ready`, "ready"];
  } catch (error) {
    if (error.status === 401) {
      $("key-button").hidden = false;
      return ["needs an API key", "locked"];
    }
    return [error.message, error.code === "loading" ? "loading" : "failed"];
  }
}

$("skip").addEventListener("click", (event) => {
  event.preventDefault();  // the address names the view
  $("main").focus();
});
addEventListener("hashchange", () => { showView(); scrollTo(0, 0); });
document.addEventListener("visibilitychange", watchLive);
offerKey(() => { watchHealth(); showLive(false); watchLive(); });
startPlayground();
showView();
watchHealth();
