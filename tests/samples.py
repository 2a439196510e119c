"""Samples of every op of the package: each is tried against every law of tinygrad_lite.testing.

The values stay away from kinks and ties, where there is no derivative to compare with;
test_ops.py says what happens there.
"""

import numpy as np

from tinygrad_lite.testing import Sample, sample

rng = np.random.default_rng(7)


def wave(*shape: int) -> np.ndarray:
    """Numbers that are not drawn, so that those drawn elsewhere stay what they are."""
    return 2 * np.cos(1.7 * np.arange(np.prod(shape)) + 0.3).reshape(shape)


def normal(*shape: int) -> np.ndarray:
    return rng.standard_normal(shape)


def positive(*shape: int) -> np.ndarray:
    return rng.uniform(0.3, 2, shape)


def inside(*shape: int) -> np.ndarray:
    """Between -1 and 1."""
    return rng.uniform(-0.9, 0.9, shape)


def whole(*shape: int) -> np.ndarray:
    """Integers that are not 0."""
    return rng.integers(1, 9, shape)


def apart(*shape: int) -> np.ndarray:
    """Different numbers, far enough apart for finite differences, and none near an integer."""
    return rng.permutation(np.prod(shape, dtype=int)).reshape(shape) / 2.0 - 1.3


ONE = [sample(normal(2, 3)), sample(normal())]
ONE_POSITIVE = [sample(positive(2, 3)), sample(positive())]
TWO = [
    sample(normal(2, 3), normal(2, 3)),
    sample(normal(), normal()),
    sample(normal(2, 1), normal(3)),
]
COMPARED = [sample(apart(2, 3), apart(2, 3) + 0.1), sample(1.0, 1.0), sample(whole(3), whole(2, 1))]
LOGICAL = [sample(np.array([True, False]), np.array([[True], [False]])), sample(normal(2), 0.0)]
BITS = [sample(np.array([True, False]), np.array([[True], [False]])), sample(whole(3), whole(3))]
REDUCED = [
    sample(apart(2, 3)),
    sample(apart(2, 3), axis=0),
    sample(apart(2, 3), axis=-1, keepdims=True),
    sample(apart(2, 3, 2), axis=(0, -1)),
    sample(apart(2, 3), axis=()),
    sample(0.7),
]
IMAGE, KERNEL = normal(2, 4, 5, 6), normal(6, 2, 2, 3)
SQUARE = normal(3, 3)
SYMMETRIC = np.array([[2.0, 0.5, -0.3], [0.5, -1.0, 0.8], [-0.3, 0.8, 5.0]])
TALL = np.array([[1.0, 0.4, -0.7], [0.3, 2.1, 0.2], [-0.5, 0.8, 3.2], [0.9, -0.6, 0.5]])
PLAIN = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
STRIDED = {"stride": 2, "padding": 1, "dilation": 1, "groups": 2}

