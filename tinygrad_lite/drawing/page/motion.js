// The pass as a movement: what a step sends runs along the arrows, and play goes on from step to
// step. Where less motion is wanted there are steps alone.
import { $, app, calm, held, shape } from "./dom.js";
import { picture } from "./graph.js";
import { pathText, turned } from "./geometry.js";
import { goTo } from "./step.js";

let running = 0;  // the movement that is under way; a new one ends it

export const SPEEDS = [0.25, 0.5, 1, 2, 4, 8];

/** How long a step takes at a speed, in milliseconds. */
export function duration() {
  return 900 / SPEEDS[held.speed + 2];
}

/** The wires that a step runs along, in its direction, in two rounds: to its op's own arrow first. */
function runs(pic, step) {
  const own = pic.wireOfNode.get(step.node), edges = held.data.edges;
  const back = step.way === "backward";
  const into = edges.flatMap(([, target, , wanted], i) => (target === step.node && (wanted || !back) ? [pic.wireOfEdge.get(i)] : []));
  if (!back) return [into, [own]].map((round) => round.filter((w) => w?.line).map((w) => w.line));
  return [[own], into].map((round) => round.filter((w) => w?.line).map((w) => turned(w.line)));
}

function run(step) {
  const pic = picture(), token = ++running;
  pic.dots.replaceChildren();
  if (calm.matches || !step || step.way === "all" || document.hidden) return;
  const rounds = runs(pic, step).filter((round) => round.length), share = 0.75 * duration() / Math.max(1, rounds.length);
  const begin = performance.now();
  let shown = -1, moving = [];
  const frame = (now) => {
    if (token !== running) return;
    const round = Math.floor((now - begin) / share);
    if (round >= rounds.length) return pic.dots.replaceChildren();
    if (round !== shown) {
      shown = round;
      moving = [...new Set(rounds[round])].slice(0, 40).map((line) => {
        const way = shape("path", { d: pathText(line) }), dot = shape("circle", { r: 6 });
        return { way, dot, length: way.getTotalLength() };
      });
      pic.dots.replaceChildren(...moving.map(({ dot }) => dot));
    }
    const t = Math.min(1, (now - begin) / share - round), eased = t * t * (3 - 2 * t);
    for (const { way, dot, length } of moving) {
      const { x, y } = way.getPointAtLength(length * eased);
      dot.setAttribute("cx", x.toFixed(1));
      dot.setAttribute("cy", y.toFixed(1));
    }
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}

let last = 0;
app.on(["at"], () => {
  if (held.data.sides) return;
  const by = held.at - last;
  last = held.at;
  if (by === 1) run(held.steps[held.at]);
  else {
    running++;
    picture()?.dots.replaceChildren();
  }
});

let timer = null;

/** Play, or pause. */
export function play() {
  if (!held.playing && held.at === held.steps.length - 1) goTo(0);
  app.update({ playing: !held.playing });
}

function beat() {
  if (held.at < held.steps.length - 1) goTo(held.at + 1);
  if (held.at >= held.steps.length - 1) app.update({ playing: false });
}

app.on(["playing", "speed"], () => {
  clearInterval(timer);
  timer = held.playing ? setInterval(beat, duration()) : null;
  const button = $("play");
  button.setAttribute("aria-pressed", String(held.playing));
  button.setAttribute("aria-label", held.playing ? "Pause" : "Play");
  button.firstChild.textContent = held.playing ? "❚❚" : "▶";
  button.lastChild.textContent = held.playing ? " pause" : " play";
  $("speed-said").textContent = `${SPEEDS[held.speed + 2]}×`;
});
