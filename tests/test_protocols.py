"""At home among NumPy users: functions written for arrays differentiate as they are."""

import copy
import pickle

import numpy as np
import pytest
from conftest import require

import tinygrad_lite as tl
from tinygrad_lite import Tensor, hessian, ops, value_and_grad
from tinygrad_lite.operation import OPS

rng = np.random.default_rng(5)
A = rng.normal(size=(2, 3))
P = rng.uniform(0.5, 0.9, size=(2, 3))
S = np.array([[2.0, 0.5], [0.5, 1.0]])


def leaf(a):
    return Tensor(a, requires_grad=True)


# Every function that is named as NumPy's, called as NumPy's: (function, arguments).
UNARY = """positive square reciprocal cbrt exp2 expm1 log2 log10 log1p sin cos tan arcsin arccos
    arctan degrees radians rad2deg deg2rad sinh cosh arcsinh arctanh exp log sqrt tanh abs absolute
    fabs negative sign floor ceil trunc rint round logical_not conjugate copy ravel flip squeeze
    transpose cumsum cumprod sort sum prod mean var std max min amax amin median diagonal trace
    tril triu atleast_1d atleast_2d atleast_3d vstack hstack dstack column_stack rot90 diff fix
    invert around"""
BINARY = """add subtract multiply divide true_divide power float_power maximum minimum fmax fmin
    fmod remainder mod hypot arctan2 logaddexp logaddexp2 copysign equal not_equal less less_equal
    greater greater_equal logical_and logical_or logical_xor floor_divide inner outer kron"""
CALLS = [
    *((getattr(np, name), (P,)) for name in UNARY.split() if name != "invert"),
    *((getattr(np, name), (P, A)) for name in BINARY.split() if "power" not in name),
    (np.power, (P, A)), (np.float_power, (P, A)), (np.arccosh, (1 + P,)), (np.matmul, (A, P.T)),
    (np.dot, (A, P.T)), (np.vdot, (A, P)), (np.tensordot, (A, P)),
    (np.tensordot, (A, P, ([1], [1]))),
    (np.einsum, ("ij,kj->ik", A, P)), (np.einsum, ("ij->", A)), (np.einsum, ("...j,j", A, P[0])),
    (np.clip, (A, -0.5, 0.5)), (np.where, (A > 0, A, P)), (np.quantile, (A, 0.3)),
    (np.quantile, (A, [0.1, 0.9], 1)), (np.median, (A, 0)), (np.reshape, (A, (3, 2))),
    (np.broadcast_to, (A, (4, 2, 3))), (np.moveaxis, (A, 0, 1)), (np.swapaxes, (A, 0, 1)),
    (np.expand_dims, (A, 1)), (np.roll, (A, 1, 1)), (np.repeat, (A, 2, 0)), (np.tile, (A, (2, 1))),
    (np.take, (A, [0, 2], 1)), (np.take_along_axis, (A, np.array([[0, 1, 0]]), 0)),
    (np.diag, (A[0],)), (np.diag, (A, 1)), (np.concatenate, ([A, P], 1)),
    (np.stack, ([A, P],)), (np.vstack, ([A, P],)),
    (np.hstack, ([A[0], P[0]],)), (np.dstack, ([A, P],)), (np.column_stack, ([A[0], P[0]],)),
    (np.pad, (A, 1)), (np.pad, (A, ((1, 0), (0, 2)), "reflect")), (np.pad, (A, 1, "edge")),
    (np.pad, (A, 2, "wrap")), (np.linalg.inv, (S,)), (np.linalg.solve, (S, A)),
    (np.linalg.det, (S,)), (np.linalg.cholesky, (S,)), (np.linalg.norm, (A,)),
    (np.linalg.norm, (A, 1, 1)), (np.linalg.vector_norm, (A,)), (np.heaviside, (A, 0.5)),
    (np.linalg.svdvals, (A,)), (np.linalg.cross, (A, P)), (np.gradient, (A[0],)),
    (np.linalg.multi_dot, ([S, S],)), (np.nanmean, (A, 1)), (np.linalg.pinv, (A,)),
]  # fmt: skip


