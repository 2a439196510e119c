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

Three cases are simpler. 1x1 kernels have nothing to move (`pointwise`). Where each output
channel has one input channel, the product is too thin for the moving to pay, and planes are
multiplied and added (`depthwise`). And of few outputs from large kernels, what takes time is
to lay out the columns: then one row of the kernel at a time (`gather_rows`). `correlate`,
`correlate_image` and `correlate_kernel` choose.

All work goes by blocks of about BLOCK bytes of columns: they stay in the processor's
cache, and however large the images are, beside the result no more is taken than a few
times BLOCK (or the columns of one row of outputs, if they are more). `interleave` also
takes a part of the image, and so do 1x1 kernels with a stride.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product as pairs

import numpy as np

# Columns of 1 MiB fit the second-level cache of current processors. With 0.25 or 4 MiB most
# convolutions take 1.1 times as long, and with whole images 1.2 to 2.4 times.
BLOCK = 1 << 20

# Elements between the end of a row of columns and the next row. Rows that start a multiple
# of 4096 bytes apart meet in the same cache lines, and the product takes 1.5 times longer.
GAP = 16

# Adding a number to the place it belongs to costs as much as copying this many.
SCATTER_COST = 4

# Small images are put side by side until their columns have this many outputs. With 1024
# four images of 32x32 take 1.2 to 1.4 times as long, from one channel or four.
MERGED = 4096

# What a row of a kernel should see of one image for the kernel to be taken row by row.
BY_ROWS = 24 * 1024

# Copying a row costs about 10 ns however short it is. Up to this length, all rows of an
# image are copied as one: 0.7 times the time for 16 channels of 8x8, none gained at 32.
SHORT = 16

Bias = np.ndarray | None


@dataclass(frozen=True)
class Geometry:
    """Where the taps of a kernel fall; pairs are (rows, columns)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    @cached_property
    def reach(self) -> tuple[int, int]:
        """How far the last tap is from the first."""
        (kh, kw), (dh, dw) = self.kernel, self.dilation
        return dh * (kh - 1), dw * (kw - 1)

    def out_size(self, size: tuple[int, ...]) -> tuple[int, int]:
        """(OH, OW) for an image of the given size (H, W)."""
        (h, w), (ph, pw), (rh, rw), (sh, sw) = size, self.padding, self.reach, self.stride
        return (h + 2 * ph - rh - 1) // sh + 1, (w + 2 * pw - rw - 1) // sw + 1

    @cached_property
    def turned(self) -> Geometry | None:
        """The geometry in which `turn`ed kernels undo the shifts of these, if there is one."""
        (ph, pw), (rh, rw) = self.padding, self.reach
        if self.stride != (1, 1) or ph > rh or pw > rw:
            return None
        return replace(self, padding=(rh - ph, rw - pw))

    @cached_property
    def pointwise(self) -> bool:
        """Whether each output sees one pixel, and all the image is there."""
        return self.kernel == (1, 1) and self.padding == (0, 0)


def turn(w: np.ndarray, groups: int) -> np.ndarray:
    """The kernels turned by half a turn, with input and output channels exchanged."""
    o, c, kh, kw = w.shape
    w = w[:, :, ::-1, ::-1].reshape(groups, o // groups, c, kh, kw)
    return np.ascontiguousarray(w.swapaxes(1, 2)).reshape(groups * c, o // groups, kh, kw)


def gathering(read: int, made: int) -> bool:
    """Whether a product that reads and makes that many channels should gather.

    The matrix product costs the same either way, so what decides is what is moved: `read`
    numbers per tap and pixel copied, or `made` added. For 3x3 kernels on 64x64 images,
    gathering takes 0.7 times the time of scattering from 32 channels to 32, as much from
    32 to 8, and 2.4 times from 32 to 1 (3.3 in float64).
    """
    return read <= SCATTER_COST * made


def correlate(x: np.ndarray, w: np.ndarray, b: Bias, geometry: Geometry) -> np.ndarray:
    """The convolution (N, O, OH, OW) of images (N, C, H, W) with kernels (O, C/groups, KH, KW),
    plus a bias (O,)."""
    turned = geometry.turned
    if geometry.pointwise:
        out = pointwise(x, w, geometry)
    elif in_planes(x, len(w), geometry):
        out = depthwise(x, w, geometry)
    elif turned is None or gathering(x.shape[1], len(w)):
        out = (gather_rows if by_rows(x, len(w), geometry) else gather)(x, w, geometry)
    else:
        out = scatter(x, turn(w, geometry.groups), geometry.out_size(x.shape[2:]), turned)
    if b is not None:
        out = np.add(out, b[:, None, None], out=out if b.dtype == out.dtype else None)
    return out


def correlate_image(
    g: np.ndarray, w: np.ndarray, size: tuple[int, int], geometry: Geometry
) -> np.ndarray:
    """The gradient (N, C, H, W) of the images, of `size` (H, W), for a gradient (N, O, OH, OW).

    With a stride, convolutions with stride 1 whose images are interleaved take 0.1 to 0.9
    times the time of scattering if O <= C, and 1.5 times if O is 4 C or C is 1.
    """
    if geometry.pointwise:
        return pointwise_image(g, w, size, geometry)
    turned, o, c = geometry.turned, len(w), geometry.groups * w.shape[1]
    if turned is not None and gathering(o, c):
        return correlate(g, turn(w, geometry.groups), None, turned)
    if turned is None and geometry.stride != (1, 1) and geometry.dilation == (1, 1) and 1 < c >= o:
        return interleave(g, w, size, geometry)
    return scatter(g, w, size, geometry)


def correlate_kernel(x: np.ndarray, g: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The gradient (O, C/groups, KH, KW) of the kernels for a gradient (N, O, OH, OW).

    Either the image or the gradient is gathered: the one with fewer channels.
    """
    if geometry.pointwise:
        return pointwise_kernel(x, g, geometry)
    if in_planes(x, g.shape[1], geometry):
        return depthwise_kernel(x, g, geometry)
    turned = geometry.turned
    if turned is not None and g.shape[1] < x.shape[1]:
        return turn(gathered_kernel(g, x, turned), geometry.groups)
    return gathered_kernel(x, g, geometry)


