"""The first value and the first gradient that is not finite are named, held against brute force:
random computations that are evaluated op by op, forward and backward, by code of our own. Where a
mask is the cause, the cure that is printed is applied, and the gradient is what it should be."""

import numpy as np
import pytest

import tinygrad_lite as tl
from tinygrad_lite import Tensor, flow, graph, log, op, path_classes, paths, profile, steps, where
from tinygrad_lite.ancestors import ancestors
from tinygrad_lite.ops.elementwise import values
from tinygrad_lite.views.keys import Walker

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
FINITE = "what arrived was finite."


@op(elementwise=True)
def nan_to_num(x):
    return np.nan_to_num(x)


@nan_to_num.vjp
def _(g, out, x):
    return g * np.isfinite(values(x))


def parameter(values, name="x"):
    return Tensor(values, requires_grad=True, name=name)


def names():
    """What the expressions of the tests are made of."""
    return {
        **{name: getattr(tl, name) for name in tl.__all__},
        "nan_to_num": nan_to_num,
        "np": np,
        "isfinite": np.isfinite,
        "x": parameter([0.0, 1.0, 4.0]),
        "s": parameter(2.0, "s"),
        "c": Tensor([0.0, 1.0, 4.0], name="c"),
        "m": Tensor([0.0, 1.0, 1.0], name="m"),
        "data": Tensor([np.nan, 1.0, 2.0], name="data"),
        "ok": Tensor([[True], [False]], name="ok"),
        "rows": Tensor([[1.0, 2.0], [np.nan, 1.0]], name="rows"),
        "scores": parameter([[1.0, 2.0], [-np.inf, -np.inf]], "scores"),
        "W": parameter([[1.0, 2.0], [3.0, 4.0]], "W"),
    }


def sentences(y, gradient=None):
    """The sentences on what is not finite, by what they begin with."""
    found = steps(y, gradient).first_bad.splitlines()
    return dict(line.split(": ", 1) for line in found)


def computed(expression):
    """The sum of an expression's elements, its gradients by name, and its values."""
    known = names()
    y = eval(expression, known)
    total = y.sum()
    total.backward()
    leaves = (x for x in known.values() if isinstance(x, Tensor))
    return total, {x.name: x.grad for x in leaves if x.grad is not None}, y.data


@pytest.mark.parametrize(
    ("expression", "value", "gradient"),
    [
        ("log(x)", "log(x), has −∞ at 1 of 3 elements; its inputs have none.",
         f"log(x), sends x ∞ at 1 of 3 elements; {FINITE}"),
        ("sqrt(x)", None, f"sqrt(x), sends x ∞ at 1 of 3 elements; {FINITE}"),
        ("x / x", "x / x, has NaN at 1 of 3 elements; its inputs have none.",
         f"x / x, sends x ∞ at 1 of 3 elements; {FINITE}"),
        ("exp(500 * s)", "exp(500 * s), has ∞; its inputs have none.",
         f"exp(500 * s), sends 500 * s ∞; {FINITE}"),
        ("data * s", "data was given with NaN at 1 of 3 elements, to data * s.",
         f"data * s, sends s NaN; {FINITE}"),
        ("where(ok, -np.inf, s) + where(ok, data, 0)",
         "data was given with NaN at 1 of 3 elements, to where(ok, data, 0).", None),
        ("s * np.inf", "a number was given with ∞, to s * inf.", f"s * inf, sends s ∞; {FINITE}"),
        ("where(s > 0, s, log(s - 3))", "log(s - 3), has NaN; its inputs have none; the output "
         "and the gradients are finite all the same.", None),
        ("where(ok, s, -np.inf)[:1]", None, None),  # an infinity on purpose, that harms nothing
        ("softmax(where(ok, x, -np.inf))", "softmax(where(ok, x, -inf)), has NaN at 3 of 6 "
         "elements; its inputs have none.", "softmax(where(ok, x, -inf)), sends where(ok, x, "
         f"-inf) NaN at 3 of 6 elements; {FINITE}"),
        ("s * 1e-200 * 1e200 * 1e200", None,
         f"s * 1e-200 * 1e+200, sends s * 1e-200 ∞; overflows: {FINITE}"),
        ("(x + 1e-300) * 1e308 - x * -1e308", "",
         "that of x, the sum of finite parts, which overflows."),
        ("x * s", None, None),
    ],
)  # fmt: skip
def test_the_first_bad_value_and_gradient_are_named(expression, value, gradient):
    found = sentences(computed(expression)[0])
    assert value in ("", found.get("First bad value"))
    assert found.get("First bad gradient") == gradient
    assert "Cure" not in found


