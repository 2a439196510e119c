"""Gradients held to finite differences: which element is wrong, and what went wrong."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .backward import messages, seed
from .calculus import grad
from .tensor import Tensor
from .updated import tensors_of
from .value import next_index

ORDINALS = {1: "gradient", 2: "second derivative"}


@dataclass(frozen=True)
class Checked:
    """A check that passed: how many derivatives of which order, and the largest error.

    `error` is absolute, the largest over all orders and inputs.
    """

    order: int
    compared: int
    error: float

    def __str__(self) -> str:
        return (
            f"{self.compared} derivatives up to order {self.order} agree with finite differences; "
            f"largest error {self.error:.1e}"
        )


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

    `f` takes the inputs (anything a Tensor can be made of, in float64) as Tensors and
    returns one Tensor. With y = f(x) and a random cotangent v, every element of the
    gradient of <v, y> is compared with a central difference, extrapolated from two step
    sizes (step * max(1, |x|) and half of it). Order 2 checks in the same way the gradient of
    a random projection of that gradient, with respect to the inputs and to v; and so on.

    The comparison allows rtol of the derivative, plus what the rounding of y may cost. It
    takes 4 calls of `f` for each element of the inputs, so keep them small. At a kink, as
    relu's at 0, there is no derivative to compare with, and the check fails.

    >>> from tinygrad_lite import check, sigmoid
    >>> print(check(sigmoid, [0.0, 2.0]).order)
    2

    Raises: CheckError, an AssertionError, where they disagree; TypeError if an input is not
    float64 or `f` does not return a Tensor.
    """
    arrays = [float64(x, i) for i, x in enumerate(inputs)]
    names = [x.name if isinstance(x, Tensor) else None for x in inputs]
    named = [name or parameter for name, parameter in zip(names, parameters(f), strict=False)]
    return Checker(f, arrays, named, rtol, step, 1).run(order)


def float64(x: Any, i: int) -> np.ndarray:
    """The input as an array; finite differences need the digits of float64."""
    array = np.array(Tensor(x).data)
    if array.dtype != np.float64:
        raise TypeError(
            f"check needs float64 inputs, as finite differences lose half of the digits, but input "
            f"{i} has dtype {array.dtype}; convert it with astype(float), or close over a constant"
        )
    return array


def parameters(f: Callable[..., Any]) -> Iterator[str]:
    """What to call the inputs of f: its parameters, as far as it names them."""
    try:
        for name, p in inspect.signature(f).parameters.items():
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
                yield name
    except (TypeError, ValueError):
        pass
    i = 0
    while True:
        yield f"input {(i := i + 1)}"


