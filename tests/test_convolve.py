"""Convolution: every way to compute it against the definition, and how much memory it takes."""

import itertools
import tracemalloc

import numpy as np
import pytest
from conftest import require

from tinygrad_lite import Tensor, conv2d, grad
from tinygrad_lite.fast import convolve as strategies
from tinygrad_lite.ops import convolution
from tinygrad_lite.ops.convolution import conv2d_image, conv2d_kernel, geometry_of

# images, channels, image size, outputs, kernel size, and the options
CASES = {
    "plain": (2, 3, (6, 7), 4, (3, 3), {}),
    "one channel": (1, 1, (9, 8), 5, (4, 4), {}),
    "one output": (2, 5, (6, 6), 1, (3, 3), {"padding": 1}),
    "row": (1, 2, (3, 9), 3, (1, 4), {}),
    "1x1": (3, 4, (5, 5), 2, (1, 1), {}),
    "1x1 with padding and stride": (2, 3, (5, 6), 2, (1, 1), {"padding": 1, "stride": 2}),
    "1x1 depthwise": (2, 3, (4, 5), 3, (1, 1), {"groups": 3}),
    "whole image": (9, 3, (4, 5), 6, (4, 5), {}),
    "stride": (2, 3, (9, 10), 4, (3, 2), {"stride": (2, 3)}),
    "stride of rows": (2, 2, (7, 6), 3, (3, 3), {"stride": (2, 1), "padding": 1}),
    "stride of columns": (2, 2, (6, 7), 3, (3, 3), {"stride": (1, 2)}),
    "stride longer than the kernel": (1, 2, (8, 8), 3, (2, 2), {"stride": 3}),
    "stride, rows at the end": (1, 2, (7, 10), 2, (5, 5), {"stride": 3, "padding": 3}),
    "padding": (2, 2, (5, 6), 3, (3, 3), {"padding": (2, 1)}),
    "padding beyond the kernel": (1, 2, (3, 4), 2, (2, 3), {"padding": (5, 3)}),
    "dilation": (2, 2, (9, 8), 3, (3, 2), {"dilation": (2, 3), "padding": 1}),
    "groups": (2, 4, (6, 5), 6, (3, 3), {"groups": 2, "padding": 1}),
    "depthwise": (2, 3, (6, 6), 3, (3, 3), {"groups": 3, "stride": 2}),
    "depthwise, two each": (1, 2, (6, 6), 4, (3, 3), {"groups": 2}),
    "depthwise, padding": (3, 3, (6, 7), 3, (3, 3), {"groups": 3, "padding": 1}),
    "depthwise, narrower outputs": (2, 3, (6, 7), 3, (3, 2), {"groups": 3}),
    "depthwise, wider outputs": (2, 1, (4, 5), 1, (2, 3), {"padding": (1, 4)}),
    "depthwise, dilation": (
        2,
        2,
        (9, 8),
        2,
        (3, 3),
        {"groups": 2, "dilation": (2, 3), "padding": 3},
    ),
    "depthwise, taps beyond": (
        1,
        2,
        (5, 4),
        2,
        (2, 3),
        {"dilation": (1, 6), "padding": (0, 6), "groups": 2},
    ),
    "depthwise, taps beyond padding": (
        2,
        2,
        (4, 2),
        2,
        (1, 5),
        {"dilation": (1, 3), "padding": (0, 7), "groups": 2},
    ),
    "depthwise, a column": (2, 2, (4, 1), 2, (2, 7), {"padding": (1, 3), "groups": 2}),
    "depthwise, a pixel": (2, 2, (1, 1), 2, (5, 3), {"padding": (2, 1), "groups": 2}),
    "depthwise, stride": (
        2,
        3,
        (7, 9),
        3,
        (3, 4),
        {"groups": 3, "stride": (2, 3), "padding": (1, 2)},
    ),
    "depthwise, stride beyond": (2, 2, (7, 9), 2, (2, 3), {"groups": 2, "stride": 4}),
    "depthwise, a row": (2, 2, (1, 9), 2, (1, 4), {"groups": 2, "padding": (0, 2)}),
    "many channels": (1, 40, (5, 5), 3, (3, 3), {"padding": 1}),
    "many outputs": (1, 3, (5, 5), 40, (3, 3), {"padding": 1}),
    "long rows": (2, 2, (3, 40), 3, (2, 3), {"padding": 1}),
    "many small images": (37, 4, (5, 6), 4, (3, 2), {"padding": 1, "groups": 2}),
    "many small images, stride of rows": (
        9,
        5,
        (7, 4),
        1,
        (3, 3),
        {"stride": (2, 1), "padding": 1},
    ),
    "no image": (0, 2, (5, 5), 3, (3, 3), {}),
    "everything": (
        2,
        4,
        (11, 12),
        6,
        (3, 2),
        {"stride": 2, "padding": 3, "dilation": 2, "groups": 2},
    ),
}
DEFAULTS = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}


