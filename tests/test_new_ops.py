"""Beyond the laws of every op: special points, accuracy at the ends of the range, and the
functions that are not ops themselves but composed of them."""

import numpy as np
import pytest
from conftest import require
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_lite as tl
from tinygrad_lite import Tensor, check, grad, ops
from tinygrad_lite.operation import OPS, Op

rng = np.random.default_rng(11)
A, B, V = rng.normal(size=(2, 3)), rng.normal(size=(3, 2)), rng.normal(size=3)
SPD = B.T @ B + np.eye(2)
IMAGE, SIGNAL = rng.normal(size=(2, 2, 4, 5)), rng.normal(size=(2, 2, 6))


def slope(f, x, times=1):
    """The derivative of f at each element of x, taken so many times."""
    x = Tensor(x, requires_grad=True)
    y = f(x)
    for _ in range(times):
        y = grad(y.sum(), x)
    return y.data


# What is composed of ops is no op itself, and differentiates because they do

COMPOSED = [
    (tl.ravel, A), (lambda x: tl.squeeze(x[None], 0), A), (lambda x: tl.expand_dims(x, (0, 2)), A),
    (lambda x: tl.moveaxis(x, 0, -1), A), (lambda x: tl.swapaxes(x, 0, 1), A),
    (lambda x: tl.split(x, 3, 1)[1], A), (lambda x: tl.array_split(x, 2, 1)[0], A),
    (lambda x: tl.split(x, [1, 2], 1)[2], A), (lambda x: tl.hsplit(x, [1])[1], A),
    (tl.diag, V), (lambda x: tl.diag(x, -1), A), (lambda x: tl.diag(x, 1), V), (tl.trace, A),
    (lambda x: tl.vstack([x, x[:1]]), A), (lambda x: tl.column_stack([x, x[:, 0]]), A),
    (tl.median, A), (lambda x: tl.median(x, 1), A), (lambda x: tl.quantile(x, [0.2, 0.7], 0), A),
    (lambda x: tl.diff(x, 2), A), (tl.outer, V, V), (tl.kron, A, B), (tl.kron, V, A),
    (tl.inner, A, V), (tl.vdot, A, B), (tl.dot, A, B), (tl.dot, 2.0, A), (tl.tensordot, A, A + 1),
    (lambda x, y: tl.tensordot(x, y, (-1, 0)), A, B),
    (lambda x: tl.einsum("ii", x), SPD), (lambda x: tl.einsum("ii->i", x), SPD),
    (lambda x: tl.einsum("...i->...", x), A),
    (lambda x, y: tl.einsum("ij,jk,k", x, y, V[:2]), A, B),
    (lambda x: tl.norm(x, 1), A), (lambda x: tl.norm(x, np.inf), A), (lambda x: tl.norm(x, -1), A),
    (lambda x: tl.norm(x, "fro"), A), (lambda x: tl.norm(x, 3, 1), A), (tl.norm, A),
    (lambda x: tl.norm(x, 1, (0, 1), True), A), (lambda x: tl.slogdet(x).logabsdet, SPD),
    (lambda x: tl.pad(x, ((1, 2), (0, 1)), "reflect"), B), (lambda x: tl.pad(x, 3, "wrap"), A),
    (lambda x: tl.pad(x, 2, "symmetric"), A), (lambda x: tl.pad(x, 2, "edge"), A),
    (lambda x: tl.pad(x, 1, constant_values=7.0), A),
    (lambda x: tl.mse_loss(x, np.ones((2, 3))), A),
    (lambda x: tl.cross_entropy(x, np.array([2, 0])), A), (lambda x: tl.cross_entropy(x, 1), V),
    (lambda x, y: tl.cross_entropy(x, y, "sum"), A, np.abs(A)),
    (lambda x: tl.avg_pool2d(x, 2, 1, 1), IMAGE), (lambda x: tl.max_pool2d(x, 2), IMAGE),
    (lambda x, w: tl.conv1d(x, w, None, 2, 1), SIGNAL, rng.normal(size=(1, 2, 3))),
    (lambda x, w, b: tl.conv_transpose2d(x, w, b, 2, 1, 1), IMAGE[:1, :, :2, :2],
     rng.normal(size=(2, 1, 3, 2)), V[:1]),
]  # fmt: skip


