"""Powers, absolute values, and what norm and std share with them: their derivatives at 0.

A length has no derivative where it is 0; the gradient there is taken as 0. A second derivative
is more than that: abs(x)**2 has 2 at 0, and so has abs(x * x), but abs(x) has none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ancestors import ancestors, between
from ..backward import leaf_gradients
from ..value import Value
from .elementwise import Array, elementwise, log, logical_and, sign, values, where


@elementwise(symbol="^")
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
        slope = slope + times_direction(0.0, x2, values(x1), limit=jumps)
    return g * slope


@power.vjp("x2")
def _(g: Array, out: Array, x1: Array, x2: Array) -> Array:
    slope = out * log(where(logical_and(x1 == 0, x2 >= 0), 1.0, x1))
    if is_recorded_at_zero(x1):  # the next derivative has x1**(x2 - 1) * log(x1)
        steep = np.where(values(x2) > 1, 0, np.nan)
        slope = slope + times_direction(0.0, x1, values(x1), limit=steep)
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
        return times_direction(g, x, out, limit=limit_of_ratio(g, x, out))
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


@elementwise(symbol="→", inputs=3)
def times_direction(g: Array, x: Array, length: Array, limit: Array = 0.0) -> Array:
    """g * x / length, and 0 where the length of x is 0; `limit` is that of g / length there,
    NaN if there is none, infinite if the second derivative of x counts too."""
    return g * (x / np.where(length == 0, 1, length))


@times_direction.vjp
def _(g2: Array, out: Array, g: Array, x: Array, length: Array, limit: Array) -> Array:
    return times_direction(g2, x, length, limit=np.nan)


@times_direction.vjp("x")
def _(g2: Array, out: Array, g: Array, x: Array, length: Array, limit: Array) -> Array:
    at_zero = values(length) == 0
    return g2 * where(at_zero, ratio_there(g2, limit), g / where(at_zero, 1, length))


@times_direction.vjp("length")
def _(g2: Array, out: Array, g: Array, x: Array, length: Array, limit: Array) -> Array:
    at_zero = values(length) == 0
    return where(at_zero, 0 * ratio_there(g2, limit), -g2 * out / where(at_zero, 1, length))


def ratio_there(g2: Array, limit: Array) -> np.ndarray:
    """What g / length counts as where the length is 0. Where no cotangent g2 arrives NaN would
    do harm, as NaN times 0 is NaN, but not where the limit is infinite: nothing is known there."""
    asked = (values(g2) != 0) | np.isinf(limit)
    return np.where(asked, np.where(np.isinf(limit), np.nan, limit), 0)


def limit_of_ratio(g: Array, x: Value, length: Value, axis: Any = ()) -> np.ndarray:
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
    slopes: Any = 0.0
    within = between(g, lengths)
    found = leaf_gradients(g, np.ones(zero.shape), within, lengths)
    for v in lengths & found.keys():
        slopes = slopes + found[v]
    # There is none where g depends on another element's length, or has a kink itself.
    step = np.finfo(length._array.dtype).eps ** 0.5 * np.random.default_rng(0).uniform(
        1, 2, zero.shape
    )
    far, near = (
        np.abs(recompute(g, dict.fromkeys(lengths, length._array + h)) / h - slopes)
        for h in (step, step / 8)
    )
    return np.where(zero & (near <= far / 2 + 1e-6 * np.abs(slopes)), slopes, none)


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
