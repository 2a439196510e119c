"""A model: the modules and tensors that it is made of, and the nests that it takes and gives."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import copy
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any

from .installed import torch


def parts_of(model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The modules that a model is made of, and their parameters and buffers, by name; of a
    function, those that it mentions."""
    while isinstance(model, partial):
        model = model.func
    model = getattr(model, "__self__", model)
    mentioned = {"": model}
    if inspect.isfunction(model):
        variables = inspect.getclosurevars(model)
        mentioned = {**variables.globals, **variables.nonlocals}
        for module in [x for x in mentioned.values() if inspect.ismodule(x)]:
            # As `model` in the code's `net.model`.
            inside = {n: vars(module)[n] for n in variables.unbound if n in vars(module)}
            mentioned = {**inside, **mentioned}
    elif not isinstance(model, torch.nn.Module):
        mentioned = dict(getattr(model, "__dict__", {}))
    modules, tensors = dict[str, Any](), dict[str, Any]()
    for start, x in mentioned.items():
        if isinstance(x, torch.Tensor):
            tensors[start] = x
        elif isinstance(x, torch.nn.Module):
            x = getattr(x, "_orig_mod", x)  # of what was compiled
            modules.update(x.named_modules(prefix=start))
            tensors.update(x.named_buffers(prefix=start))
            tensors.update(x.named_parameters(prefix=start))
    return modules, tensors


def refuse_hooks(modules: dict[str, Any]) -> None:
    """Raises: TypeError where one of a model's modules has a hook on gradients, or all have."""
    from torch.nn.modules import module

    for name, m in modules.items():
        if m._backward_hooks or m._backward_pre_hooks:
            raise hidden_hook(name or "the model")
    if module._global_backward_hooks or module._global_backward_pre_hooks:
        raise hidden_hook("every module")


def hidden_hook(what: str) -> TypeError:
    """What to say where there is a hook on gradients."""
    return TypeError(
        f"{what} has a hook on gradients, which PyTorch's record does not show; remove it before "
        "from_torch"
    )


def map_tensors(f: Callable[[Any, str], Any], x: Any, way: str = "") -> Any:
    """A nest, with f of each tensor and of the way to it, as ``batch['x'][0]``, in its place."""
    if isinstance(x, torch.Tensor):
        return f(x, way)
    if isinstance(x, (list, tuple)):
        parts = [map_tensors(f, y, f"{way}[{i}]") for i, y in enumerate(x)]
        if isinstance(x, list):
            return parts
        return type(x)(*parts) if hasattr(x, "_fields") else tuple(parts)
    if isinstance(x, dict):
        made = copy(x)
        made.update({key: map_tensors(f, y, f"{way}[{key!r}]") for key, y in x.items()})
        return made
    if is_dataclass(x) and not isinstance(x, type):
        other = copy(x)
        for field in fields(x):
            part = map_tensors(f, getattr(x, field.name), f"{way}.{field.name}")
            object.__setattr__(other, field.name, part)
        return other
    return x


def map_arguments(f: Callable[[Any, str], Any], model: Any, inputs: Any, named: Any) -> Any:
    """The arguments of a call of a model, positional and by name, mapped as `map_tensors` does."""
    try:
        signature = inspect.signature(getattr(model, "forward", model))
    except ValueError:  # it is not Python's
        signature = inspect.signature(lambda *inputs, **named: None)
    given = signature.bind(*inputs, **named)
    for name, x in given.arguments.items():
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            made: Any = {key: map_tensors(f, y, key) for key, y in x.items()}
        else:
            made = map_tensors(f, x, name)
        given.arguments[name] = made
    return given.args, given.kwargs
