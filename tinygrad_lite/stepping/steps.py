"""A step of the forward or the backward pass: its numbers and rules, and the same as text."""

from __future__ import annotations

import linecache
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ..comparison import Check
from ..recorded.array_text import line, signed_number
from ..recorded.lines import Line
from ..recorded.measure import norm
from ..recorded.states import APPEARANCE, State
from ..text import clip, number, oneline, wrap
from .rules import Formula

Direction = Literal["forward", "backward"]

LABEL = 10  # the width of the column of labels
NARROW = 46  # where lines are shorter, labels stand above what they head


@dataclass(frozen=True, eq=False, slots=True)
class Operand:
    """A value that a step reads or makes: its node's id, what it is called, its array."""

    id: int
    name: str
    value: np.ndarray = field(repr=False)


@dataclass(frozen=True, eq=False, slots=True)
class Arrival:
    """Gradient that has come to a node: from which node, through which of its inputs.

    `id` and `slot` are None for the cotangent that the reverse pass starts with.
    """

    sender: str
    symbol: str
    id: int | None
    slot: int | None
    contribution: np.ndarray = field(repr=False)


@dataclass(frozen=True, eq=False, slots=True)
class Send:
    """What a node sends to one of its inputs.

    `formula` is the rule that made the `contribution`, `numbers` the same with numbers for
    names where all are scalars (else empty); `accumulated` what the recipient has received
    so far, this included, and `total` the state of that once it is all, else None; `had` what it
    had received before, None if this is the first; `check` how the rule compares with a finite
    difference.
    """

    recipient: str
    id: int
    slot: int
    formula: Formula
    contribution: np.ndarray = field(repr=False)
    accumulated: np.ndarray = field(repr=False)
    traffic: State
    total: State | None = None
    numbers: str = ""
    had: np.ndarray | None = field(repr=False, default=None)
    check: Check | None = None

    @property
    def rule(self) -> str:
        """The rule as mathematics: ``∂L/∂h = g · y · (1 − y)``."""
        return f"∂L/∂{self.recipient} = {self.formula}"


@dataclass(frozen=True, eq=False, slots=True)
class Step:
    """One op, on its way forward or backward. Immutable.

    `index` is its place among all steps; `number` counts from 1 to `total` in its direction.
    `gradient` is the sum of the `arrivals`, `state` what became of it; these, and `sends`, are
    empty on the way forward.
    `source` is the file and line of the user's code, None unless it ran in `source_lines()`;
    `calls` are the lines that led there, from the outermost in, and `expression` is the text of
    the sub-expression.
    """

    index: int
    direction: Direction
    number: int
    total: int
    id: int
    op: str
    symbol: str
    scope: tuple[str, ...]
    call: str
    words: str
    inputs: tuple[Operand, ...]
    output: Operand
    arrivals: tuple[Arrival, ...] = ()
    gradient: np.ndarray | None = field(repr=False, default=None)
    state: State | None = None
    sends: tuple[Send, ...] = ()
    source: Line | None = None
    calls: tuple[Line, ...] = ()
    expression: str | None = None

    @property
    def place(self) -> str:
        """Which step it is, as ``backward 3/10 (step 13)``."""
        return f"{self.direction} {self.number}/{self.total} (step {self.index + 1})"

    @property
    def equation(self) -> str:
        """What the op computed, as ``h = W @ x``."""
        return (
            self.call
            if self.call == self.output.name[1:-1]
            else f"{self.output.name} = {self.call}"
        )

    @property
    def meaning(self) -> str:
        """The op in a sentence; empty for an infix call, which says it by itself."""
        return self.words if self.call.startswith(self.op) else ""

    @property
    def rule(self) -> str:
        """In words: forward the call, backward a line for each input that is sent gradient."""
        return "\n".join(send.rule for send in self.sends) or self.equation

    @property
    def wrong(self) -> tuple[Send, ...]:
        """What this step sends that a finite difference contradicts."""
        return tuple(s for s in self.sends if s.check and s.check.verdict == "disagrees")

    @property
    def finite(self) -> bool:
        """Whether no NaN or inf is made here, or arrives, or is sent."""
        first = self.output.value if self.gradient is None else self.gradient
        arrays = (first, *(send.contribution for send in self.sends))
        return all(bool(np.isfinite(array).all()) for array in arrays)

    def lines(self, width: int = 80) -> list[str]:
        """The step as text, in lines of at most `width` characters."""
        head = self.place
        if self.scope:
            head += f"  {oneline('/'.join(self.scope), 24)}"
        head = clip(head, width)
        room = width - len(head)
        place = source_place(self.source, room - 2) if self.source and room > 12 else ""
        rows: list[tuple[str, str]] = []
        if self.source and (code := linecache.getline(*self.source).strip()):
            rows.append(("code", oneline(code, width)))
        if led := chain(self.calls):
            rows += wrapped("calls", led, width)
        equation = clip(f"  {self.equation}", width)
        rows += self.rows(width)
        return [f"{head}{place:>{room}}".rstrip(), equation, *labelled(rows, width)]

    def rows(self, width: int) -> list[tuple[str, str]]:
        """What the op does, as rows of (label, text)."""
        return (self.rows_forward if self.direction == "forward" else self.rows_backward)(width)

    def rows_forward(self, width: int) -> list[tuple[str, str]]:
        """What the op means, reads and makes."""
        arrays = [("reads", x.name, x.value, "") for x in self.inputs]
        arrays.append(("makes", self.output.name, self.output.value, ""))
        return wrapped("means", self.meaning, width) + columns(arrays, width)

    def rows_backward(self, width: int) -> list[tuple[str, str]]:
        """The rules, what arrives and what is sent, and the finite differences."""
        rules: list[tuple[str, str]] = []
        checks: list[tuple[str, str]] = []
        arrays: list[tuple[str, str, Any, str]] = []
        for arrival in self.arrivals:
            sender = f"from {arrival.sender}" + (f" ({arrival.symbol})" if arrival.symbol else "")
            arrays.append(("arrives", sender, arrival.contribution, ""))
        remark = APPEARANCE[self.state].remark if self.state else ""
        if len(self.arrivals) > 1:
            arrays.append(("arrives", "g, the sum", self.gradient, remark))
        for send in self.sends:
            rule = f"{send.rule} = {send.numbers}" if send.numbers else send.rule
            rules += wrapped("rule", f"{rule}\n{send.formula.words}", width)
            remark = APPEARANCE[send.traffic].remark
            arrays.append(("sends", f"to {send.recipient}", send.contribution, remark))
            if send.had is not None:
                remark = APPEARANCE[send.total].remark if send.total else ""
                arrays.append(("sends", f"{send.recipient} had", send.had, ""))
                arrays.append(("sends", f"{send.recipient} now", send.accumulated, remark))
            if send.check:
                checks += wrapped("check", f"{send.recipient}: {send.check}", width)
        return rules + columns(arrays, width, signed=True) + checks

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def __repr__(self) -> str:
        return clip(f"{self.place}: {self.rule.replace(chr(10), '; ')}", 100)


