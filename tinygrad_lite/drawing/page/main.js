// Keys, buttons, the track of the steps and the address: what sets the page going.
import { $, app, button, dark, held, make, phone, root, say } from "./dom.js";
import { refit, resize, startCamera } from "./camera.js";
import { goTo, goToNext } from "./step.js";
import { endPath, nextParameter, nextPath, turnLayer } from "./travel.js";
import { play } from "./motion.js";
import { saveFilm, savePng, saveSvg, showLatex } from "./export.js";
import { startCompare } from "./compare.js";
import { cutHere, startLive } from "./live.js";
import { pick, picture, pictures } from "./graph.js";
import { firstSteps } from "./timeline.js";

// The track: one tick a step, forward and backward apart; of very many, a bar

function ticks() {
  const box = $("ticks"), { steps } = held;
  const groups = ["forward", "backward", "all"].map((way) => steps.filter((s) => s.way === way).length);
  box.replaceChildren(...groups.map((n, g) => {
    const part = make("div", `ticks ${["forward", "backward", "all"][g]}`);
    if (g < 2) part.style.flexGrow = String(n);
    if (n && steps.length <= 150) for (let i = 0; i < n; i++) part.append(make("i"));
    return part;
  }).filter((_, g) => groups[g]));
  $("scrub").max = String(Math.max(1, steps.length));
  box.dataset.n = String(steps.length);
}

function drawTrack() {
  const { at, steps } = held, step = steps[at];
  if (!step) return;
  const words = step.way === "all" ? "all gradients" : `${step.way} ${step.number} of ${step.total}`;
  $("scrub").value = String(at + 1);
  $("scrub").setAttribute("aria-valuetext", `step ${held.data.first + at + 1}: ${words}`);
  const all = $("ticks").querySelectorAll("i");
  if (all.length) all.forEach((tick, i) => { tick.className = i === at ? "here" : i < at ? "done" : ""; });
  else $("ticks").style.setProperty("--done", `${100 * at / Math.max(1, steps.length - 1)}%`);
  $("ticks").classList.toggle("long", !all.length);
  $("home").disabled = $("left").disabled = at === 0;
  $("end").disabled = $("right").disabled = at === steps.length - 1;
  $("where").replaceChildren(make("b", "", words), make("span", "", held.data.loss ? ` · gradients of ${held.data.loss}` : ""));
  root.dataset.step = String(held.data.first + at + 1);
  address();
}

// Browsers allow only so many changes of the address in a while: one in 100 ms will do.
let due = null;
function address() {
  if (due !== null) return;
  due = setTimeout(() => {
    due = null;
    try {
      history.replaceState(null, "", `${location.search}#${root.dataset.step}`);
    } catch {
      // A sandboxed frame has no address of its own.
    }
  }, 100);
}

// The address may have been written anew since: the event says what was asked for.
function fromHash(event) {
  const i = Number.parseInt(new URL(event.newURL).hash.slice(1), 10) - 1 - held.data.first;
  if (i >= 0 && i < held.steps.length) goTo(i);
}

function otherWay(way) {
  const { steps, at } = held, i = steps.findIndex((s) => s.way === way && s.node === steps[at].node);
  if (i >= 0) goTo(i);
  else say(steps[at].node < 0 ? "This is the last step: all gradients are there." : `${held.data.names[steps[at].node]} has no ${way} step here.`);
}

function fold() {
  if (pictures.length < 2) return say(picture().folded ? "This graph is too large to unfold here." : "Nothing folds: no scopes were named.");
  app.update({ view: 1 - held.view });
  return say(picture().folded ? "Folded." : "Unfolded.");
}

// Search

function search() {
  $("query").value = "";
  hits();
  $("finder").showModal();
  $("query").focus();
}

function hits() {
  const query = $("query").value.trim().toLowerCase(), { nodes, names, steps } = held.data;
  const stepped = new Set(steps.flatMap((s) => [s.node, ...s.values.map((v) => v[0])]));
  const reached = firstSteps(steps).forward, found = [];
  nodes.forEach(([name, op, scope], node) => {
    if (!stepped.has(node)) return;
    if ([name, names[node], op, scope].some((text) => text.toLowerCase().includes(query))) found.push(node);
  });
  $("hits").replaceChildren(...found.slice(0, 50).map((node) => {
    const [, op, scope] = nodes[node];
    const hit = button("", () => {
      $("finder").close();
      // The step that makes it; for a leaf, the next that reads it or sends it gradient.
      goToNext((s) => (reached.has(node) ? s.node === node : s.values.some((v) => v[0] === node)));
    });
    hit.append(`${names[node]} `, make("small", "", scope ? `${op}, in ${scope}` : op));
    return make("li", "", hit);
  }));
  if (!found.length) $("hits").append(make("li", "", "nothing found"));
}

