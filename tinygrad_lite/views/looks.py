"""How gradients look: the one visual grammar, and the pictures that are drawn with it.

A channel says one thing, and nothing else uses it, in pictures, the page, charts and tables:

    hue            the route: blue through the ops, vermillion over a skip
    hollow line    a skip, which is so told apart in grey print too
    dashes         a single number below 0: it opposes; never a norm or a vector
    dots           exactly 0; with a bar across: blocked
    width          size: of a gradient by its logarithm, of a share as it is
    arrowhead      the way of the gradient; where none was computed, that of the values
    hairline, ≈0   vanishing
    facing heads   cancelled
    a cut across   stopped
    magenta        NaN, infinite
    thin grey      not computed; without a head: not asked for

How wires look is up to the caller: a function from a `Wire` to a `Look` draws a flow or a
set of paths on the same boxes as the gradient's size is drawn here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..drawing.picture import (
    BLUE,
    GREY,
    MAGENTA,
    ORANGE,
    PALE,
    PARAMETER,
    Arrow,
    Direction,
    Entry,
    Look,
    Picture,
    Scale,
)
from ..drawing.table import mark_of_share, plain_percent
from ..recorded.fold import VISIBLE
from ..recorded.nodes import Computation
from ..recorded.states import APPEARANCE, State, size_text
from ..text import number, oneline
from .boxes import Diagram, Wire
from .brief import longest_row
from .repeats import SharesOf, repeat_of
from .text_tree import cotangent_note, text_tree

ORDER = list(State)
SIDES = (1, -1)  # of an op, where leaves hang, one after the other
LONG = 20  # boxes in a row, from which on leaves stand beside their ops
THROUGH, OVER = BLUE, ORANGE  # the routes
LOOKS = {
    State.NAN: Look(2.5, MAGENTA, head="back"),
    State.INFINITE: Look(2.5, MAGENTA, head="back"),
    State.GRADIENT: Look(3.0, THROUGH, head="back"),
    State.EXPLODING: Look(6.0, THROUGH, head="back"),
    State.VANISHING: Look(0.4, THROUGH, head="back"),
    State.CANCELLED: Look(1.0, GREY, head="facing"),
    State.ZERO: Look(1.0, GREY, "dotted", head="back"),
    State.STOPPED: Look(1.4, GREY, head="cut"),
    State.BLOCKED: Look(1.2, GREY, "dotted", head="blocked"),
    State.NOT_COMPUTED: Look(1.0, GREY, head="forward"),
    State.NO_GRADIENT: Look(0.8, PALE, head="none"),
}
SKIP = Entry(
    "skip: straight to where it meets what was made from it",
    Look(1.8, OVER, head="back", hollow=True),
)
NEGATIVE = Entry("below 0", Look(2.2, THROUGH, "dashed", head="back"))


def route(look: Look, skip: bool, negative: bool = False) -> Look:
    """A look on its route, through the ops or over a skip, and with the sign of its number."""
    if skip:
        look = replace(look, color=OVER, hollow=True)
    return replace(look, dash="dashed") if negative else look


def picture(
    diagram: Diagram,
    direction: Direction = "LR",
    scale: Scale | None = None,
    look: Callable[[Wire], Look] | None = None,
    legend: Sequence[Entry] = (),
    caption: str = "",
    share: SharesOf | None = None,
) -> Picture:
    """The drawing of a diagram. `look` and `legend` replace those of the gradient's norm;
    `scale` is that of its widths, by default the one that fits this picture; `share` is that of
    some edges in a flow."""
    if direction not in ("LR", "TB"):
        raise ValueError(f"the direction is 'LR' or 'TB', but got {direction!r}")
    graph, wires = diagram.graph, diagram.wires
    output = oneline(graph.output.name or "the output")
    if look is None:
        shared = scale or Scale.of(wire.magnitude for wire in wires)
        legend = gradient_legend(wires, shared)
        caption = caption or gradient_caption(diagram, output)

        def look(wire: Wire) -> Look:
            return gradient_look(wire, shared)

    arrows = [
        Arrow(
            w.id,
            w.source,
            w.target,
            repeated(w, look),
            tooltip(w, graph),
            w.slot,
            4 if w.main else 1,
        )
        for w in wires
    ]
    if diagram.folding or diagram.brief or longest_row(diagram) > LONG:
        arrows = arranged(diagram, arrows)
    return Picture(
        boxes=diagram.boxes,
        arrows=tuple(arrows),
        title=f"How {output} was computed",
        description=text_tree(graph, diagram.folding),
        caption=f"{caption} {folding_note(diagram)}".strip(),
        legend=tuple(legend),
        direction=direction,
        repeats={unit.id: repeat_of(diagram, unit, share) for unit in diagram.folding.units},
    )


def arranged(diagram: Diagram, arrows: Sequence[Arrow]) -> list[Arrow]:
    """The arrows of a folded picture: what carries the stream is straight; a parameter that is
    used once stands beside its op; in a unit no number is said twice."""
    used = Counter(arrow.source for arrow in arrows)
    box = {x.id: x for x in diagram.boxes}
    # Which leaf stands beside an op, a parameter rather than an input; in a brief picture, two.
    beside: dict[str, list[str]] = {}
    for wire in sorted(diagram.wires, key=lambda wire: box[wire.source].fill != PARAMETER):
        same = box[wire.source].cluster == box[wire.target].cluster
        if not wire.main and used[wire.source] == 1 and same and box[wire.source].kind == "value":
            beside.setdefault(wire.target, []).append(wire.id)
    out: dict[str, set[str]] = {}
    for arrow in arrows:
        out.setdefault(arrow.source, set()).add(arrow.look.label)
    made = []
    for wire, arrow in zip(diagram.wires, arrows, strict=True):
        known = wire.main and wire.repeats and out.get(wire.target) == {arrow.look.label}
        places = dict(zip(beside.get(wire.target, [])[: 1 + diagram.brief], SIDES, strict=False))
        hangs = places.get(wire.id, 0)
        if known or (hangs and wire.repeats and box[wire.source].below):
            arrow = replace(arrow, look=replace(arrow.look, label=""))
        weight = 40 if wire.main and not wire.skip else 1
        made.append(replace(arrow, weight=weight, hangs=hangs))
    return made


def repeated(wire: Wire, look: Callable[[Wire], Look]) -> Look:
    """How a wire looks; of one that is repeated, as in the repeat with the median number, which
    stands before the least and the largest."""
    if not wire.repeats:
        return look(wire)
    looks = sorted(map(look, wire.repeats), key=lambda x: x.amount)
    looks = [x for x in looks if x.label] or looks
    middle, least, most = looks[len(looks) // 2], looks[0].label, looks[-1].label
    if least == most:
        return middle
    return replace(middle, label=f"{middle.label}\n{least} … {most}")


# Words


def tooltip(wire: Wire, graph: Computation) -> str:
    """What an arrow stands for, in words."""
    gradient = "; ".join(
        (f"{n} " if sum(wire.states.values()) > 1 else "")
        + (size_text(state, wire.magnitude) if state.arrives else APPEARANCE[state].words)
        for state, n in sorted(wire.states.items(), key=lambda item: ORDER.index(item[0]))
    )
    if wire.numbers and wire.traffic.arrives:
        gradient = " ".join(wire.numbers)
    if wire.value is not None:
        return f"gradient of {oneline(wire.value.name or 'the output')}: {gradient}"
    ends = [[graph.nodes[i] for i in (edge.source, edge.target)] for edge in wire.edges]
    names = [[graph.title(source), str(target.symbol)] for source, target in ends]
    ways = {f"{oneline(source)} into {target}" for source, target in names}
    way = ways.pop() if len(ways) == 1 else f"{len(wire.edges)} edges"
    return f"{way}: {gradient}"


def gradient_caption(diagram: Diagram, output: str) -> str:
    """The caption's sentences about what is seen, and where the numbers came from."""
    graph = diagram.graph
    start = graph.output.gradient
    if start is None:
        return (
            "Values are computed along the arrows. No gradient has been computed yet: "
            f"backward() of {output} does that."
        )
    if all(node.value.size == 1 for node in graph):
        return (
            "Each box shows how a value is made, the value, and in colour its gradient: how fast "
            f"{output} grows with it. The gradient goes back along the arrows: what arrives at a "
            "box, times the slope ×, is what it sends on; and what several send is added up."
        )
    small = any(wire.numbers for wire in diagram.wires)
    numbers = " as signed numbers (up to four), else its length" if small else " by its length"
    return (
        f"The gradient of {output} goes back along the arrows. Where each arrives stands what it "
        f"brings,{numbers}{cotangent_note(start)}."
    )


