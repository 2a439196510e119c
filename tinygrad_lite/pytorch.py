"""Models of PyTorch: what one computes as a graph of ours, read off the record of its autograd.

While a model runs, PyTorch records it. Every node of that record, called with the cotangent of its
result, returns those of its inputs: it is the vjp. So each becomes the op of one of our values, and
what PyTorch differentiates we differentiate as PyTorch does: ops in place, views, the mask that
dropout drew, custom Functions, loops that depend on data, `no_grad` and `detach`.

What is not on that record we note while the model runs, below autograd, where each op arrives with
its arguments: values, modules, lines of the user's code, and the op itself, so that it can be run
again, by `replay`, and its rule differentiated. Last, all gradients are held to those that
PyTorch's own backward gives.

Of PyTorch this uses `grad_fn`, `next_functions` and `TorchDispatchMode`, and some names that are
private: `_input_metadata`, `_base`, `_cdata`. Tested with PyTorch 2.13, and tried with 2.6.
"""

from __future__ import annotations

import inspect
import re
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from copy import copy
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache, partial
from math import gcd
from threading import RLock, get_ident
from typing import Any, NamedTuple

import numpy as np

from .arrays import describe
from .backward import leaf_gradients
from .operation import Op, blocked
from .ops import add, concatenate, subtract
from .recorded.lines import DEEPEST, LIBRARIES, place_of
from .tensor import Tensor
from .truths import note
from .value import Value, new

try:
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode as Mode
except ModuleNotFoundError:  # `from_torch` says so
    torch = Mode = None

SYMBOLS = {"add": "+", "sub": "−", "mul": "×", "div": "÷", "mm": "@", "bmm": "@", "neg": "−"}
FLAT = {"sign", "round", "floor", "ceil", "trunc"}  # the derivative is 0 wherever it exists
# Ops whose results do not follow from values, and the word that says of one that it is not to.
CONSTANT = re.compile(r"(new_)?(empty|zeros|ones|full|rand\w*)(_like|_strided|_permuted)?$|detach$")
FUSED = "scaled_dot_product_flash_attention_for_cpu"  # its node can be differentiated once
ATTENTION = "scaled_dot_product_attention"
DIGITS = "0123456789"
LEAF = -1  # in place of a number of writes: it requires a gradient
HERE: Any = object()  # the place of a tensor among the arguments of a call

Key = tuple[Any, int]  # a node of the record and which of its results; or a tensor's id, writes
Function = Callable[..., Sequence[Any]]  # of torch tensors

HOOK = (
    "{} has a hook on gradients, which PyTorch's record does not show; remove it before from_torch"
)
ONCE = (
    "{} can be differentiated once, as PyTorch has its gradient on record, but it cannot be "
    "computed again: it can neither be replayed nor differentiated twice"
)


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
    with ExitStack() as stack:
        recorder.prepare(stack)
        args, kwargs = recorder.enter(model, inputs, named)
        with recorder:
            result = model(*args, **kwargs)
        recorder.settle()
        recorder.lines = Lines()  # it kept a frame
    outputs: dict[Key, Any] = {}
    map_tensors(lambda t, _: outputs.setdefault(recorder.see(t), t), result)
    if not outputs:
        raise TypeError(f"the model gave a {type(result).__name__} without a tensor in it")
    importer = Importer(recorder, outputs)
    if check:
        importer.check()
    return map_tensors(lambda t, _: importer.made[recorder.see(t)], result)


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


# While the model runs


class Call:
    """An op as it was called: a function of the tensors that it was given."""

    __slots__ = (
        "args", "calls", "index", "is_single", "keys", "kwargs", "names", "op", "scope", "tensors",
    )  # fmt: skip

    def __init__(self, op: Any, args: Any, kwargs: Any, index: int) -> None:
        self.op, self.index = op, index
        self.tensors: list[Any] = []  # until their keys are known
        self.names: list[str] = []
        named = zip(arguments_of(op), args, strict=False)
        self.args = [self.take(x, name) for name, x in named]
        self.kwargs = {name: self.take(x, name) for name, x in kwargs.items()}
        self.is_single = False  # it gives one tensor, on the host
        self.keys: list[Key] = []
        self.scope: tuple[str, ...] = ()
        self.calls: tuple[Any, ...] = ()

    def take(self, x: Any, name: str) -> Any:
        """An argument, with its tensors taken out of it."""
        if isinstance(x, torch.Tensor):
            self.tensors.append(x)
            self.names.append(name)
            return HERE
        if isinstance(x, (list, tuple)):
            return [self.take(y, f"{name}{i}") for i, y in enumerate(x)]
        return x

    def __call__(self, *tensors: Any) -> list[Any]:
        """The results for other tensors, none of which it overwrites."""
        if is_random(self.op):
            raise NotImplementedError(ONCE.format(f"{self.op}, which would draw again,"))
        if name_of(self.op) == ATTENTION and torch.is_grad_enabled():
            return [self.attention(*tensors)]
        given = iter([t.clone() for t in tensors] if overwritten_by(self.op) else tensors)

        def put(x: Any) -> Any:
            return [*map(put, x)] if isinstance(x, list) else next(given) if x is HERE else x

        args = [put(x) for x in self.args]
        return listed(self.op(*args, **{name: put(x) for name, x in self.kwargs.items()}))

    def attention(self, *tensors: Any) -> Any:
        """Attention as the ops that it consists of, which can be differentiated twice."""
        usual = {
            **defaults_of(self.op),
            **self.params,
            **dict(zip(self.names, tensors, strict=True)),
        }
        with unfused():
            return torch.nn.functional.scaled_dot_product_attention(
                usual["query"], usual["key"], usual["value"], usual.get("attn_mask"),
                is_causal=usual["is_causal"], scale=usual.get("scale"),
            )  # fmt: skip

    @property
    def params(self) -> dict[str, Any]:
        """The arguments that hold no tensors, by name, as far as they are not the defaults."""
        given = [*zip(arguments_of(self.op), self.args, strict=False), *self.kwargs.items()]
        usual = defaults_of(self.op)
        return {name: x for name, x in given if not has_tensors(x) and x != usual.get(name)}


