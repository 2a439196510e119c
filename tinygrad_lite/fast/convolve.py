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

Some cases are simpler. 1x1 kernels have nothing to move (`pointwise`). Where each output
channel has one input channel, the product is too thin for the moving to pay: planes are
multiplied and added (`depthwise`), or, with a stride, short rows multiplied by matrices that
hold the taps (`banded`). Of few outputs from large kernels, what takes time is to lay out the
columns: then one row of the kernel at a time (`gather_rows`). Of many small images, it is to
copy their short rows: then some images are made one, `side_by_side`. And the gradient of the
image for a stride is that of several with stride 1 (`interleave`). `correlate`,
`correlate_image` and `correlate_kernel` choose.

All work goes by blocks of about BLOCK bytes of columns: they stay in the processor's
cache, and however large the images are, beside the result no more is taken than a few
times BLOCK (or the columns of one row of outputs, if they are more). `interleave` also
takes as much as one image, and so do 1x1 kernels with a stride.

A pixel or gradient that is not finite goes where the definition sends it, and nowhere else:
strategies that multiply by zeros to keep a product in one piece leave such numbers to others.
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

# Small images are laid side by side until their rows have about this many pixels together.
ROW = 128

# With fewer outputs of an image, those of several are one matrix: kernels' gradients take
# 0.04 to 0.9 times the time, and from 64 on 1.1 times.
FEW = 48

# What a row of a kernel should see of one image for the kernel to be taken row by row.
BY_ROWS = 16 * 1024

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

    def spread(self, n: int) -> Geometry:
        """The geometry for n images `side_by_side`."""
        (ph, pw), (dh, dw) = self.padding, self.dilation
        return replace(self, padding=(ph, n * pw), dilation=(dh, n * dw))

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
    elif in_bands(x, len(w), geometry):
        out = banded(x, w, geometry)
    elif some := together(x, geometry):
        out = np.empty((len(x), len(w), *geometry.out_size(x.shape[2:])), np.result_type(x, w))
        for images, m in pieces(x, out, some):
            wide = correlate(side_by_side(x[images], m), w, None, geometry.spread(m))
            block = turns(out[images], m)
            block[...] = wide.reshape(block.shape)
    elif turned is None or gathering(x.shape[1], len(w)):
        out = (gather_rows if by_rows(x, len(w), geometry) else gather)(x, w, geometry)
    else:
        out = scatter(x, turn(w, geometry.groups), geometry.out_size(x.shape[2:]), turned)
    if b is not None:
        out = repeated(np.add, out, b[:, None, None], out if b.dtype == out.dtype else None)
    return out


def correlate_image(
    g: np.ndarray, w: np.ndarray, size: tuple[int, int], geometry: Geometry
) -> np.ndarray:
    """The gradient (N, C, H, W) of the images, of `size` (H, W), for a gradient (N, O, OH, OW)."""
    if geometry.pointwise:
        return pointwise_image(g, w, size, geometry)
    turned, groups = geometry.turned, geometry.groups
    if turned is not None and gathering(len(w), groups * w.shape[1]):
        return correlate(g, turn(w, groups), None, turned)
    if geometry.stride != (1, 1) and geometry.dilation == (1, 1):
        if interleaving(w, geometry):
            return interleave(g, w, size, geometry)
        if w.shape[1] >= 4:
            return scatter_planes(g, w, size, geometry)
    return scatter(g, w, size, geometry)


