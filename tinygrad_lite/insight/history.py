"""How the gradients of a training change: their norms, and which way they come, step by step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, cycle
from typing import Any, TypeVar

import numpy as np

from ..ancestors import ancestors
from ..arrays import describe
from ..drawing.line_chart import Line, Panel, line_chart
from ..drawing.picture import BLUE, FRAME, GREY, INK, PALE, TEAL
from ..drawing.table import Table, percent
from ..recorded.measure import norm
from ..recorded.names import Names
from ..recorded.trace import check_wrt, coherence, operands, tensor_meant
from ..tensor import Tensor
from ..text import number, oneline
from ..value import Value
from .bundles import By, bundles_at, check_by
from .classes import path_classes, text
from .flows import flow
from .result import Chart, Numbers, plain

T = TypeVar("T")
Points = list[tuple[int, float | None]]

KEEP = 64  # classes of paths
COARSE = 4  # classes that only the coherence is taken of
ROWS, PARAMETERS, SHARES = 10, 6, 4  # at most, in the table; the picture names as many shares
DRAWN = 8  # norms that have a label in the picture
COLOURS = (BLUE, TEAL, INK, FRAME)  # vermillion is a skip, magenta NaN
EMPTY = "Nothing is recorded yet; call record(loss) after each loss.backward()."


@dataclass(frozen=True, slots=True)
class Row(Numbers):
    """What was noted at a step, the first being step 0: by the name of each parameter the norm of
    its `.grad` (None where it has none); by scope or key the share of the gradient of `wrt`, and
    its coherence. `shares` is None where they were not asked for, and empty where that gradient
    vanishes, or the loss does not depend on `wrt`."""

    step: int
    norms: Mapping[str, float | None]
    shares: Mapping[Any, float] | None = None
    coherence: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The numbers, as plain data for JSON."""
        shares = self.shares and [{"key": plain(k), "share": s} for k, s in self.shares.items()]
        norms = {name: plain(size) for name, size in self.norms.items()}
        return {
            "step": self.step, "norms": norms, "shares": shares, "coherence": self.coherence,
        }  # fmt: skip


