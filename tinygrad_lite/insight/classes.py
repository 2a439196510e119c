"""Paths grouped into classes: exact where there are too many paths to walk.

A dynamic programme on the reverse pass. Where the ordinary pass carries one cotangent to
each value, this one carries one per key: the sum over all paths so far with that key. Two
paths that meet with the same key go on as one, so the work grows with the number of keys
and not with the number of paths.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Literal, cast, overload

import numpy as np

from ..backward import contributions, fitted
from ..drawing.bars import Bar, bars
from ..drawing.picture import BLUE
from ..drawing.render import save_svg
from ..drawing.table import count, percent, table
from ..drawing.text import number, oneline
from ..operation import Rule
from ..recorded.outcome import arrivals, weighed
from ..recorded.trace import Trace, coherence, entered, operands, title, trace
from ..tensor import Tensor
from ..value import Value
from ..views.boxes import norm
from .graphs import Edge

By = Literal["scope", "depth"] | Callable[[Edge], Any]
OTHER = "other"  # the key of what a cap has put together
REST: Any = object()  # the same on the way, where no key that `by` gives can be mistaken for it


@dataclass(frozen=True, slots=True)
class PathClass:
    """All paths with one key: how many, what they carry together, and its signed share of
    the gradient (None where the gradient vanishes)."""

    count: int
    contribution: np.ndarray = field(repr=False, compare=False)
    share: float | None


@dataclass(frozen=True)
class PathClasses(Mapping[Any, PathClass]):
    """The classes of the paths from an output to `wrt`, by key, and the gradient they
    sum to."""

    classes: dict[Any, PathClass] = field(repr=False)
    gradient: np.ndarray = field(repr=False)
    output: str
    wrt: str
    note: str

    def __getitem__(self, key: Any) -> PathClass:
        return self.classes[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.classes)

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def coherence(self) -> float | None:
        """|gradient| / sum of |contributions|; None if every contribution is 0."""
        return coherence([found.contribution for found in self.values()], self.gradient)

    def __str__(self) -> str:
        head = (
            f"{counted(sum(found.count for found in self.values()))} in {len(self)} "
            f"class{'es' * (len(self) != 1)} from {self.output} to {self.wrt}, "
            f"|gradient| {number(norm(self.gradient))}"
        )
        rows = [
            (shown(key), count(found.count), number(norm(found.contribution)), percent(found.share))
            for key, found in self.items()
        ]
        body = table(("class", "paths", "|part|", "share"), rows)
        return f"{head} ({self.note})\n{body}" if self.note else f"{head}\n{body}"

    def to_json(self) -> dict[str, Any]:
        """The numbers, as plain data for JSON."""
        return {
            "output": self.output,
            "wrt": self.wrt,
            "norm": norm(self.gradient),
            "note": self.note,
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
        rows = [
            Bar(
                shown(key),
                ((found.share or 0.0, BLUE),),
                f"{percent(found.share)}, {counted(found.count)}",
            )
            for key, found in self.items()
        ]
        title = f"the gradient of {self.output} to {self.wrt}, by class of paths"
        return bars(rows, title, caption=self.note)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the bars as .svg or .png. Raises: ValueError for another suffix,
        FileNotFoundError for a folder that does not exist."""
        save_svg(self.svg, path)

    def _repr_svg_(self) -> str:
        return self.svg()


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
    results, _ = classified(output, (wrt,) if one else tuple(wrt), by, gradient, keep)
    return results[0] if one else results


@np.errstate(all="ignore")  # backward has warned; here NaN is told
def classified(
    output: Tensor,
    wrt: tuple[Tensor, ...],
    by: By,
    gradient: Any,
    keep: int,
    dear: Set[Any] = frozenset(),
) -> tuple[tuple[PathClasses, ...], set[Any]]:
    """What `path_classes` gives, and every key that came up at some value on the way, REST
    among them if there were too many. The keys in `dear` are kept whatever their number."""
    if keep < 1:
        raise ValueError(f"keep is the largest number of classes, at least 1, but is {keep}")
    traced = trace(output, wrt, gradient)
    found, met = programme(traced, set(wrt), keys(by, traced), keep, dear)
    arrived = arrivals(output, traced.start, traced.within)
    none: Any = {"scope": (), "depth": 0}.get(by) if isinstance(by, str) else None
    results = []
    for tensor in wrt:
        state = found[tensor]
        parts = list(state.parts)
        total = np.add.reduce(parts)
        shares, note = weighed(arrived[tensor].fate, parts, total)
        classes = {
            none if key is None else key: PathClass(n, part, share)
            for (key, n), part, share in zip(state.counts.items(), parts, shares, strict=True)
        }
        classes = dict(sorted(classes.items(), key=order))
        results.append(PathClasses(classes, total, title(output), title(tensor), note))
    return tuple(results), met


