"""Every path the gradient takes from an output to one tensor, and what travels on it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, overload

import numpy as np

from ..backward import contributions
from ..drawing.picture import BLUE, FRAME, ORANGE, PALE, Dash, Entry, Look, Picture
from ..drawing.render import save, svg
from ..drawing.table import count, percent, table
from ..drawing.text import number, oneline
from ..recorded.outcome import arrivals, weighed
from ..recorded.trace import Trace, coherence, entered, operands, title, trace
from ..tensor import Tensor
from ..value import Value, described
from ..views.boxes import Wire, norm
from .graphs import Edge, Graph

# Colours and dashes of single paths, told apart by every kind of eye.
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
class Paths(Sequence[Path]):
    """The paths from an output to `wrt`, shortest first, and the gradient they sum to."""

    paths: tuple[Path, ...] = field(repr=False)
    gradient: np.ndarray = field(repr=False)
    output: str
    wrt: str
    note: str
    graph: Graph = field(repr=False)

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
        return coherence([path.contribution for path in self.paths], self.gradient)

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
        head = (
            f"{len(self)} path{'s' * (len(self) != 1)} from {self.output} to "
            f"{self.wrt}, |gradient| {number(norm(self.gradient))}"
        )
        body = table(("through", "edges", "|part|", "share"), rows)
        return f"{head} ({self.note})\n{body}" if self.note else f"{head}\n{body}"

    def to_json(self) -> dict[str, Any]:
        """The numbers, as plain data for JSON; edges as (source, target, slot)."""
        return {
            "output": self.output,
            "wrt": self.wrt,
            "norm": norm(self.gradient),
            "note": self.note,
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

    def picture(self, fold: bool | None = None, direction: Literal["LR", "TB"] = "LR") -> Picture:
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
            given = [self[i].share for i in through]
            label = "" if None in given else percent(sum(given))  # type: ignore[arg-type]
            if len(through) == 1 and through[0] in styles:
                return Look(3.5, *styles[through[0]], label)
            return Look(2.5, FRAME, "solid", label if len(through) < len(self) else "")

        labels = [f"{' > '.join(p.scopes) or 'direct'}: {percent(p.share)}" for p in self[:6]]
        legend = [
            Entry(
                label if labels.count(label) == 1 else f"{label} ({i + 1})", Look(3.5, *styles[i])
            )
            for i, label in enumerate(labels)
        ]
        legend.append(Entry("several paths", Look(2.5, FRAME)))
        return self.graph.picture(
            direction=direction, fold=fold, look=look, legend=legend,
            caption=f"The paths of the gradient of {self.output} to {self.wrt}"
            + (f" ({self.note})." if self.note else ", with their shares."),
        )  # fmt: skip

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        fold: bool | None = None,
        direction: Literal["LR", "TB"] = "LR",
    ) -> None:
        """Write the drawing as .svg, .png, .pdf or .dot. Raises: as `Graph.save`."""
        save(self.picture(fold, direction), path)

    def _repr_svg_(self) -> str:
        return svg(self.picture())


@np.errstate(all="ignore")  # backward has warned; here NaN is told
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
            f"{count(n)} paths lead from {described(output)} to {described(wrt)}, more than "
            f"limit={limit}; path_classes groups them without walking each"
        )
    walked = sorted(walk(traced, wrt), key=lambda found: len(found[0]))
    contributed = [part for _, part in walked]
    total = np.stack(contributed, -1).sum(-1)  # along the last axis NumPy sums pairwise
    fate = arrivals(output, traced.start, traced.within)[wrt].fate
    shares, note = weighed(fate, contributed, total)
    return Paths(
        tuple(
            Path(
                tuple(traced.edges[target, slot] for target, slot in way),
                tuple(
                    name
                    for target, slot in way
                    if (name := entered(target.inputs[slot], target)) is not None
                ),
                part,
                share,
            )
            for (way, part), share in zip(walked, shares, strict=True)
        ),
        total,
        title(output),
        title(wrt),
        note,
        traced.graph,
    )


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
        sent = next(sends, None)
        if sent is None:
            stack.pop()
            if way:
                way.pop()
            continue
        slot, x, part = sent
        if x is wrt:
            yield ((node, slot), *reversed(way)), part
        else:
            way.append((node, slot))
            stack.append((x, contributions(x, part, within=traced.within)))
