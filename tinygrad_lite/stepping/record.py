"""The steps of a computation, read off its graph: forward through the ops, then backward.

The edges of the graph hold what the reverse pass sent, so a step is a fact and not a
replay: going back to it gives the same object. The reverse pass visits the youngest node
first, which is the order of the backward steps; what has arrived at a node is the sum of
the contributions on the edges out of it, in that order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, overload

import numpy as np

from ..recorded.nodes import Computation, Edge, Node
from ..recorded.states import State
from ..text import number, oneline
from .finite import held
from .rules import Formula, call, formula
from .steps import Arrival, Direction, Operand, Send, Step, row


class Record:
    """A computation as steps, each made when first asked for and kept.

    `loss` says what L is in the rules; it is empty if no gradient was sent back. `names` is
    what formulas call each node, `order` the (direction, number, total, node) of each step,
    and `complete` the number of the backward step after which a parameter or a named value
    has its whole gradient.
    """

    def __init__(self, graph: Computation, check: bool = False) -> None:
        self.graph, self.check = graph, check
        self.names = names_in_formulas(graph)
        self.loss = loss(graph.output, self.names[-1])
        # The contributions to each node, in the order in which the reverse pass adds them.
        self.out = [
            sorted(filter(carries, edges), key=lambda edge: (-edge.target, edge.slot))
            for edges in graph.out_of
        ]
        ops = [node.id for node in graph if node.op is not None]
        senders = [i for i in reversed(ops) if any(map(carries, graph.into[i]))]
        self.order: tuple[tuple[Direction, int, int, int], ...] = (
            *(("forward", k, len(ops), i) for k, i in enumerate(ops, 1)),
            *(("backward", k, len(senders), i) for k, i in enumerate(senders, 1)),
        )
        numbers = {i: k for k, i in enumerate(senders, 1)}
        self.complete = {
            node.id: max(numbers[edge.target] for edge in edges)
            for node, edges in zip(graph, self.out, strict=True)
            if edges and (node.name or node.kind == "parameter")
        }
        self.made: dict[int, Step] = {}

    def step(self, index: int) -> Step:
        """The step at `index`."""
        if index not in self.made:
            self.made.setdefault(index, self.make(index, *self.order[index]))
        return self.made[index]

    def make(self, index: int, direction: Direction, number: int, total: int, i: int) -> Step:
        """Step `number` of `total` in its direction, at node `i`."""
        node = self.graph.nodes[i]
        tensor, op, uses = node.tensor, node.tensor.op, self.graph.into[i]
        # The arrays that the op saw: a parameter may have been given new data since.
        inputs = tuple(
            Operand(e.source, self.names[e.source], read_only(tensor.arrays[e.slot])) for e in uses
        )
        operands = ["None"] * len(tensor.inputs)
        for edge in uses:
            operands[edge.slot] = self.names[edge.source]
        back: dict[str, Any] = {}
        if direction == "backward":
            back["arrivals"], back["gradient"] = (
                tuple(self.arrivals(node)),
                read_only(node.gradient),
            )
            back["sends"] = tuple(self.sends(node, operands))
        return Step(
            index, direction, number, total, i, op.name, op.symbol, node.scope,
            call(op, operands, tensor.params), first_sentence(op.__doc__), inputs,
            Operand(i, self.names[i], read_only(node.value)), source=tensor.source, **back,
        )  # fmt: skip

    def arrivals(self, node: Node) -> Iterator[Arrival]:
        """What has come to a node, part by part."""
        if node is self.graph.output:
            yield Arrival("L", "", None, None, read_only(node.gradient))
        for edge in self.out[node.id]:
            sender = self.graph.nodes[edge.target]
            part = read_only(edge.contribution)
            yield Arrival(self.names[sender.id], sender.symbol or "", sender.id, edge.slot, part)

    def sends(self, node: Node, operands: list[str]) -> Iterator[Send]:
        """What a node sends to each of its inputs that wants gradient."""
        tensor = node.tensor
        op, arrays, g = tensor.op, tensor.arrays, node.gradient
        # Where a value is called g, the gradient is written dL/dy instead.
        own = [self.names[node.id], *operands]
        names = ["g" if "g" not in own else f"dL/d{own[0]}", *own]
        arguments = ((g, tensor._data, *([arrays] if op.sequence else arrays)), tensor.params)
        for edge in filter(carries, self.graph.into[node.id]):
            contribution, x = edge.contribution, self.graph.nodes[edge.source]
            assert contribution is not None
            numbers = ""
            if edge.traffic is not State.BLOCKED and all(np.ndim(x) == 0 for x in (g, *arrays)):
                scalars = [scalar_text(x) for x in (g, tensor._data, *arrays)]
                filled = formula(op, edge.slot, scalars, arguments)
                if not filled.where and filled.result != scalar_text(contribution):
                    numbers = f"{filled} = {number(float(contribution))}"
            rule = formula(op, edge.slot, names, arguments)
            if edge.traffic is not State.BLOCKED:
                rule = note_sum(rule, node, x, edge.slot, arguments)
            total = self.accumulated(x, edge)
            part = read_only(contribution)
            check = None
            if self.check:
                check = held(op, edge.slot, arrays, tensor.params, g, contribution)
            yield Send(
                self.names[x.id], x.id, edge.slot, rule, part,
                part if total is contribution else read_only(total), edge.traffic, numbers, check,
            )  # fmt: skip

    def accumulated(self, node: Node, last: Edge) -> Any:
        """What `node` has received once `last` has brought its contribution."""
        edges = self.out[node.id]
        parts: list[Any] = [edge.contribution for edge in edges[: edges.index(last) + 1]]
        return sum(parts[1:], start=parts[0])


@dataclass(frozen=True, eq=False)
class Passes(Sequence[Step]):
    """Steps of one record, forward ones first; immutable.

    Indexing gives a `Step`, the same object each time; slicing gives the same class again.
    """

    record: Record = field(repr=False)
    indices: range

    @classmethod
    def of(cls, graph: Computation, check: bool = False) -> Self:
        """All steps of a computation; with `check`, each rule held to a finite difference."""
        record = Record(graph, check)
        return cls(record, range(len(record.order)))

    @overload
    def __getitem__(self, index: int) -> Step: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: Any) -> Any:
        chosen = self.indices[index]
        if isinstance(index, slice):
            return type(self)(self.record, chosen)
        return self.record.step(chosen)

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def loss(self) -> str:
        """What L is in the rules, as ``L = sum(F)``; empty if there is no backward pass."""
        return self.record.loss

    @property
    def note(self) -> str:
        """What the steps start from, in a sentence."""
        if not self.loss:
            return "No backward pass: nothing here requires a gradient."
        return f"The gradients are those of {self.loss}."

    @property
    def forward(self) -> Self:
        """The forward steps."""
        return self[: self._turn()]

    @property
    def backward(self) -> Self:
        """The backward steps."""
        return self[self._turn() :]

    def _turn(self) -> int:
        ways = [self.record.order[i][0] for i in self.indices]
        return ways.index("backward") if "backward" in ways else len(ways)

    @property
    def wrong(self) -> tuple[Step, ...]:
        """The steps whose rule a finite difference contradicts (needs ``check=True``)."""
        return tuple(step for step in self.backward if step.wrong)

    def lines(self, index: int, width: int = 80) -> list[str]:
        """The text of one step, in lines of at most `width` characters; a backward step ends
        with the parameters and named values that have their whole gradient, or wait."""
        step = self[index]
        lines = step.lines(width)
        if step.direction == "backward":
            done: list[str] = []
            waiting: list[str] = []
            for i, complete in self.record.complete.items():
                (done if complete <= step.number else waiting).append(self.record.names[i])
            for what, names in (("done", done), ("waiting", waiting)):
                lines += [row(what, " ".join(reversed(names)), width)] if names else []
        return lines

    def __str__(self) -> str:
        return "\n\n".join([self.note, *("\n".join(self.lines(i)) for i in range(len(self)))])


def scalar_text(x: Any) -> str:
    """A number as a formula writes it."""
    text = "None" if x is None else number(float(x))
    return f"({text})" if text.startswith("-") else text


def carries(edge: Edge) -> bool:
    """Whether the reverse pass sent something back through an edge."""
    return edge.contribution is not None


def read_only(array: Any) -> np.ndarray:
    """A view that cannot be written to."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


