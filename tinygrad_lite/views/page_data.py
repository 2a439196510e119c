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
from ..stepping.steps import Step, chain, source_place
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
    graph = steps.record.graph
    return {
        "title": f"Steps of {oneline(graph.output.name or 'a computation', 80)}",
        "note": steps.note,
        "first": steps.indices[0],
        "leftOut": left_out,
        "steps": [step_data(step, arrays, files) for step in steps],
        "files": files.shown,
        "rules": list(files.rules),
        "names": steps.record.names,
        "nodes": [
            [oneline(node.name or ""), node.op or node.kind, oneline("/".join(node.scope), 60)]
            for node in graph
        ],
        "edges": [
            [e.source, e.target, e.slot, int(e.traffic is not State.NO_GRADIENT)]
            for e in graph.edges
        ],
        "complete": list(steps.record.complete.items()),
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
        "calls": chain(step.calls),
        "values": [[x.id, x.name, arrays.add(x.value)] for x in names.values()],
        "arrivals": [
            [x.id, x.slot, x.sender, x.symbol, arrays.add(x.contribution)] for x in step.arrivals
        ],
        "gradient": None if step.gradient is None else arrays.add(step.gradient),
        "state": step.state,
        "sends": [
            {
                "to": x.id, "slot": x.slot, "name": x.recipient,
                "rule": f"∂L/∂{x.recipient} = {x.formula.result}",
                "where": x.formula.where, "words": x.formula.words, "numbers": x.numbers,
                "code": files.rule(x.formula.code),
                "array": arrays.add(x.contribution), "soFar": arrays.add(x.accumulated),
                "traffic": x.traffic, "total": x.total,
                "check": x.check and [x.check.verdict, str(x.check)],
            }
            for x in step.sends
        ],
    }  # fmt: skip


class Arrays:
    """The arrays of a page with their summaries, each kept once under a number."""

    def __init__(self) -> None:
        self.kept: dict[Any, tuple[int, np.ndarray, Summary]] = {}

    def add(self, array: np.ndarray) -> int:
        """The number under which an array is kept."""
        # Small arrays are known by what they hold, large ones by where: the graph keeps them.
        what = array.tobytes() if array.size <= 64 else (array.ctypes.data, array.strides)
        key = (array.shape, array.dtype.str, what)
        if key not in self.kept:
            self.kept[key] = len(self.kept), array, summary(array)
        return self.kept[key][0]

    def elements(self, limit: int) -> int:
        """How many elements are stored under a limit."""
        return sum(array.size for _, array, _ in self.kept.values() if array.size <= limit)

    def stored(self, limit: int) -> list[dict[str, Any]]:
        """Every array's summary; its elements up to `limit`, else a shrunken picture."""
        return [array_data(array, known, limit) for _, array, known in self.kept.values()]


def array_data(array: np.ndarray, known: Summary, limit: int) -> dict[str, Any]:
    """An array as the page's script reads it."""
    span = [None] * 3 if known.range is None else map(short_number, known.range)
    made: dict[str, Any] = {"shape": array.shape, "dtype": known.dtype}
    made |= zip(("min", "mean", "max"), span, strict=True)
    made |= {"norm": short_number(known.norm), "nan": known.nans, "inf": known.infinities}
    if array.size <= limit:
        made["data"] = list(map(short_number, array.ravel().tolist()))
    elif array.ndim > 1 and limit > LIMITS[-1]:
        small = block_means(array, max(4, min(48, math.isqrt(limit))))
        made["thumb"] = [small.shape, [short_number(x, 3) for x in small.ravel().tolist()]]
    return made


def short_number(x: float, digits: int = 6) -> float | int | str:
    """A number short enough to store; what JSON cannot say, as text."""
    if not math.isfinite(x) or x != 0 == float(x):  # or beyond what a float holds
        return number(x)
    x = float(f"{x:.{digits}g}")
    return int(x) if x.is_integer() and abs(x) < 1e6 else x


def block_means(array: np.ndarray, most: int) -> np.ndarray:
    """The first matrix of an array in at most so many rows and columns, each the mean of some."""
    matrix = array[(0,) * (array.ndim - 2)].astype(float)
    for axis in (0, 1):
        n = matrix.shape[axis]
        cuts = np.linspace(0, n, min(n, most) + 1).astype(int)
        counts = np.expand_dims(np.diff(cuts), 1 - axis)
        matrix = np.add.reduceat(matrix, cuts[:-1], axis=axis) / counts
    return matrix


class Files:
    """The source files of some steps, whole or the lines around what is stepped; and the code of
    their rules, each kept once under a number."""

    def __init__(self, steps: Iterable[Step]) -> None:
        stepped: dict[str, set[int]] = {}
        for step in steps:
            if step.source is not None and linecache.getline(*step.source):
                stepped.setdefault(step.source[0], set()).add(step.source[1])
        self.numbers = {file: i for i, file in enumerate(stepped)}
        self.rules: dict[str, int] = {}
        self.shown = []
        for file, lines in stepped.items():
            text = [printable(line.rstrip("\n"))[:400] for line in linecache.getlines(file)]
            first = 1 if len(text) <= FILE else max(1, min(lines) - 40)
            last = len(text) if len(text) <= FILE else min(max(lines) + 40, first + FILE)
            name = source_place((file, 0), 60).removesuffix(":0")
            self.shown.append({"name": name, "first": first, "lines": text[first - 1 : last]})

    def rule(self, code: str) -> int:
        """The number under which a rule's code is kept."""
        return self.rules.setdefault(printable(code), len(self.rules))

    def place(self, source: tuple[str, int] | None) -> list[int] | None:
        """The number of a file, and the line; None if it is not shown."""
        if source is None or source[0] not in self.numbers:
            return None
        return [self.numbers[source[0]], source[1]]


def views_of(graph: Computation) -> list[dict[str, Any]]:
    """The picture of the graph as `.save("g.svg")` draws it, and the one folded (or
    unfolded) instead, if that is another; with what stands where in them."""
    shown = [diagram(graph)]
    folded = bool(shown[0].folding)
    if not folded or len(graph) <= DRAWN:
        other = diagram(graph, not folded)
        shown += [other] if bool(other.folding) != folded else []
    return list(map(view, shown))


def view(shown: Diagram) -> dict[str, Any]:
    """One picture of the graph, and the ids of the elements for each node and edge."""
    return {
        "svg": svg(picture(shown)),
        "folded": bool(shown.folding),
        "nodes": shown.elements,
        "edges": {f"{e.target}-{e.slot}": wire.id for wire in shown.wires for e in wire.edges},
    }
