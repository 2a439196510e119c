"""Arrays measured: their norm, and what can be said of their elements."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..text import number


def wide(array: Any) -> np.ndarray:
    """The array as float64; a longdouble keeps its range and its digits."""
    array = np.asarray(array)
    return array if array.dtype == np.longdouble else np.asarray(array, float)


def narrow(x: Any) -> float:
    """A number as a float where that holds its size, else as the longdouble that it is."""
    held = float(x)
    return held if math.isnan(held) or held == x or 0 < abs(held) < math.inf else x


def share_of(part: np.ndarray, whole: np.ndarray) -> float | None:
    """The signed share of a part of a gradient that is not 0; None where it overflows."""
    unit = wide(whole) / np.abs(whole).max()
    share = narrow(np.vdot(part / np.abs(whole).max(), unit) / np.vdot(unit, unit))
    return share if math.isfinite(share) else None


def norm(array: Any) -> float:
    """The Euclidean norm of all elements, without overflow or underflow on the way.

    Where no float64 holds it, it comes as a longdouble.
    """
    array = wide(array)
    square = float(np.vdot(array, array))
    if 1e-200 < square < 1e200:
        return math.sqrt(square)
    size = np.abs(array).ravel()
    largest = size.max(initial=0.0)
    if not 0 < largest < np.inf:
        return float(largest)
    return narrow(np.longdouble(largest) * np.linalg.norm(size / largest))


def norms(parts: np.ndarray) -> list[float]:
    """The norm of each part, without overflow or underflow on the way."""
    rows = np.abs(wide(parts).reshape(len(parts), -1))
    largest = rows.max(axis=1, initial=0.0)
    scale = np.where((largest > 0) & (largest < np.inf), largest, 1.0)
    sizes = scale * np.sqrt(np.square(rows / scale[:, None]).sum(axis=1))
    found: list[float] = sizes.tolist()
    return found


def finite_elements(array: np.ndarray) -> np.ndarray:
    """The array itself if it is finite, else its finite elements in a row."""
    is_finite = np.isfinite(array)
    return array if is_finite.all() else array[is_finite]


@dataclass(frozen=True, slots=True)
class Summary:
    """What there is to say of an array too large to show: `range` is the least, the mean and
    the largest of its finite elements, None if there are none."""

    shape: tuple[int, ...]
    dtype: str
    range: tuple[float, float, float] | None
    norm: float
    nans: int
    infinities: int

    def __str__(self) -> str:
        text = f"{self.shape} {self.dtype}"
        if self.range is not None:
            text += " min {} mean {} max {}".format(*map(number, self.range))
        for count, what in ((self.nans, "NaN"), (self.infinities, "inf")):
            text += f" {count} {what}" if count else ""
        return text


def summary(array: Any) -> Summary:
    """Shape, dtype, min, mean, max, norm, and the number of NaN and inf."""
    array = np.asarray(array)
    numbers = wide(array)
    finite = finite_elements(numbers)
    span = None
    if finite.size:
        span = narrow(finite.min()), narrow(finite.mean()), narrow(finite.max())
    nans = 0 if finite is numbers else int(np.isnan(numbers).sum())
    bad = numbers.size - finite.size
    return Summary(array.shape, str(array.dtype), span, norm(numbers), nans, bad - nans)
