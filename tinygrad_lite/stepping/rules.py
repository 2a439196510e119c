"""A rule in words: the expression a vjp was written as, with the names of the values in it.

An op's vjp already is the formula for its gradient. So nothing is written twice: the
source of the rule is read, and its arguments are replaced by what they are called in this
computation. `lambda g, out, x1, x2: g * x2` reads "g * W" where x2 is W. Where a rule has
branches, it is run once more to see which one was taken.
"""

from __future__ import annotations

import ast
import copy
import inspect
import linecache
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType
from typing import Any

import numpy as np

from ..operation import Op, blocked
from ..text import oneline

# How Python writes what drawings show.
PYTHON = {"×": "*", "÷": "/", "−": "-", "^": "**", "=": "==", "≠": "!=", "≤": "<=", "≥": ">="}

Function = ast.Lambda | ast.FunctionDef

BLOCKED = "0 (blocked: this derivative is 0 wherever it exists)"


@dataclass(frozen=True)
class Formula:
    """What a rule says: its result, what its local names stand for, and its docstring."""

    result: str
    where: tuple[str, ...] = ()
    words: str = ""

    def __str__(self) -> str:
        return self.result + (f", where {'; '.join(self.where)}" if self.where else "")


def call(op: Op, operands: list[str], params: Mapping[str, Any]) -> str:
    """The op applied to its operands, as Python writes it: ``W @ x``, ``sum(h, axis=0)``."""
    sign = PYTHON.get(op.symbol, op.symbol)
    if not op.static and not op.sequence and not any(c.isalnum() for c in sign):
        if len(operands) == 2:
            return f"{operands[0]} {sign} {operands[1]}"
        if sign == "-":
            return f"-{operands[0]}"
    given = [f"[{', '.join(operands)}]"] if op.sequence else [x for x in operands if x != "None"]
    for name, value in params.items():
        if name not in op.defaults or not is_same(value, op.defaults[name]):
            given.append(f"{name}={brief(value)}")
    return f"{op.name}({', '.join(given)})"


def is_same(a: Any, b: Any) -> bool:
    """Whether a parameter has its default value, arrays included."""
    return a is b or (type(a) is type(b) and not isinstance(a, np.ndarray) and bool(a == b))


def brief(value: Any) -> str:
    """A static parameter in a few characters: an index as it is written, an array as its shape."""
    if isinstance(value, slice):
        parts = ["" if part is None else str(part) for part in (value.start, value.stop)]
        return ":".join(parts if value.step is None else [*parts, str(value.step)])
    if isinstance(value, tuple) and any(isinstance(part, (slice, np.ndarray)) for part in value):
        return f"[{', '.join(map(brief, value))}]"
    if isinstance(value, np.ndarray) and value.size > 8:
        return f"array{value.shape}"
    return oneline(str(value.tolist()) if isinstance(value, np.ndarray) else repr(value), 40)


def formula(
    op: Op, slot: int, names: Sequence[str], arguments: tuple[tuple[Any, ...], dict[str, Any]]
) -> Formula:
    """The rule of `op` for the input in `slot`, with `names` in place of its arguments.

    `names` says what g, out and the inputs are called, in this order; `arguments` is what
    the rule was called with, used where it has branches. Where the source cannot be read
    (a builtin, code typed at a prompt), the formula says no more than which rule it is.
    """
    rule = op.rule(slot)
    if rule is blocked:
        return Formula(BLOCKED)
    name = f"{op.inputs[0]}[{slot}]" if op.sequence else op.inputs[slot]
    unread = Formula(f"the vjp of {op.name} with respect to {name}, at g")
    code = getattr(rule, "__code__", None)
    tree = None if code is None else definition(code)
    if rule is None or tree is None:
        return unread
    renamer = Renamer(tree, op, names, arguments[1])
    statements = (
        [tree.body] if isinstance(tree, ast.Lambda) else statements_run(tree, rule, arguments)
    )
    if not statements:
        return unread
    *where, result = (renamer.text(node) for node in statements)
    words = " ".join((inspect.getdoc(rule) or "").split())
    return Formula(f"({result})[{slot}]" if op.sequence else result, tuple(where), words)


