"""Gradients of functions held to finite differences: which element is wrong, and why.

Every derivative is compared with a slope (see comparison.py), and where they disagree the
mistake is looked for among the known ones.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from operator import itemgetter
from typing import Any

import numpy as np

from .backward import messages, seed
from .calculus import grad
from .comparison import AGREES, DISAGREES, MANY, RTOL, Comparison, Findings, Function, index
from .differences import KINK, TWO_STEPS
from .ops import concatenate
from .tensor import Tensor
from .updated import tensors_of
from .value import next_index

ORDINALS = {1: "gradient", 2: "second derivative"}


@dataclass(frozen=True)
class Checked:
    """A check that passed: how many derivatives of which order, and the largest error.

    `error` is absolute, the largest over all orders and inputs. `undecided` counts those
    that finite differences cannot tell: without a slope, or lost in rounding.
    """

    order: int
    compared: int
    error: float
    undecided: int = 0

    def __str__(self) -> str:
        text = (
            f"{self.compared} derivatives up to order {self.order} agree with finite differences; "
            f"largest error {self.error:.1e}"
        )
        return text + (f"; {self.undecided} undecided" if self.undecided else "")


class CheckError(AssertionError):
    """A derivative that finite differences contradict.

    `input` is the name of the input, `element` the index of its element with the largest
    error, `expected` the finite difference there, `got` the engine's derivative, `order`
    that of the derivative, and `mistake` what probably went wrong. Where no derivative
    could be computed at all, `element`, `expected` and `got` are None.
    """

    def __init__(
        self,
        text: str,
        mistake: str,
        order: int,
        input: str | None = None,
        element: tuple[int, ...] | None = None,
        expected: float | None = None,
        got: float | None = None,
    ) -> None:
        super().__init__(f"{text}; likely mistake: {mistake}")
        self.mistake, self.order, self.input = mistake, order, input
        self.element, self.expected, self.got = element, expected, got


def check(
    f: Callable[..., Any], *inputs: Any, order: int = 2, rtol: float = 1e-6, step: float = 1e-4
) -> Checked:
    """Compare the derivatives of `f` at `inputs` with finite differences.

    `f` takes the inputs (anything a Tensor of floats can be made of) as Tensors and returns
    one Tensor. Every element of the gradient of <g, f(x)>, for a g of no special form, is
    compared with central differences, extrapolated to step 0, of the best of many steps
    relative to the element (smaller all with `step`) and in a dtype wider than the inputs'
    where `f` works in one. Order 2 checks in the same way the gradient of that gradient, with
    respect to the inputs and to g; and so on. The gradient is also taken of float32 inputs,
    with two inputs given as one, and for cotangents that are not contiguous.

    The comparison allows rtol of the derivative, plus what rounding may cost. Where that
    would hide an error of 1 %, or there is no slope, the element is undecided, and counted
    as such. It takes 5 calls of `f` for each element of the inputs, 32 for each that is
    hard to tell, so keep them small. At a kink, as relu's at 0, there is no derivative to
    compare with, and the check fails.

    >>> from tinygrad_lite import check, sigmoid
    >>> print(check(sigmoid, [0.0, 2.0]).order)
    2

    Raises: CheckError, an AssertionError, where they disagree; its numbers are those of one
    element of f's result, if one shows it. TypeError if an input is not floating or `f` does
    not return a Tensor.
    """
    names = [
        x.name if isinstance(x, Tensor) and x.name else parameter
        for x, parameter in zip(inputs, parameters(f), strict=False)
    ]
    arrays = [as_floats(x, name) for x, name in zip(inputs, names, strict=True)]
    return check_named(f, arrays, names, name_of(f), order, rtol, step)


def check_named(
    f: Callable[..., Any],
    arrays: Sequence[Any],
    names: Sequence[str],
    name: str,
    order: int = 2,
    rtol: float = RTOL,
    step: float = 1e-4,
) -> Checked:
    """`check`, given what the inputs and the function are called."""
    checker = Checker(f, list(arrays), list(names), name, rtol, step, 1)
    found = checker.run(order)
    checker.try_other_ways()
    return found


def name_of(f: Any) -> str:
    """The name of a function, f if it has none."""
    name = getattr(f, "__name__", "f")
    return name if name.isidentifier() else "f"


def as_floats(x: Any, name: str) -> np.ndarray:
    """The input as an array of floats."""
    array = np.array(x._array if isinstance(x, Tensor) else Tensor(x)._array)
    if array.dtype.kind != "f":
        raise TypeError(
            f"check needs float64 inputs, or those of another floating dtype, but {name} has dtype "
            f"{array.dtype}; convert it with astype(float), or close over a constant"
        )
    return array


def parameters(f: Callable[..., Any]) -> Iterator[str]:
    """What to call the inputs of f: its parameters, as far as it names them."""
    i = 0
    try:
        for name, p in inspect.signature(f).parameters.items():
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
                yield name
                i += 1
    except (TypeError, ValueError):
        pass
    while True:
        yield f"inputs[{i}]"
        i += 1


def generic_cotangent(shape: tuple[int, ...]) -> np.ndarray:
    """A cotangent with which no two elements can be confused: 1.5 + cos(1), 1.5 + cos(2), ..."""
    return np.reshape(1.5 + np.cos(1 + np.arange(np.prod(shape, dtype=int))), shape)


def formula(g: np.ndarray) -> str:
    """The `generic_cotangent` of this shape as Python."""
    if not g.ndim:
        return f"{float(g):.6g}"
    shape = f".reshape{g.shape}" if g.ndim > 1 else ""
    return f"1.5 + np.cos(1 + np.arange({g.size})){shape}"


def one_hot(place: int, shape: tuple[int, ...]) -> np.ndarray:
    """The cotangent of one element."""
    g = np.zeros(shape)
    g.flat[place] = 1
    return g


@dataclass
class Checker:
    """The check of one function at one point."""

    f: Callable[..., Any]
    arrays: list[np.ndarray]
    names: list[str]
    name: str
    rtol: float
    step: float
    order: int  # of the derivative that is compared here
    below: Checker | None = None  # of the order below, whose gradient f is
    only: str = ""  # where this is checked besides: "in float32"

    def __post_init__(self) -> None:
        self.subject = Function(self.f)

    def run(self, order: int) -> Checked:
        """Compare the derivatives of this order, then those of the orders above."""
        y = self.subject.output(self.arrays)[0]
        self.v = generic_cotangent(y.shape).astype(y.dtype if y.dtype.kind == "f" else float)
        got = self.gradients(self.v)
        compared = undecided = 0
        worst = 0.0
        for i, g in enumerate(got):
            found = self.compare(i, g)
            agree = found.verdict == AGREES
            compared, undecided = compared + agree.sum(), undecided + (~agree).sum()
            errors = np.abs(found.got - found.expected)[agree]
            worst = max(worst, float(errors.max(initial=0)))
        if order > 1:
            upper = Checker(
                self.gradient,
                [*self.arrays, self.v],
                [*self.names, "the cotangent" if self.order == 1 else f"cotangent {self.order}"],
                self.name,
                self.rtol,
                self.step,
                self.order + 1,
                self,
            ).run(order - 1)
            compared, undecided = compared + upper.compared, undecided + upper.undecided
            worst = max(worst, upper.error)
        return Checked(self.order + order - 1, int(compared), worst, int(undecided))

    def gradient(self, *inputs: Tensor) -> Tensor:
        """The gradient of <v, f> with respect to all inputs, in a row, as a function of the
        inputs and of v."""
        *xs, v = inputs
        found = [g.reshape(-1) for g in grad(self.f(*xs), xs, v)]
        row: Tensor = concatenate(found)
        return row

    def noise(self, inputs: Sequence[Any], kind: np.dtype[Any]) -> np.ndarray:
        """What rounding in a dtype may change each element of the `gradient` by."""
        *xs, v = inputs
        found = [Comparison(self.subject, xs, i, v, x) for i, x in enumerate(xs)]
        changes = [comparison.rounding[1][comparison.kind == kind] for comparison in found]
        return np.concatenate([np.ravel(change) for change in changes])

    @property
    def what(self) -> str:
        """The derivative that is compared, in words."""
        return ORDINALS.get(self.order, f"derivative of order {self.order}")

    # What is compared

    def gradients(self, v: np.ndarray) -> list[np.ndarray]:
        """The engine's gradients of <v, f>: through Tensors, as higher orders need it, and,
        as `backward` takes it, through arrays, which must give the same whatever the layout
        of v in memory; these cannot be written to, so that a rule that does so is found."""
        try:
            recorded = self.recorded_gradients(v)
            for name, other in layouts(v):
                for i, (got, expected) in enumerate(
                    zip(self.subject.gradients(self.arrays, other), recorded, strict=True)
                ):
                    self.compare_plain(i, got, expected, name)
        except (ValueError, TypeError) as error:
            if isinstance(error, TypeError) and LOST not in str(error):
                raise
            text = f"the {self.what} cannot be computed: {error}"
            raise CheckError(text, mistake_behind(error), self.order) from error
        return recorded

    def recorded_gradients(self, v: np.ndarray) -> list[np.ndarray]:
        """The gradients through Tensors."""
        y, tensors = self.subject.output(self.arrays)
        found: dict[Any, Any] = {}
        if y.requires_grad:
            stream = messages(y, Tensor(seed(y, v)), operands=tensors_of(next_index()))
            found = {node: g for node, g, _, _ in stream}
        zeros = [Tensor(np.zeros(x.shape, x.dtype)) for x in tensors]
        found = {x: g if isinstance(g, Tensor) else Tensor(g) for x, g in found.items()}
        return [np.asarray(found.get(x, z)._array) for x, z in zip(tensors, zeros, strict=True)]

    def compare_plain(self, i: int, got: Any, expected: Any, cotangent: str) -> None:
        """Raise where the gradient through arrays is not the recorded one."""
        rtol = max(self.rtol, 64 * float(np.finfo(expected.dtype).eps))
        size = float(np.nan_to_num(np.abs(expected)).max(initial=0))
        if np.allclose(got, expected, rtol, rtol * size, equal_nan=True):
            return
        k = index(np.argmax(np.abs(got - expected)), expected.shape)
        mistake = (
            f"a rule takes a cotangent that is {cotangent} for another"
            if cotangent
            else "a rule does different things with Tensors and arrays"
        )
        text = f", for gradient={formula(self.v)}"
        text += f" that is {cotangent}" if cotangent else ""
        raise CheckError(
            f"the {self.what} with respect to {self.name_element(i, k)} is {expected[k]} when it "
            f"is recorded, but {got[k]} on plain arrays{text}",
            *(mistake, self.order, self.names[i], k, float(expected[k]), float(got[k])),
        )

    def name_element(self, i: int, k: tuple[int, ...]) -> str:
        """What an element of an input is called."""
        return f"{self.names[i]}{list(k) if k else ''}"

    def find(self, i: int, sent: Any, v: Any = None, arrays: Any = None) -> Findings:
        """The verdicts on the gradient of input i."""
        arrays, v = self.arrays if arrays is None else arrays, self.v if v is None else v
        ladder = min(1.0, self.step / 1e-4)
        noise = partial(self.below.noise, arrays) if self.below else None
        comparison = Comparison(self.subject, arrays, i, v, sent, self.rtol, ladder, noise)
        return comparison.findings()

    def slope(self, i: int, v: Any, arrays: Any = None) -> np.ndarray:
        """The gradient of <v, f> with respect to input i by finite differences alone."""
        arrays = self.arrays if arrays is None else arrays
        comparison = Comparison(self.subject, arrays, i, v, arrays[i])
        found = comparison.slopes_of(np.arange(arrays[i].size), False, TWO_STEPS)
        return np.asarray((found.value / comparison.unit.reshape(-1)).reshape(arrays[i].shape))

    # What is said where they disagree

    def compare(self, i: int, got: np.ndarray) -> Findings:
        """The verdicts on the gradient of input i; raises where they are bad."""
        found = self.find(i, got)
        if found.count(DISAGREES) or (found.reason == KINK).any():
            self.explain(i, got, found)
        agree = found.verdict == AGREES
        large = np.abs(found.got) > 1e-7  # of less, cancelled parts of size 1 leave few digits
        gap = np.abs(found.got - found.expected) > 4e-9 * np.abs(found.got)
        wide = all(x.dtype.itemsize > 4 for x in self.arrays)
        if wide and gap[agree & large].any() and is_float32(found.got[large]):
            k = index(np.argmax(np.abs(got)), got.shape)
            number, slope = float(got[k]), float(found.expected.reshape(got.shape)[k])
            raise CheckError(
                f"the {self.what} with respect to {self.names[i]} has only the digits of float32",
                "a rule computes in float32, or forward does",
                *(self.order, self.names[i], k, slope, number),
            )
        return found

    def explain(self, i: int, got: np.ndarray, found: Findings) -> None:
        """Raise, with numbers that the reader can compute again: those of one element of f's
        result, if one shows the mistake."""
        wrong = bool(found.count(DISAGREES))
        if not wrong:
            n = int(np.argmax(found.reason == KINK))
            text = "cannot be told by finite differences"
            mistake = "none, perhaps: the function has a kink or a jump here; choose other inputs"
        elif self.only:
            mistake = f"the rule is wrong {self.only} alone"
        else:
            mistake = self.mistake(i, got, found.verdict.reshape(got.shape) != DISAGREES)
        of = by = ""
        if wrong:
            many = f"{found.count(DISAGREES)} of {got.size} elements of {self.names[i]}"
            found, of, by = self.plainest(i, found)
            n = found.worst(DISAGREES)
            text = (
                f"should be {found.expected[n]:.9g} by finite differences, but is "
                f"{found.got[n]:.9g}" + f"; it is wrong for {many}" * (got.size > 1)
            )
        k = index(found.places[n], got.shape)
        raise CheckError(
            f"{self.only + ', ' if self.only else ''}the {self.what}{of} with respect to "
            f"{by}{self.name_element(i, k)} {text}",
            *(mistake, self.order, self.names[i], k),
            *(float(found.expected[n]), float(found.got[n])),
        )

    def plainest(self, i: int, found: Findings) -> tuple[Findings, str, str]:
        """The findings for cotangents of one element each, as far as these show the mistake;
        of which element of f's result, and of its derivatives, they are then."""
        arrays, name, of, by = [*self.arrays, self.v], f" of {self.name}", "", ""
        for n, checker in enumerate(orders_below(self), 1):
            g, worst = arrays[-n], found.places[found.worst(DISAGREES)]
            for q in sorted(range(min(g.size, MANY)), key=lambda q: q != worst):
                arrays[-n] = one_hot(q, g.shape).astype(g.dtype)
                try:
                    sent = self.subject.gradients(arrays[:-1], arrays[-1])[i]
                    plain = self.find(i, sent, arrays[-1], arrays[:-1])
                except ValueError:
                    continue
                if plain.count(DISAGREES):
                    found = plain
                    break
            else:
                arrays[-n] = g
                of += f" with gradient={formula(g)}"
                continue
            if checker.below:
                by = f"{checker.below.name_place(q)} and {by}"
            elif g.ndim:
                name += str(list(index(q, g.shape)))
        return found, name + of, by

    def name_place(self, place: int) -> str:
        """What an element of the inputs is called, by its place among those of them all."""
        for i, x in enumerate(self.arrays):
            if place < x.size:
                return self.name_element(i, index(place, x.shape))
            place -= x.size
        raise IndexError(place)

    def mistake(self, i: int, got: np.ndarray, fits: np.ndarray) -> str:
        """The first of the known mistakes that explains what was got."""
        expected = self.slope(i, self.v)

        def is_(candidate: Any) -> bool:
            return np.shape(candidate) == got.shape and np.allclose(got, candidate, 1e-5, 1e-8)

        if self.v.shape == got.shape and is_(expected / self.v):
            return "the rule forgets to multiply by g"
        if not np.isfinite(got).all():
            return "a division by zero or an overflow in the rule"
        if not all(is_(self.recorded_gradients(n * self.v)[i] / n) for n in (2, -1)):
            return "the rule is not linear in g"
        if not got.any():
            return "the rule gives zero, or leaves the recorded operations (np.asarray, .data)"
        if is_(-expected):
            return "the sign"
        for j, x in enumerate(self.arrays):
            if j != i and got.size > 1 and x.shape == got.shape and is_(self.slope(j, self.v)):
                return f"this is the gradient of {self.names[j]}: the rules are swapped"
        if got.ndim > 1 and is_(np.swapaxes(expected, -1, -2)):
            return "a factor is transposed, or an axis was reduced without keepdims"
        for j, x in enumerate(self.arrays):
            if j != i and x.ndim > 1 and x.shape[-1] == x.shape[-2]:
                arrays = [np.swapaxes(y, -1, -2) if y is x else y for y in self.arrays]
                if is_(self.slope(i, self.v, arrays)):
                    return f"{self.names[j]} is transposed in the rule, or is not and should be"
        for axis in range(self.v.ndim):
            first = np.zeros_like(self.v)
            at: Any = (*(slice(None),) * axis, 0)
            first[at] = self.v[at]
            if self.v.shape[axis] > 1 and is_(self.slope(i, first)):
                return f"a missing sum over axis {axis} of the result, where the input is broadcast"
        if is_(self.v):
            return "the rule returns g as it is, without the chain rule's factor"
        return self.factor(i, got, expected) or (
            "a special case of the rule, as only this element is wrong"
            if np.sum(~fits) == 1 < got.size
            else "none of the known ones; compare the rule with the derivative on paper"
        )

    def factor(self, i: int, got: np.ndarray, expected: np.ndarray) -> str:
        """The factor that the rule has too much or too little, if it is one: a constant, an
        input, or the result, told from one another by a second point."""
        points = [(self.arrays, got, expected)]
        moved = [x * x.dtype.type(1.25) for x in self.arrays]
        with suppress(ValueError):  # outside the domain
            there = self.subject.gradients(moved, self.v)[i], self.slope(i, self.v, moved)
            points.append((moved, *there))

        def is_(candidate: Callable[[list[Any], Any], Any]) -> bool:
            return all(np.allclose(g, candidate(x, e), 1e-5, 1e-8) for x, g, e in points)

        ratio = np.vdot(expected, got) / max(np.vdot(expected, expected), 1e-300)
        if is_(lambda arrays, slope: ratio * slope):
            return f"a constant factor of {ratio:.6g}"
        values: list[tuple[str, Callable[[list[Any]], Any]]] = [
            *((name, itemgetter(j)) for j, name in enumerate(self.names)),
            ("the result", self.subject.value),
        ]
        with np.errstate(all="ignore"):
            for name, value in values:
                if np.shape(value(self.arrays)) in (got.shape, ()):
                    for n in (-1, 1, -2, 2):
                        if is_(lambda a, slope, value=value, n=n: slope * value(a) ** float(n)):  # type: ignore[misc]
                            many = "a factor" if abs(n) == 1 else "two factors"
                            return f"{many} {name} {'missing' if n < 0 else 'too many'}"
        return f"a factor of {ratio:.6g}" if got.size == 1 else ""

    # Where a rule that is right here may be wrong

    def try_other_ways(self) -> None:
        """Raise where the gradient is wrong in float32, or with one value for two inputs."""
        ways = []
        if all(x.dtype == float for x in self.arrays):
            narrow = [x.astype(np.float32) for x in self.arrays]
            ways.append(replace(self, arrays=narrow, only="in float32"))
        for i, j in combinations(range(len(self.arrays)), 2):
            a, b = self.arrays[i], self.arrays[j]
            if a.shape == b.shape and a.dtype == b.dtype:
                tied = lambda *xs, i=i, j=j: self.f(*xs[:j], xs[i], *xs[j:])
                arrays = [*self.arrays[:j], *self.arrays[j + 1 :]]
                names = [*self.names[:j], *self.names[j + 1 :]]
                only = f"where {self.names[i]} and {self.names[j]} are one value"
                ways.append(replace(self, f=tied, arrays=arrays, names=names, only=only))
        for way in ways[:4]:
            try:
                with np.errstate(all="ignore"):
                    way.v = self.v.astype(way.subject.output(way.arrays)[0].dtype)
                    sent = way.subject.gradients(way.arrays, way.v)
                    found = [way.find(i, g) for i, g in enumerate(sent)]
            except Exception:  # outside the domain, say
                continue
            for i, verdicts in enumerate(found):
                if verdicts.count(DISAGREES):
                    way.explain(i, sent[i], verdicts)


