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

from .picture import (
    DARK,
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
)
from .text import oneline, printable, text_width

SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
MARGIN = 12.0
NARROWEST = 420.0  # room for the legend below a small picture
DESCRIPTION = 20_000  # characters of it, at most


def finished(pictures: Sequence[Picture], layouts: Sequence[str]) -> str:
    """One SVG of the pictures, one below the other, each with its heading; then the
    captions, and one legend for all."""
    root = ET.Element("svg", {"xmlns": SVG[1:-1], "role": "img"})
    root.set("class", "tinygrad-lite")
    title = "; ".join(p.title for p in pictures if p.title)
    ET.SubElement(root, "title").text = printable(oneline(title, 200))
    description = "\n\n".join(p.description for p in pictures if p.description)
    ET.SubElement(root, "desc").text = printable(shortened(description))
    ET.SubElement(root, "style").text = style()
    paper = ET.SubElement(root, "rect", {"fill": PAPER})
    drawings = [
        drawing(p, layout, i) for i, (p, layout) in enumerate(zip(pictures, layouts, strict=True))
    ]
    width = max(NARROWEST, *(w for _, w, _ in drawings))
    y = MARGIN
    for picture, (group, _, height) in zip(pictures, drawings, strict=True):
        if picture.heading:
            text(root, MARGIN, y + SIZE, oneline(picture.heading, 80), size=13, weight="bold")
            y += 22
        group.set("transform", f"translate({MARGIN:g} {y:g}) {group.get('transform')}")
        root.append(group)
        y += height + MARGIN
    for caption in dict.fromkeys(p.caption for p in pictures if p.caption):
        for line in wrapped(caption, width, SMALL):
            text(root, MARGIN, y + SMALL, line, color=GREY, size=SMALL)
            y += 13
    y = legend(root, [e for p in pictures for e in p.legend], width, y + 4)
    size = (width + 2 * MARGIN, y + MARGIN)
    for name, value in zip(("width", "height"), size, strict=True):
        root.set(name, f"{value:.0f}pt")
        paper.set(name, f"{value:.0f}")
    root.set("viewBox", f"0 0 {size[0]:.0f} {size[1]:.0f}")
    ET.indent(root, "")
    return ET.tostring(root, encoding="unicode") + "\n"


def style() -> str:
    """Colours for a dark screen, and letters that stay readable on an arrow."""
    scope = ".tinygrad-lite"
    dark = "".join(
        f'{scope} [{what}="{light}"]{{{what}:{dark}}}'
        for light, dark in DARK.items()
        for what in ("fill", "stroke")
    )
    return f"@media (prefers-color-scheme:dark){{{dark}}}"


def drawing(picture: Picture, layout: str, index: int) -> tuple[ET.Element, float, float]:
    """The group of Graphviz's elements, its width and its height, cleaned.

    Each box, arrow and frame keeps its id (with "p1-" before it in the second picture,
    and so on), gets its kind as class and its tooltip as title.
    """
    source = ET.fromstring(layout)
    _, _, width, height = (float(x) for x in source.attrib["viewBox"].split())
    top = source.find(f"{SVG}g")
    assert top is not None
    arrows = {arrow.id: arrow for arrow in picture.arrows}
    boxes = {box.id: box for box in picture.boxes}
    ends = heads(top)
    into: dict[str, list[Head]] = {}  # of a box, the heads of the arrows that end there
    for arrow in picture.arrows:
        if arrow.id in ends:
            into.setdefault(arrow.target, []).append(ends[arrow.id])
    group = ET.Element("g", {"transform": moved(top.attrib["transform"])})
    for part in (part for part in top.findall(f"{SVG}g") if "class" in part.attrib):
        name, kind = part.attrib["id"], part.attrib["class"]
        words, tip = kind, frame_tip(part)
        if name in boxes:
            words, tip = f"{kind} {boxes[name].kind}", boxes[name].tooltip
        elif name in arrows:
            tip = arrows[name].tooltip
        copy = ET.SubElement(group, "g", {"id": f"p{index}-" * (index > 0) + name})
        copy.set("class", words)
        if tip:
            ET.SubElement(copy, "title").text = printable(tip)
        for shape in part.iter():
            tag = shape.tag.removeprefix(SVG)
            if tag == "text" and name in arrows and name in ends:
                mates = into[arrows[name].target]
                placed(shape, arrows[name], ends[name], mates, picture.direction)
            if tag in ("path", "polygon", "ellipse", "polyline", "text"):
                copy.append(cleaned(shape, rim=tag == "text" and kind != "node"))
    stacked(group)
    return group, width, height


