"""Powers, absolute values, and what norm and std share with them: their derivatives at 0.

A length has no derivative where it is 0; the gradient there is taken as 0. A second derivative
is more than that: abs(x)**2 has 2 at 0, abs(x) alone has none.
"""

from __future__ import annotations

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
        return times_direction(g, x, out, limit=limit_of_ratio(g, x, out))
    return g * sign(x)


def is_recorded_at_zero(length: Array) -> bool:
    """Whether a rule is recorded, to be differentiated again, where a length is 0."""
    return isinstance(length, Value) and not values(length).all()


@elementwise(symbol="→", inputs=3)
def times_direction(g: Array, x: Array, length: Array, limit: Array = 0.0) -> Array:
    """g * x / length, and 0 where the length of x is 0; `limit` is that of g / length there."""
    return g * (x / np.where(length == 0, 1, length))


@times_direction.vjp
def _(g2: Array, out: Array, g: Array, x: Array, length: Array, limit: Array) -> Array:
    return times_direction(g2, x, length, limit=np.nan)


@times_direction.vjp("x")
def _(g2: Array, out: Array, g: Array, x: Array, length: Array, limit: Array) -> Array:
    at_zero = values(length) == 0
    there = np.where(at_zero & (values(g2) != 0), limit, 0)  # as NaN times 0 would be NaN
    return g2 * where(at_zero, there, g / where(at_zero, 1, length))


@times_direction.vjp("length")
def _(g2: Array, out: Array, g: Array, x: Array, length: Array, limit: Array) -> Array:
    at_zero = values(length) == 0
    there = np.where(at_zero & (values(g2) != 0), limit, 0)
    return where(at_zero, 0 * there, -g2 * out / where(at_zero, 1, length))


def limit_of_ratio(g: Array, x: Array, length: Value) -> np.ndarray:
    """The limit of g / length where the length of x is 0, and so is g: by l'Hôpital's rule
    the derivative of g with respect to the length, if g depends on x through that alone.
    Elsewhere NaN."""
    zero = (values(g) == 0) & (values(length) == 0)
    if not isinstance(g, Value) or not g.requires_grad or not zero.any():
        return np.where(zero, 0, np.nan)
    beside = ancestors([g], lambda v: v.requires_grad and v is not length)
    if not set(ancestors([x])).isdisjoint(beside):
        return np.full(zero.shape, np.nan)
    within, weights = between(g, {length}), np.random.default_rng(0).uniform(1, 2, zero.shape)
    slopes = [
        leaf_gradients(g, start, within, {length}).get(length, 0 * start)
        for start in (np.ones(zero.shape), weights)
    ]
    # An element of g that depends on another length has no limit.
    alone = np.isclose(slopes[1], weights * slopes[0])
    return np.where(zero & alone, slopes[0], np.nan)
