"""What became of a gradient is told the same in every view, and held against brute force:
random networks with scopes that are entered again, shared parameters and penalties, of which
every path is walked by dense Jacobians of our own."""

import contextlib
import json
import math
import re
from collections import Counter

import numpy as np
import pytest

import tinygrad_lite as tl
from tinygrad_lite import (
    Tensor,
    compare,
    flow,
    graph,
    heaviside,
    op,
    path_classes,
    paths,
    profile,
    scope,
    stack,
    steps,
)
from tinygrad_lite.insight.travels import travels
from tinygrad_lite.recorded.measure import norm
from tinygrad_lite.recorded.states import APPEARANCE, State
from tinygrad_lite.views.boxes import diagram
from tinygrad_lite.views.page_data import steps_page

EPS = np.finfo(float).eps
FAINT = math.sqrt(EPS)
N = 3
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def parameter(values, name):
    return Tensor(values, requires_grad=True, name=name)


# Brute force


class Network:
    """A random computation; `uses` has beside every value its inputs with dense Jacobians."""

    def __init__(self, seed):
        self.rng = rng = np.random.default_rng(seed)
        self.uses = {}
        self.p = [parameter(rng.uniform(0.4, 1.5, N), f"p{i}") for i in range(3)]
        pool = list(self.p[:2])
        for _ in range(int(rng.integers(3, 6))):
            where = [("a",), ("b",), ("c", "d"), ()][rng.choice(4, p=[0.35, 0.3, 0.25, 0.1])]
            where = where if len(self.uses) else ("a",)
            x = pool[-1 - int(rng.integers(min(len(pool), 3)))] if where else pool[-1]
            other = self.p[int(rng.integers(3))] if where else pool[-1]
            h = self.scaled(self.times(x, other, where), rng.choice([1.0, 0.5, 1e-12]), where)
            h = self.tanh(h, where) if rng.random() < 0.5 else h
            pool.append(self.add(pool[-1], h, where) if rng.random() < 0.6 else h)
        loss = pool[-1]
        where = [(), ("penalty",)][int(rng.integers(2))]  # weight decay
        for p in self.p[: int(rng.integers(4))]:
            loss = self.add(loss, self.scaled(self.times(p, p, where), 0.05, where), ())
        self.output = self.total(loss)

    def made(self, where, compute, *inputs):
        with contextlib.ExitStack() as entered:
            for name in where:
                entered.enter_context(scope(name))
            value = compute()
        self.uses[value] = inputs
        return value

    def times(self, x, y, where):
        jacobians = (x, np.diag(y.data)), (y, np.diag(x.data))
        return self.made(where, lambda: x * y, *jacobians)

    def add(self, x, y, where):
        return self.made(where, lambda: x + y, (x, np.eye(N)), (y, np.eye(N)))

    def scaled(self, x, c, where):
        return self.made(where, lambda: x * c, (x, c * np.eye(N)))

    def tanh(self, x, where):
        return self.made(where, lambda: tl.tanh(x), (x, np.diag(1 - np.tanh(x.data) ** 2)))

    def total(self, x):
        return self.made((), x.sum, (x, np.ones((1, N))))

    def walk(self, value, wrt, g, way=()):
        """Every path from a value to `wrt`, as its (target, slot) pairs and what it brings."""
        if value is wrt:
            yield way, g
        for slot, (x, jacobian) in enumerate(self.uses.get(value, ())):
            yield from self.walk(x, wrt, jacobian.T @ g, ((value, slot), *way))

    def entered(self, way):
        """The scopes that a path enters, in order."""
        last, found = (), []
        for target, _ in way:
            if target.scope != last[: len(target.scope)]:
                found.append("/".join(target.scope))
            last = target.scope
        return tuple(found)


def close(a, b, parts):
    """The law: |a - b| <= 32 eps * sum of |parts|."""
    return norm(np.asarray(a) - b) <= 32 * EPS * sum(map(norm, parts)) + 1e-300