class History(Chart):
    """The gradients of a training, noted while it runs: call ``record(loss)`` after each
    ``loss.backward()``, before the optimiser forgets the gradients.

    Every `every`-th call, from the first on, notes the norm of each parameter's `.grad`. Every
    `shares_every`-th of these also notes the shares of the gradient towards `wrt`, and its
    coherence: for ``by="scope"`` the `scopes` of `flow`, and the coherence of the paths told apart
    by how many scopes they enter (if there are more than four such classes at a value, the
    smallest as one); else those of `path_classes`, of up to 64 classes.

    `wrt` is a parameter of the first loss that is recorded, or the name of one; None takes the one
    with the most ops between it and the loss. It is called by its name from then on: where a
    training makes new Tensors at each step, the one of that name is meant. Names are found as
    `graph` finds them, in `names=` first, when a parameter first appears.

    The graphs of the losses are not kept. `rows` are the numbers, `save` draws them.

    >>> from tinygrad_lite import History, Tensor
    >>> from tinygrad_lite.training import SGD
    >>> w, history = Tensor(1.0, requires_grad=True, name="w"), History(every=5)
    >>> optimiser = SGD([w], lr=0.25)
    >>> for _ in range(11):
    ...     loss = w * w
    ...     loss.backward()
    ...     history.record(loss)
    ...     optimiser.step()
    >>> [(row.step, row.norms["w"]) for row in history.rows]
    [(0, 2.0), (5, 0.0625), (10, 0.001953125)]

    Raises: TypeError if `wrt` is neither None nor a Tensor or a name, or `every` or `shares_every`
    no integer; ValueError if one of these is not positive, or `by` is not as in `path_classes`.
    """

    numbers = ("wrt", "every", "shares_every", "rows")

    def __init__(
        self,
        wrt: Tensor | str | None = None,
        *,
        every: int = 10,
        shares_every: int = 10,
        by: By = "scope",
        names: Any = None,
    ) -> None:
        if wrt is not None:
            check_wrt(wrt, {})
        for name, n in (("every", every), ("shares_every", shares_every)):
            if not isinstance(n, int):
                raise TypeError(f"{name} must be an integer, but is {n!r}")
            if n < 1:
                raise ValueError(f"{name} must be at least 1, but is {n}")
        check_by(by)
        self.every, self.shares_every, self.by, self.names = every, shares_every, by, names
        self.wrt: str | None = None  # its name, once it is settled
        self.asked = wrt
        self.calls = 0
        self.noted: list[Row] = []
        self.called: dict[Value, str] = {}  # the parameters of the loss last noted

    @property
    def rows(self) -> tuple[Row, ...]:
        """What was noted so far."""
        return tuple(self.noted)

    def record(self, loss: Tensor) -> None:
        """Note the gradients that `loss.backward()` left, if it is the turn of this call.

        Raises: TypeError if `loss` is no Tensor; ValueError if it has left no gradients, or does
        not depend on `wrt` at first; else as `flow` and `path_classes`.
        """
        step, self.calls = self.calls, self.calls + 1
        if not isinstance(loss, Tensor):
            kind = type(loss).__name__
            raise TypeError(
                f"record takes the Tensor whose backward ran, but got one of type {kind}"
            )
        if step % self.every:
            return
        leaves = leaves_of(loss)
        if not hasattr(loss, "cotangent") or all(x.grad is None for x in leaves):
            raise ValueError(
                f"{describe(loss)} has left no gradients to record; call record(loss) after "
                "loss.backward(), and before the optimiser's step or zero_grad forgets them"
            )
        if not self.called.keys() >= set(leaves):
            names = Names([loss], self.names)
            self.called = {x: names.name(x) or names.title(x) for x in leaves}
        named = {self.called[x]: x for x in leaves}
        if self.wrt is None:
            wrt = farthest(loss) if self.asked is None else self.asked
            wrt = tensor_meant(loss, wrt, Names([loss], self.names))
            if wrt not in self.called:
                raise ValueError(f"{describe(loss)} does not depend on a parameter {describe(wrt)}")
            self.wrt = self.called[wrt]
        norms = {name: None if x.grad is None else norm(x.grad) for name, x in named.items()}
        shares: tuple[Any, ...] = ()
        if step % (self.every * self.shares_every) == 0:
            shares = {}, None
            if self.wrt in named:
                called = Names([loss], ways={loss: "the loss"} | self.called)
                shares = measure_shares(loss, named[self.wrt], self.by, called)
        self.noted.append(Row(step, norms, *shares))

    def table(self) -> Table:
        """A row for some of the steps, the first and the last among them, and some columns."""
        rows, every = self.rows, self.shares_every
        if not rows:
            return Table(("step", ""), (), EMPTY)
        least = math.ceil(len(rows) / ROWS)
        stride = next(n for n in count(least) if n % every == 0 or every % n == 0)
        shown = [*rows[:-1:stride], rows[-1]]
        names, keys = pick(names_in(rows), PARAMETERS), keys_in(rows)[:SHARES]
        cells = [
            (
                str(row.step),
                *("-" if (size := row.norms.get(x)) is None else number(size) for x in names),
                *(percent((row.shares or {}).get(key)) for key in keys),
                "-" if row.coherence is None else f"{row.coherence:.2f}",
            )
            for row in shown
        ]
        header = ("step", *map(short, names), *map(short, keys), "coherence")
        head = f"|gradient| of parameters; {self.heading}"
        sizes = (len(rows), len(names_in(rows)), len(keys_in(rows)))
        all_shown = sizes == (len(shown), len(names), len(keys))
        rest = "{} steps, {} parameters and {} shares are in .rows".format(*sizes)
        return Table(header, cells, head, "" if all_shown else rest)

    def svg(self) -> str:
        """The norms over the steps, on a log axis; below them the shares and the coherence."""
        rows, asked = self.rows, [row for row in self.rows if row.shares is not None]
        if not rows:
            raise ValueError(EMPTY)
        names, keys = names_in(rows), keys_in(rows)
        norms = {name: [(row.step, row.norms.get(name)) for row in rows] for name in names}
        shares = {key: [(row.step, (row.shares or {}).get(key)) for row in asked] for key in keys}
        together = [(row.step, row.coherence) for row in asked]
        return line_chart(
            [
                Panel("|gradient|, log axis", tuple(lines(norms, pick(names, DRAWN))), log=True),
                Panel(
                    self.heading,
                    (*lines(shares, keys[:SHARES]), line("coherence", together, GREY)),
                    percent,
                ),
            ],
            "the gradients of a training, step by step",
        )

    @property
    def heading(self) -> str:
        """What the shares are of."""
        by = self.by if isinstance(self.by, str) else "class of paths"
        return f"shares of the gradient of {self.wrt} by {by}, and its coherence"


