"""What a value may hold: an array of real numbers that nobody can write to."""

from __future__ import annotations

from typing import Any

import numpy as np

from .context import CONTEXT

REAL = "fiub"  # the kinds of dtype that a Tensor may have


class Carrier:
    """What an op can be applied to besides arrays: something that holds one, as `_array`."""

    __slots__ = ()

    _array: Any
    _requires_grad: bool

    def apply(self, op: Any, inputs: tuple[Any, ...], static: dict[str, Any]) -> Any:
        """What ``op(*inputs, **static)`` gives, where this is one of the inputs."""
        raise NotImplementedError

    def as_static(self) -> Any:
        """Its array, for an op that takes it as a static argument."""
        return self._array


def freeze(data: Any, dtype: Any = None) -> np.ndarray | np.generic:
    """A copy of `data` as an array of real numbers that nobody can write to (0-d: a scalar).

    Raises: TypeError for a Tensor that requires a gradient, or a list that holds one, as the
    gradient would be lost; for complex, string, object, masked or ragged data.
    """
    refuse_loss(data)
    if isinstance(data, Carrier):
        data = data._array
    try:
        real = dtype is None or not np.iscomplexobj(data)  # NumPy would drop the imaginary part
        array = np.array(data, dtype if real else None)
    except (TypeError, ValueError) as error:
        why = "its rows differ in length" if "inhomogeneous" in str(error) else error
        raise TypeError(
            f"a Tensor holds a rectangular array of real numbers, but the data is not one: {why}"
        ) from None
    if array.dtype.kind not in REAL:
        cure = "take .real or .imag first" if array.dtype.kind == "c" else "convert it first"
        raise TypeError(
            f"a Tensor holds real numbers, but the data has dtype {array.dtype}; {cure}"
        )
    array.flags.writeable = False
    return array.view() if array.ndim else array[()]  # a view cannot be unlocked


def refuse_loss(data: Any) -> None:
    """Refuse what would be lost in an array: gradients, masks, and that * is a matrix product."""
    if isinstance(data, Carrier):
        if loses_gradient(data):
            raise TypeError(
                f"{describe(data)} requires a gradient, which a new array would lose; use it as it "
                "is, or say that its values are meant, with .detach() or .data"
            )
    elif isinstance(data, (list, tuple)):
        for part in data:
            if loses_gradient(part):
                raise TypeError(
                    f"a list that holds {describe(part)} cannot become one array without losing "
                    "its gradient; use np.stack or tinygrad_lite.stack"
                )
            if part.__class__ is not float:
                refuse_loss(part)
    elif isinstance(data, np.ma.MaskedArray):
        raise TypeError("a Tensor cannot hold masked entries; use data.filled(value) first")
    elif isinstance(data, np.matrix):
        raise TypeError(
            "a Tensor is no np.matrix, whose * is a matrix product; use np.asarray(m), and @"
        )


def loses_gradient(x: Any) -> bool:
    """Whether x requires a gradient that plain numbers would lose; inside no_grad, none does."""
    return isinstance(x, Carrier) and x._requires_grad and CONTEXT.get().recording


def describe(value: Any) -> str:
    """What an error calls a value: its name, or its dtype, and its shape."""
    shape, dtype = value.form
    if value._name:
        return f"{label(value._name)} {shape}"
    return f"{'an' if dtype.kind == 'i' else 'a'} {dtype} tensor of shape {shape}"


def label(name: str, limit: int = 60) -> str:
    """A name fit for one line of an error or a table: no newlines, at most `limit` long."""
    name = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(name.split()))
    return name if len(name) <= limit else name[: limit - 1] + "…"