@pytest.mark.parametrize("seed", range(40))
def test_paths_classes_and_flow_are_those_of_brute_force(seed):
    net = Network(seed)
    net.output.backward()
    for p in net.p:
        every = sorted(net.walk(net.output, p, np.ones(1)), key=lambda found: len(found[0]))
        if not every:
            continue
        parts = [part for _, part in every]
        total = np.add.reduce(parts)
        found, classes, flowing = (q(net.output, p) for q in (paths, path_classes, flow))
        for answer in (found, classes, flowing):
            np.testing.assert_array_equal(answer.gradient, p.grad)  # that of the reverse pass
            assert close(answer.gradient, total, parts)
        nodes = found.graph.nodes

        def key(way, nodes=nodes):
            return tuple((nodes[e.target].tensor, e.slot) for e in way)

        mine = {key(path.edges): path for path in found}
        assert set(mine) == {way for way, _ in every}
        sums, counts, shares = {}, Counter(), Counter()
        for way, part in every:
            path, share = mine[way], part @ total / (total @ total)
            assert path.scopes == net.entered(way)
            assert close(path.contribution, part, [part])
            assert path.share == pytest.approx(share, rel=1e-9, abs=1e-12)
            assert (path.state is State.VANISHING) == (norm(part) < FAINT)
            sums[path.scopes] = sums.get(path.scopes, 0.0) + part
            counts[path.scopes] += 1
            for use in way:
                shares[use] += share
        assert {k: c.count for k, c in classes.items()} == counts
        for k, c in classes.items():
            assert close(c.contribution, sums[k], parts)
        for edge, share in flowing.shares.items():
            expected = shares.pop((nodes[edge.target].tensor, edge.slot))
            assert share == pytest.approx(expected, rel=1e-9, abs=1e-12)
        assert not shares


@pytest.mark.parametrize("seed", range(40))
def test_layers_are_those_of_brute_force(seed):
    net = Network(seed)
    leaves, users = set(net.p), {}  # of a value: those that use it, on the way to the output
    waiting = {net.output}
    for v in sorted(net.uses, key=lambda v: -v.index):
        if v in waiting:
            for x in dict.fromkeys(x for x, _ in net.uses[v]):
                waiting.add(x)
                users.setdefault(x, []).append(v)
    scoped = {x for x in leaves & set(users) for v in users[x] if v.scope}

    def layer_of(x, v):
        """The layer in which `v` uses the parameter `x`."""
        return "/".join(v.scope) or ("outside scopes" if x in scoped else x.name)

    def brought(x, by):
        ways = net.walk(net.output, x, np.ones(1))
        return norm(np.add.reduce([part for way, part in ways if way[0][0] in set(by)]))

    results, parameters, ops = {}, {}, {}
    for x, by in users.items():
        for v in by:
            if v.scope:
                ops.setdefault("/".join(v.scope), set()).add(v)
            if x in leaves:
                same = [u for u in by if layer_of(x, u) == layer_of(x, v)]
                parameters.setdefault(layer_of(x, v), {})[x] = brought(x, same)
                ops.setdefault(layer_of(x, v), set()).add(v)
            elif x.scope and x.scope != v.scope:
                results.setdefault("/".join(x.scope), {})[x] = brought(x, by)
    order = sorted(ops, key=lambda name: max(v.index for v in ops[name]))
    found = {layer.name: layer for layer in profile(net.output)}
    assert list(found) == order
    for name, layer in found.items():
        for size, parts in ((layer.signal, results), (layer.parameters, parameters)):
            expected = norm(list(parts[name].values())) if name in parts else None
            assert size == (expected and pytest.approx(expected, rel=1e-9))

    # Each is judged against the layer nearest the output on its way, in the order of the table.
    def leads_to(v):
        return {v}.union(*map(leads_to, users.get(v, ())))

    ahead = {}
    for name in order:
        reached = set().union(*map(leads_to, ops[name]))
        behind = [k for k in order if k != "outside scopes" and ops[k] & reached]
        ahead[name] = found[behind[-1]] if name != "outside scopes" else None
    top = max(found[n].size for n in order if ahead[n] is found[n])
    for name, layer in found.items():
        if ahead[name] is None:
            assert layer.verdict == ""
            continue
        reference = ahead[name].size if ahead[name].size >= FAINT * top else top
        faint = [
            size < FAINT * reference for size in (parameters.get(name) or results[name]).values()
        ]
        assert (layer.state is State.VANISHING) == all(faint)
        assert ("vanishing" in layer.verdict) == any(faint)


