// Formulas as trees: read from the text of a rule, and written as LaTeX. Pure.
//
// A tree is a text (a name, a number, a sign) or a list whose first item says what it is:
// ["row", ...], ["times", ...], ["minus", ...] (a product below 0), ["sum", ...],
// ["quotient", above, below], ["group", ...] (in brackets), ["raised", base, above],
// ["more", words].

// A raised T is a letter to Unicode, and digits below or above the line are numbers: here neither.
const LETTER = "[^\\P{L}ᵀ]", WORD = `(?:${LETTER}|[\\d_])`;
const NAME = new RegExp(`^(?:${LETTER}|[_#])${WORD}*(?:\\.(?:${LETTER}|_)${WORD}*|\\[[^\\]]*\\])*`, "u");
const NUMBER = /^\d+(?:\.\d+)?(?:e[-+−]?\d+)?/;
const RAISED = /^[ᵀ⁻¹²³⁴-⁹′]+/u;
const PLAIN = { "ᵀ": "T", "⁻": "−", "¹": "1", "²": "2", "³": "3", "⁴": "4", "⁵": "5", "⁶": "6", "⁷": "7", "⁸": "8", "⁹": "9", "′": "′" };

/** Where the closing mark of the one at the beginning stands. */
export function closing(text, open, close) {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === open) depth++;
    if (text[i] === close && --depth === 0) return i;
  }
  return text.length;
}

/** What stands in brackets, which need not stand there twice. */
function group(text) {
  const inner = parse(text);
  return inner.length === 2 && Array.isArray(inner[1]) && inner[1][0] === "group" ? inner[1] : ["group", ...inner.slice(1)];
}

/** The text of a rule as a tree. */
export function parse(text) {
  /** @type {any[]} */
  const items = ["row"];
  let rest = text;
  const take = (n) => {
    const taken = rest.slice(0, n);
    rest = rest.slice(n);
    return taken;
  };
  const named = () => {  // a name, a value called by its expression, or what stands in brackets
    if (rest[0] === "‹") {
      const end = closing(rest, "‹", "›"), inner = rest.slice(1, end);
      take(end + 1);
      return group(inner);
    }
    return take((NAME.exec(rest) ?? [""])[0].length);
  };
  while (rest) {
    if (/^∂[\p{L}_#]*\/∂/u.test(rest)) {
      const above = take(rest.indexOf("/")).slice(1);
      take(2);
      items.push(["quotient", above, named()]);
    } else if (rest[0] === "‹" || NAME.test(rest)) {
      items.push(named());
    } else if (NUMBER.test(rest)) {
      items.push(take(NUMBER.exec(rest)[0].length));
    } else if (RAISED.test(rest)) {
      const above = [...take(RAISED.exec(rest)[0].length)].map((c) => PLAIN[c]).join("");
      items.push(items.length > 1 ? ["raised", items.pop(), above] : above);
    } else if (rest[0] === "(") {
      const end = closing(rest, "(", ")"), inner = rest.slice(1, end);
      take(end + 1);
      items.push(group(inner));
    } else {
      const sign = take(1);
      if (sign.trim()) items.push(sign);
    }
  }
  return items;
}

/** The factors of a rule, if it is nothing but a product of values: each with its name, whether
 * it is transposed, and whether it stands for one minus the value. */
export function factors(text) {
  const found = [];
  let rest = text.trim();
  while (rest) {
    const less = /^\(1 − ([^()]+)\)/.exec(rest);
    let length, name;
    if (less) [length, name] = [less[0].length, less[1]];
    else if (rest[0] === "‹") [length, name] = [closing(rest, "‹", "›") + 1, rest.slice(0, closing(rest, "‹", "›") + 1)];
    else if (NAME.test(rest)) [length, name] = [NAME.exec(rest)[0].length, NAME.exec(rest)[0]];
    else return null;
    rest = rest.slice(length);
    const transposed = rest[0] === "ᵀ";
    if (transposed) rest = rest.slice(1);
    found.push({ name, transposed, less: Boolean(less) });
    if (!rest) return found;
    const between = /^( · | )(?=\S)/.exec(rest);
    if (!between) return null;
    rest = rest.slice(between[0].length);
  }
  return found.length ? found : null;
}

/** A name in two parts: what stands on the line, and the digits at its end that stand below. */
export function parts(name) {
  const found = /^([^\s]*[^\d\s_])_?(\d+)$/u.exec(name);
  return found && !/[[\]().]/.test(name) ? [found[1], found[2]] : [name, ""];
}

const ESCAPED = { "\\": "\\backslash{}", "^": "\\hat{}", "~": "\\sim{}", "−": "-", "·": "\\cdot ", "∂": "\\partial ", "π": "\\pi ", "σ": "\\sigma ", "Σ": "\\sum ", "≥": "\\ge ", "≤": "\\le ", "∞": "\\infty ", "√": "\\sqrt{}", "′": "'" };

function escaped(text) {
  return [...text].map((c) => ESCAPED[c] ?? (/[#$%&_{} ]/.test(c) ? `\\${c}` : c)).join("");
}

function latexName(name) {
  const [base, below] = parts(name);
  const shown = [...base].length === 1 && /\p{L}/u.test(base) ? escaped(base).trim() : `\\mathrm{${escaped(base)}}`;
  return below ? `${shown}_${below.length > 1 ? `{${below}}` : below}` : shown;
}

/** A tree as LaTeX. */
export function latex(tree) {
  if (typeof tree === "number") return String(tree).replace(/e([-+]?\d+)/, (_, n) => ` \\cdot 10^{${Number(n)}}`);
  if (typeof tree === "string") {
    if (tree === "I" || NAME.test(tree)) return latexName(tree);
    return escaped(tree);
  }
  const [kind, ...rest] = tree;
  const all = () => rest.map(latex);
  switch (kind) {
    case "quotient": return `\\frac{\\partial ${latex(rest[0])}}{\\partial ${latex(rest[1])}}`;
    case "sum": return `\\left(${rest.map((term, i) => (i && term[0] !== "minus" ? "+ " : "") + latex(term)).join(" ")}\\right)`;
    case "times": return all().join(" \\cdot ");
    case "minus": return `- ${all().join(" \\cdot ")}`;
    case "group": return `\\left(${all().join(" ")}\\right)`;
    case "raised": return `${latex(rest[0])}^{${rest[1] === "T" ? "\\top" : escaped(rest[1])}}`;
    case "more": return `\\cdots \\text{(${rest[0]})}`;
    default: return all().join(" ");
  }
}

/** What a step sends, as an aligned chain rule. */
export function alignedLatex(lines) {
  const rows = lines.map((line) => {
    const [left, right] = [line.slice(0, line.indexOf(" = ")), line.slice(line.indexOf(" = ") + 3)];
    return `  ${latex(parse(left))} &= ${latex(parse(right))}`;
  });
  return `\\begin{aligned}\n${rows.join(" \\\\\n")}\n\\end{aligned}`;
}