@pytest.mark.parametrize("case", COMPOSED, ids=range(len(COMPOSED)))
def test_derivatives(case):
    f, *inputs = case
    assert check(f, *inputs, order=2)


def test_which_are_ops():
    """A picture shows the ops, so a function drawn as one is one, and no name is both."""
    composed = {name for name in ops.__all__ if not isinstance(getattr(ops, name), Op)}
    assert not composed & OPS.keys()
    x = Tensor(A, requires_grad=True)
    assert tl.moveaxis(x, 0, 1).op is tl.transpose
    assert tl.squeeze(x[None]).op is tl.reshape
    assert tl.roll(x, 1).op is tl.roll


# Accuracy and range; warnings are errors here, so nothing overflows unseen


@pytest.mark.parametrize(
    ("f", "x", "expected"),
    [
        (np.expm1, -50.0, np.exp(-50.0)),
        (np.expm1, 1e-18, 1.0),
        (np.log1p, 1e-18, 1.0),
        (np.arctan, 1e200, 0.0),
        (np.arctan, 1e100, 1e-200),
        (np.arcsinh, 1e200, 1e-200),
        (np.arccosh, 1e200, 1e-200),
        (np.arctanh, 1 - 2.0**-53, 2.0**52),
        (np.arcsin, 1 - 2.0**-53, 2.0**26),
        (lambda x: np.hypot(x, 1e200), 1e200, np.sqrt(0.5)),
        (lambda x: np.arctan2(x, 1e200), 1e200, 0.5e-200),
        (lambda x: np.logaddexp(x, 0), 1000.0, 1.0),
        (lambda x: np.logaddexp(x, 0), -700.0, np.exp(-700.0)),
        (tl.softplus, 1000.0, 1.0),
        (tl.softplus, -700.0, np.exp(-700.0)),
        (tl.silu, 1000.0, 1.0),
        (tl.silu, -1000.0, 0.0),
        (tl.gelu, 1000.0, 1.0),
        (tl.gelu, -1e200, 0.0),
        (tl.erf, 1e200, 0.0),
        (tl.elu, -1000.0, 0.0),
        (tl.elu, 1000.0, 1.0),
    ],
)
def test_slopes_at_the_ends(f, x, expected):
    assert slope(f, x) == pytest.approx(expected, rel=1e-15, abs=0)


@pytest.mark.parametrize("scale", [1.0, 1000.0, -1000.0])
def test_softmax_and_its_kin(scale):
    special = require("scipy.special")
    x = scale * np.array([0.0, 1.0, 3.0])
    np.testing.assert_allclose(tl.softmax(x), special.softmax(x), rtol=1e-14)
    np.testing.assert_allclose(tl.log_softmax(x), special.log_softmax(x), rtol=1e-14)
    np.testing.assert_allclose(tl.logsumexp(x), special.logsumexp(x), rtol=1e-14)
    np.testing.assert_allclose(slope(tl.logsumexp, x), special.softmax(x), rtol=1e-13)


def test_log_of_nothing():
    """The logarithm of a sum of zeros is -inf, and no gradient is NaN."""
    x = np.array([[-np.inf, -np.inf], [-np.inf, 0.0]])
    f = lambda x: tl.logsumexp(x, axis=1)
    assert np.array_equal(f(x), [-np.inf, 0])
    assert np.array_equal(slope(f, x), [[0, 0], [0, 1]])


