"""The rest of NumPy's elementwise functions, and a few that NumPy lacks: a line an op.

Each line has the function, what it is, and the rule of each of its inputs. Where a rule
looks roundabout, as hypot for the root of 1 + x**2, the plain form would overflow or
lose digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..operation import Op, Rule, blocked
from .at_zero import power
from .elementwise import (
    Array,
    Formula,
    as_floating,
    elementwise,
    exp,
    operand,
    sigmoid,
    sign,
    sqrt,
    values,
)

__all__ = [
    "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "cbrt", "ceil",
    "clip", "copysign", "cos", "cosh", "degrees", "erf", "erfc", "exp2", "expm1", "float_power",
    "floor", "fmax", "fmin", "fmod", "hypot", "log1p", "log2",
    "log10", "logaddexp", "logaddexp2", "logical_not", "logical_xor", "positive", "radians",
    "reciprocal", "rint", "round", "sin", "sinc", "sinh", "square", "tan", "trunc",
]  # fmt: skip

LN2, LN10, DEGREE, SQRT_PI = math.log(2), math.log(10), math.pi / 180, math.sqrt(math.pi)


def ufunc(
    function: Callable[..., Any],
    doc: str,
    *rules: Rule,
    symbol: str | None = None,
    formula: Formula = None,
) -> Op:
    """The op of a NumPy function of one array or two, given its rules."""

    def unary(x: Array) -> Array:
        return function(x)

    def binary(x1: Array, x2: Array) -> Array:
        return function(x1, x2)

    forward: Callable[..., Any] = unary if len(rules) == 1 else binary
    forward.__name__ = forward.__qualname__ = function.__name__
    forward.__doc__ = doc
    made = elementwise(symbol or function.__name__, formula=formula)(forward)
    made.vjp(*rules)
    return made


# fmt: off
positive = ufunc(np.positive, "+x: x as a value of its own.", lambda g, out, x: g, symbol="+x")
square = ufunc(np.square, "x * x.", lambda g, out, x: g * (2 * x), symbol="x²")
reciprocal = ufunc(np.reciprocal, "1 / x.", lambda g, out, x: -g * out * out, symbol="1/x")
cbrt = ufunc(np.cbrt, "The cube root.", lambda g, out, x: g / (3 * out * out), symbol="∛")

exp2 = ufunc(np.exp2, "2**x.", lambda g, out, x: g * out * LN2,
    formula="g * out * log(2)")
expm1 = ufunc(np.expm1, "e**x - 1, accurate near 0.", lambda g, out, x: g * exp(x))
log2 = ufunc(np.log2, "The logarithm to base 2.", lambda g, out, x: g / (x * LN2),
    formula="g / (x * log(2))")
log10 = ufunc(np.log10, "The logarithm to base 10.", lambda g, out, x: g / (x * LN10),
    formula="g / (x * log(10))")
log1p = ufunc(np.log1p, "log(1 + x), accurate near 0.", lambda g, out, x: g / (1 + x))

hypot: Op = ufunc(np.hypot, "sqrt(x1**2 + x2**2), without overflow.",
    lambda g, out, x1, x2: g * (x1 / out), lambda g, out, x1, x2: g * (x2 / out))
cos: Op = ufunc(np.cos, "The cosine of x in radians.", lambda g, out, x: -g * sin(x))
sin: Op = ufunc(np.sin, "The sine of x in radians.", lambda g, out, x: g * cos(x))
tan = ufunc(np.tan, "The tangent of x in radians.", lambda g, out, x: g * (1 + out * out))
arcsin = ufunc(np.arcsin, "The angle in [-π/2, π/2] whose sine is x.",
    lambda g, out, x: g / sqrt((1 - x) * (1 + x)))
arccos = ufunc(np.arccos, "The angle in [0, π] whose cosine is x.",
    lambda g, out, x: -g / sqrt((1 - x) * (1 + x)))
arctan = ufunc(np.arctan, "The angle in (-π/2, π/2) whose tangent is x.",
    lambda g, out, x: g / hypot(1, x) / hypot(1, x), formula="g / (1 + x ** 2)")
arctan2 = ufunc(np.arctan2, "The angle of the point (x2, x1), in [-π, π].",
    lambda g, out, x1, x2: g * (x2 / hypot(x1, x2)) / hypot(x1, x2),
    lambda g, out, x1, x2: -g * (x1 / hypot(x1, x2)) / hypot(x1, x2),
    formula=("g * x2 / (x1 ** 2 + x2 ** 2)", "-g * x1 / (x1 ** 2 + x2 ** 2)"))
degrees = ufunc(np.degrees, "x radians in degrees.", lambda g, out, x: g / DEGREE,
    formula="g * 180 / pi")
radians = ufunc(np.radians, "x degrees in radians.", lambda g, out, x: g * DEGREE,
    formula="g * pi / 180")

cosh: Op = ufunc(np.cosh, "The hyperbolic cosine.", lambda g, out, x: g * sinh(x))
sinh: Op = ufunc(np.sinh, "The hyperbolic sine.", lambda g, out, x: g * cosh(x))
arcsinh = ufunc(np.arcsinh, "The inverse of sinh.", lambda g, out, x: g / hypot(1, x),
    formula="g / sqrt(1 + x ** 2)")
arccosh = ufunc(np.arccosh, "The inverse of cosh, for x ≥ 1.",
    lambda g, out, x: g / (sqrt(x - 1) * sqrt(x + 1)))
arctanh = ufunc(np.arctanh, "The inverse of tanh, for -1 < x < 1.",
    lambda g, out, x: g / ((1 - x) * (1 + x)))

floor = ufunc(np.floor, "The largest integer not above x.", blocked)
ceil = ufunc(np.ceil, "The smallest integer not below x.", blocked)
trunc = ufunc(np.trunc, "x without its fraction.", blocked)
rint = ufunc(np.rint, "The nearest integer, the even one of two.", blocked)

logical_not = ufunc(np.logical_not, "Whether x is 0: boolean.", blocked, symbol="not")
logical_xor = ufunc(np.logical_xor, "Whether one of x1 and x2 is 0: boolean.", blocked, blocked)

logaddexp = ufunc(np.logaddexp, "log(e**x1 + e**x2), without overflow.",
    lambda g, out, x1, x2: g * sigmoid(x1 - x2),
    lambda g, out, x1, x2: g * sigmoid(x2 - x1))
logaddexp2 = ufunc(np.logaddexp2, "log2(2**x1 + 2**x2), without overflow.",
    lambda g, out, x1, x2: g * sigmoid(LN2 * (x1 - x2)),
    lambda g, out, x1, x2: g * sigmoid(LN2 * (x2 - x1)),
    formula=("g * sigmoid(log(2) * (x1 - x2))", "g * sigmoid(log(2) * (x2 - x1))"))
float_power = ufunc(np.float_power, "x1 ** x2 in double precision.",
    *(rule for rule in power.rules if rule),
    formula=power.formula)
fmod = ufunc(np.fmod, "The remainder of x1 / x2, with the sign of x1.",
    lambda g, out, x1, x2: g,
    lambda g, out, x1, x2: -g * rint((x1 - out) / x2))
copysign: Op = ufunc(np.copysign, "x1 with the sign of x2.",
    lambda g, out, x1, x2: g * sign(x1) * copysign(1, x2),
    blocked)
fmax = ufunc(np.fmax, "The larger of x1 and x2, or the one that is not NaN; at a tie, half each.",
    lambda g, out, x1, x2: g * share(x1 > x2, x2, x1 == x2),
    lambda g, out, x1, x2: g * share(x2 > x1, x1, x1 == x2),
    formula=("g * (x1 > x2 or isnan(x2)) + 0.5 * g * (x1 == x2)",
             "g * (x2 > x1 or isnan(x1)) + 0.5 * g * (x1 == x2)"))
fmin = ufunc(np.fmin, "The smaller of x1 and x2, or the one that is not NaN; at a tie, half each.",
    lambda g, out, x1, x2: g * share(x1 < x2, x2, x1 == x2),
    lambda g, out, x1, x2: g * share(x2 < x1, x1, x1 == x2),
    formula=("g * (x1 < x2 or isnan(x2)) + 0.5 * g * (x1 == x2)",
             "g * (x2 < x1 or isnan(x1)) + 0.5 * g * (x1 == x2)"))
# fmt: on


def share(wins: Array, other: Array, ties: Array) -> Any:
    """1 where an input wins or the other is NaN, 1/2 at ties, else 0: a constant."""
    wins = np.logical_or(values(wins), np.isnan(values(other)))
    return np.where(values(ties), 0.5, wins)


@elementwise("round", inputs=1)
def round(x: Array, decimals: int = 0) -> Array:
    """x rounded to the given number of decimals; the gradient is blocked."""
    return np.round(x, decimals)


round.vjp(blocked)


@elementwise(
    "clip",
    inputs=3,
    formula=(
        "g where x is within its limits, 0 elsewhere",
        "g where a_min is put for x, 0 elsewhere",
        "g where a_max is put for x, 0 elsewhere",
    ),
)
def clip(x: Array, a_min: Array = None, a_max: Array = None) -> Array:
    """x limited to [a_min, a_max], elementwise; None is no limit, and a_max wins.

    At a limit x keeps the gradient, as in PyTorch; beyond it, the limit gets it.
    """
    return np.clip(x, a_min, a_max)


def where_clipped(x: Array, a_min: Array, a_max: Array) -> tuple[Any, Any]:
    """Where the result of clip is a_min, and where it is a_max: constants."""
    x, low, high = (None if a is None else values(a) for a in (x, a_min, a_max))
    above = False if high is None else (x > high) | (low is not None and low > high)
    below = False if low is None else (x < low) & np.logical_not(above)
    return below, above


clip.vjp(
    lambda g, out, x, a_min, a_max: g * ~np.logical_or(*where_clipped(x, a_min, a_max)),
    lambda g, out, x, a_min, a_max: g * where_clipped(x, a_min, a_max)[0],
    lambda g, out, x, a_min, a_max: g * where_clipped(x, a_min, a_max)[1],
)


def error_function(x: Array, complement: bool) -> Array:
    """erf or erfc of each element: the standard library's, about 0.1 µs each, which has the
    digits of float64, and our own for longdouble."""
    dtype = np.result_type(np.asarray(x), 1.0)
    if dtype != np.longdouble:
        return np.vectorize(math.erfc if complement else math.erf, otypes=[dtype])(x)[()]
    # Below 1 a series for erf, above a continued fraction for erfc: Abramowitz and Stegun,
    # Handbook of Mathematical Functions, 7.1.6 and 7.1.14.
    size, root_pi = np.abs(x), 2 * np.sqrt(np.arctan(dtype.type(1)))
    low, high = np.minimum(size, 1), np.maximum(size, 1)
    term = series = low
    for n in range(1, 40):
        term = term * (2 * low * low / (2 * n + 1))
        series = series + term
    fraction = high
    for n in range(300, 0, -1):
        fraction = high + n / 2 / fraction
    inner = 2 * series * np.exp(-low * low) / root_pi
    outer = np.exp(-high * high) / (fraction * root_pi)
    if complement:
        return np.where(x < 1, np.where(x < -1, 2 - outer, 1 - np.copysign(inner, x)), outer)[()]
    return np.copysign(np.where(size < 1, inner, 1 - outer), x)[()]


def bell(x: Array) -> Array:
    """2 / sqrt(π) * e**(-x**2), which is 0 in every dtype long before the clip's ends."""
    return 2 / SQRT_PI * exp(-square(clip(x, -110, 110)))


