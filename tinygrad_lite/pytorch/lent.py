"""Values that share the model's memory until someone looks at them, and the watch on it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from math import gcd
from typing import Any

import numpy as np

from ..arrays import describe
from ..tensor import Tensor
from ..value import Value, new
from .conversion import array_of
from .installed import torch

ARRAY: Any = vars(Value)["_array"]  # the slot


class Watch:
    """The memory of a tensor, as a parameter, that others may write to: whether it was changed."""

    def __init__(self, t: Any, name: str) -> None:
        self.t, self.name = t, name
        self.place, words = address(t), words_of(t)
        self.copy = words.copy()
        # The words of a tensor in one piece are its memory; of any other they are copied from it.
        self.words = words if self.place and t.is_cpu and t.is_contiguous() else None

    def hold(self) -> None:
        """Raises: RuntimeError if it was changed."""
        words = words_of(self.t) if self.words is None else self.words
        if address(self.t) != self.place or (words != self.copy).any():
            raise RuntimeError(
                f"{self.name} was changed since from_torch ran the model, and what was recorded "
                "rests on its values; run from_torch again"
            )


def address(t: Any) -> int:
    """Where the numbers of a tensor begin; 0 where they do not stand in a row of memory."""
    return t.data_ptr() if t.layout is torch.strided else 0


def words_of(t: Any) -> np.ndarray:
    """The bytes of a tensor, as words as long as they can be, of 8 at most."""
    t = t.detach() if t.layout is torch.strided else t.detach().to_dense()
    data = t.cpu().reshape(-1).view(torch.uint8).numpy()
    return data.view(f"u{gcd(8, data.size)}")


class Lent(Tensor):
    """A Tensor whose memory is the model's, until someone looks at its array: then it is copied.
    The reverse pass does not look."""

    __slots__ = ("lender", "lent", "watches")

    lender: Any  # the torch tensor
    lent: Any  # its shape and dtype
    watches: Sequence[Watch]  # on that memory

    @classmethod
    def of(cls, t: Any, dtype: np.dtype[Any], watches: Sequence[Watch]) -> Any:
        """A Tensor for the values of a torch tensor, not recorded yet."""
        made = new(cls)
        made.lender, made.lent, made.watches = t, (tuple(t.shape), dtype), watches
        return made

    @property
    def _array(self) -> Any:
        with suppress(AttributeError):
            return ARRAY.__get__(self)
        for watch in self.watches:
            watch.hold()
        ARRAY.__set__(self, array_of(self.lender.clone()))
        return ARRAY.__get__(self)

    @_array.setter
    def _array(self, data: Any) -> None:
        if data is not None:
            ARRAY.__set__(self, data)

    @property
    def data(self) -> Any:
        """The value, read-only."""
        return Tensor.data.__get__(self)

    @data.setter
    def data(self, new: Any) -> None:
        if hasattr(self, "lender"):
            raise TypeError(
                f"{describe(self)} is of a PyTorch model, which would not notice new data; change "
                "it there and run from_torch again, or replay(y, {name: array})"
            )
        Tensor.data.__set__(self, new)  # type: ignore[attr-defined]

    @property
    def form(self) -> Any:
        """Its shape and dtype."""
        try:
            return self.lent
        except AttributeError:
            return self._array.shape, self._array.dtype

    @property
    def operands(self) -> Any:
        """What its rule is given: where it was made by PyTorch, that has the result itself."""
        return None if hasattr(self, "lender") else self._array, self.arrays


class Arrays(Sequence[Any]):
    """The arrays of some inputs; one that is lent is copied when someone looks at it."""

    def __init__(self, inputs: Sequence[Any]) -> None:
        self.held = [x if x is None or isinstance(x, Lent) else x._array for x in inputs]

    def __len__(self) -> int:
        return len(self.held)

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return tuple(self)[i]
        return self.held[i]._array if isinstance(self.held[i], Lent) else self.held[i]
