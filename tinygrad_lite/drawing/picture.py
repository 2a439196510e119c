"""A picture of boxes and arrows as plain data, and its source for Graphviz.

Whatever is drawn here is described in four words: a `Box` stands for a thing, an `Arrow`
joins two of them and has a `Look`, and a `Picture` holds them together with what stands
around the drawing: title, legend, caption. For example:

    picture = Picture(
        boxes=(Box("n0", ("x", "(3,)")), Box("n1", ("σ",), kind="op")),
        arrows=(Arrow("e0", "n0", "n1", Look(width=3, color=BLUE, label="0.29")),),
        title="the sigmoid of x",
    )
    Path("sigmoid.svg").write_text(svg(picture))  # render.py

The ids of boxes and arrows become the ids of their elements in the SVG, so a web page can
light them. Boxes with the same `cluster`, a tuple of names from the outside in, are drawn
in one frame. `Scale` gives several pictures the same widths for the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import graphviz

from ..text import oneline, printable, text_width

# Colours: blue and vermilion are Okabe and Ito's, told apart by every kind of eye.
BLUE, ORANGE, MAGENTA = "#0072B2", "#D55E00", "#C2188F"
GREY, PALE = "#6B7785", "#B4BDC7"
INK, FRAME, PAPER = "#1F2933", "#5B6B7B", "#FFFFFF"
INPUT, PARAMETER, COMPUTED, OP = "#ECEFF2", "#CFE8F7", "#FFFFFE", "#FFF4D6"
COLOURS = {"blue": BLUE, "orange": ORANGE, "magenta": MAGENTA, "grey": GREY, "pale": PALE}
# What each becomes where the reader's system is set to dark.
DARK = {
    BLUE: "#56B4E9", ORANGE: "#FF9A4D", MAGENTA: "#F472D0", GREY: "#9AA5B1", PALE: "#5A6673",
    INK: "#E6EAEE", FRAME: "#8A99A8", PAPER: "#15191E",
    INPUT: "#2E353D", PARAMETER: "#173F57", COMPUTED: "#1D2329", OP: "#4A3F1B",
}  # fmt: skip

FONT = "Helvetica,Arial,sans-serif"
SIZE = 11.0  # of the text in boxes, in points
SMALL = 9.5  # of the text beside arrows
LARGE = 100  # boxes, from which on the layout may stop before it is perfect

Dash = Literal["solid", "dashed", "dotted"]
Direction = Literal["LR", "TB"]  # left to right, top to bottom


@dataclass(frozen=True, slots=True)
class Look:
    """How an arrow looks. Colour never speaks alone: `dash` and `label` say the same.

    `width` is in points; `label` stands beside the arrow; `head` is the arrowhead:
    "open" for what carries nothing, "blocked" for one with a bar before it.
    """

    width: float = 1.0
    color: str = GREY
    dash: Dash = "solid"
    label: str = ""
    head: Literal["normal", "open", "blocked"] = "normal"

    @property
    def thickness(self) -> float:
        """The width that is drawn, whatever number `width` is."""
        return min(max(self.width, 0.1), 20.0) if math.isfinite(self.width) else 1.0


@dataclass(frozen=True, slots=True)
class Box:
    """A thing: a value's rounded box, an op's circle or pill, or a constant's small text.

    `lines` are drawn one below the other, shortened if long; the whole text belongs into
    `tooltip`. `double` draws a second border. `cluster` names the frames around it.
    """

    id: str
    lines: tuple[str, ...]
    kind: Literal["value", "op", "constant", "folded"] = "value"
    fill: str = PAPER
    tooltip: str = ""
    double: bool = False
    cluster: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Arrow:
    """From one box to another, by their ids. `slot` is a word at the head: which operand.

    The larger the `weight`, the shorter and straighter the arrow is laid out.
    """

    id: str
    source: str
    target: str
    look: Look = Look()
    tooltip: str = ""
    slot: str = ""
    weight: int = 1

    @property
    def mark(self) -> str:
        """The slot's word as it stands at the head: a long one stands in the label."""
        return self.slot if len(self.slot) <= 2 else ""

    @property
    def label(self) -> str:
        """What stands beside the arrow."""
        return oneline(f"{'' if self.mark else self.slot} {self.look.label}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the legend: what such an arrow, box or word beside an arrow stands for."""

    text: str
    sample: Look | Box | str


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

    @property
    def frames(self) -> list[tuple[str, ...]]:
        """The frames around boxes, each by its names, those outside before those inside."""
        paths = (b.cluster[:i] for b in self.boxes for i in range(1, len(b.cluster) + 1))
        return list(dict.fromkeys(paths))


@dataclass(frozen=True)
class Scale:
    """Widths for magnitudes, by their logarithm: `smallest` is drawn thin, `largest` thick.

    At least one decade lies between thin and thick, so that nearly equal numbers look
    nearly equal: less than that is drawn with widths about the middle. Make one of all the
    numbers of all pictures that are to be compared.
    """

    smallest: float
    largest: float
    thin: float = 1.0
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


def dot(picture: Picture, captioned: bool = False) -> str:
    """The Graphviz source of the drawing itself; its legend and caption stand outside it,
    or, with `captioned`, the caption below it."""
    text = {"fontname": FONT, "fontsize": f"{SIZE:g}"}
    graph = graphviz.Digraph(
        graph_attr=text | {
            "rankdir": picture.direction, "nodesep": "0.22", "bgcolor": "transparent",
            "ranksep": "0.42" if picture.direction == "LR" else "0.34",
        },
        node_attr=text | {
            "fontcolor": INK, "color": FRAME, "style": "rounded,filled", "shape": "box",
            "height": "0.3", "margin": "0.08,0.04",
        },
        edge_attr=text | {"fontsize": f"{SMALL:g}", "fontcolor": INK, "arrowsize": "0.6"},
    )  # fmt: skip
    if captioned:
        graph.attr(label=escape(oneline(picture.caption, 400)), labelloc="b")
    if len(picture.boxes) > LARGE:  # an input used 70 times along a chain: 2.4 s, not 63
        graph.graph_attr |= {"nslimit": "1", "nslimit1": "1"}
    frames: dict[tuple[str, ...], graphviz.Digraph] = {(): graph}
    for i, path in enumerate(picture.frames, 1):
        frames[path] = graphviz.Digraph(
            name=f"cluster_{i}",
            graph_attr={
                "id": f"scope{i}",
                "label": escape(oneline(path[-1])), "tooltip": escape(printable(path[-1])),
                # From the top to the bottom, arrows come in where the name would be.
                "labelloc": "b" if picture.direction == "TB" else "t", "labeljust": "l",
                "style": "rounded,dashed", "color": PALE,
                "fontcolor": GREY, "margin": "9", "penwidth": "1",
            },
        )  # fmt: skip
    for box in picture.boxes:
        frames[box.cluster].node(box.id, **box_attributes(box))
    for path in reversed(picture.frames):  # a frame is complete before it goes into its own
        frames[path[:-1]].subgraph(frames[path])
    for arrow in picture.arrows:
        graph.edge(arrow.source, arrow.target, **arrow_attributes(arrow))
    return str(graph.source)


def box_attributes(box: Box) -> dict[str, str]:
    """A box as Graphviz attributes."""
    lines = [oneline(line) for line in box.lines]
    size = SMALL if box.kind == "constant" else SIZE
    room = max((text_width(line, size) for line in lines), default=0) / 72
    made = {"id": box.id, "label": escape("\n".join(lines)), "fillcolor": box.fill}
    made["tooltip"] = escape(printable(box.tooltip or "\n".join(box.lines)))
    if box.kind == "constant":
        made |= {"shape": "plain", "style": "", "fontsize": f"{SMALL:g}", "width": f"{room:.2f}"}
    elif box.kind == "op" and room <= 0.24 and len(lines) == 1:
        made |= {"shape": "circle", "style": "filled", "fixedsize": "true", "width": "0.34"}
    elif box.kind == "op":
        made |= {"width": f"{room + 0.2:.2f}"}
    else:
        made |= {"width": f"{max(room + 0.22, 0.55):.2f}", "height": "0.42"}
    if box.double:
        made["peripheries"] = "2"
    return made


def arrow_attributes(arrow: Arrow) -> dict[str, str]:
    """An arrow as Graphviz attributes."""
    look, width = arrow.look, arrow.look.thickness
    made = {
        "id": arrow.id, "color": look.color, "penwidth": f"{width:.2f}",
        "weight": str(arrow.weight),
        "arrowhead": {"normal": "normal", "open": "vee", "blocked": "normaltee"}[look.head],
        "arrowsize": f"{0.55 / max(1.0, width / 3) ** 0.5:.2f}",
        "tooltip": escape(printable(arrow.tooltip or look.label or " ")),
    }  # fmt: skip
    if look.dash != "solid":
        made["style"] = look.dash
    if arrow.label:
        made["label"] = escape(f" {arrow.label} ")
    if arrow.mark:
        made |= {"headlabel": escape(arrow.mark), "labelfontcolor": GREY}
        made |= {"labelfontsize": "8", "labeldistance": "1.3", "labelangle": "30"}
    return made


def escape(text: str) -> str:
    """Text that Graphviz shows as it is: no escape sequence, no entity, no markup."""
    text = text.replace("&", "&amp;").replace("\\", "\\\\").replace("\n", "\\n")
    return graphviz.nohtml(text)
