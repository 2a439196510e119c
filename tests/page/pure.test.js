// The parts of the page's script that touch no page: run by tests/test_page_script.py under node.
import assert from "node:assert/strict";
import { test } from "node:test";

const page = "../../tinygrad_lite/drawing/page/";
const { number, signed, percent, fixed, decimalsFor } = await import(`${page}numbers.js`);
const { parse, factors, latex, alignedLatex, parts } = await import(`${page}formulas.js`);
const { timeline, firstSteps, lockstep, keysOf, shareOf, passed, common } = await import(`${page}timeline.js`);
const { points, pathText, shortened, extended, head, turned, lineLength, distance } = await import(`${page}geometry.js`);
const { byName, byNumber, changeWords, nothing } = await import(`${page}changes.js`);
const { store } = await import(`${page}state.js`);

test("numbers have three digits, a true minus, and 0 has no sign", () => {
  assert.deepEqual([0, -0, 2, 0.5, -0.25849, 123456.7, 1.2e-32, "-∞", "NaN", null].map(number),
    ["0", "0", "2", "0.500", "−0.258", "1.23e+5", "1.20e−32", "−∞", "NaN", ""]);
  assert.deepEqual([0, 0.3, -0.3].map(signed), ["0", "+0.300", "−0.300"]);
  assert.deepEqual([1.226, -0.226, 0.064, 0, -1e-4, -1e-9, null].map(percent), ["+123 %", "−23 %", "+6.4 %", "0 %", "−0.01 %", "≈0 %", "–"]);
});

test("numbers that are shown as a sum come out", () => {
  const values = [0.5731, -0.2712], d = decimalsFor(0.5731);
  const shown = values.map((x) => fixed(x, d)), sum = fixed(values[0] + values[1], d);
  assert.deepEqual([...shown, sum], ["+0.5731", "−0.2712", "+0.3019"]);
  assert.equal(fixed(-1e-9, 3), "0.000");
});

test("a rule's text becomes a tree", () => {
  assert.deepEqual(parse("∂L/∂W3 = g yᵀ"), ["row", ["quotient", "L", "W3"], "=", "g", ["raised", "y", "T"]]);
  assert.deepEqual(parse("∂L/∂‹W2 @ z› = g"), ["row", ["quotient", "L", ["group", "W2", "@", "z"]], "=", "g"]);
  assert.deepEqual(parse("y = sigmoid(‹W @ x›)"), ["row", "y", "=", "sigmoid", ["group", "W", "@", "x"]]);
  assert.deepEqual(parse("g · 2x²"), ["row", "g", "·", "2", ["raised", "x", "2"]]);
  assert.deepEqual(parse("net.layers[0].W + 1.5e-3"), ["row", "net.layers[0].W", "+", "1.5e-3"]);
  assert.deepEqual(parse("(((" + ")".repeat(2)).length, 2);  // whatever it is, it ends
});

test("every text is parsed, and none for ever", () => {
  for (const text of ["", "‹", "∂L/∂", "ᵀ", "((", "g ᵀᵀ", "\u0000", "∂∂", "a‹b", "-1", "x[", "π·√2", "where x > 0"]) {
    assert.equal(parse(text)[0], "row");
  }
});

test("a product is told by its factors, and nothing else is", () => {
  assert.deepEqual(factors("g yᵀ").map((f) => [f.name, f.transposed]), [["g", false], ["y", true]]);
  assert.deepEqual(factors("g · y · (1 − y)").map((f) => [f.name, f.less]), [["g", false], ["y", false], ["y", true]]);
  assert.deepEqual(factors("W3ᵀ g").map((f) => f.name), ["W3", "g"]);
  assert.equal(factors("g + y"), null);
  assert.equal(factors("0 (blocked: this derivative is 0 wherever it exists)"), null);
});

test("LaTeX", () => {
  assert.deepEqual(parts("W12"), ["W", "12"]);
  assert.equal(latex(parse("∂L/∂W12")), "\\frac{\\partial L}{\\partial W_{12}}");
  assert.equal(latex(["times", ["sum", ["times", ["quotient", "f3", "y"]], ["times", "I"]], ["quotient", "f2", "z"]]),
    "\\left(\\frac{\\partial f_3}{\\partial y} + I\\right) \\cdot \\frac{\\partial f_2}{\\partial z}");
  assert.equal(alignedLatex(["∂L/∂y = W3ᵀ g"]), "\\begin{aligned}\n  \\frac{\\partial L}{\\partial y} &= W_3^{\\top} g\n\\end{aligned}");
  assert.match(latex(parse("a_b%c")), /\\mathrm\{a\\_b\}/);
});

const steps = [
  { way: "forward", number: 1, total: 2, node: 2 }, { way: "forward", number: 2, total: 2, node: 4 },
  { way: "backward", number: 1, total: 2, node: 4 }, { way: "backward", number: 2, total: 2, node: 2 },
];

