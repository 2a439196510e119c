"""How the size of the gradient changes from layer to layer, and which op changes it.

A layer is a scope, with the gradient that arrives at its results and that of its
parameters; a parameter that no scope uses is one by itself. A parameter that several
layers use counts in each with what that layer sends it, and what it is sent from outside of
any scope is a row by itself. Going back through a net, sizes
multiply: fifty layers that each pass a fifth leave 1e-35. So layers are judged against the
one nearest the output, not against a fixed number: *vanishing* where less than the square
root of the dtype's rounding unit is left, *exploding* where it grew by as much.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, NamedTuple, cast, overload

import numpy as np

from ..ancestors import ancestors, between, place_in_order
from ..backward import messages
from ..drawing.bars import Bar, Mark, bars
from ..drawing.table import Table
from ..ops.elementwise import add, subtract
from ..recorded.first_bad import first_bad
from ..recorded.joins import straight_uses
from ..recorded.measure import narrow, norm
from ..recorded.names import Names, distinct, names_of
from ..recorded.outcome import (
    ARRIVED,
    NOWHERE,
    Outcome,
    Receipt,
    Receipts,
    eps_of,
    receipts,
    strongest,
    whole_receipt,
)  # fmt: skip
from ..recorded.states import State
from ..recorded.trace import cotangent, operands
from ..tensor import Tensor
from ..text import number, oneline
from ..value import Value
from .result import Chart, Item

BAR = 32  # characters
Sizes = tuple[tuple[float | None, Mark], ...]
MARKS: tuple[tuple[Mark, str], ...] = (
    ("ring", "at the layer's result"), ("dot", "of its parameters together"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, repr=False)
class Layer(Item):
    """One layer: the norm of the gradient at its results (None where a layer is a lone
    parameter) and of that of its parameters (None if it has none), what became of it, how
    it relates to the next layer's towards the output (see `ratio`), and the verdict on it ("" if
    nothing is wrong)."""

    numbers = ("name", "signal", "parameters", "ratio", "state", "verdict")
    header = ("layer", "|at result|", "|parameters|", "of the next", "")

    name: str
    signal: float | None
    parameters: float | None
    outcome: Outcome
    ratio: float | None = None
    verdict: str = ""

    @property
    def state(self) -> State:
        """What became of its gradient: of its parameters, if any."""
        return self.outcome.state

    @property
    def size(self) -> float:
        """What layers are compared by: the parameters' norm, else that of the signal."""
        return self.parameters if self.parameters is not None else self.signal or 0.0

    def cells(self) -> tuple[str, ...]:
        """Its row in the table, without the bar."""
        sizes = ("-" if x is None else number(x) for x in (self.signal, self.parameters))
        ratio = "-" if self.ratio is None else f"×{number(self.ratio, 2)}"
        return oneline(self.name, 60), *sizes, ratio, self.verdict


@dataclass(frozen=True, repr=False)
class Profile(Chart, Sequence[Layer]):
    """The layers of a computation, in its order; `culprit` says which op shrinks or grows
    the gradient most, where a layer vanishes or explodes, and `first_bad` where a value and a
    gradient first were not finite ("" if all are)."""

    numbers = ("output", "culprit", "first_bad", "layers")

    layers: tuple[Layer, ...]
    output: str
    culprit: str
    first_bad: str

    @overload
    def __getitem__(self, index: int) -> Layer: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Layer, ...]: ...
    def __getitem__(self, index: Any) -> Any:
        return self.layers[index]

    def __len__(self) -> int:
        return len(self.layers)

    @property
    def alone(self) -> str:
        """What to say of a single layer with which nothing is wrong."""
        if len(self) != 1 or self[0].verdict:
            return ""
        return "one layer: there is no other beside which its gradient could vanish or explode"

    def table(self) -> Table:
        """A row a layer, with a bar for its size."""
        sizes = [layer.size for layer in self if 0 < layer.size < math.inf]
        high = max(sizes, default=1.0)
        low = min([*sizes, high / 10])  # at least a decade, so that near sizes look near
        several = len(self) > 1  # a single bar says nothing
        rows = [
            (*row, f"{bar(layer.size, low, high)}  {verdict}".rstrip() if several else verdict)
            for layer in self
            for *row, verdict in [layer.cells()]
        ]
        head = f"the gradient of {self.output}, layer by layer"
        lacking = any(layer.parameters is None for layer in self)
        what = "|parameters|, where there are none |at result|" if lacking else "|parameters|"
        axis = f"{what}, log axis from {number(low)} to {number(high)}" if several else self.alone
        below = "\n".join(filter(None, (axis, self.culprit, self.first_bad)))
        return Table(Layer.header, rows, head, below)

    def svg(self) -> str:
        """A bar for each layer, on a log axis."""
        rows = []
        for layer in self:
            shown = (("result", layer.signal), ("parameters", layer.parameters))
            size = ", ".join(f"{what} {number(x)}" for what, x in shown if x is not None)
            remark = " · ".join(filter(None, (size, layer.verdict)))
            sizes: Sizes = ((layer.signal, "ring"), (layer.parameters, "dot"))
            dots = tuple((x, mark) for x, mark in sizes if x is not None)
            rows.append(Bar(layer.name, (), remark, dots))
        title = f"the gradient of {self.output}, layer by layer"
        heads, caption = ("", "length of the gradient (log scale)"), self.culprit or self.alone
        return bars(rows, title, caption=caption, heads=heads, marks=MARKS)