def test_erf_is_scipys():
    special = require("scipy.special")
    x = np.linspace(-6, 6, 101)
    np.testing.assert_allclose(tl.erf(x), special.erf(x), rtol=4e-16)
    np.testing.assert_allclose(tl.erfc(x), special.erfc(x), rtol=4e-15)
    assert tl.erf(np.float32(x)).dtype == np.float32
    wide = np.array(["0.5", "1", "2", "-2"], np.longdouble)
    inner, outer = [  # to 22 digits
        "0.5204998778130465376827", "0.8427007929497148693412", "0.9953222650189527341621",
        "-0.9953222650189527341621",
    ], [
        "0.4795001221869534623173", "0.1572992070502851306588", "0.004677734981047265837931",
        "1.9953222650189527341621",
    ]  # fmt: skip
    eps = float(np.finfo(np.longdouble).eps)
    np.testing.assert_allclose(tl.erf(wide), np.array(inner, np.longdouble), rtol=4 * eps)
    np.testing.assert_allclose(tl.erfc(wide), np.array(outer, np.longdouble), rtol=8 * eps)
    assert tl.erf(np.zeros((0, 2))).shape == (0, 2)


# Special points


@pytest.mark.parametrize("zeros", [[], [1], [0, 3], [0, 1, 2, 3]])
@pytest.mark.parametrize("f", ["prod", "cumprod"])
def test_products_with_zeros(f, zeros):
    """Three derivatives of the elementary polynomials, where out / x would be 0 / 0."""
    torch = require("torch")
    x = np.array([2.0, 3.0, -1.0, 0.5])
    x[zeros] = 0
    ours, theirs = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, t = getattr(tl, f)(ours), torch.prod(theirs) if f == "prod" else torch.cumprod(theirs, 0)
    for k in range(3):
        v = np.linspace(1, 2, y.size).reshape(y.shape)
        y = grad((y * v).sum(), ours)
        (t,) = torch.autograd.grad((t * torch.tensor(v)).sum(), theirs, create_graph=True)
        np.testing.assert_allclose(y.data, t.detach().numpy(), atol=1e-12, err_msg=f"order {k + 1}")


@pytest.mark.parametrize("axis", [0, -1, None])
@pytest.mark.parametrize("number", [0.0, 2.0])
def test_products_of_one_number(number, axis):
    """NumPy takes axis 0 of a number, too."""
    x = Tensor(number, requires_grad=True)
    assert grad(np.prod(x, axis=axis), x).item() == 1
    assert grad(np.cumprod(x, axis=axis).sum(), x).item() == 1


def test_products_that_underflow():
    assert np.array_equal(slope(np.prod, [1e-200, 1e-200, 1.0]), [1e-200, 1e-200, 0])


def test_kinks():
    assert np.array_equal(slope(np.linalg.norm, np.zeros(3)), np.zeros(3))
    assert np.array_equal(slope(lambda x: tl.norm(x, 3), np.zeros(3)), np.zeros(3))
    assert np.array_equal(slope(np.std, np.ones(3)), np.zeros(3))
    assert np.array_equal(slope(lambda x: np.clip(x, 0, 1), [-1, 0, 0.5, 1, 2.0]), [0, 1, 1, 1, 0])
    assert np.array_equal(slope(lambda x: np.fmax(x, np.nan), [1.0]), [1])
    assert np.array_equal(slope(lambda x: np.fmin(x, 1.0), [1.0, np.nan]), [0.5, 0])
    assert np.array_equal(slope(tl.leaky_relu, [-1, 0, 1.0]), [0.01, 0.01, 1])
    assert np.array_equal(
        slope(lambda x: tl.max_pool2d(x, 2), np.ones((1, 1, 2, 2))), [[[[1, 0], [0, 0]]]]
    )


def test_limits_get_the_gradient_that_they_stop():
    low, high = Tensor(0.0, requires_grad=True), Tensor(1.0, requires_grad=True)
    y = np.clip(np.array([-1, -2, 0.5, 3.0]), low, high).sum()
    assert [g.item() for g in grad(y, [low, high])] == [2, 1]


