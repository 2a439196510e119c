"""A Tensor at home among NumPy arrays: its attributes, operators, methods and protocols."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import tinygrad_lite as tl
from tinygrad_lite import Tensor

A = np.arange(6.0).reshape(2, 3) / 4 + 0.3


def test_attributes():
    x = Tensor(A, requires_grad=True, name="x", dtype=np.float32)
    assert (x.shape, x.ndim, x.size, x.dtype) == ((2, 3), 2, 6, np.float32)
    assert (x.name, x.requires_grad, x.grad, x.op) == ("x", True, None, None)
    np.testing.assert_array_equal(x.T.data, A.T.astype("f"))
    x.name = "y"
    assert repr(x).endswith("dtype=float32, requires_grad=True, name='y')")


def test_a_tensor_copies_and_does_not_lock():
    a = A.copy()
    x = Tensor(a)
    a[:] = 0
    np.testing.assert_array_equal(x.data, A)
    own = x.numpy()
    own[:] = 0
    np.testing.assert_array_equal(x.data, A)
    assert np.array(x).flags.writeable
    assert not np.asarray(x).flags.writeable


def test_detach_starts_a_leaf():
    x = Tensor(A, requires_grad=True, name="x")
    y = (x * 2.0).detach()
    assert (y.op, y.requires_grad, x.detach().name) == (None, False, "x")


METHODS = {
    "sum": lambda x: (x.sum(), x.sum(0), x.sum(axis=(0, 1), keepdims=True)),
    "mean": lambda x: (x.mean(), x.mean(-1)),
    "max": lambda x: (x.max(), x.max(axis=1, keepdims=True)),
    "min": lambda x: (x.min(), x.min(axis=0)),
    "prod": lambda x: (x.prod(), x.prod(axis=1)),
    "var": lambda x: (x.var(), x.var(axis=1, ddof=1)),
    "std": lambda x: (x.std(), x.std(axis=0, keepdims=True)),
    "cumsum": lambda x: (x.cumsum(), x.cumsum(1)),
    "cumprod": lambda x: (x.cumprod(), x.cumprod(axis=0)),
    "clip": lambda x: (x.clip(0.5, 1.0), x.clip(max=0.7)),
    "round": lambda x: (x.round(), x.round(1)),
    "dot": lambda x: (x.dot(A.T),),
    "take": lambda x: (x.take([0, 5]), x.take([1, 1], axis=1)),
    "repeat": lambda x: (x.repeat(2), x.repeat([1, 2], axis=0)),
    "diagonal": lambda x: (x.diagonal(), x.diagonal(1)),
    "trace": lambda x: (x.trace(), x.trace(1)),
    "reshape": lambda x: (x.reshape(3, 2), x.reshape((6,)), x.reshape(-1), x.reshape([2, 3])),
    "transpose": lambda x: (x.transpose(), x.transpose(1, 0), x.transpose((1, 0)), x.T),
    "swapaxes": lambda x: (x.swapaxes(0, -1),),
    "ravel": lambda x: (x.ravel(), x.flatten()),
    "squeeze": lambda x: (x[:1].squeeze(), x[:1].squeeze(0), x[:1, None].squeeze(axis=(0, 1))),
    "astype": lambda x: (x.astype(np.float32), x.astype(int)),
    "any": lambda x: (x.any(), x.all(axis=0), x.any(axis=1, keepdims=True)),
    "argmax": lambda x: (x.argmax(), x.argmin(axis=0)),
    "tolist": lambda x: (x.tolist(), x[0, 0].item()),
    "operators": lambda x: (
        x + x, x - A, A - x, x * 2, 2 * x, x / x, 1 / x, x // 0.4, 3 // x, x % 0.4, 3 % x, x**2,
        2**x, x @ A.T, A.T @ x, -x, +x, abs(x),
    ),
    "comparisons": lambda x: (x < 0.5, x <= A, x > 0.5, x >= A, x == A, x != 0.5, np.less(A, x)),
    "masks": lambda x: ((x > 0.4) & (x < 1), (x > 1) | (x < 0.5), ~(x > 1), (x > 1) ^ (x > 0.5)),
    "indexing": lambda x: (
        x[0], x[1, 2], x[..., None], x[:, ::-1], x[[1, 0, 1]], x[x > 0.5], x[-1:],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_as_an_ndarray(name: str):
    for got, expected in zip(METHODS[name](Tensor(A)), METHODS[name](A), strict=True):
        np.testing.assert_allclose(np.asarray(got), expected)
        assert np.asarray(got).dtype == np.asarray(expected).dtype


PROTOCOL = {
    "ufunc of two": lambda x: np.add(x, A),
    "array on the left": lambda x: A * x,
    "array @ tensor": lambda x: A.T @ x,
    "scalar on the left": lambda x: np.float64(2) * x,
    "float32 scalar on the left": lambda x: np.float32(2) - x,
    "0-d array on the left": lambda x: np.array(2.0) / x,
    "function of a list": lambda x: np.concatenate([x, A], axis=1),
}


@pytest.mark.parametrize("name", PROTOCOL)
def test_numpy_calls_give_tensors(name: str):
    got = PROTOCOL[name](Tensor(A, requires_grad=True))
    assert isinstance(got, Tensor)
    assert got.requires_grad
    np.testing.assert_allclose(got.data, PROTOCOL[name](A))
    assert got.dtype == PROTOCOL[name](A).dtype


def test_len_iteration_and_membership():
    x = Tensor(A, requires_grad=True)
    assert len(x) == 2
    assert [row.shape for row in x] == [(3,), (3,)]
    first, second = x
    (first * second).sum().backward()
    np.testing.assert_array_equal(x.grad, A[::-1])
    assert A[1, 1] in x
    assert 99 not in x
    assert Tensor(A[0, 0]) in x
    for use in (len, iter, list):
        with pytest.raises(TypeError, match="0-d"):
            use(Tensor(1.0))


def test_truth_hash_and_python_numbers():
    x = Tensor(1.5)
    assert (bool(x), float(x), int(x), x.item()) == (True, 1.5, 1, 1.5)
    assert f"{x:.2f} {x}" == "1.50 Tensor(1.5)"
    assert [10, 20, 30][Tensor(1)] == 20
    with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
        range(x)
    with pytest.raises(ValueError, match="truth value of an array"):
        bool(Tensor(A))
    with pytest.raises(ValueError, match="size 1"):
        Tensor(A).item()
    assert {x: 1}[x] == 1
    assert hash(x) != hash(Tensor(1.5))


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
@pytest.mark.parametrize("data", [A, 2.0])
def test_copies_are_leaves_of_their_own(copied: Any, data: Any):
    x = Tensor(data, requires_grad=True, name="x", dtype=np.float32)
    (x * x).sum().backward()
    y = copied(x)
    np.testing.assert_array_equal(y.data, x.data)
    np.testing.assert_array_equal(y.grad, x.grad)
    assert (y.name, y.dtype, y.requires_grad) == ("x", np.float32, True)
    assert not np.may_share_memory(x.grad, y.grad)
    (x * y).sum().backward()
    assert y.index != x.index
    assert not np.asarray(y.detach()).flags.writeable


def test_an_index_may_be_a_tensor_without_gradient():
    x = Tensor(A, requires_grad=True)
    i = Tensor([0, 0, 2])
    y = x[:, i].sum()
    i.data = [1, 1, 1]
    y.backward()
    np.testing.assert_array_equal(x.grad, [[2, 0, 1], [2, 0, 1]])


def test_an_op_of_yours_does_not_replace_ours():
    @tl.op
    def exp(x):
        return x + 1000.0

    assert np.exp(Tensor(0.0)).item() == 1
    assert exp(Tensor(0.0)).item() == 1000
