"""Line charts as SVG: numbers over the steps of a training, one panel above the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count, groupby
from typing import Any
from xml.etree import ElementTree as ET

from ..text import oneline, text_width
from .picture import GREY, PALE, SIZE, SMALL
from .svg import MARGIN, add, document, source, text

LENGTH, HEIGHT = 360.0, 150.0  # of a panel, in points
APART = 12.0  # two labels, at least
BREAKS = "Lines break where a number is NaN, infinite or not there, or 0 on a log axis."
FAINT: Any = {"stroke": PALE, "stroke_width": "0.5"}
BESIDE: Any = {"color": GREY, "size": SMALL, "text_anchor": "end"}
BELOW: Any = {**BESIDE, "text_anchor": "middle"}


@dataclass(frozen=True, slots=True)
class Line:
    """Numbers by step; where one cannot be drawn, the line is broken. Its label stands at its end;
    one without a label is background."""

    label: str
    points: tuple[tuple[int, float], ...]
    colour: str = PALE


@dataclass(frozen=True, slots=True)
class Panel:
    """Lines on one scale, a logarithmic one if `log`; `tick` writes the numbers beside it."""

    heading: str
    lines: tuple[Line, ...]
    tick: Callable[[float], str] = "{:g}".format
    log: bool = False

    def height(self, y: float) -> float:
        """How high a number is drawn, before scaling; NaN where it is not drawn."""
        if self.log:
            return math.log10(y) if 0 < y < math.inf else math.nan
        return y if math.isfinite(y) else math.nan

    def scale(self) -> tuple[tuple[float, float], list[tuple[float, str]]]:
        """From where to where the heights reach, and those with a mark: whole decades, or round
        numbers with 0 among them."""
        found = [h for line in self.lines for _, y in line.points if (h := self.height(y)) == h]
        low, high = min(found, default=0.0), max(found, default=1.0)
        if not self.log:
            low, high = min(low, 0.0), max(high, 0.0)
            high += low == high
            return (low, high), [(y, self.tick(y)) for y in round_numbers(low, high)]
        least, most = math.floor(low), max(math.ceil(high), math.floor(low) + 1)
        marks = range(least, most + 1, 1 + (most - least) // 6)
        return (least, most), [(k, self.tick(float(f"1e{k}"))) for k in marks]


def line_chart(panels: Sequence[Panel], title: str) -> str:
    """The panels as one SVG, above one axis of steps."""
    lines = [line for panel in panels for line in panel.lines]
    ends = [f"{x.label}: {x.points[0][1]:.3g} to {x.points[-1][1]:.3g}" for x in lines if x.label]
    root = document(title, "\n".join(ends))
    text(root, MARGIN, MARGIN + SIZE, oneline(title, 100), size=13, font_weight="bold")
    marks = [mark for panel in panels for _, mark in panel.scale()[1]]
    left = MARGIN + max(text_width(mark, SMALL) for mark in marks) + 6
    right = max((text_width(line.label, SMALL) for line in lines), default=0.0) + 20
    last = max(step for line in lines for step, _ in line.points) or 1
    y = MARGIN + 22
    for panel in panels:
        text(root, MARGIN, y + SMALL, panel.heading, color=GREY, size=SMALL)
        draw(root, panel, left, y + 20, LENGTH / last)
        y += HEIGHT + 36
    for step in round_numbers(0, last):
        if step % 1 == 0:
            text(root, left + step * LENGTH / last, y, f"{step:g}", **BELOW)
    text(root, left + LENGTH + 10, y, "step", color=GREY, size=SMALL)
    width = max(left + LENGTH + right, text_width(title, 13) + MARGIN)
    if any(math.isnan(p.height(y)) for p in panels for line in p.lines for _, y in line.points):
        y += 20
        text(root, MARGIN, y, BREAKS, color=GREY, size=SMALL)
    return source(root, width + MARGIN, y + MARGIN)


def draw(root: ET.Element, panel: Panel, left: float, top: float, per_step: float) -> None:
    """Add a panel: the marks of its scale, its lines, and at their ends the labels."""
    (low, high), marks = panel.scale()

    def place(y: float) -> float:
        return top + HEIGHT * (high - y) / (high - low)

    for y, mark in marks:
        add(root, "line", x1=left, x2=left + LENGTH, y1=place(y), y2=place(y), **FAINT)
        text(root, left - 6, place(y) + 3, mark, **BESIDE)
    labels = []
    for line in sorted(panel.lines, key=lambda line: bool(line.label)):
        points = [(left + per_step * step, panel.height(y)) for step, y in line.points]
        runs = groupby(points, lambda point: math.isnan(point[1]))
        pieces = [[(x, place(y)) for x, y in run] for broken, run in runs if not broken]
        ink = {"stroke": line.colour, "stroke_width": "1.5" if line.label else "0.8"}
        for piece in pieces:
            if len(piece) == 1:
                add(root, "circle", cx=piece[0][0], cy=piece[0][1], r=2, fill=line.colour)
            shown = " ".join(f"{x:.1f},{y:.1f}" for x, y in piece)
            add(root, "polyline", points=shown, fill="none", **ink)
        if line.label and pieces:
            x, y = pieces[-1][-1]
            labels.append((y, x, line))
    labels.sort(key=lambda label: label[0])
    for (y, x, line), at in zip(labels, spread([y for y, *_ in labels], top), strict=True):
        end = left + LENGTH + 8
        add(root, "line", x1=x + 1, y1=y, x2=end, y2=at, **FAINT)
        text(root, end + 2, at + 3, line.label, color=line.colour, size=SMALL)


def spread(wanted: list[float], top: float) -> list[float]:
    """Where labels stand, from the top down: near where they are wanted, but a line apart."""
    found: list[float] = []
    for y in wanted:
        found.append(max([y, *(before + APART for before in found[-1:])]))
    bottom = max(top + HEIGHT, top + APART * (len(wanted) - 1))
    return [min(y, bottom - APART * i) for y, i in zip(found, count(len(found) - 1, -1))]


def round_numbers(low: float, high: float) -> list[float]:
    """At most six multiples of 1, 2 or 5 times a power of ten, from `low` to `high`."""
    decade = 10.0 ** math.floor(math.log10((high - low) / 5))
    step = next(m * decade for m in (1, 2, 5, 10) if (high - low) / (m * decade) <= 5)
    return [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
