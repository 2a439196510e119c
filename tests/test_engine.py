"""The promises of the engine: the graph, the walk back through it, and what may change."""

import gc
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_lite as tl
from tinygrad_lite import Tensor, grad, no_grad, op, program, scope
from tinygrad_lite.backward import messages
from tinygrad_lite.context import CONTEXT, OUTSIDE


def leaf(*shape: int, seed: int = 0, **options: Any) -> Tensor:
    return Tensor(np.random.default_rng(seed).standard_normal(shape), requires_grad=True, **options)


# The graph


def test_a_product_with_itself_has_two_edges():
    x = Tensor(3.0, requires_grad=True)
    y = x * x
    assert y.inputs == (x, x)
    y.backward()
    assert x.grad == 6


@pytest.mark.fast
def test_few_lines_run_between_a_product_and_its_node():
    x, y = Tensor(2.0, requires_grad=True), Tensor(3.0, requires_grad=True)
    lines: list[tuple[str, int]] = []

    def trace(frame: Any, event: str, _: Any) -> Any:
        if event == "line" and frame.f_code.co_filename != __file__:
            lines.append((frame.f_code.co_filename, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    x * y
    sys.settrace(before)
    assert len(lines) <= 15
    assert len({file for file, _ in lines}) <= 3


def test_gradients_sum_over_all_uses():
    x = leaf(3)
    y = (x * x + x[0] * x).sum()
    y.backward()
    expected = 2 * x.data + x.data[0]
    expected[0] += x.data.sum()
    np.testing.assert_allclose(x.grad, expected)


# Large graphs


def chain(n: int) -> tuple[Tensor, Tensor]:
    x = Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(n // 2):
        y = y * x + x
    return x, y


def measure_chain(n: int) -> tuple[float, float]:
    """Seconds and bytes per op of a chain of n ops with its gradient, in a process of its own."""
    code = """
    import re, sys, time
    sys.path.insert(0, {tests!r})
    from test_engine import chain
    chain(1000)[1].backward()
    peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
    before, start = peak(), time.process_time()
    x, y = chain({n})
    y.backward()
    seconds, after = time.process_time() - start, peak()
    assert x.grad > {n} / 2
    del x, y  # nor does giving the graph back recurse
    print(seconds / {n}, (after - before) * 1024 / {n})
    """
    tests = __file__.rpartition("/")[0]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code.format(n=n, tests=tests))],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, size = map(float, done.stdout.split())
    return seconds, size


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_chain_of_a_million_ops_takes_linear_time_and_memory():
    short, long = measure_chain(100_000), measure_chain(1_000_000)
    assert long[0] < 5 * short[0]  # seconds per op: a quadratic walk would take 10 times
    assert long[1] < 1.5 * short[1]  # bytes per op
    assert long[1] < 500


def test_a_diamond_of_2_to_the_60_paths():
    x = Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(60):
        y = y + y
    y.backward()
    assert x.grad == 2.0**60
    assert grad(y, x).item() == 2.0**60


def test_second_derivative_of_a_deep_graph():
    x = Tensor(1.0, requires_grad=True)
    y = x
    for _ in range(10_000):
        y = y * 1.0 + x
    slope = grad(y * y, x)  # y = 10001 x
    assert slope.item() == 2 * 10_001**2
    assert grad(slope, x).item() == 2 * 10_001**2


# The walk


def test_backward_twice_accumulates_and_zero_grad_resets():
    x = leaf(3)
    y = (x**2).sum()
    y.backward()
    once = x.grad
    y.backward()
    np.testing.assert_array_equal(x.grad, 2 * once)
    np.testing.assert_array_equal(once, 2 * x.data)  # the first array is not written to
    x.zero_grad()
    assert x.grad is None


def test_a_failing_backward_leaves_every_grad_as_it_was():
    @op
    def cube(x):
        return x**3

    a, b = leaf(3), leaf(3, seed=1)
    b.grad = np.ones(3)
    y = (cube(a) * 2 + b * b).sum()
    with pytest.raises(NotImplementedError, match="cube has no rule for the gradient of its input"):
        y.backward()
    assert a.grad is None
    np.testing.assert_array_equal(b.grad, np.ones(3))


@pytest.mark.parametrize("last", [lambda y: y, lambda y: y * 2.0])
def test_gradients_share_no_memory(last):
    """Neither if what arrives is the array given, nor if it is one that a rule made."""
    a, b, c = leaf(2, 3), leaf(2, 3, seed=1), leaf(6, seed=2)
    g = np.ones((2, 3))
    y = last(a + b + c.reshape(2, 3) + c.reshape(2, 3))
    y.backward(g)
    expected = b.grad.copy()
    arrays = [g, y.data, *(array for t in (a, b, c) for array in (t.data, t.grad))]
    for i, one in enumerate(arrays):
        for other in arrays[:i]:
            assert not np.may_share_memory(one, other)
    a.grad[:] = 7  # the user's own
    np.testing.assert_array_equal(b.grad, expected)


def test_a_leaf_is_its_own_gradient_path():
    x = leaf(2)
    g = np.array([1.0, 2.0])
    x.backward(g)
    np.testing.assert_array_equal(x.grad, g)
    assert not np.may_share_memory(x.grad, g)


def test_grad_is_an_array_even_for_a_scalar():
    x = Tensor(2.0, requires_grad=True)
    (x * 3.0).backward()
    assert isinstance(x.grad, np.ndarray)
    assert x.grad.shape == ()


def test_a_cotangent_may_be_a_tensor_and_grad_stays_an_array():
    x = leaf(3)
    (x * 2.0).backward(Tensor([1.0, 2.0, 3.0], requires_grad=True))
    assert type(x.grad) is np.ndarray
    np.testing.assert_array_equal(x.grad, [2, 4, 6])


def test_blocked_gives_zeros_not_none():
    x = leaf(3)
    tl.heaviside(x).sum().backward()
    np.testing.assert_array_equal(x.grad, 0)


def expression(data: Any) -> Tensor:
    """A random computation with reuse, repeated operands, broadcasting, indexing, conv2d."""
    pool = [
        leaf(2, 3, seed=1),
        leaf(3, seed=2),
        leaf(2, 1, seed=3),
        leaf(seed=4),
        leaf(2, 3, seed=5),
    ]
    image, kernel = leaf(1, 1, 3, 4, seed=6), leaf(2, 1, 2, 2, seed=7)
    steps = {
        "add": lambda a, b: a + b,
        "multiply": lambda a, b: a * b,
        "same": lambda a, _: a * a - a,
        "divide": lambda a, b: a / (b * b + 1.0),
        "tanh": lambda a, _: tl.tanh(a),
        "constant": lambda a, _: 2.0 - a * np.ones(3),
        "index": lambda a, b: (a + b + pool[0])[[0, 1, 1, 0]][1:3],
        "reduce": lambda a, b: (a * b).sum(axis=-1, keepdims=True) if (a * b).ndim else a,
        "max": lambda a, _: a.max(),
        "maximum": lambda a, b: tl.maximum(a, b),
        "where": lambda a, b: tl.where(a > b, a, b * 2.0),
        "joined": lambda a, b: tl.stack([a + b, b + a, a * b]).mean(axis=0),
        "transposed": lambda a, b: ((a + pool[0]).T @ (b + pool[0]))[:2],
        "conv": lambda a, _: tl.conv2d(image * (a * a).sum(), kernel)[0, :, 1],
        "step": lambda a, b: tl.heaviside(a) * b,
    }
    for _ in range(data.draw(st.integers(1, 12))):
        step = steps[data.draw(st.sampled_from(sorted(steps)))]
        a, b = (pool[data.draw(st.integers(0, len(pool) - 1))] for _ in range(2))
        pool.append(tl.tanh(step(a, b)))
    return tl.stack([t.sum() for t in pool[-3:]]).sum()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_backward_is_the_stream_of_messages(data: Any):
    y = expression(data)
    arrived, sent = {}, {}
    for node, g, slot, contribution in messages(y, np.float64(1)):
        arrived[node] = g
        if slot is not None:
            x = node.inputs[slot]
            sent[x] = sent[x] + contribution if x in sent else contribution
    for node, g in arrived.items():
        if node is not y:
            np.testing.assert_array_equal(g, sent[node])  # what arrives is what was sent
    y.backward()
    for node, g in arrived.items():
        if node.op is None:
            np.testing.assert_array_equal(node.grad, g)  # to the last bit
    leaves = [node for node in arrived if node.op is None]
    for node, g in zip(leaves, grad(y, leaves), strict=True):
        np.testing.assert_allclose(g.data, node.grad, rtol=1e-12, atol=1e-12)


# What may change, and what may not


def test_an_array_changed_after_the_forward_pass_changes_no_gradient():
    a, i, rows = np.array([1.0, 2.0]), np.array([0, 0]), [1, 1]
    x = Tensor(a, requires_grad=True)
    y = (x * a).sum() + x[i].sum() + x[rows].sum() + x[(rows,)].sum()
    a[:], i[:], rows[:] = 99, 1, [0, 0]
    y.backward()
    np.testing.assert_array_equal(x.grad, [1 + 2, 2 + 2 + 2])
    assert a.flags.writeable  # the caller's array is never locked


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.data,
        lambda x: x.reshape(2, 2).data,
        lambda x: x.reshape(2, 2).data.base,
        lambda x: np.asarray(x.detach()),
        lambda x: np.asarray(x.reshape(2, 2).detach()),
        lambda x: (x * 2.0).reshape(2, 2).data.base,
        lambda x: np.asarray(x[0].detach()),
        lambda x: tl.pad(x, 1).data,
    ],
)
def test_values_cannot_be_written_to(view: Any):
    array = view(leaf(4))
    with pytest.raises(ValueError, match="read-only"):
        array[...] = 0


