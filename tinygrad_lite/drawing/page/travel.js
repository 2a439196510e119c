// The pane of the paths: how the gradient comes to a parameter, path by path or class by class.
import { $, app, button, formula, held, make, refill, say, shape } from "./dom.js";
import { number, percent } from "./numbers.js";
import { parametersOf } from "./timeline.js";

/** A signed bar about one zero line; `span` is the least and the largest share that is drawn. */
export function shareBar(share, span, className = "") {
  const [low, high] = span, width = 240, scale = width / (high - low);
  const zero = -low * scale, whole = zero + scale;
  const bar = shape("svg", { viewBox: `0 0 ${width} 16`, class: `share ${className}`.trim(), preserveAspectRatio: "none", "aria-hidden": "true" });
  bar.append(shape("path", { class: "rule", d: `M${zero},0V16` }));
  if (whole <= width + 0.5) bar.append(shape("path", { class: "rule", d: `M${Math.min(whole, width - 0.5)},0V16` }));
  if (share) {
    const bars = { class: share < 0 ? "bar negative" : "bar", d: `M${zero},8H${zero + share * scale}`, "stroke-width": 11 };
    bar.append(shape("path", bars));
  }
  return bar;
}

/** The least and the largest of some shares, with room for 0 and 100 %. */
export function spanOf(shares) {
  const known = shares.filter((share) => share !== null);
  return [Math.min(0, ...known), Math.max(1, ...known)];
}

/** How long what travels a path is, op by op: where it does not change, nothing is said. */
function lengths(row) {
  const list = make("ol", "lengths");
  const shown = row.lengths.filter(([size], i) => i === 0 || i === row.lengths.length - 1 || size !== row.lengths[i - 1][0]);
  const some = shown.length > 16 ? [...shown.slice(0, 8), null, ...shown.slice(-7)] : shown;
  for (const item of some) {
    if (item === null) list.append(make("li", "", make("b", "", "…"), make("span", "", "")));
    else {
      const [size, symbol, slope] = item;
      list.append(make("li", "", make("b", "", number(size)), make("span", "", slope === null ? symbol : `${symbol} ·${number(slope)}`)));
    }
  }
  return list;
}

function rowOf(row, i, span) {
  const chosen = held.row === i, hue = row.skip ? "over" : "through";
  const box = button("", () => app.update({ row: chosen ? null : i }), `rowpath ${hue}`);
  box.setAttribute("aria-pressed", String(chosen));
  box.disabled = !row.edges;
  const where = row.lines ? `, line${row.lines.includes(",") ? "s" : ""} ${row.lines}` : "";
  box.append(make("span", "top", make("span", "way", row.way + where), make("span", "num", percent(row.share))), shareBar(row.share, span, hue));
  const facts = [`|part| ${number(row.norm)}`, row.edges && !row.count && `${row.edges.length} edges`, row.count && `${row.count} path${row.count === "1" ? "" : "s"}`, row.remark];
  box.append(make("span", "facts num", facts.filter(Boolean).join("   ")));
  if (chosen && row.term) {
    const slopes = row.lengths.slice(1).map(([, , slope]) => slope);
    const product = slopes.length && slopes.every((slope) => slope !== null);
    const tree = product ? ["times", ...slopes.map((x) => (x < 0 ? ["group", x] : x))] : row.term;
    box.append(make("span", "term", formula(tree, textOf(tree))), lengths(row));
  }
  return box;
}

/** A tree of factors in a line of text. */
function textOf(tree) {
  if (!Array.isArray(tree)) return String(tree).replace("-", "−");
  const [kind, ...rest] = tree;
  if (kind === "quotient") return `∂${rest[0]}/∂${rest[1]}`;
  if (kind === "sum") return `(${rest.map(textOf).join(" + ")})`;
  if (kind === "group") return `(${rest.map(textOf).join(" ")})`;
  return (kind === "minus" ? "−" : "") + rest.map(textOf).join(kind === "row" ? " " : " · ");
}

