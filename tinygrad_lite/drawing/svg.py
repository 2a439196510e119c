"""The finished SVG: what Graphviz laid out, with title, legend and caption around it.

Graphviz places boxes and arrows; everything else is done here, so that it never floats
inside the layout and stays the same whichever Graphviz was used: tooltips, a background,
colours for a dark screen, text that a screen reader finds, and no comment or date.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple
from xml.etree import ElementTree as ET

from ..text import oneline, printable, text_width
from .picture import (
    FONT,
    FRAME,
    GREY,
    INK,
    PAPER,
    SIZE,
    SMALL,
    Arrow,
    Box,
    Entry,
    Look,
    Picture,
    dark_style,
)  # fmt: skip

SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
MARGIN = 12.0
NARROWEST = 420.0  # room for the legend below a small picture
DESCRIPTION = 20_000  # characters of it, at most


def compose(pictures: Sequence[Picture], layouts: Sequence[str]) -> str:
    """One SVG of the pictures, one below the other, each with its heading; then the
    captions, and one legend for all."""
    root = document(
        "; ".join(p.title for p in pictures if p.title),
        shorten("\n\n".join(p.description for p in pictures if p.description)),
    )
    drawings = [drawing(p, layouts[i], i) for i, p in enumerate(pictures)]
    width = max(NARROWEST, *(w for _, w, _ in drawings))
    y = MARGIN
    for picture, (group, _, height) in zip(pictures, drawings, strict=True):
        if picture.heading:
            text(root, MARGIN, y + SIZE, oneline(picture.heading, 80), size=13, font_weight="bold")
            y += 22
        group.set("transform", f"translate({MARGIN:g} {y:g}) {group.get('transform')}")
        root.append(group)
        y += height + MARGIN
    for caption in dict.fromkeys(p.caption for p in pictures if p.caption):
        for line in wrap(caption, width, SMALL):
            text(root, MARGIN, y + SMALL, line, color=GREY, size=SMALL)
            y += 13
    y = legend(root, [e for p in pictures for e in p.legend], width, y + 4)
    return source(root, width + 2 * MARGIN, y + MARGIN)


def document(title: str, description: str) -> ET.Element:
    """An SVG with title, description and style, and a sheet of paper to draw on."""
    root = ET.Element("svg", {"xmlns": SVG[1:-1], "role": "img", "class": "tinygrad-lite"})
    add(root, "title").text = printable(oneline(title, 200))
    add(root, "desc").text = printable(description)
    add(root, "style").text = style()
    add(root, "rect", fill=PAPER)
    return root


def source(root: ET.Element, width: float, height: float) -> str:
    """The text of a document, once its size is known."""
    for name, size in (("width", width), ("height", height)):
        root.set(name, f"{size:.0f}pt")
        root[3].set(name, f"{size:.0f}")  # the paper
    root.set("viewBox", f"0 0 {width:.0f} {height:.0f}")
    ET.indent(root, "")
    return ET.tostring(root, encoding="unicode") + "\n"


def style() -> str:
    """Colours for a dark screen, and letters that stay readable on an arrow."""
    return f"@media (prefers-color-scheme:dark){{{dark_style('.tinygrad-lite')}}}"


def drawing(picture: Picture, layout: str, index: int) -> tuple[ET.Element, float, float]:
    """The group of Graphviz's elements, its width and its height, cleaned.

    Each box, arrow and frame keeps its id (with "p1-" before it in the second picture,
    and so on), gets its kind as class and its tooltip as title.
    """
    laid_out = ET.fromstring(layout)
    _, _, width, height = (float(x) for x in laid_out.attrib["viewBox"].split())
    top = laid_out.find(f"{SVG}g")
    assert top is not None
    arrows = {arrow.id: arrow for arrow in picture.arrows}
    boxes = {box.id: box for box in picture.boxes}
    ends = heads(top)
    into: dict[str, list[Head]] = {}  # of a box, the heads of the arrows that end there
    for arrow in picture.arrows:
        if arrow.id in ends:
            into.setdefault(arrow.target, []).append(ends[arrow.id])
    group = ET.Element("g", {"transform": translation(top.attrib["transform"])})
    for part in (part for part in top.findall(f"{SVG}g") if "class" in part.attrib):
        name, kind = part.attrib["id"], part.attrib["class"]
        words, tip = kind, frame_tip(part)
        if name in boxes:
            words, tip = f"{kind} {boxes[name].kind}", boxes[name].tooltip
        elif name in arrows:
            tip = arrows[name].tooltip
        copy = add(group, "g", id=f"p{index}-" * (index > 0) + name, **{"class": words})
        if tip:
            add(copy, "title").text = printable(tip)
        for shape in part.iter():
            tag = shape.tag.removeprefix(SVG)
            if tag == "text" and name in arrows and name in ends:
                mates = into[arrows[name].target]
                place_label(shape, arrows[name], ends[name], mates, picture.direction)
            if tag in ("path", "polygon", "ellipse", "polyline", "text"):
                copy.append(plain_shape(shape, rim=tag == "text" and kind != "node"))
    put_in_order(group)
    return group, width, height


def frame_tip(part: ET.Element) -> str:
    """The whole name of a frame, from where Graphviz puts its tooltip."""
    link = part.find(f".//{SVG}a")
    return "" if link is None else link.get(f"{XLINK}title", "").strip()


def put_in_order(group: ET.Element) -> None:
    """Put on top what is read: no arrow crosses a box, or the name of a frame."""
    order = {"cluster": 0, "edge": 1, "node": 2}
    group[:] = sorted(group, key=lambda part: order[part.attrib["class"].split()[0]])
    names = ET.Element("g", {"class": "names"})
    for frame in group.findall("g[@class='cluster']"):
        for name in frame.findall("text"):
            frame.remove(name)
            names.append(name)
    group.append(names)


class Head(NamedTuple):
    """Where an arrow's line ends, and its direction there."""

    x: float
    y: float
    dx: float
    dy: float


