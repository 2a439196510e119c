"""Every path the gradient takes from an output to one tensor, and what travels on it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Any, overload

import numpy as np

from ..drawing.picture import Direction, Entry, Look, Picture
from ..drawing.table import Table, count, percent
from ..recorded.first_bad import first_bad
from ..recorded.measure import norm
from ..recorded.nodes import Edge
from ..recorded.outcome import Outcome, receipts, shares_of
from ..recorded.states import State
from ..recorded.trace import coherence, scope_entered, total_share, trace
from ..tensor import Tensor
from ..text import number
from ..value import Value
from ..views.boxes import Wire, diagram
from ..views.looks import LOOKS, picture, share_legend, share_look
from .formulas import MOST, Chain, Formula
from .graphs import Graph
from .jacobians import check_sum
from .result import Breakdown, Derived, Drawing, Piece
from .routes import Route, Routes
from .ways import LIMIT, count_paths, largest, walk

PASSED = LOOKS[State.GRADIENT]  # by a path, where there are no shares
LISTED = 6  # paths that the legend of a picture tells


@dataclass(frozen=True, repr=False)
class Path(Piece):
    """One path, its edges in the order of the computation, from `wrt` to the output.

    `contribution` is the product of the Jacobians along it applied to the cotangent, in
    the shape of `wrt`; `share` its signed part of the gradient, None where there is none;
    `scopes` the scopes it enters, in order; `outcome` what became of the gradient on it.
    Printed, it is a sentence.
    """

    numbers = ("way", "lines", "scopes", "edges", "norm", "share", "state")
    header = ("path", "lines", "edges", "|part|", "share", "")

    edges: tuple[Edge, ...]
    scopes: tuple[str, ...]
    contribution: np.ndarray = field(compare=False)
    share: float | None
    outcome: Outcome
    route: Route = field(compare=False)

    @property
    def state(self) -> State:
        """What became of the gradient on it."""
        return self.outcome.state

    @property
    def way(self) -> str:
        """What it passes, told so that no two paths read the same."""
        return str(self.route)

    @property
    def lines(self) -> str:
        """The lines that it passes; empty where none were noted."""
        return self.route.lines

    def cells(self) -> tuple[str, ...]:
        """Its row in the table."""
        size, share, remark = (
            number(self.norm),
            percent(self.share),
            self.route.remark(self.outcome),
        )
        return str(self.route), self.route.lines, str(len(self.edges)), size, share, remark

    def __str__(self) -> str:
        lines = self.route.lines
        lines = f", line{'s' * (',' in lines)} {lines}," if lines else ""
        whole = "" if self.share is None else f", {percent(self.share)} of the gradient"
        remark = f" ({remark})" if (remark := self.route.remark(self.outcome)) else ""
        return f"The path {self.route}{lines} carries {number(self.norm)}{whole}{remark}."


@dataclass(frozen=True, repr=False)
class Paths(Breakdown, Derived, Drawing, Sequence[Path]):
    """The paths from an output to `wrt`, shortest first, and the gradient they sum to; or the
    largest of `total` paths, largest first. `estimate` is then the most that one left out may
    carry (infinite where no bound is known), None where none carries more than these.
    `formula` and `latex` write the gradient out as the chain rule does."""

    numbers = (*Breakdown.numbers, "paths", "total", "estimate")

    paths: tuple[Path, ...]
    graph: Graph
    total: int
    estimate: float | None
    chain: Chain = field(repr=False, compare=False)

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Path, ...]: ...
    def __getitem__(self, index: Any) -> Any:
        return self.paths[index]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def coherence(self) -> float | None:
        """|gradient| / sum of |contributions|; None if every contribution is 0, or not all paths
        are listed."""
        if len(self) < self.total:
            return None
        return coherence((path.contribution for path in self), self.gradient)

    @cached_property
    def formulas(self) -> tuple[Formula]:
        """The chain rule written out, and its terms where all paths are listed: each is what all
        paths through the same stations carry together, in the order of the slots."""
        chain, nodes = self.chain, self.graph.nodes
        if len(self) < self.total:
            return (chain.formula(),)
        found: dict[tuple[Value, ...], list[Path]] = defaultdict(list)
        for path in sorted(self, key=lambda path: [edge.slot for edge in path.edges[::-1]]):
            way = (nodes[edge.source].tensor for edge in path.edges[::-1])
            found[chain.stops(way)].append(path)
        rows = []
        for stops, same in islice(found.items(), MOST if len(found) > 1 else 0):
            size = norm(np.add.reduce([path.contribution for path in same]))
            share = total_share([path.share for path in same])
            rows.append((chain.term(stops), number(size), percent(share)))
        return (replace(chain.formula(), rows=tuple(rows), more=max(0, len(found) - MOST)),)

    @property
    def many(self) -> str:
        """How many paths these are, in words."""
        paths = f"{count(self.total)} path{'s' * (self.total != 1)}"
        return paths if len(self) == self.total else f"{len(self)} largest of {paths}"

    def table(self) -> Table:
        """A row a path."""
        head = self.heading(f"{self.many} from")
        rows = [path.cells() for path in self]
        below = f"{self.first_bad}\n{self.graph.names.hint}".strip()
        return Table(Path.header, rows, head, below).filled()

    def picture(self, fold: bool | None = None, direction: Direction = "LR") -> Picture:
        """The drawing as data: each arrow as wide as the share of the paths through it, and which
        these are, by their place in the table."""
        passing: dict[Edge, list[int]] = {}
        for i, path in enumerate(self):
            for edge in path.edges:
                passing.setdefault(edge, []).append(i)

        def through(wire: Wire) -> list[int]:
            if wire.value is self.graph.output:
                return list(range(len(self)))
            edges = self.graph.out_of[wire.value.id] if wire.value else wire.edges
            return sorted({i for edge in edges for i in passing.get(edge, ())})

        def share(wire: Wire) -> float | None:
            return total_share([self[i].share for i in through(wire)]) if through(wire) else None

        drawn = diagram(self.graph, fold)
        shares = {wire.id: share(wire) for wire in drawn.wires}
        largest = max((abs(x) for x in shares.values() if x), default=1.0)

        def look(wire: Wire) -> Look:
            found, part = through(wire), shares[wire.id]
            if not found:
                return LOOKS[State.NO_GRADIENT]
            shown = share_look(part, largest, wire.skip) if part is not None else PASSED
            size = "" if part is None else percent(part)
            return replace(shown, label=f"{size}\n{which(found, len(self))}".strip())

        legend = share_legend([(look(wire), shares[wire.id]) for wire in drawn.wires], largest)
        order = sorted(range(len(self)), key=lambda i: -abs(self[i].share or 0.0))[:LISTED]
        for i in sorted(order) if len(self) > 1 else ():
            way = f"{self[i].route}: {percent(self[i].share)} "
            legend.append(Entry(way + self[i].route.remark(self[i].outcome), f"path {i + 1}"))
        caption = f"The {self.many} of the gradient of {self.output} to {self.wrt}"
        caption += f" ({self.note})." if self.note else ", and the share that travels each arrow."
        return picture(drawn, direction, None, look, legend, caption)


def which(found: list[int], all: int) -> str:
    """Which of all paths these are, in few letters."""
    if len(found) == all:
        return ""
    if len(found) > 3:
        return f"{len(found)} paths"
    return f"path{'s' * (len(found) > 1)} {', '.join(str(i + 1) for i in found)}"


@np.errstate(all="ignore")  # backward has warned; here NaN is a result
def paths(
    output: Tensor,
    wrt: Tensor | str,
    gradient: Any = None,
    *,
    top: int | None = None,
    limit: int = LIMIT,
    names: Any = None,
) -> Paths:
    """Every path from `output` back to `wrt`, with its contribution and signed share.

    The contributions sum to the gradient of `output` with respect to `wrt`, and the shares
    to 1. `wrt` is a Tensor, or the name of one (see `graph`, and so for `names`); `gradient` is
    the cotangent of an output that is not a scalar (default: the one of the last backward). Paths
    are counted before any is walked.

    With `top` only that many paths, whatever the number of all, the largest contribution first.
    Where all values on the way are scalars these are the largest, exactly. Elsewhere a search
    follows at each value the 1,000 largest parts (fewer of very large arrays; all, of no more
    than 10,000 paths), and `estimate` is the most that a path left out may carry: the norm of the
    part that went no further times the norms of the Jacobians from there on. That is a bound, often
    far above what any path carries. Where it is not above the last path of the list, the list
    is exact and `estimate` None.

    >>> from tinygrad_lite import Tensor, paths
    >>> x = Tensor(3.0, requires_grad=True)
    >>> [float(path.contribution) for path in paths(x * x + x, wrt=x)]
    [1.0, 3.0, 3.0]
    >>> [float(path.contribution) for path in paths(x * x + x, wrt=x, top=2)]
    [3.0, 3.0]

    Raises: ValueError if there are more than `limit` paths and no `top` is given, or none;
    else as `backward`.
    """
    traced = trace(output, (wrt,), gradient, names)
    (end,) = traced.wrt
    total = count_paths(traced, end)
    if not isinstance(limit, int):
        raise TypeError(f"limit must be an integer, but is {limit!r}")
    estimate = None
    if top is not None:
        if not isinstance(top, int):
            raise TypeError(f"top must be an integer, but is {top!r}")
        if top < 1:
            raise ValueError(f"top is the number of paths to list, at least 1, but is {top}")
        walked, estimate = largest(traced, end, top, total)
    elif total > limit:
        raise ValueError(
            f"{count(total)} paths lead from {traced.title(output)} to {traced.title(end)}, more "
            f"than limit={limit}; path_classes groups them without walking each, and top=10 lists "
            "the largest"
        )
    else:
        walked = sorted(walk(traced, end), key=lambda last: len(last.way))
    ways, parts = [last.way for last in walked], [last.part for last in walked]
    arrived = receipts(output, traced.start, traced.within, {end})
    whole, outcome = arrived.gradients[end], arrived.values[end].outcome
    sizes = check_sum(traced, parts, whole) if len(parts) == total else list(map(norm, parts))
    shares, note = shares_of(parts, sizes, whole, outcome, "paths", traced.names)
    if estimate is not None:
        most = f"one left out may carry up to {number(estimate)}"
        note = f"{note}; {most}" if note else most
    found = tuple(
        Path(
            tuple(traced.edges[target, slot] for target, slot in way),
            tuple(filter(None, (scope_entered(x.inputs[slot], x) for x, slot in way))),
            last.part,
            share,
            last.outcome(arrived.start, size),
            route,
        )
        for way, last, share, size, route in zip(
            ways, walked, shares, sizes, Routes(traced.names, ways).routes, strict=True
        )
    )
    graph = Graph.of(traced.graph)
    called = traced.title(output), traced.title(end)
    chain = Chain(output, end, traced.names)
    bad = str(first_bad(output, traced.names, traced.start, arrived, traced.within))
    return Paths(whole, *called, note, outcome.state, bad, found, graph, total, estimate, chain)
