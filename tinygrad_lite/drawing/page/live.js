// A page with a server: knobs on inputs and parameters, switches on branches. What is changed is
// kept here, whole; each question brings all of it, and the answer are new data for the page.
import { $, app, button, held, make, refill, say, shape } from "./dom.js";
import { timeline } from "./timeline.js";
import { number, percent, shapeText } from "./numbers.js";
import { byName, byNumber, changeWords, nothing, sameUse } from "./changes.js";

const RANGES = { add: [-20, 20, 0], times: [-2, 3, 1] };
const STALE = 250;  // milliseconds after which what is shown is said to be of before

const offer = held.data.live, first = held.data;
const token = new URLSearchParams(location.search).get("token") ?? "";

Object.assign(held, {
  changes: nothing, history: [], knob: null, how: "add", sweep: null, asking: false, trouble: null, served: false, rate: null, took: null, warning: "",
});

async function ask(question) {
  const reply = await fetch(`/ask?token=${encodeURIComponent(token)}`, { method: "POST", body: JSON.stringify(question) });
  if (!reply.ok) throw new Error(await reply.text());
  const found = await reply.json();
  if (found.error) throw Object.assign(new Error(found.error.text), { told: found.error });
  return found;
}

// Questions: two at a time, so that one is computed while another is drawn; of those that wait, the
// last alone; and an answer that a later one has overtaken is dropped.

let flying = 0, again = false, asked = 0, newest = 0;
const answered = [];

/** In the numbers of a node's first data, those of the data there are now, and back. */
const toBase = (node) => (held.data.base ? held.data.base[node] : node);
const fromBase = (base) => (held.data.base ? held.data.base.indexOf(base) : base);

async function change() {
  if (flying >= 2) {
    again = true;
    return;
  }
  flying++;
  const mine = ++asked, began = performance.now();
  const late = setTimeout(() => app.update({ asking: true }), STALE);
  const { changes, at, view } = held, wrt = held.wrt === null ? target() : toBase(held.wrt);
  try {
    const found = await ask({ kind: "change", ...changes, at, view, wrt });
    if (mine > newest) {
      newest = mine;
      take(found, wrt);
      answered.push(performance.now());
      while (answered.length > 30 || answered[0] < performance.now() - 3000) answered.shift();
      const rate = answered.length > 4 ? 1000 * (answered.length - 1) / (answered[answered.length - 1] - answered[0]) : null;
      app.update({ asking: false, trouble: null, rate, took: performance.now() - began, warning: found.warning });
    }
  } catch (error) {
    if (error instanceof TypeError && error.stack) console.error(error);
    if (mine >= newest) app.update({ asking: false, trouble: { text: error.message } });
  } finally {
    clearTimeout(late);
    flying--;
    if (again) {
      again = false;
      change();
    }
  }
}

/** The parameter that the strip speaks of, in the numbers of the first data. */
function target() {
  return held.wrt !== null ? toBase(held.wrt) : Number(Object.keys(first.travels)[0] ?? -1);
}

/** New data in the place of the old: what an answer does not bring stays as it was at first. */
function take(found, wrt) {
  const views = [...held.data.views];
  views[found.view] = found.views[0];
  for (const other of views.keys()) if (other !== found.view) views[other] = { ...first.views[other], stale: true };
  const backward = new Map(first.steps.map((step) => [`${step.way} ${step.node}`, step]));
  const steps = found.steps.map((step) => {
    if (!step.outline) return { ...step, source: known(step)?.source ?? null, callers: known(step)?.callers ?? [], calls: known(step)?.calls ?? "" };
    const old = backward.get(`${step.way} ${found.base[step.node]}`);
    return old ? { ...old, ...step, sends: [], arrivals: [] } : { scope: "", equation: "", values: [], sends: [], arrivals: [], source: null, callers: [], ...step };
  });
  function known(step) {
    return backward.get(`${step.way} ${found.base[step.node]}`);
  }
  const data = { ...first, ...found, files: first.files, live: offer, steps, views, rules: found.rules, travels: found.travels };
  const line = timeline(steps), now = held.steps[held.at], base = now && now.node >= 0 ? toBase(now.node) : -1;
  let at = now?.way === "all" ? line.length - 1 : line.findIndex((step) => step.way === now?.way && found.base[step.node] === base);
  if (at < 0) at = Math.min(held.at, line.length - 1);
  const mine = found.base.indexOf(wrt), seen = held.wrt === null ? null : String(mine) in found.travels ? mine : null;
  app.update({ data, steps: line, at, wrt: seen, row: seen === null ? null : held.row });
}

