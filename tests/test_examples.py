"""Every example runs as a student runs it, and its numbers hold against other libraries."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.fft
from conftest import code_lines, require

import tinygrad_lite as tl
from tinygrad_lite.drawing.svg import extent
from tinygrad_lite.target import only_in_functions, tables

EXAMPLES = Path(__file__).parent.parent / "examples"

PRINTS = {
    "engine": [
        "*              1       1       3    x",
        "2^60 paths is 1152921504606846976",
        "-2   0.119   0.105   0.080       0",
        "W1  0.0725  0.2239     0.2794",
    ],
    "nand": [
        "1   1  -0.5      0",
        "df/db  = 0.0",
        "NAND -> +     blocked",
        "from 4 NANDs: 0 1 1 0",
        "H is the step g (Heaviside):  NAND 1  NAND 2  NAND 3  NAND 4",
        "1  1  1       1    1",
    ],
    "dct": [
        "largest error                2.885  at k = 2",
        "all 259081 patches",
        "4   8  12  16  16",
    ],
    "layer": [
        "has shape (3,) but W has (4, 3)",
        "-1000             nan   0           the engine",
        "-700               0   9.86e-305   the engine",
        "    1           0.197   0.197       both",
        "700       9.86e-305   0           the printed formula",
        "1000               0   0           both",
    ],
    "skip_networks": [
        "W1 → z → y → F → G     10  0.0725   −23 %",
        "W1         0.0725   0.224   0.279  +123 %  0.0725   −23 %       0.64  paths oppose",
        "W1         7.02e-09     0.279   0.279  +100 %  7.02e-09    ≈0 %",
        "b3 + 2.00       0.191   5.9°",
        "f3       −23 %      0.279  10.7°      0.279             1.19",
        "f3       −18 %      0.421   4.4°      0.134             1.19",
        "compare.svg first: F and G on one scale. G has one arrow more, the",
        "Over it y gets a gradient of 2.00, through f3 0.451.",
        "So the gradient of W1 is 0.224 in G, and 0.0725 in F.",
    ],
    "deep_residual": [
        "1  4.9e-35  3.5e+00",
        "sigmoid shrinks it most",
        "25  126,410,606,437,752 ",
        "50                   1 ",
        "The 0.45% of the paths that go through 5 to 17 of 54 modules carry",
        "43   +15.9%             +16.0%",
        "over all 50 is 0.76",
    ],
    "large_nets": [
        "50 blocks. On its way back the gradient grows 27-fold, from 1.58 after block 50",
        "It vanishes 17 steps back: after step 83 next to nothing is left.",
        "largest in mlp of block 1 (+74 %)",
        "Softmax of block 4 opposes most",
    ],
    "denoise": ["DCT 8x8               2"],
    "learned_denoise": ["waves learned          "],
    "skip_or_not": [
        "F, rate x 30",
        "They do not say who\nlearns: in 600 steps",
        "shares of the gradient of W1 by depth",
    ],
    "digits": ["drawn at random"],
    "from_pytorch": [
        "mean number of branches, as Veit et al. weigh paths: ",
        "Its gradient to the embedding goes by way of",
    ],
}

PICTURES = {
    "engine": set(),
    "nand": {"nand.svg", "nand_xor.svg", "nand_learned.svg"},
    "dct": {
        "dct.svg",
        "dct_kernel_flat.png",
        "dct_kernel_2d.png",
        "dct_coefficients.png",
        "dct_rebuilt.png",
    },
    "layer": {"layer.svg"},
    "skip_networks": {
        "F.svg",
        "G.svg",
        "F_saturated.svg",
        "G_saturated.svg",
        "compare.svg",
        "flow.svg",
    },
    "deep_residual": {
        "deep_profile_F.svg",
        "deep_profile_G.svg",
        "deep_flow.svg",
        "deep_branches.svg",
        "deep_depths.png",
    },
    "large_nets": {
        "residual.svg",
        "recurrent.svg",
        "transformer.svg",
        "transformer_flow.svg",
        "u_net.svg",
        "cnn.svg",
    },
    "denoise": {"denoise.png"},
    "learned_denoise": {"learned_waves.png", "learned_denoise.png", "learned_denoise.npz"},
    "skip_or_not": {"skip_or_not.png", "skip_or_not_three.svg", "skip_or_not_twenty.svg"},
    "digits": {"digits.png", "digits.npz"},
    "from_pytorch": {"from_pytorch_depths.png", "from_pytorch.svg"},
}

SIGNATURE = {".svg": b"<svg", ".png": b"\x89PNG", ".npz": b"PK"}


QUICK = ("nand", "layer", "skip_networks", "large_nets")  # the others take seconds each


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in PRINTS],
)
def test_example_runs_prints_and_draws(name, tmp_path):
    if name == "from_pytorch":
        require("torch")
    done = subprocess.run(
        [
            *(sys.executable, "-W", "error", EXAMPLES / f"{name}.py"),
            *("--quick", "--out", tmp_path / "pictures"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
        # One thread: the matrices are small, and other tests may run beside this one.
        env=os.environ | {"PYTHONUTF8": "1", "OPENBLAS_NUM_THREADS": "1"},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    for text in PRINTS[name]:
        assert text in done.stdout

    written = [Path(path) for path in re.findall(r"^wrote (.+)$", done.stdout, re.MULTILINE)]
    assert {path.name for path in written} == PICTURES[name]
    assert set((tmp_path / "pictures").glob("*")) == set(written)
    for path in written:
        if name == "large_nets":  # each is one picture for a slide, and the one in the gallery
            width, height = extent(path.read_text(encoding="utf-8"))
            assert width <= 1600
            assert height <= 1000
            assert path.read_bytes() == (EXAMPLES / "gallery" / path.name).read_bytes(), (
                "out of date: run examples/large_nets.py --out examples/gallery"
            )
        assert SIGNATURE[path.suffix] in path.read_bytes()[:1000], path


@pytest.fixture
def left_by(tmp_path, monkeypatch):
    """What an example leaves under its names, run cell by cell, as a notebook runs it."""

    def run(name, *options):
        monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "kernel.json", *options])
        monkeypatch.syspath_prepend(EXAMPLES)
        monkeypatch.delitem(sys.modules, "pictures", raising=False)
        monkeypatch.chdir(tmp_path)
        names = {"__name__": "__main__"}
        for cell in (EXAMPLES / f"{name}.py").read_text(encoding="utf-8").split("# %%")[1:]:
            if cell.startswith(" [markdown]"):
                assert all(line[:1] in ("", "#") for line in cell.splitlines()[1:]), cell
            else:
                exec(cell, names)
        return names

    return run


# Chapter 0's engine beside the package


def perceptron(step):
    """Exercise 1: all four cases of NAND, from w1, w2 and b."""
    x1, x2 = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0, 1.0])
    return lambda w1, w2, b: step(w1 * x1 + w2 * x2 + b)


def networks(sigmoid):
    """Exercise 4: F and G side by side, as F + v G, from x and the parameters."""

    def f(x, W1, b1, W2, b2, W3, b3):
        y = sigmoid(W2 @ sigmoid(W1 @ x + b1) + b2)
        F = sigmoid(W3 @ y + b3)
        return F + np.array([2.0, -1.0, 0.5, 3.0]) * (F + y)

    return f


# (what is computed with the engine, the same with the package, the shapes of the inputs)
EXERCISES = {
    "x * x + x": (lambda e: lambda x: x * x + x, lambda x: x * x + x, [()]),
    "stretched": (lambda e: lambda a, b: a * b - 1 - b, lambda a, b: a * b - 1 - b, [(2, 1), 3]),
    "a blocked NAND": (
        lambda e: perceptron(e["heaviside"]), perceptron(tl.heaviside), [(), (), ()],
    ),
    "a smooth NAND": (lambda e: perceptron(e["sigmoid"]), perceptron(tl.sigmoid), [(), (), ()]),
    "the DCT of blocks": (
        lambda e: lambda x, D: e["contract"](x, D, spec="yixj,kij->kyx"),
        lambda x, D: tl.conv2d(x.reshape(1, 1, 12, 8), D[:, None], stride=4)[0],
        [(3, 4, 2, 4), (16, 4, 4)],
    ),
    "a layer": (
        lambda e: lambda x, W, b: e["sigmoid"](W @ x + b),
        lambda x, W, b: tl.sigmoid(W @ x + b),
        [3, (4, 3), 4],
    ),
    "F and G": (
        lambda e: networks(e["sigmoid"]), networks(tl.sigmoid),
        [3, (4, 3), 4, (4, 4), 4, (4, 4), 4],
    ),
}  # fmt: skip


@pytest.mark.parametrize("exercise", EXERCISES)
def test_chapter_0_computes_what_the_package_does(left_by, exercise):
    """The value, the gradients, and the gradients of the gradients."""
    chapter = left_by("engine")
    make, theirs, shapes = EXERCISES[exercise]
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) for shape in shapes]
    found = derivatives(make(chapter), chapter["Value"], chapter["grad"], arrays)
    expected = derivatives(theirs, tl.Tensor, tl.grad, arrays)
    assert len(found) == 1 + 3 * len(arrays)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-15 * max(1, np.abs(b).max()))
    assert np.any(found[1]) == (exercise != "a blocked NAND")


def derivatives(f, value, grad, arrays):
    """f's value, its gradients by backward and by grad, and those of the latter's norm."""
    inputs = [value(array, requires_grad=True) for array in arrays]
    output = f(*inputs)
    cotangent = np.random.default_rng(1).standard_normal(output.shape)
    output.backward(cotangent)
    gradients = [grad(output, x, cotangent) for x in inputs]
    norm = sum((g * g).sum() for g in gradients)
    return [
        output.data, *(x.grad for x in inputs), *(g.data for g in gradients),
        *(grad(norm, x).data for x in inputs),
    ]  # fmt: skip


def test_chapter_0_keeps_the_engines_promises(left_by, recwarn):
    e = left_by("engine")
    x = e["Value"](3.0, requires_grad=True)
    y = x * x
    sent = [(s, float(c)) for _, _, s, c in e["messages"](y, np.ones(())) if s is not None]
    assert sent == [(0, 3), (1, 3)]  # two edges
    with e["no_grad"]():
        assert ((x * x).op, (x * x).requires_grad) == (None, False)
    assert (y.op.symbol, y.requires_grad) == ("*", True)
    assert (e["F"].scope, e["G"].scope) == (("f3",), ())
    for _ in range(60):
        y = y + y
    assert e["grad"](e["grad"](y, x), x).data == 2.0**61
    far = e["Value"]([-1000.0, 1000.0], requires_grad=True)
    e["sigmoid"](far).backward(np.ones(2))
    assert far.grad.tolist() == [0, 0]
    assert not recwarn.list
    with pytest.raises(ValueError, match="read-only"):
        x.data[...] = 0


def test_chapter_0_fits_on_two_screens():
    text = (EXAMPLES / "engine.py").read_text(encoding="utf-8")
    assert len(code_lines(text)) <= 140
    assert max(map(len, text.splitlines())) <= 100


# The others beside other libraries


def test_layer_jacobians_are_pytorchs(left_by):
    torch = require("torch")
    left = left_by("layer")
    inputs = tuple(torch.tensor(left[name].numpy()) for name in ("x", "W", "b"))
    theirs = torch.autograd.functional.jacobian(
        lambda x, W, b: torch.sigmoid(W @ x + b), inputs, vectorize=True
    )
    for name, jacobian in zip("xWb", theirs, strict=True):
        np.testing.assert_allclose(left[f"J_{name}"], jacobian.numpy(), rtol=0, atol=1e-15)


def test_gradients_of_f_and_g_are_pytorchs(left_by):
    torch = require("torch")
    left = left_by("skip_networks")
    x = torch.tensor(left["x"].numpy())
    W1, b1, W2, b2, W3, b3 = parameters = [
        torch.tensor(t.numpy(), requires_grad=True) for t in (*left["t1"], *left["t2"], *left["t3"])
    ]
    y = torch.sigmoid(W2 @ torch.sigmoid(W1 @ x + b1) + b2)
    F = torch.sigmoid(W3 @ y + b3)
    for ours, output in ((left["F"], F), (left["G"], F + y)):
        np.testing.assert_allclose(ours.data, output.detach().numpy(), rtol=0, atol=1e-15)
        theirs = torch.autograd.grad(output.sum(), parameters, retain_graph=True)
        for i, b in enumerate(theirs):
            found = left["d"](ours, [left["t1"], left["t2"], left["t3"]][i // 2])
            part = found[: b.numel()] if i % 2 == 0 else found[-b.numel() :]
            np.testing.assert_allclose(part, b.numpy().ravel(), rtol=0, atol=1e-15)


def test_patches_of_the_photograph_are_pytorchs(left_by):
    torch = require("torch")
    left = left_by("dct")
    photo, kernel = (torch.tensor(left[name].numpy()) for name in ("x", "square"))
    theirs = torch.nn.functional.conv2d(photo, kernel)
    np.testing.assert_allclose(left["patches"].data, theirs.numpy(), rtol=0, atol=1e-13)
    theirs = torch.nn.functional.conv_transpose2d(theirs, kernel)
    np.testing.assert_allclose(left["synthesis"].data, theirs.numpy(), rtol=0, atol=1e-13)


def test_nand_is_learned_from_any_of_these_random_weights(left_by):
    """Not a lucky seed: the descent of the example reaches the truth table from 20 starts."""
    left = left_by("nand")
    parameters = [left[name] for name in ("w1", "w2", "b")]
    for seed in range(20):
        rng = np.random.default_rng(seed)
        for t in parameters:
            t.data = rng.standard_normal()
            t.zero_grad()
        for _ in range(200):
            left["error"]().backward()
            for t in parameters:
                t.data = t.data - 2 * t.grad
                t.zero_grad()
        np.testing.assert_array_equal(left["nand"](left["x1"], left["x2"]).data, [1, 1, 1, 0])


def sliding_dct(noisy, sigma, n):
    """DCT denoising patch by patch, with SciPy: threshold each, and average where they overlap."""
    padded = np.pad(noisy.astype(float), n - 1, mode="reflect")
    total, count = np.zeros_like(padded), np.zeros_like(padded)
    for i in range(padded.shape[0] - n + 1):
        for j in range(padded.shape[1] - n + 1):
            here = np.s_[i : i + n, j : j + n]
            coefficients = scipy.fft.dctn(padded[here], norm="ortho")
            mean = coefficients[0, 0]
            coefficients[np.abs(coefficients) <= 3 * sigma] = 0
            coefficients[0, 0] = mean
            total[here] += scipy.fft.idctn(coefficients, norm="ortho")
            count[here] += 1
    return (total / count)[n - 1 : 1 - n, n - 1 : 1 - n]


def test_dct_denoising_is_scipys_patch_by_patch(left_by):
    left = left_by("denoise", "--quick")
    noisy, sigma = left["noisy"][:40, :30], 20 / 255
    for n in (4, 8):
        found = left["denoise_dct"](noisy, sigma, n)
        np.testing.assert_allclose(found, sliding_dct(noisy, sigma, n), atol=1e-6)


@pytest.mark.slow
def test_what_is_learned_from_starts_as_dct_denoising(left_by):
    """To subtract the dropped coefficients is to keep the others; and learning changes both."""
    left = left_by("learned_denoise", "--quick")
    noisy = left["seen"][:40, :30]
    learned = left["denoise"](noisy, 20)
    left["K"].data = left["before"]
    expected = sliding_dct(noisy, 20 / 255, 8)
    np.testing.assert_allclose(
        left["denoise"](noisy, 20, left["hard_threshold"]), expected, atol=1e-6
    )
    flat = np.full((30, 30), 0.75, np.float32)
    np.testing.assert_allclose(left["denoise"](flat, 20), flat, atol=1e-6)
    assert np.abs(learned - expected).max() > 1e-6


@pytest.mark.slow
def test_paths_of_the_residual_network_are_pytorchs(left_by):
    """The sum of the classes is PyTorch's gradient, and k = 0 is the skips alone."""
    torch = require("torch")
    left = left_by("deep_residual")
    h = x = torch.tensor(left["x"].numpy(), requires_grad=True)
    for W, b in left["layers"]:
        h = h + torch.sigmoid(torch.tensor(W.numpy()) @ h + torch.tensor(b.numpy()))
    v = left["v"]
    (expected,) = torch.autograd.grad(h, x, torch.tensor(v))
    np.testing.assert_allclose(left["total"], expected.numpy(), rtol=1e-12)
    np.testing.assert_array_equal(left["classes"][0].contribution, v)


