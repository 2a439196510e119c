"""No cliff: twice the computation is about twice the work, whatever is asked of it.

Work is counted, in calls of functions, and not timed."""

import sys

import numpy as np
import pytest

import tinygrad_lite as tl
from tinygrad_lite import Tensor, compare, flow, graph, path_classes, paths, scope, steps, tanh
from tinygrad_lite.drawing.picture import dot
from tinygrad_lite.insight import bundles
from tinygrad_lite.recorded.fold import folding
from tinygrad_lite.recorded.nodes import Edge
from tinygrad_lite.stepping import rules
from tinygrad_lite.views import boxes


def calls(function, *arguments):
    """How many functions are called while one runs, those written in C among them."""
    number = 0

    def count(frame, event, _):
        nonlocal number
        number += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        function(*arguments)
    finally:
        sys.setprofile(None)
    return number


def fan(n, join=tl.stack):
    x = Tensor([0.1, 0.2], requires_grad=True, name="x")
    return join([tanh(x) for _ in range(n)]).sum(), x


def chain(n, step):
    h = x = Tensor([0.1, 0.2], requires_grad=True, name="x")
    for i in range(n):
        h = step(h, x, i)
    return h.sum(), x


def scoped(h, i):
    with scope(f"s{i}"):
        return tanh(h)


def nested(n):
    def step(h, x, i):
        return tanh(h) if i % 100 else h * 0.9

    def inside(depth):
        with scope(f"d{depth}"):
            return inside(depth - 1) if depth else chain(n, step)

    return inside(20)


def own_join(n):
    @tl.op(sequence=True)
    def total(arrays):
        return np.sum(np.stack(arrays), axis=0)

    total.vjp(lambda g, out, arrays: [g] * len(arrays))
    return fan(n, total)


def named(h, i):
    y = tanh(h)
    y.name = f"h{i}"
    return y


