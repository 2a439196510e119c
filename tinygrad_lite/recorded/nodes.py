"""A computation as plain data: its values as nodes, their uses as edges.

It is read off the record that a Tensor carries. With a cotangent, one reverse pass tells
for every edge which gradient went back through it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, Literal

import numpy as np

from ..ancestors import ancestors, in_order
from ..backward import messages
from ..text import number, oneline
from ..value import Value
from .joins import straight_uses
from .lines import Line, Place, place_of
from .measure import norm
from .names import Names
from .outcome import NOWHERE, UNASKED, Outcome, Receipt, Receipts, barrier
from .states import APPEARANCE, State


@dataclass(frozen=True, slots=True)
class Node:
    """A value of the computation: an input, a parameter, a constant, or an op's result.

    `id` counts the nodes of the graph in the order in which they were made, so the same
    computation has the same ids. `gradient` is what arrived in the reverse pass, None if
    it has not run or did not come here. A constant is a Python number among the inputs.
    """

    id: int
    name: str | None
    op: str | None
    symbol: str | None
    shape: tuple[int, ...]
    dtype: str
    scope: tuple[str, ...]
    kind: Literal["input", "parameter", "constant", "op"]
    value: np.ndarray = field(compare=False)
    gradient: np.ndarray | None = field(compare=False)
    tensor: Any = field(compare=False)
    inputs: tuple[str, ...] = ()  # the op's names for its inputs, by slot
    outcome: Outcome = NOWHERE  # what became of the gradient that was to arrive here

    @property
    def state(self) -> State:
        """What became of the gradient that was to arrive here."""
        return self.outcome.state

    @property
    def place(self) -> Place | None:
        """Where in the user's code it was made, if that was noted."""
        return place_of(self.tensor.source) if self.op else None

    @property
    def source(self) -> Line | None:
        """The file and line that made it; None unless it ran in `source_lines()`."""
        return self.place.source if self.place else None

    @property
    def calls(self) -> tuple[Line, ...]:
        """The calls that led to that line, from the outermost in; the line is the last."""
        return self.place.calls if self.place else ()

    @property
    def expression(self) -> str | None:
        """The text of the sub-expression that made it, as it stands there."""
        return self.place.expression if self.place else None

    @property
    def differentiable(self) -> bool:
        """Whether a gradient is carried to this value."""
        return isinstance(self.tensor, Value) and self.tensor.requires_grad

    def __repr__(self) -> str:
        named = oneline(self.name or self.expression or "", 60)
        name = f", name={named!r}" if named else ""
        made = f"op={self.op}" if self.op else f"kind={self.kind}"
        line = f", line={os.path.basename(self.source[0])}:{self.source[1]}" if self.source else ""
        return f"Node(id={self.id}{name}, {made}, shape={self.shape}, state={self.state}{line})"


@dataclass(frozen=True, slots=True)
class Edge:
    """One use of a value: `source` (an operand's id) goes into slot `slot` of `target`.

    `contribution` is the gradient that `target` sent back through it, in the shape of the
    source; None if none was computed. `straight` gives the uses, as (target, slot), that pass
    a join straight (joins.py); they are looked for when it is first called.
    """

    source: int
    target: int
    slot: int
    contribution: np.ndarray | None = field(compare=False)
    outcome: Outcome
    straight: Callable[[], Set[tuple[int, int]]] = field(compare=False)

    @property
    def skip(self) -> bool:
        """Whether it passes a join straight: `target` adds, subtracts, concatenates or stacks
        the source and what was computed from it."""
        return (self.target, self.slot) in self.straight()

    @property
    def traffic(self) -> State:
        """What became of the gradient that was to go back through it."""
        return self.outcome.state

    @property
    def norm(self) -> float | None:
        """The Euclidean norm of the contribution, None if none was computed."""
        return None if self.contribution is None else norm(self.contribution)

    def __repr__(self) -> str:
        size = "" if self.norm is None else f", |contribution|={number(self.norm)}"
        return (
            f"Edge(source={self.source}, target={self.target}, slot={self.slot}, "
            f"traffic={self.traffic}{size}, skip={self.skip})"
        )


