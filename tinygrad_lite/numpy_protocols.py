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
from .ops.fourier import transform_for
from .value import Value

# Where ours has another name than NumPy's or SciPy's.
NAMES = {
    "absolute": "abs", "amax": "max", "amin": "min", "around": "round", "conjugate": "positive",
    "copy": "positive", "deg2rad": "radians", "expit": "sigmoid", "fabs": "abs", "fix": "trunc",
    "gradient": "central_differences", "rad2deg": "degrees",
}  # fmt: skip

# The functions of numpy.linalg that ours stand for; its trace and diagonal take other axes.
LINALG = {
    *ops.linalg.__all__, *ops.decompositions.__all__, *ops.norms.__all__, "cross", "matmul",
    "outer", "tensordot",
}  # fmt: skip

PUBLIC = frozenset(ops.__all__)

# What the methods of ufuncs stand for, along the first axis unless told otherwise.
METHODS: dict[tuple[np.ufunc, str], str] = {
    (np.add, "reduce"): "sum", (np.multiply, "reduce"): "prod", (np.maximum, "reduce"): "max",
    (np.minimum, "reduce"): "min", (np.logaddexp, "reduce"): "logsumexp",
    (np.add, "accumulate"): "cumsum", (np.multiply, "accumulate"): "cumprod",
}  # fmt: skip

# NumPy functions whose result carries no gradient: they get the arrays.
PLAIN = {
    np.all, np.allclose, np.any, np.argmax, np.argmin, np.argpartition, np.argsort, np.argwhere,
    np.array2string, np.array_equal, np.array_equiv, np.array_repr, np.array_str, np.can_cast,
    np.count_nonzero, np.digitize, np.empty_like, np.flatnonzero, np.full_like, np.isclose,
    np.iscomplex, np.iscomplexobj, np.isfinite, np.isin, np.isinf, np.isnan, np.isneginf,
    np.isposinf, np.isreal, np.isrealobj, np.lexsort, np.linalg.matrix_rank, np.may_share_memory,
    np.nanargmax, np.nanargmin, np.ndim, np.nonzero, np.ones_like, np.result_type, np.searchsorted,
    np.shape, np.shares_memory, np.signbit, np.size, np.zeros_like,
}  # fmt: skip

# What to take for a function that has no op.
INSTEAD = {
    "np.add.at": "t.at[index].add(v)", "np.add.reduceat": "np.split, np.sum and np.stack",
    "np.apply_along_axis": "the op's own axis, or np.stack of what a loop gives",
    "np.ediff1d": "np.diff", "np.fft.fft2": "np.fft.fft along one axis after the other",
    "np.fft.hfft": "np.fft.irfft, n times the conjugate", "np.fft.rfft2": "np.fft.rfft, then fft",
    "np.histogram": "np.histogram(t.data): counts have no gradient",
    "np.linalg.cond": "np.linalg.svdvals, the largest over the smallest",
    "np.linalg.eig": "np.linalg.eigh for symmetric matrices: eigenvalues of others are complex",
    "np.linalg.eigvals": "np.linalg.eigvalsh for symmetric matrices: others have complex ones",
    "np.linalg.tensorsolve": "np.reshape and np.linalg.solve",
    "np.meshgrid": "np.broadcast_to of t[:, None] and t[None, :]",
    "np.nancumsum": "np.cumsum(np.nan_to_num(t))",
    "np.nanmax": "np.max(np.where(np.isnan(t), -np.inf, t))",
    "np.nanmedian": "np.median(t[~np.isnan(t)])",
    "np.nanmin": "np.min(np.where(np.isnan(t), np.inf, t))",
    "np.nanprod": "np.prod(np.where(np.isnan(t), 1, t))",
    "np.nanstd": "np.std(t[~np.isnan(t)])", "np.nanvar": "np.var(t[~np.isnan(t)])",
    "np.partition": "np.sort", "np.piecewise": "np.select", "np.poly": "np.convolve of the factors",
    "np.polyfit": "np.linalg.lstsq(np.vander(x, n), y)",
    "np.unique": "t[np.unique(t.data, return_index=True)[1]]",
}  # fmt: skip

# What dtype= converts first.
ARRAYS = Value, np.ndarray, np.generic

# By these NumPy and SciPy read their arguments: of what requires no gradient they get the array.
READERS = {np.atleast_1d, np.atleast_2d, np.atleast_3d}

# NumPy functions that write into their first argument.
WRITERS = {np.copyto, np.fill_diagonal, np.place, np.put, np.put_along_axis, np.putmask}

# Why an argument of NumPy's is not taken, and the value that asks for nothing.
REFUSED = {
    "out": ("a Tensor's values never change; use the result", None),
    "where": ("choose elements with np.where", True),
    "initial": ("combine the result with it", np._NoValue),
}


