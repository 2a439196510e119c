"""The checker is checked: it passes right rules, and finds each kind of wrong one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_lite as tl
from tinygrad_lite import Tensor, blocked, check, op, sigmoid
from tinygrad_lite.checking import CheckError
from tinygrad_lite.testing import check_op, op_test, sample

rng = np.random.default_rng(0)
A, B, v = rng.standard_normal((3, 3)), rng.standard_normal((3, 3)), rng.standard_normal(3)


def made(forward: Callable[..., Any], *rules: Any) -> Any:
    f = op(forward)
    f.vjp(*rules)
    return f


def sine(rule: Any) -> Any:
    return made(lambda x: np.sin(x), rule)


def in_place(g: Any, out: Any, x: Any) -> Any:
    g *= tl.cos(x)
    return g


def in_place_on_x(g: Any, out: Any, x: Any) -> Any:
    x *= 2
    return g * x


MISTAKES = {
    # name: (an op with a wrong rule, its inputs, the input blamed, the order, what is said)
    "sign": (sine(lambda g, out, x: -g * tl.cos(x)), (v,), "x", 1, "the sign"),
    "factor": (
        made(lambda x: x * x, lambda g, out, x: g * x), (v,), "x", 1, "a constant factor of 0.5",
    ),
    "missing sum over a broadcast axis": (
        made(lambda x, b: x + b, lambda g, out, x, b: g, lambda g, out, x, b: g[0]),
        (A, v), "b", 1, "a missing sum over axis 0",
    ),
    "mean for a sum": (
        made(lambda x: x.mean(0), lambda g, out, x: tl.broadcast_to(g, x.shape)),
        (A,), "x", 1, "a constant factor of 3",
    ),
    "transposed factor": (
        made(lambda a, b: a @ b, lambda g, out, a, b: g @ b, lambda g, out, a, b: a.T @ g),
        (A, B), "a", 1, "b is transposed in the rule",
    ),
    "transposed factor, not square": (
        made(lambda a, b: a @ b, lambda g, out, a, b: g @ b.T, lambda g, out, a, b: g.T @ a),
        (A[:2], B[:, :2]), None, 1, "a factor is transposed, or a sum over an axis is missing",
    ),
    "forgotten keepdims": (
        made(lambda x: x.sum(1), lambda g, out, x: tl.broadcast_to(g, x.shape)),
        (A,), "x", 1, "an axis was reduced without keepdims",
    ),
    "forgotten chain factor": (
        sine(lambda g, out, x: g), (v,), "x", 1, "returns g as it is, without the chain rule's",
    ),
    "forgotten g": (sine(lambda g, out, x: tl.cos(x)), (v,), "x", 1, "forgets to multiply by g"),
    "swapped rules": (
        made(lambda x, y: x * y, lambda g, out, x, y: g * x, lambda g, out, x, y: g * y),
        (v, v + 1), "x", 1, "this is the gradient of y: the rules are swapped",
    ),
    "wrong at one element": (
        sine(lambda g, out, x: g * tl.cos(x) * np.array([1, 1.1, 1])),
        (v,), "x", 1, "only this element is wrong",
    ),
    "x in place of out": (
        made(lambda x: np.exp(x), lambda g, out, x: g * x), (v,), "x", 1, "none of the known ones",
    ),
    "zero": (sine(blocked), (v,), "x", 1, "the rule gives zero"),
    "leaves the recorded operations": (
        sine(lambda g, out, x: g * np.cos(np.asarray(x))), (v,), "x", 2, "np.asarray",
    ),
    "not linear in g": (
        sine(lambda g, out, x: g * g * tl.cos(x)), (v,), "x", 1, "not linear in g",
    ),
    "writes into g": (sine(in_place), (v,), None, 1, "writes into its input"),
    "writes into x": (
        made(lambda x: x * x, in_place_on_x), (v,), None, 1, "writes into its input",
    ),
    "float32": (
        sine(lambda g, out, x: tl.astype(tl.astype(g * tl.cos(x), np.float32))),
        (v,), "x", 1, "computes in float32",
    ),
    "infinite": (
        sine(lambda g, out, x: g * tl.cos(x) + np.inf), (v,), "x", 1, "an overflow",
    ),
    "other on Tensors": (
        sine(lambda g, out, x: g * tl.cos(x) * (1 if isinstance(x, Tensor) else 2)),
        (v,), "x", 1, "different things with Tensors and arrays",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_seeded_mistake_is_found_and_named(name: str):
    f, inputs, blamed, order, said = MISTAKES[name]
    with pytest.raises(CheckError) as caught:
        check(f, *inputs)
    error = caught.value
    assert said in error.mistake
    assert error.mistake in str(error)
    assert (error.input, error.order) == (blamed, order)
    if blamed is not None:
        x = inputs[list(f.inputs).index(blamed)]
        assert 0 <= np.ravel_multi_index(error.element, x.shape) < x.size
        assert error.expected != error.got


def test_the_element_and_both_numbers_are_named():
    wrong = sine(lambda g, out, x: g * tl.cos(x) * np.array([1, 1.1, 1]))
    with pytest.raises(CheckError, match=r"with respect to x\[1\] should be .* 1 of 3") as caught:
        check(wrong, v)
    assert caught.value.element == (1,)
    assert caught.value.got == pytest.approx(1.1 * caught.value.expected)


@pytest.mark.parametrize(
    ("f", "inputs"),
    [
        (sigmoid, (v,)),
        (lambda x: x.max(axis=1), (A,)),
        (lambda x, y: (x @ y).sum(), (A, B)),
        (lambda x: x**3, (v,)),
        (lambda x: 2 * x, (v,)),
        (lambda x: x * 0 + 1, (v,)),
        (lambda x: Tensor(1.0), (v,)),
        (lambda x: tl.heaviside(x), (0.5,)),
        (lambda x: tl.log(x), (np.float64(0.1),)),
        (lambda x: x[:0].sum(), (v,)),
    ],
)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_right_rules_pass(f: Any, inputs: Any, order: int):
    result = check(f, *inputs, order=order)
    assert result.error < 1e-6
    assert result.order == order
    assert str(result).startswith(f"{result.compared} derivatives up to order {order} agree")


def test_a_kink_is_called_a_kink():
    with pytest.raises(CheckError, match=r"x\[0\].* the function has a kink or a jump here"):
        check(tl.relu, [0.0, 1.0])


def test_a_large_result_leaves_room_for_its_rounding():
    check(lambda x: 1e6 + x * x, v)


@pytest.mark.parametrize("x", [np.float32(1), [1, 2]])
def test_inputs_must_be_float64(x: Any):
    with pytest.raises(TypeError, match="check needs float64 inputs"):
        check(sigmoid, x)


def test_the_function_must_return_a_tensor():
    with pytest.raises(TypeError, match="needs a function that returns a Tensor, not ndarray"):
        check(lambda x: x.data, v)


# The helper for ops of one's own


@op(symbol="sp", elementwise=True)
def my_softplus(x):
    """log(1 + e**x)."""
    return np.logaddexp(0, x)


@my_softplus.vjp
def _(g, out, x):
    return g * sigmoid(x)


test_my_softplus = op_test(
    my_softplus, sample([-1.0, 0.5]), sample(2.0), like=lambda x: np.log1p(np.exp(x))
)


@op
def wrong(x):
    return x * x


wrong.vjp(lambda g, out, x: g * x)


@op(linear=True, batched=True)
def untrue(x):
    return x * x


untrue.vjp(lambda g, out, x: g * 2 * x.sum() * 0 + 2 * g * x)


@op
def widens(x):
    return x.astype(float) * 1.0


widens.vjp(lambda g, out, x: g)


@pytest.mark.parametrize(
    ("bad", "law"), [(wrong, "derivatives"), (untrue, "linear_as_promised"), (widens, "float32")]
)
def test_an_op_that_breaks_a_law_is_told_which(bad: Any, law: str):
    with pytest.raises(AssertionError, match=f"{bad.name} at .*{law}: "):
        check_op(bad, sample([-1.0, 0.5]))


def test_another_value_than_that_of_like_is_found():
    with pytest.raises(AssertionError, match=r"my_softplus at \(2,\), value: the value is"):
        check_op(my_softplus, sample([0.0, 1.0]), like=np.exp)
