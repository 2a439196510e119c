"""A step in lines of text, for a terminal or a print-out of any width."""

from __future__ import annotations

import linecache
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..drawing.text import number, oneline
from ..recorded.array_text import line
from .boxes import norm

if TYPE_CHECKING:
    from ..insight.stepper import Record, Step

LABEL = 10  # the width of the column of labels
REMARKS = {"blocked": "blocked: nothing passes here", "nan": "NaN or inf is sent"}


def text(step: Step, width: int = 80) -> list[str]:
    """A step in lines of at most `width` characters."""
    head = f"{step.direction} {step.number}/{step.total} (step {step.index + 1})"
    if step.scope:
        head = clipped(f"{head}  {oneline('/'.join(step.scope), 24)}", width)
    room = width - len(head)
    where = placed(step.source, room - 2) if step.source and room > 12 else ""
    equation = f"{step.output.name} = {step.call}"
    lines = [f"{head}{where:>{room}}".rstrip(), f"  {clipped(equation, width - 2)}"]
    if step.source and (code := linecache.getline(*step.source).strip()):
        lines.append(row("code", oneline(code, width), width))
    if step.direction == "forward":
        # An infix call says by itself what it means.
        if step.words and step.call.startswith(step.op):
            lines += wrapped("means", step.words, width)
        read = [("reads", x.name, x.value, "") for x in step.inputs]
        return lines + columns([*read, ("makes", step.output.name, step.output.value, "")], width)
    for i, send in enumerate(step.sends):
        told = f"{send.rule} = {send.numbers}" if send.numbers else send.rule
        lines += wrapped("rule" if not i else "", told, width)
        if send.formula.words:
            lines += wrapped("", send.formula.words, width)
    rows: list[tuple[str, str, Any, str]] = []
    for arrival in step.arrivals:
        sender = f"from {arrival.sender}" + (f" ({arrival.symbol})" if arrival.symbol else "")
        rows.append(("arrives", sender, arrival.contribution, ""))
    if len(step.arrivals) > 1:
        rows.append(("arrives", "g, the sum", step.gradient, ""))
    for send in step.sends:
        rows.append(
            ("sends", f"to {send.recipient}", send.contribution, REMARKS.get(send.traffic, ""))
        )
        if send.accumulated is not send.contribution:
            rows.append(("sends", "   so far", send.accumulated, ""))
    lines += columns(rows, width)
    for i, send in enumerate(s for s in step.sends if s.check):
        lines += wrapped("check" if not i else "", f"{send.recipient}: {send.check}", width)
    return lines


def columns(rows: Sequence[tuple[str, str, Any, str]], width: int) -> list[str]:
    """Lines of (label, name, array, remark), the names in one column and norms at the right."""
    column = min(max(len(name) for _, name, _, _ in rows), width // 4)
    lines: list[str] = []
    last = ""
    for what, name, array, remark in rows:
        size = f"|{number(norm(array))}|" if np.size(array) > 1 else ""
        room = width - LABEL - 2 - column - 1 - len(size)
        told = f"{clipped(name, column):<{column}} {line(array, room - 1):<{room}}{size}"
        lines.append(row(what if what != last else "", told, width))
        if remark:
            lines.append(row("", f"{'':{column}} {remark}", width))
        last = what
    return lines


def row(what: str, told: str, width: int) -> str:
    """A line with its label, cut to fit."""
    return f"  {what:<{LABEL}}{clipped(told, width - LABEL - 2)}".rstrip()


def wrapped(what: str, told: str, width: int) -> list[str]:
    """A text over as many lines as it needs, the first with its label."""
    lines, room = [], width - LABEL - 2
    for part in told.split("\n"):
        while len(part) > room:
            cut = part.rfind(" ", 3, room + 1)
            cut = cut if cut > 0 else room
            lines.append(part[:cut])
            part = "  " + part[cut:].strip()
        lines.append(part)
    return [row(what if not i else "", line, width) for i, line in enumerate(lines)]


def clipped(told: str, width: int) -> str:
    """Text of at most `width` characters."""
    return told if len(told) <= width else told[: max(0, width - 1)] + "…"


def placed(source: tuple[str, int], width: int) -> str:
    """File and line, the file relative to where we are and cut from the left to fit."""
    file, number = source
    if os.path.isabs(file):
        relative = os.path.relpath(file)
        file = os.path.basename(file) if relative.startswith("..") else relative
    told = f"{oneline(file, 200)}:{number}"
    return told if len(told) <= width else "…" + told[len(told) - width + 1 :]


def progress(record: Record, step: Step, width: int) -> list[str]:
    """Which parameters and named values have their whole gradient, and which wait."""
    if step.direction == "forward":
        return []
    done: list[str] = []
    waiting: list[str] = []
    for i, complete in record.complete.items():
        node = record.graph.nodes[i]
        if node.name or node.kind == "parameter":
            (done if complete <= step.number else waiting).append(record.names[i])
    return [
        row(what, " ".join(reversed(names)), width)
        for what, names in (("done", done), ("waiting", waiting))
        if names
    ]
