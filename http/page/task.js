// One task: why it is where it is, what was tried, what went in and what came out.

import { call, get, path } from "./api.js";
import { attempt, confirm } from "./dialog.js";
import { button, h, setClass, setText } from "./dom.js";
import { Table } from "./table.js";
import { TONES, standing } from "./tasks.js";
import { ago, moment, run, size, things, time } from "./words.js";

const EVERY_MS = 1000;
/** More of a value would make the browser slow; the route has all of it. */
const SHOWN_MAX = 200_000;

const END_TONES = { failed: "bad", crashed: "bad", timed_out: "bad", lost: "careful", interrupted: "careful" };

export function task(id) {
  const state = h("span", { class: "badge" });
  const reasons = h("ul", { class: "reasons" });
  const facts = h("dl", { class: "facts" });
  const attempts = new Table({
    label: "Attempts",
    key: (one) => `${one.attempt}/${one.worker}/${one.at_unix_ms}`,
    empty: "No attempt has ended without a result.",
    columns: [
      { title: "Attempt", text: (one) => one.attempt, class: "number" },
      { title: "Ended", text: (one) => one.end.replace("_", " "), tone: (one) => `badge ${END_TONES[one.end] ?? ""}` },
      { title: "Worker", text: (one) => one.worker_name || one.worker, hint: (one) => one.worker },
      { title: "Ran", text: (one) => run(one.run_us), class: "number" },
      { title: "When", text: (one) => ago(one.at_unix_ms), hint: (one) => moment(one.at_unix_ms), class: "number" },
      { title: "Error", text: (one) => one.error ?? "", tone: () => "bad", class: "grow" },
    ],
  });
  const payload = valuePanel("Payload");
  const result = valuePanel("Result");
  const problem = h("p", { class: "bad", role: "alert", hidden: true });
  const cancel = button("Cancel", () => askCancel(id).then(read), { class: "danger", hidden: true });
  const retry = button("Retry", () => attempt(() => call("POST", path`/v1/tasks/${id}/retry`), "It is back in its queue").then(read), { class: "main", hidden: true });

  let isOver = false;
  let standsAs = null;
  let turn = 0;

  async function read() {
    const mine = ++turn;
    try {
      const { task: it, reasons: why } = await get(path`/v1/tasks/${id}/explain`, { exact: false });
      if (mine !== turn) return;
      problem.hidden = true;
      show(it, why);
      // Bytes are read when there is something new, not every second.
      if (standsAs !== `${standing(it)} ${it.attempt}`) {
        standsAs = `${standing(it)} ${it.attempt}`;
        await Promise.all([keepsPayload(it) ? payload.read(path`/v1/tasks/${id}/payload`, it) : payload.clear("let go with the outcome"), it.outcome ? result.read(path`/v1/tasks/${id}/result`, it) : result.clear("None yet.")]);
      }
    } catch (error) {
      if (mine !== turn) return;
      setText(problem, error.message);
      problem.hidden = false;
      isOver = error.status === 404 || error.status === 400;
    }
  }

  function show(it, why) {
    isOver = Boolean(it.outcome);
    setText(state, standing(it));
    setClass(state, `badge large ${TONES[standing(it)] ?? ""}`);
    reasons.replaceChildren(...why.map((reason) => h("li", { title: reason.code }, reason.text)));
    facts.replaceChildren(...factsOf(it).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))]));
    attempts.update(it.attempts);
    cancel.hidden = Boolean(it.outcome);
    retry.hidden = !["failed", "dead"].includes(it.outcome);
  }

  const timer = setInterval(() => {
    if (!document.hidden && !isOver) read();
  }, EVERY_MS);
  read();

  return {
    root: h(
      "div",
      { class: "view" },
      h("div", { class: "head" }, h("h1", { class: "mono" }, id), state, h("span", { class: "space" }), retry, cancel),
      problem,
      h("div", { class: "panel" }, h("h2", {}, "Why it is where it is"), reasons, facts),
      h("div", { class: "panel" }, h("h2", {}, "Attempts that ended without a result"), attempts.root),
      h("div", { class: "halves" }, payload.root, result.root),
    ),
    refresh: () => ((standsAs = null), read()),
    end: () => ((turn += 1), clearInterval(timer)),
  };
}

/** Once a task cannot run again its payload is let go. */
function keepsPayload(it) {
  return !it.outcome || ["failed", "dead"].includes(it.outcome);
}

function factsOf(it) {
  const worker = it.worker_name ?? it.worker ?? "–";
  const facts = [
    ["kind", it.kind],
    ["priority", it.priority],
    ["attempt", it.attempt],
    ["worker", worker],
    ["submitted", `${moment(it.submitted_unix_ms)} (${ago(it.submitted_unix_ms)})`],
  ];
  if (it.settled_unix_ms) facts.push(["outcome", `${moment(it.settled_unix_ms)}, after ${time(it.settled_unix_ms - it.submitted_unix_ms)}`]);
  facts.push(["failed, timed out, crashed", `${it.failures}, ${it.timeouts}, ${it.crashes}`]);
  return facts;
}

async function askCancel(id) {
  const isSure = await confirm({
    title: "Cancel this task?",
    text: "It ends as cancelled wherever it is, and no result of it is accepted any more. This cannot be undone.",
    yes: "Cancel it",
  });
  if (isSure) await attempt(() => call("DELETE", path`/v1/tasks/${id}`), "It is cancelled");
}

/** A payload or a result, as what it says. */
function valuePanel(title) {
  const note = h("span", { class: "faint" });
  const text = h("pre", { tabindex: "0", "aria-label": title });
  const say = (words, value = "") => {
    setText(note, words);
    setText(text, value);
    text.hidden = value === "";
  };
  const read = async (from, it) => {
    try {
      const answer = await get(from, { exact: true });
      say(...words(answer, it));
    } catch (error) {
      say(error.message);
    }
  };
  say("");
  return { root: h("div", { class: "panel" }, h("h2", {}, title, " ", note), text), read, clear: (words) => say(words) };
}

function words(answer) {
  const bytes = answer.bytes === undefined ? "" : size(answer.bytes);
  if (answer.left_out) return [`too large to be shown: ${bytes}`];
  if (answer.dropped) return ["was let go, to stay within the broker's budget"];
  const value = "result" in answer ? answer.result : answer.payload;
  if (answer.error) return ["none", answer.error];
  if (value === undefined || value === null) return [bytes || "none"];
  const whole = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  const isCut = whole.length > SHOWN_MAX;
  return [isCut ? `the first ${things(SHOWN_MAX, "character")}` : bytes, whole.slice(0, SHOWN_MAX)];
}
