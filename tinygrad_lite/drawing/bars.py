"""Bar charts as SVG: signed parts that stack, and sizes on a log axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from ..text import oneline, text_width
from .picture import GREY, PALE, SIZE, SMALL
from .svg import MARGIN, SVG, add, document, extent, parse, set_size, source, text

LENGTH = 360.0  # of the axis, in points
Axis = tuple[Callable[[float], float], float]  # how long a part is, and where zero is
STEP, THICK = 18.0, 11.0  # the distance of two bars, the thickness of one


@dataclass(frozen=True, slots=True)
class Bar:
    """A row: its label, its parts as (size, colour), and a remark behind them.

    Positive parts go to the right of zero, one behind the other, negative ones to the left.
    """

    label: str
    parts: tuple[tuple[float, str], ...]
    remark: str = ""


def bars(
    rows: Sequence[Bar], title: str, legend: Sequence[tuple[str, str]] = (),
    caption: str = "", log: bool = False,
) -> str:  # fmt: skip
    """The rows as one SVG. `legend` pairs a colour with what it stands for; with `log`
    each row has one positive size, drawn on a log axis that fits them all."""
    left = MARGIN + max((text_width(oneline(row.label, 48), SIZE) for row in rows), default=0) + 10
    right = max((text_width(row.remark, SMALL) for row in rows), default=0) + 12
    length, zero = log_axis(rows) if log else signed_axis(rows)
    root = document(title, "\n".join(f"{row.label}: {row.remark}" for row in rows))
    text(root, MARGIN, MARGIN + SIZE, oneline(title, 100), size=13, font_weight="bold")
    y = MARGIN + 26
    for row in rows:
        text(root, MARGIN, y + SIZE - 1, oneline(row.label, 48))
        end = [zero, zero]  # where the next negative and the next positive part begin
        for size, colour in row.parts:
            if size and math.isfinite(size):
                begin = end[size > 0]
                end[size > 0] += length(size)
                x, width = min(begin, end[size > 0]), abs(end[size > 0] - begin)
                at = {"x": f"{left + x:.2f}", "width": f"{max(width, 0.6):.2f}"}
                add(root, "rect", **at, y=y, height=THICK, fill=colour)
        text(root, left + end[1] + 6, y + SIZE - 1, row.remark, color=GREY, size=SMALL)
        y += STEP
    at = {"x1": f"{left + zero:.2f}", "x2": f"{left + zero:.2f}"}
    add(root, "line", **at, stroke=PALE, y1=MARGIN + 22, y2=y)
    x = MARGIN
    for colour, meaning in legend:
        add(root, "rect", x=x, y=y + 5, width=18, height=9, fill=colour)
        text(root, x + 24, y + 13, meaning, size=SMALL)
        x += 40 + text_width(meaning, SMALL)
    y += 18 if legend else 0
    if caption:
        text(root, MARGIN, y + 13, caption, color=GREY, size=SMALL)
        y += 18
    width = max(left + LENGTH + right, x, text_width(caption, SMALL) + MARGIN) + MARGIN
    return source(root, width, y + MARGIN)


def signed_axis(rows: Sequence[Bar]) -> Axis:
    """A linear axis on which the longest row fits, to both sides of zero."""
    finite = [[size for size, _ in row.parts if math.isfinite(size)] for row in rows]
    low = min((sum(x for x in sizes if x < 0) for sizes in finite), default=0.0)
    high = max((sum(x for x in sizes if x > 0) for sizes in finite), default=0.0)
    scale = LENGTH / ((high - low) or 1.0)
    return (lambda size: size * scale), -low * scale


def log_axis(rows: Sequence[Bar]) -> Axis:
    """A log axis from a little below the smallest size to the largest."""
    sizes = [size for row in rows for size, _ in row.parts if 0 < size < math.inf] or [1.0]
    high = math.log10(max(sizes))
    low = min(math.log10(min(sizes)), high - 1.0)  # at least a decade
    low -= 0.02 * (high - low)
    return (lambda size: LENGTH * (math.log10(size) - low) / (high - low)), 0.0


def stack(*documents: str) -> str:
    """Several SVGs as one, one below the other."""
    sizes = [extent(document) for document in documents]
    width, height = max(w for w, _ in sizes), sum(h for _, h in sizes)
    parts = [parse(document) for document in documents]
    root = ET.Element("svg", {"xmlns": SVG, "role": "img"})
    set_size(root, width, height)
    add(root, "title", "; ".join(part.findtext("title", "") for part in parts))
    y = 0.0
    for part, (_, high) in zip(parts, sizes, strict=True):
        part[3].set("width", f"{width:g}")  # the paper
        part.set("viewBox", f"0 0 {width:g} {high:g}")
        part.attrib |= {"y": f"{y:g}", "width": f"{width:g}", "height": f"{high:g}"}
        root.append(part)
        y += high
    return ET.tostring(root, encoding="unicode") + "\n"