@pytest.mark.parametrize(
    ("expression", "culprit", "mask", "cure"),
    [
        ("where(x > 0, log(x), 0.0)", "log(x)", None, "log(where(x > 0, x, 1.0))"),
        ("where(x == 0, 0.0, log(x))", "log(x)", None, "log(where(x == 0, 1.0, x))"),
        ("where(x > 0, 3 * sqrt(x) + 1, 0.0)", "sqrt(x)", "where(x > 0, … + 1, 0.0)",
         "sqrt(where(x > 0, x, 1.0))"),
        ("where(x > 0, x ** 0.5, 0.0)", "x ** 0.5", None, "where(x > 0, x, 1.0) ** 0.5"),
        ("where(c > 0, s / c, 0.0)", "s / c", None, "s / where(c > 0, c, 1.0)"),
        ("where(c == 4, 0.0, arctanh(s * c / 8))", "arctanh(s * c / 8)", None,
         "arctanh(where(c == 4, 0.5, s * c / 8))"),
        ("where(x < 1, 0.0, arccosh(x + 1))", "arccosh(x + 1)", None,
         "arccosh(where(x < 1, 2.0, x + 1))"),
        ("m * sqrt(x)", "sqrt(x)", None, "sqrt(where(m != 0, x, 1.0))"),
        ("relu(sqrt(x) - 0.5)", "sqrt(x)", None, "sqrt(where(x != 0, x, 1e-06))"),
        ("maximum(log(x), -5.0)", "log(x)", None, "log(where(x != 0, x, 1e-06))"),
        ("clip(log(x), -5.0, 5.0)", "log(x)", None, "log(where(x != 0, x, 1e-06))"),
        ("log(x)[1:]", "log(x)", "getitem(log(x), index=1:)", "log(where(x != 0, x, 1.0))"),
        ("where(isfinite(data.data), data * s, 0.0)", "data * s",
         "where(input (3,), data * s, 0.0)", "where(isfinite(data), data, 1.0) * s"),
        ("where(ok, rows @ W, 0.0)", "rows @ W", None, "where(ok, rows, 1.0) @ W"),
        ("where(ok, log_softmax(scores), 0.0)", "log_softmax(scores)", None,
         "log_softmax(where(ok, scores, 1.0))"),
        ("where(x < 1, 1.0, exp(900 * x))", "exp(900 * x)", None, None),
        ("where(x < 1, exp(900 * x), 1.0)", "exp(900 * x)", None,
         "exp(where(x < 1, 900 * x, 1.0))"),
    ],
)  # fmt: skip
def test_a_mask_that_is_the_cause_is_named_and_the_cure_helps(expression, culprit, mask, cure):
    total, harmed, values = computed(expression)
    assert not all(np.isfinite(g).all() for g in harmed.values())
    found = sentences(total)
    assert found["First bad gradient"].startswith(f"{culprit}, sends ")
    if cure is None:  # what is taken is bad too
        assert "Cure" not in found
        return
    assert f"{mask or expression}, passes 0 there" in found["A mask is the cause"]
    assert found["Cure"].endswith(f", not what comes out: {cure}.")
    cured, gradients, same = computed(expression.replace(culprit, cure))
    assert steps(cured).first_bad == ""
    np.testing.assert_array_equal(same[np.isfinite(values)], values[np.isfinite(values)])
    for name, g in gradients.items():
        kept = np.isfinite(harmed[name])
        np.testing.assert_array_equal(g[kept], harmed[name][kept])


def test_a_cotangent_masks_or_is_bad_itself():
    y = log(parameter([0.0, 1.0]))
    found = sentences(y, [0.0, 1.0])
    assert found["A mask is the cause"].startswith("0 arrives there")
    assert found["Cure"].endswith("log(where(x != 0, x, 1.0)).")
    found = sentences(y, [np.inf, 1.0])
    assert found["First bad gradient"] == "the cotangent, with which the reverse pass starts."


@pytest.mark.parametrize("expression", ["nan_to_num(log(x))", "sign(sqrt(x)) + s"])
def test_a_cure_that_changes_values_says_so(expression):
    cure = sentences(computed(expression)[0])["Cure"]
    assert "(where(x != 0, x, 1.0)); as that changes the result there, choose" in cure


def test_a_cure_leaves_alone_what_is_used_elsewhere():
    x = parameter([0.0, 4.0, 1.0])
    m = Tensor([0.0, 0.0, 1.0], name="m")
    h = tl.sqrt(x)
    y = h[1:].sum() + where(m > 0, h, 0.0).sum()
    found = sentences(y)
    assert found["A mask is the cause"].startswith("where(m > 0, h, 0.0), passes 0 there")
    assert found["Cure"].endswith("sqrt(where(x != 0, x, 1.0)).")  # m > 0 would replace 4, too


def test_a_cure_that_is_not_enough_says_so():
    x = parameter([0.0, 4.0])
    for f in (lambda: x**0.5 / x, lambda: tl.sqrt(x) + log(x)):
        text = str(paths(where(x > 0, f(), 0.0).sum(), x))
        assert "another op then sends what is not finite, and needs the same" in text
    assert "another op" not in str(paths(where(x > 0, log(x), 0.0).sum(), x))


