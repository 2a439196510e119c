"""An op applied to its operands, as Python writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..operation import Op
from ..text import oneline

# How Python writes what drawings show.
PYTHON = {"×": "*", "÷": "/", "−": "-", "^": "**", "=": "==", "≠": "!=", "≤": "<=", "≥": ">="}


def call(op: Op, operands: Sequence[str], params: Mapping[str, Any]) -> str:
    """The op applied to its operands, as Python writes it: ``W @ x``, ``sum(h, axis=0)``."""
    sign = PYTHON.get(op.symbol, op.symbol)
    if not op.static and not op.sequence and not any(c.isalnum() for c in sign):
        if len(operands) == 2:
            return f"{operands[0]} {sign} {operands[1]}"
        if sign == "-":
            return f"-{operands[0]}"
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
