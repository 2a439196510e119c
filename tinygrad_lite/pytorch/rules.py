"""Ops of PyTorch as ops of ours, and their rules: the nodes of PyTorch's record."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..operation import Op, blocked
from ..value import Value
from .calls import ATTENTION, Key, name_of, no_second_run, spellings
from .conversion import array_of, tensor_of
from .installed import torch
from .lent import Watch
from .recipes import Recipe

SYMBOLS = {"add": "+", "sub": "−", "mul": "×", "div": "÷", "mm": "@", "bmm": "@", "neg": "−"}
FLAT = {"sign", "round", "floor", "ceil", "trunc"}  # the derivative is 0 wherever it exists
NUMBERS = (np.ndarray, np.generic)

Function = Callable[..., Sequence[Any]]  # of torch tensors


class TorchOp(Op):
    """One result of a function of torch tensors. For the inputs in `slots` it has a rule: the node
    that PyTorch recorded, and where there is none, or not for these inputs, the function again,
    differentiated by PyTorch."""

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
    formula: Any = property(lambda self: self.rule_texts())

    def __init__(
        self, name: str, function: Function, result: int, slots: list[int], inputs: Sequence[str]
    ) -> None:
        self.name, self.inputs = name, tuple(inputs)
        self.function, self.result, self.slots = function, result, slots

    def rule_texts(self) -> list[str] | None:
        """The rule in words, for each input."""
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
    def of(cls, recipe: Recipe, arrays: Any) -> TorchOp:
        """The op by which a tensor was made, of inputs with these arrays."""
        node, call = recipe.node, recipe.call
        function: Any = call
        if call is not None:
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
                raise no_second_run(kind)

        slots = [i for i in recipe.slots if i is not None]
        op = cls(kind, function, recipe.result, slots, names)
        op.node, op.number, op.arrays = node, recipe.number, arrays
        op.is_single = call is not None and call.is_single
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
            names, name = ["g", *self.inputs][: len(given)], f"vjp of {self.name}"
            ops = [TorchOp(name, function, i, [], names) for i in range(len(self.slots))]
            try:
                parts = [op(given) for op in ops]
            except NotImplementedError as error:  # it cannot be computed again
                parts = self.known_parts(given, ops, error)
        else:
            with torch.no_grad():
                parts = [array_of(part) for part in function(*map(tensor_of, given))]
        sent: list[Any] = [None] * len(inputs)
        for slot, part in zip(self.slots, parts, strict=True):
            sent[slot] = part
        return sent

    def known_parts(
        self, given: Sequence[Any], ops: Sequence[TorchOp], error: NotImplementedError
    ) -> list[Any]:
        """What the node sends, as values of the ops that would compute it from g and the inputs: it
        is known of the arrays that the node has seen. Raises: the error, of others."""
        arrays = tuple(x._array if isinstance(x, Value) else x for x in given)
        if self.node is None or not self.is_recorded(arrays[1:]):
            raise error
        with torch.no_grad():
            sent = [array_of(part) for part in self.of_node(tensor_of(arrays[0]))]
        first = next(x for x in given if isinstance(x, Value))
        slots = [i for i, x in enumerate(given) if isinstance(x, Value) and x._requires_grad]
        known = [Known(op, slots, arrays, part) for op, part in zip(ops, sent, strict=True)]
        return [first.apply(op, tuple(given), {}) for op in known]

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


class Known(TorchOp):
    """An op that cannot be computed, whose result is known for some arrays; it has no gradient."""

    def __init__(self, op: TorchOp, slots: list[int], arrays: Sequence[Any], found: Any) -> None:
        super().__init__(op.name, op.function, op.result, slots, op.inputs)
        self.arrays, self.found = arrays, found

    def run(self, arrays: Sequence[Any], **_: Any) -> Any:
        """The result that is known. Raises: NotImplementedError for other arrays."""
        return self.found if self.is_recorded(arrays) else super().run(arrays)


def read_by(where: Key, recipe: Recipe) -> list[Key | None]:
    """What a node may read of its result and inputs: what it keeps, as far as that has names."""
    kind: Any = type(recipe.node)
    kept = kept_by(kind)
    if recipe.call is None or kept is None:
        return [where, *recipe.inputs]
    names = [spellings(name) for name in recipe.call.names]
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