def frame_tip(part: ET.Element) -> str:
    """The whole name of a frame, from where Graphviz puts its tooltip."""
    link = part.find(f".//{SVG}a")
    return "" if link is None else link.get(f"{XLINK}title", "").strip()


def stacked(group: ET.Element) -> None:
    """Put on top what is read: no arrow crosses a box, or the name of a frame."""
    order = {"cluster": 0, "edge": 1, "node": 2}
    group[:] = sorted(group, key=lambda part: order[part.attrib["class"].split()[0]])
    frames = [part for part in group if part.get("class") == "cluster"]
    names = ET.SubElement(group, "g", {"class": "names"})
    for frame in frames:
        for name in frame.findall("text"):
            frame.remove(name)
            names.append(name)


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


def placed(
    label: ET.Element, arrow: Arrow, head: Head, mates: Sequence[Head], direction: str
) -> None:
    """Move an arrow's label off the line, of whose width Graphviz takes no note; and the
    mark of its slot beside the head, on the side away from the other operands (`mates`)."""
    x, y = float(label.attrib["x"]), float(label.attrib["y"])
    away = arrow.look.width / 2
    if not (arrow.mark and (label.text or "").strip() == arrow.mark):
        x, y = (x, y - away) if direction == "LR" else (x + away, y)
    else:
        if direction == "LR":
            left = head.dy >= sum(mate.dy for mate in mates) / len(mates)
        else:
            left = head.dx < sum(mate.dx for mate in mates) / len(mates)
        off = (away + 6) * (1 if left else -1)  # along (dy, -dx), to the left of the arrow
        x, y = head.x + off * head.dy, head.y - off * head.dx + 3
    label.attrib |= {"x": f"{x:.2f}", "y": f"{y:.2f}"}


def moved(transform: str) -> str:
    """The translation out of Graphviz's transform, which also says scale and rotate."""
    found = re.search(r"translate\(([^)]*)\)", transform)
    return found.group(0) if found else ""


def cleaned(shape: ET.Element, rim: bool) -> ET.Element:
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
        return
    if isinstance(shown, Look):
        line = {"x1": f"{x:g}", "x2": f"{x + 26:g}", "y1": f"{y:g}", "y2": f"{y:g}"}
        line |= {"stroke": shown.color, "stroke-width": f"{shown.width:g}"}
        if shown.dash != "solid":
            line["stroke-dasharray"] = "5,2" if shown.dash == "dashed" else "1,5"
        ET.SubElement(root, "line", line)
        if shown.head == "blocked":
            bar = {"x1": f"{x + 20:g}", "x2": f"{x + 20:g}", "y1": f"{y - 5:g}", "y2": f"{y + 5:g}"}
            ET.SubElement(root, "line", bar | {"stroke": shown.color, "stroke-width": "1.5"})
        return
    box = {"fill": shown.fill, "stroke": FRAME, "height": "11", "y": f"{y - 6:g}"}
    if shown.kind == "op":
        box |= {"x": f"{x + 8:g}", "width": "11", "rx": "5.5"}
    else:
        box |= {"x": f"{x + 3:g}", "width": "22", "rx": "3.5"}
    ET.SubElement(root, "rect", box)
    if shown.double:
        inner = {"x": f"{x + 5:g}", "y": f"{y - 4:g}", "width": "18", "height": "7", "rx": "2"}
        ET.SubElement(root, "rect", inner | {"fill": "none", "stroke": FRAME})


def text(
    root: ET.Element,
    x: float,
    y: float,
    words: str,
    *,
    color: str = INK,
    size: float = SIZE,
    weight: str = "normal",
) -> None:
    """A line of text that starts at (x, y)."""
    attributes = {"x": f"{x:g}", "y": f"{y:g}", "font-family": FONT, "font-size": f"{size:g}"}
    attributes |= {"fill": color} | ({"font-weight": weight} if weight != "normal" else {})
    ET.SubElement(root, "text", attributes).text = printable(words)


def wrapped(words: str, width: float, size: float) -> list[str]:
    """`words` in lines no wider than `width`."""
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, size) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def shortened(description: str) -> str:
    """A description of readable length: whole lines, and how many were left out."""
    if len(description) <= DESCRIPTION:
        return description
    kept = description[:DESCRIPTION].rsplit("\n", 1)[0]
    return f"{kept}\n({description[len(kept) :].count(chr(10))} more lines)"
