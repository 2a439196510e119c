"""Programs as straight-line code: what `backward` gives, for arrays that were never recorded."""

import gc
import sys
import threading
import weakref

import numpy as np
import pytest
from test_replay import random_program

import tinygrad_lite as tl
from tinygrad_lite import Tensor, grad, op, program, tanh
from tinygrad_lite.fast import straight


def leaf(*shape, seed=0, name=None, dtype=float):
    data = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    return Tensor(data, requires_grad=True, name=name)


def assert_program_is(f, *shapes, wrt=None, dtype=float, seeds=(1, 2, 3)):
    """The program of f, recorded once, gives what f and grad give for other arrays."""
    eps = 5000 * np.finfo(dtype).eps
    inputs = [leaf(*shape, seed=100 + i, dtype=dtype) for i, shape in enumerate(shapes)]
    chosen = range(len(shapes)) if wrt is None else wrt
    run = program(f(*inputs), [inputs[i] for i in chosen], inputs)
    for seed in seeds:
        fresh = [leaf(*shape, seed=10 * seed + i, dtype=dtype) for i, shape in enumerate(shapes)]
        before = [np.array(t.data) for t in fresh]
        value, gradients = run(*(t.data for t in fresh))
        y = f(*fresh)
        np.testing.assert_allclose(value, y.data, rtol=eps)
        for g, right in zip(gradients, grad(y, [fresh[i] for i in chosen]), strict=True):
            assert g.shape == right.shape
            assert g.dtype == right.dtype
            np.testing.assert_allclose(g, right.data, rtol=eps, atol=eps * abs(right.data).max())
        for t, array in zip(fresh, before, strict=True):
            np.testing.assert_array_equal(t.data, array)


@pytest.fixture(params=["large", "any"])
def in_memory(request, monkeypatch):
    """With "any", arrays of every size are kept for the next run, as large ones are."""
    if request.param == "any":
        monkeypatch.setattr(straight, "HEAVY", 0)


@pytest.mark.parametrize("seed", range(30))
def test_random_programs_with_arrays_that_were_never_recorded(seed, in_memory):
    assert_program_is(lambda *p: random_program(seed, p), *[(3, 3)] * 4)


@pytest.mark.parametrize("dtype", [float, np.float32])
def test_arrays_that_are_let_go_and_written_over(dtype):
    """They are larger than what the code keeps until its end."""

    def f(a, b, c):
        h = tanh(a @ b / 9) * c
        h = h + tl.sigmoid(h) * a
        h = tl.relu(h - c) / (h * h + 1)
        return (h * h - h).mean() + (h @ h.T).std() + (h.reshape(-1)[::7] * 2).sum()

    assert_program_is(f, (150, 150), (150, 150), (150, 150), dtype=dtype)
    assert_program_is(f, (300, 300), (300, 300), (300, 300), dtype=dtype)  # some of it in blocks
    assert_program_is(f, (150, 150), (150, 150), (150,), wrt=[1, 2], dtype=dtype)


def test_blocks_of_rows(in_memory):
    """Chains of large arrays: views of what is written over, rows, columns and numbers in them."""

    def turned(a, b):
        h = tanh(a @ b / 20)
        return ((h + h.T) * 2.0 - h.reshape(300, 300)).sum() + (h[::-1] * h).mean()

    def turned_alone(a, b):
        h = a @ b  # needed by no rule, so that it may be written over, but for its view
        return (((h + h.T) * 2.0 - 0.5) * a).sum()

    def broadcast(x, row, column, number):
        h = tl.relu(x * row + column) * number - 0.5
        return (h * tl.sigmoid(h)).sum()

    def numbers(x, a, b):
        h = x * (a * b + 0.5) - (a - b)
        return (tanh(h) * (a / 3 - b)).sum() + a * b

    assert_program_is(numbers, (200_000,), (), ())
    assert_program_is(turned, (300, 300), (300, 300))
    assert_program_is(turned_alone, (300, 300), (300, 300))
    assert_program_is(broadcast, (300, 400), (400,), (300, 1), ())
    assert_program_is(broadcast, (3, 100, 500), (100, 1), (1, 1, 500), (), dtype=np.float32)
    assert_program_is(broadcast, (200_000,), (1,), (200_000,), ())


