"""Small plots over the repeats of a unit, as wide as the unit is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from xml.etree import ElementTree as ET

from ..text import number, oneline, text_width
from .picture import BLUE, FRAME, GREY, INK, PALE, PAPER, SIZE, SMALL, Curve, Repeat, Series
from .svg import add, text
from .table import percent

HIGH = {"line": 58.0, "dots": 44.0, "bars": 56.0}
FEW = 8  # repeats whose bars bear their numbers
RIM = {"stroke": PAPER, "stroke_width": "3", "stroke_linejoin": "round", "paint_order": "stroke"}


def draw_curves(root: ET.Element, repeat: Repeat, left: float, width: float, y: float) -> float:
    """The plots of a unit one below the other, above one axis of its repeats; where they end."""
    for curve in repeat.curves:
        text(root, left, y + SIZE, curve.heading)
        beside = left + text_width(curve.heading, SIZE) * 0.92 + 10
        if beside + text_width(curve.note, SMALL) * 0.9 > left + width + 40:
            beside, y = left, y + 13
        text(root, beside, y + SIZE, curve.note, color=GREY, size=SMALL)
        draw = draw_bars if curve.kind == "bars" else draw_sizes
        y = draw(root, curve, repeat, left, width, y + SIZE + (12 if curve.kind == "bars" else 20))
    end = left
    for k in ticks(repeat.times):
        shown = f"{repeat.word} {k}" if k == 1 else str(k)
        x = left + width * (k - 0.5) / repeat.times
        anchor = "start" if k == 1 else "middle"
        x -= min(12.0, x - left) if k == 1 else 0
        wide = text_width(shown, SMALL)
        if 1 < k < repeat.times and x - wide / 2 < end + SMALL:
            continue
        end = x + (wide if k == 1 else wide / 2)
        text(root, round(x, 1), y + SMALL, shown, color=GREY, size=SMALL, text_anchor=anchor)
    return y + SMALL + 6


def ticks(n: int) -> list[int]:
    """Which repeats are numbered: the first, the last, and round ones between."""
    step = next(s * 10**p for p in range(9) for s in (1, 2, 5) if n / (s * 10**p) <= 8)
    return [1, *(k for k in range(step, n, step) if k > 1 and n - k >= step / 2), n]


def draw_sizes(
    root: ET.Element, curve: Curve, repeat: Repeat, left: float, width: float, y: float
) -> float:
    """Sizes on a log scale, as a line or dots, the first and the last with their numbers."""
    high = HIGH[curve.kind]
    known = [v for s in curve.series for v in s.values if 0 < v < math.inf]
    marks = log_marks(min(known, default=1.0), max(known, default=1.0))
    low, top = math.log10(marks[0]), math.log10(marks[-1])

    def place(value: float) -> float:
        return round(y + high * (top - math.log10(value)) / (top - low), 1)

    for mark in marks:
        hairline(root, left, width, place(mark))
        text(root, left + width + 5, place(mark) + 3, f"{mark:g}", color=GREY, size=SMALL)
    for series in curve.series:
        n = len(series.values)
        step, start = (width / (n - 1), 0.0) if n > repeat.times else (width / n, 0.5 * width / n)
        points = [
            (round(left + start + step * k, 1), place(v) if 0 < v < math.inf else math.nan)
            for k, v in enumerate(series.values)
        ]
        draw_points(root, points, curve.kind)
        label_ends(root, series, points, left + width, (y, y + high))
    return y + high + 10


def draw_points(root: ET.Element, points: Sequence[tuple[float, float]], kind: str) -> None:
    """A line through points, broken where one is missing, or a dot for each."""
    shown = [p for p in points if p[1] == p[1]]
    for broken, run in groupby(points, lambda p: p[1] != p[1]):
        piece = " ".join(f"{x:g},{y:g}" for x, y in run)
        if kind == "line" and not broken:
            add(root, "polyline", points=piece, fill="none", stroke=BLUE, stroke_width="2")
    dotted = shown if kind == "dots" or len(shown) <= 2 * FEW else shown[:1] + shown[-1:]
    for x, y in dotted:
        radius = 3.2 if kind == "line" and (x, y) in (shown[0], shown[-1]) else 2.4
        add(root, "circle", cx=x, cy=y, r=radius, fill=BLUE)


def label_ends(
    root: ET.Element, series: Series, points: Sequence[tuple[float, float]], right: float,
    edges: tuple[float, float],
) -> None:  # fmt: skip
    """The first and the last number, where the curve leaves room above or below."""
    known = [k for k, (_, y) in enumerate(points) if y == y]
    for k in dict.fromkeys(known[:1] + known[-1:]):
        x, y = points[k]
        first = k == known[0]
        near = [q for p, q in points if q == q and 0 < abs(p - x) < 46]
        up = not near or min(near) > y - 8 or y - 12 - edges[0] > edges[1] - y
        at = y - 6 if up else y + 14
        shown = number(series.values[k])
        more = {**RIM, "font_weight": "bold", "text_anchor": "start" if first else "end"}
        text(root, x - 3 if first else x + 3, round(at, 1), shown, BLUE, SIZE, **more)


def log_marks(low: float, high: float) -> list[float]:
    """Round numbers at and between the ends of a log scale that holds both numbers."""
    if high / low > 300:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        step = -(-(last - first) // 3)
        powers = (min(max(k, -323), 308) for k in range(last, first - step, -step))
        return [float(f"1e{k}") for k in powers][::-1]  # floats have no power beyond these
    decade = 10.0 ** math.floor(math.log10(low))
    rungs = [m * decade * 10**k for k in range(4) for m in (1, 2, 5)]
    begin = max(i for i, x in enumerate(rungs) if x <= low * 1.0001)
    end = next(i for i, x in enumerate(rungs) if x >= high * 0.9999 and i > begin)
    kept = rungs[begin : end + 1]
    marks = kept if len(kept) <= 3 else [kept[0], kept[len(kept) // 2], kept[-1]]
    return [float(f"{x:.6g}") for x in marks]


def draw_bars(
    root: ET.Element, curve: Curve, repeat: Repeat, left: float, width: float, y: float
) -> float:
    """Signed shares about 0, those of several series side by side; below 0 they are dashed."""
    few = repeat.times <= FEW
    y += 8 * few
    values = [v for s in curve.series for v in s.values if math.isfinite(v)]
    low, top = round_share(min([0.0, *values])), round_share(max([0.0, *values]))
    top = top if top > low else 0.1
    high, count = HIGH["bars"], len(curve.series)
    group = width / repeat.times
    thick = min(group * 0.8 / count, 30.0)

    def place(value: float) -> float:
        return round(y + high * (top - value) / (top - low), 1)

    for mark in dict.fromkeys((top, 0.0, low)):
        hairline(root, left, width, place(mark), FRAME if mark == 0 else PALE)
        if mark and abs(place(mark) - place(0.0)) < SMALL:
            continue
        text(root, left + width + 5, place(mark) + 3, percent(mark), color=GREY, size=SMALL)
    least = min(values, default=0.0)
    for j, series in enumerate(curve.series):
        for k, value in enumerate(series.values):
            if not math.isfinite(value):
                continue
            middle = left + group * (k + 0.5) + thick * (j - (count - 1) / 2)
            ink = {"stroke": BLUE, "stroke_width": f"{thick * 0.86:.2f}"}
            if value < 0:
                ink["stroke_dasharray"] = "3,2"
            if j:
                ink["stroke_opacity"] = "0.55"
            x = round(middle, 1)
            add(root, "line", x1=x, x2=x, y1=place(0), y2=place(value), **ink)
            label = {"text_anchor": "middle", **RIM}
            shown = percent(value).lstrip("+")
            if few and text_width(shown, SMALL) * 0.85 < group / count:
                at = place(max(value, 0)) - 4
                text(root, x, at, shown, color=BLUE, size=SMALL, **label)
            elif value == least < 0 and not few:
                label["text_anchor"] = "end" if middle > left + width / 2 else "start"
                words = f"{repeat.word} {k + 1}: {shown}"
                label["font_weight"] = "bold"
                text(root, x, y + high + 11, words, BLUE, SMALL, **label)
    y += 9 * (least < 0 and not few)
    y += high + 6
    if count > 1:
        y = name_series(root, curve, left, group, thick, few, y)
    return y + 6


def name_series(
    root: ET.Element, curve: Curve, left: float, group: float, thick: float, few: bool, y: float
) -> float:
    """What the bars of several series stand for: below those of the first repeats, if there is
    room, else in a line."""
    names = [oneline(series.name, 18) for series in curve.series]
    count = len(names)
    if few and all(text_width(name, SMALL) * 0.9 < thick + 4 for name in names):
        for k in range(len(curve.series[0].values)):
            for j, name in enumerate(names):
                x = left + group * (k + 0.5) + thick * (j - (count - 1) / 2)
                text(
                    root, round(x, 1), y + SMALL, name, color=GREY, size=SMALL, text_anchor="middle"
                )
        return y + 13
    x = left
    for j, name in enumerate(names):
        more = {"fill_opacity": "0.55"} if j else {}
        add(root, "rect", x=x, y=y + 1, width=10, height=9, fill=BLUE, **more)
        text(root, x + 14, y + SMALL, name, color=INK, size=SMALL)
        x += 28 + text_width(name, SMALL)
    return y + 14


def round_share(value: float) -> float:
    """The next round share at or beyond one, away from 0."""
    size = abs(value)
    rungs = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0)
    reach = next((r for r in rungs if r >= size * 0.999), math.ceil(size))
    return math.copysign(reach, value) if reach else 0.0


def hairline(root: ET.Element, left: float, width: float, y: float, colour: str = PALE) -> None:
    """A thin line across a plot."""
    ink = {"stroke": colour, "stroke_width": "0.6"}
    add(root, "line", x1=left, x2=left + width, y1=y, y2=y, **ink)
