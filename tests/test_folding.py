"""Folding: what repeats is drawn once, with numbers that are those of all repeats."""

import math
import random
import xml.etree.ElementTree as ET
from collections import Counter
from contextlib import nullcontext
from itertools import pairwise
from statistics import median_high

import numpy as np
import pytest
from conftest import require
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import deep_net, tangled

import tinygrad_lite as tl
from tinygrad_lite import Tensor, flow, graph, scope, sigmoid, tanh
from tinygrad_lite.drawing import render
from tinygrad_lite.drawing.curves import log_marks
from tinygrad_lite.drawing.svg import extent
from tinygrad_lite.recorded import fold
from tinygrad_lite.recorded.fold import VISIBLE, folding
from tinygrad_lite.recorded.measure import norm
from tinygrad_lite.text import number, text_width
from tinygrad_lite.views import boxes
from tinygrad_lite.views.boxes import LARGEST, diagram
from tinygrad_lite.views.units import common_name

SVG = "{http://www.w3.org/2000/svg}"


def parameter(*shape, seed=0, name=""):
    return Tensor(np.random.default_rng(seed).normal(size=shape) / 2, True, name=name or None)


def residual(blocks, width=6, scopes=False):
    """h + tanh(W h + b), in plain loops, between an embedding and a sum."""
    h = parameter(width, 3, name="W_in") @ Tensor(np.ones(3), name="x")
    for i in range(blocks):
        W, b = parameter(width, width, seed=i, name=f"W{i}"), parameter(width, name=f"b{i}")
        with scope(f"block{i}") if scopes else nullcontext():
            h = h + tanh(W @ h + b)
    y = h.sum()
    y.name = "y"
    y.backward()
    return y


def halves(blocks, scopes=True):
    """Blocks of two halves, each with a skip, as a transformer's."""
    h = parameter(4, 6, name="E") * 2.0
    for i in range(blocks):
        A, B = parameter(6, 6, seed=i, name=f"A{i}"), parameter(6, 6, seed=-1 - i & 99)
        with scope(f"block{i}") if scopes else nullcontext():
            with scope("attn") if scopes else nullcontext():
                a = tl.softmax(h @ A, axis=-1) @ parameter(6, 6, seed=i + 50)
            h = h + a
            with scope("mlp") if scopes else nullcontext():
                m = sigmoid(h @ B) @ parameter(6, 6, seed=i + 70)
            h = h + m
    y = (h * h).mean()
    y.backward()
    return y


def recurrent(steps, width=6):
    W, U, b = parameter(width, width, name="W"), parameter(width, 3, name="U"), parameter(width)
    h = Tensor(np.zeros(width), name="h0")
    for i in range(steps):
        h = tanh(W @ h + U @ Tensor(np.ones(3) * i, name=f"x{i}") + b)
    y = h.sum()
    y.backward()
    return y


def units(y, fold=None):
    return folding(graph(y), fold).units


def frame(y, fold=None):
    (repeat,) = graph(y).picture(fold).repeats.values()
    return repeat


# What is found


@pytest.mark.parametrize("blocks", [12, 50])
@pytest.mark.parametrize("scopes", [False, True])
def test_equal_blocks_are_one_unit_with_and_without_scopes(blocks, scopes):
    y = residual(blocks, scopes=scopes)
    (unit,) = units(y)
    nodes = graph(y).nodes
    assert [[nodes[i].op or nodes[i].name for i in block] for block in unit.blocks] == [
        ["matmul", "add", "tanh", "add", f"W{i}", f"b{i}"] for i in range(blocks)
    ]
    assert frame(y).times == blocks
    assert frame(y).label == ("block0 … block11" if scopes and blocks == 12 else frame(y).label)


@pytest.mark.parametrize("scopes", [False, True])
def test_a_block_of_two_halves_is_one_unit_in_which_each_half_is_a_box(scopes):
    y = halves(6, scopes)
    (unit,) = units(y)
    assert len(unit.blocks) == 6
    assert frame(y).label == ("block0 … block5" if scopes else "one block")
    # E and its constant stand outside; what is inside of the unit has both skips.
    drawn = diagram(graph(y))
    skips = [wire for wire in drawn.wires if wire.skip]
    assert [len(wire.repeats) for wire in skips] == [6, 6]
    outside = {box.lines[0] for box in drawn.boxes if unit.id not in box.cluster}
    assert "E" in outside
    (shares,) = [curve for curve in frame(y).curves if curve.kind == "bars"]
    names = ["attn", "mlp"] if scopes else ["softmax", "σ"]
    assert [series.name for series in shares.series] == names


