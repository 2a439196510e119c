"""A computation as text: an indented tree from the output to what it was computed from."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np

from ..recorded.fold import Folding, folding
from ..recorded.measure import norm
from ..recorded.nodes import Computation, Edge, Node
from ..recorded.states import State, size_text
from ..text import number, plain_number, tree
from .numbers import Arrivals, are_few, arrivals


def text_tree(graph: Computation, folded: Folding | None = None) -> str:
    """The computation as text, from the output to what it was computed from. Of small arrays it has
    the numbers: the value in brackets, then what the use above it sends back, and, where several
    uses do, what they make together. Of what repeats in a large graph, one is written out."""
    told: set[int] = set()  # the values whose sum stands there
    folded = folding(graph) if folded is None else folded
    arriving = cache(lambda id: arrivals(graph, graph.nodes[id]))

    def operands(node: Node) -> list[tuple[str, Node]]:
        below = []
        for edge, source, remark in operands_of(graph, folded, node):
            arrived = arriving(source.id)
            note = gradient_note(edge, arrived)
            if len(arrived.sent) > 1 and source.id not in told:
                told.add(source.id)
                lines = arrived.written if source.value.size == 1 else arrived.total
                note += f", in all {' '.join(lines)}"
            below.append((f"{note}{remark}", source))
        return below

    def line(node: Node) -> str:
        note = graph.sum_note(node)
        return f"{text(node)} ({note})" if note else text(node)

    def text(node: Node) -> str:
        if node.kind == "constant":
            return str(node.name)
        numbers = map(plain_number, np.ravel(node.value)) if are_few(node.value) else ()
        size = f"{node.shape} [{' '.join(numbers)}]" if numbers else f"{node.shape}"
        if node.op is None:
            return f"{graph.title(node)} {size}, {node.kind}"
        if node.name:
            return f"{graph.title(node)} = {node.op} {size}"
        # The expression is worth its room where something refers to it.
        known = len(graph.out_of[node.id]) > 1
        return f"{graph.title(node) if known else node.op} {size}"

    output = graph.output
    if output.gradient is None:
        return tree(graph.output, operands, line, graph.title)
    first, *rest = tree(graph.output, operands, line, graph.title).split("\n", 1)
    start = " ".join(arrivals(graph, output).total) or size_text(
        output.state, norm(output.gradient)
    )
    few = all(are_few(node.value) for node in graph if node.differentiable)
    of = f"the gradient{'' if few else ', of large arrays its length'}"
    return "\n".join([f"{first}   {start} ({of}{cotangent_note(output.gradient)})", *rest])


def operands_of(
    graph: Computation, folded: Folding, node: Node
) -> Iterator[tuple[Edge, Node, str]]:
    """What a node takes, with a remark: of what repeats, the last is written out, and stands for
    all; what it takes from earlier ones is what the first takes in that place."""
    unit = folded.repeat[node.id][0] if node.id in folded.repeat else None
    edges = graph.into[node.id]
    first = graph.into[unit.blocks[0][unit.places[node.id]]] if unit else edges
    written: set[int] = set()
    for edge, start in zip(edges, first, strict=True):
        if unit and (node.id, edge.slot) in unit.carried:
            remark = f"   ({len(unit.blocks) - 1} more like this before it)"
            yield start, graph.nodes[start.source], remark
            continue
        drawn = folded.drawn(edge.source)
        if drawn != edge.source:
            if drawn in written:
                continue
            written.add(drawn)
            n = len(folded.repeat[drawn][0].blocks)
            yield edge, graph.nodes[drawn], f"   (one of {n} alike)"
        elif edge.source in written:
            continue
        else:
            yield edge, graph.nodes[drawn], ""


def cotangent_note(start: np.ndarray) -> str:
    """What a reverse pass started from, if not from 1."""
    if not np.all(start == 1):
        return f", starting from a gradient of length {number(norm(start))}"
    return "" if start.size == 1 else ", starting from ones: it is the gradient of the sum"


def gradient_note(edge: Edge, arrived: Arrivals) -> str:
    """What the text tree says of the gradient that an edge sends back."""
    if edge.traffic is State.NO_GRADIENT:
        return ""
    numbers = arrived.sent.get(edge) if edge.traffic.arrives else None
    if not numbers:
        return f"   {size_text(edge.traffic, edge.norm or 0.0)}"
    note = "" if edge.traffic is State.GRADIENT else f" ({edge.traffic})"
    return f"   {' '.join(numbers)}{note}"
