// What runs, what waits and why, who is sick, what died.

import { h, setClass, setText } from "./dom.js";
import { findings } from "./findings.js";
import { kindsTable } from "./kinds.js";
import { Plot } from "./plot.js";
import { tellsLatency } from "./sample.js";
import { Table } from "./table.js";
import { busyColumn, heardColumn, nameColumn, whyNone } from "./workers.js";
import { count, percent, rate, short, size, things, time } from "./words.js";

/** Most workers in the overview; the rest is a link away. */
const WORKERS_MAX = 12;

const FIGURES = [
  { id: "queued", name: "waiting", link: "#/tasks?state=queued", read: ({ status }) => count(status.queued), note: ({ status }) => waitingNote(status) },
  { id: "running", name: "running", link: "#/tasks?state=running", read: ({ status }) => count(status.running), note: ({ status }) => `${count(status.assigned)} given out, not started` },
  { id: "rate", name: "ended a second", read: ({ ended }) => rate(ended), note: ({ came }) => `${rate(came)} handed in a second` },
  { id: "latency", name: "latency", isShown: tellsLatency, read: ({ latency }) => (latency ? atMost(latency.p95) : "–"), note: ({ latency }) => (latency ? `95 of 100; half ${atMost(latency.p50)}` : "nothing ended in the last second") },
  { id: "workers", name: "workers", link: "#/workers", read: ({ status }) => count(status.workers), note: ({ status, utilisation }) => `${things(status.slots, "slot")}, ${percent(utilisation)} busy` },
  { id: "dead", name: "dead or failed", link: "#/dead", read: ({ status }) => count(status.dead_set), note: ({ status }) => `${count(status.retained)} outcomes kept, ${size(status.retained_bytes)}`, tone: ({ status }) => (status.dead_set > 0 ? "bad" : "") },
];

/** A bound: the broker counts in buckets. */
function atMost(ms) {
  return `≤ ${time(ms)}`;
}

function waitingNote({ parked, delayed }) {
  const parts = [];
  if (parked > 0) parts.push(`${count(parked)} parked`);
  if (delayed > 0) parts.push(`${count(delayed)} not due yet`);
  return parts.join(", ") || "none parked, none delayed";
}

export function overview() {
  const figures = FIGURES.map(figure);
  const attention = h("ul", { class: "findings", "aria-label": "What needs attention" });
  const plots = makePlots();
  const kinds = kindsTable();
  const workers = new Table({
    label: "Workers",
    key: (worker) => worker.id,
    empty: "",
    columns: [nameColumn(), busyColumn(), heardColumn()],
  });
  const more = h("a", { class: "more", href: "#/workers" });
  const root = h(
    "div",
    { class: "view" },
    h("h1", { class: "hidden" }, "Overview"),
    h("section", { class: "figures", "aria-label": "Figures" }, figures.map((one) => one.root)),
    attention,
    h("section", { class: "plots", "aria-label": "The last five minutes" }, plots.map((plot) => plot.root)),
    h(
      "section",
      { class: "halves" },
      h("div", { class: "panel" }, h("h2", {}, "Queues by kind"), kinds.root),
      h("div", { class: "panel" }, h("h2", {}, "Workers"), workers.root, more),
    ),
  );
  return {
    root,
    update(sampler) {
      const { last } = sampler;
      figures.forEach((one) => one.update(last));
      tell(attention, findings(last.status, sampler.workers));
      plots.forEach((plot) => plot.update(sampler.samples));
      kinds.update(last.status.kinds);
      workers.update(busiest(sampler.workers));
      setText(workers.empty, whyNone(sampler));
      const rest = last.status.workers - Math.min(WORKERS_MAX, sampler.workers.length);
      more.hidden = rest <= 0 || sampler.isDeniedWorkers;
      setText(more, `and ${things(rest, "worker")} more`);
    },
    end: () => plots.forEach((plot) => plot.end()),
  };
}

/** Sick ones first, then by name: a row that jumps every second cannot be read. */
function busiest(workers) {
  const rank = (worker) => (worker.state === "ready" ? 1 : 0);
  const order = (one, other) => rank(one) - rank(other) || one.name.localeCompare(other.name, "en", { numeric: true });
  return [...workers].sort(order).slice(0, WORKERS_MAX);
}

function figure({ id, name, link, read, note, tone, isShown = () => true }) {
  const value = h("b", { class: "value", "data-figure": id }, "–");
  const detail = h("small", {}, "\u00a0");
  const root = h(link ? "a" : "div", { class: "figurebox", href: link }, value, h("span", { class: "name" }, name), detail);
  const update = (sample) => {
    root.hidden = !isShown(sample);
    setText(value, read(sample));
    setText(detail, note(sample));
    setClass(value, `value ${tone?.(sample) ?? ""}`.trim());
  };
  return { root, update };
}

function tell(list, found) {
  const lines = found.map(({ tone, text, link }) =>
    h("li", { class: tone }, link ? h("a", { href: link }, text) : text),
  );
  const said = found.map(({ tone, text }) => `${tone} ${text}`).join("\n");
  // What is said again is not announced again.
  if (list.dataset.said === said) return;
  list.dataset.said = said;
  list.replaceChildren(...lines);
}

function makePlots() {
  return [
    new Plot({
      title: "Tasks a second",
      hint: "Counters of the broker, over the time between two answers",
      write: short,
      series: [
        { name: "handed in", class: "one", read: (sample) => sample.came },
        { name: "ended", class: "two", read: (sample) => sample.ended },
      ],
    }),
    new Plot({
      title: "Latency, from submission to outcome",
      hint: "Of the tasks that ended in each second; upper bounds, because the broker counts in buckets",
      isShown: tellsLatency,
      write: atMost,
      mark: time,
      isLog: true,
      series: [
        { name: "half", class: "one", read: (sample) => sample.latency?.p50 ?? null },
        { name: "95 of 100", class: "three", read: (sample) => sample.latency?.p95 ?? null },
        { name: "99 of 100", class: "bad", read: (sample) => sample.latency?.p99 ?? null },
      ],
    }),
    new Plot({
      title: "Tasks that wait and run",
      hint: "As the broker has them at each answer",
      write: short,
      series: [
        { name: "waiting", class: "three", isFilled: true, read: ({ status }) => status.queued },
        { name: "not due", class: "four", read: ({ status }) => status.delayed },
        { name: "with workers", class: "two", read: ({ status }) => status.assigned + status.running },
      ],
    }),
    new Plot({
      title: "Slots that are busy",
      hint: "Time that handlers ran, over the time of all slots",
      write: percent,
      max: 1,
      series: [{ name: "of all slots", class: "used", isFilled: true, read: (sample) => sample.utilisation }],
    }),
  ];
}