def gathered_kernel(x: np.ndarray, g: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The gradient of the kernels, gathering x."""
    rows = by_rows(x, g.shape[1], geometry)
    return (gather_rows_kernel if rows else gather_kernel)(x, g, geometry)


def by_rows(x: np.ndarray, o: int, geometry: Geometry) -> bool:
    """Whether to gather for one row of the kernel at a time, an image by itself.

    Each pixel is then copied KW times and not KH * KW, but there are KH products, whose
    results must be added up. On 32x32 images that takes, of the time of gathering at once,
    from 16 channels to 16 0.7 for 3x3 kernels and for 7x7, from 16 to 4 0.7 and 0.4, from 16
    to 64 1.2 and 1.0, from 4 to 4 1.05 and 0.7, from 1 to 4 1.3 and 1.4; on 8x8 images, from
    16 to 16, 2.1 for 3x3.
    """
    c, kw, (oh, ow) = x.shape[1], geometry.kernel[1], geometry.out_size(x.shape[2:])
    return geometry.kernel[0] > 1 and o <= c and c * kw >= 6 and c * kw * oh * ow >= BY_ROWS


def in_planes(x: np.ndarray, o: int, geometry: Geometry) -> bool:
    """Whether to multiply and add planes: each output channel has one input channel, the
    planes are worth the calls, and one, as often as the kernel has columns, fits a block.

    For 64 channels of 32x32 and 3x3 kernels that takes 0.6 times the time of gathering, for
    one channel 0.65, for one of 8x8 1.6.
    """
    (n, c, _, wd), (oh, ow) = x.shape, geometry.out_size(x.shape[2:])
    if not c == o == geometry.groups or geometry.stride != (1, 1) or n * c * oh * ow < 512:
        return False
    plane = geometry.kernel[1] * (oh + geometry.reach[0]) * max(ow, wd)
    return plane * x.itemsize <= BLOCK


def pointwise(x: np.ndarray, w: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The convolution with 1x1 kernels: one matrix product for each image."""
    o, groups = len(w), geometry.groups
    out = np.empty((len(x), o, *geometry.out_size(x.shape[2:])), np.result_type(x, w))
    product(w.reshape(groups, o // groups, -1), met(x, geometry), out=as_planes(out, groups))
    return out


def pointwise_image(
    g: np.ndarray, w: np.ndarray, size: tuple[int, int], geometry: Geometry
) -> np.ndarray:
    """The gradient of the images for 1x1 kernels; pixels that no output met have 0."""
    groups, dtype = geometry.groups, np.result_type(g, w)
    kernels = w.reshape(groups, len(w) // groups, -1).swapaxes(1, 2)
    shape = (len(g), groups * w.shape[1], *size)
    if geometry.stride == (1, 1):
        image = np.empty(shape, dtype)
        product(kernels, as_planes(g, groups), out=as_planes(image, groups))
        return image
    image, (sh, sw) = np.zeros(shape, dtype), geometry.stride
    made = product(kernels, as_planes(g, groups))
    image[:, :, ::sh, ::sw] = made.reshape(*shape[:2], *g.shape[2:])
    return image


def pointwise_kernel(x: np.ndarray, g: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The gradient of 1x1 kernels: the sum over the images of a matrix product each."""
    gradients, pixels = as_planes(g, geometry.groups), met(x, geometry).swapaxes(2, 3)
    (n, groups, o, _), c = gradients.shape, pixels.shape[3]
    total = np.zeros((groups, o, c), np.result_type(x, g))
    some = max(1, BLOCK // max(1, total.nbytes))  # products at a time
    for i in range(0, n, some):
        total += np.matmul(gradients[i : i + some], pixels[i : i + some]).sum(0)
    return total.reshape(groups * o, c, 1, 1)


def met(x: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The pixels that 1x1 kernels meet, as planes; with a stride, a copy."""
    (sh, sw), groups = geometry.stride, geometry.groups
    return as_planes(x if sh == sw == 1 else x[:, :, ::sh, ::sw], groups)


def as_planes(x: np.ndarray, groups: int) -> np.ndarray:
    """(N, C, H, W) as (N, groups, C/groups, H*W): a view, if x is in C order."""
    n, c, h, w = x.shape
    return x.reshape(n, groups, c // groups, h * w)


def depthwise(x: np.ndarray, w: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The convolution where each output channel has one input channel: the planes that the
    taps meet, times the taps. Laid out as columns they would take longer to copy than to add."""
    (n, c, _, wd), (oh, ow) = x.shape, geometry.out_size(x.shape[2:])
    out = np.empty((n, c, oh, ow), np.result_type(x, w))
    for images, channels, seen_by in planes_met(x, geometry):
        block, taps = out[images, channels], w[channels]
        made = block.reshape(*block.shape[:2], 1, oh * ow) if ow >= wd else None
        made = product(taps[:, :, 0], seen_by[0], out=made)
        for u, planes in enumerate(seen_by[1:], 1):
            made += product(taps[:, :, u], planes)
        if ow < wd:
            block[...] = made.reshape(*block.shape[:3], wd)[..., :ow]
    return out


def depthwise_kernel(x: np.ndarray, g: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The gradient of the kernels where each output channel has one input channel."""
    (_, c, _, ow), wd = g.shape, x.shape[3]
    total = np.zeros((c, 1, *geometry.kernel), np.result_type(x, g))
    for images, channels, seen_by in planes_met(x, geometry):
        block = g[images, channels]
        if ow < wd:
            wide = np.zeros((*block.shape[:3], wd), g.dtype)
            wide[..., :ow] = block
            block = wide
        gradients = block.reshape(*block.shape[:2], -1, 1)
        for u, planes in enumerate(seen_by):
            total[channels, 0, u] += np.matmul(planes, gradients).sum(0)[..., 0]
    return total


def planes_met(
    x: np.ndarray, geometry: Geometry
) -> Iterator[tuple[slice, slice, list[np.ndarray]]]:
    """Images, channels, and the planes (N, C, KW, OH * W) that each row of a kernel meets in
    them, with stride 1. They are views of the image shifted by columns, rows being a shift in
    memory; W is the larger width of the image and the outputs."""
    (n, c, h, wd), (kh, kw) = x.shape, geometry.kernel
    (ph, pw), (dh, dw) = geometry.padding, geometry.dilation
    oh, ow = geometry.out_size((h, wd))
    width, rows = max(wd, ow), oh + geometry.reach[0]
    size = (rows + 1) * width + pw
    fit = max(1, 2 * BLOCK // (kw * size * x.itemsize))  # a sixteenth less than with one block
    channels, images = min(c, fit), max(1, fit // c)
    held = np.zeros((min(n, images), channels, kw, size + GAP), x.dtype)
    for i, j in pairs(range(0, n, images), range(0, c, channels)):
        part = x[i : i + images, j : j + channels]
        here = held[: len(part), : part.shape[1]]
        grid = here[..., : rows * width].reshape(*here.shape[:3], rows, width)
        for v in range(kw):
            shift = v * dw - pw
            if width == wd:  # a plane moves at once, then what came in at its side is wiped out
                start = ph * width - shift
                skip = max(0, -start)
                flat = part.reshape(*part.shape[:2], h * wd)[..., skip:]
                here[:, :, v, start + skip : start + h * wd] = flat
                side = slice(max(0, width - shift), None) if shift > 0 else slice(0, -shift)
                grid[:, :, v, :, side] = 0
            else:
                left, right = max(0, -shift), min(width, wd - shift)
                grid[:, :, v, ph : ph + h, left:right] = part[..., left + shift : right + shift]
        views = [here[..., u * dh * width :][..., : oh * width] for u in range(kh)]
        yield slice(i, i + images), slice(j, j + channels), views


def gather_rows(x: np.ndarray, w: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The convolution, gathering for one row of the kernel at a time."""
    o, groups = len(w), geometry.groups
    oh, ow = geometry.out_size(x.shape[2:])
    out = np.empty((len(x), o, oh, ow), np.result_type(x, w))
    kernels = w.transpose(2, 0, 1, 3).reshape(geometry.kernel[0], groups, o // groups, -1)
    for image, rows in row_blocks(x, o, oh, ow, geometry):
        block = out[image, :, rows].reshape(groups, o // groups, -1)
        for u, taken in enumerate(columns_by_row(x[image], rows, ow, geometry)):
            if u == 0:
                product(kernels[u], taken, out=block)
            else:
                block += product(kernels[u], taken)
    return out


def gather_rows_kernel(x: np.ndarray, g: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The gradient of the kernels, gathering for one of their rows at a time."""
    (_, o, oh, ow), c, groups, (kh, kw) = g.shape, x.shape[1], geometry.groups, geometry.kernel
    total = np.zeros((kh, groups, c // groups * kw, o // groups), np.result_type(x, g))
    for image, rows in row_blocks(x, o, oh, ow, geometry):
        gradients = g[image, :, rows].reshape(groups, o // groups, -1).swapaxes(1, 2)
        if kh >= 5 and o >= 16 * groups:  # BLAS likes them in order: 0.6 to 0.98 times the time
            gradients = np.ascontiguousarray(gradients)
        for u, taken in enumerate(columns_by_row(x[image], rows, ow, geometry)):
            total[u] += np.matmul(taken, gradients)
    parts = total.reshape(kh, groups, c // groups, kw, o // groups)
    return parts.transpose(1, 4, 2, 0, 3).reshape(o, c // groups, kh, kw)


def row_blocks(
    x: np.ndarray, o: int, oh: int, ow: int, geometry: Geometry
) -> Iterator[tuple[int, slice]]:
    """Each image, and rows of outputs, whose columns for one row of the kernel, or whose
    result, fill at most BLOCK bytes, if those of one row do."""
    taken = x.shape[1] * geometry.kernel[1] * geometry.stride[0]
    rows = max(1, BLOCK // (max(taken, o) * ow * x.itemsize))
    rows = -(-oh // -(-oh // rows))
    for i in range(len(x)):
        for top in range(0, oh, rows):
            yield i, slice(top, min(top + rows, oh))


def columns_by_row(x: np.ndarray, rows: slice, ow: int, geometry: Geometry) -> Iterator[np.ndarray]:
    """The pixels of one image (C, H, W) that these rows of outputs see through each row of the
    kernel: (groups, C/groups*KW, rows*OW). All are views of the image's rows, shifted by
    columns; with a stride, of those that are a multiple of it apart."""
    (kh, kw), (sh, sw), (dh, dw) = geometry.kernel, geometry.stride, geometry.dilation
    (c, h, wd), pw, groups = x.shape, geometry.padding[1], geometry.groups
    height, here, there = seen(rows, h, geometry)
    height = -(-height // sh)
    padded = np.zeros((c, height * sh, wd + 2 * pw), x.dtype)
    padded[:, there, pw : pw + wd] = x[:, here]
    (sc, si, sj), shape = padded.strides, (sh, c, kw, height, ow)
    view = np.ndarray(shape, x.dtype, padded, 0, (si, sc, sj * dw, si * sh, sj * sw))
    moved = np.empty((sh, groups, c // groups * kw, height * ow + GAP), x.dtype)[..., :-GAP]
    moved.reshape(shape)[...] = view
    for u in range(kh):
        first, apart = divmod(u * dh, sh)
        yield moved[apart, :, :, first * ow : (first + rows.stop - rows.start) * ow]


def gather(x: np.ndarray, w: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The convolution, gathering: each block is kernels (O, C*KH*KW) @ columns."""
    o, groups = len(w), geometry.groups
    oh, ow = geometry.out_size(x.shape[2:])
    out = np.empty((len(x), o, oh, ow), np.result_type(x, w))
    kernels = w.reshape(groups, o // groups, w[0].size)
    for images, rows in blocks(x, o, oh, ow, geometry):
        block, taken = out[images, :, rows], columns(x[images], rows, ow, geometry)
        if len(block) == 1 and taken.shape[2] == block[0, 0].size:
            product(kernels, taken, out=matrices(block, groups))
        else:
            block[...] = spaced(product(kernels, taken), block.shape)
    return out


def gather_kernel(x: np.ndarray, g: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The gradient of the kernels: the sum over the blocks of columns @ gradients.T."""
    (_, o, oh, ow), c, groups = g.shape, x.shape[1] // geometry.groups, geometry.groups
    taps = c * geometry.kernel[0] * geometry.kernel[1]
    total = np.zeros((groups, taps, o // groups), np.result_type(x, g))
    for images, rows in blocks(x, o, oh, ow, geometry):
        block, taken = g[images, :, rows], columns(x[images], rows, ow, geometry)
        if taken.shape[2] == len(block) * block[0, 0].size:
            gradients = matrices(block, groups)
        else:
            gradients = np.zeros((groups, o // groups, taken.shape[2]), g.dtype)
            spaced(gradients, block.shape)[...] = block
        total += np.matmul(taken, gradients.swapaxes(1, 2))
    return total.swapaxes(1, 2).reshape(o, c, *geometry.kernel)


def scatter(g: np.ndarray, w: np.ndarray, size: tuple[int, int], geometry: Geometry) -> np.ndarray:
    """The transpose of `gather`: each block of columns is kernels.T @ gradients, and
    each of its numbers is added to the pixel that `gather` would take it from."""
    (n, o, oh, ow), c, groups = g.shape, w.shape[1] * geometry.groups, geometry.groups
    (kh, kw), (sh, sw), (dh, dw), pw = (
        geometry.kernel,
        geometry.stride,
        geometry.dilation,
        geometry.padding[1],
    )
    image = np.zeros((n, c, *size), np.result_type(g, w))
    kernels = w.reshape(groups, o // groups, w[0].size).swapaxes(1, 2)
    for images, rows in blocks(image, o, oh, ow, geometry):
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
    return image


def interleave(
    g: np.ndarray, w: np.ndarray, size: tuple[int, int], geometry: Geometry
) -> np.ndarray:
    """The gradient of the images for a stride s, as those of s * s convolutions with stride 1.

    Row y of the image meets the taps u of the outputs i where y = i*s + u - padding. So the
    taps a, a + s, a + 2*s, ... meet only every s-th row: y = t*s + a - padding, t = i + (u - a)/s.
    """
    (kh, kw), (sh, sw), (ph, pw) = geometry.kernel, geometry.stride, geometry.padding
    groups = geometry.groups
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
            del made  # before the next is there
    return image


def blocks(
    x: np.ndarray, o: int, oh: int, ow: int, geometry: Geometry
) -> Iterator[tuple[slice, slice]]:
    """Images, and rows of outputs, whose columns fill at most BLOCK bytes, if one row does.

    Large images go in pieces, small ones several at a time, up to MERGED outputs together
    and a quarter of a block of results, which then have to be copied to their images.
    """
    taps = x.shape[1] * geometry.kernel[0] * geometry.kernel[1]
    rows = max(1, BLOCK // max(1, taps * ow * x.itemsize))
    results = BLOCK // 4 // (o * oh * ow * x.itemsize)
    step = max(1, min(rows // oh, MERGED // (oh * ow), results))
    rows = -(-oh // -(-oh // rows))  # pieces of nearly equal height
    for i in range(0, len(x), step):
        for top in range(0, oh, rows):
            yield slice(i, i + step), slice(top, min(top + rows, oh))


def seen(rows: slice, h: int, geometry: Geometry) -> tuple[int, slice, slice]:
    """How many rows of the padded image these rows of outputs see, and which of those hold
    the image, as rows of it and as rows of what is seen."""
    stride, reach = geometry.stride[0], geometry.reach[0]
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
    (kh, kw), (sh, sw), (dh, dw) = geometry.kernel, geometry.stride, geometry.dilation
    pw, groups = geometry.padding[1], geometry.groups
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
