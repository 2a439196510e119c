// The pictures of the graph. Boxes stay as they were laid out; arrows are drawn here, on the lines
// that were laid out for them: thin and grey, the way of the values, where no gradient has passed,
// and over that, once one has, the trail that it left, the way of the gradient.
import { $, app, held, make, shape } from "./dom.js";
import { bar, distance, extended, head, lineLength, pathText, points, pointsAlong, shortened, turned } from "./geometry.js";
import { decimalsFor, fixed, percent } from "./numbers.js";
import { goToNext, nodeWords } from "./step.js";
import { arrayOf } from "./values.js";
import { firstSteps, parametersOf, passed, shareOf } from "./timeline.js";

const atFirst = held.data;
const BUNDLE = 64;  // what fades as one: each element costs a browser 10 μs and more
const AROUND = 5;  // a picture, in points
const GREYS = ["#6B7785", "#5B6775"];  // of what stands beside an arrow in smaller letters

/** The data that a picture shows: of a comparison, those of its side. */
export const dataOf = (pic) => held.data.sides?.[pic.index] ?? held.data;
const viewOf = (pic) => held.data.views[pic.index];

/** The line of an arrow from the border of its source to that of its target. */
function lineOf(group, from, to) {
  const found = [...group.querySelectorAll("path")].map((path) => points(path.getAttribute("d"))).filter(Boolean);
  let line = found.sort((a, b) => b.length - a.length)[0];
  if (!line) return null;
  const near = (p, box) => Math.hypot(Math.max(box.x - p[0], 0, p[0] - box.x - box.width), Math.max(box.y - p[1], 0, p[1] - box.y - box.height));
  const ends = [line[0], line[line.length - 1]];
  if (from && to && near(ends[0], to) + near(ends[1], from) < near(ends[0], from) + near(ends[1], to)) line = turned(line);
  // It stops short of the box by the length of the head that it was laid out for.
  const tips = [...group.querySelectorAll("polygon")].flatMap((polygon) =>
    polygon.getAttribute("points").trim().split(/\s+/).map((pair) => pair.split(",").map(Number)));
  for (const end of [to, from]) {
    const last = line[line.length - 1];
    const close = tips.filter((p) => distance(p, last) < 30 && distance(p, last) > 0.5);
    const tip = end && close.sort((a, b) => near(a, end) - near(b, end))[0];
    if (tip && near(tip, end) < near(last, end)) line = extended(line, tip);
    line = turned(line);
  }
  return line;
}

/** Where the label of an arrow was laid out, and the words that stay: which operand. */
function textsOf(group) {
  const all = [...group.querySelectorAll("text")];
  const grey = all.filter((text) => GREYS.includes(text.getAttribute("fill")));
  const label = all.find((text) => !grey.includes(text));
  const slope = grey.find((text) => text.textContent.trim().length > 1);
  for (const text of all) if (!grey.includes(text) || text === slope) text.remove();
  const place = (text) => text && { x: Number(text.getAttribute("x")), y: Number(text.getAttribute("y")), anchor: text.getAttribute("text-anchor") ?? "start" };
  return { anchor: place(label), aside: place(slope) };
}

function wireOf(data, byId) {
  const [id, edges, node, skip] = data, group = byId.get(id);
  if (!group) return null;
  const box = (name) => byId.get(name)?.getBBox();
  const line = lineOf(group, box(data[8]), box(data[9])), { anchor, aside } = textsOf(group);
  for (const old of group.querySelectorAll("path, polygon, polyline, line")) old.remove();
  const wire = { id, edges, node, skip: Boolean(skip), line, anchor, aside, quiet: group, to: null, fro: null, trail: null, parts: null };
  if (!line) return wire;
  const away = head(turned(line), 1);
  const back = head(line, 1), bare = shortened(turned(shortened(line, back.long * 0.8)), away.long * 0.8);
  group.append(shape("path", { class: "line", d: pathText(bare) }));
  wire.to = shape("path", { class: "head", d: away.d });
  wire.fro = shape("path", { class: "head", d: back.d });
  wire.parts = {
    line: shape("path", { class: "line" }), core: shape("path", { class: "core" }), head: shape("path", { class: "head" }),
    mark: shape("path", { class: "mark" }), text: shape("text", { class: "amount", "text-anchor": "middle" }), slope: shape("text", { class: "slope" }),
  };
  wire.trail = shape("g", { class: "trail" }, ...Object.values(wire.parts));
  wire.trail.dataset.wire = id;
  const title = group.querySelector("title");
  if (title) wire.trail.append(title.cloneNode(true));
  return wire;
}

