"""A picture of boxes and arrows as plain data, and its source for Graphviz.

Whatever is drawn here is described in four words: a `Box` stands for a thing, an `Arrow`
joins two of them and has a `Look`, and a `Picture` holds them together with what stands
around the drawing: title, legend, caption. For example:

    picture = Picture(
        boxes=(Box("n0", ("x", "(3,)")), Box("n1", ("σ",), kind="op")),
        arrows=(Arrow("e0", "n0", "n1", Look(width=3, color=BLUE, label="0.29", head="back")),),
        title="the sigmoid of x",
    )
    Path("sigmoid.svg").write_text(svg(picture))  # render.py

The ids of boxes and arrows become the ids of their elements in the SVG, so a web page can
light them. Boxes with the same `cluster`, a tuple of names from the outside in, are drawn
in one frame. `Scale` gives several pictures the same widths for the same numbers.

Graphviz is given the sizes of the boxes and of the texts beside arrows, and says where they
go; svg.py draws them. `dot` writes the same for those who want Graphviz to draw.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import graphviz

from ..text import oneline, printable, text_width

# Colours: blue and vermillion are Okabe and Ito's, told apart by every kind of eye. Vermillion
# is too pale for letters: what is said of such a line is written in `RUST`.
BLUE, ORANGE, MAGENTA = "#0072B2", "#D55E00", "#C2188F"
RUST, TEAL = "#AD4B00", "#00755E"
GREY, PALE = "#5B6775", "#B4BDC7"
INK, FRAME, PAPER, TINT = "#1F2933", "#5B6B7B", "#FFFFFF", "#F4F6F8"
INPUT, PARAMETER, COMPUTED, OP = "#ECEFF2", "#CFE8F7", "#FFFFFE", "#FFF4D6"
# What each becomes where the reader's system is set to dark.
DARK = {
    BLUE: "#56B4E9", ORANGE: "#FF9A4D", RUST: "#FFA968", MAGENTA: "#F472D0", GREY: "#9AA5B1",
    TEAL: "#3FC9A8", PALE: "#5A6673", INK: "#E6EAEE", FRAME: "#8A99A8", PAPER: "#15191E",
    TINT: "#1C2127", INPUT: "#2E353D", PARAMETER: "#173F57", COMPUTED: "#1D2329", OP: "#4A3F1B",
}  # fmt: skip

FONT = "Helvetica,Arial,sans-serif"
SIZE = 11.0  # of the text in boxes, in points
SMALL = 9.5  # of the text beside arrows
WIDEST = 60  # characters of a line
LARGE = 100  # boxes, from which on the layout may stop before it is perfect
FAR = 2000  # boxes that arrows pass by, from which on they do so in straight lines

LINE, LEAST = 13.0, 24.0  # the height of a line in a box, and of an op's circle

Dash = Literal["solid", "dashed", "dotted"]
Head = Literal["back", "forward", "none", "blocked", "barred", "cut", "facing"]
Direction = Literal["LR", "TB"]  # left to right, top to bottom

# An arrow's heads as Graphviz has them. "back" points from the result to what it was made from.
HEADS: dict[Head, dict[str, str]] = {
    "back": {"dir": "back", "arrowtail": "normal"},
    "forward": {"dir": "forward", "arrowhead": "normal"},
    "none": {"dir": "none"},
    "blocked": {"dir": "back", "arrowtail": "normaltee"},
    "barred": {"dir": "forward", "arrowhead": "normaltee"},
    "cut": {"dir": "forward", "arrowhead": "teetee"},
    "facing": {"dir": "both", "arrowhead": "inv", "arrowtail": "inv"},
}


@dataclass(frozen=True, slots=True)
class Look:
    """How an arrow looks. Colour never speaks alone: `dash`, `hollow` and `label` say the same.

    `width` is in points; `label` stands where the arrow arrives, on as many lines as it has,
    and `slope` in grey at its other end. `head` is "back" or "forward" (from source to target),
    "none", "blocked" and "barred" as these with a bar across, "cut", or "facing": two that face
    each other.
    """

    width: float = 1.0
    color: str = GREY
    dash: Dash = "solid"
    label: str = ""
    head: Head = "forward"
    hollow: bool = False
    slope: str = ""
    amount: float = -math.inf  # the number that the label says, if it says one

    @property
    def thickness(self) -> float:
        """The width that is drawn, whatever number `width` is."""
        width = min(max(self.width, 0.1), 20.0) if math.isfinite(self.width) else 1.0
        return width + 2.4 if self.hollow else width

    @property
    def ink(self) -> str:
        """The colour of letters that speak of such a line."""
        return {ORANGE: RUST, PALE: GREY}.get(self.color, self.color)


@dataclass(frozen=True, slots=True)
class Box:
    """A thing: a value's rounded box, an op's circle or pill, or a constant's small text.

    `lines` are drawn one below the other, shortened if long; the whole text belongs into
    `tooltip`. `below` are lines in a compartment of their own, in the colour `ink`. `double`
    draws a second border. `cluster` names the frames around it.
    """

    id: str
    lines: tuple[str, ...]
    kind: Literal["value", "op", "constant", "folded"] = "value"
    fill: str = PAPER
    tooltip: str = ""
    double: bool = False
    cluster: tuple[str, ...] = ()
    below: tuple[str, ...] = ()
    ink: str = BLUE
    least: tuple[float, float] = (0.0, 0.0)  # the room that it is given, at least

    @property
    def size(self) -> tuple[float, float]:
        """Width and height that its texts need, in points."""
        first, *rest = self.lines or ("",)
        width = text_width(oneline(first), SMALL if self.kind == "constant" else SIZE)
        width = max([width, *(0.95 * text_width(x, SMALL) for x in (*rest, *self.below))])
        high = LINE * len(self.lines)
        if self.kind == "constant":
            return width + 2, high
        if self.kind == "op" and not self.below:
            circle = width <= 17 and len(self.lines) == 1
            return (LEAST, LEAST) if circle else (width + 14, high + 9)
        high += 8 + (LINE * len(self.below) + 6) * bool(self.below)
        edge = 8.0 if self.double else 0.0
        wide, high = max(width + 14, 36.0) + edge, max(high, 28.0) + edge
        return max(wide, self.least[0]), max(high, self.least[1])

    @property
    def round(self) -> bool:
        """Whether it is an op's circle."""
        return self.kind == "op" and self.size == (LEAST, LEAST)


