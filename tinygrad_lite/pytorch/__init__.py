"""Models of PyTorch: what one computes as a graph of ours, read off the record of its autograd.

While a model runs, PyTorch records it. Every node of that record, called with the cotangent of its
result, returns those of its inputs: it is the vjp. So each becomes the op of one of our values, and
what PyTorch differentiates we differentiate as PyTorch does: ops in place, views, the mask that
dropout drew, custom Functions, loops that depend on data, `no_grad` and `detach`.

What is not on that record we note while the model runs, below autograd, where each op arrives with
its arguments: values, modules, lines of the user's code, and the op itself, so that it can be run
again, by `replay`, and its rule differentiated. Last, all gradients are held to those that
PyTorch's own backward gives.

A file is a chapter, and imports only from those before it:

border   installed.py (PyTorch, or None), conversion.py (its tensors as arrays, and back)
running  model.py (what a model is made of), calls.py (an op as it was called), lines.py (the
         user's code around it), recorder.py (all that is noted meanwhile)
graph    recipes.py (what each tensor was made of), lent.py (values in the model's memory),
         rules.py (ops, and their vjps), agreement.py (the check), importer.py (our values)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .agreement import check_gradients
from .calls import Key
from .importer import Importer
from .installed import torch
from .model import map_tensors, parts_of
from .recorder import Recorder


def from_torch(model: Callable[..., Any], /, *inputs: Any, check: bool = True, **named: Any) -> Any:
    """What a model of PyTorch gives for these inputs, with a Tensor in place of each of its own.

    `model` is a `torch.nn.Module`, or a function that calls some. It runs once, as if it were
    called: in training, batch norm moves its running statistics and dropout draws. Parameters are
    leaves by the names of `named_parameters()`, inputs leaves by those of the arguments, which
    require a gradient if they are floating. Modules are scopes, lines those of the user's files,
    and what the model gives keeps its nesting. Then `graph`, `flow`, `paths` and all others say of
    it what they say of any computation; the rules that they show are PyTorch's.

    With `check`, PyTorch's own backward runs once, with a random cotangent, and all gradients are
    held to it: to 1e-11 in float64, to rounding in other dtypes. A model that has an argument
    `check` is passed as ``lambda x: model(x, check=...)``.

    Leaves share the memory of parameters and buffers until their values are looked at: whatever
    needs one that was changed since is an error. From a GPU, values and gradients are copied to the
    host's memory, as a warning says. `replay` runs PyTorch's ops again; what ran inside `no_grad`,
    was detached or taken out (`.item()`), or was drawn at random stays. Recurrent layers run as
    the ops that they consist of, and compiled models uncompiled.

    Raises: ModuleNotFoundError without PyTorch; TypeError for bfloat16 and complex numbers, hooks
    on gradients, checkpoints that are reentrant, a parameter that is overwritten after its use, or
    a result without a tensor; RuntimeError where a gradient is not PyTorch's, which it names.
    """
    if torch is None:
        raise ModuleNotFoundError(
            "from_torch needs PyTorch, which is not installed: pip install 'tinygrad_lite[torch]'"
        )
    model = getattr(model, "_orig_mod", model)  # of a module that was compiled
    recorder = Recorder(*parts_of(model))
    result = recorder.run(model, inputs, named)
    outputs: dict[Key, Any] = {}
    map_tensors(lambda t, _: outputs.setdefault(recorder.see(t), t), result)
    if not outputs:
        raise TypeError(f"the model gave a {type(result).__name__} without a tensor in it")
    importer = Importer(recorder, outputs)
    if check:
        check_gradients(importer.outputs(), importer.leaves())
    return map_tensors(lambda t, _: importer.made[recorder.see(t)], result)
