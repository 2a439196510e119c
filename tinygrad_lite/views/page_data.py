"""Steps as a page: what drawing/page.js reads, kept small enough to be sent to a class.

Each array is stored once, however many steps show it, and whole up to a limit; beyond it
there is its summary and a shrunken picture. Where a computation does not fit, the limit is
lowered, then sources and steps are left out, and the page says what.
"""

from __future__ import annotations

import linecache
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..drawing.page import LARGEST, page
from ..drawing.render import svg
from ..recorded.measure import Summary, summary
from ..recorded.nodes import Computation
from ..recorded.states import APPEARANCE, State
from ..stepping.record import Passes
from ..stepping.steps import Step, source_place
from ..text import number, oneline, printable
from .boxes import Diagram, diagram
from .looks import picture

LIMITS = (4096, 1024, 256, 64, 16)  # elements of an array that are stored, as room allows
DRAWN = 1000  # nodes that are drawn unfolded, at most
FILE = 2000  # lines of a source file that are shown whole; of longer ones, what is stepped


def steps_page(steps: Passes) -> str:
    """The page of some steps, at most `LARGEST` bytes long.

    Raises: RuntimeError if the graph cannot be laid out, ValueError if it is too large to
    be drawn, or for a page.
    """
    if not len(steps):
        raise ValueError("there are no steps to show: nothing was computed")
    graph = steps.record.graph
    views, n, sources, left_out = views_of(graph), len(steps), True, ""
    while n:
        arrays, files = Arrays(), Files(steps[:n] if sources else ())
        data = page_data(steps[:n], arrays, files, views, left_out)
        size = LARGEST
        for limit in LIMITS:
            if limit > LIMITS[-1] and arrays.elements(limit) * 4 > LARGEST:
                continue
            content = data | {"limit": limit, "arrays": arrays.stored(limit)}
            text = page(data["title"], [view["svg"] for view in views], content)
            size = len(text.encode())
            if size <= LARGEST:
                return text
        if len(views) > 1:
            views, left_out = views[:1], "the other view of the graph"
        elif sources:
            sources, left_out = False, "the source"
        else:
            n = min(n - 1, int(n * 0.95 * LARGEST / size))
            left_out = (
                f"the source, and steps {n + 1:,} to {len(steps):,}; save them by themselves, as "
                f'steps(y)[{n}:].save("rest.html")'
            )
    raise ValueError(
        f"even a few steps make a page larger than {LARGEST:,} bytes, as the graph has "
        f'{len(graph):,} nodes; name its parts with `with scope("..."):`, so that they fold'
    )


def page_data(
    steps: Passes, arrays: Arrays, files: Files, views: list[dict[str, Any]], left_out: str
) -> dict[str, Any]:
    """What the page's script reads, but for the arrays."""
    record = steps.record
    graph = record.graph
    return {
        "title": f"Steps of {oneline(graph.output.name or 'a computation', 80)}",
        "note": steps.note,
        "first": steps.indices[0],
        "leftOut": left_out,
        "steps": [step_data(step, arrays, files) for step in steps],
        "files": files.shown,
        "names": record.names,
        "nodes": [
            [oneline(node.name or ""), node.op or node.kind, oneline("/".join(node.scope), 60)]
            for node in graph
        ],
        "edges": [
            [e.source, e.target, e.slot, int(e.traffic is not State.NO_GRADIENT)]
            for e in graph.edges
        ],
        "complete": [list(item) for item in record.complete.items()],
        "remarks": {state: shown.remark for state, shown in APPEARANCE.items() if shown.remark},
        "views": [{key: view[key] for key in view if key != "svg"} for view in views],
    }


def step_data(step: Step, arrays: Arrays, files: Files) -> dict[str, Any]:
    """A step, as the page's script reads it."""
    names = {x.id: x for x in (*step.inputs, step.output)}
    return {
        "way": step.direction, "number": step.number, "total": step.total, "node": step.id,
        "scope": oneline("/".join(step.scope), 60),
        "equation": step.equation,
        "words": step.meaning,
        "source": files.place(step.source),
        "values": [[x.id, x.name, arrays.add(x.value)] for x in names.values()],
        "arrivals": [
            [x.id, x.slot, x.sender, x.symbol, arrays.add(x.contribution)] for x in step.arrivals
        ],
        "gradient": None if step.gradient is None else arrays.add(step.gradient),
        "sends": [
            {
                "to": x.id, "slot": x.slot, "name": x.recipient,
                "rule": f"dL/d{x.recipient} = {x.formula.result}",
                "where": list(x.formula.where), "words": x.formula.words, "numbers": x.numbers,
                "array": arrays.add(x.contribution), "soFar": arrays.add(x.accumulated),
                "traffic": x.traffic,
                "check": None if x.check is None else [x.check.verdict, str(x.check)],
            }
            for x in step.sends
        ],
    }  # fmt: skip


