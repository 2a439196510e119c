"""Steps: the forward and backward pass one op at a time, each rule in words and checked."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from conftest import require
from nets import deep_net, skip_networks
from samples import SAMPLES

import tinygrad_lite as tl
from tinygrad_lite import Tensor, concatenate, op, relu, scope, sigmoid, source_lines, steps, tanh
from tinygrad_lite.backward import messages
from tinygrad_lite.comparison import check_rule
from tinygrad_lite.context import CONTEXT
from tinygrad_lite.operation import OPS
from tinygrad_lite.recorded.lines import Calls
from tinygrad_lite.stepping.steps import chain

pytestmark = pytest.mark.usefixtures("ops_restored")


def parameter(data, name=None):
    return Tensor(data, requires_grad=True, name=name)


def by_output(some):
    return {step.output.name: step for step in some}


# The two passes


def test_forward_steps_come_first_each_after_what_it_reads():
    _, G, _ = skip_networks()
    s = steps(G, np.ones(4))
    ways = [step.direction for step in s]
    assert ways == ["forward"] * 10 + ["backward"] * 10
    made = set()
    for step in s.forward:
        assert all(x.id in made or s.graph.nodes[x.id].op is None for x in step.inputs)
        made.add(step.output.id)


def test_backward_steps_are_the_messages_of_the_reverse_pass():
    _, G, _ = skip_networks()
    ids = {node.tensor: node.id for node in steps(G, np.ones(4)).graph}
    stream = [
        (ids[node], slot, contribution)
        for node, _, slot, contribution in messages(G, np.ones(4))
        if slot is not None
    ]
    told = [
        (step.id, send.slot, send.contribution)
        for step in steps(G, np.ones(4)).backward
        for send in step.sends
    ]
    assert [m[:2] for m in told] == [m[:2] for m in stream]
    for (*_, ours), (*_, theirs) in zip(told, stream, strict=True):
        assert np.array_equal(ours, theirs)


def test_arrivals_are_split_by_sender_and_sum_to_the_gradient():
    _, G, _ = skip_networks()
    y = by_output(steps(G, np.ones(4)).backward)["y"]
    assert [arrival.symbol for arrival in y.arrivals] == ["+", "@"]
    assert np.array_equal(y.arrivals[0].contribution, np.ones(4))  # over the skip
    assert np.array_equal(sum(a.contribution for a in y.arrivals), y.gradient)


def test_what_has_accumulated_at_the_end_is_the_gradient():
    _, G, t = skip_networks()
    last = {}
    for step in steps(G, np.ones(4)).backward:
        for send in step.sends:
            last[send.recipient] = send.accumulated
    G.backward(np.ones(4))
    for name in ("W1", "b1", "W2", "b2", "W3", "b3"):
        assert np.array_equal(last[name], t[name].grad)


def test_accumulated_grows_by_each_contribution():
    x = parameter([1.0, 2.0], "x")
    sends = [send for step in steps((x * x + x).sum()).backward for send in step.sends]
    to_x = [send for send in sends if send.recipient == "x"]
    assert len(to_x) == 3  # once through +, twice through ×
    total = np.zeros(2)
    for send in to_x:
        total = total + send.contribution
        assert np.allclose(send.accumulated, total)
    assert np.allclose(total, 2 * x.data + 1)


def test_the_gradient_at_every_step_is_that_of_pytorch():
    torch = require("torch")
    _, G, t = skip_networks()
    p = {name: torch.tensor(np.array(x.data), requires_grad=True) for name, x in t.items()}
    kept = {}
    h = p["x"]
    for i in "123":
        h = torch.sigmoid(p[f"W{i}"] @ h + p[f"b{i}"])
        h.retain_grad()
        kept["zyF"[int(i) - 1]] = h
    (h + kept["y"]).sum().backward()
    found = by_output(steps(G, np.ones(4)).backward)
    for name, theirs in kept.items():
        assert np.allclose(found[name].gradient, theirs.grad.numpy(), rtol=1e-12, atol=1e-15)


def test_a_step_is_the_same_object_each_time_and_a_slice_shares_it():
    _, G, _ = skip_networks()
    s = steps(G, np.ones(4))
    assert s[14] is s[14] is s[-6] is s[10:16][4] is s.backward[4]
    assert list(s[3:5]) == [s[3], s[4]]
    assert len(s) == 20
    assert len(s[5:]) == 15
    with pytest.raises(IndexError):
        s[20]


def test_steps_are_immutable_and_so_are_their_arrays():
    _, G, _ = skip_networks()
    step = steps(G, np.ones(4))[14]
    with pytest.raises(dataclasses.FrozenInstanceError):
        step.number = 3
    for array in (
        step.gradient,
        step.output.value,
        step.sends[0].contribution,
        step.inputs[0].value,
    ):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_inputs_are_what_the_op_saw_even_after_an_update():
    w = parameter(2.0, "w")
    y = w * 3.0
    w.data = 5.0
    first, last = steps(y)
    assert first.inputs[0].value == 2
    assert last.sends[0].contribution == 3


def test_the_tensor_stepped_after_training_is_the_last_one():
    w = parameter(1.0, "w")
    for _ in range(5):
        loss = (w - 3.0) ** 2
        w.zero_grad()
        loss.backward()
        w.data = w.data - 0.1 * w.grad
    s = steps(loss)
    assert len(s) == 4
    assert s[1].output.value == loss.data


# What the backward pass starts from


@pytest.mark.parametrize(
    ("shape", "gradient", "says"),
    [
        ((), None, "L = y"),
        ((2,), [1.0, 1.0], "L = sum(y)"),
        ((2,), [1.0, -1.0], "L = sum(gradient * y)"),
    ],
)
def test_it_says_what_the_gradients_are_of(shape, gradient, says):
    y = parameter(np.ones(shape)) * 2.0
    y.name = "y"
    s = steps(y, gradient)
    assert s.loss == says
    assert says in str(s)


def test_it_continues_from_the_last_backward():
    y = parameter([1.0, 2.0]) * 2.0
    y.backward([3.0, 4.0])
    assert np.array_equal(steps(y).backward[0].gradient, [3, 4])


def test_without_a_gradient_there_are_forward_steps_only():
    s = steps(Tensor(1.0) + 2.0)
    assert [step.direction for step in s] == ["forward"]
    assert "nothing here requires a gradient" in str(s)


def test_a_leaf_has_no_steps(capsys):
    s = steps(parameter(1.0))
    assert len(s) == 0
    s.interactive()
    assert "nothing was computed" in capsys.readouterr().out


def test_bad_input():
    with pytest.raises(TypeError, match="takes a Tensor, but got ndarray"):
        steps(np.ones(3))
    with pytest.raises(ValueError, match="must have its shape"):
        steps(parameter([1.0, 2.0]) * 2.0, np.ones(3))
    with pytest.raises(ValueError, match="is not a scalar"):
        steps(parameter([1.0, 2.0]) * 2.0)


@pytest.mark.slow
def test_long_and_wide_computations_are_stepped():
    y = parameter(1.0)
    for _ in range(20_000):
        y = y * 1.0001
    s = steps(y)
    assert len(s) == 40_000
    assert s[-1].number == 20_000
    assert s[-1].sends[0].contribution == pytest.approx(1.0001**20_000)


# The rule in words


def test_the_words_name_the_values_of_the_computation():
    h = parameter([0.5], "h")
    y = sigmoid(h)
    y.name = "y"
    forward, backward = steps(y)
    assert forward.rule == "y = sigmoid(h)"
    assert backward.rule == "∂L/∂h = g · y · (1 − y)"


def test_each_of_several_lambdas_on_a_line_is_told_apart():
    @op
    def scaled(x1, x2):
        return x1 * x2 * 3

    scaled.vjp(lambda g, out, x1, x2: 3 * g * x2, lambda g, out, x1, x2: g * out / x2)  # fmt: skip
    y = scaled(parameter(2.0, "a"), parameter(5.0, "b"))
    y.name = "y"
    assert steps(y).backward[0].rule == "∂L/∂a = 3g · b\n∂L/∂b = g · y / b"


def test_only_the_branch_taken_is_told():
    assert (
        steps(np.abs(parameter([1.0, -2.0], "x")).sum()).backward[1].rule == "∂L/∂x = g · sign(x)"
    )


def test_a_rule_can_say_itself_in_words():
    @op
    def twice(x):
        return 2 * x

    @twice.vjp
    def _(g, out, x):
        """Each change counts twice."""
        return 2 * g

    assert "Each change counts twice." in str(steps(twice(parameter(1.0, "x"))))


def test_where_the_engine_summed_over_broadcast_axes_it_says_so():
    y = Tensor(np.ones((3, 2))) + parameter([1.0, 2.0], "b")
    assert "g  (summed over axis 0, along which it was broadcast)" in str(
        steps(y, np.ones((3, 2)))[1]
    )


def test_a_name_is_not_mistaken_for_the_gradient_nor_a_phrase_for_a_formula():
    y = parameter(2.0, "g") * parameter(3.0, "my weights")
    rule = steps(y).backward[0].rule
    assert "∂L/∂g = ∂L/∂y · ‹my weights›" in rule
    assert "∂L/∂‹my weights› = ∂L/∂y · g" in rule


@pytest.mark.parametrize("function", [sigmoid, tanh, np.sin, lambda x: 1.0 / x])
@pytest.mark.parametrize("at", [1.0, 5.0, 10.0, 26.4868, 1234.5678])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_numbers_of_a_rule_come_to_what_is_sent(function, at, dtype):
    x = parameter(dtype(at), "x")
    for step in steps(function(x)).backward:
        for send in step.sends:
            told, result = send.numbers.replace("−", "-").rsplit(" = ", 1)
            for sign, word in {"·": "*", "²": "**2", "−": "-", "∞": "inf"}.items():
                told = told.replace(sign, word)
            if send.contribution or "cos" in told:
                assert eval(told, {"cos": np.cos}) == pytest.approx(float(result), rel=0.03)
            assert float(result) == pytest.approx(float(send.contribution), rel=0.01)


def test_a_rule_that_takes_no_rounded_numbers_is_shown_with_all_digits():
    @op
    def strange(x):
        return x * 2.0

    @strange.vjp
    def _(g, out, x):
        if x != 1 / 3:
            raise ValueError("only a third")
        return g * 2.0

    (step,) = steps(strange(parameter(1 / 3, "x"))).backward
    assert step.sends[0].numbers == "1.00 · 2 = 2.00"


def test_scalars_stand_in_the_rule_as_numbers():
    y = parameter(2.0, "a") * parameter(-3.0, "b")
    assert steps(y).backward[0].sends[0].numbers == "1.00 · (−3.00) = −3.00"


def test_what_is_blocked_is_said():
    step = steps(tl.heaviside(parameter([1.0, -1.0], "h")), np.ones(2)).backward[0]
    assert "blocked" in step.rule
    assert step.sends[0].traffic == "blocked"


def test_zero_and_what_is_not_finite_are_said():
    x = parameter([1.0, -1.0], "x")
    assert "zero" in str(steps(x * 0.0, np.ones(2)).backward[0])
    with np.errstate(divide="ignore"):
        step = steps(tl.sqrt(parameter(0.0, "z"))).backward[0]
    assert str(step).endswith("   infinite")


def test_a_rule_whose_source_cannot_be_read_says_no_more_than_is_true():
    space = {"op": op, "__name__": "typed"}
    exec("@op\ndef hidden(x): return x * 7\nhidden.vjp(lambda g, out, x: g * 7)", space)
    step = steps(space["hidden"](parameter(1.0, "x"))).backward[0]
    assert step.rule == "∂L/∂x = the vjp of hidden with respect to x, at g"


# Source lines


def test_the_line_is_that_of_the_users_code():
    with source_lines():
        x = parameter([1.0])
        y = np.exp(x) * 2.0  # line A
    with scope("after"):
        z = y + 1.0
    text = Path(__file__).read_text("utf-8").splitlines()
    line = next(i for i, line in enumerate(text, 1) if line.endswith("# line A"))
    assert [step.source for step in steps(z).forward] == [(__file__, line), (__file__, line), None]
    assert "test_steps.py" in str(steps(z)[0])


LED = """
def inner(x):
    return (
        np.exp(x) * 2.0
    )
