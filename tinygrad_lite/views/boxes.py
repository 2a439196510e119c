"""How a graph is drawn: which boxes and arrows stand for its nodes and edges.

A value with a name, and every input, is a box; an op is a circle, which also stands for
its result where that has no name; a folded part (fold.py) is one box. A `Wire` is an
arrow of the picture together with what it stands for. How wires look is up to the caller:
`graph(y).picture(look=...)` takes a function from a Wire to a `Look`, so that a flow or a
set of paths is drawn on the same boxes as the gradient is here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..drawing.picture import (
    BLUE,
    COMPUTED,
    GREY,
    INPUT,
    MAGENTA,
    OP,
    ORANGE,
    PALE,
    PARAMETER,
    Arrow,
    Box,
    Entry,
    Look,
    Picture,
    Scale,
)  # fmt: skip
from ..drawing.text import number, oneline
from ..recorded.fold import VISIBLE, Part, folded

if TYPE_CHECKING:
    from ..insight.graphs import Edge, Graph, Node, Traffic

LARGEST = 3000  # boxes that are laid out without being asked for with fold=False

# Ops whose operands may be exchanged: their arrows need no word for the slot.
SYMMETRIC = {
    "add", "multiply", "maximum", "minimum", "equal", "not_equal", "logical_and", "logical_or",
    "hypot", "logaddexp",
}  # fmt: skip

# What several edges together are: the first of these that one of them is.
WEIGHTIEST: tuple[Traffic, ...] = ("nan", "gradient", "zero", "blocked", "not computed")


@dataclass(frozen=True)
class Wire:
    """An arrow of the picture: the `edges` it stands for, all out of `source` boxes.

    An arrow from an op to the box of its named result stands for no edge but for that
    value as a whole: `value` is its node, and the gradient is all that arrived there.
    `skip` is true where the same value reaches the target a longer way too.
    """

    id: str
    source: str
    target: str
    edges: tuple[Edge, ...] = ()
    value: Node | None = None
    slot: str = ""
    main: bool = True  # not from a leaf: the layout keeps these straight
    skip: bool = False

    @property
    def traffic(self) -> Traffic:
        """What kind of gradient goes back through it."""
        if self.value is not None:
            g = self.value.gradient
            if g is None:
                return "not computed" if self.value.differentiable else "no gradient"
            return "nan" if not np.isfinite(g).all() else "gradient" if np.any(g) else "zero"
        kinds = {edge.traffic for edge in self.edges}
        return next((kind for kind in WEIGHTIEST if kind in kinds), "no gradient")

    @property
    def magnitude(self) -> float:
        """The norm of what goes back through it: contributions to one value are added,
        those to different values stand side by side."""
        if self.value is not None:
            return 0.0 if self.value.gradient is None else norm(self.value.gradient)
        sums: dict[int, Any] = {}
        for edge in self.edges:
            if edge.contribution is not None:
                known = sums.get(edge.source)
                sums[edge.source] = (
                    edge.contribution if known is None else known + edge.contribution
                )
        return norm([norm(c) for c in sums.values()])


def norm(array: Any) -> float:
    """The Euclidean norm of all elements, without overflow or underflow on the way."""
    array = np.asarray(array, float)
    square = float(np.vdot(array, array))
    if 1e-200 < square < 1e200:
        return math.sqrt(square)
    size = np.abs(array).ravel()
    largest = float(size.max(initial=0.0))
    if not 0 < largest < np.inf:
        return largest
    return largest * float(np.linalg.norm(size / largest))


def picture(
    graph: Graph,
    direction: Literal["LR", "TB"] = "LR",
    fold: bool | None = None,
    scale: Scale | None = None,
    look: Callable[[Wire], Look] | None = None,
    legend: Sequence[Entry] | None = None,
    caption: str = "",
) -> Picture:
    """The drawing of a graph. `look` and `legend` replace those of the gradient's norm."""
    if direction not in ("LR", "TB"):
        raise ValueError(f"the direction is 'LR' or 'TB', but got {direction!r}")
    if fold not in (None, True, False):
        raise ValueError(f"fold is True, False, or None for by itself, but got {fold!r}")
    parts = folded(graph, fold)
    boxes, joined = boxes_and_wires(graph, parts)
    if len(boxes) > LARGEST and fold is not False:
        raise ValueError(
            f"the picture would have {len(boxes):,} boxes; give parts of the computation names, "
            'using `with scope("..."):`, so that they fold, or save it as .json'
        )
    if look is None:
        scale = scale or Scale.of(wire.magnitude for wire in joined)
        look = gradient_look(scale)
        legend = gradient_legend(joined, scale)
        caption = caption or gradient_caption(graph)
    names = {node_id: node.name or node.symbol for node_id, node in enumerate(graph.nodes)}
    output = oneline(graph.output.name or "the output")
    return Picture(
        boxes=tuple(boxes),
        arrows=tuple(
            Arrow(w.id, w.source, w.target, look(w), told(w, names), w.slot, 4 if w.main else 1)
            for w in joined
        ),
        title=f"How {output} was computed",
        description=str(graph),
        caption=" ".join(filter(None, (caption, folding_note(graph, parts, len(boxes))))),
        legend=tuple(legend or ()),
        direction=direction,
    )


