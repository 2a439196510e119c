"""A computation step by step: forward through the ops, then backward through their rules.

Every step is read off the recorded graph, whose edges hold what the reverse pass sent, so
a step is a fact and not a replay: going back to it gives the same object. The reverse pass
visits the youngest node first, which is the order of the backward steps; what has arrived
at a node is the sum of the contributions on the edges out of it, in that order.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np

from ..backward import seed
from ..drawing.page import framed
from ..drawing.terminal import interact
from ..drawing.text import number, oneline
from ..files import check_target, written
from ..stepping.finite import Check, held
from ..stepping.rules import Formula, call, formula
from ..tensor import Tensor
from ..value import Context, _Change
from ..views.keys import Walker
from ..views.page_data import steps_page
from ..views.step_text import progress, text
from .graphs import Edge, Graph, Node, Traffic, graph

Direction = Literal["forward", "backward"]


class source_lines(_Change):
    """Note the line of your own file that makes each value, for `steps` to show.

    A context manager and a decorator; each thread has its own. Outside it nothing is
    noted, and nothing is spent on it. ``tinygrad-lite step`` runs a script inside it.

    >>> from tinygrad_lite import Tensor, source_lines, steps
    >>> with source_lines():
    ...     y = Tensor(2.0, requires_grad=True) * 3.0
    >>> steps(y)[0].source is not None
    True
    """

    def _changed(self, context: Context) -> Context:
        return replace(context, sources=True)


@dataclass(frozen=True, eq=False, slots=True)
class Operand:
    """A value that a step reads or makes: its node's id, what it is called, its array."""

    id: int
    name: str
    value: np.ndarray = field(repr=False)


@dataclass(frozen=True, eq=False, slots=True)
class Arrival:
    """Gradient that has come to a node: from which node, through which of its inputs.

    `id` and `slot` are None for the cotangent that the reverse pass starts with.
    """

    sender: str
    symbol: str
    id: int | None
    slot: int | None
    contribution: np.ndarray = field(repr=False)


@dataclass(frozen=True, eq=False, slots=True)
class Send:
    """What a node sends to one of its inputs.

    `formula` is the rule that made the `contribution`, `numbers` the same with numbers for
    names where all are scalars (else empty); `accumulated` what the recipient
    has received so far, this included; `check` how the rule compares with a finite
    difference, None if not asked for.
    """

    recipient: str
    id: int
    slot: int
    formula: Formula
    contribution: np.ndarray = field(repr=False)
    accumulated: np.ndarray = field(repr=False)
    traffic: Traffic
    numbers: str = ""
    check: Check | None = None

    @property
    def rule(self) -> str:
        """The rule in words, as ``dL/dh = g * (y * (1 - y))``."""
        return f"dL/d{self.recipient} = {self.formula}"


@dataclass(frozen=True, eq=False, slots=True)
class Step:
    """One op, on its way forward or backward. Immutable.

    `index` is its place among all steps; `number` counts from 1 to `total` in its
    direction. `rule` is in words: forward the
    call, backward one line for each input that is sent gradient. `gradient` is the sum of
    the `arrivals`; both, and `sends`, are empty on the way forward. `source` is the file
    and line of the user's code, None unless it ran inside `source_lines()`.
    """

    index: int
    direction: Direction
    number: int
    total: int
    id: int
    op: str
    symbol: str
    scope: tuple[str, ...]
    call: str
    words: str
    inputs: tuple[Operand, ...]
    output: Operand
    arrivals: tuple[Arrival, ...] = ()
    gradient: np.ndarray | None = field(repr=False, default=None)
    sends: tuple[Send, ...] = ()
    source: tuple[str, int] | None = None

    @property
    def rule(self) -> str:
        """The rule in words: the call on the way forward, the formulas on the way back."""
        return "\n".join(send.rule for send in self.sends) or f"{self.output.name} = {self.call}"

    @property
    def wrong(self) -> tuple[Send, ...]:
        """What this step sends that a finite difference contradicts."""
        return tuple(s for s in self.sends if s.check and s.check.verdict == "disagrees")

    @property
    def finite(self) -> bool:
        """Whether no NaN or inf is made here, or arrives, or is sent."""
        arrays = [self.output.value] if self.gradient is None else [self.gradient]
        arrays += [send.contribution for send in self.sends]
        return all(bool(np.isfinite(array).all()) for array in arrays)

    def __str__(self) -> str:
        return "\n".join(text(self))


