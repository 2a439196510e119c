"""Powers, absolute values, and what norm and std share with them: their derivatives at 0.

A length has no derivative where it is 0; the gradient there is taken as 0. A second derivative
is more than that: abs(x)**2 has 2 at 0, and so has abs(x * x), but abs(x) has none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ancestors import ancestors, between
from ..backward import messages
from ..operation import blocked
from ..value import Value
from .elementwise import Array, elementwise, log, logical_and, sign, values, where


@elementwise(symbol="^", formula=("g * x2 * x1 ** (x2 - 1)", "g * out * log(x1)"))
def power(x1: Array, x2: Array) -> Array:
    """x1 ** x2, elementwise.

    The gradient with respect to x2 is out * log(x1), and 0 at 0**x2 for x2 > 0.
    """
    return x1**x2


@power.vjp("x1")
def _(g: Array, out: Array, x1: Array, x2: Array) -> Array:
    # x1**0 is the constant 1: its derivative is 0 even at x1 = 0, where x1**-1 is infinite.
    if isinstance(x2, (int, float)):
        return g * x2 * x1 ** (x2 - 1 if x2 else 0)
    slope = x2 * where(logical_and(x1 == 0, x2 == 0), 1, x1) ** (x2 - 1.0)
    if is_recorded_at_zero(x1):  # it jumps where x2 is 0 or 1
        jumps = np.where((values(x2) == 0) | (values(x2) == 1), np.nan, 0)
        slope = slope + times_direction(0.0, x2, values(x1), jumps)
    return g * slope


@power.vjp("x2")
def _(g: Array, out: Array, x1: Array, x2: Array) -> Array:
    slope = out * log(where(logical_and(x1 == 0, x2 >= 0), 1.0, x1))
    if is_recorded_at_zero(x1):  # the next derivative has x1**(x2 - 1) * log(x1)
        beyond = times_direction(0.0, x1, values(x1), np.nan)
        slope = slope + times_direction(0.0, x1, values(x1), where(values(x2) > 1, beyond, np.nan))
    return g * slope


@elementwise(symbol="|x|")
def abs(x: Array) -> Array:
    """The absolute value, elementwise; its derivative at 0 is taken as 0."""
    return np.abs(x)


@abs.vjp
def _(g: Array, out: Array, x: Array) -> Array:
    if is_recorded_at_zero(out):
        if is_square(x):
            return g * 1.0
        return times_direction(g, x, out, limit_of_ratio(g, x, out))
    return g * sign(x)


def is_recorded_at_zero(length: Array) -> bool:
    """Whether a rule is recorded, to be differentiated again, where a length is 0."""
    return isinstance(length, Value) and not values(length).all()


def is_square(x: Value) -> bool:
    """Whether x was made as a square or an even power: it is its own absolute value."""
    match x.op and x.op.name:
        case "square":
            return True
        case "multiply":
            return x.inputs[0] is x.inputs[1]
        case "power":
            return isinstance(x.inputs[1], (int, float)) and x.inputs[1] % 2 == 0
    return False


@elementwise(
    symbol="→",
    inputs=4,
    formula=("g * x / length", "g * size / length", "-g * size * x / length ** 2", "0"),
)
def times_direction(size: Array, x: Array, length: Array, limit: Array) -> Array:
    """size * x / length, and 0 where the length of x is 0; `limit` is that of size / length there,
    NaN if there is none, infinite if the second derivative of x counts too."""
    return size * (x / np.where(length == 0, 1, length))


@times_direction.vjp
def _(g: Array, out: Array, size: Array, x: Array, length: Array, limit: Array) -> Array:
    return times_direction(g, x, length, np.full(limit.shape, np.inf))


@times_direction.vjp("x")
def _(g: Array, out: Array, size: Array, x: Array, length: Array, limit: Array) -> Array:
    at_zero = values(length) == 0
    return g * where(at_zero, ratio_there(g, limit), size / where(at_zero, 1, length))


@times_direction.vjp("length")
def _(g: Array, out: Array, size: Array, x: Array, length: Array, limit: Array) -> Array:
    at_zero = values(length) == 0
    return where(at_zero, 0 * ratio_there(g, limit), -g * out / where(at_zero, 1, length))


times_direction.vjp("limit")(blocked)


def ratio_there(g: Array, limit: Array) -> Array:
    """What size / length counts as where the length is 0. Where no cotangent g arrives NaN would
    do harm, as NaN times 0 is NaN, but not where the limit is infinite: nothing is known there."""
    unknown = np.isinf(values(limit))
    arrives = isinstance(g, Value) and g.requires_grad  # it may be asked for its own derivative
    harmful = np.isnan(values(limit)) & (values(g) == 0) & (not arrives)
    return where(unknown | harmful, np.where(unknown, np.nan, 0), limit)


def limit_of_ratio(g: Array, x: Value, length: Value, axis: Any = ()) -> Array:
    """The limit of g / length where the length of x is 0, and so is g: by l'Hôpital's rule
    the derivative of g with respect to the length, if g depends on x through its lengths alone.
    Elsewhere NaN, or infinite where x has a minimum or a saddle."""
    is_zero = values(length) == 0
    zero = (values(g) == 0) & is_zero
    none = np.full(zero.shape, np.nan)
    if not zero.all() and not zero[is_zero].all():
        turns = turns_at_zero(x).any(axis, keepdims=True).reshape(zero.shape)
        none = np.where(turns & ~zero, np.inf, np.nan)
    if not isinstance(g, Value) or not g.requires_grad or not zero.any():
        return np.where(zero, 0, none)
    lengths = {v for v in ancestors([g]) if is_same(v, length)}
    beside = ancestors([g], lambda v: v.requires_grad and v not in lengths)
    if not set(ancestors([x])).isdisjoint(beside):
        return none
    slopes = slopes_of(g, lengths)
    # There is none where g depends on another element's length, or has a kink itself.
    eps = np.finfo(length._array.dtype).eps ** 0.5
    step = eps * np.random.default_rng(0).uniform(1, 2, zero.shape)
    far, near = (
        np.abs(recompute(g, dict.fromkeys(lengths, length._array + h)) / h - values(slopes))
        for h in (step, step / 8)
    )
    known = zero & (near <= far / 2 + 1e-6 * np.abs(values(slopes)))
    return where(known, slopes, none)


def slopes_of(g: Value, lengths: set[Value]) -> Array:
    """The derivative of the sum of g with respect to some lengths together, recorded."""
    start = type(g)(np.ones(g._array.shape, g._array.dtype))
    stream = messages(g, start, operands=lambda v: (v, v.inputs), within=between(g, lengths))
    found: dict[Value, Any] = {v: part for v, part, _, _ in stream if v in lengths}
    total: Array = np.zeros(g._array.shape, g._array.dtype)
    for part in found.values():
        total = total + part
    return total


def is_same(one: Value, other: Value) -> bool:
    """Whether two values were made by the same op of the same inputs."""
    return one is other or (
        one.op is other.op is not None
        and all(x is y for x, y in zip(one.inputs, other.inputs, strict=True))
        and one.params == other.params
    )


@np.errstate(all="ignore")
def turns_at_zero(x: Array) -> np.ndarray:
    """Where x goes as the square of a small step of what it was computed from: its own second
    derivative counts there, as its first is 0."""
    if not isinstance(x, Value) or is_affine(x):
        return np.zeros(np.shape(x), bool)
    rng, shifts = np.random.default_rng(0), dict[Value, Any]()
    for v in ancestors([x], lambda v: v.requires_grad):
        if v.op is None and v.requires_grad:
            size = (np.abs(v._array).mean() or 1) * np.finfo(v._array.dtype).eps ** 0.25
            shifts[v] = size * rng.normal(size=v._array.shape).astype(v._array.dtype)
    ahead, behind = (
        recompute(x, {v: v._array + sign * shift for v, shift in shifts.items()}) - x._array
        for sign in (1, -1)
    )
    return np.asarray(np.abs(ahead + behind) > np.abs(ahead - behind))


def is_affine(x: Value) -> bool:
    """Whether every op on the way to x is linear in what is not constant."""
    return all(
        v.op is None
        or v.op.name in ("add", "subtract")
        or (v.op.linear and sum(isinstance(i, Value) and i.requires_grad for i in v.inputs) == 1)
        for v in ancestors([x], lambda v: v.requires_grad)
    )


def recompute(value: Value, arrays: dict[Value, Any]) -> Any:
    """A value computed again, with other arrays for some that it was computed from."""
    made: dict[Any, Any] = dict(arrays)
    for v in ancestors([value], lambda v: v.requires_grad and v not in arrays):
        if v.op is not None and v not in made:
            inputs = [made.get(x, a) for x, a in zip(v.inputs, v.arrays, strict=True)]
            made[v] = v.op.compute(*inputs, **v.params)
    return made.get(value, value._array)
