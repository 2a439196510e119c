"""The page of a comparison: its computations one below the other, stepped together, and its table,
with what the gradients would be without the branches that skips pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..drawing.page import LARGEST, page
from ..drawing.picture import Picture, Scale
from ..drawing.render import svgs
from ..recorded.measure import norm
from ..recorded.names import Names
from ..recorded.nodes import Computation, computation_of
from ..stepping.record import Passes
from ..tensor import Tensor
from ..text import oneline
from ..views.boxes import Diagram
from ..views.page_data import Arrays, Files, page_data, view_data
from .travels import number
from .what_if import what_if

ARRAY = 64  # elements of a gradient that are told
CUTS = 60  # replays that the what-if of a page may take


def comparison_page(
    found: Any, titles: Sequence[str], drawn: Sequence[Diagram], pictures: Sequence[Picture]
) -> str:
    """The page of a `Comparison` of what is called so, and drawn so.

    Raises: as `steps_page`; ValueError if it is too large.
    """
    graphs = [shown.graph for shown in drawn]
    scale = Scale.of(wire.magnitude for shown in drawn for wire in shown.wires)
    sides = []
    for graph, shown, title in zip(graphs, drawn, titles, strict=True):
        steps, arrays = Passes.of(graph), Arrays()
        data = page_data(steps, arrays, Files(()), [view_data(shown, scale)], {}, only=len(steps))
        stored = arrays.stored(ARRAY)
        sides.append({**data, "arrays": stored, "limit": ARRAY, "output": oneline(title)})
    bare = [replace(picture, legend=(), caption="", heading="") for picture in pictures]
    data = {
        **sides[0],
        "title": found.subject,
        "note": found.note,
        "views": [side["views"][0] for side in sides],
        "sides": sides,
        "rows": [row_data(row, graphs) for row in found.rows],
        "cuts": list(cuts(found, titles)),
        "live": None,
    }
    text = page(f"{found.subject}, compared", svgs(*bare), data)
    if len(text.encode()) > LARGEST:
        raise ValueError(
            f"the page of this comparison would be larger than {LARGEST:,} bytes; compare fewer "
            "parameters (wrt=...), or save it as .svg"
        )
    return text


def row_data(row: Any, graphs: Sequence[Computation]) -> dict[str, Any]:
    """A parameter, as the page's script reads it: on each side its node, the length of its
    gradient, and what travels the paths that only this side has, and those that are common."""
    sides = []
    for side, graph in zip(row.sides, graphs, strict=True):
        wrt = side.classes.wrt
        nodes = [n.id for n in graph if n.kind == "parameter" and graph.title(n) == wrt]
        parts = [None if x is None else [number(x.norm), x.share] for x in (side.common, side.own)]
        size, coherence = number(side.norm), side.coherence
        sides.append({
            "node": nodes[0] if nodes else None, "norm": size, "state": side.state,
            "common": parts[0], "own": parts[1], "coherence": coherence,
        })  # fmt: skip
    return {"name": row.name, "note": row.note, "sides": sides}


def half_square(y: Tensor) -> Tensor:
    """Half of the squared length."""
    return (y * y).sum() * 0.5


def cuts(found: Any, titles: Sequence[str]) -> Iterator[dict[str, Any]]:
    """For the last computation, each of two losses, each parameter and each branch at a join: how
    long the gradient is, and would be with the branch stopped, or ablated. Nothing where that
    would take long."""
    y, names = found.outputs[-1], found.names[-1]
    joins = sum(e.skip for e in computation_of(y, names).edges)
    if not 0 < joins * 2 * 2 * 2 * len(found.rows) <= CUTS * 4 or joins > 2:
        return
    given = found.cotangents[-1]
    ones = bool(np.all(np.asarray(given) == 1))
    losses: list[tuple[str, Any]] = [
        (f"sum({titles[-1]})" if ones and np.size(given) > 1 else titles[-1], None),
        (f"½|{titles[-1]}|²", half_square),
    ]
    for name, loss in losses:
        for row in found.rows:
            wrt = parameter(y, names, row.sides[-1].classes.wrt)
            if wrt is None:
                continue
            start = None if loss else given
            table = what_if(y, wrt, "skips", loss=loss, gradient=start, names=names)
            yield {
                "loss": name, "name": row.name, "norm": number(norm(table.gradient)),
                "branches": [
                    branch_data(one) for one in table
                ],
            }  # fmt: skip


def branch_data(row: Any) -> list[Any]:
    """A row of `what_if`: the branch, whether it is the skip, and how long the gradient is."""
    ablated = None if row.ablated_norm is None else number(row.ablated_norm)
    return [row.name, row.remark.split(";")[0] == "skip", number(row.stopped_norm), ablated]


def parameter(output: Tensor, names: Names, title: str) -> Any:
    """The parameter of a computation that is called so."""
    known = (v for v in names.values if v.op is None and v.requires_grad)
    return next((v for v in known if names.title(v) == title), None)