/** What a wire looks like: its width, what stands beside it, and how it is drawn. */
function paint(wire, { width, label, state, negative, off, slope = "" }) {
  const { trail, parts, line } = wire;
  if (!trail) return;
  const classes = ["trail", `is-${state.replace(" ", "-")}`];
  if (wire.skip) classes.push("skip");
  if (negative) classes.push("negative");
  if (off) classes.push("off");
  for (const kept of ["ahead", "lit", "onpath"]) if (trail.classList.contains(kept)) classes.push(kept);
  trail.setAttribute("class", classes.join(" "));
  if (off) return;
  const thin = state === "gradient" || state === "exploding" ? width : 1.2;
  const outer = wire.skip ? thin + 2 : thin;
  const tip = head(line, outer), rest = pathText(shortened(line, tip.long * 0.8));
  parts.line.setAttribute("d", rest);
  parts.line.setAttribute("stroke-width", outer.toFixed(2));
  parts.core.setAttribute("d", wire.skip ? rest : "");
  parts.core.setAttribute("stroke-width", Math.max(0.7, outer - 2.2).toFixed(2));
  parts.head.setAttribute("d", state === "stopped" || state === "cancelled" ? "" : tip.d);
  const half = lineLength(line) / 2;
  const marks = { blocked: () => bar(line, tip.long + 2, 5), stopped: () => bar(line, half - 2, 6) + bar(line, half + 2, 6),
    ablated: () => bar(line, half - 2, 6) + bar(line, half + 2, 6),
    cancelled: () => head(shortened(line, half - 6), 1.5).d + head(turned(shortened(turned(line), half - 6)), 1.5).d };
  parts.mark.setAttribute("d", marks[state]?.() ?? "");
  parts.slope.textContent = wire.aside ? slope : "";
  if (wire.aside) {
    parts.slope.setAttribute("x", wire.aside.x);
    parts.slope.setAttribute("y", wire.aside.y);
    parts.slope.setAttribute("text-anchor", wire.aside.anchor);
  }
  const place = wire.anchor ?? above(line);
  parts.text.setAttribute("text-anchor", place.anchor);
  parts.text.replaceChildren(...label.split("\n").filter(Boolean).map((row, i) => {
    const span = shape("tspan", { x: place.x, y: place.y + 11 * i });
    span.textContent = row;
    return span;
  }));
}

function above(line) {
  const [x, y] = shortened(line, lineLength(line) * 0.45)[0];
  return { x, y: y - 6, anchor: "middle" };
}

/** What is reached one after the other stands in a bundle, which fades as a whole: only where a
 * jump starts and where it ends are elements faded by themselves. */
function bundled(parts, layer, className) {
  parts.sort((a, b) => Number(a.backward === Infinity) - Number(b.backward === Infinity) || a.forward - b.forward || b.backward - a.backward);
  const bundles = [];
  for (let i = 0; i < parts.length; i += BUNDLE) {
    const some = parts.slice(i, i + BUNDLE);
    bundles.push({ parts: some, ahead: false, element: shape("g", { class: "bundle" }, ...some.map((part) => part.element)) });
  }
  const group = shape("g", { class: className }, ...bundles.map((bundle) => bundle.element));
  layer.append(group);
  return { group, bundles };
}

