// The dead set: what failed for good, and what took workers down.

import { call, get, has } from "./api.js";
import { attempt, confirm } from "./dialog.js";
import { button, h, setText } from "./dom.js";
import { Table } from "./table.js";
import { taskColumns } from "./tasks.js";
import { count, things } from "./words.js";

const PAGE = 100;

export function dead(sampler) {
  const outcome = h("select", { "aria-label": "Outcome" }, [["", "dead and failed"], ["dead", "dead"], ["failed", "failed"]].map(([value, name]) => h("option", { value }, name)));
  const kind = h("input", { type: "search", placeholder: "any kind", "aria-label": "Kind", "data-search": true, autocomplete: "off" });
  const chosen = new Set();
  const table = new Table({
    label: "Dead set",
    key: (task) => task.id,
    empty: "Nothing is dead.",
    columns: [
      { title: "Chosen", head: "", part: () => tick(chosen, () => show()) },
      ...taskColumns().filter((column) => !["Took", "Priority"].includes(column.title)),
    ],
  });
  const told = h("span", { class: "faint", role: "status" });
  const more = h("button", { type: "button", hidden: true }, "Show more");
  const retry = button("", () => act("retry"), { class: "main" });
  const discard = button("", () => act("discard"), { class: "danger", hidden: true });
  let canDiscard = false;
  let rows = [];
  let next = null;
  let turn = 0;
  let size = null;

  function show() {
    const here = new Set(rows.map((task) => task.id));
    [...chosen].filter((id) => !here.has(id)).forEach((id) => chosen.delete(id));
    table.update(rows);
    more.hidden = !next;
    const what = chosen.size > 0 ? things(chosen.size, "task") : "all that fit";
    setText(retry, `Retry ${what}`);
    setText(discard, `Discard ${what}`);
    retry.hidden = rows.length === 0;
    discard.hidden = rows.length === 0 || !canDiscard;
    setText(told, `${things(rows.length, "task")}${next ? " so far" : ""}`);
  }

  async function read(isMore) {
    const mine = ++turn;
    const params = new URLSearchParams({ limit: String(PAGE) });
    if (outcome.value) params.set("outcome", outcome.value);
    if (kind.value.trim()) params.set("kind", kind.value.trim());
    try {
      let found = [];
      let after = isMore ? next : null;
      // The dead come first and the failed then, so a page may be empty and not the last.
      do {
        if (after) params.set("after", after);
        const page = await get(`/v1/dead?${params}`);
        if (mine !== turn) return;
        found = [...found, ...page.rows];
        after = page.next ?? null;
      } while (after && found.length < PAGE);
      rows = isMore ? [...rows, ...found] : found;
      next = after;
      show();
    } catch (error) {
      if (mine === turn) setText(told, error.message);
    }
  }

  function wanted(what) {
    if (chosen.size > 0) return { ids: [...chosen] };
    const filter = {};
    if (outcome.value) filter.outcome = outcome.value;
    if (kind.value.trim()) filter.kind = kind.value.trim();
    // Nothing named does not mean everything, where what goes is gone.
    if (what === "discard" && Object.keys(filter).length === 0) filter.all = true;
    return filter;
  }

  async function act(what) {
    const body = wanted(what);
    const which = body.ids ? things(body.ids.length, "task") : "all tasks of the dead set that fit the filter";
    const isSure = await confirm(what === "retry"
      ? { title: `Retry ${which}?`, text: "They go back into their queues with fresh budgets, and run again.", yes: "Retry", isDangerous: false }
      : { title: `Discard ${which}?`, text: "They are forgotten with their payloads and histories. This cannot be undone.", yes: "Discard" });
    if (!isSure) return;
    await attempt(() => call("POST", `/v1/dead/${what}`, body), (answer) => said(what, answer));
    chosen.clear();
    sampler.now();
    read(false);
  }

  has("post", "/v1/dead/discard").then((it) => ((canDiscard = it), show()));
  outcome.addEventListener("change", () => read(false));
  kind.addEventListener("change", () => read(false));
  more.addEventListener("click", () => read(true));
  read(false);

  return {
    root: h(
      "div",
      { class: "view" },
      h("div", { class: "head" }, h("h1", {}, "Dead set"), kind, outcome, told, h("span", { class: "space" }), retry, discard),
      h("div", { class: "panel" }, table.root, more),
    ),
    update({ last }) {
      // Read again when there is something new, and not every second.
      if (size !== null && size !== last.status.dead_set && rows.length <= PAGE) read(false);
      size = last.status.dead_set;
    },
    refresh: () => read(false),
    end: () => (turn += 1),
  };
}

function said(what, answer) {
  const done = answer?.retried ?? answer?.discarded ?? 0;
  const refused = answer?.refused?.length ?? 0;
  const rest = answer?.more ? "; there are more: ask again" : "";
  const verb = what === "retry" ? "put back" : "discarded";
  return `${count(done)} ${verb}${refused > 0 ? `, ${count(refused)} refused: ${answer.refused[0].message}` : ""}${rest}`;
}

function tick(chosen, changed) {
  let id = null;
  const root = h("input", { type: "checkbox", "aria-label": "Choose" });
  root.addEventListener("change", () => {
    if (root.checked) chosen.add(id);
    else chosen.delete(id);
    changed();
  });
  return { root, update: (task) => ((id = task.id), (root.checked = chosen.has(id))) };
}