# Every state in every view


def each_state():
    """A loss, and a parameter for every state that its gradient has, by the state's name."""
    ones = [1.0, 1.0]
    p = {state: parameter(ones, str(state)) for state in State}
    p["nan"], p["infinite"] = parameter([-1.0, 1.0], "nan"), parameter([0.0, 1.0], "infinite")
    with np.errstate(all="ignore"), scope("L"):
        parts = (
            heaviside(p["blocked"] * 2.0),
            p["cancelled"] * 0.1 + p["cancelled"] * 0.2 - p["cancelled"] * 0.3,
            tl.relu(-p["zero"]),
            p["gradient"] * 2.0,
            p["vanishing"] * 1e-20,
            tl.sqrt(p["infinite"]),
            tl.sqrt(p["nan"] * 1.0),
            (p["not computed"] * 2.0).astype(int).astype(float) * 1.0,
        )
        return sum(parts[1:], parts[0]).sum(), p


SEEN = ("nan", "infinite", "gradient", "vanishing", "cancelled", "zero", "blocked", "not computed")
CAUSES = {
    "nan": "NaN from sqrt(nan * 1.0)", "infinite": "inf from sqrt(infinite)", "gradient": "",
    "zero": "relu(-zero) passes 0",
    "vanishing": "vanishing", "cancelled": "paths cancel at cancelled",
    "blocked": "blocked at heaviside(…)", "not computed": "not computed",
}  # fmt: skip


def test_every_state_is_told_by_nodes_edges_and_the_text_and_pictures_of_a_graph():
    y, _ = each_state()
    g = graph(y, 1.0)
    nodes = {node.name: node for node in g if node.kind == "parameter"}
    assert {name: node.outcome.text(g.names) for name, node in nodes.items()} == CAUSES
    for state in SEEN:
        node = nodes[state]
        assert node.state == state
        if state != "cancelled":  # whose parts arrive, and cancel only there
            assert {edge.traffic for edge in g.out_of[node.id]} == {state}
    behind = next(e for e in g.edges if nodes["blocked"].id == e.source)
    assert behind.traffic == "blocked"  # what lies behind heaviside inherits it
    lines = {name: next(x for x in str(g).split("\n") if f"{name} (2" in x) for name in nodes}
    shown = {"nan": "NaN", "infinite": "∞", "zero": "0", "gradient": "+2.00"}
    shown["vanishing"] = "(vanishing)"
    for name, line in lines.items():
        if name != "cancelled":
            assert line.split("parameter   ")[1].split()[-1] == shown.get(name, name).split()[-1]
    assert "paths cancel" in lines["cancelled"]
    boxes = {box.lines[0]: box for box in g.picture().boxes}
    assert "cancelled" in boxes["cancelled"].below
    legend = " ".join(entry.text for entry in g.picture().legend)
    for state in set(SEEN) - {"gradient", "cancelled"}:
        assert APPEARANCE[State(state)].words in legend
    states = [node["state"] for node in g.to_json()["nodes"] if node["kind"] == "parameter"]
    assert sorted(states) == sorted(SEEN)


def test_a_folded_picture_hides_no_state():
    x, w = parameter([1.0, 2.0], "x"), parameter([1.0, 2.0], "w")
    with scope("f"):
        a, b, c = x * w, x + w, x - w
    with scope("g"):
        y = (heaviside(a) + b * 3.0 + tl.relu(-b * b) + tl.relu(-c * c)).sum()
    drawn = diagram(graph(y, 1.0), True)
    picture = graph(y, 1.0).picture(True)
    (arrow,) = (
        arrow
        for wire, arrow in zip(drawn.wires, picture.arrows, strict=True)
        if len(wire.edges) == 6
    )
    assert arrow.look.label == "4.24, 0, blocked"
    words = "6 edges: 1 4.24; 1 zero, exactly; 1 blocked: the slope is 0 wherever there is one"
    assert arrow.tooltip == words


def test_what_cancels_in_a_folded_box_is_not_taken_for_a_gradient():
    x = parameter([0.1, 0.7], "x")
    h = tl.tanh(x)
    with scope("f"):
        y = (h * 0.1 + h * 0.2 - h * 0.3).sum()
    (wire,) = (
        w for w in diagram(graph(y, 1.0), True).wires if len(w.edges) == 3 and w.value is None
    )
    assert wire.traffic == "cancelled"


