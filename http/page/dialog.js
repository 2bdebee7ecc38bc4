// Questions, each in a dialog of its own. Escape says no, and so does whoever presses Enter without thinking:
// the button that destroys never has the focus at first.

import { button, field, h } from "./dom.js";

/** Asks whether to do something that cannot be undone. */
export function confirm({ title, text, yes, isDangerous = true }) {
  return open((close) => [
    h("h2", {}, title),
    ...[text].flat().map((line) => h("p", {}, line)),
    h(
      "div",
      { class: "buttons" },
      button("No, leave it", () => close(false), { autofocus: true }),
      button(yes, () => close(true), { class: isDangerous ? "danger" : "main", "data-answer": "yes" }),
    ),
  ]);
}

/** Asks for a token. */
export function askToken(why) {
  return open((close) => {
    const input = h("input", { type: "password", autocomplete: "off", spellcheck: "false", autofocus: true, required: true });
    const enter = (event) => {
      event.preventDefault();
      const token = input.value.trim();
      if (token !== "") close(token);
    };
    return [
      h("h2", {}, "A token, please"),
      h("p", {}, "This broker has keys: ", why, "."),
      h(
        "form",
        { on: { submit: enter } },
        field("Token", input),
        h("p", { class: "faint" }, "It is kept in this tab until that is closed, and nowhere else."),
        h(
          "div",
          { class: "buttons" },
          button("Not now", () => close(false)),
          h("button", { type: "submit", class: "main" }, "Use it"),
        ),
      ),
    ];
  });
}

/** Shows the keys. */
export function showKeys(keys) {
  const rows = keys.map(([key, meaning]) => h("tr", {}, h("td", {}, h("kbd", {}, key)), h("td", {}, meaning)));
  return open((close) => [
    h("h2", {}, "Keys"),
    h("table", { class: "keys" }, h("tbody", {}, rows)),
    h("div", { class: "buttons" }, button("Close", () => close(false), { autofocus: true })),
  ]);
}

function open(content) {
  return new Promise((resolve) => {
    const before = document.activeElement;
    const dialog = h("dialog");
    let answer = false;
    const close = (value) => {
      answer = value;
      dialog.close();
    };
    dialog.append(...content(close));
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
      resolve(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Says something in passing. */
export function notice(text, tone = "good") {
  const line = h("p", { class: `notice ${tone}` }, text);
  document.getElementById("notices").append(line);
  setTimeout(() => line.remove(), tone === "bad" ? 12_000 : 5_000);
}

/** Does something, and says how it went. */
export async function attempt(work, done) {
  try {
    const result = await work();
    notice(typeof done === "function" ? done(result) : done);
    return result;
  } catch (error) {
    notice(`${error.message} (${error.code ?? "error"})`, "bad");
    return null;
  }
}
