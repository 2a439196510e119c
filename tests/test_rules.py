"""Rules as mathematics: for every op readable, and true: read back, they give what was sent."""

import math
import re

import numpy as np
import pytest
from samples import SAMPLES

from tinygrad_lite import Tensor, op, sigmoid, steps
from tinygrad_lite.backward import to_input
from tinygrad_lite.operation import OPS
from tinygrad_lite.text import encodable

pytestmark = pytest.mark.usefixtures("ops_restored")

# Their rules move, choose or sum elements: what they do is said in words.
WORDED = {
    "reshape", "transpose", "getitem", "index_add", "index_set", "concatenate", "stack", "pad",
    "sum", "mean", "max", "min", "conv2d", "conv2d_image", "conv2d_kernel", "clip", "flip", "roll",
    "rot90", "repeat", "tile", "take", "take_along_axis", "diagonal", "tril", "triu", "cholesky",
    "sum_of_products", "prod", "cumsum", "cumprod", "sort", "max_pool2d", "slope_of_sinc", "dft",
    "eigenvalues", "eigenvectors", "singular_values", "singular_vectors", "orthonormal", "pinv",
}  # fmt: skip
CODE = re.compile(r"\*|np\.|\b(if|else|lambda|def|None|return|dtype)\b|\w=|broadcast_to|the vjp")

SIGNS = {
    "·": "*", "−": "-", "≠": "!=", " = ": " == ", "√": "sqrt", "Σ": "sum", "σ": "sigmoid",
    "⌊": "floor(", "⌋": ")", "^": "**", "π": "pi", "Φ": "ndtr", "φ": "bell",
}  # fmt: skip
INSIDE = r"((?:[^()]|\((?:[^()]|\([^()]*\))*\))+?)"  # with brackets, and brackets in these
READ = [
    (r"\[([^]]*) or ([^]]*)\]", r"((\1) | (\2))"),
    (r"\[([^]]*)\]", r"(\1)"),
    (r"\|(\w+)\|", r"abs(\1)"),
    (r"(\w+)⁻¹", r"inv(\1)"),
    (r"(?<![\w.])(\d[\d.]*)([abcdfghy])", r"\1 * \2"),
    (rf"\({INSIDE} where {INSIDE}, {INSIDE} elsewhere\)", r"where(\2, \1, \3)"),
    (r"(\w+|\(inv\(\w+\)\))ᵀ", r"T(\1)"),
    ("⁻([²³⁴-⁹])", r"**-\1"),
    ("([²³⁴-⁹])", r"**\1"),
]


def python(text):
    """Mathematics as Python, where a matrix beside another is multiplied with it."""
    product = "ᵀ" in text
    text = f"({text})"
    for sign, code in SIGNS.items():
        text = text.replace(sign, code)
    for pattern, code in READ:
        text = re.sub(pattern, code, text)
    text = re.sub("[²³⁴-⁹]", lambda digit: str("⁰¹²³⁴⁵⁶⁷⁸⁹".index(digit[0])), text)
    return re.sub(r"(?<=[\w)]) (?=[\w(])", " @ ", text) if product else text


def functions(axis=None):
    """What the names of functions mean; reductions keep their axes."""
    return {name: getattr(np, name) for name in dir(np) if name.islower()} | {
        "sum": lambda x: np.sum(x, axis, keepdims=True),
        "mean": lambda x: np.mean(x, axis, keepdims=True),
        "sigmoid": lambda x: (1 + np.tanh(x / 2)) / 2,
        "ndtr": lambda x: (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2,
        "bell": lambda x: np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi),
        "inv": np.linalg.inv,
        "T": lambda x: np.swapaxes(x, -1, -2),
        "cofactors": lambda x: np.linalg.det(x)[..., None, None] * np.linalg.inv(x).mT,
    }


