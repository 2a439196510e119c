"""Linear algebra on the last two axes, as `numpy.linalg` has it; axes before are batches."""

from __future__ import annotations

from math import inf
from typing import Any, NamedTuple

import numpy as np

from ..operation import op
from .arrange import squeeze, swapaxes, tril
from .at_zero import abs, is_recorded_at_zero, limit_of_ratio, power, times_direction, turns_at_zero
from .elementwise import Array, as_floating, operand, sign, values, where
from .linear import matmul
from .reduce import Axis, axes_of, max, min, restore_axes, sum
from .shape import getitem, stack

__all__ = ["cholesky", "det", "inv", "norm", "slogdet", "solve", "vector_norm"]


def T(x: Array) -> Array:
    """The transposed matrices."""
    return swapaxes(x, -1, -2)


@op(symbol="A⁻¹")
def inv(x: Array) -> Array:
    """The inverse matrix. Raises: ValueError if there is none."""
    return np.linalg.inv(x)


inv.vjp(lambda g, out, x: -matmul(T(out), matmul(g, T(out))))


@op(symbol="A⁻¹b", formula=("-(T(inv(a)) @ g @ T(out))", "T(inv(a)) @ g"))
def solve(a: Array, b: Array) -> Array:
    """The x with a @ x = b; b is a vector if 1-D, else a stack of matrices.

    Raises: ValueError if a has no inverse.
    """
    return np.linalg.solve(a, b)


@solve.vjp("a")
def _(g: Array, out: Array, a: Array, b: Array) -> Array:
    g = solve(T(a), g) if b.ndim > 1 else solve(T(a), g[..., None])[..., 0]
    return -matmul(g, T(out)) if b.ndim > 1 else -g[..., :, None] * out[..., None, :]


@solve.vjp("b")
def _(g: Array, out: Array, a: Array, b: Array) -> Array:
    return solve(T(a), g) if b.ndim > 1 else solve(T(a), g[..., None])[..., 0]


@op(formula="g * cofactors(x)")
def det(x: Array) -> Array:
    """The determinant; its gradient is the matrix of cofactors."""
    return np.linalg.det(x)


@det.vjp
def _(g: Array, out: Array, x: Array) -> Array:
    if is_well_conditioned(x, out):
        return (g * out)[..., None, None] * T(inv(x))
    return g[..., None, None] * cofactors(x)


def is_well_conditioned(x: Array, out: Array) -> bool:
    """Whether the determinant times the inverse is right in second derivatives too; of more than
    8 rows, where cofactors take long, in first ones."""
    size, limits = np.abs(values(out)), np.finfo(x.dtype)
    if not np.all((size > limits.tiny) & (size < limits.max)):
        return False
    most = limits.eps ** (-0.25 if x.shape[-1] <= 8 else -0.5)
    return not x.size or bool(np.all(np.linalg.cond(values(x), 1) < most))


def cofactors(x: Array) -> Array:
    """The determinants of what is left of x without row i and column j, with their signs: no
    division, so right at and near singular matrices, in all derivatives."""
    n = x.shape[-1]
    others = [np.array([j for j in range(n) if j != i], int) for i in range(n)]
    columns = np.array(others)[:, None, :]
    rows = [det(getitem(x, (..., kept[:, None], columns))) for kept in others]
    return stack(rows, -2) * (-1.0) ** np.add.outer(range(n), range(n)).astype(x.dtype)


class Slogdet(NamedTuple):
    """What `slogdet` returns."""

    sign: Array
    logabsdet: Array


def slogdet(x: Array) -> Slogdet:
    """The sign of the determinant, a plain array, and the logarithm of its absolute value."""
    return Slogdet(np.linalg.slogdet(values(operand(x))).sign, logabsdet(x))


@op(symbol="log|det|")
def logabsdet(x: Array) -> Array:
    """log(abs(det(x))), also where the determinant itself would overflow."""
    return np.linalg.slogdet(x).logabsdet


logabsdet.vjp(lambda g, out, x: g[..., None, None] * T(inv(x)))


@op(formula="½ (S + Sᵀ), S = out⁻ᵀ P out⁻¹, P = outᵀ g with its diagonal halved and 0 above")
def cholesky(x: Array) -> Array:
    """The lower triangular L with L @ L.T = (x + x.T) / 2, which is x, as it is symmetric.

    Raises: ValueError if x is not positive definite.
    """
    return np.linalg.cholesky((x + np.swapaxes(x, -1, -2)) * 0.5)


@cholesky.vjp
def _(g: Array, out: Array, x: Array) -> Array:
    # Murray (2016), Differentiation of the Cholesky decomposition, arXiv:1602.07527.
    n = x.shape[-1]
    half = tril(matmul(T(out), g)) * (1 - 0.5 * np.eye(n)).astype(x.dtype)
    right = T(solve(T(out), T(half)))  # half @ inv(out)
    gradient = solve(T(out), right)
    return (gradient + T(gradient)) * 0.5


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

    ord is a number for vectors, "fro", 1, -1, inf or -inf for matrices.

    Raises: ValueError for other orders; those of singular values are not here; and for an
    order of what is neither vectors nor matrices.
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
    if len(axes) == 1 or ord not in (1, -1, inf, -inf):
        raise ValueError(
            f"norm: a {'matrix' if len(axes) == 2 else 'vector'} norm of order {ord!r} is not "
            "here; for matrices 'fro', ±1, ±inf are, for vectors numbers"
        )
    columns = sum(abs(as_floating(x)), axes[0 if np.abs(ord) == 1 else 1], keepdims=True)
    found = (max if ord > 0 else min)(columns, axes, True)
    return found if keepdims else squeeze(found, axes)
