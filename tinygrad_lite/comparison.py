"""The gradient of one input compared with slopes, element by element.

There are three answers: a derivative agrees, disagrees, or is undecided, where there is no
slope, or rounding would hide an error of 1 %. So that it seldom does, slopes are taken in a
wider dtype where the function works in one. What the engine's own arithmetic may cost is
measured: the gradient is taken again with every value that its rules read changed by a rounding.

`check_rule` does so for the rule of one op at the values that a computation recorded, and
checking.py for functions of Tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from .ancestors import ancestors
from .backward import contributions, messages, unbroadcast
from .differences import FOUND, LADDER, REASONS, SMALL, TWO_STEPS, Slopes, slopes, step_sizes
from .operation import Op
from .tensor import Tensor

Verdict = Literal["agrees", "disagrees", "undecided"]
VERDICTS: tuple[Verdict, ...] = ("agrees", "disagrees", "undecided")
AGREES, DISAGREES, UNDECIDED = range(3)

RTOL = 1e-6  # what a derivative may always be off by
MANY = 64  # of how many elements each is compared by itself, where that costs evaluations each
LARGE = 300_000  # with more elements than this, longdouble takes too long
WORK = 400_000  # how many elements all these evaluations may compute, about


@dataclass(frozen=True)
class Check:
    """What finite differences say of the gradient that a rule sent to one input.

    `element` is the index of the element that the numbers belong to, the one farthest off:
    `got` what the rule gives there, `expected` the slope by finite differences times the
    cotangent, `tolerance` what rounding and the differences may cost. `agree`, `wrong` and
    `undecided` count the elements; of a large input only some are tried, and the rest all
    together along random directions. `reason` says why an element is undecided.
    """

    verdict: Verdict
    element: tuple[int, ...]
    got: float
    expected: float
    tolerance: float
    agree: int
    wrong: int
    undecided: int
    reason: str
    size: int

    def __str__(self) -> str:
        at = f" at {list(self.element)}" if self.element else ""
        tried = self.agree + self.wrong + self.undecided
        notes = []
        if tried < self.size:
            notes = [f"of {tried} of {self.size} elements, and a random direction along them all"]
        if self.undecided and tried > 1:
            notes.insert(0, f"{self.undecided} of {tried} elements undecided")
        rest = f" ({', '.join(notes)})" if notes else ""
        if self.verdict == "undecided":
            return f"undecided{at}: {self.reason}{rest}"
        sign = "≈" if self.verdict == "agrees" else "≠"
        text = f"{self.verdict}{at}: {self.got:.6g} {sign} {self.expected:.6g} by finite difference"
        if self.verdict == "disagrees":
            text += ": this rule is WRONG" + (f" in {self.wrong} of {tried}" if tried > 1 else "")
        return text + rest


class Subject:
    """What is checked: a function of arrays, and how the engine differentiates it."""

    def value(self, arrays: Sequence[Any]) -> Any:
        """The function's value, an array."""
        raise NotImplementedError

    def record(self, arrays: Sequence[Any]) -> tuple[Any, Callable[[Any], Sequence[Any]]]:
        """The recorded result, and the function that gives the gradients of the inputs for a
        cotangent of it."""
        raise NotImplementedError

    def gradients(self, arrays: Sequence[Any], g: Any) -> Sequence[Any]:
        """The engine's gradients of the inputs."""
        return self.record(arrays)[1](g)


@dataclass
class Rule(Subject):
    """One op at certain inputs; an array that is given twice stays one."""

    op: Op
    params: dict[str, Any]

    def value(self, arrays: Sequence[Any]) -> Any:
        """What the op computes."""
        return self.op.compute(*arrays, **self.params)

    def record(self, arrays: Sequence[Any]) -> tuple[Any, Callable[[Any], Sequence[Any]]]:
        """The op's node, and what its rules send."""
        made: dict[int, Any] = {}
        for a in arrays:
            if isinstance(a, (np.ndarray, np.generic)):
                made.setdefault(id(a), Tensor(a, requires_grad=a.dtype.kind == "f"))
        inputs = [made.get(id(a), a) for a in arrays]
        given: Any = (inputs,) if self.op.sequence else inputs
        node = self.op(*given, **self.params)

        def pull(g: Any) -> list[Any]:
            sent: list[Any] = [None] * len(inputs)
            for slot, _, contribution in contributions(node, g):
                sent[slot] = contribution
            return sent

        return node, pull


