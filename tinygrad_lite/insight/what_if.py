"""What if a branch were cut: the gradient without what travels it, and without what it adds.

A share says how a gradient is made up. The next question is what would be without the branch, and
it has two answers. *Stopped*, no gradient passes it while all values stay: the gradient is then
exactly the one less the parts of the paths through the branch. *Ablated*, the branch adds nothing:
the values behind it change, and with them every derivative that is taken there, so the gradient is
that of another network. The two are the same only where nothing behind the branch depends on it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args, overload

import numpy as np

from ..ancestors import ancestors, in_order
from ..calculus import grad, recording
from ..context import no_grad
from ..drawing.bars import Bar, Mark, bars
from ..drawing.table import Table, percent
from ..recorded.joins import Use, is_sum
from ..recorded.measure import norm, share_of, wide
from ..recorded.nodes import Computation, Edge, computation_of
from ..recorded.replay import Plan, ReplayWarning
from ..recorded.rerun import ask_again, rerun
from ..tensor import Tensor
from ..text import number, oneline
from ..value import Value
from ..views.looks import OVER, THROUGH
from .flows import Flow, flow
from .result import Breakdown, Chart, Item

By = Literal["scope", "skips", "edge"]
BRANCHES = get_args(By)
Found = tuple[str | Edge, str, str, list[Use]]  # a branch, its name, a remark, and its uses
WHAT = "what if a branch were cut: the gradient of"
SWEPT = "a sweep: the gradient of"
LENGTHS = "length of the gradient"
Sizes = tuple[tuple[float | None, Mark], ...]
MARKS: tuple[tuple[Mark, str], ...] = (
    ("ring", "stopped: no gradient through the branch, values stay"),
    ("cross", "ablated: the branch adds nothing, values change"),
)
NOTHING: Mapping[Any, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, repr=False)
class Row(Item):
    """A branch, a scope's name or an `Edge` of ``graph(output)``: the signed share of the gradient
    that travels it, the gradient when it is stopped and the angle of that to the whole in degrees,
    the gradient when it is ablated, and by how much the output then changes. None is what there is
    not: `remark` says of the last two why."""

    numbers = (
        "branch", "name", "share", "stopped_norm", "angle", "ablated_norm", "output_change_norm",
        "remark",
    )  # fmt: skip
    header = ("branch", "share", "|stopped|", "angle", "|ablated|", "|output change|", "")

    branch: str | Edge
    name: str
    share: float | None
    stopped: np.ndarray = field(compare=False)
    angle: float | None
    ablated: np.ndarray | None = field(compare=False)
    output_change: np.ndarray | None = field(compare=False)
    remark: str

    @property
    def stopped_norm(self) -> float:
        """The norm of the gradient when stopped."""
        return norm(self.stopped)

    @property
    def ablated_norm(self) -> float | None:
        """The norm of the gradient when ablated."""
        return None if self.ablated is None else norm(self.ablated)

    @property
    def output_change_norm(self) -> float | None:
        """The norm of the change of the output when ablated."""
        return None if self.output_change is None else norm(self.output_change)

    def cells(self) -> tuple[str, ...]:
        """Its row in the table."""
        ablated = size(self.ablated_norm), size(self.output_change_norm)
        stopped = number(self.stopped_norm), degrees(self.angle)
        return oneline(self.name, 60), percent(self.share), *stopped, *ablated, self.remark


@dataclass(frozen=True, slots=True, repr=False)
class Point(Item):
    """One array of a sweep: what it is called, the gradient with it, the angle of that to the
    whole in degrees, and by how much the output changes."""

    numbers = ("name", "norm", "angle", "output_change_norm")
    header = ("with", "|gradient|", "angle", "|output change|")

    name: str
    gradient: np.ndarray = field(compare=False)
    angle: float | None
    output_change: np.ndarray = field(compare=False)

    @property
    def norm(self) -> float:
        """The norm of the gradient."""
        return norm(self.gradient)

    @property
    def output_change_norm(self) -> float:
        """The norm of the change of the output."""
        return norm(self.output_change)

    def cells(self) -> tuple[str, ...]:
        """Its row in the table."""
        return self.name, number(self.norm), degrees(self.angle), number(self.output_change_norm)


@dataclass(frozen=True, repr=False)
class WhatIf(Breakdown, Chart, Sequence[Row]):
    """The branches of a computation, and what would be without each; or, where a sweep was asked
    for, its `curve`, which is then what is shown."""

    numbers = (*Breakdown.numbers, "rows", "curve")

    rows: tuple[Row, ...]
    curve: tuple[Point, ...]
    by: By

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Row, ...]: ...
    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def table(self) -> Table:
        """A row a branch, or a row an array of the sweep."""
        if self.curve:
            rows = [point.cells() for point in self.curve]
            return Table(Point.header, rows, self.heading(SWEPT))
        below = "" if self.rows else f'It has no branch that could be cut by="{self.by}".'
        if below and self.by != "edge":  # which every other is too
            others = " or ".join(f'by="{by}"' for by in BRANCHES if by != self.by)
            below = f"{below[:-1]}; ask {others}."
        return Table(Row.header, [row.cells() for row in self], self.heading(WHAT), below)

    def svg(self) -> str:
        """A bar for the share of each branch, or for the gradient's norm in each of a sweep."""
        if self.curve:
            drawn = [Bar(p.name, (), number(p.norm), ((p.norm, "dot"),)) for p in self.curve]
            return bars(drawn, self.heading(SWEPT), heads=("", LENGTHS), log=False)
        drawn = []
        for row in self:
            name, share, stopped, _, ablated, *_ = row.cells()
            sizes: Sizes = ((row.stopped_norm, "ring"), (row.ablated_norm, "cross"))
            dots = tuple((x, mark) for x, mark in sizes if x is not None)
            said = f"{share}, stopped {stopped}, ablated {ablated}"
            colour = OVER if row.remark.startswith("skip;") or row.remark == "skip" else THROUGH
            drawn.append(Bar(name, ((row.share or 0.0, colour),), said, dots))
        whole = number(self.norm)
        heads = ("share of the gradient", f"{LENGTHS} without the branch; now {whole}")
        return bars(drawn, self.heading(WHAT), heads=heads, marks=MARKS, log=False, now=self.norm)


