"""Every function in every form of its arguments: NumPy's values and errors, and gradients.

`FORMS` has the calls of each public function. From each call others are made: other axes,
dtypes and kinds of input, and every argument that NumPy's function of that name has. Where
NumPy gives a value, ours gives the same, and its gradient is that of finite differences;
where NumPy raises, so do we. An argument that we do not take is refused, never ignored.
"""

import inspect
import warnings
from typing import Any

import numpy as np
import pytest
from conftest import require

import tinygrad_lite as tl
from tinygrad_lite import Tensor, check, grad, hessian, ops

rng = np.random.default_rng(3)


def apart(*shape: int) -> np.ndarray:
    """Different positive numbers, none near another or an integer."""
    return (rng.permutation(np.prod(shape, dtype=int)).reshape(shape) + 0.66) / 2


def form(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """One call: floating arrays are what it is differentiated by."""
    return args, kwargs


def each(names: str, forms: list[Any]) -> dict[str, list[Any]]:
    """The same calls of several functions."""
    return dict.fromkeys(names.split(), forms)


A, B, V = apart(2, 3), apart(2, 3) + 0.11, apart(3)
U, N = A / 4, A - 1.6  # between 0 and 1, of both signs
S = np.array([[2.0, 0.5, 0.1], [0.5, 1.5, 0.2], [0.1, 0.2, 1.0]])
TALL = np.array([[1.0, 0.4, -0.7], [0.3, 2.1, 0.2], [-0.5, 0.8, 3.2], [0.9, -0.6, 0.5]])
GAPS = np.array([[1.5, np.nan, np.inf], [np.nan, -0.7, -np.inf]])
KNOTS = np.array([-1.0, 0.4, 1.1, 1.7])
IMAGE, PLANE, SIGNAL = apart(2, 2, 4, 5), apart(1, 5, 4), apart(2, 2, 6)
ONE, TWO = [form(A), form(0.7), form([[0.3, 0.6]])], [form(A, B), form(A, 0.3), form(0.7, V)]
ANY_SIGN = [form(N), form(-0.7), form([[0.3], [-0.6]])]
WITHIN = [form(U), form(0.7), form([[0.3, 0.6]])]
REDUCED = [form(A), form(A, 0), form(A, axis=1, keepdims=True), form(apart(2, 3, 2), (0, -1))]
BOOLS = [form(A > 1, np.array([True, False, True])), form(True, A > 1)]
K, W1, WT = rng.normal(size=(2, 2, 2, 3)), rng.normal(size=(3, 2, 3)), rng.normal(size=(2, 3, 2, 2))

# The calls of each function. What a form does not name, its defaults and the variations do.
FORMS: dict[str, list[Any]] = {
    **each("""exp log sqrt tanh sigmoid relu square reciprocal cbrt exp2 expm1 log2 log10
        log1p sin cos tan arctan degrees radians sinh cosh arcsinh positive negative abs sign floor
        ceil trunc rint erf erfc gelu silu atleast_1d atleast_2d atleast_3d logical_not""", ONE),
    **each("negative abs sign relu tanh gelu silu erf", ANY_SIGN),
    **each("arcsin arccos arctanh", WITHIN),
    "arccosh": [form(A + 1), form(1.7)],
    **each("""add subtract multiply divide maximum minimum fmax fmin fmod remainder hypot
        floor_divide arctan2 logaddexp logaddexp2 copysign equal not_equal less less_equal greater
        greater_equal logical_and logical_or logical_xor outer kron power float_power""", TWO),
    **each("bitwise_and bitwise_or bitwise_xor", BOOLS),
    **each("left_shift right_shift", [form(np.array([5, -9]), 2), form(3, np.array([1, 0]))]),
    "invert": [form(A > 1), form(np.array([1, 2]))],
    "heaviside": [form(N, 0.5), form(N, 0.0)],
    "leaky_relu": [form(N), form(N, negative_slope=0.3), form(N, negative_slope=9)],
    "elu": [form(N), form(N, alpha=0.3)],
    "softplus": [form(N), form(N, beta=2), form(N, beta=0.5)],
    "round": [form(A), form(A, 1), form(A, decimals=1)],
    "clip": [form(A, 0.5, 1.2), form(A, None, 1.2), form(A, V + 0.03, a_max=None),
             form(A, a_min=B, a_max=V + 0.4)],
    "where": [form(A > 1, A, B), form(A > 1, 0.0, V), form([True, False, True], V, 1.0)],
    "astype": [form(A, np.float64), form(A, dtype=np.float64)],
    **each("sum mean max min prod", REDUCED),
    **each("var std", [form(A), form(A, axis=1, ddof=1), form(A, 0, keepdims=True)]),
    "median": REDUCED, "logsumexp": REDUCED,
    "quantile": [form(A, 0.3), form(A, [0.1, 0.9], 1), form(A, 0.3, axis=(0, 1), keepdims=True),
                 form(A, np.array([[0.15, 0.9]]), keepdims=True), form(A, q=1)],
    **each("cumsum cumprod", [form(A), form(A, 0), form(A, axis=-1)]),
    "sort": [form(A), form(A, 0), form(A, axis=None)],
    "diff": [form(A), form(A, 2), form(A, n=1, axis=0), form(A, n=7)],
    **each("softmax log_softmax", [form(A), form(A, 0), form(A, axis=(0, 1))]),
    "reshape": [form(A, 6), form(A, (3, -1)), form(A, [3, 2]), form(A, np.int64(-1))],
    "ravel": [form(A), form(A, order="F"), form(apart(2, 3, 2), "F")],
    "transpose": [form(A), form(A, (1, 0)), form(A, axes=None),
                  form(apart(2, 3, 2), axes=[-1, 0, 1])],
    "broadcast_to": [form(V, (2, 3)), form(V, shape=[2, 3]), form(0.7, 3)],
    "squeeze": [form(A[None]), form(A[None], 0), form(A[None, None], axis=(0, 1))],
    "expand_dims": [form(A, 0), form(A, axis=(0, -1)), form(A, [1, 2])],
    "moveaxis": [form(A, 0, 1), form(apart(2, 3, 2), [0, 1], destination=[-1, 0])],
    "swapaxes": [form(A, 0, 1), form(apart(2, 3, 2), axis1=-1, axis2=np.int64(0))],
    "flip": [form(A), form(A, 0), form(A, axis=(0, 1)), form(A, [1])],
    "roll": [form(A, 1), form(A, -1, 1), form(A, shift=(1, 2), axis=(0, 1)), form(A, 2, [1])],
    "rot90": [form(A), form(A, k=-1), form(apart(2, 3, 2), 1, axes=[-1, 0])],
    "repeat": [form(A, 2), form(A, [0, 2], 0), form(A, repeats=np.array([1, 0, 3]), axis=-1)],
    "tile": [form(A, 2), form(A, (2, 1, 2)), form(V, reps=[2, 1])],
    "take": [form(A, [0, 5, 5]), form(A, [[1, -1]], 1), form(A, indices=7, axis=0, mode="wrap"),
             form(A, 9, mode="clip")],
    "take_along_axis": [form(A, np.array([[0, 2], [1, 1]]), 1),
                        form(A, np.array([5, 0]), axis=None),
                        form(A, indices=np.array([[0, 1, 1]]), axis=-2)],
    "diagonal": [form(A), form(A, 1), form(apart(2, 3, 3), offset=-1, axis1=-1, axis2=1)],
    "trace": [form(A), form(A, 1), form(apart(2, 3, 3), offset=-1, axis1=2, axis2=0)],
    "diag": [form(V), form(A), form(V, -1), form(A, k=1)],
    **each("tril triu", [form(A), form(A, 1), form(V, k=-1)]),
    "concatenate": [form([A, B]), form((A, B[:1]), 0), form([A, V, B], axis=None), form([A, B], -1),
                    form([A, [[1.0, 2.0, 3.0]]])],
    "stack": [form([A, B]), form((A, B), 1), form([V, [1.0, 2.0, 3.0]], axis=-1)],
    **each("vstack hstack dstack column_stack", [form([A, B]), form((V, V)),
        form([V, [1.0, 2.0, 3.0]])]),
    "split": [form(A, 2), form(A, [1, 2], 1), form(A, indices_or_sections=3, axis=-1)],
    "array_split": [form(A, 4), form(A, (1,), 1), form(A, indices_or_sections=2, axis=-1)],
    "vsplit": [form(A, 2), form(A, [1])], "hsplit": [form(A, 3), form(V, [1])],
    "dsplit": [form(apart(2, 3, 2), 2), form(apart(2, 3, 2), [1])],
    "pad": [form(A, 1), form(A, (1, 2)), form(A, ((1, 0), (0, 2))), form(A, [[1], [2]]),
            form(A, 1, constant_values=7.0), form(A, 1, "constant", constant_values=(1, 2)),
            form(A, ((1, 2), (0, 1)), constant_values=((1, 2), (3, 4))),
            *(form(A, ((1, 0), (0, 2)), mode) for mode in ("reflect", "symmetric", "edge", "wrap")),
            form(A, pad_width=np.array([1, 2]), mode="edge")],
    "getitem": [form(A, 0), form(A, index=(slice(None), [0, 0]))],
    "matmul": [form(A, B.T), form(V, V), form(A, V), form([[1.0, 2.0]], A)],
    "dot": [form(A, B.T), form(V, V), form(0.3, A), form(A, [1.0, 2, 3]),
            form(apart(2, 2, 3), B.T)],
    "inner": [form(A, B), form(V, V), form(0.3, A), form([1.0, 2, 3], A)],
    "vdot": [form(A, B), form(V, [1.0, 2, 3])],
    "tensordot": [form(A, B), form(A, B.T, 1), form(A, B, axes=([0, 1], [0, -1])),
                  form(A, V, (-1, 0)),
                  form(A, B, 0), form(A, B, ((1,), (1,)))],
    "einsum": [form("ij,kj->ik", A, B), form("ij->", A), form("...j,j", A, V), form("ii->i", S),
               form("ij,j", A, V, optimize=True), form("ij,j", A, V, optimize="greedy"),
               form(A, [0, 1], V, [1]), form(A, [..., 30], B, [..., 30], [...]),
               form(A, [27, 3]), form("i,i", V, np.ones(1))],
    "inv": [form(S), form(S[None])],
    "det": [form(S), form(S[None])], "slogdet": [form(S), form(S[None])],
    "cholesky": [form(S), form(S[None])],
    "solve": [form(S, V), form(S, A.T), form(S[None], [[1.0], [2.0], [3.0]])],
    "vector_norm": [form(N), form(N, axis=1, keepdims=True), form(N, axis=(0, 1), ord=3),
                    *(form(N, ord=p) for p in (0, 1, 2, 2.5, np.inf, -np.inf, -1, 0.5))],
    "norm": [form(N), form(N, 1), form(N, "fro"), form(N, None, 1), form(N, -np.inf, (1, 0), True),
             form(N, ord=3, axis=-1, keepdims=True), form(N, 0, axis=0), form(N, np.inf),
             form(V, 1),
             form(N, axis=(0, 1)), form(N, 2, axis=(0,)), form(apart(2, 2, 3)), form(N, -1),
             form(N, 2), form(N, -2), form(N, "nuc"), form(TALL[None], "nuc", (2, 1), True)],
    # choosing.py
    "nan_to_num": [form(GAPS[:, :2]), form(GAPS[:, :2], nan=2.5),
                   form(GAPS, posinf=3.0, neginf=-4.0),
                   form(A, copy=True)],
    "select": [form([A > 2, A > 1], [A, B]), form((A > 2, V > 1), (A, 1.5), default=V),
               form([A > 1], [A], -1.0), form([[True, False, True]], [V], 0)],
    "choose": [form(np.array([[1], [0]]), [A, V]), form(np.array([5, -1, 1]), (A, V), mode="wrap"),
               form(np.array([5, -1]), choices=[B.T, 0.5, A.T], mode="clip"),
               form([1, 0, 1], [V, V]),
               form(np.array([0, 0]), [A[:, :2]])],
    "compress": [form([True, False], A, 0), form(np.array([0, 1, 1]), a=A, axis=-1),
                 form([True, True, False, True], A)],
    "extract": [form(A > 1, A), form(np.array([1, 0, 1]), V), form([True, False, True], arr=V)],
    "append": [form(A, B), form(A, V), form(A, [[1.0, 2, 3]], 0), form(A, values=B, axis=-1)],
    "delete": [form(A, 1), form(A, [0, -1], 1), form(A, obj=slice(1, None), axis=0),
               form(A, np.array([True, False, True]), axis=1)],
    "insert": [form(A, 1, 0.5), form(A, 1, V), form(A, [0, 2], V[:2]), form(A, 1, V, axis=0),
               form(A, 1, B.T, axis=1), form(A, [1], B[:, :1], axis=1),
               form(A, [2, 0], 0.5, axis=-1),
               form(A, obj=slice(0, 2), values=B[:, :2], axis=1), form(A, -1, 7, 1),
               form(V, [1, 1, 3], V)],
    "block": [form([A, B]), form([[A, B], [B, A]]), form([[A, V[:2, None]]]), form(A),
              form([V, 0.5])],
    **each("flipud fliplr", [form(A), form(apart(2, 3, 2))]),
    # statistics.py
    **each("nansum nanmean", [*REDUCED, form(GAPS[:, :2]), form(GAPS[:, 1:2], 0),
                              form(GAPS[:, :2], axis=1, keepdims=True)]),
    "ptp": REDUCED,
    "percentile": [form(A, 30), form(A, [10, 90], 1), form(A, 30.0, axis=(0, 1), keepdims=True),
                   form(A, np.array([[15, 90]]), keepdims=True), form(A, q=100)],
    "average": [form(A), form(A, 0), form(A, weights=B), form(A, 1, V),
                form(A, axis=-1, weights=[1, 2, 3]), form(A, 0, B, returned=True),
                form(A, returned=True), form(A, 1, B, keepdims=True),
                form(apart(2, 3, 2), axis=(2, 0), weights=B[:, :2]), form(V, weights=V)],
    "cov": [form(A), form(V), form(A, B), form(A.T, rowvar=False), form(A, bias=True),
            form(A, ddof=0), form(A, fweights=np.array([1, 2, 3])), form(A, aweights=V),
            form(A, y=V, fweights=[2, 1, 2], aweights=V, ddof=1), form(A, aweights=V, ddof=0)],
    "corrcoef": [form(apart(2, 5)), form(V), form(apart(2, 5), apart(1, 5)),
                 form(apart(5, 2), rowvar=False), form(V, y=apart(3))],
    # grids.py
    "interp": [form(U * 4, KNOTS, apart(4)),
               form(N * 5, KNOTS, apart(4), left=-1.0, right=9.0), form(1.1, KNOTS, apart(4)),
               form(A, KNOTS, apart(4), period=2.9), form(A, np.array([1.0]), np.array([2.0])),
               form([0.3, 0.9], xp=KNOTS, fp=apart(4))],
    "trapezoid": [form(A), form(A, V), form(A, dx=0.3), form(A, B, axis=0),
                  form(A, x=V[:2], axis=0)],
    "central_differences": [form(apart(5)), form(apart(4, 3)), form(apart(4, 3), 0.5, axis=0),
        form(apart(4, 3), KNOTS, V.cumsum(), edge_order=2), form(apart(5), edge_order=2),
        form(apart(4, 3), 0.5, V.cumsum()), form(apart(3, 4), KNOTS, axis=(-1,)),
        form(apart(4, 3), [1.0, 2, 4, 7], axis=[0])],
    **each("convolve correlate", [form(apart(5), V), form(V, apart(5), mode="same"),
        form(apart(6), apart(4), "same"), form(apart(4), apart(6), "same"),
        form(V, apart(5), "valid"),
        form(apart(5), V, mode="full"), form(V, apart(4), mode="full"), form(apart(5), V, "same"),
        form(V[:1], V), form(apart(5), [1.0, 2], "valid")]),
    "unwrap": [form(apart(2, 5) * 3), form(apart(5) * 3, axis=0), form(apart(2, 5) * 3, 4.0, 0),
               form(apart(6) * 4, discont=5.0), form(apart(6) * 4, period=2.5),
               form(np.array([0.0, 3, 6, 0, 3.5]), period=6),
               form(np.array([0, 3, 6, 1]), period=6)],
    "polyval": [form(V, A), form([1.0, 2, 3], A), form(V, 0.7), form(V[:1], A), form(A, V),
                form(p=V, x=B)],
    "vander": [form(V), form(V, 2), form(V, N=4, increasing=True), form(V, 1), form(V, 0)],
    "sinc": [form(A), form(N), form(0.7), form(0.0), form([[0.3, 1e-9]])],
    # products.py, linalg.py, decompositions.py
    "cross": [form(A, B), form(V, A), form(B.T, A.T, axis=0), form(A, B.T, axisb=0, axisc=0),
              form(A.T, B, axisa=0), form([1.0, 2, 3], V), form(A[:, None], B)],
    "matrix_power": [form(S, 3), form(S, 1), form(S, 0), form(S, n=-2), form(S[None], 6)],
    "multi_dot": [form([A, B.T]), form([V, B.T, A, V]), form((A, B.T, A, S)), form([V, V]),
                  form(arrays=[A, S, [[1.0], [2], [3]]])],
    **each("eigh eigvalsh", [form(S), form(S[None])]),
    "svd": [form(S), form(TALL, False), form(TALL.T, full_matrices=False), form(S[None]),
            form(TALL, compute_uv=False)],
    "svdvals": [form(S), form(TALL), form(TALL.T[None])],
    "qr": [form(S), form(TALL), form(TALL.T), form(TALL, "r"), form(TALL[None], mode="reduced")],
    "pinv": [form(S), form(TALL), form(TALL.T[None]), form(TALL, 1e-10), form(S, rcond=1e-9)],
    "lstsq": [form(TALL, apart(4)), form(TALL.T, V), form(TALL, apart(4, 2), rcond=1e-10),
              form(S, A.T), form(TALL, apart(4), -1)],
    # Without a counterpart in NumPy: PyTorch's
    "mse_loss": [form(A, B), form(A, B, reduction="sum"), form(A, B, reduction="none"),
                 form(0.3, 0.7)],
    "cross_entropy": [form(A, np.array([2, 0])), form(V, np.array(1)), form(A, U, reduction="sum"),
                      form(IMAGE, np.ones((2, 4, 5), int), reduction="none"),
                      form(IMAGE, IMAGE / 9), form(V, V),
                      form(A, np.array([2, 0], np.uint8), reduction="sum")],
    "max_pool2d": [form(IMAGE, 2), form(PLANE, (2, 3), stride=1, padding=(1, 0)),
                   form(IMAGE, kernel_size=2, stride=(2, 1), padding=1, dilation=(1, 2)),
                   form(-IMAGE, 3, 2, 1)],
    "avg_pool2d": [form(IMAGE, 2), form(PLANE, kernel_size=(2, 3), stride=1, padding=(1, 0))],
    "conv1d": [form(SIGNAL, W1), form(SIGNAL, W1, V, stride=2, padding=1, dilation=2),
               form(SIGNAL, W1[:2, :1], b=None, groups=2)],
    "conv2d": [form(IMAGE, K), form(IMAGE, K, V[:2], stride=2, padding=1, dilation=(1, 2)),
               form(IMAGE, K[:, :1], b=None, groups=np.int64(2), stride=(2, 1))],
    "conv_transpose2d": [form(IMAGE, WT),
                         form(IMAGE, WT, b=V, stride=2, padding=1, output_padding=1),
                         form(IMAGE, WT, groups=2, dilation=(2, 1))],
    "dropout": [form(A, training=False, generator=rng), form(A, p=0.0, generator=rng),
                form(A, 1, generator=rng)],
}  # fmt: skip

# Arguments of ours that only a test of its own can try.
ELSEWHERE = {("dropout", "generator")}

# What stands for NumPy's function where it has none, or another.
LIKE: dict[str, Any] = {
    "central_differences": np.gradient,
    "sigmoid": lambda x: 1 / (1 + np.exp(-np.asarray(x, float))),
    "relu": lambda x: np.maximum(x, 0),
    "getitem": lambda x, index: x[index],
    "astype": lambda x, dtype: x.astype(dtype),
    "abs": np.abs,
    "logsumexp": lambda x, axis=None, keepdims=False: np.log(
        np.sum(np.exp(x, dtype=float), axis=axis, keepdims=keepdims)
    ),
    "softmax": lambda x, axis=-1: (e := np.exp(x, dtype=float)) / e.sum(axis, keepdims=True),
    "log_softmax": lambda x, axis=-1: x - LIKE["logsumexp"](x, axis, True),
    "leaky_relu": lambda x, negative_slope=0.01: np.where(
        np.greater(x, 0), x, np.multiply(x, negative_slope, dtype=float)
    ),
    "elu": lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(x, dtype=float)),
    "softplus": lambda x, beta=1.0: np.logaddexp(0, beta * np.asarray(x, float)) / beta,
    "silu": lambda x: x * LIKE["sigmoid"](x),
    "dropout": lambda x, p=0.5, training=True, generator=None: x * (p != 1),
}
TORCH = {"mse_loss", "cross_entropy", "max_pool2d", "avg_pool2d", "conv1d", "conv2d", "gelu",
         "conv_transpose2d"}  # fmt: skip