class Written:
    """What a call wrote through another view of the same memory: it follows from what that call
    was given, and nobody can compute it again."""

    def __init__(self, call: Call) -> None:
        self.op, self.index, self.keys, self.names = call.op, call.index, call.keys, call.names
        self.is_single = False
        self.scope, self.calls, self.params = call.scope, call.calls, dict[str, Any]()

    def __call__(self, *_: Any) -> Any:
        """Raises: NotImplementedError."""
        raise NotImplementedError(ONCE.format(f"what {self.op} wrote into a view"))


def unfused() -> Any:
    """A block in which attention runs as the ops that it consists of."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    return sdpa_kernel(SDPBackend.MATH)


def has_tensors(x: Any) -> bool:
    """Whether tensors were taken out of an argument."""
    return any(map(has_tensors, x)) if isinstance(x, list) else x is HERE


def listed(out: Any) -> list[Any]:
    """The results of an op as one list."""
    if isinstance(out, (list, tuple)):
        return [t for part in out for t in listed(part)]
    return [out]


@lru_cache(maxsize=4096)
def arguments_of(op: Any) -> tuple[str, ...]:
    """The names of an op's arguments."""
    return tuple(a.name for a in op._schema.arguments)


@lru_cache(maxsize=4096)
def defaults_of(op: Any) -> dict[str, Any]:
    """The defaults of an op's arguments, by name."""
    return {a.name: a.default_value for a in op._schema.arguments if a.has_default_value()}


@lru_cache(maxsize=4096)
def overwritten_by(op: Any) -> frozenset[str]:
    """The arguments that an op overwrites; batch norm does not say so of its statistics."""
    names = {a.name for a in op._schema.arguments if a.is_write}
    if "batch_norm" in op._schema.name:
        names |= {"running_mean", "running_var"} & {*arguments_of(op)}
    return frozenset(names)


@lru_cache(maxsize=4096)
def name_of(op: Any) -> str:
    """What an op is called."""
    name = op._schema.name.split("::")[-1].strip("_")
    return ATTENTION if name == FUSED else name


@lru_cache(maxsize=4096)
def is_constant(op: Any) -> bool:
    """Whether what an op gives stays as it is in a replay."""
    return bool(CONSTANT.match(name_of(op))) or is_random(op)


def is_random(op: Any) -> bool:
    """Whether an op draws; attention on the host may only in name."""
    return torch.Tag.nondeterministic_seeded in op.tags and name_of(op) != ATTENTION


def memory(t: Any) -> int:
    """What tensors that share memory have in common."""
    return t.untyped_storage()._cdata if t.layout is torch.strided else id(t)


USERS: dict[str, bool] = {}  # by file: is it the user's?


class Lines:
    """Notes the calls in the user's code that lead to an op, as `Calls` does, which knows no others
    than the user's; the calls around the last one are remembered."""

    def __init__(self) -> None:
        self.last: tuple[Any, tuple[Any, ...]] = (None, ())

    def note(self) -> tuple[Any, ...]:
        """The calls that led here, innermost first."""
        frame = users_frame(sys._getframe(2))
        if frame is None:
            return ()
        if frame is not self.last[0]:
            frames, outer = list[Any](), frame
            while len(frames) < DEEPEST and outer.f_code.co_name != "<module>":
                if (outer := users_frame(outer.f_back)) is None:
                    break
                frames.append(outer)
            calls: tuple[Any, ...] = ()
            for outer in reversed(frames):
                calls = outer.f_code, outer.f_lasti, calls
            self.last = frame, calls
        return frame.f_code, frame.f_lasti, self.last[1]


def users_frame(frame: Any) -> Any:
    """The innermost frame, from this one out, that runs code of the user's; None if none does."""
    while frame is not None:
        name = frame.f_code.co_filename
        if (users := USERS.get(name)) is None:
            users = USERS[name] = not name.startswith(LIBRARIES)
        if users:
            return frame
        frame = frame.f_back
    return None