@elementwise("erf", formula="g * 2 / sqrt(pi) * exp(-(x ** 2))")
def erf(x: Array) -> Array:
    """The error function: 2 / sqrt(π) times the integral of e**(-t**2) from 0 to x."""
    return error_function(x, complement=False)


@elementwise("erfc", formula="-g * 2 / sqrt(pi) * exp(-(x ** 2))")
def erfc(x: Array) -> Array:
    """1 - erf(x), accurate for large x."""
    return error_function(x, complement=True)


erf.vjp(lambda g, out, x: g * bell(x))
erfc.vjp(lambda g, out, x: -g * bell(x))


def sinc(x: Array) -> Array:
    """sin(πx) / (πx), and 1 at 0, elementwise; every derivative is right at and near 0 too."""
    return slope_of_sinc(operand(x))


@elementwise("sinc", inputs=1, formula="g · the next derivative of sinc at x")
def slope_of_sinc(x: Array, order: int = 0) -> Array:
    """The derivative of sinc of some order.

    Far from 0 the next one follows from those before, as x sinc(x) is sin(πx) / π; near 0, where
    that would lose all digits, the power series has them.
    """
    x = as_floating(x)
    if order == 0:
        return np.sinc(x)
    wide = x.astype(np.float32) if x.dtype == np.float16 else x
    near = np.abs(wide) * math.pi < order + 4
    far = np.where(near, 1, wide)
    slope = np.sinc(far)
    for n in range(1, order + 1):
        slope = (math.pi ** (n - 1) * np.sin(math.pi * far + n * math.pi / 2) - n * slope) / far
    close, series = np.where(near, wide, 0), np.zeros_like(wide)
    for k in reversed(range((order + 1) // 2, (order + 1) // 2 + 30)):
        sign = (-1) ** k * math.pi ** (2 * k) / math.factorial(2 * k + 1)
        series = series + sign * math.perm(2 * k, order) * close ** (2 * k - order)
    return np.where(near, series, slope)[()].astype(x.dtype, copy=False)


slope_of_sinc.vjp(lambda g, out, x, order: g * slope_of_sinc(x, order + 1))