def wires(graph: Graph, fold: bool | None = None) -> list[Wire]:
    """The arrows of the graph's picture: what a common `Scale` is made of."""
    return boxes_and_wires(graph, folded(graph, fold))[1]


def boxes_and_wires(graph: Graph, parts: tuple[Part, ...]) -> tuple[list[Box], list[Wire]]:
    """What is drawn for each node and each edge."""
    part_of = {id: part for part in parts for id in part.members}
    boxes: list[Box] = []
    joined: dict[Any, Wire] = {}
    leaves_from: list[str] = []  # for every node, the box that its arrows start at
    drawn: set[str] = set()
    for node in graph.nodes:
        part = part_of.get(node.id)
        own = part.id if part else f"n{node.id}"
        leaves_from.append(own)
        if part and part.id not in drawn:
            drawn.add(part.id)
            boxes.append(part_box(graph, part))
        elif not part:
            boxes.append(node_box(graph, node))
        for edge in graph.into[node.id]:
            source = leaves_from[edge.source]
            if source == own:
                continue
            main = graph.nodes[edge.source].op is not None
            if part or edge.source in part_of:  # what a folded box sends there is one arrow
                key = (source, own)
                known = joined.get(key, Wire(f"{source}-{own}", source, own, main=main))
                joined[key] = replace(known, edges=(*known.edges, edge))
            else:
                id = f"e{node.id}-{edge.slot}"
                joined[id] = Wire(id, source, own, (edge,), slot=slot(node, edge), main=main)
        # A named result has a box of its own, outside of a folded part only if it is the output.
        if node.op is not None and (node is graph.output or (node.name and not part)):
            leaves_from[-1] = box = f"v{node.id}"
            boxes.append(value_box(graph, node, box))
            joined[box] = Wire(f"r{node.id}", own, box, value=node)
    return boxes, marked_skips(list(joined.values()), len(boxes))


def slot(node: Node, edge: Edge) -> str:
    """The word at an arrow's head, where the order of the operands matters."""
    if node.op in SYMMETRIC or not node.inputs:
        return ""
    if len(node.inputs) == 1:  # one input, or a list of them
        return "" if len(node.tensor.inputs) == 1 else str(edge.slot + 1)
    name = node.inputs[edge.slot]
    return name[1:] if name in ("x1", "x2") else name


