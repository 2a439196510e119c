"""A value and the record of how it was made: the ground everything else stands on.

Every operation leaves one `Value` behind. Its `inputs` point to the values it was
computed from, in order and with repeats, so the values form a graph: the whole
computation, ready to be walked backward, drawn, or stepped through.

`Tensor` (tensor.py) is a `Value` with operators; nothing below it needs them.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import wraps
from itertools import count
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

if TYPE_CHECKING:
    from .operation import Op

F = TypeVar("F", bound=Callable[..., Any])

PACKAGE = os.path.dirname(__file__) + os.sep

REAL = "fiub"  # the kinds of dtype a Tensor may have

# Creation order: inputs always have smaller indices. The room between two indices is for
# what is recorded later than it was computed (deferred.py).
next_index = count(0, 1 << 32).__next__


class Value:
    """An array that never changes, and how it was made.

    A leaf has ``op = None`` and no inputs. A computed value has the op, its inputs
    (values; Python scalars and None stay as they are), the arrays the op saw (kept
    here so that a parameter may be given new data afterwards), and the op's static
    parameters.
    """

    # One slotted object per node, no closure: the garbage collector's work stays small.
    __slots__ = (  # noqa: RUF023 (in the order of what they say)
        "_data", "_requires_grad", "_name", "grad",
        "op", "inputs", "arrays", "params", "scope", "index", "source",
        "changed", "cotangent", "__weakref__",
    )  # fmt: skip

    _data: np.ndarray | np.generic
    _requires_grad: bool
    _name: str | None
    grad: np.ndarray | None
    op: Op | None
    inputs: tuple[Any, ...]
    arrays: tuple[Any, ...]
    params: dict[str, Any]
    scope: tuple[str, ...]
    index: int
    source: tuple[str, int] | None
    changed: int  # when a leaf was last given new data, as an index; unset if it never was
    cotangent: Any  # what backward last started with here; unset if it never did

    def __init__(
        self,
        data: Any,
        requires_grad: bool = False,
        *,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        self._hold(frozen(data, dtype))
        self.name = name
        if requires_grad and self._data.dtype.kind != "f":
            raise TypeError(
                f"only a floating dtype can require a gradient, but {described(self)} has dtype "
                f"{self._data.dtype}; make it with dtype=float"
            )
        self._requires_grad = bool(requires_grad)

    def _hold(self, data: np.ndarray | np.generic) -> Any:
        """Become a leaf of `data` itself, which nobody may be able to write to."""
        self._data, self._requires_grad, self._name, self.grad = data, False, None, None
        self.op, self.inputs, self.arrays, self.params = None, (), (), {}
        self.scope, self.index, self.source = CONTEXT.get().scope, next_index(), None
        return self

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
            raise TypeError(
                f"only a leaf can be given new data, but {described(self)} was computed by "
                f"{self.op.name}; use .detach() to start a new leaf from its value"
            )
        array, dtype = frozen(new), self._data.dtype
        if array.shape != self._data.shape:
            raise ValueError(
                f"new data for {described(self)} must keep its shape, but has shape "
                f"{array.shape}; make a new Tensor instead"
            )
        if not np.can_cast(array.dtype, dtype, "same_kind"):
            raise TypeError(
                f"new data for {described(self)} must fit its dtype {dtype}, but has dtype "
                f"{array.dtype}; make a new Tensor instead"
            )
        self._data = array if array.dtype == dtype else frozen(array, dtype)
        self.changed = next_index()

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
        if not (name is None or isinstance(name, str)):
            raise TypeError(f"a name is a string or None, but got {type(name).__name__} {name!r}")
        self._name = name

    def __reduce__(self) -> Any:
        if self.op is not None:
            raise TypeError(
                f"only a leaf can be copied or pickled, but {described(self)} was computed by "
                f"{self.op.name}; use .detach() to start a new leaf from its value"
            )
        return restored, (type(self), self._data, self._requires_grad, self._name, self.grad)


def restored(cls: type[Value], data: Any, requires_grad: bool, name: Any, grad: Any) -> Value:
    """A leaf from its parts: what copy, deepcopy and pickle call."""
    value = cls(data, requires_grad, name=name)
    value.grad = None if grad is None else np.array(grad)
    return value


def described(value: Value) -> str:
    """What an error calls a value: its name, or its dtype, and its shape."""
    shape, dtype = value._data.shape, value._data.dtype
    if value._name:
        return f"{label(value._name)} {shape}"
    return f"{'an' if dtype.kind == 'i' else 'a'} {dtype} tensor of shape {shape}"


def label(name: str, limit: int = 60) -> str:
    """A name fit for one line of an error or a table: no newlines, at most `limit` long."""
    name = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(name.split()))
    return name if len(name) <= limit else name[: limit - 1] + "…"


def frozen(data: Any, dtype: Any = None) -> np.ndarray | np.generic:
    """A copy of `data` as an array of real numbers that nobody can write to (0-d: a scalar).

    Raises: TypeError for complex, string, object, masked or ragged data, and for a list
    of Tensors that require a gradient, which would be lost.
    """
    if isinstance(data, Value):
        data = data._data
    refuse_loss(data)
    try:
        real = dtype is None or not np.iscomplexobj(data)  # NumPy would drop the imaginary part
        array = np.array(data, dtype if real else None)
    except (TypeError, ValueError) as error:
        why = "its rows differ in length" if "inhomogeneous" in str(error) else error
        raise TypeError(
            f"a Tensor holds a rectangular array of real numbers, but the data is not one: {why}"
        ) from None
    if array.dtype.kind not in REAL:
        raise TypeError(
            f"a Tensor holds real numbers, but the data has dtype {array.dtype}; "
            + ("take .real or .imag first" if array.dtype.kind == "c" else "convert it first")
        )
    array.flags.writeable = False
    return array[()]


def refuse_loss(data: Any) -> None:
    """Refuse what NumPy would take but lose part of: masks, and gradients inside a list."""
    if isinstance(data, (list, tuple)):
        for part in data:
            if isinstance(part, Value) and part._requires_grad:
                raise TypeError(
                    f"a list that holds {described(part)} cannot become one array without losing "
                    "its gradient; use tinygrad_lite.stack or concatenate"
                )
            if part.__class__ is not float:
                refuse_loss(part)
    elif isinstance(data, np.ma.MaskedArray):
        raise TypeError("a Tensor cannot hold masked entries; use data.filled(value) first")


@dataclass(frozen=True, slots=True)
class Context:
    """What surrounds an operation as it runs, for one thread or task."""

    recording: bool = True
    scope: tuple[str, ...] = ()
    sources: Literal[True] | None = None  # note the user's source line of every operation
    outer: Context | None = None  # what the end of the innermost with block goes back to


START = Context()
CONTEXT: ContextVar[Context] = ContextVar("tinygrad_lite", default=START)


class _Change:
    """A context manager and decorator that replaces part of the context for a while."""

    def _changed(self, context: Context) -> Context:
        raise NotImplementedError

    # Nothing is kept on the object, so that one may be entered twice and by many threads.

    def __enter__(self) -> None:
        context = CONTEXT.get()
        CONTEXT.set(replace(self._changed(context), outer=context))

    def __exit__(self, *_: object) -> None:
        CONTEXT.set(CONTEXT.get().outer or START)

    def __call__(self, function: F) -> F:
        if inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function):
            raise TypeError(
                f"{type(self).__name__} cannot decorate {function.__name__}, which suspends while "
                "it runs; use a with block inside it"
            )

        @wraps(function)
        def inner(*args: Any, **kwargs: Any) -> Any:
            token = CONTEXT.set(self._changed(CONTEXT.get()))
            try:
                return function(*args, **kwargs)
            finally:
                CONTEXT.reset(token)

        return inner  # type: ignore[return-value]


class no_grad(_Change):
    """Record nothing: results inside are leaves that require no gradient.

    A context manager and a decorator; each thread has its own.

    >>> from tinygrad_lite import Tensor, no_grad
    >>> x = Tensor(2.0, requires_grad=True)
    >>> with no_grad():
    ...     y = x * x
    >>> y.requires_grad
    False
    """

    def _changed(self, context: Context) -> Context:
        return replace(context, recording=False)


class recording(_Change):
    """Record even inside `no_grad`, as whoever differentiates must."""

    def _changed(self, context: Context) -> Context:
        return replace(context, recording=True)


class scope(_Change):
    """Name a part of the computation; scopes nest.

    Drawings show a scope as a box, and path tables name paths by the scopes they pass.
    A context manager and a decorator; each thread has its own.

    >>> from tinygrad_lite import Tensor, scope
    >>> with scope("f1"):
    ...     y = Tensor(1.0) + 2.0
    >>> y.scope
    ('f1',)
    """

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not name:
            raise TypeError(f"a scope's name is a non-empty string, but got {name!r}")
        self.name = name

    def _changed(self, context: Context) -> Context:
        return replace(context, scope=(*context.scope, self.name))


def user_line() -> tuple[str, int] | None:
    """File and line, outside this package, of the code that is running."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back  # type: ignore[assignment]
    return (frame.f_code.co_filename, frame.f_lineno) if frame is not None else None
