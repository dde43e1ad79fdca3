// Who is in the mesh: namespaces as groups, workloads as tiles, or all in a table. What has not changed is not touched.

import { address, announce, arrange, h, say } from "./dom.js";
import { EFFECTS, STATES, plural, ruleName, word } from "./words.js";
import { WorkloadTable, keyOf, sidecars, whereTo } from "./workload_table.js";

/** What the second line of a tile says: a state is never told by its colour alone. */
function second(one) {
  // Where pods are not known, what new ones get is.
  const isUntold = one.state === "Unknown" && !one.actual;
  return `${word(one.state)}${isUntold ? `, new pods ${EFFECTS[one.effect.outcome]}` : ""} · ${one.kind}`;
}

/** The view; `acts` makes the buttons of a namespace. */
export class Overview {
  constructor(acts) {
    this.acts = acts;
    this.known = new Map();
    this.groups = new Map();
    this.filter = { text: "", states: new Set(), namespace: null };
    this.isTable = false;
    // The only namespace that may be looked at, and how to look at another one.
    this.scope = null;
    this.elsewhere = () => {};
    this.data = null;
    this.build();
  }

  build() {
    this.search = h("input", {
      type: "search", id: "search", placeholder: "Name, kind, namespace or rule", autocomplete: "off", spellcheck: "false",
      oninput: () => { this.filter.text = this.search.value.trim().toLowerCase(); this.sift(); },
    });
    this.chips = h("div", { class: "chips", role: "group", "aria-label": "States: choose which to show" });
    this.chips.addEventListener("click", (event) => this.choose(event.target.closest("button")));
    this.tilesLink = h("a", { href: "#/" }, "Tiles");
    this.tableLink = h("a", { href: "#/table" }, "Table");
    this.count = h("p", { class: "count", role: "status" });
    this.notes = h("p", { class: "partial", hidden: true });
    this.tiles = h("div", { class: "groups" });
    this.tiles.addEventListener("keydown", (event) => this.move(event));
    this.tiles.addEventListener("focusin", (event) => this.rove(event.target.closest("a.tile")));
    this.table = new WorkloadTable((one) => this.isShown(one));
    this.one = h("p", { class: "one", hidden: true });
    this.element = h("div", { class: "overview" },
      h("h1", { class: "unseen" }, "Overview"),
      h("div", { class: "tools" },
        h("label", { for: "search", class: "unseen" }, "Show only what has this in it"), this.search,
        h("nav", { class: "switch", "aria-label": "How to show workloads" }, this.tilesLink, this.tableLink),
        this.count),
      this.chips, this.one, this.notes, this.legend(), this.tiles, this.table.element);
  }

  legend() {
    const items = Object.entries(STATES).map(([state, [name, meaning]]) =>
      [h("dt", {}, h("span", { class: `mark ${state}`, "aria-hidden": "true" }), name), h("dd", {}, meaning)]);
    return h("details", { class: "legend" }, h("summary", {}, "What the states mean"),
      h("dl", {}, items),
      h("p", {}, "Arrow keys move between workloads, Enter opens one, Escape closes it, / goes to the search."));
  }

  /** Shows tiles or the table, of one namespace or of all. */
  show({ isTable, namespace }) {
    this.isTable = isTable;
    this.filter.namespace = namespace;
    this.tiles.hidden = isTable;
    this.table.element.hidden = !isTable;
    this.tilesLink.toggleAttribute("aria-current", !isTable);
    this.tableLink.toggleAttribute("aria-current", isTable);
    const only = namespace ?? this.scope;
    this.one.hidden = only === null;
    const others = this.scope !== null
      ? h("button", { type: "button", onclick: this.elsewhere }, "Another namespace …") : h("a", { href: "#/" }, "Show all");
    this.one.replaceChildren(...(only === null ? [] : [`Only namespace ${only}. `, others]));
    if (this.data) {
      this.fillTable();
      this.sift();
    }
  }

  /** Takes what the server told. */
  update(data) {
    const isFirst = this.data === null;
    this.data = data;
    const workloads = data.namespaces.flatMap((namespace) => namespace.workloads);
    const changed = workloads.filter((one) => this.known.has(keyOf(one)) && this.known.get(keyOf(one)).one.state !== one.state);
    const told = changed.slice(0, 3).map((one) => `${one.name} in ${one.namespace} is now ${word(one.state)}`);
    const before = new Map(changed.map((one) => [keyOf(one), this.known.get(keyOf(one)).one.state]));
    this.updateGroups(data.namespaces);
    this.updateChips(data.totals);
    this.updateNotes(data);
    this.fillTable();
    this.sift();
    if (!isFirst && before.size > 0) announce(before.size > 3 ? `${before.size} workloads changed` : told.join("; "));
  }

