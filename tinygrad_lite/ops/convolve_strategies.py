"""How a convolution is computed: pixels are moved until one matrix product does the rest.

A kernel of KH x KW taps meets every output pixel KH*KW times, each time a pixel further.
The shifts can be made on either side of the product:

gather    Before it: lay the pixels that an output sees in one column, C * KH * KW numbers
          for each output, and multiply the kernels with all columns.
scatter   After it: multiply each pixel with all taps, O * KH * KW numbers for each pixel,
          and add each of them to the output it belongs to.

Scattering is the transpose of gathering: what one moves from a place, the other adds to
it. So `scatter` with a convolution's kernels is the gradient of its image. And with
stride 1 that transpose is a convolution again, with the kernels turned by half a turn and
their inputs and outputs exchanged (`turn`). Hence each of the three products below can
be computed in two ways, and `gathering` says which.

All work goes by blocks of about BLOCK bytes of columns: they stay in the processor's
cache, and however large the images are, beside the result no more is taken than a few
times BLOCK (or the columns of one row of outputs, if they are more; `interleave` also
takes a part of the image).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

# Columns of 1 MiB fit the second-level cache of current processors. With 0.25 or 4 MiB most
# convolutions take 1.1 times as long, and with whole images 1.2 to 2.4 times.
BLOCK = 1 << 20

# Elements between the end of a row of columns and the next row. Rows that start a multiple
# of 4096 bytes apart meet in the same cache lines, and the product takes 1.5 times longer.
GAP = 16

# Adding a number to the place it belongs to costs as much as copying this many.
SCATTER_COST = 4

# Small images are put side by side until their columns have this many outputs.
MERGED = 1024

# Copying a row costs about 10 ns however short it is. Up to this length, all rows of an
# image are copied as one: 0.7 times the time for 16 channels of 8x8, none gained at 32.
SHORT = 16

Bias = np.ndarray | None


class Geometry(NamedTuple):
    """Where the taps of a kernel fall; pairs are (rows, columns)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    def out_size(self, size: tuple[int, ...]) -> tuple[int, int]:
        """(OH, OW) for an image of the given size (H, W)."""
        oh, ow = (
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(size, *self[:4], strict=True)
        )
        return oh, ow

    def turned(self) -> Geometry | None:
        """The geometry in which `turn`ed kernels undo the shifts of these, if there is one."""
        ph, pw = (
            d * (k - 1) - p
            for k, p, d in zip(self.kernel, self.padding, self.dilation, strict=True)
        )
        return self._replace(padding=(ph, pw)) if self.stride == (1, 1) and ph >= 0 <= pw else None


