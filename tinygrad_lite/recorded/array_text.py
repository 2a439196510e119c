"""How an array is told in a line or a few: its numbers, or what can be said of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..drawing.text import number
from ..views.boxes import norm

WHOLE = 10_000  # the most elements that are ever shown one by one


@dataclass(frozen=True)
class Summary:
    """What there is to say of an array too large to show: over its finite elements, and
    how many are not."""

    shape: tuple[int, ...]
    dtype: str
    least: float | None
    mean: float | None
    largest: float | None
    norm: float
    nans: int
    infinities: int

    def __str__(self) -> str:
        parts = [f"{self.shape} {self.dtype}"]
        if self.least is not None and self.mean is not None and self.largest is not None:
            parts.append(
                f"min {number(self.least)} mean {number(self.mean)} max {number(self.largest)}"
            )
        if self.nans:
            parts.append(f"{self.nans} NaN")
        if self.infinities:
            parts.append(f"{self.infinities} inf")
        return " ".join(parts)


def summary(array: Any) -> Summary:
    """Shape, dtype, min, mean, max, norm, and the number of NaN and inf."""
    array = np.asarray(array)
    numbers = array.astype(float, copy=False)
    is_finite = np.isfinite(numbers)
    finite = numbers if is_finite.all() else numbers[is_finite]
    least, mean, largest = (
        (float(finite.min()), float(finite.mean()), float(finite.max()))
        if finite.size
        else (None, None, None)
    )
    return Summary(
        array.shape,
        str(array.dtype),
        least,
        mean,
        largest,
        norm(numbers),
        0 if finite is numbers else int(np.isnan(numbers).sum()),
        0 if finite is numbers else int(np.isinf(numbers).sum()),
    )


def line(array: Any, width: int) -> str:
    """The array in at most `width` characters: its numbers if they fit, else its summary."""
    array = np.asarray(array)
    if array.size <= width:  # each number takes a character at least
        text = nested(array)
        if len(text) <= width:
            return text
    told = summary(array)
    bad = told.nans + told.infinities
    texts = [str(told), f"{array.shape}" + (f" {bad} NaN or inf" if bad else "")]
    if told.least is not None and told.largest is not None:
        texts.insert(1, f"{texts[1]} min {number(told.least)} max {number(told.largest)}")
    return next((text for text in texts if len(text) <= width), "…"[:width])


def nested(array: np.ndarray) -> str:
    """All numbers on one line, with brackets by axis."""
    if not array.ndim:
        return number(float(array))
    return f"[{' '.join(map(nested, array))}]"


def whole(array: Any, width: int) -> list[str]:
    """The array in full, over as many lines as it needs; summarised past `WHOLE` elements."""
    array = np.asarray(array)
    if array.size > WHOLE:
        return [
            f"{summary(array)} ({array.size:,} elements; at most {WHOLE:,} are shown one by one)"
        ]
    written: Any = {"all": lambda x: number(float(x))}
    with np.printoptions(threshold=WHOLE + 1, linewidth=width, formatter=written):
        return str(array).splitlines()