def test_a_parameter_updated_between_forward_and_backward():
    w, x = Tensor(2.0, requires_grad=True, name="w"), Tensor(3.0, requires_grad=True)
    y = w * w * x
    w.data = 10.0
    y.backward()
    assert (w.grad, x.grad) == (12, 4)
    slope = grad(y, w)
    assert slope.item() == 12  # at the values that y was computed from
    assert grad(slope, x).item() == 4  # x is what it was
    with pytest.raises(RuntimeError, match=r"w \(\) was given new data after"):
        grad(slope, w)
    with pytest.raises(RuntimeError, match="would mix old and new values"):
        slope.backward()
    assert (w.grad, x.grad) == (12, 4)
    assert (w * w).item() == 100


def test_a_gradient_recorded_before_the_update_stays_right():
    w = Tensor(2.0, requires_grad=True)
    slope = grad(w**3, w)
    w.data = 5.0
    assert slope.item() == 12
    slope.backward()
    assert w.grad == 12  # 6 w at w = 2


def test_a_constant_updated_between_forward_and_backward():
    x, c = Tensor(2.0, requires_grad=True), Tensor(3.0)
    slope = grad(c * x * x, x)
    y = c * x * x
    c.data = 100.0
    assert grad(y, x).item() == slope.item() == 12
    assert grad(grad(y, x), x).item() == 6


