// One workload: what its new pods get, what its pods have, and every rule considered with what became of it.

import { address, h } from "./dom.js";
import { Poll } from "./server.js";
import { EFFECTS, OUTCOMES, exact, relative, ruleName, word } from "./words.js";

/** So many rules that do not match are shown at once. */
const FAR = 8;

/** The drawer of one workload; `acts` makes its buttons. */
export class Explanation {
  constructor({ namespace, kind, name }, { acts, closed }) {
    Object.assign(this, { namespace, kind, name });
    this.state = h("p", { class: "standing" });
    this.body = h("div", { class: "body" }, h("p", { class: "waiting" }, "Asking …"));
    this.recent = h("ol", { class: "recent" });
    this.element = h("dialog", { class: "drawer", "aria-labelledby": "explained" },
      h("header", {},
        h("div", {},
          h("h2", { id: "explained", tabindex: -1 }, name),
          h("p", { class: "sub" }, `${kind} in `, h("a", { href: address("ns", namespace) }, namespace))),
        h("button", { type: "button", class: "quiet close", "aria-label": "Close", onclick: () => this.close() }, "×")),
      this.state, acts, this.body,
      h("section", { "aria-labelledby": "recent-title" }, h("h3", { id: "recent-title" }, "Decided lately"), this.recent));
    // The click outside of what it shows closes it.
    this.element.addEventListener("click", (event) => { if (event.target === this.element) this.close(); });
    this.element.addEventListener("close", () => { this.stop(); this.element.remove(); closed(); });
  }

  open() {
    document.body.append(this.element);
    this.element.showModal();
    this.element.querySelector("h2").focus();
    const path = `/api/v1/namespaces/${encodeURIComponent(this.namespace)}`;
    const [kind, name] = [this.kind, this.name].map(encodeURIComponent);
    this.poll = new Poll(`${path}/workloads/${kind}/${name}`, {
      found: (data) => this.show(data),
      refused: (problem) => this.refuse(problem),
    });
    const query = new URLSearchParams({ workload: `${this.kind}/${this.name}`, kind: "Decision", limit: 5 });
    this.lately = new Poll(`${path}/audit?${query}`, {
      found: (data) => this.showRecent(data),
      refused: (problem) => this.recent.replaceChildren(h("li", {}, problem.message)),
    });
  }

  close() { this.element.close(); }

  stop() {
    this.poll?.stop();
    this.lately?.stop();
  }

  refuse(problem) {
    this.state.replaceChildren();
    this.body.replaceChildren(h("p", { class: "problem", role: "alert" }, problem.message));
  }

  show(data) {
    this.state.className = "standing";
    this.state.replaceChildren(h("span", { class: `mark ${data.state}`, "aria-hidden": "true" }),
      h("span", {}, h("b", {}, word(data.state)), data.why ? `: ${data.why}` : ""));
    const opened = this.body.querySelector("details")?.open;
    this.body.replaceChildren(facts(data), patch(data.patch), considered(data.decision.considered), notes(data));
    const details = this.body.querySelector("details");
    if (details && opened) details.open = true;
  }

  showRecent({ items, partial }) {
    const rows = items.map((entry) => h("li", {},
      h("time", { datetime: entry.time, title: exact(entry.time) }, relative(entry.time)), " ",
      h("b", {}, entry.action), ` ${entry.reason}`));
    const none = partial ? "None that this replica has made lately." : "None since the server started.";
    this.recent.replaceChildren(...(rows.length > 0 ? rows : [h("li", { class: "empty" }, none)]));
  }
}

function facts({ decision, effect, running, differing }) {
  const effectBy = [effect.webhook, effect.revision && `revision ${effect.revision}`].filter(Boolean).join(", ");
  const row = (title, ...value) => [h("dt", {}, title), h("dd", {}, value)];
  const pods = differing.slice(0, 20).map((name) => h("li", {}, h("code", {}, name)));
  const more = differing.length > 20 ? h("li", {}, `and ${differing.length - 20} more`) : null;
  return h("section", { "aria-labelledby": "facts" }, h("h3", { id: "facts" }, "What a new pod gets"),
    h("dl", { class: "facts" },
      row("Decision", h("b", {}, decision.action), ` ${decision.reason}`),
      row("Rule", ruleName(decision.rule)),
      decision.until && row("Until", h("time", { datetime: decision.until, title: exact(decision.until) }, relative(decision.until))),
      row("Effect", h("b", {}, EFFECTS[effect.outcome] ?? effect.outcome), ` ${effect.reason}${effectBy && ` (${effectBy})`}`),
      running && row("Running", `${running.withSidecar} of ${running.pods} pods with a sidecar`,
        running.differing ? `, ${running.differing} not as a new one would be` : ""),
      pods.length > 0 && row("Differing", h("ul", { class: "plain" }, pods, more))));
}

function patch(operations) {
  const place = (path) => path.split("/").slice(1).map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  const written = operations.flatMap(({ op, path, value }) => {
    const parts = place(path);
    if (op === "add" && value && typeof value === "object") {
      return Object.entries(value).map(([key, text]) => [`${parts.at(-1).replace(/s$/, "")} ${key}`, text]);
    }
    const name = parts.length === 3 ? `${parts[1].replace(/s$/, "")} ${parts[2]}` : parts.join(" ");
    return [[name, op === "remove" ? null : value]];
  });
  const items = written.map(([name, value]) => h("li", {}, value === null
    ? [h("code", {}, name), " is taken away"] : h("code", {}, `${name}=${value}`)));
  return h("section", { "aria-labelledby": "written" }, h("h3", { id: "written" }, "What is written on it"),
    items.length > 0 ? h("ul", { class: "plain" }, items) : h("p", { class: "empty" }, "Nothing."));
}

function considered(rules) {
  const item = (one) => h("li", { class: `rule ${one.outcome}` },
    h("span", { class: "outcome" }, OUTCOMES[one.outcome] ?? one.outcome),
    h("span", {}, h("b", {}, ruleName(one.rule)), h("span", { class: "reason" }, one.reason)));
  const near = rules.filter((one) => one.outcome !== "NoMatch");
  const far = rules.filter((one) => one.outcome === "NoMatch");
  const isMuch = far.length > FAR;
  const list = h("ol", { class: "rules" }, near.map(item), isMuch ? [] : far.map(item));
  return h("section", { "aria-labelledby": "considered" },
    h("h3", { id: "considered" }, `Every rule considered (${rules.length})`),
    rules.length > 0 ? list : h("p", { class: "empty" }, "No rule has to do with it."),
    isMuch && h("details", {}, h("summary", {}, `${far.length} that do not match`), h("ol", { class: "rules" }, far.map(item))));
}

function notes({ partial, unread }) {
  return partial ? h("p", { class: "partial" }, `Not complete: the server does not know these of the cluster: ${unread.join(", ")}.`) : "";
}
