// A dialog of two steps: what is asked for, and what the server says would follow; and its parts.

import { h } from "./dom.js";
import { Problem, ask } from "./server.js";
import { clock, exact, relative } from "./words.js";

export const LASTS = [["30m", "30 minutes"], ["1h", "1 hour"], ["2h", "2 hours"], ["8h", "8 hours"], ["24h", "1 day"], ["168h", "1 week"]];

export function select(id, options, chosen) {
  return h("select", { id, name: id }, options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));
}

export function field(title, input, note) {
  return h("p", { class: "field" }, h("label", { for: input.id }, title), input, note && h("small", {}, note));
}

export function when(time) {
  return time ? h("time", { datetime: time, title: exact(time) }, h("b", {}, clock(time)), `, ${relative(time)}`) : h("b", {}, "somebody ends it");
}

export function warnings(told) {
  return (told?.warnings ?? []).map((warning) => h("p", { class: "warning" }, warning));
}

/** The dialog; `method` is POST where nothing else is given. */
export class Act {
  constructor(given) {
    Object.assign(this, { method: "POST", headers: () => ({}) }, given);
    this.problem = h("p", { class: "problem", role: "alert", hidden: true });
    this.told = h("div", { class: "summary", tabindex: -1, hidden: true });
    this.back = h("button", { type: "button", hidden: true, onclick: () => this.step(null) }, "Back");
    this.go = h("button", { type: "submit", class: "main" }, "See what follows");
    this.inputs = h("fieldset", {}, h("legend", { class: "unseen" }, this.title), this.fields);
    this.form = h("form", { method: "dialog", onsubmit: (event) => { event.preventDefault(); this.submit(); } },
      h("h2", { id: "act-title" }, this.title), h("p", {}, this.intro), this.inputs, this.told, this.problem,
      h("footer", {}, h("button", { type: "button", onclick: () => this.element.close() }, "Cancel"), this.back, this.go));
    this.element = h("dialog", { class: "act", "aria-labelledby": "act-title", onclose: () => this.element.remove() }, this.form);
  }

  open() {
    document.body.append(this.element);
    this.element.showModal();
    this.focus();
    return this;
  }

  focus() { this.inputs.querySelector("input:not([hidden]), select")?.focus(); }

  /** Shows the summary, or the fields again. */
  step(summary) {
    const isSummary = summary !== null;
    this.inputs.hidden = isSummary;
    this.told.hidden = !isSummary;
    this.back.hidden = !isSummary;
    this.go.textContent = isSummary ? this.verb : "See what follows";
    if (isSummary) {
      this.told.replaceChildren(...summary.filter(Boolean));
      this.told.focus();
    } else {
      this.focus();
    }
  }

  /** Asks what would follow; the second time does exactly that, whatever the fields say by then. */
  async submit() {
    const isAct = !this.told.hidden;
    const body = isAct ? this.previewed : this.body();
    this.problem.hidden = true;
    const focused = document.activeElement;
    this.hold(true);
    try {
      const told = await ask(isAct ? this.path : `${this.path}?dryRun=true`, { method: this.method, body, headers: isAct ? this.headers() : {} });
      this.hold(false);
      if (isAct) {
        this.element.close();
        this.done(told.body);
      } else {
        this.previewed = body;
        this.step(this.summary(told.body));
      }
    } catch (error) {
      this.hold(false);
      if (!(error instanceof Problem)) throw error;
      this.problem.textContent = error.message;
      this.problem.hidden = false;
      // What is disabled loses the focus.
      if (document.activeElement === document.body) focused.focus();
    }
  }

  /** Keeps everything as it is while the server is asked. */
  hold(isAsking) {
    for (const one of [this.inputs, this.back, this.go]) one.disabled = isAsking;
  }
}
