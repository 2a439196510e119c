"""The gradient as traffic: what travels each path, class and edge, and that it all adds up."""

import math
from collections import Counter, defaultdict
from contextlib import ExitStack

import numpy as np
import pytest
from conftest import require
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import deep_net, random_graph, skip_networks
from samples import SAMPLES

import tinygrad_lite as tl
from tinygrad_lite import (
    Tensor,
    flow,
    grad,
    graph,
    path_classes,
    paths,
    scope,
    sigmoid,
    what_if,
)
from tinygrad_lite.insight.jacobians import pushforward
from tinygrad_lite.operation import OPS
from tinygrad_lite.testing import Call

EPS = np.finfo(float).eps
ONES = np.ones(4)
seeds = st.integers(0, 10_000)


def norm(a):
    return float(np.linalg.norm(np.ravel(a)))


def assert_law(parts, gradient):
    """|sum of parts - gradient| <= 32 eps * sum of |parts|."""
    assert norm(sum(parts) - gradient) <= 32 * EPS * sum(map(norm, parts))


# The skip networks


def test_the_two_paths_of_G():
    F, G, t = skip_networks()
    skip, deep = paths(G, wrt=t["W1"], gradient=ONES)
    assert skip.scopes == ("f1", "f2")
    assert deep.scopes == ("f1", "f2", "f3")
    np.testing.assert_array_equal(deep.contribution, grad(F, t["W1"], ONES).data)
    y = next(n.tensor for n in tl.graph(G).nodes if n.name == "y")
    np.testing.assert_array_equal(skip.contribution, grad(y, t["W1"], ONES).data)
    assert skip.share + deep.share == pytest.approx(1, abs=1e-12)


def test_the_contributions_are_those_of_pytorchs_sub_networks():
    torch = require("torch")
    _, G, t = skip_networks()
    x, *_ = (torch.tensor(t["x"].numpy()),)
    p = {k: torch.tensor(v.numpy(), requires_grad=True) for k, v in t.items() if k != "x"}
    z = torch.sigmoid(p["W1"] @ x + p["b1"])
    y = torch.sigmoid(p["W2"] @ z + p["b2"])
    F = torch.sigmoid(p["W3"] @ y + p["b3"])
    for name in ("W1", "b1", "W2", "b2"):
        skip, deep = paths(G, wrt=t[name], gradient=ONES)
        (of_y,) = torch.autograd.grad(y.sum(), p[name], retain_graph=True)
        (of_F,) = torch.autograd.grad(F.sum(), p[name], retain_graph=True)
        np.testing.assert_allclose(skip.contribution, of_y.numpy(), rtol=1e-12)
        np.testing.assert_allclose(deep.contribution, of_F.numpy(), rtol=1e-12)


# Paths, classes and flow say the same on every graph


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_paths_sum_to_the_gradient_and_shares_to_one(seed):
    output, parameters = random_graph(seed)
    for p in parameters:
        found = paths(output, wrt=p)
        gradient = grad(output, p).data
        assert_law([path.contribution for path in found], gradient)
        if found[0].share is not None:
            size = sum(abs(path.share) for path in found)
            assert sum(path.share for path in found) == pytest.approx(1, abs=1e-13 * size)


