"""What if a branch were cut: stopped, the gradient is the one less the paths through the branch;
ablated, it is that of the network without it; and a sweep is the code run again."""

import json
import math
import warnings
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from nets import deep_net, random_graph, skip_networks

import tinygrad_lite as tl
from tinygrad_lite import (
    Tensor,
    flow,
    grad,
    paths,
    profile,
    replay,
    scope,
    sigmoid,
    tanh,
    what_if,
)
from tinygrad_lite.cli import main
from tinygrad_lite.drawing.svg import extent
from tinygrad_lite.insight.what_if import BRANCHES, angle
from tinygrad_lite.recorded.replay import ReplayWarning
from tinygrad_lite.text import text_width

ONES = np.ones(4)


def half_square(y):
    return (y * y).sum() * 0.5


def exercise_4():
    """The networks F and G of the example, its parameters by name."""
    rng = np.random.default_rng(34)
    shapes = {"x": 3, "W1": (4, 3), "b1": 4, "W2": (4, 4), "b2": 4, "W3": (4, 4), "b3": 4}
    t = {name: Tensor(rng.standard_normal(shape), name != "x", name=name)
         for name, shape in shapes.items()}  # fmt: skip
    h = [t["x"]]
    for i in "123":
        with scope(f"f{i}"):
            h.append(sigmoid(t[f"W{i}"] @ h[-1] + t[f"b{i}"]))
    h[2].name, h[3].name = "y", "F"
    return h[3], h[3] + h[2], t


@pytest.mark.parametrize(
    ("how", "whole", "stopped", "ablated"),
    [({"gradient": ONES}, 0.224, 0.279, 0.279), ({"loss": half_square}, 0.357, 0.421, 0.134)],
)
def test_f3_stopped_and_ablated_in_exercise_4(how, whole, stopped, ablated):
    """Under the sum both give W1 the same gradient; under half the square one raises it, the
    other lowers it."""
    F, G, t = exercise_4()
    found = what_if(G, t["W1"], **how)
    row = found[-1]
    assert [r.branch for r in found] == ["f1", "f2", "f3"]
    assert (found.norm, row.stopped_norm, row.ablated_norm) == pytest.approx(
        (whole, stopped, ablated), abs=5e-4
    )
    np.testing.assert_allclose(row.output_change, -F.data, atol=1e-15)
    assert "f3" in str(found)
    assert found[0].ablated is None
    assert found[0].cells()[-3:] == ("-", "-", "not ablated: joins by @")


def test_the_gradient_of_w1_first_falls_as_f3_is_saturated():
    _, G, t = exercise_4()
    arrays = np.add.outer([0.0, 2.0, 20.0], t["b3"].data)
    found = what_if(G, t["W1"], gradient=ONES, sweep={"b3": arrays})
    assert [p.name for p in found.curve] == ["b3 + 0", "b3 + 2.00", "b3 + 20.0"]
    assert [p.norm for p in found.curve] == pytest.approx([0.224, 0.191, 0.279], abs=5e-4)
    assert "b3 + 2.00       0.191   5.9°" in str(found)


# Laws


def nets():
    """Computations whose paths can be walked, and a parameter of each; most leave a scope and
    enter it again."""
    _, G, t = skip_networks(3)
    yield G, t["W1"], ONES
    for seed in range(8):
        y, parameters = random_graph(seed)
        yield from ((y, wrt, None) for wrt in parameters)


@pytest.mark.parametrize("by", BRANCHES)
def test_stopped_is_the_whole_less_the_paths_through_the_branch(by):
    """And its share is that of those paths."""
    rows = 0
    for y, wrt, g in nets():
        found, walked = what_if(y, wrt, by, gradient=g), paths(y, wrt, gradient=g, limit=10**5)
        total = sum(p.norm for p in walked)
        for row in found:
            through = [p for p in walked if row.branch in (*p.scopes, *p.edges)]
            part = sum((p.contribution for p in through), np.zeros(wrt.shape))
            np.testing.assert_allclose(row.stopped, found.gradient - part, atol=1e-14 * total)
            if row.share is not None:
                assert row.share == pytest.approx(sum(p.share for p in through), abs=1e-9)
            rows += 1
    assert rows > 20


@pytest.mark.parametrize("seed", range(8))
def test_shares_are_those_of_the_flow(seed):
    y, parameters = random_graph(seed)
    for wrt in parameters:
        traffic, found = flow(y, wrt), what_if(y, wrt, "edge")
        if traffic.shares:
            shares = {row.branch: row.share for row in found}
            assert set(traffic.shares) <= set(shares)
            assert shares == pytest.approx({e: traffic.shares.get(e, 0.0) for e in shares})


