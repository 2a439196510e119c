"""Quicker ways to the same answers: without this folder every answer stays the same.

The engine is written to be read. Where that costs time that someone would notice, the function
is a slot: importing this package puts a quicker one in its place. `TINYGRAD_LITE_PLAIN=1` in the
environment leaves all slots as they are; a test holds both to the same answers.
"""

from __future__ import annotations

from typing import Any

from .. import ancestors, backward, calculus, tensor, value
from ..operation import Op
from ..ops import (
    add,
    broadcast_to,
    convolution,
    divide,
    matmul,
    multiply,
    power,
    sigmoid,
    subtract,
    sum,
)
from ..recorded import rerun
from ..tensor import Data, Tensor
from . import apply, deferred, functions, remake, update, walk

passes_plainly = rerun.passes


def straight_passes(output: Any, computation: Any, *args: Any) -> rerun.Passes:
    """`straight.passes`, loaded when the first program is made: 4 ms that few need. Where something
    was asked of a Tensor, the plain form asks again."""
    if any(hasattr(v, "truths") for v in computation):
        return passes_plainly(output, computation, *args)
    from .straight import passes

    return passes(output, computation, *args)


def late(name: str) -> Any:
    """A function of convolve.py, loaded when the first image is convolved: 0.3 ms."""

    def fill_and_call(*args: Any) -> Any:
        from . import convolve

        setattr(convolution, name, getattr(convolve, name))
        return getattr(convolve, name)(*args)

    return fill_and_call


# (where, the slot's name there, what fills it)
SLOTS: list[tuple[Any, str, Any]] = [
    (Op, "bind", apply.bind),
    (Op, "__call__", apply.call),
    (Tensor, "__add__", apply.infix(add)),
    (Tensor, "__sub__", apply.infix(subtract)),
    (Tensor, "__mul__", apply.infix(multiply)),
    (Tensor, "__truediv__", apply.infix(divide)),
    (Tensor, "__pow__", apply.infix(power)),
    (Tensor, "__matmul__", apply.infix(matmul, functions.matmul)),
    (Data, "__sub__", update.subtract),
    (tensor, "take", update.take),
    (backward, "leaf_gradients", walk.leaf_gradients),
    (backward, "store", walk.store),
    (backward.unbroadcast, "forward", walk.unbroadcast),
    (matmul, "forward", functions.matmul),
    (sigmoid, "forward", functions.sigmoid),
    (sum, "forward", functions.sum),
    (broadcast_to, "forward", functions.broadcast_to),
    (ancestors, "between", walk.between),
    (value, "next_index", deferred.next_index),
    (value, "lock", apply.hold),
    (rerun, "remake", remake.remake),
    (rerun, "passes", straight_passes),
    (calculus, "recorded_gradients", deferred.defer),
    (convolution, "correlate", late("correlate")),
    (convolution, "correlate_image", late("correlate_image")),
    (convolution, "correlate_kernel", late("correlate_kernel")),
]


def fill() -> None:
    """Put the quicker functions into their slots."""
    for place, name, quicker in SLOTS:
        setattr(place, name, quicker)