def case(name, dtype=np.float64):
    """An image, a kernel, a gradient of the result, and the geometry."""
    n, c, size, o, kernel, options = CASES[name]
    options = {**DEFAULTS, **options}
    geometry = geometry_of(kernel, **options)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, c, *size)).astype(dtype)
    w = rng.standard_normal((o, c // options["groups"], *kernel)).astype(dtype)
    g = rng.standard_normal((n, o, *geometry.out_size(size))).astype(dtype)
    return x, w, g, geometry, options


def definition(x, w, g, geometry):
    """The convolution of x and w, and the gradients of <it, g>: every product by itself."""
    (sh, sw), (ph, pw), (dh, dw) = geometry.stride, geometry.padding, geometry.dilation
    groups = geometry.groups
    x = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    out, dx, dwt = np.zeros_like(g), np.zeros_like(x), np.zeros_like(w)
    o, c, kh, kw = w.shape
    for n, k, i, j in np.ndindex(*g.shape):
        first = k // (o // groups) * c  # the group's first channel
        channels = slice(first, first + c)
        rows = slice(i * sh, i * sh + dh * (kh - 1) + 1, dh)
        seen = n, channels, rows, slice(j * sw, j * sw + dw * (kw - 1) + 1, dw)
        out[n, k, i, j] = (x[seen] * w[k]).sum()
        dx[seen] += g[n, k, i, j] * w[k]
        dwt[k] += g[n, k, i, j] * x[seen]
    h, wd = x.shape[2:]
    return out, dx[:, :, ph : h - ph, pw : wd - pw], dwt


def close(found, expected):
    assert found.shape == expected.shape
    tolerance = 100 * np.finfo(found.dtype).eps * (1 + np.abs(expected).max(initial=0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


@pytest.fixture(params=[1 << 20, 15_000, 1], ids=["one block", "some images", "a block a row"])
def block(request, monkeypatch):
    """Images in one block, several together and some left at the end, or row by row."""
    monkeypatch.setattr(strategies, "BLOCK", request.param)


@pytest.fixture(params=["images by themselves", "images as one matrix"])
def few(request, monkeypatch):
    """The outputs of several images in one matrix, or in a matrix each."""
    monkeypatch.setattr(strategies, "FEW", 0 if request.param == "images by themselves" else 1000)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("block", "few")
def test_each_strategy_is_the_definition(name, dtype):
    x, w, g, geometry, _ = case(name, dtype)
    out, dx, dw = definition(x, w, g, geometry)
    size, out_size, groups = x.shape[2:], g.shape[2:], geometry.groups
    turned, other = strategies.turned_geometry(geometry), strategies.turn(w, groups)
    for by_row in (False, True):
        close(strategies.gather(x, w, geometry, by_row), out)
        close(strategies.gather_kernel(x, g, geometry, by_row), dw)
        if turned is not None:
            close(strategies.gather(g, other, turned, by_row), dx)
            found = strategies.gather_kernel(g, x, turned, by_row)
            close(strategies.turn(found, groups), dw)
    close(strategies.scatter(g, w, size, geometry), dx)
    if turned is not None:
        close(strategies.scatter(x, other, out_size, turned), out)
    if geometry.dilation == (1, 1):
        close(strategies.interleave(g, w, size, geometry), dx)
    if strategies.is_pointwise(geometry):
        close(strategies.pointwise(x, w, geometry), out)
        close(strategies.pointwise_image(g, w, size, geometry), dx)
        close(strategies.pointwise_kernel(x, g, geometry), dw)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", CASES)
def test_the_three_ops_are_the_definition(name, dtype):
    x, w, g, geometry, options = case(name, dtype)
    out, dx, dw = definition(x, w, g, geometry)
    b = np.arange(len(w), dtype=dtype)
    for found, expected in (
        (conv2d(x, w, **options), out),
        (conv2d(x, w, b, **options), out + b[:, None, None]),
        (conv2d_image(g, w, size=x.shape[2:], **options), dx),
        (conv2d_kernel(x, g, size=w.shape[2:], **options), dw),
    ):
        close(found, expected)
        assert found.dtype == dtype


@pytest.mark.parametrize("name", CASES)
def test_arrays_may_lie_in_memory_in_any_way(name):
    x, w, g, _, options = case(name)

    def scattered(a):  # the same numbers, axes in another order and one backward
        return np.ascontiguousarray(a.transpose(3, 1, 0, 2)[:, ::-1]).transpose(2, 1, 3, 0)[:, ::-1]

    y, v, h = scattered(x), scattered(w), scattered(g)
    assert name == "no image" or not (y.flags.c_contiguous or h.flags.c_contiguous)
    close(conv2d(y, v, **options), conv2d(x, w, **options))
    sizes = {"size": x.shape[2:]}, {"size": w.shape[2:]}
    close(conv2d_image(h, v, **sizes[0], **options), conv2d_image(g, w, **sizes[0], **options))
    close(conv2d_kernel(y, h, **sizes[1], **options), conv2d_kernel(x, g, **sizes[1], **options))
    one = np.broadcast_to(g.dtype.type(2), g.shape)  # as the gradient of a sum is
    close(
        conv2d_image(one, w, **sizes[0], **options),
        conv2d_image(one + 0 * g, w, **sizes[0], **options),
    )


def choices():
    """Cases for each strategy, with at most two images."""
    for name in CASES:
        if name != "no image":
            x, w, g, geometry, _ = case(name)
            yield x[:2], w, g[:2], geometry
    rng = np.random.default_rng(0)
    for c, groups, o, stride, kernel in (
        (24, 24, 24, 2, (3, 3)),  # depthwise, with a stride
        (8, 8, 8, 1, (3, 2)),  # by rows, with outputs narrower than the image
        (8, 8, 8, 1, (3, 1)),  # by rows, in runs
        (8, 1, 2, 1, (3, 3)),  # a kernel's gradient that gathers the gradients
        (16, 1, 2, 2, (5, 5)),  # images that take turns
        (16, 1, 1, 1, (3, 3)),  # scattered
        (1, 1, 16, 1, (3, 3)),  # images' gradients scattered
    ):
        geometry = geometry_of(kernel, stride, (1, 0), 1, groups)
        x, w = rng.standard_normal((2, c, 7, 6)), rng.standard_normal((o, c // groups, *kernel))
        yield x, w, rng.standard_normal((2, o, *geometry.out_size((7, 6)))), geometry


@pytest.mark.slow
@pytest.mark.parametrize("bad", [np.inf, np.nan])
@pytest.mark.parametrize("place", [strategies, convolution], ids=["fast", "slots"])
def test_what_is_not_finite_goes_where_the_definition_sends_it(bad, place, monkeypatch):
    """An output that sees a pixel that is not finite is not finite, and no other; so for pixels
    and the gradients they get, and for the kernels. Each of the corners and one place inside."""
    monkeypatch.setattr(strategies, "BY_ROWS", 1)
    for x, w, g, geometry in choices():
        for pixel in ((0, 0), (0, -1), (-1, -1), (1, 1)):
            for a, op in ((x, "out"), (w, "out"), (w, "dx"), (g, "dx"), (x, "dw"), (g, "dw")):
                if min(a.shape[2:]) < 2 and pixel == (1, 1):
                    continue
                spoilt = a.copy()
                spoilt[(-1, -1, *pixel)] = bad
                y, v, h = (spoilt if a is b else b for b in (x, w, g))
                with np.errstate(invalid="ignore"):
                    expected = dict(
                        zip(("out", "dx", "dw"), definition(y, v, h, geometry), strict=True)
                    )[op]
                    found = {
                        "out": lambda: place.correlate(y, v, None, geometry),
                        "dx": lambda: place.correlate_image(h, v, y.shape[2:], geometry),
                        "dw": lambda: place.correlate_kernel(y, h, geometry),
                    }[op]()
                np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected))
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in CASES if name != "no image"])
def test_second_derivatives(name):
    """<conv(x, w), g> is linear in each of the three, so each mixed second derivative is the
    first derivative with the third replaced by a direction."""
    x, w, g, geometry, options = case(name)
    x, w, g = (Tensor(a, requires_grad=True) for a in (x, w, g))
    rng = np.random.default_rng(1)
    y = conv2d(x, w, **options)
    dx, dw = grad(y, (x, w), g)
    vx, vw = rng.standard_normal(x.shape), rng.standard_normal(w.shape)
    from_dx = grad(dx, (w, g), vx)  # d/dw and d/dg of <conv(vx, w), g>
    close(from_dx[0].data, definition(vx, w.data, g.data, geometry)[2])
    close(from_dx[1].data, definition(vx, w.data, g.data, geometry)[0])
    from_dw = grad(dw, (x, g), vw)  # d/dx and d/dg of <conv(x, vw), g>
    close(from_dw[0].data, definition(x.data, vw, g.data, geometry)[1])
    close(from_dw[1].data, definition(x.data, vw, g.data, geometry)[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [name for name in CASES if name != "no image"])
def test_values_and_gradients_are_those_of_pytorch(name, dtype):
    torch = require("torch")
    x, w, g, _, options = case(name, dtype)
    b = np.linspace(-1, 1, len(w), dtype=dtype)
    ours = [Tensor(a, requires_grad=True) for a in (x, w, b)]
    theirs = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
    y = conv2d(*ours, **options)
    z = torch.nn.functional.conv2d(*theirs, **options)
    close(y.data, z.detach().numpy())
    y.backward(g)
    z.backward(torch.tensor(g))
    for mine, other in zip(ours, theirs, strict=True):
        close(mine.grad, other.grad.numpy())


def test_dtypes_are_promoted_as_numpy_promotes_them():
    for dx, dw, db in itertools.product((np.float32, np.float64), repeat=3):
        x, w, b = np.ones((1, 1, 3, 3), dx), np.ones((1, 1, 2, 2), dw), np.ones(1, db)
        assert conv2d(x, w, b).dtype == np.result_type(dx, dw, db)
    assert conv2d(np.ones((1, 1, 3, 3), int), np.ones((1, 1, 2, 2), int)).tolist() == [
        [[[4, 4]] * 2]
    ]


def test_repeating_rows_leaves_numpys_settings_alone():
    x, row = np.full((300, 300), 1e200), np.full(300, 1e200)
    with np.errstate():
        np.setbufsize(4096)
        np.testing.assert_array_equal(strategies.broadcast(np.add, x, row), x + row)
        assert np.getbufsize() == 4096
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        strategies.broadcast(np.multiply, x, row)


def test_the_fewer_channels_are_moved():
    assert strategies.gathers(1, 32)
    assert strategies.gathers(32, 32)
    assert not strategies.gathers(32, 1)


def peak(function, *args, **kwargs):
    """Bytes allocated at the peak of a call, less those of its result."""
    tracemalloc.start()
    try:
        result = function(*args, **kwargs)
        return tracemalloc.get_traced_memory()[1] - result.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("c", "o", "groups"),
    [(16, 16, 1), (1, 16, 1), (16, 1, 1), (16, 16, 16), (64, 4, 1), (4, 128, 1)],
)
@pytest.mark.parametrize("stride", [1, 2])
def test_memory_beside_the_result_does_not_grow_with_the_images(c, o, groups, stride):
    """Four blocks: columns, the product, the padded rows, and what NumPy adds in between."""
    geometry = geometry_of(5, stride, padding=2, dilation=1, groups=groups)
    w = np.ones((o, c // groups, 5, 5), np.float32)
    for side in (64, 256):
        x = np.ones((2, c, side, side), np.float32)
        g = strategies.correlate(x, w, None, geometry)
        bound = 4 * strategies.BLOCK
        if side == 256 and o == 16 and c == 16:
            assert 25 * g[0].nbytes > 5 * bound  # far less than the columns of even one image
        assert peak(strategies.correlate, x, w, None, geometry) < bound
        part = x.nbytes // 2 if stride == 2 else 0  # as much as one of the two images
        assert peak(strategies.correlate_image, g, w, (side, side), geometry) < bound + part
        assert peak(strategies.correlate_kernel, x, g, geometry) < bound


@pytest.mark.parametrize(
    ("n", "c", "o", "side"), [(4096, 8, 8, 8), (512, 2, 256, 7), (2048, 1, 256, 4)]
)
def test_memory_does_not_grow_with_the_number_of_images(n, c, o, side):
    """The outputs of small images are laid in one matrix, but not all at once."""
    x, w = np.ones((n, c, side, side), np.float32), np.ones((o, c, 5, 5), np.float32)
    geometry = geometry_of(5, stride=1, padding=2, dilation=1, groups=1)
    bound, g = 6 * strategies.BLOCK, strategies.correlate(x, w, None, geometry)
    assert max(x.nbytes, g.nbytes) > bound
    assert peak(strategies.correlate, x, w, None, geometry) < bound
    assert peak(strategies.correlate_image, g, w, (side, side), geometry) < bound
    assert peak(strategies.correlate_kernel, x, g, geometry) < bound
