"""Skips: the uses that pass a join straight, and the paths counted by them."""

import math
from itertools import combinations

import numpy as np
import pytest
from conftest import require
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import skip_networks
from test_growth import calls
from test_paths import assert_law

import tinygrad_lite as tl
from tinygrad_lite import Tensor, compare, flow, grad, graph, path_classes, paths, scope, tanh
from tinygrad_lite.ancestors import ancestors
from tinygrad_lite.recorded import joins, nodes
from tinygrad_lite.views.boxes import diagram

JOINS = {"add", "subtract", "concatenate", "stack"}


def leaf(name, *data, requires_grad=True):
    return Tensor(data or (0.3, -0.7), requires_grad, name=name)


def skips(y):
    """The skips of a computation as (name of the source, op, slot)."""
    g = graph(y)
    return [(g.nodes[e.source].name, g.nodes[e.target].op, e.slot) for e in g.edges if e.skip]


# Which uses are skips

STEPS = {
    "add": lambda a, b, c: a + b,
    "subtract": lambda a, b, c: a - b,
    "concatenate": lambda a, b, c: tl.concatenate([a, b, c])[1:3],
    "stack": lambda a, b, c: tl.stack([a, b, a, c]).sum(axis=0),
    "multiply": lambda a, b, c: a * b,
    "a number": lambda a, b, c: 2.0 - a,
    "a view": lambda a, b, c: a.reshape(2),
    "a flat step": lambda a, b, c: tl.heaviside(a),
}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(STEPS)), *[st.integers(0, 5)] * 3), max_size=25),
    st.sampled_from([1, 2, 4096]),
)
def test_a_skip_is_an_operand_that_another_of_the_same_join_was_computed_from(steps, at_once):
    nx = require("networkx")
    values = [leaf("x"), leaf("data", requires_grad=False), leaf("w")]
    for name, *places in steps:
        values.append(STEPS[name](*(values[-1 - i % len(values)] for i in places)))
    g = graph(values[-1])
    whole = nx.MultiDiGraph((e.source, e.target) for e in g.edges)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joins, "AT_ONCE", at_once)
        for e in g.edges:
            others = [other.source for other in g.into[e.target]]
            led_to = any(e.source in nx.ancestors(whole, other) for other in others)
            assert e.skip is (g.nodes[e.target].op in JOINS and led_to)


@pytest.mark.parametrize(
    ("compute", "expected"),
    [
        (lambda x, w: x + tanh(x), [("x", "add", 0)]),
        (lambda x, w: tanh(x) - x, [("x", "subtract", 1)]),
        (lambda x, w: x - tanh(x), [("x", "subtract", 0)]),
        (lambda x, w: np.add(tanh(x), x), [("x", "add", 1)]),
        (lambda x, w: tl.stack([x, x, tanh(x)]), [("x", "stack", 0), ("x", "stack", 1)]),
        (lambda x, w: np.hstack([x, tanh(x)]), [("x", "concatenate", 0)]),
        (lambda x, w: np.vstack([x, tanh(x)]), []),  # what is joined are rows made of them
        (lambda x, w: tl.concatenate([w, x * w, x]), [
            ("w", "concatenate", 0), ("x", "concatenate", 2),
        ]),
        (lambda x, w: x + tl.heaviside(x), [("x", "add", 0)]),  # computed, if not differentiable
        (lambda x, w: x + x, []),
        (lambda x, w: x * 2.0 + w * x, []),  # a projection meets its branch
        (lambda x, w: x * tanh(x), []),  # a gate
        (lambda x, w: 2.0 + (1.0 + tanh(x)) + 2.0, []),
        (lambda x, w: tanh(w @ x) + leaf("b"), []),
        (lambda x, w: tanh(w @ x) + w, [("w", "add", 1)]),
        (lambda x, w: x[:] + tanh(x), []),  # a view of x is another value
        (lambda x, w: x + tanh(x).detach(), []),
    ],
)  # fmt: skip
def test_what_is_a_skip_and_what_is_none(compute, expected):
    x, w = leaf("x"), leaf("w")
    assert skips(compute(x, w)) == expected


def test_an_input_that_asks_for_no_gradient_is_skipped_too():
    x = leaf("x", requires_grad=False)
    assert skips(x + tanh(x * leaf("w"))) == [("x", "add", 0)]


def test_nothing_is_searched_before_someone_looks_and_then_once(monkeypatch):
    searches = []

    def counted(values):
        searches.append(values)
        return joins.straight_uses(values)

    monkeypatch.setattr(nodes, "straight_uses", counted)
    x = leaf("x")
    g = graph(x + tanh(x))
    assert searches == []
    assert [e.skip for e in g.edges] == [False, True, False]
    assert len(searches) == 1


# Paths by how many joins they pass straight


def residual(blocks, where, h):
    """A residual network whose additions stand inside its scopes, outside, or without any."""
    first, weights = h, []
    rng = np.random.default_rng(0)
    for i in range(blocks):
        weights.append(leaf(f"w{i}", *rng.standard_normal(2)))
        if where == "none":
            h = h + tanh(h * weights[-1])
            continue
        with scope(f"block{i}"):
            branch = tanh(h * weights[-1])
            if where == "inside":
                h = h + branch
        if where == "outside":
            h = h + branch
    return h.sum(), first, weights


