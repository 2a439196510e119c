// What leaves the page: the picture as SVG or PNG, the step as LaTeX, the whole pass as an
// animated SVG.
import { $, held, make, say, shape } from "./dom.js";
import { alignedLatex } from "./formulas.js";
import { duration } from "./motion.js";
import { picture } from "./graph.js";

const LOOKS = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-linejoin", "paint-order", "opacity", "visibility", "font-weight", "font-size", "font-family"];

/** The picture as it stands on the page, by itself: with its looks written on every element. */
function standalone(all = false) {
  const { svg, width, height } = picture(), copy = svg.cloneNode(true);
  const from = [svg, ...svg.querySelectorAll("*")], to = [copy, ...copy.querySelectorAll("*")];
  const style = getComputedStyle(document.documentElement);
  from.forEach((element, i) => {
    if (["title", "desc", "style"].includes(element.tagName)) return;
    const look = getComputedStyle(element), target = to[i];
    for (const name of LOOKS) {
      const value = look.getPropertyValue(name);
      if (value && !(all && name === "opacity" && element.closest(".trails"))) target.setAttribute(name, value);
    }
    for (const name of ["tabindex", "role", "aria-label", "data-node", "data-wire"]) target.removeAttribute(name);
    target.removeAttribute("style");
  });
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("width", String(Math.round(width)));
  copy.setAttribute("height", String(Math.round(height)));
  copy.setAttribute("role", "img");
  const { x, y } = svg.viewBox.baseVal;
  const paper = shape("rect", { x, y, width: "100%", height: "100%", fill: style.getPropertyValue("--card").trim() });
  copy.insertBefore(paper, copy.querySelector("g"));
  copy.querySelector(".dots")?.remove();
  return copy;
}

function text(svg) {
  return new XMLSerializer().serializeToString(svg);
}

function fileName(suffix) {
  const base = (held.data.output || "graph").replace(/[^\w-]+/g, "_").slice(0, 40);
  return `${base}-step${held.data.first + held.at + 1}.${suffix}`;
}

/** Hand a file to the reader. */
function give(blob, suffix) {
  const link = make("a");
  link.href = URL.createObjectURL(blob);
  link.download = fileName(suffix);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  say(`Saved ${link.download}`);
}

export function pictureSvg() {
  return text(standalone());
}

export function saveSvg() {
  give(new Blob([pictureSvg()], { type: "image/svg+xml" }), "svg");
}

/** The picture as a PNG, two pixels for each of its own, or fewer if it is very large. */
export async function picturePng() {
  const { width, height } = picture(), scale = Math.min(2, Math.sqrt(3e7 / (width * height)));
  const image = new Image();
  image.src = URL.createObjectURL(new Blob([pictureSvg()], { type: "image/svg+xml" }));
  await image.decode();
  const canvas = make("canvas");
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(image.src);
  return new Promise((done) => { canvas.toBlob(done, "image/png"); });
}

export async function savePng() {
  give(await picturePng(), "png");
}

/** The current step as LaTeX: what it computes, or each gradient that it sends. */
export function stepLatex() {
  const step = held.steps[held.at];
  if (step.way === "forward") return alignedLatex([step.equation.includes(" = ") ? step.equation : `${held.data.names[step.node]} = ${step.equation}`]);
  if (step.way === "backward") return alignedLatex(step.sends.map((send) => send.rule));
  return Object.values(held.data.travels).map((travel) => travel.latex).join(" \\\\\n");
}

export function showLatex() {
  const box = $("exported"), latex = stepLatex();
  box.textContent = latex;
  box.hidden = false;
  navigator.clipboard?.writeText(latex).then(() => say("Copied."), () => undefined);
}

/** The whole backward pass as an SVG that moves by itself, for a slide. */
export function film() {
  const pic = picture(), copy = standalone(true), beat = duration() / 1000;
  const back = held.data.steps.filter((step) => step.way === "backward");
  const order = new Map(back.map((step, i) => [step.node, i]));
  const total = (back.length + 2) * beat;
  copy.querySelector(".trails")?.setAttribute("opacity", "1");
  for (const bundle of copy.querySelectorAll(".trails .bundle, .boxes .bundle, .boxes .node, .arrows .bundle, .arrows .edge")) bundle.setAttribute("opacity", "1");
  const copies = [...copy.querySelectorAll(".trail")];
  const originals = [...pic.svg.querySelectorAll(".trail")];
  const layer = copy.querySelector(".trails").parentNode;
  for (const wire of pic.wires) {
    const trail = copies[originals.indexOf(wire.trail)];
    const senders = wire.node !== null ? [wire.node] : wire.edges.map((i) => held.data.edges[i][1]);
    const when = Math.min(...senders.map((node) => order.get(node) ?? Infinity));
    if (!trail) continue;
    if (when === Infinity) {
      trail.remove();
      continue;
    }
    const start = (when + 1) * beat / total, own = wire.node !== null ? 0.4 : 1;
    trail.setAttribute("opacity", "0");
    const shown = shape("animate", { attributeName: "opacity", dur: `${total}s`, repeatCount: "indefinite", calcMode: "discrete", values: "0;1", keyTimes: `0;${Math.min(0.999, start + own * 0.7 * beat / total).toFixed(4)}` });
    trail.append(shown);
    const way = wire.parts.line.getAttribute("d"), dot = shape("circle", { r: 6, fill: "#FFE08A", stroke: "#8A6100", "stroke-width": 2, opacity: 0 });
    const end = Math.min(0.999, start + own * 0.7 * beat / total);
    dot.append(
      shape("animate", { attributeName: "opacity", dur: `${total}s`, repeatCount: "indefinite", calcMode: "discrete", values: "0;1;0", keyTimes: `0;${start.toFixed(4)};${end.toFixed(4)}` }),
      shape("animateMotion", { path: way, dur: `${total}s`, repeatCount: "indefinite", calcMode: "linear", keyPoints: "0;0;1;1", keyTimes: `0;${start.toFixed(4)};${end.toFixed(4)};1` }));
    layer.append(dot);
  }
  return text(copy);
}

export function saveFilm() {
  give(new Blob([film()], { type: "image/svg+xml" }), "svg");
}