function build(holder, v) {
  const svg = holder.querySelector("svg"), view = held.data.views[v];
  holder.hidden = false;  // so that boxes have a size
  svg.removeAttribute("width");
  svg.removeAttribute("height");
  svg.setAttribute("role", "group");
  svg.querySelector(":scope > rect")?.remove();
  const extent = svg.getBBox(), around = [...svg.querySelectorAll(":scope > :not(title, desc, style)")];
  const byId = new Map([...svg.querySelectorAll("g[id]")].map((g) => [g.id, g]));
  const main = [...byId.values()][0]?.parentNode ?? svg;
  for (const element of around) if (element !== main) element.classList.add("around");
  const wires = view.wires.map((wire) => wireOf(wire, byId)).filter(Boolean);
  const boxes = [...new Set(view.nodes.flat())].map((id) => byId.get(id)).filter((g) => g && !g.classList.contains("edge"));
  const names = svg.querySelector(".names");
  const bands = shape("g", { class: "bands" }), notes = shape("g", { class: "notes", "aria-hidden": "true" }), dots = shape("g", { class: "dots" });
  const pic = { holder, svg, main, bands, notes, dots, byId, wires, boxes, folded: view.folded, index: v, lit: [], onpath: [],
    extent, width: 0, height: 0, nodes: [], nodeOf: new Map(), wireOfEdge: new Map(), wireOfNode: new Map(), quiet: null, to: null, fro: null, trails: null, placed: null };
  Object.assign(pic, { rects: boxes.map((box) => box.getBBox()), bounds: main.getBBox() });
  renumber(pic);
  const timed = (list, of) => list.map((one) => ({ of: one, element: of(one), ...pic.when(one) }));
  main.append(bands);
  pic.quiet = bundled(timed(wires, (wire) => wire.quiet), main, "arrows");
  pic.to = bundled(timed(wires.filter((wire) => wire.to), (wire) => wire.to), main, "heads to");
  pic.fro = shape("g", { class: "heads fro" }, ...wires.map((wire) => wire.fro).filter(Boolean));
  main.append(pic.fro);
  pic.trails = bundled(timed(wires.filter((wire) => wire.trail), (wire) => wire.trail), main, "trails");
  main.append(notes);  // their lines run behind boxes
  pic.placed = bundled(timed(boxes, (box) => box), main, "boxes");
  pic.gradients = boxes.map((box) => gradientOf(box)).filter(Boolean);
  main.append(shape("g", { class: "gradients" }, ...pic.gradients.map(({ element }) => element)));
  if (names) main.append(names);
  main.append(dots);
  holder.hidden = true;
  holder.onclick = (event) => {
    if (held.data.sides) return undefined;
    const element = event.target.closest(".node");
    if (pic.nodeOf.has(element)) return pick(pic.nodes, element, pic.nodeOf.get(element));
    const arrow = event.target.closest(".edge, .trail"), wire = arrow && wires.find((one) => one.quiet === arrow || one.trail === arrow);
    if (wire) $("views").dispatchEvent(new CustomEvent("wire", { detail: { wire, event } }));
    return undefined;
  };
  for (const box of boxes) {
    box.setAttribute("tabindex", boxes.length <= 400 ? "0" : "-1");
    box.setAttribute("role", "button");
  }
  return pic;
}

/** The part of a box that says its gradient, as an element of its own: it comes when that is there. */
function gradientOf(box) {
  const parts = [...box.querySelectorAll(".below")];
  return parts.length ? { box, element: shape("g", { class: "gradient" }, ...parts) } : null;
}

/** The gradients in boxes: those that have arrived whole, in the numbers of the data there are. */
function showGradients(pic, step) {
  const complete = new Map(dataOf(pic).complete), { nodes } = dataOf(pic);
  for (const { box, element } of pic.gradients) {
    const node = pic.nodeOf.get(box), when = complete.get(node) ?? (node === nodes.length - 1 ? 0 : Infinity);
    const there = step && (step.way === "all" || (step.way === "backward" && when <= step.number));
    element.classList.toggle("quiet", !there);
  }
  // A server's answers have other numbers than those that stand in the boxes.
  const texts = viewOf(pic).texts;
  pic.svg.classList.toggle("dated", held.data !== atFirst && !held.data.sides);
  pic.svg.classList.toggle("changed", held.data !== atFirst && !held.data.sides && !texts?.length);
  if (held.data !== atFirst && !held.data.sides) for (const wire of pic.wires) for (const one of [wire.quiet, wire.trail]) one?.querySelector("title")?.remove();
  for (const [id, lines, below, tooltip] of texts ?? []) {
    const box = pic.byId.get(id), put = (list, words) => list.forEach((text, i) => { text.textContent = words[i] ?? ""; });
    const title = box.querySelector("title");
    if (title) title.textContent = tooltip;
    put([...box.querySelectorAll(":scope > text")], lines);
    put([...(pic.gradients.find((one) => one.box === box)?.element.querySelectorAll("text") ?? [])], below);
  }
}

/** Which elements stand for which nodes and edges of the data there are, and when each is reached:
 * what a server answers may have other numbers than what was laid out. */
