// The words of the page: states, times, rules.

/** How a workload can stand, the most worrying first, with what is said of it. */
export const STATES = {
  OutUnexpected: ["out (unexpected)", "new pods get a sidecar, and some were created without one though that was so already"],
  Unreachable: ["unreachable", "what is decided cannot have its effect"],
  Mixed: ["mixed", "some pods are as new ones would be, and some are not"],
  PendingRestart: ["pending restart", "the running pods are not as new ones would be"],
  Suspended: ["suspended", "injection is suspended: new pods get no sidecar while it lasts"],
  Unknown: ["unknown", "what new pods would get, or what the pods have, cannot be told"],
  InMesh: ["in mesh", "new pods get a sidecar, or bring one, and all that run have it"],
  OutIntended: ["out (intended)", "new pods get none, and none that runs has one"],
  NoPods: ["no pods", "it has no pods"],
};

export const word = (state) => STATES[state]?.[0] ?? state;

/** What became of a rule, in words. */
export const OUTCOMES = {
  Won: "wins", Outranked: "outranked", Refused: "refused", NoMatch: "does not match", NotYet: "not yet",
  Ended: "over", PassedOver: "passed over", Would: "would (audit)", Untold: "not told", Unknown: "unknown",
};

export const EFFECTS = {
  Injected: "injected", NotInjected: "not injected", Unreachable: "unreachable", Unknown: "unknown",
};

/** How a rule is named. */
export function ruleName(rule) {
  if (rule.kind === "None") return "no rule";
  return `${rule.kind} ${rule.namespace ? `${rule.namespace}/` : ""}${rule.name}`;
}

let ahead = 0;

/** Learns how far the server's clock is ahead of ours. */
export function learnTime(date) {
  const server = Date.parse(date ?? "");
  // Its seconds are whole; less than two of difference is none.
  if (Number.isFinite(server)) ahead = Math.abs(server - Date.now()) < 2000 ? 0 : server - Date.now();
}

/** Now, as the server has it, in milliseconds. */
export const now = () => Date.now() + ahead;

/** A span in words: the two largest units that count. */
export function span(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (days > 0) return hours > 0 && days < 7 ? `${days} d ${hours} h` : `${days} d`;
  if (hours > 0) return minutes > 0 ? `${hours} h ${minutes} min` : `${hours} h`;
  if (minutes >= 10) return `${minutes} min`;
  if (minutes > 0) return `${minutes} min ${seconds % 60} s`;
  return `${seconds} s`;
}

/** How long ago, or in how long. */
export function relative(time) {
  const away = Date.parse(time) - now();
  if (!Number.isFinite(away)) return time;
  if (Math.abs(away) < 1000) return "now";
  return away > 0 ? `in ${span(away)}` : `${span(-away)} ago`;
}

/** A time as people say it to each other. */
export function clock(time) {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? time : date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

/** The exact time, as this place has it. */
export function exact(time) {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? time : `${date.toLocaleString()} (${time})`;
}

/** The word for many of something. */
export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;
