// What somebody does: always first a summary of what would follow, as the server tells it, and then the act.

import { Act, LASTS, field, select, warnings, when } from "./dialog.js";
import { h, toast } from "./dom.js";
import { OVERRIDE_PATHS, override } from "./overriding.js";
import { RESTARTS, restart } from "./restarting.js";
import { clock, plural, relative } from "./words.js";

const EVERYWHERE = "/api/v1/suspensions";
const IN_NAMESPACE = "/api/v1/namespaces/{namespace}/suspensions";

/** What the server offers; what it does not offer has no button. */
export class Acts {
  constructor(endpoints, done) {
    this.offered = new Set(endpoints.map(({ method, path }) => `${method} ${path}`));
    this.done = done;
  }

  offers(method, path) { return this.offered.has(`${method} ${path}`); }

  /** The buttons of a namespace. */
  ofNamespace(namespace) {
    return this.bar(`Acts on namespace ${namespace}`, [
      ["POST", IN_NAMESPACE, "Suspend …", () => this.suspend({ namespace })],
      ["PUT", OVERRIDE_PATHS.ofNamespace, "Override …", () => override({ namespace }, (text) => this.finish(text))],
      ["POST", RESTARTS, "Restart …", () => restart({ namespace }, (text) => this.finish(text))],
    ]);
  }

  /** The buttons of a workload. */
  ofWorkload({ namespace, kind, name }) {
    const finish = (text) => this.finish(text);
    return this.bar(`Acts on ${name}`, [
      kind !== "Pod" && ["POST", IN_NAMESPACE, "Suspend injection …", () => this.suspend({ namespace, workload: { kind, name } })],
      kind !== "Pod" && ["PUT", OVERRIDE_PATHS.ofWorkload, "Override …", () => override({ namespace, kind, name }, finish)],
      kind !== "Pod" && ["POST", RESTARTS, "Restart …", () => restart({ namespace, kind, name }, finish)],
    ]);
  }

  /** The button of an override that stands on a workload or a namespace itself. */
  ofOverride({ namespace, place, object }) {
    const [kind, ...name] = place === "Workload" ? object.split("/") : [];
    if (!["Workload", "Namespace"].includes(place)) return "";
    const of = { namespace, kind, name: kind && name.join("/"), chosen: "Remove" };
    return this.bar(`Acts on the override of ${of.name ?? namespace}`, [
      ["PUT", kind ? OVERRIDE_PATHS.ofWorkload : OVERRIDE_PATHS.ofNamespace, "Remove …", () => override(of, (text) => this.finish(text))],
    ]);
  }

  /** The buttons of a suspension that is not over. */
  ofSuspension(one) {
    const path = one.namespace ? IN_NAMESPACE : EVERYWHERE;
    return this.bar(`Acts on suspension ${one.name}`, [
      ["POST", `${path}/{name}/extend`, "Extend …", () => this.extend(one)],
      ["POST", `${path}/{name}/end`, "End …", () => this.end(one)],
    ]);
  }

  bar(label, wanted) {
    const buttons = wanted.filter(Boolean).filter(([method, path]) => this.offers(method, path))
      .map(([, , text, act]) => h("button", { type: "button", onclick: act }, text));
    return buttons.length > 0 ? h("div", { class: "acts", role: "group", "aria-label": label }, buttons) : "";
  }