class Record:
    """The graph that steps are read off, with its edges looked up by either end."""

    def __init__(self, graph: Graph, check: bool) -> None:
        self.graph, self.loss, self.check = graph, loss(graph), check
        self.names = called(graph)
        self.into = graph.into
        # The contributions to each node, in the order in which the reverse pass adds them.
        self.out = [
            sorted(filter(carries, edges), key=lambda edge: (-edge.target, edge.slot))
            for edges in graph.out_of
        ]
        forward = [node.id for node in graph if node.op is not None]
        backward = [i for i in reversed(forward) if any(map(carries, self.into[i]))]
        self.order: tuple[tuple[Direction, int, int, int], ...] = (
            *(("forward", k, len(forward), i) for k, i in enumerate(forward, 1)),
            *(("backward", k, len(backward), i) for k, i in enumerate(backward, 1)),
        )
        numbers = {i: k for way, k, _, i in self.order if way == "backward"}
        # The backward step after which each node has its whole gradient.
        self.complete = {
            i: max(numbers[edge.target] for edge in edges)
            for i, edges in enumerate(self.out)
            if edges
        }
        self.made: dict[int, Step] = {}

    def step(self, index: int) -> Step:
        """The step at `index`, made when first asked for and kept."""
        if index not in self.made:
            self.made.setdefault(index, self.make(index, *self.order[index]))
        return self.made[index]

    def make(self, index: int, direction: Direction, number: int, total: int, i: int) -> Step:
        """Step `number` of `total` in its direction, at node `i`."""
        node = self.graph.nodes[i]
        op = node.tensor.op
        # The arrays that the op saw: a parameter may have been given new data since.
        inputs = tuple(
            Operand(e.source, self.names[e.source], locked(node.tensor.arrays[e.slot]))
            for e in self.into[i]
        )
        operands = ["None"] * len(node.tensor.inputs)
        for edge in self.into[i]:
            operands[edge.slot] = self.names[edge.source]
        back = direction == "backward"
        return Step(
            index,
            direction,
            number,
            total,
            i,
            op.name,
            op.symbol,
            node.scope,
            call(op, operands, node.tensor.params),
            words(op.__doc__),
            inputs,
            Operand(i, self.names[i], locked(node.value)),
            tuple(self.arrivals(node)) if back else (),
            locked(node.gradient) if back else None,
            tuple(self.sends(node, operands)) if back else (),
            node.tensor.source,
        )

    def arrivals(self, node: Node) -> Iterator[Arrival]:
        """What has come to a node, part by part."""
        if node is self.graph.output:
            assert node.gradient is not None
            yield Arrival("L", "", None, None, locked(node.gradient))
        for edge in self.out[node.id]:
            sender = self.graph.nodes[edge.target]
            part = locked(edge.contribution)
            yield Arrival(self.names[sender.id], sender.symbol or "", sender.id, edge.slot, part)

    def sends(self, node: Node, operands: list[str]) -> Iterator[Send]:
        """What a node sends to each of its inputs that wants gradient."""
        tensor = node.tensor
        op, arrays, g = tensor.op, tensor.arrays, node.gradient
        # A value called g would be taken for the gradient: then that is spelled out.
        own = [self.names[node.id], *operands]
        names = ["g" if "g" not in own else f"dL/d{own[0]}", *own]
        arguments = ((g, tensor._data, *([arrays] if op.sequence else arrays)), tensor.params)
        for edge in filter(carries, self.into[node.id]):
            contribution, x = edge.contribution, self.graph.nodes[edge.source]
            assert contribution is not None
            written = formula(op, edge.slot, names, arguments)
            with_numbers = ""
            if edge.traffic != "blocked" and all(np.ndim(x) == 0 for x in (g, *arrays)):
                numbers = [scalar(x) for x in (g, tensor._data, *arrays)]
                told = formula(op, edge.slot, numbers, arguments)
                if not told.where and told.result != scalar(contribution):
                    with_numbers = f"{told} = {number(float(contribution))}"
            yield Send(
                self.names[x.id],
                x.id,
                edge.slot,
                summed(written, node, x, edge, arguments),
                part := locked(contribution),
                part if (total := self.accumulated(x, edge)) is contribution else locked(total),
                edge.traffic,
                with_numbers,
                held(op, edge.slot, arrays, tensor.params, g, contribution) if self.check else None,
            )

    def accumulated(self, node: Node, last: Edge) -> Any:
        """What `node` has received once `last` has brought its contribution."""
        total: Any = None
        for edge in self.out[node.id]:
            total = edge.contribution if total is None else total + edge.contribution
            if edge is last:
                break
        return total


def scalar(x: Any) -> str:
    """A number as a formula writes it."""
    told = "None" if x is None else number(float(x))
    return f"({told})" if told.startswith("-") else told


def carries(edge: Edge) -> bool:
    """Whether the reverse pass sent something back through an edge."""
    return edge.contribution is not None


def locked(array: Any) -> np.ndarray:
    """A view that cannot be written to."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


def words(doc: str | None) -> str:
    """The first sentence of an op's docstring."""
    first = " ".join((doc or "").strip().split("\n\n")[0].split())
    return first.split(". ")[0].rstrip(".:;")


def summed(formula: Formula, node: Node, x: Node, edge: Edge, arguments: Any) -> Formula:
    """The formula, saying so where the engine summed its result over broadcast axes."""
    op = node.tensor.op
    if x.shape == node.shape or op.sequence or edge.traffic == "blocked":
        return formula
    rule, (args, params) = op.rules[edge.slot], arguments
    shape = np.shape(rule(*args, **params))
    extra = len(shape) - len(x.shape)
    if shape == x.shape or extra < 0:
        return formula
    axes = [i for i, n in enumerate(shape) if i < extra or n != x.shape[i - extra]]
    which = f"axis {axes[0]}" if len(axes) == 1 else f"axes {', '.join(map(str, axes))}"
    note = f"(summed over {which}, along which it was broadcast)"
    return Formula(f"{formula.result}  {note}", formula.where, formula.words)


