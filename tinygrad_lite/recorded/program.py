"""A recorded computation as a function of arrays: its value and gradients, without a record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ancestors import ancestors
from ..arrays import describe, refuse_loss
from ..backward import seed
from ..ops.nn import Drawn
from ..tensor import Tensor
from ..value import Value
from . import rerun
from .names import Names
from .trace import is_one, tensor_meant

Program = Callable[..., tuple[Any, Any]]


def program(
    output: Tensor,
    wrt: Tensor | str | Sequence[Tensor | str],
    inputs: Sequence[Tensor] = (),
    gradient: Any = None,
) -> Program:
    """The function that computes `output` and its gradient with respect to `wrt` again.

    ``value, gradients = run(*arrays)`` takes an array for each of `inputs`, in order; every other
    leaf is read from its `.data` at each call, as the parameters that an optimiser moves. Plain
    arrays come back, the gradients as a tuple in the order of `wrt` (one Tensor, or the name of
    one: one array). A program may keep the memory of large arrays for its next call: of what was
    computed on the way, and of results that nobody holds any more.

    It is the recorded computation: numbers that were taken out of Tensors are constants in it.
    Where a truth that the code asked of a Tensor, or a Tensor that it had as an index, comes out
    otherwise, it raises.

    >>> from tinygrad_lite import Tensor, program
    >>> x, w = Tensor(1.0), Tensor(3.0, requires_grad=True)
    >>> run = program((w * x - 1.0) ** 2, wrt=w, inputs=[x])
    >>> value, slope = run(2.0)
    >>> float(value), float(slope)
    (25.0, 20.0)

    Raises: TypeError if `wrt` or `inputs` are no leaves of it, or one of `wrt` or the output
    requires no gradient; ValueError if no gradient travels to a name, it drew a mask, as dropout
    does, that is not among `inputs`, or the output is no scalar and no gradient is given. `run`
    raises TypeError for a Tensor or another dtype (a Python number may be cast), ValueError for
    another number of arrays or another shape, RuntimeError where a truth comes out otherwise.
    """
    one = is_one(wrt)
    wanted: Any = (wrt,) if one else tuple(wrt)
    if any(isinstance(x, str) for x in wanted):
        names = Names([output])
        wanted = tuple(tensor_meant(output, x, names) if isinstance(x, str) else x for x in wanted)
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    start, computation = seed(output, gradient), ancestors([output])
    leaves = [v for v in computation if v.op is None]
    for x in (*wanted, *inputs):
        if not any(x is leaf for leaf in leaves):
            what = describe(x) if isinstance(x, Value) else type(x).__name__
            raise TypeError(f"program: {what} is no leaf of {describe(output)}")
    if constant := [x for x in wanted if not x.requires_grad]:
        raise TypeError(f"program: {describe(constant[0])} requires no gradient, and is in wrt")
    if len(set(inputs)) < len(inputs):
        raise ValueError("program: a leaf is named twice in inputs")
    masks = [v for v in leaves if isinstance(v._name, Drawn) and not any(v is x for x in inputs)]
    if masks:
        raise ValueError(
            f"program: {describe(output)} drew a mask, which would be the same at each call; name "
            "it among inputs= and give a new one, or make the program outside of training"
        )
    run = rerun.passes(output, computation, start, wanted, inputs)

    def run_again(*arrays: Any) -> tuple[Any, Any]:
        if len(arrays) != len(inputs):
            raise ValueError(f"the program takes {len(inputs)} arrays, but got {len(arrays)}")
        data = [fitting(x, a) for x, a in zip(inputs, arrays, strict=True)]
        value, gradients, otherwise = run(data)
        if otherwise:
            raise RuntimeError(f"the program cannot be run for these arrays: {otherwise}")
        return value, gradients[0] if one else tuple(gradients)

    return run_again


def fitting(x: Tensor, array: Any) -> Any:
    """An array in the place of an input. Raises: TypeError or ValueError if it does not fit."""
    if isinstance(array, Value):
        raise TypeError(f"the program takes arrays, but got a Tensor for {describe(x)}; pass .data")
    refuse_loss(array)
    found = np.asarray(array)
    if found.shape != x.shape:
        raise ValueError(f"{describe(x)} has that shape in the program, but got {found.shape}")
    if type(array) in (bool, int, float):
        found = rerun.fit(x, array)
    if found.dtype != x.dtype:
        raise TypeError(f"{describe(x)} has dtype {x.dtype} in the program, but got {found.dtype}")
    return found if found.ndim else found[()]
