// What an operator should look at, from one answer of the broker. Each finding says what is and why.

import { count, things, time } from "./words.js";

/** A worker that was not heard for longer than this, with a heartbeat a second, is late. */
const LATE_MS = 2_500;
/** A task that waits for longer than this is worth a word. */
const LONG_MS = 60_000;
/** Most findings of one sort. */
const SOME = 3;

/** The findings, worst first; never empty. */
export function findings(status, workers) {
  const found = [
    ...storage(status),
    ...lost(workers),
    ...unserved(status),
    ...paused(status),
    ...slow(status),
    ...died(status),
    ...draining(status, workers),
  ];
  const rank = { bad: 0, careful: 1 };
  found.sort((one, other) => rank[one.tone] - rank[other.tone]);
  return found.length > 0 ? found : [{ tone: "good", text: calm(status) }];
}

function calm({ workers, queued, running, assigned }) {
  if (workers === 0) return "No worker is connected, and nothing waits for one.";
  const busy = running + assigned;
  if (queued + busy === 0) return "All is quiet: nothing waits, nothing runs.";
  return queued === 0 ? "All is well: nothing waits." : `All is well: ${things(queued, "task")} in line, none for long.`;
}

function storage({ counters }) {
  if (!counters.journal_full) return [];
  return [{ tone: "bad", text: "The disk has no room for the journal: the broker takes nothing new." }];
}

function lost(workers) {
  const sick = workers.filter((worker) => worker.state === "away" || worker.silent_ms > LATE_MS);
  return some(sick, (worker) => ({
    tone: worker.state === "away" ? "bad" : "careful",
    text: `${worker.name} ${worker.state === "away" ? "has lost its connection and was" : "was"} not heard for ${time(worker.silent_ms)}, with ${things(worker.running + worker.waiting, "task")}.`,
    link: "#/workers",
  }), "worker");
}

function unserved({ kinds }) {
  const parked = kinds.filter((kind) => kind.workers === 0 && kind.queued > 0 && !kind.paused);
  return some(parked, (kind) => ({
    tone: "careful",
    text: `${things(kind.queued, "task")} of ${kind.kind} ${waits(kind.queued)}: no connected worker serves that kind.`,
    link: `#/tasks?state=parked&kind=${encodeURIComponent(kind.kind)}`,
  }), "kind");
}

function paused({ kinds }) {
  return some(kinds.filter((kind) => kind.paused), (kind) => ({
    tone: "careful",
    text: `${kind.kind} is paused: ${things(kind.queued, "task")} ${waits(kind.queued)} until somebody resumes it.`,
    link: `#/tasks?state=queued&kind=${encodeURIComponent(kind.kind)}`,
  }), "kind");
}

function slow({ kinds }) {
  const late = kinds.filter((kind) => !kind.paused && kind.workers > 0 && kind.queued > 0 && kind.oldest_ms > LONG_MS);
  return some(late, (kind) => ({
    tone: "careful",
    text: `The oldest task of ${kind.kind} has waited for ${time(kind.oldest_ms)}: ${things(kind.workers, "worker")} for ${count(kind.queued)} in line.`,
    link: `#/tasks?state=queued&kind=${encodeURIComponent(kind.kind)}`,
  }), "kind");
}

function died({ dead_set: dead }) {
  if (dead === 0) return [];
  return [{ tone: "bad", text: `${things(dead, "task")} failed for good or took workers down.`, link: "#/dead" }];
}

function draining(status, workers) {
  const going = workers.filter((worker) => worker.state === "draining").length;
  return [
    ...(status.draining ? [{ tone: "careful", text: "The broker is going down and takes nothing new." }] : []),
    ...(going > 0 ? [{ tone: "careful", text: `${things(going, "worker")} ${going === 1 ? "drains" : "drain"}.`, link: "#/workers" }] : []),
  ];
}

function waits(number) {
  return number === 1 ? "waits" : "wait";
}

function some(items, say, name) {
  const said = items.slice(0, SOME).map(say);
  if (items.length > SOME) said.push({ ...said.at(-1), text: `The same of ${things(items.length - SOME, name)} more.` });
  return said;
}