  suspend({ namespace, workload }) {
    const fields = {
      lasts: select("lasts", LASTS, "1h"),
      reason: h("input", { id: "reason", name: "reason", required: true, maxlength: 256, autocomplete: "off" }),
      ticket: h("input", { id: "ticket", name: "ticket", maxlength: 64, autocomplete: "off" }),
      what: select("what", [["Injection", "Injection: new pods get no sidecar"], ["Traffic", "Traffic: a service answers with an error"]], "Injection"),
      service: h("input", { id: "service", name: "service", autocomplete: "off", spellcheck: "false" }),
    };
    const service = field("Service", fields.service, "its name in this namespace");
    const toggle = () => { service.hidden = fields.what.value !== "Traffic"; fields.service.required = !service.hidden; };
    fields.what.addEventListener("change", toggle);
    toggle();
    const key = crypto.randomUUID();
    const where = workload ? `${workload.kind} ${workload.name} in ${namespace}` : `namespace ${namespace}`;
    return new Act({
      title: workload ? `Suspend injection for ${workload.name}` : `Suspend in ${namespace}`,
      intro: workload ? `New pods of ${where} get no sidecar for a while. Running pods stay as they are.`
        : `For ${where}, for a while. Nothing has to run for it to end.`,
      fields: [!workload && field("What", fields.what), !workload && service,
        field("For", fields.lasts), field("Reason", fields.reason, "others will read it"), field("Ticket", fields.ticket, "optional")],
      path: `/api/v1/namespaces/${encodeURIComponent(namespace)}/suspensions`,
      body: () => ({
        suspend: workload ? "Injection" : fields.what.value, for: fields.lasts.value, reason: fields.reason.value.trim(),
        ...(fields.ticket.value.trim() && { ticket: fields.ticket.value.trim() }),
        ...(workload && { workloads: [workload] }),
        ...(!service.hidden && { services: [{ name: fields.service.value.trim() }] }),
      }),
      headers: () => ({ "Idempotency-Key": key }),
      summary: summaryOf,
      verb: "Suspend",
      done: (made) => this.finish(`Suspended until ${clock(made.endsAt)}.`),
    }).open();
  }

  extend(one) {
    const by = select("by", LASTS, "1h");
    return new Act({
      title: `Extend ${one.name}`,
      intro: `It ends ${relative(one.endsAt)}.`,
      fields: [field("By", by)],
      path: `${pathOf(one)}/extend`, body: () => ({ by: by.value }), headers: () => ({}),
      summary: (told) => [h("p", {}, "Its new end: ", when(told.endsAt), "."), ...warnings(told)],
      verb: "Extend", done: (told) => this.finish(`It holds until ${clock(told.endsAt)}.`),
    }).open();
  }

  end(one) {
    const reason = h("input", { id: "reason", name: "reason", maxlength: 256, autocomplete: "off" });
    const follows = one.suspend === "Traffic"
      ? "Its routing is taken away, and the services are called again."
      : "New pods are decided by the other rules again; running pods stay as they are until they are created anew.";
    return new Act({
      title: `End ${one.name}`,
      intro: `“${one.reason}”. It would end ${one.endsAt ? relative(one.endsAt) : "when somebody ends it"} by itself.`,
      fields: [field("Reason", reason, "optional")],
      path: `${pathOf(one)}/end`, body: () => (reason.value.trim() ? { reason: reason.value.trim() } : {}), headers: () => ({}),
      summary: (told) => [h("p", {}, told ? "It ends now. " : "It has not begun, and is removed. ", follows), ...whom(told)],
      verb: "End now", done: () => this.finish(`${one.name} is ended.`),
    }).open();
  }

  finish(text) {
    toast(text);
    this.done();
  }
}

function pathOf(one) {
  const place = one.namespace ? `/api/v1/namespaces/${encodeURIComponent(one.namespace)}` : "/api/v1";
  return `${place}/suspensions/${encodeURIComponent(one.name)}`;
}

function whom(told) {
  if (told?.matched) {
    const { workloads, unknown, first } = told.matched;
    const items = first.map(({ namespace, kind, name }) => h("li", {}, `${kind} ${name} in ${namespace}`));
    const more = workloads > first.length ? h("li", {}, `and ${workloads - first.length} more`) : null;
    return [h("p", {}, "It is about ", h("b", {}, plural(workloads, "workload")), unknown > 0 ? `, and perhaps ${unknown} more.` : "."),
      items.length > 0 && h("ul", {}, items, more)];
  }
  return (told?.routing ?? []).flatMap(({ namespace, name, obstacle, notReached }) => [
    h("p", {}, "Callers of ", h("b", {}, `${name} in ${namespace}`), obstacle ? " are not stopped:" : " in the mesh get an error. Not reached:"),
    h("ul", {}, (obstacle ? [obstacle] : notReached).map((sentence) => h("li", {}, sentence))),
  ]);
}

function summaryOf(told) {
  return [
    h("p", {}, "It would hold until ", when(told.endsAt), "."),
    ...whom(told), ...warnings(told),
  ];
}
