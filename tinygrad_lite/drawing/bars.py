"""Charts of rows as SVG: signed shares as bars about zero, sizes as dots on an axis of their own.

Shares sum to 100 %, sizes do not add up: so one never looks like the other. A part below zero is
drawn as a dashed bar, as lines below zero are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree as ET

from ..text import number, oneline, text_width
from .picture import FRAME, GREY, INK, PALE, PAPER, SIZE, SMALL
from .svg import MARGIN, SVG, add, document, extent, parse, set_size, source, text
from .table import mark_of_share, plain_percent

LENGTH, DOTS = 300.0, 240.0  # of the axes of bars and of dots, in points
STEP, THICK = 18.0, 11.0  # the distance of two bars, the thickness of one
Mark = Literal["ring", "dot", "cross"]


@dataclass(frozen=True, slots=True)
class Bar:
    """A row: its label, its parts as (share, colour), its sizes as dots, and a remark behind them.

    Positive parts go to the right of zero, one behind the other, negative ones to the left.
    """

    label: str
    parts: tuple[tuple[float, str], ...] = ()
    remark: str = ""
    dots: tuple[tuple[float, Mark], ...] = ()


@dataclass(frozen=True, slots=True)
class Axis:
    """From which size to which one an axis of dots goes, and whether by their logarithms."""

    low: float
    high: float
    log: bool

    @classmethod
    def of(cls, rows: Sequence[Bar], log: bool) -> Axis:
        """The axis that fits the sizes of some rows: over at least a decade, or from 0."""
        sizes = [x for row in rows for x, _ in row.dots if 0 < x < math.inf] or [1.0]
        if not log:
            return cls(0.0, max(sizes), False)
        high = math.ceil(math.log10(max(sizes)) - 1e-9)
        return cls(min(math.floor(math.log10(min(sizes)) + 1e-9), high - 1), high, True)

    def place(self, size: float) -> float:
        """How far from the left of the axis a size is drawn."""
        x = math.log10(size) if self.log else size
        return DOTS * (x - self.low) / ((self.high - self.low) or 1.0)

    @property
    def marks(self) -> list[tuple[float, str]]:
        """The sizes that are written at the axis, as (place, text)."""
        if not self.log:
            return [(0.0, "0"), (DOTS, number(self.high))]
        low, high = int(self.low), int(self.high)
        powers = range(low, high + 1, 1 + (high - low) // 6)
        texts = (f"{10.0**k:g}" if -4 < k < 5 else f"1e{k}" for k in powers)
        return [(DOTS * (k - low) / (high - low), t) for k, t in zip(powers, texts, strict=True)]


def bars(
    rows: Sequence[Bar], title: str, legend: Sequence[tuple[str, str]] = (),
    caption: str = "", log: bool = True, heads: tuple[str, str] = ("", ""),
    marks: Sequence[tuple[Mark, str]] = (), now: float = 0.0,
) -> str:  # fmt: skip
    """The rows as one SVG. `legend` pairs a colour with what it stands for, `marks` a kind of dot;
    `heads` stand above the bars and the dots. These have a log axis, or a linear one from 0, with a
    line at the size that is `now`."""
    root = document(title, "\n".join(f"{row.label}: {row.remark}" for row in rows))
    text(root, MARGIN, MARGIN + SIZE, oneline(title, 100), size=13, font_weight="bold")
    left = MARGIN + max((text_width(oneline(row.label, 48), SIZE) for row in rows), default=0) + 10
    with_bars = any(row.parts for row in rows)
    middle = left + (LENGTH + 24) * with_bars
    right = middle + (DOTS + 20) * any(row.dots for row in rows)
    top = MARGIN + 52
    bottom = top + STEP * len(rows)
    if with_bars:
        draw_bars(root, rows, left, top, heads[0])
    if right > middle:
        axis = Axis.of((*rows, Bar("", dots=((now, "dot"),))), log)
        draw_dots(root, rows, axis, middle, top, heads[1])
        if now:
            at = f"{middle + axis.place(now):.2f}"
            add(root, "line", x1=at, x2=at, y1=top - 4, y2=bottom, stroke=FRAME, stroke_width="2")
    for i, row in enumerate(rows):
        y = top + STEP * i + SIZE - 1
        text(root, MARGIN, y, oneline(row.label, 48))
        text(root, right, y, row.remark, color=GREY, size=SMALL)
    x, y = draw_legend(root, legend, marks, bottom)
    if caption:
        text(root, MARGIN, y + 13, caption, color=GREY, size=SMALL)
        y += 18
    wide = right + max((text_width(row.remark, SMALL) for row in rows), default=0)
    width = max(wide, x, text_width(caption, SMALL) + MARGIN, text_width(title, 13) + MARGIN)
    return source(root, width + MARGIN, y + MARGIN)


def draw_bars(root: ET.Element, rows: Sequence[Bar], left: float, top: float, head: str) -> None:
    """The parts of all rows about one zero, the longest row in full; 0 and 100 % are marked, or
    another share where all rows are short, or one is so long that 100 % would stand at 0."""
    finite = [[part for part, _ in row.parts if math.isfinite(part)] for row in rows]
    low = min(0.0, *(sum(x for x in parts if x < 0) for parts in finite), 0.0)
    high = max(0.0, *(sum(x for x in parts if x > 0) for parts in finite), 0.0)
    whole = 1.0 if high > 0.4 or low < -0.4 or not high else high
    high = max(high, whole)
    scale, bottom = LENGTH / (high - low), top + STEP * len(rows)
    zero = left - low * scale
    text(root, left, MARGIN + 31, head, color=GREY, size=SMALL)
    if whole * scale < text_width("0 100 %", SMALL):
        whole = math.copysign(mark_of_share(max(high, -low)), high + low)
    for place, mark in ((zero, "0"), (zero + whole * scale, plain_percent(whole))):
        mark_axis(root, place, top, bottom, mark)
    for i, row in enumerate(rows):
        end = [zero, zero]  # where the next negative and the next positive part begin
        y = top + STEP * i + THICK / 2
        for part, colour in row.parts:
            if part and math.isfinite(part):
                begin = end[part > 0]
                end[part > 0] += part * scale
                x1, x2 = (f"{x:.2f}" for x in sorted((begin, end[part > 0])))
                ink = {"stroke": colour, "stroke_width": f"{THICK:g}"}
                if part < 0:
                    ink["stroke_dasharray"] = "4,2"
                add(root, "line", x1=x1, x2=x2, y1=y, y2=y, **ink)
    add(root, "line", x1=zero, x2=zero, y1=top - 4, y2=bottom, stroke=FRAME)


def draw_dots(
    root: ET.Element, rows: Sequence[Bar], axis: Axis, left: float, top: float, head: str
) -> None:
    """The sizes of all rows as dots, those of a row on one line."""
    bottom = top + STEP * len(rows)
    text(root, left, MARGIN + 31, head, color=GREY, size=SMALL)
    for place, mark in axis.marks:
        mark_axis(root, left + place, top, bottom, mark)
    for i, row in enumerate(rows):
        y = top + STEP * i + THICK / 2
        known = [(axis.place(x), mark) for x, mark in row.dots if 0 < x < math.inf]
        if len(known) > 1:
            ends = [left + x for x, _ in known]
            add(root, "line", x1=min(ends), x2=max(ends), y1=y, y2=y, stroke=FRAME)
        for x, mark in known:
            draw_mark(root, mark, left + x, y)


def mark_axis(root: ET.Element, x: float, top: float, bottom: float, mark: str) -> None:
    """A thin line down all rows, and what it means."""
    add(root, "line", x1=f"{x:.2f}", x2=f"{x:.2f}", y1=top - 4, y2=bottom, stroke=PALE)
    ink = {"size": SMALL - 1, "color": GREY}
    text(root, round(x, 2), top - 7, mark, **ink, text_anchor="middle")  # type: ignore[arg-type]


def draw_mark(root: ET.Element, mark: Mark, x: float, y: float) -> None:
    """A dot, a ring, or a cross."""
    x = round(x, 2)
    if mark == "cross":
        for k in (-3.5, 3.5):
            add(
                root,
                "line",
                x1=x - 3.5,
                x2=x + 3.5,
                y1=y - k,
                y2=y + k,
                stroke=INK,
                stroke_width="1.8",
            )
    else:
        ink = {"fill": INK if mark == "dot" else PAPER, "stroke": INK, "stroke_width": "1.6"}
        add(root, "circle", cx=x, cy=y, r=3.6, **ink)


def draw_legend(
    root: ET.Element, legend: Sequence[tuple[str, str]], marks: Sequence[tuple[Mark, str]], y: float
) -> tuple[float, float]:
    """What colours and dots stand for, on one line; how far it reaches, and where the next is."""
    x = MARGIN
    for colour, meaning in legend:
        ink = {"stroke": colour, "stroke_width": "9"}
        add(root, "line", x1=x, x2=x + 18, y1=y + 10, y2=y + 10, **ink)
        text(root, x + 24, y + 13, meaning, size=SMALL)
        x += 40 + text_width(meaning, SMALL)
    for mark, meaning in marks:
        draw_mark(root, mark, x + 5, y + 10)
        text(root, x + 14, y + 13, meaning, size=SMALL)
        x += 30 + text_width(meaning, SMALL)
    return x, y + 18 * bool(legend or marks)


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
