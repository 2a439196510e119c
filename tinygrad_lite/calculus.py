"""Derivatives as functions: `grad` and what follows from it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, overload

import numpy as np

from . import ancestors, backward
from . import value as record
from .arrays import describe
from .backward import messages, seed
from .context import CONTEXT, Block, Context, no_grad
from .nesting import is_nest, leaves_like, leaves_of, map_leaves, replace_leaves
from .ops import positive, stack
from .tensor import Tensor
from .updated import alias, meant_in, tensors_of
from .value import Value


class recording(Block):
    """Record even inside `no_grad`, as whoever differentiates must."""

    def change(self, context: Context) -> None:
        """Recording."""
        context.recording = True


@overload
def grad(
    output: Tensor, inputs: Tensor, gradient: Any = None, *, strict: bool = False
) -> Tensor: ...
@overload
def grad(
    output: Tensor, inputs: Sequence[Tensor], gradient: Any = None, *, strict: bool = False
) -> tuple[Tensor, ...]: ...
def grad(output: Tensor, inputs: Any, gradient: Any = None, *, strict: bool = False) -> Any:
    """The gradient of `output` with respect to each input, as Tensors of their shapes.

    They can be differentiated again, drawn, and stepped (not so if taken inside `no_grad`);
    until they are, they cost little more than `backward`. `.grad` stays as it is.
    `gradient` is the cotangent of the output, needed unless it is a scalar. Where the
    output does not depend on an input, as when it was computed inside `no_grad`, its
    gradient is zeros, or, with ``strict=True``, an error. One Tensor gives one Tensor, a
    sequence a tuple, a dict a dict. Outside `no_grad` they require a gradient, even where they
    are constant: their own is then zeros.

    >>> from tinygrad_lite import Tensor, grad
    >>> x = Tensor(3.0, requires_grad=True)
    >>> slope = grad(x**3, x)
    >>> slope.item(), grad(slope, x).item()
    (27.0, 18.0)

    Raises: ValueError if the output is not a scalar and no gradient is given, its shape is
    wrong, or (strict) the output does not depend on an input; TypeError if an input requires
    no gradient; NotImplementedError where an op has no rule. To differentiate the result
    with respect to a tensor that was given new data before is a RuntimeError.
    """
    if callable(output):
        raise TypeError(
            f"the output must be a Tensor, but is a {type(output).__name__}; for the gradient of a "
            "function use value_and_grad(f)(x)"
        )
    several = not isinstance(inputs, Tensor) and isinstance(inputs, Iterable)
    form = inputs if isinstance(inputs, dict) else tuple(inputs) if several else inputs
    parts = form if isinstance(form, tuple) else (form,)
    wanted = [x for part in parts for x in leaves_of(part)]
    for x in wanted:
        if not isinstance(x, Tensor):
            raise TypeError(
                f"the inputs of grad must be Tensors, but one is {type(x).__name__}; for the "
                "gradient of a function use value_and_grad(f)(x)"
            )
        if not x._requires_grad:
            raise TypeError(
                f"{describe(x)} requires no gradient, so none can be taken; make it with "
                "requires_grad=True"
            )
    start = seed(output, gradient, constant=True)
    if not wanted:
        return form
    ends = set(wanted)
    path = ancestors.between(output, ends) if output._requires_grad else set()
    if output._requires_grad and not ends <= path:
        wanted = meant_in(output, wanted)
        ends = set(wanted)
        path = ancestors.between(output, ends)
    found: dict[Value, Any] = {}
    if output in path:
        if CONTEXT.get().recording:
            found = recorded_gradients(output, start, path, ends)
        else:
            array = start._array if isinstance(start, Value) else start
            found = backward.leaf_gradients(output, array, path, ends)
    if strict:
        for x in wanted:
            if x not in found:
                raise ValueError(
                    f"{describe(output)} does not depend on {describe(x)}; leave out strict=True "
                    "to get zeros"
                )
    made: dict[int, Tensor] = {}  # what arrives at two inputs as one is one gradient
    gradients = []
    for x in wanted:
        g = found.get(x)
        made[id(g)] = made[id(g)] if g is not None and id(g) in made else differentiable(g, x)
        gradients.append(made[id(g)])
    return replace_leaves(form, gradients)


def differentiable(g: Any, x: Tensor) -> Tensor:
    """A gradient of x (None: zeros) as a Tensor that requires a gradient, outside `no_grad`."""
    if not isinstance(g, Tensor):
        g = Tensor(np.zeros_like(x._array) if g is None else g, CONTEXT.get().recording)
    elif not g._requires_grad:  # a constant
        g = alias(g)
        g._requires_grad = True
    return g


def recorded_gradients(
    output: Value, start: Any, path: Collection[Value], inputs: Collection[Value]
) -> dict[Value, Any]:
    """The gradients that the reverse pass along `path` brings to `inputs`, recorded."""
    begin = start if isinstance(start, Tensor) else Tensor(start)
    operands = tensors_of(record.next_index())
    stream = messages(output, begin, operands=operands, within=path)
    return {node: g for node, g, _, _ in stream if node in inputs}


def as_argument(x: Any) -> Any:
    """x, or each leaf of a nest, as the argument of a function to differentiate: a value that
    nothing else uses, so that its gradient is that of the argument alone. What x was computed
    from stays known."""
    if is_nest(x):
        return map_leaves(as_argument, x)
    if isinstance(x, Tensor) and x.requires_grad:
        copy: Tensor = positive(x)
        copy.name = x.name
        return copy
    return Tensor(x, requires_grad=True, name=x.name if isinstance(x, Tensor) else None)


def is_private(output: Any, arguments: Sequence[Tensor]) -> bool:
    """Whether nothing but the arguments, which nobody else has, gives `output` a gradient."""
    values = ancestors.ancestors([output]) if isinstance(output, Value) else []
    others = set(values).difference(arguments)
    return not any(x._requires_grad and x.op is None for x in others)


def release(results: Any, arguments: Sequence[Tensor]) -> Any:
    """What a function gave, each Tensor that only the arguments give a gradient as a leaf."""

    def plain(x: Any) -> Any:
        return x.detach() if isinstance(x, Tensor) and is_private(x, arguments) else x

    return map_leaves(plain, results)


def pull_back(output: Any, arguments: Sequence[Tensor], gradient: Any = None) -> tuple[Tensor, ...]:
    """`grad`, recorded only if someone else could differentiate the result."""
    if is_private(output, arguments) and not (
        isinstance(gradient, Value) and gradient._requires_grad
    ):
        with no_grad():
            return grad(output, arguments, gradient)
    return grad(output, arguments, gradient)


def one_or_all(results: Sequence[Any]) -> Any:
    """What was asked of one input as it is, of several as a tuple."""
    return results[0] if len(results) == 1 else tuple(results)


def the_output(value: Any, of: str) -> Tensor:
    """What a function to differentiate returned, if it is a Tensor.

    Raises: TypeError if not.
    """
    if isinstance(value, Tensor):
        return value
    cure = ""
    if is_nest(value) and of == "value_and_grad":
        cure = "; if it returns more than the value, say has_aux=True"
    raise TypeError(f"{of}: f must return a Tensor, but returned {type(value).__name__}{cure}")


def value_and_grad(
    f: Callable[..., Any], *, has_aux: bool = False
) -> Callable[..., tuple[Any, Any]]:
    """The function that gives f's value, a scalar, and its gradient at the same arguments.

    Arguments are Tensors, arrays, or nested tuples, lists and dicts of them; all are
    differentiated. The gradient is a Tensor of the argument's shape, or has the nesting of the
    argument; for several arguments it is a tuple. With ``has_aux=True``, f returns (value, aux),
    and the result is ((value, aux), gradient).

    Called on arrays alone it returns Tensors that require no gradient, which SciPy takes:
    ``scipy.optimize.minimize(value_and_grad(f), start, jac=True)``.

    >>> from tinygrad_lite import value_and_grad
    >>> value, (by_x, by_y) = value_and_grad(lambda x, y: x * x * y)(3.0, 2.0)
    >>> value.item(), by_x.item(), by_y.item()
    (18.0, 12.0, 9.0)

    Raises: as `grad`, when called; TypeError if f does not return a Tensor.
    """

    @recording()
    def both(*inputs: Any) -> tuple[Any, Any]:
        arguments = as_arguments(f, inputs)
        result = f(*arguments)
        if has_aux and not (isinstance(result, tuple) and len(result) == 2):
            raise TypeError("value_and_grad: with has_aux=True, f must return a pair (value, aux)")
        value = the_output(result[0] if has_aux else result, "value_and_grad")
        leaves = leaves_of(arguments)
        gradients = pull_back(value, leaves)
        return release(result, leaves), one_or_all(replace_leaves(arguments, gradients))

    return both


def as_arguments(f: Any, inputs: Sequence[Any]) -> tuple[Any, ...]:
    """All inputs of f, `as_argument`. Raises: TypeError if f is no function."""
    if not callable(f):
        raise TypeError(
            f"a function of Tensors is needed, but got {type(f).__name__}; for the gradient of a "
            "Tensor use grad(y, x)"
        )
    return tuple(map(as_argument, inputs))


@recording()
def vjp(f: Callable[..., Tensor], *inputs: Any) -> tuple[Tensor, Callable[[Any], Any]]:
    """f's value at the inputs, and its pullback: the function from a cotangent u of the
    value to u times the Jacobian, for each input (one: a Tensor, several: a tuple; an input
    that is a nest of them: the same nest).

    >>> import numpy as np
    >>> from tinygrad_lite import vjp
    >>> value, pullback = vjp(np.sin, np.array([0.0, np.pi]))
    >>> pullback(np.array([1.0, 2.0])).numpy()
    array([ 1., -2.])

    Raises: TypeError if f does not return a Tensor; ValueError, from the pullback, if the
    cotangent has another shape than the value.
    """
    arguments = as_arguments(f, inputs)
    value, leaves = the_output(f(*arguments), "vjp"), leaves_of(arguments)

    @recording()
    def pullback(cotangent: Any) -> Any:
        return one_or_all(replace_leaves(arguments, pull_back(value, leaves, cotangent)))

    return release(value, leaves), pullback


@recording()
def jvp(f: Callable[..., Tensor], inputs: Any, tangents: Any) -> tuple[Tensor, Tensor]:
    """f's value at the inputs, and the Jacobian times the tangents: how the value moves as
    the inputs move along them. Inputs and tangents are one array each, or tuples of them (or of
    nests of them).

    The pullback is linear in its cotangent u, and its own transpose is the Jacobian: so the
    tangent is the gradient, with respect to u, of <pullback(u), tangents>.

    >>> import numpy as np
    >>> from tinygrad_lite import jvp
    >>> jvp(np.sin, 0.0, 2.0)[1].item()
    2.0

    Raises: ValueError if a tangent has another shape than its input; TypeError if f does not
    return a Tensor.
    """
    several = isinstance(inputs, (tuple, list))
    arguments = as_arguments(f, inputs if several else (inputs,))
    leaves = leaves_of(arguments)
    given = tangents if several else (tangents,)
    if not isinstance(given, (tuple, list)) or len(given) != len(arguments):
        found = len(given) if isinstance(given, (tuple, list)) else f"a {type(given).__name__}"
        raise ValueError(f"jvp: {len(arguments)} inputs need as many tangents, not {found}")
    directions = leaves_like(arguments, given)
    for x, v in zip(leaves, directions, strict=True):
        if np.shape(v) != x.shape:
            raise ValueError(f"jvp: the tangent of {describe(x)} has the shape {np.shape(v)}")
    value = the_output(f(*arguments), "jvp")
    u = Tensor(np.zeros(value.shape, value.dtype), requires_grad=True)
    along = [(g * v).sum() for g, v in zip(pull_back(value, leaves, u), directions, strict=True)]
    return release(value, leaves), pull_back(sum(along[1:], along[0]), [*leaves, u])[-1]


@recording()
def jacobian(f: Callable[..., Any], *inputs: Any) -> Any:
    """The derivative of each element of f's value by each element of the inputs.

    For each input (one: a Tensor, several: a tuple) its shape is the value's shape followed
    by the input's. Where f returns several Tensors in a nest, or an input is a nest of them, the
    result has the nesting of the outputs outside and that of the inputs inside. It takes one
    reverse pass for each element of the value.

    >>> import numpy as np
    >>> from tinygrad_lite import jacobian
    >>> jacobian(lambda x: x * x, np.array([1.0, 2.0])).numpy()
    array([[2., 0.],
           [0., 4.]])

    Raises: TypeError if f does not return a Tensor, or a nest of them.
    """
    arguments = as_arguments(f, inputs)
    leaves = leaves_of(arguments)

    def of_one(value: Any) -> Any:
        value = the_output(value, "jacobian")
        units = np.eye(value.size, dtype=value.dtype).reshape(value.size, *value.shape)
        rows = [pull_back(value, leaves, unit) for unit in units]
        parts = [
            stack([row[i] for row in rows]).reshape(value.shape + x.shape)
            if rows
            else Tensor(np.zeros(value.shape + x.shape, x.dtype))
            for i, x in enumerate(leaves)
        ]
        return one_or_all(replace_leaves(arguments, parts))

    return map_leaves(of_one, f(*arguments))


def hessian(f: Callable[..., Any], *inputs: Any) -> Any:
    """The second derivatives of f's value, the Jacobian of its Jacobian.

    For one input x a Tensor of the value's shape (of a scalar: none) followed by x's twice.
    For several, ``hessian(f, x, y)[i][j]`` differentiates by input i first, then by j; for
    nests, as `jacobian` has them.

    >>> from tinygrad_lite import hessian
    >>> hessian(lambda x: (x**3).sum(), [1.0, 2.0]).numpy()
    array([[ 6.,  0.],
           [ 0., 12.]])

    Raises: TypeError if f does not return a Tensor, or a nest of them.
    """
    return jacobian(lambda *xs: jacobian(f, *xs), *inputs)