def bar(size: float, low: float, high: float) -> str:
    """A bar on a log axis that reaches from `low`, one character, to `high`."""
    if not 0 < size < math.inf:
        return "·" if not size else "?"
    span = float(np.log(high) - np.log(low))
    return "█" * round(1 + (BAR - 1) * (float(np.log(size) - np.log(low)) / span if span else 1))


@np.errstate(all="ignore")  # backward has warned; here NaN is a result
def profile(output: Tensor, gradient: Any = None, *, names: Any = None) -> Profile:
    """The norm of the gradient of `output` in each layer, and where it is lost.

    `gradient` is the cotangent of an output that is not a scalar (default: the one of the
    last backward), and `names` as in `graph`. Without scopes, parameters that are used in ops
    one right after the other, as those of ``h @ W + b``, are a layer. Each layer's verdict
    tells apart vanishing, exploding, blocked, zero, cancelled, NaN, infinite and not computed,
    and names the parameters where these differ.

    >>> from tinygrad_lite import Tensor, profile, scope, sigmoid
    >>> h = Tensor([0.1, 0.2], requires_grad=True)
    >>> for i in range(3):
    ...     with scope(f"f{i}"):
    ...         h = sigmoid(h * Tensor(0.5, requires_grad=True))
    >>> [round(layer.parameters, 5) for layer in profile(h.sum())]
    [0.00289, 0.03126, 0.27669]

    Raises: as `backward`.
    """
    start = cotangent(output, gradient)
    called = names_of(output, names)
    arrived, found = receipts(output, start), layers_of(output, called)
    sent = receipts_by_layer(output, start, found, arrived)
    measured = [measure(members, arrived, sent) for members in found]
    judged = []
    for layer, reference in zip(measured, references(output, found, measured), strict=True):
        judged.append(judge(layer, reference, math.sqrt(eps_of(output.dtype)), called))
    layers = []
    for (here, _), after in zip_longest(judged, [layer for layer, _ in judged[1:]]):
        known = here.state is not State.NOT_COMPUTED and here.size < math.inf
        layers.append(replace(here, ratio=ratio(here, after) if known and after else None))
    blame = ""
    for state, worst in ((State.VANISHING, min), (State.EXPLODING, max)):
        lost = [
            (size, i, x)
            for i, (_, items) in enumerate(judged)
            for x, size, s in items
            if s is state
        ]
        if lost and not blame:
            _, i, value = worst(lost, key=lambda item: item[0])
            blame = culprit(arrived, found[i], value, state)
    bad = str(first_bad(output, called, start, arrived))
    return Profile(tuple(layers), called.title(output), blame, bad)


def ratio(here: Layer, after: Layer) -> float | None:
    """How a layer's gradient relates to that of the next one: of the parameters of both, else at
    the results of both. The gradient of a parameter and that at a result have no ratio."""
    for one, other in ((here.parameters, after.parameters), (here.signal, after.signal)):
        if one is not None and other is not None:
            return narrow(one / other) if one < math.inf and 0 < other < math.inf else None
    return None


class Members(NamedTuple):
    """What a layer is made of, in order: the ops that are computed in it, those results that are
    used outside, and its parameters. Its key is its scope; that of a parameter which no scope
    uses is itself, or where there are no scopes at all the first op of the layer; `OUTSIDE` has
    what those that some scope uses are sent from outside of any, as by weight decay: it is no part
    of the way from a layer to the output."""

    name: str
    key: Any
    ops: dict[Value, None]
    results: dict[Value, None]
    parameters: dict[Value, None]


OUTSIDE: Any = ()


