"""Reductions beyond sums, running totals, order statistics, and the softmax family."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..operation import op
from ..value import Value
from .arrange import atleast_2d, diagonal, flip, moveaxis, squeeze, take, take_along_axis
from .at_zero import is_recorded_at_zero, limit_of_ratio, times_direction
from .elementwise import (
    Array,
    as_floating,
    astype,
    divide,
    equal,
    exp,
    multiply,
    not_equal,
    operand,
    sqrt,
    subtract,
    values,
    where,
    widen,
)
from .linear import matmul
from .reduce import Axis, axes_of, mean, restore_axes, sum
from .reduce import max as largest
from .reduce import min as smallest
from .shape import broadcast_to, concatenate, getitem, reshape, stack, transpose
from .special import clip

__all__ = [
    "average", "corrcoef", "cov", "cumprod", "cumsum", "diff", "log_softmax", "logsumexp", "median",
    "nanmean", "nansum", "percentile", "prod", "ptp", "quantile", "softmax", "sort", "std", "var",
]  # fmt: skip


def merge_axes(x: Array, axis: Axis) -> tuple[Array, Any]:
    """x with the axes merged into one, the last, and the function that undoes it."""
    axes = axes_of(axis, x.ndim)
    order = (*(i for i in range(x.ndim) if i not in axes), *axes)
    moved = transpose(x, order)
    kept = moved.shape[: x.ndim - len(axes)]
    line = reshape(moved, (*kept, math.prod(moved.shape[len(kept) :])))
    return line, lambda y: transpose(reshape(y, moved.shape), np.argsort(order))


# Products and running totals


@op(symbol="Π", inputs=1, formula="g · the product of the other elements of x")
def prod(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The product over the axes (None: all)."""
    return np.prod(x, axis=axis, keepdims=keepdims)


@prod.vjp
def _(g: Array, out: Array, x: Array, axis: Axis, keepdims: bool) -> Array:
    g, product = restore_axes(g, x, axis, keepdims), restore_axes(out, x, axis, keepdims)
    if is_divisible(out, x):
        return g * (product / x)
    # Else: the product of those before an element, times that of those after it.
    line, back = merge_axes(x, axis if x.ndim else None)
    return g * back(products_before(line) * flip(products_before(flip(line, -1)), -1))


def is_divisible(out: Array, x: Array) -> bool:
    """Whether products divided by an element keep their digits, in second derivatives too: no
    product is infinite, 0 or nearly, and no element much smaller than another."""
    out, x = np.abs(values(out)), np.abs(values(x))
    normal = (out > np.finfo(out.dtype).tiny) & np.isfinite(out)
    return bool(normal.all() and (not x.size or x.min() > 1e-3 * x.max()))


def products_before(line: Array) -> Array:
    """Along the last axis, for each element the product of those before it."""
    ones = np.ones((*line.shape[:-1], 1), line.dtype)
    return concatenate([ones, cumprod(line, -1)], -1)[..., :-1]


@op(symbol="Σ≤", inputs=1, linear=True, formula="the sum of g from each element of x on")
def cumsum(x: Array, axis: int | None = None) -> Array:
    """The running sums along the axis (None: flat)."""
    return np.cumsum(x, axis)


@cumsum.vjp
def _(g: Array, out: Array, x: Array, axis: int | None) -> Array:
    return reshape(from_the_end(g, axis), x.shape)


def from_the_end(x: Array, axis: int | None) -> Array:
    """Each element plus all that follow it."""
    return flip(cumsum(flip(x, axis), axis), axis)


@op(symbol="Π≤", inputs=1, formula="the sum, from each element of x on, of g · out without it")
def cumprod(x: Array, axis: int | None = None) -> Array:
    """The running products along the axis (None: flat)."""
    return np.cumprod(x, axis)


@cumprod.vjp
def _(g: Array, out: Array, x: Array, axis: int | None) -> Array:
    if is_divisible(out, x):
        return reshape(from_the_end(g * out, axis), x.shape) / x
    if axis is None or not x.ndim:
        return reshape(products_back(g, reshape(x, -1)), x.shape)
    return moveaxis(products_back(moveaxis(g, axis, -1), moveaxis(x, axis, -1)), -1, axis)


