// The knowledge map, and how far the workers are with it.

import { get } from "./api.js";
import { h, setText } from "./dom.js";
import { Table } from "./table.js";
import { count, shortId, size, things } from "./words.js";

/** Most of a value in a row. */
const VALUE_MAX = 400;

export function knowledge(_sampler, params) {
  const prefix = h("input", { type: "search", placeholder: "what topics begin with", "aria-label": "Topics that begin with", "data-search": true, autocomplete: "off" });
  prefix.value = params.get("prefix") ?? "";
  const entries = new Table({
    label: "Entries",
    key: (entry) => `${entry.topic}\n${entry.key}`,
    empty: "No entry.",
    columns: [
      { title: "Topic", text: (entry) => entry.topic },
      { title: "Key", text: (entry) => entry.key },
      { title: "Revision", text: (entry) => entry.revision, class: "number" },
      { title: "Value", text: shown, hint: (entry) => (entry.left_out ? null : shown(entry)), tone: () => "mono", class: "grow cut" },
    ],
  });
  const replicas = new Table({
    label: "Replicas",
    key: (worker) => worker.worker,
    empty: "No worker is connected.",
    columns: [
      { title: "Worker", text: (worker) => worker.name, hint: (worker) => worker.worker, class: "grow" },
      { title: "Has revision", text: (worker) => worker.revision, class: "number" },
      { title: "Behind", text: (worker) => worker.behind, tone: (worker) => (worker.behind > 0 ? "careful" : "good"), class: "number" },
      { title: "Id", text: (worker) => shortId(worker.worker), hint: (worker) => worker.worker, class: "wide id" },
    ],
  });
  const told = h("span", { class: "faint", role: "status" });
  const more = h("button", { type: "button", hidden: true }, "Show more");
  let rows = [];
  let pages = 0;
  let turn = 0;
  let revision = null;

  async function read(isMore) {
    const mine = ++turn;
    const wanted = new URLSearchParams({ prefix: prefix.value.trim(), values: "true" });
    const last = rows.at(-1);
    if (isMore && last) {
      wanted.set("after_topic", last.topic);
      wanted.set("after_key", last.key);
    }
    try {
      const page = await get(`/v1/knowledge?${wanted}`, { exact: true });
      if (mine !== turn) return;
      rows = isMore ? [...rows, ...page.rows] : page.rows;
      pages = isMore ? pages + 1 : 1;
      entries.update(rows);
      more.hidden = !page.more;
      const status = await get("/v1/knowledge/status");
      if (mine !== turn) return;
      replicas.update(status.workers.map((worker) => ({ ...worker, behind: Math.max(0, status.revision - worker.revision) })));
      setText(told, `revision ${count(status.revision)}, ${things(status.entries, "entry", "entries")}, ${size(status.bytes)}`);
    } catch (error) {
      if (mine === turn) setText(told, error.message);
    }
  }

  prefix.addEventListener("change", () => read(false));
  more.addEventListener("click", () => read(true));
  read(false);
  return {
    root: h(
      "div",
      { class: "view" },
      h("div", { class: "head" }, h("h1", {}, "Knowledge"), prefix, told),
      h("div", { class: "panel" }, entries.root, more),
      h("div", { class: "panel" }, h("h2", {}, "Who has it"), replicas.root),
    ),
    update({ last, workers }) {
      // A change of the map, or a worker that has caught up.
      const now = `${last.status.revision} ${workers.map((worker) => worker.revision).join(" ")}`;
      if (revision !== null && revision !== now && pages <= 1) read(false);
      revision = now;
    },
    refresh: () => read(false),
    end: () => (turn += 1),
  };
}

function shown(entry) {
  if (entry.left_out) return "too large to be shown here";
  const text = typeof entry.value === "string" ? entry.value : JSON.stringify(entry.value ?? null);
  return text.length > VALUE_MAX ? `${text.slice(0, VALUE_MAX)}…` : text;
}
