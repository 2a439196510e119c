"""Two computations on one scale: the gradients of their parameters, path by path.

Parameters are matched by name. The paths of each are grouped (by the scopes they enter,
unless told otherwise), and the groups of the second computation are held against those of
the first: what travels the paths that both have, and what travels paths that only the
second has, such as skips. Norms of parts are never added up: parts are vectors and may
oppose each other, which signed shares and the coherence |g| / sum of |parts| say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from ..drawing.bars import Bar, bars, stack
from ..drawing.picture import BLUE, ORANGE, Direction, Picture, Scale
from ..drawing.table import Table, percent
from ..recorded.measure import norm
from ..recorded.names import Names
from ..recorded.nodes import computation_of
from ..recorded.states import State
from ..recorded.trace import cotangent, parameters_of, total_share
from ..tensor import Tensor
from ..text import number, oneline
from ..updated import is_meant_by
from ..views.boxes import diagram
from ..views.looks import picture
from .bundles import OTHER, REST, By
from .classes import PathClasses, classify
from .formulas import Formula, Quotient
from .result import Derived, Drawing, Item, Numbers, plain

Pairs = dict[str, tuple[Tensor, Tensor]]  # parameters that stand for each other, by name


@dataclass(frozen=True)
class Part(Numbers):
    """What travels a group of paths: its norm, and its signed share of the whole gradient
    (None where that vanishes)."""

    numbers = ("norm", "share")

    norm: float
    share: float | None

    def __str__(self) -> str:
        return f"{number(self.norm)} {percent(self.share):>7}"


@dataclass(frozen=True)
class Side(Numbers):
    """A parameter in one of the two computations.

    `classes` are its paths there; `common` is what travels on those that the other
    computation has too, `own` what travels on those it lacks (None where there are none);
    `coherence` is |gradient| / sum of |contributions|.
    """

    numbers = ("norm", "state", "coherence", "common", "own")

    classes: PathClasses = field(repr=False)
    common: Part | None
    own: Part | None

    @property
    def norm(self) -> float:
        """The norm of the gradient."""
        return self.classes.norm

    @property
    def state(self) -> State:
        """What became of the gradient."""
        return self.classes.state

    @property
    def coherence(self) -> float | None:
        """|gradient| / sum of |contributions|; None if every contribution is 0."""
        return self.classes.coherence

    def to_json(self) -> dict[str, Any]:
        """The numbers, as plain data for JSON."""
        return {**super().to_json(), "classes": self.classes.to_json()["classes"]}


@dataclass(frozen=True, repr=False)
class Row(Item):
    """One parameter in both computations, and a remark on it ("" for none)."""

    numbers = ("name", "first", "second", "note")
    header = ("parameter", "|first|", "|second|", "")

    name: str
    first: Side
    second: Side
    note: str

    def cells(self) -> tuple[str, ...]:
        """What all rows have in the table."""
        return self.name, number(self.first.norm), number(self.second.norm), self.note


@dataclass(frozen=True, repr=False)
class Comparison(Derived, Drawing):
    """The gradients of two computations with respect to the parameters they share; `formula` and
    `latex` write them out, for each parameter a line an output."""

    suffixes: ClassVar[tuple[str, ...]] = (".svg", ".png", ".dot", ".html")

    first: str
    second: str
    rows: tuple[Row, ...]
    outputs: tuple[Tensor, Tensor] = field(compare=False)
    names: tuple[Names, Names] = field(compare=False)
    cotangents: tuple[Any, Any] = field(compare=False)
    note: str = ""  # a sentence to put above the table, if any

    @property
    def subject(self) -> str:
        """What its page is called."""
        return f"{self.first} and {self.second}"

    @property
    def formulas(self) -> Sequence[Formula]:
        """The chain rule written out: for each parameter a line an output."""
        return [formula for row in self.rows for formula in self.formulas_of(row)]

    @property
    def formulas_shown(self) -> Sequence[Formula]:
        """Those of the first parameter."""
        return self.formulas_of(self.rows[0]) if self.rows else ()

    def formulas_of(self, row: Row) -> Sequence[Formula]:
        """A line an output for one parameter."""
        return [
            replace(formula, left=Quotient(title, row.name))
            for title, side in ((self.first, row.first), (self.second, row.second))
            for formula in side.classes.formulas
        ]

    def table(self) -> Table:
        """A row a parameter: norms, parts by path with signed shares, coherence."""
        f, g, rows = self.first, self.second, self.rows
        lacking = {
            f"only in {f}": [str(row.first.own or "-") for row in rows],
            f"only in {g}": [str(row.second.own or "-") for row in rows],
        }
        coherences = [row.second.coherence for row in rows]
        columns = [
            ["parameter", *(row.name for row in rows)],
            [f"|∂{f}|", *(number(row.first.norm) for row in rows)],
            [f"|∂{g}|", *(number(row.second.norm) for row in rows)],
            *([header, *own] for header, own in lacking.items() if {*own} - {"-"}),
            [f"{f} has it too", *(str(row.second.common or "-") for row in rows)],
            ["coherence", *("-" if x is None else f"{x:.2f}" for x in coherences)],
            ["", *(row.note for row in rows)],
        ]
        header, *lines = zip(*columns, strict=True)
        return Table(header, lines, self.note)

    def to_json(self) -> dict[str, Any]:
        """The numbers, as plain data for JSON."""
        note = {"note": self.note} if self.note else {}
        rows = plain(self.rows)
        return {"first": self.first, "second": self.second, "parameters": rows, **note}

    def pictures(self, fold: bool | None = None, direction: Direction = "LR") -> Sequence[Picture]:
        """Both computations as data, on one scale."""
        drawn = [
            diagram(computation_of(y, names, start), fold)
            for y, names, start in zip(self.outputs, self.names, self.cotangents, strict=True)
        ]
        scale = Scale.of(wire.magnitude for d in drawn for wire in d.wires)
        return [
            replace(picture(d, direction, scale), heading=name)
            for d, name in zip(drawn, (self.first, self.second), strict=True)
        ]

    def svg(self, fold: bool | None = None, direction: Direction = "LR") -> str:
        """Both computations, and a stacked bar of signed shares a parameter."""
        rows = []
        for row in self.rows:
            common, own = row.second.common, row.second.own
            parts = ((part.share, c) for part, c in ((common, BLUE), (own, ORANGE)) if part)
            shares = tuple((share, c) for share, c in parts if share is not None)
            rows.append(Bar(row.name, shares, f"{common or '-'} / {own or '-'}  {row.note}"))
        title = f"what the gradient of {self.second} is made of"
        legend = [
            (BLUE, f"paths that {self.first} has too"),
            (ORANGE, f"paths only in {self.second}"),
        ]
        caption = (
            f"{self.note} Beside each bar: norm and signed share of both parts. Shares sum to "
            "100 %, and norms do not add up."
        )
        return stack(super().svg(fold, direction), bars(rows, title, legend, caption.lstrip()))


def compare(
    first: Tensor,
    second: Tensor,
    wrt: Sequence[str | Tensor] | str | Tensor | None = None,
    gradient: Any = None,
    *,
    by: By = "scope",
    keep: int = 64,
    names: Any = None,
) -> Comparison:
    """Hold the gradients of two outputs against each other, parameter by parameter.

    What stands for the same parameter is the same tensor, else one of equal name; `names` as in
    `graph`. `wrt` picks some (by name, or Tensors), by default all that both have. `gradient` is
    the cotangent of both outputs, where they are not scalars. `by` and `keep` say how paths are
    grouped: see `path_classes`.

    >>> from tinygrad_lite import Tensor, compare, scope
    >>> w = Tensor(2.0, requires_grad=True, name="w")
    >>> with scope("square"):
    ...     F = w * w
    >>> print(compare(F, F - 3.0 * w))
    parameter  |∂F|  |∂G|     only in G  F has it too  coherence
    w          4.00  1.00  3.00  −300 %  4.00  +400 %       0.14  paths oppose
    ∂F/∂w = ∂square/∂w
    ∂G/∂w = ∂square/∂w − ∂multiply/∂w

    Raises: ValueError if the two share no parameter, or not the one asked for; else as `backward`.
    """
    called = Names([first], names), Names([second], names)
    return compare_named((first, second), called, wrt, gradient, by, keep)


@np.errstate(all="ignore")  # backward has warned; here NaN is a result
def compare_named(
    outputs: tuple[Tensor, Tensor],
    called: Sequence[Names],
    wrt: Any = None,
    gradient: Any = None,
    by: By = "scope",
    keep: int = 64,
) -> Comparison:
    """`compare`, given what the values of each computation are called."""
    first, second = outputs
    starts = cotangent(first, gradient), cotangent(second, gradient)
    pairs = match(parameters_of(first, called[0]), parameters_of(second, called[1]))
    pairs = choose([wrt] if isinstance(wrt, (str, Tensor)) else wrt, pairs)
    ask_first, ask_second = (
        partial(classify, output, wanted, by, start, keep, names=known)
        for output, wanted, start, known in zip(
            outputs, zip(*pairs.values(), strict=True), starts, called, strict=True
        )
    )
    # Where classes are too many and are put together, those that both have are spared.
    mine, seen = ask_first(set())
    theirs, seen_there = ask_second(seen if REST not in seen else set())
    if REST in seen and REST not in seen_there:
        mine, _ = ask_first(seen_there)
    unmatched = ""
    if REST in seen and REST in seen_there:
        unmatched = f"more than keep={keep} classes in both: some cannot be matched"
    rows = []
    titles = tuple(
        oneline(known.name(y) or default)
        for known, y, default in zip(called, outputs, "FG", strict=True)
    )
    if titles[0] == titles[1]:
        titles = (f"{titles[0]} (1)", f"{titles[1]} (2)")
    for name, one, other in zip(pairs, mine, theirs, strict=True):
        notes = [other.note]
        if one.note == other.note != "":
            notes = [f"both: {one.note}"]
        elif one.note:
            notes = [f"{titles[0]}: {one.note}", f"{titles[1]}: {other.note}" if other.note else ""]
        notes.append(unmatched if OTHER in one and OTHER in other else "")
        note = "; ".join(filter(None, notes))
        rows.append(Row(oneline(name), side(one, other), side(other, one), note))
    return Comparison(titles[0], titles[1], tuple(rows), outputs, (called[0], called[1]), starts)


def side(classes: PathClasses, others: PathClasses) -> Side:
    """A parameter's classes, with what the other computation has too and what it lacks."""

    def together(keys: list[Any]) -> Part | None:
        if not keys:
            return None
        part = np.add.reduce([classes[key].contribution for key in keys])
        return Part(norm(part), total_share([classes[key].share for key in keys]))

    common = [key for key in classes if key in others and key != OTHER]
    own = [key for key in classes if key not in others or key == OTHER]
    return Side(classes, together(common), together(own))


