// Tables whose rows stay while their texts change, so that focus, selection and a finger on a button survive
// the next second.

import { button, h, printable, setClass, setText } from "./dom.js";

/**
 * `columns`: `title`; `text(row)`; and, where wanted, `tone(row)` (a class), `hint(row)`, `link(row)` (an address
 * on this page), `action` ({label(row), press(row), isShown(row)}), `part` ({root, update(row)} made by `part()`),
 * `class`: `number`, `wide` (left out on a small screen), `id`.
 */
export class Table {
  #rows = new Map();

  constructor({ label, columns, key, empty }) {
    Object.assign(this, { columns, key });
    this.body = h("tbody");
    this.empty = h("p", { class: "empty", hidden: true }, empty);
    const heads = columns.map((column) => h("th", { scope: "col", class: column.class }, column.head ?? column.title));
    this.table = h("table", { "aria-label": label }, h("thead", {}, h("tr", {}, heads)), this.body);
    this.root = h("div", { class: "tablebox" }, this.table, this.empty);
  }

  update(items) {
    const seen = new Set();
    items.forEach((item, index) => {
      const key = this.key(item);
      seen.add(key);
      const row = this.#rows.get(key) ?? this.#make(key);
      row.item = item;
      row.cells.forEach((cell) => cell(item));
      if (this.body.children[index] !== row.root) this.body.insertBefore(row.root, this.body.children[index] ?? null);
    });
    for (const [key, row] of this.#rows) {
      if (!seen.has(key)) {
        row.root.remove();
        this.#rows.delete(key);
      }
    }
    this.empty.hidden = items.length > 0;
    this.table.hidden = items.length === 0;
  }

  #make(key) {
    const row = { item: null, cells: [], root: h("tr") };
    for (const column of this.columns) {
      const { root, update } = makeCell(column, () => row.item);
      row.cells.push(update);
      row.root.append(h("td", { class: column.class, "data-label": column.title }, root));
    }
    this.#rows.set(key, row);
    return row;
  }
}

function makeCell(column, item) {
  if (column.part) return column.part();
  if (column.action) {
    const { label, press, isShown = () => true } = column.action;
    const root = button("", () => press(item()), { class: "small" });
    return { root, update: (row) => (setText(root, label(row)), (root.hidden = !isShown(row))) };
  }
  const root = column.link ? h("a") : h("span");
  const update = (row) => {
    setText(root, column.text(row));
    if (column.tone) setClass(root, column.tone(row) ?? "");
    if (column.hint) root.title = printable(column.hint(row) ?? "");
    if (column.link) root.setAttribute("href", column.link(row));
  };
  return { root, update };
}

/** A bar for a share from 0 to 1, with words for who cannot see it. */
export function bar() {
  const fill = h("i");
  const root = h("span", { class: "share", role: "img" }, fill);
  const update = (share, words) => {
    fill.style.width = `${Math.round((share ?? 0) * 100)}%`;
    setClass(fill, share !== null && share > 0.9 ? "full" : "");
    root.setAttribute("aria-label", words);
    root.title = words;
  };
  return { root, update };
}
