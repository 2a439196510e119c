"""Lines: which line of the user's code made a value, by which calls, and by which expression."""

import functools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_lite as tl
from tinygrad_lite import Tensor, graph, sigmoid, source_lines

W = Tensor(np.ones((2, 2)), requires_grad=True, name="W")
TEXT = Path(__file__).read_text("utf-8").splitlines()


def line(mark):
    """The number of the line that ends with a mark."""
    return next(i for i, text in enumerate(TEXT, 1) if text.endswith(f"# {mark}"))


def layer(x):
    return sigmoid(
        W @ x  # product
        + 1.0
    )


def network(x):
    return layer(layer(x)).sum()  # network


def made(y):
    """The expression of each op, and the numbers of the lines that led to it."""
    ops = [node for node in graph(y) if node.op]
    for node in ops:
        assert node.source == node.calls[-1]
        assert {file for file, _ in node.calls} == {__file__}
    return [(node.expression, [number for _, number in node.calls]) for node in ops]


def test_the_calls_lead_from_the_outermost_to_the_expression():
    with source_lines():
        y = network(Tensor([1.0, 2]))  # call
    product, start = line("product"), [line("call"), line("network")]
    one = [
        ("W @ x", [*start, product]),
        ("W @ x + 1.0", [*start, product]),
        ("sigmoid(W @ x + 1.0)", [*start, product - 1]),
    ]
    assert made(y) == [*one, *one, ("layer(layer(x)).sum()", start)]
    data = graph(y).to_json()["nodes"][-1]
    assert data["source"] == [__file__, line("network")]
    assert data["calls"][0] == [__file__, line("call")]
    assert data["expression"] == "layer(layer(x)).sum()"


def test_two_calls_from_one_line_in_a_loop():
    """The remembered call is that of the same frame at the same place, no other."""

    def inner(x):
        return x * 2.0  # inner

    def outer(x):
        return inner(x)  # outer

    with source_lines():
        x = Tensor(1.0)
        for _ in range(2):
            x = outer(outer(x))  # first
        x = outer(x)  # second
        x = inner(x)  # third
    ends = [[line("outer"), line("inner")]] * 5
    starts = [[line("first")]] * 4 + [[line("second")]]
    expected = [start + end for start, end in zip(starts, ends, strict=True)]
    assert [calls for _, calls in made(x)] == [*expected, [line("third"), line("inner")]]


def test_a_generator_is_resumed_from_several_places():
    def double(x):
        return x * 2.0  # double

    def doubled():
        x = Tensor(1.0)
        while True:
            x = double(x)  # generator
            yield x

    with source_lines():
        found = doubled()
        next(found)  # resumed
        y = next(found)  # again
    inside = [line("generator"), line("double")]
    assert [calls for _, calls in made(y)] == [[line("resumed"), *inside], [line("again"), *inside]]


def test_code_of_libraries_and_of_this_package_is_no_call():
    with source_lines():
        y = functools.reduce(lambda a, b: a * b, [Tensor(2.0)] * 2)  # reduce
        z = np.apply_along_axis(lambda a: tl.exp(Tensor(a)), 0, np.ones(2))  # applied
        u = tl.cross_entropy(Tensor([[1.0, 2.0]]), [1])  # composed
    assert z.shape == (2,)
    assert made(y) == [("a * b", [line("reduce")] * 2)]
    assert {tuple(calls) for _, calls in made(u)} == {(line("composed"),)}


def test_an_expression_beyond_ascii_and_source_that_is_not_there():
    with source_lines():
        größe = Tensor(1.0)
        y = "ä" and größe * 2.0
        space = {"x": y}
        exec(compile("z = x + 1", "<typed>", "exec"), space)
    assert graph(y).output.expression == "größe * 2.0"
    node = graph(space["z"]).output
    assert (node.source, node.expression) == (("<typed>", 1), "")


def test_nothing_is_known_of_what_ran_outside():
    node = graph(Tensor(1.0) * 2.0).output
    assert (node.source, node.calls, node.expression) == (None, (), None)
    with source_lines():
        leaf = Tensor(1.0)
    assert graph(leaf).output.source is None


@pytest.mark.parametrize("depth", [3, 40])
def test_of_many_calls_the_innermost_are_kept(depth):
    def recurse(n, x):
        return recurse(n - 1, x) if n else x * 2.0

    with source_lines():
        y = recurse(depth, Tensor(1.0))
    assert len(graph(y).output.calls) == min(depth + 2, 13)


def test_a_gradient_recorded_later_has_the_line_that_asked_for_it():
    with source_lines():
        x = Tensor(2.0, requires_grad=True)
        slope = tl.grad(x * x * x, x)  # asked
    ops = [node for node in graph(slope) if node.op]
    assert {node.source for node in ops} == {(__file__, line("asked"))}


def test_in_a_notebook_lines_are_noted_without_being_asked_for():
    code = """
import builtins
builtins.__IPYTHON__ = True
from tinygrad_lite import Tensor, graph, no_grad, scope
with no_grad(), scope("s"):
    pass
print(graph(Tensor(1.0) * 2.0).output.source)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "('<string>', 7)\n"