test("the last step has all gradients, where there is a backward pass", () => {
  assert.deepEqual(timeline(steps).map((s) => s.way), ["forward", "forward", "backward", "backward", "all"]);
  assert.equal(timeline(steps.slice(0, 2)).length, 2);
  assert.deepEqual([...firstSteps(steps).backward], [[4, 1], [2, 2]]);
});

test("computations go in step: what they share comes at the same beat", () => {
  assert.deepEqual(common(["a", "b", "c"], ["a", "c"]), [[0, 0], [2, 1]]);
  assert.deepEqual(lockstep([["a", "b"], ["a", "b", "+"]]), [[1, 1], [2, 2], [2, 3]]);
  assert.deepEqual(lockstep([["b", "a"], ["+", "b", "a"]]), [[0, 1], [1, 2], [2, 3]]);
  const three = lockstep([["a"], ["a", "x"], ["y", "a"]]);
  assert.deepEqual(three.at(-1), [1, 2, 2]);
  for (let i = 1; i < three.length; i++) three[i].forEach((n, k) => assert.ok(n >= three[i - 1][k]));
  const nodes = [null, null, ["", "tanh", "f"], null, ["", "tanh", "f"]];
  assert.deepEqual(keysOf(steps, nodes, "backward"), ["f tanh 1", "f tanh 0"]);
});

test("the share of an arrow is that of its edges, or of those out of its value", () => {
  const edges = [[0, 2, 0], [1, 2, 1], [2, 4, 0], [2, 4, 1]], shares = new Map([[0, 1], [2, 0.6], [3, 0.4]]);
  assert.equal(shareOf(["e", [2, 3], null], shares, edges, 4), 1);
  assert.equal(shareOf(["e", [1], null], shares, edges, 4), null);
  assert.equal(shareOf(["r", [], 2], shares, edges, 4), 1);
  assert.equal(shareOf(["r", [], 4], shares, edges, 4), 1);
  assert.deepEqual([...passed({ edges: [0, 2] }, edges).nodes], [0, 2, 4]);
});

test("lines are read, turned, shortened and extended", () => {
  const line = points("M0,0C10,0 20,0 30,0");
  assert.equal(Math.round(lineLength(line)), 30);
  assert.deepEqual(turned(line)[0], [30, 0]);
  const rest = shortened(line, 10);
  assert.ok(distance(rest[0], [10, 0]) < 0.5);
  assert.deepEqual(rest[rest.length - 1], [30, 0]);
  assert.equal(extended(line, [36, 0]).length, 7);
  assert.equal(points("M0,0L3,4").length, 4);
  assert.equal(points("M0,0A5,5 0 0 1 10,10"), null);
  assert.equal(pathText(line), "M0.00,0.00C10.00,0.00 20.00,0.00 30.00,0.00");
  const tip = head(line, 3);
  assert.match(tip.d, /^M0\.00,0\.00L/);
  assert.ok(tip.long > 0 && tip.long < 30);
});

test("state is changed in one place, and what changed is drawn, in order", () => {
  const drawn = [], app = store({ at: 0, theme: "light" });
  app.on(["at"], (held, changed) => drawn.push(["step", held.at, [...changed]]));
  app.on(["at", "theme"], () => drawn.push(["page"]));
  app.update({ at: 3, theme: "light" });
  assert.deepEqual(drawn, [["step", 3, ["at"]], ["page"]]);
  app.update({ at: 3 });
  assert.equal(drawn.length, 2);
  app.on(["theme"], () => app.update({ at: 5 }));
  assert.throws(() => app.update({ theme: "dark" }), /must not change it/);
});

test("changes go by names, so that they find their place in a script that was saved", () => {
  const offer = { leaves: [{ node: 1, name: "W", shape: [2, 2] }, { node: 4, name: "b", shape: [2] }],
    branches: [[5, 0, "y → +"], [5, 1, "y → +"], [7, 0, "b → ×"]] };
  const changes = { data: { 1: { times: 2 }, 4: { set: [[0, 3]] } }, stop: [[5, 1]], ablate: [[7, 0]] };
  const named = byName(changes, offer);
  assert.deepEqual(byNumber(named, offer), { changes, lost: 0 });
  const later = { leaves: [{ node: 2, name: "W", shape: [3, 3] }, { node: 9, name: "b", shape: [3] }],
    branches: [[11, 0, "y → +"], [11, 2, "y → +"]] };
  assert.deepEqual(byNumber(named, later), { changes: { data: { 2: { times: 2 } }, stop: [[11, 2]], ablate: [] }, lost: 2 });
  assert.deepEqual(changeWords(changes, offer, number), ["W × 2", "b with 1 number set", "y → + stopped", "b → × ablated"]);
  assert.deepEqual(changeWords(nothing, offer, number), []);
});
