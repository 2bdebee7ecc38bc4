// Light, dark, or what the system says.

const KEY = "ganger-theme";
const ORDER = ["auto", "light", "dark"];

/** Takes what was chosen here before. */
export function startTheme() {
  apply(localStorage.getItem(KEY) ?? "auto");
}

/** The next one. */
export function switchTheme() {
  const next = ORDER[(ORDER.indexOf(document.documentElement.dataset.theme) + 1) % ORDER.length];
  localStorage.setItem(KEY, next);
  apply(next);
}

function apply(theme) {
  const known = ORDER.includes(theme) ? theme : "auto";
  document.documentElement.dataset.theme = known;
  const button = document.getElementById("theme");
  button.textContent = { auto: "◐", light: "☀", dark: "☾" }[known];
  button.title = `Colours: ${known === "auto" ? "as the system has them" : known} (t)`;
  button.setAttribute("aria-label", button.title);
}
