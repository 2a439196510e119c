"""An array in a line or a few: its numbers, or what can be said of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..text import number, oneline
from .measure import finite_elements, summary

WHOLE = 10_000  # the most elements that are ever shown one by one


def line(array: Any, width: int) -> str:
    """The array in at most `width` characters: its numbers if they fit, else its summary."""
    array = np.asarray(array)
    if array.size <= width:  # each number takes a character at least
        text = nested(array)
        if len(text) <= width:
            return text
    known = summary(array)
    bad = known.nans + known.infinities
    short = f"{array.shape}" + (f" {bad} NaN or inf" if bad else "")
    least, _, largest = map(number, known.range or (0.0,) * 3)
    span = f"{short} min {least} max {largest}" if known.range else short
    texts = (str(known), span, short)
    return next((text for text in texts if len(text) <= width), "…"[:width])


def few_or_range(array: np.ndarray) -> str:
    """The elements with four digits if they are few, else from where to where they go."""
    if array.size <= 6:
        return oneline(np.array2string(array, precision=4, separator=", "), 120)
    finite = finite_elements(array)
    if not finite.size:
        return "no finite elements"
    text = f"from {number(finite.min())} to {number(finite.max())}"
    bad = array.size - finite.size
    return text + (f", {bad} not finite" if bad else "")


def nested(array: Any) -> str:
    """All numbers on one line, with brackets by axis."""
    if not array.ndim:
        return number(array[()])
    return f"[{' '.join(map(nested, array))}]"


def whole(array: Any, width: int) -> list[str]:
    """The array in full, over as many lines as it needs; summarised past `WHOLE` elements."""
    array = np.asarray(array)
    if array.size > WHOLE:
        note = f"({array.size:,} elements; at most {WHOLE:,} are shown one by one)"
        return [f"{summary(array)} {note}"]
    written: Any = {"all": number}
    with np.printoptions(threshold=WHOLE + 1, linewidth=width, formatter=written):
        return str(array).splitlines()
