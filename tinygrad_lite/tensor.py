"""Tensor: a value with Python's operators, an array's methods, and NumPy's protocols.

Nothing here computes: each method names an op of `ops/`, and `backward` is the walk of
backward.py.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import numpy_protocols, ops
from . import value as values
from .arrays import describe, freeze
from .backward import backward
from .ops.reduce import Axis
from .value import Value

Method = Callable[..., "Tensor"]


def reflect(op: Callable[[Any, Any], Tensor]) -> Method:
    """The method of an operator whose first operand is no Tensor: ``op(other, self)``."""
    return lambda self, other: op(other, self)


class Tensor(Value):
    """A NumPy array that remembers how it was computed.

    ``Tensor(data, requires_grad=False, *, name=None, dtype=None)`` copies `data`, which
    may be anything `numpy.array` takes as real numbers; the dtype is what NumPy gives.
    Values never change: `.data` is read-only, and every operation makes a new Tensor.

    >>> from tinygrad_lite import Tensor
    >>> x = Tensor([1.0, 2.0], requires_grad=True, name="x")
    >>> y = (x * x).sum()
    >>> y.backward()
    >>> x.grad
    array([2., 4.])

    Raises: TypeError for data that is not real numbers in a rectangular array, and for
    ``requires_grad=True`` on a dtype that is not floating.
    """

    __slots__ = ()

    # What it is

    @property
    def data(self) -> np.ndarray | np.generic:
        """The value, read-only: an ndarray, or a NumPy scalar when 0-d.

        Assigning gives a leaf new data (a copy), as an optimiser does. The shape must
        stay; the dtype stays too, the new data being cast to it. Graphs recorded
        earlier keep the old arrays, so their gradients stay right.

        Raises: ValueError for another shape; TypeError for a computed tensor, for data that
        is not real numbers, and for floating data given to an integer tensor.
        """
        return self._data

    @data.setter
    def data(self, new: Any) -> None:
        if self.op is not None:
            raise self._no_leaf("be given new data")
        array, dtype = freeze(new), self._data.dtype
        if array.shape != self._data.shape:
            raise ValueError(
                f"new data for {describe(self)} must keep its shape, but has shape "
                f"{array.shape}; make a new Tensor instead"
            )
        if not np.can_cast(array.dtype, dtype, "same_kind"):
            raise TypeError(
                f"new data for {describe(self)} must fit its dtype {dtype}, but has dtype "
                f"{array.dtype}; make a new Tensor instead"
            )
        self._data = array if array.dtype == dtype else freeze(array, dtype)
        self.changed = values.next_index()

    @property
    def requires_grad(self) -> bool:
        """Whether `backward` carries a gradient to this tensor.

        Fixed when the tensor is made: a graph recorded while it was False has no record
        of what it would need.
        """
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        raise TypeError(
            "requires_grad is fixed when a Tensor is made, so that recorded graphs stay right; "
            f"make another, as Tensor(x, requires_grad={bool(wanted)})"
        )

    @property
    def name(self) -> str | None:
        """What drawings and tables call this tensor; None if it has no name."""
        return self._name

    @name.setter
    def name(self, name: str | None) -> None:
        self._name = values.check_name(name)

    @property
    def shape(self) -> tuple[int, ...]:
        """The size along each axis."""
        return self._data.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._data.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the elements."""
        return self._data.dtype

    def item(self) -> Any:
        """The only element, as a Python number. Raises: ValueError if there are more."""
        return self._data.item()

    def numpy(self) -> np.ndarray:
        """A copy of the value that may be written to."""
        return np.array(self._data)

    def detach(self) -> Tensor:
        """A leaf with the same value and name, that requires no gradient."""
        return Tensor(self, name=self.name)

    def __repr__(self) -> str:
        text = np.array2string(np.asarray(self), separator=", ", prefix="Tensor(")
        dtype = "" if self.dtype in (np.float64, np.int64, np.bool_) else f", dtype={self.dtype}"
        grad = ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({text}{dtype}{grad}{f', name={self.name!r}' if self.name else ''})"

    def __reduce__(self) -> Any:
        if self.op is not None:
            raise self._no_leaf("be copied or pickled")
        return restore, (type(self), self._data, self._requires_grad, self._name, self.grad)

    def _no_leaf(self, what: str) -> TypeError:
        """What to say where only a leaf can do something."""
        assert self.op is not None
        return TypeError(
            f"only a leaf can {what}, but {describe(self)} was computed by {self.op.name}; use "
            ".detach() to start a new leaf from its value"
        )

    # The gradient

    def backward(self, gradient: Any = None) -> None:
        """Add the gradient of this tensor to `.grad` of every leaf that requires one.

        `gradient` is the cotangent of this tensor, an array of its shape; it may be left
        out for a scalar, where it is 1. Calling twice adds twice: see `zero_grad`.

        Raises: ValueError if this tensor is not a scalar and no gradient is given, or its
        shape is wrong; TypeError if no leaf requires a gradient; NotImplementedError where
        an op has no rule.
        """
        backward(self, gradient)

    def zero_grad(self) -> None:
        """Forget the gradient: `.grad` is None again."""
        self.grad = None

    # Python's operators

    __add__: Method = ops.add
    __sub__: Method = ops.subtract
    __mul__: Method = ops.multiply
    __truediv__: Method = ops.divide
    __floordiv__: Method = ops.floor_divide
    __mod__: Method = ops.remainder
    __pow__: Method = ops.power
    __matmul__: Method = ops.matmul
    __and__: Method = ops.bitwise_and
    __or__: Method = ops.bitwise_or
    __xor__: Method = ops.bitwise_xor
    __radd__ = reflect(ops.add)
    __rsub__ = reflect(ops.subtract)
    __rmul__ = reflect(ops.multiply)
    __rtruediv__ = reflect(ops.divide)
    __rfloordiv__ = reflect(ops.floor_divide)
    __rmod__ = reflect(ops.remainder)
    __rpow__ = reflect(ops.power)
    __rmatmul__ = reflect(ops.matmul)
    __rand__ = reflect(ops.bitwise_and)
    __ror__ = reflect(ops.bitwise_or)
    __rxor__ = reflect(ops.bitwise_xor)
    __neg__: Method = ops.negative
    __abs__: Method = ops.abs
    __invert__: Method = ops.invert
    __eq__: Method = ops.equal  # type: ignore[assignment]
    __ne__: Method = ops.not_equal  # type: ignore[assignment]
    __lt__: Method = ops.less
    __le__: Method = ops.less_equal
    __gt__: Method = ops.greater
    __ge__: Method = ops.greater_equal
    __getitem__: Method = ops.getitem
    __hash__ = object.__hash__  # a Tensor is a key by identity, as comparison is elementwise

    def __pos__(self) -> Tensor:
        return self

    def __bool__(self) -> bool:
        return bool(self._data)

    def __float__(self) -> float:
        return float(self._data)

    def __int__(self) -> int:
        return int(self._data)

    def __index__(self) -> int:
        return operator.index(self._data)  # type: ignore[arg-type]

    def __format__(self, spec: str) -> str:
        return format(self._data, spec) if spec else str(self)

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("a 0-d Tensor has no length")
        return len(self._data)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __contains__(self, value: Any) -> bool:
        return np.asarray(value) in np.asarray(self)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(
            "a Tensor's values never change, so that recorded gradients stay right; make a new "
            "one, as with tinygrad_lite.where, or give a parameter new .data"
        )

    # An array's methods: most are our functions of that name, of this tensor

    sum: Method = ops.sum
    mean: Method = ops.mean
    max: Method = ops.max
    min: Method = ops.min
    prod: Method = ops.prod
    var: Method = ops.var
    std: Method = ops.std
    cumsum: Method = ops.cumsum
    cumprod: Method = ops.cumprod
    round: Method = ops.round
    dot: Method = ops.dot
    take: Method = ops.take
    repeat: Method = ops.repeat
    diagonal: Method = ops.diagonal
    trace: Method = ops.trace
    astype: Method = ops.astype

    @property
    def T(self) -> Tensor:
        """The tensor with its axes reversed."""
        return ops.transpose(self)

    def clip(self, min: Any = None, max: Any = None) -> Tensor:
        """The elements held between min and max (None: no bound)."""
        return ops.clip(self, min, max)

    def reshape(self, *shape: Any) -> Tensor:
        """The elements in C order in another shape, given as one tuple or as integers."""
        return ops.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Tensor:
        """The axes permuted, given as one tuple or as integers (none: reversed)."""
        return ops.transpose(self, axes[0] if len(axes) == 1 else axes or None)

    def swapaxes(self, axis1: int, axis2: int) -> Tensor:
        """The two axes exchanged."""
        axes = list(range(self.ndim))
        axes[axis1], axes[axis2] = axes[axis2], axes[axis1]
        return ops.transpose(self, tuple(axes))

    def ravel(self) -> Tensor:
        """The elements in C order along one axis."""
        return ops.reshape(self, -1)

    flatten = ravel

    def squeeze(self, axis: Axis = None) -> Tensor:
        """Without the axes of size 1, or those of them named by `axis`."""
        return ops.reshape(self, np.squeeze(np.asarray(self), axis).shape)

    def any(self, axis: Axis = None, keepdims: bool = False) -> Any:
        """Whether an element is not 0, along the axes (None: all), as plain booleans."""
        return np.any(np.asarray(self), axis=axis, keepdims=keepdims)

    def all(self, axis: Axis = None, keepdims: bool = False) -> Any:
        """Whether no element is 0, along the axes (None: all), as plain booleans."""
        return np.all(np.asarray(self), axis=axis, keepdims=keepdims)

    def argmax(self, axis: int | None = None) -> Any:
        """Where the largest element is along the axis (None: flattened), as plain integers."""
        return np.argmax(np.asarray(self), axis=axis)

    def argmin(self, axis: int | None = None) -> Any:
        """Where the smallest element is along the axis (None: flattened), as plain integers."""
        return np.argmin(np.asarray(self), axis=axis)

    def tolist(self) -> Any:
        """The elements as Python numbers in nested lists."""
        return self._data.tolist()

    # NumPy's protocols

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = np.array(self._data, dtype, copy=copy)
        if not copy:
            array.flags.writeable = False
        return array

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return numpy_protocols.ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return numpy_protocols.function(function, args, kwargs)


def restore(kind: type[Tensor], data: Any, requires_grad: bool, name: Any, grad: Any) -> Tensor:
    """A leaf from its parts: what copy, deepcopy and pickle call."""
    tensor = kind(data, requires_grad, name=name)
    tensor.grad = None if grad is None else np.array(grad)
    return tensor
