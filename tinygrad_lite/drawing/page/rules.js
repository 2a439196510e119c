// What a step sends, as an equation with the arrays under it, in the order of the multiplication.
import { formula, held, make } from "./dom.js";
import { factors, parse } from "./formulas.js";
import { number } from "./numbers.js";
import { arrayOf, cells, isSmall, value } from "./values.js";

/** What the rule of a send reads, if all of it can be shown as numbers; else null. */
function operands(step, send) {
  const text = send.rule.slice(send.rule.indexOf(" = ") + 3);
  const found = factors(text);
  if (!found || !isSmall(arrayOf(send.array))) return null;
  const product = found.some((factor) => factor.transposed);
  const known = new Map(step.values.map(([, name, array]) => [name, array]));
  const shown = [];
  for (const [i, factor] of found.entries()) {
    const index = factor.name === "g" || factor.name.startsWith("∂L/∂") ? step.gradient : known.get(factor.name);
    if (index === undefined || index === null) return null;
    const array = arrayOf(index);
    if (!isSmall(array) || !array.shape.length) return null;
    let how = "";
    if (array.shape.length === 1) how = factor.transposed || (product && i === 0 && found.length > 1 && !found[1].transposed && found[0] !== factor) ? "row" : "column";
    else if (factor.transposed) how = "turned";
    if (product && array.shape.length === 1 && !factor.transposed && i === 0 && found[1] && !found[1].transposed) how = "row";
    shown.push({ factor, array, how });
  }
  return shown.length > 1 ? shown : null;
}

/** The equation of a send: the rule typeset, and below it the arrays that it multiplies. */
export function equation(step, send) {
  const text = send.rule, box = make("div", "sent");
  const left = text.slice(0, text.indexOf(" = "));
  const notes = [...send.where.map((line) => `where ${line}`), send.numbers && `= ${send.numbers}`].filter(Boolean);
  const small = notes.map((note) => make("span", "small", note));
  const shown = operands(step, send), result = arrayOf(send.array);
  const remark = held.data.remarks[send.traffic] ?? "";
  if (!shown) {
    box.append(make("p", "rule", formula(parse(text), text), ...small), value(`to ${send.name}`, send.array, remark));
    return box;
  }
  const table = make("div", "product");
  table.tabIndex = 0;  // it may be wider than there is room
  const column = (top, below) => table.append(make("div", "factor", top, below));
  column(formula(parse(`${left} =`), text, "rule"), make("span", "small", `to ${send.name}`));
  for (const { factor, array, how } of shown) {
    const words = `${factor.less ? `(1 − ${factor.name})` : factor.name}${factor.transposed ? "ᵀ" : ""}`;
    column(cells(array, 0, { how, less: factor.less }), formula(parse(words), words));
  }
  const vector = result.shape.length === 1 ? "column" : "";
  column(make("span", "", "="), "");
  column(cells(result, 0, { how: vector }), make("span", "small", `|${number(result.norm)}| ${remark}`.trim()));
  box.append(table, ...small);
  return box;
}
