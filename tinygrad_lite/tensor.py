"""Tensor: a value with Python's operators, an array's methods, and NumPy's protocols.

Nothing here computes: each method names an op of `ops/`, and `backward` is the walk of
backward.py.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Iterator
from numbers import Number
from typing import Any

import numpy as np

from . import numpy_protocols, ops
from . import value as values
from .ancestors import ancestors
from .arrays import describe, freeze, loses_gradient
from .backward import backward
from .elsewhere import ATTRIBUTES
from .ops.explained import explained
from .ops.reduce import Axis
from .ops.shape import At
from .truths import digest, note
from .value import Value

Method = Callable[..., "Tensor"]


def reflect(op: Callable[[Any, Any], Tensor]) -> Method:
    """The method of an operator whose first operand is no Tensor: ``op(other, self)``."""
    return lambda self, other: op(other, self)


# What == compares elementwise; of anything else it asks what the values say.
NUMBERS = (Value, np.ndarray, np.generic, Number, list, tuple)


class Data(np.ndarray):
    """A Tensor's array, read-only: in place of changing it, ``w.data -= step`` gives w new data,
    as it does for a number. What is computed from it is an ordinary array."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        plain = [plain_array(x) for x in inputs]
        if method == "at" and isinstance(plain[0], np.ndarray) and not plain[0].flags.writeable:
            raise ValueError(f"np.{ufunc.__name__}.at would write into an array that is read-only")
        if "out" in kwargs:
            kwargs["out"] = tuple(map(plain_array, kwargs["out"]))
        return getattr(ufunc, method)(*plain, **kwargs)

    def __setitem__(self, index: Any, value: Any) -> None:
        if not self.flags.writeable:
            raise ValueError(
                "a Tensor's data is read-only, so that recorded gradients stay right: change a "
                "copy, d = w.data.copy(), and give it to w, w.data = d"
            )
        super().__setitem__(index, value)

    def __repr__(self) -> str:
        return repr(np.asarray(self))


def plain_array(x: Any) -> Any:
    """A Tensor's array as an ordinary one, which shares its memory; anything else as it is."""
    return np.asarray(x) if isinstance(x, Data) else x


def replace_in_place(sign: str, name: str) -> Callable[[Any, Any], Any]:
    """The method of an operator such as -=, by its name: the array itself where it may be written
    to, as a copy may, else a new one, which ``w.data -= step`` gives to w. Raises: ValueError
    where it would be given to something else, and w stay as it is."""
    change, compute = getattr(np.ndarray, f"__i{name}__"), getattr(operator, f"__{name}__")

    def method(self: Any, other: Any) -> Any:
        if self.flags.writeable:
            result = change(self, other)
            return result if result is NotImplemented else self
        if sys.getrefcount(self) > ALONE:
            raise ValueError(
                f"d {sign} ... would change an array that is read-only, so that recorded gradients "
                f"stay right; write w.data {sign} ... for the Tensor w whose data it is, or copy it"
            )
        return compute(self, other)

    return method


def count_references() -> int:
    """What sys.getrefcount says in ``w.data -= 1`` of the array, which nothing else holds; -1 if
    that cannot be told from where a variable holds it."""
    counts = []

    class Counting(np.ndarray):
        def __isub__(self, other: Any) -> Any:  # type: ignore[misc]
            counts.append(sys.getrefcount(self))
            return self

    class Holder:
        data: Any = property(lambda self: np.empty(1).view(Counting), lambda self, new: None)

    holder = Holder()
    holder.data -= 1
    held = holder.data
    held -= 1
    return counts[0] if counts[0] < counts[1] else -1


ALONE = count_references()
SIGNS = {
    "add": "+=", "sub": "-=", "mul": "*=", "truediv": "/=", "floordiv": "//=", "mod": "%=",
    "pow": "**=", "matmul": "@=", "and": "&=", "or": "|=", "xor": "^=", "lshift": "<<=",
    "rshift": ">>=",
}  # fmt: skip


