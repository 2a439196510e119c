"""What History notes while a network learns: norms, shares and coherence, and no graph."""

import gc
import json
import math
import re
import weakref

import numpy as np
import pytest
from nets import deep_net, random_graph, skip_networks

from tinygrad_lite import History, Tensor, flow, grad, path_classes, paths, scope, sigmoid
from tinygrad_lite.drawing.line_chart import Line, Panel, line_chart, round_numbers, spread
from tinygrad_lite.insight.history import farthest


def network(x, t):
    """The loss of exercise 4's G."""
    h = [x]
    for i in "123":
        with scope(f"f{i}"):
            h.append(sigmoid(t[f"W{i}"] @ h[-1] + t[f"b{i}"]))
    return ((h[3] + h[2] - 1) ** 2).mean()


def train(history, steps, look=lambda step, loss, t: None):
    """G, trained for some steps; `look` is called before each gradient is forgotten."""
    *_, t = skip_networks(3)
    x = t.pop("x")
    for step in range(steps):
        loss = network(x, t)
        loss.backward()
        history.record(loss)
        look(step, loss, t)
        for p in t.values():
            p.data = p.data - 0.5 * p.grad
            p.zero_grad()
    return t


def test_norms_shares_and_coherence_are_those_of_their_step():
    history, norms, shares = History(every=2, shares_every=3), {}, {}

    def look(step, loss, t):
        norms[step] = {name: np.linalg.norm(p.grad) for name, p in t.items()}
        if step % 6 == 0:
            coherence = path_classes(loss, t["W1"], "depth").coherence
            shares[step] = dict(flow(loss, t["W1"]).scopes), coherence

    train(history, 14, look)
    assert history.wrt == "W1"
    assert [row.step for row in history.rows] == [0, 2, 4, 6, 8, 10, 12]
    for row in history.rows:
        assert list(row.norms) == ["W1", "b1", "W2", "b2", "W3", "b3"]
        assert row.norms == pytest.approx(norms[row.step], rel=1e-14)
        expected, coherence = shares.get(row.step, (None, None))
        assert row.shares == expected
        assert row.coherence == (coherence and pytest.approx(coherence, rel=1e-12))
    assert list(shares) == [0, 6, 12]
    assert 0 < history.rows[0].coherence < 1


@pytest.mark.parametrize("by", ["depth", "skips", lambda e: (e.target,) if e.skip else None])
def test_other_shares_are_those_of_path_classes(by):
    history, expected = History(every=1, shares_every=1, by=by), []

    def look(step, loss, t):
        classes = path_classes(loss, t["W1"], by)
        shares = {key: found.share for key, found in classes.items()}
        expected.append((shares, classes.coherence))

    train(history, 3, look)
    assert [(len(row.shares), row.shares, row.coherence) for row in history.rows] == [
        (2, *both) for both in expected
    ]


def test_a_name_means_the_parameter_of_the_first_loss():
    by_name, by_itself = History("W2"), History()
    train(by_name, 11)
    *_, t = skip_networks(3)
    by_itself.asked = t["W2"]
    loss = network(t.pop("x"), t)
    loss.backward()
    by_itself.record(loss)
    assert by_name.wrt == "W2"
    assert by_name.rows[0].shares == by_itself.rows[0].shares


@pytest.mark.parametrize(
    ("steps", "options", "noted", "asked"),
    [
        (25, {}, [0, 10, 20], [0]),
        (5, {"every": 1, "shares_every": 2}, [0, 1, 2, 3, 4], [0, 2, 4]),
        (7, {"every": 3, "shares_every": 1}, [0, 3, 6], [0, 3, 6]),
        (0, {}, [], []),
    ],
)
def test_every_so_many_calls_are_noted(steps, options, noted, asked):
    history = History(**options)
    train(history, steps)
    assert [row.step for row in history.rows] == noted
    assert [row.step for row in history.rows if row.shares is not None] == asked


def test_json_gives_the_same_numbers_back():
    history = History(every=1, shares_every=2)
    train(history, 3)
    data = json.loads(json.dumps(history.to_json()))
    assert (data["wrt"], data["every"], data["shares_every"]) == ("W1", 1, 2)
    for row, found in zip(history.rows, data["rows"], strict=True):
        assert (found["step"], found["norms"]) == (row.step, row.norms)
        shares = found["shares"] and {x["key"]: x["share"] for x in found["shares"]}
        assert (shares, found["coherence"]) == (row.shares, row.coherence)


# What the gradient is asked towards, and what parameters are called


@pytest.mark.parametrize("seed", range(8))
def test_the_farthest_parameter_has_the_longest_path(seed):
    y, parameters = random_graph(seed)
    longest = {p: max(len(path.edges) for path in paths(y, p)) for p in parameters}
    assert longest[farthest(y)] == max(longest.values())


