"""Computations on one scale: the gradients of their parameters, path by path.

Parameters are matched by name. The paths of each are grouped (unless told otherwise by the
scopes they enter, see marks.py), and the groups of every other computation are held against those
of the first: what travels the paths that both have, and what travels paths that only the
other has, such as skips. Norms of parts are never added up: parts are vectors and may
oppose each other, which signed shares and the coherence |g| / sum of |parts| say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np

from ..arrays import describe
from ..drawing.bars import Bar, bars, stack
from ..drawing.picture import GREY, Direction, Picture, Scale
from ..drawing.table import Table, percent
from ..recorded.measure import norm
from ..recorded.names import Names
from ..recorded.nodes import Computation, computation_of
from ..recorded.states import State
from ..recorded.trace import check_wrt, cotangent, is_one, parameters_of, total_share
from ..tensor import Tensor
from ..text import number, oneline
from ..updated import is_meant_by
from ..views.boxes import Diagram, diagram
from ..views.brief import brief
from ..views.looks import OVER, THROUGH, picture
from ..views.one_layout import on_one_layout
from .bundles import OTHER, REST, By, Marked
from .classes import PathClasses, classify
from .comparison_page import comparison_page
from .formulas import Formula, Quotient
from .marks import differ, is_vague, marked, named, share_scopes
from .result import Derived, Drawing, Item, Numbers, plain

Pairs = dict[str, tuple[Tensor, ...]]  # parameters that stand for each other, by name


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
    """A parameter in one of the computations.

    `classes` are its paths there; `common` is what travels on those that the first computation
    has too (of the first: the second), `own` what travels on those it lacks (None where there
    are none);
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
    """One parameter in all computations, `sides` in their order, and a remark on it ("" for
    none)."""

    numbers = ("name", "sides", "note")

    name: str
    sides: tuple[Side, ...]
    note: str

    @property
    def first(self) -> Side:
        """The parameter in the first computation."""
        return self.sides[0]

    @property
    def second(self) -> Side:
        """The parameter in the second computation."""
        return self.sides[1]

    @property
    def header(self) -> tuple[str, ...]:  # type: ignore[override]
        """What its cells are."""
        places = ("first", "second", *(str(i) for i in range(3, len(self.sides) + 1)))
        return "parameter", *(f"|{place}|" for place in places[: len(self.sides)]), ""

    def cells(self) -> tuple[str, ...]:
        """What all rows have in the table."""
        return self.name, *(number(side.norm) for side in self.sides), self.note

    def to_json(self) -> dict[str, Any]:
        """The numbers, as plain data for JSON; the first two sides by their names."""
        return {"name": self.name, "first": plain(self.first), "second": plain(self.second),
                **super().to_json()}  # fmt: skip


