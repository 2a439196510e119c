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
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from types import CodeType
from typing import Any

import numpy as np

from ..operation import Op, blocked

Function = ast.Lambda | ast.FunctionDef
Arguments = tuple[tuple[Any, ...], dict[str, Any]]  # by position, and by name


@dataclass(frozen=True)
class Formula:
    """What a rule says: its result, what its local names stand for, and its docstring."""

    result: str
    where: tuple[str, ...] = ()
    words: str = ""

    def __str__(self) -> str:
        return self.result + (f", where {'; '.join(self.where)}" if self.where else "")


def formulas(op: Op, names: Sequence[str], arguments: Arguments) -> Callable[[int], Formula]:
    """The rules of `op` by input slot, with `names` in place of their arguments.

    `names` says what g, out and the inputs are called, in this order; `arguments` is what
    the rules were called with, used where one has branches. Where the source cannot be read
    (a builtin, code typed at a prompt), the formula says no more than which rule it is.
    """
    if op.sequence:
        names = [*names[:2], listing(names[2:])]

    @cache
    def written(rule: Any) -> Formula | None:
        tree = definition(rule.__code__) if hasattr(rule, "__code__") else None
        statements = statements_run(tree, rule, arguments) if tree else []
        if tree is None or not statements:
            return None
        renamer = Renamer(tree, names, arguments[1])
        *where, result = (ast.unparse(renamer.visit(copy.deepcopy(node))) for node in statements)
        words = " ".join((inspect.getdoc(rule) or "").split())
        return Formula(f"({result})" if op.sequence else result, tuple(where), words)

    def formula(slot: int) -> Formula:
        if op.rule(slot) is blocked:
            return Formula("0 (blocked: this derivative is 0 wherever it exists)")
        place, found = f"[{slot}]" if op.sequence else "", written(op.rule(slot))
        if found is None:
            name = op.inputs[0 if op.sequence else slot]
            return Formula(f"the vjp of {op.name} with respect to {name}{place}, at g")
        return replace(found, result=f"{found.result}{place}")

    return formula


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


class Renamer(ast.NodeTransformer):
    """Writes parts of a rule with the arguments called by their names in a computation.

    A choice that depends on static parameters alone is made, and ``**static`` spelled out.
    """

    def __init__(self, tree: Function, names: Sequence[str], params: dict[str, Any]) -> None:
        # A rule takes the inputs by position, and may call them otherwise than the op does;
        # static parameters it takes by name.
        own = [p.arg for p in (*tree.args.posonlyargs, *tree.args.args)]
        shown = {x: text if len(text := repr(y)) < 24 else x for x, y in params.items()}
        self.params = {x: params[x] for x in own[len(names) :] if x in params}
        self.names = dict(zip(own, names, strict=False)) | {x: shown[x] for x in self.params}
        self.rest = tree.args.kwarg.arg if tree.args.kwarg else None
        self.others = [
            ast.keyword(x, ast.Name(text)) for x, text in shown.items() if x not in self.params
        ]

    def visit_Name(self, name: ast.Name) -> ast.AST:
        """The name by which the argument goes here."""
        return ast.Name(self.names.get(name.id, name.id), name.ctx)

    def visit_Assign(self, line: ast.Assign) -> ast.AST:
        """An argument that is bound anew goes by another name from here on."""
        line.value = self.visit(line.value)
        for target in line.targets:
            bound = {x.id for x in ast.walk(target) if isinstance(x, ast.Name)}
            self.names |= {x: f"{x}_" for x in bound & self.names.keys()}
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
            return self.others
        return self.generic_visit(given)


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