def layers_of(output: Value, names: Names) -> list[Members]:
    """The layers in the order of the computation: each where its last op stands."""
    layers: dict[Any, Members] = {}

    def layer(key: Any) -> Members:
        if key not in layers:
            name = names.title(key) if isinstance(key, Value) else "/".join(key)
            layers[key] = Members(name or "outside scopes", key, {}, {}, {})
        return layers[key]

    values = names.values
    within = set(values)
    if not any(y.scope for y in values if y.op):
        return layers_by_op(output, within, names)
    uses = [(y, x) for y in values if y.requires_grad for _, x in operands(y, within)]
    scoped = {x for y, x in uses if y.scope}
    for y, x in uses:
        if y.scope:
            layer(y.scope).ops[y] = None
        if x.op is None and (y.scope or x not in scoped or not leads_around(y, x)):
            here = layer(y.scope or (OUTSIDE if x in scoped else x))
            here.parameters[x] = here.ops[y] = None
        elif x.op is not None and x.scope and x.scope != y.scope:
            layer(x.scope).results[x] = None
    if output.op is None:
        layer(output).parameters[output] = None
    elif output.scope:
        layer(output.scope).results[output] = None
    return sorted(
        layers.values(), key=lambda members: max(map(place_in_order, members.ops), default=0)
    )


def layers_by_op(output: Value, within: set[Value], names: Names) -> list[Members]:
    """The layers where there are no scopes: each has the parameters that are used in ops one right
    after the other."""
    if output.op is None:
        return [Members(names.title(output), output, {}, {}, {output: None})]
    layer_of: dict[Value, Members] = {}
    outside = Members("outside layers", OUTSIDE, {}, {}, {})
    alone: set[Any] = set()  # what is computed from parameters and numbers only
    for y in names.values:
        given = (x for x in y.inputs if isinstance(x, Value))
        if y.requires_grad and all(x in alone for x in given):
            alone.add(y)
    used = {x for y in names.values if y not in alone for x in y.inputs if isinstance(x, Value)}
    skips = straight_uses(names.values)  # around a layer, which has the parameter
    inside = {x for y in names.values for i, x in enumerate(y.inputs) if (y, i) not in skips}
    for y in names.values:
        slots = operands(y, within) if y.requires_grad else []
        uses = [x for _, x in slots]
        own = [x for i, x in slots if x.op is None and ((y, i) not in skips or x not in inside)]
        if y in alone and used.issuperset(own):  # as in weight decay
            outside.ops.update(dict.fromkeys([y] if own else ()))
            outside.parameters.update(dict.fromkeys(own))
            continue
        before = list({id(m): m for x in uses if (m := layer_of.get(x))}.values())
        joined = (
            len(before) > 1 and y.op in (add, subtract) and all(x.op and x.op.linear for x in uses)
        )
        if own or joined:
            here = Members("", y, {}, {}, {})
            for members in before:  # they are one: W @ h + V @ x + b
                here.ops.update(members.ops)
                here.parameters.update(members.parameters)
            here.ops[y] = None
            here.parameters.update(dict.fromkeys(own))
            layer_of |= dict.fromkeys(here.ops, here)
    layers = {id(members): members for members in layer_of.values()}.values()
    called = {}
    for members in layers:
        titles = [names.title(x) for x in members.parameters]
        line = names.line(members.key)
        where = f" (line {line})" if line else ""
        called[id(members)] = ", ".join(titles[:3]) + ", …" * (len(titles) > 3) + where
    called = distinct(called)
    found = [m._replace(name=called[id(m)], results={[*m.ops][-1]: None}) for m in layers]
    return [*found, outside] if outside.parameters else found


def leads_around(y: Value, x: Value) -> bool:
    """Whether `y` joins `x` with what was computed from it: a skip around a layer, which counts
    in that layer."""
    computed = (z for z in y.inputs if isinstance(z, Value) and z.op and z.requires_grad)
    return any(between(z, {x}) for z in computed)


Sent = dict[tuple[Any, Value], Receipt]


def receipts_by_layer(output: Tensor, start: Any, layers: list[Members], arrived: Receipts) -> Sent:
    """For each parameter that several layers use: what arrives there from each."""
    users = Counter(x for members in layers for x in members.parameters)
    shared = {x for x, n in users.items() if n > 1}
    sums: dict[tuple[Any, Value], Any] = defaultdict(float)
    parts: dict[tuple[Any, Value], list[Receipt]] = defaultdict(list)
    keys = {op: members.key for members in layers for op in members.ops}
    within = between(output, shared) if shared else ()
    for node, _, slot, part in messages(output, start, within=within):
        x: Any = None if slot is None else node.inputs[slot]
        if x in shared and node in keys:
            sums[keys[node], x] += part
            parts[keys[node], x].append(arrived.uses[node, cast(int, slot)])
    return {
        (key, x): whole_receipt(x, total, parts[key, x], arrived.start.norm)
        for (key, x), total in sums.items()
    }


class Measured(NamedTuple):
    """A layer before it is judged: what arrives at its results, and at its parameters; `size` is
    the norm of the gradient among what it is judged by: its parameters, if any."""

    members: Members
    results: dict[Value, Receipt]
    parameters: dict[Value, Receipt]
    size: float