def test_every_state_is_told_by_paths_flow_classes_and_profile():
    y, p = each_state()
    (layer,) = profile(y)
    for state in SEEN[:-1]:
        for ask in (paths, path_classes, flow):
            found = ask(y, p[state])
            assert found.state == state
            assert CAUSES[state] in found.note
            assert found.to_json()["state"] == state
        if state != "gradient":
            assert f"{state}: {CAUSES[state]}" in layer.verdict
    assert "not computed: not computed" in layer.verdict
    assert "gradient" not in layer.verdict
    assert [path.state for path in paths(y, p["blocked"])] == ["blocked"]
    lines = str(paths(y, p["infinite"]).table()).splitlines()
    assert lines[2].endswith("inf from sqrt(infinite)")
    assert lines[-1] == "Compute inside `with source_lines():` to have lines named here."


def test_every_state_is_told_by_steps_and_the_page():
    y, _ = each_state()
    found = steps(y)
    sends = {send.recipient: send.traffic for step in found.backward for send in step.sends}
    assert {name: sends[name] for name in ("nan", "infinite", "vanishing", "zero", "blocked")} == {
        name: name for name in ("nan", "infinite", "vanishing", "zero", "blocked")
    }
    page = steps_page(found)
    remarks = json.loads(page.split('"remarks":')[1].split("}")[0] + "}")
    assert set(remarks) >= set(SEEN) - {"gradient", "not computed"}
    x = parameter([0.1, 0.7], "x")
    h = tl.tanh(x)
    step = steps((h * 0.1 + h * 0.2 - h * 0.3).sum()).backward[-1]
    assert step.state == "cancelled"
    assert "paths cancel" in str(step)
    a = parameter([1.0, 2.0], "a")
    with scope("s"):
        tripled = a * 3.0
    y = (tripled - a * 3.0).sum()
    assert re.search(r"a now +\[ +0 +0\]", str(steps(y)[-1]))
    assert "paths cancel" in str(steps(y)[-1])
    assert {layer.verdict for layer in profile(y)} == {"paths cancel at a"}


def test_both_sides_of_a_comparison_say_what_became_of_the_gradient():
    a, b = parameter([1.0, 2.0], "a"), parameter([1.0, 2.0], "b")
    blocked, plain = (heaviside(a) + b).sum(), (a * 2.0 + b).sum()
    blocked.name, plain.name = "H", "P"
    for one, other in ((blocked, plain), (plain, blocked)):
        row = compare(one, other).rows[0]
        assert "blocked at heaviside" in row.note
        assert {row.first.state, row.second.state} == {State.BLOCKED, State.GRADIENT}
    assert compare(blocked, plain).rows[0].note.startswith("H: ")
    assert compare(blocked, blocked * 2.0).rows[0].note.startswith("both: blocked")


# Kinds of mistakes that were made


def test_headings_come_from_the_reverse_pass_and_overflow_is_said():
    for dtype, large in ((float, 1e200), (np.float32, 1e20)):
        x = Tensor(dtype(1.0), requires_grad=True, name="x")
        h = x * large
        y = (h - h) * large + x
        found = paths(y, x)
        assert found.note == "2 of 3 paths overflow: there are no shares"
        assert [path.outcome.left_range for path in found] == [False, True, True]
        for answer in (found, flow(y, x), path_classes(y, x)):
            assert answer.norm == 1
        assert "overflow" in flow(y, x).note


def test_overflow_and_underflow_are_told_from_rules_that_give_0_or_infinity():
    x = parameter(1.0, "x")
    assert paths(x * 1e-200 * 1e-200, x).note.startswith("underflow at ")
    assert paths(x * 1e200 * 1e200, x).note.startswith("overflow at ")
    assert paths(x * 0.0 * 1e-200, x).note.startswith("x * 0.0 passes 0")
    z = parameter(0.0, "z")
    assert paths(tl.sqrt(z) * 1e200, z).note.startswith("inf from sqrt(z)")
    y = x * 1e200 * 1e200 * 0.0
    assert graph(y, 1.0).nodes[0].state == "zero"  # the reverse pass meets the 0 first
    assert profile(x * 1e-200 * 1e-200)[0].verdict == "underflow at x * 1e-200"