@dataclass(frozen=True, slots=True)
class Arrow:
    """From one box to another, by their ids. `slot` is a word at the target: which operand.

    The larger the `weight`, the shorter and straighter the arrow is laid out. The source of one
    that `hangs` stands beside its target, across the direction of the picture: on the one side for
    1, on the other for -1.
    """

    id: str
    source: str
    target: str
    look: Look = Look()
    tooltip: str = ""
    slot: str = ""
    weight: int = 1
    hangs: int = 0

    @property
    def rows(self) -> list[str]:
        """What stands where it arrives, line by line."""
        return [oneline(row, WIDEST) for row in self.look.label.split("\n") if row.strip()]

    @property
    def origin(self) -> str:
        """What stands at its other end."""
        return oneline(f"{self.slot} {self.look.slope}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the legend: what such an arrow, box or word beside an arrow stands for; or, of
    several samples, what each of them does."""

    text: str
    sample: Look | Box | str | tuple[tuple[Look, str], ...]


class Series(NamedTuple):
    """Numbers over the repeats, NaN where there is none: one for each, or one more, that before
    the first."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """A small plot over the repeats: sizes on a log scale as a "line" or "dots", or signed shares
    as "bars" about 0."""

    heading: str
    note: str
    series: tuple[Series, ...]
    kind: Literal["line", "dots", "bars"] = "line"


@dataclass(frozen=True, slots=True)
class Repeat:
    """A frame around one of several repeats: what is written at it, how many there are, what each
    is called, how many values the graph has, the curves below the frame, and what they say."""

    label: str
    times: int
    word: str
    values: int
    curves: tuple[Curve, ...] = ()
    finding: str = ""


@dataclass(frozen=True)
class Picture:
    """Boxes and arrows, and what stands around them.

    `title` and `description` are for those who hear the picture instead of seeing it;
    `caption` and `legend` are drawn below it. `direction` is Graphviz's: "LR" or "TB".
    """

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...] = ()
    title: str = ""
    description: str = ""
    caption: str = ""
    legend: tuple[Entry, ...] = ()
    direction: Direction = "LR"
    heading: str = ""  # drawn above the picture: its name, where several stand together
    base: Picture | None = None  # what is laid out in its stead: all that it shares a layout with
    repeats: Mapping[str, Repeat] = field(default_factory=dict)  # by the name of their frame

    @property
    def frames(self) -> list[tuple[str, ...]]:
        """The frames around boxes, each by its names, those outside before those inside."""
        paths = (b.cluster[:i] for b in self.boxes for i in range(1, len(b.cluster) + 1))
        return list(dict.fromkeys(paths))

    def label_of(self, path: tuple[str, ...]) -> str:
        """What is written at a frame."""
        repeat = self.repeats.get(path[-1])
        return f"{repeat.label}   × {repeat.times}" if repeat else path[-1]


@dataclass(frozen=True)
class Scale:
    """Widths for magnitudes, by their logarithm: `smallest` is drawn thin, `largest` thick.

    At least one decade lies between thin and thick, so that nearly equal numbers look
    nearly equal: less than that is drawn with widths about the middle. Make one of all the
    numbers of all pictures that are to be compared.
    """

    smallest: float
    largest: float
    thin: float = 1.2
    thick: float = 6.0

    @classmethod
    def of(cls, magnitudes: Iterable[float]) -> Scale:
        """The scale that fits these magnitudes; zeros and what is not finite are left out."""
        finite = [x for x in magnitudes if 0 < x < math.inf]
        return cls(min(finite, default=1.0), max(finite, default=1.0))

    def width(self, magnitude: float) -> float:
        """The width for a magnitude, in points."""
        if not 0 < magnitude < math.inf:
            return self.thin
        low, high = math.log10(self.smallest), math.log10(self.largest)
        above = 0.5 + (math.log10(magnitude) - (low + high) / 2) / max(high - low, 1.0)
        return self.thin + (self.thick - self.thin) * min(max(above, 0.0), 1.0)

    @property
    def samples(self) -> list[float]:
        """The smallest, the middle and the largest magnitude; one, if all are equal."""
        middle = math.sqrt(self.smallest) * math.sqrt(self.largest)
        return list(dict.fromkeys((self.smallest, middle, self.largest)))


def boxes_passed(picture: Picture) -> int:
    """How many boxes the arrows pass by, where each box follows those before it at once."""
    before, after = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for arrow in picture.arrows:
        before[arrow.target].append(arrow.source)
        after[arrow.source].append(arrow.target)
    rank: dict[str, int] = {}
    for box in picture.boxes:
        rank[box.id] = max((rank.get(id, 0) + 1 for id in before[box.id]), default=0)
    for box in picture.boxes:
        if after[box.id] and not before[box.id]:  # a leaf stands near its first use
            rank[box.id] = min(rank[id] for id in after[box.id]) - 1
    lengths = (rank[arrow.target] - rank[arrow.source] - 1 for arrow in picture.arrows)
    return sum(length for length in lengths if length > 0)


def dot(picture: Picture, captioned: bool = False, bare: bool = False) -> str:
    """The Graphviz source of the drawing itself; its legend and caption stand outside it, or, with
    `captioned`, below it. A `bare` one only says how large everything is: for a layout."""
    text = {"fontname": FONT, "fontsize": f"{SIZE:g}"}
    graph = graphviz.Digraph(
        graph_attr=text | {
            "rankdir": picture.direction, "nodesep": "0.22", "bgcolor": "transparent",
            "ranksep": "0.15" if any(arrow.rows for arrow in picture.arrows) else "0.4",
        },
        node_attr=text | {
            "fontcolor": INK, "color": FRAME, "style": "rounded,filled", "shape": "box",
            "height": "0.3", "margin": "0.08,0.04",
        },
        edge_attr=text | {"fontsize": f"{SMALL:g}", "fontcolor": INK, "arrowsize": "0.6"},
    )  # fmt: skip
    if captioned:
        words = [oneline(picture.caption, 400), *(meaning(entry) for entry in picture.legend)]
        graph.attr(label=escape("\n".join(words)), labelloc="b")
    if len(picture.boxes) > LARGE:  # an input used 70 times along a chain: 2.4 s, not 63
        graph.graph_attr |= {"nslimit": "1", "nslimit1": "1"}
    if boxes_passed(picture) > FAR:  # weights used 40 times along a chain: 0.1 s, not 14
        graph.graph_attr["splines"] = "line"
    frames: dict[tuple[str, ...], graphviz.Digraph] = {(): graph}
    for i, path in enumerate(picture.frames, 1):
        label, large = picture.label_of(path), path[-1] in picture.repeats
        frames[path] = graphviz.Digraph(
            name=f"cluster_{i}",
            graph_attr={
                "id": f"scope{i}",
                "label": escape(oneline(label, 40)), "tooltip": escape(printable(label)),
                # From the top to the bottom, arrows come in where the name would be.
                "labelloc": "b" if picture.direction == "TB" else "t", "labeljust": "l",
                "style": "rounded,filled", "fillcolor": TINT, "color": PALE,
                "fontcolor": GREY, "margin": "9", "penwidth": "0.8",
                "fontsize": f"{SIZE + 5 * large:g}",
            },
        )  # fmt: skip
    for box in picture.boxes:
        frames[box.cluster].node(box.id, **(box_room if bare else box_attributes)(box))
    place = {box.id: box.cluster for box in picture.boxes}
    for arrow in picture.arrows:
        if arrow.hangs:
            with frames[place[arrow.target]].subgraph() as beside:
                beside.attr(rank="same")
                beside.node(arrow.source)
                beside.node(arrow.target)
    for path in reversed(picture.frames):  # a frame is complete before it goes into its own
        frames[path[:-1]].subgraph(frames[path])
    for arrow in picture.arrows:
        attributes = (arrow_room if bare else arrow_attributes)(arrow)
        if arrow.hangs > 0:
            graph.edge(arrow.target, arrow.source, id=arrow.id, **turned(attributes))
        else:
            graph.edge(arrow.source, arrow.target, id=arrow.id, **attributes)
    return str(graph.source)


def turned(attributes: dict[str, str]) -> dict[str, str]:
    """The attributes of an arrow that is written from its end to its beginning."""
    other = {"back": "forward", "forward": "back"}
    names = {"arrowhead": "arrowtail", "arrowtail": "arrowhead"}
    made = {names.get(name, name): x for name, x in attributes.items()}
    return made | {"dir": other.get(made["dir"], made["dir"])}


def meaning(entry: Entry) -> str:
    """A line of the legend in words alone."""
    if isinstance(entry.sample, str):
        return f"{entry.sample}: {entry.text}"
    if isinstance(entry.sample, tuple):
        return f"{entry.text}: {', '.join(text for _, text in entry.sample)}"
    return entry.text


def box_room(box: Box) -> dict[str, str]:
    """The room that a box takes, as Graphviz attributes."""
    width, height = (f"{length / 72:.3f}" for length in box.size)
    shape = "circle" if box.round else "box"
    return {
        "id": box.id, "label": "", "shape": shape, "style": "", "fixedsize": "true",
        "width": width, "height": height,
    }  # fmt: skip


def arrow_room(arrow: Arrow) -> dict[str, str]:
    """The room that an arrow takes, as Graphviz attributes."""
    made = {"dir": "none", "weight": str(arrow.weight)}
    rows = [*arrow.rows, *filter(None, [arrow.origin])]
    if rows and not arrow.hangs:
        made["label"] = escape("\n".join(rows))
    return made


def box_attributes(box: Box) -> dict[str, str]:
    """A box as Graphviz attributes."""
    lines = [*map(oneline, box.lines), *(oneline(x, WIDEST) for x in box.below)]
    made = {"id": box.id, "label": escape("\n".join(lines)), "fillcolor": box.fill}
    made["tooltip"] = escape(printable(box.tooltip or "\n".join(box.lines)))
    made["width"], made["height"] = (f"{length / 72:.2f}" for length in box.size)
    if box.kind == "constant":
        made |= {"shape": "plain", "style": "", "fontsize": f"{SMALL:g}"}
    elif box.round:
        made |= {"shape": "circle", "style": "filled", "fixedsize": "true"}
    if box.double:
        made["peripheries"] = "2"
    return made


def arrow_attributes(arrow: Arrow) -> dict[str, str]:
    """An arrow as Graphviz attributes."""
    look, width = arrow.look, arrow.look.thickness
    made = {
        "color": f"{look.color}:{PAPER}:{look.color}" if look.hollow else look.color,
        "penwidth": f"{width / 3 if look.hollow else width:.2f}", "weight": str(arrow.weight),
        "arrowsize": f"{0.55 / max(1.0, width / 3) ** 0.5:.2f}", "fontcolor": look.ink,
        "tooltip": escape(printable(arrow.tooltip or look.label or " ")),
    } | HEADS[look.head]  # fmt: skip
    if look.dash != "solid":
        made["style"] = look.dash
    if rows := [*filter(None, [arrow.origin]), *arrow.rows]:
        made["label"] = escape("\n".join(f" {row} " for row in rows))
    return made


def escape(text: str) -> str:
    """Text that Graphviz shows as it is: no escape sequence, no entity, no markup."""
    text = text.replace("&", "&amp;").replace("\\", "\\\\").replace("\n", "\\n")
    return graphviz.nohtml(text)