@np.errstate(all="ignore")  # backward has warned; here NaN is a result
def what_if(
    output: Tensor,
    wrt: Tensor | str,
    by: By = "scope",
    *,
    loss: Callable[[Tensor], Tensor] | None = None,
    gradient: Any = None,
    sweep: Mapping[Any, Any] | None = None,
    names: Any = None,
) -> WhatIf:
    """What the gradient with respect to `wrt` would be without each branch of a computation.

    A branch is a scope, by="edge" an `Edge` of ``graph(output)`` that a gradient may pass, and
    by="skips" one that passes a join straight, or that such a one skips. Each is stopped, and
    ablated where all its uses are added or subtracted (see `replay`). The gradient is that of
    ``loss(output)``, else it starts from the cotangent `gradient`, or as in `flow`, as are `wrt`
    and `names`. `sweep` maps one leaf, a Tensor or its name, to arrays along a first axis, with
    each of which the gradient is taken again: `.curve`. Costs two replays a branch, one an array.

    >>> from tinygrad_lite import Tensor, scope, what_if
    >>> x = Tensor(3.0, requires_grad=True, name="x")
    >>> with scope("f"):
    ...     f = x * x
    >>> (row,) = what_if(f + x, wrt=x, loss=lambda y: y * y / 2)  # 12 (6 + 1), 12 · 1, 3 · 1
    >>> row.name, row.stopped.item(), row.ablated.item(), row.output_change.item()
    ('f', 12.0, 3.0, -9.0)

    Raises: as `flow`; ValueError for another `by`, both `loss` and `gradient`, or a sweep that
    is not of one leaf, or has no arrays or arrays of another shape than it.
    """
    if by not in BRANCHES:
        raise ValueError(f"by is 'scope', 'skips' or 'edge', but got {by!r}")
    if loss is not None and gradient is not None:
        raise ValueError("loss= and gradient= both say what the gradient is of; give one of them")
    end = output if loss is None else loss_of(loss, output)
    whole = flow(end, wrt, gradient, names=names)
    asked = Question(output, whole, Plan(output, whole.trace.names))
    rows = [asked.row(*branch) for branch in asked.branches(by)]
    curve = [asked.point(*change) for change in asked.changes(sweep)] if sweep is not None else []
    for said in asked.otherwise[:1]:
        warnings.warn(said, ReplayWarning, stacklevel=2)
    called = asked.plan.names.title(output)
    if loss is not None:
        called = end._name or f"loss({called})"
    head = asked.gradient, called, whole.wrt, whole.note, whole.state, whole.first_bad
    return WhatIf(*head, tuple(rows), tuple(curve), by)


