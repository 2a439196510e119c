"""Reverse-mode differentiation: one walk from the output back to the leaves.

A node is visited once, after everything that was computed from it, so that the gradient
arriving there is complete. It then sends each of its inputs a contribution: the vjp of
its op. The gradient of a value is the sum of the contributions sent to it.

Creation order is such an order, as an input is always older than what is made from it.
So the walk keeps a heap of the values reached so far and takes the youngest: no
recursion and no visited set, and a chain of a million ops or a diamond of 2**60 paths
takes linear time.
"""

from __future__ import annotations

from _thread import allocate_lock  # threading would take 0.5 ms to load
from collections.abc import Callable, Collection, Iterator
from heapq import heappop, heappush
from typing import Any

import numpy as np

from .arrays import REAL, describe, freeze
from .operation import Op, blocked
from .value import Value

Within = Collection[Value] | None
Operands = Callable[[Value], tuple[Any, tuple[Any, ...]]]

STORING = allocate_lock()  # two threads may add to the same .grad


def backward(output: Value, gradient: Any = None) -> None:
    """Add the gradient of `output` to `.grad` of every leaf that requires one.

    See `Tensor.backward`, which is this function.
    """
    start = seed(output, gradient._array if isinstance(gradient, Value) else gradient)
    found = leaf_gradients(output, start)
    if not found:  # it was made from a gradient that turned out to be constant
        raise no_gradient(output)
    for leaf in found:
        if leaf.grad is not None and np.shape(leaf.grad) != leaf._array.shape:
            given = f"was given a .grad of shape {np.shape(leaf.grad)}"
            raise ValueError(f"{describe(leaf)} {given}; set it to None, or to one of its shape")
    # Nothing is stored before the whole walk has gone well.
    output.cotangent = start
    with STORING:
        store(found)


def leaf_gradients(
    output: Value, gradient: Any, within: Within = None, ends: Collection[Value] = ()
) -> dict[Value, Any]:
    """The gradients that the reverse pass brings to the leaves, and to `ends`."""
    stream = messages(output, gradient, within=within)
    return {node: g for node, g, _, _ in stream if node.op is None or node in ends}


def store(found: dict[Value, Any]) -> None:
    """Add to each leaf's `.grad` what was found, as an array that nobody else holds."""
    for leaf, g in found.items():
        leaf.grad = np.array(g if leaf.grad is None else leaf.grad + g)


def arrays_of(node: Value) -> tuple[Any, tuple[Any, ...]]:
    """A node's result and inputs, as a rule is given them to compute a gradient."""
    return node.operands


def messages(
    output: Value, gradient: Any, *, operands: Operands = arrays_of, within: Within = None
) -> Iterator[tuple[Value, Any, int | None, Any]]:
    """The reverse pass from `output`, whose cotangent is `gradient`, message by message.

    A message is (node, the gradient that arrived there, input slot, the contribution sent
    through that slot). A node that sends nothing, as a leaf, gives one (node, gradient,
    None, None).

    `operands` gives what a node's rules are called with: arrays, or Tensors, and then the
    gradients are recorded like any computation. With `within` the walk keeps to those values.

    Raises: NotImplementedError where an op has no rule; TypeError or ValueError where a rule
    returns no gradient of its input.
    """
    cotangents = {output: gradient}
    frontier = [(-output.index, output)]
    while frontier:
        node = heappop(frontier)[1]
        g = cotangents.pop(node)
        slot = None
        for slot, x, part in contributions(node, g, operands=operands, within=within):
            yield node, g, slot, part
            if x not in cotangents:
                heappush(frontier, (-x.index, x))
            cotangents[x] = cotangents[x] + part if x in cotangents else part
        if slot is None:
            yield node, g, None, None


def contributions(
    node: Value, g: Any, *, operands: Operands = arrays_of, within: Within = None
) -> Iterator[tuple[int, Value, Any]]:
    """What `node` sends when `g` has arrived: (slot, input, contribution), in order."""
    op = node.op
    if op is None:
        return
    out, inputs = operands(node)
    if isinstance(g, np.ndarray):
        g.flags.writeable = False  # other inputs may be sent it too
    joint = None  # what the one rule of a sequence op returns for all inputs
    for slot, x in enumerate(node.inputs):
        if not (isinstance(x, Value) and x._requires_grad and (within is None or x in within)):
            continue
        if (rule := op.rule(slot)) is None:
            raise missing_rule(op, slot)
        if rule is blocked:
            part: Any = np.zeros_like(x._array)[()]
        elif op.sequence:
            joint = rule(g, out, inputs, **node.params) if joint is None else joint
            if not isinstance(joint, (list, tuple)) or len(joint) != len(inputs):
                raise TypeError(f"the rule of {op.name} must return a list, a gradient an input")
            part = joint[slot]
        else:
            part = rule(g, out, *inputs, **node.params)
        yield slot, x, to_input(part, x, node)


