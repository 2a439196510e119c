"""Arrays as torch tensors and back, of the same memory where it can be."""

from __future__ import annotations

from typing import Any

import numpy as np

from .installed import torch

DTYPES: dict[Any, np.dtype[Any]] = {}
if torch is not None:
    _KINDS = "float64 float32 float16 int64 int32 int16 int8 uint8 uint16 uint32 uint64 bool"
    DTYPES = {getattr(torch, kind): np.dtype(kind) for kind in _KINDS.split()}


def tensor_of(a: Any) -> Any:
    """An array as a torch tensor, of the same memory where it can be."""
    if a is None:
        return None
    if isinstance(made := getattr(a, "base", None), torch.Tensor):  # of which `array_of` made it
        return made
    array = np.asarray(a)
    if min(array.strides, default=0) < 0:
        array = array.copy()
    return torch.from_numpy(array if array.flags.writeable else np.asarray(Pointer(array)))


class Pointer:
    """The memory of an array, as NumPy's protocol describes it, open for writing: as PyTorch, that
    does not write to it, wants it."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, about = array, dict(array.__array_interface__)
        self.__array_interface__ = about | {"data": (about["data"][0], False)}


def array_of(t: Any) -> Any:
    """A torch tensor as an array that nobody can write to, of the same memory where it can be."""
    if t.requires_grad:
        t = t.detach()
    try:
        array = t.numpy()
    except (TypeError, RuntimeError):  # of another device or layout, or not yet written out
        dense = t if t.layout is torch.strided else t.to_dense()
        array = dense.numpy(force=True)
    array.setflags(write=False)
    return array if array.ndim else array[()]


def dtype_of(t: Any) -> np.dtype[Any]:
    """The dtype of a torch tensor as NumPy has it.

    Raises: TypeError where no Tensor can hold it.
    """
    if t.dtype not in DTYPES:
        kind = str(t.dtype).removeprefix("torch.")
        cure = "; convert it first, as by model.float()" if t.is_floating_point() else ""
        raise TypeError(f"the model computes with {kind}, which no Tensor can hold{cure}")
    return DTYPES[t.dtype]
