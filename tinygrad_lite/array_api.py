"""The array API standard, version 2024.12, on Tensors: what ``t.__array_namespace__()`` gives.

Code that is written for the standard asks an array for its namespace, and so works on Tensors and
keeps their gradients. Most functions are ours under the standard's names. What the standard wants
and a Tensor refuses: complex numbers, other devices than the CPU, and writing into an array.

Source: https://data-apis.org/array-api/2024.12
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from functools import wraps
from types import SimpleNamespace
from typing import Any

import numpy as np

from . import ops
from .ops.decompositions import pinv as pseudoinverse
from .tensor import Tensor
from .value import Value

__array_api_version__ = "2024.12"

e, inf, nan, newaxis, pi = np.e, np.inf, np.nan, None, np.pi

DTYPES = {name: np.dtype(name) for name in (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32",
    "float64",
)}  # fmt: skip
KINDS = {"bool": "b", "signed integer": "i", "unsigned integer": "u", "real floating": "f"}
KINDS |= {"integral": "iu", "numeric": "iuf", "complex floating": "c"}

# What the standard has under another name, and what it has under ours.
RENAMED = {
    "acos": "arccos", "acosh": "arccosh", "asin": "arcsin", "asinh": "arcsinh", "atan": "arctan",
    "atan2": "arctan2", "atanh": "arctanh", "bitwise_invert": "invert",
    "bitwise_left_shift": "left_shift", "bitwise_right_shift": "right_shift",
    "concat": "concatenate", "conj": "positive", "permute_dims": "transpose", "pow": "power",
    "real": "positive",
}  # fmt: skip
SAME = """abs add bitwise_and bitwise_or bitwise_xor broadcast_to ceil copysign cos cosh divide
    equal exp expand_dims expm1 flip floor floor_divide greater greater_equal hypot less less_equal
    log log10 log1p log2 logaddexp logical_and logical_not logical_or logical_xor matmul max maximum
    mean min minimum moveaxis multiply negative not_equal positive reciprocal remainder repeat roll
    round sign sin sinh sqrt square squeeze stack subtract take take_along_axis tan tanh tensordot
    tile tril triu trunc where"""
LINALG = "det eigh eigvalsh inv matmul matrix_power qr slogdet solve svd svdvals tensordot"

# NumPy's functions that give no gradient: it hands them the arrays of Tensors.
NUMPY = """all any argmax argmin count_nonzero isfinite isinf isnan nextafter nonzero searchsorted
    signbit unique_all unique_counts unique_inverse unique_values"""
NO_ARRAYS = "can_cast isdtype result_type"


def as_tensors(x: Any) -> Any:
    """A result with Tensors in place of arrays."""
    if isinstance(x, (np.ndarray, np.generic, builtins.bool, int)):  # bool is a dtype here
        return Tensor(x)
    if isinstance(x, tuple):
        parts = map(as_tensors, x)
        return type(x)(*parts) if hasattr(x, "_fields") else tuple(parts)
    return x


def on_tensors(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that gives Tensors where it gave arrays."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return as_tensors(function(*args, **kwargs))

    return call


for _name, _ours in (RENAMED | {name: name for name in SAME.split()}).items():
    globals()[_name] = getattr(ops, _ours)
for _name in NUMPY.split():
    globals()[_name] = on_tensors(getattr(np, _name))
for _name in NO_ARRAYS.split():
    globals()[_name] = getattr(np, _name)
globals().update(DTYPES)


def __getattr__(name: str) -> Any:
    if name in ("complex64", "complex128", "fft"):
        raise AttributeError(
            f"{name} of the array API is not here, as Tensors hold real numbers; np.fft.rfft of a "
            "Tensor gives the real and the imaginary part"
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# Arrays made anew


def on_cpu(device: Any) -> None:
    """Raise ValueError for another device than the only one."""
    if device not in (None, "cpu"):
        raise ValueError(f"the only device is 'cpu', but asked for was {device!r}")


def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Any:
    """obj as a Tensor: a Tensor stays what it is, unless it is cast, and keeps its gradient.

    Raises: ValueError where ``copy=False`` cannot be had, as of anything but Tensors.
    """
    on_cpu(device)
    if isinstance(obj, Value) and dtype in (None, obj._array.dtype):
        return Tensor(obj) if copy and not obj.requires_grad else ops.positive(obj) if copy else obj
    if copy is False:
        raise ValueError("a Tensor holds a copy of what it is made from, so copy=False cannot be")
    return ops.astype(obj, dtype) if isinstance(obj, Value) else Tensor(obj, dtype=dtype)


def creation(function: Callable[..., Any]) -> Callable[..., Any]:
    """NumPy's function that makes an array, for Tensors, on the only device."""

    @wraps(function)
    def call(*args: Any, dtype: Any = None, device: Any = None, **options: Any) -> Any:
        on_cpu(device)
        return Tensor(function(*args, dtype=dtype, **options))

    return call