NETWORKS = {
    "choices": lambda a, b: (tl.maximum(a, b) * tl.minimum(a, 0.3) + tl.relu(a - b)).sum(),
    "largest": lambda a, b: (a.max(axis=0) * b.min(axis=1)).sum() + tl.sort(a, axis=0)[1:].std(),
    "softmax": lambda a, b: (tl.softmax(a @ b) * tl.log_softmax(b)).sum(),
    "classes": lambda a, b: tl.cross_entropy(a @ b, np.array([0, 2, 1])),
    "powers": lambda a, b: (abs(a) ** 1.5 + (a * a + 1.0) ** b).sum() / tl.norm(b),
    "numbers": lambda a, b: (2 * a > 1 / (b * b + 3)).astype(float).sum() * a.mean() - b.T[0, 0],
    "both": lambda a, b: a.sum() + (a + b).sum() * 1.0 + b[0, 0] * b[0, 0],
    "einsum": lambda a, b: tl.einsum("ij,jk,ik->", a, b, a) + tl.trace(tl.inv(a @ a.T + np.eye(3))),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [float, np.float32])
@pytest.mark.parametrize("f", NETWORKS.values(), ids=NETWORKS)
def test_networks_with_arrays_that_were_never_recorded(f, dtype, in_memory):
    assert_program_is(f, (3, 3), (3, 3), dtype=dtype)


def test_convolutions(in_memory):
    def f(x, w, b, v):
        h = tl.relu(tl.conv2d(x, w, b, padding=1))
        return tl.mse_loss(
            tl.conv2d(tl.max_pool2d(h, 2), v, stride=2), np.ones((2, 2, 2, 2), x.dtype)
        )

    assert_program_is(f, (2, 3, 8, 8), (4, 3, 3, 3), (4,), (2, 4, 2, 2), dtype=np.float32)
    assert_program_is(f, (2, 3, 8, 8), (4, 3, 3, 3), (4,), (2, 4, 2, 2), wrt=[1, 3])
    for kernel, options in [
        ((5, 3, 1, 1), {}),
        ((5, 3, 1, 1), {"stride": 2}),
        ((1, 3, 3, 3), {"padding": 1}),
        ((5, 3, 4, 4), {"stride": 2, "padding": 1}),
        ((5, 3, 3, 3), {"stride": 3, "dilation": 2}),
        ((6, 1, 3, 3), {"groups": 3}),
    ]:
        assert_program_is(
            lambda x, w, o=options: (tl.conv2d(x * x, w, **o) ** 2).sum(), (2, 3, 9, 9), kernel
        )


def test_numbers_and_scalars():
    def chain(a, b):  # of numbers that are each used once
        h = a
        for _ in range(300):
            h = -(h * 0.5 - b) / 2.0 + 0.1
        return h

    assert_program_is(chain, (), ())
    assert_program_is(lambda a, b: tanh(a * b + 0.5) / (1 + a * a) - tl.sigmoid(b), (), ())


def test_a_number_of_an_array_that_is_written_over():
    """h[0, 0, ...] is a view in NumPy; what is computed of it must not see what h is by then."""
    for index in ((0, 0), (0, 0, ...), (..., 1, 1)):

        def f(a, b, index=index):
            h = a + b  # needed by no rule, so that it may be written over
            number = h[index] * 2.0
            return ((h * 3.0 - 1.0) + number).sum()

        assert_program_is(f, (3, 3), (3, 3))


def test_other_leaves_are_read_at_each_call():
    w, c = leaf(3, name="w"), leaf(3, seed=1, name="c")
    run = program((w * tanh(c * 2.0)).sum(), w)
    for seed in (2, 3):
        c.data = leaf(3, seed=seed).data
        w.data = w.data * 2
        value, g = run()
        np.testing.assert_allclose(g, np.tanh(2 * c.data), rtol=1e-15)
        np.testing.assert_allclose(value, (w.data * g).sum(), rtol=1e-15)


def test_large_leaves_that_seldom_change():
    """What depends on them alone is computed when they do, in blocks of rows too."""
    x, w = Tensor(leaf(200_000, seed=1).data), leaf(200_000, seed=2)
    run = program((tanh(x * 2.0 + 1.0) * w).sum(), w)
    for seed in (1, 3, 3, 4):
        x.data = leaf(200_000, seed=seed).data
        np.testing.assert_allclose(run()[1], np.tanh(x.data * 2 + 1), rtol=1e-12)


def test_numbers_taken_out_are_constants():
    x = leaf(3, name="x")
    run = program((x * x.data.sum()).sum(), x, [x])
    assert run(np.zeros(3))[1].tolist() == [x.data.sum()] * 3