@pytest.mark.parametrize("by", ["scope", "skips"])
def test_ablated_is_the_network_without_the_branch(by):
    blocks, width = 4, 3
    rng = np.random.default_rng(0)
    x = Tensor(rng.standard_normal(width), requires_grad=True, name="x")
    weights = [Tensor(rng.standard_normal((width, width))) for _ in range(blocks)]

    def network(off=None, skipless=None):
        h = x
        for i, w in enumerate(weights):
            with scope(f"f{i}"):
                f = tanh(w @ h)
            h = f if i == skipless else h if i == off else h + f
        return h

    def loss(y):
        return half_square(y) + (x * x).sum()

    y, found = network(), what_if(network(), x, by, loss=loss)
    skips = [row for row in found if row.remark.startswith("skip;") or row.remark == "skip"]
    branches = [row for row in found if row not in skips]
    assert len(branches) == blocks
    assert len(skips) == (blocks if by == "skips" else 0)
    for rows, which in ((branches, "off"), (skips, "skipless")):
        for i, row in enumerate(rows):
            without = network(**{which: i})
            np.testing.assert_allclose(row.ablated, grad(loss(without), x).data, rtol=1e-12)
            np.testing.assert_allclose(row.output_change, without.data - y.data, atol=1e-14)


def test_a_sweep_is_the_code_run_again():
    def network(w):
        return sigmoid(tanh(w * x) + w).sum()

    x, w = Tensor([1.0, -2.0], requires_grad=True, name="x"), Tensor(0.5, True, name="w")
    arrays = np.linspace(-1, 2, 5)
    for key in (w, "w"):
        found = what_if(network(w), x, sweep={key: arrays})
        for point, array in zip(found.curve, arrays, strict=True):
            other = Tensor(array, requires_grad=True)
            np.testing.assert_array_equal(point.gradient, grad(network(other), x).data)
            change = network(other).item() - network(w).item()
            assert point.output_change == pytest.approx(change)
    own = what_if(network(w), w, sweep={w: arrays}).curve
    for point, array in zip(own, arrays, strict=True):
        other = Tensor(array, requires_grad=True)
        assert point.gradient == grad(network(other), other).data


def test_no_two_arrays_of_a_sweep_are_called_the_same():
    x = Tensor([1.0, 2.0], requires_grad=True, name="x")
    curve = what_if((x * x).sum(), x, sweep={x: x.data * np.array([[0.0], [2.0]])}).curve
    assert [p.name for p in curve] == ["x (0), changed by 2.24", "x (1), changed by 2.24"]


def test_a_loss_sees_the_leaf_that_is_swept():
    w = Tensor(2.0, requires_grad=True, name="w")
    found = what_if(w * w, w, loss=lambda y: y + 3.0 * w * w, sweep={w: [1.0, 5.0]})
    assert [p.norm for p in found.curve] == [8.0, 40.0]


def test_a_sweep_is_told_from_the_array_that_was_recorded():
    w = Tensor(2.0, requires_grad=True, name="w")
    y = w * w
    w.data = np.array(7.0)
    assert [p.name for p in what_if(y, w, sweep={w: [2.0, 1.5]}).curve] == ["w + 0", "w - 0.500"]


def test_a_branch_can_be_given_to_replay():
    _, G, t = skip_networks(1)
    for by in ("scope", "skips", "edge"):
        for row in what_if(G, t["W2"], by, gradient=ONES):
            again = replay(G, stop_gradient=row.branch)
            np.testing.assert_array_equal(row.stopped, grad(again, t["W2"], ONES).data)


def test_what_a_skip_goes_around_is_what_was_computed_from_it():
    x, c = (Tensor([1.0, 2.0], requires_grad=True, name=name) for name in "xc")
    found = what_if(tl.stack([x, tanh(x), c]).sum(), x, "skips")
    remarks = [(row.name.split(" →")[0], row.remark.split(";")[0]) for row in found]
    assert remarks == [("x", "skip"), ("tanh(x)", "skipped")]


def test_a_branch_that_is_stopped_already_can_still_be_ablated():
    F, G, t = skip_networks(0)
    found = what_if(replay(G, stop_gradient="f3"), t["W1"], "skips", gradient=ONES)
    assert [row.share for row in found] == [0.0, 1.0]
    np.testing.assert_allclose(found[0].output_change, -F.data)


