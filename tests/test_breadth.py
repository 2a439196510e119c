"""NumPy's breadth: what the functions composed of other ops promise beyond their arguments.

Their values and first derivatives are held to NumPy in every form by test_arguments.py; here are
second derivatives, kinks, what has no derivative, Fourier transforms, and what is refused.
"""

import numpy as np
import pytest
from conftest import require
from test_arguments import FORMS, mapped_call, results

import tinygrad_lite as tl
from tinygrad_lite import Tensor, check, grad, hessian, replay
from tinygrad_lite.ops.elementwise import operand

rng = np.random.default_rng(4)
A, V = rng.normal(size=(4, 3)), rng.normal(size=5)
COMPOSED = [
    "append", "average", "block", "central_differences", "choose", "compress", "convolve",
    "corrcoef", "correlate", "cov", "cross", "delete", "eigh", "eigvalsh", "extract", "fliplr",
    "flipud", "insert", "interp", "lstsq", "matrix_power", "multi_dot", "nan_to_num", "nanmean",
    "nansum", "norm", "percentile", "pinv", "polyval", "ptp", "qr", "select", "sinc", "svd",
    "svdvals", "trapezoid", "unwrap", "vander",
]  # fmt: skip


def leaf(x):
    return Tensor(np.array(x), requires_grad=True)


def numbers_of(f, args, kwargs):
    """A function of the floating arrays in a call, whose derivatives tell its results apart."""
    found = []
    mapped_call(args, kwargs, lambda x: found.append(x) or x)

    def of_arrays(*xs):
        given = iter(xs)
        args_, kwargs_ = mapped_call(args, kwargs, lambda _: next(given))
        made = [y for y in results(f(*args_, **kwargs_)) if operand(y).dtype.kind == "f"]
        return sum((y * np.linspace(1, 2, np.size(y)).reshape(np.shape(y))).sum() for y in made)

    return of_arrays, found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "case"),
    [(name, case) for name in COMPOSED for case in FORMS[name]],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_second_derivatives(name, case):
    f, arrays = numbers_of(getattr(tl, name), *case)
    if arrays and all(np.isfinite(x).all() for x in arrays):
        assert check(f, *arrays, order=2)


# Kinks, and where there is no derivative


def slope(f, x):
    x = leaf(x)
    return grad(f(x), x).data


def test_at_a_knot_interpolation_has_the_mean_slope():
    xp, fp = np.array([0.0, 1, 3]), np.array([0.0, 2, 3])
    at = lambda x, **more: slope(lambda t: np.interp(t, xp, fp, **more), x)
    assert (at(0.5), at(1.0), at(2.0)) == (2, 1.25, 0.5)
    assert (at(0.0), at(3.0)) == (2, 0.5)  # as clip has it, at its limits
    assert (at(-1.0), at(4.0)) == (0, 0)
    heights = leaf(fp)
    assert grad(np.interp(1.0, xp, heights), heights).data.tolist() == [0, 1, 0]
    assert grad(np.interp(9.0, xp, heights), heights).data.tolist() == [0, 0, 1]
    assert grad(np.interp(9.0, xp, heights, right=5.0 * heights[0]), heights).data[0] == 5


def test_ties_of_ptp_share_and_what_is_replaced_gets_nothing():
    assert slope(np.ptp, [1.0, 3, 3, 1]).tolist() == [-0.5, 0.5, 0.5, -0.5]
    x = [np.nan, 2.0, np.inf, -np.inf]
    assert slope(lambda t: np.nan_to_num(t, posinf=9.0, neginf=-9.0).sum(), x).tolist() == [
        0,
        1,
        0,
        0,
    ]
    assert slope(np.nansum, x[:2]).tolist() == [0, 1]
    assert slope(np.nanmean, [np.nan, 2.0, 4.0]).tolist() == [0, 0.5, 0.5]
    assert np.nan_to_num(leaf(x)).data.tolist() == np.nan_to_num(np.array(x)).tolist()


