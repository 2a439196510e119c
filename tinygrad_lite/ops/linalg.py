"""Linear algebra on the last two axes, as `numpy.linalg` has it; axes before are batches."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..operation import op
from .arrange import shaped, squeeze, swapaxes, tril
from .elementwise import Array, abs, power, sign, where
from .linear import matmul
from .reduce import Axis, expanded, max, min, sum

__all__ = ["cholesky", "det", "inv", "norm", "slogdet", "solve", "vector_norm"]


def T(x: Array) -> Array:
    """The transposed matrices."""
    return swapaxes(x, -1, -2)


@op(symbol="A⁻¹")
def inv(x: Array) -> Array:
    """The inverse matrix. Raises: ValueError if there is none."""
    return np.linalg.inv(x)


inv.vjp(lambda g, out, x: -matmul(T(out), matmul(g, T(out))))


@op(symbol="A⁻¹b")
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


@op
def det(x: Array) -> Array:
    """The determinant; its gradient is the matrix of cofactors."""
    return np.linalg.det(x)


@det.vjp
def _(g: Array, out: Array, x: Array) -> Array:
    if np.all(np.asarray(out)):
        return (g * out)[..., None, None] * T(inv(x))
    return g[..., None, None] * T(adjugate(x))


def adjugate(x: Array) -> Array:
    """The transposed matrix of cofactors, det(x) * inv(x) where that exists, by the method
    of Faddeev and LeVerrier: also of singular matrices, less accurate for large ones."""
    n = x.shape[-1]
    eye = np.eye(n, dtype=x.dtype)
    m = np.broadcast_to(eye, x.shape)
    for k in range(1, n):
        product = matmul(x, m)
        m = product - sum(product * eye, (-2, -1), True) / k * eye
    return m if n % 2 else -m


class Slogdet(NamedTuple):
    """What `slogdet` returns."""

    sign: Array
    logabsdet: Array


def slogdet(x: Array) -> Slogdet:
    """The sign of the determinant, a plain array, and the logarithm of its absolute value."""
    return Slogdet(np.linalg.slogdet(np.asarray(x)).sign, logabsdet(x))


@op(symbol="log|det|")
def logabsdet(x: Array) -> Array:
    """log(abs(det(x))), also where the determinant itself would overflow."""
    return np.linalg.slogdet(x).logabsdet


logabsdet.vjp(lambda g, out, x: g[..., None, None] * T(inv(x)))


@op
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


@op(symbol="‖x‖", inputs=1)
def vector_norm(x: Array, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Array:
    """sum(abs(x) ** ord) ** (1 / ord) over the axes (None: all), as
    `numpy.linalg.vector_norm`; where it is 0, the gradient is taken as 0."""
    return np.linalg.vector_norm(x, axis=axis, keepdims=keepdims, ord=ord)


@vector_norm.vjp
def _(g: Array, out: Array, x: Array, axis: Axis, keepdims: bool, ord: float) -> Array:
    g, out = expanded(g, x, axis, keepdims), expanded(out, x, axis, keepdims)
    if np.isinf(ord):
        chosen = np.asarray(abs(x) == out)
        return g * sign(x) * (chosen / chosen.sum(axis=axis, keepdims=True))
    unit = x / where(out == 0, 1, out)
    if ord == 2:
        return g * unit
    return g * sign(x) * power(where(unit == 0, 1, abs(unit)), ord - 1)


def norm(x: Array, ord: Any = None, axis: Axis = None, keepdims: bool = False) -> Array:
    """The norm of vectors (axis an int), matrices (axis a pair) or, by default, of all
    elements, as `numpy.linalg.norm`.

    ord is a number for vectors, "fro", 1, -1, inf or -inf for matrices.

    Raises: ValueError for other orders; those of singular values are not here.
    """
    x = shaped(x)
    if ord is None:
        return vector_norm(x, axis, keepdims)
    pair = tuple(range(x.ndim)) if axis is None else axis
    if not isinstance(pair, tuple) or len(pair) != 2:
        return vector_norm(x, axis, keepdims, ord)
    if ord == "fro":
        return vector_norm(x, pair, keepdims)
    if ord not in (1, -1, np.inf, -np.inf):
        raise ValueError(f"norm: a matrix norm of order {ord!r} is not here; 'fro', ±1, ±inf are")
    columns = sum(abs(x), pair[0 if np.abs(ord) == 1 else 1], keepdims=True)
    found = (max if ord > 0 else min)(columns, pair, True)
    return found if keepdims else squeeze(found, pair)
