"""Derivatives of every order, held to PyTorch's (torch.func) and to finite differences."""

import gc
import random
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import require

import tinygrad_lite as tl
from tinygrad_lite import Tensor, grad, graph, hessian, jacobian, jvp, no_grad, value_and_grad, vjp
from tinygrad_lite.fast import deferred

# PyTorch's own, when its forward mode is first used.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

rng = np.random.default_rng(3)
W, B, X, V = (rng.normal(size=s) for s in ((3, 3), 3, 3, 3))
SPD = W @ W.T + np.eye(3)


def agree(ours, theirs):
    ours, theirs = (x.data if isinstance(x, Tensor) else np.asarray(x) for x in (ours, theirs))
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


# Each function twice: with NumPy's names on our Tensors, and with PyTorch's.
FUNCTIONS = {
    "layer": (
        lambda x: tl.sigmoid(W @ x + B),
        lambda t, x: t.sigmoid(t.tensor(W) @ x + t.tensor(B)),
    ),
    "softmax": (lambda x: tl.softmax(x * x), lambda t, x: t.softmax(x * x, 0)),
    "quadratic form": (
        lambda x: x @ (SPD @ x) + np.sin(x).sum(),
        lambda t, x: x @ (t.tensor(SPD) @ x) + t.sin(x).sum(),
    ),
    "linear": (lambda x: W @ x, lambda t, x: t.tensor(W) @ x),
    "product": (lambda x: np.prod(x), lambda t, x: t.prod(x)),
    "norm": (lambda x: np.linalg.norm(x), lambda t, x: t.linalg.norm(x)),
    "solve": (
        lambda x: np.linalg.solve(SPD + np.outer(x, x), x),
        lambda t, x: t.linalg.solve(t.tensor(SPD) + t.outer(x, x), x),
    ),
    "log det": (
        lambda x: np.linalg.slogdet(SPD + np.outer(x, x))[1],
        lambda t, x: t.linalg.slogdet(t.tensor(SPD) + t.outer(x, x))[1],
    ),
    "running product": (lambda x: np.cumprod(x), lambda t, x: t.cumprod(x, 0)),
    "gather": (lambda x: x[[0, 2, 2]] ** 3, lambda t, x: x[[0, 2, 2]] ** 3),
}
each = pytest.mark.parametrize("name", FUNCTIONS)


@pytest.fixture
def pair(name):
    torch = require("torch")
    ours, theirs = FUNCTIONS[name]
    return torch, ours, lambda x: theirs(torch, x)


@each
def test_jacobian(pair):
    torch, f, theirs = pair
    agree(jacobian(f, X), torch.func.jacrev(theirs)(torch.tensor(X)))


@each
def test_hessian(pair):
    torch, f, theirs = pair
    agree(hessian(f, X), torch.func.hessian(theirs)(torch.tensor(X)))


@each
def test_third_derivative(pair):
    torch, f, theirs = pair
    ours = jacobian(lambda x: hessian(f, x), X)
    agree(ours, torch.func.jacrev(torch.func.jacrev(torch.func.jacrev(theirs)))(torch.tensor(X)))


@each
def test_jvp(pair):
    torch, f, theirs = pair
    value, tangent = jvp(f, X, V)
    expected, expected_tangent = torch.func.jvp(theirs, (torch.tensor(X),), (torch.tensor(V),))
    agree(value, expected)
    agree(tangent, expected_tangent)


@each
def test_jvp_and_vjp_are_transposed(pair):
    """<u, J v> = <J' u, v>."""
    _, f, _ = pair
    value, tangent = jvp(f, X, V)
    u = rng.normal(size=value.shape)
    agree(np.sum(u * tangent.data), np.sum(vjp(f, X)[1](u).data * V))


@each
def test_hessian_vector_product_in_three_ways(pair):
    _, f, _ = pair
    scalar = lambda x: np.sum(f(x))
    gradient = lambda x: value_and_grad(scalar)(x)[1]
    full = hessian(scalar, X).data @ V
    agree(jvp(gradient, X, V)[1], full)  # forward over reverse
    agree(vjp(gradient, X)[1](V), full)  # reverse over reverse
    agree(value_and_grad(lambda x: jvp(scalar, x, V)[1])(X)[1], full)  # reverse over forward


