// The workloads of all namespaces in a table, in whatever order is wanted.

import { address, arrange, h, say } from "./dom.js";
import { EFFECTS, STATES, ruleName, word } from "./words.js";

const TITLES = [["namespace", "Namespace"], ["name", "Workload"], ["state", "State"], ["action", "Decision"], ["rule", "By"],
  ["effect", "New pods"], ["pods", "Sidecars"]];

export const keyOf = (one) => `${one.namespace}/${one.kind}/${one.name}`;
export const whereTo = (one) => address("ns", one.namespace, one.kind, one.name);
export const sidecars = (one) => (one.actual ? `${one.actual.withSidecar}/${one.actual.pods}` : "–");

/** The table; `isShown` says which of its rows are. */
export class WorkloadTable {
  constructor(isShown) {
    this.isShown = isShown;
    this.rows = new Map();
    this.order = { by: "state", down: false };
    this.body = h("tbody");
    this.titles = h("tr", {}, TITLES.map(([by, title]) =>
      h("th", { scope: "col", "data-by": by }, h("button", { type: "button" }, title))));
    this.titles.addEventListener("click", (event) => this.sort(event.target.closest("th")));
    this.element = h("div", { class: "scroll", hidden: true }, h("table", { class: "workloads" },
      h("caption", { class: "unseen" }, "Workloads, and how they stand"), h("thead", {}, this.titles), this.body));
  }

  /** Shows these; rows are made once, and changed where their workloads have. */
  fill(all) {
    const keys = new Set(all.map(keyOf));
    for (const [key, row] of this.rows) if (!keys.has(key)) { row.element.remove(); this.rows.delete(key); }
    for (const one of all) this.row(one);
    this.arrangeRows();
  }

  /** Hides what is not asked for. */
  sift() {
    for (const row of this.rows.values()) {
      const isHidden = !this.isShown(row.one);
      if (row.element.hidden !== isHidden) row.element.hidden = isHidden;
    }
  }

  focusOn(key) {
    this.rows.get(key)?.element.querySelector("th a")?.focus();
  }

  row(one) {
    const key = keyOf(one);
    let row = this.rows.get(key);
    if (!row) {
      const cells = { action: h("td"), rule: h("td"), effect: h("td"), pods: h("td", { class: "number" }), state: h("td") };
      row = { cells, mark: h("span", { "aria-hidden": "true" }), word: h("span") };
      cells.state.append(row.mark, row.word);
      row.element = h("tr", {},
        h("td", {}, h("a", { href: address("ns", one.namespace) }, one.namespace)),
        h("th", { scope: "row" }, h("a", { href: whereTo(one) }, one.name), " ", h("span", { class: "kind" }, one.kind)),
        cells.state, cells.action, cells.rule, cells.effect, cells.pods);
      this.rows.set(key, row);
    }
    row.one = one;
    if (row.mark.className !== `mark ${one.state}`) row.mark.className = `mark ${one.state}`;
    say(row.word, word(one.state));
    if (row.cells.state.title !== one.why) row.cells.state.title = one.why;
    say(row.cells.action, one.desired.action);
    say(row.cells.rule, ruleName(one.desired.rule));
    say(row.cells.effect, EFFECTS[one.effect.outcome] ?? one.effect.outcome);
    say(row.cells.pods, sidecars(one));
  }

  sort(title) {
    if (!title) return;
    const { by } = title.dataset;
    this.order = { by, down: this.order.by === by && !this.order.down };
    this.arrangeRows();
  }

  arrangeRows() {
    const { by, down } = this.order;
    const worry = Object.keys(STATES);
    const value = {
      namespace: (one) => one.namespace, name: (one) => one.name, action: (one) => one.desired.action,
      rule: (one) => ruleName(one.desired.rule), effect: (one) => one.effect.outcome,
      state: (one) => String(worry.indexOf(one.state)), pods: (one) => String(one.actual?.pods ?? -1).padStart(9, "0"),
    }[by];
    const sorted = [...this.rows.values()].map((row) => ({ row, value: value(row.one), then: keyOf(row.one) }));
    const compare = (left, right) => (left < right ? -1 : left > right ? 1 : 0);
    sorted.sort((left, right) => (compare(left.value, right.value) || compare(left.then, right.then)) * (down ? -1 : 1));
    arrange(this.body, sorted.map(({ row }) => row.element));
    for (const title of this.titles.children) {
      if (title.dataset.by === by) title.setAttribute("aria-sort", down ? "descending" : "ascending");
      else title.removeAttribute("aria-sort");
    }
  }
}
