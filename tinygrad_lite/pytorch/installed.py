"""PyTorch, None where it is not installed: `from_torch` says so when it is called.

Of PyTorch this package uses `grad_fn`, `next_functions` and `TorchDispatchMode`, and names that are
private, as `_input_metadata`, `_base` and `_cdata`. Tested with PyTorch 2.13, and tried with 2.6.
"""

try:
    import torch as torch
    from torch.utils._python_dispatch import TorchDispatchMode as TorchDispatchMode
except ModuleNotFoundError:
    torch = TorchDispatchMode = None
