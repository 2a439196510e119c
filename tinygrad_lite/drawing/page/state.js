// All that can change stands in one place; what is drawn is drawn from it, in one direction: an
// action calls `update`, and each part of the page that asked for one of the changed keys is drawn
// again.

/** A store with what it holds, and those who draw it. */
export function store(initial) {
  const held = { ...initial }, drawers = [];
  let drawing = false;
  return {
    held,
    /** Call `draw(held, changed)` after one of the keys has changed, in the order of these calls. */
    on(keys, draw) {
      drawers.push([keys, draw]);
    },
    /** Draw everything. */
    start() {
      this.redraw(new Set(Object.keys(held)));
    },
    /** Change some of what is held. */
    update(patch) {
      const changed = new Set(Object.keys(patch).filter((key) => held[key] !== patch[key]));
      Object.assign(held, patch);
      this.redraw(changed);
    },
    redraw(changed) {
      if (drawing) throw new Error("what draws the page must not change it");
      drawing = true;
      try {
        for (const [keys, draw] of drawers) if (keys.some((key) => changed.has(key))) draw(held, changed);
      } finally {
        drawing = false;
      }
    },
  };
}
