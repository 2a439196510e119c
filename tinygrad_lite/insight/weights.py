"""What single paths weigh: the norm of what each carries, and what follows from that for all.

Single paths of a class are drawn at random, each with the same probability, as Veit, Wilber and
Belongie (2016, "Residual Networks Behave Like Ensembles of Relatively Shallow Networks") drew
theirs. What all weigh together is summed exactly among scalars, in a semiring of pairs, as by Du
et al. (2023, "Generalizing Backpropagation for Gradient-Based Interpretability"); elsewhere it is
estimated from paths drawn of each depth.
"""

from __future__ import annotations

import math
import random
import sys
from collections import defaultdict
from collections.abc import Set
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np

from ..backward import contributions
from ..recorded.joins import Use
from ..recorded.measure import norm, norms
from ..recorded.trace import Trace, operands, scope_entered
from ..tensor import Tensor
from ..value import Value
from .bundles import REST, By, extend, key_of_step, spread, whole
from .jacobians import sends
from .ways import is_scalar, room

DRAWN = 100  # paths of one class


class Draws:
    """Single paths to `wrt`, drawn from the classes of a key."""

    def __init__(
        self, traced: Trace, wrt: Tensor, by: By, keep: int, spared: Set[Any] = frozenset()
    ) -> None:
        self.traced, self.wrt = traced, wrt
        self.classes = by, keep, spared
        self.weights = cache(self.weigh)

    @cached_property
    def counts(self) -> dict[Value, dict[Any, int]]:
        """How many ways lead from the output to each value, by key."""
        found = spread(self.traced, *self.classes)
        return {node: dict(zip(here.keys, here.counts, strict=True)) for node, here in found}

    @cached_property
    def steps(self) -> dict[Value, dict[Any, list[tuple[Use, Any]]]]:
        """The last steps of those ways, by key, each with the key before it."""
        found: dict[Value, dict[Any, list[tuple[Use, Any]]]] = {}
        for node, counts in self.counts.items():
            for slot, x in operands(node, self.traced.within):
                step = key_of_step(self.classes[0], self.traced, node, slot)
                for before in counts:
                    key = extend(step, before)
                    key = key if key in self.counts[x] else REST
                    found.setdefault(x, {}).setdefault(key, []).append(((node, slot), before))
        return found

    def way(self, key: Any, number: int) -> list[Use]:
        """The path of a class with that number, as its uses from the far end to the output."""
        x: Value = self.wrt
        ends = [k for k in self.counts[x] if whole(k) == key]
        uses: list[Use] = []
        while x is not self.traced.output:
            for use, before in (step for end in ends for step in self.steps[x][end]):
                n = self.counts[use[0]][before]
                if number < n:
                    break
                number -= n
            uses.append(use)
            x, ends = use[0], [before]
        return uses

    @np.errstate(all="ignore")
    def weigh(self, key: Any) -> np.ndarray:
        """The norms of what single paths of a class carry: of all, or of as many as are drawn."""
        n = sum(n for k, n in self.counts[self.wrt].items() if whole(k) == key)
        draw = random.Random(0)
        numbers = range(n) if n <= DRAWN else [draw.randrange(n) for _ in range(DRAWN)]
        ways, side = [dict(self.way(key, number)) for number in numbers], room(self.traced)
        parts = (ways[i : i + side] for i in range(0, len(ways), side))
        return np.concatenate([norms_along(self.traced, self.wrt, part) for part in parts])


def norms_along(traced: Trace, wrt: Tensor, ways: list[dict[Value, int]]) -> np.ndarray:
    """The norms of what single ways carry, each given by the slot it takes at each value: one
    reverse pass for all, side by side."""
    sizes, waiting = np.zeros(len(ways)), dict[Value, list[tuple[list[int], np.ndarray]]]()
    waiting[traced.output] = [(list(range(len(ways))), np.stack([traced.start for _ in ways]))]
    for node in reversed(traced.order):
        if node not in waiting:
            continue
        arrived = waiting.pop(node)
        rows = [row for some, _ in arrived for row in some]
        parts = np.concatenate([part for _, part in arrived])
        if node is wrt:
            sizes[rows] = norms(parts)
        for slot, x in operands(node, traced.within):
            taken = [i for i, row in enumerate(rows) if ways[row].get(node) == slot]
            if taken:
                sent = next(part for i, _, part in sends(node, parts[taken], {x}) if i == slot)
                waiting.setdefault(x, []).append(([rows[i] for i in taken], sent))
    return sizes


class Mass(NamedTuple):
    """What several paths weigh together: the log of the sum of their weights, and the means,
    each path counted by its weight, of the log of its weight and of its depth."""

    log: float
    mean_log: float
    mean_depth: float

    @property
    def entropy(self) -> float:
        """- sum of p log p, with p the weight of a path over that of all."""
        return max(0.0, self.log - self.mean_log)


@np.errstate(all="ignore")
def weigh_all(draws: Draws) -> Mass | None:
    """What all paths weigh together; None if that is 0, or not finite."""
    traced = draws.traced
    found = mass_of_scalars(traced, draws.wrt) if is_scalar(traced) else estimate(draws)
    return found if found and all(map(math.isfinite, (norm(traced.start), *found))) else None


def mass_of_scalars(traced: Trace, wrt: Tensor) -> Mass | None:
    """The same by one reverse pass, where each step multiplies all weights by one number."""
    start = norm(traced.start)
    waiting: dict[Value, list[Mass]] = defaultdict(list)
    waiting[traced.output] = times(Mass(0.0, 0.0, 0.0), start, 0)
    for node in reversed(traced.order):
        here = mix(waiting.pop(node, []))
        if here is None or node is wrt:
            continue
        one = np.ones_like(node._array)[()]
        for _, x, part in contributions(node, one, within=traced.within):
            waiting[x] += times(here, norm(part), int(scope_entered(x, node) is not None))
    return here


def estimate(draws: Draws) -> Mass | None:
    """The same from the number of paths of each depth, and what those weigh that are drawn."""
    traced, wrt = draws.traced, draws.wrt
    if draws.classes[0] != "depth" or REST in draws.counts[wrt]:
        draws = Draws(traced, wrt, "depth", sys.maxsize)
    masses = []
    for depth, n in draws.counts[wrt].items():
        weights = draws.weights(depth)
        if (some := weights[weights != 0]).size:
            mean_log = float(some @ np.log(some) / some.sum())
            masses.append(Mass(math.log(n) + float(np.log(weights.mean())), mean_log, depth))
    return mix(masses)


def times(mass: Mass, weight: float, deeper: int) -> list[Mass]:
    """The mass of the same paths a step further; none if nothing goes on."""
    if weight == 0:
        return []
    log = math.log(weight)
    return [Mass(mass.log + log, mass.mean_log + log, mass.mean_depth + deeper)]


def mix(masses: list[Mass]) -> Mass | None:
    """The mass of several sets of paths together; None of none."""
    if not masses:
        return None
    logs, mean_logs, depths = np.transpose(masses)
    parts = np.exp(logs - logs.max())
    total = parts.sum()
    log = logs.max() + math.log(total)
    return Mass(float(log), float(parts @ mean_logs / total), float(parts @ depths / total))
