// Elements from names and texts.
//
// What tasks, workers and keys say is a stranger's text. It only ever becomes a text node or an attribute that
// has no meaning to the browser; nothing in this page reads a text as HTML, and the policy that the page is
// served with would not let it.

const SVG = "http://www.w3.org/2000/svg";

/** An element. `attributes`: `on` holds listeners, `class` the classes, everything else is set as it is. */
export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same for drawings. */
export function s(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if (value !== false && value !== undefined && value !== null) {
      element.setAttribute(name, String(value));
    }
  }
  const there = children.flat().filter((child) => child !== null && child !== undefined);
  element.append(...there.map((child) => (typeof child === "string" ? printable(child) : child)));
  return element;
}

/** Sets a text if it is another one: what does not change keeps its selection. */
export function setText(element, text) {
  const wanted = printable(String(text));
  if (element.textContent !== wanted) element.textContent = wanted;
}

/** The same for classes. */
export function setClass(element, name) {
  if (element.className !== name) element.className = name;
}

/** A text without characters that turn the direction of what follows, or that nobody sees. */
export function printable(text) {
  return text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g, "\ufffd");
}

/** A button. */
export function button(label, press, attributes = {}) {
  return h("button", { type: "button", ...attributes, on: { click: press } }, label);
}

/** A field with its label. */
export function field(label, control) {
  return h("label", { class: "field" }, h("span", {}, label), control);
}
