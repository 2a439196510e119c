"""The chain rule written out: what stands there is true, whatever is computed and however named."""

import math
import re
from contextlib import nullcontext
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from nets import deep_net, skip_networks

import tinygrad_lite as tl
from tinygrad_lite import Tensor, compare, grad, path_classes, paths, scope, tanh
from tinygrad_lite.insight.formulas import TEXT, Chain, Sum, latex_name, latex_number, plain_number
from tinygrad_lite.recorded.names import Names
from tinygrad_lite.text import encodable

ONES = np.ones(4)
EXERCISE = {
    "FW1": "∂F/∂W1 = ∂f3/∂y · ∂f2/∂z · ∂f1/∂W1",
    "GW1": "∂G/∂W1 = (∂f3/∂y + I) · ∂f2/∂z · ∂f1/∂W1",
    "GW2": "∂G/∂W2 = (∂f3/∂y + I) · ∂f2/∂W2",
    "GW3": "∂G/∂W3 = ∂f3/∂W3",
}


def parameter(x, name=None):
    return Tensor(x, requires_grad=True, name=name)


def random_script(seed, *scopes):
    """Scalars computed from each other in some scopes, or none; some have a name."""
    rng = np.random.default_rng(seed)
    steps = [
        lambda x, y: x * y, lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x / (y * y + 1.0),
        lambda x, y: tanh(x) - 1.3, lambda x, y: x + tl.sin(y), lambda x, y: 0.3 - x * x,
    ]  # fmt: skip

    def somewhere(chance):
        return scope(str(rng.choice(scopes))) if scopes and rng.random() < chance else nullcontext()

    pool = [parameter(rng.uniform(0.5, 1.5), name) for name in "abc"]
    for i in range(8):
        x, y = (pool[-1 - int(rng.integers(min(3, len(pool))))] for _ in range(2))
        with somewhere(0.8):
            with somewhere(0.3):
                y = steps[int(rng.integers(7))](y, x)
            z = steps[int(rng.integers(7))](x, y)
        z.name = f"v{i}" if rng.random() < 0.4 else None
        pool.append(z)
    output = pool[-1] * pool[-2] + pool[-3]
    return output, next(x for x in pool if x in set(Names([output]).values))


@pytest.fixture
def unshortened(monkeypatch):
    """Formulas of any length."""
    for limit in ("formulas.MOST", "formulas.ROOM", "paths.MOST"):
        monkeypatch.setattr(f"tinygrad_lite.insight.{limit}", 10**6)


def evaluate(term, known=None):
    """The number that a term stands for, no digit rounded away; `known` are its quotients."""
    exact = replace(
        TEXT, name=str, number=lambda x, _: repr(x), times="*", minus="-", quotient="d['{}', '{}']"
    )
    return eval(exact.sum(Sum((term,))), {"d": known, "I": 1.0})


def step(chain, top, end):
    """The derivative of a station with respect to one below, over all ways past no other."""
    total = 0.0
    for x in {x for x in top.inputs if isinstance(x, Tensor) and x in chain.within}:
        stand_in = parameter(x.data)
        local = top.op(*(stand_in if y is x else getattr(y, "data", y) for y in top.inputs))
        onward = float(x is end) if x in chain.stations else step(chain, x, end)
        total += float(grad(local, stand_in).data) * onward
    return total


# The exercise


@pytest.mark.parametrize("asked", EXERCISE)
def test_the_four_lines_of_the_exercise(asked):
    F, G, t = skip_networks(34)
    output, wrt = {"F": F, "G": G}[asked[0]], t[asked[1:]]
    for found in (paths(output, wrt, ONES), path_classes(output, wrt, "depth", ONES)):
        assert found.formula == EXERCISE[asked]
        assert found.formula in str(found).split("\n")


@pytest.mark.parametrize(("slot", "sum"), [(0, "0 · ∂f3/∂y + I"), (1, "∂f3/∂y + 0")])
def test_a_branch_that_is_stopped_is_0_and_the_other_of_its_join_as_it_was(slot, sum):
    _, G, t = skip_networks(34)
    edge = next(e for e in tl.graph(G).edges if e.target == len(tl.graph(G)) - 1 and e.slot == slot)
    found = paths(tl.replay(G, stop_gradient=edge), t["W1"], ONES)
    assert found.formula == f"∂G/∂W1 = ({sum}) · ∂f2/∂z · ∂f1/∂W1"
    assert [path.norm > 0 for path in found] == [slot == 0, slot == 1]  # over the skip, through f3


