"""Models of PyTorch as graphs of ours: the same gradients, and all that can be asked of them."""

import copy
import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from conftest import require

import tinygrad_lite as tl
from tinygrad_lite.ancestors import ancestors
from tinygrad_lite.backward import leaf_gradients

torch = require("torch")

from torch import nn  # noqa: E402
from torch_models import GPT, MODELS, Apply, ResNet, noise  # noqa: E402

from tinygrad_lite import from_torch  # noqa: E402
from tinygrad_lite.pytorch.model import map_tensors  # noqa: E402


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def tensors_in(nest):
    """The tensors of a nest, of either kind."""
    if isinstance(nest, (torch.Tensor, tl.Tensor)):
        return [nest]
    if isinstance(nest, dict):
        nest = nest.values()
    elif hasattr(nest, "__dataclass_fields__"):
        nest = vars(nest).values()
    return [t for x in nest for t in tensors_in(x)] if not isinstance(nest, (int, str)) else []


def leaves_of(*outputs):
    """The leaves that some Tensors of ours were computed from, by name."""
    return {v.name: v for v in ancestors(outputs) if v.op is None and v.name}


def run_torch(model, inputs):
    """What PyTorch gives, and its leaves by name."""
    leaves = {}

    def enter(x, way):
        leaves[way] = leaf = x.detach().requires_grad_(x.is_floating_point())
        return leaf.clone()

    names = list(_signature(model))
    given = [map_tensors(enter, x, name) for x, name in zip(inputs, names, strict=False)]
    if isinstance(model, Apply):
        leaves.clear()
        given = [map_tensors(enter, x, f"inputs[{i}]") for i, x in enumerate(inputs)]
    return model(*given), leaves | dict(model.named_parameters())


def _signature(model):
    import inspect

    return inspect.signature(model.forward).parameters


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n == "resnet_18" else n for n in MODELS]
)
def test_gradients_are_pytorchs(name):
    """Values, and the gradient of every leaf for a random cotangent of every output, to 1e-11;
    that of nothing else is some."""
    model, inputs = MODELS[name]()
    twin = copy.deepcopy(model)
    torch.manual_seed(1)
    theirs, leaves = run_torch(twin, inputs)
    torch.manual_seed(1)
    ours = from_torch(model, *inputs)
    theirs, ours = tensors_in(theirs), tensors_in(ours)
    assert len(theirs) == len(ours) > 0
    total, known = dict.fromkeys(leaves, 0.0), leaves_of(*ours)
    pairs = []
    for t, y in zip(theirs, ours, strict=True):
        assert (y.shape, str(y.dtype)) == (tuple(t.shape), str(t.dtype).removeprefix("torch."))
        np.testing.assert_allclose(y.data, t.detach().numpy(), rtol=1e-11, atol=1e-13)
        assert y.requires_grad == t.requires_grad
        if t.requires_grad:
            g = torch.randn_like(t)
            pairs.append((t, g))
            for leaf, found in leaf_gradients(y, g.numpy()).items():
                assert leaf.name in leaves, "a leaf without a name"
                total[leaf.name] = total[leaf.name] + found
    wanted = {n: t for n, t in leaves.items() if t.requires_grad}
    assert pairs
    outputs, cotangents = zip(*pairs, strict=True)
    expected = torch.autograd.grad(outputs, [*wanted.values()], cotangents, allow_unused=True)
    for (n, t), g in zip(wanted.items(), expected, strict=True):
        if g is None:
            assert n not in known or not np.any(total[n])
            continue
        g = g.to_dense().numpy()
        scale = np.abs(g).max() if name != "cancelling" else 1.0
        close = 1e-11 if name not in ("mixed_dtypes",) else 1e-5
        np.testing.assert_allclose(
            total[n], g, rtol=close, atol=close * max(scale, 1e-300), err_msg=n
        )
        assert known[n].shape == tuple(t.shape)


# What it says of itself


def test_names_scopes_and_lines_are_the_models():
    y = from_torch(*_flat(MODELS["resnet_in_training"]())).sum()
    graph = tl.graph(y)
    model, _ = MODELS["resnet_in_training"]()
    names = {node.name for node in graph if node.kind == "parameter"}
    assert names == {"x", *dict(model.named_parameters())}
    scopes = {"/".join(node.scope) for node in graph if node.op}
    assert {"conv1", "layer1/0/conv1", "layer2/0/downsample/1", "layer2/1", "fc", ""} <= scopes
    ran = [node for node in graph if node.scope and node.op]
    assert all(node.source[0].endswith("networks.py") for node in ran)
    assert {n.scope for n in graph if n.name == "layer1.0.bn1.running_var"} <= {
        ("layer1", "0", "bn1")
    }
    (joined, *_) = [node for node in graph if node.op == "add" and node.scope == ("layer1", "0")]
    assert joined.expression == "h += x if self.downsample is None else self.downsample(x)"


