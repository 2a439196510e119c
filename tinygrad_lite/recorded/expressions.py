"""An op applied to its operands, as Python writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..operation import Op
from ..text import oneline

# How Python writes what drawings show.
PYTHON = {"×": "*", "÷": "/", "−": "-", "^": "**", "=": "==", "≠": "!=", "≤": "<=", "≥": ">="}


# How tightly an operator holds its operands; a name or a call needs no brackets anywhere.
HOLDS = {"**": 4, "@": 3, "*": 3, "/": 3, "//": 3, "%": 3, "+": 2, "-": 2}
ATOM = 5


def operator_of(op: Op, operands: Sequence[Any]) -> str:
    """The sign that Python writes between the operands, or before the one; else empty."""
    sign = PYTHON.get(op.symbol, op.symbol)
    if op.static or op.sequence or any(c.isalnum() for c in sign):
        return ""
    return sign if len(operands) == 2 or (len(operands) == 1 and sign == "-") else ""


def nested_call(
    op: Op, operands: Sequence[tuple[str, int]], params: Mapping[str, Any]
) -> tuple[str, int]:
    """`call` for operands that may be calls themselves, each with how tightly it holds together:
    in brackets where Python needs them."""
    sign = operator_of(op, operands)
    least = HOLDS.get(sign, 1) if sign else 0
    held = [
        f"({text})" if tight < least or (tight == least and i > 0) else text
        for i, (text, tight) in enumerate(operands)
    ]
    return call(op, held, params), least or ATOM


def call(op: Op, operands: Sequence[str], params: Mapping[str, Any]) -> str:
    """The op applied to its operands, as Python writes it: ``W @ x``, ``sum(h, axis=0)``."""
    if sign := operator_of(op, operands):
        return f" {sign} ".join(operands) if len(operands) == 2 else f"{sign}{operands[0]}"
    given = [f"[{', '.join(operands)}]"] if op.sequence else [x for x in operands if x != "None"]
    for name, value in params.items():
        if name not in op.defaults or repr(value) != repr(op.defaults[name]):
            given.append(f"{name}={brief(value)}")
    return f"{op.name}({', '.join(given)})"


def brief(value: Any) -> str:
    """A static parameter in a few characters: an index as it is written, an array as its shape."""
    if isinstance(value, slice):
        parts = [value.start, value.stop, *([] if value.step is None else [value.step])]
        return ":".join("" if part is None else str(part) for part in parts)
    if isinstance(value, tuple) and any(isinstance(part, (slice, np.ndarray)) for part in value):
        return f"[{', '.join(map(brief, value))}]"
    if isinstance(value, np.ndarray) and value.size > 8:
        return f"array{value.shape}"
    return oneline(str(value.tolist()) if isinstance(value, np.ndarray) else repr(value), 40)
