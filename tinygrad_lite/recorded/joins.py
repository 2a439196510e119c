"""Joins: where a value meets what was computed from it, as in ``h + f(h)``.

A join is an add, subtract, concatenate or stack one of whose operands was computed from
another. That other one passes it straight: such a use of a value is a skip.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..operation import Op
from ..ops.elementwise import add, subtract
from ..ops.shape import concatenate, stack
from ..value import Value

JOINS = frozenset((add, subtract, concatenate, stack))
AT_ONCE = 4096  # values that are followed in one walk, each by a bit of an int

Use = tuple[Value, int]  # the value that uses another, and in which slot


def straight_uses(values: Sequence[Value]) -> set[Use]:
    """The uses that pass a join straight, of all the `values` that something was computed from,
    oldest first."""
    last, places = last_meetings(values), {x: i for i, x in enumerate(values)}
    followed = sorted(last, key=places.__getitem__)
    found: set[Use] = set()
    for i in range(0, len(followed), AT_ONCE):
        some = followed[i : i + AT_ONCE]
        end = max(places[last[x]] for x in some) + 1
        found |= straight_uses_of(some, values[places[some[0]] + 1 : end])
    return found


def whole_op(value: Value) -> Op | None:
    """The op that made a value; of one through some slots of which no gradient passes, the whole
    one."""
    return getattr(value.op, "whole", value.op)


def is_stopped(value: Value, slot: int) -> bool:
    """Whether no gradient passes a slot, as `replay` was asked."""
    return slot in getattr(value.op, "stopped", ())


def is_sum(value: Value) -> bool:
    """Whether it was made by add or subtract, stopped or not."""
    return whole_op(value) in (add, subtract)


def is_join(value: Value) -> bool:
    """Whether it was made by an op that joins, stopped or not."""
    return whole_op(value) in JOINS


def last_meetings(values: Sequence[Value]) -> dict[Value, Value]:
    """For each value that may pass a join straight, the last such join: it was used before,
    or none of the join's operands can have been computed from it."""
    used: set[Any] = set()
    last: dict[Value, Value] = {}
    for value in values:
        if is_join(value):
            last |= {x: value for x in value.inputs if isinstance(x, Value) and x in used}
        used.update(value.inputs)
    return last


def straight_uses_of(followed: Sequence[Value], values: Sequence[Value]) -> set[Use]:
    """The uses of some values that pass a join straight, in a stretch of the computation."""
    bits = {x: 1 << i for i, x in enumerate(followed)}
    ancestors: dict[Value, int] = {}  # of each value, those that are followed
    found: set[Use] = set()
    for value in values:
        operands = behind = 0
        for x in value.inputs:
            operands |= bits.get(x, 0)
            behind |= ancestors.get(x, 0)
        if operands & behind and is_join(value):
            slots = (i for i, x in enumerate(value.inputs) if bits.get(x, 0) & behind)
            found.update((value, slot) for slot in slots)
        if operands | behind:
            ancestors[value] = operands | behind
    return found
