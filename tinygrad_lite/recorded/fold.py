"""Folding: what repeats in a large graph is drawn once, and what is long is drawn short.

Ops are compared by what they do and by what they are joined to, not by what they are called: an
op repeats another if both do the same on equal shapes, and their operands are as far apart as
they are, or the same value, or a leaf each. Where this holds for a stretch of ops over at
least `REPEATS` periods, the period is a unit, of which one repeat is drawn. What is left is
shortened where it is too much to read: the ops of a scope, or of a stretch that hands on one
value only, become one box. Both are whole stretches of the computation in the order in which
it ran, so no path leaves one and comes back to it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import accumulate, groupby
from os.path import commonprefix  # which takes tuples too
from typing import NamedTuple

from .nodes import Computation, Edge, Node

VISIBLE = 60  # boxes; a graph with more folds by itself
READABLE = 40  # boxes that folding on request aims for
REPEATS = 3  # units in a row that are worth a "× 3"
LEAST = 8  # ops that a unit saves, where nobody asked for it
UNITS = 3  # beside each other
INSIDE = 14  # boxes inside a unit, from which on it is shortened
ROW = 9  # ops one after the other in a unit, likewise
WIDE = 12  # and in a picture without units
LEVELS = 11  # windows of 1, 2, 4, ... ops are looked at for what comes again
LIKELY = 3  # distances at which it comes again that are tried for each
STRETCH = 16  # ops in one box that no scope names, outside of units


@dataclass(frozen=True)
class Unit:
    """What repeats. `blocks` has the ids of each repeat's nodes, those with the same place in
    their blocks standing for each other; the last block is drawn. `carried` gives, by (target,
    slot) in the last block, the node there whose value of so many blocks ago is used."""

    id: str
    blocks: tuple[tuple[int, ...], ...]
    carried: dict[tuple[int, int], tuple[int, int]] = field(compare=False)
    scope: tuple[str, ...] = ()  # around all of it
    inner: tuple[str, ...] = ()  # around the last block
    names: tuple[str, ...] = ()  # of the blocks, where scopes name them

    @cached_property
    def places(self) -> dict[int, int]:
        """The places of the drawn nodes in their block."""
        return {id: place for place, id in enumerate(self.blocks[-1])}

    @cached_property
    def ports(self) -> dict[tuple[int, int], list[tuple[int, int]]]:
        """What each block has from those before it, as in `carried`, and where it is used."""
        found: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for use, value in self.carried.items():
            found.setdefault(value, []).append(use)
        return found


@dataclass(frozen=True)
class Part:
    """Ops drawn as one box, with the leaves that only they use: `members` are their ids. `name`
    is that of their scope, else empty; `scope` is around them."""

    id: str
    name: str
    scope: tuple[str, ...]
    members: tuple[int, ...]


@dataclass(frozen=True)
class Folding:
    """The units and parts of a graph."""

    units: tuple[Unit, ...] = ()
    parts: tuple[Part, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.units or self.parts)

    @cached_property
    def repeat(self) -> dict[int, tuple[Unit, int, int]]:
        """For each node in a unit: the unit, which of its repeats it is in, and the node that is
        drawn in its place."""
        return {
            id: (unit, k, drawn)
            for unit in self.units
            for k, block in enumerate(unit.blocks)
            for id, drawn in zip(block, unit.blocks[-1], strict=True)
        }

    @cached_property
    def part_of(self) -> dict[int, Part]:
        """The part that a node is in, by its id; of the nodes in units, for those drawn."""
        return {id: part for part in self.parts for id in part.members}

    def drawn(self, id: int) -> int:
        """The node that is drawn in the place of a node."""
        return self.repeat[id][2] if id in self.repeat else id

    @property
    def hidden(self) -> int:
        """How many nodes have no box of their own."""
        repeated = sum(len(block) for unit in self.units for block in unit.blocks[:-1])
        return repeated + sum(len(part.members) for part in self.parts)


def folding(graph: Computation, fold: bool | None = None) -> Folding:
    """What is drawn once, and what as one box.

    ``fold=False`` folds nothing, ``fold=True`` what repeats and scopes, until the picture is
    readable; None (the default) does so only above `VISIBLE` boxes, and no more than it must.
    """
    if fold is False or (fold is None and len(graph) <= VISIBLE):
        return Folding()
    line = Line(graph)
    runs = runs_of(line, LEAST if fold is None else 1)
    units = tuple(unit_of(line, run) for run in runs)
    parts: list[Part] = []
    repeated: set[int] = set()
    for unit, run in zip(units, runs, strict=True):
        end = run.start + run.period * run.repeats
        ops = range(end - run.period, end)
        limits = Limits(INSIDE // len(runs), ROW // len(runs), len(line.ops), joins=True)
        parts += shortened(line, ops, len(unit.inner), unit.blocks[-1], limits)
        repeated.update(id for block in unit.blocks for id in block)
    known = sum(len(unit.blocks[-1]) for unit in units)
    known -= sum(len(part.members) - 1 for part in parts)
    drawn = [node.id for node in graph.nodes if node.id not in repeated]
    if fold and not units:
        limits = Limits(min(READABLE, len(drawn) - 1), WIDE, STRETCH)
    else:
        most = max((READABLE if units else VISIBLE) - known, 2 * ROW)
        limits = Limits(most, ROW if units else WIDE, STRETCH)
    outside = [i for i, op in enumerate(line.ops) if op.id not in repeated]
    parts += shortened(line, outside, 0, drawn, limits)
    return Folding(units, tuple(parts))


class Limits(NamedTuple):
    """How many boxes there may be, how many of ops in a row, and how many ops in a box that no
    scope names."""

    boxes: int
    row: int
    stretch: int
    joins: bool = False  # whether what ends a skip stands by itself in any case


class Line:
    """The ops of a graph in the order in which they ran. `sources` has for each the place of
    every operand, -1 for a leaf, and its id; `last` the place of an op's last use; `kinds`
    are equal for ops that do the same on equal shapes in scopes of the same names."""

    def __init__(self, graph: Computation) -> None:
        self.graph = graph
        self.ops = [node for node in graph.nodes if node.op is not None]
        self.at = {node.id: i for i, node in enumerate(self.ops)}
        self.sources = [
            [(self.at.get(e.source, -1), e.source) for e in graph.into[node.id]]
            for node in self.ops
        ]
        self.last = [
            max((self.at[e.target] for e in graph.out_of[node.id]), default=len(self.ops))
            for node in self.ops
        ]
        self.scopes = [tuple(re.sub(r"\d+", "#", s) for s in node.scope) for node in self.ops]
        self.kinds = numbered(
            (*kind(graph, node), scope) for node, scope in zip(self.ops, self.scopes, strict=True)
        )
        self.steps = list(places_in_scopes(self.ops))
        learned = (
            any(graph.nodes[id].kind == "parameter" for place, id in some if place < 0)
            for some in self.sources
        )
        self.learned = [0, *accumulate(map(int, learned))]  # ops before each that use a parameter


def numbered(items: Iterable[Hashable]) -> list[int]:
    """A number for each item, the same for equal ones."""
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(item, len(numbers)) for item in items]


def kind(graph: Computation, node: Node) -> tuple[Hashable, ...]:
    """What an op does: its name, and the shapes of what it takes and makes."""
    taken = tuple(graph.nodes[e.source].shape for e in graph.into[node.id])
    return node.op, node.shape, node.dtype, taken


def places_in_scopes(ops: Sequence[Node]) -> Iterator[int]:
    """For each op, how many of its scope ran without a break before it."""
    for _, run in groupby(ops, lambda node: node.scope):
        yield from (i for i, _ in enumerate(run))


# What repeats


class Run(NamedTuple):
    """A stretch of ops that repeats: where it starts, how long a repeat is, and how many."""

    start: int
    period: int
    repeats: int

    @property
    def saved(self) -> int:
        """How many ops are not drawn."""
        return self.period * (self.repeats - 1)


def runs_of(line: Line, least: int) -> list[Run]:
    """The stretches that repeat and save so many ops at `least`, in order: of those that overlap,
    the one that saves most; and no more than can be drawn beside each other."""
    joined = numbered(
        (
            kind,
            line.steps[i] == 0,
            *(i - place if place >= 0 else leaf_kind(line.graph, id) for place, id in some),
        )
        for i, (kind, some) in enumerate(zip(line.kinds, line.sources, strict=True))
    )
    likely = dict.fromkeys([*periods(line.kinds), *periods(joined)])
    found = [run for period in likely for run in runs_with(line, period)]
    taken: list[Run] = []
    kept = [run for run in found if run.saved >= max(least, len(line.ops) // 25)]
    for run in sorted(kept, key=lambda run: (-run.saved, run)):
        end = run.start + run.period * run.repeats
        if all(end <= x.start or x.start + x.period * x.repeats <= run.start for x in taken):
            taken.append(run)
    return sorted(taken[:UNITS])


def periods(kinds: Sequence[int]) -> list[int]:
    """Likely periods: the distances at which windows of ops come again, for windows of each
    length the most frequent."""
    found: dict[int, None] = {}
    windows, width = list(kinds), 1
    for _ in range(LEVELS):
        seen: dict[int, int] = {}
        counts: Counter[int] = Counter()
        for i, window in enumerate(windows):
            if window in seen:
                counts[i - seen[window]] += 1
            seen[window] = i
        found |= dict.fromkeys(period for period, _ in counts.most_common(LIKELY))
        windows = numbered(zip(windows, windows[width:], strict=False))
        width *= 2
        if not counts or len(windows) < width:
            break
    return list(found)


STRICT, FIRST = 2, 1


def matches(line: Line, i: int, period: int, start: int) -> int:
    """Whether an op repeats the one a period before, in a run that starts at `start`: FIRST if
    only as one of the second block does, whose operand from the first has another value in its
    place there. 0 if not."""
    j = i - period
    if line.kinds[i] != line.kinds[j]:
        return 0
    if line.ops[i].scope != line.ops[j].scope and line.steps[i] != line.steps[j]:
        return 0
    found = STRICT
    for (here, a), (there, b) in zip(line.sources[i], line.sources[j], strict=True):
        if here >= 0 and here - there == period and there >= 0:
            continue
        if a == b and here < start:  # the same value, from before
            continue
        if here < 0 and there < 0 and leaf_kind(line.graph, a) == leaf_kind(line.graph, b):
            continue
        if here < 0 or there >= start:
            return 0
        found = FIRST
    return found


def leaf_kind(graph: Computation, id: int) -> Hashable:
    """What leaves in the same place of two repeats have in common, besides their shape."""
    return graph.nodes[id].kind, len(graph.out_of[id])


def runs_with(line: Line, period: int) -> Iterator[Run]:
    """The stretches that repeat with a period."""
    n, i = len(line.ops), period
    if n < REPEATS * period:
        return
    while i < n:
        if matches(line, i, period, i - period) != STRICT:
            i += 1
            continue
        begin = i
        while i < n and matches(line, i, period, begin - period) == STRICT:
            i += 1
        first = begin  # the second block may be joined to the first in a way of its own
        while first > max(period, begin - period) and matches(
            line, first - 1, period, max(first - 1 - period, 0)
        ):
            first -= 1
        run = best_cut(line, first - period, i, period)
        if run is not None:
            yield run


def best_cut(line: Line, low: int, end: int, period: int) -> Run | None:
    """Where to cut a stretch from `low` to `end` into blocks: where the fewest values are handed
    on; then where there are most blocks, and scopes begin; then as early as possible."""
    latest = min(period - 1, end - low - REPEATS * period)
    if latest < 0:
        return None
    changes = [0] * (3 * period + 1)  # in how many values are handed on, cut by cut
    for q in range(low, min(low + 2 * period, end)):
        changes[q + 1 - low] += 1
        changes[min(line.last[q], q + period, low + 3 * period - 1) + 1 - low] -= 1
    handed, carried = [], 0
    for change in changes:
        carried += change
        handed.append(carried)

    def badness(start: int) -> tuple[int, int, int, int]:
        before = line.ops[start - 1].scope if start else ()
        shared = len(commonprefix([before, line.ops[start].scope]))
        return handed[start + period - low], -((end - start) // period), shared, start

    starts = (s for s in range(low, low + latest + 1) if sound(line, s, period))
    start = min(starts, key=badness, default=None)
    return None if start is None else Run(start, period, (end - start) // period)


def sound(line: Line, start: int, period: int) -> bool:
    """Whether the second block repeats the first, but for what comes from before the first."""
    return all(matches(line, i, period, start) for i in range(start + period, start + 2 * period))


def unit_of(line: Line, run: Run) -> Unit:
    """A run with the leaves that each of its blocks has for itself."""
    graph, (start, period, repeats) = line.graph, run
    starts = range(start, start + period * repeats, period)
    blocks = [[line.ops[i].id for i in range(s, s + period)] for s in starts]
    within = [set(block) for block in blocks]
    for j in range(period):
        for slot in range(len(line.sources[start + j])):
            uses = [line.sources[s + j][slot] for s in starts]
            leaves = [id for place, id in uses if place < 0]
            own = (
                id not in within[k] and all(e.target in within[k] for e in graph.out_of[id])
                for k, id in enumerate(leaves)
            )  # fmt: skip
            if len(leaves) == repeats == len(set(leaves)) and all(own):
                for k, id in enumerate(leaves):
                    blocks[k].append(id)
                    within[k].add(id)
    carried = {}
    final = starts[-1]
    for i in range(final, final + period):
        for slot, (place, _) in enumerate(line.sources[i]):
            if start <= place < final:
                lag = (final - place + period - 1) // period
                use = line.ops[i].id, graph.into[line.ops[i].id][slot].slot
                carried[use] = line.ops[place + lag * period].id, lag
    scopes = [common_scope([graph.nodes[id] for id in block[:period]]) for block in blocks]
    scope, inner = tuple(commonprefix(scopes)), scopes[-1]
    names = tuple(s[len(scope)] for s in scopes) if len(inner) > len(scope) else ()
    return Unit(f"u{blocks[-1][0]}", tuple(map(tuple, blocks)), carried, scope, inner, names)


def common_scope(ops: Sequence[Node]) -> tuple[str, ...]:
    """The innermost scope that all are in."""
    return tuple(commonprefix([op.scope for op in ops]))


# What is long


def shortened(
    line: Line, places: Sequence[int], depth: int, drawn: Sequence[int], limits: Limits
) -> list[Part]:
    """The parts that keep the ops at some places, and what else is `drawn` there, within limits:
    scopes deeper than `depth`, the innermost first, else layers, else stretches; those that leave
    the fewest boxes where nothing does."""
    best: list[Part] = []
    fewest = len(drawn)

    def enough() -> bool:
        return fewest <= limits.boxes and row_of(line, places, best) <= limits.row

    allowed = set(drawn)
    deepest = max((len(line.ops[i].scope) for i in places), default=0)
    ways: list[Callable[[], list[Stretch]]] = [
        *(partial(by_scope, line, places, d, limits.joins) for d in range(deepest, depth, -1)),
        partial(stretches, line, places, limits.stretch, weighs),
        partial(stretches, line, places, limits.stretch),
    ]
    for way in ways:
        if enough():
            break
        parts = [part_of(line, s, d, allowed) for s, d in way() if d or len(s) > 1]
        boxes = len(drawn) - sum(len(part.members) - 1 for part in parts)
        if boxes <= fewest:
            best, fewest = parts, boxes
    return best


Stretch = tuple[Sequence[int], int]  # the places of ops, and how many of their scopes are named


def part_of(line: Line, places: Sequence[int], depth: int, allowed: set[int]) -> Part:
    """The ops at some places, and the parameters and constants that only they use."""
    graph, ops = line.graph, [line.ops[i] for i in places]
    ids, scope = {op.id for op in ops}, common_scope(ops)
    leaves = {
        id
        for i in places
        for place, id in line.sources[i]
        if place < 0 and id in allowed
        and (graph.nodes[id].kind != "input" or is_within(graph.nodes[id], scope[:depth]))
        and all(e.target in ids for e in graph.out_of[id])
    }  # fmt: skip
    name = scope[depth - 1] if depth else ""
    outer = scope[: depth - 1] if depth else scope
    return Part(f"f{min(ids)}", name, outer, tuple(sorted(ids | leaves)))


def is_within(leaf: Node, scope: tuple[str, ...]) -> bool:
    """Whether a leaf was made in a scope, which it then belongs to, as a buffer to its module."""
    return bool(scope) and leaf.scope[: len(scope)] == scope


def row_of(line: Line, places: Sequence[int], parts: Sequence[Part]) -> int:
    """How many boxes of ops stand one after the other, at most."""
    part = {id: n for n, some in enumerate(parts) for id in some.members}
    rows: dict[object, int] = {}
    for i in places:
        own = part.get(line.ops[i].id, ("op", i))
        for place, id in line.sources[i]:
            source = part.get(id, ("op", place))
            if source != own:
                rows[own] = max(rows.get(own, 1), rows.get(source, 0) + 1)
        rows.setdefault(own, 1)
    return max(rows.values(), default=0)


def by_scope(line: Line, places: Sequence[int], depth: int, joins: bool) -> list[Stretch]:
    """The stretches of ops in one scope at a depth; with `joins`, without what ends a skip."""

    def where(item: tuple[int, int]) -> object:
        n, i = item
        scope = line.ops[i].scope
        if len(scope) < depth or (joins and meets(line, i)):
            return i
        return i - n, scope[:depth]

    runs = ((key, list(run)) for key, run in groupby(enumerate(places), where))
    return [([i for _, i in run], depth) for key, run in runs if isinstance(key, tuple)]


def weighs(line: Line, i: int) -> bool:
    """Whether an op takes a parameter of two axes or more, as a layer does."""
    leaves = (line.graph.nodes[id] for place, id in line.sources[i] if place < 0)
    return any(x.kind == "parameter" and len(x.shape) > 1 for x in leaves)


def stretches(
    line: Line,
    places: Sequence[int],
    longest: int,
    begins: Callable[[Line, int], bool] | None = None,
) -> list[Stretch]:
    """Cut some ops into stretches, each the longest that hands on one value at most and neither
    meets a skip on its way nor goes on where another one `begins`."""
    found: list[Stretch] = []
    n = 0
    while n < len(places):
        best, first = n + 1, places[n]
        live: set[int] = set()
        for m in range(n, min(n + longest, len(places))):
            i = places[m]
            apart = i - first != m - n or meets(line, i) or (begins is not None and begins(line, i))
            if m > n and apart:
                break
            live = {q for q in live if line.last[q] > i}
            if line.last[i] > i:
                live.add(i)
            if live <= {i}:
                best = m + 1
        found.append((places[n:best], 0))
        n = best
    return found


def meets(line: Line, i: int) -> bool:
    """Whether an op joins a skip over something learned, and no op uses that value later."""
    edges: Sequence[Edge] = line.graph.into[line.ops[i].id]
    return any(
        edge.skip
        and place >= 0
        and line.last[place] == i
        and line.learned[i] > line.learned[place + 1]
        for edge, (place, _) in zip(edges, line.sources[i], strict=True)
    )