def folding_note(diagram: Diagram) -> str:
    """The caption's sentence about folding."""
    folded, n = diagram.folding, len(diagram.graph)
    if folded:
        return f"{folded.hidden:,} of {n:,} nodes are folded (fold=False draws them all)."
    if len(diagram.boxes) > VISIBLE:
        return f"{len(diagram.boxes):,} boxes; parts computed in a scope would fold."
    return ""


# Looks


def gradient_look(wire: Wire, scale: Scale) -> Look:
    """A gradient's size as width and number, and every other state in a way of its own."""
    state = wire.traffic
    look, label = LOOKS[state], APPEARANCE[state].symbol
    if state.arrives or state is State.INFINITE:
        label = wire.label
    if state is State.GRADIENT:
        look = replace(look, width=scale.width(wire.magnitude))
    if state.arrives:
        look = route(look, wire.skip, wire.negative)
    if state is State.BLOCKED:  # known without a gradient too
        computed = any(edge.contribution is not None for edge in wire.edges)
        look = look if computed else replace(look, head="barred")
        label = "0" if computed else label
    if state is State.VANISHING and wire.numbers:
        label = "≈0"
    hidden = [APPEARANCE[s].symbol for s in ORDER if s in wire.states and s is not state]
    label = ", ".join(filter(None, (label, *hidden)))
    if wire.told:
        label = ""
    return replace(look, label=label, slope=wire.slope, amount=wire.magnitude)