@dataclass
class Function(Subject):
    """A function of Tensors."""

    f: Callable[..., Any]

    def value(self, arrays: Sequence[Any]) -> Any:
        """The value of f."""
        return self.output(arrays)[0].data

    def output(self, arrays: Sequence[Any]) -> tuple[Tensor, list[Tensor]]:
        """The value of f as a Tensor, and the inputs."""
        tensors = [Tensor(x, requires_grad=True) for x in arrays]
        y = self.f(*tensors)
        if not isinstance(y, Tensor):
            raise TypeError(f"check needs a function that returns a Tensor, not {type(y).__name__}")
        return y, tensors

    def record(self, arrays: Sequence[Any]) -> tuple[Any, Callable[[Any], Sequence[Any]]]:
        """The Tensor that f returns, and the reverse pass from it."""
        y, tensors = self.output(arrays)

        def pull(g: Any) -> list[Any]:
            found: dict[Any, Any] = {}
            if y.requires_grad:
                found = {node: c for node, c, _, _ in messages(y, g)}
            return [np.asarray(found.get(x, np.zeros(x.shape, x.dtype))) for x in tensors]

        return y, pull


# One gradient, element by element


@dataclass(frozen=True)
class Findings:
    """What was found, for each of the elements `places` of the flat input: what was expected
    and got, what the two may differ by, the verdict (as in VERDICTS) and its reason (as in
    REASONS)."""

    places: np.ndarray
    expected: np.ndarray
    got: np.ndarray
    tolerance: np.ndarray
    verdict: np.ndarray
    reason: np.ndarray

    def count(self, verdict: int) -> int:
        """How many elements have this verdict."""
        return int((self.verdict == verdict).sum())

    def worst(self, verdict: int) -> int:
        """Which of the elements with this verdict is farthest off, counted in `places`."""
        with np.errstate(invalid="ignore"):
            gap = np.nan_to_num(np.abs(self.got - self.expected), nan=np.inf)
        return int(np.argmax(np.where(self.verdict == verdict, gap, -1.0)))