@dataclass(frozen=True, repr=False)
class Comparison(Derived, Drawing):
    """The gradients of two computations or more with respect to the parameters they share, and
    what each computation is called, in `titles`; `formula` and `latex` write them out, for each
    parameter a line an output."""

    suffixes: ClassVar[tuple[str, ...]] = (".svg", ".png", ".dot", ".html")

    titles: tuple[str, ...]
    rows: tuple[Row, ...]
    outputs: tuple[Tensor, ...] = field(compare=False)
    names: tuple[Names, ...] = field(compare=False)
    cotangents: tuple[Any, ...] = field(compare=False)
    note: str = ""  # a sentence to put above the table, if any

    @property
    def first(self) -> str:
        """What the first computation is called."""
        return self.titles[0]

    @property
    def second(self) -> str:
        """What the second computation is called."""
        return self.titles[1]

    @cached_property
    def graphs(self) -> list[Computation]:
        """What was computed, and which gradients went back."""
        asked = zip(self.outputs, self.names, self.cotangents, strict=True)
        return [computation_of(y, names, start) for y, names, start in asked]

    @property
    def subject(self) -> str:
        """What its page is called."""
        return and_list(self.titles)

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
            for title, side in zip(self.titles, row.sides, strict=True)
            for formula in side.classes.formulas
        ]

    def table(self) -> Table:
        """A row a parameter: norms, parts by path with signed shares, coherence."""
        f, rows = self.first, self.rows
        several = len(self.titles) > 2

        def column(header: str, cells: Iterable[Any]) -> list[str]:
            return [header, *(str(cell or "-") for cell in cells)]

        own, common, coherences = [], [], []
        for i, title in enumerate(self.titles):
            sides = [row.sides[i] for row in rows]
            if any(side.own for side in sides):
                own.append(column(f"only in {title}", (side.own for side in sides)))
            if i:
                which = f"{title}: " * several
                common.append(column(f"{which}{f} has it too", (side.common for side in sides)))
                cells = ("-" if x.coherence is None else f"{x.coherence:.2f}" for x in sides)
                coherences.append(column(f"{which}coherence", cells))
        columns = [
            column("parameter", (row.name for row in rows)),
            *(
                column(f"|∂{title}|", (number(row.sides[i].norm) for row in rows))
                for i, title in enumerate(self.titles)
            ),
            *(own + common + coherences),
            ["", *(row.note for row in rows)],
        ]
        header, *lines = zip(*columns, strict=True)
        return Table(header, lines, self.note)

    def to_json(self) -> dict[str, Any]:
        """The numbers, as plain data for JSON."""
        note = {"note": self.note} if self.note else {}
        titles = {"first": self.first, "second": self.second, "titles": list(self.titles)}
        return {**titles, "parameters": plain(self.rows), **note}

    def pictures(self, fold: bool | None = None, direction: Direction = "LR") -> Sequence[Picture]:
        """All computations as data, on one scale and one layout."""
        return self.drawings(self.diagrams(fold), direction)

    def diagrams(self, fold: bool | None = None) -> list[Diagram]:
        """The boxes and arrows of all computations."""
        return [diagram(graph, fold) for graph in self.graphs]

    def drawings(self, drawn: Sequence[Diagram], direction: Direction = "LR") -> Sequence[Picture]:
        """How these boxes and arrows are drawn."""
        scale = Scale.of(wire.magnitude for d in drawn for wire in d.wires)
        shown = [picture(d, direction, scale) for d in drawn]
        # The caption says the same of each: once, of all.
        caption = shown[0].caption.replace(f"gradient of {self.first} ", "gradient of each output ")
        titled = [
            replace(one, heading=title, caption=caption)
            for one, title in zip(shown, self.titles, strict=True)
        ]
        return on_one_layout(drawn, titled)

    def page(self, **_: Any) -> str:
        """All computations stepped together, and the table."""
        drawn = list(map(brief, self.diagrams()))
        return comparison_page(self, self.titles, drawn, self.drawings(drawn))

    def svg(self, fold: bool | None = None, direction: Direction = "LR") -> str:
        """All computations; below, for each but the first, signed shares as bars, and lengths as
        dots."""
        charts = [self.chart(i) for i in range(1, len(self.titles))]
        return stack(super().svg(fold, direction), *charts)

    def chart(self, i: int) -> str:
        """What the gradient of one of the computations is made of, beside its length."""
        skips = [any(edge.skip for edge in graph.edges) for graph in self.graphs]
        over = skips[i] and not skips[0]
        f, g = self.first, self.titles[i]
        rows = []
        for row in self.rows:
            one, other = row.first, row.sides[i]
            parts = ((other.common, THROUGH), (other.own, OVER if over else GREY))
            known = tuple((p.share, colour) for p, colour in parts if p and p.share is not None)
            shares = " and ".join(percent(share) for share, _ in known)
            lengths = f"{number(one.norm)} → {number(other.norm)}"
            remark = " · ".join(filter(None, (lengths, shares, row.note)))
            rows.append(Bar(row.name, known, remark, ((one.norm, "ring"), (other.norm, "dot"))))
        legend = [
            (THROUGH, f"paths that {f} has too"),
            (OVER if over else GREY, f"paths only in {g}" + ", over its skips" * over),
        ]
        return bars(
            rows, f"what the gradient of {g} is made of", legend, self.note,
            heads=("shares, which sum to 100 %", "length of the gradient (log scale)"),
            marks=(("ring", f), ("dot", g)),
        )  # fmt: skip


