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

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from ..backward import contributions, leaf_gradients, messages
from ..drawing.bars import Bar, bars, stack
from ..drawing.picture import BLUE, ORANGE, PALE, Dash, Direction, Entry, Look, Picture
from ..drawing.render import svg
from ..drawing.table import percent, table
from ..operation import blocked
from ..ops.shape import concatenate
from ..ops.shape import stack as join
from ..recorded.nodes import Edge
from ..recorded.outcome import ARRIVED, receipts, shares_of, without_shares
from ..recorded.trace import LAW, Trace, operands, scope_entered, title, trace
from ..tensor import Tensor
from ..value import Value
from ..views.boxes import Wire, diagram
from ..views.looks import picture
from .graphs import Graph
from .result import Breakdown, Drawing, attributes

JOINS = {concatenate, join}  # linear in all their inputs together
SHARE = "share of the gradient that travels here: width, and number"


@dataclass(frozen=True)
class Flow(Breakdown, Drawing):
    """How the gradient of an output with respect to `wrt` flows through the graph.

    `shares` maps each edge on the way to its signed share. It is empty where the gradient
    vanishes, as the share of nothing is not defined; `note` then says why.
    """

    trace: Trace = field(repr=False, compare=False)
    by_use: dict[tuple[Value, int], float] = field(repr=False, compare=False)

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
        """The share that enters each scope, in the order of the computation."""
        found: dict[str, float] = {}
        for (target, slot), part in self.by_use.items():
            name = scope_entered(target.inputs[slot], target)
            if name is not None:
                found[name] = found.get(name, 0.0) + part
        return MappingProxyType(found)

    def __str__(self) -> str:
        nodes = self.graph.nodes
        rows = [
            (nodes[edge.source].label, f"{nodes[edge.target].op} #{edge.target}", percent(part))
            for edge, part in sorted(self.shares.items(), key=lambda item: -round(abs(item[1]), 9))
        ]
        head = self.heading("the flow of the gradient of")
        return f"{head}\n{table(('from', 'into', 'share'), rows)}" if rows else head

    def to_json(self) -> dict[str, Any]:
        """The numbers, as plain data for JSON."""
        edges = [
            {**attributes(edge, ("source", "target", "slot")), "share": part}
            for edge, part in self.shares.items()
        ]
        return {**super().to_json(), "edges": edges, "scopes": dict(self.scopes)}

    def through(self, wire: Wire) -> float | None:
        """The share that travels through an arrow of the picture; None for none at all."""
        if wire.value is self.graph.output and self.shares:
            return 1.0
        edges = self.graph.out_of[wire.value.id] if wire.value else wire.edges
        found = [self.shares[edge] for edge in edges if edge in self.shares]
        return sum(found) if found else None

    def picture(self, fold: bool | None = None, direction: Direction = "LR") -> Picture:
        """The drawing as data: arrows as wide as their share, dashed where it is negative."""
        largest = max(map(abs, self.shares.values()), default=1.0)

        def look(wire: Wire) -> Look:
            share = self.through(wire)
            if share is None:
                return Look(0.8, PALE, head="open")
            dash: Dash = "dashed" if share < 0 else "solid"
            width = 0.6 + 7 * abs(share) / largest
            return Look(width, ORANGE if wire.skip else BLUE, dash, percent(share))

        drawn = diagram(self.graph, fold)
        skips = any(wire.skip and self.through(wire) is not None for wire in drawn.wires)
        opposing = any(part < 0 for part in self.shares.values())
        legend = [
            *[Entry(SHARE, Look(4, BLUE))] * bool(self.shares),
            *[Entry("around other ops", Look(4, ORANGE))] * skips,
            *[Entry("negative: opposes the gradient", Look(3, BLUE, "dashed"))] * opposing,
        ]
        note = f" ({self.note})" if self.note else ""
        end = ": what arrives at a value leaves it again." if self.shares else "."
        caption = f"The flow of the gradient of {self.output} to {self.wrt}{note}{end}"
        return picture(drawn, direction, None, look, legend, caption)

    def svg(self, fold: bool | None = None, direction: Direction = "LR") -> str:
        """The drawing; where parts are folded, a bar for each scope stands below it."""
        drawn = self.picture(fold, direction)
        if not any(box.kind == "folded" for box in drawn.boxes):
            return svg(drawn)
        rows = [Bar(name, ((part, BLUE),), percent(part)) for name, part in self.scopes.items()]
        return stack(svg(drawn), bars(rows, "the share that travels through each scope"))


