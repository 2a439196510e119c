"""Two computations on one scale: the gradients of their parameters, path by path.

Parameters are matched by name. The paths of each are grouped (by the scopes they enter,
unless told otherwise), and the groups of the second computation are held against those of
the first: what travels the paths that both have, and what travels paths that only the
second has, such as skips. Norms of parts are never added up: parts are vectors and may
oppose each other, which signed shares and the coherence |g| / sum of |parts| say.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from ..drawing.bars import Bar, bars, stacked
from ..drawing.picture import BLUE, ORANGE, Scale
from ..drawing.render import save_svg, svg
from ..drawing.table import percent, table
from ..drawing.text import number, oneline
from ..files import check_target, written
from ..recorded.trace import cotangent, reached
from ..tensor import Tensor
from ..value import described
from ..views.boxes import norm, wires
from .classes import OTHER, REST, By, PathClasses, classified
from .graphs import graph


@dataclass(frozen=True)
class Part:
    """What travels a group of paths: its norm, and its signed share of the whole gradient
    (None where that vanishes)."""

    norm: float
    share: float | None


@dataclass(frozen=True)
class Side:
    """A parameter in one of the two computations.

    `classes` are its paths there; `common` is what travels on those that the other
    computation has too, `own` what travels on those it lacks (None where there are none);
    `coherence` is |gradient| / sum of |contributions|.
    """

    classes: PathClasses
    common: Part | None
    own: Part | None

    @property
    def norm(self) -> float:
        """The norm of the gradient."""
        return norm(self.classes.gradient)

    @property
    def coherence(self) -> float | None:
        """|gradient| / sum of |contributions|; None if every contribution is 0."""
        return self.classes.coherence


@dataclass(frozen=True)
class Row:
    """One parameter in both computations, and a remark on it ("" for none)."""

    name: str
    first: Side
    second: Side
    note: str


@dataclass(frozen=True)
class Comparison:
    """The gradients of two computations with respect to the parameters they share."""

    first: str
    second: str
    rows: tuple[Row, ...]
    outputs: tuple[Tensor, Tensor] = field(repr=False, compare=False)
    cotangents: tuple[Any, Any] = field(repr=False, compare=False)

    def table(self) -> str:
        """One line a parameter: norms, parts by path with signed shares, coherence."""
        header, *rows = self.cells()
        return table(header, rows)

    def cells(self) -> list[list[str]]:
        """The table's header and lines."""
        f, g = self.first, self.second
        columns: list[tuple[str, Callable[[Row], str]]] = [
            ("parameter", lambda row: row.name),
            (f"|d{f}|", lambda row: number(row.first.norm)),
            (f"|d{g}|", lambda row: number(row.second.norm)),
        ]
        if any(row.first.own for row in self.rows):
            columns.append((f"only in {f}", lambda row: shown(row.first.own)))
        if any(row.second.own for row in self.rows):
            columns.append((f"only in {g}", lambda row: shown(row.second.own)))
        columns.append((f"as in {f}", lambda row: shown(row.second.common)))
        columns.append(("coherence", lambda row: fraction(row.second.coherence)))
        columns.append(("", lambda row: row.note))
        lines = [[cell(row) for _, cell in columns] for row in self.rows]
        return [[name for name, _ in columns], *lines]

    def __str__(self) -> str:
        return self.table()

    def to_json(self) -> dict[str, Any]:
        """The numbers, as plain data for JSON."""

        def plain(here: Side) -> dict[str, Any]:
            return {
                "norm": here.norm,
                "coherence": here.coherence,
                "common": here.common and {"norm": here.common.norm, "share": here.common.share},
                "own": here.own and {"norm": here.own.norm, "share": here.own.share},
                "classes": here.classes.to_json()["classes"],
            }

        return {
            "first": self.first,
            "second": self.second,
            "parameters": [
                {
                    "name": row.name,
                    "first": plain(row.first),
                    "second": plain(row.second),
                    "note": row.note,
                }
                for row in self.rows
            ],
        }

    def svg(self, fold: bool | None = None, direction: Literal["LR", "TB"] = "LR") -> str:
        """Both computations on one scale, and a stacked bar of signed shares a parameter."""
        graphs = [graph(y, start) for y, start in zip(self.outputs, self.cotangents, strict=True)]
        scale = Scale.of(wire.magnitude for g in graphs for wire in wires(g, fold))
        pictures = [
            replace(g.picture(direction=direction, fold=fold, scale=scale), heading=name)
            for g, name in zip(graphs, (self.first, self.second), strict=True)
        ]
        rows = []
        for row in self.rows:
            parts = ((row.second.common, BLUE), (row.second.own, ORANGE))
            remark = f"{shown(row.second.common)} / {shown(row.second.own)}"
            rows.append(
                Bar(
                    row.name,
                    tuple((part.share, c) for part, c in parts if part and part.share is not None),
                    f"{remark}  {row.note}",
                )
            )
        chart = bars(
            rows,
            f"what the gradient of {self.second} is made of",
            [(BLUE, f"paths as in {self.first}"), (ORANGE, f"paths only in {self.second}")],
            "Beside each bar: norm and signed share of both parts. Shares sum to 100 %, and "
            "norms do not add up.",
        )
        return stacked(svg(*pictures), chart)

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        fold: bool | None = None,
        direction: Literal["LR", "TB"] = "LR",
    ) -> None:
        """Write the comparison as .svg, .png or .html (pictures and table).

        Raises: ValueError for another suffix, FileNotFoundError for a folder that does not
        exist; else as `Graph.save`.
        """
        target = Path(path)
        if target.suffix.lower() != ".html":
            return save_svg(lambda: self.svg(fold, direction), target, (".svg", ".png", ".html"))
        check_target(target, (".html",))
        title = escape(f"{self.first} and {self.second}")
        body = f"{self._repr_html_()}\n{self.svg(fold, direction)}"
        with written(target) as file:
            file.write(PAGE.format(title=title, body=body).encode())

    def _repr_html_(self) -> str:
        header, *rows = self.cells()
        head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
        body = "".join(
            f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>\n" for row in rows
        )
        return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>"


PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
:root {{ color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }}
body {{ margin: 2rem; }} svg {{ max-width: 100%; height: auto; }}
td, th {{ padding: .2rem .8rem; text-align: right; font-variant-numeric: tabular-nums; }}
td:first-child, th:first-child, td:last-child {{ text-align: left; }}
</style>
{body}
</html>
"""


def shown(part: Part | None) -> str:
    """A part as a table shows it."""
    return "-" if part is None else f"{number(part.norm)} {percent(part.share):>7}"


def fraction(x: float | None) -> str:
    """A number between 0 and 1 as a table shows it."""
    return "-" if x is None else f"{x:.2f}"


def compare(
    first: Tensor,
    second: Tensor,
    wrt: Sequence[str | Tensor] | str | Tensor | None = None,
    gradient: Any = None,
    *,
    by: By = "scope",
    keep: int = 64,
) -> Comparison:
    """Hold the gradients of two outputs against each other, parameter by parameter.

    Parameters are matched by name; `wrt` picks some (names, or Tensors whose names are
    meant), by default all that both have. `gradient` is the cotangent of both outputs,
    where they are not scalars. `by` and `keep` say how paths are grouped: see
    `path_classes`.

    >>> from tinygrad_lite import Tensor, compare, scope
    >>> w = Tensor(2.0, requires_grad=True, name="w")
    >>> with scope("square"):
    ...     F = w * w
    >>> print(compare(F, F - 3.0 * w))
    parameter  |dF|  |dG|     only in G       as in F  coherence
    w          4.00  1.00  3.00  -300 %  4.00  +400 %       0.14  paths oppose

    Raises: ValueError if the two share no parameter of that name, or a name means two
    parameters of one computation; else as `backward`.
    """
    starts = (cotangent(first, gradient), cotangent(second, gradient))
    found = (named(first), named(second))
    names = chosen([wrt] if isinstance(wrt, (str, Tensor)) else wrt, *found)

    def grouped(i: int, dear: Set[Any] = frozenset()) -> tuple[tuple[PathClasses, ...], set[Any]]:
        parameters = tuple(found[i][name] for name in names)
        return classified((first, second)[i], parameters, by, starts[i], keep, dear)

    # Of too many classes, those that the other computation has too stay apart.
    one, met = grouped(0)
    other, met_there = grouped(1, met if REST not in met else frozenset())
    if REST in met and REST not in met_there:
        one, _ = grouped(0, met_there)
    both = REST in met and REST in met_there
    rows = []
    for name, mine, theirs in zip(names, one, other, strict=True):
        unsure = f"more than keep={keep} classes in both: some cannot be matched"
        note = [theirs.note, unsure if both and OTHER in mine and OTHER in theirs else ""]
        rows.append(
            Row(
                oneline(name), side(mine, theirs), side(theirs, mine), "; ".join(filter(None, note))
            )
        )
    titles = (oneline(first.name or "F"), oneline(second.name or "G"))
    if titles[0] == titles[1]:
        titles = (f"{titles[0]} (1)", f"{titles[1]} (2)")
    return Comparison(*titles, tuple(rows), (first, second), starts)


def side(classes: PathClasses, others: PathClasses) -> Side:
    """A parameter's classes, with what the other computation has too and what it lacks."""

    def together(keys: list[Any]) -> Part | None:
        if not keys:
            return None
        part = np.add.reduce([classes[key].contribution for key in keys])
        given = [classes[key].share for key in keys]
        return Part(norm(part), None if None in given else sum(given))  # type: ignore[arg-type]

    common = [key for key in classes if key in others and key != OTHER]
    own = [key for key in classes if key not in common]
    return Side(classes, together(common), together(own))


def named(output: Tensor) -> dict[str, Tensor]:
    """The parameters that the gradient of a computation travels to, by name.

    Raises: ValueError if two have one name.
    """
    found: dict[str, Tensor] = {}
    for value in sorted(reached(output), key=lambda value: value.index):
        if value.op is None and value.requires_grad and value.name:
            if value.name in found:
                raise ValueError(
                    f"two parameters of {described(output)} are named {oneline(value.name)!r}, so "
                    "they cannot be matched; give each a name of its own"
                )
            found[value.name] = cast(Tensor, value)
    return found


def chosen(
    wrt: Sequence[str | Tensor] | None, first: dict[str, Tensor], second: dict[str, Tensor]
) -> list[str]:
    """The names to compare, in the order of the first computation or of `wrt`.

    Raises: ValueError if there are none, or one is not in both.
    """
    if wrt is None:
        names = [name for name in first if name in second]
        if not names:
            raise ValueError(
                "the two computations share no parameter name, so nothing can be matched; name the "
                'parameters alike in both, as in Tensor(data, requires_grad=True, name="W1")'
            )
        return names
    names = [x.name or "" if isinstance(x, Tensor) else x for x in wrt]
    for name in names:
        if not name:
            raise ValueError("what is compared needs a name, as in Tensor(..., name='W1')")
        if name not in first or name not in second:
            raise ValueError(
                f"{oneline(name)!r} is not a parameter of both; those of both are "
                f"{', '.join(oneline(name) for name in first if name in second) or 'none'}"
            )
    return names
