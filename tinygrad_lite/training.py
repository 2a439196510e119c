"""What training a small network takes: optimisers, first weights, batches, and a file.

Parameters are Tensors that require a gradient. An optimiser reads their `.grad` and gives
them new `.data`; there is no class of models to inherit from, a list of Tensors will do.

>>> import numpy as np
>>> from tinygrad_lite import Tensor
>>> from tinygrad_lite.training import SGD
>>> w = Tensor(0.0, requires_grad=True, name="w")
>>> optimiser = SGD([w], lr=0.1)
>>> for _ in range(100):
...     ((w - 3.0) ** 2).backward()
...     optimiser.step()
>>> round(w.item(), 6)
3.0
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from .arrays import describe
from .files import check_target, file_path, whole_file
from .tensor import Tensor

__all__ = ["SGD", "Adam", "batches", "he_normal", "load", "save", "xavier_normal"]


class Optimiser:
    """What moves parameters along their gradients. `lr`, the learning rate, may be changed
    between steps.

    Raises: TypeError if a parameter is no leaf that requires a gradient, or a rate no number;
    ValueError if one comes twice, or a rate is out of its range.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        self.parameters, self.lr = list_of_tensors(parameters), lr
        check_rate("lr", lr)
        for t in self.parameters:
            if t.op is not None or not t.requires_grad:
                made = "a parameter is made as Tensor(data, requires_grad=True)"
                raise TypeError(f"{describe(t)} cannot be trained: {made}")
        if len(set(self.parameters)) < len(self.parameters):
            raise ValueError("a parameter comes twice, and would move twice; list each once")

    def step(self, gradients: Sequence[Any] | None = None) -> None:
        """Move each parameter along its `.grad`, and forget that, so that the next backward starts
        anew; or along `gradients`, an array for each as a `program` gives them. A parameter without
        a gradient stays as it is. Raises: ValueError for another number of gradients."""
        if gradients is not None and len(gradients) != len(self.parameters):
            n = len(self.parameters)
            raise ValueError(f"there are {n} parameters, but {len(gradients)} gradients were given")
        for i, t in enumerate(self.parameters):
            g = t.grad if gradients is None else gradients[i]
            if g is not None:
                t.data = np.subtract(t.data, self.lr * self.direction(i, g))
                t.grad = None

    def direction(self, i: int, g: np.ndarray) -> np.ndarray:
        """The step of parameter i, whose gradient is g, for a learning rate of 1."""
        raise NotImplementedError


def list_of_tensors(parameters: Any) -> list[Tensor]:
    """The parameters as a list. Raises: TypeError if they are no list of Tensors."""
    cure = "give a list of Tensors, as [W1, b1]"
    if isinstance(parameters, dict):
        raise TypeError(f"the parameters are a dict; {cure}, here list(parameters.values())")
    if isinstance(parameters, (Tensor, str)) or not isinstance(parameters, Iterable):
        raise TypeError(f"the parameters are of type {type(parameters).__name__}; {cure}")
    found = list(parameters)
    for t in found:
        if not isinstance(t, Tensor):
            raise TypeError(f"one of the parameters is of type {type(t).__name__}; {cure}")
    return found


def check_rate(name: str, rate: Any, below: float = np.inf) -> None:
    """Raise TypeError if a rate is no number; ValueError unless it is in [0, below)."""
    if not isinstance(rate, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number, but is of type {type(rate).__name__}")
    if not 0 <= rate < below:
        least = "at least 0 and finite" if below == np.inf else f"at least 0 and below {below:g}"
        raise ValueError(f"{name} must be {least}, but is {rate}")


class SGD(Optimiser):
    """Gradient descent with momentum, as `torch.optim.SGD`:

    v <- momentum * v + g,   parameter <- parameter - lr * v
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, momentum: float = 0.0) -> None:
        super().__init__(parameters, lr)
        check_rate("momentum", momentum)
        self.momentum = momentum
        self.velocity: dict[int, np.ndarray] = {}

    def direction(self, i: int, g: np.ndarray) -> np.ndarray:
        """v, after the gradient g."""
        if self.momentum and i in self.velocity:
            g = self.momentum * self.velocity[i] + g
        self.velocity[i] = np.array(g)  # the gradient is its owner's to change
        return g


class Adam(Optimiser):
    """Adam (Kingma and Ba 2015, algorithm 1), as `torch.optim.Adam`:

    m <- b1 * m + (1 - b1) * g,   v <- b2 * v + (1 - b2) * g**2
    parameter <- parameter - lr * m / (1 - b1**t) / (sqrt(v / (1 - b2**t)) + eps)

    with t the number of steps so far, and betas = (b1, b2).
    """

    def __init__(
        self, parameters: Iterable[Tensor], lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
    ) -> None:  # fmt: skip
        super().__init__(parameters, lr)
        if not (isinstance(betas, (tuple, list)) and len(betas) == 2):
            raise TypeError(f"betas must be a pair of numbers, as (0.9, 0.999), but is {betas!r}")
        for name, rate, below in (*(("betas", b, 1.0) for b in betas), ("eps", eps, np.inf)):
            check_rate(name, rate, below)
        self.betas, self.eps = betas, eps
        self.moments: dict[int, tuple[int, Any, Any]] = {}

    def direction(self, i: int, g: np.ndarray) -> np.ndarray:
        """m over the root of v, both corrected for starting at 0, after the gradient g."""
        b1, b2 = self.betas
        t, m, v = self.moments.get(i, (0, 0, 0))
        t, m, v = self.moments[i] = (t + 1, b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g)
        return m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + self.eps)


# First weights. The shape is that of conv2d's or `x @ w.T`'s w: (outputs, inputs, ...).


def he_normal(
    rng: np.random.Generator, shape: Sequence[int], dtype: Any = np.float32
) -> np.ndarray:
    """Normal numbers of standard deviation sqrt(2 / inputs of an output), which keep the
    size of what passes through a layer with relu (He et al. 2015).

    >>> he_normal(np.random.default_rng(0), (8, 4, 3, 3)).shape
    (8, 4, 3, 3)
    """
    _, inputs, size = fans(rng, shape)
    return (rng.standard_normal(shape) * np.sqrt(2 / (inputs * size or 1))).astype(dtype)


def xavier_normal(
    rng: np.random.Generator, shape: Sequence[int], dtype: Any = np.float32
) -> np.ndarray:
    """Normal numbers of standard deviation sqrt(2 / (inputs + outputs)), for layers with
    tanh or sigmoid (Glorot and Bengio 2010)."""
    outputs, inputs, size = fans(rng, shape)
    return (rng.standard_normal(shape) * np.sqrt(2 / (size * (outputs + inputs) or 1))).astype(
        dtype
    )


def fans(rng: Any, shape: Any) -> tuple[int, int, int]:
    """The numbers of outputs and inputs of weights of a shape, and of the rest.

    Raises: TypeError if `rng` is no generator, or the shape no tuple of integers; ValueError if
    it has less than two.
    """
    check_generator(rng)
    if not (
        isinstance(shape, (tuple, list)) and all(isinstance(n, (int, np.integer)) for n in shape)
    ):
        raise TypeError(f"a shape is a tuple of integers, as (outputs, inputs), but got {shape!r}")
    if len(shape) < 2 or min(shape) < 0:
        raise ValueError(f"weights have a shape (outputs, inputs, ...), but got {tuple(shape)}")
    return shape[0], shape[1], math.prod(shape[2:])


def check_generator(rng: Any) -> None:
    """Raise TypeError unless `rng` is a generator of random numbers."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng is a np.random.default_rng(seed), but got {type(rng).__name__}")