class Comparison:
    """The gradient `sent` to the input in `slot`, for the cotangent g, against slopes.

    `noise` is given for what is composed of many ops: how far each element of its value, computed
    in a dtype, may be off, as where parts cancelled. Measuring it takes time, so it is asked for
    only where the two disagree.
    """

    def __init__(
        self,
        subject: Subject,
        arrays: Sequence[Any],
        slot: int,
        g: Any,
        sent: Any,
        rtol: float = RTOL,
        ladder: float = 1.0,
        noise: Callable[[np.dtype[Any]], Any] | None = None,
    ) -> None:
        self.subject, self.arrays, self.slot = subject, arrays, slot
        self.rtol, self.ladder, self.noise = rtol, ladder, noise
        self.sent = np.asarray(sent)
        self.shape, self.dtype = self.sent.shape, self.sent.dtype
        self.wide, self.g = widen(subject, arrays, g)
        x = np.asarray(self.wide[slot])
        self.kind = x.dtype
        self.x, self.unit = x, step_sizes(x)
        self.far = np.sqrt(np.finfo(self.kind).max)
        with np.errstate(all="ignore"):
            value = np.asarray(subject.value(arrays))
            self.lost = ~np.isfinite(value)
            # In what is composed of many ops, parts as large as the largest result may cancel.
            sizes = np.abs(self.g * value) if noise else np.zeros(1)
            self.floor = 4 * np.finfo(self.dtype).eps * np.max(sizes[~np.isnan(sizes)], initial=0)

    def findings(self, elementwise: bool = False, limit: int | None = None) -> Findings:
        """The verdict of each element; with a limit, of that many and of any that a random
        direction along all of them leads to. An elementwise function is tried on all at once.
        """
        size = self.x.size
        at_once = elementwise and self.is_elementwise()
        for a in self.arrays:
            if a is not None:
                self.lost = self.lost | (~np.isfinite(a) if at_once else not np.isfinite(a).all())
        if at_once:
            return self.judge(np.arange(size), True)
        if limit is None or size <= limit:
            return self.judge(np.arange(size))
        rng = np.random.default_rng(size)
        places = np.sort(rng.choice(size, limit, replace=False))
        signs = rng.choice([-1, 1], size).astype(self.kind)
        led = self.bisect(np.arange(size), signs)
        return self.judge(places if led is None else np.union1d(places, [led]))

    def is_elementwise(self) -> bool:
        """Whether moving every second element leaves alone the result at the others."""
        odd = (np.arange(self.x.size) % 2).astype(bool).reshape(self.shape)
        with np.errstate(all="ignore"):
            here, there = (self.at(self.x + h * self.unit * odd) for h in (0, LADDER[0]))
            still = np.broadcast_to(~odd, here.shape)
            return np.array_equal(here[still], there[still], equal_nan=True)

    def at(self, x: np.ndarray) -> np.ndarray:
        """The value where the input is x; NaN where there is none."""
        arrays = [*self.wide[: self.slot], x[()], *self.wide[self.slot + 1 :]]
        try:
            return np.asarray(self.subject.value(arrays))
        except (ValueError, ArithmeticError):
            return np.full(self.g.shape, np.nan, self.kind)

    def slopes_along(
        self, direction: np.ndarray, gather: Any, ladder: np.ndarray, noise: Any = None
    ) -> Slopes:
        """The slopes along a direction."""
        ladder = (ladder * self.ladder).astype(self.kind)
        far = np.where(direction == 0, 0, self.far)

        def f(t: Any) -> np.ndarray:
            shift = far if t is None else -far if t == -np.inf else t * direction
            return self.at(self.x + shift)

        # Of what is composed, some part may have the digits of float64 alone, in any dtype.
        rounding = 2.0**-52 if self.noise else 0.0
        return slopes(f, self.g, gather, ladder, self.lost, rounding, noise)

    def slopes_of(
        self, places: np.ndarray, at_once: bool, ladder: np.ndarray, noise: Any = None
    ) -> Slopes:
        """The slopes as each of these elements changes by its unit."""
        if at_once:
            together = self.slopes_along(
                self.unit, lambda a: unbroadcast.forward(a, self.shape).reshape(-1), ladder
            )
            return Slopes(*(a[places] for a in vars(together).values()))
        found = []
        for place in places:
            direction = np.zeros_like(self.x)
            direction.flat[place] = self.unit.flat[place]
            found.append(vars(self.slopes_along(direction, np.sum, ladder, noise)).values())
        return Slopes(*map(np.array, zip(*found, strict=True))) if found else NOTHING

    def judge(self, places: np.ndarray, at_once: bool = False) -> Findings:
        """The verdict of each of these elements."""
        unit, sent = (a.reshape(-1)[places] for a in (self.unit, self.sent.astype(self.kind)))
        with np.errstate(all="ignore"):
            got, two = sent * unit, self.slopes_of(places, at_once, TWO_STEPS)
            gap, tolerance = np.abs(got - two.value), RTOL * two.parts
            near = (gap <= tolerance) & (gap < 1e-3 * np.abs(two.value))
            zero = two.still & (got == 0)
            zero &= ~self.vanishing[places] if zero.any() else zero
            verdict = np.where((near | zero) & (two.reason == FOUND), AGREES, DISAGREES)
            value, reason = two.value, two.reason
            for again in (False, True):
                rest = np.flatnonzero(verdict == DISAGREES)
                if not len(rest):
                    break
                noise = (self.noise(self.kind) if self.noise else 0.0) if again else None
                full = self.slopes_of(places[rest], at_once, LADDER, noise)
                value[rest], reason[rest] = full.value, full.reason
                found_rest = self.decide(full, places[rest], sent[rest] * unit[rest], unit[rest])
                tolerance[rest], verdict[rest], reason[rest], got[rest] = found_rest
            return Findings(places, value / unit, got / unit, tolerance / unit, verdict, reason)

    def decide(self, found: Slopes, places: Any, got: Any, unit: Any) -> tuple[Any, ...]:
        """For each element the tolerance, the verdict, its reason, and what was got.

        An element is judged by what was sent, unless its rounding would hide an error of
        1 %: then by what the rule gives in the wider dtype, if anything.
        """
        info = np.finfo(self.dtype)
        value, eps, base = np.abs(found.value), float(info.eps), 1.5 * found.error
        many = 16 + np.sqrt(np.size(self.g))
        base = base + max(self.rtol, many * eps) * found.parts + 4 * eps * found.size
        base = base + self.floor
        exact, (own, wide) = self.rounding
        own, wide, exact = (np.asarray(a).reshape(-1)[places] * unit for a in (own, wide, exact))
        least = 32 * float(info.tiny) * unit * np.abs(self.g).sum()
        tolerance = base + own + least
        off = ~(np.abs(got - found.value) <= tolerance)
        off_wide = ~(np.abs(exact - found.value) <= base + wide)
        known_wide = (self.kind != self.dtype) & (base + wide <= 5e-3 * value)
        lost = value < 200 * least  # near underflow
        sure = (tolerance < max(5e-3, 64 * eps) * value) | (lost & known_wide)
        zero = (got == 0) & (found.value == 0)
        sure |= zero & ~(found.still & self.vanishing[places]) if zero.any() else zero
        fits = (value <= unit * float(info.max)) & (self.kind != self.dtype) & ~self.lost.any()
        off &= np.isfinite(got) | (off_wide & fits)
        hidden = off_wide & (~sure | lost) & ~off & (self.kind != self.dtype)
        got = np.where(hidden, exact, got)
        reason = np.where((found.reason == FOUND) & ~sure, SMALL, found.reason)
        verdict = np.where(off | hidden, DISAGREES, np.where(sure, AGREES, UNDECIDED))
        verdict = np.where(found.reason == FOUND, verdict, UNDECIDED)
        return tolerance, verdict, reason, got

    @cached_property
    def vanishing(self) -> np.ndarray:
        """Where a gradient of 0 may be a small one that rounding swallowed, as 1 - out**2 is
        where out is nearly 1."""
        eps = np.finfo(self.dtype).eps
        by, by_less = (np.abs(self.repeat(self.arrays, eps / n, 0, 1)) for n in (1, 16))
        return np.asarray((by > 0) & np.isfinite(by) & (by_less <= by / 4)).reshape(-1)

    @cached_property
    def rounding(self) -> tuple[Any, tuple[Any, Any]]:
        """The gradient in the wider dtype, and what rounding may change the one sent by, and
        that one."""
        exact = self.repeat(self.wide)
        info, wide = np.finfo(self.dtype), np.finfo(self.kind)
        changes = []
        for arrays, eps, least in (
            (self.arrays, info.eps, info.smallest_subnormal),
            (self.wide, wide.eps, wide.smallest_subnormal),
        ):
            change = np.abs(self.repeat(arrays, 0, 0) - exact)
            for draw in (1, 2):
                by, by_less = (
                    np.abs(self.repeat(arrays, eps / n, least / n, draw) - exact) for n in (1, 16)
                )
                # Where a small change makes as much of a difference, a rule compares values.
                smooth = by_less <= by / 4 + change
                change = np.fmax(change, np.where(smooth, by, 0))
            changes.append(4 * change)
        return exact, (changes[0], changes[1])

    def repeat(
        self, arrays: Sequence[Any], eps: Any = None, least: Any = 0.0, draw: int = 0
    ) -> np.ndarray:
        """The gradient once more, of these inputs, in the wider dtype; with every array that
        the rules read changed by a rounding of its own, of relative size eps and at least
        `least`."""
        node, pull = self.subject.record(arrays)
        if eps is not None:
            rng, made = np.random.default_rng(draw), dict[int, Any]()

            def change(a: Any) -> Any:
                if not isinstance(a, (np.ndarray, np.generic)) or a.dtype.kind != "f":
                    return a
                if id(a) not in made:
                    signs = rng.choice([-1, 1], (2, *np.shape(a))).astype(self.kind)
                    changed = np.asarray(a).astype(self.kind) * (1 + self.kind.type(eps) * signs[0])
                    made[id(a)] = a, (changed + self.kind.type(least) * signs[1])[()]
                return made[id(a)][1]

            for v in ancestors([node]):
                v._array, v.arrays = change(v._array), tuple(map(change, v.arrays))
        found = pull(self.g[()])[self.slot]
        return np.zeros(self.shape, self.kind) if found is None else np.asarray(found)

    def bisect(self, places: np.ndarray, signs: np.ndarray) -> int | None:
        """An element that makes the slope along a direction through these disagree."""
        direction = np.zeros(self.x.size, self.kind)
        direction[places] = signs[places] * self.unit.reshape(-1)[places]
        found = self.slopes_along(direction.reshape(self.shape), np.sum, TWO_STEPS)
        sent = self.sent.reshape(-1) * direction
        many = (16 + len(places) ** 0.5) * float(np.finfo(self.dtype).eps)
        room = 3 * found.error + many * (np.linalg.norm(sent.astype(float)) + found.size)
        if found.reason != FOUND or np.abs(sent.sum() - found.value) <= room:
            return None
        if len(places) == 1:
            return int(places[0])
        half = len(places) // 2
        led = self.bisect(places[:half], signs)
        return self.bisect(places[half:], signs) if led is None else led