class Recorder(Mode or object):  # type: ignore[misc]
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
        self.written: dict[
            int, Call
        ] = {}  # what wrote last to it something that follows from values
        self.born: set[int] = set()  # memory of constants that were made on the way
        self.calls: dict[Key, tuple[Any, int]] = {}  # what made a tensor, and which result it is
        self.last: tuple[Call, Any] | None = None
        self.count, self.thread = 0, get_ident()  # of calls; that the model runs in
        self.lines = Lines()
        self.truths: list[tuple[Key, tuple[Any, ...]]] = []  # what was asked, and where
        self.spoiled: Any = None  # a parameter that was overwritten after it was used

    def prepare(self, stack: ExitStack) -> None:
        """Let PyTorch record until the stack is left, and each module say when it begins and ends.

        Raises: TypeError where there is a hook on gradients.
        """
        from torch.nn.modules import module

        hooked = [n or "the model" for n, m in self.modules.items() if hooks_of(m)]
        if hooked or module._global_backward_hooks or module._global_backward_pre_hooks:
            raise TypeError(HOOK.format(hooked[0] if hooked else "every module"))
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

    def enter(self, model: Any, inputs: Any, named: Any) -> tuple[Any, Any]:
        """The arguments as the model gets them: copies of tensors, which it may overwrite."""
        try:
            signature = inspect.signature(getattr(model, "forward", model))
        except ValueError:  # it is not Python's
            signature = inspect.signature(lambda *inputs, **named: None)
        given = signature.bind(*inputs, **named)
        for name, x in given.arguments.items():
            if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                made: Any = {key: map_tensors(self.lend, y, key) for key, y in x.items()}
            else:
                made = map_tensors(self.lend, x, name)
            given.arguments[name] = made
        return given.args, given.kwargs

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
        writes = overwritten_by(op)
        if writes and "batch_norm" in op._schema.name and not call.params.get("training"):
            writes = frozenset()
        if writes:
            for name, t in zip(call.names, tensors, strict=True):
                if writes & {name, name.rstrip(DIGITS)}:
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
            if place in self.written or id(t) in self.names or where in self.calls:
                return True
            if where in self.given:
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
        for i, t in enumerate(listed(out)):
            if not isinstance(t, torch.Tensor):
                continue
            if t.grad_fn is not None:
                self.see(t, (call, i))
                if t._base is not None and t._base.grad_fn is not None:  # written to, maybe
                    self.see(t._base)
            elif not t.requires_grad and not is_constant(call.op):
                self.see(t, (call, i))

    def see(self, t: Any, made: tuple[Any, int] | None = None) -> Key:
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


@dataclass(slots=True)
class View:
    """A tensor, its values when it was first seen, and the memory in which these stand: 0 if they
    were copied, as it was about to be overwritten."""

    t: Any
    values: Any
    place: int


def hooks_of(module: Any) -> bool:
    """Whether a module has hooks on gradients."""
    return bool(module._backward_hooks or module._backward_pre_hooks)


# When it has run


class Watch:
    """The memory of a tensor, as a parameter, that others may write to: whether it was changed."""

    def __init__(self, t: Any, name: str) -> None:
        self.t, self.name = t, name
        self.place, words = address(t), words_of(t)
        self.copy = words.copy()
        # The words of a tensor in one piece are its memory; of any other they are copied from it.
        self.words = words if self.place and t.is_cpu and t.is_contiguous() else None

    def hold(self) -> None:
        """Raises: RuntimeError if it was changed."""
        words = words_of(self.t) if self.words is None else self.words
        if address(self.t) != self.place or (words != self.copy).any():
            raise RuntimeError(
                f"{self.name} was changed since from_torch ran the model, and what was recorded "
                "rests on its values; run from_torch again"
            )


def address(t: Any) -> int:
    """Where the numbers of a tensor begin; 0 where they do not stand in a row of memory."""
    return t.data_ptr() if t.layout is torch.strided else 0


def words_of(t: Any) -> np.ndarray:
    """The bytes of a tensor, as words as long as they can be, of 8 at most."""
    t = t.detach() if t.layout is torch.strided else t.detach().to_dense()
    data = t.cpu().reshape(-1).view(torch.uint8).numpy()
    return data.view(f"u{gcd(8, data.size)}")


IMPORTING = RLock()  # switches of PyTorch that hold for all threads are set while a model runs


