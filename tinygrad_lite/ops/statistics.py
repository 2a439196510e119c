"""Reductions beyond sums, running totals, order statistics, and the softmax family."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..operation import op
from ..value import Value
from .arrange import flip, moveaxis, shaped, take, take_along_axis
from .elementwise import Array, exp, subtract, where
from .reduce import Axis, expanded, mean, sum
from .shape import concatenate, getitem, reshape, stack, transpose

__all__ = [
    "cumprod", "cumsum", "diff", "log_softmax", "logsumexp", "median", "prod", "quantile",
    "softmax", "sort", "std", "var",
]  # fmt: skip


def lined_up(x: Array, axis: Axis) -> tuple[Array, Any]:
    """x with the axes merged into one, the last, and the function that undoes it."""
    axes = tuple(range(x.ndim)) if axis is None else tuple(np.atleast_1d(axis) % x.ndim)
    order = (*(i for i in range(x.ndim) if i not in axes), *axes)
    moved = transpose(x, order)
    kept = moved.shape[: x.ndim - len(axes)]
    line = reshape(moved, (*kept, math.prod(moved.shape[len(kept) :])))
    return line, lambda y: transpose(reshape(y, moved.shape), np.argsort(order))


# Products and running totals


@op(symbol="Π", inputs=1)
def prod(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The product over the axes (None: all)."""
    return np.prod(x, axis=axis, keepdims=keepdims)


@prod.vjp
def _(g: Array, out: Array, x: Array, axis: Axis, keepdims: bool) -> Array:
    g, product = expanded(g, x, axis, keepdims), expanded(out, x, axis, keepdims)
    if np.all(np.asarray(out)):
        return g * (product / x)
    # Where an element is 0: the product of those before it, times that of those after it.
    line, back = lined_up(x, axis)
    return g * back(before(line) * flip(before(flip(line, -1)), -1))


def before(line: Array) -> Array:
    """Along the last axis, for each element the product of those before it."""
    ones = np.ones((*line.shape[:-1], 1), line.dtype)
    return concatenate([ones, cumprod(line, -1)], -1)[..., :-1]


@op(symbol="Σ≤", inputs=1, linear=True)
def cumsum(x: Array, axis: int | None = None) -> Array:
    """The running sums along the axis (None: flat)."""
    return np.cumsum(x, axis)


@cumsum.vjp
def _(g: Array, out: Array, x: Array, axis: int | None) -> Array:
    return reshape(from_the_end(g, axis), x.shape)


def from_the_end(x: Array, axis: int | None) -> Array:
    """Each element plus all that follow it."""
    return flip(cumsum(flip(x, axis), axis), axis)


@op(symbol="Π≤", inputs=1)
def cumprod(x: Array, axis: int | None = None) -> Array:
    """The running products along the axis (None: flat)."""
    return np.cumprod(x, axis)


@cumprod.vjp
def _(g: Array, out: Array, x: Array, axis: int | None) -> Array:
    if np.all(np.asarray(out)):
        return reshape(from_the_end(g * out, axis), x.shape) / x
    if axis is None:
        return reshape(products_back(g, reshape(x, -1)), x.shape)
    return moveaxis(products_back(moveaxis(g, axis, -1), moveaxis(x, axis, -1)), -1, axis)


def products_back(g: Array, x: Array) -> Array:
    """The gradient of the running products of x along the last axis, where one may be 0.

    d out[i] / d x[k] is the product of x[:i+1] without x[k]; summed over i >= k that is
    before[k] * rest[k], with rest[k] = g[k] + x[k+1] * rest[k+1].
    """
    rest: Array = 0
    ahead, found = before(x), []
    for k in reversed(range(x.shape[-1])):
        rest = g[..., k] + rest
        found.append(ahead[..., k] * rest)
        rest = rest * x[..., k]
    return stack(found[::-1], -1)


def diff(x: Array, n: int = 1, axis: int = -1) -> Array:
    """The differences of neighbours along the axis, taken n times. Raises: ValueError if n < 0."""
    if n < 0:
        raise ValueError(f"diff: n must be at least 0, but is {n}")
    for _ in range(n):
        ahead = (slice(None),) * (axis % np.ndim(x))
        x = subtract(getitem(x, (*ahead, slice(1, None))), getitem(x, (*ahead, slice(None, -1))))
    return x


# Spread


def deviation(x: Array, axis: Axis, ddof: float, out: Array) -> Array:
    """x less its mean, over the number of elements of each `out` less ddof."""
    n = x.size / max(out.size, 1) - ddof
    return (x - mean(x, axis, True)) * (1 / n if n > 0 else math.nan)


