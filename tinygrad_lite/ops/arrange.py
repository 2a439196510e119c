"""Functions that move, repeat, drop or join elements: NumPy's, by three ideas.

What only changes the shape is a `reshape` or a `transpose`: NumPy is asked what it would
do to a stand-in of that shape. What moves elements is an op of its own, with one rule for
all: their positions are moved the same way, so each gradient finds its way back. The
rest is composed of indexing and `concatenate`. Arguments are NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..operation import Op, op
from .elementwise import Array, operand
from .reduce import sum
from .shape import MOVED, concatenate, getitem, index_add, reshape, transpose

__all__ = [
    "array_split", "atleast_1d", "atleast_2d", "atleast_3d", "column_stack", "diag", "diagonal",
    "dsplit", "dstack", "expand_dims", "flip", "fliplr", "flipud", "hsplit", "hstack", "moveaxis",
    "ravel", "repeat",
    "roll", "rot90", "split", "squeeze", "swapaxes", "take", "take_along_axis", "tile", "trace",
    "tril", "triu", "vsplit", "vstack",
]  # fmt: skip


# What only changes the shape


def reshape_in_order(x: Array, shape: Any, order: str = "C") -> Array:
    """The elements in C order ("C") or in Fortran's, the first axis fastest ("F"), in another
    shape. Raises: ValueError for the orders "A" and "K", as no memory is seen here."""
    if order not in ("C", "F"):
        raise ValueError(f"order must be 'C' or 'F', but is {order!r}")
    if order == "C":
        return reshape(x, shape)
    return transpose(reshape(transpose(x), tuple(np.atleast_1d(shape).tolist()[::-1])))


def ravel(x: Array, order: str = "C") -> Array:
    """The elements along one axis, in C order, or with ``order="F"`` in Fortran's."""
    return reshape_in_order(x, -1, order)


def squeeze(x: Array, axis: int | tuple[int, ...] | None = None) -> Array:
    """x without the axes of size 1 (None: without any). Raises: ValueError for other sizes."""
    return reshape(x, np.squeeze(np.broadcast_to(0, np.shape(x)), axis).shape)


def expand_dims(x: Array, axis: int | tuple[int, ...]) -> Array:
    """x with new axes of size 1, at the given places in the result."""
    return reshape(x, np.expand_dims(np.broadcast_to(0, np.shape(x)), axis).shape)


def moveaxis(x: Array, source: Any, destination: Any) -> Array:
    """x with the axes `source` moved to the places `destination`, the others in order."""
    axes = np.broadcast_to(0, tuple(range(np.ndim(x))))  # the size of each axis is its number
    return transpose(x, np.moveaxis(axes, source, destination).shape)


def swapaxes(x: Array, axis1: int, axis2: int) -> Array:
    """x with two axes exchanged."""
    axes = np.broadcast_to(0, tuple(range(np.ndim(x))))
    return transpose(x, np.swapaxes(axes, axis1, axis2).shape)


def at_least(function: Callable[[Any], Any]) -> Callable[..., Any]:
    """NumPy's atleast_nd on Tensors."""

    def apply(*arrays: Array) -> Any:
        made = []
        for x in arrays:
            shape = function(np.broadcast_to(0, np.shape(x))).shape
            made.append(operand(x) if shape == np.shape(x) else reshape(x, shape))
        return made[0] if len(made) == 1 else tuple(made)

    apply.__name__ = apply.__qualname__ = function.__name__
    apply.__doc__ = f"Each array with at least {function.__name__[-2]} axes."
    return apply


atleast_1d = at_least(np.atleast_1d)
atleast_2d = at_least(np.atleast_2d)
atleast_3d = at_least(np.atleast_3d)


# What moves elements


def moving(forward: Callable[..., Any]) -> Op:
    """Make an op of a function that moves, repeats or drops elements: its rule is here."""
    made: Op = op(inputs=1, linear=True, formula=MOVED)(forward)

    @made.vjp
    def _(g: Array, out: Array, x: Array, **static: Any) -> Array:
        came_from = forward(np.arange(x.size).reshape(x.shape), **static)
        return reshape(index_add(g, came_from, (x.size,)), x.shape)

    return made


@moving
def flip(x: Array, axis: int | tuple[int, ...] | None = None) -> Array:
    """x with the order of its elements reversed along the axes (None: all)."""
    return np.flip(x, axis)


def flipud(m: Array) -> Array:
    """m with its first axis the other way round."""
    return flip(m, 0)


def fliplr(m: Array) -> Array:
    """m, of two axes or more, with its second axis the other way round."""
    return flip(m, 1)


@moving
def roll(x: Array, shift: Any = 1, axis: Any = None) -> Array:
    """x moved `shift` places along the axes (None: as if flat), the last coming first."""
    return np.roll(x, shift, axis)


