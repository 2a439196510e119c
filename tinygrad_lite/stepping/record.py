"""The steps of a computation, read off its graph: forward through the ops, then backward.

The edges of the graph hold what the reverse pass sent, so a step is a fact and not a
replay: going back to it gives the same object. The reverse pass visits the youngest node
first, which is the order of the backward steps; what has arrived at a node is the sum of
the contributions on the edges out of it, in that order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import accumulate
from operator import add
from typing import Any, Self, overload

import numpy as np

from ..comparison import check_rule
from ..operation import blocked
from ..recorded.expressions import call
from ..recorded.first_bad import FirstBad, first_bad
from ..recorded.nodes import Computation, Edge, Node
from ..text import CLOSE, DIGITS, number
from .rules import formulas, note_sum
from .steps import Arrival, Direction, Operand, Send, Step, labelled, wrapped

# A word of a formula that is neither a function nor a sign: its numbers would say nothing.
WORDS = re.compile(r"(?<!\w)(?!(where|elsewhere|and|or|not|NaN|[π∞])\b)[^\W\d¹²³⁴-⁹]\w*(?!\w*\()")


class Record:
    """A computation as steps, each made when first asked for and kept: `step(index)`.

    `names` is what formulas call each node, `order` the (direction, number, total, node) of
    each step, and `complete` the number of the backward step after which a parameter or a
    named value has its whole gradient.
    """

    def __init__(self, graph: Computation, check: bool = False) -> None:
        self.graph, self.check = graph, check
        self.names = [name_in_formulas(node, graph.title(node)) for node in graph]
        # The edges that gradient was sent through, in the order of the reverse pass.
        sent = (edge for edge in graph.edges if edge.contribution is not None)
        order = sorted(sent, key=lambda edge: (-edge.target, edge.slot))
        self.back = Computation(graph.nodes, tuple(order), graph.names)
        ops = [node.id for node in graph if node.op is not None]
        senders = {i: k for k, i in enumerate(dict.fromkeys(edge.target for edge in order), 1)}
        self.order: tuple[tuple[Direction, int, int, int], ...] = (
            *(("forward", k, len(ops), i) for k, i in enumerate(ops, 1)),
            *(("backward", k, len(senders), i) for i, k in senders.items()),
        )
        self.complete = {
            node.id: senders[edges[-1].target]
            for node, edges in zip(graph, self.back.out_of, strict=True)
            if edges and (node.name or node.kind == "parameter")
        }
        # The same, the output first.
        self.awaited = [self.names[i] for i in reversed(self.complete)]
        self.numbers = np.array([*reversed(self.complete.values())], int)
        self.step, self.accumulated = cache(self.make), cache(self.sums)

    @cached_property
    def first_bad(self) -> FirstBad:
        """Where the numbers first are not finite."""
        graph, output = self.graph, self.graph.output
        return first_bad(output.tensor, graph.names, output.gradient, graph.receipts)

    @np.errstate(all="ignore")  # backward has warned
    def make(self, index: int) -> Step:
        """The step at `index`."""
        direction, number, total, i = self.order[index]
        node, uses = self.graph.nodes[i], self.graph.into[i]
        tensor, op = node.tensor, node.tensor.op
        operands = ["None"] * len(tensor.inputs)
        for edge in uses:
            operands[edge.slot] = self.names[edge.source]
        # The arrays that the op saw: a parameter may have been given new data since.
        arrays = [read_only(tensor.arrays[edge.slot]) for edge in uses]
        inputs = (Operand(e.source, operands[e.slot], x) for e, x in zip(uses, arrays, strict=True))
        output = Operand(i, self.names[i], read_only(node.value))
        back: dict[str, Any] = {}
        if direction == "backward":
            back["arrivals"] = tuple(self.arrivals(node))
            back["gradient"], back["state"] = read_only(node.gradient), node.state
            back["sends"] = tuple(self.sends(node, operands))
        return Step(
            index, direction, number, total, i, op.name, op.symbol, node.scope,
            call(op, operands, tensor.params), first_sentence(op.__doc__), tuple(inputs), output,
            source=node.source, calls=node.calls, expression=node.expression, **back,
        )  # fmt: skip

    def arrivals(self, node: Node) -> Iterator[Arrival]:
        """What has come to a node, part by part."""
        if node is self.graph.output:
            yield Arrival("L", "", None, None, read_only(node.gradient))
        for edge in self.back.out_of[node.id]:
            sender = self.graph.nodes[edge.target]
            part = read_only(edge.contribution)
            yield Arrival(self.names[sender.id], sender.symbol or "", sender.id, edge.slot, part)

    def sends(self, node: Node, operands: list[str]) -> Iterator[Send]:
        """What a node sends to each of its inputs that wants gradient."""
        tensor, g = node.tensor, node.gradient
        op, arrays = tensor.op, tensor.arrays
        # Where a value is called g, the gradient is written ∂L/∂y instead.
        own = [self.names[node.id], *operands]
        names = ["g" if "g" not in own else f"∂L/∂{own[0]}", *own]
        arguments = ((g, tensor._array, *([arrays] if op.sequence else arrays)), tensor.params)
        in_words = formulas(op, names, arguments)
        are_scalars = not op.sequence and not any(map(np.ndim, (g, *arrays)))
        for edge in self.back.into[node.id]:
            slot, part = edge.slot, read_only(edge.contribution)
            recipient = self.graph.nodes[edge.source]
            rule, numbers = in_words(slot), ""
            if op.rule(slot) is not blocked:
                if recipient.shape != node.shape and not op.sequence:
                    rule = note_sum(rule, op.rule(slot), arguments, recipient.shape)
                scalars = shown_numbers(op.rule(slot), arguments, part) if are_scalars else []
                if scalars:
                    filled, result = str(formulas(op, scalars, arguments)(slot)), scalar_text(part)
                    if filled != result and not WORDS.search(filled):
                        numbers = f"{filled} = {result}"
            whole = recipient.state if edge == self.back.out_of[recipient.id][-1] else None
            had, now = self.accumulated(edge.source)[edge]
            yield Send(
                self.names[recipient.id], recipient.id, slot, rule, part,
                part if had is None else now, edge.traffic, whole, numbers, had,
                check_rule(op, slot, arrays, tensor.params, g, part)
                if self.check and slot not in getattr(op, "stopped", ())
                else None,
            )  # fmt: skip

    def received(self, edges: Sequence[Edge]) -> np.ndarray:
        """What the first edges out of a node have brought together."""
        return self.accumulated(edges[-1].source)[edges[-1]][1]

    def sums(self, source: int) -> dict[Edge, tuple[np.ndarray | None, np.ndarray]]:
        """What a node has received before each edge brings its part, and with it."""
        edges = self.back.out_of[source]
        parts: Iterator[Any] = accumulate((edge.contribution for edge in edges), add)
        totals = list(map(read_only, parts))
        pairs = zip([None, *totals[:-1]], totals, strict=True)
        return dict(zip(edges, pairs, strict=True))

    def names_that_fit(self, which: np.ndarray, width: int) -> str:
        """The names of some that have their whole gradient or wait, as many as fit a line."""
        return " ".join(self.awaited[i] for i in np.flatnonzero(which)[:width])


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
        try:
            chosen = self.indices[index]
        except IndexError:
            raise IndexError(f"there are {len(self)} steps, so no step [{index}]") from None
        if isinstance(index, slice):
            return type(self)(self.record, chosen)
        return self.record.step(chosen)

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def loss(self) -> str:
        """What L is in the rules, as ``L = sum(F)``; empty if there is no backward pass."""
        g, name = self.record.graph.output.gradient, self.record.names[-1]
        if g is None:
            return ""
        if not np.all(g == 1):
            return f"L = sum(gradient * {name})"
        return f"L = {name}" if np.size(g) == 1 else f"L = sum({name})"

    @property
    def note(self) -> str:
        """What the steps start from, in a sentence, and those on what is not finite."""
        start = f"The gradients are those of {self.loss}."
        if not self.loss:
            asked = self.record.graph.output.differentiable
            why = "was made" if asked else "is possible: nothing here requires a gradient"
            start = f"No backward pass {why}."
        return f"{start}\n{self.first_bad}".rstrip()

    @property
    def first_bad(self) -> str:
        """Where a value and a gradient first were not finite, and why; empty if all are."""
        return str(self.record.first_bad)

    @property
    def forward(self) -> Self:
        """The forward steps."""
        return self[: self._turn()]

    @property
    def backward(self) -> Self:
        """The backward steps."""
        return self[self._turn() :]

    def _turn(self) -> int:
        return sum(self.record.order[i][0] == "forward" for i in self.indices)

    @property
    def wrong(self) -> tuple[Step, ...]:
        """The steps whose rule a finite difference contradicts (needs ``check=True``)."""
        return tuple(step for step in self.backward if step.wrong)

    def lines(self, index: int, width: int = 80) -> list[str]:
        """The text of one step, in lines of at most `width` characters; where numbers first
        are not finite it says so, and a backward step ends with the parameters and named values
        that have their whole gradient, or wait."""
        step, rows = self[index], self.bad_rows(index, width)
        if step.direction == "backward":
            record, done = self.record, self.record.numbers <= step.number
            rows += [("done", record.names_that_fit(done, width))]
            rows += [("waiting", record.names_that_fit(~done, width))]
        return step.lines(width) + labelled((row for row in rows if row[1]), width)

    def bad_rows(self, index: int, width: int) -> list[tuple[str, str]]:
        """What is to say where a step makes, or sends, what first is not finite."""
        step, bad = self[index], self.record.first_bad
        node = self.record.graph.nodes[step.id].tensor
        if step.direction == "forward":
            return wrapped("bad", bad.of_value, width) if node is bad.value else []
        return wrapped("bad", bad.of_gradient, width) if node is bad.sender else []

    def __str__(self) -> str:
        return "\n\n".join([self.note, *("\n".join(self.lines(i)) for i in range(len(self)))])


def shown_numbers(rule: Any, arguments: Any, part: Any) -> list[str]:
    """What a rule was given, with as many digits as it takes to come to what it sends: 1 − y says
    nothing of a y that is shown as 1.00. None of them where that is not so with any number."""
    given, static = arguments
    for digits in DIGITS:
        shown = [scalar_text(x, digits) for x in given]
        numbers = [
            x.dtype.type(scalar_of(text)) if hasattr(x, "dtype") and x.dtype.kind == "f" else x
            for x, text in zip(given, shown, strict=True)
        ]
        with suppress(Exception):  # a rule of somebody's own may not take other numbers
            if np.allclose(rule(*numbers, **static), part, CLOSE, 0.0, equal_nan=True):
                return shown
    return []


def scalar_text(x: Any, digits: int = 3) -> str:
    """A number as a formula writes it: with three digits where these are all that it has."""
    if x is None:
        return "None"
    short = number(float(x)).replace("-", "−")
    return short if scalar_of(short) == x else number(float(x), digits).replace("-", "−")


def scalar_of(text: str) -> float:
    """The number that a formula writes."""
    return float(text.replace("−", "-").replace("∞", "inf"))


def bracketed(text: str) -> str:
    """A number in brackets if it is negative."""
    return f"({text})" if text.startswith("-") else text


def read_only(array: Any) -> np.ndarray:
    """A view that cannot be written to."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


def first_sentence(doc: str | None) -> str:
    """The first sentence of an op's docstring."""
    paragraph = (doc or "").strip().split("\n\n")[0]
    return " ".join(paragraph.split()).split(". ")[0].rstrip(".:;")


def name_in_formulas(node: Node, title: str) -> str:
    """What formulas call a node: its title, in quotation marks if it is no variable's name or way
    to a value, as ``net.layers[0].W`` is."""
    if node.kind == "constant":
        return bracketed(title)
    return title if re.fullmatch(r"[^\W\d]\w*(\.\w+|\[[^\[\]…]+\])*", title) else f"‹{title}›"