@np.errstate(all="ignore")  # backward has warned; here NaN is a result
def flow(output: Tensor, wrt: Tensor, gradient: Any = None) -> Flow:
    """The share of the gradient that travels through each edge between `output` and `wrt`.

    `gradient` is the cotangent of an output that is not a scalar (default: the one of the
    last backward). Costs a reverse pass and a forward pass.

    >>> from tinygrad_lite import Tensor, flow
    >>> x = Tensor(3.0, requires_grad=True)
    >>> sorted(flow(x * x + x, wrt=x).shares.values())  # of 2x + 1 = 7: 1, 3, 3, and 6 joined
    [0.14285714285714285, 0.42857142857142855, 0.42857142857142855, 0.8571428571428571]

    Raises: as `backward`; ValueError if the output does not depend on `wrt`.
    """
    traced = trace(output, (wrt,), gradient)
    sent: dict[tuple[Value, int], Any] = {}
    for node, g, slot, part in messages(output, traced.start, within=traced.within):
        if slot is None:  # this is wrt, the one value that sends nothing on
            total = g
        else:
            sent[node, slot] = part
    arriving = [part for (node, slot), part in sent.items() if node.inputs[slot] is wrt]
    shares, note = shares_of(arriving or [total], total, ARRIVED)
    by_use: dict[tuple[Value, int], float] = {}
    if None not in shares:
        scale = float(np.abs(total).max())
        direction = np.asarray(total, float) / scale
        tangents: dict[Value, Any] = {wrt: direction / np.vdot(direction, direction)}
        for node in traced.order[1:]:
            uses = operands(node, traced.within)
            for slot, x in uses:
                by_use[node, slot] = float(np.vdot(sent[node, slot], tangents[x])) / scale
            tangents[node] = pushforward(node, tangents, uses)
        # The parts may be so large that the gradient is within their rounding.
        if max(map(abs, by_use.values()), default=0) * LAW * np.finfo(total.dtype).eps > 1:
            by_use, shares = {}, [None]
    if None in shares:
        note = without_shares(receipts(output, traced.start, traced.within)[wrt].outcome)
    return Flow(np.asarray(total), title(output), title(wrt), note, traced, by_use)


def pushforward(node: Value, tangents: Mapping[Value, Any], uses: list[tuple[int, Value]]) -> Any:
    """The tangent of a value, given those of (some of) its inputs: its Jacobian times them.

    From the vjps alone: a vjp is linear in the cotangent, so it is differentiated with
    respect to the cotangent, and the transpose of a transposed Jacobian is the Jacobian.
    Where the Jacobian is diagonal it is its own transpose, and where the op is linear it
    is the op itself, so that the rule need not be recorded and differentiated.
    """
    op, shape = node.op, node._array.shape
    assert op is not None
    if op in JOINS:
        joined = {slot: tangents[x] for slot, x in uses}
        inputs = tuple(joined.get(i, np.zeros_like(x)) for i, x in enumerate(node.arrays))
        return op.compute(*inputs, **node.params)
    parts, rest = [], []
    for slot, x in uses:
        tangent, rule = tangents[x], op.rule(slot)
        if rule is blocked:
            continue
        if op.elementwise and rule is not None:
            if tangent.shape != shape:
                tangent = np.broadcast_to(tangent, shape)
            part = rule(tangent, node._array, *node.arrays, **node.params)
            if getattr(part, "shape", None) != shape:  # a constant
                part = np.broadcast_to(part, shape)
            parts.append(part)
        elif op.linear:
            inputs = (*node.arrays[:slot], tangent, *node.arrays[slot + 1 :])
            parts.append(op.compute(*inputs, **node.params))
        else:
            rest.append((slot, x))
    if rest:
        parts.append(transpose(node, tangents, rest))
    return sum(parts[1:], parts[0]) if parts else np.zeros_like(node._array)


def transpose(node: Value, tangents: Mapping[Value, Any], uses: list[tuple[int, Value]]) -> Any:
    """What `pushforward` gives, by differentiating the rules: as <vjp(u), tangent> is linear in
    u, its gradient with respect to u is the Jacobian times the tangent. All inputs at once, so
    that the one rule of a sequence op runs once."""
    u = Tensor(np.zeros_like(node._array), requires_grad=True)
    sent = {slot: part for slot, _, part in contributions(node, u, within={x for _, x in uses})}
    products = [(sent[slot] * tangents[x]).sum() for slot, x in uses]
    total = join(products).sum()
    varies = getattr(total, "requires_grad", False)
    found = leaf_gradients(total, total.dtype.type(1)) if varies else {}
    return found.get(u, np.zeros_like(node._array))
