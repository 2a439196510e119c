"""Convolution as deep learning has it: the cross-correlation of NCHW images.

It is linear in the image and in the kernel, so three ops differentiate one another: the
convolution, its transpose (the gradient of the image), and the gradient of the kernel.
Each is a sum over the kernel's taps, and what a tap (u, v) meets in all images is one view of
them, shifted by u rows and v columns. `correlate`, `correlate_image` and `correlate_kernel`
compute the three so, with one matrix product per tap; they are slots for quicker functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import index
from typing import Any

import numpy as np

from ..operation import op
from .elementwise import Array

Pair = int | tuple[int, int]


class Geometry:
    """Where the taps of a kernel fall; pairs are (rows, columns)."""

    def __init__(
        self,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int],
        dilation: tuple[int, int],
        groups: int,
    ) -> None:
        self.kernel, self.stride, self.padding = kernel, stride, padding
        self.dilation, self.groups = dilation, groups

    @property
    def reach(self) -> tuple[int, int]:
        """How far the last tap is from the first."""
        (kh, kw), (dh, dw) = self.kernel, self.dilation
        return dh * (kh - 1), dw * (kw - 1)

    def out_size(self, size: tuple[int, ...]) -> tuple[int, int]:
        """(OH, OW) for an image of the given size (H, W)."""
        (h, w), (ph, pw), (rh, rw), (sh, sw) = size, self.padding, self.reach, self.stride
        return (h + 2 * ph - rh - 1) // sh + 1, (w + 2 * pw - rw - 1) // sw + 1


@op(
    symbol="conv",
    inputs=3,
    formula=("g convolved with w", "x correlated with g", "g, summed over images and pixels"),
)
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
    if np.ndim(x) != 4 or np.ndim(w) != 4:
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


@op(symbol="convᵀ", inputs=2, formula=("g correlated with w", "g correlated with y"))
def conv2d_image(
    y: Array, w: Array, size: Any, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Array:
    """The gradient of conv2d with respect to images of the given size (H, W): each
    gradient of an output, times the kernel, added to the pixels that the output saw."""
    return correlate_image(y, w, size, geometry_of(w.shape[2:], stride, padding, dilation, groups))


@op(symbol="conv∂w", inputs=2, formula=("y convolved with g", "x correlated with g"))
def conv2d_kernel(
    x: Array, y: Array, size: Any, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Array:
    """The gradient of conv2d with respect to kernels of the given size (KH, KW): each
    gradient of an output, times the pixels that the output saw, summed over the outputs."""
    return correlate_kernel(x, y, geometry_of(size, stride, padding, dilation, groups))


conv2d_image.vjp(
    lambda g, out, y, w, size, **geometry: conv2d(g, w, **geometry),
    lambda g, out, y, w, size, **geometry: conv2d_kernel(g, y, size=w.shape[2:], **geometry),
)

conv2d_kernel.vjp(
    lambda g, out, x, y, size, **geometry: conv2d_image(y, g, size=x.shape[2:], **geometry),
    lambda g, out, x, y, size, **geometry: conv2d(x, g, **geometry),
)


def pair(value: Pair) -> tuple[int, int]:
    """A size for rows and columns. Raises: TypeError for what is neither one integer nor two."""
    try:
        rows, columns = (value, value) if isinstance(value, (int, np.integer)) else value
        return index(rows), index(columns)
    except (TypeError, ValueError):
        pixels = {"same": "dilation * (kernel - 1) // 2", "valid": "0"}
        cure = f"; that is {pixels[str(value)]}" if str(value) in pixels else ""
        what = f"{value!r} is neither an integer nor a pair of them for rows and columns"
        raise TypeError(f"{what}{cure}") from None


def geometry_of(kernel: Any, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> Geometry:
    """The options of conv2d, with every int for a pair made one."""
    return Geometry(pair(kernel), pair(stride), pair(padding), pair(dilation), groups)


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
    if b is not None and np.shape(b) != (o,):
        raise ValueError(f"b must have one element for each of the {o} output channels")
    if min(geometry.out_size(tuple(size))) < 1:
        raise ValueError(
            f"the kernel {tuple(kernel)} with dilation {geometry.dilation} is larger than the "
            f"image {tuple(size)} with padding {geometry.padding}"
        )


def correlate(x: Array, w: Array, b: Array, geometry: Geometry) -> Array:
    """The convolution (N, O, OH, OW) of images (N, C, H, W) with kernels (O, C/groups, KH, KW),
    plus a bias (O,) or None: each pixel that a tap meets, times the tap."""
    groups, size = geometry.groups, geometry.out_size(x.shape[2:])
    out = np.zeros((len(x), len(w), *size), sum_dtype(x, w))
    kernels = w.reshape(groups, len(w) // groups, *w.shape[1:])
    for u, v, pixels in tap_views(pad(x, geometry), size, geometry):
        out += (kernels[..., u, v] @ as_planes(pixels, groups)).reshape(out.shape)
    out = out.astype(np.result_type(x, w), copy=False)
    return out if b is None else out + b[:, None, None]


def sum_dtype(*arrays: Array) -> Any:
    """In what the products of arrays are summed: float16 has too few digits."""
    dtype = np.result_type(*arrays)
    return np.dtype(np.float32) if dtype == np.float16 else dtype


def correlate_image(g: Array, w: Array, size: tuple[int, int], geometry: Geometry) -> Array:
    """The gradient (N, C, H, W) of the images, of `size` (H, W), for a gradient (N, O, OH, OW):
    each gradient times a tap, added to the pixel that the tap met."""
    groups, (h, wd), (ph, pw) = geometry.groups, size, geometry.padding
    image = np.zeros((len(g), groups * w.shape[1], h + 2 * ph, wd + 2 * pw), sum_dtype(g, w))
    kernels = w.reshape(groups, len(w) // groups, *w.shape[1:])
    gradients = as_planes(g, groups)
    for u, v, pixels in tap_views(image, g.shape[2:], geometry):
        pixels += (kernels[..., u, v].swapaxes(1, 2) @ gradients).reshape(pixels.shape)
    return image[:, :, ph : ph + h, pw : pw + wd].astype(np.result_type(g, w))


def correlate_kernel(x: Array, g: Array, geometry: Geometry) -> Array:
    """The gradient (O, C/groups, KH, KW) of the kernels for a gradient (N, O, OH, OW): each
    gradient times the pixel that a tap met, summed over all outputs."""
    groups, gradients = geometry.groups, as_planes(g, geometry.groups)
    shape = g.shape[1], x.shape[1] // groups, *geometry.kernel
    kernels = np.zeros(shape, np.result_type(x, g))
    for u, v, pixels in tap_views(pad(x, geometry), g.shape[2:], geometry):
        total = (gradients @ as_planes(pixels, groups).swapaxes(2, 3)).sum(0)
        kernels[..., u, v] = total.reshape(shape[:2])
    return kernels


def pad(x: Array, geometry: Geometry) -> Array:
    """Images with their padding of zeros around them."""
    (ph, pw), (n, c, h, wd) = geometry.padding, x.shape
    padded = np.zeros((n, c, h + 2 * ph, wd + 2 * pw), x.dtype)
    padded[:, :, ph : ph + h, pw : pw + wd] = x
    return padded


def tap_views(
    padded: Array, out_size: tuple[int, int], geometry: Geometry
) -> Iterator[tuple[int, int, Array]]:
    """Each tap (u, v), and the view (N, C, OH, OW) of the pixels that it meets for each output."""
    (oh, ow), (sh, sw), (dh, dw) = out_size, geometry.stride, geometry.dilation
    for u, v in np.ndindex(*geometry.kernel):
        i, j = u * dh, v * dw
        yield u, v, padded[:, :, i : i + sh * oh : sh, j : j + sw * ow : sw]


def as_planes(x: Array, groups: int) -> Array:
    """(N, C, H, W) as (N, groups, C/groups, H*W): a view, if x is in C order."""
    n, c, h, w = x.shape
    return x.reshape(n, groups, c // groups, h * w)