SPECIAL = {"erf", "erfc"}


def like(name: str) -> Any:
    """The function that says what is right."""
    if name in LIKE:
        return LIKE[name]
    if name in SPECIAL:
        return getattr(require("scipy.special"), name)
    if name in TORCH:
        return torch_like(name)
    return numpys(name)


def numpys(name: str) -> Any:
    """NumPy's function of that name, None if it has none."""
    return getattr(np, name, None) or getattr(np.linalg, name, None)


def torch_like(name: str) -> Any:
    torch = require("torch")

    def plain_or_torch(x: Any) -> Any:
        if isinstance(x, np.integer):
            return int(x)
        return torch.tensor(np.array(x)) if isinstance(x, (np.ndarray, float, list)) else x

    def call(*args: Any, **kwargs: Any) -> Any:
        given = [plain_or_torch(x) for x in args]
        if name == "cross_entropy" and not given[1].is_floating_point():
            given[1] = given[1].long()
        kwargs = {"bias" if k == "b" else k: plain_or_torch(x) for k, x in kwargs.items()}
        return getattr(torch.nn.functional, name)(*given, **kwargs).numpy()

    return call


def mapped(x: Any, change: Any) -> Any:
    """x with every floating array in it changed."""
    if isinstance(x, np.ndarray):
        return change(x) if x.dtype.kind == "f" else x
    if type(x) in (list, tuple):
        return type(x)(mapped(part, change) for part in x)
    return x


