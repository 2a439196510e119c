"""The ops of PyTorch, and a call of one: what it was given, so that it can be made again."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from .installed import torch

# Ops whose results do not follow from values, and the word that says of one that it is not to.
CONSTANT = re.compile(r"(new_)?(empty|zeros|ones|full|rand\w*)(_like|_strided|_permuted)?$|detach$")
FUSED = "scaled_dot_product_flash_attention_for_cpu"  # its node can be differentiated once
ATTENTION = "scaled_dot_product_attention"
HERE: Any = object()  # the place of a tensor among the arguments of a call

# A node of the record and which of its results; or a tensor's id and how often it was written to.
Key = tuple[Any, int]


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
            raise no_second_run(f"{self.op}, which would draw again,")
        if name_of(self.op) == ATTENTION and torch.is_grad_enabled():
            return [self.attention(*tensors)]
        given = iter([t.clone() for t in tensors] if overwritten_by(self.op) else tensors)

        def put(x: Any) -> Any:
            return [*map(put, x)] if isinstance(x, list) else next(given) if x is HERE else x

        args = [put(x) for x in self.args]
        return flatten(self.op(*args, **{name: put(x) for name, x in self.kwargs.items()}))

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
    def writes(self) -> frozenset[str]:
        """The arguments that it overwrites: batch norm its statistics, in training only."""
        writes = overwritten_by(self.op)
        if writes and "batch_norm" in self.op._schema.name and not self.params.get("training"):
            return frozenset()
        return writes

    @property
    def params(self) -> dict[str, Any]:
        """The arguments that hold no tensors, by name, as far as they are not the defaults."""
        given = [*zip(arguments_of(self.op), self.args, strict=False), *self.kwargs.items()]
        usual = defaults_of(self.op)
        return {name: x for name, x in given if not has_tensors(x) and x != usual.get(name)}


class Written(Call):
    """What a call wrote through another view of the same memory: it follows from what that call
    was given, and nobody can compute it again."""

    def __init__(self, call: Call) -> None:
        super().__init__(call.op, (), {}, call.index)
        self.keys, self.names = call.keys, call.names
        self.scope, self.calls = call.scope, call.calls

    def __call__(self, *_: Any) -> Any:
        """Raises: NotImplementedError."""
        raise no_second_run(f"what {self.op} wrote into a view")


def no_second_run(what: str) -> NotImplementedError:
    """What to say of something that cannot be computed again."""
    return NotImplementedError(
        f"{what} can be differentiated once, as PyTorch has its gradient on record, but it cannot "
        "be computed again: it can neither be replayed nor differentiated twice"
    )


def unfused() -> Any:
    """A block in which attention runs as the ops that it consists of."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    return sdpa_kernel(SDPBackend.MATH)


def has_tensors(x: Any) -> bool:
    """Whether tensors were taken out of an argument."""
    return any(map(has_tensors, x)) if isinstance(x, list) else x is HERE


def flatten(out: Any) -> list[Any]:
    """The results of an op as one list."""
    if isinstance(out, (list, tuple)):
        return [t for part in out for t in flatten(part)]
    return [out]


def spellings(name: str) -> set[str]:
    """The name of a tensor among the arguments, and that of the list that it may stand in."""
    return {name, name.rstrip("0123456789")}