def _flat(made):
    return made[0], *made[1]


def test_ops_stand_in_the_order_in_which_they_ran():
    """So that scopes stay together, and fold."""
    y = from_torch(*_flat(MODELS["gpt_plain"]())).sum()
    scopes = [node.scope for node in tl.graph(y) if node.op and node.scope]
    runs = [s for i, s in enumerate(scopes) if i == 0 or scopes[i - 1] != s]
    blocks = [s[1] for s in runs if s[0] == "blocks"]
    assert blocks == sorted(blocks)
    assert runs[0] == ("wte",)
    assert runs[-1] == ("head",)


def test_the_rule_says_that_it_is_pytorchs():
    y = from_torch(Apply(lambda m, x: torch.tanh(x) @ m.w, w=noise(3)), noise(3))
    step = next(step for step in tl.steps(y) if step.op == "tanh" and step.direction == "backward")
    assert str(step.sends[0].rule) == "∂L/∂inputs[0] = PyTorch's TanhBackward0 at g, for inputs[0]"


def test_the_model_is_left_as_a_call_leaves_it():
    """Statistics move once, gradients and inputs are untouched, random numbers drawn as ever."""
    model, (x,) = MODELS["resnet_in_training"]()
    twin, before = copy.deepcopy(model), x.clone()
    torch.manual_seed(5)
    twin(x)
    state = torch.get_rng_state()
    torch.manual_seed(5)
    from_torch(model, x)
    assert torch.equal(torch.get_rng_state(), state)
    for mine, theirs in zip(model.buffers(), twin.buffers(), strict=True):
        assert torch.equal(mine, theirs)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert torch.equal(x, before)
    assert not x.requires_grad


def test_what_is_recorded_is_held_by_nothing_else():
    """When the Tensor is gone, so is PyTorch's record, without a collector."""
    import gc
    import weakref

    model = Apply(lambda m, x: torch.exp(x @ m.w), w=noise(3, 3))
    y = from_torch(model, noise(2, 3))
    node = weakref.ref(y.op)
    gc.disable()
    try:
        del y
        assert node() is None
    finally:
        gc.enable()


def test_user_scopes_stand_around_the_models():
    with tl.scope("net"):
        y = from_torch(nn.Sequential(nn.Linear(2, 2)).double(), noise(2))
    assert y.scope == ("net", "0")


# What is refused, in one sentence


def refusal(error, model, *inputs, **options):
    with pytest.raises(error) as caught:
        from_torch(model, *inputs, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_bfloat16_and_complex_numbers_are_refused():
    half = nn.Linear(3, 3).bfloat16()
    assert "computes with bfloat16, which no Tensor can hold; convert" in refusal(
        TypeError, half, noise(2, 3).bfloat16()
    )
    assert "computes with complex128" in refusal(
        TypeError, Apply(lambda m, x: torch.fft.fft(x * m.w).abs(), w=noise(3)), noise(3)
    )

    def cast(x):
        with torch.autocast("cpu", torch.bfloat16):
            return (x @ x.T).float()

    assert "bfloat16" in refusal(TypeError, cast, torch.randn(3, 3))


def hook_of_module(model):
    model[0].register_full_backward_hook(lambda module, gi, go: None)
    return "0 has a hook"


def hook_of_parameter(model):
    model[0].weight.register_hook(lambda g: g * 2)
    return "0.weight has a hook"


def hook_after_accumulation(model):
    model[0].bias.register_post_accumulate_grad_hook(lambda p: None)
    return "0.bias has a hook"


def hook_of_value(model):
    model[0].register_forward_hook(lambda module, x, y: y.register_hook(lambda g: g * 2) and None)
    return "a tensor of shape (2, 3) has a hook"


@pytest.mark.parametrize(
    "hook", [hook_of_module, hook_of_parameter, hook_after_accumulation, hook_of_value]
)
def test_hooks_on_gradients_are_refused(hook):
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh()).double()
    expected = hook(model)
    assert refusal(TypeError, model, noise(2, 3)).startswith(expected)


def test_a_hook_on_every_module_is_refused():
    from torch.nn.modules.module import register_module_full_backward_hook

    handle = register_module_full_backward_hook(lambda module, gi, go: None)
    try:
        assert "every module" in refusal(TypeError, nn.Linear(3, 3), torch.randn(3))
    finally:
        handle.remove()


def test_a_hook_on_a_node_is_found_by_the_check():
    """PyTorch's record does not show it: the gradients do."""

    def run(m, x):
        h = x @ m.w
        h.grad_fn.register_prehook(lambda gs: (gs[0] * 2,))
        return h * m.v

    model = Apply(run, v=noise(3), w=noise(3, 3))
    told = refusal(RuntimeError, model, noise(2, 3))
    assert told.startswith("the gradient of w is not the one that PyTorch's own backward gives")
    from_torch(model, noise(2, 3), check=False)


