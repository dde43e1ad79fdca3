// An override on a workload or a namespace: whether new pods get a sidecar, told before it is written.

import { Act, LASTS, field, select, warnings } from "./dialog.js";
import { h } from "./dom.js";
import { plural } from "./words.js";

export const OVERRIDE_PATHS = {
  ofNamespace: "/api/v1/namespaces/{namespace}/override",
  ofWorkload: "/api/v1/namespaces/{namespace}/workloads/{kind}/{name}/override",
};

const ACTIONS = [
  ["Enable", "Enable: new pods get a sidecar"],
  ["Disable", "Disable: new pods get no sidecar"],
  ["Remove", "Remove the override: policies and the namespace decide"],
];

/** Opens the dialog; `finish` is told what came of it. */
export function override({ namespace, kind, name, chosen = "Disable" }, finish) {
  const action = select("action", ACTIONS, chosen);
  const lasts = select("lasts", [["", "until somebody removes it"], ...LASTS], "");
  const reason = h("input", { id: "reason", name: "reason", maxlength: 256, autocomplete: "off" });
  const written = [field("For", lasts), field("Reason", reason, "others will read it; some policies want one")];
  const toggle = () => written.forEach((one) => { one.hidden = action.value === "Remove"; });
  action.addEventListener("change", toggle);
  toggle();
  const place = `/api/v1/namespaces/${encodeURIComponent(namespace)}`;
  const ofWorkload = kind && `/workloads/${encodeURIComponent(kind)}/${encodeURIComponent(name)}`;
  return new Act({
    title: `Override for ${name ?? namespace}`,
    intro: kind ? `An annotation on ${kind} ${name} in ${namespace}: no roll-out starts, and running pods stay as they are.`
      : `An annotation on namespace ${namespace}, for whatever in it says nothing itself. Running pods stay as they are.`,
    fields: [field("Action", action), ...written],
    method: "PUT",
    path: `${place}${ofWorkload ?? ""}/override`,
    body: () => ({ action: action.value, ...(action.value !== "Remove" && wish(lasts.value, reason.value.trim())) }),
    summary: follows,
    verb: "Write it",
    done: ({ outcome }) => finish(outcome === "Unchanged" ? "It stood there already." : `Written on ${name ?? namespace}.`),
  }).open();
}

function wish(lasts, reason) {
  return { ...(lasts && { for: lasts }), ...(reason && { reason }) };
}

const EFFECTS = { Injected: "a sidecar", NotInjected: "no sidecar", Unreachable: "no sidecar, though one is wanted" };
// Where nobody can tell what the injector does, what is written on the pod is all there is to tell.
const MARKS = { Enable: "the mark for a sidecar", Disable: "the mark for none", Remove: "no mark", Leave: "no mark of ours" };

function follows({ before, after, hindrance, running, workloads, warnings: said, partial }) {
  const gets = ({ effect, action }) => h("b", {}, EFFECTS[effect.outcome] ?? MARKS[action]);
  const pods = workloads?.running ?? running;
  return [
    h("p", {}, "New pods get ", gets(after), `: ${after.reason}. Until now they get `, gets(before), "."),
    hindrance && h("p", { class: "warning" }, `It has no effect: ${hindrance}.`),
    workloads && h("p", {}, `New pods of ${workloads.changing} of ${plural(workloads.count, "workload")} get something else.`),
    workloads?.hindered > 0 && h("p", { class: "warning" }, `For ${plural(workloads.hindered, "workload")} it has no effect.`),
    pods?.differing > 0 && h("p", {}, `${plural(pods.differing, "running pod")} would then differ, until restarted.`),
    partial && h("p", { class: "warning" }, "Not everything is known here yet."),
    ...warnings({ warnings: said }),
  ];
}