def mapped_call(args: Any, kwargs: Any, change: Any) -> Any:
    return mapped(args, change), {k: mapped(x, change) for k, x in kwargs.items()}


def has_array(x: Any) -> bool:
    """Whether NumPy asks us: not of lists and numbers alone."""
    return any(isinstance(y, np.ndarray) and y.dtype.kind == "f" for y in results(x))


def results(x: Any) -> list[Any]:
    """The arrays of a result, be it one or several."""
    return [y for part in x for y in results(part)] if isinstance(x, (list, tuple)) else [x]


ERRORS = (TypeError, ValueError, IndexError, ZeroDivisionError)


def outcome(f: Any, args: Any, kwargs: Any) -> Any:
    """What a call gives: a list of results, or the error."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return results(f(*args, **kwargs))
        except (*ERRORS, RuntimeError, OverflowError, AttributeError) as error:
            return error


def judge(
    name: str, f: Any, args: Any, kwargs: Any, derive: bool = True, rtol: float = 1e-9
) -> Any:
    """Hold ours to what is right: values, shapes, dtypes, errors, and the gradient."""
    reference = like(name)
    expected = outcome(reference, args, kwargs)
    leaves: list[Tensor] = []

    def leaf(x: np.ndarray) -> Tensor:
        leaves.append(Tensor(x, requires_grad=True))
        return leaves[-1]

    got = outcome(f, *mapped_call(args, kwargs, leaf))
    what = f"{name}{args}, {kwargs}"[:300]
    if isinstance(expected, Exception):
        assert isinstance(got, (*ERRORS, type(expected))), (
            f"{what}: NumPy says {expected}, we give {got}"
        )
        return got
    if isinstance(got, Exception):
        assert isinstance(got, ERRORS), f"{what}: {got!r}"
        return got
    for a, b in zip(got, expected, strict=True):
        a = a.data if isinstance(a, Tensor) else a
        np.testing.assert_allclose(a, b, rtol, 1e-12, err_msg=what)
        assert np.shape(a) == np.shape(b), f"{what}: {np.shape(a)}, NumPy's {np.shape(b)}"
        # NumPy's dtype; but of integers' quantiles float64, and a Python number leaves it be.
        if not (
            name in {*LIKE, *TORCH, *SPECIAL, "quantile"} or {float, int} & set(map(type, args))
        ):
            assert np.asarray(a).dtype == np.asarray(b).dtype, what
    floats = [y for y in got if isinstance(y, Tensor) and y.dtype.kind == "f" and y.size]
    if not derive or not leaves or not floats:
        return None
    sum((y.sum() for y in floats), 0.0).backward()  # in every form that works forward

    def of_leaves(*xs: Any) -> Any:
        given = iter(xs)
        made = results(f(*(c := mapped_call(args, kwargs, lambda _: next(given)))[0], **c[1]))
        return sum(
            (y * np.linspace(1, 2, y.size).reshape(y.shape)).sum()
            for y in made
            if np.asarray(y.data if isinstance(y, Tensor) else y).dtype.kind == "f"
        )

    check(of_leaves, *(x.data for x in leaves), order=1)
    return None


CALLS = [
    pytest.param(name, *case, id=f"{name}-{i}")
    for name, cases in FORMS.items()
    for i, case in enumerate(cases)
]


def parameters(f: Any) -> dict[str, Any]:
    """The parameters of a function by name; none where it does not tell."""
    try:
        return dict(inspect.signature(f).parameters)
    except ValueError:
        return {}


@pytest.mark.parametrize("name", ops.__all__)
def test_every_function_has_forms_and_every_argument_is_tried(name: str):
    if name not in FORMS:
        pytest.fail(f"{name} has no forms: add its calls to FORMS in tests/test_arguments.py")
    ours = parameters(getattr(ops, name))
    tried = {parameter for case in FORMS[name] for parameter in bound(ours, *case)}
    missing = [p for p in ours if p not in tried and (name, p) not in ELSEWHERE]
    assert not missing, f"no form of {name} in tests/test_arguments.py gives {missing}"


def bound(ours: dict[str, Any], args: Any, kwargs: Any) -> set[str]:
    """The parameters that a call gives."""
    return {
        *list(ours)[: len(args)],
        *kwargs,
        *(p for p, x in ours.items() if x.kind == x.VAR_POSITIONAL),
    }


def test_every_form_is_of_a_function():
    assert FORMS.keys() <= set(ops.__all__)


@pytest.mark.parametrize(("name", "args", "kwargs"), CALLS)
def test_forms(name: str, args: Any, kwargs: Any):
    """The value and the gradient, called as ours and as NumPy's."""
    error = judge(name, getattr(ops, name), args, kwargs)
    assert error is None, f"{name}{args}, {kwargs}: {error!r}"
    if name not in LIKE and name not in TORCH | SPECIAL and has_array(args):
        error = judge(name, numpys(name), args, kwargs, derive=False)
        assert error is None, f"np.{name}{args}, {kwargs}: {error!r}"