def between_arrays(name: str) -> tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]:
    """The methods of an operator, by its name, and its reflected one: what they do without, by way
    of `__array_ufunc__`, but at once, as every step of an optimiser takes them."""
    compute = getattr(operator, f"__{name}__")
    return (
        lambda self, other: compute(self.view(np.ndarray), other),
        lambda self, other: compute(other, self.view(np.ndarray)),
    )


for _name, _sign in SIGNS.items():
    setattr(Data, f"__i{_name}__", replace_in_place(_sign, _name))
    _direct, _reflected = between_arrays(_name)
    setattr(Data, f"__{_name}__", _direct)
    setattr(Data, f"__r{_name}__", _reflected)


def take(new: Any) -> Any:
    """New data for a leaf, as an array that nobody can write to."""
    return freeze(new._array if isinstance(new, Value) else new)


class Absent:
    """An attribute that Tensors lack: asked for, it says what there is instead. (`__getattr__`
    would do so too, but make every attribute that there is three times as slow.)"""

    def __init__(self, name: str, instead: str) -> None:
        self.name, self.instead = name, instead
        self.__doc__ = f"Not here: {instead}."  # as help(Tensor) shows it

    def __get__(self, tensor: Any, kind: Any = None) -> Any:
        raise AttributeError(f"a Tensor has no {self.name}; {self.instead}", name=self.name)


# What Tensors lack, unless a class of theirs has it.
ABSENT = {name: f"use the function {name}" for name in ops.__all__} | ATTRIBUTES
Lacking: Any = type(
    "Lacking", (), {"__slots__": (), **{name: Absent(name, x) for name, x in ABSENT.items()}}
)


