"""What small networks are made of: activations, losses, pooling, and more convolutions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..arrays import Carrier
from ..operation import op
from .arrange import expand_dims, squeeze
from .convolution import Pair, conv2d, conv2d_image, pair
from .elementwise import (
    Array,
    as_floating,
    elementwise,
    exp,
    multiply,
    operand,
    sigmoid,
    subtract,
    values,
    where,
)
from .reduce import mean, sum
from .shape import getitem, index_add, reshape
from .special import bell, erfc, square
from .statistics import log_softmax

__all__ = [
    "avg_pool2d", "conv1d", "conv_transpose2d", "cross_entropy", "dropout", "elu", "gelu",
    "leaky_relu", "max_pool2d", "mse_loss", "silu", "softplus",
]  # fmt: skip

SQRT_HALF = math.sqrt(0.5)

# Activations


@elementwise("leaky relu", inputs=1)
def leaky_relu(x: Array, negative_slope: float = 0.01) -> Array:
    """x where x > 0, else negative_slope * x."""
    return np.where(np.greater(x, 0), x, negative_slope * 1.0 * x)[()]


leaky_relu.vjp(lambda g, out, x, negative_slope: g * where(x > 0, 1, negative_slope))


@elementwise("elu", inputs=1, formula="g * where(x > 0, 1, alpha * exp(x))")
def elu(x: Array, alpha: float = 1.0) -> Array:
    """x where x > 0, else alpha * (e**x - 1)."""
    return np.where(np.greater(x, 0), x, alpha * np.expm1(np.minimum(x, 0.0)))[()]


elu.vjp(lambda g, out, x, alpha: g * where(x > 0, 1, alpha * exp(where(x > 0, 0, x))))


@elementwise("gelu", formula="g · (Φ(x) + x · φ(x))")
def gelu(x: Array) -> Array:
    """x times the probability that a standard normal number is less than x."""
    return x * (0.5 * erfc(-SQRT_HALF * x))


gelu.vjp(
    lambda g, out, x: g * (0.5 * erfc(-SQRT_HALF * x) + x * (0.5 * SQRT_HALF) * bell(SQRT_HALF * x))
)


@elementwise("silu")
def silu(x: Array) -> Array:
    """x * sigmoid(x)."""
    return x * sigmoid(x)


silu.vjp(lambda g, out, x: g * sigmoid(x) * (1 + x * sigmoid(-x)))


@elementwise("softplus", inputs=1)
def softplus(x: Array, beta: float = 1.0) -> Array:
    """log(1 + e**(beta * x)) / beta, without overflow."""
    return np.logaddexp(0.0, beta * 1.0 * x) / beta  # 1.0: no integer may wrap around


softplus.vjp(lambda g, out, x, beta: g * sigmoid(beta * x))


class Drawn(str):
    """The name of what an op drew at random."""


def dropout(
    x: Array, p: float = 0.5, training: bool = True, *, generator: np.random.Generator
) -> Array:
    """x with each element made 0 with probability p and the others divided by 1 - p, drawn
    from the generator; x itself if not training. Raises: ValueError unless 0 <= p <= 1."""
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p must lie in [0, 1], but is {p}")
    x = operand(x)
    if not training:
        return x
    keep = generator.random(x.shape) >= p
    mask = (keep / (1 - p or 1)).astype(as_floating(x).dtype)
    kind: Any = type(x) if isinstance(x, Carrier) else None
    return x * (kind(mask, name=Drawn("mask")) if kind else mask)


# Losses


def reduce_losses(losses: Array, reduction: str) -> Array:
    """The mean of the losses, their sum, or ("none") themselves."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', but is {reduction!r}")
    return losses if reduction == "none" else (mean if reduction == "mean" else sum)(losses)


def mse_loss(input: Array, target: Array, reduction: str = "mean") -> Array:
    """The squared differences: their mean, their sum, or ("none") themselves.

    Raises: ValueError if the shapes are not the same.
    """
    input, target = operand(input), operand(target)
    if input.shape != target.shape:
        raise ValueError(
            f"mse_loss: input has the shape {input.shape} and target {target.shape}, which must be "
            "the same; reshape one of them"
        )
    return reduce_losses(square(subtract(as_floating(input), as_floating(target))), reduction)