def evaluate(name, text, values, static):
    """A rule as mathematics, evaluated as a mathematician does: g has the axes of the input, and
    vectors are rows on the left of a product and columns on the right."""
    values, axis = dict(values), static.get("axis")
    if "axis" in static and not static.get("keepdims") and values["y"].shape != values["a"].shape:
        axes = tuple(range(values["a"].ndim)) if axis is None else axis
        values |= {x: np.expand_dims(values[x], axes) for x in "gy"}
    if name in ("det", "logabsdet"):
        values["g"] = values["g"][..., None, None]
    if name in ("matmul", "solve"):
        if values["b"].ndim == 1:
            values |= {x: values[x][..., None] for x in "byg"}
        if values["a"].ndim == 1:
            values |= {x: np.expand_dims(values[x], -2) for x in "ag"}
    values["n"] = values["a"].size / values["y"].size
    if "ties" in text:
        values["ties"] = np.sum(abs(values["a"]) == values["y"], axis, keepdims=True)
    return eval(python(text), functions(axis) | values)


def sends(name, case):
    """What the op of a sample sends, each with the arrays by name."""
    found, names = OPS[name], iter("abcdfh")
    inputs = [
        x if x is None else Tensor(x, x.dtype.kind == "f", name=next(names)) for x in case.inputs
    ]
    y = found(inputs, **case.static) if found.sequence else found(*inputs, **case.static)
    if y.requires_grad and y.size:
        y.name = "y"
        (step,) = steps(y, np.random.default_rng(0).standard_normal(y.shape)).backward
        values = {x.name: x.value for x in (*step.inputs, step.output)} | {"g": step.gradient}
        for send in step.sends:
            yield send, inputs[send.slot], y, values


@pytest.mark.parametrize("name", SAMPLES)
@np.errstate(invalid="ignore")
def test_every_rule_is_mathematics_and_gives_what_was_sent(name):
    for case in SAMPLES[name]:
        for send, x, y, values in sends(name, case):
            assert not CODE.search(send.rule.split("  (summed")[0]), send.rule
            assert not re.search(r"[^ -~]", encodable(send.rule, "ascii"))
            if send.traffic == "blocked":
                assert send.formula.result.startswith("0 ")
                continue
            assert send.formula.code
            text = send.formula.result.split("  (summed")[0]
            if name in WORDED:
                assert re.search(r"\bg\b", text)
                continue
            result = evaluate(name, text, values, case.static) if text != "0" else 0 * x.data
            if x.ndim == 1 and name in ("matmul", "solve"):
                result = result.squeeze(-2 if send.slot == 0 else -1)
            assert np.allclose(to_input(result, x, y), send.contribution, equal_nan=True), text
            if send.numbers:
                numbers, result = send.numbers.rsplit(" = ", 1)
                told = eval(python(numbers), functions())
                assert told == pytest.approx(float(send.contribution), rel=0.02, abs=1e-3)
                assert float(result.replace("−", "-")) == pytest.approx(told, rel=0.02, abs=1e-3)


def test_scalars_have_their_numbers_unless_the_rule_is_in_words():
    for name in SAMPLES.keys() - WORDED:
        for case in SAMPLES[name]:
            for send, _, _, values in sends(name, case):
                scalar = all(x.ndim == 0 for x in values.values())
                if scalar and send.traffic != "blocked" and name not in ("vector_norm", "std"):
                    assert send.numbers or send.formula.result in ("g", "−g", "0")


@pytest.mark.parametrize(
    ("power", "rule"),
    [
        (2, "g · 2x"), (3, "g · 3x²"), (1, "g"), (0, "0"), (-1, "−g · x⁻²"),
        (0.5, "g · 0.5 · x^(−0.5)"), (11, "g · 11 · x^10"), (-2.5, "g · (−2.5) · x^(−3.5)"),
    ],
)  # fmt: skip
def test_what_constants_decide_is_decided(power, rule):
    x = Tensor(3.0, requires_grad=True, name="x")
    assert steps(x**power).backward[0].rule == f"∂L/∂x = {rule}"


