// What is decided and done, as it happens: of the replica that answers, since it started.

import { address, announce, h, say } from "./dom.js";
import { Stream } from "./server.js";
import { EFFECTS, exact, plural, ruleName } from "./words.js";

/** So many entries stay on the page. */
const MOST = 300;
/** How often it is told aloud how many came, at most. */
const ALOUD = 10000;

/** The view of one namespace, or of all. */
export class Live {
  constructor() {
    this.state = h("p", { class: "count", role: "status" }, "Connecting …");
    this.list = h("ol", { class: "feed", tabindex: 0, "aria-label": "Decisions and acts, the newest first" });
    this.pause = h("button", { type: "button", "aria-pressed": "false", onclick: () => this.toggle() }, "Pause");
    this.search = h("input", { type: "search", id: "live-search", placeholder: "Show only what has this in it", autocomplete: "off", oninput: () => this.sift() });
    this.note = h("p", { class: "partial", hidden: true });
    this.waiting = [];
    this.unsaid = 0;
    this.element = h("div", {}, h("h1", {}, "Live"),
      h("div", { class: "tools" }, h("label", { for: "live-search", class: "unseen" }, "Show only what has this in it"), this.search, this.pause, this.state),
      this.note, this.list);
  }

  start(path) {
    this.stream = new Stream(path, {
      heard: (event, data) => this.heard(event, data),
      state: (state) => say(this.state, state === "connected" ? "Connected" : "The server is away; trying again"),
      refused: (problem) => { say(this.state, problem.message); },
    });
  }

  stop() { this.stream?.stop(); }

  heard(event, data) {
    if (event === "snapshot") {
      this.list.replaceChildren(...data.items.slice(0, MOST).map(item));
      this.note.hidden = !data.partial;
      if (data.partial) say(this.note, "Only what the replica that answers has decided since it started; the audit logs of all of them tell everything.");
      this.empty();
      this.sift();
    } else if (event === "entry") {
      this.take(item(data));
    } else if (event === "missed") {
      this.take(h("li", { class: "missed" }, `${plural(data.count, "line")} of the log came too fast to be shown.`));
    }
  }

  take(element) {
    if (this.isPaused) {
      this.waiting.push(element);
      if (this.waiting.length > MOST) this.waiting.shift();
      say(this.pause, `Go on (${this.waiting.length} wait)`);
      return;
    }
    this.waiting.push(element);
    // One pass for all that come at once.
    this.frame ??= requestAnimationFrame(() => this.flush());
  }

  flush() {
    this.frame = undefined;
    this.list.querySelector("li.empty")?.remove();
    const fresh = this.waiting.splice(0).reverse();
    fresh.forEach((element) => this.mark(element));
    this.list.prepend(...fresh);
    while (this.list.childElementCount > MOST) this.list.lastElementChild.remove();
    this.unsaid += fresh.length;
    this.timer ??= setTimeout(() => this.sayHowMany(), this.unsaid === fresh.length ? 500 : ALOUD);
  }

  sayHowMany() {
    this.timer = undefined;
    if (this.unsaid > 0 && this.element.isConnected) announce(`${plural(this.unsaid, "new entry", "new entries")}`);
    this.unsaid = 0;
  }

  empty() {
    if (this.list.childElementCount === 0) this.list.append(h("li", { class: "empty" }, "Nothing has been decided yet. Each new pod shows here."));
  }

  toggle() {
    this.isPaused = !this.isPaused;
    this.pause.setAttribute("aria-pressed", this.isPaused ? "true" : "false");
    say(this.pause, this.isPaused ? "Go on" : "Pause");
    if (!this.isPaused && this.waiting.length > 0) this.flush();
  }

  mark(element) {
    const isHidden = !element.textContent.toLowerCase().includes(this.search.value.trim().toLowerCase());
    if (element.hidden !== isHidden) element.hidden = isHidden;
  }

  sift() { for (const element of this.list.children) this.mark(element); }
}

function item(entry) {
  const time = h("time", { datetime: entry.time, title: exact(entry.time) }, new Date(entry.time).toLocaleTimeString());
  if (entry.act) return act(entry, time);
  if (entry.lost) return h("li", { class: "missed" }, time, h("span", {}, `${plural(entry.lost, "entry", "entries")} of the audit log lost: ${entry.reason}`));
  return decision(entry, time);
}

function decision({ namespace, workload, pod, generateName, action, rule, reason, effect, dryRun }, time) {
  const name = pod ?? `${generateName ?? ""}…`;
  const who = workload ? h("a", { href: address("ns", namespace, workload.kind, workload.name) }, `${namespace}/${workload.name}`) : `${namespace}/${name}`;
  return h("li", { class: `decision ${action}` }, time, h("span", { class: "what" }, action),
    h("span", { class: "whom" }, who, h("span", { class: "sub" }, workload ? `${workload.kind}, pod ${name}` : "a pod of no workload")),
    h("span", { class: "why" }, reason, h("span", { class: "sub" }, `${ruleName(rule)}; ${EFFECTS[effect.outcome] ?? effect.outcome}: ${effect.reason}${dryRun ? "; dry run" : ""}`)));
}

const DEEDS = { Create: "Suspended", Extend: "Extended", End: "Ended", Begin: "Begins", Over: "Is over", Route: "Routed", Unroute: "Unrouted", Read: "Read" };

function act({ act: deed, outcome, actor, object, reason, why, dryRun }, time) {
  const place = object?.namespace ? `${object.namespace}/` : "";
  const by = actor?.user ? `by ${actor.user}` : actor?.address ? `from ${actor.address}` : null;
  const notes = [outcome !== "Allowed" && outcome.toLowerCase(), dryRun && `${(DEEDS[deed] ?? deed).toLowerCase()}, in a dry run`, why].filter(Boolean);
  return h("li", { class: `deed ${outcome}` }, time, h("span", { class: "what" }, dryRun ? "Dry run" : DEEDS[deed] ?? deed),
    h("span", { class: "whom" }, `${place}${object?.name ?? ""}`, h("span", { class: "sub" }, [object?.kind, by].filter(Boolean).join(", "))),
    h("span", { class: "why" }, reason ?? "", notes.length > 0 && h("span", { class: "sub" }, notes.join("; "))));
}