@np.errstate(all="ignore")  # backward has warned; here NaN is a result
def measure_shares(
    loss: Tensor, wrt: Any, by: By, names: Names
) -> tuple[dict[Any, float], float | None]:
    """The shares of the gradient towards `wrt`, and its coherence."""
    if by == "scope":
        found = flow(loss, wrt, names=names)
        arrived, _ = bundles_at({wrt}, found.trace, "depth", COARSE)
        return dict(found.scopes), coherence(arrived[wrt].parts, found.gradient)
    classes = path_classes(loss, wrt, by, keep=KEEP, names=names)
    shares = {key: found.share for key, found in classes.items() if found.share is not None}
    return shares, classes.coherence


def names_in(rows: Iterable[Row]) -> list[str]:
    """The parameters that the rows have, in the order of the computation."""
    return list(dict.fromkeys(name for row in rows for name in row.norms))


def keys_in(rows: Iterable[Row]) -> list[Any]:
    """The scopes or keys that the rows have, those of the largest shares first."""
    largest: dict[Any, float] = {}
    for row in rows:
        for key, share in (row.shares or {}).items():
            largest[key] = max(largest.get(key, 0.0), round(abs(share), 9))
    return sorted(largest, key=largest.__getitem__, reverse=True)


def lines(found: dict[Any, Points], shown: list[Any]) -> Iterator[Line]:
    """A line for each key; a label and a colour for those shown."""
    colours = dict(zip(shown, cycle(COLOURS), strict=False))
    for key, points in found.items():
        yield line(short(key) if key in colours else "", points, colours.get(key, PALE))


def line(label: str, points: Points, colour: str) -> Line:
    """A line with gaps where there are no numbers."""
    return Line(label, tuple((x, math.nan if y is None else float(y)) for x, y in points), colour)


def short(key: Any) -> str:
    """A name or a key, for a column or a line."""
    return oneline(text(key))


def leaves_of(loss: Value) -> list[Value]:
    """The parameters that the gradient of a loss travels to."""
    return [x for x in ancestors([loss], lambda x: x._requires_grad) if x.op is None]


def farthest(loss: Value) -> Value:
    """The parameter with the most ops on a way to the loss; of equals the oldest."""
    values = ancestors([loss], lambda x: x._requires_grad)
    within, distance = set(values), dict.fromkeys(values, 0)
    for y in reversed(values):
        for _, x in operands(y, within):
            distance[x] = max(distance[x], distance[y] + 1)
    return max((x for x in values if x.op is None), key=distance.__getitem__)


def pick(items: Sequence[T], most: int) -> list[T]:
    """At most so many of the items, evenly, with the first and the last."""
    if len(items) <= most:
        return [*items]
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]
