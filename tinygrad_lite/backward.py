"""Reverse-mode differentiation: one walk from the output back to the leaves.

A node is visited once, after everything that was computed from it, so that the gradient
arriving there is complete. It then sends each of its inputs a contribution: the vjp of
its op. The gradient of a value is the sum of the contributions sent to it.

Creation order is such an order, as an input is always older than what is made from it.
So the walk keeps a heap of the values reached so far and takes the youngest: no
recursion and no visited set, and a chain of a million ops or a diamond of 2**60 paths
takes linear time.

`messages` is that walk as a stream, for everyone who wants to watch. `arrived` is the
same walk with nobody watching and much of the overhead gone; a test holds them equal.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from heapq import heappop, heappush
from threading import Lock
from typing import Any

import numpy as np
from numpy import ndarray

from .operation import Op, blocked, new
from .value import Value, described, frozen

Message = tuple[Value, Any, int | None, Any]

STORING = Lock()  # two threads may add to the same .grad


def messages(
    output: Value,
    gradient: Any,
    *,
    record: int | None = None,
    within: Collection[Value] | None = None,
) -> Iterator[Message]:
    """The reverse pass from `output`, whose cotangent is `gradient`, message by message.

    A message is (node, the gradient that arrived there, input slot, the contribution sent
    through that slot). A node that sends nothing, as a leaf, gives one (node, gradient,
    None, None).

    With `record`, the index at which they were asked for, the gradients are Tensors, recorded
    like any computation, and can be differentiated again. With `within` the walk keeps to
    those values.

    Raises: NotImplementedError where an op has no rule; ValueError where a rule returns a
    gradient of the wrong shape; RuntimeError where a recorded gradient leads back to a
    parameter that was given new data before it was taken.
    """
    cotangents = {output: gradient}
    frontier = [(-output.index, output)]
    while frontier:
        node = heappop(frontier)[1]
        g = cotangents.pop(node)
        silent = True
        for slot, x, contribution in contributions(node, g, record=record, within=within):
            silent = False
            yield node, g, slot, contribution
            if x in cotangents:
                cotangents[x] = cotangents[x] + contribution
            else:
                cotangents[x] = contribution
                heappush(frontier, (-x.index, x))
        if silent:
            yield node, g, None, None


def contributions(
    node: Value, g: Any, *, record: int | None = None, within: Collection[Value] | None = None
) -> Iterator[tuple[int, Value, Any]]:
    """What `node` sends when `g` has arrived: (slot, input, contribution), in order."""
    op = node.op
    wanted = [
        (slot, x)
        for slot, x in enumerate(node.inputs)
        if isinstance(x, Value) and x._requires_grad and (within is None or x in within)
    ]
    if op is None or not wanted:
        return
    out, inputs = (node, as_seen(node, record)) if record is not None else (node._data, node.arrays)
    joint = None
    for slot, x in wanted:
        rule = op.rules[0 if op.sequence else slot]
        if rule is None:
            raise missing_rule(node, slot)
        if rule is blocked:
            zeros = np.zeros_like(x._data)[()]
            yield slot, x, zeros if record is None else type(node)(zeros)
        elif op.sequence:
            joint = rule(g, out, inputs, **node.params) if joint is None else joint
            yield slot, x, fitted(joint[slot], x, node)
        else:
            yield slot, x, fitted(rule(g, out, *inputs, **node.params), x, node)


def backward(output: Value, gradient: Any = None) -> None:
    """Add the gradient of `output` to `.grad` of every leaf that requires one.

    See `Tensor.backward`, which is this function.
    """
    start = seed(output, gradient._data if isinstance(gradient, Value) else gradient)
    gradients = arrived(output, start)
    if not gradients:  # it was made from a gradient that turned out to be constant
        raise no_gradient(output)
    # Nothing is stored before the whole walk has gone well.
    output.cotangent = start
    with STORING:
        store(gradients)


def arrived(
    output: Value,
    gradient: Any,
    within: Collection[Value] | None = None,
    ends: Collection[Value] = (),
) -> dict[Value, Any]:
    """The gradients that the reverse pass brings to the leaves, and to `ends`."""
    found: dict[Value, Any] = {}
    cotangents: dict[Value, Any] = {output: gradient}
    frontier = [(-output.index, output)]
    if output.op is None:
        found, frontier = cotangents, []
    while frontier:
        node: Any = heappop(frontier)[1]
        g, op, out = cotangents.pop(node), node.op, node._data
        if ends and node in ends:
            found[node] = g
        # `contributions`, inlined where it can be: it halves the time of a graph of scalars.
        arrays, count, inlined = node.arrays, op.count, op.plain
        if count == 2:
            first, second = arrays
        sent: Any = (
            zip(node.inputs, op.rules)  # noqa: B905 (strict=True takes 0.1 us more)
            if inlined
            else [(x, c) for _, x, c in contributions(node, g, within=within)]
        )
        for x, c in sent:
            if inlined:
                if not (isinstance(x, Value) and x._requires_grad):
                    continue
                if within is not None and x not in within:
                    continue
                if count == 2:  # a call without * takes 0.1 us less
                    c = c(g, out, first, second)
                elif count == 1:
                    c = c(g, out, arrays[0])
                else:
                    c = c(g, out, *arrays, **node.params)
                data = x._data
                if c.__class__ is not data.__class__ or (
                    c.__class__ is ndarray and (c.shape != data.shape or c.dtype != data.dtype)
                ):
                    c = fitted(c, x, node)
            if x.op is None:  # a leaf sends nothing on, so it need not wait its turn
                found[x] = found[x] + c if x in found else c
            elif x in cotangents:
                cotangents[x] = cotangents[x] + c
            else:
                cotangents[x] = c
                heappush(frontier, (-x.index, x))
        # What nobody else holds is free from here on, and `store` can see that.
        g = c = sent = None
    return found


def references() -> int:
    """What sys.getrefcount says of an object that one variable holds: 2, or where the
    interpreter need not count its own use, as from Python 3.14, 1."""
    _, g = {0: object()}.popitem()
    return sys.getrefcount(g)


ALONE = references()


def store(arrived: dict[Value, Any]) -> None:
    """Add what arrived to `.grad`, as arrays that nobody else holds."""
    totals = []
    while arrived:
        leaf, g = arrived.popitem()
        if leaf.grad is not None:
            g = np.asarray(leaf.grad + g)
        elif not isinstance(g, np.ndarray) or g.base is not None or sys.getrefcount(g) > ALONE:
            g = np.array(g)
        totals.append((leaf, g))
    for leaf, g in totals:
        leaf.grad = g


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
    shape, dtype = output._data.shape, output._data.dtype
    if gradient is None:
        if output._data.size != 1:
            raise ValueError(
                f"{described(output)} is not a scalar, so it has no one gradient; reduce it first, "
                f"as in output.sum().backward(), or pass gradient= a cotangent of shape {shape}"
            )
        return frozen(np.ones(shape, dtype)) if shape else dtype.type(1)
    try:
        g: Any = gradient if isinstance(gradient, Value) else frozen(gradient)
    except TypeError as error:
        raise TypeError(f"the gradient passed for {described(output)}: {error}") from None
    if g.shape != shape:
        raise ValueError(
            f"the gradient passed for {described(output)} must have its shape, but has {g.shape}"
        )
    return g if g.dtype == dtype else g.astype(dtype)


def fitted(c: Any, x: Value, node: Value) -> Any:
    """A rule's result as the gradient of `x`: summed over the axes in which x was
    broadcast, and in the dtype of x.

    Raises: ValueError if the shape of x cannot have been broadcast to that of the result.
    """
    shape, dtype = x._data.shape, x._data.dtype
    if c.__class__ is ndarray and len(shape) == 1 and c.shape[1:] == shape:  # a bias, and a batch
        c = unbroadcast.forward(c, shape)
    elif not isinstance(c, (Value, np.ndarray, np.generic)):
        try:
            c = frozen(c)
        except TypeError:
            raise TypeError(
                f"a rule of {node.op.name} returned {type(c).__name__} for {described(x)}; it must "  # type: ignore[union-attr]
                "return the gradient, an array"
            ) from None
    if c.shape != shape:
        extra = len(c.shape) - len(shape)
        if extra < 0 or any(n != m and n != 1 for n, m in zip(shape, c.shape[extra:], strict=True)):
            raise ValueError(
                f"a rule of {node.op.name} returned a gradient of shape {c.shape} for "  # type: ignore[union-attr]
                f"{described(x)}; it must return the shape of the input, or of what the input was "
                "broadcast to"
            )
        add: Any = unbroadcast if isinstance(c, Value) else unbroadcast.forward
        c = add(c, shape)
    return c if c.dtype == dtype else c.astype(dtype)


@Op
def unbroadcast(x: Any, shape: tuple[int, ...] = ()) -> Any:
    """x summed over the axes along which an array of `shape` was broadcast to that of x."""
    if len(shape) == 1 and x.shape[1:] == shape:
        return np.ones(len(x), x.dtype).dot(x)  # half the time of a sum for a small batch
    extra = x.ndim - len(shape)
    axes = (*range(extra), *(i for i, n in enumerate(shape, extra) if n == 1 != x.shape[i]))
    return np.add.reduce(x, axis=axes, keepdims=True).reshape(shape)


unbroadcast.vjp(lambda g, out, x, shape: np.broadcast_to(g, x.shape))


def reachable(output: Value) -> list[Value]:
    """Every value that `output` was computed from, and itself, oldest first."""
    seen = {output}
    stack = [output]
    while stack:
        for x in stack.pop().inputs:
            if isinstance(x, Value) and x not in seen:
                seen.add(x)
                stack.append(x)
    return sorted(seen, key=lambda value: value.index)


def between(output: Value, inputs: Collection[Value]) -> set[Value]:
    """The values on some path of gradients from `output` to one of `inputs`, with both."""
    oldest = min([x.index for x in inputs], default=output.index)
    whole, seen, queue = True, {output}, [output]
    for value in queue:
        for x in value.inputs:
            if isinstance(x, Value) and x._requires_grad and x not in seen:
                if x.index < oldest or (x.op is None and x not in inputs):
                    whole = False
                else:
                    seen.add(x)
                    queue.append(x)
    if whole and output.op is not None:  # every path ends at one of the inputs
        return seen
    found: set[Value] = set()
    for value in sorted(seen, key=lambda value: value.index):
        if value in inputs or any(isinstance(x, Value) and x in found for x in value.inputs):
            found.add(value)
    return found


def as_seen(node: Value, index: int) -> tuple[Any, ...]:
    """The inputs of a node as values that hold what its op saw, for a gradient that was asked
    for at an index.

    One that was given new data since is replaced by a value with the old. If it had been given
    it before the gradient was asked for, that value has no derivative: it would mix old and new.
    """
    return tuple(
        outdated(x, array, index)
        if isinstance(x, Value) and x._data is not array and x.op is None
        else x
        for x, array in zip(node.inputs, node.arrays, strict=True)
    )


def outdated(x: Value, array: Any, index: int) -> Any:
    """A stand-in for x with the data it had."""
    if not x._requires_grad:
        return new(type(x))._hold(array)
    old = itself(x) if x.changed > index else before(x, of=described(x))
    old._data, old.arrays = array, (array,)
    return old


@Op
def itself(x: Any) -> Any:
    """x, as a value of its own."""
    return x


itself.vjp(lambda g, out, x: g)


@Op
def before(x: Any, of: str = "") -> Any:
    """x as it was before it was given new data."""
    return x


@before.vjp
def _(g: Any, out: Any, x: Any, of: str) -> Any:
    raise RuntimeError(
        f"{of} was given new data after the output was computed, so a derivative of its gradient "
        "would mix old and new values; compute the output again first"
    )


def no_gradient(output: Value) -> TypeError:
    """What to say where an output depends on nothing that requires a gradient."""
    return TypeError(
        f"{described(output)} requires no gradient; make what it is computed from with "
        "requires_grad=True, and compute it outside no_grad"
    )


def missing_rule(node: Value, slot: int) -> NotImplementedError:
    """What to say, and what to write, when an op cannot be differentiated."""
    op = node.op
    assert op is not None
    name = op.inputs[0 if op.sequence else slot]
    arguments = ", ".join(("g", "out", *op.inputs, *op.static))
    return NotImplementedError(
        f"{op.name} has no rule for the gradient of its input {name}; write one:\n\n"
        f"    @{op.name}.vjp({name!r})\n    def _({arguments}):\n"
        f"        return g * ...  # times the derivative of {op.name} with respect to {name}"
    )
