"""What PyTorch and NumPy's arrays call it, and what to write here instead."""

from __future__ import annotations

import re

CHANGED = "values never change: write t = t + 1, or w.data += 1 for a parameter"
ON_CPU = "every Tensor is on the CPU: leave it out"

# Of a name that nothing here has, what to write instead.
ATTRIBUTES = {
    **dict.fromkeys(("add_", "copy_", "div_", "fill", "fill_", "mul_", "sub_", "zero_"), CHANGED),
    **dict.fromkeys(("cpu", "cuda"), ON_CPU),
    **dict.fromkeys(("bmm", "mm", "mv"), "write t @ other"),
    **dict.fromkeys(
        ("bool", "double", "float", "half", "int", "long", "type"), "write t.astype(dtype)"
    ),
    **dict.fromkeys(("dim", "ndimension"), "write t.ndim, without brackets"),
    **dict.fromkeys(("nelement", "numel"), "write t.size, without brackets"),
    "argsort": "write np.argsort(t)",
    "cat": "use concatenate",
    "clamp": "use clip",
    "clone": "values never change, so t itself will do",
    "contiguous": "values are used as they lie in memory: leave it out",
    "copy": "values never change, so t itself will do, and t.numpy() may be written to",
    "div": "write t / other",
    "expand": "use broadcast_to(t, shape)",
    "flat": "write t.ravel()",
    "grad_fn": "graph(t) draws what t was computed from",
    "is_leaf": "write t.op is None",
    "masked_fill": "use where(mask, value, t)",
    "mul": "write t * other",
    "nonzero": "write np.nonzero(t)",
    "permute": "write t.transpose(1, 0), say",
    "pow": "write t ** other",
    "register_hook": "grad(y, t) is the gradient of y with respect to any Tensor on its way",
    "requires_grad_": "say it from the start: Tensor(data, requires_grad=True)",
    "retain_grad": "grad(y, t) is the gradient of y with respect to any Tensor on its way",
    "sub": "write t - other",
    "t": "write t.T",
    "to": "write t.astype(dtype), and leave a device out: every Tensor is on the CPU",
    "unsqueeze": "use expand_dims(t, axis), or write t[None]",
    "view": "write t.reshape(2, 3), say",
}

OPTIONS = {"dim": "axis", "dims": "axis", "keepdim": "keepdims"}


def with_options(said: str, names: list[str]) -> str:
    """What Python says of a call, with what there is to give if it was given something else."""
    match = re.search(r"(too many positional arguments|unexpected keyword argument '(\w+)')$", said)
    if not match:
        return said
    there = OPTIONS.get(match[2])
    return f"{said}; " + (f"write {there}=" if there in names else f"it takes {', '.join(names)}")