arange, eye, linspace = creation(np.arange), creation(np.eye), creation(np.linspace)
full, full_like = creation(np.full), creation(np.full_like)
ones, ones_like = creation(np.ones), creation(np.ones_like)
zeros, zeros_like = creation(np.zeros), creation(np.zeros_like)
empty, empty_like = zeros, zeros_like  # nobody could write into what is left open


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Any:
    """A Tensor with the numbers of an array of another library, which are copied."""
    on_cpu(device)
    return x if isinstance(x, Value) and not copy else asarray(np.from_dlpack(x), copy=copy or None)


def meshgrid(*arrays: Any, indexing: str = "xy") -> Any:
    """For vectors the coordinates of all points of their grid: an array for each, whose first two
    axes are exchanged with ``indexing="xy"``."""
    if indexing not in ("xy", "ij"):
        raise ValueError(f"indexing must be 'xy' or 'ij', but is {indexing!r}")
    places = list(range(len(arrays)))
    if indexing == "xy":
        places[:2] = places[:2][::-1]
    others = [tuple(p for p in range(len(arrays)) if p != place) for place in places]
    return broadcast_arrays(
        *(ops.expand_dims(x, axes) for x, axes in zip(arrays, others, strict=True))
    )


# Dtypes


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """x in another dtype; only a floating dtype keeps a gradient."""
    on_cpu(device)
    return x if dtype == x.dtype and not copy else ops.astype(x, dtype)


def finfo(type: Any, /) -> Any:
    """What floating numbers of a dtype are like, in plain numbers."""
    dtype = np.dtype(getattr(type, "dtype", type))
    found = np.finfo(dtype)
    plain = {name: float(getattr(found, name)) for name in ("eps", "max", "min", "smallest_normal")}
    return SimpleNamespace(bits=found.bits, dtype=dtype, **plain)


def iinfo(type: Any, /) -> Any:
    """What integers of a dtype are like, in plain numbers."""
    dtype = np.dtype(getattr(type, "dtype", type))
    found = np.iinfo(dtype)
    return SimpleNamespace(bits=found.bits, dtype=dtype, max=found.max, min=found.min)


class Info:
    """What this namespace can do: what ``__array_namespace_info__()`` gives."""

    def capabilities(self) -> dict[str, Any]:
        """Shapes may depend on values."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> str:
        """The CPU."""
        return "cpu"

    def devices(self) -> list[str]:
        """The CPU alone."""
        return ["cpu"]

    def default_dtypes(self, *, device: Any = None) -> dict[str, Any]:
        """The dtypes of what is made of Python's numbers."""
        on_cpu(device)
        whole = DTYPES["int64"]
        return {"real floating": DTYPES["float64"], "integral": whole, "indexing": whole}

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, Any]:
        """The dtypes of a kind, or of several; None: all."""
        on_cpu(device)
        kinds = "".join(KINDS[k] for k in ((kind,) if isinstance(kind, str) else kind or KINDS))
        return {name: dtype for name, dtype in DTYPES.items() if dtype.kind in kinds}


__array_namespace_info__ = Info


# Arguments that are not NumPy's


def imag(x: Any, /) -> Any:
    """The imaginary part of real numbers: zeros."""
    return zeros_like(x)


def broadcast_arrays(*arrays: Any) -> Any:
    """The arrays in the shape to which all of them broadcast."""
    shape = np.broadcast_shapes(*(x.shape for x in arrays))
    return [ops.broadcast_to(x, shape) for x in arrays]


def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:
    """x limited to [min, max], in its dtype; None is no limit."""
    found = x if min is None and max is None else ops.clip(x, min, max)
    return found if found.dtype == x.dtype else ops.astype(found, x.dtype)


def reshape(x: Any, /, shape: Any, *, copy: bool | None = None) -> Any:
    """The elements in C order in another shape; whether they are copied nobody can see."""
    return ops.reshape(x, shape)


def unstack(x: Any, /, *, axis: int = 0) -> Any:
    """The slices of x along the axis."""
    return tuple(ops.moveaxis(x, axis, 0))


def diff(x: Any, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None) -> Any:
    """The differences of neighbours along the axis, taken n times, of x with more at its ends."""
    parts = [part for part in (prepend, x, append) if part is not None]
    return ops.diff(ops.concatenate(parts, axis) if len(parts) > 1 else x, n, axis)


