"""Paths grouped into classes: exact where there are too many paths to walk.

A dynamic programme on the reverse pass. Where the ordinary pass carries one cotangent to
each value, this one carries one per key: the sum over all paths so far with that key. Two
paths that meet with the same key go on as one, so the work grows with the number of keys
and not with the number of paths.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from typing import Any, Literal, NamedTuple, get_args, overload

import numpy as np

from ..drawing.bars import Bar, bars
from ..drawing.picture import BLUE
from ..drawing.table import Table, count, percent
from ..recorded.first_bad import first_bad
from ..recorded.nodes import Edge
from ..recorded.outcome import receipts, shares_of
from ..recorded.trace import Trace, coherence, scope_entered, trace
from ..tensor import Tensor
from ..text import number, oneline
from ..value import Value
from .formulas import Chain, Formula
from .jacobians import check_sum, sends
from .result import Breakdown, Derived, Piece, plain

Named = Literal["scope", "depth", "skips"]
By = Named | Callable[[Edge], Any]
NAMED: tuple[str, ...] = get_args(Named)
LONGEST = 6  # parts of a key that a table shows
OTHER = "other"  # the key of what a cap has put together
REST: Any = object()  # stands for OTHER until the end, so that a key "other" of `by` is another


@dataclass(frozen=True, slots=True, repr=False)
class PathClass(Piece):
    """All paths with one key: how many, what they carry together, and its signed share of
    the gradient (None where the gradient vanishes)."""

    numbers = ("count", "norm", "share")
    header = ("paths", "|part|", "share")

    count: int
    contribution: np.ndarray = field(compare=False)
    share: float | None

    def cells(self) -> tuple[str, ...]:
        """Its row in the table, without the key."""
        return count(self.count), number(self.norm), percent(self.share)


@dataclass(frozen=True, repr=False)
class PathClasses(Breakdown, Derived, Mapping[Any, PathClass]):
    """The classes of the paths from an output to `wrt`, by key, and the gradient they
    sum to; `formula` and `latex` write it out as the chain rule does."""

    classes: dict[Any, PathClass]
    by: str  # what they are grouped by; "class" for a function
    chain: Chain = field(repr=False, compare=False)

    @cached_property
    def formulas(self) -> tuple[Formula]:
        """The chain rule written out: of all paths together, whatever the classes."""
        return (self.chain.formula(),)

    def __getitem__(self, key: Any) -> PathClass:
        return self.classes[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.classes)

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def coherence(self) -> float | None:
        """|gradient| / sum of |contributions|; None if every contribution is 0."""
        return coherence((found.contribution for found in self.values()), self.gradient)

    def table(self) -> Table:
        """A row a class."""
        paths = count_of_paths(sum(found.count for found in self.values()))
        head = self.heading(f"{paths} in {len(self)} class{'es' * (len(self) != 1)} from")
        rows = [(text(key), *found.cells()) for key, found in self.items()]
        return Table(
            (self.by, *PathClass.header),
            rows,
            head,
            "\n".join(filter(None, (self.first_bad, self.hint))),
        )

    @property
    def hint(self) -> str:
        """What else would tell the paths apart, where scopes do not."""
        several = sum(found.count for found in self.values()) > 1
        alone = self.by in ("scope", "depth") and len(self) == 1 and several
        return 'All paths are one class; by="skips" may tell them apart.' if alone else ""

    def to_json(self) -> dict[str, Any]:
        """The numbers, as plain data for JSON."""
        classes = [{"key": plain(key), **found.to_json()} for key, found in self.items()]
        return {**super().to_json(), "classes": classes}

    def svg(self) -> str:
        """A signed bar for each class."""
        rows = []
        for key, found in self.items():
            remark = f"{percent(found.share)}, {count_of_paths(found.count)}"
            rows.append(Bar(text(key), ((found.share or 0.0, BLUE),), remark))
        title = f"the gradient of {self.output} to {self.wrt}, by class of paths"
        return bars(rows, title, caption=self.note)


@overload
def path_classes(
    output: Tensor,
    wrt: Tensor,
    by: By = ...,
    gradient: Any = ...,
    *,
    keep: int = ...,
    names: Any = ...,
) -> PathClasses: ...
@overload
def path_classes(
    output: Tensor,
    wrt: Sequence[Tensor],
    by: By = ...,
    gradient: Any = ...,
    *,
    keep: int = ...,
    names: Any = ...,
) -> tuple[PathClasses, ...]: ...
def path_classes(
    output: Tensor,
    wrt: Any,
    by: By = "scope",
    gradient: Any = None,
    *,
    keep: int = 1000,
    names: Any = None,
) -> Any:
    """The paths from `output` back to `wrt`, grouped by a key, with exact counts and sums.

    ``by="scope"`` groups paths by the scopes they enter, in order; ``by="depth"`` by how
    many they enter; ``by="skips"`` by how many joins they pass straight, each an add, subtract,
    concatenate or stack of a value with what was computed from it. A function maps each Edge
    of ``graph(output)`` to a key of its own (None for none), and the key of a path is their
    sum, in the order of the computation: ``by=lambda e: (e.target,) if e.skip else None``
    tells which joins.

    Of more than `keep` keys at one value the smallest contributions go on together, under the
    key "other": the sum stays exact, and the work grows at most as the number of edges times
    `keep`. A sequence of tensors is answered by a tuple, from one pass. `gradient` is the
    cotangent of an output that is not a scalar; `names` as in `graph`.

    >>> from tinygrad_lite import Tensor, path_classes, scope
    >>> h = x = Tensor(1.0, requires_grad=True)
    >>> for i in range(3):
    ...     with scope(f"block{i}"):
    ...         branch = h * 0.5
    ...     h = h + branch
    >>> for depth, found in path_classes(h, wrt=x, by="depth").items():
    ...     print(depth, found.count, float(found.contribution))
    0 1 1.0
    1 3 1.5
    2 3 0.75
    3 1 0.125
    >>> [found.count for found in path_classes(h, wrt=x, by="skips").values()]
    [1, 3, 3, 1]

    Raises: ValueError if the output does not depend on `wrt`, `by` is another string, or
    `keep` is not positive; TypeError where one requires no gradient, or keys are not hashable
    or cannot be added; else as `backward`.
    """
    one = isinstance(wrt, Tensor)
    wanted = (wrt,) if one else tuple(wrt)
    results, _ = classify(output, wanted, by, gradient, keep, None, names)
    return results[0] if one else results


@np.errstate(all="ignore")  # backward has warned; here NaN is a result
def classify(
    output: Tensor,
    wrt: tuple[Tensor, ...],
    by: By,
    gradient: Any,
    keep: int,
    spared: Set[Any] | None,
    names: Any = None,
) -> tuple[tuple[PathClasses, ...], set[Any]]:
    """What `path_classes` gives, and every key that came up at some value on the way, REST
    among them if there were too many (none where `spared` is None). The keys in `spared` are
    kept whatever their number."""
    if not isinstance(keep, int):
        raise TypeError(f"keep must be an integer, but is {keep!r}")
    if keep < 1:
        raise ValueError(f"keep is the largest number of classes, at least 1, but is {keep}")
    traced = trace(output, wrt, gradient, names)
    wrt = traced.wrt
    if not callable(by) and by not in NAMED:
        names = ", ".join(map(repr, NAMED))
        raise ValueError(f"by must be {names} or a function of an Edge, but is {by!r}")
    key: Any = None if callable(by) else Key(tuple) if by == "scope" else 0
    ends = set(wrt)
    start = Bundle([key], [1], np.asarray(traced.start)[None])
    waiting: dict[Value, list[Bundle]] = defaultdict(list, {output: [start]})
    found: dict[Value, Bundle] = {}
    seen: set[Any] = set()
    for node in reversed(traced.order):
        here = cap(combine(waiting.pop(node), math.inf), keep, spared or set())
        if spared is not None:
            seen.update(here.keys)
        if node in ends:
            found[node] = merge(None, [whole(k) for k in here.keys], *here[1:])
        for slot, x, parts in sends(node, here.parts, traced.within):
            step = key_of_step(by, traced, node, slot)
            longer = [extend(step, k) for k in here.keys]
            waiting[x].append(merge(None, longer, here.counts, parts))
            combine(waiting[x], 2)
    arrived = receipts(output, traced.start, traced.within, ends)
    bad = str(first_bad(output, traced.names, traced.start, arrived, traced.within))
    results, told = [], "class" if callable(by) else by
    for tensor in wrt:
        ends_in, outcome = list(found[tensor].parts), arrived.values[tensor].outcome
        total = arrived.gradients[tensor]
        sizes = check_sum(traced, ends_in, total)
        shares, note = shares_of(ends_in, sizes, total, outcome, "classes", traced.names)
        classes = map(PathClass, found[tensor].counts, ends_in, shares)
        by_key = dict(sorted(zip(found[tensor].keys, classes, strict=True), key=order))
        called = traced.title(output), traced.title(tensor)
        chain = Chain(output, tensor, traced.names)
        results.append(PathClasses(total, *called, note, outcome.state, bad, by_key, told, chain))
    return tuple(results), seen


class Bundle(NamedTuple):
    """What has arrived at a value, by key: the numbers of paths, and the cotangents, stacked
    along a first axis so that a rule may serve them all at once."""

    keys: list[Any]
    counts: list[int]
    parts: np.ndarray


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


def norms(parts: np.ndarray) -> list[float]:
    """The norm of each part, without overflow or underflow on the way."""
    rows = np.abs(np.reshape(parts, (len(parts), -1)).astype(float))
    largest = rows.max(axis=1, initial=0.0)
    scale = np.where((largest > 0) & (largest < np.inf), largest, 1.0)
    sizes = scale * np.sqrt(np.square(rows / scale[:, None]).sum(axis=1))
    found: list[float] = sizes.tolist()
    return found


def order(item: tuple[Any, Any]) -> Any:
    """Keys in their own order where they have one of sizes: numbers, then tuples by length."""
    key = item[0]
    if key is None or key is OTHER:
        return (0 if key is None else 3, 0)
    return (1, key) if isinstance(key, Real) else (2, len(key) if hasattr(key, "__len__") else 0)


def count_of_paths(n: int) -> str:
    """How many paths, in words."""
    return f"{count(n)} path{'s' * (n != 1)}"


def text(key: Any) -> str:
    """A key as a table shows it; of many parts the first and the last."""
    if not isinstance(key, tuple):
        return oneline(str(key), 60)
    parts = [oneline(str(part)) for part in key]
    if len(parts) > LONGEST:
        parts = [*parts[:3], f"… {len(parts) - 5} more …", *parts[-2:]]
    return " > ".join(parts) or "no scope"