  updateNotes({ partial, unread }) {
    this.notes.hidden = !partial;
    if (partial) say(this.notes, `Not complete: the server does not know these of the cluster: ${unread.join(", ")}.`);
  }

  updateGroups(namespaces) {
    const gone = new Set(this.known.keys());
    const groups = [];
    for (const namespace of namespaces) {
      const group = this.groups.get(namespace.namespace) ?? this.group(namespace);
      this.updateGroup(group, namespace);
      groups.push(group.element);
      for (const one of namespace.workloads) gone.delete(keyOf(one));
    }
    const names = new Set(namespaces.map((one) => one.namespace));
    for (const [name, group] of this.groups) {
      if (!names.has(name)) { group.element.remove(); this.groups.delete(name); }
    }
    for (const key of gone) { this.known.get(key).item.remove(); this.known.delete(key); }
    arrange(this.tiles, groups);
    if (!this.tiles.querySelector("a.tile[tabindex='0']")) this.rove(this.tiles.querySelector("a.tile"));
  }

  group({ namespace }) {
    const id = `ns-${namespace}`;
    const group = {
      labels: h("span", { class: "labels" }), counts: h("span", { class: "counts" }), unmarked: h("span", { class: "unmarked" }),
      list: h("ul", { class: "tiles", "aria-labelledby": id }),
    };
    const acts = this.acts(namespace);
    group.element = h("section", { class: "group", "aria-labelledby": id },
      h("header", {},
        h("h2", { id }, h("a", { href: address("ns", namespace) }, namespace)),
        group.labels, group.unmarked, group.counts, acts),
      group.list);
    this.groups.set(namespace, group);
    return group;
  }

  updateGroup(group, { namespace, injectionLabels, unmarkedPods, totals, workloads }) {
    const labels = Object.entries(injectionLabels).map(([key, value]) => `${key}=${value}`);
    if (group.told !== labels.join()) {
      group.told = labels.join();
      group.labels.replaceChildren(...labels.map((label) => h("code", {}, label)));
    }
    say(group.unmarked, `unmarked pods: ${EFFECTS[unmarkedPods.outcome] ?? unmarkedPods.outcome}`);
    if (group.unmarked.title !== unmarkedPods.reason) group.unmarked.title = unmarkedPods.reason;
    const pods = totals.pods > 0 ? `, ${totals.withSidecar} of ${plural(totals.pods, "pod")} with a sidecar` : "";
    say(group.counts, totals.workloads === 0 ? "no workload" : `${plural(totals.workloads, "workload")}${pods}`);
    const items = workloads.map((one) => this.tile({ ...one, namespace }));
    const size = `${Math.max(1, Math.ceil(workloads.length / 6)) * 56 + 60}px`;
    if (group.size !== size) {
      group.size = size;
      group.element.style.setProperty("--size", size);
    }
    arrange(group.list, items);
  }

  /** The tile of a workload, changed only where the workload has. */
  tile(one) {
    const key = keyOf(one);
    const text = `${second(one)}|${one.why}|${sidecars(one)}`;
    const known = this.known.get(key);
    if (known?.text === text) {
      known.one = one;
      return known.item;
    }
    if (known) {
      this.dress(known, one, text);
      known.link.classList.add("new");
      setTimeout(() => known.link.classList.remove("new"), 2500);
      return known.item;
    }
    const fresh = { second: h("span", { class: "kind" }), pods: h("span", { class: "pods" }) };
    fresh.link = h("a", { href: whereTo(one), tabindex: -1, "data-key": key },
      h("span", { class: "name" }, one.name), fresh.second, fresh.pods);
    fresh.item = h("li", {}, fresh.link);
    this.dress(fresh, one, text);
    this.known.set(key, fresh);
    return fresh.item;
  }

  dress(known, one, text) {
    known.one = one;
    known.text = text;
    known.link.className = `tile ${one.state}`;
    say(known.second, second(one));
    known.link.title = `${word(one.state)}: ${one.why}`;
    say(known.pods, one.actual?.pods ? sidecars(one) : "");
  }

