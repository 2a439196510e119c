"""What PyTorch's own record lacks, noted while the model runs."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from threading import RLock, get_ident
from typing import Any

from .calls import CONSTANT, Call, Key, Written, flatten, is_constant, name_of, spellings, unfused
from .installed import TorchDispatchMode, torch
from .lines import Lines
from .model import map_arguments, refuse_hooks

LEAF = -1  # in place of a number of writes: it requires a gradient
IMPORTING = RLock()  # switches of PyTorch that hold for all threads are set while a model runs


def memory(t: Any) -> int:
    """What tensors that share memory have in common."""
    return t.untyped_storage()._cdata if t.layout is torch.strided else id(t)


@dataclass(slots=True)
class View:
    """A tensor, its values when it was first seen, and the memory in which these stand: 0 if they
    were copied, as it was about to be overwritten."""

    t: Any
    values: Any
    place: int


class Recorder(TorchDispatchMode or object):  # type: ignore[misc]
    """What PyTorch's record lacks, noted as each op is called."""

    def __init__(self, modules: dict[str, Any], tensors: dict[str, Any]) -> None:
        super().__init__()
        self.modules, self.tensors = modules, tensors.values()
        self.scopes = {id(m): tuple(name.split(".")) for name, m in modules.items() if name}
        self.names = {id(t): name for name, t in tensors.items()}
        self.given: dict[Key, tuple[str, Any]] = {}  # inputs: their names and their leaves
        self.inside: list[tuple[str, ...]] = [()]  # the scopes of the modules that are running
        self.seen: dict[Key, View] = {}
        self.sharing: dict[int, list[View]] = {}  # the same, by the memory that they share
        self.writes: dict[int, int] = {}  # how often some memory was written to
        self.written: dict[int, Call] = {}  # what wrote last to it, if that follows from values
        self.born: set[int] = set()  # memory of constants that were made on the way
        self.calls: dict[Key, tuple[Call, int]] = {}  # what made a tensor, and which result it is
        self.last: tuple[Call, Any] | None = None
        self.count, self.thread = 0, get_ident()  # of calls; that the model runs in
        self.lines = Lines()
        self.truths: list[tuple[Key, tuple[Any, ...]]] = []  # what was asked, and where
        self.spoiled: Any = None  # a parameter that was overwritten after it was used

    def run(self, model: Any, inputs: Any, named: Any) -> Any:
        """What the model gives for these inputs: for copies of theirs, which it may overwrite.

        Raises: TypeError where there is a hook on gradients.
        """
        refuse_hooks(self.modules)
        with ExitStack() as stack:
            self.prepare(stack)
            args, kwargs = map_arguments(self.lend, model, inputs, named)
            with self:
                result = model(*args, **kwargs)
            self.settle()
            self.lines = Lines()  # it kept a frame
        return result

    def prepare(self, stack: ExitStack) -> None:
        """Let PyTorch record until the stack is left, and each module say when it runs."""
        from torch.nn.modules import module

        stack.enter_context(IMPORTING)
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        if any(not t.is_cpu for t in self.tensors):  # kernels that only a GPU has
            stack.enter_context(unfused())
        if "torch._dynamo" in sys.modules:  # else nothing has been compiled
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        if any(isinstance(m, torch.nn.RNNBase) for m in self.modules.values()):
            # Not by torch.backends, which may be frozen, and warns of other hardware.
            stack.callback(torch._C._set_mkldnn_enabled, torch._C._get_mkldnn_enabled())
            torch._C._set_mkldnn_enabled(False)
        stack.callback(module.register_module_forward_pre_hook(self.begin).remove)
        stack.callback(module.register_module_forward_hook(self.end, always_call=True).remove)

    def lend(self, x: Any, way: str) -> Any:
        """A copy of an input, no leaf so that it may be overwritten."""
        leaf = (x.clone() if x.is_inference() else x).detach()
        made = leaf.requires_grad_(x.is_floating_point() or x.is_complex()).clone()
        self.given[self.see(made)] = way, leaf
        return made

    def begin(self, module: Any, _: Any) -> None:
        """A module begins."""
        if get_ident() != self.thread:  # PyTorch calls this for the modules of every thread
            return
        self.inside.append(self.scopes.get(id(module), self.inside[-1]))

    def end(self, *_: Any) -> None:
        """It ends."""
        if get_ident() == self.thread:
            self.inside.pop()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Whether to load the compiler of PyTorch, which takes a second, and keep it out of here:
        nothing is compiled meanwhile."""
        return False

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.settle()
        self.count += 1
        call = Call(op, args, kwargs or {}, self.count)
        tensors, call.tensors = call.tensors, []
        follows = tensors and torch.is_grad_enabled() and not CONSTANT.match(name_of(op))
        if follows and self.follows(tensors, op):
            call.keys = [self.see(t) for t in tensors]
            call.scope, call.calls = self.inside[-1], self.lines.note()
        if writes := call.writes:
            for name, t in zip(call.names, tensors, strict=True):
                if writes & spellings(name):
                    self.overwrite(t, call)
        out = op(*args, **(kwargs or {}))
        if call.keys:
            self.last = call, out
            if out is True or out is False:
                self.truths.append((call.keys[0], call.calls))
        elif isinstance(out, torch.Tensor) and not (writes or (tensors and not is_constant(op))):
            self.born.add(memory(out))
        return out

    def follows(self, tensors: list[Any], op: Any) -> bool:
        """Whether what an op gives follows from the inputs or parameters of the model."""
        if any(t.requires_grad for t in tensors):
            return True
        if is_constant(op):
            return False
        for t in tensors:
            place = memory(t)
            where = id(t), self.writes.get(place, 0)
            noted = where in self.calls or where in self.given
            if noted or place in self.written or id(t) in self.names:
                return True
        return False

    def overwrite(self, t: Any, call: Call) -> None:
        """Keep the values of what shares memory with a tensor that is about to be written to."""
        place = memory(t)
        for view in self.sharing.pop(place, ()):
            if view.t.is_leaf and view.t.requires_grad:
                self.spoiled = view.t
            view.values, view.place = view.values.clone(), 0
        self.writes[place] = self.writes.get(place, 0) + 1
        if call.keys and not is_constant(call.op):
            self.written[place] = call

    def settle(self) -> None:
        """Note what the last call gave: by now autograd has put it on its record."""
        if self.last is None:
            return
        (call, out), self.last = self.last, None
        call.is_single = isinstance(out, torch.Tensor) and out.is_cpu
        for i, t in enumerate(flatten(out)):
            if not isinstance(t, torch.Tensor):
                continue
            if t.grad_fn is not None:
                self.see(t, (call, i))
                if t._base is not None and t._base.grad_fn is not None:  # written to, maybe
                    self.see(t._base)
            elif not t.requires_grad and not is_constant(call.op):
                self.see(t, (call, i))

    def see(self, t: Any, made: tuple[Call, int] | None = None) -> Key:
        """Keep the values of a tensor, shared until they are overwritten; say where it stands in
        PyTorch's record. A leaf, or a constant, stands by itself."""
        node = t.grad_fn
        if node is not None:
            where: Key = node, t.output_nr
            if where not in self.seen:
                self.keep(where, t, memory(t))
        else:
            place = memory(t)
            where = id(t), LEAF if t.requires_grad else self.writes.get(place, 0)
            if where not in self.seen:
                self.keep(where, t, place)
                if made is None and where[1] > 0 and place in self.written:
                    made = Written(self.written[place]), 0
        if made is not None:
            self.calls.setdefault(where, made)
        return where

    def keep(self, where: Key, t: Any, place: int) -> None:
        """Keep the values of a tensor."""
        self.seen[where] = view = View(t, t.detach(), place)
        if place in self.sharing:
            self.sharing[place].append(view)
        else:
            self.sharing[place] = [view]

    def find_name(self, t: Any) -> str | None:
        """What the model calls a tensor of its own, or that of which it is a view."""
        return self.names.get(id(t)) or self.names.get(id(t._base))

    def title(self, t: Any) -> str:
        """What an error calls a tensor of the model."""
        return self.find_name(t) or f"a tensor of shape {tuple(t.shape)}"
