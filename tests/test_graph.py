"""The computation graph: what was computed, as data, as text and as a picture."""

import json
import math
import re
from dataclasses import FrozenInstanceError
from decimal import Decimal
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from conftest import require
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_lite as tl
from tinygrad_lite import Tensor, graph, scope, sigmoid, source_lines
from tinygrad_lite.drawing.picture import MAGENTA, ORANGE
from tinygrad_lite.recorded.measure import norm
from tinygrad_lite.recorded.states import APPEARANCE, State
from tinygrad_lite.views.boxes import diagram
from tinygrad_lite.views.looks import LOOKS


def parameter(name, *shape, seed=0):
    return Tensor(np.random.default_rng(seed).normal(size=shape), True, name=name)


def layer(name, W, x, b):
    with scope(name):
        return sigmoid(W @ x + b)


def skip_network():
    """G of the skip networks: y reaches the output around f3 too."""
    z = layer("f1", parameter("W1", 4, 3), Tensor(np.ones(3), name="x"), parameter("b1", 4))
    z.name = "z"
    y = layer("f2", parameter("W2", 4, 4), z, parameter("b2", 4))
    y.name = "y"
    G = layer("f3", parameter("W3", 4, 4), y, parameter("b3", 4)) + y
    G.name = "G"
    G.backward(np.ones(4))
    return G


def residual(blocks, inside=True):
    h = Tensor(np.ones(4), name="x")
    for i in range(blocks):
        W, b = parameter(f"W{i}", 4, 4, seed=i), parameter(f"b{i}", 4)
        with scope(f"block{i}"):
            branch = sigmoid(W @ h + b)
            if inside:
                h = h + branch
        if not inside:
            h = h + branch
    h.backward(np.ones(4))
    return h


def shown(tensor, **how):
    """The picture's boxes by their first line, and its arrows by (from, to)."""
    picture = graph(tensor).picture(**how)
    names = {box.id: box.lines[0] for box in picture.boxes}
    arrows = {}
    for arrow in picture.arrows:
        arrows.setdefault((names[arrow.source], names[arrow.target]), []).append(arrow)
    return {box.lines[0]: box for box in picture.boxes}, arrows


# Data


def test_a_square_has_two_edges():
    x = Tensor(3.0, True, name="x")
    y = x * x
    y.backward()
    g = graph(y)
    assert [(e.source, e.target, e.slot, e.contribution) for e in g.edges] == [
        (0, 1, 0, 3.0),
        (0, 1, 1, 3.0),
    ]
    assert g.nodes[0].gradient == 6.0


def test_the_gradient_of_a_node_is_the_sum_of_its_edges():
    g = graph(skip_network())
    for node in g:
        sent = [e.contribution for e in g.out_of[node.id] if e.contribution is not None]
        if sent:
            np.testing.assert_allclose(node.gradient, sum(sent), rtol=1e-12)


def test_contributions_agree_with_pytorch():
    torch = require("torch")
    G = skip_network()
    y = next(n for n in graph(G) if n.name == "y")
    W3, b3 = parameter("W3", 4, 4), parameter("b3", 4)
    at = torch.tensor(y.value, requires_grad=True)
    deep = torch.sigmoid(torch.tensor(W3.data) @ at + torch.tensor(b3.data)).sum()
    (expected,) = torch.autograd.grad(deep, at)
    parts = {graph(G).nodes[e.target].op: e.contribution for e in graph(G).out_of[y.id]}
    np.testing.assert_allclose(parts["matmul"], expected.numpy(), rtol=1e-12)
    np.testing.assert_allclose(parts["add"], np.ones(4))


def test_ids_are_the_order_of_creation_and_the_same_each_time():
    first, again = graph(skip_network()), graph(skip_network())
    assert [n.id for n in first] == list(range(len(first)))
    assert all(e.source < e.target for e in first.edges)
    assert [(n.name, n.op, n.scope) for n in first] == [(n.name, n.op, n.scope) for n in again]


def test_nodes_and_edges_are_a_readable_line_each():
    w = Tensor([3.0, 4.0], True, name="a\nname")
    with source_lines():
        y = (w * 2.0).sum()
    y.backward()
    found = graph(y)
    line = found.output.source[1]
    assert list(map(repr, [*found.nodes, *found.edges[:2]])) == [
        "Node(id=0, name='a name', kind=parameter, shape=(2,), state=gradient)",
        "Node(id=1, name='2.0', kind=constant, shape=(), state=no gradient)",
        "Node(id=2, name='w * 2.0', op=multiply, shape=(2,), state=gradient, "
        f"line=test_graph.py:{line})",
        f"Node(id=3, name='y', op=sum, shape=(), state=gradient, line=test_graph.py:{line})",
        "Edge(source=0, target=2, slot=0, traffic=gradient, |contribution|=2.83, skip=False)",
        "Edge(source=1, target=2, slot=1, traffic=no gradient, skip=False)",
    ]


