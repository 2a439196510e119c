"""Paths grouped into classes: exact where there are too many paths to walk.

A dynamic programme on the reverse pass. Where the ordinary pass carries one cotangent to
each value, this one carries one per key: the sum over all paths so far with that key. Two
paths that meet with the same key go on as one, so the work grows with the number of keys
and not with the number of paths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Literal, NamedTuple, cast, overload

import numpy as np

from ..backward import contributions, to_input
from ..drawing.bars import Bar, bars
from ..drawing.picture import BLUE
from ..drawing.table import count, percent, table
from ..operation import Rule
from ..recorded.measure import norm
from ..recorded.nodes import Edge
from ..recorded.outcome import receipts, shares_of
from ..recorded.trace import Trace, coherence, operands, scope_entered, title, trace
from ..tensor import Tensor
from ..text import number, oneline
from ..value import Value
from .result import Breakdown, Chart

By = Literal["scope", "depth"] | Callable[[Edge], Any]
OTHER = "other"  # the key of what a cap has put together
REST: Any = object()  # stands for OTHER until the end, so that a key "other" of `by` is another


@dataclass(frozen=True, slots=True)
class PathClass:
    """All paths with one key: how many, what they carry together, and its signed share of
    the gradient (None where the gradient vanishes)."""

    count: int
    contribution: np.ndarray = field(repr=False, compare=False)
    share: float | None


@dataclass(frozen=True)
class PathClasses(Breakdown, Chart, Mapping[Any, PathClass]):
    """The classes of the paths from an output to `wrt`, by key, and the gradient they
    sum to."""

    classes: dict[Any, PathClass] = field(repr=False)

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

    def __str__(self) -> str:
        paths = count_of_paths(sum(found.count for found in self.values()))
        head = self.heading(f"{paths} in {len(self)} class{'es' * (len(self) != 1)} from")
        rows = [
            (text(key), count(found.count), number(norm(found.contribution)), percent(found.share))
            for key, found in self.items()
        ]
        return f"{head}\n{table(('class', 'paths', '|part|', 'share'), rows)}"

    def to_json(self) -> dict[str, Any]:
        """The numbers, as plain data for JSON."""
        return {
            **self.numbers(),
            "classes": [
                {
                    "key": list(key) if isinstance(key, tuple) else key,
                    "count": found.count,
                    "norm": norm(found.contribution),
                    "share": found.share,
                }
                for key, found in self.items()
            ],
        }

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
    output: Tensor, wrt: Tensor, by: By = "scope", gradient: Any = None, *, keep: int = 1000
) -> PathClasses: ...
@overload
def path_classes(
    output: Tensor,
    wrt: Sequence[Tensor],
    by: By = "scope",
    gradient: Any = None,
    *,
    keep: int = 1000,
) -> tuple[PathClasses, ...]: ...
def path_classes(
    output: Tensor, wrt: Any, by: By = "scope", gradient: Any = None, *, keep: int = 1000
) -> Any:
    """The paths from `output` back to `wrt`, grouped by a key, with exact counts and sums.

    ``by="scope"`` groups paths by the scopes they enter, in order; ``by="depth"`` by how
    many they enter; a function maps each Edge of ``graph(output)`` to a key of its own
    (None for none), and the key of a path is their sum, in the order of the computation.
    Of more than `keep` keys at one value the smallest contributions go on together, under
    the key "other": the sum stays exact. A sequence of tensors is answered by a tuple, from
    one pass. `gradient` is the cotangent of an output that is not a scalar.

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

    Raises: ValueError if the output does not depend on `wrt`, `by` is another string, or
    `keep` is not positive; TypeError where one requires no gradient, or keys are not hashable
    or cannot be added; else as `backward`.
    """
    one = isinstance(wrt, Tensor)
    results, _ = classify(output, (wrt,) if one else tuple(wrt), by, gradient, keep)
    return results[0] if one else results


@np.errstate(all="ignore")  # backward has warned; here NaN is a result
def classify(
    output: Tensor,
    wrt: tuple[Tensor, ...],
    by: By,
    gradient: Any,
    keep: int,
    spared: Set[Any] = frozenset(),
) -> tuple[tuple[PathClasses, ...], set[Any]]:
    """What `path_classes` gives, and every key that came up at some value on the way, REST
    among them if there were too many. The keys in `spared` are kept whatever their number."""
    if keep < 1:
        raise ValueError(f"keep is the largest number of classes, at least 1, but is {keep}")
    traced = trace(output, wrt, gradient)
    found, seen = bundles_at(set(wrt), traced, keys(by, traced), keep, spared)
    arrived = receipts(output, traced.start, traced.within)
    none: Any = {"scope": (), "depth": 0}.get(by) if isinstance(by, str) else None
    results = []
    for tensor in wrt:
        parts = list(found[tensor].parts)
        total = np.add.reduce(parts)
        shares, note = shares_of(parts, total, arrived[tensor].outcome)
        classes = {
            none if key is None else key: PathClass(n, part, share)
            for key, n, part, share in zip(*found[tensor][:2], parts, shares, strict=True)
        }
        classes = dict(sorted(classes.items(), key=order))
        results.append(PathClasses(total, title(output), title(tensor), note, classes))
    return tuple(results), seen


class Bundle(NamedTuple):
    """What has arrived at a value, by key: the numbers of paths, and the cotangents, stacked
    along a first axis so that a rule may serve them all at once."""

    keys: list[Any]
    counts: list[int]
    parts: np.ndarray


def bundles_at(
    wrt: set[Tensor], traced: Trace, key: Callable[[Value, int], Any], keep: int, spared: Set[Any]
) -> tuple[dict[Value, Bundle], set[Any]]:
    """What arrives at each of `wrt`, and all keys seen: the reverse pass with a cotangent
    for each key."""
    first = Bundle([None], [1], np.asarray(traced.start)[None])
    waiting: dict[Value, Bundle] = {traced.output: first}
    found: dict[Value, Bundle] = {}
    seen: set[Any] = set()
    for node in reversed(traced.order):
        here = cap(waiting.pop(node), keep, spared)
        seen.update(here.keys)
        if node in wrt:
            public = [OTHER if k is REST else k for k in here.keys]
            found[node] = merge(None, here._replace(keys=public))
        for slot, x, parts in sends(node, here.parts, traced.within):
            step = key(node, slot)
            sent = Bundle([extend(step, k) for k in here.keys], here.counts, parts)
            waiting[x] = merge(waiting.get(x), sent)
    return found, seen


def sends(
    node: Value, cotangents: np.ndarray, within: set[Value]
) -> Iterator[tuple[int, Value, np.ndarray]]:
    """For each input inside `within`: (slot, input, what each cotangent sends there)."""
    wanted, op = operands(node, within), node.op
    if op is not None and op.batched and op.plain:
        for slot, x in wanted:
            rule = cast(Rule, op.rules[slot])  # plain ops have all their rules
            parts = rule(cotangents, node._data, *node.arrays, **node.params)
            if np.ndim(parts) <= x._data.ndim:  # a constant, as 0 where the derivative is 0
                parts = np.stack([to_input(parts, x, node)] * len(cotangents))
            elif parts.shape[1:] != x._data.shape or parts.dtype != x._data.dtype:
                parts = np.stack([to_input(part, x, node) for part in parts])
            yield slot, x, parts
    else:
        each = [list(contributions(node, g, within=within)) for g in cotangents]
        for i, (slot, x) in enumerate(wanted):
            yield slot, x, np.stack([sent[i][2] for sent in each])


def merge(here: Bundle | None, more: Bundle) -> Bundle:
    """What was here and what comes, those with equal keys added."""
    if here is None and len(set(more.keys)) == len(more.keys):
        return more
    counts = {} if here is None else dict(zip(here.keys, here.counts, strict=True))
    for key, n in zip(more.keys, more.counts, strict=True):
        counts[key] = counts.get(key, 0) + n
    place = {key: i for i, key in enumerate(counts)}
    total = np.zeros((len(counts), *more.parts.shape[1:]), more.parts.dtype)
    if here is not None:
        total[: len(here.keys)] = here.parts
    rows = [place[key] for key in more.keys]
    if rows == list(range(rows[0], rows[0] + len(rows))):
        total[rows[0] : rows[0] + len(rows)] += more.parts  # a slice is added to in place
    elif len(set(rows)) == len(rows):
        total[rows] += more.parts
    else:
        np.add.at(total, rows, more.parts)
    return Bundle(list(counts), list(counts.values()), total)


def keys(by: By, traced: Trace) -> Callable[[Value, int], Any]:
    """The key that a step from the given target through a slot adds to a path's."""

    def scope(target: Value, slot: int) -> Any:
        name = scope_entered(target.inputs[slot], target)
        return None if name is None else (name,)

    if by == "scope":
        return scope
    if by == "depth":
        return lambda target, slot: None if scope(target, slot) is None else 1

    def asked(target: Value, slot: int) -> Any:
        key = by(traced.edges[target, slot])
        try:
            hash(key)
        except TypeError:
            raise TypeError(f"by must map an Edge to a hashable key, but gave {key!r}") from None
        return key

    if callable(by):
        return asked
    raise ValueError(f"by must be 'scope', 'depth' or a function of an Edge, but is {by!r}")


def extend(step: Any, key: Any) -> Any:
    """A path's key once it goes one step further back."""
    if step is None or key is REST:
        return key
    try:
        return step if key is None else step + key
    except TypeError:
        raise TypeError(
            f"the key of a path is the sum of its edges' keys, but {step!r} + {key!r} is none; let "
            "by give all numbers, all strings or all tuples"
        ) from None


def cap(bundle: Bundle, keep: int, spared: Set[Any]) -> Bundle:
    """The bundle with all but the `keep` - 1 largest cotangents, and the spared ones, put
    together."""
    if len(bundle.keys) <= keep:
        return bundle
    sizes = {key: norm(part) for key, part in zip(bundle.keys, bundle.parts, strict=True)}
    ranked = sorted(sizes, key=lambda key: (key is REST, -sizes[key]))
    kept = {*ranked[: keep - 1], *(spared & sizes.keys())}
    return merge(None, bundle._replace(keys=[k if k in kept else REST for k in bundle.keys]))


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
    """A key as a table shows it."""
    if isinstance(key, tuple):
        return oneline(" > ".join(map(str, key)) or "direct", 200)
    return oneline(str(key), 200)
