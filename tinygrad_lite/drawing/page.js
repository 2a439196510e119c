// The page's script: shows one step at a time. It sets text, never markup, so that a name
// is only ever shown.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const { steps, arrays, names } = data;
const root = document.documentElement;
const $ = (id) => document.getElementById(id);
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const dark = matchMedia("(prefers-color-scheme: dark)");

function make(tag, className = "", ...content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content.filter((part) => part !== null && part !== ""));
  return element;
}

function say(text) {
  $("said").textContent = text;
}

// Numbers and arrays

function number(x) {
  if (typeof x !== "number") return x === null ? "" : x;
  const size = Math.abs(x);
  const whole = Number.isInteger(x) && size < 1e5, plain = size >= 1e-3 && size < 1e5;
  const text = whole ? String(x) : plain ? String(Number(x.toPrecision(3))) : x.toExponential(2);
  return text.replace(/^-/, "−");
}

function facts(array) {
  const parts = [array.shape.length === 1 ? `(${array.shape[0]},)` : `(${array.shape.join(", ")})`];
  if (array.shape.length) {
    if (array.min !== null) parts.push(`${number(array.min)} to ${number(array.max)}, mean ${number(array.mean)}`);
    parts.push(`|${number(array.norm)}|`);
  }
  if (array.dtype !== "float64") parts.push(array.dtype);
  return parts.join(" · ");
}

function flags(array) {
  const parts = [];
  if (array.nan) parts.push(`${array.nan} NaN`);
  if (array.inf) parts.push(`${array.inf} infinite`);
  return parts.join(", ");
}

// The largest size among the finite elements: where the colours end.
function reach(array) {
  return Math.max(Math.abs(array.min ?? 0), Math.abs(array.max ?? 0)) || 1;
}

function value(name, index, note = "") {
  const array = arrays[index];
  const box = make("div", "value");
  const flag = flags(array);
  box.append(make("div", "head", make("span", "name", name), make("span", "facts", facts(array)),
    note && make("span", "facts", note), flag && make("span", "flag", flag)));
  if (array.data && array.data.length === 0) return box;
  const most = array.shape.length ? array.shape[array.shape.length - 1] : 1;
  // A vector may go over several lines, a matrix keeps its rows.
  const columns = array.shape.length === 1 ? Math.ceil(most / Math.ceil(most / 6)) : most;
  if (array.data && array.shape.length < 3 && columns <= 6 && array.data.length <= 36) {
    box.append(cells(array, columns));
    return box;
  }
  if (array.data || array.thumb) box.append(heat(array, name));
  if (array.thumb && array.thumb[1].length) {
    box.append(make("div", "facts", `shrunk to ${array.thumb[0].join("×")} by averaging` +
      (array.shape.length > 2 ? ", the first matrix" : "")));
  }
  if (array.data) {
    const button = make("button", "", `all ${array.data.length} values`);
    button.setAttribute("aria-expanded", "false");
    button.onclick = () => {
      const open = button.nextSibling;
      if (open) open.remove();
      else button.after(make("pre", "all", columnsOf(array)));
      button.setAttribute("aria-expanded", String(!open));
    };
    box.append(button);
  } else {
    box.append(make("div", "facts", `${array.shape.reduce((a, b) => a * b, 1).toLocaleString("en")} values; this page holds arrays of up to ${data.limit.toLocaleString("en")} whole`));
  }
  return box;
}

// A small array as a grid of numbers, coloured.
function cells(array, columns) {
  const grid = make("div", "cells");
  grid.style.gridTemplateColumns = `repeat(${columns}, 1fr)`;
  const most = reach(array);
  for (const x of array.data) {
    const cell = make("div", "cell");
    if (typeof x === "number") {
      cell.textContent = number(x);
      cell.style.setProperty("--hue", x < 0 ? "var(--neg)" : "var(--pos)");
      cell.style.setProperty("--much", Math.abs(x) / most);
    } else {
      cell.classList.add("nan");
      cell.append(make("span", "", x));
    }
    grid.append(cell);
  }
  return grid;
}