BYTES = np.array([[200, 10], [10, 220]], np.uint8)


@pytest.mark.parametrize(
    ("f", "args"),
    [
        (np.linalg.cholesky, (BYTES,)), (np.linalg.eigvalsh, (BYTES,)), (np.inner, (BYTES, 3)),
        (np.inner, (3, BYTES)), (np.fabs, (np.array([-128, 3], np.int8),)),
        (np.fabs, (np.array(True),)),
    ],
)  # fmt: skip
def test_integers_wrap_around_only_where_those_of_numpy_do(f, args):
    tensors = [Tensor(x) if isinstance(x, np.ndarray) else x for x in args]
    np.testing.assert_allclose(f(*tensors).data, f(*args), rtol=1e-15)


@pytest.mark.parametrize("f", [np.remainder, np.floor_divide, np.add, np.power])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_dtype_converts_the_arrays_beside_a_tensor_too(f, dtype):
    x, y = np.array([5.3, 1e-3]), np.array([0.1, 3e-4])
    right = f(x, y, dtype=dtype)
    for args in ((Tensor(x), y), (x, Tensor(y)), (leaf(x), leaf(y))):
        found = f(*args, dtype=dtype)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found.data, right)


def test_a_number_is_not_broadcast_to_a_size_below_0():
    for shape in ((-1,), (-1, 3), (2, -1)):
        with pytest.raises(ValueError, match="negative"):
            np.broadcast_to(leaf(2.0), shape)


@pytest.mark.filterwarnings("ignore:numpy.fix is deprecated")  # from NumPy 2.5
@pytest.mark.parametrize(("f", "args"), CALLS, ids=lambda x: getattr(x, "__name__", ""))
def test_numpy_functions_give_tensors_with_numpy_values(f, args):
    tensors = [leaf(a) if isinstance(a, np.ndarray) and a.dtype == float else a for a in args]
    tensors = [
        [leaf(x) for x in a] if isinstance(a, list) and np.ndim(a) > 1 else a for a in tensors
    ]
    ours, numpys = f(*tensors), f(*args)
    assert isinstance(ours, Tensor), f"np.{f.__name__} lost the gradient"
    np.testing.assert_allclose(ours.data, numpys, rtol=1e-13, atol=1e-15)
    assert ours.dtype == numpys.dtype
    assert ours.requires_grad == (numpys.dtype.kind == "f")


@pytest.mark.parametrize(("f", "sections"), [(np.split, 3), (np.array_split, 2), (np.hsplit, [1])])
def test_split(f, sections):
    axis = {} if f is np.hsplit else {"axis": 1}
    for ours, part in zip(f(leaf(A), sections, **axis), f(A, sections, **axis), strict=True):
        assert isinstance(ours, Tensor)
        assert np.array_equal(ours.data, part)


def test_every_function_of_ours_named_as_one_of_numpys_answers_for_it():
    """No name is left out of the dispatch; what shares only the name is listed here."""
    for name in ops.__all__:
        for home in (np, np.linalg):
            function = getattr(home, name, None)
            if function is None or (home is np.linalg and name in dir(np)):
                continue
            assert tl.numpy_protocols.ours(function) is getattr(ops, name), name


def test_slogdet_and_scipys_ufuncs():
    special = require("scipy.special")
    sign, logdet = np.linalg.slogdet(leaf(S))
    assert sign == 1
    assert isinstance(logdet, Tensor)
    assert isinstance(special.expit(leaf(A)), Tensor)
    assert isinstance(special.erf(leaf(A)), Tensor)


def test_arguments_by_numpys_names_and_places():
    t = leaf(A)
    assert np.array_equal(np.sum(a=t, axis=0).data, A.sum(0))
    assert np.array_equal(np.mean(t, 1, None, None, True).data, A.mean(1, keepdims=True))
    assert np.array_equal(np.var(t, 0, ddof=1).data, A.var(0, ddof=1))
    assert np.sum(t, dtype=np.float32).dtype == np.float32
    assert np.add(t, 1, dtype=np.float32).dtype == np.float32
    assert np.array_equal(np.swapaxes(a=t, axis1=0, axis2=1).data, A.T)


