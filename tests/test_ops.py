"""Every op of the package, held to every law, to NumPy and to PyTorch."""

from typing import Any

import numpy as np
import pytest
from conftest import require
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, basic_indices, integer_array_indices
from samples import SAMPLES

from tinygrad_lite import Tensor, conv2d, grad
from tinygrad_lite.operation import OPS, Op
from tinygrad_lite.testing import Call, Law, Sample, laws_of, same, samples_missing

PACKAGE = {op.name: op for op in OPS.values() if op.__module__.startswith("tinygrad_lite.ops.")}
CASES = [
    (f"{name}-{i}", PACKAGE[name], case)
    for name, cases in SAMPLES.items()
    if name in PACKAGE
    for i, case in enumerate(cases)
]


@pytest.mark.parametrize("op", PACKAGE.values(), ids=str)
def test_every_op_has_samples(op: Op):
    if op.name not in SAMPLES:
        pytest.fail(samples_missing(op, "tests/samples.py"), pytrace=False)


def test_every_sample_has_an_op():
    assert SAMPLES.keys() <= PACKAGE.keys()


def numpy_function(op: Op) -> Any:
    """NumPy's function of that name, called with our arguments."""
    special = {
        "getitem": lambda x, index: x[index],
        "astype": lambda x, dtype=float: x.astype(dtype),
        "heaviside": lambda x, h0=0.5: np.heaviside(x, h0),
        "concatenate": lambda *arrays, axis=0: np.concatenate(arrays, axis),
        "stack": lambda *arrays, axis=0: np.stack(arrays, axis),
    }
    return special.get(op.name) or getattr(np, op.name, None)


@pytest.mark.parametrize(
    ("law", "call"),
    [
        pytest.param(law, call, id=f"{name}-{law.__name__}")
        for name, op, case in CASES
        for law, call in laws_of(op, case, numpy_function(op))
    ],
)
def test_law(law: Law, call: Call):
    law(call)


def dims(axis: Any, x: Any) -> Any:
    """The axes that NumPy's `axis` means, as PyTorch wants them."""
    return tuple(range(x.ndim)) if axis is None else axis