def test_a_graph_is_immutable():
    g = graph(skip_network())
    with pytest.raises(FrozenInstanceError):
        g.nodes = ()
    with pytest.raises((FrozenInstanceError, TypeError)):
        g.nodes[0].name = "other"


def test_a_cotangent_may_be_given_instead_of_backward():
    x = Tensor([1.0, 2.0], True, name="x")
    g = graph(x * 3.0, gradient=[1.0, 10.0])
    np.testing.assert_array_equal(g.nodes[0].gradient, [3.0, 30.0])
    assert x.grad is None


def test_only_a_tensor_has_a_graph():
    with pytest.raises(TypeError, match="graph takes a Tensor, but got int"):
        graph(3)


@given(st.lists(st.floats(-1e300, 1e300), max_size=5))
def test_the_norm_neither_overflows_nor_underflows(elements):
    assert norm(elements) == pytest.approx(math.hypot(*elements), rel=1e-12)
    tiny = [x * 1e-320 for x in elements]
    assert norm(tiny) == pytest.approx(math.hypot(*tiny), rel=1e-3, abs=0)


def kinds():
    """A computation with every kind of gradient at once, and a name for each edge."""
    a, b = Tensor(0.0, True, name="a"), Tensor(2.0, True, name="b")
    c, d = Tensor(1.0, True, name="c"), Tensor(3.0, True, name="d")
    with np.errstate(all="ignore"):
        y = tl.sqrt(a) + b * Tensor(0.0, name="nothing") + tl.heaviside(c) + d * d
        y.backward()
        return graph(y)


def test_every_kind_of_gradient_is_told_apart_as_data_and_to_the_eye():
    g = kinds()
    name = {n.id: n.name for n in g}
    seen = {(name[e.source], e.traffic) for e in g.edges if name[e.source]}
    assert seen == {
        ("a", "infinite"), ("b", "zero"), ("c", "blocked"), ("d", "gradient"),
        ("nothing", "no gradient"),
    }  # fmt: skip
    picture = g.picture()
    looks = {}
    for wire, arrow in zip(diagram(g).wires, picture.arrows, strict=True):
        looks.setdefault(wire.traffic, arrow.look)
    x = Tensor(1.0, True)
    (unknown,) = {arrow.look for arrow in graph(x + x).picture().arrows}
    looks["not computed"] = unknown
    assert len(looks) == 6
    # Apart by more than colour, so that every eye and every printer tells them apart.
    assert len({(k.dash, k.head, k.label) for k in looks.values()}) == 6
    assert looks["blocked"].head == "blocked"
    assert (looks["zero"].dash, looks["zero"].label) == ("dotted", "0")
    legend = " ".join(entry.text for entry in picture.legend)
    for word in ("blocked", "zero", "infinite", "size", "no gradient"):
        assert word in legend


def test_every_state_has_words_and_a_look_of_its_own():
    assert set(APPEARANCE) == set(State)
    assert len({shown.words for shown in APPEARANCE.values()}) == len(State)
    looks = {(APPEARANCE[s].symbol, look.dash, look.width, look.head) for s, look in LOOKS.items()}
    assert len(looks) == len(State)


def test_a_channel_says_one_thing():
    """Dashes a number below 0, hollow lines and vermillion a skip, dots exactly 0, magenta NaN and
    infinity; heads point the way of the gradient, and none where nobody asked for one."""
    for state, look in LOOKS.items():
        assert (look.dash == "dotted") == (state in (State.ZERO, State.BLOCKED))
        assert (look.color == MAGENTA) == (state in (State.NAN, State.INFINITE))
        assert look.dash != "dashed"
        assert not look.hollow
        assert look.color != ORANGE
    x, w = Tensor(2.0, True, name="x"), Tensor(np.ones(5), True, name="w")
    y = (w * -x).sum() - x * x + x * 3.0
    y.backward()
    picture = graph(y).picture()
    for wire, arrow in zip(diagram(graph(y)).wires, picture.arrows, strict=True):
        look = arrow.look
        assert (look.dash == "dashed") == look.label.startswith("−")
        assert (look.color == ORANGE) == look.hollow == wire.skip
        assert look.head == ("none" if wire.traffic == "no gradient" else "back")
    waiting = {arrow.look.head for arrow in graph(x * x).picture().arrows}
    assert waiting == {"forward"}


