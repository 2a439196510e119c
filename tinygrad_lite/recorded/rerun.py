"""A recorded computation run again, with something changed: what `replay`, `program` and the cures
of a bad gradient stand on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import is_
from typing import Any
from weakref import ref

import numpy as np

from .. import value as ground
from ..arrays import describe, freeze
from ..operation import ERRORS, Op
from ..tensor import Tensor
from ..value import Value, new
from .joins import Use
from .lines import place_of


class Stopped(Op):
    """An op through some slots of which no gradient passes; its values are those of `whole`."""

    def __init__(self, whole: Op, slots: Iterable[int]) -> None:
        vars(self).update(vars(whole))
        self.whole, self.stopped = whole, frozenset(slots)
        self.linear = self.elementwise = self.batched = False
        if self.sequence:
            self.rules = [self.joint_rule]
        else:
            self.rules = [
                self.cut(i) if i in self.stopped else r for i, r in enumerate(whole.rules)
            ]

    def cut(self, slot: int) -> Any:
        """The rule of a slot that is stopped."""
        return lambda g, out, *inputs, **_: np.zeros_like(array_of(inputs[slot]))

    def joint_rule(self, g: Any, out: Any, inputs: Any, **static: Any) -> list[Any]:
        """The rule of a list of inputs, zeros for those that are stopped."""
        parts = self.whole.rules[0](g, out, inputs, **static)  # type: ignore[misc]
        zeros = (np.zeros_like(array_of(x)) for x in inputs)
        return [
            z if i in self.stopped else p for i, (p, z) in enumerate(zip(parts, zeros, strict=True))
        ]


def array_of(x: Any) -> Any:
    """The array of a value, or what is one."""
    return x._array if isinstance(x, Value) else x


def rerun(
    computation: Iterable[Value],
    data: Mapping[Value, Any],
    cuts: Mapping[Value, Iterable[int]],
    replaced: Mapping[Use, Value],
) -> dict[Value, Any]:
    """What a computation makes with these leaves, cut and replaced uses, in the place of each value
    that depends on a change."""
    made: dict[Value, Any] = {}
    others: dict[Value, dict[int, Value]] = {}
    for (v, slot), x in replaced.items():
        others.setdefault(v, {})[slot] = x
    for v in computation:
        if v.op is None:
            if v in data:
                made[v] = stand_in(v, data[v])
            continue
        inputs = [made.get(x, x) for x in v.inputs]
        for slot, x in others.get(v, {}).items():
            inputs[slot] = x
        if v in cuts:
            made[v] = remake(v, Stopped(v.op, cuts[v]), inputs)
        elif not all(map(is_, inputs, v.inputs)):
            made[v] = remake(v, v.op, inputs)
    return made


def stand_in(leaf: Value, data: Any) -> Any:
    """A leaf with new data in the place of another. Raises: TypeError or ValueError if the data
    would change with the leaf's dtype, or lose a gradient."""
    given, dtype = freeze(data), leaf._array.dtype
    if not np.can_cast(given.dtype, dtype, "same_kind"):
        raise TypeError(
            f"{describe(leaf)} has dtype {dtype} in the computation, but the new data {given.dtype}"
        )
    with np.errstate(over="ignore"):
        made = Tensor(given, leaf._requires_grad, name=leaf._name, dtype=dtype)
    if np.any(np.isfinite(given) & ~np.isfinite(made._array)):
        raise ValueError(f"the new data for {describe(leaf)} is too large for its dtype {dtype}")
    made.scope = leaf.scope
    return put_in_place(made, leaf)


def put_in_place(made: Any, old: Value) -> Any:
    """A value that stands for another, and for those that this stood for; it keeps none alive."""
    made.place, made.stands_for = old.index, (ref(old),)
    if hasattr(old, "place"):  # another replay made it
        made.place = old.place
        made.stands_for += tuple(x for x in old.stands_for if x() is not None)
    return made


def remake(v: Value, op: Op, inputs: list[Any]) -> Any:
    """A value made again from other inputs; computed only if their arrays differ."""
    recorded = zip(inputs, v.inputs, v.arrays, strict=True)
    arrays = tuple([a if x is old else x._array for x, old, a in recorded])
    data = v._array
    if not all(map(is_, arrays, v.arrays)):
        try:
            data = ground.lock(op, op.compute(*arrays, **v.params), arrays)
        except ERRORS as error:
            place = place_of(v.source)
            where = f" (line {place.source[1]})" if place else ""
            raise type(error)(
                f"{op.explain(error, inputs, v.params)}{where}, in the replay"
            ) from None
    wanted = any(x._requires_grad for x in inputs if isinstance(x, Value))
    wanted = wanted and data.dtype.kind == "f"
    made = new(v.__class__).record(data, op, tuple(inputs), arrays, v.params, wanted)
    made._name, made.scope, made.source = v._name, v.scope, v.source
    return put_in_place(made, v)