SHAPES = {
    "stack": fan,
    "concatenate": lambda n: fan(n, tl.concatenate),
    "a joining op of one's own": own_join,
    "the same value n times": lambda n: fan(n, lambda hs: tl.stack([hs[0]] * n)),
    "chain": lambda n: chain(n, lambda h, x, i: tanh(h)),
    "uses": lambda n: chain(n, lambda h, x, i: h + x),
    "uses of a value": lambda n: (
        (y := tanh(x := Tensor(0.1, requires_grad=True, name="x"))) and (sum([y] * n) * 1.0, x)
    ),
    "parameters": lambda n: chain(
        n, lambda h, x, i: h + Tensor(1.0, requires_grad=True, name=f"p{i}")
    ),
    "names": lambda n: chain(n, lambda h, x, i: named(h, i)),
    "scopes": lambda n: chain(n, lambda h, x, i: scoped(h, i)),
    "scopes side by side": lambda n: fan(
        n, lambda hs: tl.stack([scoped(h, i) for i, h in enumerate(hs)])
    ),
    "skips": lambda n: chain(n, lambda h, x, i: h + scoped(h, i)),
    "20 deep": nested,
}
QUESTIONS = {
    "flow": flow,
    "flow as text": lambda y, x: str(flow(y, x)),
    "path_classes": lambda y, x: path_classes(y, x, keep=8),
    "classes by skips": lambda y, x: path_classes(y, x, "skips", keep=8),
    "profile": lambda y, x: str(tl.profile(y)),
    "compare": lambda y, x: str(compare(y, y, wrt=x, keep=8)),
    "text": lambda y, x: str(graph(y)),
    "JSON": lambda y, x: graph(y).to_json(),
    "folding": lambda y, x: folding(graph(y), True),
    "unfolded": lambda y, x: dot(graph(y).picture(fold=False)),
    "flow, drawn": lambda y, x: dot(flow(y, x).picture(fold=False)),
    "steps": lambda y, x: str(steps(y)),
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("question", QUESTIONS)
def test_twice_the_computation_is_twice_the_work(question, shape):
    once, twice = (calls(QUESTIONS[question], *SHAPES[shape](n)) for n in (60, 120))
    assert twice < 2.3 * once


@pytest.mark.parametrize("shape", ["stack", "a joining op of one's own"])
def test_twice_the_paths_are_drawn_with_twice_the_work(shape):
    found = [paths(*SHAPES[shape](n)) for n in (60, 120)]
    once, twice = (calls(lambda p=p: p.picture(fold=False)) for p in found)
    assert twice < 2.3 * once


# What functions in C copy or compare


def test_what_arrives_with_n_keys_is_not_copied_n_times(monkeypatch):
    copied, merge = 0, bundles.merge

    def counted(here, keys, *rest):
        nonlocal copied
        copied += len(keys) + (len(here.keys) if here else 0)
        return merge(here, keys, *rest)

    monkeypatch.setattr(bundles, "merge", counted)
    n = 256
    found = path_classes(*SHAPES["scopes side by side"](n))
    assert len(found) == n
    assert copied < 4 * n * np.log2(n)


class Counted:
    """Part of a key; each look at it is counted."""

    looks = 0

    def __hash__(self):
        Counted.looks += 1
        return 1


@pytest.mark.parametrize("ask", [path_classes, lambda y, x, by: compare(y, y, wrt=x, by=by)])
def test_a_long_key_is_not_written_out_at_each_step(ask):
    part = Counted()
    y, x = chain(200, lambda h, x, i: tanh(h))
    Counted.looks = 0
    ask(y, x, by=lambda edge: (part,))
    assert Counted.looks < 20 * 200


def test_a_key_is_that_of_the_sum_whatever_its_pieces():
    pieces = {0: "ab", 1: "c", 2: "a", 3: "bc"}
    x = Tensor(1.0, requires_grad=True)
    y = (x * 2.0) * 3.0 + (x * 4.0) * 5.0
    ops = [node.id for node in graph(y) if node.op == "multiply"]
    for kind in (str, tuple):
        by = lambda e: kind(pieces[ops.index(e.target)]) if e.target in ops else None
        ((key, found),) = path_classes(y, x, by=by).items()
        assert key == kind("abc")
        assert found.count == 2


def test_names_are_looked_up_and_not_searched_for():
    class Name(str):
        looks = 0

        def __eq__(self, other):
            Name.looks += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    h = Tensor(0.0)
    for i in range(100):
        h = h + Tensor(1.0, requires_grad=True, name=Name(f"p{i}"))
    Name.looks = 0
    assert len(compare(h, h).rows) == 100
    assert Name.looks < 10 * 100


def test_the_edges_of_an_arrow_are_gathered_once(monkeypatch):
    replaced, replace = 0, boxes.replace

    def counted(wire, **changes):
        nonlocal replaced
        replaced += len(changes.get("edges", ()))
        return replace(wire, **changes)

    monkeypatch.setattr(boxes, "replace", counted)
    x = Tensor([0.1], requires_grad=True, name="x")
    h = x * 2.0
    with scope("f"):
        y = tl.stack([tanh(h) for _ in range(100)]).sum()
    assert graph(y * 2.0).picture(fold=True).boxes
    assert replaced == 2 * 100  # for all repeats, and for each


def test_a_rule_does_not_name_all_inputs_for_each_of_them():
    short, long = (steps(own_join(n)[0]).backward[1] for n in (12, 500))
    assert "‹tanh(x)›, ‹tanh(x) (2)›" in short.sends[0].rule
    assert "…" in long.sends[7].rule
    assert long.sends[7].rule.endswith("[7]")
    assert max(len(send.rule) for send in long.sends) < 250


def test_the_rule_of_a_joining_op_is_read_once(monkeypatch):
    read, statements_run = 0, rules.statements_run

    def counted(*arguments):
        nonlocal read
        read += 1
        return statements_run(*arguments)

    monkeypatch.setattr(rules, "statements_run", counted)
    step = steps(own_join(50)[0]).backward[1]
    assert len(step.sends) == 50
    assert read == 1


def test_what_has_accumulated_is_added_up_once(monkeypatch):
    compared, eq = 0, Edge.__eq__

    def counted(one, two):
        nonlocal compared
        compared += 1
        return eq(one, two)

    monkeypatch.setattr(Edge, "__eq__", counted)
    y, _ = SHAPES["uses of a value"](100)
    sends = [send for step in steps(y) for send in step.sends]
    assert [float(s.accumulated) for s in sends if s.recipient == "‹tanh(x)›"] == [*range(1, 101)]
    assert compared < 10 * 100


def test_a_step_names_no_more_of_what_waits_than_fits():
    few, many = (steps(SHAPES["names"](n)[0]) for n in (400, 1600))
    for part in ("forward", "backward"):
        counts = []
        for some in (getattr(few, part), getattr(many, part)):
            middle = len(some) // 2
            text = some.lines(middle)  # the step is made
            counts.append(calls(some.lines, middle))
        assert counts[1] < counts[0] + 30
    assert text[-2].startswith("  done      h1599 h1598")
    assert text[-1].endswith("…")