def test_methods_of_ufuncs():
    t = leaf(P)
    for ours, numpys in [
        (np.add.reduce(t), P.sum(0)),
        (np.add.reduce(t, axis=1, keepdims=True), P.sum(1, keepdims=True)),
        (np.multiply.reduce(t, None), P.prod()), (np.maximum.reduce(t), P.max(0)),
        (np.minimum.reduce(t), P.min(0)), (np.logaddexp.reduce(t), np.logaddexp.reduce(P)),
        (np.add.accumulate(t), P.cumsum(0)), (np.multiply.accumulate(t, 1), P.cumprod(1)),
        (np.subtract.outer(t, t), np.subtract.outer(P, P)),
        (np.multiply.outer(P[0], t), np.multiply.outer(P[0], P)),
    ]:  # fmt: skip
        assert isinstance(ours, Tensor)
        np.testing.assert_allclose(ours.data, numpys, rtol=1e-14)


def test_what_carries_no_gradient_is_plain():
    t = leaf(A)
    assert np.allclose(t, A)
    assert np.array_equal(t, A)
    assert (np.shape(t), np.ndim(t), np.size(t)) == ((2, 3), 2, 6)
    np.testing.assert_allclose(t.data, A)
    np.testing.assert_array_equal(np.zeros_like(t), np.zeros((2, 3)))
    assert not np.isnan(t).any()
    assert np.argmax(t) == A.argmax()
    for result in (np.isnan(t), np.zeros_like(t), np.argsort(t), np.isclose(t, 0)):
        assert type(result) is np.ndarray


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda t: np.add(t, t, out=np.zeros((2, 3))), r"np.add with out= .* values never change"),
        (lambda t: np.exp(t, where=A > 0), r"np.exp with where= .* choose elements with np.where"),
        (lambda t: np.sum(t, initial=1.0), r"np.sum with initial= .* combine the result with it"),
        (lambda t: np.spacing(t), "np.spacing has no op here, so it would lose the gradient"),
        (lambda t: np.i0(t), "np.i0 has no op here, so it would lose the gradient"),
        (lambda t: np.fft.hfft(t), r"np\.fft\.hfft has no op here.* use np\.fft\.irfft"),
        (lambda t: np.linalg.eig(t), "np.linalg.eig has no op here.* use np.linalg.eigh"),
        (lambda t: np.linalg.trace(t), "np.linalg.trace has no op here"),
        (lambda t: np.add.at(t, 0, 1), "np.add.at has no op here"),
        (lambda t: np.divide.reduce(t), "np.divide.reduce has no op here"),
        (lambda t: np.sort(t, kind="stable"), "unexpected keyword argument 'kind'"),
        (lambda t: np.exp(t, casting="no"), "unexpected keyword argument 'casting'"),
        (lambda t: np.linalg.norm(t, "max"), "no matrix norm of order 'max'"),
    ],
)
def test_what_is_not_here_says_so(call, sentence):
    with pytest.raises((TypeError, ValueError), match=sentence):
        call(leaf(A))


def test_an_array_is_not_added_to_in_place():
    a = A.copy()
    with pytest.raises(TypeError, match=r"np\.add with out="):
        a += leaf(A)
    assert np.array_equal(a, A)
    a += Tensor(A)  # which has no gradient to lose
    assert np.array_equal(a, 2 * A)


def test_an_op_of_yours_answers_for_numpys_function():
    @tl.op
    def sinc(x):
        return np.sinc(x)

    try:
        assert isinstance(np.sinc(leaf(A)), Tensor)
    finally:
        del OPS[f"{sinc.__module__}.sinc"]


# Functions written for plain NumPy


def rosenbrock(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2.0) ** 2.0 + (1 - x[:-1]) ** 2.0, axis=0)