def test_an_update_keeps_dtype_and_takes_a_copy():
    w = Tensor([1, 2], dtype=np.float32, requires_grad=True)
    new = np.array([3.0, 4.0])
    w.data = new
    new[:] = 0
    assert w.dtype == np.float32
    np.testing.assert_array_equal(w.data, [3, 4])


@pytest.mark.parametrize("shape", [(), (2,)])
def test_an_update_in_place_gives_new_data(shape):
    w = Tensor(np.full(shape, 3.0), requires_grad=True)
    before, y = w.data, (w * w).sum()
    w.data -= 1.0
    w.data *= np.float32(3)
    w.data /= 2
    w.data **= 2
    assert (w.data == 9).all()
    assert (before == 3).all()
    y.backward()
    assert (w.grad == 6).all()  # what was recorded has the old data
    with pytest.raises(TypeError, match="only a leaf can be given new data"):
        y.data -= 1.0


def test_an_update_that_would_be_lost_is_an_error():
    w = leaf(2, 2)
    held, row = w.data, w.data[0]
    for change in (
        "held -= 1", "row -= 1", "w.data[0] -= 1", "w.data.T[...] -= 1", "np.add.at(w.data, 0, 1)",
        "for d in [w.data]: d -= 1", "for d in w.data: d -= 1", "held |= 1", "[w.data][0] -= 1",
    ):  # fmt: skip
        with pytest.raises((ValueError, TypeError), match=r"read-only|not supported"):
            exec(change, {"w": w, "held": held, "row": row, "np": np})
    assert np.array_equal(w.data, held)
    copied = w.data.copy()
    with pytest.raises(TypeError):
        copied -= object()


def test_what_is_computed_from_data_is_an_ordinary_array():
    x = Tensor([1.0, 2.0])
    assert repr(x.data) == "array([1., 2.])"
    computed = (x.data * 2, np.sin(x.data), x.data @ np.eye(2), np.where(x.data > 1, x.data, 0))
    assert {type(a) for a in computed} == {np.ndarray}
    assert isinstance(x.data.sum(), np.float64)
    copy = same = x.data.copy()
    copy -= 1
    assert copy is same
    assert same.tolist() == [0, 1]