/** Another step, picture or parameter than the last answer told in full. */
function more(_, changed) {
  if (!offer || !held.served || flying) return;
  const step = held.steps[held.at];
  const untold = step?.way === "all" && held.data.nodes.some((node) => node[5] === -1);
  const missing = untold || step?.outline || held.data.views[held.view].stale || (changed.has("wrt") && held.wrt !== null && held.data.travels[held.wrt] === undefined);
  if (missing) queueMicrotask(change);
}

// What is changed

function apply(changes, { remember = true } = {}) {
  const history = remember ? [...held.history.slice(-99), held.changes] : held.history;
  app.update({ changes, history });
  change();
}

function undo() {
  if (!held.history.length) return say("There is nothing to undo.");
  const history = held.history.slice(0, -1), changes = held.history[held.history.length - 1];
  app.update({ changes, history });
  change();
  return undefined;
}

/** Where the knob of a leaf stands. */
function standing(leaf, how) {
  const had = held.changes.data[leaf] ?? {};
  if (how in RANGES) return had[how] ?? RANGES[how][2];
  const found = (had.set ?? []).find(([i]) => i === Number(how));
  return found ? found[1] : offer.leaves.find((x) => x.node === leaf).data[Number(how)];
}

function rangeOf(leaf, how) {
  if (how in RANGES) return RANGES[how];
  const x = offer.leaves.find((one) => one.node === leaf).data[Number(how)], reach = Math.max(5, 3 * Math.abs(x));
  return [x - reach, x + reach, x];
}

let turning = false;  // one movement of a slider is one change to undo

function turn(x) {
  const { knob, how, changes } = held, had = changes.data[knob] ?? {};
  const own = how in RANGES ? { ...had, [how]: x } : { ...had, set: [...(had.set ?? []).filter(([i]) => i !== Number(how)), [Number(how), x]] };
  if (own.add === 0) delete own.add;
  if (own.times === 1) delete own.times;
  const data = { ...changes.data, [knob]: own };
  if (!Object.keys(own).length) delete data[knob];
  apply({ ...changes, data }, { remember: !turning });
  turning = true;
}

function switchOf(branch) {
  if (held.changes.stop.some((use) => sameUse(use, branch))) return "stop";
  return held.changes.ablate.some((use) => sameUse(use, branch)) ? "ablate" : "on";
}

function cut(branch, how) {
  const without = (list) => list.filter((use) => !sameUse(use, branch)), own = branch.slice(0, 2);
  apply({ ...held.changes, stop: [...without(held.changes.stop), ...(how === "stop" ? [own] : [])],
    ablate: [...without(held.changes.ablate), ...(how === "ablate" ? [own] : [])] });
}

/** The branches that have a row: the joins' that are skipped and their skips, and what is cut. */
function rows() {
  const joins = new Set(offer.branches.filter((b) => b[4]).map((b) => b[0]));
  const few = joins.size && joins.size <= 2 ? offer.branches.filter((b) => joins.has(b[0])) : [];
  const others = offer.branches.filter((b) => switchOf(b) !== "on" && !few.includes(b));
  return [...few, ...others].slice(0, 6);
}

function switches(branch) {
  const [, , name, sum, skip] = branch, now = switchOf(branch);
  const set = make("div", "set");
  for (const how of ["on", "stop", "ablate"]) {
    const one = button(how, () => cut(branch, how));
    one.setAttribute("aria-pressed", String(now === how));
    one.setAttribute("aria-label", `${name}: ${how}`);
    if (how === "ablate" && !sum) {
      one.disabled = true;
      one.title = "It joins otherwise than by add or subtract, so leaving it out says nothing.";
    }
    set.append(one);
  }
  return [make("span", skip ? "branch over" : "branch through", name), set];
}

/** A click on an arrow: its switches. */
function openBranch(event) {
  const { wire } = event.detail;
  if (!offer || !held.served) return undefined;
  const ids = wire.edges.map((i) => held.data.edges[i]).filter(Boolean);
  const branches = offer.branches.filter((b) => wire.edges.length ? ids.some(([, t, s]) => toBase(t) === b[0] && s === b[1]) : wire.id === `e${b[0]}-${b[1]}`);
  return branches.length ? showSwitches(branches) : say("No branch to cut: this arrow leads from an op to its own result.");
}

