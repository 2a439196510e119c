"""The computation graph as data: what was computed, and what the gradient did there."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..backward import messages, reachable, seed
from ..drawing.picture import Entry, Look, Picture, Scale
from ..drawing.render import save, svg
from ..drawing.text import number, oneline, tree
from ..files import check_target, written
from ..operation import blocked
from ..tensor import Tensor
from ..value import Value
from ..views.boxes import Wire, norm, picture

SUFFIXES = (".svg", ".png", ".pdf", ".dot", ".html", ".json")

Traffic = Literal["no gradient", "not computed", "blocked", "zero", "nan", "gradient"]


@dataclass(frozen=True, slots=True)
class Node:
    """A value of the computation: an input, a parameter, a constant, or an op's result.

    `id` counts the nodes of the graph in the order in which they were made, so the same
    computation has the same ids. `gradient` is what arrived in the reverse pass, None if
    it has not run or did not come here. A constant is a Python number among the inputs.
    """

    id: int
    name: str | None
    op: str | None
    symbol: str | None
    shape: tuple[int, ...]
    dtype: str
    scope: tuple[str, ...]
    kind: Literal["input", "parameter", "constant", "op"]
    value: np.ndarray = field(repr=False, compare=False)
    gradient: np.ndarray | None = field(repr=False, compare=False)
    tensor: Any = field(repr=False, compare=False)
    inputs: tuple[str, ...] = ()  # the op's names for its inputs, by slot

    @property
    def differentiable(self) -> bool:
        """Whether a gradient is carried to this value."""
        return isinstance(self.tensor, Value) and self.tensor.requires_grad


@dataclass(frozen=True, slots=True)
class Edge:
    """One use of a value: `source` (an operand's id) goes into slot `slot` of `target`.

    `contribution` is the gradient that `target` sent back through it, in the shape of the
    source; None if none was computed.
    """

    source: int
    target: int
    slot: int
    contribution: np.ndarray | None = field(repr=False, compare=False)
    traffic: Traffic = "not computed"

    @property
    def norm(self) -> float | None:
        """The Euclidean norm of the contribution, None if none was computed."""
        return None if self.contribution is None else norm(self.contribution)


@dataclass(frozen=True)
class Graph:
    """The computation of one output, immutable: `nodes` in the order in which they were
    made, `edges` from operand to result in the order of their targets and slots."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def output(self) -> Node:
        """The node of the tensor the graph was asked of."""
        return self.nodes[-1]

    @cached_property
    def into(self) -> tuple[tuple[Edge, ...], ...]:
        """For every node, by its id: the edges that end there, by slot."""
        found: list[list[Edge]] = [[] for _ in self.nodes]
        for edge in self.edges:
            found[edge.target].append(edge)
        return tuple(map(tuple, found))

    @cached_property
    def out_of(self) -> tuple[tuple[Edge, ...], ...]:
        """For every node, by its id: the edges that start there."""
        found: list[list[Edge]] = [[] for _ in self.nodes]
        for edge in self.edges:
            found[edge.source].append(edge)
        return tuple(map(tuple, found))

    def __str__(self) -> str:
        return text_tree(self)

    def to_json(self) -> dict[str, Any]:
        """Node-link data, as `networkx.node_link_graph(data, edges="edges")` reads it."""
        return node_link(self)

    def picture(
        self,
        *,
        direction: Literal["LR", "TB"] = "LR",
        fold: bool | None = None,
        scale: Scale | None = None,
        look: Callable[[Wire], Look] | None = None,
        legend: Sequence[Entry] | None = None,
        caption: str = "",
    ) -> Picture:
        """The drawing as data (drawing/picture.py).

        `scale` is that of the arrows' widths, to be shared by pictures that are compared.
        `look` draws something else than the gradient on the same boxes: a function from an
        arrow, as a `Wire` (drawn.py), to its `Look`; `legend` then says what that means.
        """
        return picture(self, direction, fold, scale, look, legend, caption)

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        direction: Literal["LR", "TB"] = "LR",
        fold: bool | None = None,
    ) -> None:
        """Write the graph into a file, by its suffix: .svg, .png, .pdf, .dot or .json; or
        .html, the page on which it is stepped through (see `steps`).

        `direction` is "LR" (left to right) or "TB" (top to bottom). `fold` says whether
        scopes are drawn as one box each: True, False, or None for only if there are more
        than 300 boxes.

        Raises: ValueError for another suffix or direction, or a graph too large to draw;
        FileNotFoundError for a folder that does not exist; RuntimeError where the format
        cannot be made on this machine. The file is written whole or not at all.
        """
        target = Path(path)
        check_target(target, SUFFIXES)
        if target.suffix.lower() == ".json":
            with written(target) as file:
                file.write(json.dumps(self.to_json(), indent=1, allow_nan=False).encode())
        elif target.suffix.lower() == ".html":
            from .stepper import stepped  # which is made of graphs

            stepped(self).save(target)
        else:
            save(self.picture(direction=direction, fold=fold), target)

    def _repr_svg_(self) -> str:
        return svg(self.picture())