// A larger one as a heat map: its matrices side by side, NaN and infinity crossed out.
function heat(array, name) {
  const shape = array.data ? array.shape : array.thumb[0];
  const elements = array.data ?? array.thumb[1];
  const columns = shape[shape.length - 1], rows = shape.length > 1 ? shape[shape.length - 2] : 1;
  const tiles = Math.min(elements.length / (rows * columns), 16);
  const wide = tiles > 1 ? Math.min(tiles, Math.max(1, Math.floor(32 / (columns + 1)))) : 1;
  const size = Math.max(1, Math.min(18, Math.floor(300 / (wide * (columns + 1)))));
  const gap = tiles > 1 ? 1 : 0;
  const canvas = make("canvas");
  canvas.width = wide * (columns + gap) * size;
  canvas.height = Math.ceil(tiles / wide) * (rows + gap) * size;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `heat map of ${name}: ${facts(array)} ${flags(array)}`);
  const pen = canvas.getContext("2d"), most = reach(array), colours = palette();
  for (let i = 0; i < tiles * rows * columns; i++) {
    const tile = Math.floor(i / (rows * columns)), row = Math.floor(i / columns) % rows;
    const x = ((tile % wide) * (columns + gap) + (i % columns)) * size;
    const y = (Math.floor(tile / wide) * (rows + gap) + row) * size;
    const v = elements[i];
    const fine = typeof v === "number";
    pen.fillStyle = fine ? mix(colours, v / most) : colours.css.nan;
    pen.fillRect(x, y, size, size);
    if (!fine && size > 3) {
      pen.strokeStyle = colours.css.card;
      pen.strokeRect(x + 0.5, y + 0.5, size - 1, size - 1);
      pen.beginPath();
      pen.moveTo(x + 1, y + 1);
      pen.lineTo(x + size - 1, y + size - 1);
      pen.stroke();
    }
  }
  if (tiles < elements.length / (rows * columns)) {
    return make("div", "", canvas, make("div", "facts", `the first ${tiles} of ${elements.length / (rows * columns)} matrices`));
  }
  return canvas;
}

let palettes = null;
function palette() {
  if (palettes === null) {
    const style = getComputedStyle(root);
    const css = {}, rgb = {};
    for (const name of ["pos", "neg", "zero", "nan", "card"]) {
      css[name] = style.getPropertyValue(`--${name}`).trim();
      rgb[name] = [1, 3, 5].map((i) => parseInt(css[name].slice(i, i + 2), 16));
    }
    palettes = { css, rgb };
  }
  return palettes;
}

function mix({ rgb }, t) {
  const much = Math.min(1, Math.abs(t)), hue = t < 0 ? rgb.neg : rgb.pos;
  return `rgb(${rgb.zero.map((z, i) => Math.round(z + (hue[i] - z) * much)).join(",")})`;
}

function columnsOf(array) {
  const columns = array.shape.length ? array.shape[array.shape.length - 1] : 1;
  const texts = array.data.map(number);
  const width = texts.reduce((most, x) => Math.max(most, x.length), 0);
  const lines = [];
  for (let i = 0; i < texts.length; i += columns) {
    lines.push(texts.slice(i, i + columns).map((x) => x.padStart(width)).join("  "));
  }
  return lines.join("\n");
}

// The step

const MANY = 24;  // inputs or parts that are shown without being asked for

// What `draw` makes of the first items, and a button for the rest; wrong rules are never there.
function several(items, draw) {
  const wrong = (item) => (item.check && item.check[0] === "disagrees" ? 1 : 0);
  if (items.length > MANY) items = [...items].sort((a, b) => wrong(b) - wrong(a));
  const parts = items.slice(0, MANY).flatMap(draw);
  if (items.length > MANY) {
    const button = make("button", "", `${items.length - MANY} more`);
    button.onclick = () => button.replaceWith(...items.slice(MANY).flatMap(draw));
    parts.push(button);
  }
  return parts;
}