"""


def test_the_calls_that_led_to_a_line_are_told_with_files_where_they_change():
    space = {"np": np}
    exec(compile(LED, "far/led.py", "exec"), space)

    def outer(x):
        return space["inner"](x)

    x = parameter(1.0)
    with source_lines():
        y, z = outer(x), np.exp(x)
    step, here = steps(y)[0], outer.__code__.co_firstlineno + 1
    (file, first), (same, second), last = step.calls[-3:]
    assert (file, same, last, second) == (__file__, __file__, ("far/led.py", 4), here)
    assert step.source == last
    assert first > here
    row = f"test_steps.py:{first} → {here} → led.py:4"
    assert chain(step.calls[-3:]) == row
    for shown in steps(y):
        assert row in str(shown)
    alone = steps(z)[0]
    assert (len(alone.calls), alone.expression) == (1, "np.exp(x)")
    assert "calls" not in str(alone)


def test_nobody_pays_for_source_lines_who_does_not_ask(monkeypatch):
    def refuse(self):
        raise AssertionError("looked for a line nobody asked for")

    monkeypatch.setattr(Calls, "note", refuse)
    (parameter(1.0) * 2.0).backward()
    with source_lines(), pytest.raises(AssertionError, match="nobody asked"):
        parameter(1.0) * 2.0
    assert not CONTEXT.get().sources


def test_source_lines_is_a_decorator_too():
    @source_lines()
    def f(x):
        return x * 2.0

    assert steps(f(parameter(1.0)))[0].source[0] == __file__


# Checks


@pytest.mark.parametrize("name", SAMPLES)
def test_every_rule_agrees_with_a_finite_difference(name):
    found = OPS[name]
    for case in SAMPLES[name]:
        if any(x is not None and x.dtype.kind == "f" and x.dtype != float for x in case.inputs):
            continue
        inputs = [x if x is None else Tensor(x, x.dtype.kind == "f") for x in case.inputs]
        y = found(inputs, **case.static) if found.sequence else found(*inputs, **case.static)
        if y.requires_grad:
            g = np.random.default_rng(1).standard_normal(y.shape)
            for step in steps(y, g, check=True).backward:
                assert [send.check.verdict for send in step.sends] == ["agrees"] * len(step.sends)


def test_a_wrong_rule_is_caught_at_its_step_and_at_no_other():
    @op
    def cubed(x):
        return x**3

    cubed.vjp(lambda g, out, x: g * 2 * x**2)  # it is 3
    y = tanh(cubed(sigmoid(parameter([0.3, -1.2, 2.0], "x")))).sum()
    s = steps(y, check=True)
    assert [step.op for step in s.wrong] == ["cubed"]
    assert "WRONG" in str(s.wrong[0])
    assert len(steps(y).wrong) == 0  # nobody asked


def test_one_wrong_element_among_many_is_caught():
    found, x = OPS["tanh"], np.random.default_rng(0).standard_normal(1000)
    g = np.ones(1000)
    right = 1 - np.tanh(x) ** 2
    assert check_rule(found, 0, (x,), {}, g, right).verdict == "agrees"
    wrong = right.copy()
    wrong[123] += 1e-2
    assert check_rule(found, 0, (x,), {}, g, wrong).verdict == "disagrees"


def test_a_kink_is_undecided_not_wrong():
    s = steps(relu(parameter([0.0, 1.0])).sum(), check=True)
    assert [step.sends[0].check.verdict for step in s.backward] == ["agrees", "undecided"]


def test_float32_is_checked_in_double_precision():
    x = Tensor(np.linspace(-2, 2, 50), True, dtype=np.float32)
    assert steps(sigmoid(x).sum(), check=True).backward[1].sends[0].check.verdict == "agrees"


# Text


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_wider_than_asked(width):
    names = ["x" * 300, "line\nbreak", "W", "日本語の名前", "<b>", "tab\t"]
    with source_lines(), scope("a scope with a long name " * 5):
        y = concatenate(
            [parameter(np.full((3, 40), 1e-30 * i), name) for i, name in enumerate(names)]
        )
        y = (y.max(axis=0) @ parameter(np.ones((40, 2)))).sum()
    s = steps(y, check=True)
    for i in range(len(s)):
        for line in s.lines(i, width):
            assert len(line) <= width
            assert line.isprintable()


def test_large_arrays_are_summarised_with_their_nans():
    x = np.zeros((300, 300))
    x[0, 0], x[1, 1] = np.nan, 3.0
    told = "\n".join(steps(parameter(x, "x") * 1.0, np.ones_like(x)).lines(0, 100))
    assert "(300, 300) float64 min 0 mean" in told
    assert "max 3.00 1 NaN" in told


def test_done_and_waiting_are_told_at_each_step():
    _, G, _ = skip_networks()
    s = steps(G, np.ones(4))
    assert "done      F b3" in "\n".join(s.lines(12))
    assert "waiting" not in "\n".join(s.lines(19))


def test_fifty_blocks_are_stepped():
    y = deep_net(50, skip=True)[0]
    s = steps(y)
    assert {step.scope for step in s if step.scope} == {(f"block{i}",) for i in range(50)}
    assert len(str(s[-1])) < 2000