def test_sinc_is_smooth_at_zero():
    """Its derivatives there are 0 and -π²/3, and the fourth is π⁴/5."""
    assert slope(np.sinc, 0.0) == 0
    for x in (0.0, 1e-9, 1e-3):
        assert hessian(np.sinc, x).item() == pytest.approx(-(np.pi**2) / 3, rel=1e-5)
    fourth = lambda x: hessian(lambda x: tl.value_and_grad(lambda x: hessian(np.sinc, x))(x)[0], x)
    assert fourth(0.0).item() == pytest.approx(np.pi**4 / 5, rel=1e-12)
    assert slope(np.sinc, np.float32(3)).dtype == np.float32


TURNED = np.linalg.qr(rng.normal(size=(3, 3))).Q
EQUAL = TURNED @ np.diag([1.0, 1.0, 4.0]) @ TURNED.T


@pytest.mark.parametrize("x", [np.eye(3), EQUAL, np.zeros((3, 3)), 1e100 * EQUAL, 1e-100 * EQUAL])
def test_equal_eigenvalues_have_no_derivative(x):
    """Nor have singular values, or the vectors of either; what is symmetric in them has one."""
    for f in (np.linalg.eigvalsh, lambda x: np.linalg.svd(x, compute_uv=False)):
        assert np.isnan(slope(lambda x: f(x)[0] - f(x)[1] if x.data[0, 0] else f(x)[1], x)).all()
    assert np.isnan(slope(lambda x: np.linalg.eigh(x)[1][0, 0], x)).all()
    assert np.isnan(slope(lambda x: np.linalg.svd(x)[0][0, -1], x)).all()
    assert np.isnan(slope(lambda x: np.linalg.svd(x)[2][-1, 0], x)).all()
    np.testing.assert_allclose(
        slope(lambda x: np.linalg.eigvalsh(x).sum(), x), np.eye(3), atol=1e-13
    )
    assert np.isnan(hessian(lambda x: (np.linalg.eigvalsh(x) ** 2).sum(), x).data).all()
    assert np.isnan(slope(lambda x: (np.linalg.eigh(x)[1] * np.linalg.eigh(x)[0]).sum(), x)).all()


def test_a_value_apart_from_equal_ones_has_its_derivative():
    largest = slope(lambda x: np.linalg.eigvalsh(x)[-1], EQUAL)
    np.testing.assert_allclose(largest, np.outer(TURNED[:, 2], TURNED[:, 2]), atol=1e-13)
    np.testing.assert_allclose(slope(lambda x: np.linalg.norm(x, 2), EQUAL), largest, atol=1e-13)


def test_what_is_not_of_full_rank():
    low = np.outer([1.0, 2, 3], [1.0, -1])
    for f in (np.linalg.pinv, lambda x: np.linalg.qr(x)[0], lambda x: np.linalg.lstsq(x, low)[0],
              lambda x: np.linalg.norm(x, "nuc")):  # fmt: skip
        assert np.isnan(slope(lambda x, f=f: f(x).sum(), low)).all()
        assert np.isnan(slope(lambda x, f=f: f(x).sum(), np.zeros((3, 2)))).all()
    assert np.isnan(slope(lambda x: np.linalg.svd(x, False)[0].sum(), low)).all()
    assert np.isfinite(slope(lambda x: np.linalg.norm(x, 2), low)).all()
    found = np.linalg.lstsq(leaf(low), low[:, 0])
    assert found.rank == 1
    assert found.residuals.shape == (0,)


