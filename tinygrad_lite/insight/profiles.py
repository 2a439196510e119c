"""How the size of the gradient changes from layer to layer, and which op changes it.

A layer is a scope, with the gradient that arrives at its results and that of its
parameters; a parameter that no scope uses is one by itself. A parameter that several
layers use counts in each with what that layer sends it. Going back through a net, sizes
multiply: fifty layers that each pass a fifth leave 1e-35. So layers are judged against the
one nearest the output, not against a fixed number: *vanishing* where less than the square
root of the dtype's rounding unit is left, *exploding* where it grew by as much.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any, NamedTuple, overload

import numpy as np

from ..ancestors import ancestors, between
from ..arrays import describe
from ..backward import messages
from ..drawing.bars import Bar, bars
from ..drawing.picture import BLUE
from ..drawing.picture import ORANGE as TROUBLED
from ..drawing.table import table
from ..recorded.measure import norm
from ..recorded.outcome import Outcome, Receipt, receipts
from ..recorded.states import State
from ..recorded.trace import cotangent, operands, title
from ..tensor import Tensor
from ..text import number, oneline
from ..value import Value
from .result import Chart, Numbers

BAR = 32  # characters


@dataclass(frozen=True, slots=True)
class Layer(Numbers):
    """One layer: the norm of the gradient at its results (None where a layer is a lone
    parameter) and of that of its parameters (None if it has none), what became of it, how
    the size relates to the next layer's towards the output, and the verdict on it ("" if
    nothing is wrong)."""

    numbers = ("name", "signal", "parameters", "ratio", "verdict")

    name: str
    signal: float | None
    parameters: float | None
    outcome: Outcome
    ratio: float | None = None
    verdict: str = ""

    @property
    def size(self) -> float:
        """What layers are compared by: the parameters' norm, else that of the signal."""
        return self.parameters if self.parameters is not None else self.signal or 0.0


@dataclass(frozen=True)
class Profile(Chart, Sequence[Layer]):
    """The layers of a computation, in its order; `culprit` says which op shrinks or grows
    the gradient most, where a layer vanishes or explodes."""

    numbers = ("output", "culprit", "layers")

    layers: tuple[Layer, ...] = field(repr=False)
    output: str
    culprit: str

    @overload
    def __getitem__(self, index: int) -> Layer: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Layer, ...]: ...
    def __getitem__(self, index: Any) -> Any:
        return self.layers[index]

    def __len__(self) -> int:
        return len(self.layers)

    def __str__(self) -> str:
        sizes = [layer.size for layer in self if layer.size and math.isfinite(layer.size)]
        high = max(sizes, default=1.0)
        low = min([*sizes, high / 10])  # at least a decade, so that near sizes look near
        rows = [
            (
                oneline(layer.name, 60),
                "-" if layer.signal is None else number(layer.signal),
                "-" if layer.parameters is None else number(layer.parameters),
                "-" if layer.ratio is None else f"×{number(layer.ratio, 2)}",
                f"{bar(layer.size, low, high)}  {layer.verdict}".rstrip(),
            )
            for layer in self
        ]
        head = f"the gradient of {self.output}, layer by layer"
        axis = f"|parameters|, log axis from {number(low)} to {number(high)}"
        body = table(("layer", "|at result|", "|parameters|", "to next", ""), rows)
        return "\n".join(filter(None, (head, body, axis, self.culprit)))

    def svg(self) -> str:
        """A bar for each layer, on a log axis."""
        rows = []
        for layer in self:
            size = "" if layer.outcome.state is State.NOT_COMPUTED else f"{number(layer.size)}  "
            colour = TROUBLED if layer.verdict else BLUE
            remark = f"{size}{layer.verdict}".rstrip()
            rows.append(Bar(layer.name, ((layer.size, colour),), remark))
        title = f"the gradient of {self.output}, layer by layer (log axis)"
        return bars(rows, title, caption=self.culprit, log=True)


def bar(size: float, low: float, high: float) -> str:
    """A bar on a log axis that reaches from `low`, one character, to `high`."""
    if not (size and math.isfinite(size)):
        return "·" if not size else "?"
    span = math.log(high / low)
    return "█" * round(1 + (BAR - 1) * (math.log(size / low) / span if span else 1))


