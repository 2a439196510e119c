"""The size of the gradient layer by layer: vanishing, exploding, blocked, zero, cancelled,
NaN and not computed are told apart, and the op responsible is named."""

import numpy as np
import pytest
from nets import deep_net, skip_networks

import tinygrad_lite as tl
from tinygrad_lite import Tensor, profile, scope


def verdicts(found):
    return {layer.name: layer.verdict for layer in found}


def test_the_plain_net_of_fifty_layers_collapses():
    y, _, weights = deep_net(50, skip=False, width=16)
    found = profile(y)
    y.backward()
    for layer, w in zip(list(found)[1:], weights[1:], strict=True):  # block0 also reads x
        assert layer.parameters == pytest.approx(np.linalg.norm(w.grad), rel=1e-12)
    assert 1e-36 < found[0].parameters < 1e-28
    assert found[0].verdict == "vanishing"
    assert found[-1].verdict == ""
    assert found.culprit.startswith("sigmoid shrinks it most")
    assert "sigmoid" in str(found)


def test_with_skips_nothing_vanishes():
    y, _, _ = deep_net(50, skip=True, width=16)
    assert set(verdicts(profile(y)).values()) == {""}
    assert profile(y).culprit == ""


def test_an_exploding_net_is_told_with_its_op():
    h = Tensor(np.full(4, 1e-12), requires_grad=True, name="x")
    for i in range(20):
        with scope(f"f{i}"):
            h = Tensor(np.eye(4) * 10.0) @ h
            h = h + Tensor(np.zeros(4), requires_grad=True, name=f"b{i}")
    found = profile((h * 1e-12).sum())
    assert found[0].verdict == "exploding"
    assert found[-1].verdict == ""
    assert found.culprit.startswith("matmul grows it most: ×10")


def test_ratios_relate_neighbouring_layers():
    F, _, _ = skip_networks()
    found = profile(F, np.ones(4))
    for layer, after in zip(found, list(found)[1:], strict=False):
        assert layer.ratio == pytest.approx(layer.parameters / after.parameters)
    assert found[-1].ratio is None


def test_the_ways_to_lose_a_gradient_are_told_apart():
    a, b, c, d, e = (Tensor([1.0, 2.0], requires_grad=True, name=n) for n in "abcde")
    with np.errstate(all="ignore"):
        y = tl.heaviside(a) + (b - b) + tl.relu(-c * c) + d + tl.log(-e)
        found = verdicts(profile(y.sum()))
    assert found == {
        "a": "blocked at heaviside(a)",
        "b": "paths cancel at b",
        "c": "relu((-c) * c) passes 0",
        "d": "",
        "e": "",  # the value is NaN, but d log(u)/du = 1/u is not
    }
    with np.errstate(all="ignore"):
        found = verdicts(profile((tl.log(-e) * d).sum()))
    assert found["d"] == "NaN from log(-e)"


def test_behind_a_blocked_op_nothing_is_called_vanishing():
    w1, w2 = (Tensor([0.5, -0.5], requires_grad=True, name=n) for n in ("w1", "w2"))
    with scope("f1"):
        h = tl.sigmoid(w1 * 3.0)
    with scope("f2"):
        h = tl.heaviside(h * w2)
    with scope("f3"):
        h = h * Tensor(2.0, requires_grad=True, name="w3")
    assert verdicts(profile(h.sum())) == {
        "f1": "blocked at heaviside(… * w2)",
        "f2": "blocked at heaviside(… * w2)",
        "f3": "",
    }


def test_vanishing_is_relative_and_not_a_fixed_threshold():
    y, _, _ = deep_net(10, skip=False)
    small, large = profile(y * 1e-30), profile(y * 1e30)
    assert list(verdicts(small).values()) == list(verdicts(large).values())


def test_a_profile_saves_its_picture(tmp_path):
    y, _, _ = deep_net(5, skip=False)
    profile(y).save(tmp_path / "p.svg")
    text = (tmp_path / "p.svg").read_text()
    assert "block4" in text
    with pytest.raises(ValueError, match=r"\.svg, \.png"):
        profile(y).save(tmp_path / "p.txt")


def test_what_requires_no_gradient_has_no_profile():
    with pytest.raises(TypeError, match="requires no gradient"):
        profile(Tensor(1.0) * 2.0)


def test_the_culprit_lies_on_the_way_to_the_layer_that_vanishes():
    a, b = (Tensor(x, requires_grad=True, name=n) for x, n in ((1.0, "a"), (0.5, "b")))
    assert profile(a * 1e-20 + tl.tanh(b)).culprit.startswith("multiply shrinks it most: ×1.0e-20")


def test_a_product_of_two_parameters_has_a_profile():
    a, b = (Tensor(x, requires_grad=True, name=n) for x, n in ((1e-20, "a"), (1.0, "b")))
    assert verdicts(profile(b * a)) == {"b, a": "b: vanishing"}


def test_every_parameter_outside_of_scopes_is_a_layer():
    """By its name, where it is found, or what the two have in common."""
    w = [Tensor(x, requires_grad=True, name=n) for x, n in ((2.0, None), (3.0, "w"), (5.0, "w"))]
    with scope("hidden"):
        h = tl.tanh(Tensor(0.5, requires_grad=True))
    found = profile(h * w[0] * w[1] * w[2])
    names = ["hidden", "w[0]", "w", "w (2)"]
    assert [layer.name for layer in found] == names
    sizes = [h.item() * 30 / x for x in (2, 3, 5)]
    assert [layer.parameters for layer in found][1:] == pytest.approx(sizes)


def test_a_shared_parameter_counts_in_each_layer_with_what_that_layer_sends():
    """So a recurrent net, which uses its weights at each step, shows where it vanishes."""
    w = Tensor(np.eye(3) * 0.3, requires_grad=True, name="W")
    h = Tensor(np.full(3, 0.1))
    apart, k = [], Tensor(np.full(3, 0.1))
    for i in range(5):
        apart.append(Tensor(w.data, requires_grad=True))
        with scope(f"step{i}"):
            h, k = tl.tanh(w @ h + 0.1), tl.tanh(apart[-1] @ k + 0.1)
    k.sum().backward()
    for layer, own in zip(profile(h.sum()), apart, strict=True):
        assert layer.parameters == pytest.approx(np.linalg.norm(own.grad))


def test_what_no_gradient_comes_to_has_no_size():
    k, x = (Tensor(2.5, requires_grad=True, name=n) for n in "kx")
    (layer, _) = profile((k * 2.0).astype(int).astype(float) * x)
    assert (layer.verdict, layer.parameters, layer.ratio) == ("not computed", None, None)


def test_a_single_layer_is_not_measured_against_itself():
    w = Tensor([1.0, 2.0], requires_grad=True, name="w")
    said = "one layer: there is no other beside which its gradient could vanish or explode"
    found = profile((w * 1e-30).sum())
    assert str(found).endswith(f"-\n{said}")
    assert "log axis" not in str(found)
    assert said in found.svg()
    blocked = profile(tl.heaviside(w).sum())  # what is wrong without any other is said
    assert "blocked at" in str(blocked)
    assert said not in str(blocked)
    with scope("f"):
        h = w * 2.0
    v = Tensor([1.0, 2.0], requires_grad=True, name="v")
    with scope("g"):
        y = h * v
    assert said not in str(profile(y.sum()))
    assert "log axis" in str(profile(y.sum()))
