"""Optimisers against PyTorch's, first weights, batches, and the parameters' file."""

import gc
import os
import tracemalloc

import numpy as np
import pytest
from conftest import require

import tinygrad_lite as tl
from tinygrad_lite import Tensor, grad, tanh
from tinygrad_lite.training import SGD, Adam, batches, he_normal, load, save, xavier_normal


def parameters(dtype=np.float64):
    rng = np.random.default_rng(0)
    return [
        Tensor(rng.standard_normal(shape), requires_grad=True, name=name, dtype=dtype)
        for name, shape in {"W": (3, 4), "b": (3,), "scale": ()}.items()
    ]


def loss(W, b, scale, tanh=tanh):
    return ((tanh(W).sum(1) * scale + b) ** 2).sum() + (W * W).mean()


@pytest.mark.parametrize(
    ("ours", "theirs", "options"),
    [
        (SGD, "SGD", {"lr": 0.05}),
        (SGD, "SGD", {"lr": 0.05, "momentum": 0.9}),
        (Adam, "Adam", {}),
        (Adam, "Adam", {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3}),
    ],
)
def test_a_descent_is_pytorchs(ours, theirs, options):
    torch = require("torch")
    here = parameters()
    there = [torch.tensor(t.numpy(), requires_grad=True) for t in here]
    optimiser, other = ours(here, **options), getattr(torch.optim, theirs)(there, **options)
    for _ in range(20):
        loss(*here).backward()
        optimiser.step()
        other.zero_grad()
        loss(*there, tanh=torch.tanh).backward()
        other.step()
        for a, b in zip(here, there, strict=True):
            np.testing.assert_allclose(a.data, b.detach().numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("optimiser", [lambda t: SGD(t, 0.1, momentum=0.5), Adam])
def test_a_step_keeps_float32_forgets_the_gradient_and_spares_what_has_none(optimiser):
    W, b, scale = parameters(np.float32)
    before = b.numpy()
    moved = W.numpy()
    descent = optimiser([W, b, scale])
    (W * scale).sum().backward()
    descent.step()
    assert W.dtype == scale.dtype == np.float32
    assert W.grad is None
    assert not np.any(W.data == moved)
    np.testing.assert_array_equal(b.data, before)
    moved = W.numpy()
    descent.step()  # no backward since: nothing to go by
    np.testing.assert_array_equal(W.data, moved)


@pytest.mark.slow
@pytest.mark.parametrize("through", ["backward", "grad", "the gradient's norm"])
def test_a_thousand_steps_take_no_more_memory_than_one(through):
    """And that by reference counting alone: nothing waits for the garbage collector. (Python
    itself keeps up to 2,000 freed tuples of each length: the first steps fill that store.)"""
    ps = parameters()
    optimiser = SGD(ps, lr=1e-3)

    def step():
        value = loss(*ps)
        if through == "backward":
            value.backward()
            optimiser.step()
            return
        gradients = grad(value, ps)
        if through == "grad":
            for p, g in zip(ps, gradients, strict=True):
                p.data = p.data - 1e-3 * g.data
        else:
            (value + sum((g * g).sum() for g in gradients)).backward()
            optimiser.step()

    gc.collect()
    gc.disable()
    try:
        for _ in range(2500):
            step()
        tracemalloc.start()
        step()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(1000):
            step()
        assert tracemalloc.get_traced_memory()[0] - before < 20_000  # one array a step is 100,000
    finally:
        tracemalloc.stop()
        gc.enable()


def test_the_learning_rate_may_change_between_steps():
    x = Tensor(1.0, requires_grad=True)
    descent = SGD([x], lr=0.25)
    for lr, expected in ((0.25, 0.5), (0.5, 0.0)):
        descent.lr = lr
        (x * x).backward()
        descent.step()
        assert x.item() == expected


@pytest.mark.parametrize("make", [lambda: Tensor(1.0), lambda: Tensor(1.0, requires_grad=True) * 2])
def test_only_a_leaf_that_requires_a_gradient_is_trained(make):
    with pytest.raises(TypeError, match="cannot be trained"):
        Adam([make()])


def test_first_weights_keep_the_size_of_what_passes():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((512, 400))
    W = he_normal(rng, (300, 400), np.float64)
    np.testing.assert_allclose((np.maximum(x @ W.T, 0) ** 2).mean(), 1, rtol=0.1)
    W = xavier_normal(rng, (400, 400), np.float64)
    np.testing.assert_allclose((x @ W.T).std(), 1, rtol=0.1)


@pytest.mark.parametrize(
    ("ours", "theirs", "options"),
    [
        (he_normal, "kaiming_normal_", {"nonlinearity": "relu"}),
        (xavier_normal, "xavier_normal_", {}),
    ],
)
def test_first_weights_are_spread_as_pytorchs(ours, theirs, options):
    torch = require("torch")
    shape = (64, 32, 5, 5)
    expected = getattr(torch.nn.init, theirs)(torch.empty(shape), **options).std().item()
    found = ours(np.random.default_rng(0), shape)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.std(), expected, rtol=0.02)
    np.testing.assert_array_equal(found, ours(np.random.default_rng(0), shape))


