"""Functions that choose elements, put some in or leave some out. Arguments are NumPy's."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..arrays import Carrier
from .arrange import ravel, take
from .elementwise import (
    Array,
    astype,
    equal,
    maximum,
    minimum,
    not_equal,
    operand,
    remainder,
    values,
    where,
)
from .shape import broadcast_to, concatenate, reshape

__all__ = [
    "append", "block", "choose", "compress", "delete", "extract", "insert", "nan_to_num", "select",
]  # fmt: skip


def chosen(x: Any) -> Any:
    """The plain array of what says which elements; a replay asks a Tensor for it again."""
    return x.as_static() if isinstance(x, Carrier) else x if isinstance(x, slice) else operand(x)


def nan_to_num(
    x: Array, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None
) -> Array:
    """x with other numbers for NaN, inf (None: the largest of its dtype) and -inf (None: the
    smallest); only what is finite keeps its gradient. x is never written to, whatever `copy`."""
    x = kept = operand(x)
    if x.dtype.kind != "f":
        return x
    most = np.finfo(x.dtype).max
    kept = where(equal(x, inf), most if posinf is None else posinf, kept)
    kept = where(equal(x, -inf), -most if neginf is None else neginf, kept)
    return where(not_equal(x, x), nan, kept)


def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Array:
    """From the first of the choices whose condition holds, elementwise, else the default.

    Raises: ValueError if there are not as many choices as conditions, or none; TypeError for
    conditions that are not boolean.
    """
    if len(condlist) != len(choicelist) or len(condlist) == 0:
        raise ValueError(
            f"select: there must be a choice for each condition, and one at least, but there are "
            f"{len(choicelist)} choices for {len(condlist)} conditions"
        )
    conditions = [operand(x) for x in condlist]
    if odd := [str(x.dtype) for x in conditions if x.dtype != bool]:
        raise TypeError(f"select: conditions are boolean, but one is {odd[0]}; compare it first")
    numbers = [x if type(x) in (int, float) else operand(x) for x in (*choicelist, default)]
    found = numbers.pop()
    for condition, x in zip(conditions[::-1], numbers[::-1], strict=True):
        found = where(condition, x, found)
    return found


def choose(a: Array, choices: Any, mode: str = "raise") -> Array:
    """For each of the integers a the element of the choice with that number, all broadcast.

    Numbers that are out of range raise, or with ``mode="wrap"`` count on from the other end, or
    with ``mode="clip"`` mean the first or the last choice.
    """
    index = operand(a)
    arrays = [x if type(x) in (int, float) else operand(x) for x in choices]
    if index.dtype.kind not in "iub":
        raise TypeError(f"choose: a holds the numbers of choices, integers, but is {index.dtype}")
    if mode not in ("raise", "wrap", "clip"):
        raise ValueError(f"choose: mode must be 'raise', 'wrap' or 'clip', but is {mode!r}")
    index = astype(index, np.int64) if index.dtype == bool else index
    last = len(arrays) - 1
    if mode == "wrap":
        index = remainder(index, len(arrays))
    elif mode == "clip":
        index = minimum(maximum(index, 0), last)
    elif np.any((values(index) < 0) | (values(index) > last)):
        raise ValueError(f"choose: the numbers of {last + 1} choices run from 0 to {last}")
    shape = np.broadcast_shapes(index.shape, *map(np.shape, arrays))
    found = broadcast_to(arrays[-1], shape)
    for k in reversed(range(last)):
        found = where(equal(index, k), arrays[k], found)
    return found


def compress(condition: Any, a: Array, axis: int | None = None) -> Array:
    """The slices along the axis (None: the elements, flat) at which the vector of conditions
    holds. Raises: ValueError if it is no vector; IndexError where it holds beyond the end."""
    condition = np.asarray(chosen(condition))
    if condition.ndim != 1:
        raise ValueError(f"compress: condition must be a vector, but has {condition.ndim} axes")
    return take(operand(a), np.flatnonzero(condition), axis)


def extract(condition: Any, arr: Array) -> Array:
    """The elements of arr, flat, at which the condition holds."""
    return take(operand(arr), np.flatnonzero(chosen(condition)))


def append(arr: Array, values: Array, axis: int | None = None) -> Array:
    """arr and then the values, joined along the axis (None: both flat)."""
    if axis is None:
        arr, values, axis = ravel(operand(arr)), ravel(operand(values)), 0
    return concatenate([arr, values], axis)


def delete(arr: Array, obj: Any, axis: int | None = None) -> Array:
    """arr without the slices along the axis (None: the elements, flat) that `obj` names: an
    integer, several, a slice or booleans."""
    arr, axis = flat_unless(axis, arr)
    return take(arr, np.delete(np.arange(arr.shape[axis]), chosen(obj)), axis)


def insert(arr: Array, obj: Any, values: Array, axis: int | None = None) -> Array:
    """arr with values put in before the places `obj` along the axis (None: flat).

    One integer takes any number of values, several take one each (or one for all); `obj` may be a
    slice or booleans too. The values are cast to the dtype of arr.

    Raises: TypeError for values of a kind that the dtype of arr does not hold.
    """
    arr, axis = flat_unless(axis, arr)
    new, obj = operand(values), chosen(obj)
    if not np.can_cast(new.dtype, arr.dtype, "same_kind"):
        raise TypeError(
            f"insert: values of dtype {new.dtype} do not fit into dtype {arr.dtype}; convert one "
            "of them with .astype"
        )
    new = new if new.dtype == arr.dtype else astype(new, arr.dtype)
    if not isinstance(obj, slice) and obj.dtype == bool:  # NumPy 2.0 takes it for integers
        obj = np.flatnonzero(obj)
    places = np.arange(arr.shape[axis])[obj] if isinstance(obj, slice) else obj
    count = places.size
    if count == 1 or places.ndim == 0:
        new = reshape(new, (1,) * (arr.ndim - new.ndim) + new.shape)
        if places.ndim == 0:  # NumPy takes the first axis of the values for this one
            order = np.moveaxis(np.broadcast_to(0, tuple(range(new.ndim))), 0, axis).shape
            new = new.transpose(order)
        count = new.shape[axis]
    shape = (*arr.shape[:axis], count, *arr.shape[axis + 1 :])
    numbers = np.insert(np.arange(arr.shape[axis]), obj, arr.shape[axis] + np.arange(count))
    return take(concatenate([arr, broadcast_to(new, shape)], axis), numbers, axis)


def flat_unless(axis: int | None, x: Array) -> tuple[Array, int]:
    """x and the axis counted from the first; flat and its only axis if it is None."""
    x = operand(x)
    return (ravel(x), 0) if axis is None else (x, normalize_axis_index(axis, x.ndim))


def block(arrays: Any) -> Array:
    """Arrays in nested lists joined to one: the innermost lists along the last axis, those around
    them along the one before, and so on.

    Raises: ValueError for an empty list, or lists that are not nested equally deep.
    """
    depths = set(depths_of(arrays))
    if len(depths) > 1:
        raise ValueError("block: every array must stand equally deep in the nested lists")
    depth = depths.pop()
    ndim = max(depth, *(np.ndim(x) for x in leaves_of(arrays)), 0)

    def join(part: Any, level: int) -> Array:
        if level == 0:
            part = operand(part)
            return reshape(part, (1,) * (ndim - part.ndim) + part.shape)
        return concatenate([join(x, level - 1) for x in part], -level)

    return join(arrays, depth)


def depths_of(arrays: Any, level: int = 0) -> list[int]:
    """How deep in nested lists each array stands."""
    if isinstance(arrays, tuple):
        raise TypeError("block: arrays stand in lists, not in tuples")
    if not isinstance(arrays, list):
        return [level]
    if not arrays:
        raise ValueError("block: a list must not be empty")
    return [depth for part in arrays for depth in depths_of(part, level + 1)]


def leaves_of(arrays: Any) -> list[Any]:
    """The arrays in nested lists."""
    return [x for part in arrays for x in leaves_of(part)] if isinstance(arrays, list) else [arrays]