def marked_skips(joined: list[Wire], boxes: int) -> list[Wire]:
    """The wires, those marked that lead around at least two other ops."""
    if boxes > LARGEST:  # the sets of boxes below would grow with its square
        return joined
    # The bits of the boxes from which there is a way to a box over at least one, two and
    # three arrows. The wires into a box come after those into the boxes before it.
    bit: dict[str, int] = {}
    one: dict[str, int] = {}
    two: dict[str, int] = {}
    three: dict[str, int] = {}
    for wire in joined:
        source, target = wire.source, wire.target
        start = bit.setdefault(source, 1 << len(bit))
        one[target] = one.get(target, 0) | one.get(source, 0) | start
        two[target] = two.get(target, 0) | one.get(source, 0)
        three[target] = three.get(target, 0) | two.get(source, 0)
    return [
        replace(wire, skip=True) if wire.main and three[wire.target] & bit[wire.source] else wire
        for wire in joined
    ]


# Boxes


def node_box(graph: Graph, node: Node) -> Box:
    """The circle of an op, the box of an input or parameter, the text of a constant."""
    if node.op is not None:
        text = described(node) + told_params(node)
        return Box(f"n{node.id}", (str(node.symbol),), "op", OP, text, cluster=node.scope)
    if node.kind == "constant":
        return Box(f"n{node.id}", (str(node.name),), "constant", "none", cluster=node.scope)
    return value_box(graph, node, f"n{node.id}")


def value_box(graph: Graph, node: Node, id: str) -> Box:
    """The box of a value: outside of the scope that made it if it is used only outside."""
    fill = {"input": INPUT, "parameter": PARAMETER}.get(node.kind, COMPUTED)
    cluster = node.scope
    if node.op is not None:
        uses = [graph.nodes[edge.target].scope for edge in graph.out_of[node.id]] or [()]
        cluster = max((common(node.scope, use) for use in uses), key=len)
    name = node.name or ("output" if node is graph.output else "")
    shown = name or (summary(node.value) if node.value.size <= 3 else "")
    lines = (shown, str(node.shape)) if shown else (str(node.shape),)
    text = "\n".join(filter(None, (name, described(node), summary(node.value))))
    return Box(id, lines, "value", fill, text, node is graph.output, cluster)


def part_box(graph: Graph, part: Part) -> Box:
    """The box of a folded part, with what is in it as tooltip."""
    nodes = [graph.nodes[i] for i in part.members]
    ops = sum(node.op is not None for node in nodes)
    held = sum(node.kind == "parameter" for node in nodes)
    lines = (*part.lines, f"{ops} ops, {held} parameters" if held else f"{ops} ops")
    profile = [(block, arrived(graph, block)) for block in part.blocks]
    if len(profile) > 1 and all(size is not None for _, size in profile):
        sizes = [size for _, size in profile if size is not None]
        lines = (*lines, f"|gradient| {number(sizes[0])} … {number(sizes[-1])}")
    told = [
        f"{name}: |gradient| {number(size)}"
        for name, (_, size) in zip(part.names, profile, strict=True)
        if size is not None
    ]
    return Box(part.id, lines, "folded", OP, "\n".join((*part.lines, *told)), cluster=part.scope)


def arrived(graph: Graph, block: tuple[int, ...]) -> float | None:
    """The norm of the gradient that reached the last op of a block, if any did."""
    last = next(graph.nodes[i] for i in reversed(block) if graph.nodes[i].op is not None)
    return None if last.gradient is None else norm(last.gradient)