def test_a_skip_that_ends_within_a_scope_is_drawn():
    h = parameter(4, 6, name="E") * 2.0
    for i in range(6):
        with scope(f"block{i}"):
            with scope("attn"):
                z = tl.softmax(h @ parameter(6, 6, seed=i), axis=-1) @ parameter(6, 6, seed=i + 9)
                for _ in range(9):
                    z = tl.sin(z) * tl.cos(z)
                h = h + z
            h = tanh(h)
    y = h.sum()
    y.backward()
    drawn = diagram(graph(y))
    assert [box.lines[0] for box in drawn.boxes if box.kind == "folded"] == ["attn"]
    assert [len(wire.repeats) for wire in drawn.wires if wire.skip] == [6]
    assert all("attn" not in box.cluster for box in drawn.boxes)


def test_inputs_are_neither_swallowed_nor_taken_for_parameters():
    y = recurrent(20)
    drawn = diagram(graph(y))
    kinds = {box.lines[0]: box.fill for box in drawn.boxes if box.kind == "value"}
    assert kinds["x"] == kinds["h0"] != kinds["W"] == kinds["U"]
    assert frame(y).word == "step"  # all use the same parameters


def test_a_block_unlike_its_neighbours_stays_by_itself():
    x = Tensor(np.ones(4), name="x")
    for i in range(9):
        with scope(f"block{i}"):
            x = tanh(x * 2.0) if i == 4 else tanh(x)
    assert [unit.names for unit in units(x, fold=True)] == [
        ("block0", "block1", "block2", "block3"), ("block5", "block6", "block7", "block8"),
    ]  # fmt: skip


def test_a_first_block_of_other_shapes_is_left_out():
    h = tanh(parameter(6, 3) @ Tensor(np.ones(3)))
    for i in range(9):
        h = h + tanh(parameter(6, 6, seed=i) @ h)
    (unit,) = units(h.sum(), True)
    assert len(unit.blocks) == 9


OPS = (
    lambda a, b, W: tanh(a), lambda a, b, W: a + b, lambda a, b, W: W @ a,
    lambda a, b, W: tl.sin(a) - b, lambda a, b, W: tl.maximum(a, b),
    lambda a, b, W: tl.exp(a * 0.1),
)  # fmt: skip


def random_repeats(seed):
    """A random block, some times over, between other ops; and how often."""
    choose = random.Random(seed)
    n = choose.randint(4, 12)
    shared = Tensor(np.eye(3) / 2, True, name="S")
    apart = tl.sin(Tensor(np.ones(3), True, name="e"))

    def program(length):
        return [(choose.choice(OPS), choose.random(), choose.random()) for _ in range(length)]

    def run(steps, h, i):
        values = [h]
        for op, back, kind in steps:
            W = shared if kind < 0.5 else Tensor(np.eye(3), True, name=f"W{i}.{len(values)}")
            values.append(op(values[-1], values[int(back * len(values))], W))
        return values[-1]

    h = run(program(choose.randint(0, 4)), Tensor(np.ones(3), True, name="x"), "before")
    block, skip, scopes = program(choose.randint(1, 9)), choose.random(), choose.random()
    for i in range(n):
        with scope(f"b{i}") if scopes < 0.4 else nullcontext():
            h = h + run(block, h, i) if skip < 0.5 else run(block, h, i)
    return (run(program(choose.randint(0, 4)), h, "after") * apart).sum(), n


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6))
def test_random_blocks_are_found_and_what_is_drawn_tells_the_truth(seed):
    nx = require("networkx")
    with np.errstate(all="ignore"):
        y, n = random_repeats(seed)
        g = graph(y, 1.0)
    folded, drawn = folding(g, True), diagram(g, True)
    found = [len(unit.blocks) for unit in folded.units]
    assert any(times >= n - 1 or times % n == 0 for times in found)  # the first may differ
    for unit in folded.units:
        members = [i for block in unit.blocks for i in block]
        assert len(members) == len(set(members))
        for alike in zip(*unit.blocks, strict=True):
            nodes = [g.nodes[i] for i in alike]
            assert len({(node.op, node.shape, node.kind) for node in nodes}) == 1
    # Every edge is drawn but those inside of boxes, and no path comes back to where it was.
    assert nx.is_directed_acyclic_graph(nx.DiGraph((w.source, w.target) for w in drawn.wires))
    stands = {i: folded.part_of[folded.drawn(i)].id for i in range(len(g))
              if folded.drawn(i) in folded.part_of}  # fmt: skip
    hidden = {e for e in g.edges if e.source in stands and stands[e.source] == stands.get(e.target)}
    assert {e for wire in drawn.wires for e in wire.edges} | hidden == set(g.edges)
    ids = {box.id for box in drawn.boxes}
    assert all({wire.source, wire.target} <= ids for wire in drawn.wires)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 30), st.sampled_from(["", "a", "b", "a/c"])),
        min_size=1,
        max_size=30,
    )
)
def test_folding_scopes_makes_no_cycle_and_loses_nothing(steps):
    nx = require("networkx")
    values = [Tensor(1.0, True, name="x"), Tensor(2.0, name="c")]
    for a, b, where in steps:
        names = where.split("/") if where else ["top"]
        left, right = values[a % len(values)], values[b % len(values)]
        with scope(names[0]), scope(names[1]) if len(names) > 1 else nullcontext():
            values.append(left + right)
    g = graph(values[-1])
    folded = folding(g, True)
    members = [i for part in folded.parts for i in part.members]
    assert len(members) == len(set(members))
    picture = g.picture(fold=True)
    ids = {box.id for box in picture.boxes}
    assert all({arrow.source, arrow.target} <= ids for arrow in picture.arrows)
    assert nx.is_directed_acyclic_graph(nx.DiGraph((a.source, a.target) for a in picture.arrows))