def test_results_are_nobody_elses_memory():
    """Neither another result's, nor an argument's, nor the next run's."""
    a, b = leaf(3, seed=1), leaf(3, seed=2)
    run = program((a + b).sum() + a.reshape(3, 1).sum() * 1.0, [a, b], [a, b])
    given = [np.ones(3), np.ones(3)]
    first, second = run(*given), run(*given)
    arrays = [*given, first[0], *first[1], second[0], *second[1]]
    for i, one in enumerate(arrays):
        for other in arrays[i + 1 :]:
            assert not np.shares_memory(one, other)
    for array in (*first[1], first[0]):
        array[...] = 7
    assert second[1][0].tolist() == [2, 2, 2]
    x = leaf(3)
    value, g = program(x, x, x, np.ones(3))(given[0])
    assert not np.shares_memory(value, given[0])
    assert g.tolist() == [1, 1, 1]


def addresses(arrays):
    return {a.__array_interface__["data"][0] for a in arrays}


def test_the_memory_of_large_results_is_used_again_when_nobody_holds_it():
    x, w = leaf(200, 200, seed=1), leaf(200, 200, seed=2)
    run = program((tanh(x @ w) * w).sum(), [x, w], [x])
    _, first = run(x.data)
    right, view, where = np.array(first[0]), first[0][::2], addresses(first)
    for _ in range(3):
        _, others = run(2 * x.data)  # while `first` is held
        assert not where & addresses(others)
    np.testing.assert_array_equal(first[0], right)
    del first, others
    for _ in range(3):  # while a view is
        _, others = run(2 * x.data)
    np.testing.assert_array_equal(view, right[::2])
    if not straight_is_used():
        return
    seen = set()
    for k in range(100):  # as in a loop: a result is let go when the next is there
        _, others = run(x.data)
        before, seen = len(seen), seen | addresses(others)
        assert len(seen) == before or k < 5


@pytest.mark.skipif(sys.platform != "linux", reason="what a page is, and when it is given back")
def test_a_run_finds_its_memory_where_the_last_left_it():
    import resource

    x = leaf(3_000_000)
    run = program((tanh(x) * x).sum(), x)
    for _ in range(3):
        _, g = run()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        _, g = run()
    found = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert found < 500 or not straight_is_used()  # of five times 6,000 pages of 4 kB
    assert g.shape == (3_000_000,)


@pytest.mark.filterwarnings("ignore:Setting the:DeprecationWarning")
def test_what_was_changed_in_a_result_is_not_found_in_the_next():
    """Who got an array may give it another shape or dtype, and lock it."""
    x = leaf(200, 100)
    run = program((x * x).sum(), x, [x])
    right = 2 * x.data

    changes = [
        lambda g: setattr(g, "shape", (100, 200)),
        lambda g: setattr(g, "dtype", np.int64),
        lambda g: g.setflags(write=False),
        lambda g: g.fill(np.nan),
        lambda g: g.resize(3, refcheck=False),
    ]
    for change in changes:
        for _ in range(2):
            change(run(x.data)[1])
        np.testing.assert_array_equal(run(x.data)[1], right)


def test_a_result_that_a_weak_reference_finds_keeps_its_numbers():
    x = leaf(200, 100)
    run = program((x * x).sum(), x, [x])
    for _ in range(3):
        found = weakref.ref(run(x.data)[1])
        run(3 * x.data)
        g = found()
        assert g is None or np.array_equal(g, 2 * x.data)
        g = None


def test_integers_among_the_inputs():
    """Their mean is that of floats, which their sum may be too large for; a sigmoid has none."""
    w, n = Tensor(2.0, requires_grad=True), Tensor([1, 2, 3, 4])
    large = np.array([2**62, 2**62, 2**62, 5])
    value, g = program(n.mean() * w, w, [n])(large)
    assert value == 2 * g == 2 * large.mean()
    value, g = program((tl.sigmoid(n) * w).sum(), w, [n])(np.array([-2, 0, 1, 800]))
    assert value == 2 * g
    np.testing.assert_allclose(g, 2.5 + 1 / (1 + np.exp(2)) - 1 / (1 + np.e), rtol=1e-15)


def test_a_program_does_not_keep_its_record_alive():
    w = leaf(50, name="w")
    h = tanh(w)
    y = (h * h).sum()
    gone, run = weakref.ref(h), program(y, w)
    del h, y
    gc.collect()
    assert gone() is None or not straight_is_used()
    assert run()[1].shape == (50,)