def rule_of(rule, forward=lambda x, w: x * w, **options):
    """How the rule of an op is shown, where its inputs are x = 2 and weight = −3."""
    made = op(**options)(forward)
    made.vjp(rule)
    x, w = Tensor(2.0, requires_grad=True, name="x"), Tensor(-3.0, name="weight")
    return steps(made(x, w)).backward[0].sends[0]


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (lambda g, out, x, w: (g + x) * -w / 2, "(g + x) · (−weight) / 2"),
        (lambda g, out, x, w: g - (x - w) - -x, "g − (x − weight) − (−x)"),
        (lambda g, out, x, w: g / (x / w) / x, "g · weight / x²"),
        (lambda g, out, x, w: g * (x * x * w), "g · x² · weight"),
        (lambda g, out, x, w: g * (x + w) ** 2, "g · (x + weight)²"),
        (lambda g, out, x, w: g * (-x) ** w, "g · (−x)^weight"),
        (lambda g, out, x, w: -(g + x) ** 2, "−(g + x)²"),
        (lambda g, out, x, w: 2 * g * np.abs(w) * 3 * w, "2g · |weight| · 3 · weight"),
        (lambda g, out, x, w: g * np.where(x > w, 1, np.exp(x)),
         "g · (1 where x > weight, exp(x) elsewhere)"),
        (lambda g, out, x, w: g * (1 if 0 < x <= w else w),
         "g · (1 where 0 < x ≤ weight, weight elsewhere)"),
        (lambda g, out, x, w: g * x.sum(axis=0, keepdims=True), "g · Σ(x)"),
        (lambda g, out, x, w: g * np.pi * np.linalg.norm(x), "g · π · norm(x)"),
        (lambda g, out, x, w: (g * x)[..., None][..., 0], "(g · x)[…, 0]"),
    ],
)  # fmt: skip
def test_brackets_stand_where_they_must(rule, text):
    assert rule_of(rule).formula.result == text


@pytest.mark.parametrize(
    ("formula", "text", "numbers"),
    [
        ("g * 2 * x", "g · 2x", "1.00 · 2 · 2.00"),
        ("g · 2x · 3w", "g · 2x · 3 · weight", "1.00 · 2 · 2.00 · 3 · (−3.00)"),
        ("g, as often as x says", "g, as often as x says", ""),
        (("wᵀ g", "never"), "weightᵀ g", ""),
        ((None, "never"), "g · weight", "1.00 · (−3.00)"),
    ],
)
def test_an_op_can_be_given_its_formula(formula, text, numbers):
    send = rule_of(lambda g, out, x, w: g * w, formula=formula)
    assert send.formula.result == text
    assert send.numbers == (numbers and f"{numbers} = −3.00")


@pytest.mark.parametrize("formula", [("g",), ("g", "g", "g"), {"x": "g"}, 3])
def test_a_formula_is_one_text_or_one_for_each_input(formula):
    with pytest.raises(TypeError, match=r"formula= is one text, or one for each of x, w,"):
        rule_of(lambda g, out, x, w: g * w, formula=formula)


def test_the_code_is_there_on_demand():
    send = rule_of(lambda g, out, x, w: g * w)
    assert send.formula.code == "lambda g, out, x, w: g * w"
    x = Tensor(np.eye(2), requires_grad=True)
    code = steps(x.max(axis=1), np.ones(2)).backward[0].sends[0].formula.code
    assert code.startswith("def _(g: Array, out: Array, x: Array, axis: Axis, keepdims: bool)")
    assert "# the result of NaNs is NaN" in code


@pytest.mark.parametrize(
    "rule",
    [
        lambda g, out, x, w: next(g * w for _ in range(1)),
        lambda g, out, x, w: g * w if x is not None else g,
        lambda g, out, x, w: g * w % 100,
        lambda g, out, x, w: (lambda y: g * y)(w),
        lambda g, out, x, w: np.multiply(*(g, w)),
        lambda g, out, x, w: g * {"w": w}["w"],
    ],
)
def test_a_program_is_no_formula_and_says_only_whose_rule_it_is(rule):
    send = rule_of(rule)
    assert send.formula.result.startswith("the vjp of ")
    assert send.formula.code.startswith("lambda g, out, x, w: ")


def test_local_names_are_explained_and_rebound_ones_told_apart():
    def rule(g, out, x, w):
        s = sigmoid(x)
        g = g * s
        return g * (1 - s) * w

    formula = rule_of(rule).formula
    assert str(formula) == "g′ · (1 − s) · weight, where s = σ(x); g′ = g · s"


def test_a_formula_is_read_in_ascii_too():
    x = Tensor(0.5, requires_grad=True, name="x")
    shown = [steps(y).backward[0].rule for y in (x**-1, np.sqrt(x), x**5)]
    assert [encodable(text, "ascii") for text in shown] == [
        "dL/dx = -g * x^-2", "dL/dx = g / (2y)", "dL/dx = g * 5x^4",
    ]  # fmt: skip
