// The page: who is logged in, which view is shown, what is asked of the server meanwhile.

import { Acts } from "./acts.js";
import { address, h, say } from "./dom.js";
import { Explanation } from "./explanation.js";
import { GraphView } from "./graph.js";
import { Live } from "./live.js";
import { Overrides } from "./overrides.js";
import { Overview } from "./overview.js";
import { Preview } from "./preview.js";
import { Poll, Problem, enter, hear, isKnown, leave, tryAgain } from "./server.js";
import { Suspensions } from "./suspensions.js";
import { now } from "./words.js";

const VIEWS = { overview: "Overview", suspensions: "Suspensions", overrides: "Overrides", preview: "Preview", live: "Live", graph: "Graph" };
const byId = (id) => document.getElementById(id);

/** What an address asks for. */
function asked() {
  let parts;
  try {
    parts = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  } catch {
    parts = [""];
  }
  const [first, second] = parts;
  if (first === "ns" && parts.length === 4) return { view: "overview", workload: { namespace: second, kind: parts[2], name: parts[3] } };
  if (first === "ns" && second) return { view: "overview", namespace: second, isTable: false };
  if (first === "table") return { view: "overview", namespace: null, isTable: true };
  if (first === "graph") return { view: "graph", namespace: second || null };
  if (VIEWS[first]) return { view: first };
  return { view: "overview", namespace: null, isTable: false };
}

// A token may be over in the middle of a sentence: whoever comes back finds what they wrote, and nobody else does.
let unfinished;

/** Everything of somebody who is logged in. */
class Session {
  constructor(about) {
    this.acts = new Acts(about.endpoints, () => { for (const poll of Object.values(this.polls)) poll?.again(); this.explanation?.poll.again(); });
    this.polls = {};
    // Whoever may not look at the whole cluster looks at one namespace; which one is in the address.
    this.scope = null;
    this.overview = new Overview((namespace) => this.acts.ofNamespace(namespace));
    this.suspensions = new Suspensions((one) => this.acts.ofSuspension(one));
    this.overrides = new Overrides((one) => this.acts.ofOverride(one));
    this.preview = unfinished?.user === about.user ? unfinished.preview : new Preview();
    this.preview.path = () => this.path("preview");
    unfinished = { user: about.user, preview: this.preview };
    this.graph = new GraphView((namespace) => { location.hash = namespace === null ? "#/graph" : address("graph", namespace); });
    this.under = "#/";
    this.header(about);
    this.clock = setInterval(() => this.suspensions.tick(), 1000);
    this.pollOverview();
    this.pollSuspensions();
    this.hashchange = () => this.route();
    addEventListener("hashchange", this.hashchange);
    this.keydown = (event) => this.key(event);
    addEventListener("keydown", this.keydown);
    this.route();
  }

  header({ user, mesh }) {
    byId("top").hidden = false;
    say(byId("user"), user);
    byId("user").title = `${user}, mesh ${mesh}`;
    const link = ([view, title]) => h("li", {}, h("a", { href: view === "overview" ? "#/" : `#/${view}`, "data-view": view }, title,
      view === "suspensions" && h("b", { class: "badge", id: "badge", hidden: true })));
    byId("views").replaceChildren(...Object.entries(VIEWS).map(link));
  }

  /** The path of something in the namespace that may be looked at, or of all of it. */
  path(what) {
    return this.scope === null ? `/api/v1/${what}` : `/api/v1/namespaces/${encodeURIComponent(this.scope)}/${what}`;
  }

  replace(name, poll) {
    this.polls[name]?.stop();
    this.polls[name] = poll;
  }

  pollOverview() {
    const path = this.scope === null ? "/api/v1/overview" : this.path("workloads");
    this.replace("overview", new Poll(path, {
      found: (data) => this.found(data),
      refused: (problem) => this.refused(problem),
    }));
  }

