/** A stacked area over time, with a legend in figures and a table that says the same. */

import { count, element } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 170, LEFT = 46, BOTTOM = 20, TOP = 8;
const GAP_S = 4;  // between samples further apart than this nothing is drawn
const WINDOWS_S = [60, 120, 300];
const TABLE_AGES_S = [0, 10, 30, 60, 120, 180, 300];

/**
 * layers: [{ key, label }], drawn from the bottom up; the last may be `isRest`: it fills what is above the others.
 * samples: [{ time_s, <key>: number, total: number }], the oldest first.
 */
export class StackedArea {
  constructor(panel, layers, { minTop = 4 } = {}) {
    this.layers = layers;
    this.minTop = minTop;
    this.samples = [];
    this.svg = svg("svg", { height: HEIGHT, role: "img", "aria-labelledby": panel.querySelector("h3").id });
    this.legend = element("ul", "legend");
    this.table = element("table");
    const details = element("details", "", element("summary", "", "As a table"), this.table);
    panel.append(element("div", "chart", this.svg, this.legend, details));
    details.addEventListener("toggle", () => this.#fillTable());
    this.details = details;
    new ResizeObserver(() => this.#draw()).observe(this.svg);
  }

  update(samples) {
    this.samples = samples;
    this.#draw();
    this.#fillLegend();
    this.#fillTable();
  }

  #draw() {
    const width = this.svg.clientWidth;
    if (!width || !this.samples.length) return;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const now = this.samples.at(-1).time_s, top = this.#top();
    const windowS = WINDOWS_S.find((each) => now - this.samples[0].time_s <= each) ?? WINDOWS_S.at(-1);
    const x = (time_s) => LEFT + (width - LEFT - 1) * (1 - (now - time_s) / windowS);
    const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - Math.min(value, top) / top);
    const nodes = [];
    for (const run of runs(this.samples)) nodes.push(...this.#areas(run, x, y, top));
    this.svg.replaceChildren(...axes(width, top, y, windowS), ...nodes);
  }

  #areas(run, x, y, top) {
    const floors = run.map(() => 0);
    return this.layers.map(({ key, isRest }) => {
      const below = run.map((sample, i) => `${x(sample.time_s).toFixed(1)},${y(floors[i]).toFixed(1)}`);
      run.forEach((sample, i) => { floors[i] = isRest ? top : floors[i] + sample[key]; });
      const above = run.map((sample, i) => `${x(sample.time_s).toFixed(1)},${y(floors[i]).toFixed(1)}`);
      return svg("path", { class: `layer ${key}`, d: `M${above.join("L")}L${below.reverse().join("L")}Z` });
    });
  }

  /** The whole pool, or, where little of it is in use, enough to see that. */
  #top() {
    const stacked = this.layers.filter((layer) => !layer.isRest);
    const used = Math.max(...this.samples.map((sample) => stacked.reduce((sum, { key }) => sum + sample[key], 0)));
    const total = this.samples.at(-1).total ?? Infinity;
    return used > 0.4 * total ? total : Math.min(total, roundUp(Math.max(1.1 * used, this.minTop)));
  }

  #fillLegend() {
    const last = this.samples.at(-1);
    this.legend.replaceChildren(...this.#shownLayers().map(({ key, label }) => (
      element("li", "", element("span", `swatch ${key}`), `${label} `, element("b", "", count(last[key])))
    )));
  }

  #fillTable() {
    if (!this.details.open || !this.samples.length) return;
    const layers = this.#shownLayers(), now = this.samples.at(-1).time_s;
    const head = element("tr", "", column("When"), ...layers.map(({ label }) => column(label, "number")));
    const rows = TABLE_AGES_S.flatMap((age) => {
      const sample = this.samples.findLast((each) => each.time_s <= now - age);
      if (!sample) return [];
      const when = element("th", "", age ? `${age} s ago` : "now");
      when.scope = "row";
      return [element("tr", "", when, ...layers.map(({ key }) => element("td", "number", count(sample[key]))))];
    });
    this.table.replaceChildren(element("thead", "", head), element("tbody", "", ...rows));
  }

  /** All but those that occur seldom and do not occur now. */
  #shownLayers() {
    return this.layers.filter(({ key, isRare }) => !isRare || this.samples.some((sample) => sample[key]));
  }
}

function axes(width, top, y, windowS) {
  const nodes = [];
  for (const value of [0, top / 2, top]) {
    nodes.push(svg("line", { class: "grid", x1: LEFT, x2: width, y1: y(value), y2: y(value) }));
    if (Number.isInteger(value)) {
      nodes.push(text(count(value), { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }));
    }
  }
  const ago = (seconds) => seconds < 60 ? `${seconds} s ago` : `${seconds / 60} min ago`;
  nodes.push(text(ago(windowS), { x: LEFT, y: HEIGHT - 3 }));
  nodes.push(text(ago(windowS / 2), { x: LEFT + (width - LEFT) / 2, y: HEIGHT - 3, "text-anchor": "middle" }));
  nodes.push(text("now", { x: width, y: HEIGHT - 3, "text-anchor": "end" }));
  return nodes;
}

/** The samples in stretches without gaps. */
function runs(samples) {
  const found = [];
  samples.forEach((sample, i) => {
    if (i && sample.time_s - samples[i - 1].time_s <= GAP_S) found.at(-1).push(sample);
    else found.push([sample]);
  });
  return found;
}

/** The next number above that is easy to read, and halves well. */
function roundUp(value) {
  const scale = 10 ** Math.floor(Math.log10(value));
  return [1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10].map((step) => step * scale).find((step) => step >= value);
}

function svg(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function text(content, attributes) {
  const node = svg("text", { class: "axis", ...attributes });
  node.append(content);
  return node;
}

function column(label, className = "") {
  const node = element("th", className, label);
  node.scope = "col";
  return node;
}
