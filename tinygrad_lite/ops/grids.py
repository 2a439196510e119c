"""Functions of samples: between them, over them, from one to the next; and polynomials.

Arguments are NumPy's. All is composed of other ops, but for the choice of a segment.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..operation import blocked, op
from .arrange import atleast_1d, expand_dims, flip
from .at_zero import abs, power
from .choosing import chosen
from .elementwise import (
    Array,
    add,
    as_floating,
    astype,
    divide,
    equal,
    floor_divide,
    greater,
    less,
    logical_and,
    logical_or,
    multiply,
    operand,
    remainder,
    subtract,
    values,
    where,
)
from .nn import conv1d
from .reduce import axes_of, sum
from .shape import concatenate, getitem, reshape, stack
from .statistics import cumsum, diff

__all__ = [
    "central_differences", "convolve", "correlate", "interp", "polyval", "trapezoid", "unwrap",
    "vander",
]  # fmt: skip


# Between samples


def interp(
    x: Array, xp: Array, fp: Array, left: Any = None, right: Any = None, period: Any = None
) -> Array:
    """At x, the straight lines through the points (xp, fp), xp rising; outside them `left` and
    `right` (None: the first and the last of fp), or with a period the same over again.

    At a point between two lines, x gets the mean of their slopes; at an end that of its line.

    Raises: ValueError if there is no point, xp does not rise, or xp and fp are not vectors of one
    length.
    """
    x, xp, fp = operand(x), operand(xp), operand(fp)
    if xp.ndim != 1 or xp.shape != fp.shape or not xp.size:
        raise ValueError(
            f"interp: xp and fp must be vectors of one length, not empty, but have the shapes "
            f"{xp.shape} and {fp.shape}"
        )
    if not np.can_cast(np.result_type(x.dtype, xp.dtype, fp.dtype), np.float64):
        raise TypeError("interp: it computes in float64, which does not hold longdouble")
    x, xp, fp = (a if a.dtype == np.float64 else astype(a, np.float64) for a in (x, xp, fp))
    if period is not None:
        if period == 0:
            raise ValueError("interp: period must not be 0")
        period, left, right = np.abs(period), None, None
        x, xp = remainder(x, period), remainder(xp, period)
        order = np.argsort(chosen(xp))
        xp, fp = getitem(xp, order), getitem(fp, order)
        xp = concatenate([subtract(xp[-1:], period), xp, add(xp[:1], period)])
        fp = concatenate([fp[-1:], fp, fp[:1]])
    if np.any(np.diff(values(xp)) <= 0):
        raise ValueError("interp: xp must rise from each element to the next")
    below, above = less(x, xp[0]), greater(x, xp[-1])
    inside = where(logical_or(below, above), xp[0], x)

    def line(side: str) -> Array:
        i = segment(inside, xp, side=side)
        start, end = getitem(xp, i), getitem(xp, add(i, 1))
        low, high = getitem(fp, i), getitem(fp, add(i, 1))
        return add(low, multiply(divide(subtract(inside, start), subtract(end, start)), high - low))

    if xp.size == 1:
        found = where(equal(x, x), fp[0], x)
    elif np.isin(values(inside), values(xp)[1:-1]).any():
        found = multiply(add(line("left"), line("right")), 0.5)
    else:
        found = line("right")
    found = where(below, fp[0] if left is None else left, found)
    return where(above, fp[-1] if right is None else right, found)


@op(inputs=2, symbol="which")
def segment(x: Array, xp: Array, side: str = "right") -> Array:
    """The number of the segment between two of the rising numbers xp in which x lies; of two that
    meet there, the right or the left one."""
    after: Any = np.searchsorted(xp, x, side)  # type: ignore[call-overload]
    return np.clip(after - 1, 0, len(xp) - 2)


segment.vjp(blocked, blocked)


# Over samples


def trapezoid(y: Array, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Array:
    """The integral along the axis of what is straight between the samples y, taken at x (None: at
    distances dx)."""
    y, ahead = operand(y), (slice(None),) * normalize_axis_index(axis, np.ndim(y))
    steps = dx
    if x is not None:
        x = operand(x)
        steps = diff(x, axis=axis if x.ndim > 1 else -1)
        if x.ndim == 1:
            steps = expand_dims(steps, tuple(range(1, y.ndim - len(ahead))))
    pairs = add(getitem(y, (*ahead, slice(1, None))), getitem(y, (*ahead, slice(None, -1))))
    return sum(divide(multiply(pairs, steps), 2.0), axis)


def central_differences(f: Array, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """`numpy.gradient`: the slopes along the axes (None: all) of a parabola through each sample of
    f and its neighbours; at the edges of a line, or with ``edge_order=2`` of the last parabola.

    The samples are 1 apart, or as far as `varargs` says: one number for all axes, or for each axis
    a number, or the samples' coordinates. Of one axis the slopes, of several a tuple of them.

    Raises: ValueError for too few samples, TypeError for spacings that do not fit.
    """
    f = operand(f)
    if f.dtype == bool:
        raise TypeError("f is boolean, and has no slopes; convert it with .astype")
    f = as_floating(f)
    axes, spacings = axes_of(axis, f.ndim), [operand(h) for h in varargs] or [np.asarray(1.0)]
    if len(spacings) == 1 and not spacings[0].ndim:
        spacings *= len(axes)
    if len(spacings) != len(axes):
        raise TypeError(f"{len(axes)} axes cannot have {len(spacings)} spacings")
    if edge_order not in (1, 2):
        raise ValueError(f"edge_order must be 1 or 2, but is {edge_order}")
    found = [slopes(f, h, i, edge_order) for h, i in zip(spacings, axes, strict=True)]
    return found[0] if len(found) == 1 else tuple(found)


def slopes(f: Array, spacing: Array, axis: int, edge_order: int) -> Array:
    """`central_differences` along one axis."""
    n, ahead = f.shape[axis], (slice(None),) * axis
    if n <= edge_order:
        raise ValueError(f"axis {axis} has {n} samples, but needs {edge_order + 1} for its edges")
    if spacing.ndim and spacing.shape != (n,):
        raise ValueError(f"axis {axis} has {n} samples, but coordinates of shape {spacing.shape}")
    steps = diff(as_floating(spacing)) if spacing.ndim else multiply(spacing, np.ones(n - 1))
    steps = reshape(steps, (-1, *(1,) * (f.ndim - axis - 1)))
    slope = divide(diff(f, axis=axis), steps)
    start, end = (*ahead, slice(None, 1)), (*ahead, slice(-1, None))
    h1, d1 = steps[:-1], slope[(*ahead, slice(None, -1))]
    h2, d2 = steps[1:], slope[(*ahead, slice(1, None))]
    inner = divide(add(multiply(h2, d1), multiply(h1, d2)), add(h1, h2))
    first, last = slope[start], slope[end]
    if edge_order == 2:
        bend = divide(subtract(d2, d1), add(h1, h2))
        first = subtract(first, multiply(h1[:1], bend[start]))
        last = add(last, multiply(h2[-1:], bend[end]))
    found = concatenate([first, inner, last], axis)
    return found if found.dtype == f.dtype else astype(found, f.dtype)


def convolve(a: Array, v: Array, mode: str = "full") -> Array:
    """The sums over i of a[i] * v[k - i]: for every k where they meet ("full"), as many as the
    longer of the two has elements, from the middle ("same"), or where they meet whole ("valid").

    Raises: ValueError for what is not a vector, or has no element, and for other modes.
    """
    a, v = atleast_1d(a, v)
    if a.ndim == v.ndim == 1 and len(v) > len(a):
        a, v = v, a
    return correlate(a, flip(v, -1), mode)


def correlate(a: Array, v: Array, mode: str = "valid") -> Array:
    """The sums over i of a[i + k] * v[i], for the k that `mode` says, as `convolve` has them."""
    a, v = operand(a), operand(v)
    if a.ndim != 1 or v.ndim != 1 or not a.size or not v.size:
        raise ValueError(
            f"convolve and correlate are for vectors that are not empty, but got the shapes "
            f"{a.shape} and {v.shape}; conv1d takes batches and channels"
        )
    if mode not in ("full", "same", "valid"):
        raise ValueError(f"mode must be 'full', 'same' or 'valid', but is {mode!r}")
    n, m = len(a), len(v)
    if m > n:
        return flip(correlate(v, a, mode), -1)
    around, count = {"full": (m - 1, n + m - 1), "same": (m // 2, n), "valid": (0, n - m + 1)}[mode]
    found = conv1d(reshape(a, (1, 1, n)), reshape(v, (1, 1, m)), padding=around)
    return getitem(found, (0, 0, slice(count)))


# From one sample to the next


def unwrap(p: Array, discont: Any = None, axis: int = -1, period: Any = 2 * math.pi) -> Array:
    """p with whole periods added, from each jump along the axis on that is larger than `discont`
    (None: half a period), so that no jump is larger than half a period."""
    p = operand(p)
    ahead = (slice(None),) * normalize_axis_index(axis, p.ndim)
    jumps = diff(p, axis=axis)
    whole = np.result_type(jumps.dtype, period).kind in "iu"
    low, odd = (-(period // 2), period % 2) if whole else (-period / 2, 0)
    above = subtract(jumps, low)
    turns = floor_divide(above, period)
    if not odd:  # a jump up by half a period stays one
        up = logical_and(equal(remainder(above, period), 0), greater(jumps, 0))
        turns = subtract(turns, up)
    small = less(abs(jumps), period / 2 if discont is None else discont)
    steps = where(small, 0, multiply(turns, -period))
    rest = add(getitem(p, (*ahead, slice(1, None))), cumsum(steps, axis))
    found = concatenate([getitem(p, (*ahead, slice(None, 1))), rest], axis)
    dtype = np.result_type(jumps.dtype, period)  # sums of small integers are wider
    return found if found.dtype == dtype else astype(found, dtype)


# Polynomials


def polyval(p: Array, x: Array) -> Array:
    """p[0] * x**(n-1) + ... + p[n-1], elementwise in x, by Horner's rule."""
    p, x = operand(p), operand(x)
    if len(p) < 2:
        return add(multiply(x, np.zeros((), x.dtype)), p[0] if len(p) else np.False_)
    found = p[0]
    for k in range(1, len(p)):
        found = add(multiply(found, x), p[k])
    return found


def vander(x: Array, N: int | None = None, increasing: bool = False) -> Array:
    """The matrix with the powers of the vector x in its N columns (None: as many as x has
    elements), the highest first, or with ``increasing=True`` last. Raises: ValueError if x is no
    vector."""
    x = operand(x)
    if x.ndim != 1:
        raise ValueError(f"vander: x must be a vector, but has {x.ndim} axes")
    x = astype(x, np.promote_types(x.dtype, int))
    count = len(x) if N is None else N
    columns = [power(x, 0)][:count]
    while len(columns) < count:
        columns.append(multiply(columns[-1], x) if len(columns) > 1 else x)
    if not columns:
        return reshape(x[:0], (len(x), 0))
    return stack(columns if increasing else columns[::-1], 1)