def test_a_comparison_has_a_line_an_output():
    F, G, _ = skip_networks(34)
    found = compare(F, G, gradient=ONES)
    lines = found.formula.split("\n")
    assert len(lines) == len(found.latex.split("\n")) == 12
    assert {*EXERCISE.values()} < {*lines}
    assert str(found).split("\n")[-2:] == [EXERCISE["FW1"], EXERCISE["GW1"]]  # the first parameter
    assert str(compare(F, G, "W2", ONES)).endswith(EXERCISE["GW2"])


def test_a_line_a_term_says_what_it_carries():
    _, G, t = skip_networks(34)
    over_skip, deep = paths(G, t["W1"], ONES)
    terms = str(paths(G, t["W1"], ONES)).split("\n")[-2:]
    for line, path, text in zip(
        terms,
        (deep, over_skip),
        ("∂f3/∂y · ∂f2/∂z · ∂f1/∂W1", "∂f2/∂z · ∂f1/∂W1"),
        strict=True,
    ):
        term, size, share = line.split("  ", 1)[0], *line.split()[-3:-1]
        assert term == text
        assert float(size) == pytest.approx(path.norm, rel=1e-2)
        assert float(share.replace("−", "-")) == pytest.approx(100 * path.share, abs=1)


# What is written is so


@pytest.mark.parametrize("seed", range(30))
def test_the_numbers_of_a_formula_make_the_gradient(seed, unshortened):
    y, x = random_script(seed)
    (found,) = paths(y, x).formulas
    exact = pytest.approx(float(grad(y, x).data), rel=1e-9, abs=1e-9)
    assert found.value == exact
    assert evaluate(found.right) == exact
    assert sum(evaluate(term) for term, *_ in found.rows or [(found.right,)]) == exact


@pytest.mark.parametrize("seed", range(30))
def test_the_factors_of_a_formula_make_the_gradient_and_no_two_read_the_same(seed, unshortened):
    y, x = random_script(seed, "f", "g", "h")
    chain = Chain(y, x, Names([y]))
    steps = [(top, end) for top, end in chain.labels if chain.below[top][end] == 0]
    read = [(chain.labels[top, end], chain.names.title(end)) for top, end in steps]
    assert len(set(read)) == len(read)
    known = {key: step(chain, *ends) for key, ends in zip(read, steps, strict=True)}
    exact = pytest.approx(float(grad(y, x).data), rel=1e-9, abs=1e-9)
    assert evaluate(chain.formula().right, known) == exact


@pytest.mark.parametrize("scopes", ["", "fgh"])
@pytest.mark.parametrize("seed", range(10))
def test_the_terms_are_the_paths_through_the_same_stations(seed, scopes):
    y, x = random_script(seed, *scopes)
    found = paths(y, x)
    (formula,) = found.formulas
    stations = {i for i, node in enumerate(found.graph) if node.tensor in found.chain.stations}
    ways = {tuple(e.source for e in path.edges if e.source in stations) for path in found}
    assert found.chain.number_of_terms(y, x) == len(ways)
    assert len(formula.rows) + formula.more == (len(ways) if len(ways) > 1 else 0)


# How it is written


def test_a_chain_of_scalars_shows_its_local_derivatives():
    a = parameter(2.0, "a")
    L = tanh(a * -0.5 + 1.25) * 3.0
    L.name = "L"
    assert paths(L, a).formula == "∂L/∂a = 3 · 0.94 · 1 · (−0.5) = −1.41"
    # The seed of the cotangent is not written: the derivative is the same.
    assert paths(L, a, 10.0).formula == paths(L, a).formula
    assert paths(a, a).formula == "∂a/∂a = 1"
    h = a * -0.5
    assert paths(h, a).formula == "∂h/∂a = −0.5"
    h, k = a * a, a * 3.0
    L = h - k
    assert paths(L, a).formula == "∂L/∂a = 1 · 4 + (−1) · 3 = 1"


def test_what_is_no_number_is_called_so():
    a = parameter(0.0)
    with np.errstate(all="ignore"):
        assert paths(tl.log(a) * 2.0, a, names={"a": a}).formula.endswith("/∂a = 2 · ∞ = ∞")
        assert paths(tl.log(a) * 0.0, a).formula.endswith(" = 0 · ∞ = NaN")