class Lent(Tensor):
    """A Tensor whose memory is the model's, until someone looks at its array: then it is copied.
    The reverse pass does not look."""

    __slots__ = ("lender", "lent", "watches")

    lender: Any  # the torch tensor
    lent: Any  # its shape and dtype
    watches: tuple[Watch, ...]

    @property
    def _array(self) -> Any:
        with suppress(AttributeError):
            return ARRAY.__get__(self)
        for watch in self.watches:
            watch.hold()
        ARRAY.__set__(self, array_of(self.lender.clone()))
        return ARRAY.__get__(self)

    @_array.setter
    def _array(self, data: Any) -> None:
        if data is not None:
            ARRAY.__set__(self, data)

    @property
    def data(self) -> Any:
        """The value, read-only."""
        return Tensor.data.__get__(self)

    @data.setter
    def data(self, new: Any) -> None:
        if hasattr(self, "lender"):
            raise TypeError(
                f"{describe(self)} is of a PyTorch model, which would not notice new data; change "
                "it there and run from_torch again, or replay(y, {name: array})"
            )
        Tensor.data.__set__(self, new)  # type: ignore[attr-defined]

    @property
    def form(self) -> Any:
        """Its shape and dtype."""
        try:
            return self.lent
        except AttributeError:
            return self._array.shape, self._array.dtype

    @property
    def operands(self) -> Any:
        """What its rule is given: where it was made by PyTorch, that has the result itself."""
        return None if hasattr(self, "lender") else self._array, self.arrays


NUMBERS = (np.ndarray, np.generic)
ARRAY: Any = vars(Value)["_array"]  # the slot
DTYPES: dict[Any, np.dtype[Any]] = {}
if torch is not None:
    _KINDS = "float64 float32 float16 int64 int32 int16 int8 uint8 uint16 uint32 uint64 bool"
    DTYPES = {getattr(torch, kind): np.dtype(kind) for kind in _KINDS.split()}


class Arrays(Sequence[Any]):
    """The arrays of some inputs; one that is lent is copied when someone looks at it."""

    def __init__(self, inputs: Sequence[Any]) -> None:
        self.held = [x if x is None or isinstance(x, Lent) else x._array for x in inputs]

    def __len__(self) -> int:
        return len(self.held)

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return tuple(self)[i]
        return self.held[i]._array if isinstance(self.held[i], Lent) else self.held[i]


class Recipe(NamedTuple):
    """How a tensor was made: what of; of the gradients that its node returns, the input that each
    is for; and the call that makes it again, if there is one."""

    inputs: list[Key | None]
    slots: list[int | None]
    call: Any


