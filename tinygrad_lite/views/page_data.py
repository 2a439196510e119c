"""Steps as a page: what drawing/page.js reads, kept small enough to be sent to a class.

Each array is stored once, however many steps show it, and whole up to a limit; beyond it
there is its summary and a shrunken picture. Where a computation does not fit, the limit is
lowered, then sources and steps are left out, and the page says what.
"""

from __future__ import annotations

import linecache
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..drawing.page import LARGEST, page
from ..drawing.render import svg
from ..drawing.text import oneline, printable
from ..recorded.array_text import Summary, summary
from ..recorded.fold import folded
from .boxes import boxes_and_wires
from .step_text import placed

if TYPE_CHECKING:
    from ..insight.graphs import Graph
    from ..insight.stepper import Step, Steps

LIMITS = (4096, 1024, 256, 64, 16)  # elements of an array that are stored, as room allows
DRAWN = 1000  # nodes that are drawn unfolded, at most
FILE = 2000  # lines of a source file that are shown whole; of longer ones, what is stepped


def steps_page(steps: Steps) -> str:
    """The page of some steps, at most `LARGEST` bytes long.

    Raises: RuntimeError if the graph cannot be laid out, ValueError if it is too large to
    be drawn, or for a page.
    """
    if not len(steps):
        raise ValueError("there are no steps to show: nothing was computed")
    views, n, sources, left_out = pictured(steps.graph), len(steps), True, ""
    while n:
        arrays, files = Arrays(), Files(steps[:n] if sources else ())
        data = told(steps[:n], arrays, files, views, left_out)
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
        f'{len(steps.graph):,} nodes; name its parts with `with scope("..."):`, so that they fold'
    )


def told(
    steps: Steps, arrays: Arrays, files: Files, views: list[dict[str, Any]], left_out: str
) -> dict[str, Any]:
    """What the page's script reads, but for the arrays."""
    graph, record = steps.graph, steps.record
    return {
        "title": f"Steps of {oneline(graph.output.name or 'a computation', 80)}",
        "note": steps.note,
        "first": steps.indices[0],
        "leftOut": left_out,
        "steps": [stepped(step, arrays, files) for step in steps],
        "files": files.shown,
        "names": record.names,
        "nodes": [
            [oneline(node.name or ""), node.op or node.kind, oneline("/".join(node.scope), 60)]
            for node in graph
        ],
        "edges": [
            [e.source, e.target, e.slot, int(e.traffic != "no gradient")] for e in graph.edges
        ],
        # [node, the backward step that completes its gradient], of those with a name
        "complete": [
            [i, record.complete[i]]
            for i in record.complete
            if graph.nodes[i].name or graph.nodes[i].kind == "parameter"
        ],
        "views": [{key: view[key] for key in view if key != "svg"} for view in views],
    }


def stepped(step: Step, arrays: Arrays, files: Files) -> dict[str, Any]:
    """A step, as the page's script reads it."""
    names = {x.id: x for x in (*step.inputs, step.output)}
    return {
        "way": step.direction,
        "number": step.number,
        "total": step.total,
        "node": step.id,
        "scope": oneline("/".join(step.scope), 60),
        "equation": f"{step.output.name} = {step.call}",
        "words": step.words if step.call.startswith(step.op) else "",
        "source": files.place(step.source),
        "values": [[x.id, x.name, arrays.add(x.value)] for x in names.values()],
        "arrivals": [
            [x.id, x.slot, x.sender, x.symbol, arrays.add(x.contribution)] for x in step.arrivals
        ],
        "gradient": None if step.gradient is None else arrays.add(step.gradient),
        "sends": [
            {
                "to": x.id,
                "slot": x.slot,
                "name": x.recipient,
                "rule": f"dL/d{x.recipient} = {x.formula.result}",
                "where": list(x.formula.where),
                "words": x.formula.words,
                "numbers": x.numbers,
                "array": arrays.add(x.contribution),
                "soFar": arrays.add(x.accumulated),
                "traffic": x.traffic,
                "check": None if x.check is None else [x.check.verdict, str(x.check)],
            }
            for x in step.sends
        ],
    }


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
        return [self.entry(array, told, limit) for array, told in self.kept]

    @staticmethod
    def entry(array: np.ndarray, told: Summary, limit: int) -> dict[str, Any]:
        """An array as the page's script reads it."""
        made: dict[str, Any] = {
            "shape": list(array.shape),
            "dtype": told.dtype,
            "min": rounded(told.least),
            "mean": rounded(told.mean),
            "max": rounded(told.largest),
            "norm": rounded(told.norm),
            "nan": told.nans,
            "inf": told.infinities,
        }
        if array.size <= limit:
            made["data"] = [rounded(x) for x in array.ravel().tolist()]
        elif array.ndim > 1 and limit > LIMITS[-1]:
            small = shrunken(array, max(4, min(48, math.isqrt(limit))))
            made["thumb"] = [list(small.shape), [rounded(x, 3) for x in small.ravel().tolist()]]
        return made


def rounded(x: float | None, digits: int = 6) -> float | int | str | None:
    """A number short enough to store; what JSON cannot say, as a word."""
    if x is None:
        return None
    x = float(x)
    if not np.isfinite(x):
        return "NaN" if np.isnan(x) else "∞" if x > 0 else "-∞"
    x = float(f"{x:.{digits}g}")
    return int(x) if x.is_integer() and abs(x) < 1e6 else x


def shrunken(array: np.ndarray, most: int) -> np.ndarray:
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
            name = placed((file, 0), 60).removesuffix(":0")
            self.shown.append(
                {"name": name, "first": first, "lines": [x[:400] for x in text[first - 1 : last]]}
            )

    def place(self, source: tuple[str, int] | None) -> list[int] | None:
        """The number of a file, and the line; None if it is not shown."""
        if source is None or source[0] not in self.numbers:
            return None
        return [self.numbers[source[0]], source[1]]


def pictured(graph: Graph) -> list[dict[str, Any]]:
    """The picture of the graph as `.save("g.svg")` draws it, and the one folded (or
    unfolded) instead, if that is another; with what stands where in them."""
    parts = folded(graph)
    views = [view(graph, None)]
    if parts and len(graph) <= DRAWN:
        views.append(view(graph, False))
    elif not parts and folded(graph, True):
        views.append(view(graph, True))
    return views


def view(graph: Graph, fold: bool | None) -> dict[str, Any]:
    """One picture of the graph, and the ids of the elements for each node and edge."""
    parts = folded(graph, fold)
    part_of = {i: part.id for part in parts for i in part.members}
    boxes, wires = boxes_and_wires(graph, parts)
    drawn = {box.id for box in boxes}
    elements = [
        [id for id in (part_of.get(i, f"n{i}"), f"v{i}") if id in drawn] for i in range(len(graph))
    ]
    for wire in wires:
        if wire.value is not None:
            elements[wire.value.id].append(wire.id)
    return {
        "svg": svg(graph.picture(fold=fold)),
        "folded": bool(parts),
        "nodes": elements,
        "edges": {f"{e.target}-{e.slot}": wire.id for wire in wires for e in wire.edges},
    }