@pytest.mark.parametrize("where", ["inside", "outside", "none"])
@pytest.mark.parametrize("blocks", [1, 10, 200])
def test_the_classes_of_a_residual_net_are_binomials_however_scopes_are_drawn(blocks, where):
    y, x, weights = residual(blocks, where, leaf("x"))
    for wrt, n in ((x, blocks), (weights[0], blocks - 1)):
        classes = path_classes(y, wrt, by="skips")
        assert {key: one.count for key, one in classes.items()} == {
            k: math.comb(n, k) for k in range(n + 1)
        }
        assert_law([one.contribution for one in classes.values()], grad(y, wrt).data)
    np.testing.assert_array_equal(path_classes(y, x, by="skips")[blocks].contribution, [1, 1])


@pytest.mark.parametrize("where", ["inside", "outside", "none"])
def test_the_first_block_does_not_differ_from_the_others(where):
    for first in (leaf("x"), tanh(leaf("x")), leaf("x", requires_grad=False)):
        y, _, _ = residual(4, where, first)
        g = graph(y)
        assert [e.slot for e in g.edges if e.skip] == [0] * 4
        assert sum(wire.skip for wire in diagram(g, fold=False).wires) == 4


def test_which_joins_are_passed_is_a_function_of_the_edge():
    y, x, _ = residual(3, "none", leaf("x"))
    classes = path_classes(y, x, by=lambda e: (e.target,) if e.skip else None)
    assert [one.count for one in classes.values()] == [1] * 8
    passed = sorted(e.target for e in graph(y).edges if e.skip)
    assert set(classes) == {None, *(c for n in (1, 2, 3) for c in combinations(passed, n))}


def test_y_plus_tanh_y():
    y = Tensor(0.5, True)
    z = y + tanh(y)
    straight, around = paths(z, y)
    assert [e.skip for path in (straight, around) for e in path.edges] == [True, False, False]
    classes = path_classes(z, y, "skips")
    assert {key: float(one.contribution) for key, one in classes.items()} == {
        0: pytest.approx(1 - math.tanh(0.5) ** 2), 1: 1.0,
    }  # fmt: skip
    assert path_classes(y, y, "skips").keys() == {0}


def test_two_networks_are_compared_by_skips():
    F, G, _ = skip_networks()
    by_skips, by_scope = (compare(F, G, gradient=np.ones(4), by=by) for by in ("skips", "scope"))
    assert str(by_skips) == str(by_scope)  # the paths that G alone has are those over its skip
    row = by_skips.rows[0]
    assert (list(row.first.classes), list(row.second.classes)) == ([0], [0, 1])


# What is drawn


def test_an_arrow_is_a_skip_if_all_that_it_stands_for_is_one():
    x = tanh(leaf("x"))
    with scope("encoder"):
        e = tanh(x * 2.0)
    with scope("middle"):
        m = tl.sigmoid(e)
    with scope("decoder"):
        d = tl.concatenate([e, m])
    with scope("block"):
        h = d + tanh(d)
    g = graph(h.sum())
    parts = {part.id: part.name for part in diagram(g, True).folding.parts}
    ends = [(parts.get(w.source), parts.get(w.target), w.skip) for w in diagram(g, True).wires]
    assert ("encoder", "decoder", True) in ends
    assert ("decoder", "block", False) in ends  # the join is inside: this is the branch too
    assert sum(skip for *_, skip in ends) == 1


def test_a_legend_says_what_a_skip_is():
    x = leaf("x", 0.5)
    y = (x + tanh(x)).sum()
    y.backward()
    for picture in (graph(y).picture(), flow(y, x).picture()):
        assert "skip: straight to where it meets what was made from it" in {
            entry.text for entry in picture.legend
        }


# No cliff


def with_leaves_made_first(n, passes):
    """The same weights in `passes` runs, one after the other, or side by side (0)."""
    pairs = [(leaf("w"), leaf("b")) for _ in range(n)]
    ends, h = [], leaf("x")
    for _ in range(passes or 2):
        for w, b in pairs:
            h = tanh(w * h + b)
        if not passes:
            ends.append(h)
            h = leaf("x2")
    return ends[0] * ends[1] if ends else h


def u_shaped(n):
    values = [leaf("x")]
    for _ in range(n):
        values.append(tanh(values[-1]))
    h = values[-1]
    for x in reversed(values[:-1]):
        h = tanh(h) + x
    return h


def from_one_leaf(n):
    h = x = leaf("x")
    ends = []
    for _ in range(n):
        h = tanh(h)
        ends.append(h + x)
    return tl.stack(ends)


def densely_connected(n):
    values = [leaf("x")]
    for _ in range(n):
        values.append(tl.concatenate(values)[:2])
    return values[-1]


@pytest.mark.parametrize(
    ("net", "n", "more"),
    [
        (lambda n: residual(n, "none", leaf("x"))[0], 1000, 2),
        (lambda n: sum([leaf("x")] * n), 1000, 2),
        (lambda n: with_leaves_made_first(n, 1), 1000, 2),
        (lambda n: with_leaves_made_first(n, 2), 1000, 2),
        (lambda n: with_leaves_made_first(n, 0), 1000, 2),
        (u_shaped, 1000, 2),
        (from_one_leaf, 1000, 2),
        (densely_connected, 50, 4),  # twice the values have four times the uses
    ],
    ids=["residual", "h + x", "once", "tied", "side by side", "U", "from a leaf", "dense"],
)
def test_twice_the_computation_is_searched_with_twice_the_work(net, n, more):
    once, twice = (calls(joins.straight_uses, ancestors([net(k)])) for k in (n, 2 * n))
    assert twice < 1.15 * more * once
