"""What the analyses of the gradient's traffic share: where it runs, and what a share is.

A gradient g is the sum of parts c (what travelled one path, one class of paths, one edge).
The share of a part is <c, g> / <g, g>: signed, since a part may oppose the whole, and the
shares of all parts sum to 1. Contributions are local and linear: a share says how the
gradient at this point is made up, not what would happen if a path were removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np

from ..ancestors import ancestors, between
from ..arrays import describe
from ..backward import seed
from ..tensor import Tensor
from ..text import is_torch, type_name
from ..updated import meant_in
from ..value import Value
from .joins import Use, straight_uses
from .measure import norm
from .names import Names, names_of, nearest
from .nodes import Computation, Edge, computation_of


@dataclass(frozen=True)
class Trace:
    """The part of a computation that lies between an output and the tensors `wrt`."""

    output: Tensor
    wrt: tuple[Any, ...]
    start: Any  # the cotangent of the output
    names: Names
    within: set[Value] = field(repr=False)  # the values between

    def title(self, value: Value) -> str:
        """What text calls a value."""
        return self.names.title(value)

    @cached_property
    def order(self) -> list[Value]:
        """The values between, oldest first."""
        return sorted(self.within, key=lambda value: value.index)

    @cached_property
    def skips(self) -> set[Use]:
        """The uses of the whole computation that pass a join straight."""
        return straight_uses(ancestors([self.output]))

    @cached_property
    def graph(self) -> Computation:
        """The whole computation, with its gradients."""
        return computation_of(self.output, self.names, self.start)

    @cached_property
    def edges(self) -> dict[tuple[Value, int], Edge]:
        """The edges of the graph, by target and slot."""
        return {(self.graph.nodes[e.target].tensor, e.slot): e for e in self.graph.edges}


def trace(output: Tensor, wrt: Iterable[Any], gradient: Any = None, names: Any = None) -> Trace:
    """The values and edges on the paths from `output` back to one of `wrt`, Tensors or what they
    are called; the cotangent is that of `cotangent`, and `names` a `Names`, or what to look for
    names in.

    Raises: TypeError if one is no Tensor or requires no gradient; ValueError if the output
    does not depend on one of `wrt`, or needs a cotangent.
    """
    if not isinstance(output, Tensor):
        raise TypeError(f"the output must be a Tensor, but is {type_name(output)}")
    names = names_of(output, names)
    wrt = [tensor_meant(output, x, names) for x in wrt]
    for tensor in wrt:
        if not tensor.requires_grad:
            raise TypeError(
                f"{describe(tensor)} requires no gradient, so none travels to it; make it with "
                "requires_grad=True"
            )
    start = cotangent(output, gradient)
    wrt = meant_in(output, wrt)
    within = between(output, set(wrt))
    for tensor in wrt:
        if tensor not in within:
            raise ValueError(f"{describe(output)} does not depend on {describe(tensor)}")
    return Trace(output, tuple(wrt), start, names, within)


def is_one(wrt: Any) -> bool:
    """Whether one thing is asked for, and not several in a sequence; an array is one."""
    return isinstance(wrt, str) or hasattr(wrt, "ndim") or not isinstance(wrt, Iterable)


def check_wrt(wanted: Any, known: Mapping[str, Any]) -> None:
    """Raise TypeError for what is neither a Tensor nor a name; of PyTorch's, tell what `known`
    calls one of that shape."""
    if isinstance(wanted, (Tensor, str)):
        return
    what = type_name(wanted)
    if is_torch(wanted):
        shape = getattr(wanted, "shape", None)
        alike = (f", as in wrt={name!r}" for name, x in known.items() if x.shape == shape)
        what += f"; give its name, which is that of named_parameters(){next(alike, '')}"
    raise TypeError(f"wrt must be a Tensor, or the name of one, but is {what}")


def tensor_meant(output: Tensor, wanted: Any, names: Names) -> Tensor:
    """The Tensor that is wanted, or the one of that name to which the gradient of a computation
    travels. Raises: TypeError for anything else; ValueError if no gradient travels there."""
    if isinstance(wanted, Tensor):
        return wanted
    if not isinstance(wanted, str):
        check_wrt(wanted, parameters_of(output, names))
    (found,) = meant_in(output, [names.meant(wanted)])
    if isinstance(found, Tensor) and found.requires_grad and found in between(output, {found}):
        return found
    known = [*parameters_of(output, names, named=True)]
    some = ", ".join(known)
    if len(known) > 8:
        some = f"{len(known)} others, such as {nearest(wanted, known)}"
    raise ValueError(f"no gradient travels to a value named {wanted!r}; one does to {some}")


def cotangent(output: Tensor, gradient: Any = None) -> Any:
    """The cotangent that every question starts from: `gradient`, else that of the last
    ``output.backward(...)``, else 1 for a scalar.

    Raises: as `seed`: TypeError if the output requires no gradient, ValueError if it is no
    scalar and has none of them.
    """
    if gradient is None:
        gradient = getattr(output, "cotangent", None)
    return seed(output, gradient)


def parameters_of(output: Tensor, names: Names, named: bool = False) -> dict[str, Any]:
    """The parameters that the gradient of a computation travels to, by what they are called; with
    `named` also the values on the way that have a name."""
    ends = {x for x in names.values if x.op is None or (named and names.name(x))}
    reached = between(output, {x for x in ends if x.requires_grad})
    return {names.title(x): x for x in names.values if x in ends and x in reached}


def operands(value: Value, within: set[Value]) -> list[tuple[int, Value]]:
    """The (slot, input) pairs through which gradient leaves `value`, inside `within`."""
    return [
        (slot, x)
        for slot, x in enumerate(value.inputs)
        if isinstance(x, Value) and x in within and x.requires_grad
    ]


def scope_entered(source: Value, target: Value) -> str | None:
    """The scope that a path enters as it steps from `source` into `target`, if any."""
    outside = source.scope if source.op is not None else ()
    inside = target.scope
    return None if inside == outside[: len(inside)] else "/".join(inside)


def total_share(shares: Sequence[float | None]) -> float | None:
    """The share of several parts together; None where one has none."""
    return None if None in shares else sum(cast(Sequence[float], shares))


def coherence(parts: Iterable[Any], gradient: Any) -> float | None:
    """|gradient| / sum of |parts|: 1 where all point one way, near 0 where they cancel; None
    where every part is 0, or one is not finite."""
    total = sum(map(norm, parts))
    return norm(gradient) / total if total and np.isfinite(total) else None