function drawTravel() {
  if (held.data.sides) return;
  const box = $("travel"), list = parametersOf(held.data), { travels, names } = held.data;
  if (!list.length) {
    const why = held.data.loss ? "No gradient comes to a parameter here." : "There was no backward pass, so no gradient travelled.";
    refill(box, [make("p", "words", why)]);
    return;
  }
  const travel = travels[held.wrt] ?? null;
  const select = make("select");
  select.setAttribute("aria-label", "Parameter");
  if (held.wrt === null) select.append(new Option("choose a parameter", ""));
  for (const node of list) select.append(new Option(travels[node]?.name ?? names[node], String(node), false, node === held.wrt));
  select.onchange = () => app.update({ wrt: select.value === "" ? null : Number(select.value), row: null });
  const parts = [make("p", "choice", "to ", select, travel && ` ${travel.total} path${travel.total === "1" ? "" : "s"}${travel.note && `, ${travel.note}`}`)];
  const left = held.data.nodes.filter((node) => node[3] === "parameter" && node[5] !== null).length - list.length;
  if (left > 0) parts.push(make("p", "words", `${left} more parameters are not listed here: ask flow(y, wrt) or paths(y, wrt), or open the live page.`));
  if (held.wrt !== null && !travel) parts.push(make("p", "words", "computing …"));
  else if (!travel) parts.push(make("p", "words", "Click a parameter in the graph, or press P."));
  else {
    parts.push(make("p", "chain", formula(travel.formula, travel.text)));
    const span = spanOf(travel.rows.map((row) => row.share));
    parts.push(...travel.rows.map((row, i) => rowOf(row, i, span)));
    parts.push(make("p", "sum num", make("span", "", "together ", make("b", "", `|${number(travel.norm)}|`)), make("span", "", travel.rows[0]?.share === null ? "no shares" : "100 %")));
    if (travel.rows.length > 1 && travel.coherence !== null) {
      const cancel = travel.coherence < 0.995 ? "the parts partly cancel" : "the parts point the same way";
      parts.push(make("p", "words", `Lengths are no parts of a sum: ${cancel} (coherence ${travel.coherence.toFixed(2)}). Shares add up.`));
    }
    if (travel.classes) parts.push(make("p", "words", "Too many paths to list: they are grouped. A class that is chosen is lit with all that its paths pass."));
  }
  refill(box, parts);
}

app.on(["data", "wrt", "row"], drawTravel);

/** P: the first path or class, then the next one; behind the last, none. */
export function nextPath() {
  const list = parametersOf(held.data);
  if (!list.length) return say("No gradient travelled here.");
  const step = held.steps[held.at];
  if (held.wrt === null) {
    const near = step?.sends.map((send) => send.to).find((node) => list.includes(node));
    const read = step?.values.map(([node]) => node).find((node) => list.includes(node));
    app.update({ wrt: near ?? read ?? list[0], row: null });
  }
  const travel = held.data.travels[held.wrt];
  if (!travel) return undefined;  // a server is asked
  const what = travel.classes ? "class of paths" : "path";
  const next = travel.rows.findIndex((row, i) => row.edges && i > (held.row ?? -1));
  if (next < 0) {
    app.update({ row: null });
    return say(`That was the last ${what}.`);
  }
  app.update({ row: next });
  const row = travel.rows[next], which = `${what[0].toUpperCase()}${what.slice(1)} ${next + 1} of ${travel.rows.length}`;
  say(`${which}: ${row.way}, ${percent(row.share)}`);
}

/** [ and ]: the parameter before, or behind. */
export function nextParameter(by) {
  const list = parametersOf(held.data), i = list.indexOf(held.wrt);
  if (!list.length) return say("No gradient travelled here.");
  app.update({ wrt: list[(i < 0 ? (by > 0 ? 0 : list.length - 1) : i + by + list.length) % list.length], row: null });
  say(`Paths to ${held.data.names[held.wrt]}`);
}

export function endPath() {
  app.update({ row: null, wrt: null, layer: "gradient" });
}

/** W: the arrows as wide as the gradient, or as the share of one parameter's that travels there. */
export function turnLayer() {
  const list = parametersOf(held.data);
  if (held.layer === "flow") return app.update({ layer: "gradient" });
  if (!list.length) return say("No gradient travelled here.");
  app.update({ layer: "flow", wrt: held.wrt ?? list[0] });
  const travel = held.data.travels[held.wrt];
  if (travel) say(travel.shares.length ? `Width: the share of the gradient of ${travel.name}` : `There are no shares: ${travel.note}`);
  return undefined;
}
