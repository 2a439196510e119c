"""Classes of paths by scopes and, where scopes do not tell them apart, by the skips on them.

Held against another computation, a path must not pass for one that the other has only because
both enter the same scopes. So each path counts how often it passes a join straight; and where one
output was computed from the other, how often it turns away from the paths of that other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from ..ancestors import ancestors, between
from ..recorded.joins import straight_uses
from ..value import Value
from .bundles import OTHER, Marked, Marks
from .classes import PathClasses, order

SKIP, AWAY = (1, 0), (0, 1)  # what a use adds to the marks of a path


def marked(output: Value, other: Value) -> Marked:
    """The uses in a computation that tell its paths from those of another."""
    values = ancestors([output])
    skips = straight_uses(values)
    above = between(output, {other}) - {other}  # what was computed from the other, if anything
    uses = {use: SKIP for use in skips if use[0] not in above}
    for value in above:
        back = [slot for slot, x in enumerate(value.inputs) if x in above or x is other]
        straight = [slot for slot in back if (value, slot) in skips] or back
        uses |= {(value, slot): AWAY for slot in range(len(value.inputs)) if slot not in straight}
    return Marked(uses)


def share_scopes(classes: PathClasses) -> bool:
    """Whether marks tell classes apart that scopes do not."""
    scopes = [key.scopes for key in classes if isinstance(key, Marks)]
    return len(set(scopes)) < len(scopes)


def differ(sides: Sequence[tuple[PathClasses, ...]]) -> bool:
    """Whether some computation has other classes than the first, or other numbers of paths."""
    counts = [[{key: found.count for key, found in x.items()} for x in side] for side in sides]
    return any(side != counts[0] for side in counts)


def is_vague(key: Any, by: Any) -> bool:
    """Whether a class by scopes has paths that no scope names, or only in part."""
    return (
        by == "scope"
        and key != OTHER
        and (not key or any(part.startswith("over ") for part in key))
    )


def named(sides: Sequence[PathClasses], titles: Sequence[str]) -> Iterator[PathClasses]:
    """The classes of one parameter in some computations, by scopes alone where on each side all
    paths that enter the same scopes have the same marks. `titles` are what the computation is
    called that each is held against."""
    several = set[Any]()
    for side in sides:
        scopes = [key.scopes for key in side if isinstance(key, Marks)]
        several |= {s for s in scopes if scopes.count(s) > 1}
    for side, title in zip(sides, titles, strict=True):

        def name(key: Any, title: str = title) -> Any:
            if not isinstance(key, Marks):
                return key
            skips, away = key.marks if key.scopes in several else (0, 0)
            told = [f"over {skips} skip{'s' * (skips != 1)}"] * (skips > 0)
            often = f" {away} times" if away > 1 else ""
            return (*key.steps, *told, *[f"past {title}{often}"] * (away > 0))

        classes = sorted(((name(key), found) for key, found in side.items()), key=order)
        yield replace(side, classes=dict(classes), by="scope")
