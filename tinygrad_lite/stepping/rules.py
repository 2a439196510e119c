"""Rules as mathematics: what a node sends, with the names of the values in it.

An op's vjp already is the formula for its gradient. So nothing is written twice: the source of
the rule is read, and written as mathematics, its arguments replaced by what they are called in
this computation. `lambda g, out, x1, x2: g * x2` reads "g · W" where x2 is W. Where a rule has
branches, it is run once more to see which one was taken. Where it is a program rather than a
formula, its op says what it does: ``@op(formula=...)``.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from types import CodeType
from typing import Any

import numpy as np

from ..operation import Op, blocked
from ..recorded.expressions import brief
from .mathematics import LETTER, mathematics

Function = ast.Lambda | ast.FunctionDef
Arguments = tuple[tuple[Any, ...], dict[str, Any]]  # by position, and by name


@dataclass(frozen=True)
class Formula:
    """What a rule says: its result, what its local names stand for, its docstring, and `code`,
    the rule as it is written; empty where that cannot be read."""

    result: str
    where: tuple[str, ...] = ()
    words: str = ""
    code: str = ""

    def __str__(self) -> str:
        return self.result + (f", where {'; '.join(self.where)}" if self.where else "")


def formulas(op: Op, names: Sequence[str], arguments: Arguments) -> Callable[[int], Formula]:
    """The rules of `op` by input slot, with `names` in place of their arguments.

    `names` says what g, out and the inputs are called, in this order; `arguments` is what
    the rules were called with. Numbers of Python's among these are constants, as static
    parameters are. Where the source cannot be read (a builtin, code typed at a prompt) or is no
    formula, and the op has none, it is said no more than which rule it is.
    """
    listed = [*names[:2], listing(names[2:])] if op.sequence else names
    derived = cache(lambda rule: derive(rule, listed, arguments))

    def formula(slot: int) -> Formula:
        rule = op.rule(slot)
        if slot in getattr(op, "stopped", ()):
            return Formula("0 (stopped by you)")
        if rule is blocked:
            return Formula("0 (blocked: this derivative is 0 wherever it exists)")
        words = " ".join((inspect.getdoc(rule) or "").split())
        if template := template_of(op, slot):
            own = [*names[:2], names[2 + slot]] if is_list(op) else names
            return Formula(given(op, template, own, arguments), (), words, code_of(rule))
        place = f"[{slot}]" if op.sequence else ""
        if found := derived(rule):
            *where, result = found
            result = f"({result}){place}" if op.sequence else result
            return Formula(result, tuple(where), words, code_of(rule))
        name = op.inputs[0 if is_list(op) else slot]
        result = f"the vjp of {op.name} with respect to {name}{place}, at g"
        return Formula(result, (), words, code_of(rule))

    return formula


def template_of(op: Op, slot: int) -> str | None:
    """The formula that an op was given for an input, if it was. Raises: TypeError if it was given
    neither one text nor one for each input."""
    if op.formula is None or isinstance(op.formula, str):
        return op.formula
    if not isinstance(op.formula, (list, tuple)) or len(op.formula) != len(op.inputs):
        raise TypeError(
            f"op {op.name}: formula= is one text, or one for each of {', '.join(op.inputs)}, but "
            f"is {op.formula!r}"
        )
    return op.formula[0 if is_list(op) else slot]


def is_list(op: Op) -> bool:
    """Whether an op's inputs are a list with one name; those of a sequence op may have several."""
    return op.sequence and len(op.inputs) == 1


def given(op: Op, template: str, names: Sequence[str], arguments: Arguments) -> str:
    """A formula that an op was given, with `names` for g, out and its inputs: an expression as
    mathematics, else the text as it stands."""
    called = dict(zip(("g", "out", *op.inputs), names, strict=False)) | shown(arguments[1])
    if template.isascii():
        with suppress(SyntaxError, ValueError):
            tree = ast.parse(template, mode="eval").body
            if not isinstance(tree, ast.Tuple):
                return mathematics(tree, called, constants(called, arguments))
    words = "|".join(("g", "out", *op.inputs))

    def rename(found: re.Match[str]) -> str:
        number, name = found[1], called[found[2]]
        name = f"({name})" if name.startswith("−") else name
        return f"{number} · {name}" if number and not LETTER.fullmatch(name) else number + name

    return re.sub(rf"(?<!\w)(\d*)({words})(?![0-9A-Za-z_])", rename, template)


def derive(rule: Any, names: Sequence[str], arguments: Arguments) -> list[str] | None:
    """The statements of a rule as mathematics, the last one its result; None where it cannot be
    read, or is a program rather than a formula."""
    tree = definition(rule.__code__) if hasattr(rule, "__code__") else None
    if tree is None:
        return None
    # A rule takes the inputs by position, and may call them otherwise than the op does.
    own = [p.arg for p in (*tree.args.posonlyargs, *tree.args.args)]
    called = dict(zip(own, names, strict=False)) | shown(arguments[1])
    known, lines = constants(own, arguments), []
    with suppress(ValueError):
        for node in statements_run(tree, rule, arguments):
            if isinstance(node, ast.Assign):
                line = mathematics(node.value, called, known)
                # An argument that is bound anew goes by another name from here on.
                bound = {x.id for y in node.targets for x in ast.walk(y) if isinstance(x, ast.Name)}
                called |= {x: f"{called[x]}′" if x in called else x for x in bound}
                known = {x: value for x, value in known.items() if x not in bound}
                line = f"{' = '.join(mathematics(y, called, {}) for y in node.targets)} = {line}"
            else:
                line = mathematics(node, called, known)
            lines.append(line)
        return lines or None
    return None