function stepParts(step) {
  const parts = [];
  const place = step.source && data.files[step.source[0]];
  parts.push(make("p", "where",
    make("span", "badge", `${step.way} ${step.number} of ${step.total}`),
    make("span", "", `step ${data.first + at + 1}`),
    step.scope && make("span", "", `in ${step.scope}`),
    place && make("span", "", `${place.name}, line ${step.source[1]}`),
    step.calls && make("span", "", `calls ${step.calls}`)));
  parts.push(make("p", "equation", step.equation));
  if (step.way === "forward") {
    if (step.words) parts.push(make("p", "words", step.words));
    parts.push(make("h2", "", "Reads"));
    parts.push(...several(step.values.slice(0, -1), ([, name, array]) => value(name, array)));
    parts.push(make("h2", "", "Makes"));
    parts.push(value(...step.values[step.values.length - 1].slice(1)));
    return parts;
  }
  parts.push(make("h2", "", "Rule"));
  const used = new Set();
  for (const send of step.sends.slice(0, MANY)) {
    const right = send.rule.slice(send.rule.indexOf(" = ")) + " " + send.where.join(" ");
    for (const [id, name] of step.values) if (mentions(right, name)) used.add(id);
  }
  parts.push(...several(step.sends, (send) => {
    const parts = [];
    const rule = make("p", "rule", send.rule);
    for (const line of send.where) rule.append(make("span", "small", `where ${line}`));
    if (send.numbers) rule.append(make("span", "small", `= ${send.numbers}`));
    parts.push(rule);
    if (send.words) parts.push(make("p", "words", send.words));
    const code = data.rules[send.code];
    if (code) parts.push(make("details", "", make("summary", "", "code"), make("pre", "", code)));
    if (send.check) {
      const mark = { agrees: "✓", disagrees: "✗", undecided: "?" }[send.check[0]];
      parts.push(make("p", `check ${send.check[0]}`, `${mark} ${send.check[1]}`));
    }
    return parts;
  }));
  parts.push(make("h2", "", "Arrives"));
  const single = step.arrivals.length === 1;
  parts.push(...several(step.arrivals, ([, , sender, symbol, array]) =>
    value(`${single ? "g " : ""}from ${sender}${symbol ? ` (${symbol})` : ""}`, array)));
  if (step.arrivals.length > 1) {
    parts.push(value("g, the sum", step.gradient, data.remarks[step.state] ?? ""));
  }
  const constants = step.values.filter(([id]) => used.has(id));
  if (constants.length) {
    parts.push(make("h2", "", "With"));
    parts.push(...several(constants, ([, name, array]) => value(name, array)));
  }
  parts.push(make("h2", "", "Sends"));
  parts.push(...several(step.sends, (send) => [
    value(`to ${send.name}`, send.array, data.remarks[send.traffic] ?? ""),
    ...(send.soFar !== send.array ? [value(`${send.name} so far`, send.soFar, data.remarks[send.total] ?? "")] : []),
  ]));
  parts.push(make("h2", "", "Gradients"), progress(step));
  return parts;
}