def cross_entropy(input: Array, target: Array, reduction: str = "mean") -> Array:
    """-log of the probability that softmax(input) gives to the target.

    input has shape (N, C, ...), or (C,), with C classes; target has the same shape without
    C and holds class numbers, or the same shape and holds probabilities.

    Raises: ValueError for class numbers outside [0, C) or that are no integers, and for other
    shapes.
    """
    input, target = operand(input), operand(target)
    axis = min(1, input.ndim - 1)
    without = input.shape[:axis] + input.shape[axis + 1 :]
    if not input.ndim or target.shape not in (input.shape, without):
        raise ValueError(
            f"cross_entropy: input has the shape {input.shape}, (N, C, ...) or (C,), so target "
            f"must have the shape {without} (class numbers) or {input.shape} (probabilities), "
            f"but has {target.shape}"
        )
    log_p = log_softmax(input, axis)
    if target.shape == input.shape:
        return reduce_losses(-sum(multiply(target, log_p), axis), reduction)
    if target.dtype.kind not in "iu":
        raise ValueError(
            f"cross_entropy: class numbers must be integers, but have dtype {target.dtype}; "
            f"probabilities must have the shape {input.shape}"
        )
    classes = values(target)
    if classes.size and not 0 <= classes.min() <= classes.max() < input.shape[axis]:
        raise ValueError(f"cross_entropy: the targets must be in [0, {input.shape[axis]})")
    index: list[Any] = list(np.indices(classes.shape, sparse=True))
    index.insert(axis, classes)
    return reduce_losses(-getitem(log_p, tuple(index)), reduction)


# Pooling and convolutions; shapes as in conv2d


@op(symbol="maxpool", inputs=1, formula="g, summed over the windows where x is the largest")
def max_pool2d(
    x: Array,
    kernel_size: Pair = 2,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
) -> Array:
    """The largest pixel of each window, `stride` apart (None: the kernel's size); of equal
    ones the first gets the gradient, as in PyTorch. Pixels outside x are -inf (of integers the
    smallest), and never win. x is (N, C, H, W) or (C, H, W)."""
    padded, index = largest(x, kernel_size, stride, padding, dilation)
    return padded[index]


@max_pool2d.vjp
def _(g: Array, out: Array, x: Array, **windows: Any) -> Array:
    padded, index = largest(values(x), **windows)
    return centre(index_add(g, index, padded.shape), x.shape)