NOTHING = Slopes(*(np.zeros(0),) * 4, np.zeros(0, bool), np.zeros(0, int))


def widen(subject: Subject, arrays: Sequence[Any], g: Any) -> tuple[list[Any], np.ndarray]:
    """The floating arrays and the cotangent in a wider dtype in which the function works
    (np.linalg, for one, has no longdouble), if there is one and they are not too large; an
    array that is given twice stays one."""
    sizes = {a.dtype.itemsize for a in map(np.asarray, arrays) if a.dtype.kind == "f"}
    large = sum(map(np.size, (*arrays, g))) > LARGE
    kinds = (np.longdouble, np.float64)
    for kind in reversed(kinds) if max(sizes) < 8 or large else kinds:
        if np.dtype(kind).itemsize < max(sizes):
            continue
        made: dict[int, Any] = {}
        lifted = [
            made.setdefault(id(a), a.astype(kind))
            if isinstance(a, (np.ndarray, np.generic)) and a.dtype.kind == "f"
            else a
            for a in arrays
        ]
        try:
            with np.errstate(all="ignore"):
                subject.value(lifted)
                subject.gradients(lifted, np.asarray(g).astype(kind)[()])
        except Exception:
            continue
        return lifted, np.asarray(g).astype(kind)
    return list(arrays), np.asarray(g)