def turn(w: np.ndarray, groups: int) -> np.ndarray:
    """The kernels turned by half a turn, with input and output channels exchanged."""
    o, c, kh, kw = w.shape
    w = w[:, :, ::-1, ::-1].reshape(groups, o // groups, c, kh, kw)
    return np.ascontiguousarray(w.swapaxes(1, 2)).reshape(groups * c, o // groups, kh, kw)


def gathering(read: int, made: int, geometry: Geometry) -> bool:
    """Whether a product that reads and makes that many channels should gather.

    The matrix product costs the same either way, so what decides is what is moved: `read`
    numbers per tap and pixel copied, or `made` added. For 3x3 kernels on 64x64 images,
    gathering takes 0.7 times the time of scattering from 32 channels to 32, as much from
    32 to 8, and 2.4 times from 32 to 1 (3.3 in float64). A 1x1 kernel has nothing to move.
    """
    return read <= SCATTER_COST * made or geometry.kernel == (1, 1)


def correlate(x: np.ndarray, w: np.ndarray, b: Bias, geometry: Geometry) -> np.ndarray:
    """The convolution (N, O, OH, OW) of images (N, C, H, W) with kernels (O, C/groups, KH, KW),
    plus a bias (O,)."""
    turned = geometry.turned()
    if turned is None or gathering(x.shape[1], len(w), geometry):
        return gather(x, w, b, geometry)
    return scatter(x, turn(w, geometry.groups), b, geometry.out_size(x.shape[2:]), turned)


def correlate_image(
    g: np.ndarray, w: np.ndarray, size: tuple[int, int], geometry: Geometry
) -> np.ndarray:
    """The gradient (N, C, H, W) of the images, of `size` (H, W), for a gradient (N, O, OH, OW).

    With a stride, convolutions with stride 1 whose images are interleaved take 0.1 to 0.9
    times the time of scattering if O <= C, and 1.5 times if O is 4 C or C is 1.
    """
    turned, o, c = geometry.turned(), len(w), geometry.groups * w.shape[1]
    if turned is not None and gathering(o, c, geometry):
        return gather(g, turn(w, geometry.groups), None, turned)
    if turned is None and geometry.stride != (1, 1) and geometry.dilation == (1, 1) and 1 < c >= o:
        return interleave(g, w, size, geometry)
    return scatter(g, w, None, size, geometry)


def correlate_kernel(x: np.ndarray, g: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The gradient (O, C/groups, KH, KW) of the kernels for a gradient (N, O, OH, OW).

    Either the image or the gradient is gathered: the one with fewer channels.
    """
    turned = geometry.turned()
    if turned is not None and g.shape[1] < x.shape[1]:
        return turn(gather_kernel(g, x, turned), geometry.groups)
    return gather_kernel(x, g, geometry)


def gather(x: np.ndarray, w: np.ndarray, b: Bias, geometry: Geometry) -> np.ndarray:
    """The convolution, gathering: each block is kernels (O, C*KH*KW) @ columns, plus b."""
    o, groups = len(w), geometry.groups
    oh, ow = geometry.out_size(x.shape[2:])
    dtype = np.result_type(x, w) if b is None else np.result_type(x, w, b)
    out = np.empty((len(x), o, oh, ow), dtype)
    kernels = w.reshape(groups, o // groups, w[0].size)
    for images, rows in blocks(x, oh, ow, geometry):
        block, taken = out[images, :, rows], columns(x[images], rows, ow, geometry)
        if len(block) == 1 and taken.shape[2] == block[0, 0].size:
            product(kernels, taken, out=matrices(block, groups))
        else:
            block[...] = spaced(product(kernels, taken), block.shape)
        if b is not None:
            block += b[:, None, None]
    return out


def gather_kernel(x: np.ndarray, g: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The gradient of the kernels: the sum over the blocks of columns @ gradients.T."""
    (_, o, oh, ow), c, groups = g.shape, x.shape[1] // geometry.groups, geometry.groups
    taps = c * geometry.kernel[0] * geometry.kernel[1]
    total = np.zeros((groups, taps, o // groups), np.result_type(x, g))
    for images, rows in blocks(x, oh, ow, geometry):
        block, taken = g[images, :, rows], columns(x[images], rows, ow, geometry)
        if taken.shape[2] == len(block) * block[0, 0].size:
            gradients = matrices(block, groups)
        else:
            gradients = np.zeros((groups, o // groups, taken.shape[2]), g.dtype)
            spaced(gradients, block.shape)[...] = block
        total += np.matmul(taken, gradients.swapaxes(1, 2))
    return total.swapaxes(1, 2).reshape(o, c, *geometry.kernel)


def scatter(
    g: np.ndarray, w: np.ndarray, b: Bias, size: tuple[int, int], geometry: Geometry
) -> np.ndarray:
    """The transpose of `gather`, plus b: each block of columns is kernels.T @ gradients, and
    each of its numbers is added to the pixel that `gather` would take it from."""
    (n, o, oh, ow), c, groups = g.shape, w.shape[1] * geometry.groups, geometry.groups
    (kh, kw), (sh, sw), (_, pw), (dh, dw), _ = geometry
    image = np.zeros((n, c, *size), np.result_type(g, w))
    kernels = w.reshape(groups, o // groups, w[0].size).swapaxes(1, 2)
    for images, rows in blocks(image, oh, ow, geometry):
        gradients = matrices(g[images, :, rows], groups)
        m, r = len(g[images]), rows.stop - rows.start
        taken = product(kernels, gradients).reshape(c, kh, kw, m, r, ow)
        height, here, there = seen(rows, size[0], geometry)
        padded = np.zeros((c, m, height, size[1] + 2 * pw), image.dtype)
        for u in range(kh):
            for v in range(kw):
                i, j = u * dh, v * dw
                padded[:, :, i : i + sh * r : sh, j : j + sw * ow : sw] += taken[:, u, v]
        image[images, :, here] += padded[:, :, there, pw : pw + size[1]].swapaxes(0, 1)
    return image if b is None else image + b[:, None, None]


def interleave(
    g: np.ndarray, w: np.ndarray, size: tuple[int, int], geometry: Geometry
) -> np.ndarray:
    """The gradient of the images for a stride s, as those of s * s convolutions with stride 1.

    Row y of the image meets the taps u of the outputs i where y = i*s + u - padding. So the
    taps a, a + s, a + 2*s, ... meet only every s-th row: y = t*s + a - padding, t = i + (u - a)/s.
    """
    (kh, kw), (sh, sw), (ph, pw), _, groups = geometry
    image = np.zeros((len(g), groups * w.shape[1], *size), np.result_type(g, w))
    for a in range(min(sh, kh)):
        for b in range(min(sw, kw)):
            part = w[:, :, a::sh, b::sw]
            mh, mw = part.shape[2:]
            inner = Geometry((mh, mw), (1, 1), (0, 0), (1, 1), groups)
            made = correlate_image(g, part, (g.shape[2] + mh - 1, g.shape[3] + mw - 1), inner)
            t, r = max(0, -((a - ph) // sh)), max(0, -((b - pw) // sw))  # the first in the image
            place = image[:, :, t * sh + a - ph :: sh, r * sw + b - pw :: sw]
            made = made[:, :, t : t + place.shape[2], r : r + place.shape[3]]
            place[:, :, : made.shape[2], : made.shape[3]] = made
    return image


def blocks(x: np.ndarray, oh: int, ow: int, geometry: Geometry) -> Iterator[tuple[slice, slice]]:
    """Images, and rows of outputs, whose columns fill at most BLOCK bytes, if one row does.

    Large images go in pieces, small ones several at a time, up to MERGED outputs together.
    """
    taps = x.shape[1] * geometry.kernel[0] * geometry.kernel[1]
    rows = max(1, BLOCK // max(1, taps * ow * x.itemsize))
    step = max(1, min(rows // oh, MERGED // (oh * ow)))
    rows = -(-oh // -(-oh // rows))  # pieces of nearly equal height
    for i in range(0, len(x), step):
        for top in range(0, oh, rows):
            yield slice(i, i + step), slice(top, min(top + rows, oh))


def seen(rows: slice, h: int, geometry: Geometry) -> tuple[int, slice, slice]:
    """How many rows of the padded image these rows of outputs see, and which of those hold
    the image, as rows of it and as rows of what is seen."""
    stride, reach = geometry.stride[0], geometry.dilation[0] * (geometry.kernel[0] - 1)
    first = rows.start * stride - geometry.padding[0]
    last = (rows.stop - 1) * stride - geometry.padding[0] + reach + 1
    top = max(first, 0)
    bottom = max(top, min(last, h))
    return last - first, slice(top, bottom), slice(top - first, bottom - first)


def columns(x: np.ndarray, rows: slice, ow: int, geometry: Geometry) -> np.ndarray:
    """The pixels that each output of these rows sees: (groups, C/groups*KH*KW, N*rows*OW).

    Where rows of outputs are short, they run on as one: pixels in the order of the padded
    image, with those between the end of a row and the next left in (see `spaced`).
    """
    (kh, kw), (sh, sw), (_, pw), (dh, dw), groups = geometry
    if geometry.kernel == (1, 1) and geometry.padding == (0, 0):
        return matrices(x[:, :, rows.start * sh : rows.stop * sh : sh, : ow * sw : sw], groups)
    (n, c, h, wd), r = x.shape, rows.stop - rows.start
    height, here, there = seen(rows, h, geometry)
    padded = np.zeros((c, n, height, wd + 2 * pw), x.dtype)
    padded[:, :, there, pw : pw + wd] = x[:, :, here].swapaxes(0, 1)
    if sh == sw == 1 and ow <= SHORT:
        r, ow = 1, (r - 1) * padded.shape[3] + ow
    # One view that shows each pixel once for each output that sees it, copied in one go.
    (sc, sn, si, sj), shape = padded.strides, (c, kh, kw, n, r, ow)
    view = np.ndarray(shape, x.dtype, padded, 0, (sc, si * dh, sj * dw, sn, si * sh, sj * sw))
    moved = np.empty((groups, c // groups * kh * kw, n * r * ow + GAP), x.dtype)[..., :-GAP]
    moved.reshape(shape)[...] = view
    return moved


def spaced(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The view (N, C, rows, OW) of rows that run on in x, an array in C order: each image has
    the same length there, and its rows are equally far apart."""
    n, c, r, ow = shape
    length = x.size // (n * c)
    step = (length - ow) // max(1, r - 1)
    strides = (length, n * length, step, 1)
    return np.ndarray(shape, x.dtype, x, 0, tuple(x.itemsize * s for s in strides))


def product(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """a @ b. For an inner dimension of 1, as of one channel or a depthwise kernel, NumPy
    leaves BLAS, and multiplying with broadcasting is 2 to 4 times faster."""
    return (np.multiply if a.shape[-1] == 1 else np.matmul)(a, b, out=out)


def matrices(x: np.ndarray, groups: int) -> np.ndarray:
    """(N, C, H, W) as (groups, C/groups, N*H*W): a view if N is 1."""
    n, c, h, w = x.shape
    return x.swapaxes(0, 1).reshape(groups, c // groups, n * h * w)
