// What policies and suspensions would change, before they are applied; nothing is applied here.

import { address, announce, h, table } from "./dom.js";
import { Problem, ask } from "./server.js";
import { EFFECTS, plural, ruleName } from "./words.js";

const EXAMPLE = `apiVersion: outrigger.dev/v1alpha1
kind: ClusterInjectionPolicy
metadata:
  name: mesh-by-default
spec:
  match:
    namespaces: {exclude: ["legacy-*"]}
  action: Enable
`;

/** The view; its `path` tells where previews are asked for. */
export class Preview {
  constructor() {
    this.text = h("textarea", { id: "proposal", rows: 14, spellcheck: "false", autocomplete: "off", placeholder: EXAMPLE });
    this.text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.form.requestSubmit();
    });
    this.without = h("input", { id: "without", autocomplete: "off", spellcheck: "false", placeholder: "clusterinjectionpolicy/old" });
    this.enforced = h("input", { id: "enforced", type: "checkbox" });
    this.go = h("button", { type: "submit", class: "main" }, "See what would change");
    this.older = h("p", { class: "warning", hidden: true }, "This tells of what stood there before; see again what would change.");
    this.result = h("div", { id: "preview-result", tabindex: -1 });
    this.form = h("form", { class: "preview", onsubmit: (event) => { event.preventDefault(); this.submit(); } },
      h("p", { class: "field" }, h("label", { for: "proposal" }, "Policies and suspensions, in YAML or JSON"), this.text),
      h("p", { class: "field" }, h("label", { for: "without" }, "Without these"), this.without,
        h("small", {}, "KIND/NAME or KIND/NAMESPACE/NAME, separated by commas")),
      h("p", { class: "check" }, this.enforced, h("label", { for: "enforced" }, "Policies in mode Audit as if they were in Enforce")),
      h("p", {}, this.go));
    this.form.addEventListener("input", () => this.compare());
    this.element = h("div", {}, h("h1", {}, "Preview"),
      h("p", {}, "What new pods would get under other policies and suspensions. Nothing is applied here."), this.form, this.older, this.result);
  }

  /** What stands in the form: the query and the body. */
  proposed() {
    const query = new URLSearchParams({ limit: 500, asEnforced: this.enforced.checked });
    if (this.without.value.trim()) query.set("delete", this.without.value.trim());
    return [query.toString(), this.text.value];
  }

  /** Says so where what is told is not of what stands in the form, which can be written in at any time. */
  compare() {
    this.older.hidden = this.asked === undefined || `${this.asked}` === `${this.proposed()}`;
  }

  async submit() {
    if (this.isAsking) return;
    this.wait(true);
    const proposed = this.proposed();
    const [query, body] = proposed;
    try {
      const answer = await ask(`${this.path()}?${query}`, { method: "POST", body });
      this.show(told(answer.body), sentences(answer.body.summary)[0]);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.show([h("p", { class: "problem", role: "alert" }, error.message)]);
    } finally {
      this.asked = proposed;
      this.compare();
      this.wait(false);
    }
  }

  /** Not disabled: that would take the focus away from whoever stands there. */
  wait(isAsking) {
    this.isAsking = isAsking;
    this.go.setAttribute("aria-disabled", isAsking ? "true" : "false");
  }

  show(elements, said) {
    this.result.replaceChildren(...elements);
    if (!this.element.isConnected || said === undefined) return;
    announce(said);
    // Whoever goes on writing is left where they are.
    if (document.activeElement === this.go) this.result.focus({ preventScroll: true });
  }
}

function told({ changes, summary, namespaces, notes, omitted, partial, unread }) {
  const proposal = ({ kind, name, namespace, change }) => h("li", {}, h("b", {}, change.toLowerCase()), ` ${kind} ${namespace ? `${namespace}/` : ""}${name}`);
  return [
    h("h2", {}, "What would change"),
    h("ul", { class: "plain" }, changes.map(proposal)),
    ...sentences(summary).map((sentence) => h("p", {}, sentence)),
    ...notes.map((note) => h("p", { class: "warning" }, note)),
    partial && h("p", { class: "partial" }, `Not complete: the server does not know these of the cluster: ${unread.join(", ")}.`),
    ...namespaces.flatMap(ofNamespace),
    omitted > 0 && h("p", { class: "empty" }, `And ${plural(omitted, "workload")} more; outrigger preview tells of all.`),
  ].filter(Boolean);
}

function sentences({ workloads, changed, otherRule, gaining, losing, unreachable, pods, changedPods }) {
  const counted = (count, what) => (count > 0 ? `${plural(count, "workload")} ${what}` : null);
  return [
    changed === 0 ? `Nothing would change for ${plural(workloads, "workload")}.` : `New pods of ${changed} of ${plural(workloads, "workload")} would be different.`,
    changed > 0 && pods !== undefined && `Of those ${plural(changedPods, "pod")} run, and stay as they are until made anew.`,
    counted(gaining, "would get a sidecar, and get none now."),
    counted(losing, "would no longer get a sidecar."),
    counted(unreachable, "would become unreachable: what is asked for could not be had."),
    counted(otherRule, "would be decided by another rule, to the same end."),
  ].filter(Boolean);
}

function ofNamespace({ namespace, workloads }) {
  const titles = ["Workload", "Pods", "Now", "Then", "Why"];
  return [h("h3", {}, h("a", { href: address("ns", namespace) }, namespace)),
    table(`What would change in ${namespace}`, titles, workloads.map((one) => row(namespace, one)), { class: "preview" })];
}

function row(namespace, { kind, name, pods, before, after }) {
  const gets = ({ action, effect }) => [h("b", {}, action), h("span", { class: "sub" }, [EFFECTS[effect.outcome] ?? effect.outcome, effect.revision].filter(Boolean).join(", "))];
  const hindered = after.effect.outcome === "Unreachable" && h("span", { class: "sub" }, after.effect.reason);
  return h("tr", {},
    h("th", { scope: "row" }, h("a", { href: address("ns", namespace, kind, name) }, name), h("span", { class: "sub" }, kind)),
    h("td", { class: "number" }, pods ?? "?"), h("td", {}, gets(before)), h("td", {}, gets(after)),
    h("td", {}, after.reason, h("span", { class: "sub" }, ruleName(after.rule)), hindered));
}