def check_rule(
    op: Op, slot: int, arrays: tuple[Any, ...], params: dict[str, Any], g: Any, sent: Any
) -> Check:
    """Compare `sent`, the rule's result for input `slot` at cotangent `g`, with the slope
    of the op there."""
    sent = np.asarray(sent)
    comparison = Comparison(Rule(op, params), arrays, slot, g, sent)
    work = sum(map(np.size, (*arrays, g)))
    f = comparison.findings(op.elementwise, min(MANY, 2 + WORK // (work + 1)))
    counts = [f.count(verdict) for verdict in (AGREES, DISAGREES, UNDECIDED)]
    verdict = DISAGREES if counts[1] else UNDECIDED if counts[2] else AGREES
    small = (f.reason == SMALL) & (f.verdict == UNDECIDED)
    zeros = small & (f.got == 0) & (f.expected == 0)
    if verdict == UNDECIDED and counts[0] and small.sum() == counts[2]:
        verdict = AGREES if counts[2] <= len(small) / 10 or zeros.sum() == counts[2] else verdict
    if not len(f.places):
        return Check("agrees", (), 0.0, 0.0, 0.0, 0, 0, 0, "", 0)
    k = f.worst(verdict)
    got, expected, tolerance = (float(a[k]) for a in (f.got, f.expected, f.tolerance))
    reason = REASONS[f.reason[f.worst(UNDECIDED)]] if counts[2] else ""
    return Check(
        VERDICTS[verdict],
        index(f.places[k], sent.shape),
        *(got, expected, tolerance),
        *(counts[0], counts[1], counts[2]),
        *(reason, sent.size),
    )


def index(place: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The index of an element, by its place in the flat array."""
    return tuple(int(n) for n in np.unravel_index(int(place), shape))