@each
def test_gradient_of_the_norm_of_the_jacobian(pair):
    torch, f, theirs = pair
    ours = value_and_grad(lambda x: (jacobian(f, x) ** 2).sum())(X)[1]
    agree(
        ours, torch.func.grad(lambda x: (torch.func.jacrev(theirs)(x) ** 2).sum())(torch.tensor(X))
    )


def test_an_inner_derivative_is_of_its_own_argument_alone():
    """d/dx [x * d/dy (x + y) at y = x] = 1, not 2: the inner y is not the outer x."""
    outer = lambda x: x * value_and_grad(lambda y: x + y)(x)[1]
    assert value_and_grad(outer)(3.0)[1].item() == 1
    outer = lambda x: x * jvp(lambda y: x * y, x, 1.0)[1]  # x * x
    assert value_and_grad(outer)(3.0)[1].item() == 6


def test_derivatives_go_through_what_the_function_encloses():
    w = Tensor(2.0, requires_grad=True)
    slope = value_and_grad(lambda x: w * w * x)(5.0)[1]
    assert grad(slope, w).item() == 4


def test_a_gradient_is_recorded_only_if_it_can_be_differentiated():
    """No one else has the arguments; but what f encloses, or was given, may be a parameter."""
    assert not value_and_grad(lambda x: x * x)(3.0)[1].requires_grad
    assert value_and_grad(lambda x: x * x)(Tensor(3.0, requires_grad=True))[1].requires_grad
    w = Tensor(2.0, requires_grad=True)
    assert value_and_grad(lambda x: w * x)(3.0)[1].requires_grad
    assert vjp(np.square, 3.0)[1](w * 2).requires_grad
    y = w**3
    with no_grad():
        assert not (slope := grad(y, w)).requires_grad
    assert slope.item() == 12


def test_several_inputs():
    torch = require("torch")
    f = lambda a, b: np.tanh(a @ b)
    theirs = lambda a, b: torch.tanh(a @ b)
    a, b = rng.normal(size=(2, 3)), rng.normal(size=3)
    ta, tb = torch.tensor(a), torch.tensor(b)
    for ours, expected in zip(
        jacobian(f, a, b), torch.func.jacrev(theirs, (0, 1))(ta, tb), strict=True
    ):
        agree(ours, expected)
    for row, expected_row in zip(
        hessian(f, a, b), torch.func.hessian(theirs, (0, 1))(ta, tb), strict=True
    ):
        for ours, expected in zip(row, expected_row, strict=True):
            agree(ours, expected)
    value, gradients = value_and_grad(lambda a, b: f(a, b).sum())(a, b)
    for ours, expected in zip(
        gradients, torch.func.grad(lambda *t: theirs(*t).sum(), (0, 1))(ta, tb), strict=True
    ):
        agree(ours, expected)
    assert value.shape == ()
    tangents = rng.normal(size=(2, 3)), rng.normal(size=3)
    expected = torch.func.jvp(theirs, (ta, tb), tuple(map(torch.tensor, tangents)))[1]
    agree(jvp(f, (a, b), tangents)[1], expected)
    pulled = vjp(f, a, b)[1](np.ones(2))
    for ours, expected in zip(
        pulled, torch.func.vjp(theirs, ta, tb)[1](torch.ones(2).double()), strict=True
    ):
        agree(ours, expected)


def test_tenth_derivative():
    """The tenth derivative of x**10 is 10!, of e**(2x) 2**10 e**(2x)."""
    x = Tensor(0.3, requires_grad=True)
    y, z = x**10, np.exp(2 * x)
    for _ in range(10):
        y, z = grad(y, x), grad(z, x)
    assert y.item() == pytest.approx(3628800, rel=1e-12)
    assert z.item() == pytest.approx(2**10 * np.exp(0.6), rel=1e-12)