function mentions(text, name) {
  const before = /[\p{L}_#][\p{L}\p{N}_#]*$/u, after = /^(?![ᵀ²³⁴-⁹¹])[\p{L}\p{N}_#]/u; // 2x² has x
  for (let i = text.indexOf(name); i >= 0; i = text.indexOf(name, i + 1)) {
    if (!before.test(text.slice(0, i)) && !after.test(text.slice(i + name.length))) return true;
  }
  return false;
}

const sorted = [...data.complete].sort((a, b) => a[1] - b[1]);

function progress(step) {
  const chips = make("div", "chips");
  const first = Math.max(0, sorted.findIndex(([, k]) => k > step.number) - 8);
  for (const [node, k] of sorted.slice(first, first + 20)) {
    const done = k <= step.number;
    chips.append(make("span", done ? "done" : "", `${names[node]} ${done ? "done" : "waits"}`));
  }
  if (sorted.length > 20) chips.append(make("span", "", `of ${sorted.length}`));
  return chips;
}

// The source

const KEYWORDS = "and as assert break class continue def del elif else except False finally for from global if import in is lambda None nonlocal not or pass raise return True try while with yield";
const TOKEN = new RegExp(`(#.*$)|("(?:\\\\.|[^"\\\\])*"|'(?:\\\\.|[^'\\\\])*')|\\b(${KEYWORDS.split(" ").join("|")})\\b`, "g");

function highlight(text) {
  const line = make("span", "");
  let done = 0;
  for (const found of text.matchAll(TOKEN)) {
    line.append(text.slice(done, found.index));
    line.append(make("span", found[1] ? "c" : found[2] ? "s" : "k", found[0]));
    done = found.index + found[0].length;
  }
  line.append(text.slice(done) || (done ? "" : " "));
  return line;
}

const lines = new Map();  // "file:line" -> its element
let marked = null;

function showSource() {
  const code = $("code");
  const stepped = new Set(steps.filter((s) => s.source).map((s) => s.source.join(":")));
  data.files.forEach((file, f) => {
    const list = make("ol");
    file.lines.forEach((text, i) => {
      const n = file.first + i, key = `${f}:${n}`;
      const item = make("li", stepped.has(key) ? "stepped" : "",
        make("span", "n", String(n)), highlight(text));
      if (stepped.has(key)) item.onclick = () => nextOf((s) => s.source && s.source.join(":") === key);
      lines.set(key, item);
      list.append(item);
    });
    code.append(make("h3", "", file.name), list);
  });
  if (data.files.length) return;
  // No lines were recorded: the computation itself, as straight-line code.
  $("source-title").textContent = "Computation";
  code.append(make("p", "", "No source lines were recorded: compute inside “with source_lines():”, or use “tinygrad-lite step”. This is what was computed."));
  const list = make("ol");
  steps.forEach((step, i) => {
    if (step.way !== "forward") return;
    const item = make("li", "stepped", make("span", "n", String(i + 1)), make("span", "", step.equation));
    item.onclick = () => nextOf((s) => s.node === step.node);
    lines.set(`node:${step.node}`, item);
    list.append(item);
  });
  code.append(list);
}

function markLine(step) {
  if (marked) marked.classList.remove("now");
  if (marked) marked.removeAttribute("aria-current");
  marked = lines.get(data.files.length ? step.source && step.source.join(":") : `node:${step.node}`) ?? null;
  if (!marked) return;
  marked.classList.add("now");
  marked.dataset.way = step.way;
  marked.setAttribute("aria-current", "step");
  const code = $("code"), y = marked.offsetTop - code.offsetTop;
  if (y < code.scrollTop + 40 || y > code.scrollTop + code.clientHeight - 60) {
    code.scrollTo({ top: y - code.clientHeight / 3, left: 0 });
  }
}

// The graph

const reached = { forward: new Map(), backward: new Map() };  // node -> number of its step
for (const step of steps) reached[step.way].set(step.node, step.number);

function group(className, ...content) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", "g");
  element.setAttribute("class", className);
  element.append(...content);
  return element;
}

// The numbers of an arrow, or those of the gradient in a box, if it has any, moved into an element
// of their own, styled as an arrow is.
function numbersOf(part) {
  const texts = part.querySelectorAll(".edge > text, text.below");
  const title = part.querySelector("title")?.cloneNode(true) ?? "";
  const kind = part.classList.contains("edge") ? "number" : "gradient";
  return texts.length ? [group(`edge ${kind}`, title, ...texts)] : [];
}

