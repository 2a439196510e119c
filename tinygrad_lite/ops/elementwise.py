"""Ops that act on each element by itself, with NumPy's broadcasting.

Each op is a forward function and, below it, one rule per input. A rule need not care
about broadcasting: the engine sums its result back to the shape of the input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..arrays import refuse_loss
from ..operation import Op, blocked, op
from ..value import Value

BROADCAST = "shapes are aligned from the right, and each pair of sizes must be equal or contain a 1"

Formula = str | Sequence[str] | None
Array = Any  # an ndarray, a NumPy scalar, a Python scalar, or, in a rule, a Tensor


def elementwise(
    symbol: str | None = None, inputs: int | None = None, formula: Formula = None
) -> Callable[[Callable[..., Any]], Op]:
    """The decorator of an op that acts on each element by itself."""
    return op(symbol=symbol, inputs=inputs, shapes=BROADCAST, elementwise=True, formula=formula)


def operand(x: Any) -> Array:
    """x as a Tensor or an array. Raises: TypeError for a list of Tensors, whose gradient
    would be lost."""
    if isinstance(x, Value):
        return x
    refuse_loss(x)
    if x is None:
        raise TypeError("an array or a number is needed, but one is None")
    return np.asarray(x)


def values(x: Array) -> np.ndarray:
    """The numbers of x, a Tensor or not, for a choice that no gradient passes."""
    return np.asarray(x._array if isinstance(x, Value) else x)


def as_floating(x: Array) -> Array:
    """x in a floating dtype: float64 for integers, whose differences and sums would wrap around."""
    x = operand(x)
    return x if x.dtype.kind == "f" else astype(x, np.float64)


def widen(x: Array) -> Array:
    """x in a dtype that holds sums over it: floating, and float32 for float16."""
    x = as_floating(x)
    return astype(x, np.float32) if x.dtype == np.float16 else x


@elementwise(symbol="+")
def add(x1: Array, x2: Array) -> Array:
    """x1 + x2, elementwise."""
    return x1 + x2


add.vjp(lambda g, out, x1, x2: g, lambda g, out, x1, x2: g)


@elementwise(symbol="-")
def subtract(x1: Array, x2: Array) -> Array:
    """x1 - x2, elementwise."""
    return x1 - x2


subtract.vjp(lambda g, out, x1, x2: g, lambda g, out, x1, x2: -g)


@elementwise(symbol="×")
def multiply(x1: Array, x2: Array) -> Array:
    """x1 * x2, elementwise."""
    return x1 * x2


multiply.vjp(lambda g, out, x1, x2: g * x2, lambda g, out, x1, x2: g * x1)


@elementwise(symbol="÷")
def divide(x1: Array, x2: Array) -> Array:
    """x1 / x2, elementwise."""
    return x1 / x2


divide.vjp(lambda g, out, x1, x2: g / x2, lambda g, out, x1, x2: -g * out / x2)


@elementwise(symbol="//")
def floor_divide(x1: Array, x2: Array) -> Array:
    """The largest integer not above x1 / x2, elementwise."""
    return x1 // x2


floor_divide.vjp(blocked, blocked)


@elementwise(symbol="mod")
def remainder(x1: Array, x2: Array) -> Array:
    """x1 - x2 * floor(x1 / x2), elementwise; it has the sign of x2."""
    return x1 % x2


remainder.vjp(lambda g, out, x1, x2: g, lambda g, out, x1, x2: -g * (x1 // x2))


@elementwise(symbol="−")
def negative(x: Array) -> Array:
    """-x, elementwise."""
    return -x


negative.vjp(lambda g, out, x: -g)


@elementwise(symbol="exp")
def exp(x: Array) -> Array:
    """e**x, elementwise."""
    return np.exp(x)


exp.vjp(lambda g, out, x: g * out)


@elementwise(symbol="log")
def log(x: Array) -> Array:
    """The natural logarithm, elementwise."""
    return np.log(x)


log.vjp(lambda g, out, x: g / x)


@elementwise(symbol="√")
def sqrt(x: Array) -> Array:
    """The square root, elementwise; its derivative at 0 is infinite."""
    return np.sqrt(x)


sqrt.vjp(lambda g, out, x: g / (2 * out))


@elementwise(symbol="tanh")
def tanh(x: Array) -> Array:
    """The hyperbolic tangent, elementwise."""
    return np.tanh(x)


tanh.vjp(lambda g, out, x: g * (1 - out * out))


@elementwise(symbol="σ")
def sigmoid(x: Array) -> Array:
    """1 / (1 + e**-x), elementwise, accurate and without overflow for every x."""
    with np.errstate(over="ignore"):  # e**-x is inf for x below -700, and 1 / inf is 0
        return 1 / (1 + np.exp(-1.0 * x))


# With the brackets, one array instead of two.
sigmoid.vjp(lambda g, out, x: g * (out * (1 - out)))


@elementwise(symbol="relu")
def relu(x: Array) -> Array:
    """max(x, 0), elementwise; its derivative at 0 is taken as 0."""
    return np.maximum(x, 0)


relu.vjp(lambda g, out, x: g * (x > 0))


@elementwise(symbol="H", inputs=1)
def heaviside(x: Array, h0: float = 0.5) -> Array:
    """The unit step: 0 for x < 0, h0 at 0, 1 for x > 0, elementwise.

    h0 = 1/2 is the limit of sigmoid(k x) for k to infinity. The derivative is 0 wherever
    it exists, so the gradient is blocked here.
    """
    return np.heaviside(x, h0)


heaviside.vjp(blocked)


@elementwise(symbol="sign")
def sign(x: Array) -> Array:
    """-1, 0 or 1 by the sign of x, elementwise."""
    return np.sign(x)


sign.vjp(blocked)


@elementwise(symbol="max")
def maximum(x1: Array, x2: Array) -> Array:
    """The larger of x1 and x2, elementwise; at a tie each gets half of the gradient."""
    return np.maximum(x1, x2)


maximum.vjp(
    lambda g, out, x1, x2: g * (x1 > x2) + 0.5 * g * (x1 == x2),
    lambda g, out, x1, x2: g * (x2 > x1) + 0.5 * g * (x1 == x2),
)


@elementwise(symbol="min")
def minimum(x1: Array, x2: Array) -> Array:
    """The smaller of x1 and x2, elementwise; at a tie each gets half of the gradient."""
    return np.minimum(x1, x2)


minimum.vjp(
    lambda g, out, x1, x2: g * (x1 < x2) + 0.5 * g * (x1 == x2),
    lambda g, out, x1, x2: g * (x2 < x1) + 0.5 * g * (x1 == x2),
)


@elementwise(symbol="where")
def where(condition: Array, x1: Array, x2: Array) -> Array:
    """x1 where the condition holds, else x2, elementwise."""
    chosen: Array = np.where(condition, x1, x2)
    return chosen[()]


where.vjp(
    blocked,
    lambda g, out, condition, x1, x2: where(condition, g, 0),
    lambda g, out, condition, x1, x2: where(condition, 0, g),
)


@op(symbol="as", inputs=1)
def astype(x: Array, dtype: Any = float) -> Array:
    """x converted to the dtype; only a floating dtype keeps a gradient."""
    return operand(x).astype(dtype)


astype.vjp(lambda g, out, x, dtype: g)


def comparison(name: str, symbol: str, compare: Any) -> Op:
    """An op whose result is boolean (or an integer), so that it never requires a gradient."""

    def forward(x1: Array, x2: Array) -> Array:
        return compare(x1, x2)

    forward.__name__ = forward.__qualname__ = name
    forward.__doc__ = f"x1 {symbol} x2, elementwise, as numpy.{name}; it has no gradient."
    made = elementwise(symbol=symbol)(forward)
    made.vjp(blocked, blocked)
    return made


equal = comparison("equal", "=", np.equal)
not_equal = comparison("not_equal", "≠", np.not_equal)
less = comparison("less", "<", np.less)
less_equal = comparison("less_equal", "≤", np.less_equal)
greater = comparison("greater", ">", np.greater)
greater_equal = comparison("greater_equal", "≥", np.greater_equal)
logical_and = comparison("logical_and", "and", np.logical_and)
logical_or = comparison("logical_or", "or", np.logical_or)
bitwise_and = comparison("bitwise_and", "&", np.bitwise_and)
bitwise_or = comparison("bitwise_or", "|", np.bitwise_or)
bitwise_xor = comparison("bitwise_xor", "xor", np.bitwise_xor)
left_shift = comparison("left_shift", "<<", np.left_shift)
right_shift = comparison("right_shift", ">>", np.right_shift)


@elementwise(symbol="not")
def invert(x: Array) -> Array:
    """not x for booleans, every bit flipped for integers, elementwise; it has no gradient."""
    return np.invert(x)


invert.vjp(blocked)