# What is said of it


def test_the_numbers_of_a_unit_are_those_of_all_its_repeats():
    y = residual(20)
    g = graph(y)
    (unit,) = units(y)
    arrows = {arrow.id: arrow for arrow in g.picture().arrows}
    for wire in diagram(g).wires:
        if wire.repeats:
            sizes = [norm(edge.contribution) for edge in wire.edges]
            assert len(sizes) == len(wire.repeats) == 20
            assert wire.magnitude == median_high(sizes)
            label = arrows[wire.id].look.label
            whole = f"{number(median_high(sizes))}\n{number(min(sizes))} … {number(max(sizes))}"
            assert label in ("", whole)
    assert sum(arrows[w.id].look.label != "" for w in diagram(g).wires if w.repeats) >= 3
    nodes = {node.name: node for node in g}
    for box in diagram(g).boxes:
        if box.lines[0] == "W" and unit.id in box.cluster:
            sizes = [norm(nodes[f"W{i}"].gradient) for i in range(20)]
            assert box.below == (
                number(median_high(sizes)), f"{number(min(sizes))} … {number(max(sizes))}",
            )  # fmt: skip


def test_the_curves_are_computed_from_the_unfolded_graph():
    y = residual(20)
    nodes = graph(y).nodes
    (unit,) = units(y)
    stream, weights, shares = frame(y).curves
    joins = [node for node in nodes if node.op == "add" and node.id in
             {block[3] for block in unit.blocks}]  # fmt: skip
    before = next(node for node in nodes if node.op == "matmul")
    assert stream.series[0].values == tuple(norm(x.gradient) for x in (before, *joins))
    both = [norm([norm(nodes[i].gradient) for i in block[4:]]) for block in unit.blocks]
    assert weights.series[0].values == pytest.approx(both, rel=1e-12)
    assert weights.heading == "|g| of W, b"
    for share, (x, join) in zip(shares.series[0].values, pairwise([before, *joins]), strict=True):
        through = x.gradient - join.gradient  # what the skip brings is what arrives at the join
        assert share == pytest.approx(
            np.vdot(through, x.gradient) / np.vdot(x.gradient, x.gradient)
        )


def test_the_shares_of_a_flow_are_those_of_its_edges():
    y = residual(12)
    x = next(node.tensor for node in graph(y) if node.name == "W_in")
    found = flow(y, x)
    (repeat,) = found.picture().repeats.values()
    (unit,) = units(y)
    for share, block in zip(repeat.curves[-1].series[0].values, unit.blocks, strict=True):
        into = [edge for edge in found.graph.into[block[0]] if edge.slot == 1]
        assert share == pytest.approx(sum(found.shares[edge] for edge in into))