def ufunc(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The answer to ``ufunc.method(*inputs, **kwargs)`` where an input is a Tensor.

    Raises: TypeError if there is none, with the reason.
    """
    if any(isinstance(x, Value) for x in kwargs.get("out", ())):
        name, why = full_name(ufunc), REFUSED["out"][0]
        raise TypeError(f"{name} with out= does not work on Tensors: {why}")
    if kwargs.get("out") and not requires_gradient((inputs, kwargs)):
        # An array may be written to: no gradient is lost.
        return getattr(ufunc, method)(*plain(inputs), **plain(kwargs))
    if method == "__call__":
        return function(ufunc, inputs, kwargs)
    name = f"{full_name(ufunc)}.{method}"
    if method == "outer" and not ufunc.signature:
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
    name, meant = full_name(function), ours(function)
    filled = function is np.full_like and requires_gradient((args[1:], kwargs.get("fill_value")))
    if function in WRITERS and args and isinstance(args[0], Value):
        raise TypeError(f"{name} would write into a Tensor, but its values never change; use .at")
    if filled:
        raise TypeError(f"{name} would lose the gradient of its fill_value; use np.broadcast_to")
    if (
        function in PLAIN
        or (function is np.where and len(args) == 1)
        or (
            (meant is None or function in READERS or transform_for(function))
            and not requires_gradient((args, kwargs))
        )
    ):
        return function(*plain(args), **plain(kwargs))
    names, first = parameters(function)
    if len(args) <= len(names):  # all but the first by NumPy's names, which ours share
        kwargs = {**dict(zip(names, args, strict=False)), **kwargs}
        args = tuple(kwargs.pop(name) for name in names[:first] if name in kwargs)
    if meant is ops.clip:
        limits = {k: x for k, x in kwargs.items() if k in ("min", "max")}
        if limits and kwargs.keys() & {"a_min", "a_max"}:
            raise ValueError(f"{name} takes a_min and a_max or min and max, not both")
        kwargs.update({f"a_{k}": kwargs.pop(k) for k in limits})
    if function is np.linalg.outer and {np.ndim(x) for x in (*args, *kwargs.values())} != {1}:
        raise ValueError(f"{name} is for vectors; np.outer takes more axes")
    if function is np.fabs:  # of integers, too, it is floating
        args = tuple(map(ops.elementwise.as_floating, args))
    if meant is ops.reshape and "newshape" in kwargs:  # NumPy 2.0's name
        kwargs["shape"] = kwargs.pop("newshape")
    if meant is ops.reshape and "order" in kwargs:
        meant = ops.arrange.reshape_in_order
    if meant is ops.positive and function is np.copy:  # in what order memory lies is not seen here
        kwargs = {k: x for k, x in kwargs.items() if k not in ("order", "subok")}
    return answer(meant, name, args, kwargs)


def answer(meant: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What `meant`, one of our functions or None, gives for NumPy's arguments."""
    if meant is None:
        otherwise = ".data for the array, or write the op (tinygrad_lite.op)"
        raise TypeError(
            f"{name} has no op here, so it would lose the gradient; use "
            f"{INSTEAD.get(name, otherwise)}"
        )
    for argument, (cure, nothing) in REFUSED.items():
        if kwargs.pop(argument, nothing) is not nothing:
            raise TypeError(f"{name} with {argument}= does not work on Tensors: {cure}")
    dtype = kwargs.pop("dtype", None) if meant is not ops.pad else None
    if dtype is None:
        return meant(*args, **kwargs)
    if np.dtype(dtype).kind == "f":
        args = tuple(ops.astype(x, dtype) if isinstance(x, ARRAYS) else x for x in args)
    out = meant(*args, **kwargs)
    if out.dtype == dtype:
        return out
    if not np.dtype(dtype).kind == out.dtype.kind == "f":
        raise TypeError(
            f"{name} gives {out.dtype}, so dtype={np.dtype(dtype)} does not work on Tensors: "
            "convert the result with .astype"
        )
    return ops.astype(out, dtype)


def ours(function: Any) -> Any:
    """What stands here for a NumPy function, or None: ours, or an op of the user's."""
    name = numpy_name(function)
    if name in PUBLIC:
        return getattr(ops, name)
    named = (op for op in OPS.values() if op.name == name)
    return transform_for(function) or next(named, None)


def full_name(function: Any) -> str:
    """What a function is called by whoever uses it, as np.exp or scipy.special.gammaln."""
    home = getattr(function, "__module__", None) or "numpy"
    if isinstance(function, np.ufunc) and getattr(np, function.__name__, None) is not function:
        home = "scipy.special"  # a ufunc does not know where it stands
    return f"{home.replace('numpy', 'np', 1)}.{function.__name__}"


@cache
def numpy_name(function: Any) -> str | None:
    """Our name for a function of NumPy, numpy.linalg or scipy.special; None for others."""
    name = function.__name__
    homes = [np, sys.modules.get("scipy.special"), np.linalg if name in LINALG else None]
    known = any(getattr(home, name, None) is function for home in homes)
    known = known or (name == "clip" and isinstance(function, np.ufunc))  # of ndarray.clip
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
    """The array of a Tensor, also of those in tuples, lists and dicts."""
    if isinstance(x, Value):
        return np.asarray(x.data)
    if isinstance(x, dict):
        return {key: plain(part) for key, part in x.items()}
    return type(x)(map(plain, x)) if type(x) in (tuple, list) else x


def requires_gradient(x: Any) -> bool:
    """Whether x is a Tensor that requires a gradient, or holds one."""
    if isinstance(x, dict):
        x = list(x.values())
    if isinstance(x, (tuple, list)):
        return any(map(requires_gradient, x))
    return isinstance(x, Value) and x.requires_grad
