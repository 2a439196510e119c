"""Python's arithmetic written as mathematics: `g * 2 * x` as "g · 2x", `g @ T(x)` as "g xᵀ".

A condition in square brackets counts 1 where it holds, else 0, as Iverson and Knuth write it.
What only changes a shape is left out: mathematics has no sign for it.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

# How tightly an expression holds together; where more is asked, it stands in brackets.
CHOICE, SUM, PRODUCT, MATRICES, POWER, ATOM = range(6)

SYMBOLS = {"pi": "π", "inf": "∞"}
SIGNS: dict[type[ast.AST], str] = {
    ast.Eq: "=", ast.NotEq: "≠", ast.Lt: "<", ast.LtE: "≤", ast.Gt: ">", ast.GtE: "≥",
    ast.And: "and", ast.Or: "or", ast.BitAnd: "and", ast.BitOr: "or",
}  # fmt: skip
SUPERSCRIPTS = str.maketrans("-123456789", "⁻¹²³⁴⁵⁶⁷⁸⁹")
LETTER = re.compile(r"[^\W\d_]\d*[²³⁴-⁹]?")  # what a number may stand close to

# Functions with a sign of their own. In the brackets stands the first argument: what a reduction
# takes besides are axes.
WRITTEN = {
    "abs": "|{}|", "sigmoid": "σ({})", "sqrt": "√({})", "sum": "Σ({})", "mean": "mean({})",
}  # fmt: skip
RAISED = {"T": "ᵀ", "transpose": "ᵀ", "swapaxes": "ᵀ", "inv": "⁻¹", "square": "²"}
OPERATORS: dict[str, type[ast.operator]] = {
    "add": ast.Add, "subtract": ast.Sub, "multiply": ast.Mult, "divide": ast.Div,
    "power": ast.Pow, "matmul": ast.MatMult, "dot": ast.MatMult,
    "logical_and": ast.BitAnd, "logical_or": ast.BitOr,
}  # fmt: skip
SHAPING = {"asarray", "astype", "broadcast_to", "expand_dims", "reshape", "squeeze"}


def mathematics(tree: ast.AST, names: Mapping[str, str], constants: Mapping[str, Any]) -> str:
    """An expression as mathematics, with its variables called by `names`, and what the constants
    decide decided. Raises: ValueError for what is no mathematics."""
    return Writer(names).write(Settled(constants).visit(copy.deepcopy(tree)))


class Settled(ast.NodeTransformer):
    """An expression with its constants put in, choices by them made, and 0 and 1 left out."""

    def __init__(self, constants: Mapping[str, Any]) -> None:
        self.constants = constants

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """A constant's number."""
        value = self.constants.get(node.id)
        return ast.Constant(value) if type(value) in (int, float) else node

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        """The branch taken, where constants alone decide."""
        mentioned = {x.id for x in ast.walk(node.test) if isinstance(x, ast.Name)}
        if not mentioned or not mentioned <= self.constants.keys():
            return self.generic_visit(node)
        taken = eval(ast.unparse(node.test), {}, dict(self.constants))
        return self.visit(node.body if taken else node.orelse)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        """A negative number as one."""
        match self.generic_visit(node):
            case ast.UnaryOp(ast.USub(), ast.Constant(int() | float() as a)):
                return ast.Constant(-a)
        return node

    def visit_BinOp(self, node: ast.BinOp) -> Any:
        """The sum or difference of numbers as its result; factors and exponents 1, and terms 0,
        left out."""
        match self.generic_visit(node):
            case ast.BinOp(
                ast.Constant(int() | float() as a),
                ast.Add() | ast.Sub() as sign,
                ast.Constant(int() | float() as b),
            ):
                return ast.Constant(a + b if isinstance(sign, ast.Add) else a - b)
            case ast.BinOp(_, ast.Pow(), ast.Constant(0)):
                return ast.Constant(1)
            case ast.BinOp(ast.Constant(0) as zero, ast.Mult(), _) | ast.BinOp(
                _, ast.Mult(), ast.Constant(0) as zero
            ):
                return zero
            case (
                ast.BinOp(rest, ast.Pow() | ast.Mult() | ast.Div(), ast.Constant(1))
                | ast.BinOp(rest, ast.Add() | ast.Sub(), ast.Constant(0))
                | ast.BinOp(ast.Constant(1), ast.Mult(), rest)
                | ast.BinOp(ast.Constant(0), ast.Add(), rest)
            ):
                return rest
            case ast.BinOp(rest, ast.Mult(), ast.Constant(-1)):
                return ast.UnaryOp(ast.USub(), rest)
        return node