def graph(output: Tensor, gradient: Any = None) -> Graph:
    """What `output` was computed from, as data.

    With `gradient` (a cotangent of the output's shape), or after ``output.backward()``,
    every edge carries the contribution to the gradient that went back through it.

    Raises: TypeError if `output` is not a Tensor; as `backward` does for the gradient.
    """
    if not isinstance(output, Tensor):
        raise TypeError(f"graph takes a Tensor, but got {type(output).__name__}")
    start = getattr(output, "cotangent", None) if gradient is None else seed(output, gradient)
    gradients: dict[Value, Any] = {}
    sent: dict[tuple[Value, int], Any] = {}
    if start is not None:
        with np.errstate(all="ignore"):  # backward has warned; here NaN is drawn
            for value, g, slot, contribution in messages(output, start):
                gradients[value] = g
                if slot is not None:
                    sent[value, slot] = contribution
    nodes: list[Node] = []
    edges: list[Edge] = []
    ids: dict[Value, int] = {}
    for value in reachable(output):
        operands: list[tuple[int, int]] = []
        for slot, x in enumerate(value.inputs):
            if isinstance(x, Value):
                operands.append((slot, ids[x]))
            elif x is not None:
                operands.append((slot, len(nodes)))
                nodes.append(constant(len(nodes), x, value.scope))
        ids[value] = len(nodes)
        nodes.append(recorded(len(nodes), value, gradients.get(value)))
        for slot, source in operands:
            contribution = sent.get((value, slot))
            kind = traffic(value, slot, contribution, start is not None)
            edges.append(Edge(source, ids[value], slot, contribution, kind))
    return Graph(tuple(nodes), tuple(edges))


def recorded(id: int, value: Value, gradient: Any) -> Node:
    """The node of a value."""
    op, array = value.op, np.asarray(value.data)
    return Node(
        id=id,
        name=value.name,
        op=op.name if op is not None else None,
        symbol=op.symbol if op is not None else None,
        shape=array.shape,
        dtype=str(array.dtype),
        scope=value.scope,
        kind="op" if op is not None else "parameter" if value.requires_grad else "input",
        value=array,
        gradient=gradient,
        tensor=value,
        inputs=op.inputs if op is not None else (),
    )


def constant(id: int, x: Any, scope: tuple[str, ...]) -> Node:
    """The node of a Python number that an op in `scope` was given."""
    array = np.asarray(x)
    return Node(
        id, str(x), None, None, (), str(array.dtype), scope, "constant", array, None, x
    )  # fmt: skip


def traffic(target: Value, slot: int, contribution: Any, computed: bool) -> Traffic:
    """What kind of gradient goes back through an edge: the kinds that no view may confuse."""
    source, op = target.inputs[slot], target.op
    assert op is not None
    if not isinstance(source, Value) or not source.requires_grad:
        return "no gradient"
    if op.rules[0 if op.sequence else slot] is blocked:
        return "blocked"
    if not computed or contribution is None:
        return "not computed"
    if not np.isfinite(contribution).all():
        return "nan"
    return "gradient" if np.any(contribution) else "zero"


def text_tree(graph: Graph) -> str:
    """The computation as text, from the output to what it was computed from."""

    def operands(node: Node) -> list[tuple[str, Node]]:
        return [(sent(edge), graph.nodes[edge.source]) for edge in graph.into[node.id]]

    def line(node: Node) -> str:
        if node.kind == "constant":
            return str(node.name)
        if node.op is None:
            return f"{called(node)} {node.shape}, {node.kind}"
        # An id is worth its room where something refers to it.
        known = node.name or len(graph.out_of[node.id]) > 1
        return f"{called(node)} = {node.op} {node.shape}" if known else f"{node.op} {node.shape}"

    start = graph.output.gradient
    if start is None:
        return tree(graph.output, operands, line, called)
    first, *rest = tree(graph.output, operands, line, called).split("\n", 1)
    return "\n".join([f"{first}   {number(norm(start))} (norms of the gradient)", *rest])


def called(node: Node) -> str:
    """What a node is called: its name, or its id."""
    return oneline(node.name) if node.name else f"#{node.id}"


def sent(edge: Edge) -> str:
    """What the text tree says of the gradient that an edge sends back."""
    if edge.traffic == "gradient":
        return f"   {number(edge.norm or 0)}"
    return {"no gradient": "", "zero": "   0", "nan": "   NaN"}.get(
        edge.traffic, f"   {edge.traffic}"
    )


def node_link(graph: Graph) -> dict[str, Any]:
    """The graph as node-link data in strict JSON: what is not finite becomes a string
    that `float` reads, "NaN", "Infinity" or "-Infinity"."""

    def plain(x: Any) -> Any:
        if isinstance(x, list):
            return [plain(y) for y in x]
        if isinstance(x, float) and not math.isfinite(x):
            return "NaN" if math.isnan(x) else "Infinity" if x > 0 else "-Infinity"
        return x

    def values(array: Any) -> Any:
        if array is None:
            return None
        array = np.asarray(array)
        if array.dtype == np.longdouble:
            array = array.astype(float)
        return array.tolist() if np.isfinite(array).all() else plain(array.tolist())

    return {
        "directed": True,
        "multigraph": True,
        "graph": {"output": graph.output.id},
        "nodes": [
            {
                "id": n.id, "name": n.name, "kind": n.kind, "op": n.op, "symbol": n.symbol,
                "shape": list(n.shape), "dtype": n.dtype, "scope": list(n.scope),
                "value": values(n.value), "gradient": values(n.gradient),
            }
            for n in graph.nodes
        ],
        "edges": [
            {
                "source": e.source, "target": e.target, "key": e.slot, "slot": e.slot,
                "traffic": e.traffic, "contribution": values(e.contribution),
            }
            for e in graph.edges
        ],
    }  # fmt: skip
