"""What an operation is: a forward function on arrays, and a rule for its gradient.

The rule is a vector-Jacobian product (vjp): given the cotangent `g` of the result, it
returns the cotangent of an input. Rules are written with ops and operators, and an op
called on plain arrays is a plain function that records nothing. So the same rule runs
at NumPy's speed for `backward`, and on Tensors when its result is to be differentiated
again. `Op.vjp` says how rules are written, `ops/` is full of examples.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, overload

import numpy as np
from numpy import ndarray

from .value import CONTEXT, REAL, Value, described, frozen, next_index, user_line

Rule = Callable[..., Any]

# Every op, in the order of definition: the package's by name, others by module.name, so that
# an op of yours named as one of ours does not change what ours do.
OPS: dict[str, Op] = {}
OURS = __name__.rpartition(".")[0] + ".ops."

BROADCAST = "shapes are aligned from the right, and each pair of sizes must be equal or contain a 1"

USUAL = {np.dtype(np.float64), np.dtype(np.float32)}
FLOATS = {np.float64, np.float32, np.float16, np.longdouble}
NUMBERS = {float, int, bool}
FIXED = {*NUMBERS, str, type(None)}  # kinds of static parameters that need no settling
ARRAYS = (np.ndarray, np.generic, float, int, type(None))
CONSTANTS = (np.generic, float, int, type(None))  # immutable inputs that need no wrapping

new: Callable[[Any], Any] = object.__new__


def blocked(*_: Any, **__: Any) -> NoReturn:
    """The rule of an input whose derivative is 0 wherever it exists: nothing passes.

    Not the same as a gradient that happens to be 0: drawings tell the two apart.
    """
    raise AssertionError("the reverse pass sends zeros through a blocked input by itself")


class Op:
    """An operation: called on Tensors it computes and records, on arrays it computes.

    Attributes: `name`; `symbol`, what drawings show; `forward`, the function on arrays;
    `inputs`, the names of its differentiable arguments; `static`, those of the others;
    `rules`, one vjp per input, None where none is written; `sequence`, whether the
    inputs come as one list; `shapes`, the rule that shapes must obey, for errors;
    and what the analyses may rely on to be quick: `elementwise`, `linear`, `batched`.
    """

    def __init__(
        self,
        forward: Callable[..., Any],
        symbol: str | None = None,
        inputs: int | None = None,
        sequence: bool = False,
        shapes: str | None = None,
        elementwise: bool = False,
        linear: bool = False,
        batched: bool = False,
    ) -> None:
        parameters = list(inspect.signature(forward).parameters.values())
        if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
            raise TypeError(
                f"op {forward.__name__}: the arguments must be named one by one; for any number of "
                "inputs take a list first, and say @op(sequence=True)"
            )
        if inputs is None:
            inputs = 1 if sequence else sum(p.default is p.empty for p in parameters)
        names = [p.name for p in parameters]
        self.forward = forward
        self.name = self.__name__ = forward.__name__
        self.symbol = symbol or self.name
        self.inputs, self.static = tuple(names[:inputs]), tuple(names[inputs:])
        self.sequence = sequence
        self.shapes = shapes
        self.elementwise = elementwise
        self.linear = linear
        self.batched = batched or elementwise
        self.compute: Callable[..., Any] = (
            (lambda *arrays, **static: forward(arrays, **static)) if sequence else forward
        )
        self.rules: list[Rule | None] = [None] * inputs
        self.plain = False
        self.count = inputs if not self.static and not sequence else -1  # what a rule takes: arrays
        self.defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
        # A call with exactly this many positional arguments needs no binding.
        complete = not sequence and all(name in self.defaults for name in self.static)
        self.arity = inputs if complete else -1
        self.params = {name: self.defaults[name] for name in self.static if name in self.defaults}
        self.__doc__ = forward.__doc__
        self.__module__ = forward.__module__
        self.__qualname__ = forward.__qualname__
        self.__wrapped__ = forward  # where inspect.signature and doctest look

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __reduce__(self) -> str:
        return self.__qualname__  # copied and pickled by name, as a function is

    @overload
    def vjp(self, name: str, /) -> Callable[[Rule], Rule]: ...
    @overload
    def vjp(self, *rules: Rule) -> Rule: ...
    def vjp(self, *rules: Any) -> Any:
        """Give the op its rules, one per input.

        A rule takes ``(g, out, *inputs, **static)`` and returns g times the Jacobian with
        respect to its input. Where the input was broadcast, the rule may return the shape
        of `out`: the engine sums it back, and casts it to the input's dtype.

        As a decorator, ``@f.vjp`` is the rule of the first input and ``@f.vjp("x2")``
        that of the input named so; ``f.vjp(rule1, rule2)`` gives all at once. `blocked`
        says that the derivative is 0 wherever it exists. The one rule of a sequence op
        takes the list of inputs and returns a list.

        Raises: TypeError if the op has no such input.
        """
        if len(rules) == 1 and isinstance(rules[0], str):
            name = rules[0]
            if name not in self.inputs:
                raise TypeError(
                    f"{self.name} has no input {name!r}; its inputs are {', '.join(self.inputs)}"
                )

            def register(rule: Rule) -> Rule:
                self.rules[self.inputs.index(name)] = rule
                return self._ruled(rule)

            return register
        if not 0 < len(rules) <= len(self.inputs):
            raise TypeError(
                f"{self.name} takes a rule for each of its inputs {', '.join(self.inputs)}, "
                f"but got {len(rules)}"
            )
        self.rules[: len(rules)] = rules
        return self._ruled(rules[0])

    def _ruled(self, rule: Rule) -> Rule:
        """Note whether the rules are one function per input, as the fast walk needs them."""
        self.plain = not self.sequence and not {None, blocked} & set(self.rules)
        return rule

    def __call__(self, *args: Any, **static: Any) -> Any:
        """The result for these arguments: recorded if one is a Tensor, else an array."""
        if static or len(args) != self.arity:
            if not self.sequence and not any_value(args) and not any_value(static.values()):
                return self._unrecorded(args, static)
            args, static = self._bind(args, static)
        if len(args) == 1 and isinstance(x := args[0], Value):  # 0.3 us less than _mixed
            cls, arrays, requires_grad = x.__class__, (x._data,), x._requires_grad
        elif any_value(args):
            cls, args, arrays, requires_grad = self._mixed(args)
        else:
            return self._unrecorded((args,) if self.sequence else args, static)
        static = static or self.params
        try:
            data = self.compute(*arrays, **static) if static else self.compute(*arrays)
        except (ValueError, IndexError) as error:
            raise self._explained(error, args) from None
        return self._made(cls, data, args, arrays, static, requires_grad)

    @property
    def infix(self) -> Callable[[Any, Any], Any]:
        """A function that gives what ``self(x1, x2)`` gives, 0.4 us sooner: the methods of
        Tensor's operators."""
        compute, made, params = self.compute, self._made, self.params

        def infix(x1: Any, x2: Any) -> Any:
            a1: Any
            a2: Any
            if isinstance(x1, Value) and isinstance(x2, Value):
                a1, a2, requires_grad = x1._data, x2._data, x1._requires_grad or x2._requires_grad
            elif isinstance(x1, Value) and x2.__class__ in NUMBERS:
                a1, a2, requires_grad = x1._data, x2, x1._requires_grad
            else:
                return self(x1, x2)
            try:
                data = compute(a1, a2)
            except (ValueError, IndexError) as error:
                raise self._explained(error, (x1, x2)) from None
            return made(x1.__class__, data, (x1, x2), (a1, a2), params, requires_grad)

        return infix

    def _made(
        self,
        cls: type[Value],
        data: Any,
        args: tuple[Any, ...],
        arrays: tuple[Any, ...],
        static: dict[str, Any],
        requires_grad: bool,
    ) -> Any:
        """What forward returned for these inputs, as a value that knows them."""
        if data.__class__ not in FLOATS:
            # As `_checked` does where all is as usual, 0.5 us sooner; write=False takes 0.1 more.
            if (
                data.__class__ is ndarray
                and data.base is None
                and data.dtype in USUAL
                and data.ndim
            ):
                data.setflags(False)  # type: ignore[call-arg]
            else:
                data, requires_grad = self._checked(data, requires_grad)
        out, now = new(cls), CONTEXT.get()
        if not now.recording:
            return out._hold(data)
        # Three by three: a fourth would make a tuple, and a line each would be a page.
        out._data, out._requires_grad, out.params = data, requires_grad, static
        out.op, out.inputs, out.arrays = self, args, arrays
        out.index, out.scope, out.source = next_index(), now.scope, now.sources and user_line()
        out._name = out.grad = None
        return out

    def _unrecorded(self, args: tuple[Any, ...], static: dict[str, Any]) -> Any:
        """The result where no argument is a Tensor; lists become arrays."""
        if not self.sequence:
            n = len(self.inputs)
            for x in args[:n]:
                if not isinstance(x, ARRAYS):
                    given = [x if isinstance(x, ARRAYS) else frozen(x) for x in args[:n]]
                    args = (*given, *args[n:])
                    break
            if static:
                named = static.keys() & self.inputs
                static = {k: frozen(x) if k in named else x for k, x in static.items()}
        try:
            return self.forward(*args, **static)
        except (ValueError, IndexError) as error:
            inputs = args[0] if self.sequence else args[: len(self.inputs)]
            raise self._explained(error, inputs) from None

    def _mixed(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The class of the result, the inputs with arrays made constant Tensors, their
        arrays, and whether one requires a gradient."""
        cls = next(x.__class__ for x in args if isinstance(x, Value))
        args = tuple(x if isinstance(x, (Value, *CONSTANTS)) else cls(x) for x in args)
        arrays = tuple(x._data if isinstance(x, Value) else x for x in args)
        return cls, args, arrays, any(isinstance(x, Value) and x._requires_grad for x in args)

    def _bind(self, args: tuple[Any, ...], static: dict[str, Any]) -> tuple[Any, ...]:
        """Sort a call's arguments into inputs and static parameters, defaults filled in."""
        n = len(self.inputs)
        if not static and len(args) == n + len(self.static) and not self.sequence:
            rest = zip(self.static, args[n:], strict=True)  # all given by position: 2 us quicker
            return args[:n], {
                name: x if x.__class__ in FIXED else self._settled(name, x) for name, x in rest
            }
        positional = dict(zip((*self.inputs, *self.static), args, strict=False))
        bound = {**self.defaults, **positional, **static}
        names = {*self.inputs, *self.static}
        if (
            len(args) > len(names)
            or bound.keys() != names
            or not positional.keys().isdisjoint(static)
        ):
            try:
                inspect.signature(self.forward).bind(*args, **static)
            except TypeError as error:
                raise TypeError(f"{self.name}: {error}") from None
        inputs = tuple(bound.pop(name) for name in self.inputs)
        for name, value in bound.items():
            bound[name] = self._settled(name, value)
        if self.sequence:
            inputs = tuple(inputs[0])
        return inputs, bound

    def _settled(self, name: str, value: Any) -> Any:
        """A static parameter as nobody can change it any more, Tensors in it as arrays."""
        if isinstance(value, Value):
            if value._requires_grad:
                raise TypeError(
                    f"{self.name} is not differentiable in {name}, so it must not be a Tensor that "
                    f"requires a gradient; pass {name}=tensor.data"
                )
            return value._data
        if isinstance(value, np.ndarray):
            value = value.copy()
            value.flags.writeable = False
        elif isinstance(value, slice):
            return slice(*(self._settled(name, x) for x in (value.start, value.stop, value.step)))
        elif isinstance(value, tuple):
            return tuple(self._settled(name, part) for part in value)
        elif isinstance(value, list):
            return [self._settled(name, part) for part in value]
        return value

    def _checked(self, data: Any, requires_grad: bool) -> tuple[Any, bool]:
        """What forward returned, checked and read-only, and whether it can require a gradient."""
        if data is None:
            raise TypeError(f"{self.name} returned nothing; its function must return an array")
        if not isinstance(data, (np.ndarray, np.generic)):
            data = frozen(data)
        elif isinstance(data, np.ndarray):
            if not data.ndim:
                data = data[()]
            else:  # the array and what it is a view of: an input, or an array made by forward
                data.setflags(write=False)
                if isinstance(data.base, np.ndarray):
                    data.base.setflags(write=False)
        if data.dtype.kind not in REAL:
            raise TypeError(
                f"{self.name} gave dtype {data.dtype}, but a Tensor holds real numbers; "
                "check its inputs"
            )
        return data, requires_grad and data.dtype.kind == "f"

    def _explained(self, error: Exception, args: Iterable[Any]) -> Exception:
        """The error of forward, with the op and its inputs named."""
        if self.sequence:
            names: Iterable[str] = (f"{self.inputs[0]}[{i}]" for i in range(len(tuple(args))))
        else:
            names = self.inputs
        given = ", ".join(
            f"{name} = {described(x)}" if isinstance(x, Value) else f"{name} of shape {np.shape(x)}"
            for name, x in zip(names, args, strict=False)
            if x is not None
        )
        # NumPy says so if shapes do not fit; another error, as of 2 ** -1, speaks for itself.
        of_shape = any(word in str(error) for word in ("broadcast", "dimension", "aligned"))
        rule = self.shapes if self.shapes and of_shape else str(error).rstrip(".")
        kind = ValueError if isinstance(error, ValueError) else IndexError
        return kind(f"{self.name}: {rule}; got {given}")


def any_value(args: Iterable[Any]) -> bool:
    """Whether a Tensor is among the arguments."""
    for x in args:  # noqa: SIM110 (any() takes twice the time)
        if isinstance(x, Value):
            return True
    return False


@overload
def op(
    forward: Callable[..., Any],
    /,
    *,
    symbol: str | None = None,
    inputs: int | None = None,
    sequence: bool = False,
    shapes: str | None = None,
    elementwise: bool = False,
    linear: bool = False,
    batched: bool = False,
) -> Op: ...
@overload
def op(
    *,
    symbol: str | None = None,
    inputs: int | None = None,
    sequence: bool = False,
    shapes: str | None = None,
    elementwise: bool = False,
    linear: bool = False,
    batched: bool = False,
) -> Callable[[Callable[..., Any]], Op]: ...
def op(
    forward: Callable[..., Any] | None = None,
    *,
    symbol: str | None = None,
    inputs: int | None = None,
    sequence: bool = False,
    shapes: str | None = None,
    elementwise: bool = False,
    linear: bool = False,
    batched: bool = False,
) -> Any:
    """Make a function on arrays an op: recorded, drawn, stepped, and, once it has its
    rules, differentiated to any order.

    Arguments without a default are the inputs, those with one are static parameters;
    ``inputs=n`` says instead that the first n are inputs. With ``sequence=True`` the
    first argument is a list of inputs. ``symbol`` is what drawings show (default: the
    name), ``shapes`` the sentence for shapes that do not fit (default: NumPy's own).

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
        made = Op(forward, symbol, inputs, sequence, shapes, elementwise, linear, batched)
        module = str(made.__module__)
        OPS[made.name if module.startswith(OURS) else f"{module}.{made.name}"] = made
        return made

    return define if forward is None else define(forward)
