"""Ops that move elements without changing them: their vjps move the gradient back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrays import Carrier
from ..operation import Op, op
from .elementwise import Array, add, astype, operand

MOVED = "g, summed over where each element of x was put"
Shape = int | Sequence[int]


@op(symbol="reshape", inputs=1, linear=True, formula="g, in the shape of x")
def reshape(x: Array, shape: Shape) -> Array:
    """The elements of x, in C order, in another shape; one size may be -1."""
    return np.reshape(x, shape)


reshape.vjp(lambda g, out, x, shape: reshape(g, x.shape))


@op(symbol="ᵀ", inputs=1, linear=True, formula="g, its axes in the order of x")
def transpose(x: Array, axes: Sequence[int] | None = None) -> Array:
    """x with its axes permuted (None: reversed)."""
    try:
        return np.transpose(x, axes)
    except ValueError:
        if np.size(axes or ()) == np.ndim(x):
            raise
        text = "axes must name every axis, each once; to swap two of them use swapaxes"
        raise ValueError(text) from None


@transpose.vjp
def _(g: Array, out: Array, x: Array, axes: Sequence[int] | None) -> Array:
    return transpose(g, None if axes is None else np.argsort(np.array(axes) % x.ndim))


@op(symbol="broadcast", inputs=1, linear=True)
def broadcast_to(x: Array, shape: Shape) -> Array:
    """x repeated along new axes and along axes of size 1, without a copy."""
    return np.broadcast_to(x, shape)


broadcast_to.vjp(lambda g, out, x, shape: g)  # the engine sums what was broadcast


@op(symbol="[ ]", inputs=1, linear=True, formula=MOVED)
def getitem(x: Array, index: Any) -> Array:
    """x[index], for every kind of index that NumPy has."""
    return x[index]


@getitem.vjp
def _(g: Array, out: Array, x: Array, index: Any) -> Array:
    return index_add(g, index, x.shape)


@op(symbol="[ ]+=", inputs=1, linear=True, formula="g at the index")
def index_add(x: Array, index: Any, shape: Shape) -> Array:
    """Zeros of the given shape with x added at index, once for each time it is named."""
    out = np.zeros(shape, x.dtype)
    if is_basic(index):
        out[index] = x
    else:
        np.add.at(out, index, x)
    return out


index_add.vjp(lambda g, out, x, index, shape: getitem(g, index))


@op(
    symbol="[ ]=",
    inputs=2,
    formula=("g, but 0 at the index", "g at the index, 0 where v does not hold"),
)
def index_set(x: Array, v: Array, index: Any = ()) -> Array:
    """x with v at index; where an element is named twice, the last holds."""
    out = np.array(x)
    out[index] = v
    return out[()]


@index_set.vjp
def _(g: Array, out: Array, x: Array, v: Array, index: Any) -> Array:
    return index_set(g, 0.0, index)


@index_set.vjp("v")
def _(g: Array, out: Array, x: Array, v: Array, index: Any) -> Array:
    picked = np.arange(out[index].size).reshape(out[index].shape)
    holds = index_set(np.zeros(out.shape, int), picked, index)[index] == picked
    return getitem(g, index) * holds


class At:
    """``x.at[index]``: x with other numbers at the index, as a new Tensor.

    ``.set(v)`` puts v there, ``.add(v)`` adds it, once for each time an element is named. v
    broadcasts to the shape of ``x[index]`` and is cast to the dtype of x; x and v both get
    their gradients.

    >>> from tinygrad_lite import Tensor
    >>> Tensor([1.0, 2.0, 3.0]).at[1].set(9.0)
    Tensor([1., 9., 3.])

    Raises: TypeError if v is not of a kind that the dtype of x holds; ValueError if it does
    not fit; IndexError for a wrong index.
    """

    def __init__(self, x: Array, index: Any = ()) -> None:
        self.x, self.index = x, index

    def __getitem__(self, index: Any) -> At:
        return At(self.x, index)

    def set(self, v: Any) -> Array:
        """x with v at the index."""
        return index_set(self.x, self._fitting(v), self.index)

    def add(self, v: Any) -> Array:
        """x with v added at the index."""
        v = broadcast_to(self._fitting(v), getitem(self.x, self.index).shape)
        return add(self.x, index_add(v, self.index, self.x.shape))

    def _fitting(self, v: Any) -> Array:
        """v in the dtype of x."""
        v = operand(v)
        there = getitem(np.empty(self.x.shape, bool), self.index).shape
        if v.ndim > len(there):
            raise ValueError(
                f"v of shape {v.shape} does not broadcast to {there}, that of x[index]"
            )
        if not np.can_cast(v.dtype, self.x.dtype, "same_kind"):
            raise TypeError(
                f"numbers of dtype {v.dtype} do not fit into dtype {self.x.dtype}; convert one of "
                "them with .astype"
            )
        return v if v.dtype == self.x.dtype else astype(v, self.x.dtype)


def is_basic(index: Any) -> bool:
    """Whether the index names each element at most once: only integers, slices, ... and None."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        part is None or part is Ellipsis or isinstance(part, (int, np.integer, slice))
        for part in parts
    )


