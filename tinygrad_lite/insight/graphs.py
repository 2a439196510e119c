"""`graph(y)`: what was computed, and what the gradient did there, as data, text and picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from ..backward import seed
from ..drawing.picture import Direction, Entry, Look, Picture, Scale
from ..files import strict
from ..recorded.names import names_of
from ..recorded.nodes import Computation, computation_of
from ..stepping.record import Passes
from ..tensor import Tensor
from ..text import first_lines
from ..views.boxes import Wire, diagram
from ..views.looks import picture
from ..views.text_tree import text_tree
from .result import LINES, Drawing, as_text, attributes, plain
from .travels import page_of

NODE = (
    "id", "name", "kind", "op", "symbol", "shape", "dtype", "scope", "value", "gradient", "state",
    "source", "calls", "expression",
)  # fmt: skip


class Graph(Drawing, Computation):
    """The computation of one output, immutable: `nodes` in the order in which they were
    made, `edges` from operand to result in the order of their targets and slots."""

    suffixes: ClassVar[tuple[str, ...]] = (".svg", ".png", ".pdf", ".dot", ".html", ".json")

    @classmethod
    def of(cls, computation: Computation) -> Graph:
        """The computation with what can be asked of it."""
        return cls(computation.nodes, computation.edges, computation.names, computation.receipts)

    def __str__(self) -> str:
        return text_tree(self)

    def __repr__(self) -> str:
        return first_lines(str(self), LINES)

    def text_html(self) -> str:
        """The text tree, unfolded on request: it says what the picture says."""
        return as_text(self)

    def to_json(self) -> dict[str, Any]:
        """Node-link data, as `networkx.node_link_graph(data, edges="edges")` reads it."""
        return {
            "directed": True,
            "multigraph": True,
            "graph": {"output": self.output.id},
            "nodes": [attributes(node, NODE) for node in self.nodes],
            "edges": [
                {
                    "source": e.source, "target": e.target, "key": e.slot, "slot": e.slot,
                    "skip": e.skip, "traffic": e.traffic, "contribution": plain(e.contribution),
                }
                for e in self.edges
            ],
        }  # fmt: skip

    def to_networkx(self) -> Any:
        """The same as a `networkx.MultiDiGraph`, with the node-link data as its attributes.

        Raises: RuntimeError where NetworkX is not installed.
        """
        try:
            import networkx as nx
        except ImportError:
            raise RuntimeError("to_networkx needs NetworkX; run: pip install networkx") from None
        return nx.node_link_graph(strict(self.to_json()), edges="edges")

    def picture(
        self,
        fold: bool | None = None,
        direction: Direction = "LR",
        *,
        scale: Scale | None = None,
        look: Callable[[Wire], Look] | None = None,
        legend: Sequence[Entry] = (),
        caption: str = "",
    ) -> Picture:
        """The drawing as data (drawing/picture.py).

        `scale` is that of the arrows' widths, to be shared by pictures that are compared.
        `look` draws something else than the gradient on the same boxes: a function from an
        arrow, as a `Wire` (views/boxes.py), to its `Look`; `legend` then says what that means.
        """
        return picture(diagram(self, fold), direction, scale, look, legend, caption)

    def page(self, **_: Any) -> str:
        """The page of its steps (see `steps`)."""
        return page_of(Passes.of(self))


def graph(output: Tensor, gradient: Any = None, *, names: Any = None) -> Graph:
    """What `output` was computed from, as data.

    A node is called by its tensor's name, else by where the tensor is found: in `names` (an
    object, a dict, a module), then in the caller's variables, as ``net.layers[0].W``.

    With `gradient` (a cotangent of the output's shape), or after ``output.backward()``,
    every edge carries the contribution to the gradient that went back through it.

    Raises: TypeError if `output` is not a Tensor; as `backward` does for the gradient.
    """
    if not isinstance(output, Tensor):
        raise TypeError(f"graph takes a Tensor, but got {type(output).__name__}")
    start = getattr(output, "cotangent", None) if gradient is None else seed(output, gradient)
    return Graph.of(computation_of(output, names_of(output, names), start))
