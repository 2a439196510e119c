"""Ops of one's own: what would give a wrong number in silence is an error, or right."""

from array import array

import numpy as np
import pytest

from tinygrad_lite import Tensor, grad, op, take
from tinygrad_lite.fast import apply


def leaf(values=(1.0, 2.0, 3.0)):
    return Tensor(values, requires_grad=True, name="x")


def square_with(rule):
    """An op that squares, with a rule to try."""

    @op
    def square(x):
        return x * x

    square.vjp(rule)
    return square


@pytest.mark.parametrize(
    ("result", "found"),
    [
        (lambda g, x: (g * 2 * x, g), "a tuple"),
        (lambda g, x: [g * 2 * x, g], "a list"),
        (lambda g, x: [2.0, 4.0, 6.0], "a list"),
        (lambda g, x: g * 2 * x * 1j, "complex128 numbers"),
        (lambda g, x: 1j, "a complex"),
        (lambda g, x: None, "a NoneType"),
        (lambda g, x: np.array(["a", "b", "c"]), "numbers"),
    ],
)
def test_a_rule_returns_one_array_of_real_numbers(result, found):
    square = square_with(lambda g, out, x: result(g, x))
    x = leaf()
    for gradient in (lambda: square(x).sum().backward(), lambda: grad(square(x).sum(), x).op):
        with pytest.raises(TypeError, match=f"square returned .*{found}.*one array|dtype complex"):
            gradient()
    assert x.grad is None


def test_a_second_unnamed_rule_is_refused():
    @op
    def times(a, b):
        return a * b

    @times.vjp
    def _(g, out, a, b):
        return g * b

    with pytest.raises(TypeError, match=r"has a rule for a already.*@times.vjp\('b'\)"):

        @times.vjp
        def _(g, out, a, b):
            return g * a

    times.vjp("b")(lambda g, out, a, b: g * a)
    x = leaf()
    times(x, x).sum().backward()
    assert x.grad.tolist() == [2, 4, 6]


@pytest.mark.parametrize("rule", [3, None, "z", ("x",)])
def test_a_rule_is_a_function(rule):
    square = square_with(lambda g, out, x: g * 2 * x)
    with pytest.raises(TypeError, match="square"):
        square.vjp(rule)


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda x: None, "returned NoneType"),
        (lambda x: Tensor(x), "returned Tensor"),
        (lambda x: x.view(np.matrix) if x.ndim else x, "np.matrix"),
        (lambda x: np.ma.masked_less(x, 2), "masked"),
        (lambda x: x * 1j, "complex"),
        (lambda x: np.array([object()]), "dtype object"),
        (lambda x: "text", "dtype <U4"),
    ],
)
def test_a_function_returns_an_array_of_real_numbers(forward, message):
    def odd(x):
        return forward(x)

    with pytest.raises(TypeError, match=f"odd.*{message}"):
        op(odd)(leaf([[1.0, 2.0]]))


@pytest.mark.parametrize("spoil", [lambda g: np.clip(g, -1, 1, out=g), lambda g: np.negative(g, g)])
def test_a_rule_cannot_write_into_its_cotangent(spoil):
    """Another input may be sent the same array."""

    @op
    def spoiled(x):
        return x * 1

    spoiled.vjp(lambda g, out, x: spoil(g))
    x, z = leaf(), leaf()
    with pytest.raises(ValueError, match="read-only"):
        ((spoiled(x * 1.0) + z * 1.0) * 5).sum().backward()


def test_a_rule_may_return_memory_that_it_writes_to_again():
    buffer = np.zeros(3)

    @op
    def double(x):
        return x * 2

    double.vjp(lambda g, out, x: np.multiply(g, 2, out=buffer))
    x, z = leaf(), leaf()
    weights = np.array([1.0, 2.0, 3.0])
    (double(x) + double(z) * weights + double(x) * weights).sum().backward()
    assert x.grad.tolist() == [4, 6, 8]
    assert z.grad.tolist() == [2, 4, 6]
    assert x.grad.flags.writeable


