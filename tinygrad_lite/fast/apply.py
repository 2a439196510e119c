"""Applying an op to Tensors with nothing in the way: what `Op.__call__`, `Value.apply` and
`lock` do, in one function, and once more for the operators between two operands."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import ndarray

from ..arrays import freeze
from ..context import CONTEXT
from ..operation import ARRAYS, ERRORS, Op
from ..value import KEPT, Value, lock, new
from .deferred import next_index

NUMBERS = {float, int, bool}
FIXED = {*NUMBERS, str, type(None)}  # kinds of static parameters that nobody can change
SCALARS = {np.float64, np.float32, np.float16, np.longdouble}
FLOATS = {np.dtype(scalar) for scalar in SCALARS}

bind_plainly = Op.bind


def count_references() -> tuple[int, int]:
    """What sys.getrefcount says of an array, and of the base of a view, that are held by nothing
    but the variables here."""
    owner, view = np.empty(2), np.empty(2)[:1]
    base = view.base
    return sys.getrefcount(owner), sys.getrefcount(base)


def references(data: Any) -> int:
    """What sys.getrefcount says of what a function was given, and nothing else holds."""
    return sys.getrefcount(data)


ALONE, BASE_ALONE = count_references()
GIVEN_ALONE = references(np.empty(2))


def hold(op: Op, data: Any, arrays: Any) -> Any:
    """`lock` without a copy of memory that nobody else holds: a replay takes 0.7 times the time."""
    if data.__class__ in SCALARS:
        return data
    if (
        data.__class__ is ndarray
        and data.base is None
        and data.dtype in FLOATS
        and data.ndim
        and sys.getrefcount(data) <= GIVEN_ALONE
    ):
        data.setflags(False)  # type: ignore[call-arg]
        return data
    base = getattr(data, "base", None)
    if base.__class__ is ndarray and base.base is None and sys.getrefcount(base) <= BASE_ALONE:
        base.setflags(write=False)
        arrays = (base,)
    return lock(op, data, arrays)


def call(self: Any, *args: Any, **static: Any) -> Any:
    """`Op.__call__`, for a Tensor with `Value.apply`: 1.0 us instead of 7.5 for a number."""
    x: Any
    try:
        arity = self.arity
    except AttributeError:
        arity = prepare(self)
    if static or len(args) != arity:
        if self.direct and not any_value(args) and not any_value(static.values()):
            return call_on_arrays(self, args, static)
        args, static = self.bind(args, static)
    if len(args) == 1 and isinstance(x := args[0], Value):
        arrays: Any
        kind, arrays, wanted = x.__class__, (x._array,), x._requires_grad
    elif any_value(args):
        kind = next(x.__class__ for x in args if isinstance(x, Value))
        args = tuple(x if isinstance(x, KEPT) else kind(x) for x in args)
        arrays = tuple(x._array if isinstance(x, Value) else x for x in args)
        wanted = any(isinstance(x, Value) and x._requires_grad for x in args)
    else:
        static = static or ({} if self.direct else self.usual)
        return call_on_arrays(self, (args,) if self.sequence else args, static)
    static = static or self.usual
    try:
        plain = not static and not self.sequence
        data = self.forward(*arrays) if plain else self.compute(*arrays, **static)
    except ERRORS as error:
        raise self.explain(error, args, static) from None
    if data.__class__ not in SCALARS:
        if (
            data.__class__ is ndarray
            and data.base is None
            and data.dtype in FLOATS
            and data.ndim
            and sys.getrefcount(data) <= ALONE
        ):
            data.setflags(False)  # type: ignore[call-arg]  # as a keyword it takes 0.1 us more
        else:
            data = hold(self, data, arrays)
            wanted = wanted and data.dtype.kind == "f"
    out, now = new(kind), CONTEXT.get()
    if not now.recording:
        return out.record(data)
    # Assigning three names at a time builds no tuple; four would.
    out._array, out._requires_grad, out.params = data, wanted, static
    out.op, out.inputs, out.arrays = self, args, arrays
    out.index, out.scope = next_index(), now.scope
    out.source = now.sources.note() if now.sources else None
    out._name = out.grad = None
    return out


def infix(op: Op, function: Any = None) -> Callable[[Any, Any], Any]:
    """``op(x1, x2)`` as the method of an operator: a chain of scalars takes 0.5 times the time."""
    compute, static = function or op.forward, op.defaults

    def apply(x1: Any, x2: Any) -> Any:
        a1: Any
        a2: Any
        if isinstance(x2, Value):
            a1, a2, wanted = x1._array, x2._array, x1._requires_grad or x2._requires_grad
        elif x2.__class__ in NUMBERS:
            a1, a2, wanted = x1._array, x2, x1._requires_grad
        else:
            return op(x1, x2)
        try:
            data = compute(a1, a2)
        except ERRORS as error:
            raise op.explain(error, (x1, x2)) from None
        if data.__class__ not in SCALARS:
            if (
                data.__class__ is ndarray
                and data.base is None
                and data.dtype in FLOATS
                and data.ndim
                and sys.getrefcount(data) <= ALONE
            ):
                data.setflags(False)  # type: ignore[call-arg]
            else:
                data = hold(op, data, (a1, a2))
                wanted = wanted and data.dtype.kind == "f"
        out, now = new(x1.__class__), CONTEXT.get()
        if not now.recording:
            return out.record(data)
        out._array, out._requires_grad, out.params = data, wanted, static
        out.op, out.inputs, out.arrays = op, (x1, x2), (a1, a2)
        out.index, out.scope = next_index(), now.scope
        out.source = now.sources.note() if now.sources else None
        out._name = out.grad = None
        return out

    return apply


def call_on_arrays(op: Op, args: tuple[Any, ...], static: dict[str, Any]) -> Any:
    """The op where no argument is a Tensor, bound by Python itself; lists become arrays."""
    if not op.sequence:
        n = len(op.inputs)
        for x in args[:n]:
            if not isinstance(x, ARRAYS):
                args = (*(x if isinstance(x, ARRAYS) else freeze(x) for x in args[:n]), *args[n:])
                break
        if static:
            named = static.keys() & op.inputs
            static = {name: freeze(x) if name in named else x for name, x in static.items()}
    try:
        return op.check(op.forward(*args, **static))
    except ERRORS as error:
        inputs = args[0] if op.sequence and args else args[: len(op.inputs)]
        rest = zip(op.static, args[len(op.inputs) :], strict=False)
        raise op.explain(error, inputs, {**dict(rest), **static}) from None


def any_value(args: Any) -> bool:
    """Whether a Tensor is among the arguments."""
    for x in args:  # noqa: SIM110 (any() takes twice the time)
        if isinstance(x, Value):
            return True
    return False


def bind(
    self: Any, args: tuple[Any, ...], static: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """`Op.bind` without inspect.signature: 1.6 us instead of 6.4."""
    n = len(self.inputs)
    if not static and len(args) == n + len(self.static) and not self.sequence:
        rest = zip(self.static, args[n:])  # noqa: B905 (strict=True takes 0.1 us more)
        return args[:n], {
            name: x if x.__class__ in FIXED else self.settle(name, x) for name, x in rest
        }
    positional = dict(zip((*self.inputs, *self.static), args, strict=False))
    bound = {**self.defaults, **positional, **static}
    if (
        len(bound) != n + len(self.static)
        or len(positional) != len(args)
        or not positional.keys().isdisjoint(static)
    ):
        return bind_plainly(self, args, static)  # which raises
    inputs = tuple([bound.pop(name) for name in self.inputs])
    for name, x in bound.items():
        if x.__class__ not in FIXED:
            bound[name] = self.settle(name, x)
    return self.listed(inputs[0]) if self.sequence else inputs, bound


def prepare(op: Any) -> int:
    """Note on an op, once, how it can be called without binding; return its `arity`."""
    # How many positional arguments a call has that needs no binding; -1 if none does.
    complete = not op.sequence and all(name in op.defaults for name in op.static)
    op.arity = len(op.inputs) if complete else -1
    # The static parameters of such a call.
    op.usual = {name: op.defaults[name] for name in op.static if name in op.defaults}
    # Whether Python itself may bind a call on arrays: no default can have been changed.
    op.direct = not op.sequence and all(x.__class__ in FIXED for x in op.defaults.values())
    return int(op.arity)