class Arrays:
    """The arrays of a page, each kept once."""

    def __init__(self) -> None:
        self.kept: list[tuple[np.ndarray, Summary]] = []
        self.known: dict[Any, int] = {}

    def add(self, array: np.ndarray) -> int:
        """The number under which an array is kept."""
        # Small arrays are known by what they hold, large ones by where: the graph keeps them.
        what = array.tobytes() if array.size <= 64 else (array.ctypes.data, array.strides)
        key = (array.shape, array.dtype.str, what)
        if key not in self.known:
            self.known[key] = len(self.kept)
            self.kept.append((array, summary(array)))
        return self.known[key]

    def elements(self, limit: int) -> int:
        """How many elements are stored under a limit."""
        return sum(array.size for array, _ in self.kept if array.size <= limit)

    def stored(self, limit: int) -> list[dict[str, Any]]:
        """Every array's summary; its elements up to `limit`, else a shrunken picture."""
        return [array_data(array, known, limit) for array, known in self.kept]


def array_data(array: np.ndarray, known: Summary, limit: int) -> dict[str, Any]:
    """An array as the page's script reads it."""
    sizes = {"min": known.least, "mean": known.mean, "max": known.largest, "norm": known.norm}
    made: dict[str, Any] = {"shape": list(array.shape), "dtype": known.dtype}
    made |= {name: None if x is None else short_number(x) for name, x in sizes.items()}
    made |= {"nan": known.nans, "inf": known.infinities}
    if array.size <= limit:
        made["data"] = [short_number(x) for x in array.ravel().tolist()]
    elif array.ndim > 1 and limit > LIMITS[-1]:
        small = block_means(array, max(4, min(48, math.isqrt(limit))))
        made["thumb"] = [list(small.shape), [short_number(x, 3) for x in small.ravel().tolist()]]
    return made


def short_number(x: float, digits: int = 6) -> float | int | str:
    """A number short enough to store; what JSON cannot say, as text."""
    x = float(x)
    if not math.isfinite(x):
        return number(x)
    x = float(f"{x:.{digits}g}")
    return int(x) if x.is_integer() and abs(x) < 1e6 else x


def block_means(array: np.ndarray, most: int) -> np.ndarray:
    """The first matrix of an array, its blocks replaced by their means, so that it has at
    most so many rows and columns."""
    matrix = array[(0,) * (array.ndim - 2)].astype(float)
    for axis in (0, 1):
        n = matrix.shape[axis]
        cuts = np.linspace(0, n, min(n, most) + 1).astype(int)[:-1]
        counts = np.diff([*cuts, n])
        shape = (-1, 1) if axis == 0 else (1, -1)
        matrix = np.add.reduceat(matrix, cuts, axis=axis) / counts.reshape(shape)
    return matrix


class Files:
    """The source files of some steps: whole, or the lines around what is stepped."""

    def __init__(self, steps: Iterable[Step]) -> None:
        lines: dict[str, set[int]] = {}
        for step in steps:
            if step.source is not None and linecache.getline(*step.source):
                lines.setdefault(step.source[0], set()).add(step.source[1])
        self.numbers = {file: i for i, file in enumerate(lines)}
        self.shown = []
        for file, marked in lines.items():
            text = [printable(line.rstrip("\n")) for line in linecache.getlines(file)]
            first, last = 1, len(text)
            if len(text) > FILE:
                first, last = max(1, min(marked) - 40), min(len(text), max(marked) + 40)
                last = min(last, first + FILE)
            name = source_place((file, 0), 60).removesuffix(":0")
            self.shown.append(
                {"name": name, "first": first, "lines": [x[:400] for x in text[first - 1 : last]]}
            )

    def place(self, source: tuple[str, int] | None) -> list[int] | None:
        """The number of a file, and the line; None if it is not shown."""
        if source is None or source[0] not in self.numbers:
            return None
        return [self.numbers[source[0]], source[1]]


def views_of(graph: Computation) -> list[dict[str, Any]]:
    """The picture of the graph as `.save("g.svg")` draws it, and the one folded (or
    unfolded) instead, if that is another; with what stands where in them."""
    first = diagram(graph)
    views = [view(first)]
    if first.parts and len(graph) <= DRAWN:
        views.append(view(diagram(graph, False)))
    elif not first.parts and (folded := diagram(graph, True)).parts:
        views.append(view(folded))
    return views


def view(shown: Diagram) -> dict[str, Any]:
    """One picture of the graph, and the ids of the elements for each node and edge."""
    part_of = {i: part.id for part in shown.parts for i in part.members}
    drawn = {box.id for box in shown.boxes}
    elements = [
        [id for id in (part_of.get(i, f"n{i}"), f"v{i}") if id in drawn]
        for i in range(len(shown.graph))
    ]
    for wire in shown.wires:
        if wire.value is not None:
            elements[wire.value.id].append(wire.id)
    return {
        "svg": svg(picture(shown)),
        "folded": bool(shown.parts),
        "nodes": elements,
        "edges": {f"{e.target}-{e.slot}": wire.id for wire in shown.wires for e in wire.edges},
    }
