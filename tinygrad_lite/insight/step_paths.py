"""The paths that a terminal shows beside a step: few, with their shares, and how the gradient's
length changes on one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from ..backward import contributions
from ..recorded.measure import norm
from ..recorded.nodes import Computation, Edge
from ..recorded.trace import Trace, parameters_of, trace
from ..text import number
from ..views.screen import SHOWN, Way, Ways
from .classes import PathClasses, count_of_paths, path_classes
from .paths import Paths, paths
from .ways import count_paths

MOST = 200  # paths that are looked at one by one, else classes
QUICK = 4_000_000  # paths times numbers on them, so many that are found in about a second


class StepPaths:
    """The paths from a computation's output to each of its parameters."""

    def __init__(self, graph: Computation) -> None:
        self.graph = graph
        self.ways = cache(self.find)

    def towards(self, which: int) -> Trace | None:
        """What lies between the output and the parameter of a number, counted on from the first;
        None where no gradient was sent."""
        output, names, start = (
            self.graph.output.tensor,
            self.graph.names,
            self.graph.output.gradient,
        )
        if start is None or not (parameters := [*parameters_of(output, names).values()]):
            return None
        return trace(output, (parameters[which % len(parameters)],), start, names)

    @property
    def quick(self) -> bool:
        """Whether the paths to the first parameter are found in a moment."""
        traced = self.towards(0)
        if traced is None:
            return True
        size = sum(value._array.size for value in traced.within)
        return min(count_paths(traced, traced.wrt[0]), MOST) * size < QUICK

    @np.errstate(all="ignore")  # backward has warned
    def find(self, which: int) -> Ways | None:
        """The paths to the parameter of a number, as classes where they are many."""
        if (traced := self.towards(which)) is None:
            return None
        output, (wrt,), start, names = traced.output, traced.wrt, traced.start, traced.names
        if (n := count_paths(traced, wrt)) > MOST:
            classes = path_classes(output, wrt, "skips", start, keep=MOST, names=names)
            ways = [
                Way(f"{count_of_paths(x.count)} over {key} skips", bool(key), x.share, x.norm)
                for key, x in classes.items()
            ]
            found: PathClasses | Paths = classes
        else:
            found = listed = paths(output, wrt, start, names=names)
            ways = [
                Way(x.way, any(e.skip for e in x.edges), x.share, x.norm, lengths(traced, x.edges))
                for x in listed
            ]
        ways.sort(key=lambda way: -abs(way.share or 0.0))
        more = f"… {len(ways) - SHOWN} more; " if len(ways) > SHOWN else ""
        total = f"{more}{count_of_paths(n)}, together |g| {number(found.norm)}"
        if found.note:
            total += f" ({found.note})"
        return Ways(found.wrt, ways[:SHOWN], total, found.formula)


def lengths(traced: Trace, edges: Sequence[Edge]) -> str:
    """How the length of the gradient changes along a path, from op to op on the way back."""
    nodes, told, g = traced.graph.nodes, [number(norm(traced.start))], traced.start
    for edge in reversed(edges):
        target, source = nodes[edge.target].tensor, nodes[edge.source].tensor
        sent = contributions(target, g, within={source})
        g = next(part for slot, _, part in sent if slot == edge.slot)
        told.append(f"{nodes[edge.target].symbol} {number(norm(g))}")
    return " → ".join(told)
