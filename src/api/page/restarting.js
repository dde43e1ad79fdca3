// A restart: whom it would roll is told before, and how far it has come while it runs.

import { Act, field, select } from "./dialog.js";
import { h } from "./dom.js";
import { Poll, Problem, ask } from "./server.js";
import { plural } from "./words.js";

export const RESTARTS = "/api/v1/namespaces/{namespace}/restarts";

const WHOM = [["drifted", "Those whose running pods are not as new ones would be"], ["all", "All of the namespace"]];
const ENDS = { Completed: "is complete", Halted: "has halted", Interrupted: "was stopped", Stopped: "could not go on" };

const restartsIn = (namespace) => `/api/v1/namespaces/${encodeURIComponent(namespace)}/restarts`;

/** Opens the dialog, and after it how far the restart has come; `finish` is told what came of it. */
export function restart({ namespace, kind, name }, finish) {
  const whom = select("whom", WHOM, "drifted");
  return new Act({
    title: `Restart ${name ?? `in ${namespace}`}`,
    intro: "One wave after another, past disruption budgets, with your own rights. What does not come up halts it.",
    fields: [!kind && field("Whom", whom)],
    path: restartsIn(namespace),
    body: () => (kind ? { workloads: [{ kind, name }] } : { [whom.value]: true }),
    summary: planned,
    verb: "Restart",
    done: (begun) => (begun?.run ? new Running(namespace, begun, finish).open() : finish("There is nothing to restart.")),
  }).open();
}

function planned({ workloads, skipped, barePods, leftOut, refused }) {
  const named = (one) => `${one.kind} ${one.name}`;
  const list = (title, items) => items.length > 0 && [h("p", {}, title), h("ul", {}, items.slice(0, 20).map((text) => h("li", {}, text)),
    items.length > 20 ? h("li", {}, `and ${items.length - 20} more`) : null)];
  return [
    workloads.length === 0 && h("p", {}, h("b", {}, "Nothing is restarted.")),
    ...(list(`${plural(workloads.length, "workload")} would be restarted:`, workloads.map(named)) || []),
    ...(list("Not these:", skipped.map((one) => `${named(one)}: ${one.why}`)) || []),
    ...(list("You may not restart:", refused.map((one) => `${named(one)}: ${one.why}`)) || []),
    ...(list("Pods that nobody would make again stay:", barePods) || []),
    ...(list("Not read:", leftOut) || []),
  ];
}

/** How far a restart has come. */
class Running {
  constructor(namespace, begun, finish) {
    Object.assign(this, { path: `${restartsIn(namespace)}/${encodeURIComponent(begun.run)}`, namespace, run: begun.run, finish });
    this.bar = h("progress", { max: 1, value: 0, "aria-label": "How far the restart has come" });
    this.told = h("div", { role: "status" });
    this.problem = h("p", { class: "problem", role: "alert", hidden: true });
    this.stop = h("button", { type: "button", onclick: () => this.cancel() }, "Stop it");
    this.element = h("dialog", { class: "act", "aria-labelledby": "act-title", onclose: () => this.closed() },
      h("h2", { id: "act-title" }, `Restart ${begun.run}`), this.bar, this.told, this.problem,
      h("footer", {}, h("button", { type: "button", onclick: () => this.element.close() }, "Close"), this.stop));
    this.show(begun);
  }

  open() {
    document.body.append(this.element);
    this.element.showModal();
    this.poll = new Poll(this.path, { every: 1000, found: (told) => this.show(told), refused: (problem) => this.say(problem) });
    return this;
  }

  show({ state, why, of, over, waiting, canResume }) {
    this.bar.max = Math.max(of, 1);
    this.bar.value = over;
    const isOver = state !== "Running";
    this.stop.hidden = isOver;
    this.told.replaceChildren(...[
      h("p", {}, isOver ? `It ${ENDS[state]}: ${over} of ${plural(of, "workload")}.` : `${over} of ${plural(of, "workload")} are done.`),
      why && h("p", { class: "warning" }, why),
      h("ul", {}, waiting.map((one) => h("li", {}, `${one.kind} ${one.name}: ${one.why}`))),
      isOver && canResume && h("p", {}, `\`outrigger restart --resume ${this.run} -n ${this.namespace}\` goes on with it.`),
    ].filter(Boolean));
    if (isOver) {
      this.poll?.stop();
      this.ended = `Restart ${this.run} ${ENDS[state]}.`;
    }
  }

  say(problem) {
    this.problem.textContent = problem.message;
    this.problem.hidden = false;
  }

  async cancel() {
    try {
      await ask(`${this.path}/cancel`, { method: "POST" });
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.say(error);
    }
  }

  /** It goes on without being watched. */
  closed() {
    this.poll?.stop();
    this.element.remove();
    this.finish(this.ended ?? `Restart ${this.run} goes on.`);
  }
}
