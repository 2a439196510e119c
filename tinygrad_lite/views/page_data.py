"""Steps as a page: what the script of drawing/page/ reads, kept small enough to be sent to a class.

Each array is stored once, however many steps show it, and whole up to a limit; beyond it
there is its summary and a shrunken picture. Where a computation does not fit, the limit is
lowered, then sources and steps are left out, and the page says what.
"""

from __future__ import annotations

import ast
import linecache
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from ..drawing.page import LARGEST, page
from ..drawing.picture import Scale
from ..drawing.render import svg
from ..recorded.lines import Line
from ..recorded.measure import Summary, summary
from ..recorded.nodes import Computation, Node
from ..recorded.states import APPEARANCE, State
from ..stepping.record import Passes, Record
from ..stepping.steps import Step, chain, source_place
from ..text import number, oneline, printable
from .boxes import Diagram, Wire, diagram
from .brief import ROW, brief, longest_row
from .looks import gradient_look, picture

LIMITS = (4096, 1024, 256, 64, 16)  # elements of an array that are stored, as room allows
NEWEST = 12  # gradients that a backward step lists
DRAWN = 1000  # nodes that are drawn unfolded, at most
FILE = 2000  # lines of a source file that are shown whole; of longer ones, what is stepped


Travels = Mapping[int, Mapping[str, Any]]  # how a gradient comes to a leaf, by its node's id


def steps_page(steps: Passes, travels: Travels | None = None, live: Any = None) -> str:
    """The page of some steps, at most `LARGEST` bytes long.

    `travels` say how the gradient comes to parameters; `live` what a server can change.

    Raises: RuntimeError if the graph cannot be laid out, ValueError if it is too large to
    be drawn, or for a page.
    """
    if not len(steps):
        raise ValueError("there are no steps to show: nothing was computed")
    graph = steps.record.graph
    drawn = diagrams(graph)
    pictures = [view_svg(shown) for shown in drawn]
    n, sources, left_out = len(steps), True, ""
    while n:
        arrays, files = Arrays(), Files(steps[:n] if sources else ())
        views = [view_data(shown) for shown in drawn]
        data = page_data(steps[:n], arrays, files, views, travels or {}, left_out)
        data["live"] = live
        for limit in LIMITS:
            if limit > LIMITS[-1] and arrays.elements(limit) * 4 > LARGEST:
                continue
            content = data | {"limit": limit, "arrays": arrays.stored(limit)}
            text = page(data["title"], pictures, content, served=live is not None)
            size = len(text.encode())
            if size <= LARGEST:
                return text
        if len(drawn) > 1:
            drawn, pictures, left_out = drawn[:1], pictures[:1], "the other view of the graph"
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
    steps: Passes,
    arrays: Arrays,
    files: Files,
    views: list[dict[str, Any]],
    travels: Travels,
    left_out: str = "",
    only: int | None = None,
) -> dict[str, Any]:
    """What the page's script reads, but for the arrays; with `only`, that step alone is told in
    full, and the others in outline; the number behind the last means all gradients."""
    graph = steps.record.graph
    told = None if only is None or only >= len(steps) else newest(steps, only)
    return {
        "title": f"Steps of {oneline(graph.output.name or 'a computation', 80)}",
        "output": graph.title(graph.output),
        "loss": steps.loss,
        "note": steps.note,
        "first": steps.indices.start,
        "total": len(steps.record.order),
        "leftOut": left_out,
        "steps": [
            step_data(steps[i], arrays, files) if only in (None, i) else outline(steps.record, k)
            for i, k in enumerate(steps.indices)
        ],
        "files": files.shown,
        "rules": list(files.rules),
        "names": steps.record.names,
        "nodes": [
            node_data(graph, node, arrays, told is None or node.id in told) for node in graph
        ],
        "edges": [
            [e.source, e.target, e.slot, int(e.traffic is not State.NO_GRADIENT), int(e.skip)]
            for e in graph.edges
        ],
        "complete": list(steps.record.complete.items()),
        "remarks": {state: shown.remark for state, shown in APPEARANCE.items() if shown.remark},
        "words": {state: shown.words for state, shown in APPEARANCE.items()},
        "views": views,
        "travels": travels,
    }


def node_data(graph: Computation, node: Node, arrays: Arrays, told: bool) -> list[Any]:
    """A value, as the page's script reads it: name, op, scope, kind, shape, the number of its
    gradient where it has a name (None for no gradient, -1 for one that is not told), and what
    became of that."""
    named = node.kind == "parameter" or node.name or node is graph.output
    gradient = None
    if named and node.gradient is not None:
        gradient = arrays.add(node.gradient) if told else -1
    return [
        oneline(node.name or ""), node.op or node.kind, oneline("/".join(node.scope), 60),
        node.kind, list(node.shape), gradient, node.state,
    ]  # fmt: skip