def test_an_infinite_gradient_is_not_called_nan():
    x = Tensor([0.0, 1.0], True, name="x")
    y = tl.sqrt(x).sum()
    with np.errstate(divide="ignore"):
        y.backward()
    _, arrows = shown(y)
    assert [arrow.look.label for arrow in arrows["x", "√"]] == ["+∞  +0.500"]


# The picture


def test_named_values_are_boxes_and_ops_stand_for_the_others():
    boxes, arrows = shown(skip_network())
    assert set(boxes) == {"x", "z", "y", "G", "W1", "W2", "W3", "b1", "b2", "b3", "@", "+", "σ"}
    assert boxes["W1"].lines == ("W1", "(4, 3)")
    assert boxes["G"].double
    assert not boxes["y"].double
    assert len({boxes[name].fill for name in ("x", "W1", "y")}) == 3
    assert ("σ", "z") in arrows
    assert ("z", "@") in arrows


def test_a_result_used_outside_its_scope_stands_outside():
    boxes, _ = shown(skip_network())
    assert boxes["z"].cluster == ()
    assert boxes["@"].cluster == ("f3",)  # the last one


def read(text):
    """The numbers in a text."""
    return [float(x) for x in text.replace("−", "-").replace(" 0", " +0").split()]


def test_arrows_carry_numbers_or_a_length_and_are_wider_where_it_is_larger():
    G, widths = skip_network(), []
    for wire, arrow in zip(diagram(graph(G)).wires, graph(G).picture().arrows, strict=True):
        if wire.traffic == "gradient":
            parts = [e.contribution for e in wire.edges] or [wire.value.gradient]
            assert wire.magnitude == pytest.approx(np.linalg.norm(sum(parts)))
            whole = np.ravel(sum(parts))
            shown = read(arrow.look.label)
            if wire.value is not None:
                assert not shown  # its box says it
            elif whole.size > 4:
                assert shown == [pytest.approx(wire.magnitude, rel=5e-3)]
            else:
                assert shown == pytest.approx(whole, abs=6e-3)
            widths.append((wire.magnitude, arrow.look.width))
    assert [w for _, w in sorted(widths)] == sorted(w for _, w in widths)


def test_the_skip_of_G_and_nothing_else_is_marked():
    marked = [w for w in diagram(graph(skip_network())).wires if w.skip]
    g = graph(skip_network())
    assert [(g.nodes[e.source].name, g.nodes[e.target].op) for w in marked for e in w.edges] == [
        ("y", "add")
    ]