SAMPLES: dict[str, list[Sample]] = {
    "add": TWO,
    "subtract": TWO,
    "multiply": TWO,
    "divide": [
        sample(normal(2, 3), positive(3)),
        sample(normal(), positive()),
        sample(whole(2), 4.0),
    ],
    "floor_divide": [
        sample(apart(2, 3), 2.0),
        sample(7.5, positive(2)),
        sample(whole(3), whole(3)),
    ],
    "remainder": [sample(apart(2, 3), 0.83), sample(7.5, np.array([0.9, -0.7]))],
    "power": [
        sample(positive(2, 3), normal(3)),
        sample(normal(3), whole(2, 3)),
        sample(normal(4), np.array([0, 1, 2, -1])),
        sample(0.5, normal(2)),
        sample(positive(2), np.zeros(2)),
    ],
    "negative": ONE,
    "exp": ONE,
    "log": ONE_POSITIVE,
    "sqrt": ONE_POSITIVE,
    "tanh": ONE,
    "sigmoid": [*ONE, sample([-700.0, 700.0])],
    "relu": ONE,
    "heaviside": [*ONE, sample(normal(3), h0=0.0)],
    "sign": ONE,
    "abs": ONE,
    "times_direction": [sample(normal(2, 3), normal(3), positive(2, 1), np.zeros((2, 1)))],
    "maximum": [sample(apart(2, 3), apart(3) + 0.1), sample(normal(), normal())],
    "minimum": [sample(apart(2, 3), apart(3) + 0.1), sample(normal(), normal())],
    "where": [
        sample(np.array([True, False, True]), normal(2, 3), normal(3)),
        sample(np.array([[True], [False]]), 1.0, normal(3)),
        sample(np.array(True), normal(), normal()),
    ],
    "astype": [*ONE, sample(normal(3), dtype=np.int64), sample(whole(3), dtype=float)],
    "equal": COMPARED,
    "not_equal": COMPARED,
    "less": COMPARED,
    "less_equal": COMPARED,
    "greater": COMPARED,
    "greater_equal": COMPARED,
    "logical_and": LOGICAL,
    "logical_or": LOGICAL,
    "bitwise_and": BITS,
    "bitwise_or": BITS,
    "bitwise_xor": BITS,
    "left_shift": BITS[1:],
    "right_shift": BITS[1:],
    "invert": [sample(np.array([True, False])), sample(whole(3)), sample(np.array(True))],
    "reshape": [
        sample(normal(2, 3), shape=(3, 2)),
        sample(normal(2, 3), shape=-1),
        sample(normal(4), shape=(2, -1)),
        sample(normal(), shape=(1, 1)),
        sample(normal(0, 3), shape=(3, 0)),
    ],
    "transpose": [
        sample(normal(2, 3)),
        sample(normal(2, 3, 4), axes=(1, 2, 0)),
        sample(normal(2, 3, 4), axes=(-1, 0, -2)),
        sample(normal(3)),
        sample(normal()),
    ],
    "broadcast_to": [
        sample(normal(3), shape=(2, 3)),
        sample(normal(2, 1), shape=(4, 2, 3)),
        sample(normal(), shape=(2, 2)),
        sample(normal(1, 3), shape=(0, 3)),
    ],
    "getitem": [
        sample(normal(4), index=-1),
        sample(normal(4, 3), index=(slice(None, None, -2), 1)),
        sample(normal(4, 3), index=(Ellipsis, None, 2)),
        sample(normal(4, 3), index=[0, 2, 2, -4]),
        sample(normal(4, 3), index=([0, 1, 1], [2, 0, 0])),
        sample(normal(4, 3), index=(np.array([[0, 3], [3, 3]]), slice(1, None))),
        sample(normal(2, 2), index=np.array([[True, False], [True, True]])),
        sample(normal(4, 3), index=(slice(None), np.array([True, False, True]))),
        sample(normal(3), index=slice(0, 0)),
        sample(normal(), index=()),
        sample(normal(), index=None),
        sample(normal(3), index=True),
    ],
    "index_add": [
        sample(normal(2), index=slice(1, 3), shape=(4,)),
        sample(normal(3), index=[0, 2, 0], shape=(4,)),
        sample(normal(2, 2), index=(slice(None), [1, 1]), shape=(2, 3)),
    ],
    "index_set": [
        sample(normal(4), normal(2), index=slice(1, 3)),
        sample(normal(4), normal(3), index=[0, 2, 0]),
        sample(normal(2, 3), normal(), index=(slice(None), [1, 1])),
        sample(normal(2, 2), normal(), index=np.array([[True, False], [True, True]])),
    ],
    "concatenate": [
        sample(normal(2, 3), normal(1, 3)),
        sample(normal(2, 3), normal(2), axis=None),
        sample(normal(2, 3), normal(2, 1), normal(2, 0), axis=-1),
        sample(normal(2)),
    ],
    "stack": [
        sample(normal(2, 3), normal(2, 3)),
        sample(normal(2, 3), normal(2, 3), axis=1),
        sample(normal(2), normal(2), normal(2), axis=-1),
        sample(normal(), normal()),
    ],
    "pad": [
        sample(normal(2, 3), pad_width=1),
        sample(normal(2, 3), pad_width=(1, 2)),
        sample(normal(2, 3), pad_width=((1, 0), (0, 2))),
        sample(normal(3), pad_width=0),
        sample(normal(2, 3), pad_width=1, constant_values=7.0),
        sample(normal(2, 3), pad_width=((1, 0), (0, 2)), mode="reflect"),
        sample(normal(2, 3), pad_width=2, mode="edge"),
        sample(normal(2, 3), pad_width={-1: (1, 2)}),
        sample(normal(2, 3), pad_width=(0, 4), mode="wrap"),
    ],
    "sum": [*REDUCED, sample(normal(0, 3), axis=0)],
    "mean": REDUCED,
    "max": REDUCED,
    "min": REDUCED,
    "matmul": [
        sample(normal(2, 3), normal(3, 4)),
        sample(normal(3), normal(3)),
        sample(normal(2, 3), normal(3)),
        sample(normal(3), normal(3, 2)),
        sample(normal(2, 2, 3), normal(2, 3, 2)),
        sample(normal(2, 3), normal(4, 3, 2)),
        sample(normal(2, 1, 2, 3), normal(3, 3, 1)),
        sample(normal(3), normal(2, 3, 2)),
        sample(normal(2, 2, 3), normal(3)),
        sample(normal(2, 0), normal(0, 3)),
    ],
    "conv2d": [
        sample(IMAGE[:1, :2], KERNEL[:2], normal(2)),
        sample(IMAGE[:1, :2], KERNEL[:1], None),
        sample(IMAGE[:1, :2], KERNEL[:2], normal(2), stride=2, padding=1),
        sample(IMAGE[:, :2], KERNEL[:1], None, stride=(2, 1), padding=(0, 2), dilation=(1, 2)),
        sample(IMAGE[:1], KERNEL[:4], normal(4), groups=2, stride=(1, 2)),
        sample(IMAGE[:, :2], KERNEL[:2], normal(2), stride=(3, 1), padding=1),
        sample(normal(1, 1, 3, 3), normal(1, 1, 3, 3), normal(1)),
    ],
    "conv2d_image": [
        sample(normal(1, 2, 2, 2), normal(2, 1, 2, 2), size=(3, 3), **PLAIN),
        sample(normal(1, 2, 2, 2), normal(2, 1, 2, 2), size=(3, 3), **STRIDED),
    ],
    "conv2d_kernel": [
        sample(normal(1, 1, 3, 3), normal(1, 2, 2, 2), size=(2, 2), **PLAIN),
        sample(normal(1, 2, 3, 3), normal(1, 2, 2, 2), size=(2, 2), **STRIDED),
    ],
    # special.py
    "positive": ONE,
    "square": ONE,
    "reciprocal": ONE_POSITIVE,
    "cbrt": ONE_POSITIVE,
    "exp2": ONE,
    "expm1": ONE,
    "log2": ONE_POSITIVE,
    "log10": ONE_POSITIVE,
    "log1p": ONE_POSITIVE,
    "hypot": TWO,
    "cos": ONE,
    "sin": ONE,
    "tan": [sample(inside(2, 3)), sample(inside())],
    "arcsin": [sample(inside(2, 3)), sample(inside())],
    "arccos": [sample(inside(2, 3)), sample(inside())],
    "arctan": ONE,
    "arctan2": TWO,
    "degrees": ONE,
    "radians": ONE,
    "cosh": ONE,
    "sinh": ONE,
    "arcsinh": ONE,
    "arccosh": [sample(positive(2, 3) + 1), sample(1.5)],
    "arctanh": [sample(inside(2, 3)), sample(inside())],
    "floor": [sample(apart(2, 3)), sample(0.7)],
    "ceil": [sample(apart(2, 3)), sample(0.7)],
    "trunc": [sample(apart(2, 3)), sample(0.7)],
    "rint": [sample(apart(2, 3)), sample(0.7)],
    "round": [sample(apart(2, 3)), sample(apart(2, 3), decimals=1), sample(0.7)],
    "logical_not": [sample(np.array([True, False])), sample(normal(2)), sample(0.0)],
    "logical_xor": LOGICAL,
    "logaddexp": TWO,
    "logaddexp2": TWO,
    "float_power": [sample(positive(2, 3), normal(3)), sample(normal(3), whole(3))],
    "fmod": [sample(apart(2, 3), 0.83), sample(-7.5, np.array([0.9, 0.7]))],
    "copysign": [sample(normal(2, 3), normal(3)), sample(normal(), -1.0)],
    "fmax": [sample(apart(2, 3), apart(3) + 0.1), sample(normal(), normal())],
    "fmin": [sample(apart(2, 3), apart(3) + 0.1), sample(normal(), normal())],
    "clip": [sample(apart(2, 3), -0.5, 0.9), sample(apart(2, 3), apart(3) - 0.7, 2.0)],
    "erf": ONE,
    "erfc": ONE,
    "slope_of_sinc": [
        sample([-9.3, -1.4, -0.3, 1e-5, 0.0, 0.7, 2.2]),
        sample([-1.4, 0.0, 0.7, 3.1], order=1),
        sample(0.4, order=5),
    ],
    # arrange.py
    "flip": [sample(normal(2, 3)), sample(normal(2, 3), axis=-1)],
    "roll": [sample(normal(2, 3), shift=2), sample(normal(2, 3), shift=-1, axis=1)],
    "rot90": [sample(normal(2, 3)), sample(normal(2, 3), k=-1)],
    "repeat": [sample(normal(2, 3), repeats=2), sample(normal(2, 2), repeats=[0, 3], axis=-1)],
    "tile": [
        sample(normal(2, 3), reps=2),
        sample(normal(3), reps=(2, 2)),
        sample(normal(), reps=3),
    ],
    "take": [
        sample(normal(2, 3), indices=[0, 5, 5]),
        sample(normal(2, 3), indices=np.array([[1, 1], [0, -1]]), axis=1),
        sample(normal(3), indices=7, mode="wrap"),
    ],
    "take_along_axis": [
        sample(normal(2, 3), indices=np.array([[0, 2], [1, 1]]), axis=1),
        sample(normal(4), indices=np.array([3, 3, 0]), axis=0),
    ],
    "diagonal": [sample(normal(2, 3)), sample(normal(2, 3, 3), offset=1, axis1=-1, axis2=1)],
    "tril": [sample(normal(3, 3)), sample(normal(2, 3), k=1)],
    "triu": [sample(normal(3, 3)), sample(normal(2, 2, 3), k=-1)],
    # linalg.py
    "inv": [sample(normal(3, 3) + 3 * np.eye(3)), sample(normal(2, 2, 2) + 3 * np.eye(2))],
    "solve": [
        sample(normal(3, 3) + 3 * np.eye(3), normal(3)),
        sample(normal(2, 2) + 3 * np.eye(2), normal(2, 3)),
        sample(normal(2, 2) + 3 * np.eye(2), normal(3, 2, 1)),
    ],
    "det": [sample(normal(3, 3)), sample(normal(2, 2, 2))],
    "logabsdet": [sample(normal(3, 3) + 2 * np.eye(3)), sample(normal(2, 2, 2) + 3 * np.eye(2))],
    "cholesky": [sample(SQUARE @ SQUARE.T + np.eye(3)), sample(np.array([[4.0]]))],
    # decompositions.py
    "eigenvalues": [sample(SYMMETRIC), sample(np.array([SYMMETRIC[:2, :2], [[1, 2], [2, 9.0]]]))],
    "eigenvectors": [sample(SYMMETRIC), sample(np.array([SYMMETRIC[:2, :2], [[1, 2], [2, 9.0]]]))],
    "singular_values": [sample(TALL), sample(TALL.T), sample(np.array([TALL, TALL[::-1]]))],
    "singular_vectors": [sample(TALL), sample(TALL.T), sample(TALL[:3]), sample(TALL[None])],
    "orthonormal": [sample(TALL), sample(TALL[:, :2]), sample(np.array([TALL, TALL[::-1]]))],
    "pinv": [sample(TALL), sample(TALL.T), sample(TALL[None, :3]), sample(TALL, rcond=1e-8)],
    # norms.py
    "vector_norm": [
        sample(normal(2, 3)),
        sample(normal(2, 3), axis=1, keepdims=True),
        sample(normal(2, 3), axis=0, ord=1),
        sample(normal(2, 3), axis=-1, ord=3),
        sample(apart(2, 3), axis=0, ord=np.inf),
        sample(apart(2, 3), ord=0),
    ],
    # fourier.py
    "dft": [
        sample(wave(2, 5)),
        sample(wave(2, 4), inverse=True),
        sample(wave(2, 3, 2)),
        sample(wave(2, 1), inverse=True),
    ],
    # grids.py
    "segment": [
        sample([-2.0, 0.3, 0.9, 7.0], np.array([-1.0, 0.5, 1, 4])),
        sample([0.5, 0.9], np.array([-1.0, 0.5, 0.5, 4]), side="left"),
    ],
    # products.py
    "sum_of_products": [
        sample(normal(2, 3), normal(3, 2), subscripts="ij,jk->ik"),
        sample(normal(2, 3), subscripts="ij->j"),
        sample(normal(2, 3), normal(3), normal(2), subscripts="ij,j,i->"),
    ],
    # statistics.py
    "prod": [*REDUCED, sample(np.array([2.0, 0.0, 3.0]))],
    "var": [*REDUCED[:4], sample(normal(2, 3), axis=1, ddof=1)],
    "std": [*REDUCED[:4], sample(normal(2, 3), axis=1, ddof=1)],
    "cumsum": [sample(normal(2, 3)), sample(normal(2, 3), axis=-1), sample(normal(3), axis=0)],
    "cumprod": [sample(normal(2, 3)), sample(normal(2, 3), axis=-1), sample(normal(3), axis=0)],
    "sort": [sample(apart(2, 3)), sample(apart(2, 3), axis=0), sample(apart(2, 3), axis=None)],
    "logsumexp": REDUCED[:4],
    "softmax": [sample(normal(2, 3), axis=-1), sample(normal(2, 3), axis=0)],
    "log_softmax": [sample(normal(2, 3), axis=-1), sample(normal(2, 3), axis=0)],
    # nn.py
    "leaky_relu": [*ONE, sample(normal(3), negative_slope=0.2)],
    "elu": [*ONE, sample(normal(3), alpha=0.5)],
    "gelu": ONE,
    "silu": ONE,
    "softplus": [*ONE, sample(normal(3), beta=2.0), sample([-800.0, 800.0])],
    "max_pool2d": [
        sample(apart(1, 2, 4, 4), kernel_size=2),
        sample(apart(1, 1, 4, 5), kernel_size=(2, 3), stride=(2, 1), padding=1),
        sample(-apart(1, 4, 4), kernel_size=2, padding=1, dilation=3),
    ],
}