def compare(
    *outputs: Any,
    wrt: Sequence[str | Tensor] | str | Tensor | None = None,
    gradient: Any = None,
    by: By = "scope",
    keep: int = 64,
    names: Any = None,
) -> Comparison:
    """Hold the gradients of two outputs or more against each other, parameter by parameter.

    What stands for the same parameter is the same tensor, else one of equal name; `names` as in
    `graph`. `wrt` picks some (by name, or Tensors), by default all that both have. `gradient` is
    the cotangent of all outputs, where they are not scalars; both may follow the outputs without
    their names, `wrt` then as a name or a list. `by` and `keep` say how paths are grouped: see
    `path_classes`; where paths with different numbers of skips enter the same scopes, they are
    told apart by both. Every other output is held against the first.

    >>> from tinygrad_lite import Tensor, compare, scope
    >>> w = Tensor(2.0, requires_grad=True, name="w")
    >>> with scope("square"):
    ...     F = w * w
    >>> print(compare(F, F - 3.0 * w))
    parameter  |∂F|  |∂G|     only in G  F has it too  coherence
    w          4.00  1.00  3.00  −300 %  4.00  +400 %       0.14  paths oppose
    ∂F/∂w = ∂square/∂w
    ∂G/∂w = ∂square/∂w − ∂multiply/∂w

    Raises: TypeError for fewer than two outputs, or a leaf behind them; ValueError if
    they share no parameter, or not the one asked for; else as `backward`.
    """
    n = next((i for i, x in enumerate(outputs) if not isinstance(x, Tensor)), len(outputs))
    outputs, more = outputs[:n], outputs[n:]
    if n < 2:
        got = type(more[0]).__name__ if more else "nothing more"
        raise TypeError(f"compare takes two outputs or more, each a Tensor, but got {n} and {got}")
    leaf = next((x for x in outputs[2:] if x.op is None), None)
    if leaf is not None:
        raise TypeError(
            f"{describe(leaf)} is no computation to compare; to pick it, give it as wrt="
        )
    if len(more) > 2:
        raise TypeError("after the outputs compare takes wrt and gradient; give the rest by name")
    wrt = more[0] if more else wrt
    gradient = more[1] if len(more) > 1 else gradient
    return compare_named(outputs, [Names([y], names) for y in outputs], wrt, gradient, by, keep)


@np.errstate(all="ignore")  # backward has warned; here NaN is a result
def compare_named(
    outputs: tuple[Tensor, ...],
    called: Sequence[Names],
    wrt: Any = None,
    gradient: Any = None,
    by: By = "scope",
    keep: int = 64,
) -> Comparison:
    """`compare`, given what the values of each computation are called."""
    starts = tuple(cotangent(y, gradient) for y in outputs)
    found = [parameters_of(y, known) for y, known in zip(outputs, called, strict=True)]
    pairs = [(known, x) for known, some in zip(called, found, strict=True) for x in some.values()]
    groups = match(found, in_order=not any(known.name(x) for known, x in pairs))
    groups = choose([wrt] if wrt is not None and is_one(wrt) else wrt, groups, called)
    against = [1, *[0] * (len(outputs) - 1)]  # the first is held against the second

    def classes(*bys: By) -> tuple[list[tuple[PathClasses, ...]], bool]:
        asked = zip(outputs, zip(*groups.values(), strict=True), bys, starts, called, strict=True)
        asks = [
            partial(classify, y, wanted, by, start, names=known)
            for y, wanted, by, start, known in asked
        ]
        found, lost = classify_all(asks, keep)
        if lost and any(share_scopes(x) for side in found for x in side):
            # Paths in few classes by scopes are in so many more by skips.
            skips = max(len(by.uses) for by in bys if isinstance(by, Marked))
            return classify_all(asks, keep + skips)
        return found, lost

    bys: list[By] = [
        marked(y, outputs[i]) if by == "scope" else by
        for y, i in zip(outputs, against, strict=True)
    ]
    sides, lost = classes(*bys)
    if by == "scope" and not differ(sides) and any(by.uses for by in bys if isinstance(by, Marked)):
        sides, lost = classes(*[by] * len(outputs))
    unmatched = f"more than keep={keep} classes in both: some cannot be matched" * lost
    titles = tuple(
        oneline(known.name(y) or default)
        for known, y, default in zip(called, outputs, letters(len(outputs)), strict=True)
    )
    titles = tuple(
        f"{title} ({titles[: i + 1].count(title)})" if titles.count(title) > 1 else title
        for i, title in enumerate(titles)
    )
    rows = []
    for name, *all in zip(groups, *sides, strict=True):
        if by == "scope":
            all = list(named(all, [titles[i] for i in against]))
        one, *rest = all
        notes = [f"{title}: {x.note}" for title, x in zip(titles, all, strict=True) if x.note]
        if one.note and all_equal([x.note for x in all]):
            notes = [f"{'both' if len(all) == 2 else 'all'}: {one.note}"]
        elif not one.note and len(all) == 2:
            notes = [rest[0].note]
        put_together = OTHER in one and any(OTHER in x for x in rest)
        more = [
            f"{title} has more paths than {titles[0]} in one class: name scopes to tell them apart"
            for title, x in zip(titles[1:], rest, strict=True)
            if any(key in one and one[key].count < x[key].count for key in x if is_vague(key, by))
        ]
        note = "; ".join(filter(None, [*notes, *more, unmatched * put_together]))
        held = side(one, rest[0]), *(side(x, one) for x in rest)
        rows.append(Row(oneline(name), held, note))
    return Comparison(titles, tuple(rows), outputs, tuple(called), starts)


