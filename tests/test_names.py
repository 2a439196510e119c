"""Names: what values are called, and how paths are told, in code that named nothing."""

import collections
import time
import types
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from nets import deep_net

import tinygrad_lite as tl
from tinygrad_lite import (
    Tensor,
    compare,
    flow,
    graph,
    path_classes,
    paths,
    profile,
    scope,
    source_lines,
    steps,
    tanh,
)
from tinygrad_lite.recorded.names import Names

GLOBAL = Tensor(5.0, requires_grad=True)


def weight(*shape):
    return Tensor(np.random.default_rng(len(shape)).normal(size=shape), requires_grad=True)


class Slotted:
    __slots__ = ("w",)

    def __init__(self):
        self.w = weight(4)


@dataclass
class Net:
    layers: list = field(default_factory=lambda: [{"W": weight(4, 4), "b": weight(4)}])
    pair: tuple = field(default_factory=lambda: (weight(4), weight(4)))
    slotted: Slotted = field(default_factory=Slotted)

    def __call__(self, x):
        h = tanh(x @ self.layers[0]["W"] + self.layers[0]["b"])
        return (h * self.pair[0] * self.pair[1] * self.slotted.w).sum()


def parameters(output, **how):
    return [node.name for node in graph(output, **how) if node.kind == "parameter"]


WAYS = ['layers[0]["W"]', 'layers[0]["b"]', "pair[0]", "pair[1]", "slotted.w"]


def test_parameters_of_a_class_are_called_as_they_are_found():
    net = Net()
    y = net(Tensor(np.ones(4)))
    assert parameters(y) == [f"net.{way}" for way in WAYS]
    for way in WAYS:  # what stands there is the tensor
        node = next(node for node in graph(y) if node.name == f"net.{way}")
        assert eval(f"net.{way}") is node.tensor
        assert node.tensor.name is None


def as_module(net):
    module = types.ModuleType("module")
    vars(module).update(vars(net))
    return module


@pytest.mark.parametrize(
    "wrap", [lambda net: net, vars, lambda net: collections.OrderedDict(vars(net)), as_module]
)
def test_names_of_what_is_given_come_before_variables(wrap):
    net = Net()
    y = net(Tensor(np.ones(4)))
    assert parameters(y, names=wrap(net)) == WAYS
    assert profile(y, names=net)[0].name == 'layers[0]["W"], layers[0]["b"]'


def test_the_own_name_comes_first_then_locals_then_globals_and_the_shortest_way():
    own = Tensor(2.0, requires_grad=True, name="mine")
    held = [[Tensor(3.0, requires_grad=True)]]
    short = held[0][0]
    y = own * short * GLOBAL
    assert parameters(y) == ["GLOBAL", "mine", "short"]
    del short
    assert "held[0][0]" in parameters(y)


def test_no_two_values_share_a_name():
    w = [Tensor(1.0, requires_grad=True, name="W") for _ in range(3)]
    y = w[0] * w[1] * w[2] * Tensor(1.0, requires_grad=True, name="W (2)")
    names = [node.name for node in graph(y) if node.kind == "parameter"]
    assert names == ["W", "W (2)", "W (3)", "W (2) (2)"]
    titles = [graph(y).title(node) for node in graph(y)]
    assert len(set(titles)) == len(titles)


def test_a_value_bound_anew_is_called_by_its_expression():
    W = weight(4, 4)
    h = x = Tensor(np.ones(4))
    for _ in range(3):
        h = tanh(W @ h)
    g = graph(h)
    assert [g.title(node) for node in g] == [
        "W", "x", "W @ x", "tanh(W @ x)", "W @ …", "tanh(W @ …)", "W @ … (2)", "h",
    ]  # fmt: skip
    assert x.name is None


@pytest.mark.parametrize(
    ("f", "title"),
    [
        (lambda a, b, c: (a + b) * c, "(a + b) * c"),
        (lambda a, b, c: a + b * c, "a + b * c"),
        (lambda a, b, c: a - (b - c), "a - (b - c)"),
        (lambda a, b, c: a - b - c, "a - b - c"),
        (lambda a, b, c: -(a * b) + c, "-a * b + c"),
        (lambda a, b, c: (a + b) ** 2, "(a + b) ** 2"),
        (lambda a, b, c: 2.0 / (a * b), "2.0 / (a * b)"),
        (lambda a, b, c: np.tanh(a @ b) / c, "… / c"),
        (lambda a, b, c: tl.where(a > b, a + b, a * b), "where(a > b, a + b, a * b)"[:12] + "…"),
    ],
)
def test_an_expression_is_what_python_would_compute(f, title):
    a, b, c = (Tensor(np.full(2, x), requires_grad=True) for x in (0.5, 1.5, 2.5))
    _y = f(a, b, c)  # a variable that begins with _ names nothing
    found = Names([_y]).title(_y)
    assert found.startswith(title.split("…")[0])
    assert len(found) <= 24
    if "…" not in found:
        np.testing.assert_allclose(eval(found).data, _y.data)