def called(graph: Graph) -> list[str]:
    """What each node is called in a formula: its name, or # and its id.

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


@dataclass(frozen=True, eq=False)
class Steps(Sequence[Step]):
    """The steps of a computation, forward ones first; immutable.

    Indexing gives a `Step`, the same object each time; slicing gives `Steps`. `loss` says
    what L stands for in the rules.
    """

    record: Record = field(repr=False)
    indices: range

    @overload
    def __getitem__(self, index: int) -> Step: ...
    @overload
    def __getitem__(self, index: slice) -> Steps: ...
    def __getitem__(self, index: Any) -> Any:
        chosen = self.indices[index]
        return Steps(self.record, chosen) if isinstance(index, slice) else self.record.step(chosen)

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def graph(self) -> Graph:
        """The graph that the steps walk."""
        return self.record.graph

    @property
    def loss(self) -> str:
        """What L is in the rules, as ``L = sum(F)``; empty if there is no backward pass."""
        return self.record.loss

    @property
    def forward(self) -> Steps:
        """The forward steps."""
        return self[: self._turn()]

    @property
    def backward(self) -> Steps:
        """The backward steps."""
        return self[self._turn() :]

    def _turn(self) -> int:
        ways = [self.record.order[i][0] for i in self.indices]
        return ways.index("backward") if "backward" in ways else len(ways)

    @property
    def wrong(self) -> tuple[Step, ...]:
        """The steps whose rule a finite difference contradicts (needs ``check=True``)."""
        return tuple(step for step in self.backward if step.wrong)

    def __str__(self) -> str:
        told = [self.note] if self.note else []
        return "\n\n".join([*told, *("\n".join(self.lines(i)) for i in range(len(self)))])

    @property
    def note(self) -> str:
        """What the steps start from, in a sentence."""
        if not self.loss:
            return "No backward pass: nothing here requires a gradient."
        return f"The gradients are those of {self.loss}."

    def lines(self, index: int, width: int = 80) -> list[str]:
        """The text of one step, in lines of at most `width` characters."""
        step = self[index]
        return [*text(step, width), *progress(self.record, step, width)]

    def interactive(self) -> None:
        """Walk through the steps by keys, in the terminal; ? lists them.

        Without a terminal, as when the output is piped, every step is printed.
        """
        if not len(self):
            print("there are no steps: nothing was computed")
        elif not interact(Walker(self)):
            print(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the steps as one offline page that is stepped by keys; the suffix is .html.

        Raises: ValueError for another suffix, or a graph too large to draw;
        FileNotFoundError for a folder that does not exist; RuntimeError where pictures
        cannot be laid out on this machine. The file is written whole or not at all.
        """
        target = Path(path)
        check_target(target, (".html",))
        text = steps_page(self)
        with written(target) as file:
            file.write(text.encode())

    def _repr_html_(self) -> str:
        return framed(steps_page(self))


def steps(output: Tensor, gradient: Any = None, *, check: bool = False) -> Steps:
    """The computation of `output`, op by op, forward and then backward.

    Backward starts with `gradient`, a cotangent of the output's shape; without it, with
    that of the last ``output.backward(...)``, and else with ones, the gradient of
    sum(output). `Steps.loss` says which. With ``check=True`` every rule is held against a
    finite difference of its op at the recorded values.

    >>> from tinygrad_lite import Tensor, sigmoid, steps
    >>> h = Tensor(0.0, requires_grad=True, name="h")
    >>> y = sigmoid(h)
    >>> y.name = "y"
    >>> for step in steps(y):
    ...     print(step.rule)
    y = sigmoid(h)
    dL/dh = g * (y * (1 - y))

    Raises: TypeError if `output` is not a Tensor; as `backward` does for the gradient.
    """
    if not isinstance(output, Tensor):
        raise TypeError(f"steps takes a Tensor, but got {type(output).__name__}")
    if output.requires_grad or gradient is not None:
        start = getattr(output, "cotangent", None) if gradient is None else gradient
        gradient = seed(output, np.ones(output.shape) if start is None else start)
        if isinstance(gradient, Tensor):
            gradient = gradient.data
    return stepped(graph(output, gradient), check)


def stepped(graph: Graph, check: bool = False) -> Steps:
    """The steps of a graph as it was recorded: backward ones only if it has gradients."""
    record = Record(graph, check)
    return Steps(record, range(len(record.order)))


def loss(graph: Graph) -> str:
    """What L is, if its gradient with respect to the output is what a graph starts from."""
    gradient = graph.output.gradient
    if gradient is None:
        return ""
    name = called(graph)[graph.output.id]
    if not (np.asarray(gradient) == 1).all():
        return f"L = sum(gradient * {name})"
    return f"L = {name}" if np.size(gradient) == 1 else f"L = sum({name})"