def test_a_function_that_multiplies_its_cotangents_is_found_by_the_check():
    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, g, h):
            return g * h

    def run(m, x):
        a, b = Product.apply(x * m.w)
        return a + b

    assert "the gradient of w is not" in refusal(RuntimeError, Apply(run, w=noise(3)), noise(3))


def test_a_reentrant_checkpoint_is_refused():
    from torch.utils.checkpoint import checkpoint

    def run(m, x):
        return checkpoint(lambda h: torch.tanh(h @ m.w), x, use_reentrant=True)

    assert "use_reentrant=False" in refusal(TypeError, Apply(run, w=noise(3, 3)), noise(3))


def test_a_parameter_overwritten_after_its_use_is_refused():
    def run(m, x):
        h = x * m.w
        m.w.data.mul_(2)
        return h * m.w

    told = refusal(TypeError, Apply(run, w=noise(3)), noise(3))
    assert told.startswith("w was overwritten while the model ran")


def test_a_model_without_a_tensor_in_its_result_is_refused():
    assert "gave a float" in refusal(TypeError, lambda x: x.sum().item(), noise(3))


def test_without_pytorch_it_says_what_to_install(monkeypatch):
    import tinygrad_lite.pytorch as module

    monkeypatch.setattr(module, "torch", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tinygrad_lite\[torch\]'"):
        from_torch(nn.Linear(2, 2), torch.zeros(2))


# What changes after the import


@pytest.fixture
def trained():
    """A model, what it gives, and its weight in our graph."""
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2)).double()
    model.eval()
    y = from_torch(model, noise(5, 3)).sum()
    return model, y, leaves_of(y)["0.weight"]


def add(model):
    model[0].weight.data.add_(1e-9)


def step(model):
    with torch.no_grad():
        model[3].weight -= 0.1


def negate(model):
    model[0].weight.data.neg_()


def flip(model):
    model[3].weight.data.copy_(model[3].weight.data.flip(0).clone())


def move(model):
    model[0].weight.data = model[0].weight.data.clone() * 2


def through_numpy(model):
    model[0].weight.detach().numpy()[0, 0] += 1


def statistics(model):
    model.train()
    model(noise(5, 3))
    model.eval()


CHANGES = [add, step, negate, flip, move, through_numpy, statistics]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_model_is_noticed(trained, change):
    """By whatever means it was made: PyTorch's own count of writes misses most."""
    model, y, w = trained
    change(model)
    for ask in (y.backward, lambda: tl.grad(y, w), lambda: tl.graph(y, names={}).to_json()):
        with pytest.raises(RuntimeError, match=r"was (changed|modified)|modified by an inplace"):
            ask()


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_looked_at_before_a_change_stays(trained, change):
    model, y, w = trained
    before = {name: leaf.data.copy() for name, leaf in leaves_of(y).items()}
    change(model)
    for name, leaf in leaves_of(y).items():
        np.testing.assert_array_equal(leaf.data, before[name])
    square = (w * w).sum()  # of the values that it had
    square.backward()
    np.testing.assert_array_equal(w.grad, 2 * before["0.weight"])
    with pytest.raises(RuntimeError, match=r"changed|inplace"):
        y.backward()


def test_a_change_of_memory_that_is_not_in_one_piece_is_noticed():
    model = nn.Conv2d(2, 3, 3).double().to(memory_format=torch.channels_last)
    y = from_torch(model, noise(1, 2, 5, 5)).sum()
    model.weight.data.mul_(-1)
    with pytest.raises(RuntimeError, match="weight was changed"):
        y.backward()
    sparse = torch.eye(3, dtype=torch.float64).to_sparse()
    y = from_torch(lambda x: torch.sparse.mm(sparse, x), noise(3, 2)).sum()
    sparse.values().mul_(2)
    with pytest.raises(RuntimeError, match="sparse was changed"):
        y.backward()


def test_a_reverse_pass_looks_at_a_weight_once(trained, monkeypatch):
    """Where its value is read: not again where only its shape is, as when it is transposed."""
    from tinygrad_lite.pytorch.lent import Watch

    _, y, _ = trained
    seen = []
    monkeypatch.setattr(Watch, "hold", lambda watch: seen.append(watch.name))
    y.backward()
    assert "3.weight" in seen
    assert len(seen) == len(set(seen))


def test_a_parameter_overwritten_before_its_use_is_taken_as_it_is_then():
    table = nn.Embedding(5, 3, max_norm=0.5).double()
    y = from_torch(table, torch.tensor([1, 2]))
    np.testing.assert_array_equal(leaves_of(y)["weight"].data, table.weight.detach())
    assert np.linalg.norm(y.data[0]) <= 0.5 + 1e-6


