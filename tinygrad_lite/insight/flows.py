"""The gradient as a flow: the signed fraction of it that travels through each edge.

Let g be the gradient of the output with respect to a tensor t. The share of a path p is
<c_p, g> / <g, g>, and the share of an edge is the sum over all paths through it. There may
be 2**1000 of them, but the sum factors: a path is a way from t to the edge, the edge, and
a way from there to the output. With u = g / <g, g>,

    share(e) = <message on e, tangent at its tail>

where the message is what the reverse pass sends through e (the sum over all ways from the
output), and the tangent is what a forward pass along u brings to the value it is sent to
(the sum over all ways from t). One pass back, one forward, whatever the number of paths.

It is a unit flow: 1 leaves the output, 1 arrives at t, and at each value between, what
arrives leaves again. Parts that oppose the gradient have negative shares.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from ..backward import contributions, messages
from ..drawing.bars import Bar, bars, stack
from ..drawing.picture import Direction, Look, Picture
from ..drawing.render import svg
from ..drawing.table import Table, percent
from ..recorded.first_bad import first_bad
from ..recorded.joins import Use
from ..recorded.measure import norm, share_of
from ..recorded.nodes import Edge
from ..recorded.outcome import Receipts, shares_of
from ..recorded.states import APPEARANCE, State
from ..recorded.trace import Trace, trace
from ..tensor import Tensor
from ..value import Value
from ..views.boxes import Wire, diagram
from ..views.looks import THROUGH, picture, share_legend, share_look
from .graphs import Graph
from .jacobians import check_conserved, edge_shares, flaw_of
from .result import Breakdown, Drawing, attributes, plain


@dataclass(frozen=True, repr=False)
class Flow(Breakdown, Drawing):
    """How the gradient of an output with respect to `wrt` flows through the graph.

    `shares` maps each edge on the way to its signed share. It is empty where the gradient
    vanishes, as the share of nothing is not defined; `note` then says why.
    """

    trace: Trace = field(compare=False)
    by_use: dict[tuple[Value, int], float] = field(compare=False)

    @cached_property
    def shares(self) -> Mapping[Edge, float]:
        """The signed share of each edge between the output and `wrt`, by Edge of `graph`."""
        return MappingProxyType({self.trace.edges[use]: part for use, part in self.by_use.items()})

    @cached_property
    def graph(self) -> Graph:
        """The whole computation, with its gradients."""
        return Graph.of(self.trace.graph)

    @cached_property
    def scopes(self) -> Mapping[str, float]:
        """The share of the gradient that passes each scope, those inside it included, in the order
        of the computation. What enters a scope again after it left counts once."""
        entered: dict[tuple[str, ...], dict[Use, float]] = {}
        for (target, slot), part in self.by_use.items():
            x: Any = target.inputs[slot]
            outside = x.scope if x.op is not None else ()
            for n in range(1, len(target.scope) + 1):
                if outside[:n] != (name := target.scope[:n]):
                    entered.setdefault(name, {})[target, slot] = part
        again = {name for name in entered if is_entered_again(self.trace.order, name)}
        texts = Counter("/".join(name) for name in entered)
        found = {}
        for name, uses in entered.items():
            # A scope may be called "a/b", beside b within a.
            text = ("/" if texts["/".join(name)] == 1 else " > ").join(name)
            found[text] = 1.0 - self.share_without(uses) if name in again else sum(uses.values())
        return MappingProxyType(found)

    def share_without(self, uses: Collection[Use]) -> float:
        """The share of the paths that pass none of some uses."""
        trace, (wrt,) = self.trace, self.trace.wrt
        arrived: dict[Value, Any] = {trace.output: trace.start}
        for node in reversed(trace.order):
            if node in arrived and node is not wrt:
                g = arrived.pop(node)
                for slot, x, part in contributions(node, g, within=trace.within):
                    if (node, slot) not in uses:
                        arrived[x] = arrived[x] + part if x in arrived else part
        share = share_of(arrived[wrt], self.gradient) if wrt in arrived else 0.0
        return math.nan if share is None else share

    def table(self) -> Table:
        """A row an edge, the largest share first."""
        graph, rows = self.graph, []
        for edge, part in sorted(self.shares.items(), key=lambda item: -round(abs(item[1]), 9)):
            source, target = graph.nodes[edge.source], graph.nodes[edge.target]
            remark = "" if edge.traffic is State.GRADIENT else edge.outcome.text(graph.names)
            line, into = graph.names.line(target.tensor), graph.title(target)
            if sum(other.source == edge.source for other in graph.into[edge.target]) > 1:
                into += f" by operand {edge.slot + 1}"
            rows.append((graph.title(source), into, percent(part), line, remark))
        head = self.heading("the flow of the gradient of")
        header = ("from", "into", "share", "line", "")
        below = f"{self.first_bad}\n{graph.names.hint}".strip()
        return Table(header, rows, head, below).filled()

    def to_json(self) -> dict[str, Any]:
        """The numbers, as plain data for JSON."""
        edges = [
            {
                **attributes(edge, ("source", "target", "slot")),
                "from": self.graph.title(self.graph.nodes[edge.source]),
                "into": self.graph.title(self.graph.nodes[edge.target]),
                "line": plain(self.graph.nodes[edge.target].source),
                "share": part,
            }
            for edge, part in self.shares.items()
        ]
        return {**super().to_json(), "edges": edges, "scopes": dict(self.scopes)}

    def through(self, wire: Wire) -> float | None:
        """The share that travels through an arrow of the picture; None for none at all."""
        if wire.value is self.graph.output and self.shares:
            return 1.0
        edges = self.graph.out_of[wire.value.id] if wire.value else wire.edges
        return self.share_of(edges)

    def share_of(self, edges: Iterable[Edge]) -> float | None:
        """The share that travels through some edges together; None for none at all."""
        found = [self.shares[edge] for edge in edges if edge in self.shares]
        return sum(found) if found else None

    def picture(self, fold: bool | None = None, direction: Direction = "LR") -> Picture:
        """The drawing as data: arrows as wide as their share."""
        largest = max(map(abs, self.shares.values()), default=1.0)

        def look(wire: Wire) -> Look:
            share = self.through(wire)
            shown = share_look(share, largest, wire.skip)
            if share is None:
                return shown
            state = "" if wire.traffic is State.GRADIENT else APPEARANCE[wire.traffic].symbol
            return replace(shown, label=f"{percent(share)} {state}".rstrip(), amount=share)

        drawn = diagram(self.graph, fold)
        looks = [(look(wire), self.through(wire)) for wire in drawn.wires]
        legend = share_legend(looks, largest)
        note = f" ({self.note})" if self.note else ""
        end = ": what arrives at a value leaves it again." if self.shares else "."
        caption = f"The flow of the gradient of {self.output} to {self.wrt}{note}{end}"
        return picture(drawn, direction, None, look, legend, caption, self.share_of)

    def svg(self, fold: bool | None = None, direction: Direction = "LR") -> str:
        """The drawing; where parts are folded, a bar for each scope stands below it."""
        drawn = self.picture(fold, direction)
        if drawn.repeats or not any(box.kind == "folded" for box in drawn.boxes):
            return svg(drawn)
        rows = [Bar(name, ((part, THROUGH),), percent(part)) for name, part in self.scopes.items()]
        return stack(svg(drawn), bars(rows, "the share that travels through each scope"))


@np.errstate(all="ignore")  # backward has warned; here NaN is a result
def flow(output: Tensor, wrt: Tensor | str, gradient: Any = None, *, names: Any = None) -> Flow:
    """The share of the gradient that travels through each edge between `output` and `wrt`.

    `wrt` is a Tensor, or the name of one (see `graph`, and so for `names`). `gradient` is the
    cotangent of an output that is not a scalar (default: the one of the last backward). Costs a
    reverse pass and a forward pass.

    >>> from tinygrad_lite import Tensor, flow
    >>> x = Tensor(3.0, requires_grad=True)
    >>> sorted(flow(x * x + x, wrt=x).shares.values())  # of 2x + 1 = 7: 1, 3, 3, and 6 joined
    [0.14285714285714285, 0.42857142857142855, 0.42857142857142855, 0.8571428571428571]

    Raises: as `backward`; ValueError if the output does not depend on `wrt`.
    """
    traced = trace(output, (wrt,), gradient, names)
    (end,) = traced.wrt
    arrived, sent = Receipts(output, traced.start, {end}), dict[tuple[Value, int], Any]()
    gradients: dict[Value, Any] = {}
    for node, g, slot, part in messages(output, traced.start, within=traced.within):
        arrived.note(node, g, slot, part)
        if slot is not None:
            gradients[node], sent[node, slot] = g, part
    total, outcome = arrived.gradients[end], arrived.values[end].outcome
    arriving = [part for (node, slot), part in sent.items() if node.inputs[slot] is end]
    arriving = arriving or [total]
    shares, note = shares_of(
        arriving, list(map(norm, arriving)), total, outcome, "edges", traced.names
    )
    by_use: dict[tuple[Value, int], float] = {}
    if None not in shares:
        by_use, tangents, scale = edge_shares(traced.order, traced.within, sent, total)
        flaw, gaps = flaw_of(by_use, output, total, scale, traced.names)
        for node in gaps:
            check_conserved(node, gradients[node], sent, tangents, traced.within)
        if flaw:
            by_use, note = {}, f"{flaw}: there are no shares"
    called = traced.title(output), traced.title(end)
    bad = str(first_bad(output, traced.names, traced.start, arrived, traced.within))
    return Flow(total, *called, note, outcome.state, bad, traced, by_use)


def is_entered_again(order: Sequence[Value], name: tuple[str, ...]) -> bool:
    """Whether a path leaves a scope and comes back to it, among values in their order."""
    inside = [x.op is not None and x.scope[: len(name)] == name for x in order]
    first, last = inside.index(True), len(inside) - inside[::-1].index(True)
    left: set[Any] = set()  # what was computed outside of it from what was inside
    members: set[Any] = set()
    for value, here in zip(order[first:last], inside[first:last], strict=True):
        if here and not left.isdisjoint(value.inputs):
            return True
        if here:
            members.add(value)
        elif not (members.isdisjoint(value.inputs) and left.isdisjoint(value.inputs)):
            left.add(value)
    return False
