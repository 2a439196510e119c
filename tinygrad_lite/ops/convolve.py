"""Convolution as deep learning has it: the cross-correlation of NCHW images.

It is linear in the image and in the kernel, so three ops differentiate one another: the
convolution, its transpose (the gradient of the image), and the gradient of the kernel.
This file says what they are; convolve_strategies.py computes them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from ..fast.convolve import Geometry, correlate, correlate_image, correlate_kernel
from ..operation import op
from .elementwise import Array

Pair = int | tuple[int, int]


@op(symbol="conv", inputs=3)
def conv2d(
    x: Array,
    w: Array,
    b: Array = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Array:
    """The cross-correlation of images with kernels, as `torch.nn.functional.conv2d`.

    out[n, o, i, j] = b[o] + sum over c, u, v of
    w[o, c, u, v] * x[n, c, i*stride + u*dilation - padding, j*stride + v*dilation - padding]

    x has shape (N, C, H, W), w (O, C / groups, KH, KW), b (O,), the result (N, O, OH, OW)
    with OH = (H + 2*padding - dilation*(KH - 1) - 1) // stride + 1. Pixels outside x are
    0. With groups, the channels are split into that many independent convolutions. Where
    an int is given for a pair (rows, columns), it holds for both.

    Raises: ValueError if channels, groups or sizes do not fit.
    """
    if x.ndim != 4 or w.ndim != 4:
        raise ValueError("x must be 4-D (N, C, H, W) and w 4-D (O, C / groups, KH, KW)")
    geometry = geometry_of(w.shape[2:], stride, padding, dilation, groups)
    check(x, w, b, geometry)
    return correlate(x, w, b, geometry)


@conv2d.vjp("x")
def _(g: Array, out: Array, x: Array, w: Array, b: Array, **geometry: Any) -> Array:
    return conv2d_image(g, w, size=x.shape[2:], **geometry)


@conv2d.vjp("w")
def _(g: Array, out: Array, x: Array, w: Array, b: Array, **geometry: Any) -> Array:
    return conv2d_kernel(x, g, size=w.shape[2:], **geometry)


@conv2d.vjp("b")
def _(g: Array, out: Array, x: Array, w: Array, b: Array, **geometry: Any) -> Array:
    return g.sum(axis=(0, 2, 3))


@op(symbol="convᵀ", inputs=2)
def conv2d_image(
    g: Array, w: Array, size: Any, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Array:
    """The gradient of conv2d with respect to images of the given size (H, W): each
    gradient of an output, times the kernel, added to the pixels that the output saw."""
    return correlate_image(g, w, size, geometry_of(w.shape[2:], stride, padding, dilation, groups))


@op(symbol="conv∂w", inputs=2)
def conv2d_kernel(
    x: Array, g: Array, size: Any, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Array:
    """The gradient of conv2d with respect to kernels of the given size (KH, KW): each
    gradient of an output, times the pixels that the output saw, summed over the outputs."""
    return correlate_kernel(x, g, geometry_of(size, stride, padding, dilation, groups))


conv2d_image.vjp(
    lambda g, out, y, w, size, **geometry: conv2d(g, w, **geometry),
    lambda g, out, y, w, size, **geometry: conv2d_kernel(g, y, size=w.shape[2:], **geometry),
)

conv2d_kernel.vjp(
    lambda g, out, x, y, size, **geometry: conv2d_image(y, g, size=x.shape[2:], **geometry),
    lambda g, out, x, y, size, **geometry: conv2d(x, g, **geometry),
)


def pair(value: Pair) -> tuple[int, int]:
    """A size for rows and columns."""
    rows, columns = (value, value) if isinstance(value, (int, np.integer)) else value
    return int(rows), int(columns)


@lru_cache(maxsize=256, typed=True)
def looked_up(kernel: Any, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Geometry:
    """The options of conv2d, each int for a pair made one; remembered: 2 us sooner."""
    return Geometry(pair(kernel), pair(stride), pair(padding), pair(dilation), groups)


def geometry_of(kernel: Any, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Geometry:
    """The options of conv2d, each int for a pair made one."""
    try:
        return looked_up(kernel, stride, padding, dilation, groups)
    except TypeError:  # a list cannot be looked up
        return looked_up.__wrapped__(kernel, stride, padding, dilation, groups)


def check(x: Array, w: Array, b: Array, geometry: Geometry) -> None:
    """Raise ValueError, saying which rule is broken, unless the shapes fit."""
    (_, c, *size), (o, cg, *kernel), groups = x.shape, w.shape, geometry.groups
    for name, least in (("stride", 1), ("padding", 0), ("dilation", 1)):
        if min(value := getattr(geometry, name)) < least:
            raise ValueError(f"{name} must be at least {least}, but is {value}")
    if groups < 1 or c % groups or o % groups:
        raise ValueError(f"groups = {groups} must divide the {c} channels of x and the {o} of w")
    if c // groups != cg:
        raise ValueError(
            f"x has {c} channels in {groups} group(s), so w must have {c // groups}, not {cg}"
        )
    if b is not None and b.shape != (o,):
        raise ValueError(f"b must have one element for each of the {o} output channels")
    if min(geometry.out_size(tuple(size))) < 1:
        raise ValueError(
            f"the kernel {tuple(kernel)} with dilation {geometry.dilation} is larger than the "
            f"image {tuple(size)} with padding {geometry.padding}"
        )
