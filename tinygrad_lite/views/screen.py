"""A step as a screen of text: the code, the step, the gradients so far, the paths, and a drawing.

From `WIDE` columns on, gradients and paths stand beside the code and the step, else below. What a
low screen has no room for stands further down, where it is scrolled to; what the step does comes
first, with its line of code. Nothing is coloured here: drawing/terminal.py colours what stands here
by what it says, so a reader without colours misses nothing.
"""

from __future__ import annotations

import ast
import linecache
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..drawing.table import percent
from ..recorded.array_text import line, signed_number, whole
from ..recorded.lines import Line
from ..recorded.measure import norm
from ..stepping.record import Passes
from ..stepping.steps import Step, labelled, source_place
from ..text import cells, clip, fit_cells, number, oneline, wrap
from .strip import LEGEND, Strip

WIDE = 96
LOW = 14  # rows; where there are fewer, one line of code is shown
SHOWN = 5  # paths, and gradients in a narrow screen
BAR = 20
OPERATORS = {
    ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide",
    ast.MatMult: "matmul", ast.Pow: "power",
}  # fmt: skip
Encode = Callable[[str], str]


@dataclass(frozen=True)
class Way:
    """A path, or several as one: what it is called, whether it takes a skip, its share, the length
    of what it carries, and how that length changes from op to op on the way back."""

    title: str
    skip: bool
    share: float | None
    norm: float
    lengths: str = ""


@dataclass(frozen=True)
class Ways:
    """The paths to a parameter, what they sum to, and the chain rule written out."""

    wrt: str
    ways: Sequence[Way]
    total: str
    formula: str