@pytest.mark.parametrize(("n", "size"), [(10, 3), (9, 3), (2, 5), (0, 1)])
def test_batches_hold_each_number_once(n, size):
    found = list(batches(np.random.default_rng(0), n, size))
    assert all(len(batch) == size for batch in found[:-1])
    assert sorted(i for batch in found for i in batch) == list(range(n))


def test_batches_have_a_size():
    with pytest.raises(ValueError, match="size is 0"):
        batches(np.random.default_rng(0), 10, 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_saved_is_loaded(tmp_path, dtype):
    saved = parameters(dtype)
    save(tmp_path / "net.npz", saved)
    fresh = [Tensor(np.zeros_like(t.data), requires_grad=True, name=t.name) for t in saved]
    load(tmp_path / "net.npz", reversed(fresh))
    for a, b in zip(saved, fresh, strict=True):
        np.testing.assert_array_equal(a.data, b.data)
        assert a.dtype == b.dtype == dtype
    with np.load(tmp_path / "net.npz") as file:  # an ordinary .npz
        assert set(file) == {"W", "b", "scale"}


@pytest.mark.parametrize("name", ["file", "f1/W", "a b", "W.npy"])
def test_any_name_will_do(tmp_path, name):
    t = Tensor([1.0, 2.0], requires_grad=True, name=name)
    save(tmp_path / "net.npz", [t])
    t.data = [0.0, 0.0]
    load(tmp_path / "net.npz", [t])
    assert t.data.tolist() == [1, 2]


def test_a_name_may_end_as_numpys_files_do(tmp_path):
    """NumPy finds the entry "x.npy" for both names."""
    make = lambda a, b: [Tensor(a, True, name="x"), Tensor(b, True, name="x.npy")]
    save(tmp_path / "net.npz", make(1.0, 2.0))
    found = make(0.0, 0.0)
    load(tmp_path / "net.npz", found)
    assert [t.item() for t in found] == [1, 2]


def test_a_failed_save_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "net.npz"
    save(path, parameters())
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError("no space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(OSError, match="no space"):
        save(path, parameters())
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["net.npz"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda W, b, scale: [W, b], "it holds W, b, scale, not W, b$"),
        (lambda W, b, scale: [W, b, scale, Tensor(0.0, name="c")], "not W, b, c, scale$"),
        (
            lambda W, b, scale: [W, scale, Tensor([0.0], requires_grad=True, name="b")],
            r"b has shape \(3,\) and dtype float64 there, and \(1,\) and float64 here",
        ),
        (
            lambda W, b, scale: [
                W,
                scale,
                Tensor(b.data, requires_grad=True, name="b", dtype="f4"),
            ],
            r"b has shape \(3,\) and dtype float64 there, and \(3,\) and float32 here",
        ),
    ],
)
def test_a_file_of_other_parameters_changes_nothing(tmp_path, change, message):
    save(tmp_path / "net.npz", parameters())
    others = change(*parameters())
    others[0].data = others[0].data + 1
    before = [t.numpy() for t in others]
    with pytest.raises(ValueError, match=f"net.npz does not fit these parameters: .*{message}"):
        load(tmp_path / "net.npz", others)
    for t, old in zip(others, before, strict=True):
        np.testing.assert_array_equal(t.data, old)


@pytest.mark.parametrize("content", [b"", b"not a file of arrays", b"PK\x03\x04 cut short"])
def test_a_file_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "net.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"net\.npz is not a file of parameters"):
        load(tmp_path / "net.npz", parameters())


def test_a_file_of_one_array_is_refused(tmp_path):
    np.save(tmp_path / "one.npy", np.ones(3))
    with pytest.raises(ValueError, match=r"one\.npy is not a file of parameters"):
        load(tmp_path / "one.npy", parameters())