def test_a_value_behind_which_no_parameter_is_left_keeps_its_gradient():
    x = Tensor(2.0, requires_grad=True, name="x")
    h = x + 1.0
    y = h * h
    first, *_ = what_if(y, h, "edge")
    assert (first.ablated.item(), first.output_change.item()) == (2.0, -8.0)
    z = replay(y, ablate=first.branch)
    assert grad(z, h).item() == sum(flow(z, h).gradient.ravel()) == 2.0
    assert grad(z, x).item() == 0.0


def test_a_replay_has_its_rows_in_the_order_of_what_was_recorded():
    p, q = (Tensor(2.0, requires_grad=True, name=name) for name in "pq")
    with scope("a"):
        a = p * 2.0
    with scope("b"):
        b = q * 3.0
    z = replay(a + b, {p: 5.0})
    assert [row.name for row in what_if(z, q)] == ["a", "b"]
    assert [layer.name for layer in profile(z)] == ["a", "b"]


def test_what_rounding_left_has_no_angle():
    x = Tensor([0.1, 0.7, 1.3], requires_grad=True, name="x")
    y = sigmoid(x).sum() * 3.0 - (x / x * sigmoid(x) * 3.0).sum()
    found = what_if(y, x, "edge")
    assert "paths cancel" in found.note
    assert {row.angle for row in found} == {None}


def test_scopes_within_scopes_are_branches_and_that_of_the_output_is_none():
    x = Tensor(2.0, requires_grad=True, name="x")
    with scope("outer"):
        with scope("inner"):
            a = x * x
        b = a + x
    with scope("end"):
        y = b * 3.0
    found = what_if(y, x)
    assert [row.branch for row in found] == ["outer", "outer/inner"]
    assert [row.stopped.item() for row in found] == [0.0, 3.0]
    assert [row.share for row in found] == pytest.approx([1.0, 0.8])
    assert [row.ablated for row in found] == [None, 3.0]


def test_a_gradient_of_zero_has_no_shares():
    x = Tensor([-1.0], requires_grad=True, name="x")
    with scope("f"):
        f = tl.relu(x)
    (row,) = found = what_if((f + f * 0.0).sum(), x)
    assert (row.share, row.angle, row.cells()[1]) == (None, None, "-")
    assert "there are no shares" in str(found)


def test_a_comparison_that_comes_out_otherwise_is_said_once():
    x = Tensor(1.0, requires_grad=True, name="x")
    y = x * x if x > 0 else -x
    with pytest.warns(ReplayWarning, match="asked whether a Tensor was true") as said:
        what_if(y + x, x, sweep={"x": [-1.0, -2.0]})
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        what_if(y + x, x)


def test_an_angle_is_exact_where_it_is_small():
    a, b = np.array([1.0, 0.0]), np.array([1.0, 1e-9])
    assert angle(a, b) == pytest.approx(np.degrees(1e-9), rel=1e-6)
    assert angle(a, -a) == pytest.approx(180)
    assert angle(a, 0 * a) is None


# Views


def test_it_is_data_and_a_picture(tmp_path):
    _, G, t = skip_networks(0)
    sweep = {"b3": np.add.outer([0.0, 1.0], t["b3"].data)}
    for found, shown in (
        (what_if(G, t["W1"], "skips", gradient=ONES), "y → G"),
        (what_if(G, t["W1"], gradient=ONES, sweep=sweep), "b3 + 1.00"),
    ):
        for suffix in (".svg", ".png"):
            found.save(tmp_path / f"a{suffix}")
        assert shown in "".join(ET.parse(tmp_path / "a.svg").getroot().itertext())
        data = json.loads(json.dumps(found.to_json()))
        assert (len(data["rows"]), len(data["curve"])) == (len(found), len(found.curve))
        assert data["rows"][0]["stopped_norm"] == found[0].stopped_norm


def test_where_there_are_no_scopes_that_is_said():
    x = Tensor(1.0, requires_grad=True, name="x")
    assert str(what_if(x * x, x)).endswith(
        'It has no branch that could be cut by="scope"; ask by="skips" or by="edge".'
    )