def test_another_wrt_is_asked_for():
    *_, t = skip_networks(3)
    loss = network(t.pop("x"), t)
    loss.backward()
    history = History(t["b2"])
    history.record(loss)
    assert history.wrt == "b2"
    assert history.rows[0].shares == dict(flow(loss, t["b2"]).scopes)


def test_parameters_are_called_as_they_are_found():
    net = {"layers": [Tensor([0.5, 2.0], requires_grad=True) for _ in range(2)]}

    def noted(**options):
        loss = (net["layers"][0] * 2 * net["layers"][1]).sum()
        loss.backward()
        history = History(**options)
        history.record(loss)
        return history.wrt, list(history.rows[0].norms)

    assert noted() == (
        'net["layers"][0]',
        ['net["layers"][0]', 'net["layers"][1]'],
    )
    assert noted(names=net["layers"]) == ("[0]", ["[0]", "[1]"])


def test_long_names_stay_apart():
    a, b = (Tensor(2.0, requires_grad=True, name=f"{'a' * 50}{c}{'b' * 50}") for c in "xy")
    loss = a * b
    loss.backward()
    history = History()
    history.record(loss)
    assert history.rows[0].norms == {a.name: 2, b.name: 2}


def test_tensors_made_anew_are_known_by_their_names():
    """As in a loop that makes its parameters from the old ones."""
    w, history, expected = Tensor(3.0, requires_grad=True), History(every=1, shares_every=1), []
    for _ in range(4):
        loss = w * w
        loss.backward()
        history.record(loss)
        expected.append({"w": abs(w.grad)})
        w = Tensor(w.data - 0.1 * w.grad, requires_grad=True)
    assert [row.norms for row in history.rows] == expected
    assert [row.coherence for row in history.rows] == [1, 1, 1, 1]


def test_a_loss_without_wrt_has_no_shares():
    a, b = (Tensor(2.0, requires_grad=True, name=name) for name in "ab")
    history = History(a, every=1, shares_every=1)
    for loss in (a * b, b * b):
        loss.backward()
        history.record(loss)
        a.zero_grad()
        b.zero_grad()
    first, second = history.rows
    assert (first.shares, first.coherence, first.norms) == ({}, 1.0, {"a": 2, "b": 2})  # no scopes
    assert (second.shares, second.coherence, second.norms) == ({}, None, {"b": 4})


def test_what_is_not_there_or_not_finite_is_said():
    a, b = (Tensor(x, requires_grad=True, name=name) for x, name in ((0.0, "a"), (1.0, "b")))
    with np.errstate(all="ignore"), scope("f"):
        loss = a / a + b
        loss.backward()
    b.zero_grad()
    history = History()
    history.record(loss)  # and warns of nothing
    (row,) = history.rows
    assert math.isnan(row.norms["a"])
    assert row.norms["b"] is None
    assert (row.shares, row.coherence) == ({}, None)
    assert re.search(r"^0 +NaN +- +-$", str(history), re.MULTILINE)
    assert "Lines break where" in history.svg()


# Memory


def test_no_graph_is_kept():
    kept = []

    def look(step, loss, t):
        kept.extend(weakref.ref(x) for x in (loss, *loss.inputs) if isinstance(x, Tensor))

    history = History(every=1, shares_every=2)
    t = train(history, 4, look)
    gc.collect()
    assert len(kept) == 8
    assert [ref() for ref in kept] == [None] * 8
    assert set(history.called) == set(t.values())


def test_a_deep_network_is_recorded_without_a_class_for_each_combination():
    y, _, weights = deep_net(300, skip=True)
    y.backward()
    history = History()
    history.record(y)
    assert len(history.rows[0].shares) == 300
    assert 0 < history.rows[0].coherence <= 1
    assert len(history.rows[0].norms) == 301
    assert weights[0].grad is not None


# Pictures and tables


def test_the_table_has_the_first_the_last_and_some_between():
    history = History(every=1)
    train(history, 34)
    lines = str(history).split("\n")
    assert (
        lines[0]
        == "|gradient| of parameters; shares of the gradient of W1 by scope, and its coherence"
    )
    assert lines[1].split() == [
        "step",
        "W1",
        "b1",
        "W2",
        "b2",
        "W3",
        "b3",
        "f1",
        "f2",
        "f3",
        "coherence",
    ]
    assert [line.split()[0] for line in lines[2:-1]] == [
        "0",
        "5",
        "10",
        "15",
        "20",
        "25",
        "30",
        "33",
    ]
    assert lines[2].split()[7:9] == ["+100", "%"]
    assert lines[3].split()[7:] == ["-"] * 4
    assert lines[-1] == "34 steps, 6 parameters and 3 shares are in .rows"
    assert (
        str(History()) == "Nothing is recorded yet; call record(loss) after each loss.backward()."
    )


