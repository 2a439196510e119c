"""Gradients whose record is made only if someone asks how they came about.

What `grad` gives can be differentiated again, drawn and stepped, but seldom is; and to record a
reverse pass takes two to five times as long as to compute it. So it is computed, and the
gradients remember the pass. Asking one of them for its `op` or `inputs`, as every walk over a
graph does, runs the pass again, recorded; then they are nodes like others.
"""

from __future__ import annotations

from _thread import RLock  # threading would take 0.5 ms to load
from collections.abc import Collection
from functools import partial
from itertools import count
from types import SimpleNamespace
from typing import Any
from weakref import ref

import numpy as np

from ..backward import messages
from ..context import CONTEXT, Context
from ..tensor import Tensor
from ..updated import alias, tensors_of
from ..value import Value, lock, new
from .walk import leaf_gradients

RECORDING = RLock()

# Creation order, with room between two indices for what is recorded later than it was computed.
next_index = count(1 << 32, 1 << 32).__next__
SLOT: Any = Value.__dict__["op"]  # where a Deferred gradient keeps what records its pass


def ask(name: str) -> Any:
    """An attribute that a Deferred gradient has once its pass is recorded."""

    def get(gradient: Tensor) -> Any:
        with RECORDING:
            if type(gradient) is Deferred:
                SLOT.__get__(gradient)()
        return getattr(gradient, name)

    return property(get)


class Deferred(Tensor):
    """A gradient that is not recorded yet. All take it for a Tensor, and it becomes one."""

    __slots__ = ()
    __class__ = property(lambda self: Tensor)
    op, inputs, arrays, params = ask("op"), ask("inputs"), ask("arrays"), ask("params")
    index = ask("index")


def record_pass(
    output: Value,
    start: Any,
    path: Collection[Value],
    context: Context,
    place: int,
    gradients: list[tuple[Value, ref[Deferred]]],
) -> None:
    """Make a reverse pass again, recorded, and make its gradients nodes of the record. The record
    goes between the index `place` and the next that anyone gets."""
    alive = [(x, gradient()) for x, gradient in gradients]
    wanted: dict[Value, Value] = {x: gradient for x, gradient in alive if gradient is not None}
    since, token = next_index(), CONTEXT.set(context)
    start = start if isinstance(start, Value) else new(Tensor).record(start)
    try:
        with np.errstate(all="ignore"):  # it has warned when it was computed
            operands = tensors_of(place)
            stream = messages(output, start, operands=operands, within=path)
            found = {node: g for node, g, _, _ in stream if node in wanted}
        nodes: dict[Value, Value] = {}  # of the record, and the gradients that they become
        for x in wanted:
            g: Any = found[x]
            if not isinstance(g, Value):  # zeros that a blocked input was sent
                g = Tensor(g)
            elif g.index < since:  # it is not of the record
                g = alias(g) if g._requires_grad else new(Tensor).record(g._array)
            nodes[g] = wanted[x]
    finally:
        CONTEXT.reset(token)
    made = sorted(find_younger(nodes, since), key=lambda node: node.index)
    for i, node in enumerate(made, place + 1):
        node.index = i
        for x in node.inputs:
            if isinstance(x, Value) and x in nodes:
                node.inputs = tuple(
                    nodes.get(x, x) if isinstance(x, Value) else x for x in node.inputs
                )
                break
    for node, becoming in nodes.items():
        for name in ("op", "inputs", "arrays", "params", "index", "source"):
            Value.__dict__[name].__set__(becoming, getattr(node, name))
        object.__dict__["__class__"].__set__(becoming, Tensor)  # now all of it is there


def defer(
    output: Value, start: Any, path: Collection[Value], inputs: Collection[Value]
) -> dict[Value, Tensor]:
    """The gradients that the reverse pass along `path` brings to `inputs`, not recorded yet."""
    now = CONTEXT.get()
    context = Context(now)
    if now.sources:  # what is recorded later has the line that asks for it now
        calls = now.sources.note()
        context.sources = SimpleNamespace(note=lambda: calls)
    gradients: list[tuple[Value, ref[Deferred]]] = []
    record = partial(record_pass, output, start, path, context, next_index(), gradients)
    array = start._array if isinstance(start, Value) else start
    found: dict[Value, Any] = leaf_gradients(output, array, path, inputs)
    made: dict[int, tuple[Deferred, Any]] = {}  # one array is one gradient, as one Tensor would be
    for x, g in found.items():
        if id(g) in made:
            gradient = made[id(g)][0]
        else:
            gradient = new(Deferred)
            made[id(g)] = gradient, g  # which keeps g, so that its id does not come again
            gradient._array = lock(alias, g, ())
            gradient._requires_grad, gradient._name, gradient.grad = True, None, None
            gradient.scope, gradient.source = now.scope, None
            SLOT.__set__(gradient, record)
        gradients.append((x, ref(gradient)))
        found[x] = gradient
    return found


def find_younger(values: Collection[Value], since: int) -> set[Value]:
    """The values that these were computed from, and they, made after the index `since`."""
    seen = {value for value in values if value.index > since}
    stack = list(seen)
    while stack:
        for x in stack.pop().inputs:
            if isinstance(x, Value) and x.index > since and x not in seen:
                seen.add(x)
                stack.append(x)
    return seen
