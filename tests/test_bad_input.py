"""What is refused: the right type of error, and one sentence with what to do."""

import pydoc
from typing import Any

import numpy as np
import pytest
from conftest import require

import tinygrad_lite as tl
from tinygrad_lite import Tensor, grad, no_grad, op, scope
from tinygrad_lite.tensor import ABSENT
from tinygrad_lite.testing import op_test

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
def writes(x):
    x[0] = 1.0
    return x


@op
def complex_result(x):
    return x * 1j


def backward_onto(grad):
    v = Tensor([1.0, 2.0, 3.0], requires_grad=True, name="v")
    v.grad = grad
    v.sum().backward()


AXIS_ERROR = np.exceptions.AxisError  # a ValueError and an IndexError, as NumPy's
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
    "an element of the data written to": (
        lambda: X.data.__setitem__(0, 1.0), ValueError,
        "a Tensor's data is read-only, so that recorded gradients stay right: change a copy, d = "
        "w.data.copy(), and give it to w, w.data = d",
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
        lambda: grad(lambda x: x, X), TypeError,
        "the output must be a Tensor, but is a function; for the gradient of a function use value",
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
    "axis": (lambda: X.sum(axis=1), AXIS_ERROR, "sum: axis 1 is out of bounds for array of"),
    "axes": (lambda: W.transpose(0, 0), ValueError, "transpose: repeated axis in transpose; got"),
    "axes of which some are not named": (
        lambda: Tensor(np.ones((2, 3, 4))).transpose(0, 1), ValueError,
        "transpose: axes must name every axis, each once; to swap two of them use swapaxes; got",
    ),
    "index": (lambda: X[3], IndexError, "getitem: index 3 is out of bounds for axis 0 with size 3"),
    "float index": (lambda: X[1.0], IndexError, "getitem: only integers, slices"),
    "a gradient through an index": (
        lambda: X[X], TypeError,
        "getitem is not differentiable in index, so it must not be a Tensor that requires a "
        "gradient; pass index=tensor.data",
    ),
    "missing argument": (lambda: tl.add(X), TypeError, "add: missing a required argument: 'x2'"),
    "unknown argument": (
        lambda: tl.sum(X, axes=0), TypeError,
        "sum: got an unexpected keyword argument 'axes'; it takes x, axis, keepdims",
    ),
    "argument given twice": (lambda: tl.sum(X, 0, axis=0), TypeError, "sum: multiple values for"),
    # as PyTorch has it
    "dim": (
        lambda: X.sum(dim=0), TypeError,
        "sum: got an unexpected keyword argument 'dim'; write axis=",
    ),
    "keepdim": (
        lambda: X.max(0, keepdim=True), TypeError,
        "max: got an unexpected keyword argument 'keepdim'; write keepdims=",
    ),
    "dim of an array": (
        lambda: tl.softmax(np.ones(3), dim=0), TypeError,
        "got an unexpected keyword argument 'dim'; write axis=",
    ),
    "dim of a function made of ops": (
        lambda: tl.quantile(X, 0.5, dim=0), TypeError,
        "quantile: got an unexpected keyword argument 'dim'; write axis=",
    ),
    "dim of a method that gives numbers": (
        lambda: X.argmax(dim=0), TypeError,
        "argmax: got an unexpected keyword argument 'dim'; write axis=",
    ),
    "dim where there is no axis": (
        lambda: tl.relu(X, dim=0), TypeError,
        "relu: got an unexpected keyword argument 'dim'; it takes x",
    ),
    "a method of the class": (lambda: Tensor.cuda, AttributeError, "a Tensor has no cuda; every"),
    "a function": (
        lambda: tl.cat([X, X]), AttributeError,
        "module 'tinygrad_lite' has no attribute 'cat'; use concatenate",
    ),
    "a function that NumPy has": (
        lambda: tl.zeros(3), AttributeError,
        "module 'tinygrad_lite' has no attribute 'zeros'; NumPy has one: np.zeros",
    ),
    "a function that nobody has": (
        lambda: tl.relo, AttributeError, "module 'tinygrad_lite' has no attribute 'relo'",
    ),
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
    "conv2d padding by a word": (
        lambda: tl.conv2d(IMAGE, KERNEL, padding="same"), TypeError,
        "conv2d: it cannot take padding = 'same' ('same' is neither an integer nor a pair of them "
        "for rows and columns; that is dilation * (kernel - 1) // 2); got x = image (1, 3, 5, 5)",
    ),
    "conv2d stride of half a pixel": (
        lambda: tl.conv2d(IMAGE, KERNEL, stride=(1.5, 1)), TypeError, "is neither an integer nor",
    ),
    "conv2d of three sizes": (
        lambda: tl.conv2d(IMAGE, KERNEL, padding=(1, 1, 1)), TypeError, "nor a pair of them",
    ),
    "conv2d of numbers": (
        lambda: tl.conv2d(3.0, 2.0), ValueError, "conv2d: x must be 4-D (N, C, H, W)",
    ),
    "conv2d of nothing": (
        lambda: tl.conv2d(IMAGE, None), TypeError, "w must be an array or a number, but is None",
    ),
    "conv2d biased by a number": (lambda: tl.conv2d(IMAGE, KERNEL, 3.0), ValueError, "2 output"),
    "conv1d of a matrix": (
        lambda: tl.conv1d(W, W), ValueError,
        "conv1d: x must be 3-D (N, C, L) and w 3-D (O, C / groups, K); got x = W (2, 4)",
    ),
    "conv1d of pairs": (
        lambda: tl.conv1d(W[None], W[None], stride=(1, 1)), TypeError,
        "conv1d: it cannot take stride = (1, 1) (an integer is needed for one axis)",
    ),
    "pooling without a size": (
        lambda: tl.max_pool2d(IMAGE, None), TypeError, "it cannot take kernel_size = None",
    ),
    # what is no array, and what is no option
    "plus None": (
        lambda: X + None, TypeError,
        "add: x2 must be an array or a number, but is None; got x1 = x (3,)",
    ),
    "None plus": (lambda: None + X, TypeError, "add: x1 must be an array or a number, but is"),
    "less than None": (lambda: X < None, TypeError, "less: x2 must be an array or a number"),
    "a function of None": (lambda: tl.relu(None), TypeError, "relu: x must be an array or a"),
    "softmax of None": (lambda: tl.softmax(None), TypeError, "softmax: x must be an array or"),
    "a product of None": (lambda: X @ None, TypeError, "matmul: x2 must be an array or a number"),
    "a product of a number": (lambda: X @ 2, ValueError, "got x1 = x (3,), x2 of shape ()"),
    "None in a list": (
        lambda: tl.concatenate([X, None]), TypeError, "concatenate: arrays[1] must be an array",
    ),
    "an axis by a word, of a method": (
        lambda: X.argmax("rows"), TypeError, "argmax: it cannot take axis = 'rows' (",
    ),
    "arrays without a list": (
        lambda: tl.stack(X, X), TypeError,
        "stack takes the arrays as one list, as in stack([x, y]), but got another array as axis",
    ),
    "arrays without a list, of a function made of ops": (
        lambda: tl.hstack(X, X), TypeError,
        "hstack: too many positional arguments; it takes arrays",
    ),
    "einsum of sizes that differ": (
        lambda: tl.einsum("i,i", X, W[0]), ValueError,
        "the axes that an index names must have one size; got arrays[0] = x (3,)",
    ),
    "no list": (
        lambda: tl.stack(None), TypeError, "stack takes a list of arrays first, but got None",
    ),
    "an axis by a word": (
        lambda: X.sum("rows"), TypeError,
        "sum: it cannot take axis = 'rows' ('str' object cannot be interpreted as an integer); got",
    ),
    "an axis by a word, of a function made of ops": (
        lambda: tl.expand_dims(X, "rows"), TypeError, "expand_dims: it cannot take axis = 'rows' (",
    ),
    "an axis out of range, of a function made of ops": (
        lambda: tl.expand_dims(X, 7), AXIS_ERROR, "expand_dims: axis 7 is out of bounds for",
    ),
    "an unknown argument of a function made of ops": (
        lambda: tl.quantile(X, 0.5, method="lower"), TypeError,
        "quantile: got an unexpected keyword argument 'method'",
    ),
    "bits of floating numbers": (
        lambda: X & 1, TypeError,
        "bitwise_and: it is not for these dtypes; convert one of them with .astype; got x1 = x",
    ),
    "a dtype of no name": (lambda: X.astype("real"), TypeError, "astype: it cannot take dtype ="),
    "an index by a word": (lambda: X["a"], IndexError, "getitem: only integers, slices"),
    "a function of scipy without an op": (
        lambda: require("scipy.special").gammaln(X), TypeError,
        "scipy.special.gammaln has no op here, so it would lose the gradient",
    ),
    "several numbers": (
        lambda: Tensor(1.0, 2.0), TypeError,
        "requires_grad is True or False, but got 2.0; several numbers are one list, as in",
    ),
    "no data": (lambda: Tensor(), TypeError, "Tensor.__init__() missing 1 required positional"),
    # functions to differentiate
    "gradient of no function": (
        lambda: tl.value_and_grad(X)(X), TypeError,
        "a function of Tensors is needed, but got Tensor; for the gradient of a Tensor use grad(y",
    ),
    "jacobian of no function": (lambda: tl.jacobian(3, X), TypeError, "but got int"),
    "aux forgotten": (
        lambda: tl.value_and_grad(lambda x: (x.sum(), x))(np.ones(2)), TypeError,
        "f must return a Tensor, but returned tuple; if it returns more than the value, say has_aux"
    ),
    "a pair from a function to pull back": (
        lambda: tl.vjp(lambda x: (x, x), X), TypeError, "f must return a Tensor, but returned tuple"
    ),
    "a word as cotangent": (lambda: X.sum().backward("x"), TypeError, "the gradient passed for"),
    "a .grad of another shape": (
        lambda: backward_onto(np.zeros((3, 1))), ValueError,
        "v (3,) was given a .grad of shape (3, 1); set it to None, or to one of its shape",
    ),
    # questions and files
    "graph of a number": (lambda: tl.graph(3), TypeError, "graph takes a Tensor, but got int"),
    "flow by a name of nothing": (
        lambda: tl.flow((X * X).sum(), "y"), ValueError,
        "no gradient travels to a value named 'y'; one does to ",
    ),
    "flow by a number": (
        lambda: tl.flow(X.sum(), 3), TypeError,
        "wrt must be a Tensor, or the name of one, but is of type int",
    ),
    "flow of a number": (
        lambda: tl.flow(3, "x"), TypeError, "the output must be a Tensor, but is of type int",
    ),
    "classes by an array": (
        lambda: tl.path_classes(X.sum(), X.data), TypeError, "but is of type Data",
    ),
    "paths up to a word": (
        lambda: tl.paths(X.sum(), X, limit="all"), TypeError, "limit must be an integer, but is",
    ),
    "classes up to a word": (
        lambda: tl.path_classes(X.sum(), X, keep="all"), TypeError, "keep must be an integer",
    ),
    "compare by a number": (
        lambda: tl.compare(X.sum(), X.sum(), 3), TypeError,
        "wrt must be a Tensor, or the name of one, but is of type int",
    ),
    "a step too far": (
        lambda: tl.steps(X.sum())[9], IndexError, "there are 2 steps, so no step [9]",
    ),
    "no file name": (
        lambda: tl.graph(X).save(3), TypeError, "the name of a file is a str or Path, but got int",
    ),
    # scopes and ops
    "op of a number": (lambda: op(3), TypeError, "3 is not a callable object"),
    "an option of no op": (
        lambda: op(sybmol="+")(lambda x: x), TypeError, "op has no option sybmol; it has symbol,",
    ),
    "a rule that does not take the result": (
        lambda: ruleless.vjp("x")(lambda g, x, y: g), TypeError,
        "a rule of ruleless takes (g, out, x, y), but this one takes (g, x, y)",
    ),
    "a rule that does not take an option": (
        lambda: op(lambda x, n=2: x**n).vjp(lambda g, out, x: g), TypeError,
        "a rule of <lambda> takes (g, out, x, n), but this one takes (g, out, x)",
    ),
    "a rule of a list that takes two": (
        lambda: ruleless_list.vjp(lambda g, out, x, y: g), TypeError,
        "a rule of ruleless_list takes (g, out, xs), but this one takes (g, out, x, y)",
    ),
    "an op that writes into its input": (
        lambda: writes(X), ValueError,
        "writes: its function would change an input (assignment destination is read-only); let it "
        "change a copy, np.array(x); got x = x (3,)",
    ),
    "a test without a sample": (
        lambda: op_test(tl.sigmoid, [1.0]), TypeError,
        "a test of an op takes the op and samples of its arguments, as in op_test(softplus",
    ),
    "more inputs than arguments": (
        lambda: op(inputs=2)(lambda x: x), TypeError, "inputs=2 of 1 arguments",
    ),
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
    assert np.array_equal(X.data, before[0])
    assert X.grad is before[1]
    assert (X * 2).requires_grad


def test_an_error_in_an_op_of_ones_own_says_where():
    """What its function cannot do with an argument is Python's own error, at its own line."""

    @op
    def mine(x):
        return x.no_such_method()

    for argument in (X, np.ones(3)):
        with pytest.raises(AttributeError) as caught:
            mine(argument)
        assert caught.traceback[-1].name == "mine"


def test_what_can_be_done_is_done():
    assert np.argwhere(Tensor([0.0, 1.0])).tolist() == [[1]]
    assert f"{Tensor([1.0, 0.25]):.2f}" == "[1.00 0.25]"
    assert grad(X.sum(), []) == ()
    assert tl.check(np.sin, X).compared


def ask(name: str) -> str:
    """What the error of an attribute that Tensors lack says."""
    with pytest.raises(AttributeError) as caught:
        getattr(X, name)
    return str(caught.value)


SQUARE = [[1.0, -2.0], [0.5, 4.0]]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("t.view(4, 1)", "t.reshape(4, 1)"),
        ("t.unsqueeze(0)", "expand_dims(t, axis)"),
        ("t.unsqueeze(0)", "t[None]"),
        ("t.permute(1, 0)", "t.transpose(1, 0)"),
        ("t.t()", "t.T"),
        ("t.expand(shape)", "broadcast_to(t, shape)"),
        ("t.dim()", "t.ndim"),
        ("t.numel()", "t.size"),
        ("t.mm(other)", "t @ other"),
        ("t.pow(other)", "t ** other"),
        ("t.mul(other)", "t * other"),
        ("t.sub(other)", "t - other"),
        ("t.div(other)", "t / other"),
        ("t.float()", "t.astype(dtype)"),
        ("t.masked_fill(mask, value)", "where(mask, value, t)"),
        ("t.clamp(0, 1)", "clip(t, 0, 1)"),
        ("t.argsort()", "np.argsort(t)"),
        ("t.softmax(0)", "softmax(t, 0)"),
    ],
)
def test_what_the_error_says_to_write_gives_what_pytorch_gives(theirs: str, ours: str):
    torch = require("torch")
    names = {"axis": 0, "shape": (3, 2, 2), "dtype": np.float32, "value": 7.0}
    them = {**names, "t": torch.tensor(SQUARE), "other": torch.tensor(SQUARE) + 3}
    us = {**vars(tl), **names, "np": np, "t": Tensor(SQUARE), "other": Tensor(SQUARE) + 3}
    for each in (us, them):
        each["mask"] = each["t"] > 0
    said = ask(theirs[2:].split("(")[0])
    assert ours in said or ours.split("(")[0] in said
    np.testing.assert_allclose(eval(ours, us), eval(theirs, them), rtol=1e-6)


def test_what_a_tensor_lacks_is_not_there():
    """Neither to hasattr nor to completion; help says what there is instead."""
    absent = {"view", "softmax", "cuda", "zero_", "requires_grad_"}
    for thing in (Tensor, X):
        assert not any(hasattr(thing, name) for name in absent)
        assert {"reshape", "T", "data"} <= set(dir(thing))
    assert absent.isdisjoint(dir(X))
    assert "Not here: use the function softmax." in pydoc.render_doc(Tensor)


def test_a_tensor_of_yours_may_have_what_ours_lacks():
    class Viewed(Tensor):
        def view(self) -> str:
            return "seen"

    assert Viewed(1.0).view() == "seen"
    assert "view" in dir(Viewed(1.0))
    assert "cuda" not in dir(Viewed(1.0))


def test_every_sentence_on_what_a_tensor_lacks_is_one_line():
    for name in ABSENT:
        if not hasattr(X, name):
            absent, cure = ask(name).split("; ")
            assert absent == f"a Tensor has no {name}"
            assert 5 < len(cure) < 90