def centre(x: Array, shape: tuple[int, ...]) -> Array:
    """The middle of x, in this shape."""
    if x.shape == shape:
        return x
    starts = [(n - m) // 2 for n, m in zip(x.shape, shape, strict=True)]
    return getitem(x, tuple(slice(i, i + m) for i, m in zip(starts, shape, strict=True)))


def largest(
    x: np.ndarray, kernel_size: Pair, stride: Pair | None, padding: Pair, dilation: Pair
) -> tuple[np.ndarray, tuple[Any, ...]]:
    """x padded, and the index of the largest pixel of each window there."""
    (kh, kw), (dh, dw), (ph, pw) = pair(kernel_size), pair(dilation), pair(padding)
    sh, sw = pair(kernel_size if stride is None else stride)
    if min(kh, kw, sh, sw, dh, dw) < 1 or not (0 <= ph <= kh // 2 and 0 <= pw <= kw // 2):
        raise ValueError("sizes must be at least 1, and padding at most half of the kernel")
    check_images(x)

    def windows(image: np.ndarray) -> np.ndarray:
        size = ((kh - 1) * dh + 1, (kw - 1) * dw + 1)
        seen = np.lib.stride_tricks.sliding_window_view(image, size, axis=(-2, -1))
        seen = seen[..., ::sh, ::sw, ::dh, ::dw]
        return seen.reshape(*seen.shape[:-2], kh * kw)

    widths = [(0, 0)] * (x.ndim - 2) + [(ph, ph), (pw, pw)]
    low = -np.inf if x.dtype.kind == "f" else False if x.dtype == bool else np.iinfo(x.dtype).min
    padded = np.pad(x, widths, constant_values=low)
    seen = windows(padded)
    first = seen.argmax(-1)
    if ph or pw:  # where no pixel is above the padding, the first that is none
        level = np.take_along_axis(seen, first[..., None], -1)[..., 0] == low
        if level.any():
            inside = windows(np.pad(np.ones(x.shape[-2:], bool), widths[-2:]))
            first = np.where(level, inside.argmax(-1), first)
    *before, i, j = np.ogrid[tuple(slice(size) for size in first.shape)]
    return padded, (*before, i * sh + first // kw * dh, j * sw + first % kw * dw)


def check_images(x: Array) -> None:
    """Raise ValueError unless x has the axes of images."""
    if np.ndim(x) not in (3, 4):
        raise ValueError(f"x must be (N, C, H, W) or (C, H, W), but has the shape {np.shape(x)}")


def avg_pool2d(x: Array, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> Array:
    """The mean of each window, `stride` apart (None: the kernel's size); pixels outside x
    count as 0. x is (N, C, H, W) or (C, H, W)."""
    x = operand(x)
    check_images(x)
    x, (kh, kw) = as_floating(x), pair(kernel_size)
    if min(kh, kw) < 1:
        raise ValueError(f"avg_pool2d: kernel_size must be at least 1, but is {kernel_size}")
    *before, h, w = x.shape
    kernel = np.full((1, 1, kh, kw), 1 / (kh * kw), x.dtype)
    images = reshape(x, (math.prod(before), 1, h, w))
    means = conv2d(images, kernel, None, kernel_size if stride is None else stride, padding)
    return reshape(means, (*before, *means.shape[2:]))


def conv1d(
    x: Array,
    w: Array,
    b: Array = None,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Array:
    """`conv2d` of signals x (N, C, L) with kernels w (O, C / groups, K)."""
    if np.ndim(x) != 3 or np.ndim(w) != 3:
        raise ValueError("x must be 3-D (N, C, L) and w 3-D (O, C / groups, K)")
    if not all(isinstance(n, (int, np.integer)) for n in (stride, padding, dilation)):
        raise TypeError("an integer is needed for one axis")
    x, w = expand_dims(x, 2), expand_dims(w, 2)
    return squeeze(conv2d(x, w, b, (1, stride), (0, padding), (1, dilation), groups), 2)


def conv_transpose2d(
    x: Array,
    w: Array,
    b: Array = None,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
) -> Array:
    """The transpose of conv2d, as `torch.nn.functional.conv_transpose2d`: its gradient with
    respect to images, which spreads each pixel over a window.

    x has shape (N, C, H, W), w (C, O / groups, KH, KW), b (O,), and the result
    (N, O, (H - 1)*stride - 2*padding + dilation*(KH - 1) + output_padding + 1, ...).

    Raises: ValueError if channels, groups or sizes do not fit.
    """
    x, w = operand(x), operand(w)
    if x.ndim != 4 or w.ndim != 4 or x.shape[1] != w.shape[0] or w.shape[0] % groups:
        raise ValueError(
            f"conv_transpose2d: x (N, C, H, W) and w (C, O / groups, KH, KW) must have the same C, "
            f"a multiple of groups = {groups}; the shapes are {x.shape} and {w.shape}"
        )
    if not all(0 <= e < s for e, s in zip(pair(output_padding), pair(stride), strict=True)):
        raise ValueError("conv_transpose2d: output_padding must be at least 0 and below the stride")
    geometry = map(pair, (stride, padding, output_padding, dilation))
    sizes = zip(x.shape[2:], w.shape[2:], *geometry, strict=True)
    size = tuple((n - 1) * s - 2 * p + d * (k - 1) + extra + 1 for n, k, s, p, extra, d in sizes)
    if min(size) < 1:
        raise ValueError(f"conv_transpose2d: the result would have the size {size}; pad less")
    out = conv2d_image(x, w, size, stride, padding, dilation, groups)
    return out if b is None else out + reshape(b, (-1, 1, 1))
