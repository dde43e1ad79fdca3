// The server: asked with the token, again and again; what is known stays on the page while it is away.

import { learnTime, now } from "./words.js";

const KEY = "outrigger.token";

// In the tab's session storage: a reload or a followed link in this tab does not ask again, and it ends with the tab. Nothing
// from elsewhere runs here, by the page's own policy; a copy that outlives the tab would be of use to nobody but a thief.
const kept = sessionStorage.getItem(KEY);
// An object of its own for each time that somebody enters: whoever comes back with the same token has another session.
let pass = kept === null ? null : { token: kept };

/** What the server refuses, or that it cannot be reached: then the status is 0. */
export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

const hearers = { left: () => {}, away: () => {}, back: () => {} };

/** Whom to tell that the token is over, that the server is away, and that it is back. */
export function hear(given) {
  Object.assign(hearers, given);
}

export const isKnown = () => pass !== null;

/** Takes a token, and finds out whose it is and what there is to ask for. */
export async function enter(given) {
  pass = { token: given };
  const about = await ask("/api/v1");
  sessionStorage.setItem(KEY, given);
  return about.body;
}

/** What asks again by itself. */
const running = new Set();

/** Forgets the token, and stops whatever runs with it. */
export function leave(why) {
  if (pass === null) return;
  pass = null;
  sessionStorage.removeItem(KEY);
  running.forEach((one) => one.stop());
  hearers.left(why);
}

/** Asks once; a body that is a text is YAML, and anything else JSON. A token that is no longer taken ends the session. */
export async function ask(path, { method = "GET", body, headers = {}, signal } = {}) {
  const shown = pass;
  if (shown === null) throw over();
  const all = { ...headers, Authorization: `Bearer ${shown.token}` };
  const isText = typeof body === "string";
  if (body !== undefined) all["Content-Type"] = isText ? "application/yaml" : "application/json";
  const sent = body === undefined || isText ? body : JSON.stringify(body);
  const response = await reached(fetch(path, { method, headers: all, body: sent, signal, cache: "no-store", redirect: "error", credentials: "omit" }));
  learnTime(response.headers.get("date"));
  const isTaken = response.ok || response.status === 304;
  const told = isTaken ? await answered(response) : await response.json().catch(() => ({}));
  // What comes too late is told to nobody: somebody else may be here by now.
  if (shown !== pass) throw over();
  if (isTaken) return told;
  if (response.status === 401) leave("The token is not taken, or not any more. Show another one.");
  throw new Problem(response.status, told.detail ?? `the server answered ${response.status}`);
}

const over = () => new Problem(401, "the session is over; log in, and ask again");

async function reached(answer) {
  try {
    return await answer;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "the server does not answer");
  }
}

async function answered(response) {
  const isJson = response.headers.get("content-type")?.startsWith("application/json");
  const body = isJson ? await reached(response.json()) : null;
  return { status: response.status, tag: response.headers.get("etag"), body, response };
}

/** Asks for something now and every few seconds, tells of it when it is new, and waits longer and longer while the server is away. */
export class Poll {
  constructor(path, { every = 5000, found, refused = () => {} }) {
    Object.assign(this, { path, every, found, refused, tag: null, failures: 0 });
    this.seen = () => { if (!document.hidden && !this.isRefused) this.again(); };
    document.addEventListener("visibilitychange", this.seen);
    running.add(this);
    this.again();
  }

  /** Asks at once. */
  again() {
    this.isRefused = false;
    clearTimeout(this.timer);
    this.current?.abort();
    if (!this.isOver) this.once();
  }

  stop() {
    this.isOver = true;
    clearTimeout(this.timer);
    this.current?.abort();
    this.current = undefined;
    document.removeEventListener("visibilitychange", this.seen);
    running.delete(this);
    settled(this);
  }

  async once() {
    const current = new AbortController();
    this.current = current;
    const headers = this.tag === null ? {} : { "If-None-Match": this.tag };
    try {
      const answer = await ask(this.path, { headers, signal: current.signal });
      if (current === this.current) this.answered(answer);
    } catch (error) {
      if (current !== this.current) return;
      if (!(error instanceof Problem)) throw error;
      this.failed(error);
    } finally {
      // Also after an answer that nobody here can show.
      if (current === this.current) this.plan();
    }
  }

  answered({ status, tag, body }) {
    this.failures = 0;
    settled(this);
    if (status === 304) return;
    this.found(body);
    // Only what is shown need not be told again.
    this.tag = tag;
  }

  failed(problem) {
    if (problem.status === 0 || problem.status >= 500) {
      this.failures += 1;
      away.add(this);
      hearers.away(problem, now() + this.wait());
      return;
    }
    // Who may not does not ask every few seconds: each time is recorded. They ask again by an act of their own. What is not
    // there may come, or another replica may know of it.
    this.isRefused = problem.status === 403;
    this.failures = 0;
    // What was shown before is not shown any more.
    this.tag = null;
    settled(this);
    if (problem.status !== 401) this.refused(problem);
  }

  wait() {
    return this.failures === 0 ? this.every : Math.min(60000, 1000 * 2 ** Math.min(this.failures, 6));
  }

  plan() {
    // A page that nobody looks at asks for nothing; it asks at once when somebody does.
    if (!this.isOver && !this.isRefused && !document.hidden) this.timer = setTimeout(() => this.once(), this.wait());
  }
}

/** Those to which the server does not answer. */
const away = new Set();

function settled(poll) {
  if (away.delete(poll) && away.size === 0) hearers.back();
}

/** Asks again for everything that could not be had. */
export function tryAgain() {
  away.forEach((poll) => poll.again());
}

/** Listens to server-sent events, and begins again whenever they end. */
export class Stream {
  constructor(path, { heard, state, refused }) {
    Object.assign(this, { path, heard, state, refused, failures: 0 });
    running.add(this);
    this.run();
  }

  stop() {
    this.isOver = true;
    clearTimeout(this.timer);
    this.current?.abort();
    running.delete(this);
  }

  async run() {
    this.current = new AbortController();
    try {
      const { response } = await ask(this.path, { signal: this.current.signal });
      this.failures = 0;
      this.state("connected");
      await this.read(response.body.pipeThrough(new TextDecoderStream()).getReader());
    } catch (error) {
      if (this.isOver || error.name === "AbortError") return;
      if (error instanceof Problem && error.status >= 400 && error.status < 500) {
        if (error.status !== 401) this.refused(error);
        return;
      }
    }
    if (this.isOver) return;
    this.failures += 1;
    this.state("away");
    this.timer = setTimeout(() => this.run(), Math.min(60000, 1000 * 2 ** Math.min(this.failures, 6)));
  }

  async read(reader) {
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      blocks.forEach((block) => this.block(block));
    }
  }

  block(block) {
    let [event, data] = ["message", ""];
    for (const line of block.split("\n")) {
      if (line.startsWith("event: ")) event = line.slice(7);
      else if (line.startsWith("data: ")) data += line.slice(6);
    }
    if (data !== "") this.heard(event, JSON.parse(data));
  }
}