  pollSuspensions() {
    const path = this.scope === null ? "/api/v1/suspensions?allNamespaces=true&limit=500" : `${this.path("suspensions")}?limit=500`;
    this.replace("suspensions", new Poll(path, {
      found: (data) => {
        this.suspensions.update(data);
        const running = Suspensions.running(data);
        say(byId("badge"), `${running}`);
        byId("badge").title = `${running} in force`;
        byId("badge").hidden = running === 0;
      },
      refused: (problem) => this.suspensions.refuse(problem),
    }));
  }

  found(data) {
    this.restricted?.remove();
    this.restricted = undefined;
    this.overview.element.hidden = false;
    this.overview.update(data);
    const names = data.namespaces.map((one) => one.namespace).join("\n");
    if (names !== this.names) {
      this.names = names;
      this.graph.offer(data.namespaces.map((one) => one.namespace), asked().namespace);
    }
  }

  /** Who may not look at everything may still look at a namespace. */
  refused(problem) {
    const { workload, namespace } = asked();
    const named = workload?.namespace ?? namespace ?? null;
    if (problem.status === 403 && this.scope === null && named) {
      this.look(named);
      return;
    }
    this.askForNamespace(problem.message);
  }

  /** Asks which namespace to look at. */
  askForNamespace(why) {
    this.overview.element.hidden = true;
    this.polls.overview.stop();
    const input = h("input", { id: "scope", required: true, autocomplete: "off", spellcheck: "false" });
    const form = h("form", { class: "login", onsubmit: (event) => {
      event.preventDefault();
      location.hash = address("ns", input.value.trim());
      this.look(input.value.trim());
    } },
      why && h("p", { class: "problem", role: "alert" }, why),
      h("p", { class: "field" }, h("label", { for: "scope" }, "Look at one namespace"), input), h("button", { type: "submit", class: "main" }, "Look"));
    this.restricted?.remove();
    this.restricted = form;
    this.overview.element.before(form);
    input.focus();
  }

  look(namespace) {
    this.scope = namespace;
    this.restricted?.remove();
    this.restricted = undefined;
    this.overview.element.hidden = false;
    Object.assign(this.overview, { scope: namespace, elsewhere: () => this.askForNamespace() });
    this.overview.show({ isTable: this.overview.isTable, namespace: this.overview.filter.namespace });
    this.pollOverview();
    this.pollSuspensions();
  }

  route() {
    const wanted = asked();
    const namespace = wanted.workload?.namespace ?? wanted.namespace;
    if (this.scope !== null && namespace && namespace !== this.scope) this.look(namespace);
    if (wanted.workload && this.element) this.explain(wanted.workload);
    else {
      this.explanation?.close();
      this.show(wanted.workload ? { view: "overview", namespace: null, isTable: false } : wanted);
      if (wanted.workload) this.explain(wanted.workload);
    }
  }

