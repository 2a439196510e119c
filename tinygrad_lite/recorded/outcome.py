"""What became of the gradient on its way back: the states that must not be confused.

The states are those of `State`. All but *not computed* have a cause: the op at which it
happened first. Values further back inherit it, and a part that is 0 or infinite only
because a product left the range of its dtype, while no rule is 0, is told as that.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Set
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ..backward import contributions, messages
from ..operation import blocked
from ..value import Value
from .measure import narrow, norm, wide
from .names import Names
from .states import APPEARANCE, State

LAW = 32.0  # |sum of parts - gradient| <= LAW * eps * sum of |parts|


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the gradient of one value, and the value at whose op that happened, None for
    the cotangent; `left_range` is true where it is only that the numbers grew too large there for
    their dtype, or too small."""

    state: State
    cause: Value | None = field(default=None, compare=False)
    left_range: bool = False

    def text(self, names: Names) -> str:
        """What became of it, in words."""
        where = "the cotangent" if self.cause is None else names.where(self.cause)
        if self.left_range:
            way = "underflow" if self.state is State.ZERO else "overflow"
            return f"{'NaN after ' * (self.state is State.NAN)}{way} at {where}"
        return APPEARANCE[self.state].cause.format(where)


ARRIVED = Outcome(State.GRADIENT)
NOWHERE, UNASKED = Outcome(State.NOT_COMPUTED), Outcome(State.NO_GRADIENT)


class Receipt(NamedTuple):
    """A gradient that arrived: its norm, what became of it, and the norm of the gradient at
    the value that sent it."""

    norm: float
    outcome: Outcome
    before: float = 0.0


class Receipts:
    """What arrives at each value in the reverse pass from `output`, and through each use of
    one, by target and slot: complete once every message has been noted. `gradients` holds the
    gradients themselves for the values in `ends`."""

    def __init__(self, output: Value, start: Any, ends: Set[Value] = frozenset()) -> None:
        self.ends, self.gradients = ends, dict[Value, Any]()
        self.start = start_receipt(start)
        self.parts: dict[Value, list[Receipt]] = {output: [self.start]}
        self.values: dict[Value, Receipt] = {}
        self.uses: dict[tuple[Value, int], Receipt] = {}

    def note(self, node: Value, g: Any, slot: int | None, part: Any) -> None:
        """Take in a message of the reverse pass."""
        here = self.values.get(node)
        if here is None:
            here = whole_receipt(node, g, self.parts.pop(node), self.start.norm)
            self.values[node] = here
            if node in self.ends:
                self.gradients[node] = np.asarray(g)
        if slot is not None:
            sent = part_receipt(node, g, slot, part, here, self.start.norm)
            self.uses[node, slot] = sent
            self.parts.setdefault(node.inputs[slot], []).append(sent)


def receipts(
    output: Value,
    start: Any,
    within: Collection[Value] | None = None,
    ends: Set[Value] = frozenset(),
) -> Receipts:
    """What arrives at each value in the reverse pass from `output`."""
    found = Receipts(output, start, ends)
    for message in messages(output, start, within=within):
        found.note(*message)
    return found


def start_receipt(start: Any) -> Receipt:
    """The cotangent that a reverse pass starts with."""
    state = state_of(start, norm(start))
    return Receipt(norm(start), ARRIVED if state.arrives else Outcome(state))


def state_of(gradient: Any, size: float) -> State:
    """The state that the numbers of a gradient of that norm show by themselves."""
    if 0 < size < math.inf:
        return State.GRADIENT
    if np.isnan(gradient).any():
        return State.NAN
    if np.isinf(gradient).any():
        return State.INFINITE
    return State.GRADIENT if size else State.ZERO


def whole_receipt(node: Value | None, g: Any, parts: list[Receipt], top: float) -> Receipt:
    """What arrives at a value, as the sum of the parts sent to it; `top` is the norm of the
    gradient at the output. Without a node it has no cause."""
    if len(parts) == 1:
        return parts[0]
    total, eps = norm(g), eps_of(g.dtype)
    outcomes = [part.outcome for part in parts]
    rounding = LAW * eps * sum(part.norm for part in parts)
    reference = max(top, min((part.before for part in parts if part.norm), default=0.0))
    if set(outcomes) == {ARRIVED} and max(rounding, math.sqrt(eps) * reference) < total < math.inf:
        return Receipt(total, ARRIVED)  # as most do
    state, first = state_of(g, total), strongest(outcomes)
    if state in (State.NAN, State.INFINITE):
        bad = first.state in (State.NAN, State.INFINITE)
        return Receipt(total, replace(first, state=state) if bad else Outcome(state, node, True))
    if not any(outcome.state.arrives for outcome in outcomes):
        return Receipt(total, first)
    rounding += sum(part.norm for part in parts if part.outcome.state is State.CANCELLED)
    if total <= rounding:
        return Receipt(total, Outcome(State.CANCELLED, node))
    faint = is_vanishing(total, eps, reference)
    return Receipt(total, Outcome(State.VANISHING, node) if faint else ARRIVED)