@pytest.mark.parametrize("penalty", ["none", "unscoped", "scoped"])
def test_weight_decay_does_not_hide_that_a_layer_vanishes(penalty):
    W1, W2 = parameter(1.0, "W1"), parameter(1.0, "W2")
    with scope("L1"):
        h = W1 * 1e-20
    with scope("L2"):
        loss = W2 * (h + 1.0)
    if penalty == "unscoped":
        loss = loss + 0.05 * (W1 * W1 + W2 * W2)
    elif penalty == "scoped":
        with scope("penalty"):
            decay = 0.05 * (W1 * W1 + W2 * W2)
        loss = loss + decay
    found = profile(loss)
    assert [(layer.name, layer.verdict) for layer in found[:2]] == [("L1", "vanishing"), ("L2", "")]
    assert found[0].parameters == pytest.approx(1e-20)
    if penalty != "none":
        assert found[2].name == {"unscoped": "outside scopes", "scoped": "penalty"}[penalty]
        assert found[2].parameters == pytest.approx(0.1 * 2**0.5)
    assert found.culprit == "multiply shrinks it most: ×1.0e-10 in each of 2 uses, 1e-20 in all"


def test_a_scope_entered_again_stands_where_its_last_op_stands():
    h = parameter(1.0, "x")
    for i in range(3):
        with scope(f"dead{i}"):
            d = h * parameter(1.0, f"d{i}")
        with scope("trunk"):
            h = h + d * 1e-20
    with scope("trunk"):
        y = h * 1.0
    found = profile(y)
    assert [layer.name for layer in found] == ["dead0", "dead1", "dead2", "trunk"]
    assert [layer.verdict for layer in found] == ["vanishing"] * 3 + [""]
    for layer, after in zip(found, list(found)[1:], strict=False):
        assert layer.ratio == pytest.approx(layer.size / after.size)
    assert "1e-20 in all" in found.culprit


def test_a_profile_never_crashes():
    w = parameter(1.0, "w")
    with scope("stem"):
        s = w * 0.5
    with scope("trunk"):
        a = s * 0.5
    with scope("branch"):
        c = s * 3.0
    with scope("trunk"):
        y = a + c * 1e-30
    assert [layer.name for layer in profile(y)] == ["stem", "branch", "trunk"]
    assert profile(y)[1].verdict == "vanishing"
    for cotangent in (0.0, np.nan, np.inf, 1e-320, 1e308):
        assert str(profile(y, cotangent)) + profile(y, cotangent).svg()
    assert len(profile(w)) == 1


def test_a_blocked_parameter_is_not_hidden_by_another_of_its_layer():
    W, b = parameter([2.0], "W"), parameter([1.0], "b")
    with scope("L1"):
        z = (heaviside(b, 0.5) * 1.0 + W).sum()
    assert profile(z)[0].verdict == "b: blocked at heaviside(b)"


def test_paths_oppose_where_the_sum_of_those_that_do_is_large():
    x = parameter(1.0, "x")
    y = x * 1.4
    for _ in range(100):
        y = y - x * 0.004
    assert paths(y, x).note == "paths oppose"
    assert min(path.share for path in paths(y, x)) > -0.005


def test_longdouble_keeps_its_range():
    tiny, large = np.longdouble("1e-4000"), np.longdouble("1e4000")
    if not 0 < tiny < large < np.inf:
        pytest.skip("longdouble is float64 here")
    x = Tensor(np.array([large, tiny]), requires_grad=True, name="x")
    y = (x * x).sum()
    assert norm(x.data) == large
    assert norm([1e308] * 4) == 2 * np.longdouble(1e308)
    found = paths(y, x)
    assert [path.share for path in found] == [0.5, 0.5]
    assert str(found).startswith("2 paths from y to x, |gradient| 2.00e+4000")
    assert np.longdouble(found.to_json()["norm"]) == 2 * large
    assert [float(s) for s in flow(y, x).shares.values()] == [0.5, 0.5, 1.0]
    assert profile(y)[0].state == "gradient"
    assert "1.00e+4000" in str(graph(y, 1.0))
    assert "1.00e-4000" in str(steps((x[1:] * 0.5).sum())[0])


