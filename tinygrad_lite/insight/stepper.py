"""`steps(y)`: a computation step by step, forward and then backward, as text and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, cached_property
from typing import Any, ClassVar

import numpy as np

from ..backward import contributions
from ..context import Block, Context
from ..drawing.page import notebook_frame
from ..drawing.terminal import interact, say
from ..recorded.lines import Calls
from ..recorded.measure import norm
from ..recorded.names import names_of
from ..recorded.nodes import Edge, computation_of
from ..recorded.trace import Trace, cotangent, parameters_of, trace
from ..stepping.record import Passes
from ..tensor import Tensor
from ..text import and_more, number
from ..views.keys import Walker
from ..views.page_data import steps_page
from ..views.screen import SHOWN, Way, Ways
from .classes import PathClasses, count_of_paths, path_classes
from .graphs import Graph
from .paths import Paths, paths
from .result import LINES, Result, as_text
from .ways import count_paths

MOST = 200  # paths that are listed one by one in a terminal, else classes
QUICK = 4_000_000  # paths times numbers on them, so many that are found in about a second


class source_lines(Block):
    """Note the line of your own file that makes each value, for `steps` to show.

    A context manager and a decorator; each thread has its own. Outside it nothing is
    noted, and nothing is spent on it. ``tinygrad-lite step`` runs a script inside it.

    >>> from tinygrad_lite import Tensor, source_lines, steps
    >>> with source_lines():
    ...     y = Tensor(2.0, requires_grad=True) * 3.0
    >>> steps(y)[0].source is not None
    True
    """

    def change(self, context: Context) -> Context:
        """Noting lines."""
        return replace(context, sources=Calls())


class Steps(Result, Passes):
    """The steps of a computation, forward ones first; immutable.

    Indexing gives a `Step`, the same object each time; slicing gives `Steps`. `loss` says
    what L stands for in the rules. `save` writes one offline page, stepped by keys.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".html",)

    @cached_property
    def graph(self) -> Graph:
        """The graph that the steps walk."""
        return Graph.of(self.record.graph)

    def interactive(self) -> None:
        """Walk through the steps by keys, in the terminal; ? lists them.

        Without a terminal, as when the output is piped, every step is printed.
        """
        if not len(self):
            say("there are no steps: nothing was computed")
        elif not interact(Walker(self, cache(self.ways), 0 if self.quick else -1)):
            say(str(self))

    def towards(self, which: int) -> Trace | None:
        """What lies between the output and the parameter of a number, counted on from the first;
        None where no gradient was sent."""
        output, names, start = self.graph.output, self.graph.names, self.graph.output.gradient
        parameters = list(parameters_of(output.tensor, names).values())
        if start is None or not parameters:
            return None
        return trace(output.tensor, (parameters[which % len(parameters)],), start, names)

    @property
    def quick(self) -> bool:
        """Whether the paths to the first parameter are found in a moment."""
        traced = self.towards(0)
        if traced is None:
            return True
        size = sum(value._array.size for value in traced.within)
        return min(count_paths(traced, traced.wrt[0]), MOST) * size < QUICK

    @np.errstate(all="ignore")  # backward has warned
    def ways(self, which: int) -> Ways | None:
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

    def __repr__(self) -> str:
        more = [and_more(len(self) - LINES)] * (len(self) > LINES)
        hint = "each step whole: print(...), or .interactive() to walk through them"
        return "\n".join([self.note, *map(repr, self[:LINES]), *more, hint])

    def page(self) -> str:
        """The page as HTML."""
        return steps_page(self)

    def _repr_html_(self) -> str:
        return f"{notebook_frame(self.page())}\n{as_text(self)}"


def lengths(traced: Trace, edges: Sequence[Edge]) -> str:
    """How the length of the gradient changes along a path, from op to op on the way back."""
    nodes, told, g = traced.graph.nodes, [number(norm(traced.start))], traced.start
    for edge in reversed(edges):
        target, source = nodes[edge.target].tensor, nodes[edge.source].tensor
        sent = contributions(target, g, within={source})
        g = next(part for slot, _, part in sent if slot == edge.slot)
        told.append(f"{nodes[edge.target].symbol} {number(norm(g))}")
    return " → ".join(told)


def steps(output: Tensor, gradient: Any = None, *, check: bool = False, names: Any = None) -> Steps:
    """The computation of `output`, op by op, forward and then backward.

    Backward starts with `gradient`, a cotangent of the output's shape; without it, with
    that of the last ``output.backward(...)``, and else with 1 if the output is a scalar.
    `Steps.loss` says which. With ``check=True`` every rule is held against a
    finite difference of its op at the recorded values. `names` as in `graph`.

    >>> from tinygrad_lite import Tensor, sigmoid, steps
    >>> h = Tensor(0.0, requires_grad=True, name="h")
    >>> y = sigmoid(h)
    >>> y.name = "y"
    >>> for step in steps(y):
    ...     print(step.rule)
    y = sigmoid(h)
    ∂L/∂h = g · y · (1 − y)

    Raises: TypeError if `output` is not a Tensor; as `backward` does for the gradient.
    """
    if not isinstance(output, Tensor):
        raise TypeError(f"steps takes a Tensor, but got {type(output).__name__}")
    start = None
    if output.requires_grad or gradient is not None:
        start = cotangent(output, gradient)
        start = start.data if isinstance(start, Tensor) else start
    return Steps.of(computation_of(output, names_of(output, names), start), check)
