// Several computations at once: their table, sorted as one wishes, and the same parameter marked in
// all pictures. The steps of all go together (timeline.js), and graph.js lights each.
import { $, app, button, held, make, refill, root, shape } from "./dom.js";
import { number, percent } from "./numbers.js";
import { pictures, seen } from "./graph.js";

Object.assign(held, { twin: null, sorted: "", down: false });

const sizeOf = (x) => (typeof x === "number" ? x : Infinity);

/** The columns of the table: a heading, what they are sorted by, and what stands in them. */
/** @returns {[string, ((row: any) => any) | null, (row: any) => any][]} */
function columns() {
  const { sides, rows } = held.data, titles = sides.map((side) => side.output);
  const own = rows.some((row) => row.sides.some((side) => side.own));
  /** @type {[string, ((row: any) => any) | null, (row: any) => any][]} */
  const list = [["parameter", (row) => row.name, (row) => row.name]];
  titles.forEach((title, i) => list.push([`|∂${title}|`, (row) => sizeOf(row.sides[i].norm), (row) => sizeText(row.sides[i])]));
  const ends = `○ ${titles[0]} ● ${titles[titles.length - 1]}`;
  list.push([`length (log)${ends.length < 16 ? ` ${ends}` : ""}`, (row) => sizeOf(row.sides[row.sides.length - 1].norm), dots]);
  for (let i = 1; i < titles.length; i++) {
    list.push([`${titles[i]} / ${titles[0]}`, (row) => ratio(row, i), (row) => (Number.isFinite(ratio(row, i)) ? `×${number(ratio(row, i))}` : "–")]);
    const what = own ? `${titles[i]}: ${titles[0]} has it too, only in ${titles[i]}` : `${titles[i]}: shares`;
    list.push([what, (row) => row.sides[i].common?.[1] ?? -Infinity, (row) => shares(row.sides[i])]);
    list.push([`${titles.length > 2 ? `${titles[i]}: ` : ""}coherence`, (row) => row.sides[i].coherence ?? -1, (row) => (row.sides[i].coherence === null ? "–" : row.sides[i].coherence.toFixed(2))]);
  }
  list.push(["", null, (row) => row.note]);
  return list;
}

function sizeText(side) {
  return side.state === "gradient" ? number(side.norm) : `${number(side.norm)} ${side.state}`;
}

function ratio(row, i) {
  const [a, b] = [row.sides[0].norm, row.sides[i].norm];
  return typeof a === "number" && typeof b === "number" && a ? b / a : NaN;
}

/** Lengths as dots on a logarithmic axis: they are no parts of anything. */
function dots(row) {
  const sizes = held.data.rows.flatMap((one) => one.sides.map((side) => side.norm)).filter((x) => typeof x === "number" && x > 0);
  const [low, high] = [Math.log10(Math.min(...sizes)), Math.log10(Math.max(...sizes))], span = Math.max(high - low, 0.5);
  const at = (x) => 8 + 104 * (Math.log10(x) - low) / span;
  const svg = shape("svg", { viewBox: "0 0 120 18", class: "dotted", role: "img", "aria-label": row.sides.map((side) => number(side.norm)).join(", ") });
  svg.append(shape("path", { class: "rule", d: "M8,0V18M60,0V18M112,0V18" }));
  const known = row.sides.map((side) => side.norm).map((x) => (typeof x === "number" && x > 0 ? at(x) : null));
  const there = known.filter((x) => x !== null);
  if (there.length > 1) svg.append(shape("path", { class: "rule", d: `M${Math.min(...there)},9H${Math.max(...there)}` }));
  known.forEach((x, i) => {
    if (x === null) return;
    const dot = shape("circle", { cx: x, cy: 9, r: 4, class: i === known.length - 1 ? "last" : i ? "between" : "" }), title = shape("title");
    title.textContent = `${held.data.sides[i].output}: ${number(row.sides[i].norm)}`;
    dot.append(title);
    svg.append(dot);
  });
  return svg;
}

/** Signed shares as bars about one zero line, with 100 % marked: those below 0 to its left. */
function shares(side) {
  const parts = [["through", side.common], ["over", side.own]].filter(([, part]) => part && part[1] !== null);
  const all = held.data.rows.flatMap((row) => row.sides.slice(1).flatMap((one) => [one.common?.[1] ?? 0, one.own?.[1] ?? 0]));
  const below = Math.min(0, ...all), above = Math.max(1, ...held.data.rows.flatMap((row) => row.sides.slice(1).map((one) => [one.common, one.own].reduce((sum, part) => sum + Math.max(0, part?.[1] ?? 0), 0))));
  const width = 270, room = 52, scale = (width - 2 * room) / (above - below), zero = room - below * scale;
  const svg = shape("svg", { viewBox: `0 0 ${width} 18`, class: "shares", role: "img", "aria-label": parts.map(([what, part]) => `${what === "over" ? "only here" : "common"} ${percent(part[1])}`).join(", ") });
  svg.append(shape("path", { class: "rule", d: `M${zero},0V18M${zero + scale},0V18` }));
  let [left, right] = [zero, zero];
  const text = (x, anchor, what, share) => {
    const element = shape("text", { x, y: 13, "text-anchor": anchor, class: `${what}-text` });
    element.textContent = percent(share);
    svg.append(element);
  };
  for (const [what, [, share]] of parts) {
    const start = share < 0 ? left : right, end = start + share * scale;
    if (share) svg.append(shape("path", { class: `bar ${what === "over" ? "over" : ""} ${share < 0 ? "negative" : ""}`.trim(), d: `M${start},9H${end}` }));
    if (share < 0) left = end;
    else right = end;
  }
  const [low, high] = [parts.filter(([, part]) => part[1] < 0), parts.filter(([, part]) => part[1] >= 0)];
  if (low.length) text(left - 3, "end", low[0][0], low[0][1][1]);
  if (high.length === 2) text(zero - 3, "end", high[0][0], high[0][1][1]);
  if (high.length) text(right + 3, "start", high[high.length - 1][0], high[high.length - 1][1][1]);
  return svg;
}

