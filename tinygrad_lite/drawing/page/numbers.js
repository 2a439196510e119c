// Numbers as text, as Python writes them too: a minus is U+2212, and 0 is never -0.

/** A number in three digits; what is none comes as the text that it is stored as. */
export function number(x) {
  if (typeof x !== "number") return x === null ? "" : minus(String(x));
  if (Number.isInteger(x) && Math.abs(x) < 1e5) return minus(String(x));
  const size = Math.abs(x);
  return minus(size >= 1e-3 && size < 1e5 ? digits(x) : x.toExponential(2));
}

/** Three significant digits, zeros kept: 0.500, 12.0, 1230. */
function digits(x) {
  const text = x.toPrecision(3);
  return text.includes("e") ? String(Number(text)) : text;
}

/** The same with a plus where it is above 0. */
export function signed(x) {
  const text = number(x);
  return typeof x === "number" && x > 0 ? `+${text}` : text;
}

/** A signed number with so many decimals, so that a sum of several comes out. */
export function fixed(x, decimals) {
  const text = Math.abs(x).toFixed(decimals);
  return Number(text) === 0 ? text : `${x < 0 ? "−" : "+"}${text}`;
}

/** How many decimals numbers of this size take, if four digits of the largest are shown. */
export function decimalsFor(largest) {
  return Math.min(8, Math.max(0, 3 - Math.floor(Math.log10(largest || 1))));
}

/** A hyphen before a number as the sign that it is. */
export function minus(text) {
  return text.replace(/-(?=[\d∞])/g, "−");
}

/** A share as tables write it. */
export function percent(share) {
  if (share === null || share === undefined) return "–";
  const x = share * 100, size = Math.abs(x);
  if (size < 5e-4) return x === 0 ? "0 %" : "≈0 %";
  if (size < 0.05) return `${x < 0 ? "−" : "+"}${size.toFixed(2)} %`;
  return `${x < 0 ? "−" : "+"}${size >= 10 ? Math.round(size) : size.toFixed(1)} %`;
}

/** An array's shape: (4×3). */
export function shapeText(shape) {
  return shape.length ? `(${shape.join("×")})` : "";
}

/** What there is to say of an array besides its elements. */
export function facts(array) {
  const parts = [];
  if (array.shape.length) {
    parts.push(shapeText(array.shape));
    if (!array.data && array.min !== null) parts.push(`${number(array.min)} to ${number(array.max)}, mean ${number(array.mean)}`);
    parts.push(`|${number(array.norm)}|`);
  }
  if (array.dtype !== "float64") parts.push(array.dtype);
  return parts.join(" · ");
}

/** What is not finite in an array. */
export function flags(array) {
  const parts = [];
  if (array.nan) parts.push(`${array.nan} NaN`);
  if (array.inf) parts.push(`${array.inf} infinite`);
  return parts.join(", ");
}

/** The largest size among the finite elements of some arrays: where the colours end. */
export function reach(...arrays) {
  return Math.max(...arrays.flatMap((a) => [Math.abs(a.min ?? 0), Math.abs(a.max ?? 0)])) || 1;
}
