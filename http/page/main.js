// Which view is shown, what keys do, and how the broker is, in the bar at the top.

import { askForTokenAgain, onTokenNeeded } from "./api.js";
import { dead } from "./dead.js";
import { askToken, showKeys } from "./dialog.js";
import { h, setClass, setText } from "./dom.js";
import { knowledge } from "./knowledge.js";
import { overview } from "./overview.js";
import { Sampler } from "./sample.js";
import { task } from "./task.js";
import { tasks } from "./tasks.js";
import { startTheme, switchTheme } from "./theme.js";
import { count, time } from "./words.js";
import { workers } from "./workers.js";

const VIEWS = { overview, tasks, workers, dead, knowledge };
const TITLES = { overview: "Overview", tasks: "Tasks", workers: "Workers", dead: "Dead", knowledge: "Knowledge" };

const KEYS = [
  ["g o", "overview"],
  ["g t", "tasks"],
  ["g w", "workers"],
  ["g d", "dead tasks"],
  ["g k", "knowledge"],
  ["/", "search in the view"],
  ["j  k", "next and previous row"],
  ["Enter", "open the row"],
  ["r", "read anew"],
  ["t", "light or dark"],
  ["?", "these keys"],
];

const main = document.getElementById("main");
const sampler = new Sampler();
/** The view that is shown: `{ root, update?(sampler), refresh?(), end?() }`. */
let shown = null;

function route() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/").map(decode);
  const params = new URLSearchParams(query);
  if (name === "tasks" && rest[0]) return show("tasks", task(rest[0], sampler), `Task ${rest[0]}`);
  const view = VIEWS[name] ? name : "overview";
  show(view, VIEWS[view](sampler, params), TITLES[view]);
}

/** A hand-written address may be no valid one. */
function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function show(tab, view, title) {
  shown?.end?.();
  shown = view;
  document.title = `${title} · Ganger`;
  for (const link of document.querySelectorAll(".tabs a")) {
    if (link.dataset.view === tab) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  main.replaceChildren(view.root);
  if (sampler.last) view.update?.(sampler);
}

function beat() {
  const pulse = document.getElementById("pulse");
  const { last, lost } = sampler;
  document.body.classList.toggle("stale", lost !== null);
  document.getElementById("token").hidden = lost?.status !== 401 && lost?.code !== "foreign";
  if (lost) {
    setClass(pulse, "pulse bad");
    setText(pulse, lost.code === "unreachable" ? "no answer" : lost.message);
    return;
  }
  const { status } = last;
  setClass(pulse, status.draining ? "pulse careful" : "pulse good");
  setText(pulse, status.draining ? "draining" : "ready");
  setText(document.getElementById("uptime"), `up ${time(status.uptime_ms)}`);
  pulse.title = `${status.broker}, ${status.durability}, epoch ${status.epoch}`;
  const badge = document.getElementById("dead-count");
  badge.hidden = status.dead_set === 0;
  setText(badge, count(status.dead_set));
}

const GO = { o: "#/", t: "#/tasks", w: "#/workers", d: "#/dead", k: "#/knowledge" };
let isGoing = false;

function key(event) {
  const isTyping = event.target.closest?.("input, select, textarea, dialog");
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  if (isGoing && GO[event.key]) location.hash = GO[event.key];
  else if (event.key === "/") focusSearch(event);
  else if (event.key === "?") showKeys(KEYS);
  else if (event.key === "t") switchTheme();
  else if (event.key === "r") refresh();
  else if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  isGoing = event.key === "g";
}

function focusSearch(event) {
  const input = main.querySelector("[data-search]");
  if (!input) return;
  event.preventDefault();
  input.focus();
  input.select();
}

function refresh() {
  sampler.now();
  shown?.refresh?.();
}

/** Moves the focus to the link of the next row. */
function move(step) {
  const links = [...main.querySelectorAll("tbody tr a")];
  const at = links.indexOf(document.activeElement);
  links[at === -1 ? (step > 0 ? 0 : links.length - 1) : at + step]?.focus();
}

startTheme();
onTokenNeeded(askToken);
document.getElementById("theme").addEventListener("click", switchTheme);
document.getElementById("token").addEventListener("click", () => {
  askForTokenAgain();
  refresh();
});
document.getElementById("help").addEventListener("click", () => showKeys(KEYS));
document.addEventListener("keydown", key);
document.querySelector(".skip").addEventListener("click", (event) => {
  // The address belongs to the views.
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", route);
sampler.addEventListener("sample", () => {
  beat();
  shown?.update?.(sampler);
});
sampler.addEventListener("lost", beat);
main.append(h("p", { class: "empty" }, "Asking the broker…"));
route();
sampler.start();
