"""What an operation is: a function on arrays, and for each input a rule for its gradient.

The rule is a vector-Jacobian product (vjp): given the cotangent `g` of the result, it returns
the cotangent of that input. It is written with ops and operators, so one rule serves twice: on
arrays it computes, at NumPy's speed; on Tensors it is recorded, and can be differentiated
again. `ops/` is full of examples.

An op knows arrays only. What it means to apply it to something else, that thing says itself,
as NumPy asks `__array_ufunc__` (NEP 13): see `Carrier`, and `Value.apply` in value.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any, NoReturn, TypedDict, Unpack, overload

import numpy as np

from .arrays import Carrier, freeze, loses_gradient

Rule = Callable[..., Any]

# Every op, in the order of definition: the package's by name, others by module.name, so that
# an op of yours named as one of ours does not change what ours do.
OPS: dict[str, Op] = {}
OURS = __name__.rpartition(".")[0] + ".ops."

# What a function raises for an argument that it cannot take.
ERRORS = (ValueError, IndexError, TypeError, AttributeError)
ARRAYS = (np.ndarray, np.generic, float, int, type(None))  # what a function is called with


def blocked(*_: Any, **__: Any) -> NoReturn:
    """The rule of an input whose derivative is 0 wherever it exists: nothing passes.

    Not the same as a gradient that happens to be 0: drawings tell the two apart.
    """
    raise AssertionError("the reverse pass sends zeros through a blocked input by itself")


class Options(TypedDict, total=False):
    """What `op` may be told of an operation."""

    symbol: str | None
    inputs: int | None
    sequence: bool
    shapes: str | None
    elementwise: bool
    linear: bool
    batched: bool
    formula: str | Sequence[str] | None


class Op:
    """An operation: called on arrays it computes, called on Tensors it computes and records.

    Attributes: `name`; `symbol`, what drawings show; `forward`, the function on arrays;
    `inputs`, the names of its differentiable arguments; `static`, those of the others, with
    their `defaults`; `rules`, one vjp per input, None where none is written; `sequence`,
    whether the inputs come as one list; `shapes`, the rule that shapes must obey, for errors;
    `formula`, what the stepper writes for the rules, where they do not say it themselves;
    and what the analyses may rely on to be quick: `elementwise`, `linear`, `batched`.
    """

    def __init__(self, forward: Callable[..., Any], **options: Unpack[Options]) -> None:
        if unknown := options.keys() - (known := Options.__annotations__).keys():
            raise TypeError(f"op has no option {min(unknown)}; it has {', '.join(known)}")
        self.signature = inspect.signature(forward)
        parameters = self.signature.parameters.values()
        if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
            raise TypeError(
                f"op {forward.__name__}: the arguments must be named one by one; for any number of "
                "inputs take a list first, and say @op(sequence=True)"
            )
        self.sequence, self.shapes = options.get("sequence", False), options.get("shapes")
        self.linear, self.formula = options.get("linear", False), options.get("formula")
        self.elementwise = options.get("elementwise", False)
        self.batched = options.get("batched", False) or self.elementwise
        self.forward = self.__wrapped__ = forward  # where inspect.signature and doctest look
        self.name = self.__name__ = forward.__name__
        self.__qualname__, self.__module__ = forward.__qualname__, forward.__module__
        self.__doc__ = forward.__doc__
        self.foreign = not str(self.__module__).startswith(OURS)
        self.symbol = options.get("symbol") or self.name
        required = 1 if self.sequence else sum(p.default is p.empty for p in parameters)
        names, count = tuple(p.name for p in parameters), options.get("inputs") or required
        if not (isinstance(count, int) and 0 <= count <= len(names)):
            raise TypeError(f"op {forward.__name__}: inputs={count!r} of {len(names)} arguments")
        self.inputs, self.static = names[:count], names[count:]
        self.rules: list[Rule | None] = [None] * count
        given = {p.name: p.default for p in parameters if p.default is not p.empty}
        self.defaults = {name: self.settle(name, x) for name, x in given.items()}

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __reduce__(self) -> str:
        return self.__qualname__  # copied and pickled by name, as a function is

    def __call__(self, *args: Any, **static: Any) -> Any:
        """The result for these arguments: what a Tensor among them says, else an array."""
        inputs, static = self.bind(args, static)
        for x in inputs:
            if isinstance(x, Carrier):
                return x.apply(self, inputs, static)
        if not self.sequence:
            inputs = tuple(x if isinstance(x, ARRAYS) else freeze(x) for x in inputs)
        try:
            return self.check(self.compute(*inputs, **static))
        except ERRORS as error:
            raise self.explain(error, inputs, static) from None

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        # A method, as functions are.
        return self if instance is None else MethodType(self, instance)

    def compute(self, *arrays: Any, **static: Any) -> Any:
        """The function itself, on arrays."""
        return self.forward(arrays, **static) if self.sequence else self.forward(*arrays, **static)

    def check(self, result: Any) -> Any:
        """What the function returned, if that is an array. Raises: TypeError if it is not."""
        if result is None or isinstance(result, (Carrier, list, tuple)):
            raise TypeError(
                f"{self.name} returned {type(result).__name__}; its function must return an array, "
                "computed from its arguments alone"
            )
        return result

    def bind(
        self, args: tuple[Any, ...], static: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """A call's arguments as its inputs and its static parameters, defaults filled in."""
        try:
            given = self.signature.bind(*args, **static).arguments
        except TypeError as error:
            raise TypeError(f"{self.name}: {error}") from None
        bound = {**self.defaults, **given}
        inputs = tuple(bound[name] for name in self.inputs)
        settled = {name: self.settle(name, bound[name]) for name in self.static}
        return self.listed(inputs[0]) if self.sequence else inputs, settled

    def listed(self, inputs: Any) -> tuple[Any, ...]:
        """The inputs of a sequence op. Raises: TypeError if they are no list."""
        if hasattr(inputs, "__iter__"):
            return tuple(inputs)
        raise TypeError(f"{self.name} takes a list of arrays first, but got {inputs!r}")

    def settle(self, name: str, value: Any) -> Any:
        """A static parameter such that nobody can change it any more, Tensors in it as arrays.

        Raises: TypeError for a Tensor that requires a gradient, which would be lost.
        """
        if isinstance(value, Carrier):
            if loses_gradient(value):
                raise TypeError(
                    f"{self.name} is not differentiable in {name}, so it must not be a Tensor that "
                    f"requires a gradient; pass {name}=tensor.data"
                )
            return value.as_static()
        if any(hasattr(type(value), name) for name in ("__array__", "tobytes")) and np.ndim(value):
            value = np.array(value)
            value.flags.writeable = False
        elif isinstance(value, dict):
            return {key: self.settle(name, part) for key, part in value.items()}
        elif isinstance(value, (tuple, list)):
            parts = [self.settle(name, part) for part in value]
            return parts if isinstance(value, list) else tuple(parts)
        return value

    def rule(self, slot: int) -> Rule | None:
        """The rule of the input in a slot; a sequence op has one for all."""
        return self.rules[0 if self.sequence else slot]

    def vjp(self, *rules: Any) -> Callable[..., Rule]:
        """Give the op its rules, one per input.

        A rule takes ``(g, out, *inputs, **static)`` and returns g times the Jacobian with
        respect to its input. Where the input was broadcast, the rule may return the shape
        of `out`: the engine sums it back, and casts it to the input's dtype.

        As a decorator, ``@f.vjp`` is the rule of the first input and ``@f.vjp("x2")``
        that of the input named so; ``f.vjp(rule1, rule2)`` gives all at once. `blocked`
        says that the derivative is 0 wherever it exists. The one rule of a sequence op
        takes the list of inputs and returns a list.

        Raises: TypeError if the op has no such input, what is given is no function, or an
        unnamed rule would replace another.
        """
        if len(rules) == 1 and isinstance(rules[0], str):
            name = rules[0]
            if name not in self.inputs:
                raise TypeError(
                    f"{self.name} has no input {name!r}; its inputs are {', '.join(self.inputs)}"
                )

            def register(rule: Rule) -> Rule:
                self.rules[self.inputs.index(name)] = rule
                return rule

            return register
        if not 0 < len(rules) <= len(self.inputs) or not all(map(callable, rules)):
            found = len(rules) if all(map(callable, rules)) else rules
            raise TypeError(
                f"{self.name} takes a rule for each of its inputs {', '.join(self.inputs)}, or the "
                f"name of one, but got {found}"
            )
        if len(rules) == 1 and self.rules[0] is not None:
            others = " or ".join(f"@{self.name}.vjp({name!r})" for name in self.inputs)
            raise TypeError(
                f"{self.name} has a rule for {self.inputs[0]} already; say which input another "
                f"one is for, as in {others}"
            )
        self.rules[: len(rules)] = rules
        return rules[0]

    def explain(self, error: Exception, inputs: Sequence[Any], static: Any = None) -> Exception:
        """The error of the function as a sentence; a slot that ops/explained.py fills."""
        return error


