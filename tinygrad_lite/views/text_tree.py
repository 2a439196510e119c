"""A computation as text: an indented tree from the output to what it was computed from."""

from __future__ import annotations

import numpy as np

from ..recorded.measure import norm
from ..recorded.nodes import Computation, Edge, Node
from ..recorded.states import State, size_text
from ..text import number, tree


def text_tree(graph: Computation) -> str:
    """The computation as text, from the output to what it was computed from."""

    def operands(node: Node) -> list[tuple[str, Node]]:
        return [(gradient_note(edge), graph.nodes[edge.source]) for edge in graph.into[node.id]]

    def line(node: Node) -> str:
        note = graph.sum_note(node)
        return f"{text(node)} ({note})" if note else text(node)

    def text(node: Node) -> str:
        if node.kind == "constant":
            return str(node.name)
        if node.op is None:
            return f"{graph.title(node)} {node.shape}, {node.kind}"
        if node.name:
            return f"{graph.title(node)} = {node.op} {node.shape}"
        # The expression is worth its room where something refers to it.
        known = len(graph.out_of[node.id]) > 1
        return f"{graph.title(node) if known else node.op} {node.shape}"

    output = graph.output
    if output.gradient is None:
        return tree(graph.output, operands, line, graph.title)
    first, *rest = tree(graph.output, operands, line, graph.title).split("\n", 1)
    start = size_text(output.state, norm(output.gradient))
    of = f"norms of the gradient{cotangent_note(output.gradient)}"
    return "\n".join([f"{first}   {start} ({of})", *rest])


def cotangent_note(start: np.ndarray) -> str:
    """What a reverse pass started from, if not from 1."""
    if not np.all(start == 1):
        return f", for a cotangent of norm {number(norm(start))}"
    return "" if start.size == 1 else ", for a cotangent of ones: that of the sum"


def gradient_note(edge: Edge) -> str:
    """What the text tree says of the gradient that an edge sends back."""
    if edge.traffic is State.NO_GRADIENT:
        return ""
    return f"   {size_text(edge.traffic, edge.norm or 0.0)}"