@settings(max_examples=60, deadline=None)
@given(seeds, st.sampled_from(["scope", "depth", "skips"]))
def test_a_class_is_the_sum_of_its_paths(seed, by):
    output, parameters = random_graph(seed)
    every = path_classes(output, wrt=parameters, by=by)
    for p, classes in zip(parameters, every, strict=True):
        walked = paths(output, wrt=p)
        keys = [
            {"scope": p.scopes, "depth": len(p.scopes), "skips": sum(e.skip for e in p.edges)}[by]
            for p in walked
        ]
        assert set(keys) == set(classes)
        for key, found in classes.items():
            members = [path for path, k in zip(walked, keys, strict=True) if k == key]
            assert found.count == len(members)
            parts = [path.contribution for path in members]
            assert norm(found.contribution - sum(parts)) <= 64 * EPS * sum(map(norm, parts))


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_the_flow_through_an_edge_is_the_shares_of_its_paths(seed):
    output, parameters = random_graph(seed)
    for p in parameters:
        walked, found = paths(output, wrt=p), flow(output, wrt=p).shares
        size = max(1 / (walked.coherence or 1), sum(abs(path.share or 0) for path in walked))
        if walked[0].share is None or size > 100:  # what nearly cancels has few digits left
            continue
        through = dict.fromkeys(found, 0.0)
        for path in walked:
            for edge in path.edges:
                through[edge] += path.share
        assert through.keys() == found.keys()
        for edge, share in found.items():
            assert share == pytest.approx(through[edge], abs=1e-12 * size)


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_flow_is_a_unit_flow(seed):
    output, parameters = random_graph(seed)
    for p in parameters:
        found = flow(output, wrt=p)
        if not found.shares:
            continue
        size = sum(map(abs, found.shares.values()))
        into, out_of = {}, {}
        for edge, share in found.shares.items():
            into[edge.target] = into.get(edge.target, 0) + share
            out_of[edge.source] = out_of.get(edge.source, 0) + share
        nodes = {n.tensor: n.id for n in found.graph.nodes}
        assert into[nodes[output]] == pytest.approx(1, abs=1e-12 * size)
        assert out_of[nodes[p]] == pytest.approx(1, abs=1e-12 * size)
        for node in into.keys() & out_of.keys():
            assert into[node] == pytest.approx(out_of[node], abs=1e-12 * size)


def test_what_passes_a_scope_inside_another_passes_that_too():
    a = Tensor(2.0, requires_grad=True, name="a")
    with scope("block"):
        with scope("inner"):
            h = a * 0.25
        y = a + h
    assert flow(y * 3.0, wrt=a).scopes == pytest.approx({"block": 1.0, "block/inner": 0.2})


def test_a_scope_with_a_slash_in_its_name_is_not_taken_for_two():
    x = Tensor(3.0, requires_grad=True, name="x")
    with scope("a/b"):
        y = x * x
    with scope("a"), scope("b"):
        z = y * x
    assert flow(y, x).scopes == {"a/b": 1.0}
    # 2x of 2x + 3x^2 passes the first alone, and the rest the second, 2 of 3 parts both.
    expected = {"a/b": 24 / 33, "a": 27 / 33, "a > b": 27 / 33}
    assert flow(y + z, x).scopes == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(8))
def test_the_share_that_passes_a_scope_is_that_of_the_paths_that_enter_it(seed):
    """Scopes are nested, and some are left and entered again."""
    rng = np.random.default_rng(seed)
    x = Tensor(rng.uniform(0.2, 1.0, 3), requires_grad=True)
    pool, again = [x], 0
    for _ in range(9):
        with ExitStack() as entered:
            for name in rng.choice(["a", "b", "c"], rng.integers(3)):
                entered.enter_context(scope(str(name)))
            p, q = (pool[-1 - int(rng.integers(min(len(pool), 3)))] for _ in "pq")
            pool.append(p * q if rng.integers(2) else sigmoid(p) + q)
    output = (pool[-1] * pool[-2]).sum()
    nodes, expected = graph(output).nodes, defaultdict(float)
    for path in paths(output, wrt=x, limit=10**5):
        passed = Counter()
        for e in path.edges:
            into, source = nodes[e.target].scope, nodes[e.source]
            outside = source.scope if source.op else ()
            passed.update(
                "/".join(into[:n]) for n in range(1, len(into) + 1) if outside[:n] != into[:n]
            )
        again += max(passed.values(), default=0) > 1
        for name in passed:
            expected[name] += path.share
    assert again
    assert flow(output, wrt=x).scopes == pytest.approx(dict(expected))