def test_without_words_for_what_counts_the_cure_says_keep():
    x = parameter([0.0, 1.0, 2.0, 3.0])
    y = (1 / (x * (x - 1)))[2:] * 1.0
    found = sentences(y.sum())
    assert found["Cure"].endswith("1 / where(x * (x - 1) != 0, x * (x - 1), 1.0).")
    y = tl.exp(x * 1000)[:1]
    found = sentences(y.sum())
    assert "exp(where(keep, x * 1000, 1.0)), where keep says which elements count." in found["Cure"]


# Brute force

RULES = {  # by name: the function on arrays, and what it sends for g
    "log": (np.log, lambda g, y, x: g / x),
    "sqrt": (np.sqrt, lambda g, y, x: g / (2 * y)),
    "exp": (np.exp, lambda g, y, x: g * y),
    "relu": (lambda x: np.maximum(x, 0), lambda g, y, x: g * (x > 0)),
    "square": (lambda x: x * x, lambda g, y, x: g * x + g * x),
    "reciprocal": (lambda x: 1.0 / x, lambda g, y, x: -g * y / x),
    "tenfold": (lambda x: x * 1e60, lambda g, y, x: g * 1e60),
}
ON_TENSORS = {
    "square": lambda x: x * x, "reciprocal": lambda x: 1.0 / x, "tenfold": lambda x: x * 1e60,
}  # fmt: skip


@pytest.mark.parametrize("seed", range(40))
def test_random_computations_agree_with_brute_force(seed):
    rng = np.random.default_rng(seed)
    x = parameter(rng.choice([0.0, 1.0, 2.0, 0.3, -1.0], 3, p=[0.1, 0.3, 0.3, 0.2, 0.1]))
    tape = [(x, None, ())]
    for _ in range(6):
        name = rng.choice([*RULES, "add"])
        used = [tape[-1][0], tape[rng.integers(len(tape))][0]][: 1 + (name == "add")]
        if name == "add":
            y = used[0] + used[1]
        else:
            y = ON_TENSORS.get(name, getattr(tl, name, None))(*used)
        tape.append((y, name, used))
    output = tape[-1][0]
    record = steps(output, np.ones(3)).record.first_bad
    arrays, bad, of_output = {x: x.data}, None, set(ancestors([output]))
    for y, name, used in tape[1:]:
        given = [arrays[u] for u in used]
        arrays[y] = given[0] + given[1] if name == "add" else RULES[name][0](*given)
        if bad is None and y in of_output:
            bad = None if np.isfinite(arrays[y]).all() else y
    assert record.value is bad
    sender, arrived = None, {output: np.ones(3)}
    for y, name, used in reversed(tape[1:]):
        if y in arrived and sender is None:
            if not np.isfinite(arrived[y]).all():
                sender = y
            g = arrived[y]
            for u in used:
                part = g if name == "add" else RULES[name][1](g, arrays[y], arrays[u])
                arrived[u] = arrived[u] + part if u in arrived else part
                sender = sender or (None if np.isfinite(part).all() else y)
    if sender is None and not np.isfinite(arrived[x]).all():
        sender = x
    assert record.sender is sender


# Where it is told


def test_lines_are_named_where_they_were_noted():
    x = parameter([0.0, 1.0])
    with tl.source_lines():
        h = log(x)
        y = where(x > 0, h, 0.0).sum()
    first = int(y.inputs[0].inputs[1].source[0].co_firstlineno)
    found = steps(y).first_bad
    assert f"First bad value: h = log(x), line {first + 3}, has" in found
    assert f"where(x > 0, h, 0.0), line {first + 4}, passes 0" in found


def test_every_answer_tells_it_and_only_where_something_is_bad():
    for start in (0.0, 0.5):
        x = parameter([start, 1.0])
        y = where(x > 0, log(x), 0.0).sum()
        text = steps(y).first_bad
        assert ("Cure" in text) is (start == 0)
        for found in (profile(y), paths(y, x), flow(y, x), path_classes(y, x)):
            assert found.first_bad == text == found.to_json()["first_bad"]
            assert text in str(found)
        assert steps(y).note == f"The gradients are those of L = y.\n{text}".rstrip()
        assert str(steps(y)).startswith(steps(y).note)
        assert ("L = y.\\nFirst bad value: log(x), has" in graph(y, 1.0).page()) is (start == 0)


def test_the_steps_where_it_happens_say_so_and_a_key_leads_there():
    x = parameter([0.0, 1.0])
    y = where(x > 0, log(x), 0.0).sum()
    shown = [" ".join(" ".join(lines).split()) for lines in map(steps(y).lines, range(7))]
    assert [i for i, text in enumerate(shown) if "bad First bad value" in text] == [1]
    assert [i for i, text in enumerate(shown) if "bad First bad gradient" in text] == [6]
    walker = Walker(steps(y))
    assert walker.status(80) == "not all is finite: r nan runs to where"
    walker.press("r", "nan")
    assert walker.at == 1
    assert Walker(steps((x + 1).sum())).message == ""
