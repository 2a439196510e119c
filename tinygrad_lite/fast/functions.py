"""The functions of four ops, quicker. Times are over those of the plain functions in ops/."""

from __future__ import annotations

from contextvars import Context
from typing import Any

import numpy as np

from ..ops.linear import LARGE

add: Any = np.add.reduce


def matmul(x1: Any, x2: Any) -> Any:
    """0.5 for small matrices, 0.8 for 64x64: where both mean the same, .dot starts 1 us sooner.
    With one element, 0 times NaN is 0 for .dot."""
    try:
        small = 0 < x1.ndim <= 2 and 0 < x2.ndim <= 2 and 1 < x1.size < LARGE and x2.size > 1
    except AttributeError:  # a Python number
        small = False
    return x1.dot(x2) if small else np.matmul(x1, x2)


# A context in which NumPy says nothing of an overflow: to run in a copy of it takes 0.1 us, where
# np.errstate takes 1.3.
QUIET = Context()
QUIET.run(np.seterr, over="ignore")


def sigmoid(x: Any) -> Any:
    """0.4 for millions of elements: all steps but the first are in place."""
    e = -1.0 * x
    into = e if isinstance(e, np.ndarray) else None
    e = QUIET.copy().run(np.exp, e, into)
    e += 1
    return 1 / e if into is None else np.divide(1, e, out=into)


def sum(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
    """0.3 for small arrays: what np.sum calls."""
    return add(x, axis=axis, keepdims=keepdims)


def broadcast_to(x: Any, shape: Any) -> Any:
    """0.2 for a number, as the gradient of every sum is."""
    if isinstance(x, np.generic) and isinstance(shape, tuple) and shape != (-1,):  # which is (1,)
        return np.ndarray(shape, x.dtype, x, 0, (0,) * len(shape))
    return np.broadcast_to(x, shape)