class Writer:
    """Writes expressions, with their variables called by `names`."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def write(self, node: ast.AST, least: int = CHOICE, first: bool = True) -> str:
        """A node: in brackets if it holds together less tightly than is asked, or begins with a
        minus sign and is not the first part of what it stands in."""
        text, tight = self.text(node)
        bare = tight >= least and (first or not text.startswith("−"))
        return text if bare else f"({text})"

    def text(self, node: ast.AST) -> tuple[str, int]:
        """A node, and how tightly it holds together."""
        match node:
            case ast.Constant(value):
                text = f"{value:.6g}" if isinstance(value, float) else str(value)
                return text.replace("-", "−"), ATOM
            case ast.Name(name):
                return self.names.get(name, SYMBOLS.get(name, name)), ATOM
            case ast.UnaryOp(ast.USub(), inner):
                return f"−{self.write(inner, PRODUCT, first=False)}", PRODUCT
            case ast.BinOp(left, ast.Add(), right):
                return f"{self.write(left, SUM)} + {self.write(right, SUM, first=False)}", SUM
            case ast.BinOp(left, ast.Sub(), right):
                return f"{self.write(left, SUM)} − {self.write(right, PRODUCT, first=False)}", SUM
            case ast.BinOp(_, ast.Mult() | ast.Div(), _):
                return self.fraction(*map(powers, factors(node))), PRODUCT
            case ast.BinOp(left, ast.MatMult(), right):
                left_text = self.write(left, MATRICES)
                return f"{left_text} {self.write(right, MATRICES, first=False)}", MATRICES
            case ast.BinOp(left, ast.FloorDiv(), right):
                return f"⌊{self.fraction([left], [right])}⌋", ATOM
            case ast.BinOp(base, ast.Pow(), exponent):
                return self.power(self.write(base, ATOM, first=False), exponent), POWER
            case ast.IfExp(test, body, orelse):
                return self.choice(test, body, orelse), CHOICE
            case ast.Call():
                return self.call(*self.called(node))
            case ast.Attribute(value, name):
                return self.call(name, [value]) if name == "T" else (self.attribute(node), ATOM)
            case ast.Subscript(value, index):
                return self.part(value, index)
            case ast.Tuple(parts) | ast.List(parts):
                return f"({', '.join(map(self.write, parts))})", ATOM
        return f"[{self.condition(node)}]", ATOM

    def fraction(self, above: Sequence[ast.AST], below: Sequence[ast.AST]) -> str:
        """A product of factors, divided by another."""
        if not below:
            return self.product(above)
        divisor = self.write(below[0], POWER, first=False) if len(below) == 1 else None
        return f"{self.product(above)} / {divisor or f'({self.product(below)})'}"

    def product(self, nodes: Sequence[ast.AST]) -> str:
        """Factors side by side, a number close to the letter that it multiplies."""
        text, close = "", False
        for node in nodes:
            factor = self.write(node, PRODUCT, first=not text)
            text += ("" if not text or (close and LETTER.fullmatch(factor)) else " · ") + factor
            close = isinstance(node, ast.Constant)
        return text or "1"

    def power(self, base: str, exponent: ast.AST) -> str:
        """A power, its exponent raised if it has one digit."""
        match exponent:
            case ast.Constant(int() | float() as n) if n and n in range(-9, 10):
                return base + str(int(n)).translate(SUPERSCRIPTS)
        return f"{base}^{self.write(exponent, ATOM, first=False)}"

    def choice(self, test: ast.AST, body: ast.AST, orelse: ast.AST) -> str:
        """One of two, by a condition."""
        chosen, other = self.write(body, SUM), self.write(orelse, SUM)
        return f"{chosen} where {self.condition(test)}, {other} elsewhere"

    def condition(self, node: ast.AST) -> str:
        """What holds, or does not. Raises: ValueError for what is no mathematics at all."""
        match node:
            case ast.Compare(left, signs, others) if SIGNS.keys() >= set(map(type, signs)):
                pairs = zip(signs, others, strict=True)
                rest = (f" {SIGNS[type(s)]} {self.write(x, SUM)}" for s, x in pairs)
                return self.write(left, SUM) + "".join(rest)
            case ast.BoolOp(sign, parts):
                return f" {SIGNS[type(sign)]} ".join(map(self.condition, parts))
            case ast.BinOp(left, ast.BitAnd() | ast.BitOr() as sign, right):
                return f"{self.condition(left)} {SIGNS[type(sign)]} {self.condition(right)}"
            case ast.UnaryOp(ast.Not() | ast.Invert(), inner):
                return f"not {self.write(inner, ATOM)}"
            case ast.Name() | ast.Call() | ast.Constant() | ast.Subscript() | ast.Attribute():
                return self.write(node, ATOM)
        raise ValueError(f"{ast.unparse(node)} is no mathematics")

    def called(self, node: ast.Call) -> tuple[str, list[ast.expr]]:
        """The name of a function, and its arguments by position; of a method, what it belongs to
        is the first."""
        match node.func:
            case ast.Name(name):
                return name, node.args
            case ast.Attribute(value, name) if self.is_module(value):
                return name, node.args
            case ast.Attribute(value, name):
                return name, [value, *node.args]
        raise ValueError(f"{ast.unparse(node)} is no mathematics")

    def is_module(self, node: ast.AST) -> bool:
        """Whether a dotted name begins with none of the variables."""
        while isinstance(node, ast.Attribute):
            node = node.value
        return isinstance(node, ast.Name) and node.id not in self.names

    def call(self, name: str, args: list[ast.expr]) -> tuple[str, int]:
        """A function of its arguments, with the sign that it has."""
        match args:
            case [x, *_] if name in SHAPING:
                return self.text(x)
            case [x, *_] if name in WRITTEN:
                return WRITTEN[name].format(self.write(x)), ATOM
            case [x, *_] if name in RAISED:
                return self.write(x, ATOM, first=False) + RAISED[name], POWER
            case [x, y] if name in OPERATORS:
                return self.text(ast.BinOp(x, OPERATORS[name](), y))
            case [test, x, y] if name == "where":
                return self.choice(test, x, y), CHOICE
        return f"{name}({', '.join(map(self.write, args))})", ATOM

    def attribute(self, node: ast.Attribute) -> str:
        """A constant of a module, or an attribute of a variable."""
        if self.is_module(node):
            return SYMBOLS.get(node.attr, node.attr)
        return f"{self.write(node.value, ATOM)}.{node.attr}"

    def part(self, value: ast.AST, index: ast.AST) -> tuple[str, int]:
        """Some elements; an index that only adds axes is left out."""
        text = ast.unparse(index).strip("()").replace("...", "…")
        if set(text) <= set("…, :None"):
            return self.text(value)
        return f"{self.write(value, ATOM)}[{text}]", ATOM


def factors(node: ast.AST) -> tuple[list[ast.AST], list[ast.AST]]:
    """What is multiplied in a product, and what it is divided by."""
    match node:
        case ast.BinOp(left, ast.Mult() | ast.Div() as sign, right):
            (above, below), (more, less) = factors(left), factors(right)
            if isinstance(sign, ast.Div):
                more, less = less, more
            return above + more, below + less
    return [node], []


def powers(nodes: list[ast.AST]) -> list[ast.AST]:
    """Factors without ones, and equal ones in a row as a power."""
    found: list[ast.AST] = []
    for _, group in groupby(nodes, ast.dump):
        match list(group):
            case [ast.Constant(1), *_]:
                pass
            case [ast.Name() | ast.Call() as base, _, *_] as same:
                found.append(ast.BinOp(base, ast.Pow(), ast.Constant(len(same))))
            case same:
                found += same
    return found
