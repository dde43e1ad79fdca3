// How things hang together: services, what routes to them, the workloads behind them, and what is suspended; as a picture and a list.

import { address, h, say, svg, table } from "./dom.js";
import { word } from "./words.js";

const COLUMNS = ["Suspension", "Route", "Service", "Workload"];
const WIDE = 210;
const GAP = 90;
const HIGH = 40;
const DOES = { Selects: "has its pods from", Routes: "routes to", Suspends: "suspends", Writes: "had written" };
/** More nodes than these make no picture that anybody could read. */
const MOST = 400;

/** The view of one namespace, or, of the whole cluster, of what goes from one thing to another. */
export class GraphView {
  constructor(chosen) {
    this.select = h("select", { id: "graph-namespace", onchange: () => chosen(this.select.value || null) });
    this.picture = h("div", { class: "scroll picture", tabindex: 0, role: "region", "aria-label": "The graph as a picture; the list below it tells the same" });
    this.list = h("div");
    this.note = h("p", { class: "partial", hidden: true });
    this.element = h("div", {}, h("h1", {}, "Graph"),
      h("p", { class: "field row" }, h("label", { for: "graph-namespace" }, "Namespace"), this.select),
      h("p", { class: "key" }, COLUMNS.map((is) => h("span", { class: `is ${is}` }, is.toLowerCase()))),
      this.note, this.picture, h("details", { class: "more" }, h("summary", {}, "The same as a list"), this.list));
  }

  refuse(problem) {
    this.note.hidden = true;
    this.picture.replaceChildren(h("p", { class: "problem" }, problem.message));
    this.list.replaceChildren();
  }

  /** Offers namespaces. */
  offer(names, chosen) {
    this.select.replaceChildren(h("option", { value: "" }, "All: what leads from one to another"),
      ...names.map((name) => h("option", { value: name, selected: name === chosen }, name)));
  }

  update({ nodes, edges: told, partial, unread }, namespace) {
    // What an edge leads to may be newer than the nodes.
    const ids = new Set(nodes.map((one) => one.id));
    const edges = told.filter(({ from, to }) => ids.has(from) && ids.has(to));
    this.note.hidden = !partial;
    if (partial) say(this.note, `Not complete: the server does not know these of the cluster: ${unread.join(", ")}.`);
    const shown = drawn(nodes, edges, namespace);
    this.picture.replaceChildren(shown.length === 0 ? h("p", { class: "empty" }, "Nothing leads from one thing to another here.")
      : shown.length > MOST ? h("p", { class: "empty" }, `${shown.length} things are too many for a picture; choose a namespace, or read the list.`)
      : picture(shown, edges, namespace === null));
    this.list.replaceChildren(listed(nodes, edges));
  }
}

/** In one namespace everything; of the cluster only what is tied to something, since the rest is in the overview. */
function drawn(nodes, edges, namespace) {
  const tied = new Set(edges.flatMap(({ from, to }) => [from, to]));
  return nodes.filter((one) => tied.has(one.id) || (namespace !== null && one.is !== "Namespace"));
}

function label(one) {
  const state = one.state ? `, ${word(one.state)}` : one.suspends ? `, ${one.suspends}` : "";
  return `${one.kind} ${one.name}${one.namespace ? ` in ${one.namespace}` : ""}${state}`;
}

function picture(nodes, edges, isOfAll) {
  const columnOf = ({ is }) => (COLUMNS.includes(is) ? is : "Workload");
  const columns = COLUMNS.map((is) => nodes.filter((one) => columnOf(one) === is));
  const used = columns.filter((column) => column.length > 0);
  settle(used, edges);
  const places = new Map();
  used.forEach((column, at) => column.forEach((one, row) => places.set(one.id, { x: 12 + at * (WIDE + GAP), y: 12 + row * (HIGH + 14), at })));
  const high = Math.max(...used.map((column) => column.length)) * (HIGH + 14) + 16;
  const wide = used.length * (WIDE + GAP) - GAP + 24;
  const lines = edges.map((edge) => line(edge, places));
  return svg("svg", { viewBox: `0 0 ${wide} ${high}`, width: wide, height: high, role: "group", "aria-label": "The graph" },
    svg("g", { class: "edges", "aria-hidden": "true" }, lines), svg("g", {}, nodes.map((one) => box(one, places.get(one.id), isOfAll))));
}

/** Puts what belongs together beside each other: each column by the mean place of what it is tied to in the one before. */
function settle(columns, edges) {
  for (let at = columns.length - 2; at >= 0; at -= 1) order(columns[at], columns[at + 1], edges);
  for (let at = 1; at < columns.length; at += 1) order(columns[at], columns[at - 1], edges);
}

function order(column, beside, edges) {
  const place = new Map(beside.map((one, row) => [one.id, row]));
  const sums = new Map();
  for (const { from, to } of edges) {
    for (const [own, other] of [[from, to], [to, from]]) {
      if (!place.has(other)) continue;
      const [sum, count] = sums.get(own) ?? [0, 0];
      sums.set(own, [sum + place.get(other), count + 1]);
    }
  }
  const mean = (one) => { const [sum, count] = sums.get(one.id) ?? [Infinity, 1]; return sum / count; };
  const means = new Map(column.map((one, row) => [one.id, [mean(one), row]]));
  column.sort((left, right) => {
    const [[a, i], [b, j]] = [means.get(left.id), means.get(right.id)];
    return a === b ? i - j : a - b;
  });
}

function line({ from, to, does }, places) {
  const [a, b] = [places.get(from), places.get(to)];
  const isRightward = b.at >= a.at;
  const [x1, x2] = isRightward ? [a.x + WIDE, b.x] : [a.x, b.x + WIDE];
  const [y1, y2] = [a.y + HIGH / 2, b.y + HIGH / 2];
  const bend = (isRightward ? 1 : -1) * Math.max(40, Math.abs(x2 - x1) / 2);
  return svg("path", { class: does, d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}` });
}

function box(one, { x, y }, isOfAll) {
  const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  const [target, second] = {
    Workload: [address("ns", one.namespace ?? "", one.kind, one.name), `${isOfAll ? one.namespace : one.kind}, ${word(one.state)}`],
    Namespace: [address("ns", one.name), "namespace"],
    Suspension: ["#/suspensions", one.suspends],
    Elsewhere: [null, "which is not yours to see"],
  }[one.is] ?? [null, `${one.kind}, ${one.namespace}`];
  const parts = [
    svg("title", {}, label(one)),
    svg("rect", { width: WIDE, height: HIGH, rx: one.is === "Route" ? 18 : 6 }),
    one.state && svg("rect", { class: `side ${one.state}`, width: 5, height: HIGH, rx: 2 }),
    svg("text", { x: 14, y: 17, class: "name" }, cut(one.name, 22)), svg("text", { x: 14, y: 32, class: "kind" }, cut(second ?? "", 31)),
  ];
  const attributes = { class: `node ${one.is}`, transform: `translate(${x} ${y})` };
  if (target === null) return svg("g", { ...attributes, role: "img", "aria-label": label(one) }, parts);
  return svg("a", { ...attributes, href: target }, parts);
}

function listed(nodes, edges) {
  const known = new Map(nodes.map((one) => [one.id, one]));
  const rows = edges.map(({ from, to, does }) => h("tr", {},
    h("th", { scope: "row" }, label(known.get(from))), h("td", {}, DOES[does] ?? does), h("td", {}, label(known.get(to)))));
  return rows.length > 0 ? table("What leads from one thing to another", ["This", "does", "to this"], rows) : h("p", { class: "empty" }, "Nothing leads from one thing to another here.");
}
