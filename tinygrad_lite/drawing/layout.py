"""Where things stand in a picture: what Graphviz laid out, read back, and room for its texts.

Graphviz says where boxes, frames and the lines between boxes are. It keeps room for the texts
beside a line, but at its middle; they belong to its ends, and are put there where nothing is.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from xml.etree import ElementTree as ET

Rect = tuple[float, float, float, float]  # left, top, right, bottom
CELL = 32.0  # of the grid in which what stands near is looked up
APART = 3.0  # the points by which a line is told, along it
FARTHEST = 120  # points from a line's head at which its text may stand
NEAR = 41  # points from a line's head up to which every other one is tried


@dataclass(frozen=True)
class Layout:
    """Where Graphviz put what has an id: `boxes`, and `frames` with the start of their names; the
    control points of the `lines`, from source to target; and the middle of the room for texts."""

    width: float
    height: float
    boxes: dict[str, Rect] = field(default_factory=dict)
    lines: dict[str, list[complex]] = field(default_factory=dict)
    texts: dict[str, complex] = field(default_factory=dict)
    frames: dict[str, tuple[Rect, complex]] = field(default_factory=dict)


def read_layout(document: str, size: tuple[float, float]) -> Layout:
    """What stands where in Graphviz's SVG, of a bare picture, in its own units."""
    top = ET.fromstring(re.sub(r'\sxmlns="[^"]*"', "", document, count=1))[0]
    numbers = re.findall(r"-?[\d.]+", top.attrib["transform"].rpartition("translate")[2])
    shift = complex(*map(float, numbers))
    found = Layout(*size)
    for part in top.iterfind("g[@class]"):
        id, kind = part.attrib["id"], part.attrib["class"]
        points = [shift + p for shape in part.iter() for p in points_of(shape)]
        texts = [shift + point(text) for text in part.iter("text")]
        if kind == "edge":
            paths = [points_of(path) for path in part.iter("path")]
            found.lines[id] = [shift + p for path in paths[:1] for p in path]
            if texts:
                found.texts[id] = sum(texts) / len(texts)
        elif kind == "cluster":
            found.frames[id] = bounds(points), texts[0] if texts else points[0]
        elif points:
            found.boxes[id] = bounds(points)
    return found


def point(element: ET.Element) -> complex:
    """Where a text stands."""
    return complex(float(element.attrib["x"]), float(element.attrib["y"]))


def points_of(shape: ET.Element) -> list[complex]:
    """The points of a shape: corners, control points, or the ends of an ellipse's axes."""
    if shape.tag == "ellipse":
        x, y, a, b = (float(shape.attrib[name]) for name in ("cx", "cy", "rx", "ry"))
        return [complex(x - a, y - b), complex(x + a, y + b)]
    numbers = map(float, re.findall(r"-?[\d.]+", shape.get("d") or shape.get("points") or ""))
    return [complex(x, y) for x, y in zip(numbers, numbers, strict=True)]


def bounds(points: Sequence[complex]) -> Rect:
    """The rectangle around some points."""
    xs, ys = [p.real for p in points], [p.imag for p in points]
    return min(xs), min(ys), max(xs), max(ys)


def around(middle: complex, width: float, height: float) -> Rect:
    """A rectangle by its middle."""
    x, y = middle.real, middle.imag
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


# Lines: Bézier curves of third degree, one behind the other, by their control points


def split(curve: Sequence[complex], t: float) -> tuple[list[complex], list[complex]]:
    """One curve as two, cut at `t` between 0 and 1 (de Casteljau)."""
    left: list[complex] = []
    right: list[complex] = []
    points = list(curve)
    while points:
        left.append(points[0])
        right.insert(0, points[-1])
        points = [a + t * (b - a) for a, b in pairwise(points)]
    return left, right


def shortened(line: Sequence[complex], length: float) -> list[complex]:
    """A line that ends before it comes nearer than `length` to its end."""
    kept, end = list(line), line[-1]
    while len(kept) > 4 and abs(kept[-4] - end) < length:
        kept = kept[:-3]
    low, high = 0.0, 1.0
    for _ in range(12):
        t = (low + high) / 2
        if abs(split(kept[-4:], t)[0][-1] - end) > length:
            low = t
        else:
            high = t
    return kept[:-4] + split(kept[-4:], low)[0] if low else kept