@pytest.mark.parametrize("f", [lambda x: Tensor(4.0), lambda x: tl.heaviside(x).sum(), np.floor])
def test_derivatives_of_what_does_not_change_are_zeros(f):
    x = np.array(0.7)
    assert jacobian(f, x).data == 0
    assert hessian(f, x).data == 0
    assert jvp(f, x, 1.0)[1].data == 0
    assert vjp(f, x)[1](1.0).data == 0
    assert value_and_grad(f)(x)[1].data == 0


def test_derivatives_inside_no_grad():
    """no_grad is for what a caller does not want recorded; what is asked for still comes."""
    with no_grad():
        assert value_and_grad(lambda x: x**3)(2.0)[1].item() == 12
        assert jacobian(np.square, X).shape == (3, 3)
        assert hessian(lambda x: x**3, 2.0).item() == 12
        assert jvp(np.sin, 0.0, 2.0)[1].item() == 2
        assert vjp(np.sin, 0.0)[1](2.0).item() == 2
        assert not (Tensor(1.0, requires_grad=True) * 2).requires_grad


def test_empty_and_0d():
    assert jacobian(np.square, np.zeros(0)).shape == (0, 0)
    assert jacobian(lambda x: x[:0], X).shape == (0, 3)
    assert jacobian(np.square, 3.0).shape == ()
    assert hessian(np.square, 3.0).shape == ()


def test_float32_stays():
    x = X.astype(np.float32)
    assert jacobian(np.sin, x).dtype == hessian(np.sin, x).dtype == np.float32
    assert jvp(np.sin, x, x)[1].dtype == vjp(np.sin, x)[1](x).dtype == np.float32


def test_the_graph_of_a_gradient_is_a_graph():
    x = Tensor(X, requires_grad=True, name="x")
    slope = grad(np.sum(tl.sigmoid(W @ x)), x)
    slope.backward(V)
    drawn = graph(slope)
    assert "x" in {node.name for node in drawn.nodes}
    reached = [edge for edge in drawn.edges if edge.traffic == "gradient"]
    assert len(reached) > 5
    assert all(edge.contribution is not None for edge in reached)
    last = tl.steps(slope, V)[-1]  # what is sent last is sent to x
    np.testing.assert_array_equal(last.sends[0].contribution, x.grad)


def layers():
    """A net of three small layers, a batch of two: its sum, its inputs, a value inside."""
    weights = [Tensor(rng.normal(size=(3, 3)), requires_grad=True) for _ in range(3)]
    biases = [Tensor(rng.normal(size=3), requires_grad=True) for _ in range(3)]
    h = inner = Tensor(rng.normal(size=(2, 3)))
    for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
        with tl.scope(f"f{i + 1}"):
            h = tl.sigmoid(h @ w + b)
        inner = h if i == 1 else inner
    return (h * h).sum(), [*weights, *biases, inner]


@pytest.mark.fast
def test_a_gradient_is_recorded_when_its_record_is_asked_for(monkeypatch):
    """Until then it is a Tensor like any other; after it, the record is that of the same
    numbers, bit for bit, and looking at one gradient records all of the pass."""
    recorded = []
    record = deferred.record_pass
    monkeypatch.setattr(deferred, "record_pass", lambda *a: (recorded.append(1), record(*a)))
    y, inputs = layers()
    gradients = grad(y, inputs)
    norm = sum(((g * g).sum() for g in gradients[1:]), (gradients[0] * 2).sum())
    assert gradients[0].__class__ is Tensor
    assert not recorded
    arrays = [g.data for g in gradients]
    norm.backward()
    assert recorded == [1]
    for g, array in zip(gradients, arrays, strict=True):
        assert type(g) is Tensor
        again = g.op.compute(*g.arrays, **g.params)
        assert np.array_equal(again, array)
        assert all(x.index < g.index for x in g.inputs if isinstance(x, Tensor))
    drawn = graph(norm)
    assert len({node.id for node in drawn.nodes}) == len(drawn.nodes)
    assert all(edge.source < edge.target for edge in drawn.edges)


