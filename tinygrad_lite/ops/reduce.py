"""Ops that reduce over axes, with NumPy's `axis` and `keepdims`."""

from __future__ import annotations

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ..operation import op
from .elementwise import Array, logical_or
from .shape import broadcast_to, reshape

Axis = int | tuple[int, ...] | None


def axes_of(axis: Axis, ndim: int) -> tuple[int, ...]:
    """The axes, counted from the first (None: all). Raises: ValueError for one that is not
    there, or is named twice."""
    return normalize_axis_tuple(range(ndim) if axis is None else axis, ndim)


def restore_axes(reduced: Array, x: Array, axis: Axis, keepdims: bool) -> Array:
    """A reduction's result (or its gradient) with the reduced axes back, as size 1."""
    if keepdims or axis is None or not x.ndim:  # a 0-d result broadcasts as it is
        return reduced
    axes = np.atleast_1d(axis) % x.ndim
    return reshape(reduced, tuple(1 if i in axes else n for i, n in enumerate(x.shape)))


@op(symbol="Σ", inputs=1, linear=True, formula="g, for each element of x in the sum")
def sum(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The sum over the axes (None: all)."""
    return np.sum(x, axis=axis, keepdims=keepdims)


@sum.vjp
def _(g: Array, out: Array, x: Array, axis: Axis, keepdims: bool) -> Array:
    return broadcast_to(restore_axes(g, x, axis, keepdims), x.shape)


@op(
    symbol="mean",
    inputs=1,
    linear=True,
    formula="g / n, for each of the n elements of x in the mean",
)
def mean(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The mean over the axes (None: all)."""
    return np.mean(x, axis=axis, keepdims=keepdims)


@mean.vjp
def _(g: Array, out: Array, x: Array, axis: Axis, keepdims: bool) -> Array:
    return broadcast_to(restore_axes(g, x, axis, keepdims) * (out.size / (x.size or 1)), x.shape)


@op(symbol="max", inputs=1, formula="g where x is the largest, shared evenly, 0 elsewhere")
def max(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The largest element over the axes (None: all); ties share the gradient evenly."""
    return np.max(x, axis=axis, keepdims=keepdims)


@op(symbol="min", inputs=1, formula="g where x is the smallest, shared evenly, 0 elsewhere")
def min(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The smallest element over the axes (None: all); ties share the gradient evenly."""
    return np.min(x, axis=axis, keepdims=keepdims)


@max.vjp
@min.vjp
def _(g: Array, out: Array, x: Array, axis: Axis, keepdims: bool) -> Array:
    chosen = logical_or(
        x == restore_axes(out, x, axis, keepdims), x != x
    )  # the result of NaNs is NaN
    return chosen * (restore_axes(g, x, axis, keepdims) / chosen.sum(axis=axis, keepdims=True))
