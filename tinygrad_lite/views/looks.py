"""How a computation's diagram becomes a picture: the gradient on its arrows, and the words.

How wires look is up to the caller: a function from a `Wire` to a `Look` draws a flow or a
set of paths on the same boxes as the gradient's norm is drawn here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..drawing.picture import COLOURS, ORANGE, Arrow, Direction, Entry, Look, Picture, Scale
from ..recorded.fold import VISIBLE
from ..recorded.nodes import Computation
from ..recorded.states import APPEARANCE, State, size_text
from ..text import number, oneline
from .boxes import Diagram, Wire
from .text_tree import cotangent_note, text_tree

ORDER = list(State)
SKIP = "skip: joins what was computed from it"  # in legends


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
    graph, wires = diagram.graph, diagram.wires
    output = oneline(graph.output.name or "the output")
    if look is None:
        shared = scale or Scale.of(wire.magnitude for wire in wires)
        legend = gradient_legend(wires, shared)
        caption = caption or gradient_caption(graph, output)

        def look(wire: Wire) -> Look:
            return gradient_look(wire, shared)

    arrows = (
        Arrow(w.id, w.source, w.target, look(w), tooltip(w, graph), w.slot, 4 if w.main else 1)
        for w in wires
    )
    return Picture(
        boxes=diagram.boxes,
        arrows=tuple(arrows),
        title=f"How {output} was computed",
        description=text_tree(graph),
        caption=f"{caption} {folding_note(diagram)}".strip(),
        legend=tuple(legend),
        direction=direction,
    )


# Words


def tooltip(wire: Wire, graph: Computation) -> str:
    """What an arrow stands for, in words."""
    gradient = "; ".join(
        (f"{n} " if sum(wire.states.values()) > 1 else "")
        + (f"norm {size_text(state, wire.magnitude)}" if state.arrives else APPEARANCE[state].words)
        for state, n in sorted(wire.states.items(), key=lambda item: ORDER.index(item[0]))
    )
    if wire.value is not None:
        return f"gradient of {oneline(wire.value.name or 'the output')}: {gradient}"
    ends = [[graph.nodes[i] for i in (edge.source, edge.target)] for edge in wire.edges]
    names = [[graph.title(source), str(target.symbol)] for source, target in ends]
    ways = {f"{oneline(source)} into {target}" for source, target in names}
    way = ways.pop() if len(ways) == 1 else f"{len(wire.edges)} edges"
    return f"{way}: {gradient}"


def gradient_caption(graph: Computation, output: str) -> str:
    """The caption's sentence about where the numbers came from."""
    start = graph.output.gradient
    if start is None:
        return f"Arrows point from operand to result. No gradient of {output} has been computed."
    return (
        f"Arrows point from operand to result; beside each stands the norm of the gradient of "
        f"{output} that goes back along it{cotangent_note(start)}."
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


def gradient_look(wire: Wire, scale: Scale) -> Look:
    """A gradient's norm as width and number, and every other state in a way of its own."""
    shown, size = APPEARANCE[wire.traffic], wire.magnitude
    colour, width, dash, label = COLOURS[shown.colour], shown.width, shown.dash, shown.symbol
    if wire.traffic.arrives:
        label = size_text(wire.traffic, size)
    if wire.traffic is State.GRADIENT:
        width = scale.width(size)
        if wire.skip:
            colour, dash, label = ORANGE, "dashed", f"skip {label}"
    hidden = [APPEARANCE[s].symbol for s in ORDER if s in wire.states and s is not wire.traffic]
    label = ", ".join(filter(None, (label, *hidden)))
    return Look(width, colour, dash, label, shown.head)


def gradient_legend(wires: Sequence[Wire], scale: Scale) -> list[Entry]:
    """A line for each kind of arrow in the picture."""
    seen = {wire.traffic: wire for wire in reversed(wires)}  # the first of each state
    entries = []
    if seen.pop(State.GRADIENT, None):
        shown = APPEARANCE[State.GRADIENT]
        small, large = number(scale.smallest), number(scale.largest)
        span = small if small == large else f"{small} (thin) to {large} (thick)"
        sample = Look(shown.width, COLOURS[shown.colour], shown.dash)
        entries.append(Entry(f"{shown.words}: {span}", sample))
    if any(wire.skip and wire.traffic is State.GRADIENT for wire in wires):
        entries.append(Entry(SKIP, Look(4, ORANGE, "dashed")))
    order = [state for state in reversed(ORDER) if state in seen]
    entries += [Entry(APPEARANCE[s].words, gradient_look(seen[s], scale)) for s in order]
    if any(wire.slot for wire in wires):
        entries.append(Entry("which operand", "1, 2"))
    return entries
