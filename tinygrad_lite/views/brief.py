"""A long row of boxes drawn short, where it is to be read at the width of a page.

What a text beside the picture tells in full is left out of it: of an array there is the length of
its gradient in the place of the numbers, once, in its box. A parameter that one op uses stands
beside that op, within its frame.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ..drawing.picture import PARAMETER, Box
from ..recorded.measure import norm
from ..recorded.nodes import Computation, Node
from ..recorded.states import size_text
from .boxes import Diagram, Wire

ROW = 10  # boxes one after the other, from which on a page has no room for their numbers


def longest_row(diagram: Diagram) -> int:
    """How many boxes stand one after the other, at most."""
    rows: dict[str, int] = {}
    for wire in diagram.wires:  # in the order of their targets
        rows[wire.target] = max(rows.get(wire.target, 0), rows.get(wire.source, 0) + 1)
    return max(rows.values(), default=0)


def brief(diagram: Diagram) -> Diagram:
    """The same diagram with less in its boxes and beside its arrows; as it is if it is folded."""
    if diagram.folding:
        return diagram
    graph, boxes = diagram.graph, {box.id: box for box in diagram.boxes}
    uses = Counter(wire.source for wire in diagram.wires)
    for node, names in zip(graph.nodes, diagram.elements, strict=True):
        own = names[:2][-1]  # of what has a name: its own box rather than its op's
        boxes[own] = brief_box(graph, node, boxes[own])
    wires = []
    for wire in diagram.wires:
        node = wire.value or graph.nodes[wire.edges[0].source]
        source = boxes[wire.source]
        if source.fill == PARAMETER and uses[source.id] == 1:
            boxes[source.id] = replace(source, cluster=boxes[wire.target].cluster)
        if node.value.size != 1:
            alone = uses[source.id] == 1
            told = wire.value is not None or (
                alone and bool(source.below or unchanged(graph, wire))
            )
            wire = replace(wire, numbers=(), told=told)
        wires.append(wire)
    return replace(diagram, boxes=tuple(boxes.values()), wires=tuple(wires), brief=True)


def unchanged(graph: Computation, wire: Wire) -> bool:
    """Whether an arrow brings what the one before it has brought: an add passes that on."""
    source, target = (graph.nodes[i] for i in (wire.edges[0].source, wire.edges[0].target))
    return wire.main and target.op == "add" and source.shape == target.shape


def brief_box(graph: Computation, node: Node, box: Box) -> Box:
    """The box of a value with its shape and the length of its gradient; of a single number, and of
    an op, as it is."""
    if box.kind != "value" or node.value.size == 1:
        return box
    name = box.lines[0] if node.name or node is graph.output else ""
    words = [x for x in (name, str(node.shape)) if x]
    below: tuple[str, ...] = ()
    if node.gradient is not None and not (node.kind == "parameter" and once(graph, node)):
        what = "start" if node is graph.output else "|∂|"
        below = (f"{what} {size_text(node.state, norm(node.gradient))}",)
    return replace(box, lines=tuple(words), below=below)


def once(graph: Computation, node: Node) -> bool:
    """Whether one op uses a value, once: the arrow from there says the whole gradient."""
    return len(graph.out_of[node.id]) == 1
