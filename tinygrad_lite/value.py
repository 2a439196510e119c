"""A value and the record of how it was made: the ground everything else stands on.

Every operation leaves one `Value` behind. Its `inputs` point to the values it was computed
from, in order and with repeats, so the values form a graph: the whole computation, ready to
be walked backward, drawn, or stepped through.

`Tensor` (tensor.py) is a `Value` with operators; nothing below it needs them.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np

from .arrays import REAL, Carrier, describe, freeze
from .context import CONTEXT
from .operation import ERRORS, Op

next_index = count().__next__  # creation order: inputs always have smaller indices
new: Callable[[Any], Any] = object.__new__


class Value(Carrier):
    """An array that never changes, and how it was made.

    A leaf has ``op = None`` and no inputs. A computed value has the op, its inputs
    (values; Python scalars and None stay as they are), the arrays the op saw (kept
    here so that a parameter may be given new data afterwards), and the op's static
    parameters.
    """

    # One slotted object per node, no closure: the garbage collector's work stays small.
    __slots__ = (  # noqa: RUF023 (in the order of what they say)
        "_array", "_requires_grad", "_name", "grad",
        "op", "inputs", "arrays", "params", "scope", "index", "source",
        "changed", "cotangent", "place", "stands_for", "truths", "__weakref__",
    )  # fmt: skip

    _array: np.ndarray | np.generic
    _requires_grad: bool
    _name: str | None
    grad: np.ndarray | None
    op: Op | None
    inputs: tuple[Any, ...]
    arrays: tuple[Any, ...]
    params: dict[str, Any]
    scope: tuple[str, ...]
    index: int
    source: Any  # the calls that led to it, as `Calls` notes them; None if nobody asked
    changed: int  # when a leaf was last given new data, as an index; unset if it never was
    cotangent: Any  # what backward last started with here; unset if it never did
    place: int  # the index of the value in whose place a replay made this; unset if none did
    stands_for: tuple[Any, ...]  # refs to those in whose place replays put this; unset if none did
    truths: list[Any]  # what code asked of what was computed from it (truths.py); unset if nothing

    def __init__(
        self, data: Any, requires_grad: bool = False, *, name: str | None = None, dtype: Any = None
    ) -> None:
        self.record(freeze(data, dtype))
        self._name = check_name(name)
        if requires_grad and self._array.dtype.kind != "f":
            raise TypeError(
                f"only a floating dtype can require a gradient, but {describe(self)} has dtype "
                f"{self._array.dtype}; make it with dtype=float"
            )
        self._requires_grad = bool(requires_grad)

    # Read here; Tensor says what assigning to them does.
    data: Any = property(lambda self: self._array)
    name: Any = property(lambda self: self._name)
    requires_grad: Any = property(lambda self: self._requires_grad)
    # What the reverse pass reads of a value, so that one may have it without holding an array.
    form: Any = property(lambda self: (self._array.shape, self._array.dtype))
    operands: Any = property(lambda self: (self._array, self.arrays))

    def record(
        self,
        data: np.ndarray | np.generic,
        op: Op | None = None,
        inputs: tuple[Any, ...] = (),
        arrays: tuple[Any, ...] = (),
        params: dict[str, Any] | None = None,
        requires_grad: bool = False,
    ) -> Any:
        """Hold `data`, which nobody may be able to write to, and how it was made; return self."""
        now = CONTEXT.get()
        self._array, self._requires_grad, self._name, self.grad = data, requires_grad, None, None
        self.op, self.inputs, self.arrays, self.params = op, inputs, arrays, params or {}
        self.scope, self.index = now.scope, next_index()
        self.source = now.sources.note() if op is not None and now.sources else None
        return self

    def apply(self, op: Op, inputs: tuple[Any, ...], static: dict[str, Any]) -> Any:
        """What an op gives for inputs of which this is one: computed, and recorded."""
        kind: Any = self.__class__
        inputs = tuple(x if isinstance(x, KEPT) else kind(x) for x in inputs)
        arrays = tuple(x._array if isinstance(x, Value) else x for x in inputs)
        try:
            data = lock(op, op.compute(*arrays, **static), arrays)
        except ERRORS as error:
            raise op.explain(error, inputs, static) from None
        if not CONTEXT.get().recording:
            return new(kind).record(data)
        wanted = any(isinstance(x, Value) and x._requires_grad for x in inputs)
        return new(kind).record(data, op, inputs, arrays, static, wanted and data.dtype.kind == "f")


def check_name(name: Any) -> str | None:
    """A name, if it is one. Raises: TypeError for what is neither a string nor None."""
    if not (name is None or isinstance(name, str)):
        raise TypeError(f"a name is a string or None, but got {type(name).__name__} {name!r}")
    return name


KEPT = (Value, np.generic, float, int, type(None))  # inputs that nobody can change


def lock(op: Op, data: Any, arrays: tuple[Any, ...]) -> np.ndarray | np.generic:
    """What an op's function returned, checked, as an array that nobody can write to: a view of
    an input stays one, anything else is copied, as someone may still hold it.

    Raises: TypeError if it is not an array of real numbers.
    """
    op.check(data)
    base = data.base if type(data) is np.ndarray and data.dtype.kind in REAL else None
    if base is not None and any(base is a or base is getattr(a, "base", None) for a in arrays):
        data.setflags(write=False)
        return data if data.ndim else data[()]
    try:
        return freeze(data)
    except TypeError as error:
        raise TypeError(f"{op.name} gave what no Tensor can hold: {error}") from None