@pytest.mark.parametrize("wrap", [lambda g: g.view(np.matrix), np.ma.asarray])
def test_a_rule_returns_no_subclass_of_arrays(wrap):
    same = op(lambda x: x * 1.0)
    same.vjp(lambda g, out, x: wrap(g))
    with pytest.raises(TypeError, match="one array of real numbers"):
        (same(leaf([[1.0, 2.0]])) * np.ones((1, 2))).sum().backward()


def test_a_rule_that_returns_a_jacobian_is_refused():
    sums = np.tril(np.ones((3, 3)))
    running = op(lambda x: sums @ x)
    running.vjp(lambda g, out, x: g * sums)
    with pytest.raises(ValueError, match=r"gradient of shape \(3, 3\) for x \(3,\)"):
        (running(leaf()) * np.ones(3)).sum().backward()


@pytest.mark.parametrize("rule", [lambda g, out, xs: g, lambda g, out, xs: [g] * 3])
def test_the_rule_of_a_list_returns_a_gradient_for_each(rule):
    total = op(lambda xs: xs[0] + xs[1], sequence=True)
    total.vjp(rule)
    with pytest.raises(TypeError, match="must return a list, a gradient an input"):
        total([leaf(), leaf()]).sum().backward()


def test_static_arguments_of_other_kinds_are_copied_too():
    for index in (array("l", [0, 1]), memoryview(np.array([0, 1])), np.array([0, 1])):
        x = leaf()
        y = take(x, index)
        index[0] = 2
        y.sum().backward()
        assert x.grad.tolist() == [1, 1, 0]


def test_a_parameter_caught_in_a_closure_is_refused():
    """Its gradient would be lost: no graph knows that the op used it."""
    w = leaf()

    @op
    def caught(x):
        return x * w

    for x in (leaf(), np.ones(3)):
        with pytest.raises(TypeError, match="computed from its arguments alone"):
            caught(x)


def test_defaults_and_static_arguments_changed_after_the_call_change_nothing():
    k, nested = np.array([1.0, 2.0, 3.0]), {"k": [np.array([1.0, 2.0, 3.0])]}

    @op
    def scale(x, k=k, nested=None):
        return x * k * (1 if nested is None else nested["k"][0])

    scale.vjp(lambda g, out, x, k, nested: g * k * (1 if nested is None else nested["k"][0]))
    calls = [scale(leaf()), scale(leaf(), k=k), scale(leaf(), k, nested)]
    k[0] = nested["k"][0][0] = 100.0
    nested["k"].append(7)
    for y in calls:
        (x,) = y.inputs
        y.sum().backward()
        assert x.grad[0] == 1
        assert y.op.compute(*y.arrays, **y.params)[0] == y.data[0]
    assert scale(leaf()).data[0] == 1
    assert scale(np.ones(3))[0] == 1


def test_memory_that_someone_else_can_write_to_is_copied():
    base = np.zeros((4, 3))
    work = base[1:3]
    kept = np.zeros(3)

    @op
    def double(x, into=0):
        out = [kept, work[0], base[2], kept[::-1][::-1]][into]
        out[...] = x * 2
        return out

    double.vjp(lambda g, out, x, into: 2 * g)
    for into in range(4):
        x = leaf([1.0, 1.0, 1.0])
        first = double(x, into=into)
        y = (first * first).sum()
        second = double(leaf([5.0, 5.0, 5.0]), into=into)
        assert first.data.tolist() == [2, 2, 2]
        assert second.data.tolist() == [10, 10, 10]
        y.backward()
        assert x.grad.tolist() == [8, 8, 8]


@pytest.mark.fast
def test_what_nobody_else_holds_is_not_copied():
    """The shortcut of fast/apply.py: it counts who holds an array."""
    made = []

    @op
    def fresh(x):
        out = np.array(x) * 2
        made.append(out.ctypes.data)
        return out

    assert fresh(leaf()).data.ctypes.data == made[0]
    view = op(lambda x: np.stack([x, x]).reshape(-1))
    assert apply.hold(view, np.ones(4).reshape(2, 2), ()).base.flags.writeable is False
