"""What a value may hold: an array of real numbers that nobody can write to."""

from __future__ import annotations

from typing import Any

import numpy as np

REAL = "fiub"  # the kinds of dtype that a Tensor may have


class Carrier:
    """What an op can be applied to besides arrays: something that holds one, as `_data`."""

    __slots__ = ()

    _data: Any
    _requires_grad: bool

    def apply(self, op: Any, inputs: tuple[Any, ...], static: dict[str, Any]) -> Any:
        """What ``op(*inputs, **static)`` gives, where this is one of the inputs."""
        raise NotImplementedError


def freeze(data: Any, dtype: Any = None) -> np.ndarray | np.generic:
    """A copy of `data` as an array of real numbers that nobody can write to (0-d: a scalar).

    Raises: TypeError for complex, string, object, masked or ragged data, and for a list
    of Tensors that require a gradient, which would be lost.
    """
    if isinstance(data, Carrier):
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
        cure = "take .real or .imag first" if array.dtype.kind == "c" else "convert it first"
        raise TypeError(
            f"a Tensor holds real numbers, but the data has dtype {array.dtype}; {cure}"
        )
    array.flags.writeable = False
    return array[()]


def refuse_loss(data: Any) -> None:
    """Refuse what NumPy would take but lose part of: masks, and gradients inside a list."""
    if isinstance(data, (list, tuple)):
        for part in data:
            if isinstance(part, Carrier) and part._requires_grad:
                raise TypeError(
                    f"a list that holds {describe(part)} cannot become one array without losing "
                    "its gradient; use tinygrad_lite.stack or concatenate"
                )
            if part.__class__ is not float:
                refuse_loss(part)
    elif isinstance(data, np.ma.MaskedArray):
        raise TypeError("a Tensor cannot hold masked entries; use data.filled(value) first")


def describe(value: Any) -> str:
    """What an error calls a value: its name, or its dtype, and its shape."""
    shape, dtype = value._data.shape, value._data.dtype
    if value._name:
        return f"{label(value._name)} {shape}"
    return f"{'an' if dtype.kind == 'i' else 'a'} {dtype} tensor of shape {shape}"


def label(name: str, limit: int = 60) -> str:
    """A name fit for one line of an error or a table: no newlines, at most `limit` long."""
    name = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(name.split()))
    return name if len(name) <= limit else name[: limit - 1] + "…"
