// Tasks, by state and kind, oldest first, page by page.

import { get } from "./api.js";
import { h, setText } from "./dom.js";
import { Table } from "./table.js";
import { moment, shortId, size, things, time } from "./words.js";

const PAGE = 100;
/** The first page is read anew this often while it is all that is shown and comes at the first question: to look
 * for what is rare among millions is the broker's work, and not to be asked for again and again. */
const EVERY_MS = 2000;
/** A page may be empty although there is more: the broker looks at so many tasks at a time. */
const EMPTY_PAGES_MAX = 20;
const STATES = ["queued", "parked", "delayed", "assigned", "running", "settled", "succeeded", "failed", "cancelled", "expired", "dead"];
const ID = /^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$/i;

export const TONES = { queued: "careful", parked: "careful", running: "good", succeeded: "good", failed: "bad", dead: "bad" };

/** What a row says of a task: its outcome, or where it is. */
export function standing(task) {
  return task.outcome ?? task.state;
}

export const taskColumns = () => [
  { title: "Task", text: (task) => shortId(task.id), link: (task) => `#/tasks/${task.id}`, hint: (task) => task.id, class: "id" },
  { title: "Kind", text: (task) => task.kind, class: "grow" },
  { title: "State", text: standing, tone: (task) => `badge ${TONES[standing(task)] ?? ""}` },
  { title: "Attempt", text: (task) => task.attempt, class: "number mid" },
  { title: "Worker", text: (task) => task.worker_name ?? (task.worker ? shortId(task.worker) : "–"), class: "wide" },
  { title: "Age", text: (task) => time(Math.max(0, Date.now() - task.submitted_unix_ms)), hint: (task) => `submitted at ${moment(task.submitted_unix_ms)}`, class: "number" },
  { title: "Took", text: (task) => (task.settled_unix_ms ? time(task.settled_unix_ms - task.submitted_unix_ms) : "–"), class: "number wide" },
  { title: "Priority", text: (task) => task.priority, class: "number wide" },
  { title: "Bytes", text: (task) => size(task.outcome === "succeeded" ? task.result_bytes : task.payload_bytes), class: "number wide" },
  { title: "Error", text: (task) => task.error ?? "", hint: (task) => task.error, tone: () => "bad", class: "wide cut" },
];

export function tasks(_sampler, params) {
  const state = h("select", { "aria-label": "State" }, h("option", { value: "" }, "any state"), STATES.map((name) => h("option", { value: name }, name)));
  state.value = params.get("state") ?? "";
  const names = h("datalist", { id: "kinds" });
  const kind = h("input", { list: "kinds", placeholder: "any kind", "aria-label": "Kind", autocomplete: "off" });
  kind.value = params.get("kind") ?? "";
  const search = h("input", { type: "search", placeholder: "an id, or what the rows shall contain", "data-search": true, "aria-label": "Search" });
  const table = new Table({ label: "Tasks", key: (task) => task.id, empty: "No task fits.", columns: taskColumns() });
  const told = h("span", { class: "faint", role: "status" });
  const more = h("button", { type: "button", hidden: true }, "Show more");

  let rows = [];
  let next = null;
  let pages = 0;
  let isCheap = true;
  let turn = 0;

  function show() {
    const wanted = search.value.trim().toLowerCase();
    const texts = (task) => [task.id, task.kind, standing(task), task.worker_name ?? "", task.error ?? ""];
    const fits = rows.filter((task) => texts(task).some((text) => text.toLowerCase().includes(wanted)));
    table.update(fits);
    more.hidden = !next;
    const all = `${things(rows.length, "task")}${next ? " so far" : ""}`;
    setText(told, fits.length === rows.length ? all : `${fits.length} of ${all}`);
  }

  async function read(isMore) {
    const mine = ++turn;
    let after = isMore ? next : null;
    let found = [];
    let asked = 0;
    try {
      for (asked = 1; asked <= EMPTY_PAGES_MAX; asked += 1) {
        const answer = await get(`/v1/tasks?${query(state.value, kind.value.trim(), after)}`);
        // Another filter was chosen meanwhile.
        if (mine !== turn) return;
        found = answer.rows;
        after = answer.next ?? null;
        if (found.length > 0 || !after) break;
      }
      rows = isMore ? [...rows, ...found] : found;
      pages = isMore ? pages + 1 : 1;
      isCheap = asked === 1;
      next = after;
      show();
    } catch (error) {
      if (mine === turn) setText(told, error.message);
    }
  }

  function filter() {
    const chosen = new URLSearchParams();
    if (state.value) chosen.set("state", state.value);
    if (kind.value.trim()) chosen.set("kind", kind.value.trim());
    const text = chosen.toString();
    history.replaceState(null, "", `#/tasks${text ? `?${text}` : ""}`);
    read(false);
  }

  function open(event) {
    const id = search.value.trim();
    if (event.key === "Enter" && ID.test(id)) location.hash = `#/tasks/${id.toLowerCase()}`;
  }

  state.addEventListener("change", filter);
  kind.addEventListener("change", filter);
  search.addEventListener("input", show);
  search.addEventListener("keydown", open);
  more.addEventListener("click", () => read(true));
  const timer = setInterval(() => {
    if (!document.hidden && isCheap && pages <= 1) read(false);
  }, EVERY_MS);
  read(false);

  return {
    root: h(
      "div",
      { class: "view" },
      h("div", { class: "head" }, h("h1", {}, "Tasks"), search, state, kind, names, told),
      h("div", { class: "panel" }, table.root, more),
    ),
    update({ last }) {
      const known = last.status.kinds.map((one) => one.kind);
      if (names.dataset.known === known.join("\n")) return;
      names.dataset.known = known.join("\n");
      names.replaceChildren(...known.slice(0, 200).map((name) => h("option", { value: name })));
    },
    refresh: () => read(false),
    end: () => (turn += 1, clearInterval(timer)),
  };
}

function query(state, kind, after) {
  const params = new URLSearchParams({ limit: String(PAGE) });
  if (state) params.set("state", state);
  if (kind) params.set("kind", kind);
  if (after) params.set("after", after);
  return params;
}
