"""Lengths of vectors and of matrices, as `numpy.linalg` has them."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from ..operation import op
from .arrange import expand_dims, moveaxis, squeeze
from .at_zero import abs, is_recorded_at_zero, limit_of_ratio, power, times_direction, turns_at_zero
from .decompositions import svdvals
from .elementwise import Array, as_floating, operand, sign, values, where
from .reduce import Axis, axes_of, max, min, restore_axes, sum

__all__ = ["norm", "vector_norm"]


@op(
    symbol="‖x‖",
    inputs=1,
    formula="where(out != 0, g * x / out, 0) if ord == 2 else 0 if ord == 0 else "
    "where(out != 0, g * sign(x) * (abs(x) == out) / ties, 0) if ord in (1e999, -1e999) else "
    "where(out != 0, g * sign(x) * (abs(x) / out) ** (ord - 1), 0)",
)
def vector_norm(x: Array, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Array:
    """sum(abs(x) ** ord) ** (1 / ord) over the axes (None: all), as
    `numpy.linalg.vector_norm`; where it is 0, the gradient is taken as 0."""
    return np.linalg.vector_norm(x, axis=axis, keepdims=keepdims, ord=ord)


@vector_norm.vjp
def _(g: Array, out: Array, x: Array, axis: Axis, keepdims: bool, ord: float) -> Array:
    if is_recorded_at_zero(out if ord == 2 else x):
        return slope_at_zero(g, out, x, axis, keepdims, ord)
    g, out = restore_axes(g, x, axis, keepdims), restore_axes(out, x, axis, keepdims)
    unit = x / where(out == 0, 1, out)
    if ord == 2:
        return g * unit
    return where(out == 0, 0.0, g * sign(x)) * steepness(abs(unit), axis, ord)


def steepness(size: Array, axis: Axis, ord: float) -> Array:
    """The derivative of a norm with respect to an element of this size, if the norm is 1; for an
    infinite order the largest share it. The norm of order 0 counts elements: it has none."""
    if ord == 0:
        return size * 0
    if np.isinf(ord):
        chosen = values(size) == (np.max if ord > 0 else np.min)(values(size), axis, keepdims=True)
        return chosen / chosen.sum(axis=axis, keepdims=True)
    return power(where(size == 0, 1, size), ord - 1)


def slope_at_zero(g: Array, out: Array, x: Array, axis: Axis, keepdims: bool, ord: float) -> Array:
    """The rule of vector_norm where norms or elements are 0, to be differentiated again."""
    limit = np.zeros(out.shape) if values(out).all() else limit_of_ratio(g, x, out, axis)
    g, out, limit = (restore_axes(y, x, axis, keepdims) for y in (g, out, limit))
    if ord == 2:
        return times_direction(g, x, out, limit)
    g = where(out == 0, 0.0, g) if ord < 0 else g
    slope = steepness(abs(x) / where(out == 0, 1, out), axis, ord)
    kink = np.where(turns_at_zero(x), np.inf, np.nan) if 0 < ord <= 2 else 0
    limit = values(limit)
    limit = np.where(np.isfinite(limit) & (limit != 0), np.nan, limit)
    limit = np.where(values(out) == 0, limit, kink)
    return times_direction(g * slope, x, abs(x), limit)


def norm(x: Array, ord: Any = None, axis: Axis = None, keepdims: bool = False) -> Array:
    """The norm of vectors (axis an int), matrices (axis a pair) or, by default, of all
    elements, as `numpy.linalg.norm`.

    ord is a number for vectors; for matrices "fro", 1, -1, inf, -inf, or one of the singular
    values: 2 is the largest of them, -2 the smallest, "nuc" their sum.

    Raises: ValueError for other orders, and for an order of what is neither vectors nor matrices.
    """
    x = operand(x)
    if axis is not None and not isinstance(axis, (int, np.integer, tuple)):
        raise TypeError(f"norm: axis must be None, an int or a tuple of ints, but is {axis!r}")
    if ord is None and (axis is None or np.ndim(axis) == 0):
        return vector_norm(x, axis, keepdims)
    axes = axes_of(axis, x.ndim)
    if len(axes) not in (1, 2):
        raise ValueError(f"norm: there are norms over 1 or 2 axes, but not over {len(axes)}")
    if len(axes) == 1 and not isinstance(ord, str):
        return vector_norm(x, axis, keepdims, 2 if ord is None else ord)
    if len(axes) == 2 and ord in (None, "fro", "f"):
        return vector_norm(x, axis or axes, keepdims)
    if len(axes) == 2 and ord in (2, -2, "nuc"):
        sizes = svdvals(moveaxis(x, axes, (-2, -1)))
        found = {2: max, -2: min, "nuc": sum}[ord](sizes, -1)
        return expand_dims(found, axes) if keepdims else found
    if len(axes) == 1 or ord not in (1, -1, inf, -inf):
        raise ValueError(
            f"norm: there is no {'matrix' if len(axes) == 2 else 'vector'} norm of order {ord!r}; "
            "for matrices 'fro', 'nuc', ±1, ±2, ±inf are, for vectors numbers"
        )
    columns = sum(abs(as_floating(x)), axes[0 if np.abs(ord) == 1 else 1], keepdims=True)
    found = (max if ord > 0 else min)(columns, axes, True)
    return found if keepdims else squeeze(found, axes)