function shape(tag, className, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  element.setAttribute("class", className);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

// Arrows point the way of the gradient; in a forward step they point the way of the values, by a
// second head at the end of the line. Lines run from where the gradient arrives.
function addHead(arrow) {
  const line = arrow.querySelector("path"), there = arrow.querySelector("polygon");
  const at = line.getAttribute("d").match(/-?[\d.]+/g).map(Number);
  const [x0, y0, x, y] = at.slice(-4), first = at.slice(0, 2);
  const tip = there && there.getAttribute("points").match(/-?[\d.]+/g).map(Number);
  const near = (to) => Math.hypot(tip[0] - to[0], tip[1] - to[1]);
  if (there && near([x, y]) < near(first)) return;
  const long = Math.hypot(x - x0, y - y0) || 1, u = (x - x0) / long, v = (y - y0) / long;
  const colour = line.getAttribute("stroke"), size = 6 + Number(line.getAttribute("stroke-width"));
  const corner = (side) => `${x - size * u - side * size * v / 2},${y - size * v + side * size * u / 2}`;
  const points = `${x},${y} ${corner(1)} ${corner(-1)}`;
  arrow.append(shape("polygon", "heads", { points, fill: colour, stroke: colour }));
}

// A jump may fade thousands of elements, and each costs a browser 10 μs and more. So those that
// are reached one after the other stand in a bundle, which fades as a whole: only where the
// jump starts and where it ends are elements faded by themselves.
const BUNDLE = 64;

function bundled(parts, svg) {
  // What no gradient reaches comes last; the others are reached in turn, forward and backward.
  parts.sort((a, b) => (a.backward === Infinity) - (b.backward === Infinity) ||
    a.forward - b.forward || b.backward - a.backward);
  const kinds = [["arrows", ".edge:not(.number, .gradient)"], ["numbers", ".number"],
    ["boxes", ".node"], ["gradients", ".gradient"]];
  return kinds.flatMap(([kind, selector]) => {
    const same = parts.filter((part) => part.element.matches(selector)), bundles = [];
    while (same.length) {
      const some = same.splice(0, BUNDLE);
      bundles.push({ parts: some, element: group("bundle", ...some.map((part) => part.element)) });
    }
    svg.querySelector(".names").before(group(kind, ...bundles.map((bundle) => bundle.element)));
    return bundles;
  });
}

const pictures = data.views.map((view, v) => {
  const holder = document.querySelectorAll(".view")[v];
  const svg = holder.querySelector("svg");
  svg.querySelectorAll("g.edge").forEach(addHead);
  const byId = new Map([...svg.querySelectorAll("g[id]")].map((g) => [g.id, [g, ...numbersOf(g)]]));
  const nodes = view.nodes.map((ids) => ids.flatMap((id) => byId.get(id) ?? []));
  const edges = new Map(Object.entries(view.edges).map(([key, id]) => [key, byId.get(id) ?? []]));
  const complete = new Map([...data.complete, ...reached.backward]);
  // For each element: when it is first made, when gradient first goes through it.
  const when = new Map();
  const note = (element, node) => {
    const edge = element.classList.contains("edge");
    const known = when.get(element) ?? { element, edge, forward: Infinity, backward: Infinity };
    known.forward = Math.min(known.forward, reached.forward.get(node) ?? 0);
    const arrived = element.matches(".gradient") ? complete : reached.backward;
    known.backward = Math.min(known.backward, arrived.get(node) ?? Infinity);
    when.set(element, known);
  };
  nodes.forEach((elements, node) => elements.forEach((e) => note(e, node)));
  edges.forEach((elements, key) => elements.forEach((e) => note(e, Number(key.split("-")[0]))));
  const bundles = bundled([...when.values()], svg);
  const nodeOf = new Map();
  nodes.forEach((elements, node) => elements.forEach((e) => nodeOf.set(e, node)));
  holder.onclick = (event) => {
    const element = event.target.closest(".node, .edge");
    if (nodeOf.has(element)) nextOf((s) => nodes[s.node].includes(element));
  };
  const size = svg.viewBox.baseVal;
  svg.removeAttribute("width");
  svg.removeAttribute("height");
  return {
    holder, svg, nodes, edges, bundles, numbers: svg.querySelectorAll(".numbers, .gradients"), folded: view.folded,
    width: size.width * 4 / 3, height: size.height * 4 / 3,
  };
});
let picture = pictures[0];
let zoom = null;
let lit = [];

function fade(part, ahead) {
  if (part.ahead !== ahead) part.element.classList.toggle("ahead", part.ahead = ahead);
}

function light(step) {
  for (const element of lit) element.classList.remove("lit", "now");
  lit = [];
  const add = (element, ...kinds) => {
    element.classList.add(...kinds);
    element.dataset.way = step.way;
    lit.push(element);
  };
  const addEdge = (target, slot) => picture.edges.get(`${target}-${slot}`)?.forEach((element) => add(element, "lit"));
  const own = picture.nodes[step.node] ?? [];
  own.forEach((element) => add(element, element.classList.contains("edge") ? "lit" : "now"));
  if (step.way === "forward") {
    for (const [source, target, slot] of data.edges) {
      if (target === step.node) {
        addEdge(target, slot);
        for (const e of picture.nodes[source] ?? []) if (!own.includes(e) && e.classList.contains("node")) add(e, "lit");
      }
    }
  } else {
    for (const [sender, slot] of step.arrivals) if (sender !== null) addEdge(sender, slot);
    for (const send of step.sends) {
      addEdge(step.node, send.slot);
      for (const e of picture.nodes[send.to] ?? []) if (!own.includes(e) && e.classList.contains("node")) add(e, "lit");
    }
  }
  // On the way back every value is there, and arrows wait for their gradient; so do their numbers.
  const waits = (part) => (step.way === "forward" ? part.forward > step.number : part.edge && part.backward > step.number);
  for (const numbers of picture.numbers) numbers.classList.toggle("quiet", step.way === "forward");
  picture.svg.classList.toggle("forward", step.way === "forward");
  for (const bundle of picture.bundles) {
    const all = bundle.parts.every(waits);
    fade(bundle, all);
    for (const part of bundle.parts) fade(part, !all && waits(part));
  }
}

let opened = false;

function centre(step) {
  const views = $("views"), element = (picture.nodes[step.node] ?? [])[0];
  if (!element) return;
  const box = element.getBoundingClientRect(), frame = views.getBoundingClientRect();
  const left = views.scrollLeft + box.left + box.width / 2 - frame.left - frame.width / 2;
  const top = views.scrollTop + box.top + box.height / 2 - frame.top - frame.height / 2;
  const far = Math.abs(left - views.scrollLeft) > frame.width;
  // It glides from step to step, but the page opens where its link points.
  views.scrollTo({ left, top, behavior: calm.matches || far || !opened ? "auto" : "smooth" });
  opened = true;
}

function resize(to) {
  const views = $("views");
  const fit = Math.min((views.clientWidth - 24) / picture.width, (views.clientHeight - 24) / picture.height);
  if (to === "fit") zoom = Math.min(fit, 1.2);
  else if (to !== undefined) zoom = Math.min(3, Math.max(0.05, zoom * to));
  else zoom = fit >= 0.6 ? Math.min(fit, 1.2) : 0.85;
  picture.svg.style.width = `${picture.width * zoom}px`;
}

function choose(next) {
  endPath();
  for (const element of lit) element.classList.remove("lit", "now");
  lit = [];
  picture = next;
  for (const other of pictures) other.holder.hidden = other !== picture;
  $("fold").setAttribute("aria-pressed", String(picture.folded));
  resize();
}

// Paths between a node and the output

let walk = null, walkedFrom = null;

function endPath() {
  for (const p of pictures) {
    p.svg.classList.remove("haspath");
    for (const e of p.svg.querySelectorAll(".onpath")) e.classList.remove("onpath");
    for (const e of p.svg.querySelectorAll(".band")) e.remove();
  }
  walk = null;
}

function* pathsTo(goal) {
  const output = data.nodes.length - 1;
  const into = data.nodes.map(() => []);
  const carried = data.edges.some((e) => e[3]);
  const used = carried && reached.backward.has(goal) ? data.edges.filter((e) => e[3]) : data.edges;
  for (const e of used) into[e[1]].push(e);
  const count = data.nodes.map(() => 0n);  // of the paths from each node down to the goal
  count[goal] = 1n;
  for (let n = goal + 1; n <= output; n++) for (const e of into[n]) count[n] += count[e[0]];
  yield count[output];
  const stack = [[output, 0]], way = [];
  while (stack.length) {
    const top = stack[stack.length - 1];
    const next = top[0] === goal ? undefined : into[top[0]][top[1]++];
    if (next === undefined) {
      if (top[0] === goal) yield [...way];
      stack.pop();
      way.pop();
    } else if (count[next[0]]) {
      way.push(next);
      stack.push([next[0], 0]);
    }
  }
}

function nextPath() {
  const goal = steps[at].node, output = data.nodes.length - 1;
  if (goal === output) return say("This op makes the output itself: step to another one to see its paths.");
  if (!walk || walkedFrom !== goal) {
    walk = { paths: pathsTo(goal), number: 0 };
    walk.total = walk.paths.next().value;
    walkedFrom = goal;
  }
  const found = walk.paths.next();
  if (found.done) {
    endPath();
    return say("That was the last path.");
  }
  walk.number += 1;
  picture.svg.classList.add("haspath");
  for (const e of picture.svg.querySelectorAll(".onpath")) e.classList.remove("onpath");
  for (const e of picture.svg.querySelectorAll(".band")) e.remove();
  const nodes = [output, ...found.value.map((e) => e[0])];
  for (const n of nodes) for (const e of picture.nodes[n]) e.classList.add("onpath");
  for (const e of found.value) picture.edges.get(`${e[1]}-${e[2]}`)?.forEach((element) => element.classList.add("onpath"));
  for (const line of picture.svg.querySelectorAll(".edge.onpath > path:first-of-type")) {
    line.before(shape("path", "band", { d: line.getAttribute("d") }));
  }
  const way = nodes.map((n) => names[n]);
  const shown = way.length > 14 ? [...way.slice(0, 7), "…", ...way.slice(-6)] : way;
  say(`Path ${walk.number} of ${walk.total.toLocaleString("en")}: ${shown.join(" → ")}`);
}

// Where we are

let at = 0;

function show(i, { quiet = false } = {}) {
  if (!steps.length) return;
  const began = performance.now();
  at = Math.min(Math.max(i, 0), steps.length - 1);
  const step = steps[at];
  // Only where it shows: a colour set on the root would be worked out anew for every element.
  for (const part of [document.querySelector("header"), $("step")]) part.dataset.way = step.way;
  if (walk && walkedFrom !== step.node) endPath();
  if (!quiet) say("");
  $("step").replaceChildren(...stepParts(step));
  $("scrub").value = String(at + 1);
  $("scrub").setAttribute("aria-valuetext", `step ${data.first + at + 1}: ${step.way} ${step.number} of ${step.total}`);
  $("home").disabled = $("left").disabled = at === 0;
  $("end").disabled = $("right").disabled = at === steps.length - 1;
  light(step);
  // From here on places are asked for: the browser works them out once, after all changes.
  $("step").scrollTop = 0;
  markLine(step);
  centre(step);
  root.dataset.step = String(data.first + at + 1);
  address();
  root.dataset.took = (performance.now() - began).toFixed(2);
}

// Browsers allow only so many changes of the address in a while: one in 100 ms will do.
let due = null;
function address() {
  if (due !== null) return;
  const write = () => {
    due = null;
    try {
      history.replaceState(null, "", `#${root.dataset.step}`);
    } catch {
      // A sandboxed frame has no address of its own.
    }
  };
  due = setTimeout(write, 100);
}

function fromHash() {
  const n = Number.parseInt(location.hash.slice(1), 10);
  if (n - 1 >= data.first && n - 1 < data.first + steps.length) show(n - 1 - data.first);
  else show(at);
}

function nextOf(wanted) {
  for (let k = 1; k <= steps.length; k++) {
    const i = (at + k) % steps.length;
    if (wanted(steps[i])) return show(i);
  }
  say("No step of this page does that.");
}

function turn(way) {
  const i = steps.findIndex((s) => s.way === way && s.node === steps[at].node);
  if (i >= 0) show(i);
  else say(`${names[steps[at].node]} has no ${way} step here.`);
}

let timer = null;
function play() {
  if (timer !== null) {
    clearInterval(timer);
    timer = null;
  } else {
    if (at === steps.length - 1) show(0);
    timer = setInterval(() => (at < steps.length - 1 ? show(at + 1) : play()), 1200);
  }
  $("play").setAttribute("aria-pressed", String(timer !== null));
  $("play").textContent = timer === null ? "▶ play" : "❚❚ pause";
  $("play").setAttribute("aria-label", timer === null ? "Play" : "Pause");
}

function theme(name) {
  root.dataset.theme = name;
  palettes = null;
  $("theme").setAttribute("aria-pressed", String(name === "dark"));
  if (steps.length) $("step").replaceChildren(...stepParts(steps[at]));
}

function fold() {
  if (pictures.length < 2) return say(picture.folded ? "This graph is too large to unfold here." : "Nothing folds: no scopes were named.");
  choose(pictures[1 - pictures.indexOf(picture)]);
  light(steps[at]);
  centre(steps[at]);
  say(picture.folded ? "Folded." : "Unfolded.");
}

function search() {
  $("query").value = "";
  hits();
  $("finder").showModal();
  $("query").focus();
}

const stepped = new Set(steps.flatMap((s) => [s.node, ...s.values.map((v) => v[0])]));

function hits() {
  const query = $("query").value.trim().toLowerCase();
  const found = [];
  data.nodes.forEach(([name, op, scope], node) => {
    if (!stepped.has(node)) return;
    if ([name, names[node], op, scope].some((text) => text.toLowerCase().includes(query))) found.push(node);
  });
  $("hits").replaceChildren(...found.slice(0, 50).map((node) => {
    const [, op, scope] = data.nodes[node];
    const button = make("button", "", `${names[node]} `, make("small", "", scope ? `${op}, in ${scope}` : op));
    button.onclick = () => {
      $("finder").close();
      // The step that makes it; for a leaf, the next that reads it or sends it gradient.
      const made = reached.forward.has(node);
      nextOf((s) => (made ? s.node === node : s.values.some((v) => v[0] === node)));
    };
    return make("li", "", button);
  }));
  if (!found.length) $("hits").append(make("li", "", "nothing found"));
}

const actions = {
  home: ["Home", () => show(0)],
  end: ["End", () => show(steps.length - 1)],
  left: ["ArrowLeft", () => show(at - 1)],
  right: ["ArrowRight", () => show(at + 1)],
  play: [" ", play],
  forward: ["f", () => turn("forward")],
  backward: ["b", () => turn("backward")],
  path: ["p", nextPath],
  search: ["/", search],
  fold: ["c", fold],
  theme: ["d", () => theme(root.dataset.theme === "dark" ? "light" : "dark")],
  help: ["?", () => $("keys").showModal()],
  smaller: ["-", () => resize(1 / 1.25)],
  larger: ["+", () => resize(1.25)],
  fit: ["0", () => resize("fit")],
};

for (const [id, [, action]] of Object.entries(actions)) $(id).onclick = action;

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const target = event.target;
  if (event.key === " " && ["BUTTON", "SUMMARY"].includes(target.tagName)) return;
  if (target.type === "range" && /^(Arrow|Home|End)/.test(event.key)) return;
  if (event.key === "Escape") return endPath(), say("");
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const found = Object.values(actions).find(([name]) => name === key);
  if (!found) return;
  event.preventDefault();
  found[1]();
});

$("scrub").max = String(Math.max(1, steps.length));
$("scrub").oninput = () => show(Number($("scrub").value) - 1);
$("query").oninput = hits;
$("query").onkeydown = (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  $("hits").querySelector("button")?.click();
};
addEventListener("hashchange", fromHash);
addEventListener("resize", () => resize());
dark.addEventListener("change", () => theme(dark.matches ? "dark" : "light"));

$("note").textContent = data.note + (data.leftOut ? ` Left out, as the page would be too large: ${data.leftOut}.` : "");
theme(dark.matches ? "dark" : "light");
showSource();
choose(pictures[0]);
if (steps.length) fromHash();
else say("There are no steps: nothing was computed.");