@moving
def rot90(x: Array, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Array:
    """x turned k times by a right angle, from the first of the axes towards the second."""
    return np.rot90(x, k, axes)


@moving
def repeat(x: Array, repeats: Any = 1, axis: int | None = None) -> Array:
    """x with each element `repeats` times in a row along the axis (None: flat)."""
    return np.repeat(x, repeats, axis)


@moving
def tile(x: Array, reps: Any = 1) -> Array:
    """x laid side by side, reps times along each axis."""
    return np.tile(x, reps)


@moving
def take(x: Array, indices: Any = 0, axis: int | None = None, mode: Any = "raise") -> Array:
    """The elements at the indices along the axis (None: flat)."""
    return np.take(x, indices, axis, mode=mode)


@moving
def take_along_axis(x: Array, indices: Any = 0, axis: int | None = -1) -> Array:
    """For each line along the axis, its elements at its own indices, as argsort gives them."""
    return np.take_along_axis(x, indices, axis)


@moving
def diagonal(x: Array, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """The elements x[..., i, ..., i + offset, ...] of two axes, along a new last axis."""
    return np.diagonal(x, offset, axis1, axis2)


def diag(x: Array, k: int = 0) -> Array:
    """The k-th diagonal of a matrix, or the matrix that has the vector x there.

    Raises: ValueError if x has more axes.
    """
    if np.ndim(x) not in (1, 2):
        raise ValueError(f"diag: x must be a vector or a matrix, but has the shape {np.shape(x)}")
    if np.ndim(x) == 2:
        return diagonal(x, k)
    n = len(x) + abs(k)
    places = np.diag(np.ones(len(x), bool), k).nonzero()
    return index_add(x, places, (n, n))


def trace(x: Array, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """The sum of a diagonal of two axes."""
    return sum(diagonal(x, offset, axis1, axis2), -1)


@op(symbol="◺", inputs=1, linear=True, formula="g where x was kept, 0 elsewhere")
def tril(x: Array, k: int = 0) -> Array:
    """x with 0 above the k-th diagonal of its last two axes."""
    return np.tril(x, k)


@op(symbol="◹", inputs=1, linear=True, formula="g where x was kept, 0 elsewhere")
def triu(x: Array, k: int = 0) -> Array:
    """x with 0 below the k-th diagonal of its last two axes."""
    return np.triu(x, k)


tril.vjp(lambda g, out, x, k: tril(g, k))
triu.vjp(lambda g, out, x, k: triu(g, k))


# What takes apart and joins


def array_split(x: Array, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    """x cut at the indices along the axis, or into that many parts, the first ones longer.

    Raises: ValueError if there would be no part.
    """
    x = operand(x)
    axis = normalize_axis_index(axis, x.ndim)
    n = x.shape[axis]
    if np.ndim(indices_or_sections):
        ends = [*indices_or_sections, n]
    elif indices_or_sections < 1:
        raise ValueError(f"there must be at least 1 part, not {indices_or_sections}")
    else:
        size, longer = divmod(n, indices_or_sections)
        ends = [(i + 1) * size + min(i + 1, longer) for i in range(indices_or_sections)]
    before = (slice(None),) * axis
    return [getitem(x, (*before, slice(a, b))) for a, b in pairwise([0, *ends])]


def split(x: Array, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    """x cut at the indices along the axis, or into that many equal parts.

    Raises: ValueError if the parts would not be equal.
    """
    x = operand(x)
    n = x.shape[normalize_axis_index(axis, x.ndim)]
    parts = 1 if np.ndim(indices_or_sections) else indices_or_sections
    if parts > 0 and n % parts:
        raise ValueError(
            f"split: axis {axis} has {n} elements, which do not make {parts} equal parts; "
            "array_split makes unequal ones"
        )
    return array_split(x, indices_or_sections, axis)


def vsplit(x: Array, indices_or_sections: Any) -> list[Array]:
    """`split` along the first axis of two or more."""
    if np.ndim(x) < 2:
        raise ValueError(f"vsplit: x must have 2 axes or more, but has the shape {np.shape(x)}")
    return split(x, indices_or_sections, 0)


def hsplit(x: Array, indices_or_sections: Any) -> list[Array]:
    """`split` along the second axis, the only one of a vector."""
    return split(x, indices_or_sections, 0 if np.ndim(x) == 1 else 1)


def dsplit(x: Array, indices_or_sections: Any) -> list[Array]:
    """`split` along the third axis."""
    return split(x, indices_or_sections, 2)


def vstack(arrays: Sequence[Array]) -> Array:
    """The arrays joined along the first axis; vectors are rows."""
    return concatenate([atleast_2d(x) for x in arrays], 0)


def hstack(arrays: Sequence[Array]) -> Array:
    """The arrays joined along the second axis, vectors along their only one."""
    arrays = [atleast_1d(x) for x in arrays]
    return concatenate(arrays, 0 if arrays and arrays[0].ndim == 1 else 1)


def dstack(arrays: Sequence[Array]) -> Array:
    """The arrays joined along the third axis."""
    return concatenate([atleast_3d(x) for x in arrays], 2)


def column_stack(arrays: Sequence[Array]) -> Array:
    """The arrays joined along the second axis; vectors are columns."""
    arrays = [operand(x) for x in arrays]
    return concatenate([x if x.ndim > 1 else reshape(x, (-1, 1)) for x in arrays], 1)
