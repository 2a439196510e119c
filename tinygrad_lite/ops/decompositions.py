"""Decompositions of matrices, as `numpy.linalg` has them: values, vectors, and what they solve.

The vectors of equal values, and those of the values 0 of a matrix that is not square, may be turned
among each other: they have no derivative. Their gradient is NaN, even where what was made of them
has one, as that cannot be told. Values are equal here if they differ by no more than rounding does.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..arrays import loses_gradient
from ..operation import op
from .arrange import swapaxes, tril, triu
from .elementwise import Array, as_floating, divide, subtract, values, where
from .linalg import T, solve
from .linear import matmul
from .reduce import sum
from .shape import getitem, reshape

__all__ = ["eigh", "eigvalsh", "lstsq", "pinv", "qr", "svd", "svdvals"]


def matrices(x: Array, square: bool = False) -> Array:
    """x in a floating dtype. Raises: ValueError if it holds no matrices, or no square ones."""
    x = as_floating(x)
    if x.ndim < 2 or (square and x.shape[-1] != x.shape[-2]):
        raise ValueError(
            f"x must hold {'square ' * square}matrices in its last two axes, but has the shape "
            f"{x.shape}"
        )
    return x


def rounding(found: np.ndarray, n: int) -> Any:
    """How far values that are equal may lie apart: n eps of the largest of each matrix."""
    size = np.abs(found).max(-1, initial=0, keepdims=True)
    return 8 * n * np.finfo(found.dtype).eps * size


def equal_pairs(found: Array, n: int) -> np.ndarray:
    """For each pair of the values along the last axis whether they count as equal."""
    found = values(found)
    return np.abs(found[..., None, :] - found[..., :, None]) <= rounding(found, n)[..., None]


def of_values(g: Array, found: Array, n: int) -> Array:
    """The cotangents of values, NaN where equal ones get different ones: no single one of them
    has a derivative, but their sum has."""
    parts, same = values(g), equal_pairs(found, n)
    differ = same & (np.abs(parts[..., None, :] - parts[..., :, None]) > 0)
    return where(differ.any(-1), np.nan, g)


def over_gaps(turned: Array, gaps: Array, same: np.ndarray) -> Array:
    """What arrives by turning each pair of vectors, over the gap of their values: 0 for a vector
    with itself, NaN where two values are the same."""
    itself = np.eye(same.shape[-1], dtype=bool)
    return where(same, np.where(itself, 0, np.nan), divide(turned, where(same, 1, gaps)))


# Symmetric matrices


class Eigh(NamedTuple):
    """What `eigh` returns."""

    eigenvalues: Array
    eigenvectors: Array


def eigh(x: Array) -> Eigh:
    """The eigenvalues of the symmetric matrices (x + x.T) / 2, rising, and in columns the
    eigenvectors, as `numpy.linalg.eigh`.

    Raises: ValueError if x is not square.
    """
    return Eigh(eigvalsh(x), eigenvectors(matrices(x, square=True)))


def symmetric(x: Array) -> Array:
    """x as it counts if only its symmetric part does."""
    return (x + swapaxes(x, -1, -2)) * 0.5


def eigvalsh(x: Array) -> Array:
    """The eigenvalues alone of `eigh`. Raises: ValueError if x is not square."""
    return eigenvalues(matrices(x, square=True))


@op(symbol="λ", formula="V diag(g) Vᵀ, V = the eigenvectors of x")
def eigenvalues(x: Array) -> Array:
    """The eigenvalues of the symmetric part of square matrices, rising."""
    return np.linalg.eigvalsh(symmetric(x))


@eigenvalues.vjp
def _(g: Array, out: Array, x: Array) -> Array:
    vectors = eigenvectors(x)
    return matmul(vectors * of_values(g, out, x.shape[-1])[..., None, :], T(vectors))


@op(symbol="V", formula="V (Vᵀ g / (λⱼ − λᵢ), 0 where i = j) Vᵀ, symmetric; V = out")
def eigenvectors(x: Array) -> Array:
    """In columns the eigenvectors of the symmetric part of square matrices, in the order of the
    eigenvalues."""
    return np.linalg.eigh(symmetric(x)).eigenvectors


@eigenvectors.vjp
def _(g: Array, out: Array, x: Array) -> Array:
    # Giles (2008), Collected matrix derivative results for forward and reverse mode AD, 3.1.
    found = sum(out * matmul(symmetric(x), out), -2)
    gaps, turned = found[..., None, :] - found[..., :, None], matmul(T(out), g)
    same = equal_pairs(found, x.shape[-1])
    parts = over_gaps((turned - T(turned)) * 0.5, gaps, same)
    return matmul(out, matmul(parts, T(out)))


# Singular values


class Svd(NamedTuple):
    """What `svd` returns."""

    U: Array
    S: Array
    Vh: Array


def svd(x: Array, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """U, S and Vh with x = U @ diag(S) @ Vh, the columns of U and the rows of Vh of length 1 and at
    right angles, S falling, as `numpy.linalg.svd`; with ``compute_uv=False`` S alone.

    Raises: ValueError for all of U and Vh of matrices that are not square, if x requires a
    gradient: it does not determine the rest.
    """
    x = matrices(x)
    if not compute_uv:
        return svdvals(x)
    if full_matrices and x.shape[-1] != x.shape[-2]:
        if not loses_gradient(x):
            return Svd(*np.linalg.svd(values(x)))
        raise ValueError(
            f"svd: matrices of shape {x.shape[-2:]} do not determine all of U and Vh; take "
            "full_matrices=False"
        )
    both, rows = singular_vectors(x), x.shape[-2]
    return Svd(both[..., :rows, :], svdvals(x), T(both[..., rows:, :]))


def svdvals(x: Array) -> Array:
    """The singular values alone of `svd`. Raises: ValueError if x holds no matrices."""
    return singular_values(matrices(x))


@op(formula="U diag(g) Vᵀ, U and V = the singular vectors of x")
def singular_values(x: Array) -> Array:
    """The singular values of matrices, falling."""
    return np.linalg.svd(x, compute_uv=False)


@singular_values.vjp
def _(g: Array, out: Array, x: Array) -> Array:
    both, rows, n = singular_vectors(x), x.shape[-2], max(x.shape[-2:])
    zero = values(out) <= rounding(values(out), n)  # as abs: no derivative there
    g = where(zero & (values(g) != 0), np.nan, of_values(g, out, n))
    return matmul(both[..., :rows, :] * g[..., None, :], T(both[..., rows:, :]))


@op(symbol="U V", formula="the sum over U and V of g's part that turns them, over the gaps of σ²")
def singular_vectors(x: Array) -> Array:
    """U, and below it V, of matrices x = U @ diag(S) @ V.T with as few columns as x has rows or
    columns."""
    found = np.linalg.svd(x, full_matrices=False)
    return np.concatenate([found.U, np.swapaxes(found.Vh, -1, -2)], -2)


@singular_vectors.vjp
def _(g: Array, out: Array, x: Array) -> Array:
    # Townsend (2016), Differentiating the singular value decomposition.
    rows, n = x.shape[-2], max(x.shape[-2:])
    u, v, gu, gv = out[..., :rows, :], out[..., rows:, :], g[..., :rows, :], g[..., rows:, :]
    found = sum(u * matmul(x, v), -2)
    ahead, behind = found[..., None, :], found[..., :, None]
    gaps, same = (ahead - behind) * (ahead + behind), equal_pairs(found, n)

    def turned(vectors: Array, g: Array) -> Array:
        around = matmul(T(vectors), g)
        return over_gaps(around - T(around), gaps, same)

    middle = turned(u, gu) * ahead + behind * turned(v, gv)
    gradient = matmul(u, matmul(middle, T(v)))
    if x.shape[-1] == x.shape[-2]:
        return gradient
    zero = values(found) <= rounding(values(found), n)
    over = where(zero, np.nan, divide(1, where(zero, 1, found)))[..., None, :]
    if rows > x.shape[-1]:
        return gradient + matmul((gu - matmul(u, matmul(T(u), gu))) * over, T(v))
    return gradient + matmul(u, T((gv - matmul(v, matmul(T(v), gv))) * over))


# What they solve


class Qr(NamedTuple):
    """What `qr` returns."""

    Q: Array
    R: Array


def qr(a: Array, mode: str = "reduced") -> Any:
    """Q and R with a = Q @ R, the columns of Q of length 1 and at right angles, R upper
    triangular, as `numpy.linalg.qr`; R alone with ``mode="r"``.

    Raises: ValueError for other modes, if a requires a gradient, as it does not determine more of
    Q.
    """
    a = matrices(a)
    if mode not in ("reduced", "r") and not loses_gradient(a):
        return np.linalg.qr(values(a), mode)  # type: ignore[call-overload]
    if mode not in ("reduced", "r"):
        raise ValueError(f"qr: mode must be 'reduced' or 'r' here, but is {mode!r}")
    n = min(a.shape[-2:])
    q = orthonormal(a if a.shape[-1] == n else getitem(a, (..., slice(n))))
    r = triu(matmul(T(q), a))
    return Qr(q, r) if mode == "reduced" else r


@op(symbol="Q", formula="(g + Q M) R⁻ᵀ, M = −gᵀ Q with the part below copied above; Q = out")
def orthonormal(a: Array) -> Array:
    """The Q of the decomposition a = Q @ R, of matrices with no more columns than rows."""
    return np.linalg.qr(a).Q


@orthonormal.vjp
def _(g: Array, out: Array, a: Array) -> Array:
    # Walter and Lehmann (2012), Algorithmic differentiation of linear algebra functions.
    r = triu(matmul(T(out), a))
    diagonal = np.abs(np.diagonal(values(r), axis1=-2, axis2=-1))
    dependent = (diagonal <= rounding(diagonal, a.shape[-2])).any(-1)[..., None, None]
    below = tril(-matmul(T(g), out))
    both = below + T(tril(below, -1))
    right = where(dependent, np.eye(r.shape[-1], dtype=r.dtype), r)
    gradient = T(solve(right, T(g + matmul(out, both))))
    return where(dependent, np.nan, gradient)


@op(inputs=1, formula="−pᵀ g pᵀ + (I − a p) gᵀ p pᵀ + pᵀ p gᵀ (I − p a); p = out")
def pinv(a: Array, rcond: Any = None) -> Array:
    """The pseudoinverse: singular values below `rcond` times the largest (None: 1e-15) count as 0,
    as in `numpy.linalg.pinv`. Where there are such the gradient is NaN, as a small step away from a
    0 makes it count."""
    return np.linalg.pinv(a, *([] if rcond is None else [rcond]))


@pinv.vjp
def _(g: Array, out: Array, a: Array, rcond: Any) -> Array:
    # Golub and Pereyra (1973), SIAM Journal on Numerical Analysis 10, 413-432.
    found = np.linalg.svd(values(a), compute_uv=False)
    limit = np.multiply(1e-15 if rcond is None else rcond, found.max(-1, initial=0))[..., None]
    limit = np.maximum(limit, rounding(found, max(a.shape[-2:])))
    gradient = -matmul(T(out), matmul(g, T(out)))
    if a.shape[-2] > a.shape[-1]:
        part = matmul(T(g), matmul(out, T(out)))
        gradient = gradient + part - matmul(a, matmul(out, part))
    elif a.shape[-2] < a.shape[-1]:
        part = matmul(matmul(T(out), out), T(g))
        gradient = gradient + part - matmul(matmul(part, out), a)
    return where((found <= limit).any(-1)[..., None, None], np.nan, gradient)


class Lstsq(NamedTuple):
    """What `lstsq` returns."""

    x: Array
    residuals: Array
    rank: Any
    s: Array


def lstsq(a: Array, b: Array, rcond: float | None = None) -> Lstsq:
    """The x with the smallest sum of squares of a @ x - b, that sum for each column of b (empty
    where a has no more rows than columns, or not that rank), the rank of a, and its singular
    values, as `numpy.linalg.lstsq`. The rank is a plain number.

    Raises: ValueError if a is no matrix, or b does not have as many rows.
    """
    a, b = as_floating(a), as_floating(b)
    if a.ndim != 2 or b.ndim not in (1, 2) or len(a) != len(b):
        raise ValueError(
            f"lstsq: a must be a matrix, and b a vector or a matrix with as many rows, but their "
            f"shapes are {a.shape} and {b.shape}"
        )
    eps = np.finfo(np.result_type(a.dtype, b.dtype)).eps
    limit = eps * max(a.shape) if rcond is None else eps if rcond < 0 else rcond
    found = svdvals(a)
    sizes = values(found)
    rank = np.intc(np.count_nonzero(sizes > limit * sizes.max(initial=0)))
    x = matmul(pinv(a, limit), b)
    rest = subtract(b, matmul(a, x))
    squares = reshape(sum(rest * rest, 0), -1)
    return Lstsq(x, squares if len(a) > a.shape[1] == rank else squares[:0], rank, found)