def choose(wrt: Iterable[str | Tensor] | None, pairs: Pairs) -> Pairs:
    """The pairs of parameters to compare: all, or those that `wrt` means, in its order.

    Raises: ValueError if there are none, or one of `wrt` is not in both.
    """
    if wrt is None and not pairs:
        raise ValueError(
            "the two computations share no parameter, by identity or by name, so nothing can be "
            'matched; name them alike in both, as in Tensor(data, requires_grad=True, name="W1")'
        )
    if not (wrt is None or hasattr(wrt, "__iter__")):
        raise TypeError(f"wrt is a parameter, its name, or a list of them, but got {wrt!r}")
    chosen = {}
    for x in pairs if wrt is None else wrt:
        known = x.name if isinstance(x, Tensor) else x
        name = next((n for n, pair in pairs.items() if any(same(x, y) for y in pair)), known)
        if name not in pairs:
            asked = repr(oneline(str(name))) if name else "a tensor without a name"
            raise ValueError(
                f"{asked} is not a parameter of both; those of both are "
                f"{', '.join(map(oneline, pairs)) or 'none'}"
            )
        chosen[name] = pairs[name]
    return chosen


def match(first: dict[str, Tensor], second: dict[str, Tensor]) -> Pairs:
    """The parameters of the first computation that the second has too, by name: the same tensor,
    else one of equal name, else one that is found in the same way from another variable, as
    ``b.layers[0].W`` is to ``a.layers[0].W``; where there is none, in order if all shapes agree."""
    left = dict(second)
    pairs: Pairs = {}
    ways = (
        lambda name, x: next((n for n in left if same(left[n], x)), None),
        lambda name, x: name if name in left else None,
        lambda name, x: next((n for n in left if way_of(n) == way_of(name) != n), None),
    )
    for way in ways:
        for name, x in first.items():
            found = None if name in pairs else way(name, x)
            if found is not None:
                pairs[name] = x, left.pop(found)
    if not pairs and [x.shape for x in first.values()] == [x.shape for x in left.values()]:
        pairs = dict(zip(first, zip(first.values(), left.values(), strict=True), strict=True))
    return {name: pairs[name] for name in first if name in pairs}


def same(x: Any, y: Tensor) -> bool:
    """Whether two tensors are one, or one a replay put in the place of the other."""
    return isinstance(x, Tensor) and (is_meant_by(x, y) or is_meant_by(y, x))


def way_of(name: str) -> str:
    """The way to a value without the variable that it starts from."""
    return re.sub(r"^\w+(?=[.\[])", "", name)