def test_a_change_that_does_not_matter_is_none(trained):
    model, y, _ = trained
    model[0].bias.data.add_(1.0)  # the gradient of a sum needs no summand
    y.backward()


def test_inputs_may_be_changed_after_the_import():
    model, x = Apply(lambda m, x: x * m.w * x, w=noise(3)), noise(3)
    y, before = from_torch(model, x), x.clone()
    x.add_(1.0)
    y.backward(np.ones(3))
    (leaf,) = (v for n, v in leaves_of(y).items() if n == "inputs[0]")
    np.testing.assert_array_equal(leaf.data, before.numpy())
    np.testing.assert_allclose(leaf.grad, 2 * (before * model.w.detach()).numpy(), rtol=1e-14)


def test_a_parameter_cannot_be_given_new_data_here(trained):
    _, _, w = trained
    with pytest.raises(TypeError, match="of a PyTorch model"):
        w.data = w.data * 2


def test_arrays_are_read_only(trained):
    _, y, w = trained
    for v in ancestors([y]):
        data = np.asarray(v.data)
        assert data.ndim == 0 or not data.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        w.data[0] = 1


# What can be asked of it


SECOND = [
    "gpt_fused",
    "resnet_in_training",
    "lstm",
    "views",
    "indices",
    "sorted_and_summed",
    "losses",
    "dropout",
    "choices",
    "scalars",
    "group_and_layer_norm",
    "shared_and_called_twice",
]


@pytest.mark.parametrize("name", SECOND)
def test_second_derivatives_are_pytorchs(name):
    """The gradient of half the square of all gradients."""
    model, inputs = MODELS[name]()
    twin = copy.deepcopy(model)
    torch.manual_seed(1)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        theirs, leaves = run_torch(twin, inputs)
    torch.manual_seed(1)
    ours = [y for y in tensors_in(from_torch(model, *inputs)) if y.requires_grad]
    theirs = [t for t in tensors_in(theirs) if t.requires_grad]
    y, t = sum((y * y).sum() for y in ours), sum((t * t).sum() for t in theirs)
    known = {n: v for n, v in leaves_of(y).items() if v.requires_grad and n in leaves}
    found = tl.grad(y, list(known.values()))
    wanted = [leaves[n] for n in known]
    expected = torch.autograd.grad(t, wanted, create_graph=True, materialize_grads=True)
    total = sum((g * g).sum() for g in found) * 0.5
    square = sum((g * g).sum() for g in expected) * 0.5
    np.testing.assert_allclose(total.data, square.detach().numpy(), rtol=1e-10)
    second = tl.grad(total, list(known.values()))
    expected = torch.autograd.grad(square, wanted, materialize_grads=True)
    scale = max(float(h.abs().max()) for h in expected)
    for n, g, h in zip(known, second, expected, strict=True):
        np.testing.assert_allclose(g.data, h.numpy(), rtol=1e-9, atol=1e-9 * scale, err_msg=n)


@pytest.mark.parametrize(
    "name", ["lying_function", "view_of_what_is_overwritten", "randomised_relu"]
)
def test_what_cannot_be_differentiated_twice_says_so(name):
    model, inputs = MODELS[name]()
    scale = tl.Tensor(2.0, name="scale")
    y = sum((y * y).sum() for y in tensors_in(from_torch(model, *inputs))) * scale
    w = next(v for n, v in leaves_of(y).items() if v.requires_grad and n != "inputs[0]")
    y.backward()
    g = tl.grad(y, w)
    np.testing.assert_array_equal(g.data, w.grad)
    assert "vjp of" in str(tl.graph(g).to_json())
    with pytest.raises(NotImplementedError, match="differentiated once"):
        tl.grad((g * g).sum(), w)
    with pytest.raises(NotImplementedError, match="differentiated once"):
        tl.replay(g, {w: 2 * w.data})
    with pytest.raises(NotImplementedError, match="differentiated once"):
        tl.replay(g, {scale: 3.0})  # what arrives is another, and only that


REPLAYED = [
    "resnet_in_evaluation", "resnet_in_training", "gpt_plain", "lstm", "u_net", "choices",
    "encoder", "sorted_and_summed", "dropout", "scalars", "shared_and_called_twice",
    "mixed_dtypes", "nested_inputs_and_outputs", "indices",
]  # fmt: skip