@pytest.mark.slow
def test_a_quick_run_of_the_learning_shows_curves(left_by):
    left = left_by("skip_or_not", "--quick")
    for axes in left["axes"].ravel():
        curves = [line for line in axes.get_lines() if np.isfinite(line.get_ydata()).any()]
        assert {line.get_color() for line in curves} >= {left["ORANGE"]}
        for line in curves:
            points = np.column_stack(line.get_data())
            assert np.isfinite(points).all()
            assert len(points) > 10
    saturated = left["axes"][1, 1].get_lines()  # where F's gradient is 0, and so has no curve
    assert {x.get_color() for x in saturated if np.isfinite(x.get_ydata()).any()} == {
        left["ORANGE"]
    }
    assert "who learns" in left["figure"].get_suptitle()


@pytest.mark.slow
def test_the_two_readings_of_effective_paths_differ_as_the_text_says(left_by):
    found = left_by("deep_residual")["effective"]
    expected = {"sigmoid": (0.23, 0.0), "tanh": (0.98, 0.46), "relu": (0.22, 0.51)}
    for name, readings in expected.items():
        assert found[name] == pytest.approx(readings, abs=0.01), name


# Chapter 0 is an engine of its own, which has no page.
CHAPTERS = [p for p in EXAMPLES.glob("*.py") if "# %%" in p.read_text("utf-8")]


@pytest.mark.parametrize("example", [p for p in CHAPTERS if p.name != "engine.py"])
def test_each_ends_with_the_line_that_opens_its_page(example):
    last = example.read_text(encoding="utf-8").splitlines()[-1]
    found = re.fullmatch(
        rf"# Turn its knobs: `tinygrad-lite live examples/{example.name}:(\w+)( -- --quick)?`", last
    )
    assert found
    bound = {x.get_name() for _, table in tables(example) for x in table.get_symbols()}
    assert found[1] in bound | only_in_functions([found[1]], example)
