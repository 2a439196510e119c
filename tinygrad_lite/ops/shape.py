"""Ops that move elements without changing them: their vjps move the gradient back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..operation import op
from .elementwise import Array

Shape = int | Sequence[int]


@op(symbol="reshape", inputs=1, linear=True)
def reshape(x: Array, shape: Shape) -> Array:
    """The elements of x, in C order, in another shape; one size may be -1."""
    return np.reshape(x, shape)


reshape.vjp(lambda g, out, x, shape: reshape(g, x.shape))


@op(symbol="ᵀ", inputs=1, linear=True)
def transpose(x: Array, axes: Sequence[int] | None = None) -> Array:
    """x with its axes permuted (None: reversed)."""
    return np.transpose(x, axes)


@transpose.vjp
def _(g: Array, out: Array, x: Array, axes: Sequence[int] | None) -> Array:
    return transpose(g, None if axes is None else np.argsort(np.array(axes) % x.ndim))


@op(symbol="broadcast", inputs=1, linear=True)
def broadcast_to(x: Array, shape: Shape) -> Array:
    """x repeated along new axes and along axes of size 1, without a copy."""
    if isinstance(x, np.generic) and isinstance(shape, tuple):
        return np.ndarray(shape, x.dtype, x, 0, (0,) * len(shape))  # the same, 2 us quicker
    return np.broadcast_to(x, shape)


broadcast_to.vjp(lambda g, out, x, shape: g)  # the engine sums what was broadcast


@op(symbol="[ ]", inputs=1, linear=True)
def getitem(x: Array, index: Any) -> Array:
    """x[index], for every kind of index that NumPy has."""
    return x[index]


@getitem.vjp
def _(g: Array, out: Array, x: Array, index: Any) -> Array:
    return index_add(g, index, x.shape)


@op(symbol="[ ]+=", inputs=1, linear=True)
def index_add(x: Array, index: Any, shape: Shape) -> Array:
    """Zeros of the given shape with x added at index, once for each time it is named."""
    out = np.zeros(shape, x.dtype)
    if is_basic(index):
        out[index] = x
    else:
        np.add.at(out, index, x)
    return out


index_add.vjp(lambda g, out, x, index, shape: getitem(g, index))


def is_basic(index: Any) -> bool:
    """Whether the index names each element at most once: only integers, slices, ... and None."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        part is None or part is Ellipsis or isinstance(part, (int, np.integer, slice))
        for part in parts
    )


@op(symbol="concat", sequence=True)
def concatenate(arrays: Sequence[Array], axis: int = 0) -> Array:
    """The arrays joined along an existing axis."""
    return np.concatenate(arrays, axis=axis)


@concatenate.vjp
def _(g: Array, out: Array, arrays: Sequence[Array], axis: int) -> list[Array]:
    ends = np.cumsum([x.shape[axis] for x in arrays]).tolist()
    before = (slice(None),) * (axis % g.ndim)
    return [
        g[(*before, slice(end - x.shape[axis], end))] for x, end in zip(arrays, ends, strict=True)
    ]


@op(symbol="stack", sequence=True)
def stack(arrays: Sequence[Array], axis: int = 0) -> Array:
    """The arrays joined along a new axis."""
    return np.stack(arrays, axis=axis)


@stack.vjp
def _(g: Array, out: Array, arrays: Sequence[Array], axis: int) -> list[Array]:
    before = (slice(None),) * (axis % g.ndim)
    return [g[(*before, i)] for i in range(len(arrays))]


@op(symbol="pad", inputs=1)
def pad(x: Array, pad_width: Any, mode: str = "constant", constant_values: float = 0) -> Array:
    """x with `pad_width` elements around it, as in `numpy.pad`: a constant, or by the mode
    "reflect", "symmetric", "edge" or "wrap" elements of x again.

    Raises: ValueError for another mode.
    """
    if mode == "constant":
        return np.pad(x, pad_width, constant_values=constant_values)
    return x[padding_index(x.shape, pad_width, mode)]


@pad.vjp
def _(g: Array, out: Array, x: Array, pad_width: Any, mode: str, constant_values: float) -> Array:
    if mode != "constant":
        return index_add(g, padding_index(x.shape, pad_width, mode), x.shape)
    widths = np.broadcast_to(pad_width, (x.ndim, 2)).tolist()
    return g[
        tuple(slice(before, before + n) for (before, _), n in zip(widths, x.shape, strict=True))
    ]


def padding_index(shape: tuple[int, ...], pad_width: Any, mode: str) -> tuple[np.ndarray, ...]:
    """The index of the padded array in x: axis by axis, the numbers of the elements padded."""
    if mode not in ("reflect", "symmetric", "edge", "wrap"):
        raise ValueError(
            f"mode must be 'constant', 'reflect', 'symmetric', 'edge' or 'wrap', but is {mode!r}"
        )
    widths = np.broadcast_to(pad_width, (len(shape), 2)).tolist()
    return np.ix_(*(np.pad(np.arange(n), w, mode) for n, w in zip(shape, widths, strict=True)))  # type: ignore[call-overload]