# PyTorch's function of that name, called with our arguments.
PYTORCH: dict[str, Any] = {
    # NumPy says which elements an index names, PyTorch takes them.
    "getitem": lambda torch, x, index: x.flatten()[
        torch.tensor(np.arange(x.numel()).reshape(x.shape)[index].copy())
    ],
    "heaviside": lambda torch, x, h0=0.5: torch.heaviside(
        x.detach(), torch.tensor(h0, dtype=x.dtype)
    ),
    "transpose": lambda torch, x, axes=None: x.permute(axes or tuple(reversed(range(x.ndim)))),
    "sum": lambda torch, x, axis=None, keepdims=False: x.sum(dims(axis, x), keepdims),
    "mean": lambda torch, x, axis=None, keepdims=False: x.mean(dims(axis, x), keepdims),
    "max": lambda torch, x, axis=None, keepdims=False: x.amax(dims(axis, x), keepdims),
    "min": lambda torch, x, axis=None, keepdims=False: x.amin(dims(axis, x), keepdims),
    "reshape": lambda torch, x, shape: x.reshape(np.atleast_1d(shape).tolist()),
    "concatenate": lambda torch, *arrays, axis=0: (
        torch.cat([x.ravel() for x in arrays]) if axis is None else torch.cat(arrays, axis)
    ),
    "broadcast_to": lambda torch, x, shape: torch.broadcast_to(x, shape),
    "stack": lambda torch, *arrays, axis=0: torch.stack(arrays, axis),
    "conv2d": lambda torch, *args, **kwargs: torch.nn.functional.conv2d(*args, **kwargs),
    "power": lambda torch, *args: torch.pow(*args),
    "floor_divide": lambda torch, x1, x2: torch.floor_divide(x1.detach(), x2.detach()),
    **{
        name: lambda torch, *args, name=name, **kwargs: getattr(torch, name)(*args, **kwargs)
        for name in (
            "add", "subtract", "multiply", "divide", "remainder", "negative", "exp", "log", "sqrt",
            "tanh", "sigmoid", "sign", "abs", "maximum", "minimum", "where", "relu", "matmul",
        )
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("op", "case"),
    [
        pytest.param(op, case, id=name)
        for name, op, case in CASES
        if op.name in PYTORCH and case.static.get("axis") != ()  # no axis at all: not in PyTorch
    ],
)
def test_as_pytorch(op: Op, case: Sample):
    """Value, gradient and second derivative."""
    torch = require("torch")
    call = Call(op, case)
    tensors = call.tensors()
    torches = [
        None if t is None else torch.tensor(np.array(t.data), requires_grad=t.requires_grad)
        for t in tensors
    ]
    ours, other = call(*tensors), PYTORCH[op.name](torch, *torches, **case.static)
    same(ours.data, other.numpy(force=True), "the value", "PyTorch's")
    if not ours.requires_grad or not other.requires_grad:
        assert not np.any([g for g in call.run()[1] if g is not None and g.any()])
        return
    wanted = [tensors[i] for i in call.wanted]
    v = np.random.default_rng(1).standard_normal(ours.shape)
    first = grad(ours, wanted, v)
    torch_first = torch.autograd.grad(
        other, [torches[i] for i in call.wanted], torch.tensor(v), create_graph=True
    )
    for g, t in zip(first, torch_first, strict=True):
        same(g.data, t.numpy(force=True), "the gradient", "PyTorch's")
    if not any(t.requires_grad for t in torch_first):
        return
    torch_second = torch.autograd.grad(
        sum((t * t).sum() for t in torch_first),
        [torches[i] for i in call.wanted],
        allow_unused=True,
        materialize_grads=True,
    )
    second = grad(sum((g * g).sum() for g in first), wanted)
    for g, t in zip(second, torch_second, strict=True):
        same(g.data, t.numpy(force=True), "the second derivative", "PyTorch's")


def test_conv2d_of_any_geometry_as_pytorch():
    torch = require("torch")
    rng, tried = np.random.default_rng(0), 0
    while tried < 40:
        (n, g, h, w, kh, kw), (c, o) = rng.integers(1, [3, 3, 8, 8, 4, 4]), rng.integers(1, 3, 2)
        geometry = {
            "stride": tuple(rng.integers(1, 4, 2).tolist()),
            "padding": tuple(rng.integers(0, 3, 2).tolist()),
            "dilation": tuple(rng.integers(1, 3, 2).tolist()),
            "groups": int(g),
        }
        shapes = [(n, g * c, h, w), (g * o, c, kh, kw), (g * o,)]
        ours = [Tensor(rng.standard_normal(shape), requires_grad=True) for shape in shapes]
        reach = [d * (k - 1) for d, k in zip(geometry["dilation"], (kh, kw), strict=True)]
        if any(m + 2 * p <= r for m, p, r in zip((h, w), geometry["padding"], reach, strict=True)):
            with pytest.raises(ValueError, match="is larger than the image"):
                conv2d(*ours, **geometry)
            continue
        y = conv2d(*ours, **geometry)
        theirs = [torch.tensor(np.array(x.data), requires_grad=True) for x in ours]
        z = torch.nn.functional.conv2d(*theirs, **geometry)
        v = rng.standard_normal(y.shape)
        same(y.data, z.numpy(force=True), f"the value with {geometry}", "PyTorch's")
        y.backward(v)
        z.backward(torch.tensor(v))
        for x, t in zip(ours, theirs, strict=True):
            same(x.grad, t.grad.numpy(), f"a gradient with {geometry}", "PyTorch's")
        tried += 1


SHAPES = array_shapes(min_dims=1, max_dims=3, max_side=4)
INDICES = SHAPES.flatmap(
    lambda shape: st.tuples(
        st.just(shape),
        st.one_of(
            basic_indices(shape, allow_newaxis=True),
            integer_array_indices(shape, result_shape=array_shapes(max_dims=2, max_side=3)),
            arrays(bool, shape),
            arrays(bool, shape[:1]),
        ),
    )
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(INDICES)
def test_the_gradient_of_an_indexed_sum_counts_how_often_an_element_is_named(case: Any):
    shape, index = case
    x = Tensor(np.ones(shape), requires_grad=True)
    named = np.arange(x.size).reshape(shape)[index]
    x[index].sum().backward()
    count = np.bincount(np.ravel(named), minlength=x.size).reshape(shape)
    np.testing.assert_array_equal(x.grad, count)
