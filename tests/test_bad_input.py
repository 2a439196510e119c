"""What is refused: the right type of error, and one sentence with what to do."""

from typing import Any

import numpy as np
import pytest

import tinygrad_lite as tl
from tinygrad_lite import Tensor, grad, no_grad, op, scope

X = Tensor([1.0, 2.0, 3.0], requires_grad=True, name="x")
W = Tensor(np.ones((2, 4)), requires_grad=True, name="W")
IMAGE = Tensor(np.ones((1, 3, 5, 5)), name="image")
KERNEL = Tensor(np.ones((2, 3, 3, 3)), requires_grad=True, name="kernel")


@op
def ruleless(x, y):
    return x * y


@op(sequence=True)
def ruleless_list(xs):
    return xs[0] + xs[1]


@op
def wrong_shape(x):
    return x.sum()


wrong_shape.vjp(lambda g, out, x: g)


@op
def complex_result(x):
    return x * 1j


BAD = {
    # data
    "ragged": (
        lambda: Tensor([[1], [1, 2]]), TypeError,
        "a Tensor holds a rectangular array of real numbers, but the data is not one: its rows "
        "differ in length",
    ),
    "object": (lambda: Tensor([None]), TypeError, "dtype object; convert it first"),
    "set": (lambda: Tensor({1, 2}), TypeError, "but the data has dtype object"),
    "generator": (lambda: Tensor(i for i in [1]), TypeError, "but the data has dtype object"),
    "string": (lambda: Tensor("1"), TypeError, "but the data has dtype <U1; convert it first"),
    "date": (lambda: Tensor(np.datetime64("2020")), TypeError, "dtype datetime64"),
    "complex": (lambda: Tensor([1j]), TypeError, "dtype complex128; take .real or .imag first"),
    "complex as float": (
        lambda: Tensor(np.array([1j]), dtype=float), TypeError, "take .real or .imag first",
    ),
    "masked": (
        lambda: Tensor(np.ma.array([1.0, 2.0], mask=[0, 1])), TypeError,
        "a Tensor cannot hold masked entries; use data.filled(value) first",
    ),
    "masked in a list": (
        lambda: Tensor([np.ma.array([1.0, 2.0], mask=[0, 1])]), TypeError, "masked entries",
    ),
    "a list of Tensors": (
        lambda: Tensor([[1.0, 2.0, 3.0], X]), TypeError,
        "a list that holds x (3,) cannot become one array without losing its gradient; use "
        "np.stack or tinygrad_lite.stack",
    ),
    "an operand with Tensors": (lambda: X * [X[0], 1, 2], TypeError, "use np.stack"),
    "complex operand": (lambda: X * 1j, TypeError, "take .real or .imag first"),
    "complex scalar operand": (
        lambda: X * np.complex64(1j), TypeError,
        "multiply gave what no Tensor can hold: a Tensor holds real numbers, but the data has "
        "dtype complex128",
    ),
    "complex result": (
        lambda: complex_result(X), TypeError, "complex_result gave what no Tensor can hold",
    ),
    "string operand": (lambda: X * "a", TypeError, "dtype <U1"),
    "integer that requires a gradient": (
        lambda: Tensor([1, 2], requires_grad=True, name="k"), TypeError,
        "only a floating dtype can require a gradient, but k (2,) has dtype int64; make it with "
        "dtype=float",
    ),
    "boolean that requires a gradient": (
        lambda: Tensor(True, requires_grad=True), TypeError, "has dtype bool; make it with",
    ),
    "name": (lambda: Tensor(1.0, name=3), TypeError, "a name is a string or None, but got int 3"),
    # changes
    "an element written to": (
        lambda: X.__setitem__(0, 1.0), TypeError,
        "a Tensor's values never change, so that recorded gradients stay right; make a new one",
    ),
    "requires_grad changed": (
        lambda: setattr(X, "requires_grad", False), TypeError,
        "requires_grad is fixed when a Tensor is made, so that recorded graphs stay right; make "
        "another, as Tensor(x, requires_grad=False)",
    ),
    "data of another shape": (
        lambda: setattr(X, "data", 1.0), ValueError,
        "new data for x (3,) must keep its shape, but has shape (); make a new Tensor instead",
    ),
    "data of another kind": (
        lambda: setattr(Tensor([1, 2]), "data", [0.5, 1]), TypeError,
        "must fit its dtype int64, but has dtype float64",
    ),
    "data of a computed tensor": (
        lambda: setattr(X * 2, "data", [1.0, 2, 3]), TypeError,
        "only a leaf can be given new data, but a float64 tensor of shape (3,) was computed by "
        "multiply; use .detach() to start a new leaf from its value",
    ),
    # backward and grad
    "backward without gradient": (
        lambda: Tensor(1.0, name="c").backward(), TypeError,
        "c () requires no gradient; make what it is computed from with requires_grad=True",
    ),
    "backward of what was computed in no_grad": (
        lambda: no_grad()(lambda: X.sum())().backward(), TypeError, "requires no gradient",
    ),
    "backward of a vector": (
        lambda: (X * 2).backward(), ValueError,
        "is not a scalar, so it has no one gradient; reduce it first, as in "
        "output.sum().backward(), or pass gradient= a cotangent of shape (3,)",
    ),
    "cotangent of the wrong shape": (
        lambda: X.backward([1.0, 2.0]), ValueError,
        "the gradient passed for x (3,) must have its shape, but has (2,)",
    ),
    "cotangent that would broadcast": (
        lambda: X.backward(1.0), ValueError, "must have its shape, but has ()",
    ),
    "complex cotangent": (
        lambda: X.backward([1j, 1, 1]), TypeError,
        "the gradient passed for x (3,): a Tensor holds real numbers, but the data has dtype "
        "complex128",
    ),
    "strings as cotangent": (lambda: grad(X, X, ["a", "b", "c"]), TypeError, "dtype <U1"),
    "grad of a function": (
        lambda: grad(lambda x: x, X), TypeError, "the output must be a Tensor, but is function",
    ),
    "grad by an array": (
        lambda: grad(X.sum(), np.ones(3)), TypeError,
        "the inputs of grad must be Tensors, but one is float64",
    ),
    "grad by a number": (lambda: grad(X.sum(), 1.0), TypeError, "but one is float"),
    "grad by a constant": (
        lambda: grad(X.sum(), Tensor(1.0, name="c")), TypeError,
        "c () requires no gradient, so none can be taken; make it with requires_grad=True",
    ),
    "strict grad of an independent output": (
        lambda: grad(X.sum(), W, strict=True), ValueError,
        "a float64 tensor of shape () does not depend on W (2, 4); leave out strict=True to get",
    ),
    "strict grad of a constant": (
        lambda: grad(Tensor(1.0), W, strict=True), ValueError, "does not depend on W (2, 4)",
    ),
    "no rule": (
        lambda: ruleless(X, X).sum().backward(), NotImplementedError,
        "ruleless has no rule for the gradient of its input x; write one:\n\n"
        "    @ruleless.vjp('x')\n    def _(g, out, x, y):\n",
    ),
    "no rule of a list": (
        lambda: grad(ruleless_list([X, X]).sum(), X), NotImplementedError,
        "ruleless_list has no rule for the gradient of its input xs; write one",
    ),
    "a rule of the wrong shape": (
        lambda: wrong_shape(X).backward(), ValueError,
        "a rule of wrong_shape returned a gradient of shape () for x (3,); it must return the "
        "shape of the input, or of what the input was broadcast to",
    ),
    # shapes and arguments
    "shapes that do not broadcast": (
        lambda: X + W, ValueError,
        "add: shapes are aligned from the right, and each pair of sizes must be equal or contain "
        "a 1; got x1 = x (3,), x2 = W (2, 4)",
    ),
    "array that does not broadcast": (
        lambda: np.ones(2) * X, ValueError, "got x1 = a float64 tensor of shape (2,), x2 = x (3,)",
    ),
    "where that does not broadcast": (
        lambda: tl.where(X > 0, W, 0.0), ValueError,
        "got condition = a bool tensor of shape (3,), x1 = W (2, 4), x2 of shape ()",
    ),
    "matmul": (
        lambda: W @ X, ValueError,
        "matmul: the last axis of x1 must match the last but one of x2 (its only one, if 1-D), and "
        "the axes before them must broadcast; got x1 = W (2, 4), x2 = x (3,)",
    ),
    "matmul of a scalar": (lambda: W @ Tensor(1.0), ValueError, "matmul: the last axis of x1 must"),
    "integer power": (
        lambda: Tensor([2]) ** -1, ValueError,
        "power: Integers to negative integer powers are not allowed; got x1 = an int64 tensor of "
        "shape (1,), x2 of shape ()",
    ),
    "concatenate": (
        lambda: tl.concatenate([X, W]), ValueError, "got arrays[0] = x (3,), arrays[1] = W (2, 4)",
    ),
    "concatenate nothing": (lambda: tl.concatenate([]), ValueError, "concatenate: need at least"),
    "stack": (lambda: tl.stack([X, X[:2]]), ValueError, "stack: all input arrays must"),
    "reshape": (
        lambda: X.reshape(2, 2), ValueError,
        "reshape: cannot reshape array of size 3 into shape (2,2); got x = x (3,)",
    ),
    "axis": (lambda: X.sum(axis=1), ValueError, "sum: axis 1 is out of bounds for array of"),
    "axes": (lambda: W.transpose(0, 0), ValueError, "transpose: repeated axis in transpose; got"),
    "index": (lambda: X[3], IndexError, "getitem: index 3 is out of bounds for axis 0 with size 3"),
    "float index": (lambda: X[1.0], IndexError, "getitem: only integers, slices"),
    "a gradient through an index": (
        lambda: X[X], TypeError,
        "getitem is not differentiable in index, so it must not be a Tensor that requires a "
        "gradient; pass index=tensor.data",
    ),
    "missing argument": (lambda: tl.add(X), TypeError, "add: missing a required argument: 'x2'"),
    "unknown argument": (
        lambda: tl.sum(X, axes=0), TypeError, "sum: got an unexpected keyword argument 'axes'",
    ),
    "argument given twice": (lambda: tl.sum(X, 0, axis=0), TypeError, "sum: multiple values for"),
    # conv2d
    "conv2d channels": (
        lambda: tl.conv2d(IMAGE[:, :2], KERNEL), ValueError, "conv2d: x has 2 channels",
    ),
    "conv2d kernel": (
        lambda: tl.conv2d(IMAGE[..., :2], KERNEL), ValueError, "is larger than the image (5, 2)",
    ),
    "conv2d kernel, padded and dilated": (
        lambda: tl.conv2d(IMAGE, KERNEL, padding=1, dilation=4), ValueError, "is larger than",
    ),
    "conv2d bias": (lambda: tl.conv2d(IMAGE, KERNEL, X), ValueError, "2 output channels"),
    "conv2d axes": (lambda: tl.conv2d(X, KERNEL), ValueError, "x must be 4-D"),
    "conv2d groups": (lambda: tl.conv2d(IMAGE, KERNEL, groups=2), ValueError, "groups = 2"),
    "conv2d stride": (
        lambda: tl.conv2d(IMAGE, KERNEL, stride=0), ValueError, "stride must be at least 1",
    ),
    # scopes and ops
    "scope": (lambda: scope(""), TypeError, "a scope's name is a non-empty string, but got ''"),
    "op of any number": (
        lambda: op(lambda *xs: xs[0]), TypeError,
        "the arguments must be named one by one; for any number of inputs take a list first, and "
        "say @op(sequence=True)",
    ),
    "rule of no input": (
        lambda: ruleless.vjp("z"), TypeError, "ruleless has no input 'z'; its inputs are x, y",
    ),
    "too many rules": (
        lambda: ruleless.vjp(*[lambda g: g] * 3), TypeError,
        "ruleless takes a rule for each of its inputs x, y, or the name of one, but got 3",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_is_refused_with_a_sentence(case: str):
    call, kind, said = BAD[case]
    with pytest.raises(kind) as caught:
        call()
    text = str(caught.value)
    assert caught.type is kind
    assert said in text
    assert ("\n" in text) == (kind is NotImplementedError)  # where it shows lines to write
    assert not text.endswith(".")


def test_grad_of_an_independent_output_is_zeros():
    for output in (X.sum(), Tensor(1.0), tl.heaviside(W).sum(), (W > 0).sum()):
        gradient = grad(output, W)
        np.testing.assert_array_equal(gradient.data, np.zeros((2, 4)))
    np.testing.assert_array_equal(grad(grad((X * 3.0).sum(), X).sum(), X).data, 0)  # linear


def test_a_refused_call_leaves_nothing_behind():
    before: Any = (X.data, X.grad)
    for call, kind, _ in BAD.values():
        with pytest.raises(kind):
            call()
    assert X.data is before[0]
    assert X.grad is before[1]
    assert (X * 2).requires_grad
