/** The tables of the live view. On a narrow screen a row of the queue becomes a card; roles keep it a row for screen readers. */

import { HANDLINGS, STATES, count, duration, element, figure } from "./words.js";

/**
 * columns: [{ label, className, cell(row) }]; a cell is text, a node, or null where there is nothing to say.
 * The first column heads its row.
 */
export function table(columns, rows, { className = "", label, empty }) {
  if (!rows.length) return element("p", "empty", empty);
  const head = withRole("tr", "row", ...columns.map(({ label, className = "" }) => {
    const cell = withRole("th", "columnheader", label);
    cell.className = className;
    cell.scope = "col";
    return cell;
  }));
  const body = rows.map((row) => withRole("tr", "row", ...columns.map(({ label, className = "", cell }, i) => {
    const content = cell(row);
    const node = withRole(i ? "td" : "th", i ? "cell" : "rowheader", content ?? "–");
    node.className = content === null ? `${className} none` : className;
    node.dataset.label = label;
    if (!i) node.scope = "row";
    return node;
  })));
  const node = withRole("table", "table", withRole("thead", "rowgroup", head), withRole("tbody", "rowgroup", ...body));
  node.className = className;
  node.setAttribute("aria-label", label);
  return node;
}

export function queueTable(snapshot) {
  const columns = [
    { label: "Request", cell: (row) => row.id.replace(/^request-/, "#") },
    { label: "State", cell: state },
    { label: "Rank", className: "number", cell: rank },
    { label: "Tokens", className: "number", cell: tokens },
    { label: "Context", className: "number", cell: (row) => count(row.context_tokens) },
    { label: "Call", className: "number", cell: call },
    { label: "Memory", cell: handling },
    { label: "Blocks", className: "number", cell: blocks },
    { label: "Age", className: "number", cell: (row) => duration(row.age_s) },
  ];
  return table(columns, snapshot.requests, { className: "cards", label: "Order of service", empty: "No request is being served." });
}

export function callsTable(snapshot) {
  const columns = [
    { label: "Tool", className: "mono", cell: (row) => row.tool },
    { label: "Calls", className: "number", cell: (row) => count(row.num_returned) },
    { label: "Running", className: "number", cell: (row) => count(row.num_running) },
    { label: "Failed", className: "number", cell: (row) => count(row.num_failed) },
    { label: "Mean", className: "number", cell: (row) => row.mean_s === null ? null : duration(row.mean_s) },
    { label: "Kept", className: "number", cell: (row) => count(row.preserve) },
    { label: "Freed", className: "number", cell: (row) => count(row.discard) },
    { label: "To host", className: "number", cell: (row) => count(row.swap) },
  ];
  return table(columns, snapshot.calls, { className: "cards", label: "Calls by tool", empty: "No tool has been called." });
}

export function latenciesTable(snapshot) {
  const names = { ttft_s: "First token", tpot_s: "Each further token", e2e_s: "Whole request" };
  const rows = Object.entries(names).map(([key, name]) => ({ name, ...snapshot.latencies[key] }));
  const columns = [
    { label: "Of", cell: (row) => row.name },
    ...["mean", "p50", "p90", "p99"].map((key) => (
      { label: key, className: "number", cell: (row) => key in row ? duration(row[key]) : null }
    )),
  ];
  const ended = snapshot.num_ended ? rows : [];
  return table(columns, ended, { label: "Latencies", empty: "No request has ended." });
}

function withRole(tag, role, ...content) {
  const node = element(tag, "", ...content);
  node.setAttribute("role", role);
  return node;
}

const soft = (content) => element("span", "soft", content);

function both(first, second) { return element("span", "", first, soft(second)); }

function state(row) {
  const name = row.tool ? `in ${row.tool}` : row.is_clients_call ? "in its client’s call" : STATES[row.state];
  return element("span", "", element("span", `swatch ${row.state}`), row.stage ? `${name}, ${row.stage}` : name);
}

function rank(row) { return row.score === null ? null : figure(row.score); }

function tokens(row) {
  return row.predicted_tokens === null ? count(row.segment_tokens) : both(count(row.segment_tokens), ` of ${count(row.predicted_tokens)}`);
}

function call(row) {
  const predicted = row.predicted_call_s === null ? null : duration(row.predicted_call_s);
  if (row.in_call_s === null) return predicted && soft(predicted);
  return predicted ? both(duration(row.in_call_s), ` of ${predicted}`) : duration(row.in_call_s);
}

function handling(row) {
  if (!row.handling) return null;
  const said = HANDLINGS[row.handling].short;
  return row.state === "in_call" ? said : soft(`${said}, foreseen`);
}

function blocks(row) {
  return row.host_blocks ? both(count(row.device_blocks), ` + ${count(row.host_blocks)}`) : count(row.device_blocks);
}
