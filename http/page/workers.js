// Workers: how busy, how quick, how lately heard.

import { call, path } from "./api.js";
import { attempt, confirm } from "./dialog.js";
import { h, setText } from "./dom.js";
import { sparkline } from "./plot.js";
import { bar, Table } from "./table.js";
import { count, percent, rate, run, things, time } from "./words.js";

const TONES = { ready: "good", draining: "careful", away: "bad" };

export function nameColumn() {
  return { title: "Worker", text: (worker) => worker.name, hint: (worker) => `${worker.id} on ${worker.host}, process ${worker.pid}`, tone: (worker) => (worker.state === "ready" ? "" : TONES[worker.state]), class: "grow" };
}

/** Why there is no row. */
export function whyNone({ isDeniedWorkers, last }) {
  if (isDeniedWorkers) return "This token may not list workers.";
  return last?.status.workers > 0 ? "No worker fits." : "No worker is connected. Start one with ganger-worker.";
}

/** The last minute as a line, the last second as a bar and a number. */
export function busyColumn() {
  return {
    title: "Busy",
    class: "busy",
    part() {
      const line = sparkline();
      const share = bar();
      const text = h("span", { class: "share-text" });
      const update = (worker) => {
        line.update(worker.trail);
        share.update(worker.utilisation, `${percent(worker.utilisation)} of ${things(worker.slots, "slot")}`);
        text.textContent = percent(worker.utilisation);
      };
      return { root: h("span", { class: "busybox" }, line.root, share.root, text), update };
    },
  };
}

export function heardColumn() {
  return { title: "Silent", text: (worker) => time(worker.silent_ms), hint: () => "since it was last heard", tone: (worker) => (worker.silent_ms > 2_500 ? "bad" : ""), class: "number" };
}

export function workers(sampler) {
  const search = h("input", { type: "search", placeholder: "name, host or kind", "data-search": true, "aria-label": "Search workers", on: { input: () => update(sampler) } });
  const table = new Table({
    label: "Workers",
    key: (worker) => worker.id,
    empty: "",
    columns: [
      nameColumn(),
      { title: "State", text: (worker) => worker.state, tone: (worker) => TONES[worker.state] },
      busyColumn(),
      { title: "Slots", text: (worker) => `${count(worker.running)} of ${count(worker.slots)}`, hint: () => "tasks reported as running, of its slots", class: "number mid" },
      { title: "In reserve", text: (worker) => count(worker.waiting), hint: () => "tasks that it holds and has not reported as started", class: "number wide" },
      { title: "Credit", text: (worker) => count(worker.credit), hint: () => "how many tasks it may hold", class: "number mid" },
      { title: "Ended", text: (worker) => count(worker.ended), class: "number wide" },
      { title: "A second", text: (worker) => rate(worker.ended_rate), class: "number mid" },
      { title: "Run", text: (worker) => run(worker.average_run_us), hint: () => "average run of a task", class: "number mid" },
      heardColumn(),
      { title: "Knowledge", text: (worker) => knowledge(worker), tone: (worker) => (isBehind(worker) ? "careful" : ""), class: "number wide" },
      { title: "Host", text: (worker) => worker.host, class: "wide" },
      { title: "Kinds", text: (worker) => worker.kinds.join(", "), hint: (worker) => worker.kinds.join(", "), class: "wide cut" },
      { title: "", action: { label: () => "Drain", press: drain, isShown: (worker) => worker.state === "ready" } },
    ],
  });
  let revision = 0;
  const isBehind = (worker) => worker.revision < revision;
  const knowledge = (worker) => (isBehind(worker) ? `${worker.revision}, ${revision - worker.revision} behind` : `${worker.revision}`);
  const more = h("p", { class: "faint" });

  function update(sampler) {
    const { workers, last, hasMoreWorkers } = sampler;
    setText(table.empty, whyNone(sampler));
    revision = last?.status.revision ?? 0;
    const wanted = search.value.trim().toLowerCase();
    const fits = (worker) => [worker.name, worker.id, worker.host, ...worker.kinds].some((text) => text.toLowerCase().includes(wanted));
    const order = (one, other) => one.name.localeCompare(other.name, "en", { numeric: true });
    const rows = [...workers].sort(order).filter(fits);
    table.update(rows);
    const all = last?.status.workers ?? workers.length;
    more.textContent = hasMoreWorkers ? `The first ${count(workers.length)} of ${count(all)} are here.` : `${count(rows.length)} of ${things(all, "worker")}`;
  }

  const root = h(
    "div",
    { class: "view" },
    h("div", { class: "head" }, h("h1", {}, "Workers"), search, more),
    h("div", { class: "panel" }, table.root),
  );
  return { root, update };
}

async function drain(worker) {
  const isSure = await confirm({
    title: `Drain ${worker.name}?`,
    text: `It takes nothing new, finishes what runs for up to 30 s, hands the rest back, and its process ends. It runs ${things(worker.running, "task")} now.`,
    yes: "Drain it",
  });
  if (isSure) await attempt(() => call("POST", path`/v1/workers/${worker.id}/drain`), `${worker.name} has been told`);
}
