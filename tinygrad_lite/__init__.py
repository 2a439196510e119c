"""A minimal reverse-mode automatic differentiation engine that shows its gradients' paths.

The layers, each reading only those above it in this list (README has every file):

ground    context.py, arrays.py, operation.py (what an operation is), value.py (a value, and
          how it was made)
engine    backward.py (the reverse pass), ops/ (one family a file), numpy_protocols.py (what
          np.f(tensor) does), tensor.py (Tensor), fast/ (quicker ways to the same answers)
calculus  calculus.py (grad and its kin), checking.py (rules held to finite differences)
data      recorded/, stepping/ (what was computed)
views     drawing/ (pictures and pages; knows nothing of tensors), views/ (how the data looks)
question  insight/ (graph, steps, paths, flow, profile, compare, what_if, History)
import    pytorch/ (models of PyTorch brought in)
command   script.py, target.py (a user's script, and a tensor in it), cli.py
"""

import builtins
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from .calculus import grad, hessian, jacobian, jvp, value_and_grad, vjp
from .context import no_grad, scope
from .elsewhere import ATTRIBUTES
from .operation import blocked, op
from .ops import *  # noqa: F403
from .ops import __all__ as _ops
from .tensor import Tensor

if not os.environ.get("TINYGRAD_LITE_PLAIN"):
    with suppress(ModuleNotFoundError):  # the folder may be deleted
        from .fast import fill

        fill()

if hasattr(builtins, "__IPYTHON__"):  # in a notebook every op notes its line
    from .recorded.lines import note_outside_blocks

    note_outside_blocks()

if TYPE_CHECKING:
    from .checking import check as check
    from .insight.classes import path_classes as path_classes
    from .insight.comparing import compare as compare
    from .insight.flows import flow as flow
    from .insight.graphs import graph as graph
    from .insight.history import History as History
    from .insight.paths import paths as paths
    from .insight.profiles import profile as profile
    from .insight.stepper import source_lines as source_lines
    from .insight.stepper import steps as steps
    from .insight.what_if import what_if as what_if
    from .pytorch import from_torch as from_torch
    from .recorded.program import program as program
    from .recorded.replay import ReplayWarning as ReplayWarning
    from .recorded.replay import replay as replay

# What only looks at computations is loaded when first asked for: importing stays quick.
_LAZY = {
    "History": "insight.history",
    "check": "checking",
    "compare": "insight.comparing",
    "flow": "insight.flows",
    "from_torch": "pytorch",
    "graph": "insight.graphs",
    "path_classes": "insight.classes",
    "paths": "insight.paths",
    "profile": "insight.profiles",
    "program": "recorded.program",
    "replay": "recorded.replay",
    "ReplayWarning": "recorded.replay",
    "source_lines": "insight.stepper",
    "steps": "insight.stepper",
    "what_if": "insight.what_if",
}


def _array_namespace(self: Tensor, /, *, api_version: str | None = None) -> Any:
    from .array_api import namespace

    return namespace(api_version)


_array_namespace.__doc__ = Tensor.__array_namespace__.__doc__
Tensor.__array_namespace__ = _array_namespace  # type: ignore[method-assign]

__all__ = [
    "Tensor", "blocked", "grad", "hessian", "jacobian", "jvp", "no_grad", "op", "scope",
    "value_and_grad", "vjp", *_LAZY,
    *(name for name in _ops if not hasattr(builtins, name)),  # `import *` spares sum and max
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        instead = f"; {ATTRIBUTES[name]}" if name in ATTRIBUTES else ""
        instead = f"; NumPy has one: np.{name}" if not instead and hasattr(np, name) else instead
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{instead}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_ops, *(name for name in globals() if name.startswith("__"))})