@np.errstate(all="ignore")  # backward has warned; here NaN is a result
def profile(output: Tensor, gradient: Any = None) -> Profile:
    """The norm of the gradient of `output` in each layer, and where it is lost.

    `gradient` is the cotangent of an output that is not a scalar (default: the one of the
    last backward). Each layer's verdict tells apart vanishing, exploding, blocked, zero,
    cancelled, NaN and not computed.

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
    arrived = receipts(output, start)
    found = layers_of(output)
    sent = sizes_sent(output, start, found)
    measured = [measure(members, arrived, sent) for members in found]
    eps = math.sqrt(np.finfo(output.dtype).eps)
    nearest = next((a.size for a in reversed(measured) if a.outcome.state is State.GRADIENT), 1.0)
    judged = []
    for here, after in zip_longest(measured, measured[1:]):
        state = here.outcome.state
        if state is State.GRADIENT:
            small, large = here.size < eps * nearest, here.size > nearest / eps
            state = State.VANISHING if small else State.EXPLODING if large else state
        comparable = after and after.size and math.isfinite(after.size) and math.isfinite(here.size)
        ratio = here.size / after.size if comparable and state is not State.NOT_COMPUTED else None
        verdict = str(here.outcome if state is here.outcome.state else state)
        judged.append(replace(here, ratio=ratio, verdict=verdict))
    blame = ""
    for verdict, worst in ((State.VANISHING, min), (State.EXPLODING, max)):
        lost = [i for i, layer in enumerate(judged) if layer.verdict == verdict]
        if lost and not blame:
            members = found[worst(lost, key=lambda i: judged[i].size)]
            blame = culprit(output, start, members.parameters or members.results, verdict)
    return Profile(tuple(judged), title(output), blame)


class Members(NamedTuple):
    """What a layer is made of, in order: its results that are used outside, and its
    parameters. A parameter that no scope uses is a layer without a scope."""

    name: str
    scope: tuple[str, ...]
    results: dict[Value, None]
    parameters: dict[Value, None]


def layers_of(output: Value) -> list[Members]:
    """The layers in the order of the computation."""
    layers: dict[Any, Members] = {}

    def layer(key: Any) -> Members:
        if key not in layers:
            scope = key if isinstance(key, tuple) else ()
            name = "/".join(scope) if scope else key.name or describe(key)
            layers[key] = Members(name, scope, {}, {})
        return layers[key]

    values = ancestors([output])
    within = set(values)
    uses = [(y, x) for y in values if y.requires_grad for _, x in operands(y, within)]
    scoped = {x for y, x in uses if y.scope}
    for y, x in uses:
        here = layer(y.scope) if y.scope else None
        if x.op is not None:
            if x.scope and x.scope != y.scope:
                layer(x.scope).results[x] = None
        elif here or x not in scoped:
            (here or layer(x)).parameters[x] = None
    if output.op is None:
        layer(output).parameters[output] = None
    elif output.scope:
        layer(output.scope).results[output] = None
    return list(layers.values())


Sent = dict[tuple[tuple[str, ...], Value], float]


def sizes_sent(output: Tensor, start: Any, layers: list[Members]) -> Sent:
    """For each parameter that several layers use: the norm of what each sends it."""
    users = Counter(x for members in layers for x in members.parameters)
    shared = {x for x, n in users.items() if n > 1}
    sums: dict[tuple[tuple[str, ...], Value], Any] = defaultdict(float)
    within = between(output, shared) if shared else ()
    for node, _, slot, part in messages(output, start, within=within):
        if slot is not None and node.inputs[slot] in shared:
            sums[node.scope, node.inputs[slot]] += part
    return {key: norm(part) for key, part in sums.items()}


def measure(members: Members, arrived: dict[Value, Receipt], sent: Sent) -> Layer:
    """The sizes of a layer, and what became of its gradient: of its parameters, if any."""
    name, scope, results, parameters = members
    nowhere = Receipt(0.0, Outcome(State.NOT_COMPUTED))
    outcomes = [arrived.get(x, nowhere).outcome for x in parameters or results]
    outcome = min(outcomes, key=lambda x: (x.state is not State.NAN, x.state is not State.GRADIENT))

    def size(values: Iterable[Value]) -> float | None:
        sizes = [sent.get((scope, x), arrived[x].norm) for x in values if x in arrived]
        return math.hypot(*sizes) if sizes else None

    return Layer(name, size(results), size(parameters), outcome)


def culprit(output: Tensor, start: Any, wrt: Iterable[Value], state: State) -> str:
    """The op that, over all its uses, shrinks (or grows) the gradient most on its way to `wrt`."""
    factors: dict[str, list[float]] = defaultdict(list)
    for node, g, slot, part in messages(output, start, within=between(output, set(wrt))):
        before, after = norm(g), norm(part) if slot is not None else 0.0
        if node.op is not None and 0 < before < math.inf and 0 < after < math.inf:
            factors[node.op.name].append(math.log10(after) - math.log10(before))
    sign = 1 if state is State.VANISHING else -1
    name, uses = min(factors.items(), key=lambda item: sign * sum(item[1]))
    whole, n = sum(uses), len(uses)
    if sign * whole >= 0:  # no op shrank it: the layer nearest the output was the odd one
        return ""
    verb = "shrinks" if sign > 0 else "grows"
    each = number(10 ** (whole / n), 2)
    often = f"each of {n} uses" if n > 1 else "its one use"
    return f"{name} {verb} it most: ×{each} in {often}, 1e{whole:+.0f} in all"
