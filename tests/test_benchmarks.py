"""The benchmarks run, and every engine in them computes the same gradients. No time is tested."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import against, measure  # noqa: E402
from benchmarks.data import SIZES, WHAT, conv_grid, data, sizes_of  # noqa: E402

ENGINES = ["tinygrad_lite", "program", "limit"]  # NumPy by hand is what they are held to


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("workload", WHAT)
def test_gradients_of_each_workload_are_those_written_by_hand(engine, workload):
    error = measure.disagreement(engine, workload, scale=0.1)
    assert error is None if engine == "limit" and workload[1] in "456" else error < 1e-3


def test_a_wrong_gradient_is_noticed(monkeypatch):
    make = measure.make

    def doubled(engine, *args):
        step = make(engine, *args)
        return step if engine == "NumPy" else lambda: [2 * g for g in step()]

    monkeypatch.setattr(measure, "make", doubled)
    assert measure.disagreement("tinygrad_lite", "w2") == pytest.approx(1)


@pytest.mark.slow
def test_the_grid_has_what_it_says():
    cases = [sizes_of(name) for name in conv_grid()]
    assert len({tuple(case.items()) for case in cases}) == len(cases) > 200
    for key, values in {
        "c": {1, 64}, "o": {1, 64}, "k": {1, 7}, "stride": {1, 2}, "padding": {0, 1},
        "groups": {1, 4, 64}, "dtype": {"float32", "float64"},
    }.items():  # fmt: skip
        assert values <= {case[key] for case in cases}
    for name in conv_grid(quick=True):
        assert measure.disagreement("tinygrad_lite", name) < 1e-3


@pytest.mark.parametrize("engine", ["tinygrad_lite", "program"])
def test_a_workload_has_the_size_that_its_name_says(engine):
    assert data("w3f width=4 batch=2")["x"].shape == (2, 4)
    assert data("w3f")["x"].shape == (32, 64)
    for names in SIZES.values():
        assert measure.disagreement(engine, names[0]) < 1e-3
    tape = measure.make("NumPy", "w1 ops=12"), measure.make("NumPy", "w1")
    assert tape[0]()[3] != tape[1]()[3]  # of another number of ops


def test_inputs_are_the_same_every_time():
    for mine, again in zip(data("w8", 1e-5).values(), data("w8", 1e-5).values(), strict=True):
        np.testing.assert_array_equal(mine, again)


@pytest.mark.slow
def test_the_command_prints_its_tables():
    command = [sys.executable, "-m", "benchmarks", "--quick", "--engines", "tinygrad_lite", "NumPy"]
    command += [
        "--only",
        "w2",
        "chain",
        "import",
        "analyses",
        "history",
        "growth",
        "again",
        "sizes",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "| w2 layer" in done.stdout
    assert "100 ops" in done.stdout
    assert "3 layers, 2^2 paths" in done.stdout
    assert "100 ops on vectors of 16" in done.stdout
    assert "Cost against size: batch" in done.stdout
    assert "| 2 layers of width 4 |" in done.stdout
    assert "steps: ms against the size" in done.stdout
    assert "| stack of n |" in done.stdout
    assert "Import beyond NumPy's own" in done.stdout


def test_an_interval_has_the_median_in_95_percent_of_cases():
    assert against.interval([*range(15, 0, -1)]) == (8, 4, 12)  # tables of the sign test
    assert against.interval([1, 2, 3, 4, 5, 6]) == (3.5, 1, 6)
    assert against.interval([1, 2, 3, 4, 5]) == (3, 0, np.inf)
    rng = np.random.default_rng(0)
    found = [against.interval(rng.normal(size=15)) for _ in range(1000)]
    assert 0.94 < np.mean([low < 0 < high for _, low, high in found]) < 0.99


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs the history")
def test_a_checkout_is_compared_with_another_commit():
    command = [sys.executable, "-m", "benchmarks", "--against", "HEAD", "--quick", "--only", "w2"]
    command += ["import"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "Time over HEAD's: 2 cases" in done.stdout
    assert "| w2 layer" in done.stdout
    assert "| import" in done.stdout
    assert "Interval above 1.05: " in done.stdout
    trees = subprocess.run(["git", "worktree", "list"], cwd=ROOT, capture_output=True, text=True)
    assert "/old " not in trees.stdout