def test_decompositions_as_pytorch():
    """Of symmetric matrices, and of what does not depend on the signs of vectors."""
    torch = require("torch")
    for n, x in enumerate((A.T @ A, A, A.T)):
        ours, theirs = leaf(x), torch.tensor(x, requires_grad=True)

        def f(x, linalg, full=False, symmetric=n == 0):
            u, s, vh = linalg.svd(x, full)
            y = (u * s**2 @ vh * w).sum() + (s**3).sum() + (u[0] * vh[:, 1] * s).sum()
            if symmetric:
                values, vectors = linalg.eigh(x)
                y = y + ((vectors * values**0.5) @ vectors.T * w).sum() + (vectors[1] ** 4).sum()
            return y

        w = np.linspace(1, 2, x.size).reshape(x.shape)
        y = f(ours, np.linalg)
        w = torch.tensor(w)
        z = f(theirs, torch.linalg)
        assert y.item() == pytest.approx(z.item(), rel=1e-12)
        v = rng.normal(size=x.shape)
        v = v + v.T if n == 0 else v
        first = grad(y, ours)
        (slope,) = torch.autograd.grad(z, theirs, create_graph=True)
        symmetrise = (lambda a: (a + a.T) / 2) if n == 0 else (lambda a: a)
        np.testing.assert_allclose(
            symmetrise(first.data), symmetrise(slope.numpy(force=True)), rtol=1e-9, atol=1e-11
        )
        (second,) = torch.autograd.grad((slope * torch.tensor(v)).sum(), theirs)
        np.testing.assert_allclose(
            symmetrise(grad((first * v).sum(), ours).data), symmetrise(second.numpy()), 1e-8, 1e-9
        )


def test_decompositions_make_up_the_matrix():
    for x in (A, A.T, np.stack([A, 2 - A])):
        u, s, vh = np.linalg.svd(leaf(x), full_matrices=False)
        np.testing.assert_allclose(((u * s[..., None, :]) @ vh).data, x, atol=1e-13)
        q, r = np.linalg.qr(leaf(x))
        np.testing.assert_allclose((q @ r).data, x, atol=1e-13)
    found = np.linalg.eigh(leaf(A.T @ A))
    np.testing.assert_allclose(
        (found.eigenvectors * found.eigenvalues @ found.eigenvectors.T).data, A.T @ A, atol=1e-13
    )


def test_insert_by_booleans():
    """NumPy 2.0 takes them for integers yet."""
    found = np.insert(leaf([1.0, 2, 3]), np.array([True, False, True]), [7.0, 8])
    assert found.data.tolist() == [7, 1, 2, 8, 3]


def test_a_replay_chooses_again():
    x = leaf([0.5, -1.0, 2.5])
    y = np.interp(np.nan_to_num(x), [0.0, 1, 2], [0.0, 5, 6]).sum()
    with pytest.warns(tl.ReplayWarning, match="went another way|otherwise|answer"):
        replay(y, {x: np.array([1.5, 0.2, 2.5])})
    y = np.nansum(np.select([x > 0], [x * 2], -x))
    assert replay(y, {x: np.array([-3.0, np.nan, 1.0])}).item() == 5


# Fourier transforms


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("norm", [None, "backward", "ortho", "forward"])
@pytest.mark.parametrize(
    "n", [None, 5, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 3, 8))]
)
def test_fourier_transforms(n, norm, axis):
    x, t = A, leaf(A)
    for f in (np.fft.fft, np.fft.ifft, np.fft.rfft):
        ours, numpys = f(t, n, axis, norm), f(x, n, axis, norm)
        np.testing.assert_allclose(ours.real.data, numpys.real, atol=1e-14)
        np.testing.assert_allclose(ours.imag.data, numpys.imag, atol=1e-14)
    ours, numpys = np.fft.rfft(t, axis=axis), np.fft.rfft(x, axis=axis)
    for f in (np.fft.fft, np.fft.ifft):
        np.testing.assert_allclose(f(ours, n, axis, norm).imag.data, f(numpys, n, axis, norm).imag)
    if n != 1:
        back, given = np.fft.irfft(ours, n, axis, norm), np.fft.irfft(numpys, n, axis, norm)
        np.testing.assert_allclose(back.data, given, atol=1e-14)
    assert check(lambda x: power_of(np.fft.fft(x, n, axis, norm)), x)
    assert check(lambda x: power_of(np.fft.rfft(x, n, axis, norm)), x)


