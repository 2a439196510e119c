"""One op's rule held against a finite difference, at the values a computation recorded.

For a direction d, the rule must give <vjp(g), d> = <g, J d>, and J d is the slope of the
op along d. A random d misses no wrong element, except by a chance of probability 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..operation import Op

Verdict = Literal["agrees", "disagrees", "undecided"]


@dataclass(frozen=True)
class Check:
    """What the rule gives along a random direction, and what the op itself does there.

    "undecided" where the finite difference has no answer: at a kink, a pole, or NaN.
    """

    verdict: Verdict
    rule: float
    difference: float
    tolerance: float

    def __str__(self) -> str:
        if self.verdict == "undecided":
            return "undecided: no finite difference here (a kink, a pole, or NaN)"
        sign = "≈" if self.verdict == "agrees" else "≠"
        told = f"{self.verdict}: {self.rule:.6g} {sign} {self.difference:.6g} by finite difference"
        return told if self.verdict == "agrees" else f"{told}: this rule is WRONG"


def held(
    op: Op, slot: int, arrays: tuple[Any, ...], params: dict[str, Any], g: Any, sent: Any
) -> Check:
    """Compare `sent`, the rule's result for input `slot` at cotangent `g`, with the slope
    of the op, by central differences in double precision at two widths."""
    wide = [np.asarray(a, float) if np.asarray(a).dtype.kind == "f" else a for a in arrays]
    x, g, sent = (np.asarray(a, float) for a in (arrays[slot], g, sent))
    scale = np.abs(x) + 1e-3 * (np.abs(x).mean() if x.size else 0)
    scale = np.where(scale > 0, scale, 1.0)
    direction = np.random.default_rng(slot).choice([-1.0, 1.0], x.shape) * scale
    direction = direction * np.random.default_rng(slot + 1).uniform(0.5, 1.0, x.shape)

    compute: Any = op.compute

    def value(h: float) -> Any:
        moved = [*wide[:slot], x + h * direction, *wide[slot + 1 :]]
        return np.asarray(compute(*moved, **params), float)

    with np.errstate(all="ignore"):
        here, h = value(0.0), 1e-5
        ahead, behind, nearer, farther = value(h), value(-h), value(h / 2), value(-h / 2)
        slope = float((g * (ahead - behind)).sum() / (2 * h))
        close = float((g * (nearer - farther)).sum() / h)
        parts = float(np.abs(g * (ahead - behind)).sum() / (2 * h))
        bend = float(np.abs(g * (nearer - 2 * here + farther)).sum() / h)
        bent = float(np.abs(g * (ahead - 2 * here + behind)).sum() / (2 * h))
        rule = float((sent * direction).sum())
        rounding = float(np.abs(g * here).sum() + np.abs(g).sum()) * 1e-15 / h
    size = max(parts, float(np.abs(sent * direction).sum()))
    tolerance = 1e-6 * size + 10 * rounding
    gap = abs(rule - (4 * close - slope) / 3)
    if not np.isfinite([slope, close, rule, bend]).all():
        verdict: Verdict = "undecided"
    elif gap <= tolerance:
        verdict = "agrees"
    elif abs(slope - close) > tolerance or (bend > tolerance and bend > 0.9 * bent):
        verdict = "undecided"  # the slope depends on the width, or on the side
    else:
        verdict = "disagrees"
    return Check(verdict, rule, (4 * close - slope) / 3, tolerance)