def test_singular_matrices():
    """The gradient of the determinant is the matrix of cofactors, which always exists."""
    cofactors = lambda x: np.array(
        [
            [(-1) ** (i + j) * np.linalg.det(np.delete(np.delete(x, i, 0), j, 1)) for j in range(3)]
            for i in range(3)
        ]
    )
    for x in (
        np.zeros((3, 3)),
        np.diag([1.0, 2.0, 0.0]),
        np.arange(9.0).reshape(3, 3),
        rng.normal(size=(3, 3)),
    ):
        np.testing.assert_allclose(slope(np.linalg.det, x), cofactors(x), atol=1e-12)
    np.testing.assert_allclose(
        tl.jacobian(lambda x: slope_of_det(x), np.diag([1.0, 0.0])).data.reshape(4, 4),
        [[0, 0, 0, 1], [0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0]],
    )


def slope_of_det(x):
    return grad(np.linalg.det(x), x)


def test_quantiles():
    for q in (0, 0.25, 1 / 3, 0.5, 1):
        np.testing.assert_allclose(tl.quantile(A, q, 1), np.quantile(A, q, 1), rtol=1e-15)
    assert np.isnan(tl.quantile(np.array([1, np.nan]), 0.5))
    assert tl.quantile(np.array([1, np.inf]), 0) == 1
    q = Tensor(0.25, requires_grad=True)  # half way from 2 to 4, at 2 elements a unit
    assert grad(tl.quantile(np.array([4.0, 2.0, 9.0]), q), q).item() == 4


# Identities


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_einsum(data):
    """NumPy's value; and as it is linear in each operand, <gradient, operand> = <g, value>."""
    sizes = dict(
        zip("abcd", data.draw(st.lists(st.integers(1, 3), min_size=4, max_size=4)), strict=True)
    )
    terms = data.draw(st.lists(st.text("abcd", max_size=3), min_size=1, max_size=3))
    result = "".join(data.draw(st.permutations(sorted(set("".join(terms))))))
    result = result[: data.draw(st.integers(0, len(result)))]
    arrays = [rng.normal(size=[sizes[i] for i in term]) for term in terms]
    subscripts = ",".join(terms) + data.draw(st.sampled_from(["", f"->{result}"]))
    tensors = [Tensor(a, requires_grad=True) for a in arrays]
    out = tl.einsum(subscripts, *tensors)
    np.testing.assert_allclose(out.data, np.einsum(subscripts, *arrays), atol=1e-12)
    g = rng.normal(size=out.shape)
    for x, slope in zip(tensors, grad(out, tensors, g), strict=True):
        np.testing.assert_allclose(np.sum(slope.data * x.data), np.sum(g * out.data), atol=1e-10)


def test_einsum_with_spaces_dots_and_large_operands():
    a, b = rng.normal(size=(4, 5, 30)), rng.normal(size=(5, 30, 20))
    np.testing.assert_allclose(
        tl.einsum(" ...j , ...jk -> k... ", a, b), np.einsum("...j,...jk->k...", a, b)
    )
    np.testing.assert_allclose(tl.einsum("i...,j...", a, a), np.einsum("i...,j...", a, a))


@pytest.mark.parametrize(
    ("stride", "padding", "groups", "extra"), [(1, 0, 1, 0), (2, 1, 2, 1), ((3, 2), 0, 1, (2, 1))]
)
def test_transposed_convolution_is_the_transpose(stride, padding, groups, extra):
    """<conv2d(x, w), y> = <x, conv_transpose2d(y, w)>."""
    y, w = rng.normal(size=(2, 4, 3, 2)), rng.normal(size=(4, 2, 3, 2))
    out = tl.conv_transpose2d(y, w, None, stride, padding, extra, groups)
    x = rng.normal(size=out.shape)
    forth = tl.conv2d(x, w, None, stride, padding, groups=groups)
    np.testing.assert_allclose(np.sum(forth * y), np.sum(x * out), rtol=1e-12)