@dataclass(frozen=True, slots=True)
class State:
    """What has arrived at a value: by key the number of paths, and, in the same order, the
    cotangents, stacked along a first axis so that a rule may serve them all at once."""

    counts: dict[Any, int]
    parts: np.ndarray


def programme(
    traced: Trace,
    wrt: set[Tensor],
    key: Callable[[Value, int], Any],
    keep: int,
    dear: Set[Any],
) -> tuple[dict[Value, State], set[Any]]:
    """What arrives at each of `wrt`, by key, and all keys met: the reverse pass with a
    cotangent for each key."""
    first = State({None: 1}, np.asarray(traced.start)[None])
    states: dict[Value, State] = {traced.output: first}
    found: dict[Value, State] = {}
    met: set[Any] = set()
    for node in reversed(traced.order):
        state = capped(states.pop(node), keep, dear)
        met.update(state.counts)
        if node in wrt:
            public = [OTHER if k is REST else k for k in state.counts]
            found[node] = grouped(None, public, list(state.counts.values()), state.parts)
        for slot, x, parts in sends(node, state.parts, traced.within):
            step = key(node, slot)
            sent = ([extended(step, k) for k in state.counts], list(state.counts.values()), parts)
            states[x] = grouped(states.get(x), *sent)
    return found, met


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
                parts = np.stack([fitted(parts, x, node)] * len(cotangents))
            elif parts.shape[1:] != x._data.shape or parts.dtype != x._data.dtype:
                parts = np.stack([fitted(part, x, node) for part in parts])
            yield slot, x, parts
    else:
        each = [list(contributions(node, g, within=within)) for g in cotangents]
        for i, (slot, x) in enumerate(wanted):
            yield slot, x, np.stack([sent[i][2] for sent in each])


def grouped(here: State | None, keys: list[Any], counts: list[int], parts: np.ndarray) -> State:
    """What was here and what comes, those with equal keys added."""
    if here is None and len(set(keys)) == len(keys):
        return State(dict(zip(keys, counts, strict=True)), parts)
    together = dict(here.counts) if here is not None else {}
    for key, n in zip(keys, counts, strict=True):
        together[key] = together.get(key, 0) + n
    place = {key: i for i, key in enumerate(together)}
    total = np.zeros((len(together), *parts.shape[1:]), parts.dtype)
    if here is not None:
        total[: len(here.counts)] = here.parts
    rows = [place[key] for key in keys]
    if rows == list(range(rows[0], rows[0] + len(rows))):
        total[rows[0] : rows[0] + len(rows)] += parts  # a slice is added to in place
    elif len(set(rows)) == len(rows):
        total[rows] += parts
    else:
        np.add.at(total, rows, parts)
    return State(together, total)


def keys(by: By, traced: Trace) -> Callable[[Value, int], Any]:
    """The key that a step from the given target through a slot adds to a path's."""

    def scope(target: Value, slot: int) -> Any:
        name = entered(target.inputs[slot], target)
        return None if name is None else (name,)

    if by == "scope":
        return scope
    if by == "depth":
        return lambda target, slot: None if scope(target, slot) is None else 1

    def given(target: Value, slot: int) -> Any:
        key = by(traced.edges[target, slot])
        try:
            hash(key)
        except TypeError:
            raise TypeError(f"by must map an Edge to a hashable key, but gave {key!r}") from None
        return key

    if callable(by):
        return given
    raise ValueError(f"by must be 'scope', 'depth' or a function of an Edge, but is {by!r}")


def extended(step: Any, key: Any) -> Any:
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


def capped(state: State, keep: int, dear: Set[Any]) -> State:
    """The state with all but the `keep` - 1 largest cotangents, and the dear ones, put
    together."""
    if len(state.counts) <= keep:
        return state
    sizes = {key: norm(part) for key, part in zip(state.counts, state.parts, strict=True)}
    ranked = sorted(sizes, key=lambda key: (key is REST, -sizes[key]))
    kept = {*ranked[: keep - 1], *(dear & sizes.keys())}
    keys = [key if key in kept else REST for key in state.counts]
    return grouped(None, keys, list(state.counts.values()), state.parts)


def order(item: tuple[Any, Any]) -> Any:
    """Keys in their own order where they have one of sizes: numbers, then tuples by length."""
    key = item[0]
    if key is None or key is OTHER:
        return (0 if key is None else 3, 0)
    return (1, key) if isinstance(key, Real) else (2, len(key) if hasattr(key, "__len__") else 0)


def counted(n: int) -> str:
    """How many paths, in words."""
    return f"{count(n)} path{'s' * (n != 1)}"


def shown(key: Any) -> str:
    """A key as a table shows it."""
    if isinstance(key, tuple):
        return oneline(" > ".join(map(str, key)) or "direct", 200)
    return oneline(str(key), 200)
