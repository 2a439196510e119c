"""The checker is checked: it passes right rules, and finds each kind of wrong one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from samples import SAMPLES

import tinygrad_lite as tl
from tinygrad_lite import Tensor, blocked, check, op, sigmoid
from tinygrad_lite.checking import CheckError
from tinygrad_lite.comparison import check_rule
from tinygrad_lite.operation import OPS, Op
from tinygrad_lite.testing import Call, check_op, op_test, sample

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


def as_it_lies(g: Any) -> Any:
    """What a rule gets that takes memory for the array."""
    if isinstance(g, Tensor) or not g.ndim or g.strides[-1] == g.itemsize:
        return g
    return np.full(g.shape, g.ravel()[0])


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
    "a factor that depends on an input": (
        made(lambda x: x * x * x, lambda g, out, x: g * 3 * x), (v,), "x", 1, "a factor x missing",
    ),
    "a factor of another input": (
        made(lambda x, y: x * y, lambda g, out, x, y: g, lambda g, out, x, y: g * x),
        (v, v + 1), "x", 1, "returns g as it is",
    ),
    "a factor of the result": (
        made(lambda x: np.exp(x), lambda g, out, x: g * out * out), (v,),
        "x", 1, "a factor the result too many",
    ),
    "a factor that depends on a scalar": (
        made(lambda x: x * x * x, lambda g, out, x: g * 3 * x), (np.array(-2.0),),
        "x", 1, "a factor x missing",
    ),
    "two inputs that are one": (
        made(
            lambda x, y: x * y,
            lambda g, out, x, y: g * y * (2 if x is y else 1),
            lambda g, out, x, y: g * x,
        ),
        (v, v + 1), "x", 1, "wrong where x and y are one value alone",
    ),
    "cotangents that are not contiguous": (
        made(lambda x: 2 * x, lambda g, out, x: 2 * as_it_lies(g)),
        (v,), "x", 1, "a cotangent that is not contiguous",
    ),
    "float32 inputs": (
        sine(lambda g, out, x: g * tl.cos(x) * (2 if x.dtype == np.float32 else 1)),
        (v,), "x", 1, "wrong in float32 alone",
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
        sine(lambda g, out, x: g * np.cos(getattr(x, "data", x))), (v,), "x", 2, ".data",
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


@pytest.mark.parametrize("points", [[0.5], [0.5, -2.0], [0.5, -2.0, 0.0]])
def test_the_wrong_elements_are_counted_in_the_whole_gradient(points):
    """Not in what one element of the result sends; at 0 both rules give 0."""
    cube = made(lambda x: x**3.0, lambda g, out, x: g * 2.0 * x**2.0)
    with pytest.raises(CheckError) as caught:
        check(cube, points)
    said = f"; it is wrong for 2 of {len(points)} elements of x; likely" if len(points) > 1 else ""
    assert said in str(caught.value)
    assert ("elements" in str(caught.value)) == (len(points) > 1)


def test_the_element_and_both_numbers_are_named():
    wrong = sine(lambda g, out, x: g * tl.cos(x) * np.array([1, 1.1, 1]))
    with pytest.raises(CheckError, match=r"with respect to x\[1\] should be .* 1 of 3") as caught:
        check(wrong, v)
    assert caught.value.element == (1,)
    assert caught.value.got == pytest.approx(1.1 * caught.value.expected)


def test_a_rule_that_turns_tensors_into_arrays_is_named():
    lost = sine(lambda g, out, x: g * np.cos(np.asarray(x)))
    with pytest.raises(CheckError, match=r"leaves the recorded operations .*write it with ops"):
        check(lost, v)


def test_what_is_printed_can_be_computed_again():
    cube = made(lambda x: x * x * x, lambda g, out, x: g * 2 * x)
    with pytest.raises(CheckError, match="the gradient of f with respect to x should be 12 by"):
        check(cube, -2.0)
    with pytest.raises(CheckError, match=r"of f\[1\] with respect to x\[1\] should be 27 .* is 6;"):
        check(cube, [0.0, 3.0, -2.0])
    twice = made(
        lambda x: x * x * x, lambda g, out, x: g * 3 * x * (x.data if isinstance(x, Tensor) else x)
    )
    with pytest.raises(
        CheckError, match=r"derivative of f\[1\] .* x\[1\] and x\[1\] should be 18 "
    ):
        check(twice, [0.1, 3.0])
    squared = sine(lambda g, out, x: g * g * tl.cos(x))  # right for g = 1
    with pytest.raises(CheckError, match=r"of f with gradient=2\.0403 with"):
        check(squared, 0.5)


def test_an_input_has_one_name():
    wrong = lambda *xs: made(
        lambda x, y: x + y, lambda g, out, x, y: g, lambda g, out, x, y: 2 * g
    )(*xs)
    with pytest.raises(CheckError, match=r"inputs\[1\]\[0\]") as caught:
        check(wrong, v, v)
    assert caught.value.input == "inputs[1]"
    with pytest.raises(TypeError, match=r"but inputs\[1\] has dtype int64"):
        check(wrong, v, [1, 2, 3])
    with pytest.raises(AssertionError, match=r"with respect to x\[0\] should be"):
        check_op(made(lambda x: x * 2, lambda g, out, x: g), sample([1.0, 2.0]))


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


def test_inputs_must_be_floating():
    with pytest.raises(TypeError, match=r"check needs float64 inputs.* but x has dtype int64"):
        check(sigmoid, [1, 2])


def test_the_function_must_return_a_tensor():
    with pytest.raises(TypeError, match="needs a function that returns a Tensor, not Data"):
        check(lambda x: x.data, v)


# No false alarm, and none missed


def sends(op: Any, inputs: Any, static: dict[str, Any], g: Any = None) -> list[Any]:
    """The checks of an op's rules, at these inputs."""
    inputs = [x if x is None else Tensor(x, x.dtype.kind == "f") for x in inputs]
    with np.errstate(all="ignore"):
        y = op(inputs, **static) if op.sequence else op(*inputs, **static)
        if not y.requires_grad:
            return []
        g = np.random.default_rng(1).standard_normal(y.shape) if g is None else g
        return [s.check for step in tl.steps(y, g, check=True).backward for s in step.sends]


