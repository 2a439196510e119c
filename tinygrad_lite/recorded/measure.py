"""Arrays measured: their norm, and what can be said of their elements."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..text import number


def norm(array: Any) -> float:
    """The Euclidean norm of all elements, without overflow or underflow on the way."""
    array = np.asarray(array, float)
    square = float(np.vdot(array, array))
    if 1e-200 < square < 1e200:
        return math.sqrt(square)
    size = np.abs(array).ravel()
    largest = float(size.max(initial=0.0))
    if not 0 < largest < np.inf:
        return largest
    return largest * float(np.linalg.norm(size / largest))


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
    numbers = array.astype(float, copy=False)
    finite = finite_elements(numbers)
    span = (float(finite.min()), float(finite.mean()), float(finite.max())) if finite.size else None
    nans = 0 if finite is numbers else int(np.isnan(numbers).sum())
    bad = numbers.size - finite.size
    return Summary(array.shape, str(array.dtype), span, norm(numbers), nans, bad - nans)