def gradient_legend(wires: Sequence[Wire], scale: Scale) -> list[Entry]:
    """A line for each kind of arrow in the picture."""
    seen = {wire.traffic: wire for wire in reversed(wires)}  # the first of each state
    entries = []
    if seen.pop(State.GRADIENT, None):
        plain = replace(LOOKS[State.GRADIENT], label="")
        steps = [(replace(plain, width=scale.width(x)), number(x)) for x in scale.samples]
        entries.append(Entry("size of the gradient (log scale)", tuple(steps)))
    if any(wire.skip and wire.traffic.arrives for wire in wires):
        entries.append(SKIP)
    if any(wire.negative and wire.traffic.arrives for wire in wires):
        entries.append(NEGATIVE)
    for state in reversed(ORDER):
        if state in seen:
            symbol = APPEARANCE[state].symbol
            words = APPEARANCE[state].words
            sample = replace(LOOKS[state], label="")
            entries.append(Entry(words if symbol in words else f"{symbol}: {words}", sample))
    if any(wire.slope for wire in wires):
        entries.append(Entry("the slope: how fast the result grows with this", "×2.5"))
    if any(wire.slot for wire in wires):
        entries.append(Entry("which input, where the order matters", "1, 2"))
    return entries


def share_look(share: float | None, largest: float, skip: bool) -> Look:
    """A share of a gradient: as wide as it is large, dashed below 0; thin grey for none at all."""
    if share is None:
        return LOOKS[State.NO_GRADIENT]
    width = 0.6 + 7 * abs(share) / largest
    if not share:
        return LOOKS[State.ZERO]
    return route(replace(LOOKS[State.GRADIENT], width=width), skip, share < 0)


def share_legend(looks: Sequence[tuple[Look, float | None]], largest: float) -> list[Entry]:
    """The legend of shares: their scale, and what else is in the picture."""
    drawn = [look for look, share in looks if share]
    top = mark_of_share(largest)
    steps = [
        (share_look(part, largest, False), plain_percent(part)) for part in (top / 4, top / 2, top)
    ]
    return [
        *[Entry("share of the gradient (linear scale)", tuple(steps))] * bool(drawn),
        *[SKIP] * any(look.hollow for look in drawn),
        *[NEGATIVE] * any(look.dash == "dashed" for look in drawn),
        *[Entry("no part of it", LOOKS[State.NO_GRADIENT])] * any(s is None for _, s in looks),
    ]
