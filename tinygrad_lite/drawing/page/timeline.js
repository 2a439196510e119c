// When what happens: the steps as a line of time, alone or of several computations at once. Pure.

/** The steps of some passes with one more, the last, at which all gradients are there; it has no
 * node of its own. Nothing is added where there is no backward pass. */
export function timeline(steps) {
  const back = steps.filter((step) => step.way === "backward");
  const last = back[back.length - 1];
  return last ? [...steps, { way: "all", number: last.number, total: last.total, node: -1, sends: [], arrivals: [], values: [] }] : steps;
}

/** For each node: the number of the step that makes it, and of the one that sends its gradient. */
export function firstSteps(steps) {
  const found = { forward: new Map(), backward: new Map() };
  for (const step of steps) if (step.node >= 0) found[step.way].set(step.node, step.number);
  return found;
}

/** The longest list that two lists of keys have in common, as pairs of places. */
export function common(a, b) {
  const lengths = Array.from({ length: a.length + 1 }, () => new Uint32Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      lengths[i][j] = a[i] === b[j] ? lengths[i + 1][j + 1] + 1 : Math.max(lengths[i + 1][j], lengths[i][j + 1]);
    }
  }
  const pairs = [];
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    if (a[i] === b[j]) pairs.push([i++, j++]);
    else if (lengths[i + 1][j] >= lengths[i][j + 1]) i++;
    else j++;
  }
  return pairs;
}

/** Several lists of keys in step: each beat says how far each list has come, and what they have in
 * common comes at the same beat. */
export function lockstep(lists) {
  let beats = lists[0].map((key, i) => ({ key, at: [i + 1] }));
  for (let k = 1; k < lists.length; k++) {
    const list = lists[k], pairs = common(beats.map((beat) => beat.key), list), merged = [];
    let i = 0, j = 0;
    const advance = (toI, toJ) => {
      while (i < toI) merged.push({ key: beats[i].key, at: [...beats[i++].at, j] });
      while (j < toJ) merged.push({ key: list[j], at: [...(beats[i - 1]?.at ?? Array(k).fill(0)), ++j] });
    };
    for (const [x, y] of pairs) {
      advance(x, y);
      merged.push({ key: beats[i].key, at: [...beats[i++].at, ++j] });
    }
    advance(beats.length, list.length);
    beats = merged;
  }
  return beats.map((beat) => beat.at);
}

/** The ops of a computation as keys: scope and op, and which of several alike it is. */
export function keysOf(steps, nodes, way) {
  const seen = new Map();
  const keys = new Map();
  for (const step of steps) {
    if (step.way !== "forward") continue;
    const base = `${nodes[step.node][2]} ${nodes[step.node][1]}`, n = seen.get(base) ?? 0;
    seen.set(base, n + 1);
    keys.set(step.node, `${base} ${n}`);
  }
  return steps.filter((step) => step.way === way).map((step) => keys.get(step.node) ?? `only ${step.node}`);
}

/** The steps of several computations in step, forward and then backward: `beat` says how far each
 * has come, `before` how far it had. */
export function together(sides) {
  const steps = ["forward", "backward"].flatMap((way) => {
    const beats = lockstep(sides.map((side) => keysOf(side.steps, side.nodes, way)));
    return beats.map((beat, i) => ({ way, number: i + 1, total: beats.length, node: -1, sends: [], arrivals: [], values: [], beat, before: beats[i - 1] ?? beat.map(() => 0) }));
  });
  return timeline(steps);
}

/** The share that goes through an arrow: the sum over its edges, or over those out of its node;
 * null for none at all. */
export function shareOf(wire, shares, edges, output) {
  const [, own, node] = wire;
  if (node !== null) {
    if (node === output) return shares.size ? 1 : null;
    let sum = null;
    edges.forEach((edge, i) => {
      if (edge[0] === node && shares.has(i)) sum = (sum ?? 0) + shares.get(i);
    });
    return sum;
  }
  return own.reduce((sum, i) => (shares.has(i) ? (sum ?? 0) + shares.get(i) : sum), null);
}

/** The parameters whose paths can be shown, in the order of the computation: a server knows those
 * of all, a saved page those that came with it. */
export function parametersOf(data) {
  if (!data.live) return Object.keys(data.travels).map(Number);
  return data.nodes.flatMap((node, i) => (node[3] === "parameter" && node[5] !== null ? [i] : []));
}

/** The edges of a path, and the nodes that it passes, its end among them. */
export function passed(row, edges) {
  const nodes = new Set(row.edges.flatMap((i) => edges[i].slice(0, 2)));
  return { edges: new Set(row.edges), nodes };
}
