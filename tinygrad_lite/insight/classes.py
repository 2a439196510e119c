"""Paths grouped into classes: exact where there are too many paths to walk (see bundles.py)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property, partial
from numbers import Real
from typing import Any, overload

import numpy as np

from ..drawing.bars import Bar, bars
from ..drawing.table import Table, count, percent
from ..recorded.first_bad import first_bad
from ..recorded.names import distinct
from ..recorded.outcome import receipts, shares_of
from ..recorded.trace import coherence, is_one, trace
from ..tensor import Tensor
from ..text import number, oneline
from ..views.looks import THROUGH
from .bundles import OTHER, By, bundles_at, check_by
from .formulas import Chain, Formula
from .jacobians import check_sum
from .result import Breakdown, Derived, Piece, plain
from .routes import Stop, rarest
from .weights import Draws, Mass, weigh_all

SHARES = "share of the gradient; all sum to 100 %"
LONGEST = 6  # parts of a key that a table shows


@dataclass(frozen=True, slots=True, repr=False)
class PathClass(Piece):
    """All paths with one key: how many, what they carry together, and its signed share of
    the gradient (None where the gradient vanishes).

    That is one reading of how much they carry. The other is `count` times `magnitude`: parts that
    cancel in `contribution` add up there.
    """

    numbers = ("count", "norm", "share")
    header = ("paths", "|part|", "share")

    count: int
    contribution: np.ndarray = field(compare=False)
    share: float | None
    weights: Callable[[], np.ndarray] = field(compare=False)

    @property
    def magnitude(self) -> float:
        """The mean norm of what a single path of the class carries, as Veit, Wilber and Belongie
        (2016, https://arxiv.org/abs/1605.06431) measure it: of all, if there are at most 100,
        else of 100 drawn at random, always the same, each path as likely as any other.

        Computed when asked for.
        """
        return float(np.mean(self.weights()))

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
    draws: Draws = field(compare=False)

    @cached_property
    def formulas(self) -> tuple[Formula]:
        """The chain rule written out: of all paths together, whatever the classes."""
        return (self.chain.formula(),)

    @cached_property
    def mass(self) -> Mass | None:
        """What all paths weigh together; None if that is 0, or not finite."""
        return weigh_all(self.draws)

    @property
    def effective_depth(self) -> float | None:
        """The mean number of scopes that a path enters, each path weighed by the norm of what it
        carries: of the paths that Veit, Wilber and Belongie (2016) call effective. See `entropy`.
        """
        return self.mass.mean_depth if self.mass else None

    @property
    def entropy(self) -> float | None:
        """How many paths the gradient spreads over: - sum of p log p, with p the weight of a path
        over that of all, so that e**entropy equal paths would have as much. In nats; whatever the
        classes; None where all weights are 0 or one is not finite.

        A path weighs the norm of what it carries. Among scalars that is the absolute value of the
        product of its derivatives, as in Du et al. (2023, https://arxiv.org/abs/2307.03056), and
        the sum over all paths is exact. Arrays pass a path whole, while Du et al. follow each
        element by itself; and the sum is estimated, from 100 paths drawn of each depth
        (`magnitude`) times their number. A few paths that outweigh the others of their depth by
        far may be missed there.
        """
        return self.mass.entropy if self.mass else None

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
        called = zip(texts(self), self.values(), strict=True)
        rows = [(title, *found.cells()) for title, found in called]
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
        for title, found in zip(texts(self), self.values(), strict=True):
            remark = f"{percent(found.share)}, {count_of_paths(found.count)}"
            rows.append(
                Bar(title, () if found.share is None else ((found.share, THROUGH),), remark)
            )
        head = f"the gradient of {self.output} to {self.wrt}, by class of paths"
        return bars(rows, head, caption=self.note, heads=(SHARES, ""))


@overload
def path_classes(  # type: ignore[overload-overlap]  # a str is one name
    output: Tensor,
    wrt: Tensor | str,
    by: By = ...,
    gradient: Any = ...,
    *,
    keep: int = ...,
    names: Any = ...,
) -> PathClasses: ...
@overload
def path_classes(
    output: Tensor,
    wrt: Sequence[Tensor | str],
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
    `keep`. `wrt` is a Tensor or the name of one (see `graph`, and so for `names`); a sequence of
    such is answered by a tuple, from one pass. `gradient` is the cotangent of an output that is not
    a scalar.

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
    one = is_one(wrt)
    wanted = (wrt,) if one else tuple(wrt)
    results, _ = classify(output, wanted, by, gradient, keep, None, names)
    return results[0] if one else results


@np.errstate(all="ignore")  # backward has warned; here NaN is a result
def classify(
    output: Tensor,
    wrt: tuple[Any, ...],
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
    check_by(by)
    ends = set(wrt)
    found, seen = bundles_at(ends, traced, by, keep, spared)
    arrived = receipts(output, traced.start, traced.within, ends)
    bad = str(first_bad(output, traced.names, traced.start, arrived, traced.within))
    results, told = [], by if isinstance(by, str) else "class"
    for tensor in wrt:
        ends_in, outcome = list(found[tensor].parts), arrived.values[tensor].outcome
        total = arrived.gradients[tensor]
        sizes = check_sum(traced, ends_in, total)
        shares, note = shares_of(ends_in, sizes, total, outcome, "classes", traced.names)
        draws = Draws(traced, tensor, by, keep, spared or set())
        weights = [partial(draws.weights, key) for key in found[tensor].keys]
        classes = map(PathClass, found[tensor].counts, ends_in, shares, weights)
        by_key = dict(sorted(zip(found[tensor].keys, classes, strict=True), key=order))
        called = traced.title(output), traced.title(tensor)
        chain = Chain(output, tensor, traced.names)
        results.append(
            PathClasses(total, *called, note, outcome.state, bad, by_key, told, chain, draws)
        )
    return tuple(results), seen


def order(item: tuple[Any, Any]) -> Any:
    """Keys in their own order where they have one of sizes: numbers, then tuples by length."""
    key = item[0]
    if key is None or key is OTHER:
        return (0 if key is None else 3, 0)
    return (1, key) if isinstance(key, Real) else (2, len(key) if hasattr(key, "__len__") else 0)


def count_of_paths(n: int) -> str:
    """How many paths, in words."""
    return f"{count(n)} path{'s' * (n != 1)}"


def texts(keys: Iterable[Any]) -> list[str]:
    """Keys as a table shows them: of those that would read the same, the parts are told that the
    fewest of them have."""
    keys = [*keys]
    found = [text(key) for key in keys]
    for same, n in Counter(found).items():
        alike = [i for i, told in enumerate(found) if told == same] if n > 1 else []
        having: dict[str, int] = defaultdict(int)  # those that have a part, each a bit
        for i in alike:
            for part in parts_of(keys[i]):
                having[part] |= 1 << i
        for i in alike:
            stops = [Stop(part, having[part], True) for part in parts_of(keys[i])]
            found[i] = " > ".join(rarest(stops)) or same
    return [*distinct(dict(enumerate(found))).values()]


def parts_of(key: Any) -> list[str]:
    """What a key is made of, each on one line."""
    return [oneline(str(x)) for x in key] if isinstance(key, tuple) else [oneline(str(key), 60)]


def text(key: Any) -> str:
    """A key as a table shows it; of many parts the first and the last."""
    parts = parts_of(key)
    if len(parts) > LONGEST:
        parts = [*parts[:3], f"… {len(parts) - 5} more …", *parts[-2:]]
    return " > ".join(parts) or "no scope"