@op(symbol="var", inputs=1)
def var(x: Array, axis: Axis = None, ddof: float = 0, keepdims: bool = False) -> Array:
    """The mean squared deviation from the mean over the axes (None: all), with n - ddof
    in place of n."""
    return np.var(x, axis=axis, ddof=ddof, keepdims=keepdims)


@var.vjp
def _(g: Array, out: Array, x: Array, axis: Axis, ddof: float, keepdims: bool) -> Array:
    return expanded(g, x, axis, keepdims) * (2 * deviation(x, axis, ddof, out))


@op(symbol="std", inputs=1)
def std(x: Array, axis: Axis = None, ddof: float = 0, keepdims: bool = False) -> Array:
    """The square root of `var`; where it is 0 the gradient is taken as 0."""
    return np.std(x, axis=axis, ddof=ddof, keepdims=keepdims)


@std.vjp
def _(g: Array, out: Array, x: Array, axis: Axis, ddof: float, keepdims: bool) -> Array:
    safe = where(out == 0, np.inf, out)
    return expanded(g / safe, x, axis, keepdims) * deviation(x, axis, ddof, out)


# Order


@op(inputs=1)
def sort(x: Array, axis: int | None = -1) -> Array:
    """The elements in rising order along the axis (None: flat), NaN last."""
    return np.sort(x, axis)


@sort.vjp
def _(g: Array, out: Array, x: Array, axis: int | None) -> Array:
    order = np.argsort(np.asarray(x), axis, kind="stable")
    if axis is None:
        return reshape(take(g, np.argsort(order)), x.shape)
    return take_along_axis(g, np.argsort(order, axis), axis)


def median(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The middle element over the axes (None: all), or the mean of the middle two."""
    return quantile(x, 0.5, axis, keepdims)


def quantile(x: Array, q: Any, axis: Axis = None, keepdims: bool = False) -> Array:
    """The value below which a part q of the elements lies, between two elements linearly.

    An array q gives a new first axis. NaN where an element is NaN.
    """
    if np.ndim(q):
        return stack([quantile(x, part, axis, keepdims) for part in q])
    if not 0 <= q <= 1:
        raise ValueError(f"quantile: q must lie in [0, 1], but is {float(q)}")
    x = shaped(x)
    line = sort(lined_up(x, axis)[0])
    last = line.shape[-1] - 1
    low = min(math.floor(q * last), last - 1) if last else 0
    part = q * last - low
    found = line[..., low]
    if last and (isinstance(q, Value) or part):
        found = found + (line[..., low + 1] - found) * part
    if np.isnan(np.asarray(line)).any():
        found = where(np.isnan(np.asarray(line)[..., -1]), line[..., -1], found)
    return expanded(found, x, axis, False) if keepdims else found


# Softmax and its kin: shifted by the largest element, so that nothing overflows


def largest_along(x: np.ndarray, axis: Axis) -> Array:
    """The largest element along the axis, which stays, with size 1; 0 if there is none."""
    return np.max(x, axis=axis, keepdims=True) if x.size else 0


@op(symbol="lse", inputs=1)
def logsumexp(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """log(sum(exp(x))) over the axes (None: all), without overflow."""
    largest = np.nan_to_num(largest_along(x, axis), posinf=0, neginf=0)
    with np.errstate(divide="ignore", over="ignore"):  # log(0) is right here
        out = np.log(np.sum(np.exp(x - largest), axis=axis, keepdims=True)) + largest
    return out if keepdims else np.squeeze(out, axis)[()]


@logsumexp.vjp
def _(g: Array, out: Array, x: Array, axis: Axis, keepdims: bool) -> Array:
    if np.isinf(np.asarray(out)).any():
        out = where(np.isinf(np.asarray(out)), 0, out)  # as -inf - -inf would be NaN
    return expanded(g, x, axis, keepdims) * exp(x - expanded(out, x, axis, keepdims))


@op(inputs=1)
def softmax(x: Array, axis: Axis = -1) -> Array:
    """exp(x) / sum(exp(x)) over the axis: positive numbers that sum to 1."""
    e = np.exp(x - largest_along(x, axis))
    return e / np.sum(e, axis=axis, keepdims=True)


softmax.vjp(lambda g, out, x, axis: out * (g - sum(g * out, axis, True)))


@op(symbol="log softmax", inputs=1)
def log_softmax(x: Array, axis: Axis = -1) -> Array:
    """log(softmax(x)), accurate where softmax is tiny."""
    shifted = x - largest_along(x, axis)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


log_softmax.vjp(lambda g, out, x, axis: g - exp(out) * sum(g, axis, True))