# Axes, of every kind and out of range

AXES = [None, 0, 1, -1, 2, -3, 5, -6, (), (0,), (0, 1), (-1, 0), (0, 0), (1, -1), (0, 5), [0],
        [0, 1], [1, 1], np.int64(0), np.int32(-1), np.int64(7)]  # fmt: skip
NAMED = ("axis", "axis1", "axis2", "source", "destination", "axes")
AXED = [
    pytest.param(name, parameter, id=f"{name}-{parameter}")
    for name in FORMS
    for parameter in NAMED
    if parameter in parameters(getattr(ops, name)) and name != "cross"  # of plane vectors, not here
]


EMPTY = [np.ones((0, 3)), np.ones((2, 0))]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value", "ignore:Degrees")
@pytest.mark.parametrize(("name", "parameter"), AXED)
def test_axes(name: str, parameter: str):
    ours = getattr(ops, name)
    order = list(parameters(ours))
    arrays: list[Any] = [A, N, apart(3, 3), 0.7]
    # Where NumPy makes NaN or an error of nothing, is tried elsewhere.
    if name not in ("median", "quantile", "percentile", "nanmean"):
        arrays += EMPTY
    for x in arrays if name not in ("concatenate", "stack") else [[A, B], [V, V], EMPTY[:1] * 2]:
        for axis in AXES:
            args, kwargs = FORMS[name][0]
            args = (x, *args[1:])
            kwargs = {**kwargs, parameter: axis}
            if order.index(parameter) < len(args):
                args = args[: order.index(parameter)]
            if name in ("moveaxis", "swapaxes"):
                kwargs = {p: kwargs.get(p, 0) for p in order[1:]}
            if name == "take_along_axis":
                args = (x, np.zeros((1,) * np.ndim(x), int))
            error = judge(name, ours, args, kwargs)
            assert not isinstance(outcome(like(name), args, kwargs), list) or error is None, (
                f"{name}({np.shape(x)}, {parameter}={axis!r}): {error!r}"
            )