def test_the_sentence_says_how_much_is_lost_and_where():
    said = frame(recurrent(60)).finding
    (sentence,) = [s for s in said.split(". ") if "vanishes" in s]
    place = int(sentence.split("after step ")[1].split()[0])
    y = recurrent(60)
    (unit,) = units(y)
    states = [graph(y).nodes[block[unit.places[unit.blocks[-1][4]]]].state for block in unit.blocks]
    assert states[place - 1] == "vanishing" != states[place]
    assert f"It vanishes {60 - place} steps back" in said
    assert "shrinks" in said
    assert "Nothing vanishes" in frame(residual(20)).finding


def test_a_gradient_that_never_came_is_not_told_of():
    x = Tensor(np.ones(4), True, name="x")
    for _ in range(80):
        x = tanh(x)
    repeat = frame(x)
    assert repeat.curves == ()
    assert repeat.finding == ""
    assert "80 blocks alike: 81 values in one picture" in graph(x).svg()


def test_the_text_tree_writes_one_repeat():
    lines = str(graph(residual(50))).split("\n")
    assert len(lines) == 11
    assert sum("(49 more like this before it)" in line for line in lines) == 2
    ends = [tanh(Tensor(float(i), True)) for i in range(80)]
    assert "(one of 80 alike)" in str(graph(tl.stack(ends).sum()))


@pytest.mark.parametrize(
    ("names", "common"),
    [
        (["W0", "W1", "W2"], "W"), (["net.layers[0].W", "net.layers[1].W"], "W"),
        (["Ws[0]", "Ws[1]"], "Ws"), (["p[0][1]", "p[1][1]"], "p[i][1]"),
        (['p["W0"]', 'p["W1"]'], "W"), (["W", "W (2)", "W (3)"], "W"),
        (["W", None], ""), (["W", "b"], ""), (["conv1x1", "conv1x1"], "conv1x1"),
    ],
)  # fmt: skip
def test_repeated_values_are_called_by_what_their_names_have_in_common(names, common):
    assert common_name(names) == common


# What is drawn


@pytest.fixture
def counted(monkeypatch):
    """How often graphs are folded, made into boxes, and laid out by Graphviz."""
    calls = Counter()

    def count(module, name):
        real = getattr(module, name)

        def counting(*args):
            calls[name] += 1
            return real(*args)

        monkeypatch.setattr(module, name, counting)

    count(boxes, "folding")
    count(render, "layout")
    return calls


@pytest.mark.parametrize(
    ("blocks", "name", "pictures"),
    [
        (3, "g.svg", 1), (3, "g.pdf", 1), (60, "g.svg", 1),
        (3, "g.html", 2), (60, "g.html", 2), (170, "g.html", 1),
    ],
)  # fmt: skip
def test_a_graph_is_folded_and_laid_out_once_for_each_picture(
    tmp_path, counted, blocks, name, pictures
):
    require("typst" if name.endswith("pdf") else "json")
    y = residual(blocks)
    graph(y).save(tmp_path / name)
    assert counted == dict.fromkeys(("folding", "layout"), pictures)
    if name.endswith("html"):
        counted.clear()
        tl.steps(y).save(tmp_path / name)
        assert set(counted.values()) == {pictures}


def test_few_boxes_do_not_fold_and_many_do_and_say_so():
    small, large = graph(residual(5)), graph(residual(60))
    assert not folding(small)
    assert "folded" not in small.picture().caption
    picture = large.picture()
    assert len(large) > VISIBLE >= len(picture.boxes)
    assert "of 364 nodes are folded (fold=False draws them all)" in picture.caption
    assert len(large.picture(fold=False).boxes) > VISIBLE


def test_the_same_graph_gives_the_same_file():
    pictures = [(graph(y).svg(), flow(y, leaf(y)).svg()) for y in (residual(50), residual(50))]
    assert pictures[0] == pictures[1]


def leaf(y):
    return next(node.tensor for node in graph(y) if node.kind == "parameter")


@pytest.mark.parametrize(("low", "high"), [(5e-324, 1.0), (1.0, 1.7e308), (5e-324, 1.7e308)])
def test_a_scale_reaches_from_the_least_to_the_largest_number_there_is(low, high):
    marks = log_marks(low, high)
    assert all(0 < mark < np.inf for mark in marks)
    assert marks == sorted(marks)
    assert marks[0] < 10 * low
    assert marks[-1] > high / 10


