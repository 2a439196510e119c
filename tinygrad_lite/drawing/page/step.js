// The pane of the step: what an op reads and makes, what arrives at it and what it sends.
import { $, app, button, formula, held, make, phone, renew, say } from "./dom.js";
import { parse } from "./formulas.js";
import { decimalsFor, number, shapeText } from "./numbers.js";
import { equation } from "./rules.js";
import { parametersOf } from "./timeline.js";
import { arrayOf, brief, cells, isSmall, value } from "./values.js";

const MANY = 24;  // inputs or parts that are shown without being asked for

/** What `show` makes of the first items, and a button for the rest; wrong rules are never there. */
function several(items, show) {
  const wrong = (item) => (item.check && item.check[0] === "disagrees" ? 1 : 0);
  if (items.length > MANY) items = [...items].sort((a, b) => wrong(b) - wrong(a));
  const parts = items.slice(0, MANY).flatMap(show);
  if (items.length > MANY) {
    const more = button(`${items.length - MANY} more`, () => more.replaceWith(...items.slice(MANY).flatMap(show)));
    parts.push(more);
  }
  return parts;
}

/** Arrays that are summed, one below the other, with the sum below a line. */
function ledger(rows) {
  const table = make("div", "ledger");
  const most = Math.max(...rows.map(([, index]) => Math.max(Math.abs(arrayOf(index).min ?? 0), Math.abs(arrayOf(index).max ?? 0)))) || 1;
  rows.forEach(([name, index, note], i) => {
    const array = arrayOf(index), sum = i === rows.length - 1 ? " sum" : "";
    table.append(make("span", `name${sum}`, name), make("div", `numbers${sum}`, cells(array, array.data.length, { most, decimals: decimalsFor(most) })),
      make("span", `facts${sum}`, `${array.shape.length ? `|${number(array.norm)}|` : ""} ${note ?? ""}`.trim()));
  });
  return table;
}

/** Whether arrays fit a ledger. */
function fits(indices) {
  return indices.every((index) => {
    const array = arrayOf(index);
    return isSmall(array) && array.data.length > 0 && array.data.length <= 6;
  });
}

function heading(step) {
  const place = step.source && held.data.files[step.source[0]];
  return make("p", "where",
    make("span", "badge", `${step.way} ${step.number} of ${step.total}`),
    make("span", "", `step ${held.data.first + held.at + 1}`),
    step.scope && make("span", "", `in ${step.scope}`),
    place && make("span", "", `${place.name}, line ${step.source[1]}`),
    step.calls && make("span", "", `calls ${step.calls}`));
}

function forward(step) {
  const made = step.values[step.values.length - 1];
  return [
    step.words && make("p", "words", step.words),
    make("h3", "", "Reads"),
    ...several(step.values.slice(0, -1), ([, name, array]) => value(name, array)),
    make("h3", "", "Makes"),
    value(made[1], made[2]),
  ];
}

function backward(step) {
  const { remarks, rules } = held.data, parts = [make("h3", "", "Arrives")];
  const sources = step.arrivals.map(([, , sender, symbol, array]) => [`from ${sender}${symbol ? ` (${symbol})` : ""}`, array]);
  const note = remarks[step.state] ?? "";
  if (sources.length === 1) parts.push(value(`g ${sources[0][0]}`, sources[0][1], note));
  else if (sources.length <= MANY && fits([...sources.map(([, i]) => i), step.gradient])) {
    parts.push(ledger([...sources, ["g, the sum", step.gradient, note]]));
  } else {
    parts.push(...several(sources, ([name, array]) => value(name, array)), value("g, the sum", step.gradient, note));
  }
  parts.push(make("h3", "", "Sends"));
  parts.push(...several(step.sends, (send) => {
    const own = [equation(step, send)];
    if (send.words) own.push(make("p", "words", send.words));
    const code = rules[send.code];
    if (code) own.push(make("details", "", make("summary", "", "code"), make("pre", "", code)));
    if (send.check) {
      const mark = { agrees: "✓", disagrees: "✗", undecided: "?" }[send.check[0]];
      own.push(make("p", `check ${send.check[0]}`, `${mark} ${send.check[1]}`));
    }
    if (send.soFar !== send.array) {
      const total = remarks[send.total] ?? "";
      const { had } = send;
      if (had !== null && fits([had, send.array, send.soFar])) {
        own.push(ledger([[`${send.name} had`, had], ["this step sends", send.array], [`${send.name} now`, send.soFar, total]]));
      } else own.push(value(`${send.name} so far`, send.soFar, total));
    }
    return own;
  }));
  const constants = step.values.filter(([, name, array]) => step.sends.some((send) => mentions(send, name)) && !isSmall(arrayOf(array)));
  if (constants.length) {
    parts.push(make("h3", "", "With"), ...several(constants, ([, name, array]) => value(name, array)));
  }
  parts.push(make("h3", "", "Gradients so far"), progress(step));
  return parts;
}