# Every dtype, computed in one that holds it

BIG = {"u1": 40, "i1": 20, "i2": 40, "i8": 40}  # so that sums of small integers would wrap around
OVERFLOWING = {"exp", "exp2", "expm1", "sinh", "cosh", "power", "float_power", "prod", "cumprod"}


@np.errstate(invalid="ignore")  # NaN as an integer is some number
def in_dtype(name: str, args: Any, kwargs: Any, dtype: str) -> Any:
    """A call with its floating arrays in another dtype."""
    times = 1 if name in OVERFLOWING else BIG.get(dtype, 1)
    return mapped_call(args, kwargs, lambda x: (x * times).astype(dtype))


@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    [
        pytest.param(name, *in_dtype(name, *case, dtype), id=f"{name}-{i}-{dtype}")
        for name, cases in FORMS.items()
        for i, case in enumerate(cases)
        for dtype in (["f4"] if name in TORCH else ["f4", "f2", "g", "?", *BIG])
        if has_array([case[0], *case[1].values()])
        and (name not in SPECIAL or dtype != "g")  # SciPy has no longdouble
        # NumPy subtracts booleans there, which it refuses, and rounds more often in between.
        and (name, dtype) not in (("quantile", "?"), ("percentile", "?"))
        and (name, dtype) != ("central_differences", "f2")
    ],
)
def test_dtypes(name: str, args: Any, kwargs: Any):
    kinds = {x.dtype for x in results([args, *kwargs.values()]) if isinstance(x, np.ndarray)}
    rtol = 4e-3 if np.dtype("f2") in kinds else 1e-4 if np.dtype("f4") in kinds else 1e-9
    judge(name, getattr(ops, name), args, kwargs, derive=False, rtol=rtol)


WITHOUT_NUMPY = ("mse_loss", "cross_entropy", "avg_pool2d", "max_pool2d", "median", "softmax",
                 "logsumexp", "log_softmax", "leaky_relu", "elu", "softplus")  # fmt: skip


@pytest.mark.parametrize("dtype", BIG)
@pytest.mark.parametrize("name", WITHOUT_NUMPY)
def test_integers_are_computed_as_their_floats(name: str, dtype: str):
    for case in FORMS[name]:
        integers = in_dtype(name, *case, dtype)
        floats = mapped_call(*in_dtype(name, *case, dtype), lambda x: x)
        as_float = lambda x: (
            x.astype(float) if isinstance(x, np.ndarray) and x.dtype == dtype else x
        )
        args = tuple(x if x is case[0][i] else as_float(x) for i, x in enumerate(floats[0]))
        got = getattr(ops, name)(*integers[0], **integers[1])
        np.testing.assert_allclose(got, getattr(ops, name)(*args, **floats[1]), rtol=1e-14)


# Lists of Tensors, where one array is meant


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "place"),
    [
        pytest.param(name, *case, place, id=f"{name}-{i}-{place}")
        for name, cases in FORMS.items()
        for i, case in enumerate(cases)
        for place, x in enumerate(case[0])
        if has_array([x]) and name != "block"  # whose arrays stand in nested lists
    ],
)
def test_a_list_of_tensors_is_refused(name: str, args: Any, kwargs: Any, place: int):
    rows = lambda x: [Tensor(row, requires_grad=True) for row in x]
    given = (*args[:place], mapped(args[place], rows), *args[place + 1 :])
    with pytest.raises(TypeError, match=r"los(e|ing)|requires a\s+gradient"):
        getattr(ops, name)(*given, **kwargs)


# What NumPy's functions take and ours do not is refused, or without effect

