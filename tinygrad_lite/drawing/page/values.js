// Arrays: as numbers in coloured cells, or as heat maps; and little bars about zero.
import { held, make, root } from "./dom.js";
import { facts, fixed, flags, number, reach, shapeText, signed } from "./numbers.js";

const FEW = 36;  // elements that are shown as numbers

export function arrayOf(index) {
  return held.data.arrays[index];
}

/** Whether an array is shown as numbers. */
export function isSmall(array) {
  const most = array.shape.length ? array.shape[array.shape.length - 1] : 1;
  return Boolean(array.data && array.shape.length < 3 && most <= 6 && array.data.length <= FEW);
}

/** A named array, with what there is to say of it. */
export function value(name, index, note = "") {
  const array = arrayOf(index), box = make("div", "value"), flag = flags(array);
  box.append(make("div", "head", name && make("span", "name", name), make("span", "facts", facts(array)),
    note && make("span", "facts", note), flag && make("span", "flag", flag)));
  if (array.data && array.data.length === 0) return box;
  if (isSmall(array)) {
    box.append(cells(array));
    return box;
  }
  const vector = array.shape.length === 1 && array.data && array.data.length <= 24;
  if (vector) {
    box.append(cells(array, Math.ceil(array.data.length / Math.ceil(array.data.length / 6))));
    return box;
  }
  if (array.data || array.thumb) box.append(heat(array, name));
  if (array.thumb && array.thumb[1].length) {
    box.append(make("div", "facts", `shrunk to ${array.thumb[0].join("×")} by averaging${array.shape.length > 2 ? ", the first matrix" : ""}`));
  }
  if (array.data) {
    const all = make("button", "", `all ${array.data.length} values`);
    all.setAttribute("aria-expanded", "false");
    all.onclick = () => {
      const open = all.nextSibling;
      if (open) open.remove();
      else all.after(make("pre", "all", columnsOf(array)));
      all.setAttribute("aria-expanded", String(!open));
    };
    box.append(all);
  } else {
    const size = array.shape.reduce((a, b) => a * b, 1);
    box.append(make("div", "facts", `${size.toLocaleString("en")} values; this page holds arrays of up to ${held.data.limit.toLocaleString("en")} whole`));
  }
  return box;
}

/** A small array as a grid of signed numbers. `how` may turn it: "row" or "column" for a vector,
 * "turned" for a transposed matrix; `less` shows one minus it. */
export function cells(array, columns = 0, { how = "", less = false, most = 0, decimals = -1 } = {}) {
  let width = columns || (array.shape.length ? array.shape[array.shape.length - 1] : 1);
  let data = array.data;
  if (how === "turned" && array.shape.length === 2) {
    const [m, n] = array.shape;
    data = Array.from({ length: m * n }, (_, k) => array.data[(k % m) * n + Math.floor(k / m)]);
    width = m;
  }
  if (how === "column") width = 1;
  if (less) data = data.map((x) => (typeof x === "number" ? Number((1 - x).toPrecision(6)) : x));
  const grid = make("div", "cells"), end = most || (less ? 1 : reach(array));
  grid.style.gridTemplateColumns = `repeat(${width}, 1fr)`;
  for (const x of data) {
    const cell = make("div", "cell");
    if (typeof x === "number") {
      cell.textContent = decimals < 0 ? signed(x) : fixed(x, decimals);
      cell.style.setProperty("--hue", x < 0 ? "var(--minus)" : "var(--plus)");
      cell.style.setProperty("--much", String(Math.min(1, Math.abs(x) / end)));
    } else {
      cell.classList.add("nan");
      cell.append(make("span", "", number(x)));
    }
    grid.append(cell);
  }
  return grid;
}

/** A larger one as a heat map: its matrices side by side, NaN and infinity crossed out. */
function heat(array, name) {
  const sizes = array.data ? array.shape : array.thumb[0];
  const elements = array.data ?? array.thumb[1];
  const columns = sizes[sizes.length - 1], rows = sizes.length > 1 ? sizes[sizes.length - 2] : 1;
  const tiles = Math.min(elements.length / (rows * columns), 16);
  const wide = tiles > 1 ? Math.min(tiles, Math.max(1, Math.floor(32 / (columns + 1)))) : 1;
  const size = Math.max(1, Math.min(18, Math.floor(300 / (wide * (columns + 1)))));
  const gap = tiles > 1 ? 1 : 0;
  const canvas = make("canvas");
  canvas.width = wide * (columns + gap) * size;
  canvas.height = Math.ceil(tiles / wide) * (rows + gap) * size;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `heat map of ${name || "an array"}: ${facts(array)} ${flags(array)}`);
  const pen = canvas.getContext("2d"), most = reach(array), colours = palette();
  for (let i = 0; i < tiles * rows * columns; i++) {
    const tile = Math.floor(i / (rows * columns)), row = Math.floor(i / columns) % rows;
    const x = ((tile % wide) * (columns + gap) + (i % columns)) * size;
    const y = (Math.floor(tile / wide) * (rows + gap) + row) * size;
    const v = elements[i], fine = typeof v === "number";
    pen.fillStyle = fine ? blend(colours, v / most) : colours.css.nan;
    pen.fillRect(x, y, size, size);
    if (!fine && size > 3) {
      pen.strokeStyle = colours.css.card;
      pen.strokeRect(x + 0.5, y + 0.5, size - 1, size - 1);
      pen.beginPath();
      pen.moveTo(x + 1, y + 1);
      pen.lineTo(x + size - 1, y + size - 1);
      pen.stroke();
    }
  }
  if (tiles < elements.length / (rows * columns)) {
    return make("div", "", canvas, make("div", "facts", `the first ${tiles} of ${elements.length / (rows * columns)} matrices`));
  }
  return canvas;
}

let palettes = null;

/** The colours of heat maps in the theme there is. */
export function palette() {
  if (palettes?.theme !== root.dataset.theme) {
    const style = getComputedStyle(root), css = {}, rgb = {};
    for (const name of ["plus", "minus", "zero", "nan", "card", "now", "ink"]) {
      css[name] = style.getPropertyValue(`--${name}`).trim();
      rgb[name] = [1, 3, 5].map((i) => parseInt(css[name].slice(i, i + 2), 16));
    }
    palettes = { css, rgb, theme: root.dataset.theme };
  }
  return palettes;
}

function blend({ rgb }, t) {
  const much = Math.min(1, Math.abs(t)), hue = t < 0 ? rgb.minus : rgb.plus;
  return `rgb(${rgb.zero.map((z, i) => Math.round(z + (hue[i] - z) * much)).join(",")})`;
}

function columnsOf(array) {
  const columns = array.shape.length ? array.shape[array.shape.length - 1] : 1;
  const texts = array.data.map(number);
  const width = texts.reduce((most, x) => Math.max(most, x.length), 0);
  const lines = [];
  for (let i = 0; i < texts.length; i += columns) {
    lines.push(texts.slice(i, i + columns).map((x) => x.padStart(width)).join("  "));
  }
  return lines.join("\n");
}

/** An array on one line: its numbers if they are few, else shape and norm. */
export function brief(index) {
  const array = arrayOf(index);
  if (array.data && array.data.length <= 4) {
    const numbers = array.data.map(signed).join("  ");
    return array.shape.length ? `${numbers}  |${number(array.norm)}|` : numbers;
  }
  return `${shapeText(array.shape)}  |${number(array.norm)}|`;
}