def heads(group: ET.Element) -> dict[str, Head]:
    """The heads of all arrows that Graphviz drew, by their ids."""
    found = {}
    for part in group.iterfind(f"{SVG}g[@class='edge']"):
        path = part.find(f".//{SVG}path")
        numbers = re.findall(r"-?[\d.]+", path.attrib["d"]) if path is not None else []
        if len(numbers) >= 4:
            x0, y0, x1, y1 = map(float, numbers[-4:])
            length = math.hypot(x1 - x0, y1 - y0) or 1.0
            found[part.attrib["id"]] = Head(x1, y1, (x1 - x0) / length, (y1 - y0) / length)
    return found


def place_label(
    label: ET.Element, arrow: Arrow, head: Head, mates: Sequence[Head], direction: str
) -> None:
    """Move an arrow's label off the line, of whose width Graphviz takes no note; and the
    mark of its slot beside the head, on the side away from the other operands (`mates`)."""
    x, y = float(label.attrib["x"]), float(label.attrib["y"])
    away = arrow.look.width / 2
    if arrow.mark and (label.text or "").strip() == arrow.mark:
        if direction == "LR":
            left = head.dy >= sum(mate.dy for mate in mates) / len(mates)
        else:
            left = head.dx < sum(mate.dx for mate in mates) / len(mates)
        off = (away + 6) * (1 if left else -1)  # along (dy, -dx), to the left of the arrow
        x, y = head.x + off * head.dy, head.y - off * head.dx + 3
    elif direction == "LR":
        y -= away
    else:
        x += away
    label.attrib |= {"x": f"{x:.2f}", "y": f"{y:.2f}"}


def translation(transform: str) -> str:
    """The translation out of Graphviz's transform, which also says scale and rotate."""
    found = re.search(r"translate\(([^)]*)\)", transform)
    return found.group(0) if found else ""


def plain_shape(shape: ET.Element, rim: bool) -> ET.Element:
    """A shape with only what draws it, colours written as our palette writes them; text
    that stands on lines gets a rim of the paper's colour."""
    copy = ET.Element(shape.tag.removeprefix(SVG))
    copy.text = (shape.text or "").strip()
    for name, value in shape.attrib.items():
        if not name.startswith("{"):
            colour = name in ("fill", "stroke") and value.startswith("#")
            copy.set(name, value.upper() if colour else value)
    if rim:
        copy.attrib |= {"stroke": PAPER, "stroke-width": "3", "stroke-linejoin": "round"}
        copy.set("paint-order", "stroke")
    return copy


def legend(root: ET.Element, entries: Sequence[Entry], width: float, y: float) -> float:
    """The legend's samples and texts in rows, each kind once; where the next thing goes."""
    x = MARGIN
    entries = list({entry.text: entry for entry in entries}.values())
    for entry in entries:
        room = 42 + text_width(entry.text, SMALL)
        if x > MARGIN and x + room > width + MARGIN:
            x, y = MARGIN, y + 18
        sample(root, entry.sample, x, y + 8)
        text(root, x + 32, y + 11, entry.text, color=INK, size=SMALL)
        x += room + 14
    return y + 18 if entries else y


def sample(root: ET.Element, shown: Look | Box | str, x: float, y: float) -> None:
    """A short piece of line, a small box, or a few letters, as the legend shows it."""
    if isinstance(shown, str):
        text(root, x + 6, y + 3, shown, color=GREY, size=SMALL)
    elif isinstance(shown, Look):
        ink = {"stroke": shown.color, "stroke_width": f"{shown.width:g}"}
        if shown.dash != "solid":
            ink["stroke_dasharray"] = "5,2" if shown.dash == "dashed" else "1,5"
        add(root, "line", x1=x, x2=x + 26, y1=y, y2=y, **ink)
        if shown.head == "blocked":
            ink = {"stroke": shown.color, "stroke_width": "1.5"}
            add(root, "line", x1=x + 20, x2=x + 20, y1=y - 5, y2=y + 5, **ink)
    else:
        left, width, rx = (8, 11, 5.5) if shown.kind == "op" else (3, 22, 3.5)
        ink = {"fill": shown.fill, "stroke": FRAME}
        add(root, "rect", **ink, height=11, y=y - 6, x=x + left, width=width, rx=rx)
        if shown.double:
            ink["fill"] = "none"
            add(root, "rect", x=x + 5, y=y - 4, width=18, height=7, rx=2, **ink)


def text(
    root: ET.Element, x: float, y: float, words: str, color: str = INK, size: float = SIZE,
    **more: str,
) -> None:  # fmt: skip
    """A line of text that starts at (x, y)."""
    line = add(root, "text", x=x, y=y, font_family=FONT, font_size=size, fill=color, **more)
    line.text = printable(words)


def add(root: ET.Element, tag: str, **attributes: str | float) -> ET.Element:
    """A new element; for a hyphen in an attribute's name stands an underscore."""
    shown = ((name, x if isinstance(x, str) else f"{x:g}") for name, x in attributes.items())
    return ET.SubElement(root, tag, {name.replace("_", "-"): x for name, x in shown})


def wrap(words: str, width: float, size: float) -> list[str]:
    """`words` in lines no wider than `width`."""
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, size) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def shorten(description: str) -> str:
    """A description of readable length: whole lines, and how many were left out."""
    if len(description) <= DESCRIPTION:
        return description
    kept = description[:DESCRIPTION].rsplit("\n", 1)[0]
    return f"{kept}\n({description[len(kept) :].count(chr(10))} more lines)"