def test_flow_of_an_op_that_promises_nothing():
    """Neither elementwise nor linear nor batched: the rule is transposed by differentiation."""

    @tl.op
    def softmax_rows(x):
        e = np.exp(x)
        return e / e.sum(axis=-1, keepdims=True)

    @softmax_rows.vjp
    def _(g, out, x):
        return out * (g - (g * out).sum(axis=-1, keepdims=True))

    rng = np.random.default_rng(0)
    w = Tensor(rng.standard_normal((3, 4)), requires_grad=True)
    s = softmax_rows(w)
    output = (s * Tensor(rng.standard_normal((3, 4))) + w * w).sum()
    walked, found = paths(output, wrt=w), flow(output, wrt=w).shares
    for edge, share in found.items():
        through = sum(path.share for path in walked if edge in path.edges)
        assert share == pytest.approx(through, abs=1e-12)
    classes = path_classes(output, wrt=w, by=lambda edge: 1)
    assert sum(found.count for found in classes.values()) == len(walked)


def test_a_rule_may_return_zeros_without_a_look_at_its_cotangent():
    @tl.op(elementwise=True)
    def nothing(x):
        return x * 0

    @nothing.vjp
    def _(g, out, x):
        return 0.0 if np.ndim(x) == 0 else np.zeros_like(x)

    for value in (2.0, [1.0, 2.0]):
        w = Tensor(value, requires_grad=True)
        y = (nothing(w * w) + w).sum()
        assert list(flow(y, w).shares.values()).count(0.0) == 4
        for classes in (path_classes(y, w), path_classes(y, w, by=lambda edge: edge.target)):
            assert sum(c.count for c in classes.values()) == 3
            total = sum(c.contribution for c in classes.values())
            np.testing.assert_array_equal(total, grad(y, w).data)


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_op_carries_tangents_and_keys(name):
    """Forward, the tangent of a result is the Jacobian times that of an input; back, each key's
    cotangent goes through the op as if it were alone."""
    rng = np.random.default_rng(0)
    for sample in SAMPLES[name]:
        call = Call(OPS[name], sample)
        tensors = call.tensors()
        out = call(*tensors)
        if not out.requires_grad:
            continue
        cotangents = dict(zip(("one", "two"), rng.standard_normal((2, *out.shape)), strict=True))
        sums = []
        for key, cotangent in cotangents.items():
            with scope(key):
                sums.append((out * cotangent).sum())
        for slot in call.wanted:
            x, u = tensors[slot], rng.standard_normal(call.inputs[slot].shape)

            def moved(h, slot=slot, u=u):
                inputs = list(call.inputs)
                inputs[slot] = inputs[slot] + h * u
                return np.asarray(call(*inputs), float)

            expected = (moved(1e-6) - moved(-1e-6)) / 2e-6
            got = pushforward(out, {x: u}, [(slot, x)])
            assert got.shape == out.shape
            np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max(initial=1))
            for (key,), found in path_classes(sums[0] + sums[1], x).items():
                alone = grad(out, x, cotangents[key]).data
                np.testing.assert_allclose(found.contribution, alone, rtol=1e-12, atol=1e-14)


# Depth


@pytest.mark.parametrize("blocks", [1, 10, 50, 200])
def test_the_classes_of_a_residual_net_are_binomials(blocks):
    y, x, _ = deep_net(blocks, skip=True)
    classes = path_classes(y, wrt=x, by="depth")
    assert [classes[k].count for k in classes] == [math.comb(blocks, k) for k in range(blocks + 1)]
    assert_law([found.contribution for found in classes.values()], grad(y, x).data)
    assert sum(found.share for found in classes.values()) == pytest.approx(1, abs=1e-9)


def test_no_branch_at_all_is_the_identity_class():
    """Paths through no residual branch carry the cotangent unchanged."""
    y, x, _ = deep_net(20, skip=True)
    np.testing.assert_array_equal(path_classes(y, wrt=x, by="depth")[0].contribution, np.ones(8))


