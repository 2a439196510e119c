"""How paths are told: by the values and lines that they pass, so that no two read the same.

A path is told by the named values on its way, and by the scopes it enters where those have no
named value. Where that tells two paths alike, the values that not all paths pass are told too,
and which joins a path passes straight; of many stops those that the fewest paths share.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from ..recorded.joins import Use, straight_uses
from ..recorded.names import Names, distinct
from ..recorded.outcome import Outcome
from ..recorded.trace import scope_entered
from ..text import oneline
from ..value import Value

MOST = 8  # stops, or lines, that are told of one path


class Stop(NamedTuple):
    """Something that a path passes: what it is called, which paths pass it, each a bit, and whether
    it is told of any path that does."""

    text: str
    paths: int
    known: bool


class Routes:
    """The ways of several paths, each as its uses (target, slot) from the far end to the output."""

    def __init__(self, names: Names, ways: Sequence[Sequence[Use]]) -> None:
        self.names, self.ways = names, ways
        self.routes = [Route(self, i) for i in range(len(ways))]

    @cached_property
    def texts(self) -> list[str]:
        """What each path is called."""
        texts = [tell([stop for stop in self.stops(way) if stop.known]) for way in self.ways]
        counts = Counter(texts)
        for i, way in enumerate(self.ways):
            if counts[texts[i]] > 1 or "…" in texts[i]:
                texts[i] = tell(self.telling(self.stops(way)))
        return [*distinct(dict(enumerate(texts))).values()]

    def telling(self, stops: Sequence[Stop]) -> list[Stop]:
        """The stops that are known, and as many of the rarest others as it takes to tell the path
        from all that pass the same."""
        same = (1 << len(self.ways)) - 1
        for stop in stops:
            if stop.known:
                same &= stop.paths
        told = set()
        for stop in sorted(stops, key=lambda stop: stop.paths.bit_count()):
            if not stop.known and same & ~stop.paths:
                same &= stop.paths
                told.add(stop)
        return [stop for stop in stops if stop.known or stop in told]

    def stops(self, way: Sequence[Use]) -> list[Stop]:
        """All that a path passes, from the far end to the output."""
        if not way:
            return []
        end, first = way[0]
        found = [Stop(self.names.title(end.inputs[first]), (1 << len(self.ways)) - 1, True)]
        scope: Stop | None = None  # the one entered last, as long as no named value tells it
        for target, slot in way:
            x = target.inputs[slot]
            entered, straight = scope_entered(x, target), (target, slot) in self.straight
            paths, title = self.passing[target, None], self.names.title(target)
            named = target in self.names.found
            if entered is not None:
                found.append(Stop(oneline(entered), paths, True))
                scope = found[-1]
            if named and scope and scope.text == oneline("/".join(target.scope)):
                found.remove(scope)  # its named value tells it
                scope = None
            if straight and not named:
                paths, title = self.passing[target, slot], f"skip to {title}"
            if (target, x) in self.repeated:
                paths, title = self.passing[target, slot], f"{title} by operand {slot + 1}"
            found.append(Stop(title, paths, named or target is way[-1][0]))
        return found

    @cached_property
    def straight(self) -> set[Use]:
        """The uses that pass a join straight."""
        return straight_uses(self.names.values)

    @cached_property
    def repeated(self) -> set[tuple[Value, Value]]:
        """The values that are used twice by another, which stands first."""
        uses = Counter((y, x) for y in self.names.values for x in y.inputs if isinstance(x, Value))
        return {use for use, n in uses.items() if n > 1}

    @cached_property
    def passing(self) -> dict[tuple[Value, int | None], int]:
        """Which paths pass each value, and each slot of one."""
        found: dict[tuple[Value, int | None], int] = defaultdict(int)
        for i, way in enumerate(self.ways):
            for target, slot in way:
                found[target, slot] |= 1 << i
                found[target, None] |= 1 << i
        return found

    @cached_property
    def passing_lines(self) -> dict[str, int]:
        """Which paths pass each line."""
        found: dict[str, int] = defaultdict(int)
        for i, way in enumerate(self.ways):
            for line in self.lines_of(way):
                found[line] |= 1 << i
        return found

    def lines_of(self, way: Sequence[Use]) -> Iterator[str]:
        """The lines that a path passes, in its order, each once."""
        return iter(dict.fromkeys(filter(None, (self.names.line(target) for target, _ in way))))


@dataclass(frozen=True, eq=False, slots=True)
class Route:
    """The way of one of several paths."""

    routes: Routes
    index: int

    def __str__(self) -> str:
        return self.routes.texts[self.index]

    @property
    def lines(self) -> str:
        """The lines that it passes; of many those that the fewest paths pass."""
        routes = self.routes
        lines = routes.lines_of(routes.ways[self.index])
        return ", ".join(rarest([Stop(line, routes.passing_lines[line], True) for line in lines]))

    def remark(self, outcome: Outcome) -> str:
        """What became of the gradient on it."""
        return outcome.text(self.routes.names)


def tell(stops: Sequence[Stop]) -> str:
    """Stops with an arrow from each to the next; of many, those that the fewest paths share."""
    return " → ".join(rarest(stops))


def rarest(stops: Sequence[Stop]) -> list[str]:
    """The first, the last and the rarest of the stops, in their order; "…" for those between."""
    last = len(stops) - 1
    passing = [stop.paths.bit_count() for stop in stops]
    order = sorted(range(len(stops)), key=lambda i: (i not in (0, last), passing[i], i))
    told: list[str] = []
    for i, stop in enumerate(stops):
        if len(stops) <= MOST or i in order[:MOST]:
            told.append(stop.text)
        elif told[-1] != "…":
            told.append("…")
    return told
