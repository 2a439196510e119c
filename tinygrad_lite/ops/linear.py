"""Products that are linear in each of their inputs."""

from __future__ import annotations

import numpy as np

from ..operation import op
from .elementwise import Array

# Elements from which np.matmul is quicker; below, .dot starts 0.5 us sooner (but with one element,
# 0 times NaN is 0 for it).
LARGE = 1 << 14


@op(
    symbol="@",
    shapes="the last axis of x1 must match the last but one of x2 (its only one, if 1-D), "
    "and the axes before them must broadcast",
    linear=True,
    batched=True,
    formula=("g x2ᵀ", "x1ᵀ g"),  # a vector on the left is a row, one on the right a column
)
def matmul(x1: Array, x2: Array) -> Array:
    """The matrix product as in `numpy.matmul`: 1-D inputs are vectors, axes before the
    last two are batches and broadcast."""
    return np.matmul(x1, x2)


@matmul.vjp("x1")
def _(g: Array, out: Array, x1: Array, x2: Array) -> Array:
    if x2.ndim == 1:  # out[..., i] = sum_j x1[..., i, j] x2[j]
        return g[..., None] * x2
    if x1.ndim == 1:
        return (x2 @ g[..., None])[..., 0]
    if x2.ndim == g.ndim == 2 and x1.size < LARGE and g.size > 1 < x2.size:
        return g.dot(x2.T)
    return g @ x2.swapaxes(-1, -2)


@matmul.vjp("x2")
def _(g: Array, out: Array, x1: Array, x2: Array) -> Array:
    if x1.ndim == 1:  # out[..., j] = sum_i x1[i] x2[..., i, j]
        return x1[:, None] * g[..., None, :] if x2.ndim > 1 else x1 * g[..., None]
    if x2.ndim == 1:
        return (x1.swapaxes(-1, -2) @ g[..., None])[..., 0]
    if x1.ndim == g.ndim == 2 and x2.size < LARGE and g.size > 1 < x1.size:
        return x1.T.dot(g)
    return x1.swapaxes(-1, -2) @ g