def test_the_chart_has_a_line_for_each_number(tmp_path):
    history = History(every=1, shares_every=1)
    train(history, 5)
    history.save(tmp_path / "h.svg")
    drawn = (tmp_path / "h.svg").read_text("utf-8")
    labels = ["W1", "b1", "W2", "b2", "W3", "b3", "f1", "f2", "f3", "coherence"]
    assert sorted(re.findall(r">([a-zA-Z]+\d?)</text>", drawn)) == sorted([*labels, "step"])
    assert drawn.count("<polyline") == 10
    assert "W1: " in drawn.split("<desc>")[1].split("</desc>")[0]
    with pytest.raises(ValueError, match="Nothing is recorded yet"):
        History().save(tmp_path / "h.svg")
    with pytest.raises(ValueError, match=r"use one of \.svg, \.png"):
        history.save(tmp_path / "h.gif")


def test_of_many_lines_some_have_a_label():
    y, *_ = deep_net(40, skip=True)
    y.backward()
    history = History()
    history.record(y)
    drawn = history.svg()
    assert drawn.count("<circle") == 41 + 40 + 1
    assert len(re.findall(r">(?:x|W\d+)</text>", drawn)) == 8
    assert len(re.findall(r">block\d+</text>", drawn)) == 4


def test_a_line_is_broken_where_there_is_no_number():
    points = [(0, 1.0), (1, 10.0), (2, 0.0), (3, 10.0), (4, math.nan), (5, 1.0), (6, 100.0)]
    drawn = line_chart([Panel("", (Line("a", tuple(points)),), log=True)], "title")
    found = [
        [tuple(map(float, point.split(","))) for point in line.split()]
        for line in re.findall(r'points="(.*?)"', drawn)
    ]
    assert [len(piece) for piece in found] == [2, 1, 2]
    (x0, y0), (x1, y1) = found[0]
    (_, y5), (x6, y6) = found[2]
    assert (y0, y1) == (y5, pytest.approx((y0 + y6) / 2))  # decades are equally high
    assert x1 - x0 == pytest.approx((x6 - x0) / 6, abs=0.1)


def test_norms_of_any_size_are_drawn():
    """One that only a longdouble holds is a gap."""
    w, history = Tensor([1.0, 2.0], requires_grad=True, name="w"), History(every=1)
    loss = (w * w).sum()
    loss.backward()
    for gradient in ([1.7e308, 0.0], [1.7e308, 1.7e308], [5e-324, 0.0]):
        w.grad = np.array(gradient)
        history.record(loss)
    first, second, third = (row.norms["w"] for row in history.rows)
    assert (first, third) == (1.7e308, 5e-324)
    assert second > np.finfo(float).max
    drawn = history.svg()
    assert drawn.count("<circle") == 3  # two norms, one coherence
    assert "Lines break where" in drawn


def test_marks_are_round_and_labels_stand_apart():
    assert round_numbers(0, 599) == [0, 200, 400]
    assert round_numbers(-0.23, 1.0) == pytest.approx([0, 0.5, 1])
    assert spread([3.0, 4.0, 90.0], 0.0) == [3, 15, 90]
    assert spread([149.0, 149.5, 150.0], 0.0) == [126, 138, 150]
    assert spread([0.0] * 20, 0.0) == [12.0 * i for i in range(20)]


# Errors


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: History(3),
            TypeError,
            "wrt must be a Tensor, or the name of one, but is of type int",
        ),
        (lambda: History(every=0), ValueError, "every must be at least 1, but is 0"),
        (
            lambda: History(by="scopes"),
            ValueError,
            "by must be 'scope', 'depth', 'skips' or a function of an Edge, but is 'scopes'",
        ),
        (
            lambda: History(shares_every=2.5),
            TypeError,
            "shares_every must be an integer, but is 2.5",
        ),
    ],
)
def test_wrong_options_are_refused(make, error, words):
    with pytest.raises(error, match=f"^{words}$"):
        make()


def test_what_cannot_be_recorded_is_refused():
    w = Tensor(2.0, requires_grad=True, name="w")
    history, loss = History(), w * w
    forgets = "before the optimiser's step or zero_grad forgets them$"
    with pytest.raises(TypeError, match=r"^record takes the Tensor whose .* of type float$"):
        history.record(4.0)
    history = History()
    with pytest.raises(ValueError, match=rf"^a float64 tensor of shape \(\) has left .*{forgets}"):
        history.record(loss)
    loss.backward()
    w.zero_grad()
    with pytest.raises(ValueError, match=forgets):
        History().record(loss)
    loss.backward()
    with pytest.raises(ValueError, match=r"does not depend on a parameter an? .*$"):
        History(Tensor(1.0, requires_grad=True)).record(loss)
    assert grad(loss, w).item() == 4