PROBES: dict[str, Any] = {
    "where": [False, np.False_], "initial": [True, 1.0, 0],
    "dtype": [np.int64, np.int8, bool, "f4"],
    "casting": ["no", "unsafe"], "order": ["F", "A", "K"], "subok": [False, True],
    "signature": ["f->f", "ff->f"], "keepdims": [True], "kind": ["stable"],
    "stable": [True, False], "method": ["lower", "higher"], "interpolation": ["lower"],
    "weights": [np.ones(6).reshape(2, 3)], "overwrite_input": [True], "mean": [np.float64(9.0)],
    "correction": [1], "prepend": [0.0], "append": [0.0], "upper": [True], "min": [1.0],
    "max": [1.0], "axis": [0, -1], "axes": [[(0, 1), (0, 1), (0, 1)]], "optimize": [True],
    "stat_length": [1], "end_values": [1], "reflect_type": ["odd"], "constant_values": [0, 1, True],
    "copy": [False], "device": ["cpu"], "mode": ["wrap", "clip", "edge"], "rowvar": [False],
    "period": [1.0], "ddof": [1],
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in FORMS if numpys(name) and name not in LIKE])
def test_no_argument_of_numpys_is_ignored(name: str):
    function = numpys(name)
    for args, kwargs in (case for case in FORMS[name] if has_array(case[0])):
        probes = [(k, v) for k, values in PROBES.items() for v in values if k not in kwargs]
        for parameter, value in probes:
            given = {**kwargs, parameter: value}
            expected = outcome(function, args, given)
            got = outcome(
                function, *mapped_call(args, given, lambda x: Tensor(x, requires_grad=True))
            )
            what = f"np.{name}({parameter}={value!r})"
            if isinstance(got, Exception):
                assert isinstance(got, ERRORS), f"{what}: {got!r}"
                continue
            if isinstance(expected, Exception):
                assert value == "f4", f"{what}: NumPy says {expected}"  # which some cannot cast to
                continue
            for a, b in zip(got, expected, strict=True):
                a = a.data if isinstance(a, Tensor) else a
                assert np.shape(a) == np.shape(b), what
                np.testing.assert_allclose(a, b, rtol=1e-6, err_msg=what)
                if np.asarray(b).dtype.kind == "f" and name not in (
                    "einsum",
                    "cov",
                ):  # which forget dtype on some ways
                    assert np.asarray(a).dtype == b.dtype, what


# What NumPy spells otherwise


def leaf(x: Any) -> Tensor:
    return Tensor(x, requires_grad=True)


def test_spellings_of_numpys():
    t, m = leaf([1.0, 2.0]), leaf(A)
    assert np.array_equal(np.where(t > 1)[0], [1])
    assert np.array_equal(np.argwhere(t > 1), [[1]])
    if np.lib.NumpyVersion(np.__version__) >= "2.1.0":  # which names them so first
        assert np.array_equal(np.clip(t, min=0, max=1.5).data, [1, 1.5])
    assert grad(np.arange(3.0).clip(t[0], 2).sum(), t).data.tolist() == [1, 0]
    for order in ("C", "F"):
        assert np.array_equal(np.ravel(m, order=order).data, A.ravel(order))
        assert np.array_equal(m.flatten(order).data, A.ravel(order))
        assert np.array_equal(m.reshape(3, -1, order=order).data, A.reshape(3, -1, order=order))
        assert np.array_equal(
            np.reshape(m, (3, 2), order=order).data, A.reshape((3, 2), order=order)
        )
    assert check(lambda x: np.reshape(x, (3, 2), order="F") * B.T, A)
    assert np.array_equal(np.copy(m, order="F").data, A)
    with pytest.raises(ValueError, match="order must be"):
        m.ravel("K")
    with pytest.raises(ValueError, match="numbers from 0 to 51"):
        np.einsum(m, [0, 52])


def test_what_requires_no_gradient_may_go_anywhere():
    t = Tensor([1.0, 2.0])
    assert np.array_equal(np.i0(t), np.i0([1.0, 2.0]))
    out = np.exp(np.ones(2), where=Tensor([True, False]), out=np.zeros(2))
    assert np.array_equal(out, [np.e, 0])
    with pytest.raises(TypeError, match=r"full_like would lose .* use np.broadcast_to"):
        np.full_like(leaf([1.0, 2.0]), leaf(3.0))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda t: np.sum(t, initial=True), "initial="), (lambda t: np.sum(t, out=True), "out="),
        (lambda t: np.sum(t, where=[True, False]), "where="),
        (lambda t: np.add.reduce(t, initial=0), "initial="),
        (lambda t: np.add(t, t, dtype=int), "gives float64, so dtype=int64"),
        (lambda t: np.less(t, t, dtype=float), "gives bool, so dtype=float64"),
        (lambda t: np.matmul.outer(t, t), "outer"), (lambda t: t @ 2, "matmul: the last axis"),
        (lambda t: tl.max_pool2d(3.0), "has the shape"), (lambda t: tl.avg_pool2d(t, 2), "shape"),
        (lambda t: tl.avg_pool2d(np.ones((1, 2, 2)), 0), "must be at least 1"),
        (lambda t: np.linalg.outer(np.ones((2, 2)), t), "is for vectors"),
        (lambda t: np.pad(t, 1, mode="edge", constant_values=0), "are for mode 'constant'"),
        (lambda t: np.pad(t, 1.5), "must be integers"), (lambda t: tl.vsplit(t, 2), "2 axes"),
        (lambda t: np.linalg.norm(np.ones((2, 2, 2)) * t, 2), "not over 3"),
        (lambda t: tl.norm(t, "fro"), "vector norm of order 'fro'"),
        (lambda t: tl.norm(t, axis=[0]), "None, an int or a tuple"),
        (lambda t: tl.tensordot(t, t, ([0, 0], [0, 0])), "repeated axis"),
        (lambda t: t.at[0].set(1j), "do not fit"), (lambda t: t.at[0].set([t[0]]), "losing"),
        (lambda t: t.at[5].set(1.0), "out of bounds"),
        (lambda t: t.at[0].add([1.0, 2]), "broadcast"),
        (lambda t: Tensor([1]).at[0].set(t[0]), "do not fit into dtype int64"),
    ],
)  # fmt: skip
def test_is_refused(call, sentence):
    with pytest.raises((TypeError, ValueError, IndexError), match=sentence):
        call(leaf([1.0, 2.0]))


