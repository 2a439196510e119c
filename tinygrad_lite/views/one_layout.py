"""Several computations on one layout: what they have in common stands at the same place in all.

A value of one computation stands for one of another if it is the same value; else if both are
leaves of one name; else if both are the n-th result of the same op, in the same scope, with the
same leaves. So a network and its replay match, and a plain network and one with skips. What repeats
stands for what repeats in another where they have an op in common.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ..drawing.picture import Arrow, Box, Picture
from ..recorded.nodes import Computation, Node
from ..text import text_width
from .boxes import Diagram
from .units import port_id


def on_one_layout(diagrams: Sequence[Diagram], pictures: Sequence[Picture]) -> list[Picture]:
    """The pictures of some diagrams, all laid out as one in which everything stands once."""
    known: dict[Any, Hashable] = {}  # what stands for each value, by the value
    numbers: dict[Hashable, int] = {}
    renamed, repeated = [], Repeated({}, {})
    for diagram, picture in zip(diagrams, pictures, strict=True):
        keys = match(diagram.graph, known)
        ids: dict[str, str] = {}
        for node, names in zip(diagram.graph.nodes, diagram.elements, strict=True):
            number = numbers.setdefault(keys[node.id], len(numbers))
            for i, name in enumerate(names[:2]):
                ids.setdefault(name, f"{'nv'[i]}{number}")
        renamed.append(rename(picture, ids, repeated.match(diagram, ids)))
    boxes: dict[str, Box] = {}
    arrows: dict[str, Arrow] = {}
    for picture in sorted(renamed, key=lambda picture: -len(picture.boxes)):
        for box in picture.boxes:
            width, height = boxes[box.id].size if box.id in boxes else (0.0, 0.0)
            room = max(width, box.size[0]), max(height, box.size[1])
            boxes[box.id] = replace(boxes.get(box.id, box), least=room)
        for arrow in picture.arrows:
            before = arrows.setdefault(arrow.id, arrow)
            if text_room(arrow.look.label) > text_room(before.look.label):
                arrows[arrow.id] = arrow
    frame = renamed[0].direction
    base = Picture(tuple(boxes.values()), tuple(arrows.values()), direction=frame)
    return [replace(picture, base=base) for picture in renamed]


def text_room(label: str) -> float:
    """The width of a label of some lines."""
    return max(text_width(row, 1) for row in label.split("\n"))


class Repeated(NamedTuple):
    """What repeats in the pictures so far: the frame that each op is in, by the box of the op; and
    the box of what a repeat has from one before it, by where that is used."""

    frames: dict[str, str]
    ports: dict[tuple[str, str, int], str]

    def match(self, diagram: Diagram, ids: dict[str, str]) -> dict[str, str]:
        """What the frames of a diagram are called, and in `ids` what it has from repeats before."""
        called: dict[str, str] = {}
        count = len(set(self.frames.values()))
        for unit in diagram.folding.units:
            box_of = {i: ids[diagram.elements[i][0]] for i in unit.blocks[-1]}
            ops = [box_of[i] for i in box_of if diagram.graph.nodes[i].op is not None]
            known = (self.frames[op] for op in ops if op in self.frames)
            free = (name for name in known if name not in called.values())
            called[unit.id] = frame = next(free, f"u{count + len(called)}")
            for op in ops:
                self.frames.setdefault(op, frame)
            for n, (port, targets) in enumerate(unit.ports.items()):
                uses = [(frame, box_of[target], slot) for target, slot in targets]
                known = (self.ports[use] for use in uses if use in self.ports)
                free = (name for name in known if name not in ids.values())
                name = next(free, f"{frame}h{len(self.ports)}.{n}")
                ids[port_id(unit, port)] = name
                self.ports.update(dict.fromkeys(uses, name))
        return called


def rename(picture: Picture, ids: dict[str, str], frames: dict[str, str]) -> Picture:
    """A picture with other ids of its boxes and of the frames around what repeats, and its arrows
    called by what they join."""
    boxes = tuple(
        replace(
            box,
            id=ids.get(box.id, box.id),
            cluster=tuple(frames.get(name, name) for name in box.cluster),
        )
        for box in picture.boxes
    )
    repeats = {frames[name]: repeat for name, repeat in picture.repeats.items()}
    arrows, counts = [], dict[str, int]()
    for arrow in picture.arrows:
        source, target = (ids.get(id, id) for id in (arrow.source, arrow.target))
        between = f"{source}-{target}"
        counts[between] = n = counts.get(between, 0) + 1
        arrows.append(replace(arrow, id=f"{between}-{n}", source=source, target=target))
    return replace(picture, boxes=boxes, arrows=tuple(arrows), repeats=repeats)


def match(graph: Computation, known: dict[Any, Hashable]) -> list[Hashable]:
    """What each node stands for, equal to what a node of an earlier graph stands for where the two
    match; `known` is what values stood for, and is added to."""
    keys: list[Hashable] = [None] * len(graph)
    taken = {known[node.tensor] for node in graph if is_known(node, known)}
    for node in graph:
        if node.kind == "constant":
            continue
        if is_known(node, known):
            key = known[node.tensor]
        else:
            likeness, n = likeness_of(graph, node), 0
            while (likeness, n) in taken:
                n += 1
            key = known[node.tensor] = likeness, n
            taken.add(key)
        keys[node.id] = key
        for edge in graph.into[node.id]:  # a constant is told by where it is used
            if graph.nodes[edge.source].kind == "constant":
                keys[edge.source] = key, edge.slot
    return keys


def is_known(node: Node, known: dict[Any, Hashable]) -> bool:
    """Whether the value of a node was in an earlier graph."""
    return node.kind != "constant" and node.tensor in known


def likeness_of(graph: Computation, node: Node) -> Hashable:
    """What a node has in common with those of other graphs that it matches."""
    if node.op is None:
        return node.kind, node.name or node.shape
    sources = (graph.nodes[edge.source] for edge in graph.into[node.id])
    leaves = tuple(x.name or x.shape for x in sources if x.op is None)
    return node.op, node.scope, leaves
