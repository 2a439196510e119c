"""Single paths: which carry most, and what one of them weighs, held to a walk of all."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import random_graph

from tinygrad_lite import Tensor, path_classes, paths, scope, sin, tanh
from tinygrad_lite.insight import ways
from tinygrad_lite.insight.weights import DRAWN

seeds = st.integers(0, 10_000)


def scalar_graph(seed, size=12):
    """A computation of scalars, of a few hundred paths: (output, leaf)."""
    rng = np.random.default_rng(seed)
    a = Tensor(rng.standard_normal(), requires_grad=True, name="a")
    pool = [a, a * rng.standard_normal()]
    steps = [
        lambda x, y: x * y,
        lambda x, y: x - y,
        lambda x, y: tanh(x) + rng.standard_normal(),
        lambda x, y: sin(x + y),
        lambda x, y: x * rng.standard_normal(),
    ]
    for _ in range(size):
        x, y = (pool[-1 - int(rng.integers(min(len(pool), 3)))] for _ in range(2))
        with scope(f"s{int(rng.integers(3))}"):
            pool.append(steps[int(rng.integers(len(steps)))](x, y))
    return pool[-1] + pool[-2] + a, a


def residual(blocks, seed=0):
    """A chain of scalar residual blocks, of 2**blocks paths: (output, input)."""
    rng = np.random.default_rng(seed)
    a = h = Tensor(1.0, requires_grad=True, name="a")
    for i in range(blocks):
        with scope(f"f{i}"):
            f = sin(h * rng.standard_normal())
        h = h + f
    return h, a


def residual_arrays(blocks, seed=0):
    """The same with matrices: (the sum of the output, input)."""
    rng = np.random.default_rng(seed)
    x = h = Tensor(rng.standard_normal(4), requires_grad=True, name="x")
    for i in range(blocks):
        with scope(f"f{i}"):
            f = tanh(Tensor(rng.standard_normal((4, 4)) / 2) @ h)
        h = h + f
    return h.sum(), x


def norms(found):
    return [path.norm for path in found]


# The largest


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(1, 9))
def test_the_largest_of_scalars_are_those_of_a_walk(seed, top):
    output, a = scalar_graph(seed)
    every = sorted(norms(paths(output, a)), reverse=True)
    found = paths(output, a, top=top)
    assert norms(found) == every[:top]
    assert found.estimate is None
    assert found.total == len(every)


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(1, 9))
def test_the_largest_of_arrays_are_exact_where_none_is_left_out(seed, top):
    output, parameters = random_graph(seed)
    for p in parameters:
        every = sorted(paths(output, p), key=lambda path: -path.norm)
        found = paths(output, p, top=top)
        assert norms(found) == pytest.approx(norms(every[:top]), rel=1e-12)
        assert found.estimate is None
        shares = {path.edges: path.share for path in every}
        assert all(path.share == pytest.approx(shares[path.edges]) for path in found if path.share)


@pytest.mark.parametrize("seed", range(8))
def test_no_path_left_out_carries_more_than_the_estimate(seed, monkeypatch):
    """A search of no width at all leaves much out."""
    monkeypatch.setattr(ways, "LIMIT", 0)
    monkeypatch.setattr(ways, "WIDTH", 1)
    output, parameters = random_graph(seed, size=9)
    for p in parameters:
        for top in (1, 3):
            found = paths(output, p, top=top)
            listed = {path.edges for path in found}
            missed = [path.norm for path in paths(output, p) if path.edges not in listed]
            most = found[-1].norm if found.estimate is None else found.estimate
            assert max(missed, default=0.0) <= most * (1 + 1e-9)


def test_the_estimate_is_told_and_infinite_where_no_bound_is_known(monkeypatch):
    output, x = residual_arrays(20)
    monkeypatch.setattr(ways, "WIDTH", 2)
    found = paths(output, x, top=5)
    assert norms(found) == sorted(norms(found), reverse=True)
    assert norms(found)[-1] < found.estimate < math.inf
    assert "5 largest of 1,048,576 paths from" in str(found)
    assert "one left out may carry up to" in found.note
    assert found.coherence is None
    assert found.to_json()["estimate"] == found.estimate
    monkeypatch.setattr(ways, "SMALL", 0)
    assert paths(output, x, top=5).estimate == math.inf


def test_all_paths_may_be_asked_for():
    output, a = residual(3)
    found = paths(output, a, top=100)
    assert len(found) == found.total == 8
    assert sum(path.share for path in found) == pytest.approx(1)


@pytest.mark.parametrize("net", [residual, residual_arrays])
def test_the_largest_of_2_to_the_50_paths_take_no_time(net):
    output, x = net(50)
    start = time.process_time()
    found = paths(output, x, top=10)
    assert time.process_time() - start < 2
    assert len(found) == 10
    assert found.total == 2**50
    assert norms(found) == sorted(norms(found), reverse=True)


def test_of_equal_paths_some_are_listed():
    h = a = Tensor(1.0, requires_grad=True)
    for _ in range(60):
        h = h * 0.3 + h * 0.3
    found = paths(h, a, top=5)
    assert len({path.edges for path in found}) == 5
    assert norms(found) == pytest.approx([0.3**60] * 5)


def test_paths_of_nothing_carry_nothing(monkeypatch):
    monkeypatch.setattr(ways, "WIDTH", 1)
    monkeypatch.setattr(ways, "LIMIT", 0)
    a = Tensor(np.zeros((0, 2)), requires_grad=True)
    y = a * a + a
    assert norms(paths(y, a, np.zeros((0, 2)), top=2)) == [0.0, 0.0]
    assert path_classes(y.sum(), a).entropy is None
    b = Tensor(np.ones(2), requires_grad=True)
    h = b * b + b
    y = (h * h).sum() + (h[:0] * h[:0]).sum()
    assert norms(paths(y, b, top=1)) == pytest.approx([8**0.5])


def test_nan_counts_as_the_largest():
    a = Tensor(0.0, requires_grad=True)
    bad = a * math.nan
    found = paths(bad + 3.0 * a, a, top=1)
    assert math.isnan(found[0].norm)


def test_a_path_to_itself_is_the_largest():
    a = Tensor(2.0, requires_grad=True)
    assert [path.edges for path in paths(a, a, top=3)] == [()]


@pytest.mark.parametrize(("top", "error"), [(0, ValueError), (-1, ValueError), (2.0, TypeError)])
def test_top_is_a_number_of_paths(top, error):
    a = Tensor(2.0, requires_grad=True)
    with pytest.raises(error, match="top"):
        paths(a * a, a, top=top)


# What single paths weigh


def weighed(found):
    """The entropy and the mean depth of the paths of a walk, each weighed by its norm; None of
    either if all are 0."""
    weights = np.array(norms(found))
    if not weights.any():
        return None, None
    p = weights / weights.sum()
    entropy = -sum(x * math.log(x) for x in p if x)
    return entropy, float(p @ [len(path.scopes) for path in found])


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_entropy_and_effective_depth_of_scalars_are_those_of_a_walk(seed):
    output, a = scalar_graph(seed)
    classes = path_classes(output, a)
    entropy, depth = weighed(paths(output, a))
    assert classes.entropy == pytest.approx(entropy, rel=1e-9, abs=1e-9)
    assert classes.effective_depth == pytest.approx(depth, rel=1e-9, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(seeds, st.sampled_from(["scope", "depth", "skips"]))
def test_what_arrays_weigh_is_exact_where_all_are_drawn(seed, by):
    output, parameters = random_graph(seed, size=5)
    p = parameters[-1]
    walked, classes = paths(output, p), path_classes(output, p, by)
    keys = [
        {"scope": path.scopes, "depth": len(path.scopes), "skips": sum(e.skip for e in path.edges)}
        for path in walked
    ]
    for key, found in classes.items():
        members = [path.norm for path, k in zip(walked, keys, strict=True) if k[by] == key]
        if len(members) <= DRAWN:
            assert found.magnitude == pytest.approx(np.mean(members))
    if len(walked) <= DRAWN:
        entropy, depth = weighed(walked)
        assert classes.entropy == pytest.approx(entropy, abs=1e-9)
        assert classes.effective_depth == pytest.approx(depth, abs=1e-9)


def test_the_class_of_all_others_is_drawn_from_too():
    output, x = residual_arrays(6)
    walked = paths(output, x)
    classes = path_classes(output, x, keep=3)
    assert len(classes) == 3
    own = {key: path.norm for path in walked if (key := path.scopes) in classes}
    rest = [path.norm for path in walked if path.scopes not in classes]
    assert classes["other"].magnitude == pytest.approx(np.mean(rest))
    assert all(classes[key].magnitude == pytest.approx(size) for key, size in own.items())


def test_the_magnitude_is_within_the_error_of_sampling():
    output, x = residual_arrays(10)
    walked = paths(output, x)
    for depth, found in path_classes(output, x, "depth").items():
        members = np.array([path.norm for path in walked if len(path.scopes) == depth])
        error = members.std() / DRAWN**0.5 if len(members) > DRAWN else 0.0
        assert found.magnitude == pytest.approx(members.mean(), rel=1e-9, abs=4 * error)
        assert found.magnitude == path_classes(output, x, "depth")[depth].magnitude


def test_the_entropy_of_arrays_is_close_to_that_of_a_walk():
    output, x = residual_arrays(10)
    classes, (entropy, depth) = path_classes(output, x), weighed(paths(output, x))
    assert classes.entropy == pytest.approx(entropy, rel=0.05)
    assert classes.effective_depth == pytest.approx(depth, rel=0.1)


def test_the_entropy_of_equal_paths_is_the_log_of_their_number():
    h = a = Tensor(1.0, requires_grad=True)
    for _ in range(2000):
        h = h * 0.5 + h * 0.5
    assert path_classes(h, a).entropy == pytest.approx(2000 * math.log(2))


@pytest.mark.parametrize("factor", [0.0, math.nan])
def test_where_nothing_finite_is_carried_there_is_no_entropy(factor):
    for value in (1.0, [1.0, 2.0]):
        a = Tensor(value, requires_grad=True)
        classes = path_classes((a * factor).sum(), a)
        assert classes.entropy is None
        assert classes.effective_depth is None
