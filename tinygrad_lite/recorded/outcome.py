"""What became of the gradient on its way back: five ways to end that must not be confused.

A gradient of 0 can be *blocked* (the derivative is 0 wherever it exists, as a step's),
*cancelled* (large parts that sum to 0 up to their rounding), or just *zero* (an op that
happened to pass nothing here: a relu below 0, a saturated sigmoid). It can be *nan*, and it
can be *not computed*, as no reverse pass came by. All but the last have a cause: the op at
which it happened first, which values further back inherit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..backward import messages
from ..operation import blocked
from ..tensor import Tensor
from ..value import Value
from ..views.boxes import norm
from .trace import LAW, share, title, vanishes

Kind = Literal["gradient", "blocked", "cancelled", "zero", "nan", "not computed"]


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of the gradient of one value, and at which op."""

    kind: Kind
    cause: str = ""

    def __str__(self) -> str:
        said = {
            "gradient": "",
            "blocked": f"blocked at {self.cause}",
            "cancelled": f"paths cancel at {self.cause}",
            "zero": f"{self.cause} passes 0",
            "nan": f"NaN or inf from {self.cause}",
            "not computed": "not computed",
        }
        return said[self.kind]


ARRIVED = Fate("gradient")


@dataclass(slots=True)
class Arrival:
    """The gradient that arrived at a value: its norm, that of its parts together, its fate."""

    norm: float
    parts: float
    fate: Fate


def arrivals(output: Tensor, start: Any, within: set[Value] | None = None) -> dict[Value, Arrival]:
    """What arrives at each value in the reverse pass from `output`."""
    size = norm(start)
    first = ARRIVED if 0 < size < np.inf else Fate("nan" if size else "zero", "the cotangent")
    waiting: dict[Value, list[tuple[float, Fate]]] = {output: [(size, first)]}
    found: dict[Value, Arrival] = {}
    for node, g, slot, part in messages(output, start, within=within):
        if node not in found:
            found[node] = arrival(node, g, waiting.pop(node))
        if slot is not None:
            size = norm(part)
            fate = passed(node, found[node], slot, size)
            waiting.setdefault(node.inputs[slot], []).append((size, fate))
    return found


def arrival(node: Value, g: Any, parts: list[tuple[float, Fate]]) -> Arrival:
    """The sum of what was sent to a value."""
    sizes = sum(size for size, _ in parts)
    total = norm(g) if len(parts) > 1 else sizes
    fates = [fate for _, fate in parts]
    if not np.isfinite(total):
        fate = next((f for f in fates if f.kind == "nan"), Fate("nan", title(node)))
    elif ARRIVED not in fates:
        fate = fates[0]
    elif total <= LAW * float(np.finfo(g.dtype).eps) * sizes and len(parts) > 1:
        fate = Fate("cancelled", title(node))
    else:
        fate = ARRIVED if total else fates[0]
    return Arrival(total, sizes, fate)


def passed(node: Value, here: Arrival, slot: int, size: float) -> Fate:
    """What became of the part that a value sent through a slot."""
    op = node.op
    assert op is not None
    if op.rules[0 if op.sequence else slot] is blocked:
        return Fate("blocked", title(node))
    if here.fate.kind != "gradient":
        return here.fate
    if not np.isfinite(size):
        return Fate("nan", title(origin(node)))
    return ARRIVED if size else Fate("zero", title(node))


def origin(value: Value) -> Value:
    """Where a NaN or inf in the values came from: the first op that made one, else `value`."""
    while True:
        bad = [x for x in value.inputs if isinstance(x, Value) and not np.isfinite(x._data).all()]
        if not bad or bad[0].op is None:
            return value
        value = bad[0]


def shareless(fate: Fate) -> str:
    """Why a gradient has no shares."""
    return f"{fate if fate != ARRIVED else 'paths cancel'}: there are no shares"


def weighed(fate: Fate, parts: list[Any], gradient: Any) -> tuple[list[float | None], str]:
    """The share of each part, None for all where the gradient vanishes or is not finite, and
    what to say of it. `fate` is the gradient's: noise that a value on the way left of parts
    that cancelled there is no gradient, even where it arrives in one part."""
    if fate != ARRIVED or not np.isfinite(gradient).all() or vanishes(gradient, parts):
        return [None] * len(parts), shareless(fate)
    found = [share(part, gradient) for part in parts]
    return list(found), "paths oppose" if any(x < -0.005 for x in found) else ""