function mentions(send, text) {
  const right = send.rule.slice(send.rule.indexOf(" = ")) + " " + send.where.join(" ");
  const left = /[\p{L}_#][\p{L}\p{N}_#]*$/u, after = /^(?![ᵀ²³⁴-⁹¹])[\p{L}\p{N}_#]/u; // 2x² has x
  for (let i = right.indexOf(text); i >= 0; i = right.indexOf(text, i + 1)) {
    if (!left.test(right.slice(0, i)) && !after.test(right.slice(i + text.length))) return true;
  }
  return false;
}

/** The gradients that are there, the newest first, and the names that still wait. */
function progress(step) {
  const { complete, names, nodes } = held.data, box = make("div", "chips");
  const order = [...complete].sort((a, b) => a[1] - b[1]);
  const done = order.filter(([, k]) => k <= step.number).reverse(), waiting = order.filter(([, k]) => k > step.number);
  for (const [node] of done.slice(0, 12)) box.append(chip(node, nodes[node][5], names[node]));
  if (done.length > 12) box.append(make("span", "more", `${done.length - 12} more are done`));
  const some = waiting.slice(0, 12).map(([node]) => names[node]).join("  ");
  if (waiting.length) box.append(make("p", "waits", make("b", "", "waiting "), waiting.length > 12 ? `${some}  and ${waiting.length - 12} more` : some));
  return box;
}

function chip(node, gradient, name) {
  const show = button("", () => app.update({ wrt: node, row: null }), "chip");
  show.append(make("b", "", name), make("span", "num", gradient === null || gradient < 0 ? " done" : ` ${brief(gradient)}`));
  show.disabled = !parametersOf(held.data).includes(node);
  return show;
}

/** The last step: every gradient there is. */
function all(step) {
  const { complete, names, nodes, loss } = held.data;
  const done = complete.filter(([, k]) => k <= step.number);
  const parameters = done.filter(([node]) => nodes[node][3] === "parameter");
  const box = make("div", "");
  box.append(...several(parameters, ([node]) => {
    const index = nodes[node][5];
    return index === null || index < 0 ? [] : [value(`∂L/∂${names[node]}`, index, held.data.remarks[nodes[node][6]] ?? "")];
  }));
  const values = done.filter(([node]) => nodes[node][3] !== "parameter");
  return [
    make("p", "words", `The backward pass is over${loss ? `: these are the gradients of ${loss}` : ""}.`),
    make("h3", "", "Parameters"), box,
    ...(values.length ? [make("h3", "", "Values on the way"), make("div", "chips", ...values.slice(0, 40).map(([node]) => chip(node, nodes[node][5], names[node])))] : []),
  ];
}

function draw(_, changed) {
  const step = held.steps[held.at];
  if (!step || held.data.sides) return;
  const parts = [];
  if (step.way === "all") {
    parts.push(make("p", "where", make("span", "badge", "all gradients"), make("span", "", `step ${held.data.first + held.at + 1}`)), ...all(step));
  } else {
    parts.push(heading(step));
    const title = make("h2", "equation", formula(parse(step.equation), step.equation));
    parts.push(title);
    if (step.outline) parts.push(make("p", "words", "computing …"));
    else parts.push(...(step.way === "forward" ? forward(step) : backward(step)));
  }
  $("step").dataset.way = step.way;
  renew($("step"), parts.filter(Boolean));
  if (changed.has("at") && !phone.matches) $("step").scrollTop = 0;
}

app.on(["at", "data", "theme"], draw);

/** Go to a step. */
export function goTo(i, more = {}) {
  app.update({ at: Math.min(Math.max(i, 0), held.steps.length - 1), ...more });
}

/** Go to the next step, behind this one or from the start, that is wanted. */
export function goToNext(wanted) {
  const { steps, at } = held;
  for (let k = 1; k <= steps.length; k++) {
    const i = (at + k) % steps.length;
    if (wanted(steps[i])) return goTo(i);
  }
  say("No step of this page does that.");
}

/** What a node is, in words for those who hear it. */
export function nodeWords(node, data = held.data) {
  const { nodes, names, words, arrays } = data, [, op, scope, kind, shape, gradient, state] = nodes[node];
  const what = kind === "op" ? `${names[node]}, made by ${op}` : `${names[node]}, ${kind}`;
  const size = gradient === null || gradient < 0 ? (state === "gradient" ? "" : `, ${words[state]}`) : `, gradient norm ${number(arrays[gradient].norm)}`;
  return `${what}${shapeText(shape) && ` ${shapeText(shape)}`}${scope && `, in ${scope}`}${size}`;
}