@dataclass(frozen=True)
class Computation:
    """What one output was computed from, immutable: `nodes` in the order in which they were
    made, `edges` from operand to result in the order of their targets and slots; `receipts` say
    what the reverse pass brought, None if there was none."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    names: Names = field(repr=False, compare=False)
    receipts: Receipts | None = field(repr=False, compare=False, default=None)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def output(self) -> Node:
        """The node of the tensor that was computed."""
        return self.nodes[-1]

    @cached_property
    def into(self) -> tuple[tuple[Edge, ...], ...]:
        """For every node, by its id: the edges that end there, by slot."""
        return self.edges_by(lambda edge: edge.target)

    @cached_property
    def out_of(self) -> tuple[tuple[Edge, ...], ...]:
        """For every node, by its id: the edges that start there."""
        return self.edges_by(lambda edge: edge.source)

    def title(self, node: Node) -> str:
        """What text calls a value: its name on one line, else the expression that made it."""
        return str(node.name) if node.kind == "constant" else self.names.title(node.tensor)

    def sum_note(self, node: Node) -> str:
        """What became of a value's gradient, where that can be seen on none of its parts: they
        cancelled, or their sum left the range of its dtype."""
        seen = {edge.traffic for edge in self.out_of[node.id]}
        return "" if node.state in seen or node is self.output else APPEARANCE[node.state].remark

    def edges_by(self, end: Callable[[Edge], int]) -> tuple[tuple[Edge, ...], ...]:
        """For every node, by its id: the edges of which it is that end."""
        found: list[list[Edge]] = [[] for _ in self.nodes]
        for edge in self.edges:
            found[end(edge)].append(edge)
        return tuple(map(tuple, found))


def computation_of(output: Value, names: Names, cotangent: Any = None) -> Computation:
    """What `output` was computed from; with a cotangent, also what the reverse pass sent."""
    gradients: dict[Value, Any] = {}
    sent: dict[tuple[Value, int | None], Any] = {}
    found: Receipts | None = None
    if cotangent is not None:
        with np.errstate(all="ignore"):  # backward has warned; here NaN is a state
            found = Receipts(output, cotangent)
            for value, g, slot, contribution in messages(output, cotangent):
                gradients[value], sent[value, slot] = g, contribution
                found.note(value, g, slot, contribution)
    nodes: list[Node] = []
    edges: list[Edge] = []
    ids: dict[Value, int] = {}
    values = in_order(ancestors([output]))
    arrived, used = (found.values, found.uses) if found else ({}, {})
    straight = cache(lambda: {(ids[target], slot) for target, slot in straight_uses(values)})
    had: dict[Any, Any] = {}  # the array of a leaf, which may have new data since
    for value in values:
        for x, seen in zip(value.inputs, value.arrays, strict=True):
            had.setdefault(x, seen)
    for value in values:
        sources: dict[int, int] = {}
        for slot, x in enumerate(value.inputs):
            if isinstance(x, Value):
                sources[slot] = ids[x]
            elif x is not None:
                sources[slot] = len(nodes)
                nodes.append(constant_node(len(nodes), x, value.scope))
        ids[value] = len(nodes)
        g = gradients.get(value)
        array = np.asarray(had.get(value, value._array))
        nodes.append(node_of(len(nodes), value, names.name(value), array, g, arrived.get(value)))
        for slot, source in sources.items():
            outcome = edge_outcome(nodes[source], value, slot, used.get((value, slot)))
            part = sent.get((value, slot))
            edges.append(Edge(source, ids[value], slot, part, outcome, straight))
    return Computation(tuple(nodes), tuple(edges), names, found)


def constant_node(id: int, x: Any, scope: tuple[str, ...]) -> Node:
    """The node of a Python number that an op in `scope` was given."""
    array = np.asarray(x)
    return Node(
        id, str(x), None, None, (), str(array.dtype), scope, "constant", array, None, x,
        outcome=UNASKED,
    )  # fmt: skip


def node_of(
    id: int,
    x: Value,
    name: str | None,
    array: np.ndarray,
    gradient: Any,
    receipt: Receipt | None,
) -> Node:
    """The node of a value, its name as found, and the array that it had."""
    op = x.op
    outcome = receipt.outcome if receipt else NOWHERE if x.requires_grad else UNASKED
    return Node(
        id, name, op.name if op else None, op.symbol if op else None, array.shape,
        str(array.dtype), x.scope, "op" if op else "parameter" if x.requires_grad else "input",
        array, gradient, x, op.inputs if op else (), outcome,
    )  # fmt: skip


def edge_outcome(source: Node, target: Value, slot: int, receipt: Receipt | None) -> Outcome:
    """What became of the gradient that `target` sends to its operand in a slot."""
    if not source.differentiable:
        return UNASKED
    if receipt is not None:
        return receipt.outcome
    state = barrier(target, slot)
    return NOWHERE if state is None else Outcome(state, target)