def test_a_unit_is_drawn_with_how_often_it_comes_its_curves_and_what_they_say():
    y = residual(50)
    drawn = graph(y).svg()
    for text in ("× 50", "one block", "50 blocks alike: 304 values", "|g| on the stream"):
        assert text in drawn.replace("\N{NO-BREAK SPACE}", " ")
    width, height = extent(drawn)
    assert width <= 1600
    assert height <= 1000


@pytest.mark.parametrize("blocks", [3, 9, 25, 40, 99, 400])
def test_the_numbers_of_repeats_stand_apart(blocks):
    """Two that touch would be read as one: block 1 and 5 as block 15."""
    h = Tensor(np.ones(4), name="x")
    for i in range(blocks):
        h = tanh(parameter(4, 4, seed=i) @ h)
    h.sum().backward()
    root = ET.fromstring(graph(h.sum(), gradient=1.0).svg(fold=True))
    texts = [x for x in root.iter(f"{SVG}text") if x.text and not x.get("font-weight")]
    shown = [(x, x.text.replace("\N{NO-BREAK SPACE}", " ")) for x in texts]
    first = next(x for x, words in shown if words == "block 1")
    row = [(x, words) for x, words in shown if x.get("y") == first.get("y")]
    assert row[0][0] is first
    assert row[-1][1] == str(blocks)
    size, end = float(first.get("font-size")), -math.inf
    for x, words in row:
        wide = text_width(words, size)
        begin = float(x.get("x")) - (0 if x is first else wide / 2)
        assert begin - end > 0.8 * size
        end = begin + wide


def test_a_long_chain_goes_on_in_the_next_row():
    x = Tensor(np.ones(4), name="x")
    for i in range(40):
        x = (tanh, sigmoid, tl.exp, tl.sin, tl.cos)[i * i % 7 % 5](x)
    g = graph(x)
    places = {}
    real = render.in_rows
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "in_rows", lambda laid: places.setdefault("rows", real(laid)))
        drawn = g.svg(fold=False)
    assert extent(drawn)[0] < 1600
    rows = places["rows"]
    order = [rows.boxes[f"n{node.id}"] for node in g if node.op]
    turns = [after for before, after in pairwise(order) if after[0] < before[0]]
    assert 1 <= len(turns) <= 4
    for before, after in pairwise(order):  # to the right, or in the next row
        assert after[0] > before[2] or after[1] > before[3]
    for edge in g.edges[1:]:  # every line still ends at its boxes
        line = rows.lines[f"e{edge.target}-{edge.slot}"]
        for point, id in ((line[0], edge.source), (line[-1], edge.target)):
            left, top, right, bottom = rows.boxes[f"n{id}"]
            assert left - 2 <= point.real <= right + 2
            assert top - 2 <= point.imag <= bottom + 2


def test_a_folded_arrow_carries_the_norm_of_all_it_stands_for():
    x = Tensor([3.0], True, name="x")
    h = -x
    with scope("f"):
        y = h * 2.0 + h * 5.0
    y.backward([1.0])
    (wire,) = [w for w in diagram(graph(y), True).wires if w.target.startswith("f")]
    assert len(wire.edges) == 2
    assert wire.magnitude == 7.0  # contributions to one value add up


@pytest.mark.slow
def test_too_large_without_scopes_says_what_to_do(tmp_path):
    y = tangled(2 * LARGEST)
    with pytest.raises(ValueError, match=r"boxes; give parts .* using `with scope\(.*or save it"):
        graph(y).save(tmp_path / "g.svg")
    graph(y).save(tmp_path / "g.json")


def test_twice_the_repeats_are_folded_with_twice_the_work(monkeypatch):
    compared, matches = 0, fold.matches

    def counting(*args):
        nonlocal compared
        compared += 1
        return matches(*args)

    monkeypatch.setattr(fold, "matches", counting)
    work = []
    for blocks in (100, 200, 400):
        compared = 0
        folding(graph(deep_net(blocks, skip=True)[0]))
        work.append(compared)
    assert work[2] - work[1] <= 2.2 * (work[1] - work[0])
    assert work[2] < 40 * 4 * 400
