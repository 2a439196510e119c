"""What `np.f(tensor)` does: NumPy hands the call over, and our function of that name answers.

NumPy calls `ufunc` for its elementwise functions (NEP 13) and `function` for the others
(NEP 18). Where nothing here answers, an error says so: no gradient is lost in silence.
"""

from __future__ import annotations

import inspect
import sys
from functools import cache
from typing import Any

import numpy as np

from . import ops
from .operation import OPS
from .value import Value

# Where ours has another name than NumPy's or SciPy's.
NAMES = {
    "absolute": "abs", "amax": "max", "amin": "min", "around": "round", "conjugate": "positive",
    "copy": "positive", "deg2rad": "radians", "expit": "sigmoid", "fabs": "abs", "fix": "trunc",
    "rad2deg": "degrees",
}  # fmt: skip

# The functions of numpy.linalg that ours stand for; its trace and diagonal take other axes.
LINALG = {*ops.linalg.__all__, "matmul", "outer", "tensordot"}

PUBLIC = frozenset(ops.__all__)

# What the methods of ufuncs stand for, along the first axis unless told otherwise.
METHODS: dict[tuple[np.ufunc, str], str] = {
    (np.add, "reduce"): "sum", (np.multiply, "reduce"): "prod", (np.maximum, "reduce"): "max",
    (np.minimum, "reduce"): "min", (np.logaddexp, "reduce"): "logsumexp",
    (np.add, "accumulate"): "cumsum", (np.multiply, "accumulate"): "cumprod",
}  # fmt: skip

# NumPy functions whose result carries no gradient: they get the arrays.
PLAIN = {
    np.all, np.allclose, np.any, np.argmax, np.argmin, np.argsort, np.array2string, np.array_equal,
    np.array_repr, np.array_str, np.count_nonzero, np.empty_like, np.full_like, np.isclose,
    np.isfinite, np.isinf, np.isnan, np.may_share_memory, np.ndim, np.nonzero, np.ones_like,
    np.result_type, np.searchsorted, np.shape, np.shares_memory, np.signbit, np.size,
    np.zeros_like,
}  # fmt: skip

# Why an argument of NumPy's is not taken.
REFUSED = {
    "out": "a Tensor's values never change; use the result",
    "where": "choose elements with np.where",
    "initial": "combine the result with it",
}


def ufunc(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The answer to ``ufunc.method(*inputs, **kwargs)`` where an input is a Tensor.

    Raises: TypeError if there is none, with the reason.
    """
    into = kwargs.get("out", ())
    if into and not any(isinstance(x, Value) and x.requires_grad for x in (*inputs, *into)):
        into = {"out": tuple(map(plain, into))}  # an array may be written to: no gradient is lost
        return getattr(ufunc, method)(*map(plain, inputs), **{**kwargs, **into})
    if method == "__call__":
        return function(ufunc, inputs, kwargs)
    name = f"np.{ufunc.__name__}.{method}"
    if method == "outer":
        a, b = inputs
        apart = tuple(range(np.ndim(a), np.ndim(a) + np.ndim(b)))
        return answer(ours(ufunc), name, (ops.expand_dims(a, apart), b), kwargs)
    meant = METHODS.get((ufunc, method))
    along = {"axis": inputs[1] if len(inputs) > 1 else 0}
    return answer(meant and getattr(ops, meant), name, inputs[:1], {**along, **kwargs})


def function(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The answer to ``function(*args, **kwargs)`` where a Tensor is among the arguments.

    Raises: TypeError if there is none, with the reason.
    """
    if function in PLAIN:
        return function(*map(plain, args), **{name: plain(x) for name, x in kwargs.items()})
    names, first = parameters(function)
    if len(args) <= len(names):  # all but the first by NumPy's names, which ours share
        kwargs = {**dict(zip(names, args, strict=False)), **kwargs}
        args = tuple(kwargs.pop(name) for name in names[:first] if name in kwargs)
    home = (getattr(function, "__module__", None) or "numpy").replace("numpy", "np", 1)
    return answer(ours(function), f"{home}.{function.__name__}", args, kwargs)


def answer(meant: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What `meant`, one of our functions or None, gives for NumPy's arguments."""
    if meant is None:
        raise TypeError(
            f"{name} has no op here, so it would lose the gradient; use .data for the array, or "
            "write the op (tinygrad_lite.op)"
        )
    for argument, cure in REFUSED.items():
        given = kwargs.pop(argument, None)
        if given is not None and given is not True:
            raise TypeError(f"{name} with {argument}= does not work on Tensors: {cure}")
    dtype = kwargs.pop("dtype", None)
    if dtype is None:
        return meant(*args, **kwargs)
    args = tuple(ops.astype(x, dtype) if isinstance(x, Value) else x for x in args)
    return ops.astype(meant(*args, **kwargs), dtype)


def ours(function: Any) -> Any:
    """What stands here for a NumPy function, or None: ours, or an op of the user's."""
    name = numpy_name(function)
    if name in PUBLIC:
        return getattr(ops, name)
    return next((op for op in OPS.values() if op.name == name), None)


@cache
def numpy_name(function: Any) -> str | None:
    """Our name for a function of NumPy, numpy.linalg or scipy.special; None for others."""
    name = function.__name__
    homes = [np, sys.modules.get("scipy.special"), np.linalg if name in LINALG else None]
    known = any(getattr(home, name, None) is function for home in homes)
    return NAMES.get(name, name) if known else None


@cache
def parameters(function: Any) -> tuple[tuple[str, ...], int]:
    """The names of a function's positional arguments, and how many stay positional."""
    try:
        given = inspect.signature(function).parameters.values()
    except ValueError:
        return (), 0
    names = [p.name for p in given if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return tuple(names), max(1, sum(p.kind is p.POSITIONAL_ONLY for p in given))


def plain(x: Any) -> Any:
    """The array of a Tensor; anything else as it is."""
    return np.asarray(x) if isinstance(x, Value) else x
