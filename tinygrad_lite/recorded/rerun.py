"""A recorded computation run again, with something changed: what `replay`, `program` and the cures
of a bad gradient stand on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import is_
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

from .. import backward
from .. import value as ground
from ..ancestors import between, place_in_order
from ..arrays import describe, freeze
from ..operation import ERRORS, Op
from ..value import Value, new

if TYPE_CHECKING:
    from .joins import Use

# What runs a computation and its reverse pass again: from arrays to the value, the gradients, and
# what `ask_again` says.
Passes = Callable[[Sequence[Any]], tuple[Any, list[Any], str]]


class Stopped(Op):
    """An op through some slots of which no gradient passes; its values are those of `whole`."""

    def __init__(self, whole: Op, slots: Iterable[int]) -> None:
        self.whole, self.stopped = whole, frozenset(slots)
        self.linear = self.elementwise = self.batched = False
        if self.sequence:
            self.rules = [self.joint_rule]
        else:
            self.rules = [
                self.cut(i) if i in self.stopped else r for i, r in enumerate(whole.rules)
            ]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.whole, name)

    def compute(self, *arrays: Any, **static: Any) -> Any:
        """What `whole` gives."""
        return self.whole.compute(*arrays, **static)

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


def ask_again(output: Value, made: Mapping[Value, Value]) -> str:
    """What to say where a truth that was asked on the way now comes out otherwise; else empty."""
    asked = [v for v in made if hasattr(v, "truths")]
    if not asked:
        return ""
    had = {x: a for v in made for x, a in zip(v.inputs, v.arrays, strict=True) if x in made}
    place = place_in_order(output)
    noted = {id(t): t for v in asked for t in v.truths}
    truths = {i: t for i, t in noted.items() if t.place < place and t.is_about(had)}
    answers = [(truth, truth.again(made)) for truth in truths.values()]
    for v in asked:
        made[v].truths = [truth.of(made) for truth in v.truths]
    other = [(t, now) for t, now in answers if now is not None and now != t.answer]
    if not other:
        return ""
    truth, now = other[0]
    file, line = truth.line
    more = f" ({len(other) - 1} more came out otherwise)" if len(other) > 1 else ""
    said = (
        f"asked whether a Tensor was true: it was {truth.answer} when recorded, and is {now} in "
        "the replay, where the code might have gone another way"
        if truth.read is bool
        else "used the values of a Tensor, as an index or other static argument, which are others "
        "in the replay: it keeps those that were recorded"
    )
    return f"line {line} of {os.path.basename(file)} {said}{more}"


def passes(
    output: Value,
    computation: Sequence[Value],
    start: Any,
    wanted: Sequence[Value],
    inputs: Sequence[Value],
) -> Passes:
    """What computes an output and its gradients again, for arrays in the place of `inputs` and the
    data that the other leaves have by then: its value, the gradients of `wanted`, and what
    `ask_again` says. The arrays are nobody else's."""
    recorded = {v: v._array for v in computation if v.op is None}
    others = [leaf for leaf in recorded if leaf not in set(inputs)]

    def run(arrays: Sequence[Any]) -> tuple[Any, list[Any], str]:
        data: dict[Any, Any] = dict(zip(inputs, arrays, strict=True))
        data |= {x: x._array for x in others if x._array is not recorded[x]}
        made = rerun(computation, data, {}, {})
        value, ends = made.get(output, output), [made.get(x, x) for x in wanted]
        within = between(value, set(ends))
        found = backward.leaf_gradients(value, start, within, set(ends))
        zeros = (np.zeros_like(x._array) for x in ends)
        gradients = [np.array(found.get(x, z)) for x, z in zip(ends, zeros, strict=True)]
        return np.array(value._array), gradients, ask_again(output, made)

    return run


def stand_in(leaf: Value, data: Any) -> Any:
    """A leaf with new data in the place of another."""
    made = new(leaf.__class__).record(fit(leaf, data), requires_grad=leaf._requires_grad)
    made._name, made.scope = leaf._name, leaf.scope
    return put_in_place(made, leaf)


def fit(leaf: Value, data: Any) -> Any:
    """New data in the dtype of a leaf. Raises: TypeError or ValueError if it would change with
    that, or lose a gradient."""
    given, dtype = freeze(data), leaf._array.dtype
    if not np.can_cast(given.dtype, dtype, "same_kind"):
        raise TypeError(
            f"{describe(leaf)} has dtype {dtype} in the computation, but the new data {given.dtype}"
        )
    with np.errstate(over="ignore"):
        found = given if given.dtype == dtype else freeze(given, dtype)
    if found is not given and np.any(np.isfinite(given) & ~np.isfinite(found)):
        raise ValueError(f"the new data for {describe(leaf)} is too large for its dtype {dtype}")
    return found


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
            from .lines import place_of  # late, with all that reads a user's file

            place = place_of(v.source)
            where = f" (line {place.source[1]})" if place else ""
            raise type(error)(
                f"{op.explain(error, inputs, v.params)}{where}, in the replay"
            ) from None
    # It stays what can be asked for, also where no parameter is behind it any more.
    wanted = v._requires_grad or any(x._requires_grad for x in inputs if isinstance(x, Value))
    wanted = wanted and data.dtype.kind == "f"
    made = new(v.__class__).record(data, op, tuple(inputs), arrays, v.params, wanted)
    made._name, made.scope, made.source = v._name, v.scope, v.source
    return put_in_place(made, v)
