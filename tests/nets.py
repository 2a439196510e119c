"""Computations that several tests look at: the skip networks, deep nets, random graphs."""

from __future__ import annotations

import numpy as np

import tinygrad_lite as tl
from tinygrad_lite import Tensor, conv2d, scope, sigmoid


def skip_networks(seed: int = 0) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """F = f3(f2(f1(x))), G = F + f2(f1(x)) and their parameters, by name."""
    rng = np.random.default_rng(seed)
    shapes = {"W1": (4, 3), "b1": 4, "W2": (4, 4), "b2": 4, "W3": (4, 4), "b3": 4}
    t = {
        name: Tensor(rng.standard_normal(shape), requires_grad=True, name=name)
        for name, shape in shapes.items()
    }
    t["x"] = Tensor(rng.standard_normal(3), name="x")
    h = [t["x"]]
    for i in "123":
        with scope(f"f{i}"):
            h.append(sigmoid(t[f"W{i}"] @ h[-1] + t[f"b{i}"]))
    F, G = h[3], h[3] + h[2]
    h[1].name, h[2].name, F.name, G.name = "z", "y", "F", "G"
    return F, G, t


def deep_net(blocks: int, skip: bool, width: int = 8, seed: int = 0) -> tuple[Tensor, Tensor, list]:
    """A net of sigmoid layers, each in a scope, with or without skips: (output, x, weights)."""
    rng = np.random.default_rng(seed)
    x = h = Tensor(rng.standard_normal(width), requires_grad=True, name="x")
    weights = []
    for i in range(blocks):
        w = Tensor(
            rng.standard_normal((width, width)) / width**0.5, requires_grad=True, name=f"W{i}"
        )
        weights.append(w)
        with scope(f"block{i}"):
            f = sigmoid(w @ h)
        h = h + f if skip else f
    return h.sum(), x, weights


def tangled(size: int) -> Tensor:
    """A chain of random ops of whose values each is used again at the end, in another order: so
    nothing repeats, and no stretch hands on a single value."""
    rng = np.random.default_rng(0)
    values = [Tensor(1.0, True, name="x")]
    for i in rng.integers(3, size=size):
        values.append((tl.tanh, tl.sin, tl.cos)[i](values[-1]))
    return tl.stack([values[i] for i in rng.permutation(len(values))])


def random_graph(seed: int, size: int = 7) -> tuple[Tensor, list[Tensor]]:
    """A small computation with reuse, repeated operands, broadcasting, indexing, reductions
    and a convolution, whose paths can still be walked: (output, parameters)."""
    rng = np.random.default_rng(seed)

    def parameter(*shape: int) -> Tensor:
        return Tensor(rng.uniform(0.3, 1.5, shape), requires_grad=True, name=f"p{shape}")

    parameters = [parameter(2, 3), parameter(3), parameter(3, 3), parameter(), parameter(2, 1)]
    image, kernel = parameter(1, 1, 4, 4), parameter(1, 1, 3, 2)
    parameters += [image, kernel]
    # All values of the pool have shape (2, 3), and each step takes one or two of them.
    pool = [parameters[0], conv2d(image, kernel)[0, 0], parameters[1] * parameters[4]]
    steps = [
        lambda a, b: a * b,
        lambda a, b: a + b,
        lambda a, b: a - b * parameters[3],
        lambda a, b: a * a,
        lambda a, b: sigmoid(a @ parameters[2]),
        lambda a, b: a / (b * b + 1.0),
        lambda a, b: a[[1, 0, 1]][:2] + b.mean(axis=1, keepdims=True),
        lambda a, b: tl.tanh(b.T.reshape(2, 3)),
        lambda a, b: tl.concatenate([a[:, :1], b[:, 1:]], axis=1),
        lambda a, b: tl.maximum(a, b),
        lambda a, b: tl.where(np.array([True, False, True]), a, b),
    ]
    for _ in range(size):
        a, b = (pool[-1 - int(rng.integers(min(len(pool), 3)))] for _ in range(2))
        with scope(f"s{int(rng.integers(3))}"):
            pool.append(steps[int(rng.integers(len(steps)))](a, b))
    output = (pool[-1] * pool[-2]).sum()
    return output, [p for p in parameters if p in set(_leaves(output))]


def _leaves(output: Tensor) -> list[Tensor]:
    from tinygrad_lite.ancestors import ancestors

    return [value for value in ancestors([output]) if value.op is None]