def part_receipt(node: Value, g: Any, slot: int, part: Any, here: Receipt, top: float) -> Receipt:
    """What a value sends through a slot, given the gradient that arrived there."""
    size, outcome = norm(part), here.outcome
    faint = is_vanishing(size, eps_of(part.dtype), max(top, here.norm))
    if (state := barrier(node, slot)) is not None:
        return Receipt(size, Outcome(state, node), here.norm)
    if outcome is ARRIVED and 0 < size < math.inf and not faint:
        return Receipt(size, ARRIVED, here.norm)  # as most do
    state, before = state_of(part, size), outcome.state
    if state in (State.NAN, State.INFINITE):
        if before in (State.NAN, State.INFINITE):
            outcome = replace(outcome, state=state)
        elif before.arrives and leaves_range(node, g, slot, True):
            outcome = Outcome(state, node, True)
        else:
            outcome = Outcome(state, origin(node))
    elif state is State.ZERO:
        if here.norm:
            left = before.arrives and leaves_range(node, g, slot, False)
            outcome = Outcome(state, node, left)
    elif before is not State.CANCELLED:
        if not faint:
            outcome = ARRIVED
        elif before is not State.VANISHING:
            outcome = Outcome(State.VANISHING, node)
    return Receipt(size, outcome, here.norm)


def barrier(node: Value, slot: int) -> State | None:
    """Why nothing passes a slot, whatever the numbers, if so."""
    if slot in getattr(node.op, "stopped", ()):
        return State.STOPPED
    return State.BLOCKED if node.op and node.op.rule(slot) is blocked else None


@cache
def eps_of(dtype: Any) -> float:
    """The rounding unit of a dtype."""
    return float(np.finfo(dtype).eps)


def is_vanishing(size: float, eps: float, reference: float) -> bool:
    """Whether a norm above 0 is below sqrt(eps) of another."""
    return 0 < size < math.sqrt(eps) * reference


def strongest(outcomes: Collection[Outcome]) -> Outcome:
    """Of several outcomes, the one that tells where they are seen as one."""
    order = list(State)
    return min(outcomes, key=lambda outcome: order.index(outcome.state))


def leaves_range(node: Value, g: Any, slot: int, grows: bool) -> bool:
    """Whether a part that is 0, or infinite if it `grows`, would be neither if the gradient
    that arrived at `node` had a norm of about 1."""
    size, x, op = norm(g), node.inputs[slot], node.op
    assert op is not None
    if not 0 < size < math.inf or (op.sequence and not op.linear) or (size >= 1) is not grows:
        return False  # a stack only hands on; and such a size cannot be why
    assert isinstance(x, Value)
    unit = np.ldexp(g, -np.frexp(size)[1])  # by a power of 2, so that it is rounded as g was
    part = next(part for i, _, part in contributions(node, unit, within={x}) if i == slot)
    return state_of(part, norm(part)) is State.GRADIENT


def origin(value: Value) -> Value:
    """Where a NaN or inf in the values came from: the first op that made one, else `value`."""
    while True:
        bad = [x for x in value.inputs if isinstance(x, Value) and not np.isfinite(x._array).all()]
        if not bad or bad[0].op is None:
            return value
        value = bad[0]


def shares_of(
    parts: list[Any],
    sizes: list[float],
    gradient: Any,
    outcome: Outcome,
    what: str,
    names: Names,
) -> tuple[list[float | None], str]:
    """The share of each part, None for all where there is no gradient, and a remark on them;
    `sizes` are their norms, and `what` is their plural. If parts cancelled at an earlier value,
    as `outcome` then says, what remains here is rounding, even in one part: it has no shares."""
    none: list[float | None] = [None] * len(parts)
    g = wide(gradient).ravel()
    if not outcome.state.arrives:
        return none, f"{outcome.text(names)}: there are no shares"
    if bad := sum(not np.isfinite(part).all() for part in parts):
        return none, f"{bad} of {len(parts)} {what} overflow: there are no shares"
    if norm(g) <= LAW * eps_of(np.asarray(gradient).dtype) * sum(sizes):
        return none, "paths cancel: there are no shares"
    scale = np.abs(g).max()  # so that neither product of a share underflows
    g = g / scale
    shares = [narrow(wide(part).ravel() / scale @ g / (g @ g)) for part in parts]
    notes = [outcome.text(names)] if outcome.state is State.VANISHING else []
    if sum(x for x in shares if x < 0) < -0.005:
        notes.append("paths oppose")
    return list(shares), "; ".join(notes)