@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [
        ({"by": "path"}, ValueError, "by is 'scope', 'skips' or 'edge', but got 'path'"),
        ({"loss": half_square, "gradient": ONES}, ValueError, "give one of them"),
        (
            {"loss": lambda y: y.sum().item()},
            TypeError,
            "loss must return a Tensor, but returned float",
        ),
        ({"loss": lambda y: y}, ValueError, "is not a scalar"),
        ({}, ValueError, "is not a scalar"),
        ({"sweep": {"b3": ONES}}, ValueError, r"need the shape \(n, 4\), but have \(4,\)"),
        ({"sweep": {"b3": np.ones((0, 4))}}, ValueError, "one array at least, but got none for b3"),
        ({"sweep": {"b9": ONES}}, ValueError, "'b9' is no leaf of the computation"),
        ({"sweep": {}}, ValueError, "a sweep is of one leaf, but got 0"),
        ({"sweep": {"b3": ONES, "b2": ONES}}, ValueError, "a sweep is of one leaf, but got 2"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence(how, kind, said):
    _, G, t = skip_networks(0)
    if "sweep" in how:
        how = {**how, "gradient": ONES}
    with pytest.raises(kind, match=said):
        what_if(G, t["W1"], **how)


SCRIPT = """
from nets import skip_networks
F, G, t = skip_networks(34)
globals().update(t)
"""


@pytest.fixture
def target(tmp_path):
    (tmp_path / "net.py").write_text(SCRIPT)
    return f"{tmp_path}/net.py:G"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "heading", "row"),
    [
        ("", "the gradient of sum(G) to W1", "f3"),
        ("--by skips --loss square", "the gradient of ½|G|² to W1", "y → G"),
        ("--loss sum --sweep b3=0:20:41", "a sweep: the gradient of sum(G) to W1", "b3 + 20.0"),
    ],
)
def test_the_command(target, capsys, words, heading, row):
    assert main(["what-if", target, "--wrt", "W1", *words.split()]) == 0
    text = capsys.readouterr().out
    assert heading in text
    assert any(line.startswith(row) for line in text.splitlines())
    assert main(["what-if", target, "--wrt", "W1", "--json", *words.split()]) == 0
    (data,) = json.loads(capsys.readouterr().out)
    assert len(data["curve"]) == (41 if "sweep" in words else 0)


def test_a_sweep_that_cannot_be_read_is_a_sentence(target, capsys):
    with pytest.raises(SystemExit):
        main(["what-if", target, "--sweep", "b3=0:20"])
    assert "a sweep is NAME=FIRST:LAST:COUNT" in capsys.readouterr().err
    assert main(["what-if", target, "--wrt", "W1", "--sweep", "b9=0:20:3"]) == 2
    assert "'b9' is no leaf" in capsys.readouterr().err


def test_a_deep_network_by_scope():
    y, x, _ = deep_net(20, skip=True)
    found = what_if(y, x)
    assert len(found) == 20
    assert [row.share for row in found] == pytest.approx(list(flow(y, x).scopes.values()))


SVG = "{http://www.w3.org/2000/svg}"


def large_shares(factor):
    """Two parts that nearly cancel: shares of 100 % + `factor` and - `factor`."""
    x = Tensor(1.0, requires_grad=True, name="x")
    with scope("p"):
        p = x * (1.0 + factor)
    with scope("q"):
        q = x * factor
    return p - q, x


def marks_of_bars(source):
    """What is written at the axis of the bars: each text with its middle."""
    texts = [t for t in ET.fromstring(source).iter(f"{SVG}text") if t.text]
    shown = [(t, t.text.replace("\N{NO-BREAK SPACE}", " ")) for t in texts]
    mark = next(t for t, words in shown if t.get("text-anchor") == "middle" and "%" in words)
    row = [(float(t.get("x")), w) for t, w in shown if t.get("y") == mark.get("y")]
    return sorted(row)


@pytest.mark.parametrize("factor", [0.5, 3.0, 12.0, 29.3, 59.7, 1e4])
def test_marks_and_samples_fit_a_scale_of_large_shares(factor):
    y, x = large_shares(factor)
    ends = [-math.inf]
    for at, words in marks_of_bars(what_if(y, x).svg())[:2]:
        assert at - text_width(words, 9) / 2 > ends[-1]
        ends.append(at + text_width(words, 9) / 2)
    found = flow(y, x)
    (scale,) = [e for e in found.picture().legend if isinstance(e.sample, tuple)]
    widths = [look.width for look, _ in scale.sample]
    largest = float(scale.sample[-1][1].removesuffix(" %")) / 100
    assert widths[-1] == pytest.approx(0.6 + 7 * largest / (1 + factor))
    assert widths[-1] > 2
    assert widths[0] < widths[1] - 0.3 < widths[2] - 0.6
    drawn = found.svg()
    width, _ = extent(drawn)
    assert all(
        float(t.get("x")) + 0.9 * text_width(t.text, float(t.get("font-size"))) < width
        for t in ET.fromstring(drawn).iter(f"{SVG}text")
        if t.text and not t.get("text-anchor")
    )
