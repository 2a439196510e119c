"""The chain rule, written out: a derivative as products and sums of factors.

Some values on the way from an output to `wrt` are stations: those outside every scope, and those
at which a path enters or leaves one. A factor is the derivative of a station with respect to one
below it, over all ways that pass no other; so what happens inside a scope is one factor. Where all
paths pass a station the derivative is a product, elsewhere a sum over the stations below. A
network of 2**50 paths through 50 joins is a product of 50 brackets, and no path is walked.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from ..ancestors import between
from ..backward import contributions, leaf_gradients
from ..drawing.table import Table, count
from ..ops.elementwise import subtract
from ..recorded.joins import is_stopped, is_sum, whole_op
from ..recorded.names import Names
from ..recorded.trace import operands
from ..text import CLOSE, DIGITS, oneline
from ..value import Value

MOST = 8  # factors of a product that are written, and terms in a table
ROOM = 16  # terms that are written in all brackets together


@dataclass(frozen=True)
class Quotient:
    """The derivative of what is called `above` with respect to what is called `below`."""

    above: str
    below: str


@dataclass(frozen=True)
class Term:
    """A product, negative or not; one without factors is the identity."""

    factors: tuple[Factor, ...]
    negative: bool = False


@dataclass(frozen=True)
class Sum:
    """A sum of products, and how many more there are than those."""

    terms: tuple[Term, ...]
    more: int = 0


@dataclass(frozen=True)
class Omitted:
    """How many factors are not written."""

    more: int


Factor: TypeAlias = Quotient | float | Sum | Omitted


@dataclass(frozen=True)
class Formula:
    """A derivative and what it is equal to; for scalars also the number that comes out. `rows` are
    its first terms, with norm and share, where there are several, and `more` counts the others."""

    left: Quotient
    right: Term
    value: float | None
    rows: tuple[tuple[Term, str, str], ...] = ()
    more: int = 0

    def write(self, style: Style) -> str:
        """The formula in one of the two styles."""
        left, value = style.factor(self.left), self.value
        if value is None:
            return f"{left} = {style.sum(Sum((self.right,)))}"
        close = (n for n in DIGITS if math.isclose(rounded(self.right, n), value, rel_tol=CLOSE))
        right = replace(style, digits=next(close, DIGITS[0])).sum(Sum((self.right,)))
        whole = style.number(value, DIGITS[0])
        match self.right:
            case Term((float(),)):
                return f"{left} = {whole}"
        return f"{left} = {right} = {whole}"

    @property
    def table(self) -> Table:
        """A row a term."""
        rows = [(TEXT.sum(Sum((term,))), norm, share) for term, norm, share in self.rows]
        below = TEXT.sum(Sum((), self.more)) if self.more else ""
        return Table(("term", "|part|", "share"), rows, below=below)

    def __str__(self) -> str:
        return "\n".join(filter(None, (self.write(TEXT), str(self.table))))

    def html(self) -> str:
        """The same for a notebook, which typesets what stands between dollars."""
        return f"<div>$${escape(self.write(LATEX))}$$</div>\n{self.table.html()}"


@dataclass(frozen=True)
class Style:
    """How formulas are written: what stands around and between their parts."""

    name: Callable[[str], str]
    number: Callable[[float, int], str]
    quotient: str
    times: str
    minus: str
    brackets: str
    left_out: str
    digits: int = DIGITS[0]

    def sum(self, terms: Sum) -> str:
        """Terms with their signs between them."""
        written = ""
        for term in terms.terms:
            sign = self.minus if term.negative else "+"
            lead = f" {sign} " if written else self.minus * term.negative
            written += lead + self.product(term)
        more = self.left_out.format(number_of(terms.more, "more term")) if terms.more else ""
        return " + ".join(filter(None, (written, more)))

    def product(self, term: Term) -> str:
        """A term without its sign."""
        match term:
            case Term((Sum() as terms,), False):
                return self.sum(terms)
        return self.times.join(map(self.factor, term.factors)) or "I"

    def factor(self, factor: Factor) -> str:
        """One factor of a product."""
        match factor:
            case Quotient(above, below):
                return self.quotient.format(self.name(above), self.name(below))
            case Sum():
                return self.brackets.format(self.sum(factor))
            case Omitted(more):
                return self.left_out.format(number_of(more, "more factor"))
        written = self.number(factor, self.digits)
        return self.brackets.format(written) if factor < 0 else written


def held_together(name: str) -> str:
    """A name as it stands behind a ∂: in brackets if it is no single word."""
    return f"({name})" if re.search(r"[\s/]", name) else name


def rounded(factor: Factor | Term, digits: int) -> float:
    """What numbers come to that are written with so many digits; NaN where some are left out."""
    match factor:
        case float():
            return float(f"{factor:.{digits}g}")
        case Term(factors, negative):
            return math.prod((rounded(x, digits) for x in factors), start=-1 if negative else 1)
        case Sum(terms, 0):
            return sum(rounded(x, digits) for x in terms)
    return math.nan


def plain_number(x: float, digits: int = DIGITS[0]) -> str:
    """A number in text."""
    return f"{x:z.{digits}g}".replace("-", "−").replace("nan", "NaN").replace("inf", "∞")


def latex_number(x: float, digits: int = DIGITS[0]) -> str:
    """A number in LaTeX: a power of ten where text has an exponent."""
    text = f"{x:z.{digits}g}".replace("nan", r"\mathrm{NaN}").replace("inf", r"\infty")
    return re.sub(r"e([-+]\d+)", lambda e: rf" \cdot 10^{{{int(e[1])}}}", text)


def latex_name(name: str) -> str:
    """A name in LaTeX: upright if it is longer than a letter, digits at its end below the line."""
    match = re.fullmatch(r"(\S*[^\W\d_])_?([0-9]+)", name)
    base, digits = match.groups() if match else (name, "")
    if not (len(base) == 1 and base.isalpha()):
        base = rf"\mathrm{{{held_together(base).translate(ESCAPED)}}}"
    below = digits if len(digits) < 2 else f"{{{digits}}}"
    return f"{base}_{below}" if digits else base


ESCAPED = str.maketrans(
    {c: f"\\{c}" for c in "#$%&_{} "} | {"\\": r"\backslash{}", "^": r"\hat{}", "~": r"\sim{}"}
)
TEXT = Style(held_together, plain_number, "∂{}/∂{}", " · ", "−", "({})", "… ({})")
LATEX = Style(
    latex_name, latex_number, r"\frac{{\partial {}}}{{\partial {}}}", r" \cdot ", "-",
    r"\left({}\right)", r"\cdots \text{{({})}}",
)  # fmt: skip


class Chain:
    """The stations between an output and `wrt`, and the factors between them."""

    def __init__(self, output: Value, wrt: Value, names: Names) -> None:
        self.output, self.wrt, self.names = output, wrt, names

    @np.errstate(all="ignore")
    def formula(self) -> Formula:
        """The derivative of the output with respect to `wrt`."""
        right = self.derivative(self.output, self.wrt, iter(range(ROOM)))
        value = None
        if self.numeric:
            one = np.ones((), self.output._array.dtype)[()]
            value = float(leaf_gradients(self.output, one, self.within, {self.wrt})[self.wrt])
            right = right if right.factors else Term((1.0,))
        left = Quotient(self.names.title(self.output), self.names.title(self.wrt))
        return Formula(left, right, value)

    @cached_property
    def within(self) -> set[Value]:
        """The values between, with both ends."""
        return between(self.output, {self.wrt})

    @cached_property
    def order(self) -> list[Value]:
        """The values between, oldest first."""
        return sorted(self.within, key=lambda value: value.index)

    @cached_property
    def numeric(self) -> bool:
        """Whether all is scalar and outside every scope, so that each factor is a number."""
        return all(value._array.ndim == 0 and not scope_of(value) for value in self.within)

    @cached_property
    def users(self) -> dict[Value, list[Value]]:
        """What each value is used by, once for each use."""
        found: dict[Value, list[Value]] = defaultdict(list)
        for value in self.order:
            for _, x in operands(value, self.within):
                found[x].append(value)
        return found

    @cached_property
    def stations(self) -> set[Value]:
        """The values at which factors end."""
        ends = {self.output, self.wrt}
        return ends | {value for value in self.within - ends if self.is_station(value)}

    def is_station(self, value: Value) -> bool:
        """Whether factors end at a value between the ends: where a path enters or leaves a scope;
        and outside all, but for what is nameless and only added to, within a longer sum or where
        the rest is constant and the sum has a name, as that of W @ x and b."""
        scope, users = scope_of(value), self.users[value]
        if scope or any(user.scope for user in users):
            return any(user.scope != scope for user in users)
        target, *others = users
        if self.numeric or value in self.names.found or others or not is_sum(target):
            return True
        uses = operands(target, self.within)
        if not all(identity(target, slot) for slot, x in uses if x is value):
            return True
        constant_rest = len(uses) == 1 and target in self.names.found
        return not (constant_rest or is_sum(value))

    @cached_property
    def below(self) -> dict[Value, dict[Value, int]]:
        """The stations next below each value, in the order of the slots; with each 1 or -1 if the
        derivative is that many times the identity, else 0."""
        found: dict[Value, dict[Value, int]] = {self.wrt: {}}
        for value in self.order[1:]:
            here = found[value] = {}
            for slot, x in operands(value, self.within):
                sign = identity(value, slot)
                for end, onward in ({x: 1} if x in self.stations else found[x]).items():
                    here[end] = 0 if end in here else sign * onward
        return found

    def region(self, top: Value, end: Value) -> list[Value]:
        """The stations on the ways between two, newest first."""
        seen, stack = {top}, [top]
        while stack:
            below = self.below[stack.pop()]
            new = {value for value in below if value.index >= end.index} - seen
            seen |= new
            stack += new
        kept = {end}
        for value in sorted(seen, key=lambda value: value.index):
            if not kept.isdisjoint(self.below[value]):
                kept.add(value)
        return sorted(kept, key=lambda value: -value.index)

    def number_of_terms(self, top: Value, end: Value) -> int:
        """How many terms lie between two stations, all brackets multiplied out."""
        counts = {end: 1}
        for value in reversed(self.region(top, end)[:-1]):
            counts[value] = sum(counts.get(x, 0) for x in self.below[value])
        return counts[top]

    def derivative(self, top: Value, end: Value, room: Iterator[int]) -> Term:
        """The derivative of a station with respect to one below: a product over the stations that
        all ways pass."""
        pieces = self.pieces(top, end)
        return self.product([(x, y, None if one_step else room) for x, y, one_step in pieces])

    def pieces(self, top: Value, end: Value) -> list[tuple[Value, Value, bool]]:
        """What lies between the stations that all ways pass, from each to the next, and whether
        that is one step."""
        region = self.region(top, end)
        place = {value: i for i, value in enumerate(region)}
        passed, farthest = [], 0
        for i, value in enumerate(region):
            if i == farthest:
                passed.append(value)
            farthest = max([farthest, *(place[x] for x in self.below[value] if x in place)])
        return [(x, y, place[y] == place[x] + 1) for x, y in pairwise(passed)]

    @cached_property
    def shared(self) -> set[tuple[Value, Value]]:
        """The steps that all ways from the output to `wrt` take."""
        pieces = self.pieces(self.output, self.wrt)
        return {(top, end) for top, end, one_step in pieces if one_step}

    def product(self, pieces: Sequence[tuple[Value, Value, Iterator[int] | None]]) -> Term:
        """The product of derivatives between stations, each by the one step between them, or, where
        there is room given, a sum in brackets. Of many, those are written at which ways part, and
        the first and the last."""
        signs = [self.below[top][end] if room is None else 0 for top, end, room in pieces]
        if not self.numeric:
            pieces = [piece for piece, sign in zip(pieces, signs, strict=True) if not sign]
        last = len(pieces) - 1

        def rank(i: int) -> tuple[int, int]:
            top, end, room = pieces[i]
            told = (room is None) + ((top, end) in self.shared)  # brackets first
            return told * (0 < i < last), min(i, last - i)

        kept = sorted(sorted(range(len(pieces)), key=rank)[:MOST])
        factors: list[Factor] = []
        before = -1
        for i in kept:
            more = i - before - 1
            if more == 1:  # saying so would take more room than itself
                factors.append(self.factor(*pieces[i - 1]))
            elif more:
                factors.append(Omitted(more))
            factors.append(self.factor(*pieces[i]))
            before = i
        return Term(tuple(factors), not self.numeric and signs.count(-1) % 2 == 1)

    def factor(self, top: Value, end: Value, room: Iterator[int] | None) -> Factor:
        """The derivative of a station by one step, or in brackets."""
        if room is not None:
            return self.bracket(top, end, room)
        if not self.numeric:
            ways = [slot for slot, x in operands(top, self.within) if x is end]
            if ways and all(is_stopped(top, slot) for slot in ways):
                return 0.0
            return Quotient(self.labels[top, end], self.names.title(end))
        one = np.ones((), top._array.dtype)[()]
        return float(sum(part for _, _, part in contributions(top, one, within={end})))

    def bracket(self, top: Value, end: Value, room: Iterator[int]) -> Sum:
        """A sum over the stations next below, as long as there is room."""
        region = set(self.region(top, end))
        terms: list[Term] = []
        more = self.number_of_terms(top, end)
        for x in self.below[top]:
            if x not in region:
                continue
            if next(room, None) is None:
                break
            first, rest = self.product([(top, x, None)]), self.derivative(x, end, room)
            term = Term(first.factors + rest.factors, first.negative != rest.negative)
            more -= self.number_of_terms(x, end)
            match term.factors:
                case (Sum() as inner,):  # it needs no brackets within a sum
                    terms += [replace(x, negative=x.negative != term.negative) for x in inner.terms]
                    more += inner.more
                case _:
                    terms.append(term)
        return Sum(tuple(terms), more)

    @cached_property
    def labels(self) -> dict[tuple[Value, Value], str]:
        """What each step from a station to the next below bears the name of: one of the whole's
        parts not that of the whole, and where two would read the same, the value by its
        expression."""
        labels: dict[tuple[Value, Value], str] = {}
        for x in self.stations:
            labels |= dict.fromkeys(((x, y) for y in self.below[x]), self.label(x))
        output, whole = self.output, (self.output, self.wrt)
        if output.op and labels.get(whole) == self.names.title(output):
            labels[whole] = output.op.name
        seen = Counter((label, y) for (_, y), label in labels.items())
        for (x, y), label in labels.items():
            if seen[label, y] > 1 and x is not output:
                labels[x, y] = self.names.title(x)
        return labels

    def label(self, value: Value) -> str:
        """What a factor that leads to a value bears the name of: its scope if it is the result of
        one, else its own or that of its op."""
        scope = scope_of(value)
        if scope and all(user.scope[: len(scope)] != scope for user in self.users[value]):
            return oneline("/".join(scope))
        if value in self.names.found or value.op is None:
            return self.names.title(value)
        return value.op.name

    def stops(self, way: Iterable[Value]) -> tuple[Value, ...]:
        """The stations on a way from the output, given the values that it passes after that."""
        return (self.output, *(value for value in way if value in self.stations))

    def term(self, stops: Sequence[Value]) -> Term:
        """The term of the ways that pass just these stations."""
        return self.product([(top, end, None) for top, end in pairwise(stops)])


def number_of(n: int, what: str) -> str:
    """So many of them, in words."""
    return f"{count(n)} {what}{'s' * (n > 1)}"


def scope_of(value: Value) -> tuple[str, ...]:
    """The scope of a value; an input or parameter has none."""
    return value.scope if value.op else ()


def identity(value: Value, slot: int) -> int:
    """1 or -1 where the derivative with respect to an operand is that many times the identity, as
    in a sum or difference, else 0."""
    x = value.inputs[slot]
    if not is_sum(value) or value._array.shape != x._array.shape or is_stopped(value, slot):
        return 0
    return -1 if whole_op(value) is subtract and slot == 1 else 1
