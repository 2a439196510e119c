"""Every path the gradient takes from an output to one tensor, and what travels on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np

from ..arrays import describe
from ..backward import contributions
from ..drawing.picture import BLUE, FRAME, ORANGE, PALE, Dash, Direction, Entry, Look, Picture
from ..drawing.table import count, percent, table
from ..recorded.measure import norm
from ..recorded.nodes import Computation, Edge
from ..recorded.outcome import receipts, shares_of
from ..recorded.trace import Trace, coherence, operands, scope_entered, title, total_share, trace
from ..tensor import Tensor
from ..text import number, oneline
from ..value import Value
from ..views.boxes import Wire, diagram
from ..views.looks import picture
from .result import Breakdown, Drawing

# Colours and dashes of single paths; colour-blind eyes too tell them apart.
STYLES: tuple[tuple[str, Dash], ...] = (
    (ORANGE, "dashed"), (BLUE, "solid"), ("#009E73", "dotted"),
    ("#CC79A7", "dashed"), ("#56B4E9", "solid"), ("#E69F00", "dotted"),
)  # fmt: skip


@dataclass(frozen=True)
class Path:
    """One path, its edges in the order of the computation, from `wrt` to the output.

    `contribution` is the product of the Jacobians along it applied to the cotangent, in
    the shape of `wrt`; `share` its signed part of the gradient, None where there is none;
    `scopes` the scopes it enters, in order.
    """

    edges: tuple[Edge, ...]
    scopes: tuple[str, ...]
    contribution: np.ndarray = field(repr=False, compare=False)
    share: float | None


@dataclass(frozen=True)
class Paths(Breakdown, Drawing, Sequence[Path]):
    """The paths from an output to `wrt`, shortest first, and the gradient they sum to."""

    paths: tuple[Path, ...] = field(repr=False)
    graph: Computation = field(repr=False)

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
        """|gradient| / sum of |contributions|; None if every contribution is 0."""
        return coherence((path.contribution for path in self), self.gradient)

    def __str__(self) -> str:
        rows = [
            (
                " > ".join(map(oneline, path.scopes)) or "direct",
                str(len(path.edges)),
                number(norm(path.contribution)),
                percent(path.share),
            )
            for path in self.paths
        ]
        head = self.heading(f"{len(self)} path{'s' * (len(self) != 1)} from")
        return f"{head}\n{table(('through', 'edges', '|part|', 'share'), rows)}"

    def to_json(self) -> dict[str, Any]:
        """The numbers, as plain data for JSON; edges as (source, target, slot)."""
        return {
            **self.numbers(),
            "paths": [
                {
                    "scopes": list(path.scopes),
                    "edges": [[edge.source, edge.target, edge.slot] for edge in path.edges],
                    "norm": norm(path.contribution),
                    "share": path.share,
                }
                for path in self
            ],
        }

    def picture(self, fold: bool | None = None, direction: Direction = "LR") -> Picture:
        """The drawing as data: each of the first six paths in a colour and dash of its own,
        where it runs alone."""
        styles = dict(zip(range(len(self)), STYLES, strict=False))
        ways = [(set(path.edges), {edge.source for edge in path.edges}) for path in self]

        def look(wire: Wire) -> Look:
            through = [
                i
                for i, (edges, sources) in enumerate(ways)
                if (wire.value.id in sources if wire.value else not edges.isdisjoint(wire.edges))
            ]
            if wire.value is self.graph.output:
                through = list(range(len(self)))
            if not through:
                return Look(0.8, PALE, head="open")
            share = total_share([self[i].share for i in through])
            label = "" if share is None else percent(share)
            if len(through) == 1 and through[0] in styles:
                return Look(3.5, *styles[through[0]], label)
            return Look(2.5, FRAME, "solid", label if len(through) < len(self) else "")

        labels = [f"{' > '.join(p.scopes) or 'direct'}: {percent(p.share)}" for p in self[:6]]
        legend = []
        for i, label in enumerate(labels):
            alone = labels.count(label) == 1
            legend.append(Entry(label + f" ({i + 1})" * (not alone), Look(3.5, *styles[i])))
        legend.append(Entry("several paths", Look(2.5, FRAME)))
        caption = f"The paths of the gradient of {self.output} to {self.wrt}"
        caption += f" ({self.note})." if self.note else ", with their shares."
        return picture(diagram(self.graph, fold), direction, None, look, legend, caption)


@np.errstate(all="ignore")  # backward has warned; here NaN is a result
def paths(output: Tensor, wrt: Tensor, gradient: Any = None, *, limit: int = 10_000) -> Paths:
    """Every path from `output` back to `wrt`, with its contribution and signed share.

    The contributions sum to the gradient of `output` with respect to `wrt`, and the shares
    to 1. `gradient` is the cotangent of an output that is not a scalar (default: the one
    of the last backward). Paths are counted before any is walked.

    >>> from tinygrad_lite import Tensor, paths
    >>> x = Tensor(3.0, requires_grad=True)
    >>> [float(path.contribution) for path in paths(x * x + x, wrt=x)]
    [1.0, 3.0, 3.0]

    Raises: ValueError if there are more than `limit` paths, or none; else as `backward`.
    """
    traced = trace(output, (wrt,), gradient)
    n = count_paths(traced, wrt)[output]
    if n > limit:
        raise ValueError(
            f"{count(n)} paths lead from {describe(output)} to {describe(wrt)}, more than "
            f"limit={limit}; path_classes groups them without walking each"
        )
    walked = sorted(walk(traced, wrt), key=lambda found: len(found[0]))
    parts = [part for _, part in walked]
    total = np.stack(parts, -1).sum(-1)  # along the last axis NumPy sums pairwise
    outcome = receipts(output, traced.start, traced.within)[wrt].outcome
    shares, note = shares_of(parts, total, outcome)
    found = tuple(
        Path(
            tuple(traced.edges[target, slot] for target, slot in way),
            tuple(filter(None, (scope_entered(x.inputs[slot], x) for x, slot in way))),
            part,
            share,
        )
        for (way, part), share in zip(walked, shares, strict=True)
    )
    return Paths(total, title(output), title(wrt), note, found, traced.graph)


def count_paths(traced: Trace, wrt: Tensor) -> dict[Value, int]:
    """How many paths lead from each value back to `wrt`: exact integers."""
    counts: dict[Value, int] = {wrt: 1}
    for value in traced.order:
        if value is not wrt:
            counts[value] = sum(counts[x] for _, x in operands(value, traced.within))
    return counts


def walk(traced: Trace, wrt: Tensor) -> Iterator[tuple[tuple[tuple[Value, int], ...], Any]]:
    """Each path as ((target, slot), ...) from `wrt` on, with what arrives at its end.

    Depth first from the output, so that paths share the work of their common part.
    """
    if traced.output is wrt:
        yield (), traced.start
        return
    way: list[tuple[Value, int]] = []
    stack: list[tuple[Value, Iterator[tuple[int, Value, Any]]]]
    stack = [(traced.output, contributions(traced.output, traced.start, within=traced.within))]
    while stack:
        node, sends = stack[-1]
        for slot, x, part in sends:
            if x is not wrt:
                way.append((node, slot))
                stack.append((x, contributions(x, part, within=traced.within)))
                break
            yield ((node, slot), *reversed(way)), part
        else:
            stack.pop()
            if way:
                way.pop()