def test_one_gradient_is_made_from_another_of_the_same_pass():
    torch = require("torch")
    x = Tensor(X, requires_grad=True)
    h = np.sin(x)
    by_x, by_h = grad((h * h * h).sum(), [x, h])
    t = torch.tensor(X, requires_grad=True)
    s = torch.sin(t)
    theirs = torch.autograd.grad((s * s * s).sum(), [t, s], create_graph=True)
    (expected,) = torch.autograd.grad(theirs[0].sum(), theirs[1])
    agree(grad(by_x.sum(), by_h), expected.detach())


def test_what_arrives_at_two_values_is_one_gradient():
    """As in PyTorch: and what is asked beside a gradient does not change what it is for."""
    a, b = Tensor(2.0, requires_grad=True), Tensor(3.0, requires_grad=True)
    w = Tensor(5.0, requires_grad=True)
    h = a * w
    by_h, by_b, by_w = grad((h + b) ** 2, [h, b, w])
    assert by_h is by_b
    assert grad(by_w + by_b, by_h).item() == 3  # by_w = a by_h


STEPS = {  # a step of a program, on two values, with either library's names
    "multiply": lambda m, a, b: a * b,
    "add": lambda m, a, b: a + b,
    "tanh": lambda m, a, b: m.tanh(a),
    "sigmoid": lambda m, a, b: m.sigmoid(a) * b,
    "exp": lambda m, a, b: m.exp(0.3 * a),
    "sum": lambda m, a, b: (a * b).sum(),
    "mean": lambda m, a, b: (a * a).mean(),
    "of 3": lambda m, a, b: m.stack([a.sum(), b.sum(), (a * a).sum()]).sum(),
}


@pytest.mark.parametrize("seed", range(100))
def test_programs_that_use_their_own_gradients(seed):
    """A gradient is a value like others: used in what follows, and differentiated by."""
    torch = require("torch")
    choose = random.Random(seed)
    draw = np.random.default_rng(seed).uniform
    arrays = [draw(0.3, 1.2, choose.choice([(), (2,), (3, 2)])) for _ in range(4)]
    pairs = [(Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)) for x in arrays]
    leaves = list(pairs)
    for _ in range(12):
        (a, ta), (b, tb) = choose.choices(pairs, k=2)
        if choose.random() < 0.7:
            step = STEPS[choose.choice(list(STEPS))]
            y, t = step(tl, a, b), step(torch, ta, tb)
            if t.abs().max() < 50:
                pairs.append((y, t))
            continue
        y, t = (a * b).sum() + (a * a * a).mean(), (ta * tb).sum() + (ta * ta * ta).mean()
        known = [pair for pair in pairs if pair[0].requires_grad and pair[1].requires_grad]
        by = choose.sample(known, min(len(known), 3))
        if y.requires_grad and t.requires_grad:
            theirs = torch.autograd.grad(
                t, [x for _, x in by], create_graph=True, materialize_grads=True, allow_unused=True
            )
            pairs += zip(grad(y, [x for x, _ in by]), theirs, strict=True)
            for ours, expected in pairs[-len(by) :]:
                agree(ours, expected.detach())
    total = sum(((y * y).sum() for y, _ in pairs[1:]), pairs[0][0].sum())
    theirs = sum(((t * t).sum() for _, t in pairs[1:]), pairs[0][1].sum())
    expected = torch.autograd.grad(theirs, [t for _, t in leaves])
    total.backward()
    for (x, _), g in zip(leaves, expected, strict=True):
        np.testing.assert_allclose(x.grad, g, rtol=1e-9)


def test_a_gradient_that_does_not_change_has_zeros_as_its_own():
    x = Tensor(X, requires_grad=True)
    slope = grad(x.sum(), x)
    twice = slope * 2
    assert slope.requires_grad
    assert grad((slope * slope).sum(), slope).data.tolist() == [2, 2, 2]
    assert grad(twice.sum(), x).data.tolist() == [0, 0, 0]
    with pytest.raises(TypeError, match="requires no gradient"):
        twice.sum().backward()
    with pytest.raises(ValueError, match="does not depend"):
        grad(twice.sum(), x, strict=True)


