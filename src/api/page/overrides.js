// Every override: where it stands, what it asks for, and what becomes of it.

import { address, h, table } from "./dom.js";
import { exact, plural, relative } from "./words.js";

const STATES = { Won: "in force", Refused: "refused", Outranked: "outranked", Ended: "over", PassedOver: "passed over" };

/** The view. */
export class Overrides {
  /** `acts` makes the buttons of an override. */
  constructor(acts) {
    this.acts = acts;
    this.list = h("div");
    this.all = h("input", { type: "checkbox", id: "all-overrides", onchange: () => this.show() });
    this.element = h("div", {}, h("h1", {}, "Overrides"),
      h("p", { class: "check" }, this.all, h("label", { for: "all-overrides" }, "also those that are not in force")), this.list);
    this.refuse = (problem) => this.list.replaceChildren(h("p", { class: "problem" }, problem.message));
  }

  update(data) {
    this.data = data;
    this.show();
  }

  show() {
    if (!this.data) return;
    const { overrides, partial, unread } = this.data;
    const shown = overrides.filter((one) => this.all.checked || one.outcome === "Won");
    const rest = overrides.length - shown.length;
    const none = overrides.length === 0 ? "No override stands." : "No override is in force.";
    this.list.replaceChildren(shown.length > 0
      ? table("Overrides, and what becomes of them", ["Namespace", "Where", "Asks for", "State", "Since", "Until", "Reason", "Acts"], shown.map((one) => row(one, this.acts(one))), { class: "overrides" })
      : h("p", { class: "empty" }, none));
    if (rest > 0) this.list.append(h("p", { class: "empty" }, `${plural(rest, "other")} not in force.`));
    if (partial) this.list.append(h("p", { class: "partial" }, `Not complete: the server does not know these of the cluster: ${unread.join(", ")}.`));
  }
}

function row(one, acts) {
  const { namespace, place, object, key, value, action, reason, since, until, outcome, why, by, workloads } = one;
  const [kind, ...name] = object.split("/");
  const isWorkload = place !== "Namespace" && object !== "";
  const where = isWorkload ? h("a", { href: address("ns", namespace, kind, name.join("/")) }, object) : object || "pods";
  const note = { Namespace: `${plural(workloads, "workload")} of it`, PodTemplate: "on its pod template" }[place];
  return h("tr", {},
    h("td", {}, h("a", { href: address("ns", namespace) }, namespace)),
    h("th", { scope: "row" }, where, h("span", { class: "sub" }, [key, note].filter(Boolean).join(", "))),
    h("td", {}, action ?? `“${value}”`),
    h("td", {}, h("span", { class: `tag ${outcome}` }, STATES[outcome] ?? outcome), outcome !== "Won" && h("span", { class: "sub" }, by ? `by ${by}` : why)),
    h("td", {}, since ? h("time", { datetime: since, title: exact(since) }, relative(since)) : "–"),
    h("td", {}, until ? h("time", { datetime: until, title: exact(until) }, relative(until)) : "–"),
    h("td", {}, reason ?? "–"),
    h("td", {}, acts));
}