def classify_all(
    asks: Sequence[Callable[..., Any]], keep: int
) -> tuple[list[tuple[PathClasses, ...]], bool]:
    """The classes of each computation, and whether some cannot be matched. Where they are too many
    and are put together, those that both have are spared."""
    mine, seen = asks[0](keep, set())
    others = [ask(keep, seen if REST not in seen else set()) for ask in asks[1:]]
    if REST in seen and (known := [keys for _, keys in others if REST not in keys]):
        mine, _ = asks[0](keep, set().union(*known))
    lost = REST in seen and any(REST in keys for _, keys in others)
    return [mine, *(theirs for theirs, _ in others)], lost


def letters(n: int) -> list[str]:
    """What outputs without names are called: F, G, H, ..."""
    return [chr(ord("F") + i) if i < 20 else f"F{i}" for i in range(n)]


def all_equal(items: Sequence[Any]) -> bool:
    """Whether all of some are equal."""
    return all(x == items[0] for x in items)


def and_list(items: Sequence[str]) -> str:
    """Items as a sentence lists them."""
    return f"{', '.join(items[:-1])} and {items[-1]}"


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


def choose(wrt: Iterable[Any] | None, pairs: Pairs, called: Sequence[Names]) -> Pairs:
    """The pairs of parameters to compare: all, or those that `wrt` means, in its order.

    Raises: TypeError for what is no Tensor and no name; ValueError if there are none, or one of
    `wrt` is not in both.
    """
    n = len(next(iter(pairs.values()), (None, None)))
    all = "both" if n == 2 else "all"
    if wrt is None and not pairs:
        raise ValueError(
            "the computations share no parameter, by identity or by name, so nothing can be "
            'matched; name them alike in each, as in Tensor(data, requires_grad=True, name="W1")'
        )
    chosen = {}
    for x in pairs if wrt is None else wrt:
        check_wrt(x, {name: pair[0] for name, pair in pairs.items()})
        known = x.name if isinstance(x, Tensor) else x
        named = isinstance(x, str) and x not in pairs
        meant = [names.meant(x) for names in called] if named else [x]
        found = (n for n, pair in pairs.items() if any(same(x, y) for x in meant for y in pair))
        name = next(found, known)
        if name not in pairs:
            asked = repr(oneline(str(name))) if name else "a tensor without a name"
            raise ValueError(
                f"{asked} is not a parameter of {all}; those of {all} are "
                f"{', '.join(map(oneline, pairs)) or 'none'}"
            )
        chosen[name] = pairs[name]
    return chosen


def match(found: Sequence[dict[str, Tensor]], in_order: bool) -> Pairs:
    """The parameters of the first computation that all others have too, by name."""
    pairs = [match_two(found[0], other, in_order) for other in found[1:]]
    return {
        name: (x, *(pair[name] for pair in pairs))
        for name, x in found[0].items()
        if all(name in pair for pair in pairs)
    }


def match_two(
    first: dict[str, Tensor], second: dict[str, Tensor], in_order: bool
) -> dict[str, Tensor]:
    """What stands for the parameters of one computation in another, by their names in the first:
    the same tensor, else one of equal name, else one that is found in the same way from another
    variable, as ``b.layers[0].W`` is to ``a.layers[0].W``; where there is none, and if `in_order`
    is true, in their order if all shapes agree."""
    left = dict(second)
    pairs: dict[str, Tensor] = {}
    ways = (
        lambda name, x: next((n for n in left if same(left[n], x)), None),
        lambda name, x: name if name in left else None,
        lambda name, x: next((n for n in left if way_of(n) == way_of(name) != n), None),
    )
    for way in ways:
        for name, x in first.items():
            found = None if name in pairs else way(name, x)
            if found is not None:
                pairs[name] = left.pop(found)
    shapes, others = ([x.shape for x in some.values()] for some in (first, left))
    if in_order and not pairs and shapes == others:
        pairs = dict(zip(first, left.values(), strict=True))
    return pairs


def same(x: Any, y: Tensor) -> bool:
    """Whether two tensors are one, or one a replay put in the place of the other."""
    return isinstance(x, Tensor) and (is_meant_by(x, y) or is_meant_by(y, x))


def way_of(name: str) -> str:
    """The way to a value without the variable that it starts from."""
    return re.sub(r"^\w+(?=[.\[])", "", name)