@pytest.mark.parametrize("name", REPLAYED)
def test_a_replay_is_the_model_with_other_data(name):
    """Values and gradients are those of the model itself for other inputs and parameters."""
    model, inputs = MODELS[name]()
    torch.manual_seed(1)
    ours = [y for y in tensors_in(from_torch(model, *inputs)) if y.requires_grad]
    y = sum((y * y).sum() for y in ours)
    known = {n: v for n, v in leaves_of(y).items() if v.requires_grad}
    rng = np.random.default_rng(2)
    data = {v: v.data * 0.9 + 0.05 * rng.random(v.shape) for v in known.values()}
    again = tl.replay(y, data)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for n, p in other.named_parameters():
            if n in known:
                p.copy_(torch.from_numpy(np.array(data[known[n]])))

    def change(x, way):
        return torch.from_numpy(np.array(data[known[way]])) if way in known else x

    names = list(_signature(model))
    if isinstance(model, Apply):
        changed = [map_tensors(change, x, f"inputs[{i}]") for i, x in enumerate(inputs)]
    else:
        changed = [map_tensors(change, x, n) for x, n in zip(inputs, names, strict=False)]
    torch.manual_seed(1)
    direct = [z for z in tensors_in(from_torch(other, *changed)) if z.requires_grad]
    z = sum((z * z).sum() for z in direct)
    np.testing.assert_allclose(again.data, z.data, rtol=1e-6 if name == "mixed_dtypes" else 1e-12)
    found, expected = leaf_gradients(again, np.float64(1)), leaf_gradients(z, np.float64(1))
    expected = {v.name: g for v, g in expected.items()}
    scale = max(np.abs(g).max() for g in expected.values())
    assert {v.name for v in found} == expected.keys()
    for v, g in found.items():
        close = 1e-6 if name == "mixed_dtypes" else 1e-11
        np.testing.assert_allclose(g, expected[v.name], rtol=close, atol=close * scale)


def test_a_mask_follows_from_values_in_a_replay():
    """What is no float is computed again too, where it follows from something that changed."""

    def run(m, x):
        mask = torch.zeros_like(x, dtype=torch.bool)
        mask.logical_or_(x > 0)
        return x * m.w * mask.double() + x.argmax() + torch.arange(3)

    model = Apply(run, w=noise(3))
    y = from_torch(model, torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))
    x = np.array([-1.0, 2.0, 3.0])
    again = tl.replay(y, {"inputs[0]": x})
    w = model.w.detach().numpy()
    np.testing.assert_allclose(again.data, x * w * (x > 0) + 2 + np.arange(3))


def test_what_was_written_through_a_view_cannot_be_replayed():
    def run(m, x):
        mask = torch.zeros(3, dtype=torch.bool)
        mask[1:] = x[1:] > 0
        return x * m.w * mask

    y = from_torch(Apply(run, w=noise(3)), noise(3))
    with pytest.raises(NotImplementedError, match="neither be replayed nor"):
        tl.replay(y, {"inputs[0]": np.ones(3)})


@pytest.mark.parametrize("name", ["lying_function", "in_place", "randomised_relu"])
def test_what_cannot_be_computed_again_says_so(name):
    model, inputs = MODELS[name]()
    y = sum((y * y).sum() for y in tensors_in(from_torch(model, *inputs)))
    w = next(v for n, v in leaves_of(y).items() if v.requires_grad)
    with pytest.raises(NotImplementedError, match="neither be replayed nor differentiated twice"):
        tl.replay(y, {w: w.data * 1.5})


def test_a_replay_warns_where_the_model_would_have_gone_another_way():
    def run(m, x):
        if (x.sum() > 0).item():
            return x * m.w
        return x - m.w

    y = from_torch(Apply(run, w=noise(2)), torch.ones(2, dtype=torch.float64))
    with pytest.warns(tl.ReplayWarning, match=r"of test_from_torch.py asked whether a Tensor"):
        tl.replay(y, {"inputs[0]": -np.ones(2)})
    tl.replay(y, {"inputs[0]": 2 * np.ones(2)})


@pytest.mark.parametrize("name", ["resnet_in_evaluation", "encoder", "u_net", "lstm"])
def test_a_program_runs_the_model_again(name):
    """For other inputs, again and again: views of arrays that are reused spoil nothing."""
    model, (x,) = MODELS[name]()
    y = sum((y * y).sum() for y in tensors_in(from_torch(model, x)))
    known = leaves_of(y)
    (start,) = (v for n, v in known.items() if n == next(iter(_signature(model))))
    wanted = [known[n] for n, _ in model.named_parameters()]
    run = tl.program(y, wrt=wanted, inputs=[start])
    for _ in range(3):
        batch = torch.randn_like(x)
        value, slopes = run(batch.numpy())
        out = sum((t * t).sum() for t in tensors_in(model(batch)))
        expected = torch.autograd.grad(out, [*model.parameters()])
        np.testing.assert_allclose(value, out.item(), rtol=1e-12)
        scale = max(float(g.abs().max()) for g in expected)
        for g, h in zip(slopes, expected, strict=True):
            np.testing.assert_allclose(g, h.numpy(), rtol=1e-10, atol=1e-11 * scale)