  show(wanted) {
    const { view } = wanted;
    this.under = wanted.workload ? "#/" : location.hash || "#/";
    if (asked().workload) this.under = "#/";
    for (const name of ["overrides", "graph"]) this.replace(name, undefined);
    this.live?.stop();
    this.live = undefined;
    const element = { overview: () => this.showOverview(wanted), live: () => this.showLive(), graph: () => this.showGraph(wanted.namespace),
      suspensions: () => this.suspensions.element, overrides: () => this.showOverrides(), preview: () => this.preview.element }[view]();
    if (this.element !== element) byId("main").replaceChildren(...[view === "overview" && this.restricted, element].filter(Boolean));
    const isFirst = this.element === undefined;
    this.element = element;
    document.title = view === "overview" ? "Outrigger" : `${VIEWS[view]} – Outrigger`;
    for (const link of byId("views").querySelectorAll("a")) {
      if (link.dataset.view === view) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    if (!isFirst && view !== this.view) byId("main").focus({ preventScroll: true });
    this.view = view;
  }

  showOverview({ isTable, namespace }) {
    this.overview.show({ isTable, namespace: namespace ?? null });
    return this.overview.element;
  }

  showOverrides() {
    this.replace("overrides", new Poll(this.path("overrides"), {
      found: (data) => this.overrides.update(data), refused: (problem) => this.overrides.refuse(problem),
    }));
    return this.overrides.element;
  }

  showLive() {
    this.live = new Live();
    this.live.start(`${this.path("audit")}?watch=true`);
    return this.live.element;
  }

  showGraph(namespace) {
    const wanted = namespace ?? this.scope;
    if (this.graph.select.value !== (wanted ?? "")) this.graph.select.value = wanted ?? "";
    this.replace("graph", new Poll(wanted === null ? "/api/v1/graph" : `/api/v1/graph?${new URLSearchParams({ namespace: wanted })}`, {
      found: (data) => this.graph.update(data, wanted), refused: (problem) => this.graph.refuse(problem),
    }));
    return this.graph.element;
  }

  explain(workload) {
    this.explanation?.stop();
    this.explanation?.element.remove();
    this.explanation = new Explanation(workload, { acts: this.acts.ofWorkload(workload), closed: () => this.closed(workload) });
    this.explanation.open();
  }

  /** The view below shows again, with the focus where it was. */
  closed({ namespace, kind, name }) {
    this.explanation = undefined;
    if (asked().workload) history.replaceState(null, "", this.under);
    if (this.view === "overview") this.overview.focusOn(`${namespace}/${kind}/${name}`);
  }

  key(event) {
    const isTyping = event.target.closest?.("input, select, textarea, dialog");
    if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    const search = byId("main").querySelector("input[type='search']");
    if (!search) return;
    event.preventDefault();
    search.focus();
  }

  end() {
    removeEventListener("hashchange", this.hashchange);
    removeEventListener("keydown", this.keydown);
    clearInterval(this.clock);
    // Not closed: what follows a closing is for whoever is still here, and the address stays for whoever comes back.
    document.querySelectorAll("dialog").forEach((dialog) => dialog.remove());
  }
}

let session;

function login(why) {
  session?.end();
  session = undefined;
  byId("top").hidden = true;
  byId("banner").hidden = true;
  document.title = "Log in – Outrigger";
  const input = h("input", { id: "token", type: "password", required: true, autocomplete: "off", spellcheck: "false", "aria-describedby": "token-note" });
  const problem = h("p", { class: "problem", role: "alert", hidden: !why }, why ?? "");
  const button = h("button", { type: "submit", class: "main" }, "Log in");
  const form = h("form", { class: "login", onsubmit: (event) => { event.preventDefault(); attempt(); } },
    h("img", { src: "/page/icon.svg", alt: "", width: 44, height: 44 }), h("h1", {}, "Outrigger"), problem,
    h("p", { class: "field" }, h("label", { for: "token" }, "Token"), input), button,
    h("div", { class: "note", id: "token-note" },
      h("p", {}, "A token of the cluster, such as ", h("code", {}, "kubectl create token NAME"), " prints; without a cluster the one in the file that ", h("code", {}, "outrigger serve"), " names when it starts."),
      h("p", {}, "It stays in this tab until you log out or close it.")));
  async function attempt() {
    button.disabled = true;
    await begin(input.value.trim(), (message) => { say(problem, message); problem.hidden = false; input.select(); });
    button.disabled = false;
  }
  byId("main").replaceChildren(form);
  input.focus();
}

async function begin(token, failed) {
  try {
    const about = await enter(token);
    byId("main").replaceChildren();
    session = new Session(about);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    failed(error.status === 401 ? "The token is not taken. Show another one." : error.message);
  }
}

function away(problem, again) {
  const banner = byId("banner");
  const seconds = Math.max(1, Math.round((again - now()) / 1000));
  const text = `${problem.status === 0 ? "The server does not answer" : problem.message}; what you see is from before. Trying again in ${seconds} s. `;
  if (banner.hidden) banner.replaceChildren(h("span", {}), h("button", { type: "button", onclick: tryAgain }, "Try now"));
  say(banner.firstElementChild, text);
  banner.hidden = false;
}

hear({ left: (why) => { if (session) login(why); }, away, back: () => { byId("banner").hidden = true; } });
byId("leave").addEventListener("click", () => leave("You are logged out."));
if (isKnown()) {
  // A server that is away is waited for; only a token that is not taken asks for another.
  begin(sessionStorage.getItem("outrigger.token"), (message) => login(message));
} else {
  login();
}
