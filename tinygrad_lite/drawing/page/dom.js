// Elements, and the state of the page. Text is only ever set as text, so that a name is only shown.
import { store } from "./state.js";
import { timeline, together } from "./timeline.js";
import { parts } from "./formulas.js";

/** @returns {any} */
export const $ = (id) => document.getElementById(id);
export const root = document.documentElement;
export const calm = matchMedia("(prefers-reduced-motion: reduce)");
export const dark = matchMedia("(prefers-color-scheme: dark)");
export const phone = matchMedia("(max-width: 700px)");

const given = JSON.parse($("data").textContent);

/** What is held here is all that can change: the data (a live page gets new ones), the step, which
 * picture, what the arrows' widths say, the parameter and the path that are looked at, and so on. */
export const app = store({
  data: given,
  steps: given.sides ? together(given.sides) : timeline(given.steps),
  at: 0,
  view: 0,
  layer: "gradient",
  wrt: null,
  row: null,
  playing: false,
  speed: 0,
  theme: dark.matches ? "dark" : "light",
  hidden: "",
});
export const held = app.held;

/** @returns {any} */
export function make(tag, className = "", ...content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content.filter((part) => part !== null && part !== "" && part !== false));
  return element;
}

const SVG = "http://www.w3.org/2000/svg", MATHS = "http://www.w3.org/1998/Math/MathML";

/** @returns {any} */
export function shape(tag, attributes = {}, ...content) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, x] of Object.entries(attributes)) element.setAttribute(name, String(x));
  element.append(...content);
  return element;
}

/** @returns {any} */
function maths(tag, ...content) {
  const element = document.createElementNS(MATHS, tag);
  element.append(...content);
  return element;
}

/** A tree of formulas.js, typeset. */
function typeset(tree) {
  if (typeof tree === "number") return maths("mn", String(tree).replace("-", "−"));
  if (typeof tree === "string") return leaf(tree);
  const [kind, ...rest] = tree;
  const all = rest.map(typeset);
  switch (kind) {
    case "quotient": return maths("mfrac", maths("mrow", maths("mo", "∂"), all[0]), maths("mrow", maths("mo", "∂"), all[1]));
    case "sum": return maths("mrow", maths("mo", "("), ...all.flatMap((x, i) => (i && rest[i][0] !== "minus" ? [maths("mo", "+"), x] : [x])), maths("mo", ")"));
    case "times": return maths("mrow", ...all.flatMap((x, i) => (i ? [maths("mo", "·"), x] : [x])));
    case "minus": return maths("mrow", maths("mo", "−"), ...all.flatMap((x, i) => (i ? [maths("mo", "·"), x] : [x])));
    case "group": return maths("mrow", maths("mo", "("), ...all, maths("mo", ")"));
    case "raised": return all[0].localName === "msub" ? maths("msubsup", ...all[0].childNodes, maths("mi", rest[1])) : maths("msup", all[0], maths("mi", rest[1]));
    case "more": return maths("mtext", `… (${rest[0]})`);
    default: return maths("mrow", ...all);
  }
}

function leaf(text) {
  if (/^\d/.test(text)) return maths("mn", text);
  if (!/^[\p{L}_#]/u.test(text)) return maths("mo", text);
  const [base, below] = parts(text);
  const name = maths("mi", base);
  return below ? maths("msub", name, maths("mn", below)) : name;
}

/** A formula for the eye, with the same in a line of text for the ear. */
export function formula(tree, text, className = "") {
  const math = maths("math", typeset(tree));
  math.setAttribute("aria-hidden", "true");
  const shown = make("span", `formula ${className}`.trim(), make("span", "heard", text), math);
  shown.dataset.text = text;
  return shown;
}

/** Put other parts into an element. The focus stays at the control with the same place among
 * all: who presses keys goes on from there. */
export function refill(element, content) {
  const controls = () => [...element.querySelectorAll("button, select, input, [tabindex]")];
  const place = controls().indexOf(document.activeElement);
  element.replaceChildren(...content);
  if (place >= 0) controls()[place]?.focus({ preventScroll: true });
}

// What holds more than its children and attributes say: handlers, pixels, what was typed.
const WHOLE = new Set(["BUTTON", "CANVAS", "SELECT", "INPUT"]);

/** Have an element show these parts. What stands there already stays, so that a browser lays out
 * and a reader hears only what is new. */
export function renew(element, shown) {
  const old = [...element.childNodes];
  shown.forEach((part, i) => {
    const next = typeof part === "string" ? document.createTextNode(part) : part;
    if (i >= old.length) element.append(next);
    else if (!same(old[i], next)) old[i].replaceWith(next);
  });
  for (const rest of old.slice(shown.length)) rest.remove();
}

/** Make one node as another; false where it must be replaced. */
function same(old, next) {
  if (old.nodeType !== next.nodeType || old.nodeName !== next.nodeName || WHOLE.has(old.nodeName)) return false;
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== next.data) old.data = next.data;
    return true;
  }
  if (old.className !== next.className && typeof next.className === "string") old.className = next.className;
  for (const { name, value } of next.attributes) {
    if (old.getAttribute(name) === value) continue;
    if (name === "style") old.style.cssText = value;  // as an attribute the content policy forbids it
    else old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) if (!next.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  renew(old, [...next.childNodes]);
  return true;
}

export function say(text) {
  $("said").textContent = text;
}

/** A button that does something. */
export function button(text, act, className = "") {
  const element = make("button", className, text);
  element.onclick = act;
  return element;
}
