"""Slopes by finite differences, each with a bound of its error.

The central difference (f(x + h) - f(x - h)) / 2h is wrong by a term of order h**2, which two
steps tell and cancel (Richardson), and by the rounding of f, divided by h. Which step is best
depends on f, so a ladder of them is tried, each relative to x. The smallest see no more of f
than its slope, but are the noisiest; so the ladder is climbed as long as each step's result
lies within the errors of those below it, and of these steps the most exact is taken (Lepski,
1991). Where no three steps agree there is no slope.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

LADDER = 2.0 ** -np.arange(4, 29, 2)
TWO_STEPS = LADDER[2:4]  # what settles most elements, at a sixth of the cost

FOUND, NOT_FINITE, KINK, POLE, SMALL = range(5)
REASONS = (
    "",
    "a NaN or an infinity here",
    "a kink or a jump here",
    "no slope here: a pole, or a function too rough",
    "too small to tell from rounding",
)


@dataclass(frozen=True)
class Slopes:
    """What <g, f> changes by as x moves along directions, one for each element here.

    `error` bounds that of the `value`; `parts` is the sum of the absolute changes of which
    the value is made, `size` that of |g f| over what depends on x; `still` says that f did
    not change at all; `reason` why there is no value, FOUND if there is one.
    """

    value: np.ndarray
    error: np.ndarray
    parts: np.ndarray
    size: np.ndarray
    still: np.ndarray
    reason: np.ndarray


def slopes(
    f: Callable[[Any], Any],
    g: Any,
    gather: Callable[[Any], Any],
    ladder: np.ndarray = LADDER,
    lost: Any = False,
    rounding: float = 0.0,
    noise: Any = None,
) -> Slopes:
    """The slopes at t = 0 of <g, f(t)>, where `gather` sums what belongs to one direction.

    f(None) and f(-inf) are f far away on both sides: what is the same there is taken not to
    depend on t. `rounding` is the relative error of f, if that is more than its dtype's. `lost`
    is where f is not finite in the dtype that it is used in.

    `noise` is given to doubt slopes that contradict a derivative, as 1 - e**-50 and 1 are one
    number: it is what each element of f may be off by besides its rounding, and what is the same
    far away is not taken to be independent.
    """
    with np.errstate(all="ignore"):
        here = np.asarray(f(ladder[0] * 0))
        eps = max(np.finfo(here.dtype).eps, rounding)
        kind = np.result_type(here, float)
        here = here.astype(kind)
        ahead, behind = (np.stack([f(s * h) for h in ladder]).astype(kind) for s in (1, -1))
        h = ladder.astype(kind).reshape(-1, *(1,) * here.ndim)
        central, bend = (ahead - behind) / (2 * h), ahead + behind - 2 * here
        slope = (16 * central[1:] - central[:-1]) / 15
        doubted, besides = noise is not None, 0.0 if noise is None else noise
        noise = besides + eps * (np.abs(here) + np.abs(slope))
        if len(ladder) > 2:  # what the smallest bends have beyond a parabola: noise, or a jump
            rest = np.abs(bend[6:-1] - 16 * bend[7:]).max(0) / 8
            small = 2.0**-23 * (np.abs(here) + np.abs(slope).min(0))
            noise = np.where(rest < small, np.maximum(noise, rest), noise)
            # Where the smallest step changes nothing, f changes by steps of its own.
            moves = np.abs(np.concatenate([ahead, behind]) - here)
            quantum = np.min(moves, axis=0, where=moves > 0, initial=np.inf)
            blind = (central[-1] == 0) & (quantum < 8 * small)
            stairs = blind & (quantum > 2.0**-40 * np.abs(here))
            noise = np.where(blind & ~stairs, np.maximum(noise, quantum / 2), noise)
        error = 2 * np.abs(np.diff(central, axis=0)) / 15 + 5 * noise / h[:-1]
        slope, error = slope[::-1], error[::-1]  # the smallest step first
        low, high = slope - 2 * error, slope + 2 * error
        below, above = np.maximum.accumulate(low), np.minimum.accumulate(high)
        climbed = np.logical_and.accumulate(below <= above)
        best = np.argmin(np.where(climbed, error, np.inf), axis=0)[None]
        value, error = (np.take_along_axis(a, best, 0)[0] for a in (slope, error))
        still = ((ahead[-11:] == here) & (behind[-11:] == here)).all(0)
        # Where f moves by less than its rounding (that of float64, as some functions are no
        # better), its slope is less than that of the largest step.
        apart = still & (not doubted)
        if len(ladder) > 2 and apart.any():
            apart = still & (f(None) == here) & (f(-np.inf) == here)
        least = 16 * max(eps, 2.0**-52) * np.abs(here) + np.finfo(float).tiny
        least = least * ~apart + besides / h[0]
        value, error = np.where(still, 0, value), np.where(still, least, error)
        reason = np.where(still | (climbed.sum(0) >= min(3, len(climbed))), FOUND, POLE)
        if len(ladder) > 2:  # a kink bends by as much of h at every step
            turn = np.abs(bend[6:]) / h[6:]
            steady = (turn[1:] > 0.6 * turn[:-1]) & (turn[1:] < 1.7 * turn[:-1])
            # Where the smallest step changes nothing but larger ones do, or three larger ones
            # in a row agree on another slope, f or a part of it is in stairs.
            stuck = (ahead[-1] == here) & (behind[-1] == here) & ~still
            stairs = stairs | (stuck & (value == 0) & (np.abs(central).max(0) > 0))
            for n in range(len(low) - 2):
                least, most = low[n : n + 3].max(0), high[n : n + 3].min(0)
                other = (least > value + 2 * error) | (most < value - 2 * error)
                stairs = stairs | ((least <= most) & other & ~still)
            reason = np.where(stairs, POLE, np.where(steady.all(0), KINK, reason))
        reason = np.where(still | np.isfinite(here + ahead[-1] + behind[-1]), reason, NOT_FINITE)
        reason = np.where(np.isfinite(here) & np.isfinite(g) & ~lost, reason, NOT_FINITE)
        reason = np.where(g == 0, FOUND, reason)
        none = (g == 0) | (reason != FOUND)
        part, room = np.where(none, 0, g * value), np.where(none, 0, np.abs(g) * error)
        size = np.where(none | apart, 0, np.abs(g * here))
        moving = gather(1 * ~(still | (g == 0))) > 0
        why = [np.where(gather(1 * (reason == r)) > 0, r, FOUND) for r in range(1, 4)]
        value, error, parts, size = (
            np.asarray(gather(a)) for a in (part, room, np.abs(part), size)
        )
        return Slopes(value, error, parts, size, ~moving, np.max(why, axis=0))


def step_sizes(x: np.ndarray) -> np.ndarray:
    """By what unit to move each element: about its size, a power of 2, so that x + h is exact."""
    size = np.abs(x)
    some = size[size > 0]
    usual = some.mean() if some.size else x.dtype.type(1)
    size = np.where((size > 0) & np.isfinite(size), size, usual if np.isfinite(usual) else 1)
    return np.ldexp(x.dtype.type(1), np.frexp(size)[1] - 1)