@pytest.mark.parametrize("promise", ["elementwise", "linear", "batched", None])
def test_a_promise_that_is_not_so_is_named(promise):
    promised = {promise: True} if promise else {}

    @op(**promised)
    def roll(x):
        return np.roll(x, 1)

    roll.vjp(lambda g, out, x: g[[1, 2, 0]])

    @op(**promised)
    def square(x):
        return x * x

    square.vjp(lambda g, out, x: g * 2 * x)

    @op(**promised)
    def bent(x):
        return x * 1.0

    bent.vjp(lambda g, out, x: g * g)
    honest = {
        "roll": ("linear", None), "square": ("elementwise", "batched", None), "bent": (),
    }  # fmt: skip
    for made in (roll, square, bent):
        x = parameter([1.0, 2.0, 3.0], "x")
        with scope("a"):
            h = made(x)
        with scope("b"):
            k = tl.tanh(h)
        y = (k * Tensor([1.0, 2.0, 3.0]) + h * Tensor([2.0, 1.0, 1.0])).sum()
        if promise in honest[made.name]:
            assert flow(y, x).shares
            assert len(path_classes(y, x)) == 2
        else:
            with pytest.raises(ValueError, match=f"do not add up at {made.name}: "):
                flow(y, x)
        if made is bent:
            with pytest.raises(ValueError, match="rule must be linear in g"):
                paths(y, x)


def test_a_batched_promise_that_only_mixes_classes_is_named():
    @op(batched=True)
    def turned(x):
        return np.flip(x)

    turned.vjp(lambda g, out, x: tl.flip(g))  # of several at once this turns their order too
    x = parameter([1.0, 2.0, 3.0], "x")
    h = turned(x)
    with scope("b"):
        k = tl.tanh(h)
    with pytest.raises(ValueError, match="at turned: it promised batched=True"):
        path_classes((k + h).sum(), x)


def test_a_flow_through_a_stack_takes_one_step(monkeypatch):
    from tinygrad_lite.insight import jacobians

    monkeypatch.setattr(jacobians, "transpose", None)  # would take one pass for every input
    x = parameter([1.0, 2.0], "x")
    for join in (stack, tl.concatenate):
        y = join([tl.tanh(x * float(i)) for i in range(1, 9)]).sum()
        shares = flow(y, x).shares
        into = [s for e, s in shares.items() if e.source == 0]
        assert sum(into) == pytest.approx(1)


# What cancels within one op


@pytest.mark.parametrize("seed", range(8))
def test_a_flow_of_what_only_rounding_is_left_of_has_no_shares(seed):
    rng = np.random.default_rng(seed)
    b = parameter(0.3, "b")
    p = tl.softmax(rng.standard_normal(4) + b)  # a shift changes nothing: the gradient is 0
    y = (p * rng.standard_normal(4)).sum()
    found = flow(y, b)
    assert not found.shares
    assert "underflow" not in found.note
    if found.norm:
        assert found.note == "only rounding is left at p: there are no shares"
        y.backward()
        (travel,) = travels(steps(y).record.graph).values()
        assert travel["shares"] == []
        assert "only rounding is left at p: arrows have no shares" in travel["note"]


@pytest.mark.parametrize("size", [20.0, 25.0, 30.0])
def test_a_softmax_that_is_all_but_constant_is_not_called_wrong(size):
    x = parameter([size, 0.0], "x")
    found = flow((1.0 - tl.softmax(x)) @ np.array([1.0, 2.0]), x)
    p = math.exp(-size) / (1 + math.exp(-size))
    np.testing.assert_allclose(found.gradient, np.array([1, -1]) * p * (1 - p), atol=4 * EPS)
    assert list(found.shares.values()) == pytest.approx([1, 1, 1], abs=0.005)


def test_a_sum_that_is_zero_is_no_underflow():
    b = parameter(0.5, "b")
    z = np.zeros(3) + b
    y = (z * np.array([1e-3, 2e-3, -3e-3])).sum()
    assert flow(y, b).gradient == 0
    assert "passes 0" in paths(y, b).note
    tiny = (z * 1e-300 * 1e-300).sum()
    assert "underflow" in paths(tiny, b).note
