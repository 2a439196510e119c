"""Which values a computation is made of, and which lie between two of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from .value import Value


def ancestors(
    values: Iterable[Value], through: Callable[[Value], bool] = lambda value: True
) -> list[Value]:
    """These values and all that they were computed from, oldest first, as far as `through`
    holds of each on the way."""
    seen = set(values)
    stack = list(seen)
    while stack:
        for x in stack.pop().inputs:
            if isinstance(x, Value) and x not in seen and through(x):
                seen.add(x)
                stack.append(x)
    return sorted(seen, key=lambda value: value.index)


def place_in_order(value: Value) -> int:
    """When a value was made, as an index; of one that a replay made, when its original was."""
    return getattr(value, "place", value.index)


def in_order(values: list[Value]) -> list[Value]:
    """These values, oldest first by their places, but none before what it was computed from."""
    if not any(hasattr(v, "place") for v in values):
        return values
    waiting = sorted(values, key=lambda v: (place_in_order(v), v.index), reverse=True)
    known, found = set(values), dict[Value, None]()
    while waiting:
        v = waiting[-1]
        later = [x for x in v.inputs if isinstance(x, Value) and x in known and x not in found]
        if later and v not in found:
            waiting += later
        else:
            found[waiting.pop()] = None
    return list(found)


def between(output: Value, inputs: Collection[Value]) -> set[Value]:
    """The values on some path of gradients from `output` to one of `inputs`, with both."""
    found: set[Value] = set()
    for value in ancestors([output], lambda x: x._requires_grad):
        if value in inputs or any(isinstance(x, Value) and x in found for x in value.inputs):
            found.add(value)
    return found