def test_in_place_operators_rebind():
    x = y = leaf(2)
    before = x.data.copy()
    x += 1.0
    x *= 2.0
    x -= 1.0
    x /= 2.0
    assert x is not y
    np.testing.assert_array_equal(y.data, before)
    assert x.op.name == "divide"
    np.testing.assert_array_equal(grad(x.sum(), y).data, 1)


# no_grad and scope


def test_no_grad_records_nothing():
    x = leaf(2)
    with no_grad():
        y = x * 2.0
    assert (y.op, y.inputs, y.requires_grad) == (None, (), False)
    z = no_grad()(lambda: x * 2.0)()
    assert not z.requires_grad
    assert (x * 2.0).requires_grad


def test_scopes_nest_and_name():
    @scope("inner")
    def f(x: Tensor) -> Tensor:
        return x * 2.0

    with scope("outer"):
        y = f(Tensor(1.0))
        z = Tensor(1.0) + 1.0
    assert (y.scope, z.scope, f(y).scope) == (("outer", "inner"), ("outer",), ("inner",))


def test_no_state_is_left_after_an_exception():
    def fails() -> None:
        raise ZeroDivisionError

    for change in (no_grad(), scope("f")):
        with pytest.raises(ZeroDivisionError), change, change:
            fails()
        with pytest.raises(ZeroDivisionError):
            change(fails)()
    assert CONTEXT.get() is OUTSIDE


def test_one_object_may_be_entered_again_and_by_many_threads():
    off, named = no_grad(), scope("s")
    seen = {}

    def work(i: int) -> None:
        for _ in range(200):
            with named, off, named:
                time.sleep(0)
                inside = Tensor(1.0, requires_grad=True) * 2.0
            outside = Tensor(1.0, requires_grad=True) * 2.0
            seen[i] = (inside.requires_grad, outside.requires_grad, inside.scope, outside.scope)

    run_threads(work, 8)
    assert set(seen.values()) == {(False, True, ("s", "s"), ())}


def test_no_grad_in_one_thread_is_not_seen_in_another():
    recorded = []
    with no_grad(), scope("main"):
        thread = threading.Thread(
            target=lambda: recorded.append(Tensor(1.0, requires_grad=True) * 2.0)
        )
        thread.start()
        thread.join()
    assert recorded[0].requires_grad
    assert recorded[0].scope == ()


@pytest.mark.parametrize("change", [no_grad(), scope("s")])
def test_a_generator_cannot_be_decorated(change: Any):
    def numbers() -> Any:
        yield 1

    with pytest.raises(TypeError, match="suspends while it runs; use a with block inside it"):
        change(numbers)


def test_threads_add_to_one_parameter_and_lose_nothing():
    w = leaf(3)

    def work(_: int) -> None:
        for _ in range(100):
            (w * 1.0).sum().backward()

    run_threads(work, 8)
    np.testing.assert_array_equal(w.grad, 800)


def run_threads(work: Any, n: int) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=work, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    sys.setswitchinterval(interval)


def test_a_graph_that_is_let_go_is_freed():
    gc.collect()
    count = lambda: sum(type(o) is Tensor for o in gc.get_objects())
    x = leaf(2)
    before = count()
    y = (x * 2.0).sum()
    y.backward()
    assert count() > before
    gc.disable()
    del y
    after = count()  # by reference counting alone: there are no cycles
    gc.enable()
    assert after == before


@pytest.mark.parametrize(
    "walk", ["backward", "grad inside no_grad", pytest.param("grad", marks=pytest.mark.fast)]
)
def test_a_gradient_is_freed_when_all_has_been_sent_on(walk):
    """Of 100 gradients along a chain of 80 kB arrays no more than a few are there at once."""
    x = leaf(10_000)
    y = x
    for _ in range(100):
        y = tl.sigmoid(y) * 2.0
    g = np.ones(10_000)
    tracemalloc.start()
    try:
        if walk == "backward":
            y.backward(g)
        elif walk == "grad":
            tl.grad(y, x, g)
        else:
            with tl.no_grad():
                tl.grad(y, x, g)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * x.data.nbytes


# Numbers