const turnTheme = () => app.update({ theme: held.theme === "dark" ? "light" : "dark" });

const actions = {
  home: ["Home", () => goTo(0)],
  end: ["End", () => goTo(held.steps.length - 1)],
  left: ["ArrowLeft", () => goTo(held.at - 1)],
  right: ["ArrowRight", () => goTo(held.at + 1)],
  play: [" ", play],
  forward: ["f", () => otherWay("forward")],
  backward: ["b", () => otherWay("backward")],
  path: ["p", nextPath],
  search: ["/", search],
  fold: ["c", fold],
  layer: ["w", turnLayer],
  theme: ["d", turnTheme],
  more: ["m", () => $("options").showModal()],
  help: ["?", () => $("keys").showModal()],
  smaller: ["-", () => resize(1 / 1.25)],
  larger: ["+", () => resize(1.25)],
  fit: ["0", () => resize("fit")],
};
const others = { x: (node) => cutHere(node ?? held.steps[held.at].node), "[": () => nextParameter(-1), "]": () => nextParameter(1), Escape: endPath };

/** Do what a key says; `node` is that of the box that has the focus, if one has. */
function act(action, node = null) {
  say("");
  action(node);
}

function listen() {
  for (const [id, [, action]] of Object.entries(actions)) $(id).onclick = () => act(action);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const target = /** @type {any} */ (event.target);
    const node = target.closest?.("[data-node]");
    if (node && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      return pick(picture().nodes, node, Number(node.dataset.node));
    }
    if (event.key === " " && ["BUTTON", "SUMMARY", "SELECT"].includes(target.tagName)) return;
    if (["SELECT", "TEXTAREA"].includes(target.tagName) || (target.tagName === "INPUT" && (target.type !== "range" || /^(Arrow|Home|End|Page)/.test(event.key)))) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const action = others[key] ?? Object.values(actions).find(([name]) => name === key)?.[1];
    if (!action) return;
    event.preventDefault();
    act(action, node && Number(node.dataset.node));
  });
  $("scrub").oninput = () => goTo(Number($("scrub").value) - 1);
  $("query").oninput = hits;
  $("query").onkeydown = (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    $("hits").querySelector("button")?.click();
  };
  $("speed").oninput = () => app.update({ speed: Number($("speed").value) });
  for (const pane of ["graph", "source", "step", "paths"]) {
    $(`show-${pane}`).onclick = () => {
      const hidden = new Set(held.hidden.split(" ").filter(Boolean));
      if (!hidden.delete(pane)) hidden.add(pane);
      app.update({ hidden: [...hidden].join(" ") });
    };
  }
  const exports = { svg: saveSvg, png: savePng, latex: showLatex, film: saveFilm };
  for (const [what, save] of Object.entries(exports)) $(`export-${what}`).onclick = save;
  addEventListener("hashchange", fromHash);
  dark.addEventListener("change", () => app.update({ theme: dark.matches ? "dark" : "light" }));
  phone.addEventListener("change", refit);
  // Paper is light.
  let screen = held.theme;
  addEventListener("beforeprint", () => {
    screen = held.theme;
    app.update({ theme: "light" });
  });
  addEventListener("afterprint", () => app.update({ theme: screen }));
}

app.on(["theme"], () => {
  root.dataset.theme = held.theme;
  $("theme").setAttribute("aria-pressed", String(held.theme === "dark"));
});
app.on(["hidden"], () => {
  for (const pane of ["graph", "source", "step", "paths"]) {
    const away = held.hidden.split(" ").includes(pane);
    document.querySelector(`.pane.${pane}`)?.toggleAttribute("hidden", away);
    $(`show-${pane}`).setAttribute("aria-pressed", String(!away));
  }
  root.dataset.hidden = held.hidden;
});
app.on(["data"], () => { if ($("ticks").dataset.n !== String(held.steps.length)) ticks(); });
app.on(["data", "at"], drawTrack);
app.on(["data"], () => {
  $("note").textContent = held.data.note + (held.data.leftOut ? ` Left out, as the page would be too large: ${held.data.leftOut}.` : "");
});

listen();
if (held.steps.length) {
  const began = performance.now();
  root.dataset.theme = held.theme;  // colours are asked for while the rest is drawn
  held.at = Math.min(Math.max((Number.parseInt(location.hash.slice(1), 10) || 1) - 1 - held.data.first, 0), held.steps.length - 1);
  app.start();
  startCompare();
  startCamera();
  startLive();
  root.dataset.took = (performance.now() - began).toFixed(1);
} else say("There are no steps: nothing was computed.");
