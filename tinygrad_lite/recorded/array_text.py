"""An array in a line or a few: its numbers, or what can be said of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..text import number, oneline
from .measure import finite_elements, summary

WHOLE = 10_000  # the most elements that are ever shown one by one


def line(array: Any, width: int, signed: bool = False, column: int = 0) -> str:
    """The array in at most `width` characters: its numbers if they fit, else its summary; each
    number with its sign if `signed`, and over so many characters if there is room for that, else
    with fewer digits."""
    array = np.asarray(array)
    if array.size <= width:  # each number takes a character at least
        texts = [nested(array, signed, column), nested(array, signed)]
        if signed:
            fewer = nested(array, signed, digits=2)
            texts += [fewer, fewer[1:-1]] if array.ndim == 1 else [fewer]
        for text in texts:
            if len(text) <= width:
                return text
    known = summary(array)
    bad = known.nans + known.infinities
    short = f"{array.shape}" + (f" {bad} NaN or inf" if bad else "")
    least, _, largest = map(number, known.range or (0.0,) * 3)
    span = f"{short} min {least} max {largest}" if known.range else short
    shorter = (str(known), span, short)
    return next((text for text in shorter if len(text) <= width), "…"[:width])


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


def nested(array: Any, signed: bool = False, column: int = 0, digits: int = 3) -> str:
    """All numbers on one line, with brackets by axis."""
    if not array.ndim:
        return f"{signed_number(array[()], signed, digits):>{column}}"
    return f"[{' '.join(nested(x, signed, column, digits) for x in array)}]"


def signed_number(x: Any, plus: bool = True, digits: int = 3) -> str:
    """A number with its sign: the minus that numbers have in print, and a plus if that is wanted,
    as for an element of a gradient."""
    text = number(x, digits)
    return f"−{text[1:]}" if text[0] == "-" else "+" * bool(plus and x > 0) + text


def whole(array: Any, width: int) -> list[str]:
    """The array in full, over as many lines as it needs; summarised past `WHOLE` elements."""
    array = np.asarray(array)
    if array.size > WHOLE:
        note = f"({array.size:,} elements; at most {WHOLE:,} are shown one by one)"
        return [f"{summary(array)} {note}"]
    written: Any = {"all": lambda x: signed_number(x, plus=False)}
    with np.printoptions(threshold=WHOLE + 1, linewidth=width, formatter=written):
        return str(array).splitlines()