def correlate_kernel(x: np.ndarray, g: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The gradient (O, C/groups, KH, KW) of the kernels for a gradient (N, O, OH, OW).

    Either the image or the gradient is gathered: the one with fewer channels.
    """
    if geometry.pointwise:
        return pointwise_kernel(x, g, geometry)
    turned = geometry.turned
    if in_planes(x, g.shape[1], geometry):
        found = depthwise_kernel(x, g, geometry)
    elif in_bands(x, g.shape[1], geometry):
        found = banded_kernel(x, g, geometry)
    elif turned is not None and g.shape[1] < x.shape[1]:
        found = turn(gathered_kernel(g, x, turned), geometry.groups)
    else:
        return gathered_kernel(x, g, geometry)
    if not np.isfinite(found).all():  # these meet pixels that no output sees, and inf * 0 is NaN
        return gather_kernel(x, g, geometry)
    return found


def gathered_kernel(x: np.ndarray, g: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The gradient of the kernels, gathering x."""
    if some := together(x, geometry):
        shape = (g.shape[1], x.shape[1] // geometry.groups, *geometry.kernel)
        total = np.zeros(shape, np.result_type(x, g))
        for images, m in pieces(x, g, some):
            wide = side_by_side(x[images], m), side_by_side(g[images], m)
            total += gathered_kernel(*wide, geometry.spread(m))
        return total
    rows = by_rows(x, g.shape[1], geometry)
    return (gather_rows_kernel if rows else gather_kernel)(x, g, geometry)


def together(x: np.ndarray, geometry: Geometry) -> int:
    """How many images to take `side_by_side`, if that pays, else 0.

    To copy a row costs about 10 ns, however short it is. With 16 channels and 3x3 kernels, 16
    images side by side take 0.5 times the time of 64 of 8x8, 8 take 0.9 times that of 64 of
    16x16, and 4 as much as 4 of 16x16. With 1 channel they take 1.5 times as long.
    """
    c, ow = x.shape[1], geometry.out_size(x.shape[2:])[1]
    some = min(len(x), ROW // ow)
    return some if some >= 8 and c >= 4 and ow >= 4 and geometry.stride[1] == 1 else 0


def pieces(x: np.ndarray, y: np.ndarray, some: int) -> Iterator[tuple[slice, int]]:
    """Images, about BLOCK bytes of each array, and how many of them to lay side by side."""
    n, whole = len(x), len(x) - len(x) % some
    step = some * max(1, BLOCK // max(x[:some].nbytes, y[:some].nbytes))
    for i in range(0, whole, step):
        yield slice(i, min(i + step, whole)), some
    if whole < n:
        yield slice(whole, n), n - whole


def turns(x: np.ndarray, some: int) -> np.ndarray:
    """The view (N/some, C, H, W, some) of images (N, C, H, W)."""
    n, c, h, w = x.shape
    return x.reshape(n // some, some, c, h, w).transpose(0, 2, 3, 4, 1)


def side_by_side(x: np.ndarray, some: int) -> np.ndarray:
    """Images (N, C, H, W) as N/some images (C, H, W*some), in which pixels of some take turns.
    What kernels see of each, kernels with their columns `some` times as far apart see of all."""
    n, c, h, w = x.shape
    return np.ascontiguousarray(turns(x, some)).reshape(n // some, c, h, w * some)


def by_rows(x: np.ndarray, o: int, geometry: Geometry) -> bool:
    """Whether to gather for one row of the kernel at a time.

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

    With 3x3 kernels that takes, of the time of gathering, for 64 channels of 32x32 0.6, for
    four 0.8, for one 1.3, for one of 64 images of 8x8 0.8, of one image 2.
    """
    (n, c, _, wd), (oh, ow) = x.shape, geometry.out_size(x.shape[2:])
    if not c == o == geometry.groups or geometry.stride != (1, 1) or n * c * oh * ow <= 4096:
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
        gradients = block.reshape(*block.shape[:2], 1, -1)
        for u, planes in enumerate(seen_by):
            total[channels, 0, u] += np.vecdot(planes, gradients).sum(0)
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
    held = None
    for images, channels in channel_blocks(n, c, kw * size * x.itemsize):
        part = x[images, channels]
        if held is None:  # the first block is the largest
            held = np.zeros((*part.shape[:2], kw, size + GAP), x.dtype)
        here = held[: len(part), : part.shape[1]]
        grid = here[..., : rows * width].reshape(*here.shape[:3], rows, width)
        for v in range(kw):
            shift = v * dw - pw
            if width == wd:  # a plane moves at once, then what came in at its side is wiped out
                start = ph * width - shift
                skip = max(0, -start)
                flat = part.reshape(*part.shape[:2], h * wd)[..., skip:]
                here[:, :, v, start + skip : max(0, start + h * wd)] = flat
                side = slice(max(0, width - shift), None) if shift > 0 else slice(0, -shift)
                grid[:, :, v, :, side] = 0
            else:
                left = max(0, -shift)
                right = max(left, min(width, wd - shift))
                grid[:, :, v, ph : ph + h, left:right] = part[..., left + shift : right + shift]
        views = [here[..., u * dh * width :][..., : oh * width] for u in range(kh)]
        yield images, channels, views


def channel_blocks(n: int, c: int, size: int) -> Iterator[tuple[slice, slice]]:
    """Images, and channels of them, that fill at most twice BLOCK bytes, if one of `size` does;
    with one BLOCK depthwise convolutions take a sixteenth longer."""
    fit = max(1, 2 * BLOCK // size)
    channels, images = min(c, fit), max(1, fit // c)
    for i, j in pairs(range(0, n, images), range(0, c, channels)):
        yield slice(i, i + images), slice(j, j + channels)


def in_bands(x: np.ndarray, o: int, geometry: Geometry) -> bool:
    """Whether to multiply rows by bands: each output channel has one input channel, there is a
    stride, the rows are short, there are enough for the calls, and an image fits a block.

    Of the time of gathering that takes, for 64 channels of 32x32 0.7 with 3x3 kernels and with
    5x5, for 8 images of 14x14 0.4, of 56x56 1.2 to 1.5, for one channel of 32x32 1.3.
    """
    (n, c, h, wd), (oh, ow) = x.shape, geometry.out_size(x.shape[2:])
    if not c == o == geometry.groups or geometry.stride[1] == 1 or n * c * oh * ow < 4096:
        return False
    return ow <= 16 and (h + geometry.reach[0]) * wd * x.itemsize <= BLOCK


def banded(x: np.ndarray, w: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The convolution where each output channel has one input channel: as many rows of the
    images as a stride has, times a band, the matrix (SH*W, OW) that has rows of the kernel along
    its diagonals."""
    (n, c, _, wd), (oh, ow) = x.shape, geometry.out_size(x.shape[2:])
    out = np.empty((n, c, oh, ow), np.result_type(x, w))
    for images, channels, lines in lines_met(x, geometry):
        block = out[images, channels].swapaxes(0, 1)
        bands = np.zeros((len(lines), (geometry.reach[0] + 1) * wd, ow), w.dtype)
        for v, taps in taps_of(bands, wd, geometry):
            taps[...] = w[channels, 0, :, v, None]
        first, *others = steps(bands, lines)
        made = np.matmul(*first)
        for rows, band in others:
            made[:, : rows.shape[1]] += np.matmul(rows, band)
        block[...] = made.reshape(*block.shape[:2], -1, ow)[:, :, :oh]
    if not np.isfinite(out).all():  # inf * 0 in a band is NaN
        return gather(x, w, geometry)
    return out


def banded_kernel(x: np.ndarray, g: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The gradient of the kernels where each output channel has one input channel: the sums
    along the diagonals of the gradients of the bands."""
    (_, c, oh, ow), wd = g.shape, x.shape[3]
    total = np.zeros((c, 1, *geometry.kernel), np.result_type(x, g))
    for images, channels, lines in lines_met(x, geometry):
        block = g[images, channels].swapaxes(0, 1)
        gradients = np.zeros((*block.shape[:2], lines.shape[1] // block.shape[1], ow), g.dtype)
        gradients[:, :, :oh] = block
        gradients = gradients.reshape(*lines.shape[:2], ow)
        bands = np.empty((len(lines), (geometry.reach[0] + 1) * wd, ow), total.dtype)
        for rows, band in steps(bands, lines):
            np.matmul(rows.swapaxes(1, 2), gradients[:, : rows.shape[1]], out=band)
        for v, taps in taps_of(bands, wd, geometry):
            total[channels, 0, :, v] += taps.transpose(2, 0, 1).copy().sum(0)
    return total


def lines_met(x: np.ndarray, geometry: Geometry) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Images, channels of them, and their rows as far as kernels meet them, with padding above
    and below: (C, N*rows/SH, SH*W)."""
    (n, c, h, wd), (oh, ow), sh = x.shape, geometry.out_size(x.shape[2:]), geometry.stride[0]
    height, here, there = seen(slice(0, oh), h, geometry)
    height = -(-height // sh) * sh
    size = max(height, (geometry.reach[0] + 1) * ow) * wd
    for images, channels in channel_blocks(n, c, size * x.itemsize):
        part = x[images, channels, here].swapaxes(0, 1)
        padded = np.empty((*part.shape[:2], height, wd), x.dtype)
        padded[:, :, : there.start] = padded[:, :, there.stop :] = 0
        padded[:, :, there] = part
        yield images, channels, padded.reshape(len(part), -1, sh * wd)


def steps(bands: np.ndarray, lines: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The bands (C, (reach + 1)*W, OW) in parts of a stride, each with the lines that it meets
    (and more between the images, so that all are equally far apart)."""
    step, count = lines.shape[2], -(-bands.shape[1] // lines.shape[2])
    parts = [bands[:, t * step : (t + 1) * step] for t in range(count)]
    return [(lines[:, t:, : band.shape[1]], band) for t, band in enumerate(parts)]


def taps_of(bands: np.ndarray, wd: int, geometry: Geometry) -> Iterator[tuple[int, np.ndarray]]:
    """For each column of the kernel, the places (C, KH, outputs) of its taps in the bands (C,
    (reach + 1)*W, OW): output j meets column j*stride + v*dilation - padding."""
    (c, _, ow), sw, (dh, dw) = bands.shape, geometry.stride[1], geometry.dilation
    flat = bands.reshape(c, -1, wd * ow)[:, ::dh]
    for v in range(geometry.kernel[1]):
        column = v * dw - geometry.padding[1]
        first, stop = max(0, -(column // sw)), min(ow, -((column - wd) // sw))
        start = (first * sw + column) * ow + first
        yield v, flat[:, :, start :: sw * ow + 1][:, :, : max(0, stop - first)]


def gather_rows(x: np.ndarray, w: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The convolution, gathering for one row of the kernel at a time."""
    o, groups = len(w), geometry.groups
    oh, ow = geometry.out_size(x.shape[2:])
    out = np.empty((len(x), o, oh, ow), np.result_type(x, w))
    kernels = w.transpose(2, 0, 1, 3).reshape(geometry.kernel[0], groups, o // groups, -1)
    for images, rows, seen_by in columns_by_row(x, o, geometry):
        block = as_planes(out[images, :, rows], groups)
        product(kernels[0], seen_by[0], out=block)
        for u, taken in enumerate(seen_by[1:], 1):
            block += product(kernels[u], taken)
    return out


def gather_rows_kernel(x: np.ndarray, g: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The gradient of the kernels, gathering for one of their rows at a time."""
    o, c, groups, (kh, kw) = g.shape[1], x.shape[1], geometry.groups, geometry.kernel
    total = np.zeros((kh, groups, c // groups * kw, o // groups), np.result_type(x, g))
    for images, rows, seen_by in columns_by_row(x, o, geometry):
        gradients = as_planes(g[images, :, rows], groups).swapaxes(2, 3)
        if kh >= 5:  # BLAS likes them in order: 0.5 to 1 times the time, for 3x3 kernels 1 to 1.2
            gradients = np.ascontiguousarray(gradients)
        for u, taken in enumerate(seen_by):
            total[u] += np.matmul(taken, gradients).sum(0)
    total = total.reshape(kh, groups, c // groups, kw, o // groups)
    return total.transpose(1, 4, 2, 0, 3).reshape(o, c // groups, kh, kw)


def columns_by_row(
    x: np.ndarray, o: int, geometry: Geometry
) -> Iterator[tuple[slice, slice, list[np.ndarray]]]:
    """Images, rows of outputs, and the pixels (N, groups, C/groups*KW, rows*OW) that they see
    through each row of the kernel (see `blocks`). All are views of the images' rows, shifted
    by columns; with a stride, of those that are a multiple of it apart."""
    (kh, kw), (sh, sw), (dh, dw) = geometry.kernel, geometry.stride, geometry.dilation
    (n, c, h, wd), pw, groups = x.shape, geometry.padding[1], geometry.groups
    oh, ow = geometry.out_size((h, wd))
    held = None
    size = max(c * kw * sh, o) * ow * x.itemsize
    for images, rows in blocks(n, oh, size, c // groups * kw * o * x.itemsize):
        m, (height, here, there) = images.stop - images.start, seen(rows, h, geometry)
        if held != (m, height, there):  # else all as before, but for the pixels
            held = m, height, there
            height = -(-height // sh)
            padded = np.zeros((m, c, height * sh, wd + 2 * pw), x.dtype)
            (sn, sc, si, sj), shape = padded.strides, (m, sh, c, kw, height, ow)
            strides = (sn, si, sc, sj * dw, si * sh, sj * sw)
            view = np.ndarray(shape, x.dtype, padded, 0, strides)
            taken = np.empty((m, sh, groups, c // groups * kw, height * ow + GAP), x.dtype)
            taken = taken[..., :-GAP]
            starts = [(u * dh % sh, u * dh // sh * ow) for u in range(kh)]
            ends = (rows.stop - rows.start) * ow
            seen_by = [taken[:, a, :, :, i : i + ends] for a, i in starts]
        padded[:, :, there, pw : pw + wd] = x[images, :, here]
        taken.reshape(shape)[...] = view
        yield images, rows, seen_by


def gather(x: np.ndarray, w: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The convolution, gathering: each block is kernels (O, C*KH*KW) @ columns."""
    o, groups = len(w), geometry.groups
    out = np.empty((len(x), o, *geometry.out_size(x.shape[2:])), np.result_type(x, w))
    kernels = w.reshape(groups, o // groups, w[0].size)
    for images, rows, taken in columns(x, o, geometry):
        block = out[images, :, rows]
        if len(taken) == len(block):
            product(kernels, taken, out=as_planes(block, groups))
        else:
            made = product(kernels, taken).reshape(o, len(block), *block.shape[2:])
            block[...] = made.swapaxes(0, 1)
    return out


def gather_kernel(x: np.ndarray, g: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The gradient of the kernels: the sum over the blocks of columns @ gradients.T."""
    o, c, groups = g.shape[1], x.shape[1] // geometry.groups, geometry.groups
    taps = c * geometry.kernel[0] * geometry.kernel[1]
    total = np.zeros((groups, taps, o // groups), np.result_type(x, g))
    for images, rows, taken in columns(x, o, geometry):
        gradients = g[images, :, rows]
        if len(taken) < len(gradients):  # (1, O, N*rows, OW)
            gradients = gradients.swapaxes(0, 1).reshape(1, o, -1, g.shape[3])
        total += np.matmul(taken, as_planes(gradients, groups).swapaxes(2, 3)).sum(0)
    return total.swapaxes(1, 2).reshape(o, c, *geometry.kernel)


def columns(x: np.ndarray, o: int, geometry: Geometry) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Images, rows of outputs, and the pixels (N, groups, C/groups*KH*KW, rows*OW) that each of
    these outputs sees (see `blocks`); of images with few outputs (1, ..., N*rows*OW)."""
    (kh, kw), (sh, sw), (dh, dw) = geometry.kernel, geometry.stride, geometry.dilation
    (n, c, h, wd), pw, groups = x.shape, geometry.padding[1], geometry.groups
    oh, ow = geometry.out_size((h, wd))
    taps, few = c // groups * kh * kw, oh * ow < FEW
    held, made = None, (oh * ow if few else taps) * o * x.itemsize
    for images, rows in blocks(n, oh, taps * groups * ow * x.itemsize, made):
        m, (height, here, there) = images.stop - images.start, seen(rows, h, geometry)
        if held != (m, height, there):  # else all as before, but for the pixels
            held, r = (m, height, there), rows.stop - rows.start
            padded = np.zeros((m, c, height, wd + 2 * pw), x.dtype)
            # One view that shows each pixel once for each output that sees it.
            (sn, sc, si, sj), shape = padded.strides, (m, c, kh, kw, r, ow)
            strides = (sn, sc, si * dh, sj * dw, si * sh, sj * sw)
            view = np.ndarray(shape, x.dtype, padded, 0, strides)
            if few:
                view, m, r = np.moveaxis(view, 0, 3), 1, m * r
            taken = np.empty((m, groups, taps, r * ow + GAP), x.dtype)[..., :-GAP]
        padded[:, :, there, pw : pw + wd] = x[images, :, here]
        taken.reshape(view.shape)[...] = view
        yield images, rows, taken


def scatter(g: np.ndarray, w: np.ndarray, size: tuple[int, int], geometry: Geometry) -> np.ndarray:
    """The transpose of `gather`: each block of columns is kernels.T @ gradients, and
    each of its numbers is added to the pixel that `gather` would take it from."""
    (n, o, oh, ow), c, groups = g.shape, w.shape[1] * geometry.groups, geometry.groups
    (kh, kw), (sh, sw), (dh, dw) = geometry.kernel, geometry.stride, geometry.dilation
    image, pw = np.zeros((n, c, *size), np.result_type(g, w)), geometry.padding[1]
    kernels = w.reshape(groups, o // groups, w[0].size).swapaxes(1, 2)
    for images, rows in blocks(n, oh, c * kh * kw * ow * image.itemsize, 0):
        gradients = g[images, :, rows]
        m, r = len(gradients), rows.stop - rows.start
        taken = product(kernels, as_planes(gradients, groups)).reshape(m, c, kh, kw, r, ow)
        height, here, there = seen(rows, size[0], geometry)
        padded = np.zeros((m, c, height, size[1] + 2 * pw), image.dtype)
        for u, v in pairs(range(kh), range(kw)):
            i, j = u * dh, v * dw
            padded[:, :, i : i + sh * r : sh, j : j + sw * ow : sw] += taken[:, :, u, v]
        image[images, :, here] += padded[:, :, there, pw : pw + size[1]]
    return image


def scatter_planes(
    g: np.ndarray, w: np.ndarray, size: tuple[int, int], geometry: Geometry
) -> np.ndarray:
    """`scatter` for a stride s without dilation, s * s taps at a time.

    Those from (p*s, q*s) on meet the s * s pixels from a multiple of s on. With such pixels in
    planes of their own, and gradients in rows as long as theirs, what these taps add is one
    run of numbers: from 4 channels on 0.6 to 0.9 times the time, with one 1 to 1.5.
    """
    if not np.isfinite(w).all():  # inf * 0 between the rows is NaN
        return scatter(g, w, size, geometry)
    (n, o, oh, ow), c, groups = g.shape, w.shape[1], geometry.groups
    (kh, kw), (sh, sw), (ph, pw) = geometry.kernel, geometry.stride, geometry.padding
    below, width = (kh - 1) // sh, ow + (kw - 1) // sw
    image = np.zeros((n, groups * c, *size), np.result_type(g, w))
    kernels = w.reshape(groups, o // groups, c, kh, kw).transpose(0, 2, 3, 4, 1)
    size_of_row = max(groups * c * sh * sw, o) * width * image.itemsize
    for images, rows in blocks(n, oh, size_of_row, 0):
        m, r = images.stop - images.start, rows.stop - rows.start
        gradients = np.zeros((m, o, r, width), g.dtype)
        gradients[..., :ow] = g[images, :, rows]
        runs = np.zeros((m, groups, c, sh, sw, (r + below + 1) * width), image.dtype)
        for p, q in pairs(range(0, kh, sh), range(0, kw, sw)):
            taps = kernels[:, :, p : p + sh, q : q + sw]
            made = product(taps.reshape(groups, -1, o // groups), as_planes(gradients, groups))
            a, b = taps.shape[2:4]
            run = runs[:, :, :, :a, :b, p // sh * width + q // sw :][..., : r * width]
            run += made.reshape(run.shape)
        planes = runs.reshape(m, groups * c, sh, sw, -1, width)[..., : r + below, :]
        for there, part in dealt(planes, image[images], rows.start * sh - ph, -pw):
            np.add(there, part, out=there) if r < oh else np.copyto(there, part)
    return image


def interleaving(w: np.ndarray, geometry: Geometry) -> bool:
    """Whether `interleave` is faster than scattering: if what it copies for each pixel of the
    gradient, and what it multiplies by zeros, costs less than adding all taps. To multiply by 24
    zeros costs as much as to copy one number, to add one in a run 0.75 times as much.

    On four images of 32x32 and with stride 2, of the time of `scatter_planes` it takes from 16
    channels to 16 1.2 with 3x3 kernels and 0.9 with 7x7, from 64 to 64 1.4 and 1.0, from 16 to
    64 1.9 and 1.3 (5x5), from 16 to 4 0.7 (3x3), from 64 to 4 0.4 (5x5).
    """
    (kh, kw), (sh, sw), (o, c) = geometry.kernel, geometry.stride, w.shape[:2]
    o, rows, cols = o // geometry.groups, -(-kh // sh), -(-kw // sw)
    zeros = rows * sh * cols * sw - kh * kw
    return o * rows * cols + o * c * zeros / 24 <= 0.75 * c * kh * kw


def interleave(
    g: np.ndarray, w: np.ndarray, size: tuple[int, int], geometry: Geometry
) -> np.ndarray:
    """The gradient of the images for a stride s without dilation: that of s * s times as many
    images with stride 1, whose pixels take turns.

    Row y of the image meets the taps u of the outputs i where y = i*s + u - padding. Hence the
    taps a, a + s, a + 2*s, ... meet every s-th row, y = t*s + a - padding with t = i + (u - a)/s,
    and are the kernel of one channel more with stride 1 (zeros make all equally long). See
    "sub-pixel convolution" in Shi et al., arXiv:1609.05158.
    """
    if not np.isfinite(g).all():  # inf * 0 in a kernel is NaN
        return scatter(g, w, size, geometry)
    (n, o, oh, ow), c, groups = g.shape, w.shape[1], geometry.groups
    (kh, kw), (sh, sw), (ph, pw) = geometry.kernel, geometry.stride, geometry.padding
    mh, mw = -(-kh // sh), -(-kw // sw)
    padded = np.zeros((o, c, mh * sh, mw * sw), w.dtype)
    padded[:, :, :kh, :kw] = w
    parts = padded.reshape(groups, o // groups, c, mh, sh, mw, sw).transpose(0, 2, 4, 6, 1, 3, 5)
    parts = parts[..., ::-1, ::-1].reshape(groups * c * sh * sw, o // groups, mh, mw)
    # At most that many rows and columns at each end lie outside the image for all a and b.
    cuth = max(0, min(mh - 1, ph // sh, oh + mh - 2 - (size[0] - 1 + ph) // sh))
    cutw = max(0, min(mw - 1, pw // sw, ow + mw - 2 - (size[1] - 1 + pw) // sw))
    inner = Geometry((mh, mw), (1, 1), (mh - 1 - cuth, mw - 1 - cutw), (1, 1), groups)
    image = np.empty((n, groups * c, *size), np.result_type(g, w))
    image[:, :, max(0, (oh + mh - 1 - cuth) * sh - ph) :] = 0  # what no output met
    image[..., max(0, (ow + mw - 1 - cutw) * sw - pw) :] = 0
    step = max(1, BLOCK // max(1, image[:1].nbytes))
    for i in range(0, n, step):
        made = correlate(g[i : i + step], parts, None, inner)
        planes = made.reshape(len(made), groups * c, sh, sw, *made.shape[2:])
        for there, part in dealt(planes, image[i : i + step], cuth * sh - ph, cutw * sw - pw):
            there[...] = part
        del made, planes, part  # before the next are there
    return image


def dealt(
    planes: np.ndarray, image: np.ndarray, top: int, left: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Views of an image (N, C, H, W), each with the part that belongs there of the planes (N, C,
    SH, SW, T, R), whose pixels take turns from (top, left) on; either may go beyond the other."""
    sh, sw = planes.shape[2:4]
    for a, b in pairs(range(sh), range(sw)):
        t, r = max(0, -((a + top) // sh)), max(0, -((b + left) // sw))  # the first in the image
        there = image[:, :, t * sh + a + top :: sh, r * sw + b + left :: sw]
        part = planes[:, :, a, b, t : t + there.shape[2], r : r + there.shape[3]]
        yield there[:, :, : part.shape[2], : part.shape[3]], part


def blocks(n: int, oh: int, size: int, made: int) -> Iterator[tuple[slice, slice]]:
    """Images, and rows of outputs, that fill at most BLOCK bytes, if a row of `size` does. No
    more images than what is `made` of them fits as well, if one does."""
    rows = max(1, BLOCK // max(1, size))
    step = max(1, min(rows // oh, BLOCK // max(1, made)))
    rows = -(-oh // -(-oh // rows))  # pieces of nearly equal height
    for i in range(0, n, step):
        for top in range(0, oh, rows):
            yield slice(i, min(i + step, n)), slice(top, min(top + rows, oh))


def seen(rows: slice, h: int, geometry: Geometry) -> tuple[int, slice, slice]:
    """How many rows of the padded image these rows of outputs see, and which of those hold
    the image, as rows of it and as rows of what is seen."""
    stride, reach = geometry.stride[0], geometry.reach[0]
    first = rows.start * stride - geometry.padding[0]
    last = (rows.stop - 1) * stride - geometry.padding[0] + reach + 1
    top = max(first, 0)
    bottom = max(top, min(last, h))
    return last - first, slice(top, bottom), slice(top - first, bottom - first)


def product(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """a @ b. For an inner dimension of 1, as of one channel or a depthwise kernel, NumPy
    leaves BLAS, and multiplying with broadcasting is 2 to 4 times faster."""
    return np.matmul(a, b, out=out) if a.shape[-1] > 1 else repeated(np.multiply, a, b, out)


def repeated(
    ufunc: np.ufunc, a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None
) -> np.ndarray:
    """ufunc(a, b) for arrays of which rows are repeated. Since 2.3 NumPy copies such rows until
    a buffer of 8192 numbers is full, which takes 1.5 to 3.6 times as long as the sum or product
    (github.com/numpy/numpy/pull/32595); with a small buffer it does not."""
    if a.size * b.size < 1 << 14:
        return ufunc(a, b, out=out)
    with np.errstate():  # restores the size
        np.setbufsize(256)
        return ufunc(a, b, out=out)