def test_a_file_cut_in_the_middle_is_refused(tmp_path):
    save(tmp_path / "net.npz", parameters())
    content = bytearray((tmp_path / "net.npz").read_bytes())
    content[len(content) // 4] ^= 255
    for bad in (content[: len(content) // 2], content):
        (tmp_path / "net.npz").write_bytes(bad)
        with pytest.raises(ValueError, match=r"net\.npz is not a file of parameters"):
            load(tmp_path / "net.npz", parameters())


@pytest.mark.parametrize(
    ("path", "names", "message"),
    [
        ("net.txt", ["W"], "npz"),
        ("net.npz", ["W", "W"], "two parameters are named 'W'"),
        ("net.npz", ["W", None], "no name"),
    ],
)
def test_what_cannot_be_saved_is_refused(tmp_path, path, names, message):
    with pytest.raises(ValueError, match=message):
        save(tmp_path / path, [Tensor(0.0, requires_grad=True, name=name) for name in names])
    assert not list(tmp_path.iterdir())


W1 = Tensor([1.0], True, name="W1")
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: SGD({"W1": W1}, 0.1), TypeError,
         "the parameters are a dict; give a list of Tensors, as [W1, b1], here "
         "list(parameters.values())"),
        (lambda: SGD(W1, 0.1), TypeError, "are of type Tensor; give a list of Tensors"),
        (lambda: SGD(3, 0.1), TypeError, "are of type int; give a list of Tensors, as [W1, b1]"),
        (lambda: SGD("W1", 0.1), TypeError, "are of type str"),
        (lambda: Adam([[W1]]), TypeError, "one of the parameters is of type list"),
        (lambda: SGD([W1, W1], 0.1), ValueError, "a parameter comes twice"),
        (lambda: SGD([W1], "0.1"), TypeError, "lr must be a number, but is of type str"),
        (lambda: SGD([W1], -0.1), ValueError, "lr must be at least 0 and finite, but is -0.1"),
        (lambda: Adam([W1], np.nan), ValueError, "lr must be at least 0 and finite, but is nan"),
        (lambda: SGD([W1], 0.1, "most"), TypeError, "momentum must be a number"),
        (lambda: Adam([W1], betas=0.9), TypeError, "betas must be a pair of numbers, as (0.9, 0."),
        (lambda: Adam([W1], betas=(0.9, 1)), ValueError, "betas must be at least 0 and below 1"),
        (lambda: Adam([W1], eps=-1), ValueError, "eps must be at least 0"),
        (lambda: he_normal(3, (2, 3)), TypeError, "rng is a np.random.default_rng(seed), but got"),
        (lambda: he_normal(RNG, 3), TypeError, "a shape is a tuple of integers, as (outputs, inp"),
        (lambda: xavier_normal(RNG, (3,)), ValueError, "weights have a shape (outputs, inputs, "),
        (lambda: batches(RNG, 10, "two"), TypeError, "batches: size must be an integer, but is"),
        (lambda: batches(RNG, 2.5, 2), TypeError, "batches: n must be an integer, but is 2.5"),
        (lambda: batches(RNG, -1, 2), ValueError, "must be at least 0, but n is -1"),
        (lambda: batches(None, 10, 2), TypeError, "rng is a np.random.default_rng(seed)"),
        (lambda: save("w.npz", {"W1": W1}), TypeError, "here list(parameters.values())"),
        (lambda: save([W1], "w.npz"), TypeError, "the name of a file is a str or Path, but got l"),
        (lambda: load("none.npz", [W1]), FileNotFoundError,
         "none.npz cannot be read: No such file or directory"),
        (lambda: load(".", [W1]), IsADirectoryError, ". cannot be read: Is a directory"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(call, kind, message):
    with pytest.raises(kind) as caught:
        call()
    assert caught.type is kind
    assert message in str(caught.value)


@pytest.mark.parametrize("make", [lambda ps: SGD(ps, 0.1, 0.9), lambda ps: Adam(ps, 0.1)])
def test_a_program_gives_the_gradients_of_a_step(make):
    pairs = [[Tensor(x, requires_grad=True) for x in (1.0, [2.0, 3.0])] for _ in range(2)]
    losses = [lambda p=p: ((p[0] * p[1] - 1.0) ** 2).sum() for p in pairs]
    (one, other), (first, second) = losses, (make(p) for p in pairs)
    run = tl.program(other(), wrt=pairs[1])
    for _ in range(5):
        one().backward()
        first.step()
        second.step(run()[1])
    for x, y in zip(*pairs, strict=True):
        np.testing.assert_allclose(x.data, y.data, rtol=1e-14)
    with pytest.raises(ValueError, match="there are 2 parameters, but 1 gradients were given"):
        second.step(run()[1][:1])