@pytest.fixture
def block():
    """The sum of what a decoder gives, and its embedding."""
    y = from_torch(*_flat(MODELS["gpt_plain"]())).sum()
    return y, leaves_of(y)["wte.weight"]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n == "resnet_18" else n for n in MODELS]
)
def test_the_flow_to_each_leaf_is_whole(name, tmp_path):
    """It takes the tangents that the rules carry forward, of each op and each input."""
    model, inputs = MODELS[name]()
    ends = [y for y in tensors_in(from_torch(model, *inputs)) if y.requires_grad]
    y = sum((y.astype(np.float64) ** 2).sum() for y in ends)
    if len(tl.graph(y)) < 200:
        tl.steps(y).save(tmp_path / "steps.html")
    told = []
    for leaf, g in leaf_gradients(y, np.float64(1)).items():
        if np.any(g):
            try:
                flow = tl.flow(y, leaf)
            except (NotImplementedError, ValueError) as error:
                told.append(str(error))
                continue
            (end,) = (node.id for node in flow.graph if node.tensor is leaf)
            into = sum(share for edge, share in flow.shares.items() if edge.source == end)
            if "only rounding is left" in flow.note:
                assert name == "cancelling"
                continue
            assert into == pytest.approx(1, abs=1e-5 if "float32" in str(y.dtype) else 1e-6)
    expected = {"sparse_embedding": "derivative of each rule", "clipping_function": "linear in g"}
    assert bool(told) == (name in expected)
    assert all(expected[name] in text for text in told)


def test_paths_classes_and_flow_add_up(block):
    y, w = block
    whole = tl.grad(y, w).data
    listed = tl.paths(y, w)
    assert sum(p.share for p in listed) == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(sum(p.contribution for p in listed), whole, atol=1e-10)
    for by in ("scope", "depth", "skips", lambda e: (e.target,) if e.skip else None):
        classes = tl.path_classes(y, w, by=by)
        assert sum(c.count for c in classes.values()) == len(listed)
        np.testing.assert_allclose(sum(c.contribution for c in classes.values()), whole, atol=1e-10)
    flow = tl.flow(y, w)
    (end,) = (node.id for node in flow.graph if node.tensor is w)
    into = [share for edge, share in flow.shares.items() if edge.source == end]
    assert sum(into) == pytest.approx(1, abs=1e-9)
    arrives, leaves = {}, {}
    for edge, share in flow.shares.items():
        arrives[edge.source] = arrives.get(edge.source, 0) + share
        leaves[edge.target] = leaves.get(edge.target, 0) + share
    for i in arrives.keys() & leaves.keys():
        assert arrives[i] == pytest.approx(leaves[i], abs=1e-9)


def test_skips_are_seen_at_the_models_own_joins(block):
    y, w = block
    skips = [e for e in tl.graph(y).edges if e.skip]
    assert len(skips) == 4  # two in each of two blocks
    assert max(tl.path_classes(y, w, by="skips")) == 4


def test_every_question_has_an_answer(block, tmp_path):
    y, w = block
    answers = [tl.graph(y), tl.profile(y), tl.compare(y, y * 2, wrt=w), tl.flow(y, w)]
    answers += [tl.what_if(y, w, by="skips"), tl.path_classes(y, w)]
    for found in answers:
        assert "nan" not in str(found)
        found.save(tmp_path / "picture.svg")
    formula = tl.path_classes(y, w).formula
    assert "∂y/∂wte.weight" in formula
    assert "I" in formula
    assert len(tl.steps(y)) == 2 * sum(node.op is not None for node in tl.graph(y))


def test_rules_held_to_finite_differences(block):
    y, _ = block
    checks = [s.check for step in tl.steps(y, check=True) for s in step.sends if s.check]
    assert len(checks) > 50
    assert not [c for c in checks if c.verdict == "disagrees"]


def test_a_stopped_scope_gets_nothing(block):
    y, _ = block
    cut = tl.replay(y, stop_gradient="blocks/1")
    found = {v.name: g for v, g in leaf_gradients(cut, np.float64(1)).items()}
    inside = [n for n in found if n.startswith("blocks.1.")]
    assert inside
    assert not any(np.any(found[n]) for n in inside)
    assert cut.data == y.data


def test_a_model_folds_into_a_picture_one_would_show():
    y = from_torch(GPT(12, 16, 8).double(), torch.randint(0, 11, (1, 8))).sum()
    picture = tl.graph(y).picture()
    assert len(picture.boxes) < 60
    kept = tl.graph(from_torch(*_flat(MODELS["resnet_in_training"]())).sum()).picture(fold=True)
    assert not any("layer1.0.bn1" in line for box in kept.boxes for line in box.lines)
    assert [(one.label, one.times) for one in picture.repeats.values()] == [("0 … 11", 12)]