class Importer:
    """Our graph, made of PyTorch's record and of what was noted beside it."""

    def __init__(self, recorder: Recorder, outputs: dict[Key, Any]) -> None:
        self.recorder, self.outputs = recorder, outputs
        self.seen, self.calls, self.given = recorder.seen, recorder.calls, recorder.given
        self.recipes: dict[Key, Recipe | None] = {}  # None for a leaf
        self.watches: dict[int, tuple[Watch, ...]] = {}  # by the memory
        self.made: dict[Key, Any] = {}
        if recorder.spoiled is not None:
            raise TypeError(
                f"{self.title(recorder.spoiled)} was overwritten while the model ran, after it had "
                "been used, so it has no one value"
            )
        self.follow([*outputs, *(where for where, _ in recorder.truths)])
        for where in sorted(self.recipes, key=self.order):
            self.make(where)
        for where, calls in recorder.truths:
            place = place_of(calls)
            note(self.made[where], line=place.source if place else ("?", 0))
        devices = {str(x.t.device) for x in self.seen.values() if not x.t.is_cpu}
        if devices:
            warnings.warn(
                f"the model is on {min(devices)}: its values and gradients are copied to the "
                "host's memory, and all but the rules of its ops is computed there",
                stacklevel=3,
            )

    def title(self, t: Any) -> str:
        """What an error calls a tensor of the model."""
        names = self.recorder.names
        return names.get(id(t)) or names.get(id(t._base)) or f"a tensor of shape {tuple(t.shape)}"

    def follow(self, wheres: list[Key]) -> None:
        """Find how everything was made that these were made of, and watch the leaves."""
        while wheres:
            if (where := wheres.pop()) in self.recipes:
                continue
            recipe = self.recipes[where] = self.recipe(where)
            wheres += [x for x in recipe.inputs if x is not None] if recipe else []
            if where not in self.seen:
                continue
            view = self.seen[where]
            if view.t._backward_hooks or view.t._post_accumulate_grad_hooks:
                raise TypeError(HOOK.format(self.title(view.t)))
            if (
                recipe is None
                and view.place
                and not (where in self.given or view.place in self.recorder.born)
            ):
                watch = Watch(view.t, self.title(view.t))
                self.watches[view.place] = (*self.watches.get(view.place, ()), watch)

    def order(self, where: Key) -> int:
        """When something was made. What has no call, as leaves, is made where it is needed."""
        return self.calls[where][0].index if where in self.calls else sys.maxsize

    def recipe(self, where: Key) -> Recipe | None:
        """How a tensor was made. Where its node has an input that no call had, as after a write
        into a view, or in a custom Function, it is made of the node's inputs and not again."""
        call, _ = self.calls.get(where, (None, 0))
        if where in self.given:
            return None
        if isinstance(where[0], int):
            return Recipe(call.keys, [], call) if call else None
        leaf = torch._C._functions.AccumulateGrad
        edges: list[Key | None] = [
            self.recorder.see(node.variable) if isinstance(node, leaf) else node and (node, i)
            for node, i in where[0].next_functions
        ]
        inputs: list[Key | None] = list(call.keys) if call else []
        free, slots = list(range(len(inputs))), list[int | None]()
        for edge in edges:
            slot = next((i for i in free if inputs[i] == edge), None)
            if edge is not None and slot is None:
                return Recipe(edges, [i if x else None for i, x in enumerate(edges)], None)
            free = [i for i in free if i != slot]
            slots.append(slot)
        return Recipe(inputs, slots, call)

    def make(self, end: Key) -> None:
        """Make a value, and before it those that it is made of."""
        waiting = [end]
        while waiting:
            where = waiting[-1]
            recipe = self.recipes[where]
            missing = [x for x in recipe.inputs if x and x not in self.made] if recipe else []
            waiting += reversed(missing)
            if not missing and waiting.pop() not in self.made:
                self.made[where] = self.node(where, recipe) if recipe else self.leaf(where)

    def hold(self, values: Any, place: int = 0) -> tuple[Any, Any]:
        """A Tensor for some values, and their array, None where they are lent."""
        if values.dtype not in DTYPES:
            kind = str(values.dtype).removeprefix("torch.")
            cure = "; convert it first, as by model.float()" if values.is_floating_point() else ""
            raise TypeError(f"the model computes with {kind}, which no Tensor can hold{cure}")
        if not (watches := self.watches.get(place)):
            return new(Tensor), array_of(values)
        made: Any = new(Lent)
        made.lender, made.watches = values, watches
        made.lent = tuple(values.shape), DTYPES[values.dtype]
        return made, None

    def leaf(self, where: Key) -> Tensor:
        """A parameter, an input or a constant."""
        view = self.seen[where]
        t, (made, array) = view.t, self.hold(view.values, view.place)
        name, lent = self.given.get(where, (None, None))
        # Not as t has it: a constant that was written to since is none any more.
        needs_gradient = where[1] == LEAF if lent is None else lent.requires_grad
        made.record(array, requires_grad=needs_gradient)
        names = self.recorder.names
        made._name = name or names.get(id(t)) or names.get(id(t._base))
        if name is None and made._name and not needs_gradient:  # a buffer belongs to its module
            made.scope = (*made.scope, *made._name.split(".")[:-1])
        return made

    def node(self, where: Key, recipe: Recipe) -> Tensor:
        """What an op gave."""
        node = None if isinstance(where[0], int) else where[0]
        call, result = self.calls.get(where, (None, 0))
        if where in self.seen:
            view = self.seen[where]
            made, array = self.hold(view.values, view.place)
        else:  # no op has used it, but PyTorch itself inside of one
            assert node is not None
            about = node._input_metadata[where[1]]
            made, array = self.hold(
                torch.full((), torch.nan, dtype=about.dtype).expand(about.shape)
            )
        inputs = tuple(None if x is None else self.made[x] for x in recipe.inputs)
        lent = any(isinstance(x, Lent) for x in inputs)
        arrays: Any = (
            Arrays(inputs) if lent else tuple(x if x is None else x._array for x in inputs)
        )
        ours = None if lent or array is None else as_ours(recipe.call, array, arrays)
        if ours is None:
            op = TorchOp.of(recipe, call, result, node, where[1], arrays)
            op.watches = self.watching(where, *recipe.inputs)
            if op.watches and node is not None:
                op.read = self.watching(*read_by(node, where, recipe))
            ours = op, recipe.call.params if recipe.call else {}
        made.record(array, ours[0], inputs, arrays, ours[1], node is not None)
        if call is not None:
            made.scope, made.source = (*made.scope, *call.scope), call.calls or None
        return made

    def watching(self, *wheres: Key | None) -> list[Watch]:
        """What may change of some values."""
        views = (self.seen[x] for x in wheres if x in self.seen)
        places = {view.place for view in views if view.place in self.watches}
        return [watch for place in places for watch in self.watches[place]]

    def check(self) -> None:
        """Hold all gradients to those of PyTorch's own backward, for random cotangents.

        Raises: RuntimeError where one is another by more than rounding.
        """
        known = {name: i for i, name in enumerate(self.recorder.names.values())}
        found_leaves = [
            (known.get(made._name, len(known)), made, self.given[where][1])
            if where in self.given
            else (known.get(made._name, len(known)), made, self.seen[where].t)
            for where, recipe in self.recipes.items()
            if recipe is None and (made := self.made[where]).requires_grad
        ]
        found_leaves.sort(key=lambda found: found[0])  # the parameters, in the model's order, first
        ends, leaves = [x[1] for x in found_leaves], [x[2] for x in found_leaves]
        wheres = [where for where in self.outputs if self.made[where].requires_grad]
        outputs = [self.outputs[where] for where in wheres]
        if not outputs or not leaves:
            return

        def draw() -> list[Any]:
            return [torch.randn_like(t, memory_format=torch.contiguous_format) for t in outputs]

        def theirs(cotangents: list[Any]) -> list[Any]:
            found = torch.autograd.grad(
                outputs, leaves, cotangents, retain_graph=True, materialize_grads=True
            )
            return [g.to_dense() if g.is_sparse else g for g in found]

        with torch.random.fork_rng(enabled=True):
            cotangents = draw()
            expected = theirs(cotangents)
            inputs = tuple(self.made[where] for where in wheres)
            given = [array_of(g) for g in cotangents]
            both = new(Tensor).record(np.float64(0), Together(given), inputs, tuple(given))
            found = leaf_gradients(both, np.float64(1))
            differ = []
            for i, end in enumerate(ends):
                g = found.get(end)
                mine = torch.zeros_like(expected[i]) if g is None else tensor_of(g)
                mine = mine.to(expected[i].device)
                if not is_close(mine, expected[i]):
                    differ.append((i, mine))
            if not differ:
                return
            # What is left where large parts cancel is rounding. How much of that there is shows in
            # PyTorch's own gradients for almost the same cotangents.
            noise = [0.0] * len(ends)
            for _ in range(3):
                other = [
                    g * (1 + 8 * torch.finfo(g.dtype).eps * torch.randn_like(g)) for g in cotangents
                ]
                for i, (x, y) in enumerate(zip(theirs(other), expected, strict=True)):
                    noise[i] = max(noise[i], size(x - y))
        for i, mine in differ:
            error, whole = size(mine - expected[i]), size(expected[i])
            if not error <= 64 * noise[i]:
                name = ends[i]._name or f"a parameter of shape {tuple(mine.shape)}"
                raise RuntimeError(
                    f"the gradient of {name} is not the one that PyTorch's own backward gives: it "
                    f"differs by {error:.3g}, and its norm is {whole:.3g}; a hook on a node of "
                    "PyTorch's record may be why, or a custom Function that is not linear in what "
                    "arrives"
                )


