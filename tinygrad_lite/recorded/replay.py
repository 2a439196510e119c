"""A recorded computation is a program: it can be run again with something changed.

What was recorded is computed again op by op, as far as it depends on a change; the rest stays the
values that it was. So the result is what the user's code would have given, as long as that would
have made the same ops: numbers that were taken out of Tensors (`.item()`, `.data`) and random
draws stay as they were.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Set
from functools import cached_property
from typing import Any
from weakref import ref

import numpy as np

from ..ancestors import ancestors, place_in_order
from ..arrays import describe, freeze
from ..operation import ERRORS, Op
from ..ops.elementwise import add, subtract
from ..tensor import Tensor
from ..updated import is_meant_by
from ..value import Value, lock, new
from .joins import Use
from .lines import place_of
from .names import Names, names_of
from .nodes import Edge, Node, computation_of

Branch = Edge | Node | Tensor | str | tuple[str, ...]


class ReplayWarning(UserWarning):
    """The code that was recorded would have gone another way for what a replay was given."""


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


def is_sum(value: Value) -> bool:
    """Whether it was made by add or subtract, stopped or not."""
    return getattr(value.op, "whole", value.op) in (add, subtract)


def array_of(x: Any) -> Any:
    """The array of a value, or what is one."""
    return x._array if isinstance(x, Value) else x


def replay(
    output: Tensor,
    data: Mapping[Any, Any] | None = None,
    *,
    stop_gradient: Any = (),
    ablate: Any = (),
    names: Any = None,
) -> Tensor:
    """The computation of `output` again, with something changed: the new output.

    `data` maps leaves, Tensors or their names, to new arrays; a leaf without new data keeps the
    array that it had. Through what `stop_gradient` names no gradient passes, and values stay; what
    `ablate` names is left out of each add or subtract that it joins, or is replaced by what a
    mapping gives. A branch is an `Edge` or `Node` of ``graph(output)``, a Tensor (all its uses), or
    a str or tuple: a scope, of whose results the uses outside it are meant, else a name.

    Names, scopes and lines stay; only what depends on a change is computed. What was made again is
    another Tensor: the old one, given to `grad`, `wrt=` or `names=`, means it. Second derivatives
    are those of the gradient with the cut: what is stopped is no constant in them. What happens
    outside of ops is not seen: numbers taken out, and random draws, as dropout's mask, stay. Where
    the code asked whether a Tensor is true, or had one as an index, and the answer is now another,
    there is a `ReplayWarning`; of what is not used otherwise, if it was at most 8 ops from leaves.

    >>> from tinygrad_lite import Tensor, grad, replay
    >>> x, w = Tensor(2.0, requires_grad=True, name="x"), Tensor(3.0, requires_grad=True)
    >>> y = replay(w * x * x, {"x": 5.0})
    >>> y.item(), grad(y, x).item()
    (75.0, 30.0)

    Raises: TypeError if `output` is no Tensor, a branch none of these, or new data would change
    with the dtype of its leaf or requires a gradient; ValueError where a name means nothing or
    several things, something is given twice, an edge is none of the graph, what is ablated joins
    otherwise than by add or subtract, or a shape no longer fits.
    """
    if not isinstance(output, Tensor):
        raise TypeError(f"replay takes a Tensor, but got {type(output).__name__}")
    plan = Plan(output, names)
    if not isinstance(data, Mapping | None):
        raise TypeError(f"data maps leaves to new arrays, but is a {type(data).__name__}")
    leaves: dict[Value, Any] = {}
    for key, array in (data or {}).items():
        leaf = plan.leaf(key)
        if leaf in leaves:
            raise ValueError(f"{plan.names.title(leaf)} is given new data twice")
        leaves[leaf] = array
    cuts: dict[Value, set[int]] = {}
    for branch in listed(stop_gradient):
        for value, slot in plan.uses(branch):
            cuts.setdefault(value, set()).add(slot)
    given = ablate if isinstance(ablate, Mapping) else dict.fromkeys(listed(ablate))
    replaced: dict[Use, Value] = {}
    for branch, instead in given.items():
        for use in plan.uses(branch):
            if use in replaced and given is ablate:
                raise ValueError(f"ablate gives two things for {plan.names.title(use[0])}'s input")
            replaced[use] = plan.replacement(use, branch, instead)
    result, made = run(output, leaves, cuts, replaced)
    if otherwise := ask_again(output, made):
        warnings.warn(otherwise, ReplayWarning, stacklevel=2)
    return result


def listed(branches: Any) -> list[Any]:
    """One branch or several as a list; a tuple of strings is a scope."""
    if isinstance(branches, (list, set, frozenset)):
        return list(branches)
    if isinstance(branches, tuple) and not all(isinstance(x, str) for x in branches):
        return list(branches)
    return [] if isinstance(branches, tuple) and not branches else [branches]


class Plan:
    """What the words of a change mean in the computation of an output."""

    def __init__(self, output: Tensor, names: Any) -> None:
        self.output, self.given, self.values = output, names, ancestors([output])

    @cached_property
    def names(self) -> Names:
        """What the values are called."""
        return names_of(self.output, self.given)

    def leaf(self, key: Any) -> Value:
        """The leaf that a Tensor or a name means. Raises: ValueError if it is none, or several."""
        leaves = [v for v in self.values if v.op is None]
        if isinstance(key, Value):
            found = [v for v in leaves if is_meant_by(v, key)]
        else:
            found = [v for v in leaves if v._name == key] or [
                v for v in leaves if self.names.title(v) == key
            ]
        if len(found) != 1:
            what = describe(key) if isinstance(key, Value) else repr(key)
            titles = ", ".join(map(self.names.title, found or leaves))
            raise ValueError(
                f"{what} means {len(found)} leaves: {titles}; give the tensor itself"
                if found
                else f"{what} is no leaf of the computation; its leaves are {titles}"
            )
        return found[0]

    def uses(self, branch: Any) -> list[Use]:
        """The uses of values that a branch means. Raises: TypeError or ValueError if it means none
        or several things."""
        match branch:
            case Edge():
                graph = computation_of(self.output, self.names)
                ends = branch.source, branch.target, branch.slot
                if all((e.source, e.target, e.slot) != ends for e in graph.edges):
                    raise ValueError(f"{branch} is no edge of the graph of {describe(self.output)}")
                return [(graph.nodes[branch.target].tensor, branch.slot)]
            case Node() | Value():
                meant = branch.tensor if isinstance(branch, Node) else branch
                called = {v for v in self.values if is_meant_by(v, meant)}
                return self.uses_of(called, describe(meant))
            case str() | tuple():
                return self.uses_named(branch)
        raise TypeError(
            "a branch is an Edge, a Node, a Tensor, a scope or a name, but got "
            f"{type(branch).__name__}"
        )

    def uses_named(self, name: Any) -> list[Use]:
        """The uses of the results of a scope, or of the values of a name."""
        parts = tuple(name.split("/")) if isinstance(name, str) else name
        inside = {v for v in self.values if v.op and v.scope[: len(parts)] == parts}
        called = {v for v in self.values if v._name == name or self.names.title(v) == name}
        if inside and called:
            raise ValueError(
                f"{name!r} is a scope and a value; give the tensor, or a tuple for a scope"
            )
        return self.uses_of(inside or called, repr(name), within=inside)

    def uses_of(
        self, sources: Set[Value], what: str, within: Set[Value] = frozenset()
    ) -> list[Use]:
        """The uses of some values, but for those by the values `within`."""
        found = [
            (v, slot)
            for v in self.values
            if v not in within
            for slot, x in enumerate(v.inputs)
            if isinstance(x, Value) and x in sources
        ]
        if not found:
            why = "is the output itself" if self.output in sources else "is no scope or value of it"
            raise ValueError(f"{what} cannot be cut from the computation: it {why}")
        return found

    def replacement(self, use: Use, branch: Any, instead: Any) -> Tensor:
        """What to put in the place of a use: `instead`, else zeros if it is added or subtracted."""
        value, slot = use
        x = value.inputs[slot]
        if instead is None:
            if not is_sum(value):
                raise ValueError(
                    f"{self.names.title(x)} joins by {self.names.where(value)}, so leaving it out "
                    "says nothing; say what to put in its place, as in ablate={branch: value}"
                )
            instead = np.zeros(x._array.shape, x._array.dtype)
        return instead if isinstance(instead, Tensor) else Tensor(instead, name=None)


def run(
    output: Tensor,
    data: Mapping[Value, Any],
    cuts: Mapping[Value, Iterable[int]],
    replaced: Mapping[Use, Value],
) -> tuple[Tensor, dict[Value, Any]]:
    """The output of the computation with these leaves, cut and replaced uses, and what was made in
    the place of each value."""
    made: dict[Value, Any] = {}
    for v in ancestors([output]):
        if v.op is None:
            if v in data:
                made[v] = stand_in(v, data[v])
            continue
        uses = enumerate(v.inputs)
        others = {slot: replaced.get((v, slot), made.get(x)) for slot, x in uses}
        changed = {slot: x for slot, x in others.items() if x is not None}
        if changed or v in cuts:
            op = Stopped(v.op, cuts[v]) if v in cuts else v.op
            made[v] = again(v, op, changed)
    result: Tensor = made.get(output, output)
    if result is not output and hasattr(output, "cotangent") and result.shape == output.shape:
        result.cotangent = output.cotangent
    return result, made


def ask_again(output: Value, made: Mapping[Value, Value]) -> str:
    """What to say where a truth that was asked on the way now comes out otherwise; else empty."""
    had = {x: a for v in made for x, a in zip(v.inputs, v.arrays, strict=True) if x in made}
    place = place_in_order(output)
    noted = {id(t): t for v in made for t in getattr(v, "truths", ())}
    truths = {i: t for i, t in noted.items() if t.place < place and t.is_about(had)}
    answers = [(truth, truth.again(made)) for truth in truths.values()]
    for v, new_value in made.items():
        if hasattr(v, "truths"):
            new_value.truths = [truth.of(made) for truth in v.truths]
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
    made.place = place_in_order(old)
    made.stands_for = (ref(old), *(x for x in getattr(old, "stands_for", ()) if x() is not None))
    return made


def again(v: Value, op: Op, changed: Mapping[int, Value]) -> Any:
    """A value made again, with other inputs in some slots; computed only if their arrays differ."""
    inputs, arrays, data = list(v.inputs), list(v.arrays), v._array
    for slot, x in changed.items():
        inputs[slot], arrays[slot] = x, x._array
    if any(x._array is not v.arrays[slot] for slot, x in changed.items()):
        try:
            data = lock(op, op.compute(*arrays, **v.params), tuple(arrays))
        except ERRORS as error:
            place = place_of(v.source)
            where = f" (line {place.source[1]})" if place else ""
            raise type(error)(
                f"{op.explain(error, inputs, v.params)}{where}, in the replay"
            ) from None
    wanted = any(isinstance(x, Value) and x._requires_grad for x in inputs)
    wanted = wanted and data.dtype.kind == "f"
    made = new(v.__class__).record(data, op, tuple(inputs), tuple(arrays), v.params, wanted)
    made._name, made.scope, made.source = v._name, v.scope, v.source
    return put_in_place(made, v)