function renumber(pic) {
  const view = viewOf(pic), { edges, steps } = dataOf(pic), reached = firstSteps(steps);
  pic.reached = reached;
  if (view.stale) return;  // it is asked for once it is looked at
  pic.nodes = view.nodes.map((ids) => ids.map((id) => pic.byId.get(id)).filter((g) => g && !g.classList.contains("edge")));
  pic.nodeOf = new Map();
  pic.nodes.forEach((elements, node) => elements.forEach((e) => pic.nodeOf.set(e, node)));
  for (const box of pic.boxes) {
    box.dataset.node = String(pic.nodeOf.get(box) ?? -1);
    box.classList.toggle("gone", !pic.nodeOf.has(box));
  }
  const byWire = new Map(pic.wires.map((wire) => [wire.id, wire]));
  pic.wireOfEdge = new Map();
  pic.wireOfNode = new Map();
  for (const [id, own, node] of view.wires) {
    const wire = byWire.get(id);
    if (!wire) continue;
    Object.assign(wire, { edges: own, node });
    for (const i of own) pic.wireOfEdge.set(i, wire);
    if (node !== null) pic.wireOfNode.set(node, wire);
  }
  // When each is first made, and when gradient first goes through it.
  const times = new Map();
  const note = (one, made, sent) => {
    const known = times.get(one) ?? { forward: Infinity, backward: Infinity };
    known.forward = Math.min(known.forward, reached.forward.get(made) ?? 0);
    known.backward = Math.min(known.backward, reached.backward.get(sent) ?? Infinity);
    times.set(one, known);
  };
  pic.nodes.forEach((elements, node) => elements.forEach((e) => note(e, node, node)));
  for (const wire of pic.wires) {
    if (wire.node !== null) note(wire, wire.node, wire.node);
    for (const i of wire.edges) note(wire, edges[i][1], edges[i][1]);
  }
  pic.when = (one) => times.get(one) ?? { forward: 0, backward: Infinity };
  for (const layer of [pic.quiet, pic.to, pic.trails, pic.placed]) {
    for (const bundle of layer?.bundles ?? []) for (const part of bundle.parts) Object.assign(part, pic.when(part.of));
  }
}

/** A click on a box: a parameter shows its paths, an op its next step. */
export function pick(nodes, element, node) {
  if (parametersOf(held.data).includes(node)) app.update({ wrt: node, row: null });
  else if (held.data.nodes[node][3] === "op") goToNext((s) => s.node >= 0 && nodes[s.node].includes(element));
  else goToNext((s) => s.values.some((v) => v[0] === node));
}

/** Pictures without the margin around them, as large as letters of 11 points are; in several, what
 * stands at one place keeps it. */
function crop(some) {
  const left = Math.min(...some.map(({ extent }) => extent.x)) - AROUND;
  const right = Math.max(...some.map(({ extent }) => extent.x + extent.width)) + AROUND;
  for (const pic of some) {
    const { y, height } = pic.extent, high = height + 2 * AROUND;
    pic.svg.setAttribute("viewBox", `${left} ${y - AROUND} ${right - left} ${high}`);
    Object.assign(pic, { width: (right - left) * 4 / 3, height: high * 4 / 3 });
  }
}

export const pictures = [...document.querySelectorAll(".view")].slice(0, held.data.views.length).map(build);
(held.data.sides ? [pictures] : pictures.map((pic) => [pic])).forEach(crop);

export function picture() {
  return pictures[held.view];
}

/** The pictures that are seen: one, or all of a comparison. */
export function seen() {
  return held.data.sides ? pictures : [picture()];
}

/** The picture, if its numbers are those of the data. */
function current() {
  return held.data.views[held.view]?.stale ? null : picture();
}

function fade(part, ahead) {
  if (part.ahead !== ahead) part.element.classList.toggle("ahead", part.ahead = ahead);
}

function fadeAll({ bundles }, waits) {
  for (const bundle of bundles) {
    const all = bundle.parts.every(waits);
    fade(bundle, all);
    for (const part of bundle.parts) fade(part, !all && waits(part));
  }
}

/** The step of a picture: of a comparison, how far its side has come at this beat. */
function stepOf(pic) {
  const step = held.steps[held.at];
  if (!step?.beat || step.way === "all") return step;
  const number = step.beat[pic.index], before = step.before[pic.index];
  const own = dataOf(pic).steps.find((one) => one.way === step.way && one.number === number);
  return { way: step.way, number, node: own && number > before ? own.node : -1 };
}