@overload
def op(forward: Callable[..., Any], /, **options: Unpack[Options]) -> Op: ...
@overload
def op(**options: Unpack[Options]) -> Callable[[Callable[..., Any]], Op]: ...
def op(forward: Callable[..., Any] | None = None, /, **options: Unpack[Options]) -> Any:
    """Make a function on arrays an op: recorded, drawn, stepped, and, once it has its
    rules, differentiated to any order.

    Arguments without a default are the inputs, those with one are static parameters;
    ``inputs=n`` says instead that the first n are inputs. With ``sequence=True`` the
    first argument is a list of inputs. ``symbol`` is what drawings show (default: the
    name), ``shapes`` the sentence for shapes that do not fit (default: NumPy's own),
    ``formula`` the rules as `steps` shows them, one text for all inputs or one for each, in g,
    out and the inputs (default: read off the rules): an expression as ``"g * sigmoid(x)"``, which
    is written as mathematics, or words, as ``"g, in the shape of x"``.

    Three promises, each optional, make the analyses of paths faster: ``elementwise=True``,
    each element of the result depends on the inputs at its own place alone (after
    broadcasting); ``linear=True``, the result is linear in each input; ``batched=True``,
    the rules also take cotangents with extra axes in front (elementwise ones always do).

    >>> import numpy as np
    >>> from tinygrad_lite import Tensor, grad, op, sigmoid
    >>> @op(symbol="softplus")
    ... def softplus(x):
    ...     return np.logaddexp(0, x)
    >>> @softplus.vjp
    ... def _(g, out, x):
    ...     return g * sigmoid(x)
    >>> x = Tensor(0.0, requires_grad=True)
    >>> grad(grad(softplus(x), x), x).item()
    0.25

    Raises: TypeError if the function takes ``*args`` or ``**kwargs``.
    """

    def define(forward: Callable[..., Any]) -> Op:
        made = Op(forward, **options)
        OPS[f"{made.__module__}.{made.name}" if made.foreign else made.name] = made
        return made

    return define if forward is None else define(forward)