class Tensor(Value, Lacking):  # type: ignore[misc]
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

    def __init__(
        self, data: Any, requires_grad: bool = False, *, name: str | None = None, dtype: Any = None
    ) -> None:
        if not isinstance(requires_grad, (bool, np.bool_)):
            raise TypeError(
                f"requires_grad is True or False, but got {requires_grad!r}; several numbers are "
                "one list, as in Tensor([1.0, 2.0])"
            )
        super().__init__(data, requires_grad, name=name, dtype=dtype)

    # What it is

    @property
    def data(self) -> np.ndarray | np.generic:
        """The value, read-only: an ndarray, or a NumPy scalar when 0-d.

        Assigning gives a leaf new data (a copy), as an optimiser does, and so does
        ``w.data -= step``. The shape must stay; the dtype stays too, the new data being cast
        to it. Graphs recorded earlier keep the old arrays, so their gradients stay right.

        Raises: ValueError for another shape; TypeError for a computed tensor, for data that
        is not real numbers, and for floating data given to an integer tensor.
        """
        # A view of its own: of a locked array its lock cannot be opened, and its shape is not ours.
        return self._array.view(Data) if isinstance(self._array, np.ndarray) else self._array

    @data.setter
    def data(self, new: Any) -> None:
        if self.op is not None:
            raise self._no_leaf("be given new data")
        array, dtype = take(new), self._array.dtype
        if array.shape != self._array.shape:
            raise ValueError(
                f"new data for {describe(self)} must keep its shape, but has shape "
                f"{array.shape}; make a new Tensor instead"
            )
        if not np.can_cast(array.dtype, dtype, "same_kind"):
            raise TypeError(
                f"new data for {describe(self)} must fit its dtype {dtype}, but has dtype "
                f"{array.dtype}; make a new Tensor instead"
            )
        self._array = array if array.dtype == dtype else freeze(array, dtype)
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
        return self._array.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._array.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._array.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the elements."""
        return self._array.dtype

    def item(self) -> Any:
        """The only element, as a Python number. Raises: ValueError if there are more."""
        return self._array.item()

    def numpy(self) -> np.ndarray:
        """A copy of the value that may be written to."""
        return np.array(self._array)

    def detach(self) -> Tensor:
        """A leaf with the same value and name, that requires no gradient."""
        return Tensor(self._array, name=self.name)

    def __repr__(self) -> str:
        text = np.array2string(np.asarray(self._array), separator=", ", prefix="Tensor(")
        dtype = "" if self.dtype in (np.float64, np.int64, np.bool_) else f", dtype={self.dtype}"
        grad = ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({text}{dtype}{grad}{f', name={self.name!r}' if self.name else ''})"

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name not in ABSENT or hasattr(self, name)]

    def __copy__(self) -> Tensor:
        if self.op is not None:
            return self  # it never changes
        made, parts = self.__reduce__()
        copied: Tensor = made(*parts)
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        for value in ancestors([self]):  # oldest first, so that no input needs recursion
            if id(value) in memo:
                continue
            inputs = tuple(memo[id(x)] if isinstance(x, Value) else x for x in value.inputs)
            made = values.new(value.__class__).record(
                value._array, value.op, inputs, value.arrays, value.params, value._requires_grad
            )
            made._name, made.scope, made.source = value._name, value.scope, value.source
            made.grad = None if value.grad is None else np.array(value.grad)
            for name in ("changed", "cotangent", "place", "stands_for"):
                if hasattr(value, name):
                    setattr(made, name, getattr(value, name))
            memo[id(value)] = made
        copied: Tensor = memo[id(self)]
        return copied

    def __reduce__(self) -> Any:
        if self.op is not None:
            raise self._no_leaf("be pickled")
        return restore, (type(self), self._array, self._requires_grad, self._name, self.grad)

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
    __lshift__: Method = ops.left_shift
    __rshift__: Method = ops.right_shift
    __rlshift__ = reflect(ops.left_shift)
    __rrshift__ = reflect(ops.right_shift)
    __lt__: Method = ops.less
    __le__: Method = ops.less_equal
    __gt__: Method = ops.greater
    __ge__: Method = ops.greater_equal
    __getitem__: Method = ops.getitem
    __hash__ = object.__hash__  # a Tensor is a key by identity, as comparison is elementwise

    def __pos__(self) -> Tensor:
        return self

    def __eq__(self, other: Any) -> Any:
        return ops.equal(self, other) if isinstance(other, NUMBERS) else self._array == other

    def __ne__(self, other: Any) -> Any:
        return ops.not_equal(self, other) if isinstance(other, NUMBERS) else self._array != other

    def __isub__(self, other: Any) -> Tensor:  # type: ignore[misc]
        if self.op is None and loses_gradient(self):
            name = self._name or "w"
            raise TypeError(
                f"{name} -= ... would make {name} a computed tensor instead of a parameter; write "
                f"{name}.data = {name}.data - ... to give it new data, or x = x - ... for a result"
            )
        return ops.subtract(self, other)

    def __round__(self, digits: int = 0) -> Tensor:
        return ops.round(self, digits)

    def __bool__(self) -> bool:
        answer = bool(self._array)
        note(self)
        return answer

    def as_static(self) -> Any:
        """Its array, for an op that takes it as a static argument."""
        note(self, digest)
        return self._array

    def __float__(self) -> float:
        return float(self._number())

    def __int__(self) -> int:
        return int(self._number())

    def __complex__(self) -> complex:
        return complex(self._number())

    def _number(self) -> Any:
        """The value, where no gradient is lost with it."""
        if loses_gradient(self):
            raise TypeError(
                f"a plain number would lose the gradient of {describe(self)}; use np.exp and its "
                "kin instead of math.exp, x.at[i].set(t) instead of x[i] = t, an f-string instead "
                "of '%f' % t, or t.item() if only the value is meant"
            )
        return self._array

    def __index__(self) -> int:
        return operator.index(self._array)  # type: ignore[arg-type]

    def __format__(self, spec: str) -> str:
        if not spec or not self.ndim:
            return format(self._array, spec) if spec else str(self)
        each: Any = {"all": lambda x: format(x, spec)}
        return np.array2string(np.asarray(self._array), formatter=each)

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("a 0-d Tensor has no length")
        return len(self._array)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __contains__(self, value: Any) -> bool:
        return np.asarray(value) in np.asarray(self._array)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(
            "a Tensor's values never change, so that recorded gradients stay right; make a new "
            "one, as with x.at[i].set(v), or give a parameter new .data"
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
    swapaxes: Method = ops.swapaxes
    squeeze: Method = ops.squeeze
    ravel: Method = ops.ravel
    flatten: Method = ops.ravel
    exp: Method = ops.exp
    log: Method = ops.log
    sqrt: Method = ops.sqrt
    tanh: Method = ops.tanh
    sigmoid: Method = ops.sigmoid
    relu: Method = ops.relu

    @property
    def T(self) -> Tensor:
        """The tensor with its axes reversed."""
        return ops.transpose(self)

    @property
    def mT(self) -> Tensor:
        """The matrices in the last two axes transposed."""
        return ops.swapaxes(self, -1, -2)

    def clip(self, min: Any = None, max: Any = None) -> Tensor:
        """The elements held between min and max (None: no bound)."""
        return ops.clip(self, min, max)

    def reshape(self, *shape: Any, order: str = "C") -> Tensor:
        """The elements, in C or Fortran order ("F"), in another shape, given as one tuple or as
        integers."""
        return ops.arrange.reshape_in_order(self, shape[0] if len(shape) == 1 else shape, order)

    def transpose(self, *axes: Any) -> Tensor:
        """The axes permuted, given as one tuple or as integers (none: reversed)."""
        return ops.transpose(self, axes[0] if len(axes) == 1 else axes or None)

    @property
    def at(self) -> At:
        """``t.at[index].set(v)`` and ``.add(v)``: this tensor with v put or added there, as a
        new one."""
        return At(self)

    @explained
    def any(self, axis: Axis = None, keepdims: bool = False) -> Any:
        """Whether an element is not 0, along the axes (None: all), as plain booleans."""
        return np.any(self._array, axis=axis, keepdims=keepdims)

    @explained
    def all(self, axis: Axis = None, keepdims: bool = False) -> Any:
        """Whether no element is 0, along the axes (None: all), as plain booleans."""
        return np.all(self._array, axis=axis, keepdims=keepdims)

    @explained
    def argmax(self, axis: int | None = None) -> Any:
        """Where the largest element is along the axis (None: flattened), as plain integers."""
        return np.argmax(self._array, axis=axis)

    @explained
    def argmin(self, axis: int | None = None) -> Any:
        """Where the smallest element is along the axis (None: flattened), as plain integers."""
        return np.argmin(self._array, axis=axis)

    def tolist(self) -> Any:
        """The elements as Python numbers in nested lists."""
        return self._array.tolist()

    # NumPy's protocols, and the array API standard's

    device = "cpu"

    def to_device(self, device: str, /, *, stream: Any = None) -> Tensor:
        """This tensor. Raises: ValueError for another device than "cpu"."""
        if device != "cpu":
            raise ValueError(f"the only device is 'cpu', but asked for was {device!r}")
        return self

    def __array_namespace__(self, /, *, api_version: str | None = None) -> Any:
        """The array API standard's functions; a slot that __init__.py fills from array_api.py."""
        raise NotImplementedError

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if loses_gradient(self):
            raise TypeError(
                f"a plain array would lose the gradient of {describe(self)}; use an op or a NumPy "
                "function of it, X @ t instead of X.dot(t), np.stack for a list of tensors, or "
                "t.data if only the value is meant"
            )
        array = np.array(self.data, dtype, copy=copy)
        if not copy:
            array.flags.writeable = False
        return array

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: Any = None,
        dl_device: Any = None,
        copy: Any = None,
    ) -> Any:
        options = {
            "stream": stream, "max_version": max_version, "dl_device": dl_device, "copy": copy,
        }  # fmt: skip
        given = {name: x for name, x in options.items() if x is not None}
        return np.array(self).__dlpack__(**given)

    def __dlpack_device__(self) -> tuple[int, int]:
        return np.empty(0).__dlpack_device__()

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return numpy_protocols.ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return numpy_protocols.function(function, args, kwargs)


def restore(kind: type[Tensor], data: Any, requires_grad: bool, name: Any, grad: Any) -> Tensor:
    """A leaf from its parts: what copy, deepcopy and pickle call."""
    tensor = kind(data, requires_grad, name=name)
    tensor.grad = None if grad is None else np.array(grad)
    return tensor
