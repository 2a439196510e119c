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
    """A stretch of the computation: a whole scope, or an op (`scope` is None)."""

    scope: tuple[str, ...] | None
    nodes: tuple[int, ...]


def folded_parts(graph: Computation, fold: bool | None = None) -> tuple[Part, ...]:
    """The parts of a computation to draw as one box each.

    ``fold=False`` folds nothing. ``fold=True`` folds scopes, the innermost first, until
    the picture is readable; None (the default) does so only above `VISIBLE` boxes.
    """
    if fold is False or (fold is None and len(graph) <= VISIBLE):
        return ()
    limit = VISIBLE if fold is None else READABLE
    best: tuple[Part, ...] = ()
    for depth in range(max(len(n.scope) for n in graph.nodes), 0, -1):
        parts = parts_at(graph, depth)
        if boxes_drawn(graph, parts) <= boxes_drawn(graph, best):
            best = parts
        if boxes_drawn(graph, best) <= limit:
            break
    return best


def boxes_drawn(graph: Computation, parts: tuple[Part, ...]) -> int:
    """How many nodes and parts are drawn."""
    return len(graph) + len(parts) - sum(len(part.members) for part in parts)


def parts_at(graph: Computation, depth: int) -> tuple[Part, ...]:
    """The parts when every scope at `depth` folds, and equal ones in a row together."""
    items = stretches(graph, depth)
    leaves_of = private_leaves(graph, items)
    shapes = [signature(graph, item) for item in items]
    parts = []
    end = 0
    while end < len(items):
        start, (period, repeats) = end, longest_run(items, shapes, end)
        end += period * repeats
        if items[start].scope is None:
            continue
        blocks = [items[i : i + period] for i in range(start, end, period)]
        ops = [[op for item in block for op in item.nodes] for block in blocks]
        leaves = [[leaf for op in block for leaf in leaves_of.get(op, ())] for block in ops]
        inputs = {leaf for block in leaves for leaf in block if graph.nodes[leaf].kind == "input"}
        shown = inputs if len(inputs) <= INPUTS else set()
        members = tuple(
            tuple(sorted({*block, *own} - shown)) for block, own in zip(ops, leaves, strict=True)
        )
        scopes = [block[0].scope or ("",) for block in blocks]
        names = tuple(scope[-1] for scope in scopes)
        label = names[0] if names[0] == names[-1] else f"{names[0]} … {names[-1]}"
        lines = (label, f"× {repeats}") if repeats > 1 else (label,)
        parts.append(Part(f"f{members[0][0]}", lines, scopes[0][:-1], members, names))
    return tuple(parts)


def stretches(graph: Computation, depth: int) -> list[Item]:
    """The ops in the order in which they ran: a scope at `depth` in one item, others alone."""

    def key(node: Node) -> tuple[tuple[str, ...], int]:
        return node.scope[:depth], -1 if len(node.scope) >= depth else node.id

    runs = groupby((node for node in graph.nodes if node.op is not None), key)
    return [
        Item(scope if alone < 0 else None, tuple(node.id for node in nodes))
        for (scope, alone), nodes in runs
    ]


def private_leaves(graph: Computation, items: list[Item]) -> dict[int, list[int]]:
    """For an op, the leaves that it is the first to use and that only its item uses."""
    item_of = {op: i for i, item in enumerate(items) for op in item.nodes}
    found: dict[int, list[int]] = {}
    for node in graph.nodes:
        users = [edge.target for edge in graph.out_of[node.id]]
        if node.op is None and len({item_of[user] for user in users}) == 1:
            found.setdefault(users[0], []).append(node.id)
    return found


def signature(graph: Computation, item: Item) -> tuple[Any, ...]:
    """What makes two items equal: the same ops on the same shapes, joined in the same way,
    in scopes of the same name up to its number."""
    place = {id: i for i, id in enumerate(item.nodes)}
    outside: dict[int, int] = {}
    steps = []
    for id in item.nodes:
        node = graph.nodes[id]
        operands = tuple(
            place.get(e.source, -1 - outside.setdefault(e.source, len(outside)))
            for e in graph.into[id]
        )
        steps.append((node.op, node.shape, node.dtype, operands))
    name = None if item.scope is None else re.sub(r"\d+", "#", item.scope[-1])
    return (name, *steps)


def longest_run(items: list[Item], shapes: list[tuple[Any, ...]], start: int) -> tuple[int, int]:
    """(period, repeats) of the longest row of equal blocks that begins at `start`."""
    if items[start].scope is None:
        return 1, 1
    best = (1, 1)
    for period in range(1, PERIOD + 1):
        end = start + period
        while end < len(items) and shapes[end] == shapes[end - period]:
            end += 1
        repeats = (end - start) // period
        if repeats >= REPEATS and repeats * period > best[0] * best[1]:
            best = (period, repeats)
    return best
