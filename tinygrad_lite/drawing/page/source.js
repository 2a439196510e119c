// The source: the current line with its sub-expression marked, and the calls that led there.
import { $, app, held, make } from "./dom.js";
import { goToNext } from "./step.js";

const KEYWORDS = "and as assert break class continue def del elif else except False finally for from global if import in is lambda None nonlocal not or pass raise return True try while with yield";
const TOKEN = new RegExp(`(#.*$)|("(?:\\\\.|[^"\\\\])*"|'(?:\\\\.|[^'\\\\])*')|\\b(${KEYWORDS.split(" ").join("|")})\\b`, "g");

function highlight(text) {
  const line = make("span", "text");
  let done = 0;
  for (const found of text.matchAll(TOKEN)) {
    line.append(text.slice(done, found.index));
    line.append(make("span", found[1] ? "c" : found[2] ? "s" : "k", found[0]));
    done = found.index + found[0].length;
  }
  line.append(text.slice(done) || (done ? "" : " "));
  return line;
}

const lines = new Map();  // "file:line" -> its element
let marked = null, callers = [];

function show() {
  if (held.data.sides) return;
  const { files, steps } = held.data, code = $("code");
  lines.clear();
  marked = null;
  callers = [];
  code.replaceChildren(make("ol", "calls"));
  const stepped = new Set(steps.filter((s) => s.source).map((s) => s.source.join(":")));
  files.forEach((file, f) => {
    const list = make("ol", "lines");
    file.lines.forEach((text, i) => {
      const n = file.first + i, key = `${f}:${n}`;
      const item = make("li", stepped.has(key) ? "stepped" : "", make("span", "n", String(n)), highlight(text));
      if (stepped.has(key)) item.onclick = () => goToNext((s) => s.source && s.source.join(":") === key);
      lines.set(key, item);
      list.append(item);
    });
    code.append(make("h3", "", file.name), list);
  });
  $("source-title").textContent = files.length === 1 ? `Source · ${files[0].name}` : files.length ? "Source" : "Computation";
  if (files.length) return;
  // No lines were recorded: the computation itself, as straight-line code.
  code.append(make("p", "", "No source lines were recorded: compute inside “with source_lines():”, or use “tinygrad-lite step”. This is what was computed."));
  const list = make("ol", "lines");
  steps.forEach((step, i) => {
    if (step.way !== "forward") return;
    const item = make("li", "stepped", make("span", "n", String(i + 1)), make("span", "text", step.equation));
    item.onclick = () => goToNext((s) => s.node === step.node);
    lines.set(`node:${step.node}`, item);
    list.append(item);
  });
  code.append(list);
}

function clear() {
  if (marked) {
    const text = marked.querySelector(".text");
    if (marked.dataset.key) text.replaceWith(highlight(text.textContent));
    marked.classList.remove("now");
    marked.removeAttribute("aria-current");
    delete marked.dataset.key;
  }
  for (const item of callers) item.classList.remove("caller");
  callers = [];
}

function mark(_, changed) {
  const { files } = held.data, step = held.steps[held.at], code = $("code");
  clear();
  marked = null;
  if (held.data.sides) return;
  const list = code.querySelector(".calls");
  list?.replaceChildren();
  if (!step || step.way === "all") return;
  const key = files.length ? step.source && step.source.join(":") : `node:${step.node}`;
  marked = lines.get(key) ?? null;
  if (!marked) return;
  marked.classList.add("now");
  marked.setAttribute("aria-current", "step");
  if (files.length) {
    marked.dataset.key = key;
    markExpression(marked, step.expression);
    const chain = [...step.callers, step.source];
    list.hidden = chain.length < 2 && !step.locals;
    chain.forEach(([f, n], depth) => {
      const last = depth === chain.length - 1, text = (files[f].lines[n - files[f].first] ?? "").trim();
      const item = make("li", "", `${n} `, last && step.expression ? make("b", "", step.expression) : text.slice(0, 80),
        last && step.locals ? make("span", "", `  here ${step.locals}`) : "");
      item.style.paddingLeft = `${depth * 0.9}em`;
      list.append(item);
      if (last) return;
      const caller = lines.get(`${f}:${n}`);
      caller?.classList.add("caller");
      if (caller) callers.push(caller);
    });
  }
  if (!changed.has("at")) return;
  const y = marked.offsetTop - code.offsetTop;
  if (y < code.scrollTop + 40 || y > code.scrollTop + code.clientHeight - 60) {
    code.scrollTo({ top: y - code.clientHeight / 3, left: 0 });
  }
}

/** The text of a line with the sub-expression marked, where it stands in it as it is. */
function markExpression(item, expression) {
  const text = item.querySelector(".text"), whole = text.textContent;
  const start = expression ? whole.indexOf(expression) : -1;
  if (start < 0) return;
  const before = whole.slice(0, start), after = whole.slice(start + expression.length);
  text.replaceChildren(before && highlight(before), make("mark", "", expression), after && highlight(after));
}

let shown = null;  // the steps whose source is there: it is the same in what a server answers
app.on(["data"], () => {
  if (shown !== held.data.files) show();
  shown = held.data.files;
});
app.on(["at", "data"], mark);
