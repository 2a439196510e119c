"""Whether our gradients are those of PyTorch's own backward."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backward import leaf_gradients
from ..operation import Op
from ..tensor import Tensor
from ..value import new
from .conversion import array_of, tensor_of
from .installed import torch

Pair = tuple[Tensor, Any]  # one of our values, and the tensor of PyTorch's that it is


def check_gradients(outputs: list[Pair], leaves: list[Pair]) -> None:
    """Hold the gradients of all leaves to those of PyTorch's own backward, for random cotangents.

    Raises: RuntimeError where one is another by more than rounding.
    """
    if not outputs or not leaves:
        return
    ours, theirs = zip(*outputs, strict=True)
    ends, wanted = zip(*leaves, strict=True)

    def pull(cotangents: list[Any]) -> list[Any]:
        found = torch.autograd.grad(
            theirs, wanted, cotangents, retain_graph=True, materialize_grads=True
        )
        return [g.to_dense() if g.is_sparse else g for g in found]

    with torch.random.fork_rng(enabled=True):
        cotangents = [torch.randn_like(t, memory_format=torch.contiguous_format) for t in theirs]
        expected = pull(cotangents)
        given = [array_of(g) for g in cotangents]
        both = new(Tensor).record(np.float64(0), Together(given), ours, tuple(given))
        found = leaf_gradients(both, np.float64(1))
        differ = []
        for i, end in enumerate(ends):
            g = found.get(end)
            mine = torch.zeros_like(expected[i]) if g is None else tensor_of(g)
            mine = mine.to(expected[i].device)
            if not is_close(mine, expected[i]):
                differ.append((i, mine))
        if not differ:
            return
        # What is left where large parts cancel is rounding. How much of that there is shows in
        # PyTorch's own gradients for almost the same cotangents.
        noise = [0.0] * len(ends)
        for _ in range(3):
            other = [
                g * (1 + 8 * torch.finfo(g.dtype).eps * torch.randn_like(g)) for g in cotangents
            ]
            for i, (x, y) in enumerate(zip(pull(other), expected, strict=True)):
                noise[i] = max(noise[i], size(x - y))
    for i, mine in differ:
        error, whole = size(mine - expected[i]), size(expected[i])
        if not error <= 64 * noise[i]:
            name = ends[i].name or f"a parameter of shape {tuple(mine.shape)}"
            raise RuntimeError(
                f"the gradient of {name} is not the one that PyTorch's own backward gives: it "
                f"differs by {error:.3g}, and its norm is {whole:.3g}; a hook on a node of "
                "PyTorch's record may be why, or a custom Function that is not linear in what "
                "arrives"
            )


class Together(Op):
    """Several outputs as one, whose gradient arrives at each as was given."""

    sequence, foreign, name, inputs = True, False, "together", ("outputs",)

    def __init__(self, cotangents: list[Any]) -> None:
        self.rules = [lambda *_: cotangents]


def size(t: Any) -> float:
    """The Euclidean norm of a torch tensor."""
    return float(torch.linalg.vector_norm(t, dtype=torch.float64))


def is_close(found: Any, expected: Any) -> bool:
    """Whether two gradients are the same, to 1e-11 in float64, and to rounding in other dtypes."""
    if torch.equal(found, expected):
        return True
    finite = expected.isfinite()
    if not torch.equal(found[~finite].nan_to_num(), expected[~finite].nan_to_num()):
        return False
    eps = torch.finfo(expected.dtype).eps
    close = 1e-11 if expected.dtype == torch.float64 else min(1024 * eps, 0.05)
    return size(found[finite] - expected[finite]) <= close * size(expected[finite])