@pytest.mark.parametrize(
    "compute",
    [lambda a, b: a - b, lambda a, b: a / b, lambda a, b: a**b, lambda a, b: a % b,
     lambda a, b: a // b, lambda a, b: a < b],
)  # fmt: skip
def test_the_order_of_operands_is_shown_where_it_matters(compute):
    a, b = Tensor(2.0, name="a"), Tensor(3.0, name="b")
    y = compute(a, b)
    boxes, _ = shown(y)
    assert any(re.search(r"= (a \S+ b|remainder\(a, b\))$", head) for head in boxes)
    a, b = Tensor([2.0, 5.0], name="a"), Tensor([3.0, 4.0], name="b")
    _, arrows = shown(compute(a, b))
    assert {key[0]: [x.slot for x in found] for key, found in arrows.items() if key[0] in "ab"} == {
        "a": ["1"],
        "b": ["2"],
    }
    _, arrows = shown(compute(a, a))
    assert sorted(x.slot for found in arrows.values() for x in found if x.slot) == ["1", "2"]


def test_slots_have_names_where_an_op_names_them():
    a = Tensor([1.0, 2.0], True, name="a")
    _, arrows = shown(tl.where(Tensor([True, False], name="c"), a, 0.0))
    assert [arrow.origin for arrow in arrows["c", "where"]] == ["condition"]
    _, arrows = shown(tl.stack([a, Tensor([3.0, 4.0], name="b")]))
    assert [arrow.slot for arrow in arrows["a", "stack"] + arrows["b", "stack"]] == ["1", "2"]
    assert not any(arrow.slot for found in shown(a + a * 2.0)[1].values() for arrow in found)


def test_tooltips_tell_dtype_parameters_and_values():
    x = Tensor(np.arange(6.0, dtype=np.float32).reshape(2, 3), name="x")
    boxes, _ = shown(x.sum(axis=1))
    assert "float32" in boxes["x"].tooltip
    assert "axis = 1" in boxes["Σ"].tooltip


def test_the_caption_says_where_the_numbers_came_from():
    assert "The gradient of G goes back along the arrows" in graph(skip_network()).picture().caption
    assert "No gradient" in graph(Tensor(1.0, True) + 1.0).picture().caption


def test_the_same_computation_is_the_same_file(tmp_path):
    for name in ("a.svg", "b.svg"):
        graph(skip_network()).save(tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_saved_svg_is_named_and_holds_the_text_tree():
    G = skip_network()
    root = ET.fromstring(graph(G)._repr_svg_())
    namespace = "{http://www.w3.org/2000/svg}"
    assert root.find(f"{namespace}title").text == "How G was computed"
    assert root.find(f"{namespace}desc").text == str(graph(G))


def test_both_directions_are_drawn_and_others_refused(tmp_path):
    G = graph(skip_network())
    G.save(tmp_path / "g.svg", direction="TB")
    size = ET.parse(tmp_path / "g.svg").getroot().get("viewBox").split()[2:]
    assert float(size[0]) < float(size[1])
    with pytest.raises(ValueError, match="the direction is 'LR' or 'TB', but got 'up'"):
        G.save(tmp_path / "g.svg", direction="up")


@pytest.mark.parametrize("name", ['"; <b> &amp; \\N', "a\nb\x00\ud800", "x" * 10_000, "]]>"])
def test_hostile_names_are_drawn_and_exported(tmp_path, name):
    x = Tensor(1.0, True, name=name)
    with scope(name):
        y = x * 2.0
    y.name = name
    y.backward()
    for suffix in ("svg", "dot", "json"):
        graph(y).save(tmp_path / f"g.{suffix}")
    ET.parse(tmp_path / "g.svg")
    assert json.loads((tmp_path / "g.json").read_text())["nodes"][0]["name"] == name
    assert max(map(len, str(graph(y)).split("\n"))) < 120


def test_the_diamond_of_two_to_the_sixty_paths_is_drawn():
    x = Tensor(1.0, True, name="x")
    y = x
    for _ in range(60):
        y = y + y
    y.backward()
    assert graph(y).svg(fold=False).count('class="edge"') == 120
    assert "× 60" in graph(y).svg()
    assert len([line for line in str(graph(y)).split("\n") if line[0] != "↳"]) == 3


# Text and JSON


def test_the_text_tree():
    x, w = Tensor([1.0, 2.0], name="x"), Tensor(2.0, True, name="w")
    h = w * x
    h.name = "h"
    y = (h * h - tl.heaviside(h) / 2.0).sum()
    y.backward()
    assert str(graph(y)).split("\n") == [
        "y = sum () [19.0]   +1.00 (the gradient)",
        "└─ subtract (2,) [3.5 15.5]   +1.00 +1.00",
        "   ├─ multiply (2,) [4.0 16.0]   +1.00 +1.00",
        "   │  ├─ h = multiply (2,) [2.0 4.0]   +2.00 +4.00, in all +4.00 +8.00",
        "   │  │  ├─ w () [2.0], parameter   +20.0",
        "   │  │  └─ x (2,) [1.0 2.0], input",
        "   │  └─ → h   +2.00 +4.00",
        "   └─ divide (2,) [0.5 0.5]   −1.00 −1.00",
        "      ├─ heaviside (2,) [1.0 1.0]   −0.500 −0.500",
        "      │  └─ → h   blocked",
        "      └─ 2.0",
    ]


@pytest.mark.slow
def test_the_text_of_a_chain_of_100_000_says_how_often_its_op_comes():
    x = Tensor(1.0, True, name="x")
    n = 100_000
    for _ in range(n):
        x = tl.tanh(x)
    lines = str(graph(x)).split("\n")
    assert max(map(len, lines)) < 90
    assert len(lines) == 2
    assert f"({n - 1} more like this before it)" in lines[1]


def test_networkx_reads_the_json(tmp_path):
    nx = require("networkx")
    g = graph(skip_network())
    g.save(tmp_path / "g.json")
    read = nx.node_link_graph(json.loads((tmp_path / "g.json").read_text()), edges="edges")
    assert nx.is_directed_acyclic_graph(read)
    assert sorted(read.edges(keys=True)) == sorted((e.source, e.target, e.slot) for e in g.edges)
    for node in g:
        np.testing.assert_array_equal(read.nodes[node.id]["value"], node.value)
    for e in g.edges:
        found = read.edges[e.source, e.target, e.slot]
        assert found["skip"] is e.skip
        if e.contribution is not None:
            np.testing.assert_array_equal(found["contribution"], e.contribution)


def test_the_json_is_strict_where_numbers_are_not(tmp_path):
    x = Tensor(np.array([0.0, np.inf, -np.inf, np.nan], np.longdouble), name="x")
    graph(x + 1.0).save(tmp_path / "g.json")

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    read = json.loads((tmp_path / "g.json").read_text(), parse_constant=refuse)
    np.testing.assert_array_equal(np.array(read["nodes"][0]["value"], float), x.data)


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf", "dot", "json"])
def test_every_suffix_is_saved(tmp_path, suffix):
    require({"png": "resvg_py", "pdf": "typst"}.get(suffix, "json"))
    starts = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF", "dot": b"digraph", "json": b"{"}
    graph(skip_network()).save(tmp_path / f"g.{suffix}")
    assert (tmp_path / f"g.{suffix}").read_bytes().startswith(starts[suffix])


def test_other_suffixes_and_folders_that_do_not_exist_are_refused(tmp_path):
    g = graph(skip_network())
    with pytest.raises(ValueError, match=r"ends in \.gif; use one of \.svg, .*\.json"):
        g.save(tmp_path / "g.gif")
    with pytest.raises(FileNotFoundError, match="does not exist; make it first"):
        g.save(tmp_path / "no" / "g.json")


# Signed numbers


def scalars():
    """loss = ((tanh(a b) (b + c)**2 + relu(c) (b + c)) + a)**2, every step by its name."""
    a, b, c = (Tensor(x, True, name=n) for x, n in ((2.0, "a"), (-0.5, "b"), (-1.0, "c")))
    d, e, i = a * b, b + c, tl.relu(c)
    f, g, m = tl.tanh(d), e * e, i * e
    h = f * g
    j = h + m
    k = j + a
    loss = k * k
    loss.backward()
    return graph(loss, names=locals())


def test_small_graphs_show_values_and_signed_gradients():
    boxes = {box.lines[0]: box for box in scalars().picture().boxes}
    assert boxes["a = 2.0"].below == ("∂loss/∂a", "−0.271 + 0.573 = +0.302")
    assert (boxes["d = a * b"].lines[1], boxes["d = a * b"].below) == ("−1.0", ("+0.541",))
    assert boxes["loss = k * k"].below == ("start: +1.00",)
    w = Tensor([1.0, -2.0, 0.5, 0.0], True, name="w")
    y = (w * w + w).sum()
    y.backward()
    boxes = {box.lines[0]: box for box in graph(y).picture().boxes}
    assert boxes["w"].lines == ("w", "1  −2", "0.5  0")
    assert boxes["w"].below[1] == "+1.00 + 1.00 + 1.00"
    words = ET.fromstring(graph(y)._repr_svg_()).itertext()
    assert not re.search(r"[-−]0(?![.\d])", " ".join(words))


def test_what_stands_beside_an_arrow_follows_from_what_stands_in_the_boxes():
    """The gradient of a box times the slope is what it sends, and what arrives is summed."""
    g = scalars()
    for wire in diagram(g).wires:
        if wire.numbers:
            (edge,) = wire.edges
            (arrived,) = read(wire.numbers[0])
            slope = float(wire.slope[1:].replace("−", "-"))
            assert arrived == pytest.approx(slope * g.nodes[edge.target].gradient, rel=5e-3)
    sums = 0
    for box in g.picture().boxes:
        lines = [line for line in box.below if "∂" not in line]
        left, is_sum, whole = " ".join(lines).replace("−", "-").partition(" = ")
        if is_sum:
            terms = re.sub(r"([+-]) ", r"\1", left).split()
            assert sum(map(Decimal, terms)) == Decimal(whole)
            sums += 1
    assert sums == 5


def test_the_text_tree_has_the_same_numbers():
    lines = [line.strip("│├└─→ ") for line in str(scalars()).split("\n")]
    assert "a () [2.0], parameter   −0.271" in lines
    assert "a   +0.573, in all −0.271 + 0.573 = +0.302" in lines