@pytest.mark.parametrize(
    ("loss", "shape", "target"),
    [
        (tl.mse_loss, (3,), np.ones((3, 1))), (tl.mse_loss, (3,), np.float64(1)),
        (tl.mse_loss, (2, 3), np.ones(3)),
        (tl.cross_entropy, (3, 3), np.array([0.0, 1, 2])),
        (tl.cross_entropy, (3, 3), np.array([0])),
        (tl.cross_entropy, (3, 3), np.eye(3)[:1]),
        (tl.cross_entropy, (3, 3), np.zeros((3, 1), int)),
        (tl.cross_entropy, (2, 3, 4), np.zeros((2, 3), int)),
        (tl.cross_entropy, (3,), np.array([0])),
        (tl.cross_entropy, (2, 3), np.array([True, False])),
        (tl.cross_entropy, (), np.array(0)),
    ],
)  # fmt: skip
def test_targets_that_do_not_fit(loss, shape, target):
    with pytest.raises(ValueError, match=loss.name if hasattr(loss, "name") else loss.__name__):
        loss(leaf(np.zeros(shape)), target)


def test_at():
    """The assignments of arrays, with gradients for both sides."""
    rows = np.array([[True, False, True], [False, True, False]])
    for index in (0, (slice(None), 1), [1, 0, 1], ([0, 1, 0], [2, 2, 2]), rows, ..., (), None):
        for v in (apart(*A[index].shape), 0.4):
            expected = A.copy()
            expected[index] = v
            np.testing.assert_array_equal(leaf(A).at[index].set(v).data, expected)
            expected = A.copy()
            np.add.at(expected, index, v)
            np.testing.assert_allclose(leaf(A).at[index].add(v).data, expected, rtol=1e-15)
            assert check(
                lambda x, v, i=index: x.at[i].set(v) * B + x.at[i].add(v) ** 2, A, v, order=2
            )
    assert leaf(np.float32(A)).at[0].set(leaf(V)).dtype == np.float32
    assert Tensor(2.0).at[()].set(3.0).item() == 3


def test_methods():
    for name in ("exp", "log", "sqrt", "tanh", "sigmoid", "relu"):
        assert np.array_equal(getattr(leaf(A), name)().data, getattr(tl, name)(A)), name


# Special values


@pytest.mark.parametrize(
    ("x", "value", "slope"),
    [
        ([np.inf, 1, 0], np.inf, [1, 0, 0]), ([np.inf, np.inf, 0], np.inf, [0.5, 0.5, 0]),
        ([-np.inf, 0, 0], np.log(2), [0, 0.5, 0.5]), ([-np.inf, -np.inf], -np.inf, [0, 0]),
        ([np.inf, -np.inf], np.inf, [1, 0]), ([np.nan, 1], np.nan, [np.nan, np.nan]),
    ],
)  # fmt: skip
def test_logsumexp_of_infinities(x, value, slope):
    t = leaf(x)
    y = tl.logsumexp(t)
    np.testing.assert_array_equal(y.data, value)
    np.testing.assert_allclose(grad(y, t).data, slope, rtol=1e-15)
    both = leaf([x, [0.0] * len(x)])
    np.testing.assert_allclose(grad(tl.logsumexp(both, 1).sum(), both).data[0], slope, rtol=1e-15)


def test_small_dtypes_are_computed_in_one_that_holds_them():
    x = np.array([1, 2, 3], np.uint8)
    np.testing.assert_allclose(tl.softmax(x), tl.softmax(x.astype(float)), rtol=1e-15)
    assert tl.softmax(np.zeros(70000, np.float16)).sum(dtype=float) == pytest.approx(1, rel=2e-3)
    assert tl.median(np.array([-100, 100], np.int8)) == 0
    assert np.array_equal(tl.dropout(x, 0.0, generator=rng), x)
    assert set(tl.dropout(np.ones(99, int), 0.2, generator=rng)) == {0, 1.25}
    assert tl.mse_loss(x, x[::-1]) == pytest.approx(8 / 3)
    p = leaf(2.5)
    assert grad(np.power(np.uint8(3), p), p).item() == pytest.approx(3**2.5 * np.log(3), rel=1e-15)
    assert np.median(leaf([1.0, np.inf, np.inf, np.inf])).item() == np.inf


def test_padding_never_wins():
    """Also over pixels that are -inf, and where a window sees nothing else."""
    image = np.full((1, 3, 3), -np.inf)
    image[0, 2, 2] = 5
    x = leaf(image)
    y = tl.max_pool2d(x, 2, 2, 1)
    assert np.array_equal(y.data, [[[-np.inf, -np.inf], [-np.inf, 5]]])
    assert np.array_equal(grad(y, x, np.ones(y.shape)).data, [[[1, 1, 0], [1, 0, 0], [0, 0, 1]]])
    x = leaf([[[1.0, 2.0], [3.0, 4.0]]])
    y = tl.max_pool2d(x, 2, 1, 1, 3)
    assert y.item() == -np.inf
    assert not grad(y, x, np.ones(y.shape)).data.any()
    assert np.array_equal(
        tl.max_pool2d(np.arange(-16, 0).reshape(1, 4, 4), 2, 2, 1)[0, 0], [-16, -14, -13]
    )
    assert tl.max_pool2d(np.zeros((0, 3, 4, 4))).shape == (0, 3, 2, 2)
    assert tl.avg_pool2d(np.zeros((0, 3, 4, 4)), 2).shape == (0, 3, 2, 2)


# Second derivatives where a first one is settled by convention


def variance(n: int) -> np.ndarray:
    return 2 / n * (np.eye(n) - 1 / n)