def size(t: Any) -> float:
    """The Euclidean norm of a torch tensor."""
    return float(torch.linalg.vector_norm(t, dtype=torch.float64))


def is_close(found: Any, expected: Any) -> bool:
    """Whether two gradients are the same, to 1e-11 in float64, and to rounding in other dtypes."""
    if torch.equal(found, expected):
        return True
    finite = expected.isfinite()
    if not torch.equal(found[~finite].nan_to_num(), expected[~finite].nan_to_num()):
        return False
    eps = torch.finfo(expected.dtype).eps
    close = 1e-11 if expected.dtype == torch.float64 else min(1024 * eps, 0.05)
    return size(found[finite] - expected[finite]) <= close * size(expected[finite])


def as_ours(call: Any, array: Any, arrays: Sequence[Any]) -> tuple[Op, dict[str, Any]] | None:
    """The op of ours, with its parameters, that does what a call did, where there is one and that
    tells more: sums and lists, as a skip is seen at such a join."""
    name = call and name_of(call.op)
    if name not in ("add", "sub", "cat"):
        return None
    forms = {(getattr(x, "shape", None), getattr(x, "dtype", None)) for x in (array, *arrays)}
    same = len(forms) == 1
    match name:
        case "add" if same and len(arrays) == 2 and not call.params:
            return add, {}
        case "sub" if same and len(arrays) == 2 and not call.params:
            return subtract, {}
        case "cat" if len({(np.ndim(x), x.dtype) for x in (array, *arrays)}) == 1:
            return concatenate, {"axis": call.params.get("dim", 0)}
    return None


# Ops and their rules


class Together(Op):
    """Several outputs as one, whose gradient arrives at each as was given."""

    sequence, foreign, name, inputs = True, False, "together", ("outputs",)

    def __init__(self, cotangents: list[Any]) -> None:
        self.rules = [lambda *_: cotangents]