  updateChips(totals) {
    const wanted = Object.keys(STATES).filter((state) => totals.byState[state] || this.filter.states.has(state));
    for (const state of wanted) {
      let chip = this.chips.querySelector(`[data-state="${state}"]`);
      if (!chip) {
        chip = h("button", { type: "button", class: "chip", "data-state": state, "aria-pressed": "false", title: STATES[state][1] },
          h("span", { class: `mark ${state}`, "aria-hidden": "true" }), h("span", {}, word(state)), " ", h("b", {}));
        this.chips.append(chip);
      }
      say(chip.querySelector("b"), `${totals.byState[state] ?? 0}`);
    }
    for (const chip of [...this.chips.children]) if (!wanted.includes(chip.dataset.state)) chip.remove();
    arrange(this.chips, wanted.map((state) => this.chips.querySelector(`[data-state="${state}"]`)));
  }

  choose(chip) {
    if (!chip) return;
    const { states } = this.filter;
    const { state } = chip.dataset;
    if (!states.delete(state)) states.add(state);
    chip.setAttribute("aria-pressed", states.has(state) ? "true" : "false");
    this.sift();
  }

  isShown(one) {
    const { text, states, namespace } = this.filter;
    if (namespace !== null && one.namespace !== namespace) return false;
    if (states.size > 0 && !states.has(one.state)) return false;
    return text === "" || `${one.namespace}/${one.kind}/${one.name} ${ruleName(one.desired.rule)}`.toLowerCase().includes(text);
  }

  /** Hides what is not asked for. */
  sift() {
    const shownIn = new Map();
    let shown = 0;
    for (const known of this.known.values()) {
      const isShown = this.isShown(known.one);
      if (known.item.hidden === isShown) known.item.hidden = !isShown;
      if (isShown) { shown += 1; shownIn.set(known.one.namespace, true); }
    }
    const isSifted = this.filter.text !== "" || this.filter.states.size > 0;
    for (const [name, group] of this.groups) {
      const named = this.filter.namespace === null || this.filter.namespace === name;
      const isHidden = !named || (isSifted && !shownIn.has(name));
      if (group.element.hidden !== isHidden) group.element.hidden = isHidden;
    }
    this.table.sift();
    say(this.count, shown === this.known.size ? plural(shown, "workload") : `${shown} of ${plural(this.known.size, "workload")}`);
    const current = this.tiles.querySelector("a.tile[tabindex='0']");
    if (!current || current.parentElement.hidden) this.rove(this.visible()[0]);
  }

  visible() {
    return [...this.tiles.querySelectorAll("section:not([hidden]) li:not([hidden]) > a.tile")];
  }

  /** Makes one tile the one that Tab goes to. */
  rove(tile) {
    if (!tile) return;
    this.current?.setAttribute("tabindex", "-1");
    tile.setAttribute("tabindex", "0");
    this.current = tile;
  }

  move(event) {
    const tile = event.target.closest("a.tile");
    if (!tile || event.ctrlKey || event.metaKey || event.altKey) return;
    const all = this.visible();
    const at = all.indexOf(tile);
    const columns = getComputedStyle(tile.closest("ul")).gridTemplateColumns.split(" ").length;
    const next = {
      ArrowRight: () => all[at + 1], ArrowLeft: () => all[at - 1], Home: () => all[0], End: () => all.at(-1),
      ArrowDown: () => this.beside(all, at, columns), ArrowUp: () => this.beside(all, at, -columns),
    }[event.key]?.();
    if (!next) return;
    event.preventDefault();
    this.rove(next);
    next.focus();
  }

  /** The tile a row further, or the nearest of the next namespace. */
  beside(all, at, step) {
    const there = all[at + step];
    if (there && there.closest("ul") === all[at].closest("ul")) return there;
    const list = all[at].closest("ul");
    const others = step > 0 ? all.slice(at + 1) : all.slice(0, at).reverse();
    const other = others.find((one) => one.closest("ul") !== list);
    // The last row may be shorter than the one above it.
    const last = step > 0 ? others.filter((one) => one.closest("ul") === list).at(-1) : null;
    if (last && !sameRow(last, all[at])) return last;
    return other;
  }

  fillTable() {
    if (this.isTable && this.data) this.table.fill(this.data.namespaces.flatMap((namespace) => namespace.workloads));
  }

  focusOn(key) {
    const known = this.known.get(key);
    if (!known) return false;
    if (this.isTable) this.table.focusOn(key);
    else { this.rove(known.link); known.link.focus(); }
    return true;
  }
}

const sameRow = (left, right) => left.offsetTop === right.offsetTop;