def newest(steps: Passes, index: int) -> set[int]:
    """The nodes whose gradients a backward step lists: those that became complete last."""
    way, number, _, _ = steps.record.order[steps.indices[index]]
    done = [k for k in steps.record.complete.items() if k[1] <= number and way == "backward"]
    return {node for node, _ in sorted(done, key=lambda k: -k[1])[:NEWEST]}


def outline(record: Record, index: int) -> dict[str, Any]:
    """A step without what it computes."""
    way, number, total, node = record.order[index]
    return {"way": way, "number": number, "total": total, "node": node, "outline": True}


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
        "callers": [place for call in step.calls[:-1] if (place := files.place(call))],
        "expression": printable(step.expression or ""),
        "locals": local_names(step),
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
                "had": None if x.had is None else arrays.add(x.had),
                "traffic": x.traffic, "total": x.total,
                "check": x.check and [x.check.verdict, str(x.check)],
            }
            for x in step.sends
        ],
    }  # fmt: skip


def local_names(step: Step) -> str:
    """What the names that stand in the sub-expression are called here: ``W = W3, x = y``."""
    with suppress(SyntaxError, ValueError):
        match ast.parse(step.expression or "", mode="eval").body:
            case ast.BinOp(left, _, right):
                given: Sequence[ast.expr] = (left, right)
            case ast.Call(args=args):
                given = args
            case _:
                given = ()
        if len(given) == len(step.inputs):
            pairs = zip(given, step.inputs, strict=True)
            names = [(x.id, y.name) for x, y in pairs if isinstance(x, ast.Name)]
            return ", ".join(f"{x} = {y}" for x, y in names if x != y)
    return ""


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
            for file, line in step.calls or ([step.source] if step.source else []):
                if linecache.getline(file, line):
                    stepped.setdefault(file, set()).add(line)
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

    def place(self, source: Line | None) -> list[int] | None:
        """The number of a file, and the line; None if it is not shown."""
        if source is None or source[0] not in self.numbers:
            return None
        return [self.numbers[source[0]], source[1]]


def diagrams(graph: Computation) -> list[Diagram]:
    """The diagram of the graph as `.save("g.svg")` draws it, and the one folded (or unfolded)
    instead, if that is another."""
    shown = [diagram(graph)]
    folded = bool(shown[0].folding)
    if not folded or len(graph) <= DRAWN:
        other = diagram(graph, not folded)
        shown += [other] if bool(other.folding) != folded else []
    return [brief(one) if longest_row(one) > ROW else one for one in shown]


def view_svg(shown: Diagram) -> str:
    """The picture, without what stands around it: the page has a legend of its own."""
    return svg(replace(picture(shown), legend=(), caption=""))


def view_data(shown: Diagram, scale: Scale | None = None) -> dict[str, Any]:
    """What stands where in a picture: the ids of the elements for each node, and its arrows with
    what they carry; widths are those of `scale`, by default the one that fits."""
    shared = scale or Scale.of(wire.magnitude for wire in shown.wires)
    numbers = {edge: i for i, edge in enumerate(shown.graph.edges)}
    middle = math.sqrt(shared.smallest) * math.sqrt(shared.largest)
    samples = dict.fromkeys((shared.smallest, middle, shared.largest))
    return {
        "folded": bool(shown.folding),
        "brief": shown.brief,
        "nodes": shown.elements,
        "wires": [
            wire_data(wire, shared, [numbers[e] for e in wire.edges]) for wire in shown.wires
        ],
        "samples": [[number(x), round(shared.width(x), 2)] for x in samples],
    }


def wire_data(wire: Wire, scale: Scale, edges: Sequence[int]) -> list[Any]:
    """An arrow, as the page's script reads it: its id, the numbers of its edges, the node that it
    stands for as a whole (or None), whether it is a skip, and what it carries: width, label, state
    and whether that is a number below 0; the boxes that it joins, and its slope."""
    look = gradient_look(wire, scale)
    node = wire.value.id if wire.value else None
    width = round(scale.width(wire.magnitude), 2)
    return [
        wire.id, list(edges), node, int(wire.skip), width, look.label, wire.traffic,
        int(wire.negative), wire.source, wire.target, look.slope,
    ]  # fmt: skip
