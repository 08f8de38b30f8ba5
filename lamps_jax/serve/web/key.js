/** The dialog in which a key is given. */

import { key } from "./api.js";
import { $ } from "./words.js";

let whenClosed = [];

/** Asks for a key; true if one was given, or taken away. */
export function askForKey(why = "This server answers only those who have a key.") {
  $("key-button").hidden = false;
  $("key-why").textContent = why;
  $("key").value = key.get();
  if (!$("key-dialog").open) $("key-dialog").showModal();
  return new Promise((resolve) => whenClosed.push(resolve));
}

/** Lets the key be given, or changed, at any time. */
export function offerKey(onChange) {
  $("key-button").addEventListener("click", async () => { if (await askForKey()) onChange(); });
  $("key-button").hidden = !key.get();
  $("key-dialog").addEventListener("close", () => {
    const used = $("key-dialog").returnValue === "use";
    if (used) key.set($("key").value.trim());
    $("key").value = $("key-dialog").returnValue = "";
    const waiting = whenClosed;
    whenClosed = [];
    for (const resolve of waiting) resolve(used);
  });
  $("key").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();  // else the first button of the form is pressed, which cancels
    $("key-dialog").close("use");
  });
}

/** Why a key that was sent was refused, or that none was. */
export const whyKey = () => key.get() ? "The server does not know this key." : "This server answers only those who have a key.";