def loss_of(loss: Callable[[Tensor], Any], output: Tensor) -> Tensor:
    """The loss of an output, recorded. Raises: TypeError if it is no Tensor."""
    with recording():
        found = loss(output)
    if not isinstance(found, Tensor):
        raise TypeError(f"loss must return a Tensor, but returned {type(found).__name__}")
    return found


class Question:
    """A computation that is replayed with one change after the other."""

    def __init__(self, output: Tensor, whole: Flow, plan: Plan) -> None:
        self.output, self.whole, self.plan = output, whole, plan
        self.computation = ancestors([whole.trace.output])
        self.otherwise: list[str] = []  # where the code might have gone another way
        self.gradient, _ = self.replayed()

    def replayed(
        self,
        data: Mapping[Value, Any] = NOTHING,
        cuts: Mapping[Value, Iterable[int]] = NOTHING,
        replaced: Mapping[Use, Value] = NOTHING,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The gradient after a change, and the change of the output."""
        asked = self.whole.trace
        made = rerun(self.computation, data, cuts, replaced)
        end = made.get(asked.output, asked.output)
        if otherwise := ask_again(asked.output, made):
            self.otherwise.append(otherwise)
        with no_grad():
            gradient = grad(end, asked.wrt[0], asked.start)
        change = made.get(self.output, self.output)._array - self.output._array
        return gradient.numpy(), np.asarray(change)

    def branches(self, by: By) -> Iterator[Found]:
        """The branches that can be cut, in the order of the computation."""
        plan = self.plan
        if by == "scope":
            scopes = (
                v.scope[:n] for v in in_order(plan.values) for n in range(1, len(v.scope) + 1)
            )
            for name in dict.fromkeys(scopes):
                inside = {v for v in plan.values if v.op and v.scope[: len(name)] == name}
                if inside and self.output not in inside:
                    yield "/".join(name), "/".join(name), "", plan.uses(name)
            return
        whole = self.whole.trace
        of_output = whole.output is self.output
        graph = whole.graph if of_output else computation_of(self.output, plan.names)
        for edge in graph.edges:
            source, target = graph.nodes[edge.source], graph.nodes[edge.target]
            remark = skipping(graph, edge)
            if remark if by == "skips" else source.differentiable:
                yield edge, edge_title(graph, edge), remark, [(target.tensor, edge.slot)]

    def row(self, branch: str | Edge, name: str, remark: str, uses: list[Use]) -> Row:
        """What would be without a branch."""
        cuts: dict[Value, set[int]] = {}
        for value, slot in uses:
            cuts.setdefault(value, set()).add(slot)
        stopped, _ = self.replayed(cuts=cuts)
        others = {v.op.symbol or v.op.name for v, _ in uses if v.op and not is_sum(v)}
        ablated = change = None
        if others:
            joins = f"not ablated: joins by {', '.join(sorted(others))}"
            remark = f"{remark}; {joins}" if remark else joins
        else:
            replaced = {use: self.plan.replacement(use, branch, None) for use in uses}
            ablated, change = self.replayed(replaced=replaced)
        part = wide(self.gradient) - stopped
        share = bent = None
        if self.whole.by_use:  # else there is no gradient, or only what rounding left of one
            share, bent = share_of(part, self.gradient), angle(stopped, self.gradient)
        return Row(branch, name, share, stopped, bent, ablated, change, remark)

    def changes(self, sweep: Mapping[Any, Any]) -> Iterator[tuple[str, Value, np.ndarray]]:
        """What each array of a sweep is called, the leaf, and the array."""
        if len(sweep) != 1:
            raise ValueError(f"a sweep is of one leaf, but got {len(sweep)}")
        ((key, given),) = sweep.items()
        leaf, arrays = self.plan.leaf(key), np.asarray(given)
        title, shape = self.plan.names.title(leaf), leaf._array.shape
        if arrays.shape[1:] != shape or not arrays.ndim:
            expected = ", ".join(map(str, ("n", *shape)))
            raise ValueError(
                f"the arrays of a sweep run along the first axis, so those for {title} need the "
                f"shape ({expected}), but have {arrays.shape}"
            )
        if not len(arrays):
            raise ValueError(f"a sweep needs one array at least, but got none for {title}")
        for i, array in enumerate(arrays):
            yield changed(title, i, wide(array) - array_had(self.plan, leaf)), leaf, array

    def point(self, name: str, leaf: Value, array: np.ndarray) -> Point:
        """What would be with another array in a leaf."""
        gradient, change = self.replayed({leaf: array})
        bent = angle(gradient, self.gradient) if self.whole.by_use else None
        return Point(name, gradient, bent, change)


def array_had(plan: Plan, leaf: Value) -> Any:
    """The array that a leaf had when the computation was recorded."""
    uses = ((x, a) for v in plan.values for x, a in zip(v.inputs, v.arrays, strict=True))
    return next((array for x, array in uses if x is leaf), leaf._array)


def edge_title(graph: Computation, edge: Edge) -> str:
    """What an edge is called: from what into what."""
    source, target = graph.nodes[edge.source], graph.nodes[edge.target]
    several = sum(other.source == edge.source for other in graph.into[edge.target]) > 1
    slot = f" by operand {edge.slot + 1}" if several else ""
    return f"{graph.title(source)} → {graph.title(target)}{slot}"


def skipping(graph: Computation, edge: Edge) -> str:
    """Whether an edge is a "skip", "skipped" by one into the same join, or neither: ""."""
    if edge.skip:
        return "skip"
    straight = {graph.nodes[e.source].tensor for e in graph.into[edge.target] if e.skip}
    source = graph.nodes[edge.source]
    computed = source.op and not straight.isdisjoint(ancestors([source.tensor]))
    return "skipped" if computed else ""


def changed(title: str, i: int, change: np.ndarray) -> str:
    """What a leaf is called that was changed by an array, the i-th of a sweep."""
    low, high = change.min(initial=math.inf), change.max(initial=-math.inf)
    if high - low <= 1e-9 * abs(high):
        return f"{title} {'-' if high < 0 else '+'} {number(abs(high))}"
    return f"{title} ({i}), changed by {number(norm(change))}"


def angle(a: np.ndarray, b: np.ndarray) -> float | None:
    """The angle between two arrays in degrees, exact for small ones too (Kahan's formula); None
    where one is 0 or not finite."""
    sizes = norm(a), norm(b)
    if not all(0 < size < math.inf for size in sizes):
        return None
    a, b = wide(a) / sizes[0], wide(b) / sizes[1]
    return math.degrees(2 * math.atan2(norm(a - b), norm(a + b)))


def size(x: float | None) -> str:
    """A norm; "-" where there is none."""
    return "-" if x is None else number(x)


def degrees(x: float | None) -> str:
    """An angle; "-" where there is none."""
    return "-" if x is None else f"{x:.1f}°"