def test_a_join_by_subtraction_keeps_its_sign():
    x = parameter([1.0, 2.0])
    with scope("f"):
        y = tanh(x)
    d, e = x - y, y - x
    assert paths(d, x, [1.0, 1.0]).formula == "∂d/∂x = I − ∂f/∂x"
    assert paths(e, x, [1.0, 1.0]).formula == "∂e/∂x = ∂f/∂x − I"
    L = (d * d).sum()
    assert paths(L, x).formula == "∂L/∂x = ∂L/∂(d * d) · ∂multiply/∂d · (I − ∂f/∂x)"


def test_a_sum_in_a_sum_needs_no_brackets():
    x = parameter([1.0, 2.0])
    with scope("f"):
        f = tanh(x)
    with scope("g"):
        g = tl.sin(x)
    d = x - (f + g) - 2.0
    assert paths(d, x, [1.0, 1.0]).formula == "∂d/∂x = I − ∂f/∂x − ∂g/∂x"
    u = f - g
    e = x - u
    assert paths(e, x, [1.0, 1.0]).formula == "∂e/∂x = I − ∂f/∂x + ∂g/∂x"


def test_what_no_identity_joins_is_not_called_one():
    x = parameter([1.0, 2.0])
    twice = x + x
    with scope("f"):
        h = tanh(x)
    s = (x + 1.0) * h + x
    assert paths(s, x, [1.0, 1.0]).formula == (
        "∂s/∂x = ∂multiply/∂(x + 1.0) + ∂multiply/∂h · ∂f/∂x + I"
    )
    both, wide = tl.concatenate([x, h]), x + tl.stack([x, x])
    for y, text in (
        (twice, "∂twice/∂x = ∂add/∂x"),
        (both, "∂both/∂x = ∂concatenate/∂x + ∂both/∂h · ∂f/∂x"),
        (wide, "∂wide/∂x = ∂add/∂x + ∂stack/∂x"),
    ):
        assert paths(y, x, np.ones(y.shape)).formula == text


def test_outside_scopes_factors_lead_to_named_values_and_ops():
    W, b, x = parameter(np.eye(2)), parameter(np.ones(2)), Tensor([1.0, -1.0])
    z = W @ x + b
    L = tanh(z).sum()
    assert paths(L, W).formula == "∂L/∂W = ∂L/∂tanh(z) · ∂tanh/∂z · ∂z/∂W"
    assert paths(L, b).formula == "∂L/∂b = ∂L/∂tanh(z) · ∂tanh/∂z"


def test_scopes_in_scopes_and_results_of_one_scope_are_told_apart():
    x = parameter([1.0, 2.0])
    with scope("net"):
        u = tanh(x)
        with scope("inner"):
            v = tl.sin(u)
        w = v * 2.0
    y = w * u
    assert paths(y, x, [1.0, 1.0]).formula == (
        "∂y/∂x = (∂y/∂w · ∂net/∂v · ∂(net/inner)/∂u + ∂y/∂u) · ∂u/∂x"
    )
    with scope("f"):
        p, q = tanh(x), tl.sin(x)
    L = p * q
    assert paths(L, x, [1.0, 1.0]).formula == "∂L/∂x = ∂L/∂p · ∂p/∂x + ∂L/∂q · ∂q/∂x"


def test_many_paths_are_a_line_of_few_factors():
    y, x, _ = deep_net(50, skip=True)
    found = path_classes(y, x, "depth")
    assert found.chain.number_of_terms(y, x) == 2**50
    assert found.formula.count("+ ∂block") == 7
    assert " · … (43 more factors) · " in found.formula
    assert r" \cdot \cdots \text{(43 more factors)} \cdot " in found.latex
    assert len(found.formula) < 400


@pytest.mark.parametrize("n", [7, 8, 9, 10, 20])
def test_the_factor_at_which_paths_part_is_written(n: int):
    """Wherever it stands in a long product, in the formula and in each path's term."""
    x = parameter([0.3, 0.4])
    for skip in range(n):
        h = x
        for i in range(n):
            with scope(f"f{i}" if i != skip else "branch"):
                step = tanh(h)
            h = step if i != skip else step + h
        found = paths(h, x, np.ones(2))
        assert "∂branch/∂" in found.formula
        terms = [TEXT.sum(Sum((term,))) for term, *_ in found.formulas[0].rows]
        assert sorted("∂branch/∂" in term for term in terms) == [False, True]
        assert "(1 more factor)" not in str(found)
        assert all(len(re.findall("∂[^/]+/∂", term)) <= 10 for term in terms)