def test_what_is_not_found_is_called_by_what_it_is():
    y = tl.concatenate([Tensor([1.0], requires_grad=True), Tensor([2.0]), Tensor([3.0])]).sum()
    titles = [graph(y).title(node) for node in graph(y)]
    assert titles[:3] == ["parameter (1,)", "input (1,)", "input (1,) (2)"]
    assert str(paths(y, graph(y).nodes[0].tensor)).startswith("1 path from y to parameter (1,)")


def test_modules_arrays_and_what_is_too_deep_are_not_searched():
    module = types.ModuleType("module")
    module.w = weight(2)
    deep = found = []  # which holds a tensor below ten lists
    for _ in range(9):
        found.append([])
        found = found[0]
    found.append(weight(2))
    y = (module.w * found[0]).sum()
    found = None
    assert len(deep) == 1
    assert parameters(y) == [None] * 2


def test_the_search_is_bounded_and_made_only_when_someone_looks(monkeypatch):
    w = weight(2)
    many = [[object()] for _ in range(100_000)]
    y = (w * w).sum()
    start = time.perf_counter()
    assert parameters(y) == ["w"]
    assert len(many) == 100_000
    assert time.perf_counter() - start < 5

    def refuse(*_):
        raise AssertionError("searched")

    monkeypatch.setattr("tinygrad_lite.recorded.names.reachable", refuse)
    (w * w).sum().backward()
    tl.grad((w * w).sum(), w)
    with pytest.raises(AssertionError, match="searched"):
        graph(y)


def test_objects_that_refuse_to_be_looked_at_do_no_harm():
    class Refusing:
        __slots__ = ("unset",)

        def __getattr__(self, name):
            raise RuntimeError(name)

    class Loop:
        pass

    loop, refusing = Loop(), Refusing()
    loop.itself = loop
    loop.w = weight(2)
    y = (loop.w * 2.0).sum()
    assert parameters(y) == ["loop.w"]
    assert refusing is not None


@pytest.mark.parametrize("ask", [
    paths, path_classes, flow, lambda y, _w: profile(y), lambda y, _w: steps(y),
    lambda y, _w: graph(y, 1.0), lambda y, _w: compare(y, y * 2.0),
])  # fmt: skip
def test_every_question_answers_and_names_without_a_name(ask):
    net = Net()
    y = net(Tensor(np.ones(4)))
    text = str(ask(y, net.layers[0]["W"]))
    assert 'net.layers[0]["W"]' in text
    assert "tensor of shape" not in text
    assert "#" not in text


def test_two_networks_of_a_class_are_compared_by_the_ways_to_their_parameters():
    one, two = Net(), Net()
    x = Tensor(np.ones(4))
    found = compare(one(x), two(x))
    assert [row.name for row in found.rows] == [f"one.{way}" for way in WAYS]
    (row,) = compare(one(x), two(x), wrt=one.layers[0]["W"]).rows
    assert row.name == 'one.layers[0]["W"]'
    (row,) = compare(one(x), two(x), "one.slotted.w").rows
    assert row.first.norm > 0
    lost = [f(x) for f in (Net(), Net())]  # by order
    assert len(compare(*lost).rows) == 5
    shared = Tensor(2.0, requires_grad=True, name="a")
    other = Tensor(3.0, requires_grad=True, name="b")
    pair = shared * other, shared * Tensor(4.0, requires_grad=True, name="b")
    assert [row.name for row in compare(*pair).rows] == ["a", "b"]


def test_the_same_graph_with_the_same_names_gives_the_same_file(tmp_path):
    net = Net()
    y = net(Tensor(np.ones(4)))
    files = [tmp_path / f"{i}.svg" for i in range(2)]
    for file in files:
        graph(y, 1.0).save(file)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert 'net.layers[0]["W"]' in unescape(files[0].read_text())


# Paths


def test_paths_are_told_by_the_values_and_lines_that_they_pass():
    a, b = Tensor(2.0, requires_grad=True), Tensor(-3.0, requires_grad=True)
    with source_lines():
        h = a * b  # 1
        k = tanh(h)  # 2
        s = k + h  # 3
        loss = s * a  # 4
    text = Path(__file__).read_text("utf-8").splitlines()
    one, two, three, four = (
        next(i for i, line in enumerate(text, 1) if line.endswith(f"  # {n}")) for n in range(1, 5)
    )
    found = paths(loss, a)
    assert [path.cells()[:2] for path in found] == [
        ("a → loss", str(four)),
        ("a → h → s → loss", f"{one}, {three}, {four}"),
        ("a → h → k → s → loss", f"{one}, {two}, {three}, {four}"),
    ]
    assert str(found[2]).startswith(
        f"The path a → h → k → s → loss, lines {one}, {two}, {three}, {four}, carries "
    )
    assert str(found[2]).endswith(" of the gradient.")
    assert str(found[0]).startswith(f"The path a → loss, line {four}, carries ")
    assert "source_lines" not in str(found)
    assert "source_lines()" in str(paths(a * a, a))
    edges = {tuple(row[:2]): row[3] for row in flow(loss, a).table().rows}
    assert edges == {
        ("a", "h"): str(one), ("h", "k"): str(two), ("h", "s"): str(three), ("k", "s"): str(three),
        ("s", "loss"): str(four), ("a", "loss"): str(four),
    }  # fmt: skip


