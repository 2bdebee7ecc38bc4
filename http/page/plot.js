// Small plots over time, drawn as SVG: crisp at any size, coloured by the style sheet, cheap to draw once a second.

import { h, s, setText } from "./dom.js";
import { SAMPLES_MAX } from "./sample.js";

/** In the height of a line of text, which grows with the screen. */
const HEIGHT = 10;
const EDGE = { top: 0.5, right: 0.4, bottom: 1.2, left: 3.1 };

/** The same in points, as the page is now. */
function measures() {
  const rem = Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
  const edge = Object.fromEntries(Object.entries(EDGE).map(([side, rems]) => [side, rems * rem]));
  return { height: HEIGHT * rem, edge, rem };
}

/**
 * A plot of some series. `series`: name, class, and how to read the value from a sample (null: none).
 * `write` writes a value, `mark` one of the axis; `max` fixes the upper end; `isLog` draws powers of two.
 */
export class Plot {
  constructor({ title, hint, series, write, mark = write, max = null, isLog = false, isShown = () => true }) {
    Object.assign(this, { series, write, mark, max, isLog, isShown, samples: [], cursor: null });
    this.drawing = s("svg", { class: "plot", role: "img", preserveAspectRatio: "none" });
    this.values = series.map(() => h("b", {}, "–"));
    const legend = series.map((one, index) =>
      h("span", { class: `key ${one.class}` }, h("i"), one.name, " ", this.values[index]),
    );
    this.when = h("span", { class: "when" });
    this.root = h(
      "figure",
      { class: "panel figure" },
      h("figcaption", {}, h("h2", { title: hint }, title), h("div", { class: "legend" }, legend, this.when)),
      this.drawing,
    );
    this.drawing.addEventListener("pointermove", (event) => this.#point(event));
    this.drawing.addEventListener("pointerleave", () => this.#leave());
    this.label = title;
    this.watcher = new ResizeObserver(() => this.draw());
    this.watcher.observe(this.root);
  }

  end() {
    this.watcher.disconnect();
  }

  update(samples) {
    this.samples = samples;
    this.root.hidden = !this.isShown(samples.at(-1));
    this.draw();
  }

  draw() {
    const width = Math.max(160, this.drawing.clientWidth);
    const { height, edge, rem } = measures();
    this.drawing.setAttribute("height", height);
    this.drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const inner = { width: width - edge.left - edge.right, height: height - edge.top - edge.bottom };
    const scale = this.#scale();
    const x = (age) => edge.left + inner.width * (1 - age / (SAMPLES_MAX - 1));
    const y = (value) => edge.top + inner.height * (1 - scale.place(value));
    const parts = [];
    for (const tick of scale.ticks) {
      parts.push(
        s("line", { class: "grid", x1: edge.left, x2: width - edge.right, y1: y(tick), y2: y(tick) }),
        s("text", { class: "tick", x: edge.left - 0.4 * rem, y: y(tick) + 0.25 * rem, "text-anchor": "end" }, this.mark(tick)),
      );
    }
    for (const [age, text] of [[SAMPLES_MAX - 1, "5 min ago"], [150, "2½ min"], [0, "now"]]) {
      const anchor = age === 0 ? "end" : age === 150 ? "middle" : "start";
      parts.push(s("text", { class: "tick", x: x(age), y: height - 0.2 * rem, "text-anchor": anchor }, text));
    }
    this.series.forEach((one) => parts.push(...this.#lines(one, x, y)));
    if (this.cursor !== null) {
      const at = x(this.cursor);
      parts.push(s("line", { class: "cursor", x1: at, x2: at, y1: edge.top, y2: height - edge.bottom }));
    }
    this.drawing.replaceChildren(...parts);
    this.#tell();
  }

  #lines(one, x, y) {
    const newest = this.samples.length - 1;
    const runs = [[]];
    this.samples.forEach((sample, index) => {
      const value = sample ? one.read(sample) : null;
      if (value === null || value === undefined) runs.push([]);
      else runs.at(-1).push([x(newest - index), y(value)]);
    });
    return runs.filter((run) => run.length > 0).flatMap((run) => {
      const points = run.map(([px, py]) => `${px.toFixed(1)},${py.toFixed(1)}`).join(" ");
      const [last] = run.at(-1);
      const [first] = run[0];
      const area = one.isFilled
        ? [s("polygon", { class: `area ${one.class}`, points: `${first},${y(0)} ${points} ${last},${y(0)}` })]
        : [];
      // A run of one value has no length; a dot shows it.
      const dot = run.length === 1 ? [s("circle", { class: `dot ${one.class}`, cx: first, cy: run[0][1], r: 1.5 })] : [];
      return [...area, s("polyline", { class: `line ${one.class}`, points }), ...dot];
    });
  }

  #scale() {
    const read = (sample) => this.series.map((one) => one.read(sample) ?? 0);
    const most = Math.max(this.max ?? 0, ...this.samples.filter(Boolean).flatMap(read));
    if (this.isLog) {
      const top = Math.max(4, Math.ceil(Math.log2(Math.max(1, most))) + 1);
      const step = Math.ceil(top / 4);
      const ticks = [0, 1, 2, 3, 4].map((n) => n * step).filter((n) => n <= top).map((n) => 2 ** n);
      return { ticks, place: (value) => Math.log2(Math.max(1, value)) / top };
    }
    const top = this.max ?? round(Math.max(most, 1) * 1.05);
    return { ticks: [0, top / 2, top], place: (value) => Math.min(1, value / top) };
  }

  #point(event) {
    const box = this.drawing.getBoundingClientRect();
    const { edge } = measures();
    const share = (event.clientX - box.left - edge.left) / (box.width - edge.left - edge.right);
    const age = Math.round((1 - share) * (SAMPLES_MAX - 1));
    this.cursor = Math.min(Math.max(age, 0), Math.max(0, this.samples.length - 1));
    this.draw();
  }

  #leave() {
    this.cursor = null;
    this.draw();
  }

  /** The values at the cursor, or now, in the legend, and for who cannot see the drawing. */
  #tell() {
    const sample = this.samples.at(-1 - (this.cursor ?? 0)) ?? null;
    const texts = this.series.map((one) => {
      const value = sample ? one.read(sample) : null;
      return value === null || value === undefined ? "–" : this.write(value);
    });
    texts.forEach((text, index) => setText(this.values[index], text));
    setText(this.when, this.cursor && sample ? new Date(sample.seen).toLocaleTimeString() : "");
    this.drawing.setAttribute("aria-label", `${this.label}: ${this.series.map((one, n) => `${one.name} ${texts[n]}`).join(", ")}`);
  }
}

/** The next number that is easy to read. */
function round(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 10].map((step) => step * power).find((step) => step >= value) ?? value;
}

/** A line without axes, for a row of a table: shares from 0 to 1. */
export function sparkline() {
  const line = s("polyline", { class: "line used" });
  const root = s("svg", { class: "spark", viewBox: "0 0 60 16", preserveAspectRatio: "none", "aria-hidden": "true" }, line);
  const update = (shares) => {
    const from = 60 - shares.length;
    const points = shares.map((share, index) => (share === null ? "" : `${from + index},${(15 - 14 * share).toFixed(1)}`));
    line.setAttribute("points", points.join(" "));
  };
  return { root, update };
}