class TorchOp(Op):
    """One result of a function of torch tensors. For the inputs in `slots` it has a rule: the node
    that PyTorch recorded, and where there is none, or not for these inputs, the function again,
    differentiated by PyTorch."""

    def __init__(
        self, name: str, function: Function, result: int, slots: list[int], inputs: Sequence[str]
    ) -> None:
        self.name, self.inputs = name, tuple(inputs)
        self.function, self.result, self.slots = function, result, slots

    # What all of them have: there may be thousands, so that each is made of little.
    sequence, foreign, linear, elementwise, batched = True, False, False, False, False
    shares = True  # what it gives may share memory with what it is given
    shapes, static = None, ()
    signature = inspect.signature(lambda arrays: None)
    node: Any = None  # PyTorch's
    number = 0  # of its results
    arrays: Any = ()  # that it has seen
    watches: Sequence[Watch] = ()
    read: Sequence[Watch] = ()  # those whose memory the node may read
    is_single = False  # the node has one result and is on the host
    places: Sequence[int] = ()  # of what the node returns, what it sends along an edge
    is_custom = False
    rules: Any = property(lambda self: [self.rule(0)])
    forward: Any = property(lambda self: self.run)
    symbol: Any = property(lambda self: SYMBOLS.get(self.name, self.name))
    __name__: Any = property(lambda self: self.name)

    defaults: Any = property(lambda self: {})
    formula: Any = property(lambda self: self.told())

    def told(self) -> list[str] | None:
        """What is said of the rule, for each input."""
        if self.node is None:
            return None
        return [f"PyTorch's {self.node.name()} at g, for {name}" for name in self.inputs]

    def rule(self, slot: int) -> Any:
        """The rule of all inputs."""
        return blocked if self.name in FLAT else self.send

    def __call__(self, arrays: Sequence[Any], **_: Any) -> Any:
        """The result for a list of arrays, or of Tensors."""
        given = tuple(arrays)
        slots = [i for i, x in enumerate(given) if isinstance(x, Value) and x._requires_grad]
        first = next((x for x in given if isinstance(x, Value)), None)
        if first is None:
            return self.compute(*given)
        return first.apply(
            TorchOp(self.name, self.function, self.result, slots, self.inputs), given, {}
        )

    @classmethod
    def of(
        cls, recipe: Recipe, call: Any, result: int, node: Any, number: int, arrays: Any
    ) -> TorchOp:
        """The op of a node, the result with this number, or of a call without one."""
        function = recipe.call
        if function is not None:
            kind, names = name_of(call.op), call.names
        else:
            kind = re.sub(r"Backward\d*$", "", node.name().split("::")[-1])
            if kind == "CheckpointFunction":
                raise TypeError(
                    "a reentrant checkpoint hides what it computes; call checkpoint with "
                    "use_reentrant=False"
                )
            names = [f"x{i}" for i in range(len(recipe.inputs))]

            def function(*_: Any) -> Any:
                raise NotImplementedError(ONCE.format(kind))

        slots = [i for i in recipe.slots if i is not None]
        op = cls(kind, function, result, slots, names)
        op.node, op.number, op.arrays = node, number, arrays
        op.is_single = recipe.call is not None and recipe.call.is_single
        op.places = [i for i, slot in enumerate(recipe.slots) if slot is not None]
        op.is_custom = hasattr(node, "needs_input_grad")
        if op.is_custom:
            op.places = [i for i, wanted in enumerate(node.needs_input_grad) if wanted]
        return op

    def run(self, arrays: Sequence[Any], **_: Any) -> Any:
        """The result for these arrays; the function knows what the parameters tell."""
        return array_of(self.function(*map(tensor_of, arrays))[self.result])

    def compute(self, /, *arrays: Any, **_: Any) -> Any:
        """The same for arrays one by one, none of which was changed unseen."""
        for watch in self.watches:
            watch.hold()
        with torch.no_grad():
            return self.run(arrays)

    def send(self, g: Any, out: Any, inputs: Sequence[Any], /, **_: Any) -> list[Any]:
        """The rule: what is sent to each input, None to those that get nothing."""
        if inputs is not self.arrays or self.node is None or not isinstance(g, NUMBERS):
            return self.pull(g, inputs)
        # What the node has seen: most need no more, and this takes half the time.
        for watch in self.read:
            watch.hold()
        recording = torch.is_grad_enabled()
        torch._C._set_grad_enabled(False)  # a fifth of the time of a block
        try:
            parts = self.of_node(tensor_of(g))
        finally:
            torch._C._set_grad_enabled(recording)
        sent: list[Any] = [None] * len(self.arrays)
        for slot, part in zip(self.slots, parts, strict=True):
            sent[slot] = array_of(part)
        return sent

    def pull(self, g: Any, inputs: Sequence[Any]) -> list[Any]:
        """`send` in any other case."""
        for watch in self.watches if self.node is None else self.read:
            watch.hold()
        values = inputs is not self.arrays and any(isinstance(x, Value) for x in inputs)
        twice = isinstance(g, Value)
        fits = self.node is not None and not (twice and self.name == ATTENTION)
        if fits and not values and self.is_recorded(inputs):
            function: Function = self.of_node
            given = [g]
        else:
            function = gradients(self.function, self.result, self.slots)
            given = [g, *inputs]
        if values or twice:
            names = ["g", *self.inputs][: len(given)]
            parts = [
                TorchOp(f"vjp of {self.name}", function, i, [], names)(given)
                for i in range(len(self.slots))
            ]
        else:
            with torch.no_grad():
                parts = [array_of(part) for part in function(*map(tensor_of, given))]
        sent: list[Any] = [None] * len(inputs)
        for slot, part in zip(self.slots, parts, strict=True):
            sent[slot] = part
        return sent

    def push(self, node: Value, tangents: Mapping[int, Any]) -> Any:
        """The tangent of the result for those of some inputs: what the rule sends is linear in g,
        and its transpose is the Jacobian."""
        if self.name in FLAT:
            return np.zeros_like(node._array)
        for watch in self.watches:
            watch.hold()
        with torch.enable_grad():
            g = torch.zeros_like(tensor_of(node._array)).requires_grad_()
            fits = self.node is not None and self.name != ATTENTION
            if fits and self.is_recorded(node.arrays):
                parts: Sequence[Any] = self.of_node(g)
            else:
                rule = gradients(self.function, self.result, self.slots)
                parts = rule(g, *map(tensor_of, node.arrays))
            pairs = [
                # PyTorch, as our engine, sums afterwards over what it has broadcast.
                (
                    p if p.shape == tangents[i].shape else p.sum_to_size(tangents[i].shape),
                    tensor_of(tangents[i]).to(p.device),
                )
                for i, p in zip(self.slots, parts, strict=True)
                if i in tangents and p.requires_grad
            ]
            if not pairs:
                return np.zeros_like(node._array)
            sent, along = zip(*pairs, strict=True)
            try:
                (found,) = torch.autograd.grad(sent, g, along, materialize_grads=True)
            except NotImplementedError:
                raise NotImplementedError(
                    f"the share of an edge takes the derivative of each rule on the way, and "
                    f"PyTorch has none of that of {self.name}; paths and path_classes need none"
                ) from None
        return array_of(found)

    def is_recorded(self, inputs: Sequence[Any]) -> bool:
        """Whether these are the arrays that the node has seen."""
        if inputs is self.arrays:
            return True
        return all(x is y for x, y in zip(inputs, self.arrays, strict=True))

    def of_node(self, g: Any) -> list[Any]:
        """What the node sends along its edges for the cotangent of its one result."""
        if self.is_single:
            found = self.node(g)
        else:
            node, metadata = self.node, self.node._input_metadata
            given: list[Any] = [None] * len(metadata)
            if self.is_custom:  # it may write to g, and wants zeros
                given = [torch.zeros(x.shape, dtype=x.dtype, device=x.device) for x in metadata]
                node, g = node.apply, g.clone()
            given[self.number] = g.to(metadata[self.number].device)
            found = node(*given)
        if not isinstance(found, tuple):
            found = (found,)
        sent = [found[place] for place in self.places]
        for part in sent:
            if part is None:
                edges = [node and node._input_metadata[i] for node, i in self.node.next_functions]
                whole = zip(sent, filter(None, edges), strict=True)
                return [torch.zeros(x.shape, dtype=x.dtype) if p is None else p for p, x in whole]
        return sent