def constants(own: Iterable[str], arguments: Arguments) -> dict[str, Any]:
    """What stands fast in a rule that calls its arguments so: static parameters, and inputs that
    are numbers of Python's."""
    args, params = arguments
    numbers = {name: x for name, x in zip(own, args, strict=False) if type(x) in (int, float)}
    return params | numbers


def shown(params: Mapping[str, Any]) -> dict[str, str]:
    """Static parameters as a formula writes them: what is long, by its name."""
    return {name: text if len(text := brief(x)) < 24 else name for name, x in params.items()}


def code_of(rule: Any) -> str:
    """A rule as it is written, empty where its source cannot be read."""
    return source_of(rule.__code__) if hasattr(rule, "__code__") else ""


@lru_cache(maxsize=4096)
def source_of(code: CodeType) -> str:
    """The lambda or def that `code` was compiled from, as it is written; else empty."""
    tree = definition(code)
    if tree is None:
        return ""
    source = "".join(linecache.getlines(code.co_filename))
    return textwrap.dedent(ast.get_source_segment(source, tree, padded=True) or "")


def listing(names: Sequence[str]) -> str:
    """The names in a list, the middle left out of a long one: each of n rules shows it."""
    shown = names if len(names) <= 12 else [*names[:4], "…", *names[-4:]]
    return f"[{', '.join(shown)}]"


def note_sum(formula: Formula, rule: Any, arguments: Arguments, shape: tuple[int, ...]) -> Formula:
    """The formula of a rule, saying so where the engine summed its result to this shape."""
    args, params = arguments
    sizes = np.shape(rule(*args, **params))
    extra = len(sizes) - len(shape)
    axes = [i for i, n in enumerate(sizes) if extra >= 0 and (i < extra or n != shape[i - extra])]
    if not axes:
        return formula
    which = f"axis {axes[0]}" if len(axes) == 1 else f"axes {', '.join(map(str, axes))}"
    note = f"(summed over {which}, along which it was broadcast)"
    return replace(formula, result=f"{formula.result}  {note}")


def statements_run(tree: Function, rule: Any, arguments: Arguments) -> list[ast.AST]:
    """The assignments of a rule that run for these arguments, in order, and then what it
    returns; empty if it is not made of these."""
    if isinstance(tree, ast.Lambda):
        return [tree.body]
    body = tree.body[1:] if ast.get_docstring(tree) is not None else tree.body
    if any(isinstance(line, ast.If) for line in body):
        lines = lines_run(rule, *arguments)
        inner = (x for line in body for x in ast.walk(line) if isinstance(x, ast.stmt))
        body = [x for x in inner if x.lineno in lines and not isinstance(x, ast.If)]
        body.sort(key=lambda line: line.lineno)
    *assigned, last = body or [tree]
    if not isinstance(last, ast.Return) or last.value is None:
        return []
    return [*assigned, last.value] if all(isinstance(x, ast.Assign) for x in assigned) else []


def lines_run(rule: Any, args: tuple[Any, ...], params: dict[str, Any]) -> set[int]:
    """The lines of `rule` that run for these arguments."""
    lines: set[int] = set()

    def tracer(frame: Any, event: str, _: Any) -> Any:
        if frame.f_code is not rule.__code__:
            return None
        lines.add(frame.f_lineno)
        return tracer

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        rule(*args, **params)
    finally:
        sys.settrace(before)
    return lines


@lru_cache(maxsize=4096)
def definition(code: CodeType) -> Function | None:
    """The lambda or def that `code` was compiled from, None where the source is not there."""
    source = "".join(linecache.getlines(code.co_filename))  # it has a notebook's cells too
    found = functions(source).get((code.co_name, code.co_firstlineno), [])
    if len(found) < 2:
        return found[0] if found else None
    # Of several lambdas on a line, it is the last whose body begins where the code does.
    places = [
        (line, column)
        for line, _, column, _ in code.co_positions()
        if line is not None and column is not None and (line, column) != (code.co_firstlineno, 0)
    ]
    before = [node for node in found if places and body_start(node) <= min(places)]
    return max(before, key=body_start, default=None)


def body_start(function: Any) -> tuple[int, int]:
    """The line and column at which a function's body begins."""
    body = function.body if isinstance(function, ast.Lambda) else function.body[0]
    return body.lineno, body.col_offset


@lru_cache(maxsize=64)
def functions(source: str) -> dict[tuple[str, int], list[Function]]:
    """The functions of a source text by name and first line; none where it is not Python."""
    found: dict[tuple[str, int], list[Function]] = {}
    with suppress(SyntaxError, ValueError):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, (ast.Lambda, ast.FunctionDef)):
                above = [line.lineno for line in getattr(node, "decorator_list", ())]
                place = getattr(node, "name", "<lambda>"), min([node.lineno, *above])
                found.setdefault(place, []).append(node)
    return found
