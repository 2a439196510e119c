"""Which boxes and arrows stand for the nodes and edges of a computation.

A value with a name, and every input, is a box; an op is a circle, which also stands for
its result where that has no name; where the result is a single number, both are one box with
the number; a folded part (fold.py) is one box. A `Wire` is an arrow together with what it stands
for. A `Diagram` holds them all: it is made once and handed to whatever draws it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from os.path import commonprefix  # which takes tuples too
from statistics import median_high
from typing import Any

import numpy as np

from ..drawing.picture import BLUE, COMPUTED, GREY, INPUT, MAGENTA, OP, PARAMETER, Box
from ..recorded.array_text import few_or_range
from ..recorded.fold import Folding, folding
from ..recorded.measure import norm
from ..recorded.nodes import Computation, Edge, Node
from ..recorded.outcome import Receipt, strongest, whole_receipt
from ..recorded.states import APPEARANCE, State, size_text
from ..text import oneline
from .numbers import Arrivals, are_few, arrivals, in_rows, slope_text, value_texts
from .units import leaves_last, part_box, port_box, port_id, repeated_box

LARGEST = 3000  # boxes that are laid out without being asked for with fold=False

# Ops whose operands may be exchanged: their arrows need no word for the slot.
SYMMETRIC = {
    "add", "multiply", "maximum", "minimum", "equal", "not_equal", "logical_and", "logical_or",
    "hypot", "logaddexp",
}  # fmt: skip


@dataclass(frozen=True)
class Wire:
    """An arrow of the picture: the `edges` it stands for, all out of `source` boxes.

    An arrow from an op to the box of its named result stands for no edge but for that
    value as a whole: `value` is its node, and the gradient is all that arrived there.
    """

    id: str
    source: str
    target: str
    edges: tuple[Edge, ...] = ()
    value: Node | None = None
    slot: str = ""
    main: bool = True  # not from a leaf: the layout keeps these straight
    repeats: tuple[Wire, ...] = ()  # in a unit: the same arrow, repeat by repeat
    whole: tuple[Edge, ...] = ()  # of one repeat: the edges of all
    numbers: tuple[str, ...] = ()  # what goes back through it, if that is up to four numbers
    slope: str = ""  # between two single numbers: how much of what arrives is sent on
    told: bool = False  # what it brings is said beside it, by the box where it arrives

    @cached_property
    def skip(self) -> bool:
        """Whether all that it stands for passes a join straight. An arrow into a folded box that
        hides the join stands for the branch as well: it is none."""
        return bool(self.edges) and all(edge.skip for edge in self.whole or self.edges)

    @cached_property
    def traffic(self) -> State:
        """What kind of gradient goes back through it."""
        return next(state for state in State if state in self.states)

    @cached_property
    @np.errstate(all="ignore")
    def states(self) -> dict[State, int]:
        """The states of what goes back through it, value by value, and how many bear each."""
        if self.value is not None:
            return {self.value.state: 1}
        by_value: dict[int, list[Edge]] = {}
        for edge in self.edges:
            by_value.setdefault(edge.source, []).append(edge)
        return Counter(state_of_sum(edges) for edges in by_value.values())

    @property
    def negative(self) -> bool:
        """Whether a single number goes back through it that is below 0."""
        return len(self.numbers) == 1 and self.numbers[0].startswith("−")

    @property
    def label(self) -> str:
        """What goes back through it, in letters: the numbers if they are few, else their length."""
        plain = self.traffic in (State.GRADIENT, State.EXPLODING, State.INFINITE)
        if self.numbers and plain:
            return "\n".join(in_rows(self.numbers))
        return size_text(self.traffic, self.magnitude)

    @cached_property
    @np.errstate(all="ignore")
    def magnitude(self) -> float:
        """The norm of what goes back through it: contributions to one value are added,
        those to different values stand side by side. Of a repeated arrow, the median."""
        if self.repeats:
            return median_high(wire.magnitude for wire in self.repeats)
        if self.value is not None:
            return 0.0 if self.value.gradient is None else norm(self.value.gradient)
        sums: dict[int, Any] = {}
        for edge in self.edges:
            if edge.contribution is not None:
                sums[edge.source] = sums.get(edge.source, 0.0) + edge.contribution
        return norm([norm(c) for c in sums.values()])


def state_of_sum(edges: list[Edge]) -> State:
    """The state of what several edges send to one value together."""
    parts = [edge.contribution for edge in edges if edge.contribution is not None]
    if len(parts) < 2:
        return strongest([edge.outcome for edge in edges]).state
    sent = [Receipt(norm(edge.contribution), edge.outcome) for edge in edges]
    return whole_receipt(None, sum(parts[1:], parts[0]), sent, 0.0).outcome.state


@dataclass(frozen=True)
class Diagram:
    """The boxes and wires of a graph, what is folded in it, and for every node the ids of the
    boxes and wires that stand for it, alone or with others."""

    graph: Computation
    folding: Folding
    boxes: tuple[Box, ...]
    wires: tuple[Wire, ...]
    elements: tuple[tuple[str, ...], ...]
    brief: bool = False  # without the numbers of arrays (brief.py)


def diagram(graph: Computation, fold: bool | None = None) -> Diagram:
    """The boxes and wires of a computation; `fold` as in `Graph.save`.

    Raises: ValueError for another `fold`, or more than `LARGEST` boxes that nobody asked for.
    """
    if fold not in (None, True, False):
        raise ValueError(f"fold is True, False, or None for by itself, but got {fold!r}")
    folded = folding(graph, fold)
    boxes: dict[str, Box] = {}
    wires: dict[str, Wire] = {}
    joint: dict[str, list[tuple[int, Edge]]] = {}  # what each arrow stands for, and its repeat
    starts: list[str] = []  # for every node, the box that its arrows start at
    elements: list[tuple[str, ...]] = []

    def join(id: str, source: str, target: str, edge: Edge, repeat: int, word: str = "") -> None:
        joint.setdefault(id, []).append((repeat, edge))
        if id not in wires:
            main = graph.nodes[edge.source].op is not None
            wires[id] = Wire(id, source, target, (edge,), None, word, main)

    for ahead in folded.units:
        for n, value in enumerate(ahead.ports):
            boxes[port_id(ahead, value)] = port_box(graph, ahead, value, n)
    arriving = [arrivals(graph, node) for node in graph.nodes]
    often = Counter(node.symbol for node in graph.nodes)
    for node in graph.nodes:
        arrived = arriving[node.id]
        unit, repeat, drawn = folded.repeat.get(node.id) or (None, -1, node.id)
        part = folded.part_of.get(drawn)
        own = part.id if part else f"n{drawn}"
        starts.append(own)
        elements.append((own,))
        if own not in boxes and node.id == drawn:
            boxes[own] = (
                part_box(graph, folded, part, often) if part else node_box(graph, node, arrived)
            )
            if unit and not part:
                boxes[own] = repeated_box(graph, folded, unit, node, boxes[own])
        for edge in graph.into[node.id]:
            source, word = starts[edge.source], slot(graph, node, edge)
            port = unit and unit.carried.get((drawn, edge.slot))
            if unit and port:
                inlet = port_id(unit, port)
                if edge.source not in folded.repeat or folded.repeat[edge.source][0] is not unit:
                    join(f"{source}-{inlet}", source, inlet, edge, -1)
                source = inlet
            if source == own:
                continue
            alone = not part and (bool(port) or folded.drawn(edge.source) not in folded.part_of)
            id = f"e{drawn}-{edge.slot}" if alone else f"{source}-{own}"
            join(id, source, own, edge, repeat, word if alone else "")
            if alone and not unit and len(joint[id]) == 1:
                sent, slope = arriving[edge.source].sent.get(edge, ()), slope_text(graph, edge)
                wires[id] = replace(wires[id], numbers=sent, slope=slope)
        # A named result has a box of its own, outside of a folded part only if it is the output.
        named = node.name and not part and (unit is None or leaves_last(graph, unit, node))
        named = node.op is not None and (node is graph.output or named)
        if named and (part or unit or node.value.size != 1):
            starts[-1], way = f"v{node.id}", f"r{node.id}"
            elements[-1] = own, starts[-1], way
            boxes[starts[-1]] = value_box(graph, node, starts[-1], arrived)
            few = are_few(node.value)
            wires[way] = Wire(way, own, starts[-1], value=node, numbers=arrived.total, told=few)
    if len(boxes) > LARGEST and fold is not False:
        raise ValueError(
            f"the picture would have {len(boxes):,} boxes; give parts of the computation names, "
            'using `with scope("..."):`, so that they fold, or save it as .json'
        )
    uses = Counter(wire.source for wire in wires.values())
    for wire in wires.values():  # what only a part uses stands in the same frame
        leaf, target = boxes[wire.source], boxes[wire.target]
        if target.kind == "folded" and leaf.kind == "value" and uses[leaf.id] == 1:
            boxes[leaf.id] = replace(leaf, cluster=target.cluster)
    for id, edges in joint.items():
        if len(edges) > 1:
            wires[id] = replace(wires[id], edges=tuple(edge for _, edge in edges))
        if edges[0][0] >= 0:
            by_repeat: dict[int, list[Edge]] = {}
            for k, edge in edges:
                by_repeat.setdefault(k, []).append(edge)
            whole = wires[id].edges
            several = (
                replace(wires[id], edges=tuple(some), whole=whole) for some in by_repeat.values()
            )
            wires[id] = replace(wires[id], repeats=tuple(several))
    return Diagram(graph, folded, tuple(boxes.values()), tuple(wires.values()), tuple(elements))


def slot(graph: Computation, node: Node, edge: Edge) -> str:
    """The word at an arrow's start, where the order of the operands matters and is not seen in
    the box."""
    if node.op in SYMMETRIC or not node.inputs or written_call(graph, node):
        return ""
    if len(node.inputs) == 1:  # one input, or a list of them
        return "" if len(node.tensor.inputs) == 1 else str(edge.slot + 1)
    name = node.inputs[edge.slot]
    return name[1:] if name in ("x1", "x2") else name


# Boxes


def node_box(graph: Computation, node: Node, arrived: Arrivals) -> Box:
    """The circle of an op, or its box with the single number that it makes; the box of an input
    or parameter, the text of a constant."""
    id = f"n{node.id}"
    if node.op is not None:
        params = [f"{name} = {oneline(repr(x), 60)}" for name, x in node.tensor.params.items()]
        text = "\n".join((node_text(node), few_or_range(node.value), *params))
        if node.value.size != 1:
            return Box(id, (str(node.symbol),), "op", OP, text, cluster=node.scope)
        made = written_call(graph, node) or (
            short_call(graph, node) if node.name else str(node.symbol)
        )
        head = f"{oneline(node.name, 12)} = {made}" if node.name else made
        return Box(
            id, (head, *value_texts(node.value)), "value", OP, text, node is graph.output,
            node.scope, gradient_lines(graph, node, arrived), gradient_ink(node),
        )  # fmt: skip
    if node.kind == "constant":
        return Box(id, (str(node.name),), "constant", "none", cluster=node.scope)
    return value_box(graph, node, id, arrived)


def written_call(graph: Computation, node: Node) -> str:
    """How a single number was made, as Python writes it, where that is short; else ""."""
    if node.op is None or node.value.size != 1:
        return ""
    call = graph.names.call(node.tensor)
    return "" if len(call) > 16 or "…" in call else call


def short_call(graph: Computation, node: Node) -> str:
    """The same with what is long left out."""
    call = graph.names.call(node.tensor)
    return call if len(call) <= 16 else f"{node.op}(…)"


def value_box(graph: Computation, node: Node, id: str, arrived: Arrivals) -> Box:
    """The box of a value: outside of the scope that made it if it is used only outside."""
    fill = {"input": INPUT, "parameter": PARAMETER}.get(node.kind, COMPUTED)
    cluster = node.scope
    if node.op is not None:
        uses = [graph.nodes[edge.target].scope for edge in graph.out_of[node.id]] or [()]
        cluster = max((tuple(commonprefix([node.scope, use])) for use in uses), key=len)
    name = node.name or ("output" if node is graph.output else "")
    shown = value_texts(node.value) if are_few(node.value) else [str(node.shape)]
    if node.value.size == 1 and name and len(name) <= 12:
        name, shown = f"{name} = {shown[0]}", []
    lines = tuple(filter(None, (name, *shown)))
    text = "\n".join(filter(None, (node.name, node_text(node), few_or_range(node.value))))
    below, ink = gradient_lines(graph, node, arrived), gradient_ink(node)
    return Box(id, lines, "value", fill, text, node is graph.output, cluster, below, ink)


def gradient_lines(graph: Computation, node: Node, arrived: Arrivals) -> tuple[str, ...]:
    """What a box says of the gradient of its value."""
    if node.gradient is None:
        return ()
    if node is graph.output:
        start = in_rows(arrived.total) or [size_text(node.state, norm(node.gradient))]
        return (f"start: {start[0]}", *start[1:])
    shown = list(arrived.written) or [size_text(node.state, norm(node.gradient))]
    if arrived.written and node.state in (State.CANCELLED, State.STOPPED, State.BLOCKED):
        shown = [*(shown if len(arrived.sent) > 1 else ["0"]), APPEARANCE[node.state].symbol]
    title = quotient(graph, node)
    if not title:
        return tuple(shown)
    title = title if are_few(node.value) else f"|{title}|"
    return (
        (f"{title} = {shown[0]}",) if len(shown) == 1 and " = " not in shown[0] else (title, *shown)
    )


def quotient(graph: Computation, node: Node) -> str:
    """The gradient's name, of leaves and large values: ∂y/∂a."""
    if not node.name or (node.op is not None and are_few(node.value)):
        return ""
    output = oneline(graph.output.name or "output")
    return f"∂{output if len(output) <= 8 else ''}/∂{oneline(node.name, 12)}"


def gradient_ink(node: Node) -> str:
    """The colour of what is said of a gradient."""
    if node.state in (State.NAN, State.INFINITE):
        return MAGENTA
    return BLUE if node.state.arrives else GREY


def node_text(node: Node) -> str:
    """A node in a few words: its name, op, shape and dtype."""
    made = node.op or node.kind
    return f"{oneline(node.name) + ' = ' if node.name else ''}{made}, {node.shape}, {node.dtype}"