def walk(line: Sequence[complex]) -> list[complex]:
    """Points along a line, about `APART` from each other."""
    found = [line[0]]
    for i in range(0, len(line) - 3, 3):
        a, b, c, d = line[i : i + 4]
        n = max(1, round((abs(b - a) + abs(c - b) + abs(d - c)) / APART))
        for k in range(1, n + 1):
            t, s = k / n, 1 - k / n
            found.append(s * s * s * a + 3 * s * s * t * b + 3 * s * t * t * c + t * t * t * d)
    return found


# Texts


class Room:
    """What is taken in a picture."""

    def __init__(self) -> None:
        self.cells: dict[tuple[int, int], list[Rect]] = defaultdict(list)

    def cells_of(self, rect: Rect) -> list[tuple[int, int]]:
        """The cells of the grid that a rectangle lies in."""
        left, top = int(rect[0] // CELL), int(rect[1] // CELL)
        right, bottom = int(rect[2] // CELL), int(rect[3] // CELL)
        if left == right and top == bottom:
            return [(left, top)]
        return [(x, y) for x in range(left, right + 1) for y in range(top, bottom + 1)]

    def take(self, rect: Rect) -> None:
        """Note that something is there."""
        for cell in self.cells_of(rect):
            self.cells[cell].append(rect)

    def taken(self, rect: Rect, most: float = math.inf) -> float:
        """How much of a rectangle is covered: 0 if it is free; no more is looked at than `most`."""
        left, top, right, bottom = rect
        found, total = set[Rect](), 0.0
        for cell in self.cells_of(rect):
            for other in self.cells.get(cell, ()):
                x, y, r, b = other
                if x < right and left < r and y < bottom and top < b and other not in found:
                    found.add(other)
                    total += (min(right, r) - max(left, x)) * (min(bottom, b) - max(top, y))
                    if total >= most:
                        return total
        return total

    def take_box(self, rect: Rect, round: bool) -> None:
        """Note that a box is there; a circle leaves its corners free."""
        left, top, right, bottom = rect
        x, y = ((right - left) * 0.15, (bottom - top) * 0.15) if round else (0.0, 0.0)
        self.take((left + x, top, right - x, bottom))
        self.take((left, top + y, right, bottom - y))

    def take_border(self, rect: Rect) -> None:
        """Note that the outline of a rectangle is there, and nothing inside."""
        left, top, right, bottom = rect
        for x in (left, right):
            self.take((x - 1, top, x + 1, bottom))
        for y in (top, bottom):
            self.take((left, y - 1, right, y + 1))

    def take_line(self, points: Sequence[complex], thickness: float) -> None:
        """Note that a line is there: stretch by stretch where it is level, else point by point."""
        half, n, i = (thickness + 1) / 2, len(points), 0
        while i < n:
            x, y = points[i].real, points[i].imag
            i, cell, end = i + 1, x // CELL, x
            while i < n and abs(points[i].imag - y) < 0.01 and points[i].real // CELL == cell:
                end, i = points[i].real, i + 1
            self.take((min(x, end) - half, y - half, max(x, end) + half, y + half))

    def place(
        self, points: Sequence[complex], size: tuple[float, float], off: float, spare: complex
    ) -> tuple[complex, bool]:
        """Where a text of some size stands beside a line, near the first of its points and `off`
        from it; and whether it is free there. `spare` is where there should be room."""
        width, height = size[0] + 4, size[1]
        best = self.taken(around(spare, width, height)) + 0.1, spare
        end = max(2, min(FARTHEST, int(0.75 * len(points))))
        for i in (*range(1, min(end, NEAR), 2), *range(NEAR, end, 8)):
            before, after = points[max(0, i - 2)], points[min(len(points) - 1, i + 2)]
            along = (after - before) / (abs(after - before) or 1.0)
            aside = along * 1j
            if aside.imag > 0 or (aside.imag == 0 and aside.real < 0):
                aside = -aside  # above first; y runs downwards
            for gap in (off, off + 5):
                reach = gap + abs(aside.real) * width / 2 + abs(aside.imag) * height / 2
                for side in (aside, -aside):
                    middle = points[i] + reach * side
                    taken = self.taken(around(middle, width, height), best[0])
                    if not taken:
                        self.take(around(middle, width, height))
                        return middle, True
                    if taken < best[0]:
                        best = taken, middle
        self.take(around(best[1], width, height))
        return best[1], best[0] <= 0.1