def test_a_zeroed_branch_gives_the_net_with_one_block_fewer():
    rng = np.random.default_rng(1)
    weights = [rng.standard_normal((5, 5)) for _ in range(6)]

    def net(gates):
        h = x = Tensor(np.linspace(-1, 1, 5), requires_grad=True)
        for w, gate in zip(weights, gates, strict=True):
            if gate is not None:
                with scope("block"):
                    branch = sigmoid(Tensor(w) @ h)
                h = h + branch * gate
        return h.sum(), x

    y, x = net([1.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    shorter, x_shorter = net([1.0, 1.0, None, 1.0, 1.0, 1.0])
    np.testing.assert_array_equal(grad(y, x).data, grad(shorter, x_shorter).data)
    longer_classes = path_classes(y, wrt=x, by="depth")
    for key, found in path_classes(shorter, wrt=x_shorter, by="depth").items():
        assert norm(longer_classes[key].contribution - found.contribution) < 1e-12


def test_a_cap_puts_the_tail_in_one_class_and_keeps_the_sum():
    y, x, _ = deep_net(12, skip=True)
    classes = path_classes(y, wrt=x, by="scope", keep=20)
    assert len(classes) == 20
    assert "other" in classes
    assert sum(found.count for found in classes.values()) == 2**12
    assert_law([found.contribution for found in classes.values()], grad(y, x).data)


@pytest.mark.parametrize("keep", [1, 2, 5])
@pytest.mark.parametrize("seed", range(10))
def test_any_cap_keeps_the_sum_and_the_count(seed, keep):
    output, parameters = random_graph(seed, size=9)
    capped = path_classes(output, parameters, keep=keep)
    for p, classes, every in zip(parameters, capped, path_classes(output, parameters), strict=True):
        assert len(classes) <= keep
        assert sum(c.count for c in classes.values()) == sum(c.count for c in every.values())
        size = sum(norm(path.contribution) for path in paths(output, p))
        error = sum(c.contribution for c in classes.values()) - grad(output, p).data
        assert norm(error) <= 32 * EPS * size


def test_a_function_of_the_edge_names_the_classes():
    _, G, t = skip_networks()
    g = tl.graph(G)
    classes = path_classes(
        G, t["W1"], by=lambda e: 1 if g.nodes[e.target].op == "sigmoid" else None, gradient=ONES
    )
    assert {key: found.count for key, found in classes.items()} == {2: 1, 3: 1}


def test_keys_may_be_all_that_can_be_hashed_and_added():
    x = Tensor(3.0, requires_grad=True)
    y = (x * x + x) * x

    def classes(key, **more):
        found = path_classes(y, x, by=key, **more)
        str(found)
        return {k: c.count for k, c in found.items()}

    assert classes(lambda e: np.int64(1)) == {1: 1, 2: 1, 3: 2}
    assert classes(lambda e: 0.5) == {0.5: 1, 1.0: 1, 1.5: 2}
    assert classes(lambda e: "other") == {"other": 1, "other" * 2: 1, "other" * 3: 2}
    assert classes(lambda e: None) == {None: 4}
    with pytest.raises(TypeError, match=r"hashable key, but gave \[1\]"):
        classes(lambda e: [1])
    with pytest.raises(TypeError, match="sum of its edges' keys"):
        classes(lambda e: "a" if e.slot else 1)
    with pytest.raises(ValueError, match="at least 1, but is 0"):
        classes(lambda e: 1, keep=0)


def test_many_parameters_are_answered_at_once():
    y, x, weights = deep_net(6, skip=True)
    together = path_classes(y, wrt=[x, *weights], by="depth")
    for tensor, classes in zip([x, *weights], together, strict=True):
        alone = path_classes(y, wrt=tensor, by="depth")
        assert {k: c.count for k, c in alone.items()} == {k: c.count for k, c in classes.items()}
        assert_law([c.contribution for c in classes.values()], grad(y, tensor).data)


# What must not change a share, and what has none


def test_scaling_the_seed_leaves_the_shares():
    _, G, t = skip_networks()
    for scale in (1e-150, 3.0, 1e150):
        one = [path.share for path in paths(G, t["W1"], ONES)]
        scaled = [path.share for path in paths(G, t["W1"], scale * ONES)]
        np.testing.assert_allclose(scaled, one, rtol=1e-9)
        flowing = list(flow(G, t["W1"], scale * ONES).shares.values())
        np.testing.assert_allclose(flowing, list(flow(G, t["W1"], ONES).shares.values()), rtol=1e-9)


def test_an_unused_branch_changes_nothing():
    _, G, t = skip_networks()
    before = [path.share for path in paths(G, t["W1"], ONES)]
    sigmoid(t["W1"] * 2.0)
    assert [path.share for path in paths(G, t["W1"], ONES)] == before


def test_where_paths_cancel_there_are_no_shares():
    x = Tensor([1.0, 2.0], requires_grad=True, name="x")
    y = (3.0 * x - x - 2.0 * x).sum()
    found = paths(y, wrt=x)
    assert [path.share for path in found] == [None, None, None]
    assert "cancel" in str(found)
    assert "nan" not in str(found).lower()
    assert flow(y, wrt=x).shares == {}
    assert "cancel" in flow(y, wrt=x).note
    assert "cancel" in str(path_classes(y, wrt=x))


def test_rounding_is_not_taken_for_a_gradient():
    x = Tensor([0.1, 0.7], requires_grad=True)
    y = (x * 0.1 + x * 0.2 - x * 0.3).sum()  # 0.1 + 0.2 - 0.3 is 5.6e-17
    assert paths(y, wrt=x)[0].share is None


def test_rounding_is_not_taken_for_a_gradient_behind_the_value_at_which_parts_cancel():
    x = Tensor([0.1, 0.7], requires_grad=True, name="x")
    h = tl.tanh(x)
    y = (h * 0.1 + h * 0.2 - h * 0.3).sum()
    for found in (paths(y, x), path_classes(y, x), flow(y, x)):
        assert found.note == "paths cancel at h: there are no shares"
    assert [c.share for c in path_classes(y, x, by="depth").values()] == [None]
    assert flow(y, x).shares == {}


def test_a_cotangent_of_zero_or_nan_is_no_fault_of_an_op():
    x = Tensor(2.0, requires_grad=True)
    for y in (x, x * x):
        assert "the cotangent passes 0" in paths(y, x, 0.0).note
        assert "NaN from the cotangent" in flow(y, x, np.nan).note


def test_the_sum_of_many_paths_meets_the_law():
    x = Tensor([0.1, 0.3], requires_grad=True)
    y = x * 0.1
    for _ in range(8):
        y = (y + y + y) * 0.37
    found, gradient = paths(y.sum(), x), grad(y.sum(), x).data
    assert len(found) == 3**8
    assert norm(found.gradient - gradient) <= 32 * EPS * norm(gradient)


def test_a_blocked_gradient_has_no_shares():
    w = Tensor([1.0, -1.0], requires_grad=True)
    found = paths(tl.heaviside(w).sum(), wrt=w)
    assert found[0].share is None
    assert "blocked" in str(found)


# Counting before walking


def test_the_diamond_of_2_to_the_60_paths_is_refused_by_count():
    x = y = Tensor(1.0, requires_grad=True, name="x")
    for _ in range(60):
        y = y + y
    with pytest.raises(ValueError, match=r"1\.15e18 paths.*path_classes"):
        paths(y, wrt=x)
    classes = path_classes(y, wrt=x, by=lambda edge: None)
    assert [found.count for found in classes.values()] == [2**60]
    assert set(flow(y, wrt=x).shares.values()) == {0.5}


def test_a_path_to_itself_is_empty():
    x = Tensor(2.0, requires_grad=True)
    (only,) = paths(x, wrt=x)
    assert only.edges == ()
    assert only.share == 1
    assert flow(x, wrt=x).shares == {}


def test_paths_to_a_value_on_the_way():
    _, G, _ = skip_networks()
    y = next(n.tensor for n in tl.graph(G).nodes if n.name == "y")
    assert [path.scopes for path in paths(G, wrt=y, gradient=ONES)] == [(), ("f3",)]


def test_the_graph_of_an_answer_can_be_saved_and_shown(tmp_path):
    _, G, t = skip_networks()
    for found in (paths(G, t["W1"], ONES), flow(G, t["W1"], ONES)):
        assert str(found.graph) == str(tl.graph(G, ONES))
        assert found.graph.to_json() == tl.graph(G, ONES).to_json()
        found.graph.save(tmp_path / "g.svg")
        assert (tmp_path / "g.svg").read_text() == found.graph._repr_svg_()


# Bad input


def test_errors_say_what_to_do():
    F, G, t = skip_networks()
    with pytest.raises(ValueError, match=r"not a scalar"):
        paths(G, wrt=t["W1"])
    with pytest.raises(TypeError, match=r"x .*requires no gradient"):
        paths(G, wrt=t["x"], gradient=ONES)
    stranger = Tensor(1.0, requires_grad=True, name="stranger")
    for question in (paths, path_classes, flow):
        with pytest.raises(ValueError, match=r"does not depend on stranger"):
            question(F, wrt=stranger, gradient=ONES)
        with pytest.raises(TypeError, match="must be"):
            question(F, wrt=1, gradient=ONES)
    with pytest.raises(ValueError, match=r"'scope', 'depth', 'skips' or a function"):
        path_classes(F, wrt=t["W1"], by="colour", gradient=ONES)


@pytest.mark.parametrize("question", [paths, path_classes, flow, what_if])
def test_a_name_means_its_tensor(question):
    F, _, t = skip_networks()
    by_name = question(F, wrt="W1", gradient=ONES)
    assert by_name.to_json() == question(F, wrt=t["W1"], gradient=ONES).to_json()
    with pytest.raises(ValueError, match=r"named 'W9'; one does to .*W1, .*W2"):
        question(F, wrt="W9", gradient=ONES)
    with pytest.raises(ValueError, match="no gradient travels to a value named 'x'"):
        question(F, wrt="x", gradient=ONES)  # which requires none


def test_no_two_classes_read_the_same():
    h = x = Tensor(0.5, requires_grad=True)
    for i in range(9):
        with scope(f"b{i}"):
            branch = h * 0.5
        h = h + branch
    found = path_classes(h, x)
    told = [row[0] for row in found.table().rows]
    assert len(told) == len(set(told)) == len(found) == 2**9
    assert not any(text.endswith(")") for text in told)  # none needed a number
    assert "b0 > b1 > b2 > b3 > b5 > b6 > b7 > b8" in told


def test_names_mean_their_tensors_in_a_list_too():
    F, _, t = skip_networks()
    found = path_classes(F, wrt=["W2", t["W1"]], gradient=ONES)
    assert [classes.wrt for classes in found] == ["W2", "W1"]


def test_of_many_names_the_nearest_are_told():
    weights = [Tensor(1.0, requires_grad=True, name=f"layer{i}.weight") for i in range(30)]
    y = sum(weights, Tensor(0.0))
    with pytest.raises(ValueError, match=r"others, such as (layer\d*7.weight(, )?){3}$"):
        flow(y, "layer77.weight")


def test_float32_is_judged_by_its_own_rounding():
    _, x, _ = deep_net(5, skip=True)
    x32 = Tensor(x.data, dtype=np.float32, requires_grad=True)
    found = flow((x32 * x32 + x32).sum(), wrt=x32)
    assert sum(s for e, s in found.shares.items() if e.source == 0) == pytest.approx(1, abs=1e-6)


@pytest.mark.slow
def test_a_count_of_any_size_is_told():
    x = y = Tensor(1.0, requires_grad=True, name="x")
    for _ in range(20_000):
        y = (y + y) * 0.5
    with pytest.raises(ValueError, match=r"3\.98e6020 paths"):
        paths(y, wrt=x)
    assert "3.98e6020 paths in 1 class" in str(path_classes(y, wrt=x, by=lambda edge: None))


def test_no_gradient_travels_behind_an_integer():
    k, x = (Tensor([1.0, 2.0], requires_grad=True, name=n) for n in "kx")
    y = ((k * 2.0).astype(int).astype(float) * x).sum()
    with pytest.raises(ValueError, match="does not depend on k"):
        path_classes(y, wrt=[x, k])
    y = y + (k * k).sum()
    for found in (paths(y, k), path_classes(y, k)):
        np.testing.assert_array_equal(found.gradient, [2.0, 4.0])
    assert len(flow(y, k).shares) == 4


def test_nan_is_told_without_a_warning():
    x = Tensor([1.0, 0.0], requires_grad=True)
    y = tl.sqrt(x).sum()
    for found in (paths(y, x), path_classes(y, x), flow(y, x)):
        assert found.note == "inf from sqrt(x): there are no shares"