def scaled(x: Any, k: int, dtype: Any) -> Any:
    """A floating input times 10**k, in the dtype, as far as that holds it."""
    if x is None or x.dtype.kind != "f":
        return x
    with np.errstate(all="ignore"):
        return (x.astype(np.longdouble) * np.longdouble(10) ** k).astype(dtype)


SMOOTH = (
    "tanh", "sigmoid", "exp", "sin", "cos", "erf", "erfc", "gelu", "silu", "softplus", "elu",
    "arctan", "expm1", "cosh", "sinh", "arcsinh", "square", "reciprocal", "cbrt", "exp2",
)  # fmt: skip


def of_order_1(case: Any) -> bool:
    return all(x is None or np.abs(x).max(initial=0) < 100 for x in case.inputs)


DTYPES = (np.float16, np.float32, np.float64, np.longdouble)
NO_HALVES = {  # np.linalg has neither of the ends
    "inv", "solve", "det", "logabsdet", "cholesky", "eigenvalues", "eigenvectors",
    "singular_values", "singular_vectors", "orthonormal", "pinv",
}  # fmt: skip


@pytest.mark.parametrize("every", [36, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", SAMPLES)
def test_no_right_rule_is_called_wrong_over_twelve_orders(name: str, every: int):
    """Each sample in each dtype, scaled by some of the powers of ten, so that all have their turn;
    at scale 1 all but one element in twenty is decided."""
    agree = undecided = 0
    for i, case in enumerate(SAMPLES[name]):
        for j, dtype in enumerate(DTYPES):
            if name in NO_HALVES and dtype not in (np.float32, np.float64):
                continue
            for k in range(-6, 7):
                if k and (i + j + k) % every:
                    continue
                inputs = [scaled(x, k, dtype) for x in case.inputs]
                for found in sends(OPS[name], inputs, case.static):
                    assert found.verdict != "disagrees", f"{dtype.__name__} 1e{k}: {found}"
                    if k == 0 and dtype in (np.float32, np.float64) and of_order_1(case):
                        agree, undecided = agree + found.agree, undecided + found.undecided
    assert undecided <= 0.05 * (agree + undecided)


SMALL = {
    f"{name}-{i}": call
    for name, cases in SAMPLES.items()
    for i, call in enumerate(Call(OPS[name], case) for case in cases)
    if call.differentiable and 0 < sum(call.inputs[i].size for i in call.wanted) <= 40
}


@pytest.mark.slow
@pytest.mark.parametrize("k", [-6, -3, 0, 3, 6])
@pytest.mark.parametrize("name", SMALL)
def test_no_second_derivative_is_called_wrong_over_twelve_orders(name: str, k: int):
    """`check` to order 2, in float64."""
    call = SMALL[name]
    with np.errstate(all="ignore"):
        check(call.of_floats, *(call.inputs[i] * 10.0**k for i in call.wanted))


SATURATED = {
    "softmax": tl.softmax,
    "softmax of softmax": lambda x: tl.softmax(tl.softmax(x)),
    "largest": lambda x: tl.softmax(x).max(axis=-1),
    "attention": lambda x: tl.softmax(x @ x.T) @ x,
}


@pytest.mark.parametrize(
    "x",
    [
        [[633.3526228249152, -2203.509880646651, 52.02897425988651, 683.6961907765344]],
        [[-7.24192564, 35.10766447, 5.75057443], [-29.36513974, 19.82246857, 71.48466099]],
        [[-3.20288231, -3.03008666, -3.21307434], [-12.13571745, 0.55776699, -6.68179278]],
        [[-100.50509835, -74.70058886, -43.41280288], [56.4970803, 143.08695868, -17.64162892]],
        [[-3.31909339, 17.78002901, -12.53312891], [16.48908742, -7.48811896, -11.08001691]],
    ],
)
@pytest.mark.parametrize("name", SATURATED)
def test_what_differences_cannot_see_is_no_mistake(name: str, x: Any):
    """1 - e**-50 and 1 are one number, so that a difference is 0 where a derivative is e**-50."""
    with np.errstate(all="ignore"):
        check(SATURATED[name], np.array(x))


def leaky(x: Any) -> Any:
    """x, with a derivative of 1.01."""
    return 1.01 * x - 0.01 * x.data if isinstance(x, Tensor) else x


QUICK = ("sin", "tanh", "exp", "softplus", "softmax", "log_softmax")
ALL = [*QUICK, *(pytest.param(x, marks=pytest.mark.slow) for x in SMOOTH if x not in QUICK)]


@pytest.mark.parametrize("name", ALL)
def test_a_second_derivative_that_is_wrong_by_1_percent_is_caught(name: str):
    right = OPS[name]
    rule: Any = right.rules[0]
    wrong = Op(lambda x: right.forward(x, **right.defaults), inputs=1)
    wrong.vjp(lambda g, out, x: rule(g, leaky(out), leaky(x), **right.defaults))
    for x in (0.3, -0.4, -1.7, -5.5):
        with pytest.raises(CheckError) as caught:
            check(wrong, [x, x / 2, -x / 3])
        assert caught.value.order == 2


@pytest.mark.parametrize("dtype", [pytest.param(np.float32, marks=pytest.mark.slow), np.float64])
@pytest.mark.parametrize("name", SMOOTH)
def test_an_error_of_1_percent_is_caught_or_undecided(name: str, dtype: Any):
    """Caught where abs(x f') >= 1000 eps abs(f), and nowhere said to be right."""
    right = OPS[name]
    wrong = Op(right.forward, inputs=1)
    rule: Any = right.rules[0]
    wrong.vjp(lambda g, out, x, **static: g * 1.01 * rule(1.0, out, x, **static))
    for x in (0.001, 0.3, 0.7, 1.0, 2.2, 4.0, 7.0, 12.0, 16.3, 18.0, -0.4, -1.7, -5.5, -14.0):
        at = np.asarray(x, dtype)
        wide = at.astype(np.longdouble)
        with np.errstate(all="ignore"):
            f = right.forward(wide, **right.defaults)
            slope = abs(wide * rule(1.0, f, wide, **right.defaults))
        (found,) = sends(wrong, [at], {}, dtype(1.3))
        if np.isfinite(f) and found.got:  # 1.01 * 0 is right
            if slope >= 1000 * np.finfo(dtype).eps * abs(f):
                assert found.verdict == "disagrees", (x, found)
            else:
                assert found.verdict != "agrees", (x, found)


@pytest.mark.parametrize("x", [17.5, 20.0, 50.0])
def test_a_slope_lost_in_rounding_is_undecided(x: float):
    (found,) = sends(tl.tanh, [np.array(x)], {})
    assert found.verdict == "undecided"
    assert "too small to tell from rounding" in str(found)


def test_the_stepper_prints_the_numbers_beside_it():
    cube = made(lambda x: x * x * x, lambda g, out, x: g * 3 * x)
    (found,) = sends(cube, [np.array([1.0, -2.0])], {}, np.array([10.0, 1.0]))
    assert (found.element, found.got, found.wrong, found.agree) == ((1,), -6, 1, 1)
    assert found.expected == pytest.approx(12)
    assert (
        str(found) == "disagrees at [1]: -6 ≠ 12 by finite difference: this rule is WRONG in 1 of 2"
    )


def test_the_stepper_sees_a_repeated_input_a_layout_and_a_dtype():
    verdicts = lambda y: [s.check.verdict for s in tl.steps(y, check=True).backward[-1].sends]
    x = Tensor(v, requires_grad=True)
    assert verdicts(MISTAKES["two inputs that are one"][0](x, x).sum()) == ["disagrees", "agrees"]
    a = Tensor(A, requires_grad=True)
    assert verdicts((MISTAKES["cotangents that are not contiguous"][0](a).T * B).sum()) == [
        "disagrees"
    ]
    narrow = Tensor(v.astype(np.float32), requires_grad=True)
    assert verdicts(MISTAKES["float32 inputs"][0](narrow).sum()) == ["disagrees"]


def test_one_wrong_element_of_many_is_found_by_bisection():
    a, b, g = (np.random.default_rng(k).standard_normal((60, 60)) for k in range(3))
    right = g @ b.T
    found = check_rule(tl.matmul, 0, (a, b), {}, g, right)
    assert found.verdict == "agrees"
    assert "of 39 of 3600 elements, and a random direction along them all" in str(found)
    wrong = right.copy()
    wrong[17, 23] *= 1.01
    found = check_rule(tl.matmul, 0, (a, b), {}, g, wrong)
    assert (found.verdict, found.element, found.wrong) == ("disagrees", (17, 23), 1)


def test_a_false_promise_to_be_elementwise_is_no_wrong_rule():
    total = op(lambda x: np.cumsum(x), elementwise=True)
    total.vjp(lambda g, out, x: tl.flip(tl.cumsum(tl.flip(g))))
    assert [found.verdict for found in sends(total, [v], {})] == ["agrees"]
    with pytest.raises(AssertionError, match="elementwise_as_promised"):
        check_op(total, sample(v))


@pytest.mark.parametrize("dtype", DTYPES)
def test_functions_of_any_dtype_pass(dtype: Any):
    x = (A * 3).astype(dtype)
    result = check(lambda x: tl.softmax(tl.tanh(x) @ x.T / 2).sum(axis=0), x)
    assert result.compared > 20 or dtype is np.float16


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