/** Light a step: its op, what it reads, sends and receives; and what is still to come. */
export function light(pic, step) {
  for (const element of pic.lit) element.classList.remove("lit", "now");
  pic.lit = [];
  const add = (element, kind) => {
    if (!element) return;
    element.classList.add(kind);
    pic.lit.push(element);
  };
  const addWire = (wire) => {
    for (const element of [wire?.quiet, wire?.to, wire?.fro, wire?.trail]) add(element, "lit");
  };
  const { edges } = dataOf(pic), { reached } = pic, whole = held.layer === "flow";
  if (step && step.way !== "all") {
    const own = pic.nodes[step.node] ?? [];
    own.forEach((element) => add(element, "now"));
    addWire(pic.wireOfNode.get(step.node));
    const others = (node) => (pic.nodes[node] ?? []).forEach((e) => !own.includes(e) && add(e, "lit"));
    edges.forEach(([source, target, , wanted], i) => {
      const sent = step.way === "backward" && wanted && reached.backward.has(target);
      if (target === step.node && (step.way === "forward" || sent)) {
        addWire(pic.wireOfEdge.get(i));
        others(source);
      }
      if (source === step.node && sent) addWire(pic.wireOfEdge.get(i));
    });
  }
  // On the way back every value is there, and trails wait for their gradient.
  const forward = step?.way === "forward";
  pic.trails.group.classList.toggle("quiet", forward && !whole);
  // Arrowheads point the way of the values, and on the way back that of the gradient.
  pic.to.group.classList.toggle("quiet", !forward);
  pic.fro.classList.toggle("quiet", forward);
  const ahead = (part) => forward && part.forward > step.number;
  fadeAll(pic.quiet, ahead);
  fadeAll(pic.to, ahead);
  fadeAll(pic.placed, ahead);
  fadeAll(pic.trails, (part) => !whole && step && step.way === "backward" && part.backward > step.number);
}

/** Beside a value that had received something before: what it had, what this step adds, and the
 * sum, where those are few numbers and do not stand in the box. */
function callouts(pic, step) {
  pic.notes.replaceChildren();
  if (step?.way !== "backward" || step.outline || held.layer === "flow") return;
  for (const send of step.sends) {
    const { had } = send, box = pic.nodes[send.to]?.at(-1);
    if (had === null || !box || (!viewOf(pic).brief && pic.gradients.some((one) => one.box === box)) || ![had, send.array, send.soFar].every((i) => isFew(arrayOf(i)))) continue;
    const most = Math.max(...[had, send.array, send.soFar].flatMap((i) => arrayOf(i).data.map(Math.abs)));
    const rows = [["had", had], ["now", send.array], ["sum", send.soFar]];
    const texts = rows.map(([name, i]) => [name, arrayOf(i).data.map((x) => fixed(x, Math.min(2, decimalsFor(most)))).join("  ")]);
    const { x, y, width, height } = box.getBBox(), wide = 34 + 5.6 * Math.max(...texts.map(([, text]) => text.length));
    const [left, top] = freePlace(pic, { x, y, width, height }, wide, 45, beside(pic, send.to));
    const lead = top > y ? `M${x + width / 2},${y + height}V${top}` : `M${x + width / 2},${y}V${top + 45}`;
    const note = shape("g", { class: "callout" }, shape("path", { class: "lead", d: lead }), shape("rect", { x: left, y: top, width: wide, height: 45, rx: 4 }),
      shape("path", { d: `M${left + 5},${top + 30}H${left + wide - 5}` }));
    texts.forEach(([name, text], i) => {
      const line = [shape("text", { x: left + 6, y: top + 12 + i * 13 + 2 * Number(i === 2) }), shape("text", { x: left + wide - 6, y: top + 12 + i * 13 + 2 * Number(i === 2), "text-anchor": "end" })];
      line[0].textContent = name;
      line[1].textContent = text;
      note.append(...line);
    });
    pic.notes.append(note);
  }
}

/** What lies beside a box: its arrows, and what is written at them. */
function beside(pic, node) {
  const { edges } = held.data, ways = edges.flatMap(([source, target], i) => (source === node || target === node ? [pic.wireOfEdge.get(i)] : []));
  const wires = [...new Set([...ways, pic.wireOfNode.get(node)])].filter((wire) => wire?.line);
  const labels = wires.filter((wire) => wire.parts.text.textContent).map((wire) => wire.parts.text.getBBox());
  return [...labels, ...wires.flatMap((wire) => pointsAlong(wire.line)).map(([x, y]) => ({ x: x - 4, y: y - 4, width: 8, height: 8 }))];
}

