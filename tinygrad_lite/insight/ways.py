"""The ways from an output back to one tensor, walked: all of them, or those that carry most."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backward import contributions
from ..recorded.measure import norm, norms, wide
from ..recorded.outcome import ARRIVED, Outcome, Receipt, eps_of, part_receipt
from ..recorded.trace import Trace, operands
from ..tensor import Tensor
from ..value import Value
from .jacobians import sends

LIMIT = 10_000  # paths that are walked one by one
WIDTH = 1000  # parts at one value that a search follows, if there are more paths than that
ROOM = 2**24  # numbers in the cotangents that are carried side by side
SMALL = 2**16  # numbers in a Jacobian that is made whole


def count_paths(traced: Trace, wrt: Tensor) -> int:
    """How many paths lead from the output back to `wrt`, exactly."""
    counts: dict[Value, int] = {wrt: 1}  # from each value
    for value in traced.order[1:]:
        counts[value] = sum(counts[x] for _, x in operands(value, traced.within))
    return counts[traced.output]


@dataclass(eq=False, slots=True)
class Stride:
    """One step on a way back from the output: `part` is what came through a slot of `node`,
    `before` the step that brought it there. Paths share the steps of their common part."""

    part: Any
    node: Value | None = None
    slot: int = 0
    before: Stride | None = None
    receipt: Receipt | None = None

    @property
    def way(self) -> list[tuple[Value, int]]:
        """The way as (target, slot) pairs, from the far end to the output."""
        steps, last = [], self
        while last.before is not None and last.node is not None:
            steps.append((last.node, last.slot))
            last = last.before
        return steps

    def outcome(self, start: Receipt, size: float) -> Outcome:
        """What became of the gradient on this way, looked up step by step only where it is
        not plain that it arrived, from the norm of the `part`."""
        if math.sqrt(eps_of(self.part.dtype)) * start.norm <= size < math.inf:
            return ARRIVED
        steps, last = [], self
        while last.receipt is None and last.before is not None:
            steps.append(last)
            last = last.before
        here = last.receipt or start
        for step in reversed(steps):
            assert step.node is not None
            assert step.before is not None
            g, part = step.before.part, step.part
            step.receipt = here = part_receipt(step.node, g, step.slot, part, here, start.norm)
        return here.outcome


def walk(traced: Trace, wrt: Tensor) -> Iterator[Stride]:
    """The last step of each path: depth first from the output."""
    stack: list[tuple[Value, Stride]] = [(traced.output, Stride(traced.start))]
    while stack:
        node, last = stack.pop()
        if node is wrt:
            yield last
            continue
        sent = contributions(node, last.part, within=traced.within)
        stack += [(x, Stride(part, node, slot, last)) for slot, x, part in sent][::-1]


def along(traced: Trace, uses: list[tuple[Value, int]]) -> Stride:
    """The last step of the way through some uses (target, slot), from the far end to the output."""
    last = Stride(traced.start)
    for node, slot in reversed(uses):
        x: Any = node.inputs[slot]
        part = next(part for i, _, part in contributions(node, last.part, within={x}) if i == slot)
        last = Stride(part, node, slot, last)
    return last


def largest(traced: Trace, wrt: Tensor, top: int, total: int) -> tuple[list[Stride], float | None]:
    """The last steps of the `top` paths, of `total`, with the largest parts, these first; and the
    most that a path left out may carry, None if none can carry more than these.

    At each value the largest parts go on, and a part that went no further is an end to all paths
    that it begins. Among scalars none of these could have come to be one of the `top`: each step
    back multiplies all parts at a value by one number. Among arrays it could, so more go on: all,
    where `paths` would walk them.
    """
    scalar = is_scalar(traced)
    width = top if scalar else max(top, min(total if total <= LIMIT else WIDTH, room(traced)))
    waiting: dict[Value, list[tuple[float, Any, Stride]]] = {}
    waiting[traced.output] = [(norm(traced.start), traced.start, Stride(None))]
    ended: list[tuple[Value, float]] = []
    for node in reversed(traced.order):
        here = waiting.pop(node)
        if node is wrt:
            break
        for slot, x, parts in sends(node, np.stack([part for _, part, _ in here]), traced.within):
            sizes = [math.inf if size != size else size for size in norms(parts)]
            strides = [Stride(None, node, slot, before) for *_, before in here]
            came = waiting.pop(x, []) + list(zip(sizes, parts, strides, strict=True))
            came.sort(key=lambda item: -item[0])
            waiting[x], rest = came[:width], came[width : width + 1]
            if rest and rest[0][0] and x is not wrt:
                ended.append((x, rest[0][0]))
    found = [along(traced, stride.way) for *_, stride in here[:top]]
    found.sort(key=lambda last: -norm(last.part))
    if scalar or not ended:
        return found, None
    gains = gains_to(traced, wrt)
    most = max(size * gains[x] for x, size in ended)
    return found, None if most <= norm(found[-1].part) else most


def gains_to(traced: Trace, wrt: Tensor) -> dict[Value, float]:
    """For each value, the most by which a path from there to `wrt` can multiply a norm: the
    largest product of the norms of its Jacobians; infinite if one is too large to be made."""
    gains: dict[Value, float] = {wrt: 1.0}
    for node in traced.order[1:]:
        uses, n = operands(node, traced.within), node._array.size
        if n == 0 or n * max(x._array.size for _, x in uses) > SMALL:
            gains[node] = math.inf if n else 0.0
            continue
        units = np.eye(n, dtype=node._array.dtype).reshape(n, *node._array.shape)
        growths = [0.0]
        for _, x, parts in sends(node, units, traced.within):
            if parts.any() and gains[x]:
                finite = np.isfinite(parts).all()
                size = np.linalg.norm(wide(parts).reshape(n, -1), 2) if finite else math.inf
                growths.append(float(size * gains[x]))
        gains[node] = max(growths)
    return gains


def is_scalar(traced: Trace) -> bool:
    """Whether every value on the way is one number."""
    return all(value._array.size == 1 for value in traced.within)


def room(traced: Trace) -> int:
    """How many cotangents of the largest value on the way may be held at once."""
    return max(1, ROOM // max(1, *(value._array.size for value in traced.within)))