def orders_below(checker: Checker) -> Iterator[Checker]:
    """A checker and those of the orders below it."""
    yield checker
    if checker.below:
        yield from orders_below(checker.below)


def layouts(v: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The same cotangent as it may lie in memory, and what that is called; read-only."""
    found = {"": v.copy()}
    if v.ndim:
        found["not contiguous"] = np.repeat(v, 2, axis=-1)[..., ::2]
        found["reversed in memory"] = v[..., ::-1].copy()[..., ::-1]
        found["in Fortran order"] = np.array(v, order="F")
    for name, other in found.items():
        other.flags.writeable = False
        yield name, other[()]


LOST = "would lose the gradient"  # what an error says where a Tensor becomes plain numbers


def mistake_behind(error: Exception) -> str:
    """The likely mistake behind an error of the engine."""
    if "read-only" in str(error):
        return "a rule, or forward, writes into its input"
    if LOST in str(error):
        return "a rule leaves the recorded operations (np.asarray, float); write it with ops"
    if "gradient of shape" in str(error):
        return "a factor is transposed, or a sum over an axis is missing"
    return "the rule does not fit the shapes"


def is_float32(x: np.ndarray) -> bool:
    """Whether float32 could store it all: x is no special number, so not by chance."""
    with np.errstate(over="ignore"):
        return bool(x.size) and bool((x == x.astype(np.float32)).all())
