/** How things are said and written, and how they are put on the page. */

/** What became of the blocks of a request while its tool ran. */
export const HANDLINGS = {
  preserve: { short: "kept", long: "kept on the device while the tool ran" },
  discard: { short: "freed", long: "freed while the tool ran, computed again after it" },
  swap: { short: "to host", long: "moved to the host while the tool ran, and back after it" },
};

export const STATES = { running: "running", waiting: "waiting", in_call: "in a call" };

export const $ = (id) => document.getElementById(id);

export function element(tag, className = "", ...content) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...content);
  return node;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 0.01) return `${(1000 * seconds).toFixed(1)} ms`;
  if (seconds < 1) return `${(1000 * seconds).toFixed(0)} ms`;
  if (seconds < 100) return `${seconds.toFixed(1)} s`;
  return seconds < 6000 ? `${(seconds / 60).toFixed(1)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { minimumSignificantDigits: 3, maximumSignificantDigits: 3 });

export const count = (number) => whole.format(number);
export const figure = (number) => Math.abs(number) >= 1000 || Number.isInteger(number) ? whole.format(number) : short.format(number);

export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** Says something to whoever listens to the page and does not see it. */
export function announce(text) { $("announcement").textContent = text; }