def batches(rng: np.random.Generator, n: int, size: int) -> Iterator[np.ndarray]:
    """The numbers 0 ... n-1 in random order, `size` at a time; the last batch may be smaller.

    >>> [len(batch) for batch in batches(np.random.default_rng(0), 10, 4)]
    [4, 4, 2]

    Raises: TypeError if `n` or `size` is no integer; ValueError if `size` is less than 1, or `n`
    negative.
    """
    check_generator(rng)
    for name, number in (("n", n), ("size", size)):
        if not isinstance(number, (int, np.integer)):
            raise TypeError(f"batches: {name} must be an integer, but is {number!r}")
    if n < 0:
        raise ValueError(f"the number of examples must be at least 0, but n is {n}")
    if size < 1:
        raise ValueError(f"a batch must hold at least 1, but size is {size}")
    order = rng.permutation(n)
    return (order[i : i + size] for i in range(0, n, size))


def save(path: str | os.PathLike[str], parameters: Iterable[Tensor]) -> None:
    """Write the parameters to a `.npz` file, each under its name.

    The file takes its name only when it is complete: a failed save leaves the old one.

    Raises: ValueError if the path does not end in .npz, a parameter has no name, or two
    have one; FileNotFoundError for a folder that does not exist.
    """
    path, named = file_path(path), by_name(parameters)
    check_target(path, (".npz",))
    # As numpy.savez does it, which cannot take a parameter named "file".
    with whole_file(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, t in named.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asarray(t.data), allow_pickle=False)


def load(path: str | os.PathLike[str], parameters: Iterable[Tensor]) -> None:
    """Give the parameters the data that `save` wrote, matched by name: all or none.

    Raises: ValueError if the file is no `.npz`, or its names, shapes or dtypes are not
    those of the parameters; OSError as reading does.
    """
    path, named = file_path(path), by_name(parameters)
    try:
        # Opened here, as numpy.load leaves a file open that it cannot read.
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            # By their full names: NumPy takes "x.npy" for the entry of x, even where both are.
            found = {name: file[f"{name}.npy"] for name in file.files}
    except OSError as error:
        if error.strerror:
            raise type(error)(f"{path} cannot be read: {error.strerror}") from None
        raise
    except (ValueError, EOFError, TypeError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{os.fspath(path)} is not a file of parameters: {error}") from None
    wrong = [
        f"{name} has shape {found[name].shape} and dtype {found[name].dtype} there, and "
        f"{t.shape} and {t.dtype} here"
        for name, t in named.items()
        if name in found and (found[name].shape, found[name].dtype) != (t.shape, t.dtype)
    ]
    if found.keys() != named.keys():
        there, here = (", ".join(sorted(names)) or "nothing" for names in (found, named))
        wrong = [f"it holds {there}, not {here}"]
    if wrong:
        raise ValueError(f"{os.fspath(path)} does not fit these parameters: {wrong[0]}")
    for name, t in named.items():
        t.data = found[name]


def by_name(parameters: Iterable[Tensor]) -> dict[str, Tensor]:
    """The parameters by name."""
    named: dict[str, Tensor] = {}
    for t in list_of_tensors(parameters):
        if not t.name:
            raise ValueError(f"{describe(t)} has no name to be filed under; set its .name")
        if t.name in named:
            raise ValueError(f"two parameters are named {t.name!r}; give each a name of its own")
        named[t.name] = t
    return named
