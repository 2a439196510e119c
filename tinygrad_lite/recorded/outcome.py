"""What became of the gradient on its way back: the states that must not be confused.

A gradient of 0 can be *blocked* (the derivative is 0 wherever it exists, as a step's),
*cancelled* (large parts that sum to 0 up to their rounding), or just *zero* (an op that
happened to pass nothing here: a relu below 0, a saturated sigmoid). It can be *nan*, and it
can be *not computed*, as no reverse pass came by. All but the last have a cause: the op at
which it happened first. Values further back inherit it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..backward import messages
from ..operation import blocked
from ..tensor import Tensor
from ..value import Value
from .measure import norm
from .states import APPEARANCE, State
from .trace import LAW, title


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the gradient of one value, and at which op."""

    state: State
    cause: str = ""

    def __str__(self) -> str:
        return APPEARANCE[self.state].cause.format(self.cause)


ARRIVED = Outcome(State.GRADIENT)


class Receipt(NamedTuple):
    """The gradient that arrived at a value: its norm, and what became of it."""

    norm: float
    outcome: Outcome


def receipts(output: Tensor, start: Any, within: set[Value] | None = None) -> dict[Value, Receipt]:
    """What arrives at each value in the reverse pass from `output`."""
    size, first = norm(start), ARRIVED
    if not 0 < size < math.inf:
        first = Outcome(State.NAN if size else State.ZERO, "the cotangent")
    sent: dict[Value, list[Receipt]] = {output: [Receipt(size, first)]}
    found: dict[Value, Receipt] = {}
    for node, g, slot, part in messages(output, start, within=within):
        if node not in found:
            found[node] = whole_receipt(node, g, sent.pop(node))
        if slot is not None:
            receipt = part_receipt(node, found[node].outcome, slot, norm(part))
            sent.setdefault(node.inputs[slot], []).append(receipt)
    return found


def whole_receipt(node: Value, g: Any, parts: list[Receipt]) -> Receipt:
    """What arrives at a value, as the sum of the parts sent to it."""
    if len(parts) == 1 and math.isfinite(parts[0].norm):
        return parts[0]
    sizes, outcomes = sum(part.norm for part in parts), [part.outcome for part in parts]
    total = norm(g) if len(parts) > 1 else sizes
    if not math.isfinite(total):
        bad = (x for x in outcomes if x.state is State.NAN)
        return Receipt(total, next(bad, Outcome(State.NAN, title(node))))
    if ARRIVED not in outcomes:
        return Receipt(total, outcomes[0])
    cancelled = total <= LAW * float(np.finfo(g.dtype).eps) * sizes
    return Receipt(total, Outcome(State.CANCELLED, title(node)) if cancelled else ARRIVED)


def part_receipt(node: Value, here: Outcome, slot: int, size: float) -> Receipt:
    """What a value sends through a slot, given what became of the gradient until here."""
    if node.op is not None and node.op.rule(slot) is blocked:
        here = Outcome(State.BLOCKED, title(node))
    elif here.state is State.GRADIENT and not math.isfinite(size):
        here = Outcome(State.NAN, title(origin(node)))
    elif here.state is State.GRADIENT and not size:
        here = Outcome(State.ZERO, title(node))
    return Receipt(size, here)


def origin(value: Value) -> Value:
    """Where a NaN or inf in the values came from: the first op that made one, else `value`."""
    while True:
        bad = [x for x in value.inputs if isinstance(x, Value) and not np.isfinite(x._array).all()]
        if not bad or bad[0].op is None:
            return value
        value = bad[0]


def without_shares(outcome: Outcome) -> str:
    """Why a gradient has no shares."""
    return f"{outcome if outcome != ARRIVED else 'paths cancel'}: there are no shares"


def shares_of(parts: list[Any], gradient: Any, outcome: Outcome) -> tuple[list[float | None], str]:
    """The share of each part, None for all where the gradient vanishes or is not finite, and
    a remark on them. If parts cancelled at an earlier value, as `outcome` then says, what
    remains here is rounding, even where it arrives in one part: it has no shares."""
    rounding = LAW * float(np.finfo(np.asarray(gradient).dtype).eps) * sum(map(norm, parts))
    g = np.ravel(np.asarray(gradient, float))
    if outcome != ARRIVED or not np.isfinite(g).all() or norm(g) <= rounding:
        return [None] * len(parts), without_shares(outcome)
    scale = np.abs(g).max()  # so that neither product of a share underflows
    g = g / scale
    shares = [float(np.ravel(np.asarray(part, float)) / scale @ g / (g @ g)) for part in parts]
    return list(shares), "paths oppose" if any(x < -0.005 for x in shares) else ""
