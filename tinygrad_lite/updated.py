"""Parameters that were given new data since a computation used them.

The record keeps the arrays that each op saw, so gradients stay right. A gradient that is itself
recorded needs values with those arrays: here is what stands in for the parameter.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .ancestors import ancestors
from .arrays import describe
from .backward import Operands
from .operation import Op
from .value import Value, new


def tensors_of(index: int) -> Operands:
    """A node's result and inputs as values, for a gradient that was asked for at `index`.

    An input that was given new data since is replaced by a value with the old. If it had been
    given it before the gradient was asked for, that value has no derivative: it would mix old
    and new.
    """

    def operands(node: Value) -> tuple[Value, tuple[Any, ...]]:
        return node, tuple(
            stand_in(x, array, index)
            if isinstance(x, Value) and x._array is not array and x.op is None
            else x
            for x, array in zip(node.inputs, node.arrays, strict=True)
        )

    return operands


def stand_in(x: Value, array: Any, index: int) -> Any:
    """A value in the place of the leaf x that holds the data x had."""
    if not x._requires_grad:
        return new(x.__class__).record(array)
    old = alias(x) if x.changed > index else stale(x, of=describe(x))
    old._array, old.arrays = array, (array,)
    return old


def is_meant_by(value: Value, other: Value) -> bool:
    """Whether a value is another, or what a replay put in the place of that."""
    return value is other or any(old() is other for old in getattr(value, "stands_for", ()))


def meant_in(output: Value, wanted: Iterable[Any]) -> list[Any]:
    """What some values mean in the computation of an output: themselves, or where they are not of
    it what a replay put in their place."""
    values = ancestors([output])
    known, stand_ins = set(values), [v for v in values if hasattr(v, "stands_for")]

    def meant(x: Any) -> Any:
        return x if x in known else next((v for v in stand_ins if is_meant_by(v, x)), x)

    return [meant(x) if isinstance(x, Value) else x for x in wanted]


@Op
def alias(x: Any) -> Any:
    """x, as a value of its own."""
    return x


alias.vjp(lambda g, out, x: g)


@Op
def stale(x: Any, of: str = "") -> Any:
    """x as it was before it was given new data."""
    return x


@stale.vjp
def _(g: Any, out: Any, x: Any, of: str) -> Any:
    raise RuntimeError(
        f"{of} was given new data after the output was computed, so a derivative of its gradient "
        "would mix old and new values; compute the output again first"
    )
