"""The finished SVG: what Graphviz laid out, with title, legend and caption around it.

Graphviz places boxes and arrows; everything else is done here, so that it never floats inside
the layout and stays the same whichever Graphviz was used.
"""

from __future__ import annotations

import base64
import re
from collections import defaultdict
from collections.abc import Sequence
from html import escape
from xml.etree import ElementTree as ET

from ..text import oneline, printable, text_width
from .picture import DARK, FONT, FRAME, GREY, INK, PAPER, SIZE, SMALL, Arrow, Entry, Look, Picture

SVG = "http://www.w3.org/2000/svg"
SHAPES = ("path", "polygon", "ellipse", "polyline", "text")
MARGIN = 12.0
NARROWEST = 420.0  # room for the legend below a small picture
# Notebooks say of which theme they are: JupyterLab by an attribute, VS Code by a class.
THEMES = "".join(
    f'[data-jp-theme-light="{light}"] .tinygrad-lite,.vscode-{theme} .tinygrad-lite'
    f"{{color-scheme:{theme}}}"
    for light, theme in (("true", "light"), ("false", "dark"))
)
DESCRIPTION = 20_000  # characters of it, at most


def compose(pictures: Sequence[Picture], layouts: Sequence[str]) -> str:
    """One SVG of the pictures, one below the other, each with its heading; then the
    captions, and one legend for all."""
    description = "\n\n".join(p.description for p in pictures if p.description)
    root = document("; ".join(p.title for p in pictures if p.title), shorten(description))
    width, y = NARROWEST, MARGIN
    for i, picture in enumerate(pictures):
        if picture.heading:
            text(root, MARGIN, y + SIZE, oneline(picture.heading, 80), size=13, font_weight="bold")
            y += 22
        wide, high = draw(root, picture, layouts[i], f"p{i}-" * (i > 0), y)
        width, y = max(width, wide), y + high + MARGIN
    for caption in dict.fromkeys(p.caption for p in pictures if p.caption):
        for line in wrap(caption, width, SMALL):
            text(root, MARGIN, y + SMALL, line, color=GREY, size=SMALL)
            y += 13
    y = legend(root, [e for p in pictures for e in p.legend], width, y + 4)
    return source(root, width + 2 * MARGIN, y + MARGIN)


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
    return f"max-width:100%;min-width:{0.375 * extent(document)[0]:.0f}pt;height:auto"


def parse(document: str) -> ET.Element:
    """The elements of an SVG, without their namespace."""
    return ET.fromstring(document.replace(f'xmlns="{SVG}"', "", 1))


def draw(
    root: ET.Element, picture: Picture, layout: str, prefix: str, y: float
) -> tuple[float, float]:
    """Add the elements of Graphviz's layout, cleaned; their width and height.

    Each box, arrow and frame keeps its id, with `prefix` before it, gets its kind as class and
    its tooltip as title.
    """
    top = parse(layout)[0]
    boxes = {box.id: box for box in picture.boxes}
    arrows = {arrow.id: arrow for arrow in picture.arrows}
    tips = {f"scope{i}": path[-1].strip() for i, path in enumerate(picture.frames, 1)}
    tips |= {x.id: x.tooltip for x in picture.arrows} | {x.id: x.tooltip for x in picture.boxes}
    ends = heads(top)
    into = defaultdict(list)  # of a box, the directions of the arrows that end there
    for arrow in picture.arrows:
        if arrow.id in ends:
            into[arrow.target].append(ends[arrow.id][1])
    shift = top.attrib["transform"].rpartition("translate")[2]  # it also says scale and rotate
    group = add(root, "g", transform=f"translate({MARGIN:g} {y:g}) translate{shift}")
    names = ET.Element("g", {"class": "names"})  # of frames, on top: no arrow crosses them
    # Frames, arrows, boxes, as the alphabet has it: no arrow crosses a box.
    for part in sorted(top.iterfind("g[@class]"), key=lambda part: part.attrib["class"]):
        name, kind = part.attrib["id"], part.attrib["class"]
        words = f"{kind} {boxes[name].kind}" if name in boxes else kind
        copy = add(group, "g", id=prefix + name, **{"class": words})
        if tips.get(name):
            add(copy, "title", tips[name])
        for shape in part.iter():
            is_text = shape.tag == "text"
            if is_text and name in ends:
                mates = into[arrows[name].target]
                place_label(shape, arrows[name], *ends[name], mates, picture.direction)
            if shape.tag in SHAPES:
                parent = names if is_text and kind == "cluster" else copy
                add_shape(parent, shape, rim=is_text and kind != "node")
    group.append(names)
    return extent(layout)


def heads(group: ET.Element) -> dict[str, tuple[complex, complex]]:
    """Where the line of each arrow ends, and its direction there, as x + iy."""
    found = {}
    for part in group.iterfind("g[@class='edge']"):
        for path in part.iter("path"):
            x0, y0, x1, y1 = map(float, re.findall(r"-?[\d.]+", path.attrib["d"])[-4:])
            line = complex(x1 - x0, y1 - y0)
            found[part.attrib["id"]] = complex(x1, y1), line / (abs(line) or 1.0)
    return found


def place_label(
    label: ET.Element, arrow: Arrow, end: complex, to: complex, mates: list[complex], direction: str
) -> None:
    """Move an arrow's label off the line, of whose width Graphviz takes no note; and the mark
    of its slot beside the head, on the side away from the directions of the other operands."""
    place = complex(float(label.attrib["x"]), float(label.attrib["y"]))
    away = arrow.look.thickness / 2
    if arrow.mark and (label.text or "").strip() == arrow.mark:
        mean = sum(mates) / len(mates)
        left = to.imag >= mean.imag if direction == "LR" else to.real < mean.real
        aside = to * (-1j if left else 1j)  # y runs downwards
        place = end + (away + 6) * aside + 3j
    else:
        place += -1j * away if direction == "LR" else away
    label.attrib |= {"x": f"{place.real:.2f}", "y": f"{place.imag:.2f}"}


def add_shape(group: ET.Element, shape: ET.Element, rim: bool) -> None:
    """A shape with only what draws it, colours written as our palette writes them; text
    that stands on lines gets a rim of the paper's colour."""
    plain = {k: x.upper() if x[:1] == "#" else x for k, x in shape.items() if k[0] != "{"}
    if rim:
        plain |= {"stroke": PAPER, "stroke-width": "3", "stroke-linejoin": "round"}
        plain |= {"paint-order": "stroke"}
    ET.SubElement(group, shape.tag, plain).text = (shape.text or "").strip()


def legend(root: ET.Element, entries: Sequence[Entry], width: float, y: float) -> float:
    """The legend's samples and texts in rows, each kind once; where the next thing goes."""
    x = MARGIN
    for entry in {entry.text: entry for entry in entries}.values():
        room = 42 + text_width(entry.text, SMALL)
        if x > MARGIN and x + room > width + MARGIN:
            x, y = MARGIN, y + 18
        draw_sample(root, entry, x, y + 8)
        text(root, x + 32, y + 11, entry.text, size=SMALL)
        x += room + 14
    return y + 18 if entries else y


def draw_sample(root: ET.Element, entry: Entry, x: float, y: float) -> None:
    """A short piece of line, a small box, or a few letters, as the legend shows it."""
    shown = entry.sample
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
