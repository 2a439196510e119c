"""The array API standard: gradients through its functions, and what is refused.

Its own test suite holds the values; .ci/run runs it where ARRAY_API_TESTS names a copy.
"""

from pathlib import Path

import numpy as np
import pytest

import tinygrad_lite as tl
from tinygrad_lite import Tensor, array_api, check, grad

rng = np.random.default_rng(2)
A, S = rng.normal(size=(4, 3)), np.diag([1.0, 2, 4]) + 0.1


def layer_norm(x, w):
    """Written for any array library."""
    xp = x.__array_namespace__()
    centred = x - xp.mean(x, axis=-1, keepdims=True)
    return w * centred / xp.sqrt(xp.var(x, axis=-1, correction=1, keepdims=True) + 1e-5)


def whiten(x):
    xp = x.__array_namespace__(api_version="2022.12")
    values, vectors = xp.linalg.eigh(xp.matrix_transpose(x) @ x)
    return xp.concat([x @ vectors / xp.pow(values, 0.5), xp.zeros((1, 3))], axis=0)


def test_code_for_any_library_keeps_the_gradient():
    for f, *inputs in ((layer_norm, A, A[0]), (whiten, A)):
        tensors = [Tensor(x, requires_grad=True) for x in inputs]
        numpys = f(*inputs)
        np.testing.assert_allclose(f(*tensors).data, numpys, rtol=1e-12)

        def of_tensors(*arrays, f=f):
            arrays = [x if isinstance(x, Tensor) else Tensor(x) for x in arrays]
            return f(*arrays) * np.linspace(1, 2, 3)

        assert check(lambda *xs: of_tensors(*xs) if isinstance(xs[0], Tensor)
                     else of_tensors(*xs).data, *inputs)  # fmt: skip


@pytest.mark.parametrize(
    "f",
    [
        lambda xp, x: xp.cumulative_sum(x, axis=1, include_initial=True),
        lambda xp, x: xp.cumulative_prod(x, axis=0, include_initial=True),
        lambda xp, x: xp.vecdot(x, x * x, axis=0),
        lambda xp, x: xp.sort(x, axis=0, descending=True),
        lambda xp, x: xp.diff(x, axis=0, prepend=x[:1] ** 2),
        lambda xp, x: xp.meshgrid(x[0], x[:, 0])[1] * xp.meshgrid(x[0], x[:, 0])[0],
        lambda xp, x: xp.linalg.trace(x[:3], offset=1) * xp.unstack(x)[2],
        lambda xp, x: xp.linalg.cholesky(x.T @ x, upper=True),
        lambda xp, x: xp.linalg.pinv(x) * xp.linalg.matrix_norm(x, ord="nuc"),
        lambda xp, x: xp.linalg.vector_norm(x, axis=0, ord=3) + xp.std(x, axis=0, correction=1),
        lambda xp, x: xp.linalg.outer(x[0], x[1]) + xp.linalg.diagonal(x[:3]),
        lambda xp, x: xp.sum(xp.clip(x, -0.5, max=0.7), axis=0) + xp.prod(x, axis=0),
        lambda xp, x: xp.astype(x, xp.float64, copy=True) + xp.asarray(x, copy=True),
        lambda xp, x: xp.linalg.cross(x, x[:1] ** 2) + xp.broadcast_arrays(x[0], x)[0],
    ],
)
def test_gradients(f):
    x = Tensor(A, requires_grad=True)
    out = f(array_api, x)
    assert isinstance(out, Tensor)
    assert out.requires_grad

    def weighted(x):
        found = f(array_api, x if isinstance(x, Tensor) else Tensor(x))
        found = (found * np.linspace(1, 2, found.size).reshape(found.shape)).sum()
        return found if isinstance(x, Tensor) else found.data

    assert check(weighted, A, order=2)


def test_what_makes_arrays_makes_tensors():
    xp = array_api
    for t in (xp.arange(3), xp.ones((2,)), xp.eye(2), xp.full((2,), 3.0), xp.linspace(0, 1, 3),
              xp.zeros_like(Tensor([1.0])), xp.asarray([1, 2]), xp.from_dlpack(np.ones(2)),
              xp.isnan(Tensor([1.0])), xp.argmax(Tensor([1.0])), xp.argsort(Tensor([2.0, 1])),
              *xp.unique_all(Tensor([1.0, 1])), *xp.nonzero(Tensor([1.0]))):  # fmt: skip
        assert isinstance(t, Tensor)
    t = Tensor([1.0], requires_grad=True)
    assert xp.asarray(t) is t
    assert grad(xp.asarray(t, dtype=xp.float32, copy=True).sum(), t).data == 1
    assert Tensor([1.0]).to_device("cpu").device == "cpu"
    assert xp.__array_namespace_info__().dtypes(kind=("bool", "real floating")).keys() == {
        "bool", "float32", "float64",
    }  # fmt: skip
    assert (Tensor([4]) >> 1).data == 2
    assert (2 << Tensor([4])).data == 32


def test_no_new_names_at_the_top():
    assert "array_api" not in dir(tl)


T = Tensor(A, requires_grad=True)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: T.__array_namespace__(api_version="2030.12"), ValueError, "its version 2024.12"),
        (lambda: array_api.complex64, AttributeError, "Tensors hold real numbers"),
        (lambda: array_api.fft, AttributeError, r"np\.fft\.rfft of a Tensor gives"),
        (lambda: array_api.argmin_all, AttributeError, "has no attribute 'argmin_all'"),
        (lambda: array_api.ones(2, device="gpu"), ValueError, "the only device is 'cpu'"),
        (lambda: T.to_device("gpu"), ValueError, "the only device is 'cpu'"),
        (lambda: array_api.asarray(A, copy=False), ValueError, "copy=False cannot be"),
        (lambda: array_api.asarray([1j]), TypeError, "real numbers"),
        (lambda: array_api.unique_values(T), TypeError, "would lose the gradient"),
        (lambda: array_api.nextafter(T, T), TypeError, "would lose the gradient"),
        (lambda: array_api.cumulative_sum(T), ValueError, "of x with 2 axes one must be named"),
        (lambda: array_api.meshgrid(T[0], indexing="ab"), ValueError, "indexing must be"),
        (lambda: array_api.linalg.svd(T), ValueError, "take full_matrices=False"),
        (lambda: T.__setitem__(0, 1.0), TypeError, r"x\.at\[i\]\.set\(v\)"),
    ],
)
def test_is_refused_in_a_sentence(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


def test_every_expected_failure_has_its_reason():
    lines = (Path(__file__).parent / "array_api" / "xfails.txt").read_text().splitlines()
    blocks = "\n".join(lines).split("\n\n")
    assert all(block.startswith("#") and "array_api_tests/" in block for block in blocks[1:])
    names = [line for line in lines if line and not line.startswith("#")]
    assert len(names) == len(set(names)) > 0