def measure(members: Members, arrived: Receipts, sent: Sent) -> Measured:
    """What arrives in a layer."""
    nowhere = Receipt(0.0, NOWHERE)
    results = {x: arrived.values.get(x, nowhere) for x in members.results}
    parameters = {}
    for x in members.parameters:
        whole = arrived.values.get(x, nowhere)
        part = sent.get((members.key, x), whole)
        if part.outcome.state.arrives and not whole.outcome.state.arrives:
            part = part._replace(outcome=whole.outcome)  # it cancels what other layers send
        parameters[x] = part
    items = (parameters or results).values()
    size = norm([x.norm for x in items if x.outcome.state.arrives])
    return Measured(members, results, parameters, size)


def references(output: Value, layers: list[Members], measured: list[Measured]) -> list[float]:
    """The norm that each layer is judged against: that of the layer nearest the output on its
    way there. Where it has none, or the one it has vanishes itself, the largest of such layers;
    0 for what stands outside of scopes."""
    place: dict[Value, int] = {}  # of the last layer that an op is in, then of those it leads to
    for i, layer in enumerate(layers):
        if layer.key is not OUTSIDE and measured[i].size:
            place.update(dict.fromkeys(layer.ops, i))
    values = ancestors([output])
    within = set(values)
    for y in reversed(values):
        if y in place:
            for _, x in operands(y, within):
                place[x] = max(place.get(x, 0), place[y])
    inside = [i for i, layer in enumerate(layers) if layer.key is not OUTSIDE]
    ahead = {i: max((place[y] for y in layers[i].ops if y in place), default=i) for i in inside}
    top = max((measured[i].size for i in inside if ahead[i] == i), default=0.0)
    faint = math.sqrt(eps_of(output._array.dtype)) * top
    nearest = [measured[ahead[i]].size if i in ahead else 0.0 for i in range(len(layers))]
    return [top if i in ahead and nearest[i] < faint else nearest[i] for i in range(len(layers))]


Judged = tuple["Layer", list[tuple[Value, float, State]]]


def judge(measured: Measured, reference: float, faint: float, names: Names) -> Judged:
    """A layer with its verdict, and the norm and state of each thing that it is judged by."""
    verdicts: dict[str, list[str]] = {}
    outcomes, items = [], []
    for x, (size, outcome, _) in (measured.parameters or measured.results).items():
        if outcome.state.arrives:
            outcome = ARRIVED
            if reference and size < faint * reference:
                outcome = Outcome(State.VANISHING)
            elif reference and size > reference / faint:
                outcome = Outcome(State.EXPLODING)
        verdicts.setdefault(outcome.text(names), []).append(names.title(x))
        outcomes.append(outcome)
        items.append((x, size, outcome.state))
    wrong = [
        text if len(verdicts) == 1 else f"{', '.join(names[:3])}{', …' * (len(names) > 3)}: {text}"
        for text, names in verdicts.items()
        if text
    ]

    def total(found: dict[Value, Receipt]) -> float | None:
        known = [x.norm for x in found.values() if x.outcome.state is not State.NOT_COMPUTED]
        return norm(known) if known else None

    signal, parameters = total(measured.results), total(measured.parameters)
    outcome = strongest(outcomes) if outcomes else NOWHERE
    name = measured.members.name
    return Layer(name, signal, parameters, outcome, verdict="; ".join(wrong)), items


def culprit(arrived: Receipts, layer: Members, value: Value, state: State) -> str:
    """The op that, over all its uses, shrinks (or grows) the gradient most on its way through a
    layer to `value`: on the one path that brings most at every value."""
    senders: dict[Value, tuple[Value, Receipt]] = {}
    for (node, slot), sent in arrived.uses.items():
        x: Any = node.inputs[slot]
        passes = x is not value or x.op is not None or node in layer.ops
        if passes and (x not in senders or sent.norm > senders[x][1].norm):
            senders[x] = node, sent
    factors: dict[str, list[float]] = defaultdict(list)
    while value in senders:
        value, sent = senders[value]
        if value.op is not None and 0 < sent.before < math.inf and 0 < sent.norm < math.inf:
            factors[value.op.name].append(float(np.log10(sent.norm) - np.log10(sent.before)))
    if not factors:
        return ""
    sign = 1 if state is State.VANISHING else -1
    name, uses = min(factors.items(), key=lambda item: sign * sum(item[1]))
    whole, n = sum(uses), len(uses)
    if sign * whole >= 0:  # no op shrank it: the layer nearest the output was the odd one
        return ""
    verb = "shrinks" if sign > 0 else "grows"
    each = number(10 ** (whole / n), 2)
    often = f"each of {n} uses" if n > 1 else "its one use"
    return f"{name} {verb} it most: ×{each} in {often}, 1e{whole:+.0f} in all"