function drawTable() {
  if (!held.data.sides) return;
  const list = columns(), { rows } = held.data, by = list.find(([title]) => title === held.sorted);
  const order = rows.map((_, i) => i);
  if (by?.[1]) order.sort((i, j) => (by[1](rows[i]) < by[1](rows[j]) ? -1 : by[1](rows[i]) > by[1](rows[j]) ? 1 : 0) * (held.down ? -1 : 1));
  const head = make("tr", "", ...list.map(([title, key]) => {
    const cell = make("th");
    cell.scope = "col";
    if (!key) return cell;
    const arrow = title === held.sorted ? (held.down ? " ▾" : " ▴") : "";
    cell.append(button(title + arrow, () => app.update({ sorted: title, down: held.sorted === title ? !held.down : key(rows[0]) !== rows[0].name })));
    if (arrow) cell.setAttribute("aria-sort", held.down ? "descending" : "ascending");
    return cell;
  }));
  const body = order.map((i) => {
    const row = make("tr", held.twin === i ? "twin" : "");
    row.dataset.row = String(i);
    list.forEach(([, , draw], k) => {
      const cell = make(k ? "td" : "th");
      if (!k) {
        cell.scope = "row";
        const name = button(rows[i].name, () => app.update({ twin: held.twin === i ? null : i }));
        name.setAttribute("aria-pressed", String(held.twin === i));
        cell.append(name);
      } else cell.append(draw(rows[i]));
      row.append(cell);
    });
    row.onmouseenter = () => markTwins(i);
    row.onmouseleave = () => markTwins(held.twin);
    return row;
  });
  const table = make("table", "compared", make("caption", "heard", "The gradients, parameter by parameter"), make("thead", "", head), make("tbody", "", ...body));
  const note = make("p", "words", `${held.data.note} Shares sum to 100 %; lengths add up to nothing, as parts may oppose each other.`.trim());
  const left = make("div", "scroll", table, note);
  left.tabIndex = 0;
  refill($("compare"), [left, cutsOf(held.twin ?? 0)]);
}

/** What the gradient of a parameter would be without a branch. */
function cutsOf(i) {
  const { cuts, rows } = held.data, box = make("div", ""), mine = cuts.filter((cut) => cut.name === rows[i]?.name);
  if (!mine.length) return box;
  const grid = make("div", "cuts", make("span"), make("b", "", "stopped"), make("b", "", "ablated"), make("span"));
  for (const { loss, norm, branches } of mine) {
    grid.append(make("h3", "", `L = ${loss}: now ${number(norm)}`));
    for (const [name, skip, stopped, ablated] of branches) {
      grid.append(make("span", skip ? "branch over" : "branch through", `without ${name}`), make("span", "", number(stopped)), make("span", "", ablated === null ? "–" : number(ablated)), make("span"));
    }
  }
  box.append(make("h2", "", `What if, for ${rows[i].name}: stopped is not ablated`), grid,
    make("p", "words", "stopped: no gradient through the branch, values stay. ablated: the branch is 0, values change."));
  return box;
}

/** The same parameter in all pictures, and in the table. */
function markTwins(i) {
  for (const pic of seen()) {
    for (const element of pic.svg.querySelectorAll(".twin")) element.classList.remove("twin");
    const node = i === null ? null : held.data.rows[i].sides[pic.index]?.node;
    if (node !== null && node !== undefined) for (const element of pic.nodes[node] ?? []) element.classList.add("twin");
  }
  for (const row of $("compare").querySelectorAll("tr[data-row]")) row.classList.toggle("twin", row.dataset.row === String(i));
}

export function startCompare() {
  if (!held.data.sides) return;
  root.dataset.compare = "yes";
  $("compare").hidden = false;
  const long = held.data.sides.some((side) => side.output.length > 3) ? "long" : "";
  root.style.setProperty("--side", long ? "5rem" : "2.8rem");
  pictures.forEach((pic, k) => {
    pic.holder.prepend(make("h2", `side ${long}`, held.data.sides[k].output));
    const rowAt = (event) => {
      const node = pic.nodeOf.get(event.target.closest(".node"));
      const i = held.data.rows.findIndex((row) => row.sides[k].node === node);
      return node === undefined || i < 0 ? null : i;
    };
    pic.holder.onmouseover = (event) => markTwins(rowAt(event) ?? held.twin);
    pic.holder.onmouseleave = () => markTwins(held.twin);
    pic.holder.onfocusin = pic.holder.onmouseover;
    pic.holder.onclick = (event) => {
      const i = rowAt(event);
      if (i !== null) app.update({ twin: held.twin === i ? null : i });
    };
  });
  drawTable();
}

app.on(["twin", "sorted", "down"], () => {
  if (root.dataset.compare) {
    drawTable();
    markTwins(held.twin);
  }
});