def products_back(g: Array, x: Array) -> Array:
    """The gradient of the running products of x along the last axis, where one may be 0.

    d out[i] / d x[k] is the product of x[:i+1] without x[k]; summed over i >= k that is
    before[k] * rest[k], with rest[k] = g[k] + x[k+1] * rest[k+1].
    """
    rest: Array = 0
    ahead, found = products_before(x), []
    for k in reversed(range(x.shape[-1])):
        rest = g[..., k] + rest
        found.append(ahead[..., k] * rest)
        rest = rest * x[..., k]
    return stack(found[::-1], -1)


def diff(x: Array, n: int = 1, axis: int = -1) -> Array:
    """The differences of neighbours along the axis, taken n times. Raises: ValueError if n < 0,
    or there is no such axis."""
    if n < 0:
        raise ValueError(f"diff: n must be at least 0, but is {n}")
    x = operand(x)
    ahead = (slice(None),) * normalize_axis_index(axis, x.ndim)
    for _ in range(n):
        minus = not_equal if x.dtype == bool else subtract
        x = minus(getitem(x, (*ahead, slice(1, None))), getitem(x, (*ahead, slice(None, -1))))
    return x


# Spread


def deviation(x: Array, axis: Axis, ddof: float, out: Array) -> Array:
    """x less its mean, over the number of elements of each `out` less ddof."""
    n = x.size / max(out.size, 1) - ddof
    return (x - mean(x, axis, True)) * (1 / n if n > 0 else math.nan)


@op(symbol="var", inputs=1, formula="2 * g * (x - mean(x)) / (n - ddof)")
def var(x: Array, axis: Axis = None, ddof: float = 0, keepdims: bool = False) -> Array:
    """The mean squared deviation from the mean over the axes (None: all), with n - ddof
    in place of n."""
    return np.var(x, axis=axis, ddof=ddof, keepdims=keepdims)


@var.vjp
def _(g: Array, out: Array, x: Array, axis: Axis, ddof: float, keepdims: bool) -> Array:
    return restore_axes(g, x, axis, keepdims) * (2 * deviation(x, axis, ddof, out))


@op(symbol="std", inputs=1, formula="where(out != 0, g * (x - mean(x)) / ((n - ddof) * out), 0)")
def std(x: Array, axis: Axis = None, ddof: float = 0, keepdims: bool = False) -> Array:
    """The square root of `var`; where it is 0 the gradient is taken as 0."""
    return np.std(x, axis=axis, ddof=ddof, keepdims=keepdims)


@std.vjp
def _(g: Array, out: Array, x: Array, axis: Axis, ddof: float, keepdims: bool) -> Array:
    if is_recorded_at_zero(out):
        g, length, limit = (
            restore_axes(y, x, axis, keepdims) for y in (g, out, limit_of_ratio(g, x, out, axis))
        )
        return times_direction(g, deviation(x, axis, ddof, out), length, limit)
    safe = where(out == 0, np.inf, out)
    return restore_axes(g / safe, x, axis, keepdims) * deviation(x, axis, ddof, out)


# Order


@op(inputs=1, formula="g, in the order of x")
def sort(x: Array, axis: int | None = -1) -> Array:
    """The elements in rising order along the axis (None: flat), NaN last."""
    return np.sort(x, axis)


@sort.vjp
def _(g: Array, out: Array, x: Array, axis: int | None) -> Array:
    order = np.argsort(values(x), axis, kind="stable")
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
        return stack([quantile(x, part, axis, keepdims) for part in operand(q)])
    if not 0 <= q <= 1:
        raise ValueError(f"quantile: q must lie in [0, 1], but is {float(q)}")
    x = operand(x)
    line = sort(merge_axes(as_floating(x), axis)[0])
    last = line.shape[-1] - 1
    low = min(math.floor(values(q) * last), last - 1) if last else 0
    part = q * last - low
    found = line[..., low]
    if last and (isinstance(q, Value) or part):
        found = found * (1 - part) + line[..., low + 1] * part
    if np.isnan(values(line)).any():
        found = where(np.isnan(values(line)[..., -1]), line[..., -1], found)
    return restore_axes(found, x, axes_of(axis, x.ndim), False) if keepdims else found