@pytest.mark.slow
def test_thousands_of_gradients_of_gradients():
    """No recursion, on the path from gradient to gradient or beside it."""
    x = Tensor(2.0, requires_grad=True)
    g, h = x, Tensor(3.0, requires_grad=True)
    c = h
    for _ in range(2000):
        g = grad(g * g * 0.5, g)
        c = grad(x * c, x)
    assert grad(g, x).item() == grad(c, h).item() == 1


def test_new_data_between_a_gradient_and_its_record():
    """All of it is of the old data, also the derivatives."""
    w, b = Tensor(2.0, requires_grad=True), Tensor(1.0, requires_grad=True)
    y = (w + b) ** 3
    slope = grad(y, w)
    late = grad(y, w)
    w.data, b.data = 5.0, 7.0
    assert slope.item() == 27
    assert graph(slope).output.value == 27
    assert [g.item() for g in grad(late, [w, b])] == [18, 18]  # 6 (w + b)
    assert grad(grad(slope, w), b).item() == 6
    cube = w**3
    w.data = 2.0
    with pytest.raises(RuntimeError, match="was given new data"):
        grad(grad(cube, w), w)


@pytest.mark.fast
def test_a_gradient_that_nobody_looks_into_leaves_nothing_behind():
    """No cycle: what it was computed from is free as soon as it is."""
    y, inputs = layers()
    gradients = grad(y, inputs)
    gone = weakref.ref(y)
    gc.disable()
    try:
        del y, inputs
        assert gone() is not None
        del gradients
        assert gone() is None
    finally:
        gc.enable()


def test_many_threads_look_at_one_gradient():
    for _ in range(20):
        y, inputs = layers()
        gradients = grad(y, inputs)
        expected = [float(g.data.sum()) for g in gradients]
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda g: (g.op is not None, float(g.data.sum())), gradients))
        assert found == [(True, total) for total in expected]


def test_a_gradient_notes_where_it_was_taken():
    x = Tensor(X, requires_grad=True)
    with tl.scope("slope"), tl.source_lines():
        line, slope = sys._getframe().f_lineno, grad((x * x * x).sum(), x)
    assert slope.scope == slope.inputs[0].scope == ("slope",)
    assert [node.source for node in tl.graph(slope) if node.op][-2:] == [(__file__, line)] * 2


def test_errors():
    with pytest.raises(ValueError, match="2 inputs need as many tangents, not a float"):
        jvp(lambda x, y: x * y, (1.0, 2.0), 1.0)
    with pytest.raises(ValueError, match="1 inputs need as many tangents, not 2"):
        jvp(lambda x: x, (X,), (V, V))
    with pytest.raises(ValueError, match=r"the tangent .* has the shape \(2,\)"):
        jvp(np.sin, X, np.ones(2))
    with pytest.raises(ValueError, match="must have its shape"):
        vjp(np.sin, X)[1](np.ones(2))
    with pytest.raises(ValueError, match="not a scalar"):
        value_and_grad(np.sin)(X)
    with pytest.raises(TypeError, match="f must return a Tensor, but returned float"):
        jacobian(lambda x: x.sum().item(), X)
    with pytest.raises(TypeError, match="has dtype int64"):
        jacobian(np.sin, [1, 2])


def test_tangents_are_paired_by_their_place_in_the_nest():
    def f(p):
        return p["a"] * 3 + p["b"] * 5

    assert jvp(f, {"a": 1.0, "b": 2.0}, {"b": 1.0, "a": 10.0})[1].item() == 35
    with pytest.raises(ValueError, match="has not the form of"):
        jvp(f, {"a": 1.0, "b": 2.0}, {"x": 1.0, "y": 10.0})


def test_derivatives_of_derivatives_through_functions():
    assert value_and_grad(lambda v: jvp(lambda y: y**3, 3.0, v)[1])(1.0)[1].item() == 27
    both = value_and_grad(lambda x: x * value_and_grad(lambda y: x + y * y)(2.0)[1])
    assert [t.item() for t in both(3.0)] == [12, 4]