def power_of(f):
    return (f.real**2 + f.real * f.imag + 3 * f.imag**2).sum()


def test_fourier_transforms_as_pytorch():
    torch = require("torch")
    ours, theirs = leaf(V), torch.tensor(V, requires_grad=True)
    f, h = np.fft.rfft(ours), torch.fft.rfft(theirs)
    w = np.linspace(1, 2, 3)
    y = np.fft.irfft(np.fft.ifft(f)) * V[:4] + np.sum(np.hypot(f.real, f.imag) * w)
    z = torch.fft.irfft(torch.fft.ifft(h)) * torch.tensor(V[:4]) + (h.abs() * torch.tensor(w)).sum()
    (slope,) = torch.autograd.grad(z.sum(), theirs, create_graph=True)
    np.testing.assert_allclose(y.data, z.numpy(force=True), atol=1e-14)
    first = grad(y.sum(), ours)
    np.testing.assert_allclose(first.data, slope.numpy(force=True), atol=1e-13)
    (second,) = torch.autograd.grad((slope * torch.tensor(V)).sum(), theirs)
    np.testing.assert_allclose(grad((first * V).sum(), ours).data, second.numpy(), atol=1e-12)


def test_a_filter_without_its_gradient_lost():
    """The classical one: to the spectrum, a window on it, and back."""
    x, window = leaf(V), np.array([1.0, 0.5, 0.1])
    f = np.fft.rfft(x)
    smooth = np.fft.irfft(tl.ops.fourier.Spectrum(f.real * window, f.imag * window), len(V))
    np.testing.assert_allclose(smooth.data, np.fft.irfft(np.fft.rfft(V) * window, 5), atol=1e-15)
    with pytest.raises(TypeError, match=r"np\.hypot\(f\.real, f\.imag\)"):
        np.abs(f)
    for wrong in (lambda: np.sum(f), lambda: np.asarray(f), lambda: window * f):
        with pytest.raises(TypeError, match=r"a Spectrum is no array"):
            wrong()
    with pytest.raises(TypeError, match="is for real numbers"):
        np.fft.rfft(f)
    assert np.fft.rfft(Tensor(V)).dtype == complex  # without a gradient to lose, NumPy's


# What is refused says what to use


