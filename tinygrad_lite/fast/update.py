"""``w.data = w.data - rate * g`` without a copy, and without memory for the difference: a step of
gradient descent on large parameters takes 0.6 times the time."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy import ndarray

from ..tensor import take as take_plainly


def count_references() -> tuple[int, int]:
    """What sys.getrefcount says of an array that nobody holds in `subtract` and `take`; -1 where
    that cannot be told from one that a variable holds."""
    found: dict[str, list[int]] = {"subtracted": [], "given": []}

    class Probe:
        def __sub__(self, other: Any) -> Any:
            found["subtracted"].append(sys.getrefcount(other))
            return other

        def given(self, new: Any) -> None:
            def take(new: Any) -> None:
                found["given"].append(sys.getrefcount(new))

            take(new)

        data: Any = property(None, given)

    probe, held = Probe(), np.empty(1)
    _ = probe - np.empty(1)
    _ = probe - held
    probe.data = np.empty(1)
    probe.data = held
    return tuple(free if free < kept else -1 for free, kept in found.values())  # type: ignore[return-value]


SUBTRACTED, GIVEN = count_references()


def subtract(self: Any, other: Any) -> Any:
    """`Data.__sub__`, over the other array if nobody else holds that."""
    if (
        other.__class__ is ndarray
        and other.base is None
        and (other.shape, other.dtype) == (self.shape, self.dtype)
        and sys.getrefcount(other) <= SUBTRACTED
        and other.flags.writeable
    ):
        return np.subtract(self.view(ndarray), other, other)
    return self.view(ndarray) - other


def take(new: Any) -> Any:
    """`tensor.take`, without a copy of an array that nobody else holds."""
    if (
        new.__class__ is ndarray
        and new.base is None
        and new.ndim
        and new.dtype.kind == "f"
        and sys.getrefcount(new) <= GIVEN
    ):
        new.setflags(False)  # type: ignore[call-arg]
        return new.view()  # which cannot be unlocked
    return take_plainly(new)