/** X: the switches of all arrows of a box, or of the current op. */
export function cutHere(node) {
  if (!offer || !held.served) return say("A saved page computes nothing: branches are cut on a live page, by tinygrad-lite live.");
  const uses = held.data.edges.filter((edge) => edge[0] === node || edge[1] === node).map(([, into, slot]) => [toBase(into), slot]);
  const branches = offer.branches.filter((b) => uses.some((use) => sameUse(use, b)));
  return branches.length ? showSwitches(branches) : say("There is no branch to cut here.");
}

function showSwitches(branches) {
  const box = $("branch");
  box.replaceChildren(make("h2", "", "Cut a branch"), ...branches.slice(0, 8).map((b) => make("div", "row", ...switches(b))),
    make("p", "", "stop: no gradient passes, values stay. ablate: it adds nothing, values change."), button("Close", () => box.close()));
  for (const one of box.querySelectorAll(".row button")) one.addEventListener("click", () => box.close());
  box.showModal();
}

// The sweep: the whole of what the knob would do, with a mark where it stands

let sweeping = 0;

function askSweep() {
  const mine = ++sweeping, wrt = target();
  if (held.knob === null || wrt < 0) return;
  setTimeout(async () => {
    if (mine !== sweeping || flying) return mine === sweeping && !again ? askSweep() : undefined;
    const { knob, how, changes } = held, [low, high] = rangeOf(knob, how);
    try {
      const found = await ask({ kind: "sweep", ...changes, leaf: knob, how, from: low, to: high, wrt });
      if (mine === sweeping) app.update({ sweep: { ...found, low, high, wrt } });
    } catch {
      if (mine === sweeping) app.update({ sweep: null });
    }
  }, 250);
}

function plot() {
  const { sweep } = held, [w, h, left, bottom] = [300, 76, 38, 60];
  const svg = shape("svg", { viewBox: `0 0 ${w} ${h}`, class: "plot", role: "img" });
  if (!sweep?.points?.length) {
    svg.setAttribute("aria-label", "no sweep");
    if (sweep?.slow) {
      const text = shape("text", { x: 6, y: 40 });
      text.textContent = `no sweep: a point takes ${sweep.slow} s`;
      svg.append(text);
    }
    return svg;
  }
  const finite = sweep.points.filter(([, size]) => typeof size === "number");
  const top = Math.max(1e-300, ...finite.flatMap(([, size, parts]) => [size, ...parts.map(([, x]) => (typeof x === "number" ? x : 0))]));
  const px = (x) => left + (x - sweep.low) / (sweep.high - sweep.low) * (w - left - 8);
  const py = (y) => bottom - y / top * (bottom - 8);
  const draw = (className, value) => {
    const d = finite.map((point) => [point[0], value(point)]).filter(([, y]) => typeof y === "number").map(([x, y], i) => `${i ? "L" : "M"}${px(x).toFixed(1)},${py(y).toFixed(1)}`).join("");
    svg.append(shape("path", { class: className, d }));
  };
  svg.append(shape("path", { class: "axis", d: `M${left},${bottom}H${w - 8}M${left},8H${w - 8}` }));
  const ways = [...new Set(finite.flatMap(([, , parts]) => parts.map(([way]) => way)))];
  if (ways.length > 1) ways.slice(0, 6).forEach((way, i) => draw(`part p${i}`, ([, , parts]) => parts.find(([name]) => name === way)?.[1]));
  draw("whole", ([, size]) => size);
  const text = (words, x, y, anchor = "start") => {
    const element = shape("text", { x, y, "text-anchor": anchor });
    element.textContent = words;
    svg.append(element);
  };
  text(number(top), left - 4, 12, "end");
  text("0", left - 4, bottom + 3, "end");
  const sign = held.how === "add" ? (x) => `${x < 0 ? "−" : "+"} ${number(Math.abs(x))}` : number;
  text(sign(sweep.low), left, bottom + 13);
  text(sign(sweep.high), w - 8, bottom + 13, "end");
  text(`|∂${held.data.output}/∂${first.names[sweep.wrt]}|`, (left + w) / 2, bottom + 13, "middle");
  const x = px(Math.min(sweep.high, Math.max(sweep.low, standing(held.knob, held.how))));
  svg.append(shape("path", { class: "mark", d: `M${x},4V${bottom}` }));
  svg.setAttribute("aria-label", `the length of the gradient of ${first.names[sweep.wrt]}: ${sweep.points.map(([at, size]) => `${number(size)} at ${number(at)}`).filter((_, i) => i % 10 === 0).join(", ")}`);
  return svg;
}