class Screen:
    """Screens of steps; `ways` gives the paths to the parameter of a number, which may be any."""

    def __init__(self, steps: Passes, ways: Callable[[int], Ways | None]) -> None:
        self.steps, self.ways = steps, ways

    @cached_property
    def strip(self) -> Strip:
        """The ways through the computation."""
        return Strip(self.steps.record.graph)

    def lines(
        self, index: int, width: int, height: int, encode: Encode, chosen: int, more: Sequence[str]
    ) -> list[str]:
        """The screen of a step, with the paths to the chosen parameter; `more` stands below the
        step. It may be higher than `height`."""
        step, room = self.steps[index], height - 1
        head = self.heading(step, width)
        drawing = [*self.strip.lines(step, width, encode), clip(LEGEND, width)]
        if width < WIDE or room < LOW:
            code = self.code(step, width, 0, whole=room >= LOW)[: max(0, room - 7)]
            found = code + self.body(index, width) + [*more]
            sections = [self.so_far(index, width, SHOWN), self.paths(step, width, chosen)]
            fits = len(found) + 1 + len(drawing) <= room
            sections.insert(0 if fits else 2, drawing)
            for section in filter(None, sections):
                found += ["", *section]
            return [fit_cells(encode(x), width) for x in (head, *found)]
        right = min(72, max(42, width * 2 // 5))
        left = width - right - 3
        body, ways = [*self.body(index, left), *more], self.paths(step, right, chosen)
        body_height = len(self.code(step, left, 0)) + 1 + len(body)
        if max(body_height, len(ways) + 6) + 1 + len(drawing) > room:
            drawing = self.strip.lines(step, width, encode, folded=True)
        room -= 1 + len(drawing)
        code = self.code(step, left, max(0, room - body_height))
        columns = [*code, "", *body]
        columns += in_full(step, left, room - len(columns))
        so_far = self.so_far(index, right, max(SHOWN, max(room, len(columns)) - len(ways) - 3))
        beside = [*so_far, *([""] if so_far and ways else []), *ways]
        rows = max(len(columns), len(beside), room)
        columns += [""] * (rows - len(columns))
        beside += [""] * (rows - len(beside))
        found = [
            f"{pad(encode(a), left)} {encode('│')} {encode(b)}"
            for a, b in zip(columns, beside, strict=True)
        ]
        return [fit_cells(encode(x), width) for x in (head, *found, "─" * width, *drawing)]

    def heading(self, step: Step, width: int) -> str:
        """Where we are: in words, as a bar, and of what the gradients are."""
        head = step.place
        if step.scope:
            head += f"  in {oneline('/'.join(step.scope), 24)}"
        place = source_place(step.source, max(12, width // 5)) if step.source else ""
        loss = f"gradients of {self.steps.loss}" if self.steps.loss else ""
        for more in (self.bar(step), loss):
            if more and len(head) + len(more) + len(place) + 4 <= width:
                head += f"  {more}"
        head = clip(head, width)
        room = width - len(head)
        return f"{head}{place:>{room}}" if place and room > len(place) else head

    def bar(self, step: Step) -> str:
        """A track for each pass, filled as far as the step."""
        parts = []
        forward = sum(kind == "forward" for kind, *_ in self.steps.record.order)
        for direction, total in (("forward", forward), ("backward", len(self.steps) - forward)):
            if total:
                n = min(total, BAR // 2)
                at = (step.number - 1) * n // total if step.direction == direction else -1
                if at >= 0:
                    parts.append("━" * at + "◆" + "·" * (n - at - 1))
                else:
                    parts.append(("━" if step.direction == "backward" else "·") * n)
        return " ".join(parts)

    def code(self, step: Step, width: int, spare: int, whole: bool = True) -> list[str]:
        """The lines of code that led to a step, the last with a mark below the sub-expression, and
        what its names stand for here; with some more of the function if there are rows to spare."""
        if not (step.source and linecache.getline(*step.source).strip()):
            return []
        calls = [x for x in step.calls if linecache.getline(*x).strip()] if whole else []
        calls = calls or [step.source]
        digits = max(len(str(n)) for _, n in calls) + 1
        lines, file = [], calls[-1][0]
        for depth, (name, n) in enumerate(calls[:-1]):
            text = linecache.getline(name, n).strip()
            note = f"   {os.path.basename(name)}" if name != file else ""
            lines.append(clip(f"{n:>{digits}}  {'    ' * depth}{text}{note}", width))
        indent = "    " * (len(calls) - 1)
        above = function_above(calls[-1], min(spare, 12) if whole else 0)
        text = linecache.getline(*calls[-1]).rstrip().expandtabs()
        bare = min(len(x) - len(x.lstrip()) for x in (*(t for _, t in above), text))
        for n, other in above:
            lines.append(clip(f"{n:>{digits}}  {indent}{other[bare:]}", width))
        front = f"{calls[-1][1]:>{digits}} ▶{indent}"
        return [*lines, *self.marked(step, front, text[bare:], bare, width)]

    def marked(self, step: Step, front: str, text: str, bare: int, width: int) -> list[str]:
        """A line of code and the mark below it, cut so that the mark is seen."""
        place = self.steps.record.graph.nodes[step.id].place
        start = place.column - bare if place else -1
        end = min(start + len(step.expression or ""), len(text))
        if start < 0 or end <= start:
            return [clip(front + text, width)]
        while end - start < len(text) and cells(front + text[:end]) > width and start > 1:
            text, start, end = f"…{text[2:]}", start - 1, end - 1
        mark = " " * cells(front + text[:start]) + "^" * cells(text[start:end])
        names = f"   {own}" if (own := local_names(step)) else ""
        return [clip(front + text, width), clip(mark + names, width)]

    def body(self, index: int, width: int) -> list[str]:
        """What the step does."""
        step = self.steps[index]
        rows = step.rows(width) + self.steps.bad_rows(index, width)
        return [clip(f"  {step.equation}", width), *labelled(rows, width)]

    def so_far(self, index: int, width: int, most: int) -> list[str]:
        """The gradients of parameters and named values, as far as they have come, and which wait;
        on the way forward, the named values that are made."""
        step, record = self.steps[index], self.steps.record
        graph, names = record.graph, record.names
        rows: list[tuple[str, str, Any]] = []
        if step.direction == "forward":
            made = [n for n in graph.nodes[: step.id + 1] if n.op and n.name]
            rows = [("▸" if n.id == step.id else " ", names[n.id], n.value) for n in made]
            return [*heading("VALUES SO FAR", width), *arrays(rows, width, most)] if rows else []
        rows.append((" ", names[-1], graph.output.gradient))
        waiting, to = [], {send.id for send in step.sends}
        for i in reversed(record.complete):
            came = [e for e in record.back.out_of[i] if e.target >= step.id]
            if came:
                more = " …" * (len(came) < len(record.back.out_of[i]))
                mark = "▸" if i in to else " "
                rows.append((mark, names[i] + more, record.received(came)))
            else:
                waiting.append(names[i])
        found = [*heading("GRADIENTS SO FAR", width), *arrays(rows, width, most, signed=True)]
        if any(name.endswith(" …") for _, name, _ in rows):
            found.append(clip("  …  more is to come", width))
        if waiting:
            found.append(clip(f"  waiting  {' '.join(waiting[:width])}", width))
        return found

    def paths(self, step: Step, width: int, chosen: int) -> list[str]:
        """The paths to a parameter with their shares, what they sum to, and the chain rule."""
        if step.direction == "backward" and chosen < 0:
            return heading("PATHS", width, "P looks for them, for some seconds")
        found = self.ways(chosen) if step.direction == "backward" else None
        if found is None:
            return []
        lines = heading(f"PATHS TO {oneline(found.wrt)}", width, "P: the next parameter")
        most = max((abs(way.share or 0.0) for way in found.ways), default=0.0)
        room = min(BAR, width - 27)
        longest = max(found.ways, key=lambda way: len(way.lengths), default=None)
        for way in found.ways:
            share = "no share" if way.share is None else percent(way.share).replace("-", "−")
            blocks = round(room * abs(way.share or 0.0) / most) if most else 0
            bar = ("▒" if (way.share or 0.0) < 0 else "█") * blocks
            kind = "skip" if way.skip else ""
            if room > 2:
                lines.append(clip(f"  {way.title}", width))
                lines.append(
                    clip(f"  {kind:4} {share:>8}  {bar:<{room}}  {number(way.norm):>8}", width)
                )
            else:
                lines.append(clip(f"  {share:>7}  {way.title}", width))
            if way is longest and way.lengths and width > 24:
                lines += [f"       {x}" for x in few(f"op by op: {way.lengths}", width - 7)]
        lines += [clip(f"  {text}", width) for text in wrap(found.total, max(1, width - 2))]
        lines += [f"  {text}" for text in few(found.formula, max(1, width - 2))]
        return [clip(text, width) for text in lines]


def in_full(step: Step, width: int, most: int) -> list[str]:
    """The arrays that a step makes or sends, too large for a line, in full, as long as there are
    rows for that."""
    arrays = [(f"to {x.recipient}", x.contribution) for x in step.sends]
    found: list[str] = []
    for name, array in arrays or [(step.output.name, step.output.value)]:
        if 8 < array.size <= most * width:
            rows = [clip(f"    {row}", width) for row in whole(array, max(1, width - 4))]
            if len(found) + len(rows) + 2 <= most:
                found += ["", clip(f"  {name}, in full", width), *rows]
    return found


def pad(text: str, width: int) -> str:
    """A text over so many places of a terminal."""
    text = fit_cells(text, width)
    return text + " " * (width - cells(text))


def few(text: str, width: int) -> list[str]:
    """A text in at most three lines."""
    lines = wrap(text, width, "  ")
    return lines if len(lines) <= 3 else [*lines[:2], clip(f"{lines[2]} …", width)]


def heading(words: str, width: int, note: str = "") -> list[str]:
    """What stands over a part of the screen."""
    room = width - len(words) - 1
    return [clip(f"{words} {note:>{room}}" if len(note) < room else words, width)]


def arrays(
    rows: Sequence[tuple[str, str, Any]], width: int, most: int, signed: bool = False
) -> list[str]:
    """The last of some rows (mark, name, array), the numbers of short arrays in columns."""
    left_out = len(rows) - most
    shown = rows[-most:] if left_out > 0 else rows
    short = [x for _, _, array in shown if np.size(array) <= 8 for x in np.ravel(array)]
    column = max((len(signed_number(x, signed)) for x in short), default=0)
    wide = min(max(cells(name) for _, name, _ in shown), max(4, width // 4))
    found = [clip(f"    … {left_out} before these", width)] if left_out > 0 else []
    for mark, name, array in shown:
        size = f"|{number(norm(array))}|" if np.size(array) > 1 else ""
        room = width - wide - len(size) - 6
        if room < 20:
            size, room = "", width - wide - 6
        numbers = line(array, max(1, room), signed, column)
        found.append(
            clip(f"  {mark} {pad(name, wide)} {numbers:<{max(1, room)}} {size}".rstrip(), width)
        )
    return found


def function_above(place: Line, most: int) -> list[tuple[int, str]]:
    """The lines of the function that stand above one of its lines, at most so many."""
    file, n = place
    inside = linecache.getline(file, n)
    depth, found = len(inside) - len(inside.lstrip()), list[tuple[int, str]]()
    while most > 0 and depth > 0 and (n := n - 1) > 0:
        text = linecache.getline(file, n).rstrip().expandtabs()
        found.insert(0, (n, text))
        most -= 1
        if text.strip() and len(text) - len(text.lstrip()) < depth:
            break
    return found


def local_names(step: Step) -> str:
    """What the names in a sub-expression stand for, as ``W = W3, x = y``; empty where they are what
    the values are called, or it is not plain which is which."""
    with suppress(SyntaxError, ValueError):
        match ast.parse(step.expression or "", mode="eval").body:
            case ast.BinOp(left, sign, right) if OPERATORS.get(type(sign)) == step.op:
                parts = [left, right]
            case ast.Call(ast.Name(name) | ast.Attribute(_, name), args, []) if name == step.op:
                parts = args
            case ast.UnaryOp(ast.USub(), operand):
                parts = [operand]
            case _:
                return ""
        if len(parts) == len(step.inputs):
            pairs = zip(parts, step.inputs, strict=True)
            known = ((x.id, y.name) for x, y in pairs if isinstance(x, ast.Name))
            return ", ".join(dict.fromkeys(f"{x} = {y}" for x, y in known if x != y))
    return ""