/** Where a note beside a box hides no other box, and nothing of `more`: its left and top, above or
 * below the box, as near as may be. */
/** @type {(pic: any, box: any, wide: number, high: number, more: any[]) => number[]} */
function freePlace(pic, box, wide, high, more) {
  const middle = box.x + box.width / 2 - wide / 2, { y, height } = pic.bounds;
  const tops = [8, 24, 44, 68, 96].flatMap((away) => [box.y + box.height + away, box.y - away - high]);
  const places = tops.filter((top) => top >= y - 4 && top + high <= y + height + 30)
    .flatMap((top) => [0, -0.12, 0.12, -0.24, 0.24, -0.36, 0.36, -0.48, 0.48].map((aside) => [middle + aside * wide, top]));
  const both = (low, size, other, length) => Math.max(0, Math.min(low + size, other + length) - Math.max(low, other));
  const hidden = (/** @type {number[]} */ [left, top]) => [...pic.rects, ...more].reduce((sum, r) => sum + both(left, wide, r.x, r.width) * both(top, high, r.y, r.height), 0);
  return places.find((place) => hidden(place) === 0) ?? places.reduce((best, place) => (hidden(place) < hidden(best) ? place : best), [middle, tops[0]]);
}

/** Whether an array is so small that its numbers fit beside a box. */
function isFew(array) {
  return Boolean(array?.data) && array.data.length > 0 && array.data.length <= 4 && array.data.every((x) => typeof x === "number");
}

/** The looks of all arrows: as wide as their gradient, or as the share that travels there. */
function paintAll(pic) {
  const view = viewOf(pic), { travels, edges, nodes } = dataOf(pic);
  const travel = held.layer === "flow" ? travels[held.wrt] : null;
  const shares = travel && new Map(travel.shares);
  const output = nodes.length - 1;
  const largest = shares ? Math.max(1e-12, ...[...shares.values()].map(Math.abs)) : 1;
  view.wires.forEach((data, k) => {
    const wire = pic.wires[k]?.id === data[0] ? pic.wires[k] : pic.wires.find((one) => one.id === data[0]);
    if (!wire) return;
    const [, , , , width, label, state, negative, , , slope] = data;
    if (!shares) return paint(wire, { width, label, state, negative, slope, off: state === "no gradient" || state === "not computed" });
    const share = shareOf(data, shares, edges, output);
    paint(wire, { width: share === null ? 0 : 0.6 + 7 * Math.abs(share) / largest, label: share === null ? "" : percent(share),
      state: "gradient", negative: share !== null && share < 0, off: share === null });
  });
}

/** The chosen path as a wide pale band, the rest dimmed. */
function showPath(pic) {
  for (const element of pic.onpath) element.classList.remove("onpath");
  pic.onpath = [];
  pic.bands.replaceChildren();
  const travel = held.data.travels[held.wrt], row = travel?.rows[held.row];
  const on = Boolean(row?.edges);
  pic.svg.classList.toggle("haspath", on);
  if (!on) return;
  const { edges, nodes } = passed(row, held.data.edges);
  const add = (element) => {
    element?.classList.add("onpath");
    if (element) pic.onpath.push(element);
  };
  // An edge into a unit is in two wires: to the unit, and within it.
  for (const wire of pic.wires.filter((one) => nodes.has(one.node) || one.edges.some((i) => edges.has(i)))) {
    for (const element of [wire.quiet, wire.to, wire.fro, wire.trail]) add(element);
    if (wire.line) pic.bands.append(shape("path", { class: wire.skip ? "skip" : "", d: pathText(wire.line) }));
  }
  for (const node of nodes) (pic.nodes[node] ?? []).forEach(add);
}

/** The parameter that is looked at. */
function showTarget(pic) {
  for (const element of pic.svg.querySelectorAll(".target")) element.classList.remove("target");
  if (held.wrt !== null) for (const element of pic.nodes[held.wrt] ?? []) element.classList.add("target");
}

function nameAll(pic) {
  const title = pic.svg.querySelector("title")?.textContent ?? "the graph";
  pic.svg.setAttribute("aria-label", title);
  for (const box of pic.boxes) {
    // Who speaks to the computer says what stands in the box.
    const inside = box.textContent.trim().replace(/\s+/g, " ");
    box.setAttribute("aria-label", pic.nodeOf.has(box) ? `${nodeWords(pic.nodeOf.get(box), dataOf(pic))}; ${inside}` : `left out; ${inside}`);
  }
}

