// What is changed on a page with a server. Nodes have other numbers after the script was saved, so
// what is kept over a reload goes by names. Pure: `offer` is what the server lets one change.

export const nothing = { data: {}, stop: [], ablate: [] };

export const sameUse = (one, other) => one[0] === other[0] && one[1] === other[1];

/** Of each branch its name, with how many before it have the same. */
function branchNames({ branches }) {
  const seen = new Map();
  return branches.map(([, , name]) => {
    seen.set(name, (seen.get(name) ?? -1) + 1);
    return `${name} ${seen.get(name)}`;
  });
}

/** Changes by the names of leaves and branches. */
export function byName(changes, offer) {
  const names = branchNames(offer);
  const named = (uses) => uses.map((use) => names[offer.branches.findIndex((b) => sameUse(b, use))]);
  const data = Object.entries(changes.data).map(([node, how]) => {
    const { name, shape } = offer.leaves.find((leaf) => leaf.node === Number(node));
    return { name, shape, how };
  });
  return { data, stop: named(changes.stop), ablate: named(changes.ablate) };
}

/** The same for the computation that there is now, and how many of them have no place in it. */
export function byNumber(named, offer) {
  const names = branchNames(offer), data = {};
  let lost = 0;
  for (const { name, shape, how } of named.data) {
    const leaf = offer.leaves.find((one) => one.name === name);
    if (leaf && (!how.set || String(leaf.shape) === String(shape))) data[leaf.node] = how;
    else lost++;
  }
  const placed = (list) => {
    const found = list.map((name) => offer.branches[names.indexOf(name)]?.slice(0, 2)).filter(Boolean);
    lost += list.length - found.length;
    return found;
  };
  return { changes: { data, stop: placed(named.stop), ablate: placed(named.ablate) }, lost };
}

/** All that is changed, in words; `number` writes one. */
export function changeWords({ data, stop, ablate }, offer, number) {
  const leaves = Object.entries(data).map(([node, { times = 1, add = 0, set = [] }]) => {
    const words = [offer.leaves.find((leaf) => leaf.node === Number(node)).name];
    if (times !== 1) words.push(`× ${number(times)}`);
    if (add) words.push(`${add < 0 ? "−" : "+"} ${number(Math.abs(add))}`);
    if (set.length) words.push(`with ${set.length} number${set.length === 1 ? "" : "s"} set`);
    return words.join(" ");
  });
  const cuts = (uses, word) => uses.map((use) => `${offer.branches.find((b) => sameUse(b, use))[2]} ${word}`);
  return [...leaves, ...cuts(stop, "stopped"), ...cuts(ablate, "ablated")];
}