def test_what_all_paths_share_is_left_out_between_the_ends():
    a = b = parameter(0.5)
    for i in range(12):
        b = tanh(b) * 1.25 if i != 5 else tanh(b) * 2.0 + b
    assert re.search(
        r"… \(8 more factors\) · \(1 · 2 · 0\.\d+ \+ 1\) · … \(7 more", paths(b, a).formula
    )


def test_sums_of_many_terms_say_how_many_are_left_out():
    """A dense net: every layer takes all before it."""
    x = parameter(np.ones(2))
    layers = [x]
    for i in range(40):
        with scope(f"f{i}"):
            taken = sum(layers[1:], layers[0] * 1.0)
            layers.append(tanh(taken))
    y = layers[-1]
    found = path_classes(y, x, "depth", np.ones(2))
    assert found.chain.number_of_terms(y, x) == 2**39
    assert " + … (" in found.formula
    assert " more terms)" in found.formula
    assert len(found.formula) < 3000
    some = paths(layers[6], x, np.ones(2))
    assert str(some).endswith("\n… (24 more terms)")


# LaTeX, ASCII, notebooks


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("W", "W"), ("W1", "W_1"), ("W_1", "W_1"), ("W12", "W_{12}"), ("θ2", "θ_2"),
        ("f3", "f_3"), ("block3", r"\mathrm{block}_3"), ("loss", r"\mathrm{loss}"),
        ("a_b", r"\mathrm{a\_b}"), ("layers[0].W", r"\mathrm{layers[0].W}"),
        ("W3 @ y2", r"\mathrm{(W3\ @\ y2)}"), ("net/f1", r"\mathrm{(net/f)}_1"),
        ("50 % {a}^$#&~\\", r"\mathrm{(50\ \%\ \{a\}\hat{}\$\#\&\sim{}\backslash{})}"),
    ],
)  # fmt: skip
def test_names_in_latex(name, written):
    assert latex_name(name) == written


def test_numbers_in_latex_and_in_text():
    assert [latex_number(x) for x in (-0.258, 1.2e-7, math.nan, -math.inf)] == [
        "-0.258", r"1.2 \cdot 10^{-7}", r"\mathrm{NaN}", r"-\infty",
    ]  # fmt: skip
    assert [plain_number(x) for x in (-0.258, 1.2e-7, 1.0, -0.0)] == [
        "−0.258", "1.2e−07", "1", "0",
    ]  # fmt: skip


def test_the_latex_of_the_exercise():
    _, G, t = skip_networks(34)
    assert paths(G, t["W1"], ONES).latex == (
        r"\frac{\partial G}{\partial W_1} = \left(\frac{\partial f_3}{\partial y} + I\right) "
        r"\cdot \frac{\partial f_2}{\partial z} \cdot \frac{\partial f_1}{\partial W_1}"
    )


def test_where_there_is_only_ascii_the_formula_is_in_it():
    _, G, t = skip_networks(34)
    assert encodable(paths(G, t["W2"], ONES).formula, "ascii") == (
        "dG/dW2 = (df3/dy + I) * df2/dW2"
    )


def test_notebooks_typeset_it():
    F, G, t = skip_networks(34)
    t["W1"].name = "<W&1>"
    for found in (paths(G, t["W1"], ONES), compare(F, G, gradient=ONES)):
        cell = ET.fromstring(f"<div>{found._repr_html_()}</div>")
        shown = [div.text for div in cell.iter("div") if (div.text or "").startswith("$$")]
        assert shown == [f"$${line}$$" for line in found.latex.split("\n")[:2]]


def test_the_numbers_of_a_formula_come_to_its_result():
    x = Tensor(2.0, requires_grad=True, name="x")
    a, b = x * 1.00004, x * 1.0
    y = a - b
    assert paths(y, x).formula == "∂y/∂x = 1 · 1.00004 + (−1) · 1 = 4e−05"
    assert r"1.00004" in paths(y, x).latex
    a, b = x * 1.23456, x * 2.0
    assert paths(a * b, x).formula.count("1.23456") == 0  # three digits do