def percentile(x: Array, q: Any, axis: Axis = None, keepdims: bool = False) -> Array:
    """`quantile`, with q from 0 to 100."""
    q = divide(operand(q), 100)
    if not np.all((values(q) >= 0) & (values(q) <= 1)):
        raise ValueError("percentile: q must lie in [0, 100]")
    return quantile(x, q if np.ndim(q) or isinstance(q, Value) else float(q), axis, keepdims)


def ptp(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The largest less the smallest element over the axes (None: all)."""
    return subtract(largest(x, axis, keepdims), smallest(x, axis, keepdims))


# Averages


def nansum(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The sum of what is not NaN over the axes (None: all)."""
    x = operand(x)
    return sum(where(equal(x, x), x, 0) if x.dtype.kind == "f" else x, axis, keepdims)


def nanmean(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The mean of what is not NaN over the axes (None: all); NaN where there is nothing else."""
    x = operand(x)
    if x.dtype.kind != "f":
        return mean(x, axis, keepdims)
    count = sum(equal(x, x), axis, keepdims)
    return astype(divide(nansum(x, axis, keepdims), count), x.dtype)


def average(
    a: Array, axis: Axis = None, weights: Any = None, returned: bool = False, keepdims: bool = False
) -> Any:
    """The mean over the axes (None: all), or sum(a * weights) / sum(weights).

    The weights have the shape of a, or the sizes of its `axis`. With ``returned=True`` a pair: the
    average, and the sum of the weights, or the number of elements, for each.

    Raises: ValueError or TypeError if the weights do not fit; ZeroDivisionError if they sum to 0.
    """
    a = operand(a)
    axis = None if axis is None else axes_of(axis, a.ndim)
    if weights is None:
        found = mean(a, axis, keepdims)
        total = np.full(found.shape, a.size / found.size, found.dtype)[()]
        return (found, total) if returned else found
    weights = operand(weights)
    if weights.shape != a.shape:
        if axis is None:
            raise TypeError(
                f"average: weights of shape {weights.shape} for a of shape {a.shape} need an axis"
            )
        axes = axes_of(axis, a.ndim)
        if weights.shape != tuple(a.shape[i] for i in axes):
            raise ValueError(
                f"average: weights of shape {weights.shape} fit neither the shape {a.shape} of a "
                f"nor its axes {axis}"
            )
        order = np.argsort(axes)
        sizes = tuple(n if i in axes else 1 for i, n in enumerate(a.shape))
        weights = broadcast_to(reshape(transpose(weights, order), sizes), a.shape)
    whole = a.dtype.kind in "iub"
    dtype = np.result_type(a.dtype, weights.dtype, *([np.float64] if whole else []))
    weights = weights if weights.dtype == dtype else astype(weights, dtype)
    total = sum(weights, axis, keepdims)
    if not values(total).all():
        raise ZeroDivisionError("average: the weights sum to 0, so they have no average")
    found = divide(sum(multiply(a, weights), axis, keepdims), total)
    return (found, total) if returned else found


def cov(
    m: Array,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: Any = None,
    aweights: Any = None,
) -> Array:
    """The covariances of the variables in the rows of m, and of y, in double precision.

    A column is one observation, or with ``rowvar=False`` a row. The sums are divided by n - ddof;
    ddof is 1, or with ``bias=True`` 0. `fweights` says how often an observation counts, `aweights`
    how much.

    Raises: ValueError or TypeError for more than two axes, or weights that do not fit.
    """
    x = observations(m, rowvar)
    if y is not None:
        x = concatenate([x, observations(y, rowvar)], 0)
    ddof = (0 if bias else 1) if ddof is None else ddof
    if ddof != int(ddof):
        raise ValueError(f"cov: ddof must be an integer, but is {ddof}")
    weights: Any = None
    for name, given in (("fweights", fweights), ("aweights", aweights)):
        if given is None:
            continue
        given = operand(given)
        if given.shape != x.shape[1:]:
            raise ValueError(
                f"cov: {name} must have one element for each of the {x.shape[1]} observations, "
                f"but has the shape {given.shape}"
            )
        if np.any(values(given) < 0):
            raise ValueError(f"cov: {name} must not be negative")
        if name == "fweights" and np.any(values(given) != np.rint(values(given))):
            raise TypeError("cov: fweights says how often an observation counts, in integers")
        weights = as_floating(given) if weights is None else multiply(weights, given)
    if weights is None:
        count: Array = x.shape[1] - ddof
        centred = subtract(x, mean(x, 1, True))
        scaled = centred
    else:
        total = sum(weights)
        count = (
            total - ddof
            if aweights is None
            else total - ddof * divide(sum(multiply(weights, operand(aweights))), total)
        )
        centred = subtract(x, divide(matmul(x, weights), total)[:, None])
        scaled = multiply(centred, weights)
    if values(count) <= 0:
        raise ValueError("cov: there are too few observations for this ddof")
    return squeeze(divide(matmul(centred, transpose(scaled)), count))


def observations(m: Any, rowvar: bool) -> Array:
    """A row for each variable. Raises: ValueError for more than two axes."""
    m = operand(m)
    if m.ndim > 2:
        raise ValueError(f"cov: an array of observations has at most 2 axes, not {m.ndim}")
    x = atleast_2d(astype(m, np.result_type(m.dtype, np.float64)))
    return x if rowvar or m.ndim < 2 else transpose(x)


def corrcoef(x: Array, y: Any = None, rowvar: bool = True) -> Array:
    """The coefficients of correlation of the variables in the rows of x, and of y: their
    covariances over the product of their standard deviations (see `cov`)."""
    found = cov(x, y, rowvar)
    if found.ndim == 0:
        return divide(found, found)
    size = sqrt(diagonal(found))
    return clip(divide(divide(found, size[:, None]), size[None, :]), -1, 1)


# Softmax and its kin: shifted by the largest element, so that nothing overflows


def largest_along(x: np.ndarray, axis: Axis) -> Array:
    """The largest element along the axis, which stays, with size 1; 0 if there is none."""
    return np.max(x, axis=axis, keepdims=True) if x.size else 0


@op(symbol="lse", inputs=1, formula="g * exp(x - out)")
def logsumexp(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """log(sum(exp(x))) over the axes (None: all), without overflow."""
    x, dtype = widen(x), as_floating(x).dtype
    largest = np.nan_to_num(largest_along(x, axis), posinf=0, neginf=0)
    with np.errstate(divide="ignore", over="ignore"):  # log(0) is right here
        out = np.log(np.sum(np.exp(x - largest), axis=axis, keepdims=True)) + largest
    return (out if keepdims else np.squeeze(out, axis)[()]).astype(dtype, copy=False)


@logsumexp.vjp
def _(g: Array, out: Array, x: Array, axis: Axis, keepdims: bool) -> Array:
    g, out = restore_axes(g, x, axis, keepdims), restore_axes(out, x, axis, keepdims)
    infinite = np.isinf(values(out))
    if not infinite.any():
        return g * exp(x - out)
    # As inf - inf would be NaN: elements that are inf share all, beside -inf nothing counts.
    share = (values(x) == np.inf) / np.maximum(1, np.sum(values(x) == np.inf, axis, keepdims=True))
    return g * where(infinite, share, exp(where(infinite, 0, x) - where(infinite, 0, out)))


@op(inputs=1)
def softmax(x: Array, axis: Axis = -1) -> Array:
    """exp(x) / sum(exp(x)) over the axis: positive numbers that sum to 1."""
    x, dtype = widen(x), as_floating(x).dtype
    e = np.exp(x - largest_along(x, axis))
    return (e / np.sum(e, axis=axis, keepdims=True)).astype(dtype, copy=False)


softmax.vjp(lambda g, out, x, axis: out * (g - sum(g * out, axis, True)))


@op(symbol="log softmax", inputs=1)
def log_softmax(x: Array, axis: Axis = -1) -> Array:
    """log(softmax(x)), accurate where softmax is tiny."""
    x, dtype = widen(x), as_floating(x).dtype
    shifted = x - largest_along(x, axis)
    out = shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))
    return out.astype(dtype, copy=False)


log_softmax.vjp(lambda g, out, x, axis: g - exp(out) * sum(g, axis, True))