def test_dropout():
    x = Tensor(np.ones((100, 100)), requires_grad=True)
    y = tl.dropout(x, 0.2, generator=np.random.default_rng(1))
    assert set(np.unique(y.data)) == {0, 1.25}
    assert y.data.mean() == pytest.approx(1, abs=0.02)
    assert np.array_equal(grad(y.sum(), x).data, y.data)
    again = tl.dropout(x, 0.2, generator=np.random.default_rng(1))
    assert np.array_equal(again.data, y.data)
    assert tl.dropout(x, 0.2, training=False, generator=np.random.default_rng(1)) is x
    assert not tl.dropout(x, 1.0, generator=np.random.default_rng(1)).data.any()
    assert tl.dropout(np.float32([1]), generator=np.random.default_rng(1)).dtype == np.float32


# Errors


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: tl.split(A, 2, 1), "axis 1 has 3 elements, which do not make 2 equal parts"),
        (lambda: tl.array_split(A, 0), "at least 1 part, not 0"),
        (lambda: tl.diag(IMAGE), "must be a vector or a matrix"),
        (lambda: tl.diff(A, -1), "n must be at least 0, but is -1"),
        (lambda: tl.quantile(A, 1.5), r"q must lie in \[0, 1\], but is 1.5"),
        (lambda: tl.einsum("ij", A, B), "is for 1 operands, not 2"),
        (lambda: tl.einsum("ijk", A), r"'ijk' does not fit the shape \(2, 3\)"),
        (lambda: tl.einsum("i", A), r"'i' does not fit the shape \(2, 3\)"),
        (lambda: tl.tensordot(A, B), "differ in size"),
        (lambda: tl.norm(A, "max"), "there is no matrix norm of order 'max'"),
        (lambda: tl.pad(A, 1, "mirror"), "but is 'mirror'"),
        (lambda: tl.inv(np.zeros((2, 2))), "inv: Singular matrix"),
        (lambda: tl.inv(A), "square"),
        (lambda: tl.cholesky(-SPD), "cholesky: .*not positive definite"),
        (lambda: tl.cross_entropy(A, np.array([0, 3])), r"targets must be in \[0, 3\)"),
        (lambda: tl.cross_entropy(A, np.array([0, -1])), r"targets must be in \[0, 3\)"),
        (lambda: tl.mse_loss(A, A, "average"), "'mean', 'sum' or 'none', but is 'average'"),
        (lambda: tl.dropout(A, 1.5, generator=rng), r"p must lie in \[0, 1\], but is 1.5"),
        (lambda: tl.conv_transpose2d(IMAGE, IMAGE[:1]), "must have the same C"),
        (
            lambda: tl.conv_transpose2d(IMAGE, IMAGE.swapaxes(0, 1), output_padding=1),
            "below the stride",
        ),
        (lambda: tl.max_pool2d(IMAGE, 2, padding=2), "padding at most half of the kernel"),
    ],
)
def test_errors(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_gradients_that_were_wrong_at_single_points():
    x = Tensor([0.0, 2.0], requires_grad=True)
    with np.errstate(divide="ignore"):
        assert tl.grad(tl.norm(x, -1), x).data.tolist() == [0, 0]  # PyTorch's, and differences'
    step = Tensor(0.1, requires_grad=True)
    assert tl.grad(np.fmod(1.0, step), step).item() == -9  # 1.0 / 0.1 rounds up to 10
    with pytest.raises(ValueError, match="axes of sizes 2 and 3"):
        tl.einsum("ii", np.ones((2, 3)))
    with pytest.raises(ValueError, match="pad less"):
        tl.conv_transpose2d(np.ones((1, 1, 1, 1)), np.ones((1, 1, 1, 1)), padding=1)
    ones = np.ones((1, 1, 64, 64), np.float16)
    assert tl.conv2d(ones, ones).item() == 4096


def test_what_has_enough_axes_is_joined_as_it_is():
    a, b = Tensor([1.0], requires_grad=True), Tensor([2.0])
    assert np.hstack([a, b]).inputs == (a, b)
    assert np.atleast_1d(a) is a