@pytest.mark.parametrize("scoped", [True, False])
@pytest.mark.parametrize("blocks", [2, 6])
def test_no_two_paths_read_the_same(blocks, scoped):
    h = x = Tensor(0.5, requires_grad=True)
    for i in range(blocks):
        if scoped:
            with scope(f"block{i}"):
                h = h + tanh(h * 0.3)
        else:
            h = h * h + tanh(h * 0.3)
    found = paths(h, x)
    told = [str(path.route) for path in found]
    assert len(told) == (3 if not scoped else 2) ** blocks
    assert len(set(told)) == len(told)
    assert not any(text.endswith(")") and text[-2].isdigit() for text in told)  # none by number
    assert max(map(len, told)) < 200


def test_what_tells_a_hundred_paths_apart_is_told_first():
    parts = [Tensor(float(i), name=f"p{i}") for i in range(100)]
    x = Tensor(1.0, requires_grad=True, name="x")
    h = x * 2.0
    h.name = "h"
    y = tl.stack([tanh(h * part) for part in parts]).sum()
    told = [str(path.route) for path in paths(y, x)]
    assert len(set(told)) == 100
    assert told[7] == "x → h → h * p7 → y"


def test_classes_of_many_scopes_are_told_short():
    y, x, _ = deep_net(100, skip=False)
    (row,) = path_classes(y, x).table().rows
    assert len(row[0]) < 80
    assert "… 95 more …" in row[0]
    assert row[0].startswith("block0 > block1")
    assert row[0].endswith("block99")


# Layers without scopes


def test_without_scopes_parameters_used_one_after_the_other_are_a_layer():
    W, b = [weight(4, 4) for _ in range(3)], [weight(4) for _ in range(3)]
    h = Tensor(np.full(4, 0.1))
    for i in range(3):
        h = tanh(h @ W[i] + b[i])
    y = h.sum()
    y.backward()
    found = profile(y)
    assert [layer.name for layer in found] == [f"W[{i}], b[{i}]" for i in range(3)]
    for layer, w, c in zip(found, W, b, strict=True):
        assert layer.parameters == pytest.approx(np.hypot(*map(np.linalg.norm, (w.grad, c.grad))))
        assert layer.signal == pytest.approx(np.linalg.norm(c.grad))  # what arrives at h @ W + b


def looped():
    """A network whose loops leave variables over, and the loss."""
    net, Ws = Net([{"W": weight(4, 4), "b": weight(4)} for _ in range(3)]), [weight(4)]
    Ws += [weight(4), weight(4)]
    h = Tensor(np.ones(4))
    for layer in net.layers:
        h = tanh(h @ layer["W"] + layer["b"])
    for w in Ws:
        h = h * w
    first = net.layers[0]["W"]
    return h.sum(), {"net": net, "Ws": Ws, "layer": layer, "w": w, "first": first}


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("Ws[2]", lambda s: s["Ws"][2]),
        ("w", lambda s: s["Ws"][2]),
        ('layer["b"]', lambda s: s["net"].layers[2]["b"]),
        ('net.layers[0]["W"]', lambda s: s["first"]),
        ("net.layers[-1]['W']", lambda s: s["net"].layers[2]["W"]),
    ],
)
def test_every_way_to_a_value_names_it(name, way):
    loss, left = looped()
    assert flow(loss, name, names=left).trace.wrt == (way(left),)
    (row,) = compare(loss, loss * 2, wrt=name, names=left).rows
    assert row.name == Names([loss], left).title(way(left))
    zeros = tl.replay(loss, {name: np.zeros(way(left).shape)}, names=left)
    assert zeros.item() == tl.replay(loss, {way(left): np.zeros(way(left).shape)}).item()


@pytest.mark.parametrize(
    "name", ["w.T", "w.missing", "Ws[3]", "net.__call__(1)", "len(Ws)", "net.layers", "Ws[", ""]
)
def test_a_name_that_leads_to_no_value_is_refused(name):
    loss, left = looped()
    with pytest.raises(ValueError, match="no gradient travels to a value named"):
        flow(loss, name, names=left)
