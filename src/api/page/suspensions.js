// Suspensions: what runs, how long still, and a button to end it; what is to come, and what is over.

import { address, h, say, table } from "./dom.js";
import { exact, now, plural, relative, span } from "./words.js";

const ORDER = { InForce: 0, Invalid: 1, Scheduled: 2, Over: 3 };

/** The view; `acts` makes the buttons of one. */
export class Suspensions {
  constructor(acts) {
    this.acts = acts;
    this.current = h("div");
    this.over = h("div");
    this.element = h("div", {}, h("h1", {}, "Suspensions"), this.current,
      h("details", { class: "more" }, h("summary", {}, "Over"), this.over));
    this.refuse = (problem) => this.current.replaceChildren(h("p", { class: "problem" }, problem.message));
  }

  update({ items, continue: more }) {
    const sorted = [...items].sort((left, right) =>
      ORDER[left.state] - ORDER[right.state] || String(left.endsAt ?? "9").localeCompare(String(right.endsAt ?? "9")));
    const [running, over] = [sorted.filter((one) => one.state !== "Over"), sorted.filter((one) => one.state === "Over")];
    // Whoever stands on a button goes on standing on it.
    const focused = document.activeElement?.closest?.("tr[data-key]")?.dataset.key;
    const index = focused ? [...document.activeElement.closest("tr").querySelectorAll("button, a")].indexOf(document.activeElement) : -1;
    this.rows = running.map((one) => ({ one, left: h("span", { class: "left" }) }));
    const rows = this.rows.map(({ one, left }) => this.row(one, left, this.acts(one)));
    this.current.replaceChildren(rows.length > 0 ? this.table("Suspensions in force or to come", rows) : h("p", { class: "empty" }, "Nothing is suspended."));
    this.over.replaceChildren(over.length > 0 ? this.table("Suspensions that are over", over.map((one) => this.row(one, ended(one), ""))) : h("p", { class: "empty" }, "None that still stands."));
    say(this.element.querySelector("summary"), `Over (${over.length})`);
    if (more) this.current.append(h("p", { class: "partial" }, "There are more than are shown; the API lists them all."));
    if (focused && index >= 0) [...this.element.querySelector(`tr[data-key="${CSS.escape(focused)}"]`)?.querySelectorAll("button, a") ?? []][index]?.focus();
    this.tick();
  }

  /** How many hold now. */
  static running({ items }) {
    return items.filter((one) => one.state === "InForce").length;
  }

  table(caption, rows) {
    return table(caption, ["Where", "What", "Why", "State", "Time left", "Acts"], rows, { class: "suspensions" });
  }

  row(one, left, acts) {
    const place = one.namespace ? h("a", { href: address("ns", one.namespace) }, one.namespace) : "cluster";
    const state = { InForce: "in force", Scheduled: "scheduled", Over: "over", Invalid: "cannot be read" }[one.state] ?? one.state;
    return h("tr", { "data-key": `${one.namespace ?? ""}/${one.name}`, class: one.state },
      h("th", { scope: "row" }, place, h("span", { class: "sub" }, one.name)),
      h("td", {}, one.suspend, h("span", { class: "sub" }, about(one))),
      h("td", {}, one.reason, one.ticket && h("span", { class: "sub" }, one.ticket)),
      h("td", {}, h("span", { class: `tag ${one.state}` }, state)),
      h("td", {}, left), h("td", {}, acts));
  }

  /** Lets the time that is left run. */
  tick() {
    for (const { one, left } of this.rows ?? []) {
      const [start, end] = [Date.parse(one.startsAt), Date.parse(one.endsAt)];
      const text = one.state === "Scheduled" ? `begins ${relative(one.startsAt)}`
        : Number.isNaN(end) ? "until it is ended"
        : end <= now() ? "ends now" : span(end - Math.max(now(), start || 0));
      say(left, text);
      const title = one.endsAt ? `until ${exact(one.endsAt)}` : "";
      if (left.title !== title) left.title = title;
    }
  }
}

function ended(one) {
  return one.endsAt ? h("time", { datetime: one.endsAt, title: exact(one.endsAt) }, relative(one.endsAt)) : "";
}

/** Whom it names, in short. */
function about({ suspend, workloads = [], services = [], podSelector, namespaces, namespaceSelector }) {
  if (suspend === "Traffic") {
    return services.map(({ name, versions = [] }) => (versions.length > 0 ? `${name} (${versions.join(", ")})` : name)).join(", ");
  }
  const named = workloads.slice(0, 3).map(({ kind, name = "*" }) => `${kind}/${name}`);
  if (workloads.length > 3) named.push(`${plural(workloads.length - 3, "more", "more")}`);
  if (podSelector && Object.keys(podSelector).length > 0) named.push("pods by their labels");
  if (namespaces?.include) named.push(`namespaces ${namespaces.include.join(", ")}`);
  if (namespaceSelector && Object.keys(namespaceSelector).length > 0) named.push("namespaces by their labels");
  return named.join(", ") || "all of the namespace";
}