// The strip

let slider = null;

function buildStrip() {
  const box = $("live");
  box.hidden = false;
  const select = make("select", "knob");
  select.setAttribute("aria-label", "Input or parameter");
  for (const leaf of offer.leaves) select.append(new Option(`${leaf.name} ${shapeText(leaf.shape)}`, String(leaf.node)));
  select.onchange = () => app.update({ knob: Number(select.value), how: "add", sweep: null });
  const hows = make("select", "how");
  hows.setAttribute("aria-label", "What the slider does");
  hows.onchange = () => app.update({ how: hows.value, sweep: null });
  slider = make("input", "slider");
  Object.assign(slider, { type: "range", step: "any" });
  slider.setAttribute("aria-label", "Slider");
  slider.oninput = () => turn(Number(Number(slider.value).toPrecision(3)));
  slider.onchange = () => { turning = false; };
  const exact = make("input", "exact");
  Object.assign(exact, { type: "number", step: "any" });
  exact.setAttribute("aria-label", "Exact value");
  exact.onchange = () => {
    if (!Number.isFinite(Number(exact.value)) || exact.value === "") return;
    turn(Number(exact.value));
    turning = false;
  };
  const code = button("copy as code", async () => {
    const found = await ask({ kind: "code", ...held.changes });
    const shown = $("exported");
    shown.textContent = found.code;
    shown.hidden = false;
    $("options").showModal();
    navigator.clipboard?.writeText(found.code).then(() => say("Copied."), () => undefined);
  });
  box.append(make("h2", "", "Live"),
    make("div", "turn", make("div", "row", select, hows, slider, exact), make("p", "told num")),
    make("div", "branches"), make("div", "sweep"),
    make("div", "set ends", button("undo", undo, "undo"), button("reset", () => apply(nothing), "reset"), code),
    make("p", "trouble"));
  box.querySelector(".trouble").setAttribute("role", "alert");
}

function drawStrip() {
  if (!offer || !held.served) return;
  const box = $("live"), { knob, how } = held, leaf = offer.leaves.find((x) => x.node === knob);
  if (!leaf) return;
  box.querySelector(".knob").value = String(knob);
  const hows = box.querySelector(".how"), names = [["add", "+ to all"], ["times", "× all"], ...leaf.data.map((_, i) => [String(i), leaf.shape.length ? `[${place(i, leaf.shape)}]` : "value"])];
  if (hows.dataset.of !== `${knob}`) {
    hows.replaceChildren(...names.slice(0, 66).map(([value, text]) => new Option(text, value)));
    hows.dataset.of = `${knob}`;
  }
  hows.value = how;
  const [low, high] = rangeOf(knob, how), now = standing(knob, how);
  if (Number(slider.min) !== low || Number(slider.max) !== high) Object.assign(slider, { min: String(low), max: String(high) });
  if (document.activeElement !== slider || !turning) slider.value = String(now);
  slider.setAttribute("aria-valuetext", `${leaf.name} ${names.find(([x]) => x === how)?.[1]} ${number(now)}`);
  box.querySelector(".exact").value = String(now);
  drawTold();
  refill(box.querySelector(".branches"), [...rows().flatMap(switches), make("p", "words", "Cut others: click an arrow, or X at an op.")]);
  box.querySelector(".undo").disabled = !held.history.length;
}

function place(i, sizes) {
  const at = [];
  for (const n of [...sizes].reverse()) {
    at.unshift(i % n);
    i = Math.floor(i / n);
  }
  return at.join(", ");
}

function drawTold() {
  const box = $("live"), wrt = fromBase(target()), travel = held.data.travels[wrt];
  const parts = changeWords(held.changes, offer, number);
  if (travel) {
    parts.push(`|∂${held.data.output}/∂${travel.name}| = ${number(travel.norm)}`);
    if (!travel.classes && travel.rows.length > 1) parts.push(...travel.rows.slice(0, 3).map((row) => `${row.skip ? "skip" : "through"} ${percent(row.share)}`));
    if (travel.note) parts.push(travel.note);
  } else if (target() >= 0) parts.push(`no gradient comes to ${first.names[target()]} now`);
  if (held.asking) parts.push("computing: what you see is from before");
  else if (held.took !== null) parts.push(`${Math.round(held.took)} ms${held.rate && held.rate > 0.2 ? `, ${held.rate >= 10 ? Math.round(held.rate) : held.rate.toFixed(1)} a second` : ""}`);
  if (held.warning) parts.push(held.warning);
  if (held.data !== first && document.querySelector(".view:not([hidden]) .around")) parts.push("the faded curves are those of the script");
  box.querySelector(".told").textContent = parts.join(" · ");
  document.documentElement.toggleAttribute("data-stale", held.asking);
}