@pytest.mark.parametrize("name", tl.numpy_protocols.INSTEAD)
def test_what_is_refused_says_what_to_use(name):
    function = np
    for part in name.split(".")[1:]:
        function = getattr(function, part)
    x = np.array([[1.5, np.nan], [0.3, 2.0]])
    arguments = {"np.apply_along_axis": (np.sum, 0, leaf(x)), "np.partition": (leaf(x), 1),
                 "np.polyfit": (leaf(x[0]), leaf(x[1]), 1), "np.add.at": (leaf(x), 0, 1.0),
                 "np.add.reduceat": (leaf(x), [0]), "np.piecewise": (leaf(x), [x > 1], [1.0]),
                 "np.linalg.tensorsolve": (leaf(x), leaf(x[0]))}  # fmt: skip
    with pytest.raises(TypeError) as error:
        function(*arguments.get(name, (leaf(x),)))
    cure = tl.numpy_protocols.INSTEAD[name]
    assert str(error.value) == f"{name} has no op here, so it would lose the gradient; use {cure}"
    if name.startswith("np.nan"):  # the cure is an expression
        for t in (leaf(x), leaf(x[0])):
            np.testing.assert_allclose(eval(cure, {"np": np, "t": t}).data, function(t.data))
    elif name == "np.unique":
        assert np.array_equal(eval(cure, {"np": np, "t": leaf([2.0, 1, 2])}).data, [1, 2])


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda t: np.linalg.svd(t), "do not determine all of U and Vh; take full_matrices=False"),
        (lambda t: np.linalg.qr(t, "complete"), "mode must be 'reduced' or 'r' here"),
        (lambda t: np.linalg.eigh(t), r"square matrices in its last two axes, .* \(4, 3\)"),
        (lambda t: np.linalg.svdvals(t[0]), r"matrices in its last two axes, .* \(3,\)"),
        (lambda t: np.linalg.lstsq(t, t[0]), r"lstsq: a must be a matrix, and b a vector"),
        (lambda t: np.linalg.matrix_power(t, 2), "must be square matrices"),
        (lambda t: np.linalg.matrix_power(t[:3], 0.5), "float.* cannot be interpreted as an int"),
        (lambda t: np.linalg.multi_dot([t]), "takes two arrays or more"),
        (lambda t: np.cross(t, t[:, :2]), "of vectors in a plane it is"),
        (lambda t: np.interp(t, [1.0, 0.0], [0.0, 1]), "xp must rise"),
        (lambda t: np.interp(t, [1.0, 0.0], [0.0]), "vectors of one length"),
        (lambda t: np.interp(t, [0.0, 1], [0.0, 1], period=0), "period must not be 0"),
        (lambda t: np.gradient(t, 1.0, 2.0, 3.0), "2 axes cannot have 3 spacings"),
        (lambda t: np.gradient(t[:, :1]), "axis 1 has 1 samples, but needs 2"),
        (lambda t: np.gradient(t, edge_order=3), "edge_order must be 1 or 2"),
        (lambda t: np.gradient(t[0], [1.0, 2]), "coordinates of shape"),
        (lambda t: np.convolve(t, t), "are for vectors that are not empty"),
        (lambda t: np.convolve(t[0], t[1], "all"), "but is 'all'"),
        (lambda t: np.average(t, 0, t[0]), r"fit neither the shape \(4, 3\) of a nor its axes"),
        (lambda t: np.average(t, weights=t[0]), "need an axis"),
        (lambda t: np.average(t, weights=0 * A), "the weights sum to 0"),
        (lambda t: np.cov(t[None]), "at most 2 axes"),
        (lambda t: np.cov(t, ddof=0.5), "ddof must be an integer"),
        (lambda t: np.cov(t, ddof=3), "too few observations"),
        (lambda t: np.cov(t, fweights=[1, 2]), "one element for each of the 3 observations"),
        (lambda t: np.cov(t, aweights=[1, 2, -1]), "must not be negative"),
        (lambda t: np.cov(t, fweights=[1, 2, 0.5]), "in integers"),
        (lambda t: np.percentile(t, 101), r"q must lie in \[0, 100\]"),
        (lambda t: np.select([t > 0], [t, t]), "2 choices for 1 conditions"),
        (lambda t: np.select([t], [t]), "conditions are boolean"),
        (lambda t: np.choose(t, [t]), "integers, but is float64"),
        (lambda t: np.choose([3], [t]), "run from 0 to 0"),
        (lambda t: np.choose([0], [t], mode="near"), "but is 'near'"),
        (lambda t: np.compress(A > 0, t), "condition must be a vector"),
        (lambda t: np.insert(np.arange(3), 0, t[0]), "do not fit into dtype int64"),
        (lambda t: np.block([[t], t]), "equally deep"),
        (lambda t: tl.block([(t, t)]), "not in tuples"),
        (lambda t: np.block([[t], []]), "must not be empty"),
        (lambda t: np.vander(t), "must be a vector"),
        (lambda t: np.fft.rfft(t, 0), "1 element or more"),
        (lambda t: np.fft.fft(t, norm="half"), "norm must be"),
        (lambda t: np.gradient(t > 0), "no slopes"),
    ],
)
def test_is_refused_in_a_sentence(call, sentence):
    with pytest.raises((TypeError, ValueError, ZeroDivisionError), match=sentence):
        call(leaf(A))
