"""The finished SVG: boxes and arrows where Graphviz laid them out, and what stands around them.

Graphviz says where things go (layout.py), and nothing else: what is drawn is the same whichever
Graphviz was used, and several pictures can be drawn on one layout.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from typing import Any
from xml.etree import ElementTree as ET

from ..text import oneline, printable, text_width
from .layout import Layout, Rect, Room, around, shortened, walk
from .picture import (
    COMPUTED,
    DARK,
    FONT,
    FRAME,
    GREY,
    INK,
    LINE,
    PALE,
    PAPER,
    SIZE,
    SMALL,
    TINT,
    WIDEST,
    Arrow,
    Box,
    Entry,
    Look,
    Picture,
    Repeat,
)

SVG = "http://www.w3.org/2000/svg"
MARGIN = 12.0
# Notebooks say of which theme they are: JupyterLab by an attribute, VS Code by a class.
THEMES = "".join(
    f'[data-jp-theme-light="{light}"] .tinygrad-lite,.vscode-{theme} .tinygrad-lite'
    f"{{color-scheme:{theme}}}"
    for light, theme in (("true", "light"), ("false", "dark"))
)
HEAD = 1.15  # by how much an arrowhead grows with its line
DESCRIPTION = 20_000  # characters of it, at most


def document(title: str, description: str) -> ET.Element:
    """An SVG with title, description and style, and a sheet of paper to draw on."""
    root = ET.Element("svg", {"xmlns": SVG, "role": "img", "class": "tinygrad-lite"})
    dark = dark_style(".tinygrad-lite")
    add(root, "title", oneline(title, 200))
    add(root, "desc", description)
    add(root, "style", f"@media (prefers-color-scheme:dark){{{dark}}}")
    add(root, "rect", fill=PAPER)
    return root


def dark_style(scope: str) -> str:
    """The CSS that exchanges the colours inside `scope` for those of the dark theme."""
    return "".join(
        f'{scope} [{what}="{light}"]{{{what}:{dark}}}'
        for light, dark in DARK.items()
        for what in ("fill", "stroke")
    )


def source(root: ET.Element, width: float, height: float) -> str:
    """The text of a document, once its size is known."""
    set_size(root, width, height)
    root[3].attrib |= {"width": f"{width:.0f}", "height": f"{height:.0f}"}  # the paper
    ET.indent(root, "")
    return ET.tostring(root, encoding="unicode") + "\n"


def set_size(root: ET.Element, width: float, height: float) -> None:
    """Say of what size an SVG is."""
    w, h = f"{width:.0f}", f"{height:.0f}"
    root.attrib |= {"width": f"{w}pt", "height": f"{h}pt", "viewBox": f"0 0 {w} {h}"}


def extent(document: str) -> tuple[float, float]:
    """Width and height of an SVG."""
    width, height = document.split('viewBox="', 1)[1].split('"', 1)[0].split()[2:]
    return float(width), float(height)


def fit_width(document: str) -> str:
    """An SVG as HTML: narrowed to the room there is, as long as its letters can be read; what is
    wider then scrolls."""
    shown = document.replace("<svg ", f'<svg style="{width_that_fits(document)}" ', 1)
    return f'<div style="overflow-x:auto">{shown}</div>\n'


def image(document: str) -> str:
    """The same as one image, for a notebook. It keeps to itself: a notebook that is not trusted
    would strip an SVG's elements and leave their text. And its colours follow `color-scheme`, which
    is the notebook's own theme, not that of the reader's system."""
    data = base64.b64encode(document.encode()).decode()
    title = parse(document).findtext("title", "")
    return (
        f'<style>{THEMES}</style><div style="overflow-x:auto"><img class="tinygrad-lite" '
        f'style="{width_that_fits(document)}" alt="{escape(title)}" '
        f'src="data:image/svg+xml;base64,{data}"/></div>\n'
    )


def width_that_fits(document: str) -> str:
    """The style of an SVG that is as wide as there is room for, and as its letters need."""
    return f"max-width:100%;min-width:{0.5 * extent(document)[0]:.0f}pt;height:auto"


def parse(document: str) -> ET.Element:
    """The elements of an SVG, without their namespace."""
    return ET.fromstring(document.replace(f'xmlns="{SVG}"', "", 1))


def draw(root: ET.Element, picture: Picture, laid: Layout, prefix: str, y: float) -> None:
    """Add a picture where it was laid out: frames, arrows, boxes, so that no arrow crosses a box;
    then the names of frames. Each keeps its id, with `prefix` before it, gets its kind as class and
    its tooltip as title. Texts beside arrows are put where nothing else stands."""
    group = add(root, "g", transform=f"translate({MARGIN:g} {y:g})")
    names = ET.Element("g", {"class": "names"})
    room, own = Room(), set(picture.frames)
    for i, path in enumerate((picture.base or picture).frames, 1):
        if path in own and f"scope{i}" in laid.frames:
            rect, start = laid.frames[f"scope{i}"]
            frame = add_group(group, f"{prefix}scope{i}", "cluster", picture.label_of(path).strip())
            rect = draw_frame(
                frame, names, rect, start, path[-1], picture.repeats.get(path[-1]), room
            )
            room.take_border(rect)
    for box in picture.boxes:
        if box.id in laid.boxes:
            room.take_box(laid.boxes[box.id], box.round)
    drawn = []
    for arrow in picture.arrows:
        if line := laid.lines.get(arrow.id):
            part = add_group(group, prefix + arrow.id, "edge", arrow.tooltip)
            points = draw_arrow(part, arrow.look, line[::-1] if arrow.hangs > 0 else line)
            room.take_line(points, arrow.look.thickness)
            room.take(around(points[0], *[HEAD * arrow.look.thickness + 8] * 2))
            if arrow.look.head in ("blocked", "barred", "cut", "facing"):
                room.take(around(points[mark_of(arrow.look, points)], 13, 13))
            drawn.append((part, arrow, points))
    for part, arrow, points in drawn:
        label_arrow(part, arrow, points, room, laid.texts.get(arrow.id, points[0]))
    for box in picture.boxes:
        if box.id in laid.boxes:
            part = add_group(group, prefix + box.id, f"node {box.kind}", box.tooltip)
            draw_box(part, box, laid.boxes[box.id])
    group.append(names)


def draw_frame(
    group: ET.Element, names: ET.Element, rect: Rect, start: complex, name: str,
    repeat: Repeat | None, room: Room,
) -> Rect:  # fmt: skip
    """The frame of a scope with its name; or of a unit, which also says how often it comes, with
    sheets behind it. Where its border is."""
    ink = {"fill": TINT, "stroke": PALE, "stroke_width": "0.8"}
    size, colour, y = SIZE, GREY, start.imag
    if repeat:
        rect = draw_sheets(group, rect, ink)
        y = rect[1] + 20 if y < (rect[1] + rect[3]) / 2 else rect[3] - 8
        name, size, colour = repeat.label, SIZE + 1, INK
        often, right = f"× {repeat.times}", rect[2] - 12
        bold = {"font_weight": "bold", "text_anchor": "end"}
        text(names, right, y, often, size=SIZE + 5, **bold)
        room.take((right - text_width(often, SIZE + 5), y - 18, right, y + 4))
    add(group, "rect", **sides(rect), rx=7, **ink)
    name = oneline(name, 40)
    rim: Any = {"stroke": TINT, "stroke_width": "3", "paint_order": "stroke"}
    text(names, rect[0] + 8, y, name, colour, size, **rim)
    middle = complex(rect[0] + 8 + text_width(name, size) / 2, y - 4)
    room.take(around(middle, text_width(name, size), size))
    return rect


def draw_sheets(group: ET.Element, rect: Rect, ink: dict[str, str]) -> Rect:
    """The sheets behind the frame of what is repeated, within the room for it; the frame."""
    left, top, right, bottom = rect
    for k in (2, 1):
        behind = left + 3 + 3 * k, top + 6 - 3 * k, right - 6 + 3 * k, bottom - 6
        add(group, "rect", **sides(behind), rx=8, **ink)
    return left, top + 6, right - 6, bottom


def add_group(root: ET.Element, id: str, kind: str, tooltip: str) -> ET.Element:
    """A group of elements for one thing."""
    group = add(root, "g", id=id, **{"class": kind})
    if tooltip:
        add(group, "title", tooltip)
    return group


def sides(rect: Rect) -> dict[str, str]:
    """A rectangle as attributes."""
    left, top, right, bottom = rect
    found = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    return {name: f"{x:.2f}" for name, x in found.items()}


def draw_box(group: ET.Element, box: Box, rect: Rect) -> None:
    """A box: a circle, a rounded rectangle, or nothing around the text of a constant."""
    left, top, right, bottom = rect
    middle, y = (left + right) / 2, (top + bottom) / 2
    ink = {"fill": box.fill, "stroke": FRAME}
    if box.round:
        radius = f"{(right - left) / 2:.2f}"
        add(group, "ellipse", cx=f"{middle:.2f}", cy=f"{y:.2f}", rx=radius, ry=radius, **ink)
    elif box.kind != "constant":
        if box.double:
            add(group, "rect", **sides(rect), rx=10, fill="none", stroke=FRAME)
            left, top, right, bottom = rect = left + 4, top + 4, right - 4, bottom - 4
        add(group, "rect", **sides(rect), rx=10 if box.kind == "op" else 7, **ink)
    high = LINE * len(box.below) + 6 if box.below else 0.0
    if high:
        edge = bottom - high
        path = (
            f"M{left + 0.5:.2f},{edge:.2f} H{right - 0.5:.2f} V{bottom - 7:.2f} "
            f"q0,6.5 -6.5,6.5 H{left + 7:.2f} q-6.5,0 -6.5,-6.5 Z"
        )
        add(group, "path", d=path, fill=COMPUTED, **{"class": "below"})
    size = SMALL if box.kind == "constant" else SIZE
    for i, line in enumerate(box.lines):
        at = (top + bottom - high) / 2 + LINE * (i - (len(box.lines) - 1) / 2) + size * 0.36
        centred(group, middle, at, oneline(line), size if i == 0 else SMALL)
    for i, line in enumerate(box.below):
        at = bottom - 6.5 - LINE * (len(box.below) - 1 - i)
        bold = {"font_weight": "bold", "class": "below"}
        centred(group, middle, at, oneline(line, WIDEST), SMALL, box.ink, **bold)


def centred(
    group: ET.Element, x: float, y: float, words: str, size: float, color: str = INK, **more: str
) -> None:
    """A line of text about (x, y)."""
    text(group, round(x, 2), round(y, 2), words, color, size, text_anchor="middle", **more)


def draw_arrow(group: ET.Element, look: Look, line: list[complex]) -> list[complex]:
    """The line and heads of an arrow; points along it, from where it arrives."""
    width, whole = look.thickness, line
    if look.head in ("forward", "barred", "cut", "facing"):
        whole = line[::-1]
    long = 0.0 if look.head in ("none", "cut") else 5 + HEAD * width
    kept = whole
    if look.head == "facing":  # the two heads meet in the middle, and the line goes through
        long = 0.0
    elif long:
        kept = shortened(whole[::-1], long)[::-1]
    ink = {"fill": "none", "stroke": look.color, "stroke_width": f"{width:g}"}
    if look.dash != "solid":
        unit = max(1.0, width / 3)
        ink["stroke_dasharray"] = f"{5 * unit:g},{3 * unit:g}" if look.dash == "dashed" else "1,4"
    d = f"M{place(kept[0])}C" + " ".join(map(place, kept[1:]))
    add(group, "path", d=d, **ink)
    if look.hollow:
        inner = {"stroke": PAPER, "stroke_width": f"{width - 2.4:g}", "class": "inner"}
        add(group, "path", d=d, fill="none", **inner)
    points = walk(whole)
    if long:
        draw_head(group, look.color, whole[0], kept[0], width)
    middle = mark_of(look, points)
    if look.head in ("blocked", "barred"):
        draw_bar(group, look.color, points, middle)
    elif look.head == "cut":
        for k in (-1, 1):
            draw_bar(group, look.color, points, middle + k)
    elif look.head == "facing":
        for k in (-1, 1):
            there = points[max(0, min(len(points) - 1, middle + 3 * k))]
            draw_head(group, look.color, points[middle], there, 1.0)
    return points


def mark_of(look: Look, points: list[complex]) -> int:
    """Where on a line a mark of its own stands: a bar before the head, else in the middle."""
    return min(len(points) // 2, 5) if look.head in ("blocked", "barred") else len(points) // 2


def place(p: complex) -> str:
    """A point as a path has it."""
    return f"{p.real:.2f},{p.imag:.2f}"


def draw_head(group: ET.Element, colour: str, tip: complex, base: complex, width: float) -> None:
    """An arrowhead from its base to its tip."""
    along = (tip - base) / (abs(tip - base) or 1.0)
    half = (2.4 + 0.75 * width) * along * 1j
    points = " ".join(map(place, (tip, base + half, base - half)))
    add(group, "polygon", points=points, fill=colour, stroke=colour, stroke_width="0.5")


def draw_bar(group: ET.Element, colour: str, points: list[complex], i: int) -> None:
    """A bar across a line, at one of its points."""
    i = max(1, min(len(points) - 2, i))
    along = points[i + 1] - points[i - 1] if len(points) > 2 else 1 + 0j
    half = 5.5j * along / (abs(along) or 1.0)
    a, b = points[i] - half, points[i] + half
    ends = {"x1": a.real, "y1": a.imag, "x2": b.real, "y2": b.imag}
    shown = {name: f"{x:.2f}" for name, x in ends.items()}
    add(group, "line", **shown, stroke=colour, stroke_width="2")


def label_arrow(
    group: ET.Element, arrow: Arrow, points: list[complex], room: Room, spare: complex
) -> None:
    """The texts of an arrow: what arrives near its head, what belongs to its start near that."""
    off = arrow.look.thickness / 2 + 2
    start = int(3 + arrow.look.thickness / 2)
    for rows, way, size, colour, kind in (
        (arrow.rows, points[min(start, len(points) // 3) :], SMALL, arrow.look.ink, "number"),
        ([arrow.origin] if arrow.origin else [], points[::-1], SMALL - 1, GREY, "slope"),
    ):
        if not rows:
            continue
        width = max(text_width(row, size) for row in rows) * 0.9
        middle, free = room.place(way, (width, 1.15 * size * len(rows)), off, spare)
        more = {"class": kind} | ({"font_weight": "bold"} if kind == "number" else {})
        if not free:  # it stands on something
            more |= {"stroke": PAPER, "stroke_width": "3", "paint_order": "stroke"}
        for i, row in enumerate(rows):
            y = middle.imag + 1.15 * size * (i - (len(rows) - 1) / 2) + size * 0.36
            centred(group, middle.real, y, row, size, colour, **more)


def legend(root: ET.Element, entries: Sequence[Entry], width: float, y: float) -> float:
    """The legend's samples and texts in rows, each kind once; where the next thing goes."""
    x = MARGIN
    for entry in {entry.text: entry for entry in entries}.values():
        steps = entry.sample if isinstance(entry.sample, tuple) else ()
        words = f"{entry.text}:" if steps else entry.text
        wide = text_width(words, SMALL)
        sample = text_width(entry.sample, SMALL) + 6 if isinstance(entry.sample, str) else 32
        room = (
            wide + sum(44 + text_width(t, SMALL) for _, t in steps) if steps else wide + sample + 10
        )
        if x > MARGIN and x + room > width + MARGIN:
            x, y = MARGIN, y + 18
        at, row = x, y
        if steps:
            text(root, at, y + 11, words, size=SMALL)
            at += wide + 6
            for look, what in steps:
                if at > MARGIN and at + 32 + text_width(what, SMALL) > width + MARGIN:
                    at, y = MARGIN, y + 18
                draw_sample(root, look, at, y + 8)
                text(root, at + 32, y + 11, what, size=SMALL)
                at += 44 + text_width(what, SMALL)
        else:
            draw_sample(root, entry.sample, at, y + 8)
            text(root, at + sample, y + 11, entry.text, size=SMALL)
        x = x + room + 14 if y == row else at + 8
    return y + 18 if entries else y


def draw_sample(
    root: ET.Element, shown: Look | Box | str | tuple[object, ...], x: float, y: float
) -> None:
    """A short arrow, a small box, or a few letters, as the legend shows it."""
    if isinstance(shown, str):
        text(root, x + 2, y + 3, shown, color=GREY, size=SMALL)
    elif isinstance(shown, Look):
        line = [complex(x, y), complex(x + 9, y), complex(x + 17, y), complex(x + 26, y)]
        draw_arrow(root, shown, line)
    elif isinstance(shown, Box):
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
    add(root, "text", words, x=x, y=y, font_family=FONT, font_size=size, fill=color, **more)


def add(root: ET.Element, tag: str, words: str = "", **attributes: str | float) -> ET.Element:
    """A new element with a text; for a hyphen in an attribute's name stands an underscore."""
    shown = ((name, x if isinstance(x, str) else f"{x:g}") for name, x in attributes.items())
    element = ET.SubElement(root, tag, {name.replace("_", "-"): x for name, x in shown})
    element.text = printable(words)
    return element


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
