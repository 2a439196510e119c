"""Linear algebra on the last two axes, as `numpy.linalg` has it; axes before are batches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from operator import index
from typing import NamedTuple

import numpy as np

from ..operation import op
from .arrange import swapaxes, tril
from .elementwise import Array, operand, values, where
from .linear import matmul
from .shape import getitem, stack

__all__ = ["cholesky", "det", "inv", "matrix_power", "multi_dot", "slogdet", "solve"]


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
    half = x * 0.5  # the sum of integers might not fit their dtype
    return np.linalg.cholesky(half + np.swapaxes(half, -1, -2))


@cholesky.vjp
def _(g: Array, out: Array, x: Array) -> Array:
    # Murray (2016), Differentiation of the Cholesky decomposition, arXiv:1602.07527.
    n = x.shape[-1]
    half = tril(matmul(T(out), g)) * (1 - 0.5 * np.eye(n)).astype(x.dtype)
    right = T(solve(T(out), T(half)))  # half @ inv(out)
    gradient = solve(T(out), right)
    return (gradient + T(gradient)) * 0.5


def matrix_power(a: Array, n: int) -> Array:
    """The product of n square matrices a; of their inverses if n is negative.

    Raises: ValueError if a is not square, or has no inverse; TypeError if n is no integer.
    """
    a, n = operand(a), index(n)
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ValueError(f"matrix_power: a must be square matrices, but has the shape {a.shape}")
    if n == 0:
        return where(True, np.eye(a.shape[-1], dtype=a.dtype), a)
    base = inv(a) if n < 0 else a

    def product(n: int) -> Array:
        if n == 1:
            return base
        half = product(n // 2)
        return matmul(matmul(half, half), base) if n % 2 else matmul(half, half)

    return product(abs(n))


def multi_dot(arrays: Sequence[Array]) -> Array:
    """The product of a chain of matrices, in the order that multiplies the fewest numbers; the
    first and the last may be vectors.

    Raises: ValueError for fewer than two arrays, and for shapes that do not fit.
    """
    chain = [operand(x) for x in arrays]
    allowed = [(1, 2), *[(2,)] * (len(chain) - 2), (1, 2)]
    if len(chain) < 2 or any(x.ndim not in n for x, n in zip(chain, allowed, strict=True)):
        raise ValueError(
            "multi_dot: it takes two arrays or more, all matrices but the first and the last, "
            f"which may be vectors; got the shapes {', '.join(str(x.shape) for x in chain)}"
        )
    sizes = [x.shape[0] if x.ndim == 2 else 1 for x in chain[:1]]
    sizes += [x.shape[0] for x in chain[1:]] + [chain[-1].shape[1] if chain[-1].ndim == 2 else 1]

    @cache
    def best(i: int, j: int) -> tuple[int, int]:
        """The fewest products for chain[i : j + 1], and where to cut it first."""
        if i == j:
            return 0, i
        return min(
            (best(i, k)[0] + best(k + 1, j)[0] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
            for k in range(i, j)
        )

    def product(i: int, j: int) -> Array:
        cut = best(i, j)[1]
        return chain[i] if i == j else matmul(product(i, cut), product(cut + 1, j))

    return product(0, len(chain) - 1)
