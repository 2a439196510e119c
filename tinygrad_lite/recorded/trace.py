"""What the analyses of the gradient's traffic share: where it runs, and what a share is.

A gradient g is the sum of parts c (what travelled one path, one class of paths, one edge).
The share of a part is <c, g> / <g, g>: signed, since a part may oppose the whole, and the
shares of all parts sum to 1. Contributions are local and linear: a share says how the
gradient at this point is made up, not what would happen if a path were removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..backward import between, seed
from ..drawing.text import oneline
from ..insight.graphs import Edge, Graph, graph
from ..tensor import Tensor
from ..value import Value, described
from ..views.boxes import norm

LAW = 32.0  # |sum of parts - gradient| <= LAW * eps * sum of |parts|


@dataclass(frozen=True)
class Trace:
    """The part of a computation that lies between an output and the tensors `wrt`."""

    output: Tensor
    start: Any  # the cotangent of the output
    within: set[Value] = field(repr=False)  # the values between

    @cached_property
    def order(self) -> list[Value]:
        """The values between, oldest first."""
        return sorted(self.within, key=lambda value: value.index)

    @cached_property
    def graph(self) -> Graph:
        """The whole computation, with its gradients."""
        return graph(self.output, self.start)

    @cached_property
    def edges(self) -> dict[tuple[Value, int], Edge]:
        """The edges of the graph, by target and slot."""
        return {(self.graph.nodes[e.target].tensor, e.slot): e for e in self.graph.edges}


def trace(output: Tensor, wrt: Sequence[Tensor], gradient: Any = None) -> Trace:
    """The values and edges on the paths from `output` back to one of `wrt`.

    Without `gradient`, the cotangent of the last ``output.backward(...)`` holds, or 1 for
    a scalar.

    Raises: TypeError if one is no Tensor or requires no gradient; ValueError if the output
    does not depend on one of `wrt`, or needs a cotangent.
    """
    for tensor in (output, *wrt):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"output and wrt must be Tensors, but one is {type(tensor).__name__}")
    for tensor in wrt:
        if not tensor.requires_grad:
            raise TypeError(
                f"{described(tensor)} requires no gradient, so none travels to it; make it with "
                "requires_grad=True"
            )
    start = cotangent(output, gradient)
    within = between(output, set(wrt)) & reached(output)
    for tensor in wrt:
        if tensor not in within:
            raise ValueError(f"{described(output)} does not depend on {described(tensor)}")
    return Trace(output, start, within)


def reached(output: Value) -> set[Value]:
    """The values that the gradient of `output` travels to: not those behind an integer."""
    found = {output}
    stack = [output]
    while stack:
        for x in stack.pop().inputs:
            if isinstance(x, Value) and x.requires_grad and x not in found:
                found.add(x)
                stack.append(x)
    return found


def cotangent(output: Tensor, gradient: Any = None) -> Any:
    """The cotangent asked for: `gradient`, else that of the last backward, else 1."""
    if gradient is None:
        gradient = getattr(output, "cotangent", None)
    return seed(output, gradient)


def operands(value: Value, within: set[Value]) -> list[tuple[int, Value]]:
    """The (slot, input) pairs through which gradient leaves `value`, inside `within`."""
    return [
        (slot, x)
        for slot, x in enumerate(value.inputs)
        if isinstance(x, Value) and x in within and x.requires_grad
    ]


def entered(source: Value, target: Value) -> str | None:
    """The scope that a path enters as it steps from `source` into `target`, if any."""
    outside = source.scope if source.op is not None else ()
    inside = target.scope
    return None if inside == outside[: len(inside)] else "/".join(inside)


def vanishes(gradient: Any, parts: Iterable[Any]) -> bool:
    """Whether a gradient is 0 up to the rounding of its parts, so that it has no shares."""
    eps = np.finfo(np.asarray(gradient).dtype).eps
    return norm(gradient) <= LAW * float(eps) * sum(map(norm, parts))


def share(part: Any, gradient: Any) -> float:
    """<part, gradient> / <gradient, gradient>, scaled so that neither product underflows."""
    g = np.ravel(np.asarray(gradient, dtype=float))
    scale = np.abs(g).max()
    g = g / scale
    return float(np.ravel(np.asarray(part, dtype=float)) / scale @ g / (g @ g))


def coherence(parts: list[Any], gradient: Any) -> float | None:
    """|gradient| / sum of |parts|: 1 where all point one way, near 0 where they cancel."""
    total = sum(map(norm, parts))
    return norm(gradient) / total if total and np.isfinite(total) else None


def title(value: Value) -> str:
    """What a table calls a value: its name, else its op's."""
    if value.name:
        return oneline(value.name)
    return value.op.name if value.op is not None else "the input"