def first_sentence(doc: str | None) -> str:
    """The first sentence of an op's docstring."""
    first = " ".join((doc or "").strip().split("\n\n")[0].split())
    return first.split(". ")[0].rstrip(".:;")


def note_sum(rule: Formula, node: Node, x: Node, slot: int, arguments: Any) -> Formula:
    """The formula, saying so where the engine summed its result over broadcast axes."""
    op = node.tensor.op
    if x.shape == node.shape or op.sequence:
        return rule
    args, params = arguments
    shape = np.shape(op.rule(slot)(*args, **params))
    extra = len(shape) - len(x.shape)
    if shape == x.shape or extra < 0:
        return rule
    axes = [i for i, n in enumerate(shape) if i < extra or n != x.shape[i - extra]]
    which = f"axis {axes[0]}" if len(axes) == 1 else f"axes {', '.join(map(str, axes))}"
    note = f"(summed over {which}, along which it was broadcast)"
    return Formula(f"{rule.result}  {note}", rule.where, rule.words)


def names_in_formulas(graph: Computation) -> list[str]:
    """What formulas call each node: its name, or # and its id.

    A name that is not one word is put in quotation marks, so that a formula stays readable.
    """
    names = []
    for node in graph:
        name = oneline(node.name or "")
        if node.kind == "constant":
            names.append(f"({name})" if name.startswith("-") else name)
        elif not name:
            names.append(f"#{node.id}")
        else:
            names.append(name if name.isidentifier() else f"‹{name}›")
    return names


def loss(output: Node, name: str) -> str:
    """What L is, if its gradient with respect to the output is what the reverse pass starts
    from."""
    if output.gradient is None:
        return ""
    if not (np.asarray(output.gradient) == 1).all():
        return f"L = sum(gradient * {name})"
    return f"L = {name}" if np.size(output.gradient) == 1 else f"L = sum({name})"