@op(symbol="concat", sequence=True, formula="the part of g where arrays stands")
def concatenate(arrays: Sequence[Array], axis: int | None = 0) -> Array:
    """The arrays joined along an existing axis (None: each flattened first)."""
    return np.concatenate([operand(x) for x in arrays], axis=axis)


@concatenate.vjp
def _(g: Array, out: Array, arrays: Sequence[Array], axis: int | None) -> list[Array]:
    sizes = [x.size if axis is None else x.shape[axis] for x in arrays]
    before = (slice(None),) * ((axis or 0) % g.ndim)
    ends = np.cumsum(sizes).tolist()
    parts = [g[(*before, slice(end - n, end))] for n, end in zip(sizes, ends, strict=True)]
    if axis is None:
        return [reshape(part, x.shape) for part, x in zip(parts, arrays, strict=True)]
    return parts


@op(symbol="stack", sequence=True, formula="the part of g where arrays stands")
def stack(arrays: Sequence[Array], axis: int = 0) -> Array:
    """The arrays joined along a new axis."""
    return np.stack([operand(x) for x in arrays], axis=axis)


@stack.vjp
def _(g: Array, out: Array, arrays: Sequence[Array], axis: int) -> list[Array]:
    before = (slice(None),) * (axis % g.ndim)
    return [g[(*before, i)] for i in range(len(arrays))]


def refuse_second(op: Op) -> None:
    """Let an op say of a second array, which would be its axis, that arrays come as one list."""
    settle = op.settle

    def settle_axis(name: str, x: Any) -> Any:
        if isinstance(x, (Carrier, np.ndarray)) and x.dtype.kind == "f":  # type: ignore[union-attr]
            raise TypeError(
                f"{op.name} takes the arrays as one list, as in {op.name}([x, y]), but got another "
                f"array as {name}"
            )
        return settle(name, x)

    op.settle = settle_axis  # type: ignore[method-assign, assignment]


refuse_second(concatenate)
refuse_second(stack)


@op(symbol="pad", inputs=1, formula=MOVED)
def pad(x: Array, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Array:
    """x with `pad_width` elements around it, as in `numpy.pad`: a constant (None: 0), or by the
    mode "reflect", "symmetric", "edge" or "wrap" elements of x again.

    Raises: ValueError for another mode, and for constant values in one that has none.
    """
    if mode == "constant":
        widths = pad_widths(np.ndim(x), pad_width)
        return np.pad(x, widths, constant_values=0 if constant_values is None else constant_values)
    if constant_values is not None:
        raise ValueError(f"constant_values are for mode 'constant', but mode is {mode!r}")
    return x[padding_index(x.shape, pad_width, mode)]


@pad.vjp
def _(g: Array, out: Array, x: Array, pad_width: Any, mode: str, constant_values: Any) -> Array:
    if mode != "constant":
        return index_add(g, padding_index(x.shape, pad_width, mode), x.shape)
    widths = pad_widths(x.ndim, pad_width)
    return g[
        tuple(slice(before, before + n) for (before, _), n in zip(widths, x.shape, strict=True))
    ]


def pad_widths(ndim: int, pad_width: Any) -> Any:
    """The widths before and after each axis: of all by numbers, or of some by a dict."""
    if isinstance(pad_width, dict):
        pairs = np.zeros((ndim, 2), int)
        for axis, width in pad_width.items():
            pairs[axis] = width
        return pairs.tolist()
    if np.asarray(pad_width).dtype.kind not in "iu":
        raise ValueError(f"pad_width must be integers, but is {pad_width!r}")
    return np.broadcast_to(pad_width, (ndim, 2)).tolist()


def padding_index(shape: tuple[int, ...], pad_width: Any, mode: str) -> tuple[np.ndarray, ...]:
    """The index of the padded array in x: axis by axis, the numbers of the elements padded."""
    if mode not in ("reflect", "symmetric", "edge", "wrap"):
        raise ValueError(
            f"mode must be 'constant', 'reflect', 'symmetric', 'edge' or 'wrap', but is {mode!r}"
        )
    widths = pad_widths(len(shape), pad_width)
    return np.ix_(*(np.pad(np.arange(n), w, mode) for n, w in zip(shape, widths, strict=True)))  # type: ignore[call-overload]