def labelled(rows: Iterable[tuple[str, str]], width: int) -> list[str]:
    """Lines of (label, text), cut to fit; a label is written once for the lines it heads."""
    lines, last = [], ""
    for label, text in rows:
        shown = label if label != last else ""
        if width >= NARROW:
            lines.append(f"  {shown:<{LABEL}}{clip(text, width - LABEL - 2)}".rstrip())
        else:
            lines += [clip(shown, width)] * bool(shown) + [clip(f" {text}".rstrip(), width)]
        last = label
    return lines


def text_room(width: int) -> int:
    """What `labelled` leaves of a line for the text."""
    return max(1, width - (LABEL + 2 if width >= NARROW else 1))


def wrapped(label: str, text: str, width: int) -> list[tuple[str, str]]:
    """A text over as many rows as it needs."""
    room = text_room(width)
    return [(label, line) for part in text.split("\n") for line in wrap(part, room, "  ")]


def columns(
    arrays: list[tuple[str, str, Any, str]], width: int, signed: bool = False
) -> list[tuple[str, str]]:
    """Rows of (label, name, array, remark), the names in one column, norms at the right, and the
    numbers of short arrays below each other; with their signs if `signed`."""
    whole = text_room(width)
    short = [x for _, _, array, _ in arrays if np.size(array) <= 8 for x in np.ravel(array)]
    wide = max((len(signed_number(x, signed)) for x in short), default=0)
    column = min(max(len(name) for _, name, _, _ in arrays), width // 4)
    rows = []
    for label, name, array, remark in arrays:
        size = f"|{number(norm(array))}|" if np.size(array) > 1 else ""
        if len(size) > whole - column - (26 if signed else 12):  # there is no room for both
            size = ""
        room = max(1, whole - column - 1 - len(size))
        numbers = line(array, room - bool(size), signed, wide)
        text = f"{clip(name, column):<{column}} {numbers:<{room}}{size}"
        rows.append((label, text))
        if remark:
            rows.append((label, f"{'':{column}} {remark}"))
    return rows


def chain(calls: Sequence[Line]) -> str:
    """The lines of calls from the outermost in, as ``main.py:53 → 28 → 19``: the name of a file
    only where it changes. Empty for one that none led to."""
    places, last = [], ""
    for file, n in calls:
        name = "" if file == last else f"{oneline(os.path.basename(file), 60)}:"
        places.append(f"{name}{n}")
        last = file
    return " → ".join(places) if len(places) > 1 else ""


def source_place(source: tuple[str, int], width: int) -> str:
    """File and line, the file relative to where we are and cut from the left to fit."""
    file, number = source
    if os.path.isabs(file):
        relative = os.path.relpath(file)
        file = os.path.basename(file) if relative.startswith("..") else relative
    place = f"{oneline(file, 200)}:{number}"
    if len(place) > width:
        place = f"{oneline(os.path.basename(file), 200)}:{number}"
    return place if len(place) <= width else "…" + place[len(place) - width + 1 :]
