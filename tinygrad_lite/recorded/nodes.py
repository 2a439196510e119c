"""A computation as plain data: its values as nodes, their uses as edges.

It is read off the record that a Tensor carries. With a cotangent, one reverse pass tells
for every edge which gradient went back through it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from ..ancestors import ancestors
from ..backward import messages
from ..operation import blocked
from ..text import oneline
from ..value import Value
from .measure import norm
from .states import State, state_of


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
    value: np.ndarray = field(repr=False, compare=False)
    gradient: np.ndarray | None = field(repr=False, compare=False)
    tensor: Any = field(repr=False, compare=False)
    inputs: tuple[str, ...] = ()  # the op's names for its inputs, by slot

    @property
    def label(self) -> str:
        """What text calls the value: its name on one line, or # and its id."""
        return oneline(self.name) if self.name else f"#{self.id}"

    @property
    def state(self) -> State:
        """What became of the gradient that was to arrive here."""
        if self.gradient is not None:
            return state_of(self.gradient)
        return State.NOT_COMPUTED if self.differentiable else State.NO_GRADIENT

    @property
    def differentiable(self) -> bool:
        """Whether a gradient is carried to this value."""
        return isinstance(self.tensor, Value) and self.tensor.requires_grad


@dataclass(frozen=True, slots=True)
class Edge:
    """One use of a value: `source` (an operand's id) goes into slot `slot` of `target`.

    `contribution` is the gradient that `target` sent back through it, in the shape of the
    source; None if none was computed.
    """

    source: int
    target: int
    slot: int
    contribution: np.ndarray | None = field(repr=False, compare=False)
    traffic: State = State.NOT_COMPUTED

    @property
    def norm(self) -> float | None:
        """The Euclidean norm of the contribution, None if none was computed."""
        return None if self.contribution is None else norm(self.contribution)


@dataclass(frozen=True)
class Computation:
    """What one output was computed from, immutable: `nodes` in the order in which they were
    made, `edges` from operand to result in the order of their targets and slots."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

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

    def edges_by(self, end: Callable[[Edge], int]) -> tuple[tuple[Edge, ...], ...]:
        """For every node, by its id: the edges of which it is that end."""
        found: list[list[Edge]] = [[] for _ in self.nodes]
        for edge in self.edges:
            found[end(edge)].append(edge)
        return tuple(map(tuple, found))


def computation_of(output: Value, cotangent: Any = None) -> Computation:
    """What `output` was computed from; with a cotangent, also what the reverse pass sent."""
    gradients: dict[Value, Any] = {}
    sent: dict[tuple[Value, int | None], Any] = {}
    if cotangent is not None:
        with np.errstate(all="ignore"):  # backward has warned; here NaN is a state
            for value, g, slot, contribution in messages(output, cotangent):
                gradients[value], sent[value, slot] = g, contribution
    nodes: list[Node] = []
    edges: list[Edge] = []
    ids: dict[Value, int] = {}
    for value in ancestors([output]):
        sources: dict[int, int] = {}
        for slot, x in enumerate(value.inputs):
            if isinstance(x, Value):
                sources[slot] = ids[x]
            elif x is not None:
                sources[slot] = len(nodes)
                nodes.append(node_of(len(nodes), x, value.scope))
        ids[value] = len(nodes)
        nodes.append(node_of(len(nodes), value, value.scope, gradients.get(value)))
        for slot, source in sources.items():
            part = sent.get((value, slot))
            state = edge_state(nodes[source], value.op, slot, part)
            edges.append(Edge(source, ids[value], slot, part, state))
    return Computation(tuple(nodes), tuple(edges))


def node_of(id: int, x: Any, scope: tuple[str, ...], gradient: Any = None) -> Node:
    """The node of a value, or of a Python number that an op in `scope` was given."""
    if not isinstance(x, Value):
        array, name = np.asarray(x), str(x)
        return Node(id, name, None, None, (), str(array.dtype), scope, "constant", array, None, x)
    op, array = x.op, np.asarray(x.data)
    return Node(
        id, x.name, op.name if op else None, op.symbol if op else None, array.shape,
        str(array.dtype), scope, "op" if op else "parameter" if x.requires_grad else "input",
        array, gradient, x, op.inputs if op else (),
    )  # fmt: skip


def edge_state(source: Node, op: Any, slot: int, contribution: Any) -> State:
    """The state of the gradient that `op` sends to its operand in a slot."""
    if not source.differentiable:
        return State.NO_GRADIENT
    if op.rule(slot) is blocked:
        return State.BLOCKED
    return State.NOT_COMPUTED if contribution is None else state_of(contribution)
