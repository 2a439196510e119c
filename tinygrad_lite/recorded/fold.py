"""Folding: which parts of a large graph are drawn as one box.

A scope folds into one box with everything computed in it and with the inputs that only it
uses. Then equal blocks in a row ("block0", "block1", ...) fold into one box "× 50". Only
whole stretches of the computation fold, in the order in which it ran, so that no path
leaves a folded box and comes back to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from .nodes import Computation, Node

VISIBLE = 300  # boxes; a graph with more folds by itself
ROW = 60  # ops one after the other; a graph with more is too wide, and folds by itself
READABLE = 40  # boxes that folding on request aims for
PERIOD = 4  # items that repeat together, at most: a scope and ops up to the next
INPUTS = 3  # inputs used by one part alone that are still drawn
REPEATS = 3  # blocks in a row that are worth a "× 3"


@dataclass(frozen=True)
class Part:
    """A box that stands for several nodes: `blocks` holds their ids, a tuple for each
    block in a row, and `names` the blocks' names; `lines` is what is written in it."""

    id: str
    lines: tuple[str, ...]
    scope: tuple[str, ...]
    blocks: tuple[tuple[int, ...], ...]
    names: tuple[str, ...]

    @property
    def members(self) -> tuple[int, ...]:
        """The ids of all nodes in it."""
        return tuple(i for block in self.blocks for i in block)


class Item(NamedTuple):
    """A stretch of the computation: a whole scope, or one op outside of them (`scope` is
    empty). `leaves` are those that only it uses; equal items have equal signatures."""

    scope: tuple[str, ...]
    ops: list[int]
    leaves: list[int]
    signature: tuple[Any, ...]


def folded_parts(graph: Computation, fold: bool | None = None) -> tuple[Part, ...]:
    """The parts of a computation to draw as one box each.

    ``fold=False`` folds nothing. ``fold=True`` folds scopes, the innermost first, until
    the picture is readable; None (the default) does so only above `VISIBLE` boxes, or `ROW`
    ops in a row.
    """
    best: tuple[Part, ...] = ()
    if fold is False or (fold is None and len(graph) <= VISIBLE and longest_row(graph) <= ROW):
        return best
    fewest = len(graph)
    for depth in range(max(len(n.scope) for n in graph.nodes), 0, -1):
        parts = parts_at(graph, depth)
        boxes = len(graph) + len(parts) - sum(len(part.members) for part in parts)
        if boxes <= fewest:
            best, fewest = parts, boxes
        if fewest <= (READABLE if fold else VISIBLE):
            break
    return best


def longest_row(graph: Computation) -> int:
    """How many ops stand one after the other, at most."""
    rows: list[int] = []
    for node in graph.nodes:
        before = max((rows[edge.source] for edge in graph.into[node.id]), default=0)
        rows.append(before + (node.op is not None))
    return max(rows)


def parts_at(graph: Computation, depth: int) -> tuple[Part, ...]:
    """The parts when every scope at `depth` folds, and equal ones in a row together."""
    items = items_at(graph, depth)
    parts = []
    end = 0
    while end < len(items):
        start, (period, repeats) = end, longest_run(items, end)
        end += period * repeats
        if not items[start].scope:
            continue
        leaves = {leaf for item in items[start:end] for leaf in item.leaves}
        inputs = {leaf for leaf in leaves if graph.nodes[leaf].kind == "input"}
        shown = inputs if len(inputs) <= INPUTS else set()
        blocks = [items[i : i + period] for i in range(start, end, period)]
        members = tuple(
            tuple(sorted({i for item in block for i in (*item.ops, *item.leaves)} - shown))
            for block in blocks
        )
        names = tuple(block[0].scope[-1] for block in blocks)
        label = names[0] if names[0] == names[-1] else f"{names[0]} … {names[-1]}"
        lines = (label, f"× {repeats}") if repeats > 1 else (label,)
        parts.append(Part(f"f{members[0][0]}", lines, items[start].scope[:-1], members, names))
    return tuple(parts)


def items_at(graph: Computation, depth: int) -> list[Item]:
    """The computation in the order in which it ran: a scope at `depth` in one item."""

    def key(node: Node) -> Any:
        return node.scope[:depth] if len(node.scope) >= depth else node.id

    runs = groupby((node for node in graph.nodes if node.op is not None), key)
    groups = [(scope, [node.id for node in nodes]) for scope, nodes in runs]
    item_of = {op: i for i, (_, ops) in enumerate(groups) for op in ops}
    leaves: list[list[int]] = [[] for _ in groups]
    for node in graph.nodes:
        users = {item_of[edge.target] for edge in graph.out_of[node.id]}
        if node.op is None and len(users) == 1:
            leaves[users.pop()].append(node.id)
    return [
        Item(scope if isinstance(scope, tuple) else (), ops, own, signature(graph, scope, ops))
        for (scope, ops), own in zip(groups, leaves, strict=True)
    ]


def signature(graph: Computation, scope: Any, ops: list[int]) -> tuple[Any, ...]:
    """What makes two items equal: the same ops on the same shapes, joined in the same way,
    in scopes of the same name up to its number."""
    numbers: dict[int, int] = {}  # values by the order in which the item meets them
    steps = []
    for node in (graph.nodes[id] for id in ops):
        joined = [numbers.setdefault(e.source, len(numbers)) for e in graph.into[node.id]]
        joined.append(numbers.setdefault(node.id, len(numbers)))
        steps.append((node.op, node.shape, node.dtype, joined))
    name = re.sub(r"\d+", "#", scope[-1]) if isinstance(scope, tuple) else None
    return (name, *steps)


def longest_run(items: list[Item], start: int) -> tuple[int, int]:
    """(period, repeats) of the longest row of equal blocks that begins at `start`."""
    best = (1, 1)
    for period in range(1, PERIOD + 1) if items[start].scope else ():
        end = start + period
        while end < len(items) and items[end].signature == items[end - period].signature:
            end += 1
        repeats = (end - start) // period
        if repeats >= REPEATS and repeats * period > best[0] * best[1]:
            best = (period, repeats)
    return best