function drawTrouble() {
  if (!offer || !held.served) return;
  const { trouble } = held, box = $("live").querySelector(".trouble");
  const where = trouble?.line ? `${trouble.file}, line ${trouble.line}: ${trouble.code}` : "";
  box.replaceChildren(...(trouble ? [make("b", "", trouble.title ?? "This cannot be computed. "), make("span", "", trouble.text), where && make("code", "", where), trouble.title && make("span", "", "What you see is the last that went well.")].filter(Boolean) : []));
}

// The script was saved

function listenToServer() {
  const events = new EventSource(`/events?token=${encodeURIComponent(token)}`);
  events.onmessage = (message) => {
    const event = JSON.parse(message.data);
    if (event.kind === "running") say("The script was saved: it runs again.");
    else if (event.kind === "error") say(""), app.update({ trouble: { title: "The saved script fails. ", ...event.error } });
    else if (event.kind === "closed") {
      events.close();
      app.update({ trouble: { title: "The server has ended. ", text: "This page stays as it is, without knobs." } });
    } else if (event.kind === "reload") location.reload();
  };
}

// What is changed stays over a reload, of the page or of the script

function keep() {
  const leaf = offer.leaves.find((one) => one.node === held.knob);
  const [changes, ...history] = [held.changes, ...held.history].map((some) => byName(some, offer));
  sessionStorage.setItem("kept", JSON.stringify({ token, changes, history, knob: leaf.name, shape: leaf.shape, how: held.how }));
}

function restore() {
  const kept = JSON.parse(sessionStorage.getItem("kept") ?? "null");
  if (kept?.token !== token) return nothing;  // of another server
  const leaf = offer.leaves.find((one) => one.name === kept.knob);
  if (leaf) Object.assign(held, { knob: leaf.node, how: kept.how in RANGES || String(leaf.shape) === String(kept.shape) ? kept.how : "add" });
  held.history = kept.history.map((some) => byNumber(some, offer).changes);
  const { changes, lost } = byNumber(kept.changes, offer);
  if (lost) say(`${lost} of your changes ha${lost === 1 ? "s" : "ve"} no place in the saved script and ${lost === 1 ? "is" : "are"} left out.`);
  return changes;
}

export function startLive() {
  if (!offer || !offer.leaves.length) return;
  buildStrip();
  const last = offer.leaves.filter((leaf) => leaf.kind === "parameter");
  held.knob = (last[last.length - 1] ?? offer.leaves[0]).node;
  held.served = true;
  const changes = restore();
  app.update({ changes });
  drawStrip();
  askSweep();
  $("views").addEventListener("wire", openBranch);
  listenToServer();
  addEventListener("pagehide", keep);
  ask({ kind: "state" }).catch((error) => app.update({ trouble: { title: "The saved script fails. ", text: error.message, ...error.told } }));
  if (changeWords(changes, offer, number).length) change();
}

app.on(["at", "view", "wrt"], more);
app.on(["data", "changes", "history", "knob", "how", "asking"], drawStrip);
app.on(["rate", "took", "asking", "warning", "wrt", "changes"], () => { if (held.served) drawTold(); });
let sweptFor = "";
app.on(["knob", "how", "wrt", "changes"], () => {
  if (!held.served) return;
  const { [held.knob]: own, ...others } = held.changes.data;
  const rest = held.how in RANGES || !own ? { ...own, [held.how]: 0 } : own;
  const now = JSON.stringify([held.knob, held.how, target(), others, held.changes.stop, held.changes.ablate, held.how in RANGES ? rest : 0]);
  if (now !== sweptFor) askSweep();
  sweptFor = now;
});
app.on(["sweep", "changes"], () => { if (held.served) $("live").querySelector(".sweep").replaceChildren(plot()); });
app.on(["trouble"], drawTrouble);
