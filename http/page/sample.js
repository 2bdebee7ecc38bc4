// What the broker says of itself, about once a second, and what follows from two such answers.
//
// Nothing here grows with the work that passes: a rate is the difference of two counters over the time between
// them, by the broker's own clock. While nobody looks at the page, nothing is asked.

import { get } from "./api.js";

/** Between the beginnings of two rounds. */
const EVERY_MS = 1000;
/** After a round without an answer. */
const RETRY_MS = 3000;
/** How much is remembered for the plots. */
export const SAMPLES_MAX = 300;
/** With more workers than this, they are asked for less often: a page of them is some hundred kilobytes. */
const WORKERS_EACH_ROUND_MAX = 100;
const WORKERS_EVERY_ROUNDS = 5;

const OUTCOMES = ["tasks_succeeded", "tasks_failed", "tasks_cancelled", "tasks_expired", "tasks_dead"];

/** Asks, remembers, and tells whoever listens for `sample` and `lost`. */
export class Sampler extends EventTarget {
  /** Newest last; each is what one round brought. A `null` is a gap: the broker was another, or silent. */
  samples = [];
  workers = [];
  /** Whoever asks may not list workers. */
  isDeniedWorkers = false;
  /** Not all workers fit into one page of the listing. */
  hasMoreWorkers = false;
  /** Why the last round brought nothing. */
  lost = null;
  #rounds = 0;
  #timer = 0;
  #isAsking = false;
  #workerMarks = new Map();

  start() {
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#rest() : this.now()));
    this.now();
  }

  get last() {
    return this.samples.at(-1) ?? null;
  }

  /** Asks at once, unless a round is under way. */
  now() {
    this.#rest();
    if (!this.#isAsking && !document.hidden) this.#round();
  }

  #rest() {
    clearTimeout(this.#timer);
  }

  async #round() {
    this.#isAsking = true;
    const began = performance.now();
    let pause = EVERY_MS;
    try {
      const isWorkersTurn =
        this.workers.length <= WORKERS_EACH_ROUND_MAX || this.#rounds % WORKERS_EVERY_ROUNDS === 0;
      const [status, workers] = await Promise.all([
        get("/v1/status"),
        isWorkersTurn ? this.#askWorkers() : Promise.resolve(null),
      ]);
      this.#rounds += 1;
      if (workers) this.#takeWorkers(workers, performance.now());
      this.#takeStatus(status);
      this.lost = null;
      this.dispatchEvent(new Event("sample"));
    } catch (error) {
      pause = RETRY_MS;
      this.lost = error;
      this.dispatchEvent(new Event("lost"));
    }
    this.#isAsking = false;
    if (!document.hidden) this.#timer = setTimeout(() => this.#round(), Math.max(0, began + pause - performance.now()));
  }

  /** To list workers is a right of its own; whoever lacks it sees the rest. */
  async #askWorkers() {
    try {
      const page = await get("/v1/workers");
      this.isDeniedWorkers = false;
      return page;
    } catch (error) {
      if (error.code !== "denied") throw error;
      this.isDeniedWorkers = true;
      return { rows: [] };
    }
  }

  #takeStatus(status) {
    const before = this.last;
    const isSame = before && before.status.epoch === status.epoch && before.status.uptime_ms < status.uptime_ms;
    const isGap = this.lost !== null || (before && !isSame);
    if (isGap && this.samples.length > 0) this.samples.push(null);
    const since = isSame && !isGap ? before.status : null;
    this.samples.push({ status, seen: Date.now(), utilisation: this.#utilisation(), ...flow(since, status) });
    this.samples.splice(0, Math.max(0, this.samples.length - SAMPLES_MAX));
  }

  /** What part of each worker's slots was busy since it was last asked. */
  #takeWorkers({ rows, next }, at) {
    const marks = new Map();
    this.hasMoreWorkers = Boolean(next);
    this.workers = rows.map((worker) => {
      const mark = this.#workerMarks.get(worker.id);
      const passed = mark ? at - mark.at : 0;
      const per = (now, then) => (passed > 0 ? Math.max(0, now - then) / (passed / 1000) : null);
      const busy = mark && worker.busy_us !== undefined ? per(worker.busy_us, mark.worker.busy_us) : null;
      const utilisation = busy === null ? null : Math.min(1, busy / 1e6 / worker.slots);
      const trail = [...(mark?.trail ?? []), utilisation].slice(-60);
      marks.set(worker.id, { at, worker, trail });
      return { ...worker, utilisation, ended_rate: mark ? per(worker.ended, mark.worker.ended) : null, trail };
    });
    this.#workerMarks = marks;
  }

  #utilisation() {
    const known = this.workers.filter((worker) => worker.utilisation !== null);
    const slots = known.reduce((sum, worker) => sum + worker.slots, 0);
    return slots === 0 ? null : known.reduce((sum, worker) => sum + worker.utilisation * worker.slots, 0) / slots;
  }
}

/** Whether the broker tells how long tasks take. */
export function tellsLatency({ status }) {
  return spans(status) !== null;
}

/** What passed between two answers. */
function flow(before, now) {
  if (!before) return { came: null, ended: null, latency: null };
  const seconds = (now.uptime_ms - before.uptime_ms) / 1000;
  const more = (name) => (now.counters[name] ?? 0) - (before.counters[name] ?? 0);
  return {
    came: more("tasks_accepted") / seconds,
    ended: OUTCOMES.reduce((sum, name) => sum + more(name), 0) / seconds,
    latency: latency(spans(before), spans(now)),
  };
}

/** The spans that a status reply tells, where it tells any: from submission to outcome. */
function spans(status) {
  return status.durations?.find((one) => one.name === "submit_to_settle") ?? null;
}

/**
 * How long tasks took from submission to outcome, in milliseconds, of those that ended between two answers. The
 * broker counts them in buckets, so what is said here is a bound: half of them took no longer than `p50`.
 */
function latency(before, now) {
  if (!before || !now) return null;
  const ended = now.counts.map((number, place) => Math.max(0, number - (before.counts[place] ?? 0)));
  const all = ended.reduce((sum, number) => sum + number, 0);
  if (all === 0) return null;
  const within = (share) => {
    let seen = 0;
    const place = ended.findIndex((number) => (seen += number) >= all * share);
    // Above all buckets there is no bound; what is above the last is said to be twice that.
    return (now.bounds_us[place] ?? now.bounds_us.at(-1) * 2) / 1000;
  };
  return { p50: within(0.5), p95: within(0.95), p99: within(0.99) };
}