def in_dtype(function: Callable[..., Any]) -> Callable[..., Any]:
    """A reduction that takes the dtype in which it is computed."""

    def call(x: Any, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
        found = function(x if dtype is None else ops.astype(x, dtype), axis, keepdims)
        return found if dtype in (None, found.dtype) else ops.astype(found, dtype)

    call.__name__ = call.__qualname__ = function.__name__
    call.__doc__ = function.__doc__
    return call


sum, prod = in_dtype(ops.sum), in_dtype(ops.prod)


def running(function: Callable[..., Any], first: int) -> Callable[..., Any]:
    """Running sums or products, which may begin with those of nothing."""

    def call(
        x: Any, /, *, axis: Any = None, dtype: Any = None, include_initial: bool = False
    ) -> Any:
        if axis is None and x.ndim != 1:
            raise ValueError(f"of x with {x.ndim} axes one must be named by axis")
        axis = 0 if axis is None else axis % x.ndim
        found = function(x if dtype is None else ops.astype(x, dtype), axis)
        found = found if dtype in (None, found.dtype) else ops.astype(found, dtype)
        if not include_initial:
            return found
        shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
        return ops.concatenate([np.full(shape, first, found.dtype), found], axis)

    call.__doc__ = function.__doc__
    return call


cumulative_sum, cumulative_prod = running(ops.cumsum, 0), running(ops.cumprod, 1)


def var(x: Any, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """The mean squared deviation from the mean, with n - correction in place of n."""
    return ops.var(x, axis, correction, keepdims)


def std(x: Any, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """The square root of `var`."""
    return ops.std(x, axis, correction, keepdims)


def sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """The elements in rising order along the axis, or falling."""
    found = ops.sort(x, axis)
    return ops.flip(found, axis) if descending else found


def argsort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """Where the elements come from that `sort` gives; equal ones in their order."""
    x = np.asarray(x.data)
    if not descending:
        return Tensor(np.argsort(x, axis, kind="stable"))
    order = np.flip(np.argsort(np.flip(x, axis), axis, kind="stable"), axis)
    return Tensor(x.shape[axis] - 1 - order)


def matrix_transpose(x: Any, /) -> Any:
    """The matrices with their last two axes exchanged."""
    return ops.swapaxes(x, -1, -2)


def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """The sums of products along the axis of both."""
    x1, x2 = ops.moveaxis(x1, axis, -1), ops.moveaxis(x2, axis, -1)
    return ops.matmul(x1[..., None, :], x2[..., :, None])[..., 0, 0]


# Linear algebra


def cholesky(x: Any, /, *, upper: bool = False) -> Any:
    """The triangular factor of symmetric positive definite matrices."""
    found = ops.cholesky(x)
    return matrix_transpose(found) if upper else found


def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """The vectors at right angles to those of three elements along the axis."""
    return ops.cross(x1, x2, axis=axis)


def diagonal(x: Any, /, *, offset: int = 0) -> Any:
    """The diagonals of matrices."""
    return ops.diagonal(x, offset, -2, -1)


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """The sums of the diagonals of matrices."""
    return sum(diagonal(x, offset=offset), axis=-1, dtype=dtype)


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """The norms of matrices."""
    return ops.norm(x, ord, (-2, -1), keepdims)


def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Any:
    """The norms of vectors."""
    return ops.vector_norm(x, axis, keepdims, ord)


def matrix_rank(x: Any, /, *, rtol: Any = None) -> Any:
    """How many singular values are above rtol times the largest."""
    return Tensor(np.linalg.matrix_rank(x, rtol=rtol))


def outer(x1: Any, x2: Any, /) -> Any:
    """The product of each element of a vector with each of another."""
    return ops.outer(x1, x2)


def pinv(x: Any, /, *, rtol: Any = None) -> Any:
    """The pseudoinverses; singular values up to rtol times the largest count as 0."""
    least = np.finfo(x.dtype).eps * builtins.max(x.shape[-2:]) if rtol is None else rtol
    return pseudoinverse(x, least)


linalg = SimpleNamespace(
    cholesky=cholesky, cross=cross, diagonal=diagonal, matrix_norm=matrix_norm,
    matrix_rank=matrix_rank, matrix_transpose=matrix_transpose, outer=outer, pinv=pinv, trace=trace,
    vecdot=vecdot, vector_norm=vector_norm,
    **{name: on_tensors(getattr(ops, name)) for name in LINALG.split()},
)  # fmt: skip


def namespace(api_version: str | None = None) -> Any:
    """The functions of the array API standard for Tensors.

    Raises: ValueError for another version of the standard than this one or those before.
    """
    if api_version is not None and api_version not in VERSIONS:
        raise ValueError(
            f"the array API is here in its version {__array_api_version__}, not {api_version}"
        )
    return sys.modules[__name__]


VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12")
