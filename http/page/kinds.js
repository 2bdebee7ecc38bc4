// The queues by kind, with pause and resume where the broker has them.

import { call, has, path } from "./api.js";
import { attempt, confirm } from "./dialog.js";
import { Table } from "./table.js";
import { count, time } from "./words.js";

/** Most kinds in the table: those with most tasks. */
const KINDS_MAX = 50;

export function kindsTable() {
  let canPause = false;
  has("post", "/v1/kinds/{kind}/pause").then((it) => (canPause = it));
  const table = new Table({
    label: "Queues by kind",
    key: (kind) => kind.kind,
    empty: "No tasks, and no worker that serves a kind.",
    columns: [
      { title: "Kind", text: (kind) => kind.kind, link: (kind) => `#/tasks?kind=${encodeURIComponent(kind.kind)}`, class: "grow" },
      { title: "Waiting", text: (kind) => count(kind.queued), tone: (kind) => (isParked(kind) ? "careful" : ""), class: "number" },
      { title: "With workers", text: (kind) => count(kind.leased), class: "number mid" },
      { title: "Workers", text: (kind) => count(kind.workers), tone: (kind) => (isParked(kind) ? "careful" : ""), class: "number mid" },
      { title: "Oldest", text: (kind) => (kind.queued === 0 ? "–" : time(kind.oldest_ms)), class: "number" },
      { title: "", action: { label: (kind) => (kind.paused ? "Resume" : "Pause"), press: turn, isShown: () => canPause } },
    ],
  });
  return {
    root: table.root,
    update(kinds) {
      const most = [...kinds].sort((one, other) => other.queued + other.leased - one.queued - one.leased);
      const kept = new Set(most.slice(0, KINDS_MAX));
      table.update(kinds.filter((kind) => kept.has(kind)));
    },
  };
}

function isParked(kind) {
  return kind.workers === 0 && kind.queued > 0;
}

async function turn({ kind, paused, queued }) {
  if (paused) return attempt(() => call("POST", path`/v1/kinds/${kind}/resume`), `${kind} goes on`);
  const isSure = await confirm({
    title: `Pause ${kind}?`,
    text: `Nothing of this kind is given to workers until somebody resumes it. ${count(queued)} wait; what runs goes on.`,
    yes: "Pause it",
  });
  return isSure ? attempt(() => call("POST", path`/v1/kinds/${kind}/pause`), `${kind} is paused`) : null;
}
