"""A recorded computation is a program: it can be run again with something changed.

What was recorded is computed again op by op, as far as it depends on a change; the rest stays the
values that it was. So the result is what the user's code would have given, as long as that would
have made the same ops: numbers that were taken out of Tensors (`.item()`, `.data`) and random
draws stay as they were.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Set
from functools import cached_property
from typing import Any

import numpy as np

from ..ancestors import ancestors
from ..arrays import describe
from ..tensor import Tensor
from ..updated import is_meant_by
from ..value import Value
from .joins import Use, is_sum
from .names import Names, names_of, nearest
from .nodes import Edge, Node, computation_of
from .rerun import ask_again, rerun

Branch = Edge | Node | Tensor | str | tuple[str, ...]


class ReplayWarning(UserWarning):
    """The code that was recorded would have gone another way for what a replay was given."""


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
    made = rerun(plan.values, leaves, cuts, replaced)
    result: Tensor = made.get(output, output)
    if result is not output and hasattr(output, "cotangent") and result.shape == output.shape:
        result.cotangent = output.cotangent
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
        elif isinstance(key, str):
            found = [v for v in leaves if v._name == key]
            found = found or [v for v in leaves if self.names.title(v) == key]
            found = found or [v for v in leaves if v is self.names.meant(key)]
        else:
            found = []  # None is nobody's name
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
            scopes = dict.fromkeys("/".join(v.scope) for v in self.values if v.op and v.scope)
            if scopes and not sources:
                why += f"; its scopes include {nearest(what, [*scopes])}"
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