def to_input(part: Any, x: Value, node: Any) -> Any:
    """What a rule of `node` returned, as the gradient of its input `x`: summed over the axes
    along which x was broadcast, and in the dtype of x.

    Raises: TypeError if it is no array of real numbers; ValueError if the shape of x cannot
    have been broadcast to its shape.
    """
    shape, dtype = x.form
    part = np.asarray(part, dtype)[()] if isinstance(part, (int, float)) else part
    foreign = isinstance(part, (np.ma.MaskedArray, np.matrix))
    holds_numbers = isinstance(part, (Value, np.generic, np.ndarray)) and not foreign
    if not holds_numbers or part.dtype.kind not in REAL:
        found = f"{part.dtype} numbers" if hasattr(part, "dtype") else f"a {type(part).__name__}"
        raise TypeError(
            f"a rule of {node.op.name} returned {found} for {describe(x)}; it must return one "
            "array of real numbers, the gradient of one input (one rule for each input)"
        )
    if part.shape != shape:
        extra = len(part.shape) - len(shape)
        pairs = zip(shape, part.shape[max(extra, 0) :], strict=False)
        beyond = node.op.foreign and len(part.shape) > max(len(shape), node._array.ndim)
        if beyond or extra < 0 or any(n not in (1, m) for n, m in pairs):
            raise ValueError(
                f"a rule of {node.op.name} returned a gradient of shape {part.shape} for "
                f"{describe(x)}; it must return the shape of the input, or of what the input was "
                "broadcast to"
            )
        part = unbroadcast(part, shape)
    if node.op.foreign and isinstance(part, np.ndarray):
        part = np.array(part)  # it may be memory that the rule will write to again
    return part if part.dtype == dtype else part.astype(dtype)


@Op
def unbroadcast(x: Any, shape: tuple[int, ...] = ()) -> Any:
    """x summed over the axes along which an array of `shape` was broadcast to that of x."""
    extra = x.ndim - len(shape)
    axes = (*range(extra), *(i for i, n in enumerate(shape, extra) if n == 1 != x.shape[i]))
    return np.add.reduce(x, axis=axes, keepdims=True).reshape(shape)


unbroadcast.vjp(lambda g, out, x, shape: np.broadcast_to(g, x.shape))


def seed(output: Value, gradient: Any = None, *, constant: bool = False) -> Any:
    """The cotangent to start from: `gradient` checked, or 1 for a scalar output.

    A Tensor stays one, so that the result can be differentiated with respect to it.

    Raises: TypeError if `output` requires no gradient (unless `constant`), or `gradient` is
    not real numbers; ValueError if the output is not scalar and no gradient is given, or
    its shape is wrong.
    """
    if not isinstance(output, Value):
        raise TypeError(f"the output must be a Tensor, but is {type(output).__name__}")
    if not output._requires_grad and not constant:
        raise no_gradient(output)
    shape, dtype = output._array.shape, output._array.dtype
    if gradient is None:
        if output._array.size != 1:
            raise ValueError(
                f"{describe(output)} is not a scalar, so it has no one gradient; reduce it first, "
                f"as in output.sum().backward(), or pass gradient= a cotangent of shape {shape}"
            )
        return freeze(np.ones(shape, dtype)) if shape else dtype.type(1)
    try:
        g: Any = gradient if isinstance(gradient, Value) else freeze(gradient)
    except TypeError as error:
        raise TypeError(f"the gradient passed for {describe(output)}: {error}") from None
    if g.shape != shape:
        raise ValueError(
            f"the gradient passed for {describe(output)} must have its shape, but has {g.shape}"
        )
    return g if g.dtype == dtype else g.astype(dtype)


def no_gradient(output: Value) -> TypeError:
    """What to say where an output depends on nothing that requires a gradient."""
    return TypeError(
        f"{describe(output)} requires no gradient; make what it is computed from with "
        "requires_grad=True, and compute it outside no_grad"
    )


def missing_rule(op: Op, slot: int) -> NotImplementedError:
    """What to say, and what to write, when an op cannot be differentiated."""
    name = op.inputs[0 if op.sequence else slot]
    arguments = ", ".join(("g", "out", *op.inputs, *op.static))
    return NotImplementedError(
        f"{op.name} has no rule for the gradient of its input {name}; write one:\n\n"
        f"    @{op.name}.vjp({name!r})\n    def _({arguments}):\n"
        f"        return g * ...  # times the derivative of {op.name} with respect to {name}"
    )