def test_sigmoid_far_out_is_0_or_1_with_gradient_0():
    x = Tensor([-1000.0, 1000.0], requires_grad=True)
    y = tl.sigmoid(x)
    y.sum().backward()
    np.testing.assert_array_equal(y.data, [0, 1])
    np.testing.assert_array_equal(x.grad, 0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_dtype_is_kept_beside_python_numbers(dtype: Any, shape: tuple[int, ...]):
    x = Tensor(np.full(shape, 0.5), dtype=dtype, requires_grad=True)
    y = 1 + 2.0 * x - x / 3 + x**2 - tl.relu(x) * True + tl.sigmoid(x)
    assert y.dtype == dtype
    y.sum().backward()
    assert x.grad.dtype == dtype
    assert grad(y.sum(), x).dtype == dtype


def test_mixed_dtypes_give_each_input_its_own():
    x = Tensor([1.0, 2.0], dtype=np.float32, requires_grad=True)
    y = Tensor([3.0, 4.0], requires_grad=True)
    z = x * y + np.float64(1)
    assert z.dtype == np.float64
    z.sum().backward()
    assert (x.grad.dtype, y.grad.dtype) == (np.float32, np.float64)
    assert (x * np.float64(2)).dtype == np.float64  # as NumPy


def test_an_integer_result_requires_no_gradient():
    x = leaf(3)
    for y in (x > 0, x.astype(int), x == x, tl.logical_and(x, x)):
        assert not y.requires_grad


def test_ties_share_evenly():
    x = Tensor([1.0, 1.0, 0.0], requires_grad=True)
    x.max().backward()
    np.testing.assert_array_equal(x.grad, [0.5, 0.5, 0])
    a, b = Tensor(2.0, requires_grad=True), Tensor(2.0, requires_grad=True)
    tl.maximum(a, b).backward()
    assert (a.grad, b.grad) == (0.5, 0.5)
    tl.minimum(a, b).backward()
    assert (a.grad, b.grad) == (1, 1)


def test_power_where_a_factor_is_0():
    x, y = Tensor(0.0, requires_grad=True), Tensor(0.0, requires_grad=True)
    (x**y).backward()
    assert (x.grad, y.grad) == (0, 0)
    x = Tensor([0.0, -2.0], requires_grad=True)
    for n, slope in ((0, [0, 0]), (1, [1, 1]), (2, [0, -4]), (3, [0, 12])):
        np.testing.assert_array_equal(grad((x**n).sum(), x).data, slope)
        np.testing.assert_array_equal(grad((x ** np.array([n, n])).sum(), x).data, slope)
    y = Tensor(0.0, requires_grad=True)
    base = Tensor(2.0, requires_grad=True)
    assert grad(grad(base**y, base), y).item() == 0.5  # x**(y - 1) (1 + y log x)


def test_where_lets_no_nan_through():
    x = Tensor([0.0, 4.0], requires_grad=True)
    safe = tl.where(x > 0, x, 1.0)
    tl.where(x > 0, tl.sqrt(safe), 0.0).sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 0.25])


@pytest.mark.parametrize("shapes", [((1, 1), (1, 3)), ((3, 1), (1, 1)), ((1,), (1, 3))])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@np.errstate(invalid="ignore")
def test_a_product_with_one_number_lets_no_nan_vanish(shapes, bad):
    """0 * NaN and 0 * inf are NaN, in a matrix product, in its gradients and in a program."""
    for zeros in (0, 1):
        data = [np.full(shape, 0.0 if i == zeros else bad) for i, shape in enumerate(shapes)]
        inputs = [Tensor(x, requires_grad=True) for x in data]
        y = inputs[0] @ inputs[1]
        cotangent = np.zeros(y.shape)
        value, gradients = program(y, inputs, inputs, cotangent)(*data)
        assert np.isnan([y.data, value]).all()
        for parts in ([g.data for g in grad(y, inputs, cotangent)], gradients):
            assert np.isnan(parts[zeros]).all()
            assert not parts[1 - zeros].any()


def test_the_gradient_of_a_maximum_of_nan_goes_to_the_nan():
    x = Tensor([1.0, np.nan], requires_grad=True)
    x.max().backward()
    np.testing.assert_array_equal(x.grad, [0, 1])


def test_empty_arrays():
    x = Tensor(np.zeros((0, 3)), requires_grad=True)
    (tl.exp(x) @ np.ones((3, 2))).sum().backward()
    assert x.grad.shape == (0, 3)
    with pytest.raises(ValueError, match="max: zero-size array"):
        x.max()
