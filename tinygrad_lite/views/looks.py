"""How a computation's diagram becomes a picture: the gradient on its arrows, and the words.

How wires look is up to the caller: a function from a `Wire` to a `Look` draws a flow or a
set of paths on the same boxes as the gradient's norm is drawn here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..drawing.picture import COLOURS, ORANGE, Arrow, Direction, Entry, Look, Picture, Scale
from ..recorded.fold import VISIBLE
from ..recorded.measure import norm
from ..recorded.nodes import Computation
from ..recorded.states import APPEARANCE, State
from ..text import number, oneline
from .boxes import Diagram, Wire
from .text_tree import text_tree


def picture(
    diagram: Diagram,
    direction: Direction = "LR",
    scale: Scale | None = None,
    look: Callable[[Wire], Look] | None = None,
    legend: Sequence[Entry] = (),
    caption: str = "",
) -> Picture:
    """The drawing of a diagram. `look` and `legend` replace those of the gradient's norm;
    `scale` is that of its widths, by default the one that fits this picture."""
    if direction not in ("LR", "TB"):
        raise ValueError(f"the direction is 'LR' or 'TB', but got {direction!r}")
    graph = diagram.graph
    if look is None:
        scale = scale or Scale.of(wire.magnitude for wire in diagram.wires)
        look = gradient_look(scale)
        legend = gradient_legend(diagram.wires, scale)
        caption = caption or gradient_caption(graph)
    output = oneline(graph.output.name or "the output")
    return Picture(
        boxes=diagram.boxes,
        arrows=tuple(
            Arrow(w.id, w.source, w.target, look(w), tooltip(w, graph), w.slot, 4 if w.main else 1)
            for w in diagram.wires
        ),
        title=f"How {output} was computed",
        description=text_tree(graph),
        caption=" ".join(filter(None, (caption, folding_note(diagram)))),
        legend=tuple(legend),
        direction=direction,
    )


# Words


def tooltip(wire: Wire, graph: Computation) -> str:
    """What an arrow stands for, in words."""
    gradient = APPEARANCE[wire.traffic].words
    if wire.traffic is State.GRADIENT:
        gradient = f"norm {number(wire.magnitude)}"
    if wire.value is not None:
        return f"gradient of {oneline(wire.value.name or 'the output')}: {gradient}"

    def name(id: int) -> str:
        node = graph.nodes[id]
        return str(node.name or node.symbol)

    ways = {f"{oneline(name(e.source))} into {name(e.target)}" for e in wire.edges}
    way = ways.pop() if len(ways) == 1 else f"{len(wire.edges)} edges"
    return f"{way}: {gradient}"


def gradient_caption(graph: Computation) -> str:
    """The caption's sentence about where the numbers came from."""
    output = oneline(graph.output.name or "the output")
    start = graph.output.gradient
    if start is None:
        return f"Arrows point from operand to result. No gradient of {output} has been computed."
    is_one = start.shape == () and start == 1
    seed = "" if is_one else f", for a cotangent of norm {number(norm(start))}"
    return (
        f"Arrows point from operand to result; beside each stands the norm of the gradient of "
        f"{output} that goes back along it{seed}."
    )


def folding_note(diagram: Diagram) -> str:
    """The caption's sentence about folding."""
    if diagram.parts:
        inside = sum(len(part.members) for part in diagram.parts)
        n = len(diagram.graph)
        return f"{inside:,} of {n:,} nodes are folded (fold=False draws them all)."
    if len(diagram.boxes) > VISIBLE:
        return f"{len(diagram.boxes):,} boxes; parts computed in a scope would fold."
    return ""


# Looks


def gradient_look(scale: Scale) -> Callable[[Wire], Look]:
    """How a wire shows its gradient: the norm as width and number, and every other kind
    in a way of its own."""

    def look(wire: Wire) -> Look:
        shown = APPEARANCE[wire.traffic]
        if wire.traffic is State.GRADIENT:
            size = wire.magnitude
            if wire.skip:
                return Look(scale.width(size), ORANGE, "dashed", f"skip {number(size)}")
            return Look(scale.width(size), COLOURS[shown.colour], shown.dash, number(size))
        label = not_finite(wire) if wire.traffic is State.NAN else shown.symbol
        return Look(shown.width, COLOURS[shown.colour], shown.dash, label, shown.head)

    return look


def not_finite(wire: Wire) -> str:
    """NaN, or ∞ if there is no NaN."""
    parts = [e.contribution for e in wire.edges]
    if wire.value is not None:
        parts = [wire.value.gradient]
    return "NaN" if any(p is not None and np.isnan(p).any() for p in parts) else "∞"


def gradient_legend(wires: Sequence[Wire], scale: Scale) -> list[Entry]:
    """A line for each kind of arrow in the picture."""
    seen = {wire.traffic: wire for wire in reversed(wires)}  # the first of each state
    show = gradient_look(scale)
    entries = []
    if seen.pop(State.GRADIENT, None):
        shown = APPEARANCE[State.GRADIENT]
        small, large = number(scale.smallest), number(scale.largest)
        span = small if small == large else f"{small} (thin) to {large} (thick)"
        sample = Look(shown.width, COLOURS[shown.colour], shown.dash)
        entries.append(Entry(f"{shown.words}: {span}", sample))
    if any(wire.skip and wire.traffic is State.GRADIENT for wire in wires):
        entries.append(Entry("skip: around other ops", Look(4, ORANGE, "dashed")))
    order = [state for state in reversed(State) if state in seen]
    entries += [Entry(APPEARANCE[state].words, show(seen[state])) for state in order]
    if any(wire.slot for wire in wires):
        entries.append(Entry("which operand", "1, 2"))
    return entries