def read_by(node: Any, where: Key, recipe: Recipe) -> list[Key | None]:
    """What a node may read of its result and inputs: what it keeps, as far as that has names."""
    kind: Any = type(node)
    kept = kept_by(kind)
    if recipe.call is None or kept is None:
        return [where, *recipe.inputs]
    names = [{name, name.rstrip(DIGITS)} for name in recipe.call.names]
    read = [x for x, known in zip(recipe.inputs, names, strict=True) if known & kept]
    return [where, *read] if kept.difference(*names) else read  # what is no input is the result


@lru_cache(maxsize=4096)
def kept_by(kind: Any) -> frozenset[str] | None:
    """The arguments that nodes of a kind keep for their rule; None where that is not to be seen."""
    names = [name for name in dir(kind) if "_saved_" in name]
    if not names and "Backward" not in kind.__name__:
        return None
    return frozenset(name.partition("_saved_")[2] for name in names if name.startswith("_raw"))


def gradients(function: Function, result: int, slots: list[int]) -> Function:
    """The function of (g, *inputs) that gives the gradients of a result for the inputs in slots."""

    def of_inputs(g: Any, *inputs: Any) -> Sequence[Any]:
        with torch.enable_grad():
            given = list(inputs)
            for i in slots:
                if not given[i].requires_grad:
                    given[i] = given[i].detach().requires_grad_()
            out, wanted = function(*given)[result], [given[i] for i in slots]
            if not out.requires_grad:
                return [torch.zeros_like(x) for x in wanted]
            return torch.autograd.grad(
                out, wanted, g.to(out), create_graph=True, materialize_grads=True
            )

    return of_inputs


class Pointer:
    """The memory of an array, as NumPy's protocol describes it, open for writing: as PyTorch, that
    does not write to it, wants it."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, about = array, dict(array.__array_interface__)
        self.__array_interface__ = about | {"data": (about["data"][0], False)}


def tensor_of(a: Any) -> Any:
    """An array as a torch tensor, of the same memory where it can be."""
    if a is None:
        return None
    if isinstance(made := getattr(a, "base", None), torch.Tensor):  # of which `array_of` made it
        return made
    array = np.asarray(a)
    if min(array.strides, default=0) < 0:
        array = array.copy()
    return torch.from_numpy(array if array.flags.writeable else np.asarray(Pointer(array)))


def array_of(t: Any) -> Any:
    """A torch tensor as an array that nobody can write to, of the same memory where it can be."""
    if t.requires_grad:
        t = t.detach()
    try:
        array = t.numpy()
    except (TypeError, RuntimeError):  # of another device or layout, or not yet written out
        dense = t if t.layout is torch.strided else t.to_dense()
        array = dense.numpy(force=True)
    array.setflags(write=False)
    return array if array.ndim else array[()]