def straight_is_used():
    from tinygrad_lite.recorded import rerun

    return rerun.passes.__module__ != rerun.__name__


def test_an_op_of_yours_may_keep_what_it_is_given_but_not_write_to_it(in_memory):
    kept = []

    @op
    def keeping(x):
        kept.append(x)
        return x * 2

    @keeping.vjp
    def _(g, out, x):
        kept.append(g)
        return 2 * g

    x = leaf(4, name="x")
    h = tanh(x) + 1.0
    y = keeping(h) + keeping(h.reshape(2, 2).T).sum() + (h + 1.0) * 3.0
    run = program(y.sum(), x, [x])
    kept.clear()
    run(np.zeros(4))
    before = [np.array(a) for a in kept]
    assert before[0].tolist() == [1, 1, 1, 1]
    run(np.ones(4))
    for array, was in zip(kept, before, strict=False):
        np.testing.assert_array_equal(array, was)

    writing = False

    @op
    def meddling(x):
        if writing:
            x += 1
        return x * 2

    meddling.vjp(lambda g, out, x: 2 * g)
    run = program(meddling(tanh(x) + 1.0).sum(), x, [x])
    writing = True
    with pytest.raises(ValueError, match="read-only"):
        run(np.ones(4))


def test_an_op_that_gives_another_shape_is_refused():
    @op
    def positive_ones(x):
        return x[x > 0]

    @positive_ones.vjp
    def _(g, out, x):
        full = np.zeros(x.shape)
        full[x > 0] = g
        return full

    x = Tensor([1.0, -1.0, 2.0], requires_grad=True)
    run = program(positive_ones(x).sum(), x, [x])
    assert run(np.array([-1.0, 1.0, 3.0]))[1].tolist() == [0, 1, 1]
    with pytest.raises(ValueError, match="named twice"):
        program(positive_ones(x).sum(), x, [x, x])
    with pytest.raises((RuntimeError, ValueError)) as caught:
        program(positive_ones(x) @ np.array([1.0, 2.0]), x, [x])(np.ones(3))
    assert "shape" in str(caught.value)


def test_programs_run_in_threads_at_once():
    W = leaf(100, 100, name="W")
    x = leaf(100, 100, name="x")
    run = program(tanh(W @ tanh(W @ x)).sum(), W, [x])
    arrays = [leaf(100, 100, seed=i).data for i in range(8)]
    expected = [run(a)[1] for a in arrays]
    found = [None] * 8

    def work(i):
        for _ in range(20):
            found[i] = run(arrays[i])[1]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for one, right in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, right)


def test_the_code_grows_with_the_computation_and_no_faster():
    def lines(n):
        h = w = leaf()
        for _ in range(n):
            h = tanh(h * w)
        tape = straight.Tape(tl.ancestors.ancestors([h]))
        tape.add_gradients(h, np.float64(1), [w], tl.ancestors.ancestors([h]))
        return len(tape.lines)

    assert lines(200) - lines(100) == lines(300) - lines(200) <= 1000


def test_products_with_one_and_constants_cost_no_line():
    x = leaf(4)
    y = (x * x).sum()
    tape = straight.Tape(tl.ancestors.ancestors([y]))
    places = tape.add_gradients(y, np.float64(1), [x], tl.ancestors.ancestors([y]))
    computed = [line for line in tape.lines if line.function is not None]
    assert len(computed) == 3  # the product, the sum, and x + x
    assert tape.lines[places[0]].op is tl.add


@pytest.mark.parametrize("n", range(8))
def test_a_factor_is_not_taken_for_the_number_of_an_array(n):
    """Arrays of a program have numbers, and the one with the number of a factor may be all 1."""
    x = leaf()
    assert program(x * float(n), x)()[1] == program(n * x, x)()[1] == n
    assert program(x * x * n, x)()[1] == 2 * n * x.item()


def test_a_name_means_its_leaf():
    w, x = leaf(3, name="w"), leaf(3, seed=1, name="x")
    y = (w * x * x).sum()
    one, several = program(y, "w", [x]), program(y, ["x", w], [x])
    np.testing.assert_array_equal(one(x.data)[1], grad(y, w).data)
    for got, right in zip(several(x.data)[1], grad(y, [x, w]), strict=True):
        np.testing.assert_array_equal(got, right.data)
    with pytest.raises(ValueError, match="no gradient travels to a value named 'v'"):
        program(y, "v")