def test_rosenbrock():
    """SciPy has the function, its gradient and its Hessian in closed form."""
    optimize = require("scipy.optimize")
    x = rng.normal(size=6)
    value, slope = value_and_grad(rosenbrock)(x)
    np.testing.assert_allclose(value.data, optimize.rosen(x), rtol=1e-13)
    np.testing.assert_allclose(slope.data, optimize.rosen_der(x), rtol=1e-12)
    np.testing.assert_allclose(hessian(rosenbrock, x).data, optimize.rosen_hess(x), rtol=1e-11)


def test_scipy_minimises_with_our_gradients():
    optimize = require("scipy.optimize")
    both = value_and_grad(rosenbrock)
    arrays = lambda x: [t.data for t in both(x)]
    for method in ("BFGS", "L-BFGS-B", "CG", "TNC", "SLSQP"):
        found = optimize.minimize(arrays, np.zeros(5), jac=True, method=method)
        theirs = optimize.minimize(rosenbrock, np.zeros(5), jac=optimize.rosen_der, method=method)
        assert found.success
        np.testing.assert_allclose(found.x, theirs.x, atol=1e-4, err_msg=method)
    for method in ("Newton-CG", "trust-exact"):
        found = optimize.minimize(
            rosenbrock,
            np.zeros(5),
            jac=lambda x: both(x)[1].data,
            hess=lambda x: hessian(rosenbrock, x).data,
            method=method,
        )
        assert found.success
        np.testing.assert_allclose(found.x, 1, atol=2e-3, err_msg=method)


def kalman_step(mean, covariance, measured, F, H, Q, R):
    """One prediction and one update; -log of the likelihood of what was measured."""
    mean, covariance = F @ mean, F @ covariance @ F.T + Q
    surprise = measured - H @ mean
    S = H @ covariance @ H.T + R
    gain = np.linalg.solve(S, H @ covariance).T
    mean = mean + gain @ surprise
    covariance = (np.eye(len(mean)) - gain @ H) @ covariance
    cost = 0.5 * (surprise @ np.linalg.solve(S, surprise) + np.linalg.slogdet(S)[1])
    return mean, covariance, cost


def test_kalman_filter():
    """Five steps, differentiated with respect to both noises and to the dynamics."""
    F, H = np.array([[1.0, 0.1], [0.0, 1.0]]), np.array([[1.0, 0.0]])
    Q, R = 0.1 * np.eye(2), 0.5 * np.eye(1)
    measured = rng.normal(size=(5, 1))

    def cost(F, Q, R):
        mean, covariance, total = np.zeros(2), np.eye(2), 0.0
        for z in measured:
            mean, covariance, cost = kalman_step(mean, covariance, z, F, H, Q, R)
            total = total + cost
        return total

    assert tl.check(cost, F, Q, R, order=2)
    value, _ = value_and_grad(cost)(F, Q, R)
    np.testing.assert_allclose(value.data, cost(F, Q, R), rtol=1e-14)


def test_softmax_regression():
    def loss(W, b, X, labels):
        scores = X @ W + b
        scores = scores - np.max(scores, axis=1, keepdims=True)
        log_p = scores - np.log(np.sum(np.exp(scores), axis=1, keepdims=True))
        return -np.mean(log_p[np.arange(len(labels)), labels])

    X, labels = rng.normal(size=(8, 3)), rng.integers(0, 4, 8)
    W, b = rng.normal(size=(3, 4)), rng.normal(size=4)
    value, (by_w, by_b) = value_and_grad(lambda W, b: loss(W, b, X, labels))(W, b)
    p = np.exp(X @ W + b)
    error = p / p.sum(1, keepdims=True) - np.eye(4)[labels]  # its well-known closed form
    np.testing.assert_allclose(value.data, loss(W, b, X, labels), rtol=1e-14)
    np.testing.assert_allclose(by_w.data, X.T @ error / 8, rtol=1e-12)
    np.testing.assert_allclose(by_b.data, error.mean(0), rtol=1e-12, atol=1e-16)


# Tensors as Python objects


@pytest.mark.parametrize("op", [op for op in OPS.values() if ".ops." in op.__module__], ids=str)
def test_an_op_is_copied_by_name(op):
    assert pickle.loads(pickle.dumps(op)) is op
    assert copy.deepcopy(op) is op