@pytest.mark.parametrize(
    ("f", "x", "expected"),
    [
        (lambda x: tl.norm(x) ** 2, np.zeros(2), 2 * np.eye(2)),
        (lambda x: 3 * np.square(tl.norm(x - 1)), np.ones(2), 6 * np.eye(2)),
        (lambda x: tl.norm(x) ** 3, np.zeros(2), np.zeros((2, 2))),
        (lambda x: np.cosh(tl.norm(x)), np.zeros(2), np.eye(2)),
        (lambda x: (tl.norm(x, axis=1) ** 2).sum(), [[0.0, 0], [1, 2]], 2 * np.eye(4)),
        (lambda x: tl.norm(x[1:]) + tl.norm(x) ** 2, [0.0, 3], np.diag([2.0, 2])),
        (lambda x: x.std() ** 2, np.ones(3), variance(3)),
        (lambda x: x.std(ddof=1) ** 2, np.ones(3), variance(3) * 1.5),
        (lambda x: (abs(x) ** 2).sum(), [0.0, -1], 2 * np.eye(2)),
        (lambda x: (abs(x) ** 3).sum(), [0.0, -1], np.diag([0.0, 6])),
        (lambda x: tl.norm(x, 3) ** 3, [0.0, 0], np.zeros((2, 2))),
        (lambda x: (x ** np.array([0.0, 1, 2, 3])).sum(), np.zeros(4), np.diag([0.0, 0, 2, 0])),
        (lambda x: (x**2).sum() + (x**1).sum(), [0.0, 1], 2 * np.eye(2)),
        (lambda x: tl.norm(x) * tl.norm(x), [0.0, 0], 2 * np.eye(2)),
        (lambda x: (abs(x) * abs(x)).sum(), [0.0, 1], 2 * np.eye(2)),
        (lambda x: x.std() * x.std(), np.ones(3), variance(3)),
        (lambda x: abs(x * x).sum(), [0.0, 1], 2 * np.eye(2)),
        (lambda x: (abs(x**2) + abs(np.square(x))).sum(), [0.0, 1], 4 * np.eye(2)),
        (lambda x: abs(x**3).sum(), [0.0, 1], np.diag([0.0, 6])),
        (lambda x: tl.norm(x * x) ** 2, [0.0, 0], np.zeros((2, 2))),
        (lambda x: abs(tl.relu(x) - tl.relu(2 * x)).sum(), [-1.0, 2], np.zeros((2, 2))),
        # None where there is none
        (lambda x: tl.norm(x), np.zeros(2), np.full((2, 2), np.nan)),
        (lambda x: tl.norm(x) * x[0], np.zeros(2), np.full((2, 2), np.nan)),
        (lambda x: tl.norm(x, axis=1).sum(), [[0.0], [1]], [[np.nan, 0], [0, 0]]),
        (lambda x: x.std(), np.ones(2), np.full((2, 2), np.nan)),
        (lambda x: abs(x).sum(), [0.0, 1], [[np.nan, 0], [0, 0]]),
        (lambda x: (x * abs(x)).sum(), [0.0, 1], [[np.nan, 0], [0, 2]]),
        (lambda x: abs(np.exp(x) - 1).sum(), [0.0, 0], np.diag([np.nan, np.nan])),
        (lambda x: abs(x[0] * x[1]), [0.0, 0], np.full((2, 2), np.nan)),
        # nor a number where there is one that is not found
        (lambda x: (abs(abs(x)) ** 2).sum(), [0.0], [[np.nan]]),
        (lambda x: abs(np.cos(x) - 1).sum(), [0.0], [[np.nan]]),
        (lambda x: tl.norm(x * x), [0.0], [[np.nan]]),
        (lambda x: tl.norm(x) * tl.relu(tl.norm(x)), [0.0], [[np.nan]]),
        (lambda x: tl.norm(x * x, 1), [0.0], [[np.nan]]),
        (lambda x: tl.norm(x, 1), [0.0, 1], [[np.nan, 0], [0, 0]]),
        (lambda x: x[0] ** x[1], [0.0, 2], [[2, 0], [0, 0]]),
        (lambda x: x[0] ** x[1], [0.0, 1], [[0, np.nan], [np.nan, 0]]),
    ],
)  # fmt: skip
def test_second_derivatives_at_zero(f, x, expected):
    h = hessian(f, np.array(x)).numpy().reshape(np.shape(expected))
    np.testing.assert_allclose(h, expected, atol=1e-14)
    both = Tensor(np.array(x), requires_grad=True)  # the first derivative stays, recorded or not
    f(both).backward()
    np.testing.assert_array_equal(grad(f(both), both).data, both.grad)


def slope_of(f):
    return lambda x: tl.value_and_grad(f)(x)[1]


def norm_squared(x):
    return tl.norm(x) ** 2


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        # along a tangent
        (lambda: tl.jvp(slope_of(norm_squared), np.zeros(2), np.array([1.0, 2]))[1], [2.0, 4]),
        (
            lambda: tl.jvp(slope_of(lambda x: (abs(x) * abs(x)).sum()), np.array([0.0, 2]),
                           np.ones(2))[1],
            [2.0, 2],
        ),
        (lambda: tl.jvp(slope_of(lambda x: abs(x).sum()), np.zeros(1), np.ones(1))[1], [np.nan]),
        (lambda: tl.jvp(slope_of(lambda p: p[0] ** p[1]), np.array([0.0, 1]),
                        np.array([0.0, 1]))[1], [np.nan] * 2),
        # by something else
        (lambda: tl.jacobian(lambda c: hessian(lambda x: c * norm_squared(x), np.zeros(2)), 1.0),
         2 * np.eye(2)),
        (lambda: tl.jacobian(lambda c: hessian(lambda x: c * x.std() ** 2, np.ones(2)), 1.0),
         [[0.5, -0.5], [-0.5, 0.5]]),
        (lambda: tl.jacobian(
            lambda c: hessian(lambda x: np.cosh(c * tl.norm(x)), np.zeros(1)), 3.0
        ), [[6.0]]),
        (lambda: tl.jacobian(
            lambda c: hessian(lambda x: np.sqrt(norm_squared(x) + c), np.zeros(1)), 4.0
        ), [[-0.0625]]),
        # not found: right would be 0, and -inf
        (lambda: tl.jacobian(lambda x: hessian(lambda x: (abs(x) ** 2).sum(), x), np.zeros(1)),
         [[[np.nan]]]),
        (lambda: hessian(lambda x: tl.jacobian(lambda p: x**p, 2.0), 0.0), np.nan),
    ],
)  # fmt: skip
def test_further_derivatives_at_zero(f, expected):
    np.testing.assert_allclose(f().data, expected, atol=1e-14)


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("apart_by", [0, 1e-17, 1e-9, 1e-3, 1])
@pytest.mark.parametrize("scale", [1, 1e-100, 1e60])
def test_second_derivatives_of_a_determinant(n, apart_by, scale):
    """They are the determinants without two rows and two columns."""
    x = np.random.default_rng(n).normal(size=(n, n))
    x[0] = x[1] + apart_by * x[0]
    h, minors = hessian(np.linalg.det, x * scale).numpy(), np.zeros((n,) * 4)
    for i, j, k, m in np.ndindex(minors.shape):
        if i != k and j != m:
            sign = (-1) ** (i + j + k + m) * (1 if (i < k) == (j < m) else -1)
            minors[i, j, k, m] = sign * np.linalg.det(
                np.delete(np.delete(x * scale, (i, k), 0), (j, m), 1)
            )
    np.testing.assert_allclose(h, minors, rtol=0, atol=1e-10 * np.abs(minors).max())


@pytest.mark.parametrize(
    "x",
    [
        [1e-160, 1e-160, 2.0],
        [1e-12, 1, 3],
        [0.0, 0, 3],
        [1e-300, 1e200, 1e-200],
        [1e200, 1e100, 0.5],
    ],
)
def test_second_derivatives_of_products(x):
    (a, b, c), x = x, np.array(x)
    rest = np.array([[0, c, b], [c, 0, a], [b, a, 0]])
    np.testing.assert_allclose(hessian(np.prod, x).numpy(), rest, rtol=1e-14)
    np.testing.assert_allclose(hessian(lambda x: np.cumprod(x)[-1], x).numpy(), rest, rtol=1e-14)
