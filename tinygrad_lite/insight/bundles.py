"""Cotangents by key: the reverse pass that carries, to each value, one sum for each class of paths.

Where the ordinary pass carries one cotangent to each value, this one carries one per key: the
sum over all paths so far with that key. Two paths that meet with the same key go on as one, so
the work grows with the number of keys and not with the number of paths.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from ..recorded.joins import Use
from ..recorded.measure import norms
from ..recorded.nodes import Edge
from ..recorded.trace import Trace, scope_entered
from ..value import Value
from .jacobians import sends


class Key:
    """A key that is a tuple or a string, by its first part and the key of what follows: a step
    more costs the same however many there are. The last has the type as its first part."""

    __slots__ = ("first", "hash", "kind", "rest")

    def __init__(self, first: Any, rest: Key | None = None) -> None:
        self.first, self.rest, self.hash = first, rest, hash((first, rest))
        self.kind: type = rest.kind if rest else first

    def __hash__(self) -> int:
        return self.hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Key):
            return False
        one: Key | None = self
        two: Key | None = other
        while one is not two:
            if one is None or two is None or one.hash != two.hash:
                return False
            if one.first is not two.first and one.first != two.first:
                return False
            one, two = one.rest, two.rest
        self.rest = other.rest  # so that what follows is compared once
        return True

    def __repr__(self) -> str:
        return repr(whole(self))

    def after(self, step: Any) -> Key:
        """The key that begins with a step."""
        key = self
        for part in reversed(step):
            key = Key(part, key)
        return key


@dataclass(frozen=True, slots=True)
class Marks:
    """A key of scopes, and how many marks of each kind a path has."""

    scopes: Key
    marks: tuple[int, int] = (0, 0)

    @property
    def steps(self) -> tuple[str, ...]:
        """The scopes, in order."""
        found: tuple[str, ...] = whole(self.scopes)
        return found

    def __add__(self, key: Marks) -> Marks:
        (a, b), (c, d) = self.marks, key.marks
        return Marks(key.scopes.after(self.steps), (a + c, b + d))


@dataclass(frozen=True)
class Marked:
    """Groups paths by the scopes they enter and the marks of the uses they pass."""

    uses: dict[Use, tuple[int, int]]

    def step(self, target: Value, slot: int) -> Marks | None:
        """What a step into `target`, through a slot, adds to the key of a path."""
        name = scope_entered(target.inputs[slot], target)
        mark = self.uses.get((target, slot))
        if name is None and mark is None:
            return None
        return Marks(Key(tuple).after(() if name is None else (name,)), mark or (0, 0))


Named = Literal["scope", "depth", "skips"]
By = Named | Callable[[Edge], Any] | Marked  # a Marked only from inside the package
NAMED: tuple[str, ...] = get_args(Named)
OTHER = "other"  # the key of what a cap has put together
REST: Any = object()  # stands for OTHER until the end, so that a key "other" of `by` is another


def check_by(by: Any) -> None:
    """Raises: ValueError if nothing is grouped by this."""
    if not callable(by) and not isinstance(by, Marked) and by not in NAMED:
        names = ", ".join(map(repr, NAMED))
        raise ValueError(f"by must be {names} or a function of an Edge, but is {by!r}")


def spread(
    traced: Trace, by: By, keep: int, spared: Set[Any] = frozenset()
) -> Iterator[tuple[Value, Bundle]]:
    """What arrives at each value, from the output on: of more than `keep` keys the largest, and
    those in `spared` whatever their number."""
    key: Any = None if callable(by) else Key(tuple) if by == "scope" else 0
    key = Marks(Key(tuple)) if isinstance(by, Marked) else key
    start = Bundle([key], [1], np.asarray(traced.start)[None])
    waiting: dict[Value, list[Bundle]] = defaultdict(list, {traced.output: [start]})
    for node in reversed(traced.order):
        here = cap(combine(waiting.pop(node), math.inf), keep, spared)
        yield node, here
        for slot, x, parts in sends(node, here.parts, traced.within):
            step = key_of_step(by, traced, node, slot)
            longer = [extend(step, k) for k in here.keys]
            waiting[x].append(merge(None, longer, here.counts, parts))
            combine(waiting[x], 2)


def bundles_at(
    ends: Set[Value], traced: Trace, by: By, keep: int, spared: Set[Any] | None = None
) -> tuple[dict[Value, Bundle], set[Any]]:
    """What arrives at each of `ends`, by key, and every key that came up on the way (none where
    `spared` is None)."""
    found: dict[Value, Bundle] = {}
    seen: set[Any] = set()
    for node, here in spread(traced, by, keep, spared or set()):
        if spared is not None:
            seen.update(here.keys)
        if node in ends:
            found[node] = merge(None, [whole(k) for k in here.keys], *here[1:])
    return found, seen


class Bundle(NamedTuple):
    """What has arrived at a value, by key: the numbers of paths, and the cotangents, stacked
    along a first axis so that a rule may serve them all at once."""

    keys: list[Any]
    counts: list[int]
    parts: np.ndarray


def whole(key: Any) -> Any:
    """A key as the user knows it."""
    if not isinstance(key, Key):
        return OTHER if key is REST else key
    parts = []
    while key.rest:
        parts.append(key.first)
        key = key.rest
    return tuple(parts) if key.kind is tuple else "".join(parts)


def combine(bundles: list[Bundle], ratio: float) -> Bundle:
    """Merge each bundle with the one before, unless that has more than `ratio` times its keys:
    so n arrivals at a value are copied log n times, not n times."""
    while len(bundles) > 1 and len(bundles[-2].keys) <= ratio * len(bundles[-1].keys):
        last = bundles.pop()
        bundles[-1] = merge(bundles[-1], *last)
    return bundles[-1]


def merge(here: Bundle | None, keys: list[Any], counts: list[int], parts: np.ndarray) -> Bundle:
    """What was here and what comes, those with equal keys added."""
    if here is None:
        if len(set(keys)) == len(keys):
            return Bundle(keys, counts, parts)
        here = Bundle([], [], parts[:0])
    paths = dict(zip(here.keys, here.counts, strict=True))
    for key, n in zip(keys, counts, strict=True):
        paths[key] = paths.get(key, 0) + n
    place = {key: i for i, key in enumerate(paths)}
    rows = [place[key] for key in keys]
    total = np.zeros((len(paths), *parts.shape[1:]), parts.dtype)
    total[: len(here.keys)] = here.parts
    if rows == list(range(rows[0], rows[0] + len(rows))):
        total[rows[0] : rows[0] + len(rows)] += parts  # quicker than with any rows
    else:
        np.add.at(total, rows, parts)
    return Bundle(list(paths), list(paths.values()), total)


def key_of_step(by: By, traced: Trace, target: Value, slot: int) -> Any:
    """What a step into `target`, through a slot, adds to the key of a path."""
    if isinstance(by, Marked):
        return by.step(target, slot)
    if by == "skips":
        return int((target, slot) in traced.skips)
    if not callable(by):
        name = scope_entered(target.inputs[slot], target)
        return None if name is None else (name,) if by == "scope" else 1
    key = by(traced.edges[target, slot])
    try:
        hash(key)
    except TypeError:
        raise TypeError(f"by must map an Edge to a hashable key, but gave {key!r}") from None
    return key


def extend(step: Any, key: Any) -> Any:
    """A path's key once it goes one step further back."""
    if step is None or key is REST:
        return key
    kind = next((kind for kind in (tuple, str) if isinstance(step, kind)), None)
    if kind and (key is None or (isinstance(key, Key) and key.kind is kind)):
        return (key or Key(kind)).after(step)
    try:
        return step if key is None else step + key
    except TypeError:
        raise TypeError(
            f"the key of a path is the sum of its edges' keys, but {step!r} + {key!r} is none; let "
            "by give all numbers, all strings or all tuples"
        ) from None


def cap(bundle: Bundle, keep: int, spared: Set[Any]) -> Bundle:
    """All but the `keep` - 1 largest cotangents, and the spared ones, put together."""
    if len(bundle.keys) <= keep:
        return bundle
    sizes = dict(zip(bundle.keys, norms(bundle.parts), strict=True))
    ranked = sorted(sizes, key=lambda key: (key is REST, -sizes[key]))
    kept = {*ranked[: keep - 1], *(spared & sizes.keys())}
    return merge(None, [k if k in kept else REST for k in bundle.keys], *bundle[1:])