# Ways to call it


def test_a_parameter_is_meant_by_its_name():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    y = from_torch(model, noise(3)).sum()
    by_name = tl.path_classes(y, "2.weight")
    assert by_name.wrt == "2.weight"
    model(noise(3)).sum().backward()
    for question in (tl.paths, tl.path_classes, tl.flow, tl.what_if):
        with pytest.raises(TypeError) as caught:
            question(y, model[2].weight)
        assert str(caught.value) == (
            "wrt must be a Tensor, or the name of one, but is a torch Parameter; give its name, "
            "which is that of named_parameters(), as in wrt='2.weight'"
        )
    with pytest.raises(TypeError, match="but is a torch Parameter; give its name"):
        tl.compare(y, y * 2, wrt=model[0].weight)


def test_a_function_that_calls_modules():
    encoder, decoder = nn.Linear(3, 2).double(), nn.Linear(2, 3).double()

    def loss(x, weight=1.0):
        return ((decoder(encoder(x)) - x) ** 2).mean() * weight

    y = from_torch(loss, noise(4, 3), weight=2.0)
    assert leaves_of(y).keys() == {
        "x", "encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias",
    }  # fmt: skip
    assert {node.scope for node in tl.graph(y) if node.scope} == {("encoder",), ("decoder",)}
    bound = from_torch(encoder.forward, noise(4, 3))
    assert leaves_of(bound).keys() == {"input", "weight", "bias"}


def test_a_function_that_calls_a_module_of_another_file(monkeypatch):
    import torch_models

    monkeypatch.setattr(torch_models, "encoder", nn.Linear(3, 2).double(), raising=False)
    y = from_torch(lambda x: torch_models.encoder(x).relu(), noise(4, 3))
    assert leaves_of(y).keys() == {"x", "encoder.weight", "encoder.bias"}


def test_a_model_whose_own_argument_is_called_check():
    def model(x, check=3.0):
        return x * check

    y = from_torch(lambda x: model(x, check=5.0), noise(2))
    np.testing.assert_array_equal(y.data, 5 * leaves_of(y)["x"].data)


def test_a_compiled_model_runs_uncompiled():
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh()).double()
    y = from_torch(torch.compile(model, backend="eager"), noise(2, 3))
    assert {"0.weight", "0.bias"} <= leaves_of(y).keys()
    assert {node.op for node in tl.graph(y) if node.op} == {"addmm", "t", "tanh"}


def test_in_no_grad_and_in_inference_mode():
    model, x = nn.Linear(3, 3).double(), noise(2, 3)
    expected = from_torch(model, x)
    for block in (torch.no_grad, torch.inference_mode):
        with block():
            y = from_torch(model, x)
            mine = x * 1  # an inference tensor, in the second
            z = from_torch(model, mine)
        assert y.requires_grad
        np.testing.assert_array_equal(y.data, expected.data)
        np.testing.assert_array_equal(z.data, expected.data)


def test_outputs_that_require_no_gradient():
    y, best = from_torch(Apply(lambda m, x: (x * m.w, (x * m.w).argmax()), w=noise(3)), noise(3))
    assert (y.requires_grad, best.requires_grad, best.dtype) == (True, False, np.int64)
    (constant,) = from_torch(torch.no_grad()(lambda x: [x * 2]), noise(3))
    assert not constant.requires_grad


def test_float32_to_rounding():
    torch.manual_seed(0)
    model, x = ResNet((4, 6), 5), torch.randn(3, 3, 16, 16)
    twin = copy.deepcopy(model)
    y = from_torch(model, x).sum()
    assert y.dtype == np.float32
    y.backward()
    twin(x).sum().backward()
    for name, p in twin.named_parameters():
        mine = leaves_of(y)[name].grad
        scale = float(p.grad.norm()) + 1e-3
        assert mine.dtype == np.float32
        assert np.linalg.norm(mine - p.grad.numpy()) <= 1e-4 * scale, name


def test_imported_values_go_on_in_our_own_ops():
    model = nn.Linear(3, 2).double()
    h = from_torch(model, noise(4, 3))
    loss = tl.softmax(h, axis=1)[:, 0].sum() + (leaves_of(h)["weight"] ** 2).sum()
    loss.backward()
    x = torch.tensor(np.array(leaves_of(h)["input"].data))
    theirs = model(x).softmax(1)[:, 0].sum() + (model.weight**2).sum()
    theirs.backward()
    np.testing.assert_allclose(leaves_of(h)["weight"].grad, model.weight.grad, rtol=1e-12)