@dataclass
class Checker:
    """The check of one function at one point."""

    f: Callable[..., Any]
    arrays: list[np.ndarray]
    names: list[str]
    rtol: float
    step: float
    order: int  # of the derivative that is compared here

    def run(self, order: int) -> Checked:
        """Compare the derivatives of this order, then those of the orders above."""
        y = self.output(self.arrays)
        rng = np.random.default_rng(self.order)
        self.v = np.asarray(rng.uniform(0.5, 1.5, y.shape) * rng.choice([-1, 1], y.shape))
        self.weight = float(np.abs(self.v * y.data).sum())
        try:
            got = self.gradients(self.arrays, self.v)
            self.compare_plain(got)
        except ValueError as error:
            text = f"the {self.what} cannot be computed: {error}"
            raise CheckError(text, *self.why(error)) from error
        errors = [self.compare(i, self.differences(i, self.v), g, got) for i, g in enumerate(got)]
        compared, worst = sum(g.size for g in got), max(errors, default=0.0)
        if order > 1:
            higher = Checker(
                self.projected(rng),
                [*self.arrays, self.v],
                [*self.names, "the cotangent"],
                self.rtol,
                self.step,
                self.order + 1,
            ).run(order - 1)
            return Checked(higher.order, compared + higher.compared, max(worst, higher.error))
        return Checked(self.order, compared, worst)

    @property
    def what(self) -> str:
        """The derivative that is compared, in words."""
        return ORDINALS.get(self.order, f"derivative of order {self.order}")

    # What is compared

    def output(self, arrays: list[np.ndarray]) -> Tensor:
        """The value of f."""
        y = self.f(*(Tensor(x, requires_grad=True) for x in arrays))
        if not isinstance(y, Tensor):
            raise TypeError(f"check needs a function that returns a Tensor, not {type(y).__name__}")
        return y

    def gradients(self, arrays: list[np.ndarray], v: np.ndarray) -> list[np.ndarray]:
        """The engine's gradient of <v, f>, through Tensors as higher orders need it."""
        tensors = [Tensor(x, requires_grad=True) for x in arrays]
        y = self.f(*tensors)
        found: dict[Any, Any] = {}
        if y.requires_grad:
            stream = messages(y, Tensor(seed(y, v)), operands=tensors_of(next_index()))
            found = {node: g for node, g, _, _ in stream}
        return [np.asarray(found.get(x, np.zeros(x.shape, x.dtype))) for x in tensors]

    def compare_plain(self, recorded: list[np.ndarray]) -> None:
        """The gradient through arrays, as `backward` takes it, must be the recorded one; on
        arrays that cannot be written to, so that a rule that does so is found."""
        tensors = [Tensor(x, requires_grad=True) for x in self.arrays]
        found: dict[Any, Any] = {}
        y = self.f(*tensors)
        if not y.requires_grad:
            return
        v = np.array(self.v)
        v.flags.writeable = False
        for node, g, _, contribution in messages(y, v[()]):
            found[node] = g
            if isinstance(contribution, np.ndarray):
                contribution.flags.writeable = False
        for x, expected, name in zip(tensors, recorded, self.names, strict=True):
            got = np.asarray(found.get(x, np.zeros(x.shape)))
            if not np.allclose(got, expected, self.rtol, self.rtol, equal_nan=True):
                i = largest(np.abs(got - expected))
                raise CheckError(
                    f"the {self.what} with respect to {name} is {expected[i]} at {i} when it is "
                    f"recorded, but {got[i]} on plain arrays",
                    "a rule does different things with Tensors and arrays",
                    *(self.order, name, i, float(expected[i]), float(got[i])),
                )

    def differences(self, i: int, v: np.ndarray) -> np.ndarray:
        """The gradient of <v, f> with respect to input i by central differences."""
        x = self.arrays[i]
        out = np.empty(x.shape)
        for k in np.ndindex(x.shape):
            h = self.step * max(1.0, abs(float(x[k])))
            wide, narrow = self.central(i, k, h, v), self.central(i, k, h / 2, v)
            out[k] = (4 * narrow - wide) / 3  # the errors of order h**2 cancel
        return out

    def central(self, i: int, k: tuple[int, ...], h: float, v: np.ndarray) -> float:
        """One central difference, with step h."""
        return (self.value(i, k, h, v) - self.value(i, k, -h, v)) / (2 * h)

    def value(self, i: int, k: tuple[int, ...], h: float, v: np.ndarray) -> float:
        """<v, f> with element k of input i moved by h."""
        arrays = list(self.arrays)
        arrays[i] = arrays[i].copy()
        arrays[i][k] += h
        return float(np.sum(v * self.output(arrays).data))

    def projected(self, rng: np.random.Generator) -> Callable[..., Tensor]:
        """A random projection of the gradient, as a function of the inputs and of v."""
        weights = [rng.uniform(0.5, 1.5, x.shape) for x in self.arrays]

        def projection(*inputs: Tensor) -> Tensor:
            *xs, v = inputs
            gradients = grad(self.f(*xs), xs, v)
            terms = [(g * w).sum() for g, w in zip(gradients, weights, strict=True)]
            return sum(terms[1:], terms[0])

        return projection

    # What is said where they disagree

    def compare(self, i: int, expected: np.ndarray, got: np.ndarray, all_got: Any) -> float:
        """The largest error; raises where one is too large."""
        noise = 1e-10 * max(1.0, self.weight, float(np.abs(expected).max(initial=0)))
        with np.errstate(invalid="ignore"):
            error = np.abs(expected - got)
            fits = error <= self.rtol * np.abs(expected) + 10 * noise
        if not fits.all():
            k = largest(np.where(fits, 0, np.where(np.isnan(error), np.inf, error)))
            raise CheckError(
                f"the {self.what} with respect to {self.names[i]}{list(k) if k else ''} should be "
                f"{expected[k]:.9g} by finite differences, but is {got[k]:.9g}; "
                f"{np.sum(~fits)} of {fits.size} elements are wrong (of a random combination of "
                "the result's elements)",
                self.mistake(i, k, expected, got, fits),
                *(self.order, self.names[i], k, float(expected[k]), float(got[k])),
            )
        if truncated(got[np.abs(got) > noise]):
            k = largest(np.abs(got))
            raise CheckError(
                f"the {self.what} with respect to {self.names[i]} has only the digits of float32",
                "a rule computes in float32, or forward does",
                *(self.order, self.names[i], k, float(expected[k]), float(got[k])),
            )
        return float(error.max(initial=0))

    def mistake(
        self, i: int, k: tuple[int, ...], expected: np.ndarray, got: np.ndarray, fits: np.ndarray
    ) -> str:
        """The first of the known mistakes that explains what was got."""

        def is_(candidate: Any) -> bool:
            return np.shape(candidate) == got.shape and np.allclose(got, candidate, 1e-5, 1e-8)

        if self.is_kink(i, k):
            return "none, perhaps: the function has a kink or a jump here; choose other inputs"
        if self.v.shape == got.shape and is_(expected / self.v):
            return "the rule forgets to multiply by g"
        if not np.isfinite(got).all():
            return "a division by zero or an overflow in the rule"
        if not is_(self.gradients(self.arrays, 2 * self.v)[i] / 2):
            return "the rule is not linear in g"
        if not got.any():
            return "the rule gives zero, or leaves the recorded operations (np.asarray, .data)"
        if is_(-expected):
            return "the sign"
        for j, name in enumerate(self.names):
            if j != i and expected.size > 1 and is_(self.differences(j, self.v)):
                return f"this is the gradient of {name}: the rules are swapped"
        if got.ndim > 1 and is_(np.swapaxes(expected, -1, -2)):
            return "a factor is transposed, or an axis was reduced without keepdims"
        for j, x in enumerate(self.arrays):
            if j != i and x.ndim > 1 and x.shape[-1] == x.shape[-2]:
                arrays = [np.swapaxes(y, -1, -2) if y is x else y for y in self.arrays]
                turned = replace(self, arrays=arrays)
                if is_(turned.differences(i, self.v)):
                    return f"{self.names[j]} is transposed in the rule, or is not and should be"
        for axis in range(self.v.ndim):
            first = np.zeros_like(self.v)
            at: Any = (*(slice(None),) * axis, 0)
            first[at] = self.v[at]
            if self.v.shape[axis] > 1 and is_(self.differences(i, first)):
                return f"a missing sum over axis {axis} of the result, where the input is broadcast"
        if is_(self.v):
            return "the rule returns g as it is, without the chain rule's factor"
        factor = np.vdot(expected, got) / max(np.vdot(expected, expected), 1e-300)
        if is_(factor * expected) and got.size > 1:
            return f"a constant factor of {factor:.6g}"
        if got.size == 1:
            return f"a factor of {factor:.6g}"
        if np.sum(~fits) == 1:
            return "a special case of the rule, as only this element is wrong"
        return "none of the known ones; compare the rule with the derivative on paper"

    def is_kink(self, i: int, k: tuple[int, ...]) -> bool:
        """Whether the slopes to the left and to the right differ."""
        h = self.step * 1e-2
        left, here, right = (self.value(i, k, d, self.v) for d in (-h, 0.0, h))
        size = abs(right - here) + abs(here - left)
        return abs((right - here) - (here - left)) > 0.1 * size + 1e-13 * max(1.0, self.weight)

    def why(self, error: Exception) -> tuple[str, int]:
        """The likely mistake behind an error of the engine."""
        if "read-only" in str(error):
            return "a rule, or forward, writes into its input", self.order
        if "gradient of shape" in str(error):
            return "a factor is transposed, or a sum over an axis is missing", self.order
        return "the rule does not fit the shapes", self.order


def largest(error: np.ndarray) -> tuple[int, ...]:
    """Where the largest element is."""
    return tuple(int(n) for n in np.unravel_index(int(np.argmax(error)), error.shape))


def truncated(x: np.ndarray) -> bool:
    """Whether float32 could store it all: x depends on random numbers, so not by chance."""
    with np.errstate(over="ignore"):
        return bool(x.size) and bool((x == x.astype(np.float32)).all())
