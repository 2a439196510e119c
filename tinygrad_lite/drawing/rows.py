"""A long chain in rows: a layout cut where one line alone goes on.

Its parts stand one below the other. No frame is cut, and nothing turns but that line: it goes
around to where the next row begins.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from itertools import pairwise

from .layout import Layout, Rect

TOO_WIDE = 2000.0  # points; a layout that is wider is cut, if it can be
WIDEST = 1350.0  # of a row
BETWEEN = 36.0  # of two rows
TURN = 26.0  # how far a line goes on to the right before it turns


def in_rows(laid: Layout, widest: float = WIDEST) -> Layout:
    """The layout, if it is too wide, in as few rows as fit, of about equal length; as it is where
    it cannot be cut."""
    if laid.width <= TOO_WIDE:
        return laid
    cuts = places_to_cut(laid)
    row = laid.width / -(-laid.width // (widest - 2 * TURN))
    ends: list[tuple[float, str]] = []
    begin = 0.0
    while laid.width - begin > 1.25 * row:
        near = [cut for cut in cuts if begin + 0.4 * row < cut[0] <= begin + widest - 2 * TURN]
        if not near:
            return laid
        ends.append(min(near, key=lambda cut: abs(cut[0] - begin - row)))
        begin = ends[-1][0]
    return rows_of(laid, ends)


def places_to_cut(laid: Layout) -> list[tuple[float, str]]:
    """Where one line goes on and nothing else: between the middles of which boxes, and that
    line."""
    middles = sorted({round((left + right) / 2, 1) for left, _, right, _ in laid.boxes.values()})
    events = [((a + b) / 2, 1, "") for a, b in pairwise(middles) if b - a > 1]
    for id, (rect, _) in laid.frames.items():  # twice: a line and what is cut are never two frames
        for end in ("frame ", "its other side "):
            events += [(rect[0], 0, end + id), (rect[2], 2, end + id)]
    for id, line in laid.lines.items():
        low, high = sorted((line[0].real, line[-1].real))
        if high - low > 1:
            events += [(low, 0, id), (high, 2, id)]
    found, crossing = [], set[str]()
    for x, kind, id in sorted(events):
        if kind == 1 and len(crossing) == 1:
            found.append((x, next(iter(crossing))))
        elif kind != 1:
            (crossing.add if kind == 0 else crossing.discard)(id)
    return found


def rows_of(laid: Layout, ends: list[tuple[float, str]]) -> Layout:
    """The layout, cut after each of these places."""
    bounds = [0.0, *(x for x, _ in ends), laid.width]
    turning = {id for _, id in ends}

    def row(x: float) -> int:
        return min(bisect_left(bounds, x, 1), len(bounds) - 1) - 1

    tops = [laid.height] * (len(bounds) - 1)
    bottoms = [0.0] * (len(bounds) - 1)
    rects = [*laid.boxes.values(), *(rect for rect, _ in laid.frames.values())]
    points = [p for id, line in laid.lines.items() if id not in turning for p in line]
    rects += [(p.real, p.imag - 8, p.real, p.imag + 8) for p in (*points, *laid.texts.values())]
    for left, top, right, bottom in rects:
        i = row((left + right) / 2)
        tops[i], bottoms[i] = min(tops[i], top), max(bottoms[i], bottom)
    shifts, y = [], 0.0
    for i, (top, bottom) in enumerate(zip(tops, bottoms, strict=True)):
        shifts.append(complex(TURN * (i > 0) - bounds[i], y - top + 4))
        y += bottom - top + BETWEEN

    def moved(p: complex) -> complex:
        return p + shifts[row(p.real)]

    def moved_rect(rect: Rect) -> Rect:
        a, b = complex(*rect[:2]), complex(*rect[2:])
        shift = shifts[row((a.real + b.real) / 2)]
        a, b = a + shift, b + shift
        return a.real, a.imag, b.real, b.imag

    right = max(moved_rect(rect)[2] for rect in laid.boxes.values()) + TURN
    lines = {}
    for id, line in laid.lines.items():
        shift = shifts[row(sum(p.real for p in line) / len(line))]
        lines[id] = [p + shift for p in line]
    for i, (_, id) in enumerate(ends):
        line = laid.lines[id]
        first, last = line[0] + shifts[i], line[-1] + shifts[i + 1]
        if line[0].real > line[-1].real:
            first, last = last, first
        between = bottoms[i] + shifts[i].imag + BETWEEN / 2
        made = turn(first, last, right, between)
        lines[id] = made if line[0].real <= line[-1].real else made[::-1]
    return replace(
        laid,
        width=right,
        height=y - BETWEEN + 8,
        boxes={id: moved_rect(rect) for id, rect in laid.boxes.items()},
        lines=lines,
        texts={
            id: (lines[id][0] + lines[id][3]) / 2 if id in turning else moved(p)
            for id, p in laid.texts.items()
        },
        frames={id: (moved_rect(rect), moved(start)) for id, (rect, start) in laid.frames.items()},
    )  # fmt: skip


def turn(first: complex, last: complex, right: float, between: float) -> list[complex]:
    """A line from the end of a row, around to the beginning of the next, with round corners."""
    left = last.real - TURN
    corners = [
        first, complex(right, first.imag), complex(right, between), complex(left, between),
        complex(left, last.imag), last,
    ]  # fmt: skip
    line, here = [first], first
    for corner, after in pairwise(corners[1:]):
        reach = min(9.0, abs(corner - here) / 2, abs(after - corner) / 2)
        into, out = toward(corner, here, reach), toward(corner, after, reach)
        line += [here + (into - here) / 3, here + 2 * (into - here) / 3, into]
        line += [(into + 2 * corner) / 3, (out + 2 * corner) / 3, out]
        here = out
    return [*line, here + (last - here) / 3, here + 2 * (last - here) / 3, last]


def toward(start: complex, end: complex, reach: float) -> complex:
    """The point at a distance from one towards another."""
    return start + (end - start) * reach / (abs(end - start) or 1.0)