def test_two_threads_import_at_once():
    from concurrent.futures import ThreadPoolExecutor

    models = [nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3)).double() for _ in range(8)]
    inputs = [noise(2, 3) for _ in models]
    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(from_torch, models, inputs)]
    for model, x, y in zip(models, inputs, found, strict=True):
        np.testing.assert_allclose(y.data, model(x).detach().numpy())
        assert {"/".join(n.scope) for n in tl.graph(y) if n.op} == {"0", "1", "2"}


# On a GPU


@pytest.mark.filterwarnings("ignore:Attempting to run cuBLAS")  # PyTorch's first step there
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_model_on_a_gpu_is_brought_to_the_host():
    model, x = ResNet((4, 6), 5).double().cuda(), noise(3, 3, 16, 16).cuda()
    twin = copy.deepcopy(model)
    with pytest.warns(UserWarning, match="on cuda:0: its values and gradients are copied"):
        y = from_torch(model, x).sum()
    y.backward()
    twin(x).sum().backward()
    for name, p in twin.named_parameters():
        scale = float(p.grad.abs().max())
        np.testing.assert_allclose(
            leaves_of(y)[name].grad, p.grad.cpu().numpy(), rtol=1e-9, atol=1e-9 * scale
        )
    flow = tl.flow(y, leaves_of(y)["conv1.weight"])
    assert len(flow.shares) > 10
    model.conv1.weight.data.add_(1e-9)
    with pytest.raises(RuntimeError, match="was changed"):
        y.backward()


# The commands


SCRIPT = """
import torch
from torch import nn

torch.manual_seed(0)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x, shift=0):
        h = torch.tanh(self.first(x))
        return {"logits": self.second(h) + shift, "hidden": [h]}


two, one = Two(), nn.Sequential(nn.Linear(3, 4), nn.Tanh())
x, batch, wide = torch.randn(5, 3), {"shift": torch.randn(2)}, torch.randn(5, 4)
"""


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """What a command prints on standard output and error, and its exit status."""
    from tinygrad_lite.cli import main

    (tmp_path / "net.py").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)

    def run(text):
        status = main(text.split())
        return (*capsys.readouterr(), status)

    return run


def test_a_command_takes_a_module(command):
    printed, _, status = command("flow net.py:two --inputs x --output logits --wrt first.weight")
    assert status == 0
    assert "the flow of the gradient of sum(two.logits) to first.weight" in printed
    assert "second" in command("profile net.py:two --inputs x batch['shift'] --output logits")[0]
    assert "|gradient|" in command("paths net.py:one --inputs x --wrt 0.weight")[0]
    assert "0.weight" in command("compare net.py:one one --inputs x")[0]
    assert "hidden.0" in command("graph net.py:two --inputs x --output hidden.0")[0]


def test_a_live_page_takes_a_module(command, tmp_path):
    words = ["live", "net.py:two", "--inputs", "x", "--output", "logits", "--no-browser"]
    package = str(Path(tl.__file__).parent.parent)
    with subprocess.Popen(
        [sys.executable, "-m", "tinygrad_lite", *words], stdout=subprocess.PIPE, cwd=tmp_path,
        encoding="utf-8",
        env=os.environ | {"PYTHONPATH": package},
    ) as process:  # fmt: skip
        try:
            with urlopen(process.stdout.readline().strip()) as page:
                text = page.read().decode()
        finally:
            process.send_signal(signal.SIGINT)
    assert "two.logits" in text
    assert "second.weight" in text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "graph net.py:wide",
            "wide in net.py is not a Tensor but a torch Tensor; name the module "
            "that computes with it, as in net.py:two --inputs wide",
        ),
        (
            "graph net.py:one --inputs wid",
            "left nothing under the name wid; its tensors include wide",
        ),
        ("graph net.py:twoo", "left nothing under the name twoo; its torch modules include two"),
        ("live net.py:two", "two is a module of PyTorch; say which tensors of the script to call"),
        ("live net.py:two --inputs x", "two gave logits, hidden.0; say which, as in --output"),
        ("graph net.py:one", "one is a module of PyTorch; say which tensors"),
        ("graph net.py:x --inputs x", "--inputs is for a torch.nn.Module, and x in net.py is none"),
        ("graph net.py:two --inputs x", "two gave logits, hidden.0; say which, as in --output lo"),
        ("graph net.py:two --inputs x --output no", "no output 'no', but logits, hidden.0"),
        ("graph net.py:one --inputs y", "net.py left nothing under the name y"),
    ],
)
def test_a_mistake_with_a_module_is_one_sentence(command, text, told):
    _, error, status = command(text)
    assert (status, error.count("\n")) == (2, 1)
    assert told in error


def test_an_error_in_a_module_is_shown_as_python_would(command):
    with pytest.raises(SystemExit, match="shapes cannot be multiplied") as caught:
        command("graph net.py:one --inputs wide")
    assert "tinygrad_lite" not in str(caught.value)