class Renamer(ast.NodeTransformer):
    """Writes parts of a rule with the arguments called by their names in a computation.

    A choice that depends on static parameters alone is made, and ``**static`` spelled out.
    """

    def __init__(
        self, tree: Function, op: Op, names: Sequence[str], params: dict[str, Any]
    ) -> None:
        # A rule takes the inputs by position, and may call them otherwise than the op does;
        # static parameters it takes by name.
        own = [p.arg for p in (*tree.args.posonlyargs, *tree.args.args)]
        inputs = [*names[:2], f"[{', '.join(names[2:])}]"] if op.sequence else names
        self.params = {x: params[x] for x in own[len(inputs) :] if x in params}
        short = {x: text for x, y in params.items() if len(text := repr(y)) < 24}
        self.names = {
            **dict(zip(own, inputs, strict=False)),
            **{x: short.get(x, x) for x in self.params},
        }
        self.rest = tree.args.kwarg.arg if tree.args.kwarg else None
        self.others = {x: short.get(x, x) for x in params if x not in self.params}

    def text(self, node: ast.AST) -> str:
        """The source of a part, renamed."""
        return ast.unparse(self.visit(copy.deepcopy(node)))

    def visit_Name(self, name: ast.Name) -> ast.AST:
        """The name by which the argument goes here."""
        return ast.Name(self.names.get(name.id, name.id), name.ctx)

    def visit_Assign(self, line: ast.Assign) -> ast.AST:
        """An argument that is bound anew goes by another name from here on."""
        line.value = self.visit(line.value)
        for target in (x for t in line.targets for x in ast.walk(t) if isinstance(x, ast.Name)):
            if target.id in self.names:
                self.names[target.id] = f"{target.id}_"
        line.targets = [self.visit(target) for target in line.targets]
        return line

    def visit_IfExp(self, choice: ast.IfExp) -> ast.AST:
        """The branch taken, where only static parameters decide."""
        mentioned = {x.id for x in ast.walk(choice.test) if isinstance(x, ast.Name)}
        if not mentioned or not mentioned <= self.params.keys():
            return self.generic_visit(choice)
        taken = eval(ast.unparse(choice.test), {}, self.params)
        found: ast.AST = self.visit(choice.body if taken else choice.orelse)
        return found

    def visit_keyword(self, given: ast.keyword) -> Any:
        """``**static`` as the parameters that it stands for."""
        if given.arg is None and isinstance(given.value, ast.Name) and given.value.id == self.rest:
            return [ast.keyword(name, ast.Name(value)) for name, value in self.others.items()]
        return self.generic_visit(given)


def statements_run(tree: ast.FunctionDef, rule: Any, arguments: tuple[Any, Any]) -> list[ast.AST]:
    """The assignments of a rule that run for these arguments, in order, and then what it
    returns; empty if it is not made of these."""
    body = tree.body[1:] if ast.get_docstring(tree) is not None else tree.body
    if not all(isinstance(line, ast.Assign) for line in body[:-1]):
        lines = lines_run(rule, *arguments)
        inner = (x for x in ast.walk(tree) if isinstance(x, ast.stmt) and x is not tree)
        body = [x for x in inner if x.lineno in lines and not isinstance(x, ast.If)]
        body.sort(key=lambda line: line.lineno)
        if not all(isinstance(line, ast.Assign) for line in body[:-1]):
            return []
    if not body or not isinstance(body[-1], ast.Return) or body[-1].value is None:
        return []
    return [*body[:-1], body[-1].value]


def lines_run(rule: Callable[..., Any], args: tuple[Any, ...], params: dict[str, Any]) -> set[int]:
    """The lines of `rule` that run for these arguments."""
    lines: set[int] = set()
    code = getattr(rule, "__code__", None)

    def tracer(frame: Any, event: str, _: Any) -> Any:
        if frame.f_code is not code:
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
    """The lambda or def that `code` was compiled from, None where the source is not there.

    Several lambdas may start on one line: the right one is the smallest whose body holds
    every position of the compiled instructions.
    """
    # linecache has the cells of a notebook too.
    source = "".join(linecache.getlines(code.co_filename))
    found = [
        node
        for node in functions(source)
        if min(x.lineno for x in (node, *getattr(node, "decorator_list", ())))
        == code.co_firstlineno
        and code.co_name == getattr(node, "name", "<lambda>")
    ]
    if len(found) < 2:
        return found[0] if found else None
    places = [
        (line, column)
        for line, _, column, _ in code.co_positions()
        if line is not None and column is not None and (line, column) != (code.co_firstlineno, 0)
    ]
    around = [node for node in found if places and all(contains(node, place) for place in places)]
    return min(around, key=lambda node: len(ast.unparse(node))) if around else None


def contains(node: Function, place: tuple[int, int]) -> bool:
    """Whether a line and column lie inside the body of a function."""
    first, last = (
        (node.body,) * 2 if isinstance(node, ast.Lambda) else (node.body[0], node.body[-1])
    )
    end = (last.end_lineno or last.lineno, last.end_col_offset or 0)
    return (first.lineno, first.col_offset) <= place <= end


@lru_cache(maxsize=64)
def functions(source: str) -> list[Function]:
    """Every lambda and def of a source text; none where it is not Python."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return []
    return [node for node in ast.walk(tree) if isinstance(node, (ast.Lambda, ast.FunctionDef))]