def common(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    """The scopes that both are in."""
    return tuple(x for x, _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


# Words


def described(node: Node) -> str:
    """A node in a few words: its name, op, shape and dtype."""
    made = node.op or node.kind
    return f"{oneline(node.name) + ' = ' if node.name else ''}{made}, {node.shape}, {node.dtype}"


def told_params(node: Node) -> str:
    """The static parameters of an op, each on a line."""
    return "".join(f"\n{name} = {oneline(repr(x), 60)}" for name, x in node.tensor.params.items())


def summary(value: np.ndarray) -> str:
    """A value in a line: its elements if few, else their range."""
    if value.size <= 6:
        return oneline(np.array2string(value, precision=4, separator=", "), 120)
    finite = value[np.isfinite(value)]
    if not finite.size:
        return "no finite elements"
    rest = value.size - finite.size
    text = f"from {number(float(finite.min()))} to {number(float(finite.max()))}"
    return text + (f", {rest} not finite" if rest else "")


def told(wire: Wire, names: dict[int, str | None]) -> str:
    """What an arrow stands for, in words."""
    if wire.value is not None:
        return f"gradient of {oneline(wire.value.name or 'the output')}: {outcome(wire)}"
    ways = {f"{oneline(str(names[e.source]))} into {names[e.target]}" for e in wire.edges}
    way = ways.pop() if len(ways) == 1 else f"{len(wire.edges)} edges"
    return f"{way}: {outcome(wire)}"


def outcome(wire: Wire) -> str:
    """The gradient of a wire in words."""
    if wire.traffic == "gradient":
        return f"norm {number(wire.magnitude)}"
    return WORDS[wire.traffic]


WORDS: dict[Traffic, str] = {
    "no gradient": "no gradient asked for",
    "not computed": "gradient not computed",
    "blocked": "blocked, the derivative is 0",
    "zero": "zero gradient",
    "nan": "NaN or infinite gradient",
}


def gradient_caption(graph: Graph) -> str:
    """The caption's sentence about where the numbers came from."""
    output = oneline(graph.output.name or "the output")
    start = graph.output.gradient
    if start is None:
        return f"Arrows point from operand to result. No gradient of {output} has been computed."
    seed = (
        ""
        if start.shape == () and start == 1
        else f", for a cotangent of norm {number(norm(start))}"
    )
    return (
        f"Arrows point from operand to result; beside each stands the norm of the gradient of "
        f"{output} that goes back along it{seed}."
    )


def folding_note(graph: Graph, parts: tuple[Part, ...], boxes: int) -> str:
    """The caption's sentence about folding."""
    if parts:
        inside = sum(len(part.members) for part in parts)
        return f"{inside:,} of {len(graph):,} nodes are folded (fold=False draws them all)."
    if boxes > VISIBLE:
        return f"{boxes:,} boxes; parts computed in a scope would fold."
    return ""


# Looks


def gradient_look(scale: Scale) -> Callable[[Wire], Look]:
    """How a wire shows its gradient: the norm as width and number, and every other kind
    in a way of its own."""

    def look(wire: Wire) -> Look:
        match wire.traffic:
            case "gradient":
                size = wire.magnitude
                if wire.skip:
                    return Look(scale.width(size), ORANGE, "dashed", f"skip {number(size)}")
                return Look(scale.width(size), BLUE, label=number(size))
            case "zero":
                return Look(1.0, GREY, "dotted", "0")
            case "blocked":
                return Look(1.2, GREY, "dotted", "blocked", "blocked")
            case "nan":
                return Look(2.5, MAGENTA, label=not_finite(wire))
            case "not computed":
                return Look(1.0, GREY)
        return Look(0.8, PALE, head="open")

    return look


def not_finite(wire: Wire) -> str:
    """NaN, or ∞ if there is no NaN."""
    parts = [e.contribution for e in wire.edges]
    if wire.value is not None:
        parts = [wire.value.gradient]
    return "NaN" if any(p is not None and np.isnan(p).any() for p in parts) else "∞"


def gradient_legend(joined: Sequence[Wire], scale: Scale) -> list[Entry]:
    """A line for each kind of arrow in the picture."""
    seen: dict[Traffic, Wire] = {}
    skip = False
    for wire in joined:
        seen.setdefault(wire.traffic, wire)
        skip = skip or (wire.skip and wire.traffic == "gradient")
    show = gradient_look(scale)
    entries = []
    if "gradient" in seen:
        small, large = number(scale.smallest), number(scale.largest)
        span = small if small == large else f"{small} (thin) to {large} (thick)"
        entries.append(Entry(f"norm of the gradient: {span}", Look(4, BLUE)))
    if skip:
        entries.append(Entry("skip: around other ops", Look(4, ORANGE, "dashed")))
    entries += [Entry(WORDS[kind], show(seen[kind])) for kind in WORDS if kind in seen]
    if any(wire.slot for wire in joined):
        entries.append(Entry("which operand", "1, 2"))
    return entries
