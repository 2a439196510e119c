"""The numbers of small arrays, as all views write them: with their sign, and sums that come out.

An array of up to `FEW` elements is shown by its numbers, a larger one by its length. Where several
contributions arrive at a small value their sum is written out, element by element.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..backward import contributions
from ..recorded.nodes import Computation, Edge, Node
from ..text import equation, minus, number, plain_number, signed_all, written_sums

FEW = 4  # elements of an array that are shown one by one
PARTS = 8  # of a sum that is written out


@dataclass(frozen=True)
class Arrivals:
    """What arrives at a small value: the numbers that each edge brings, `total` what they make
    together, and `written` the lines that say so: sums, where several arrive."""

    sent: dict[Edge, tuple[str, ...]] = field(default_factory=dict)
    total: tuple[str, ...] = ()
    written: tuple[str, ...] = ()


def are_few(array: Any) -> bool:
    """Whether an array is shown by its numbers."""
    return 0 < np.size(array) <= FEW


def elements(array: Any) -> list[float]:
    """The numbers of an array."""
    return [float(x) for x in np.ravel(array)]


def value_texts(value: np.ndarray) -> list[str]:
    """A small array's numbers, in rows."""
    texts = [plain_number(x) for x in np.ravel(value)]
    return in_rows(texts if len(texts) == 1 else [text.removesuffix(".0") for text in texts])


def in_rows(texts: Sequence[str]) -> list[str]:
    """Up to four numbers in one or two rows."""
    return ["  ".join(texts[i : i + 2]) for i in range(0, len(texts), 2)]


def arrivals(graph: Computation, node: Node) -> Arrivals:
    """What arrives at a value, in letters; nothing of a large one."""
    if node.gradient is None or not are_few(node.gradient):
        return Arrivals()
    edges = [edge for edge in graph.out_of[node.id] if edge.contribution is not None]
    whole = elements(node.gradient)
    parts = [elements(edge.contribution) for edge in edges]
    if not 2 <= len(parts) <= PARTS or node is graph.output:
        sent = {edge: tuple(signed_all(part)) for edge, part in zip(edges, parts, strict=True)}
        total = tuple(signed_all(whole))
        note = [f"the sum of {len(parts)}"] * (len(parts) > PARTS)
        return Arrivals(sent, total, (*in_rows(total), *note))
    sums = written_sums(list(zip(*parts, whole, strict=True)))
    *texts, wholes = zip(*sums, strict=True)
    total = tuple(x[2:] for x in wholes)
    written = tuple(line for row in sums for line in equation(row[:-1], row[-1]))
    return Arrivals(dict(zip(edges, texts, strict=True)), total, written)


@np.errstate(all="ignore")
def slope_text(graph: Computation, edge: Edge) -> str:
    """How fast a single number grows with one that it is made from: the factor by which what
    arrives is multiplied."""
    source, target = graph.nodes[edge.source], graph.nodes[edge.target]
    if edge.contribution is None or not source.value.size == target.value.size == 1:
        return ""
    g, part = elements(target.gradient)[0], elements(edge.contribution)[0]
    slope = part / g if g and math.isfinite(g) and math.isfinite(part) else math.nan
    if math.isnan(slope):  # what arrives tells nothing
        with suppress(Exception):
            sent = contributions(target.tensor, np.ones_like(target.value))
            slope = next(elements(x)[0] for slot, _, x in sent if slot == edge.slot)
    shown = round(slope, 12) if math.isfinite(slope) else slope
    return f"×{plain_slope(shown)}"


def plain_slope(x: float) -> str:
    """A slope as short as it is exact in four digits, else with three."""
    text = minus(f"{x:.4g}")
    return (
        text if x and math.isfinite(x) and float(f"{x:.4g}") == x and len(text) < 6 else number(x)
    )