/** What the looks of the arrows mean, each kind once, with samples of their width. */
function legend(pic) {
  const wires = seen().flatMap((one) => viewOf(one).wires), states = new Set(wires.map((wire) => wire[6])), entries = [];
  const view = { samples: viewOf(pic).samples, wires };
  const sample = (content, width = 40) => shape("svg", { viewBox: `0 0 ${width} 16`, width, height: 16, "aria-hidden": "true" }, ...content);
  const line = (className, width, more = {}) => shape("path", { class: className, d: "M2,8H38", "stroke-width": width, ...more });
  const entry = (samples, words) => entries.push(make("span", "entry", ...samples, words));
  const flow = held.layer === "flow" && held.data.travels[held.wrt];
  if (flow) {
    const largest = Math.max(1e-12, ...flow.shares.map(([, share]) => Math.abs(share)));
    const steps = [0.1, 0.5, 1].map((t) => t * largest);
    entry(steps.map((share) => sample([line("deep", 0.6 + 7 * share / largest)])), `share of the gradient of ${flow.name}: ${steps.map(percent).join(", ")} (linear)`);
  } else if (states.has("gradient")) {
    entry(view.samples.map(([, width]) => sample([line("deep", width)])), `|gradient| ${view.samples.map(([text]) => text).join(", ")} (log scale)`);
  }
  if (view.wires.some((wire) => wire[3])) entry([sample([line("over", 5), line("hollow", 2.4)])], "over a skip");
  if (flow ? flow.shares.some(([, share]) => share < 0) : view.wires.some((wire) => wire[7])) entry([sample([line("deep dashed", 3)])], "below 0: opposes");
  if (held.data.travels[held.wrt]?.rows[held.row]?.edges) entry([sample([line("band", 12)])], "the chosen path");
  entry([sample([shape("circle", { class: "now", cx: 8, cy: 8, r: 6 })], 16)], "now");
  entry([sample([line("plain", 1.2)])], flow ? "not on the way" : "not yet travelled, or not asked for");
  for (const state of ["vanishing", "zero", "blocked", "cancelled", "stopped", "ablated", "nan", "infinite"]) {
    if (!states.has(state)) continue;
    const word = { nan: "NaN", infinite: "∞", vanishing: "≈0" }[state];
    const drawn = [line(`state ${state}`, 1.6)];
    if (state === "blocked") drawn.push(shape("path", { class: "mark", d: "M28,2V14" }));
    if (state === "stopped" || state === "ablated") drawn.push(shape("path", { class: "mark", d: "M18,2V14M22,2V14" }));
    entry([sample(drawn), ...(word ? [make("b", "word", `${word} `)] : [])], held.data.words[state] ?? "left out by you");
  }
  $("legend").replaceChildren(...entries);
}

function choose() {
  for (const other of pictures) other.holder.hidden = !seen().includes(other);
  $("fold").setAttribute("aria-pressed", String(Boolean(picture()?.folded)));
  $("fold").hidden = pictures.length < 2 || Boolean(held.data.sides);
  $("layer").hidden = Boolean(held.data.sides);
}

app.on(["data"], (_, changed) => {
  if (changed.has("layer")) return;  // the page starts: all has its numbers
  pictures.forEach(renumber);
});
app.on(["view"], choose);
app.on(["view", "data", "layer", "wrt"], (_, changed) => {
  if (!current()) return;
  if (held.layer === "flow" || changed.has("layer") || changed.has("data") || changed.has("view")) seen().forEach(paintAll);
  legend(picture());
});
app.on(["view", "data", "wrt", "row"], () => {
  if (!current()) return;
  showPath(picture());
  showTarget(picture());
  legend(picture());
});
app.on(["view", "data", "at", "layer"], () => current() && seen().forEach((pic) => light(pic, stepOf(pic))));
app.on(["view", "data", "at", "layer"], () => current() && !held.data.sides && callouts(picture(), held.steps[held.at]));
app.on(["view", "data", "at"], () => current() && seen().forEach((pic) => showGradients(pic, stepOf(pic))));
app.on(["data", "view"], () => current() && seen().forEach(nameAll));
app.on(["layer", "wrt"], () => $("layer").setAttribute("aria-pressed", String(held.layer === "flow")));
