"""Quicker convolutions: pixels are moved until one matrix product does the rest.

A kernel of KH x KW taps meets every output pixel KH*KW times, each time a pixel further.
The shifts can be made on either side of the product:

gather    Before it: lay the pixels that an output sees in one column, C * KH * KW numbers
          for each output, and multiply the kernels with all columns.
scatter   After it: multiply each pixel with all taps, O * KH * KW numbers for each pixel,
          and add each of them to the output it belongs to.

Scattering is the transpose of gathering: what one moves from a place, the other adds to
it. So `scatter` with a convolution's kernels is the gradient of its image. And with
stride 1 that transpose is a convolution again, with the kernels turned by half a turn and
their inputs and outputs exchanged (`turn`). Hence each of the three functions can be computed
in two ways, and `gathers` says which. Times without each strategy over those with it, at most,
on the benchmarks' grid, forward and both gradients:

scatter         2.5   from many channels to one
gather by_row   2.2   for kernels from 5x5 on
interleave      3.0   for the gradient of images whose kernels of 5x5 have a stride
pointwise       4.4   for kernels of 1x1
broadcast       2.2   for kernels of 1x1 with one channel

All work goes by blocks of about BLOCK bytes of columns: they stay in the processor's
cache, and however large the images are, beside the result no more is taken than a few
times BLOCK (or the columns of one row of outputs, if they are more). `interleave` also
takes as much as one image, and so do 1x1 kernels with a stride.

What is not finite goes where the definition sends it, and nowhere else. inf * 0 is NaN, so a
strategy that multiplies with other zeros than the definition does is not used for such numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product as pairs

import numpy as np

from ..ops.convolution import Geometry, as_planes

# Columns of 1 MiB fit the second-level cache of current processors. With 0.25 or 4 MiB most
# convolutions take 1.1 times as long, and with whole images 1.2 to 2.4 times.
BLOCK = 1 << 20

# Elements between the end of a row of columns and the next row. Rows that start a multiple
# of 4096 bytes apart meet in the same cache lines, and the product takes 1.5 times longer.
GAP = 16

# Adding a number to the place it belongs to costs as much as copying this many.
SCATTER_COST = 4

# With fewer outputs of an image, those of several are one matrix: kernels' gradients take
# 0.04 to 0.9 times the time, and from 64 on 1.1 times.
FEW = 48

# What a row of a kernel should see of one image for the kernel to be taken row by row.
BY_ROWS = 16 * 1024

Bias = np.ndarray | None
Into = np.ndarray | None  # memory for the result, if there is some already
Block = tuple[slice, slice, slice]  # of images, groups of channels, and rows of outputs


def correlate(
    x: np.ndarray, w: np.ndarray, b: Bias, geometry: Geometry, into: Into = None
) -> np.ndarray:
    """As `ops.convolution.correlate`."""
    if is_pointwise(geometry):
        out = pointwise(x, w, geometry, into)
    elif (
        gathers(x.shape[1], len(w))
        or (turned := turned_geometry(geometry)) is None
        or not np.isfinite(w).all()
    ):
        out = gather(x, w, geometry, takes_rows(x, len(w), geometry), into)
    else:
        out = scatter(x, turn(w, geometry.groups), geometry.out_size(x.shape[2:]), turned, into)
    if b is not None:
        out = broadcast(np.add, out, b[:, None, None], out if b.dtype == out.dtype else None)
    return out


def correlate_image(
    g: np.ndarray, w: np.ndarray, size: tuple[int, int], geometry: Geometry, into: Into = None
) -> np.ndarray:
    """As `ops.convolution.correlate_image`."""
    if is_pointwise(geometry):
        return pointwise_image(g, w, size, geometry, into)
    turned, c = turned_geometry(geometry), geometry.groups * w.shape[1]
    if np.isfinite(w).all():
        if turned is not None and gathers(len(w), c):
            return gather(g, turn(w, geometry.groups), turned, takes_rows(g, c, turned), into)
        if interleaves(w, geometry) and np.isfinite(g).all():
            return interleave(g, w, size, geometry, into)
    return scatter(g, w, size, geometry, into)


def correlate_kernel(x: np.ndarray, g: np.ndarray, geometry: Geometry) -> np.ndarray:
    """As `ops.convolution.correlate_kernel`: x or g is gathered, the one with fewer channels."""
    if is_pointwise(geometry):
        return pointwise_kernel(x, g, geometry)
    if g.shape[1] < x.shape[1] and (turned := turned_geometry(geometry)) is not None:
        found = turn(correlate_kernel(g, x, turned), geometry.groups)
        if np.isfinite(found).all():
            return found
    return gather_kernel(x, g, geometry, takes_rows(x, g.shape[1], geometry))


def turned_geometry(geometry: Geometry) -> Geometry | None:
    """The geometry in which `turn`ed kernels undo the shifts of these, if there is one."""
    (ph, pw), (rh, rw) = geometry.padding, geometry.reach
    if geometry.stride != (1, 1) or ph > rh or pw > rw:
        return None
    padding = rh - ph, rw - pw
    return Geometry(geometry.kernel, (1, 1), padding, geometry.dilation, geometry.groups)


def turn(w: np.ndarray, groups: int) -> np.ndarray:
    """The kernels turned by half a turn, with input and output channels exchanged."""
    o, c, kh, kw = w.shape
    w = w[:, :, ::-1, ::-1].reshape(groups, o // groups, c, kh, kw)
    return np.ascontiguousarray(w.swapaxes(1, 2)).reshape(groups * c, o // groups, kh, kw)


def gathers(read: int, made: int) -> bool:
    """Whether a product that reads and makes that many channels should gather.

    The matrix product costs the same either way, so what decides is what is moved: `read`
    numbers per tap and pixel copied, or `made` added. For 3x3 kernels on 64x64 images,
    gathering takes 0.7 times the time of scattering from 32 channels to 32, as much from
    32 to 8, and 2.4 times from 32 to 1 (3.3 in float64).
    """
    return read <= SCATTER_COST * made


def is_pointwise(geometry: Geometry) -> bool:
    """Whether each output sees one pixel, and all the image is there."""
    return geometry.kernel == (1, 1) and geometry.padding == (0, 0)


def takes_rows(x: np.ndarray, o: int, geometry: Geometry) -> bool:
    """Whether to gather for one row of the kernel at a time.

    Each pixel is then copied KW times and not KH * KW, but there are KH products, whose
    results must be added up. On 32x32 images that takes, of the time of gathering at once,
    from 16 channels to 16 0.7 for 3x3 kernels and for 7x7, from 16 to 4 0.7 and 0.4, from 16
    to 64 1.2 and 1.0, from 4 to 4 1.05 and 0.7, from 1 to 4 1.3 and 1.4; on 8x8 images, from
    16 to 16, 2.1 for 3x3.
    """
    c, kw, (oh, ow) = x.shape[1], geometry.kernel[1], geometry.out_size(x.shape[2:])
    return geometry.kernel[0] > 1 and o <= c and c * kw >= 6 and c * kw * oh * ow >= BY_ROWS


def room(shape: tuple[int, ...], into: Into, *arrays: np.ndarray) -> np.ndarray:
    """Memory for a result of this shape that these arrays give: what is there, if anything is."""
    return np.empty(shape, np.result_type(*arrays)) if into is None else into


def zeros(shape: tuple[int, ...], into: Into, *arrays: np.ndarray) -> np.ndarray:
    """`room`, all of it 0."""
    if into is None:
        return np.zeros(shape, np.result_type(*arrays))
    into[...] = 0
    return into


def pointwise(x: np.ndarray, w: np.ndarray, geometry: Geometry, into: Into = None) -> np.ndarray:
    """The convolution with 1x1 kernels: one matrix product for each image."""
    o, groups = len(w), geometry.groups
    out = room((len(x), o, *geometry.out_size(x.shape[2:])), into, x, w)
    kernels = w.reshape(groups, o // groups, -1)
    product(kernels, strided_pixels(x, geometry), out=as_planes(out, groups))
    return out


def pointwise_image(
    g: np.ndarray, w: np.ndarray, size: tuple[int, int], geometry: Geometry, into: Into = None
) -> np.ndarray:
    """The gradient of the images for 1x1 kernels; pixels that no output met have 0."""
    groups = geometry.groups
    kernels = w.reshape(groups, len(w) // groups, -1).swapaxes(1, 2)
    shape = (len(g), groups * w.shape[1], *size)
    if geometry.stride == (1, 1):
        image = room(shape, into, g, w)
        product(kernels, as_planes(g, groups), out=as_planes(image, groups))
        return image
    image, (sh, sw) = zeros(shape, into, g, w), geometry.stride
    made = product(kernels, as_planes(g, groups))
    image[:, :, ::sh, ::sw] = made.reshape(*shape[:2], *g.shape[2:])
    return image


def pointwise_kernel(x: np.ndarray, g: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The gradient of 1x1 kernels: the sum over the images of a matrix product each."""
    gradients, pixels = as_planes(g, geometry.groups), strided_pixels(x, geometry).swapaxes(2, 3)
    (n, groups, o, _), c = gradients.shape, pixels.shape[3]
    total = np.zeros((groups, o, c), np.result_type(x, g))
    some = max(1, BLOCK // max(1, total.nbytes))  # products at a time
    for i in range(0, n, some):
        total += np.matmul(gradients[i : i + some], pixels[i : i + some]).sum(0)
    return total.reshape(groups * o, c, 1, 1)


def strided_pixels(x: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The pixels that 1x1 kernels meet, as planes; with a stride, a copy."""
    (sh, sw), groups = geometry.stride, geometry.groups
    return as_planes(x if sh == sw == 1 else x[:, :, ::sh, ::sw], groups)


def gather(
    x: np.ndarray, w: np.ndarray, geometry: Geometry, by_row: bool, into: Into = None
) -> np.ndarray:
    """The convolution, gathering: each block is kernels @ columns, or if `by_row` the sum of
    such a product for each row of the kernels."""
    (o, _, kh, _), groups = w.shape, geometry.groups
    out = room((len(x), o, *geometry.out_size(x.shape[2:])), into, x, w)
    kernels = w.transpose(2, 0, 1, 3) if by_row else w
    kernels = kernels.reshape(kh if by_row else 1, groups, o // groups, -1)
    for images, some, rows, seen in columns(x, o, geometry, by_row):
        block = out[images, channels_of(some, o // groups), rows]
        if len(seen[0]) < len(block):  # of few outputs
            made = product(kernels[0, some], seen[0])
            block[...] = made.reshape(-1, len(block), *block.shape[2:]).swapaxes(0, 1)
            continue
        planes = as_planes(block, some.stop - some.start)
        product(kernels[0, some], seen[0], out=planes)
        for u in range(1, len(seen)):
            planes += product(kernels[u, some], seen[u])
    return out


def gather_kernel(x: np.ndarray, g: np.ndarray, geometry: Geometry, by_row: bool) -> np.ndarray:
    """The gradient of the kernels: the sum over the blocks of columns @ gradients.T."""
    o, groups, (kh, kw) = g.shape[1], geometry.groups, geometry.kernel
    c, steps = x.shape[1] // groups, kh if by_row else 1
    total = np.zeros((steps, groups, c * (kh // steps) * kw, o // groups), np.result_type(x, g))
    for images, some, rows, seen in columns(x, o, geometry, by_row):
        block = g[images, channels_of(some, o // groups), rows]
        if len(seen[0]) < len(block):  # of few outputs: (1, O, N*rows, OW)
            block = block.swapaxes(0, 1).reshape(1, block.shape[1], -1, g.shape[3])
        gradients = as_planes(block, some.stop - some.start).swapaxes(2, 3)
        if steps >= 5:  # BLAS likes them in order: 0.5 to 1 times the time, with 3 rows 1 to 1.2
            gradients = np.ascontiguousarray(gradients)
        for u, pixels in enumerate(seen):
            total[u, some] += np.matmul(pixels, gradients).sum(0)
    total = total.reshape(steps, groups, c, kh // steps, kw, o // groups)
    return total.transpose(1, 5, 2, 0, 3, 4).reshape(o, c, kh, kw)


def columns(
    x: np.ndarray, o: int, geometry: Geometry, by_row: bool
) -> Iterator[tuple[slice, slice, slice, list[np.ndarray]]]:
    """Blocks of images, groups and rows of outputs, and the pixels that these see: one array
    (N, groups, C/groups*KH*KW, rows*OW), of images with few outputs (1, ..., N*rows*OW), or if
    `by_row` one for each row of the kernel, (N, groups, C/groups*KW, rows*OW).

    If the outputs have rows as long as the image, what a tap meets is one run of numbers, in
    which those that came from the row before or after are then replaced by zeros: moving one
    run and not many short rows, 64 images of 8x8 take 0.6 times as long.
    """
    (kh, kw), (sh, sw), (dh, dw) = geometry.kernel, geometry.stride, geometry.dilation
    (n, c, h, wd), pw, groups = x.shape, geometry.padding[1], geometry.groups
    (oh, ow), c = geometry.out_size((h, wd)), c // groups
    in_runs, few = sh == sw == 1 and ow == wd, not by_row and oh * ow < FEW
    width = wd if in_runs else wd + 2 * pw
    row = max(c * kw * sh, o // groups) if by_row else c * kh * kw
    made = (oh * ow if few else c * kw * (1 if by_row else kh)) * o
    held = None
    for images, some, rows in blocks(n, groups, oh, row * ow * x.itemsize, made * x.itemsize):
        height, here, there = rows_seen(rows, h, geometry)
        pixels = x[images, channels_of(some, c), here]
        if held != (pixels.shape, height, there):  # else all as before, but for the pixels
            held = pixels.shape, height, there
            m, k, r = len(pixels), some.stop - some.start, rows.stop - rows.start
            parts = -(-height // sh)
            flat = np.zeros((m, k, c, parts * sh * width + 2 * pw), x.dtype)
            padded = flat[..., pw : pw + parts * sh * width].reshape(m, k * c, -1, width)
            view = tap_pixels(flat, width, (parts if by_row else r, ow), geometry, by_row)
            if by_row:
                taken = np.empty((m, k, sh, c * kw, parts * ow + GAP), x.dtype)
                starts = [(u * dh % sh, u * dh // sh * ow) for u in range(kh)]
                seen = [taken[:, :, a, :, i : i + r * ow] for a, i in starts]
            else:
                several, length = (1, m * r * ow) if few else (m, r * ow)
                taken = np.empty((several, k, c * kh * kw, length + GAP), x.dtype)
                seen = [taken[..., :-GAP]]
            grid = taken[..., :-GAP]
            if few:
                grid = np.moveaxis(grid.reshape(*view.shape[1:5], m, r, ow), 4, 0)
            grid = grid.reshape(view.shape)
        padded[..., there, :wd] = pixels
        grid[...] = view
        for v in range(kw) if in_runs else ():
            if shift := v * dw - pw:
                side = slice(max(0, wd - shift), None) if shift > 0 else slice(0, -shift)
                grid[..., v, :, side] = 0
        yield images, some, rows, seen


def tap_pixels(
    flat: np.ndarray, width: int, size: tuple[int, int], geometry: Geometry, by_row: bool
) -> np.ndarray:
    """A view of padded images (N, groups, C/groups, rows*width) that shows each pixel as often as
    it is seen: (N, groups, C/groups, KH, KW, *size), of outputs of that size, or if `by_row` (N,
    groups, SH, C/groups, KW, *size): of the rows from each to the stride on, a stride apart."""
    (kh, kw), (sh, sw), (dh, dw) = geometry.kernel, geometry.stride, geometry.dilation
    (n, groups, c, _), (sn, sg, sc, sj) = flat.shape, flat.strides
    si = width * sj
    if by_row:
        shape, strides = (n, groups, sh, c, kw), (sn, sg, si, sc, dw * sj)
    else:
        shape, strides = (n, groups, c, kh, kw), (sn, sg, sc, dh * si, dw * sj)
    return np.ndarray((*shape, *size), flat.dtype, flat, 0, (*strides, sh * si, sw * sj))


def channels_of(groups: slice, each: int) -> slice:
    """The channels of some groups that have so many each."""
    return slice(groups.start * each, groups.stop * each)


def scatter(
    g: np.ndarray, w: np.ndarray, size: tuple[int, int], geometry: Geometry, into: Into = None
) -> np.ndarray:
    """The transpose of `gather`: each block of columns is kernels.T @ gradients, and
    each of its numbers is added to the pixel that `gather` would take it from."""
    (n, o, oh, ow), c, groups = g.shape, w.shape[1] * geometry.groups, geometry.groups
    (kh, kw), (sh, sw), (dh, dw) = geometry.kernel, geometry.stride, geometry.dilation
    image, pw = zeros((n, c, *size), into, g, w), geometry.padding[1]
    kernels = w.reshape(groups, o // groups, w[0].size).swapaxes(1, 2)
    for images, _, rows in blocks(n, 1, oh, c * kh * kw * ow * image.itemsize, 0):
        gradients = g[images, :, rows]
        m, r = len(gradients), rows.stop - rows.start
        taken = product(kernels, as_planes(gradients, groups)).reshape(m, c, kh, kw, r, ow)
        height, here, there = rows_seen(rows, size[0], geometry)
        padded = np.zeros((m, c, height, size[1] + 2 * pw), image.dtype)
        for u, v in pairs(range(kh), range(kw)):
            i, j = u * dh, v * dw
            padded[:, :, i : i + sh * r : sh, j : j + sw * ow : sw] += taken[:, :, u, v]
        image[images, :, here] += padded[:, :, there, pw : pw + size[1]]
    return image


def interleaves(w: np.ndarray, geometry: Geometry) -> bool:
    """Whether `interleave` is faster than scattering: there is a stride, what it copies for each
    pixel of the gradient costs less than adding all taps, and it multiplies by few zeros.

    On four images of 32x32 and with stride 2, of the time of `scatter` it takes from 16 channels
    to 16 0.7 with 3x3 kernels and 0.3 with 7x7, from 64 to 64 0.95 and 0.6, from 64 to 16 1.5
    (3x3) and 0.8 (5x5), from 4 to 16 0.3 and 0.2, from 1 to 64 0.3 and 0.1.
    """
    if geometry.stride == (1, 1) or geometry.dilation != (1, 1):
        return False
    (kh, kw), (sh, sw), (o, c) = geometry.kernel, geometry.stride, w.shape[:2]
    o, rows, cols = o // geometry.groups, -(-kh // sh), -(-kw // sw)
    return 2 * o * rows * cols <= 3 * c * kh * kw and rows * sh * cols * sw <= 2 * kh * kw


def interleave(
    g: np.ndarray, w: np.ndarray, size: tuple[int, int], geometry: Geometry, into: Into = None
) -> np.ndarray:
    """The gradient of the images for a stride s without dilation: that of s * s times as many
    images with stride 1, whose pixels take turns.

    Row y of the image meets the taps u of the outputs i where y = i*s + u - padding. Hence the
    taps a, a + s, a + 2*s, ... meet every s-th row, y = t*s + a - padding with t = i + (u - a)/s,
    and are the kernel of one channel more with stride 1 (zeros make all equally long). See
    "sub-pixel convolution" in Shi et al., arXiv:1609.05158.
    """
    (n, o, oh, ow), c, groups = g.shape, w.shape[1], geometry.groups
    (kh, kw), (sh, sw), (ph, pw) = geometry.kernel, geometry.stride, geometry.padding
    mh, mw = -(-kh // sh), -(-kw // sw)
    padded = np.zeros((o, c, mh * sh, mw * sw), w.dtype)
    padded[:, :, :kh, :kw] = w
    parts = padded.reshape(groups, o // groups, c, mh, sh, mw, sw).transpose(0, 2, 4, 6, 1, 3, 5)
    parts = parts[..., ::-1, ::-1].reshape(groups * c * sh * sw, o // groups, mh, mw)
    # Of what is made, this many rows and columns at each end lie outside the image.
    cuth = max(0, min(mh - 1, ph // sh, oh + mh - 2 - (size[0] - 1 + ph) // sh))
    cutw = max(0, min(mw - 1, pw // sw, ow + mw - 2 - (size[1] - 1 + pw) // sw))
    inner = Geometry((mh, mw), (1, 1), (mh - 1 - cuth, mw - 1 - cutw), (1, 1), groups)
    image = room((n, groups * c, *size), into, g, w)
    image[:, :, max(0, (oh + mh - 1 - cuth) * sh - ph) :] = 0  # what no output met
    image[..., max(0, (ow + mw - 1 - cutw) * sw - pw) :] = 0
    step = max(1, BLOCK // max(1, image[:1].nbytes))
    for i in range(0, n, step):
        made = correlate(g[i : i + step], parts, None, inner)
        planes = made.reshape(len(made), groups * c, sh, sw, *made.shape[2:])
        top, left = cuth * sh - ph, cutw * sw - pw
        for there, part in interleaved_views(planes, image[i : i + step], top, left):
            there[...] = part
        del made, planes, part  # so that the next can have their memory
    return image


def interleaved_views(
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


def blocks(n: int, groups: int, oh: int, size: int, made: int) -> Iterator[Block]:
    """Images, groups of channels, and rows of outputs that fill at most BLOCK bytes, if one row
    of one group does, of `size`. No more images than what is `made` of them fits as well, if one
    does."""
    fit = max(1, BLOCK // max(1, size))
    images = equal_part(n, min(fit // (oh * groups), BLOCK // max(1, made)))
    some, rows = equal_part(groups, fit // oh), equal_part(oh, fit)
    for i, j, k in pairs(range(0, n, images), range(0, groups, some), range(0, oh, rows)):
        block = slice(i, min(i + images, n)), slice(j, min(j + some, groups))
        yield *block, slice(k, min(k + rows, oh))


def equal_part(n: int, most: int) -> int:
    """The size of as few parts of n as can be of which none has more than `most` (or 1)."""
    return max(1, n) if n <= most else -(-n // -(-n // max(1, most)))


def rows_seen(rows: slice, h: int, geometry: Geometry) -> tuple[int, slice, slice]:
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
    return np.matmul(a, b, out=out) if a.shape[-1] > 1 else broadcast(np.multiply, a, b, out)


def broadcast(
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
