"""Derivatives as functions: `grad` and what follows from it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, overload

import numpy as np

from . import ancestors, backward
from . import value as record
from .arrays import describe
from .backward import messages, seed
from .context import CONTEXT, no_grad, recording
from .ops import positive, stack
from .tensor import Tensor
from .updated import tensors_of
from .value import Value


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
    sequence a tuple.

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
    several = not isinstance(inputs, Tensor) and isinstance(inputs, Iterable)
    wanted = tuple(inputs) if several else (inputs,)
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
    ends = set(wanted)
    path = ancestors.between(output, ends) if output._requires_grad else set()
    found: dict[Value, Any] = {}
    if output in path:
        if CONTEXT.get().recording:
            found = recorded_gradients(output, start, path, ends)
        else:
            array = start._data if isinstance(start, Value) else start
            found = backward.leaf_gradients(output, array, path, ends)
    gradients = []
    for x in wanted:
        g = found.get(x)
        if g is None:
            if strict:
                raise ValueError(
                    f"{describe(output)} does not depend on {describe(x)}; leave out strict=True "
                    "to get zeros"
                )
            g = np.zeros_like(x.data)
        gradients.append(g if isinstance(g, Tensor) else Tensor(g))
    return tuple(gradients) if several else gradients[0]


def recorded_gradients(
    output: Value, start: Any, path: Collection[Value], inputs: Collection[Value]
) -> dict[Value, Any]:
    """The gradients that the reverse pass along `path` brings to `inputs`, recorded."""
    begin = start if isinstance(start, Tensor) else Tensor(start)
    operands = tensors_of(record.next_index())
    stream = messages(output, begin, operands=operands, within=path)
    return {node: g for node, g, _, _ in stream if node in inputs}


def as_argument(x: Any) -> Tensor:
    """x as the argument of a function to differentiate: a value that nothing else uses, so
    that its gradient is that of the argument alone. What x was computed from stays known."""
    if isinstance(x, Tensor) and x.requires_grad:
        copy: Tensor = positive(x)
        copy.name = x.name
        return copy
    return Tensor(x, requires_grad=True, name=x.name if isinstance(x, Tensor) else None)


def pull_back(output: Any, arguments: Sequence[Tensor], gradient: Any = None) -> tuple[Tensor, ...]:
    """`grad`, recorded only if something besides the arguments requires a gradient: nobody
    else has those, so nobody could differentiate the result by them."""
    others = set(ancestors.ancestors([output]) if isinstance(output, Value) else ()).difference(
        arguments
    )
    seen = any(v.requires_grad and v.op is None for v in others)
    if seen or (isinstance(gradient, Value) and gradient.requires_grad):
        return grad(output, arguments, gradient)
    with no_grad():
        return grad(output, arguments, gradient)


def one_or_all(results: Sequence[Any]) -> Any:
    """What was asked of one input as it is, of several as a tuple."""
    return results[0] if len(results) == 1 else tuple(results)


def value_and_grad(f: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, Any]]:
    """The function that gives f's value, a scalar, and its gradient at the same arguments.

    The gradient is a Tensor of the argument's shape, or for several arguments a tuple.
    Arguments are Tensors or arrays; all are differentiated. SciPy's optimisers want arrays:
    ``scipy.optimize.minimize(lambda x: [t.data for t in both(x)], start, jac=True)``.

    >>> from tinygrad_lite import value_and_grad
    >>> value, (by_x, by_y) = value_and_grad(lambda x, y: x * x * y)(3.0, 2.0)
    >>> value.item(), by_x.item(), by_y.item()
    (18.0, 12.0, 9.0)

    Raises: as `grad`, when called.
    """

    @recording()
    def both(*inputs: Any) -> tuple[Tensor, Any]:
        arguments = [as_argument(x) for x in inputs]
        value = f(*arguments)
        return value, one_or_all(pull_back(value, arguments))

    return both


@recording()
def vjp(f: Callable[..., Tensor], *inputs: Any) -> tuple[Tensor, Callable[[Any], Any]]:
    """f's value at the inputs, and its pullback: the function from a cotangent u of the
    value to u times the Jacobian, for each input (one: a Tensor, several: a tuple).

    >>> import numpy as np
    >>> from tinygrad_lite import vjp
    >>> value, pullback = vjp(np.sin, np.array([0.0, np.pi]))
    >>> pullback(np.array([1.0, 2.0])).numpy()
    array([ 1., -2.])

    Raises: ValueError, from the pullback, if the cotangent has another shape than the value.
    """
    arguments = [as_argument(x) for x in inputs]
    value = f(*arguments)
    return value, recording()(lambda cotangent: one_or_all(pull_back(value, arguments, cotangent)))


@recording()
def jvp(f: Callable[..., Tensor], inputs: Any, tangents: Any) -> tuple[Tensor, Tensor]:
    """f's value at the inputs, and the Jacobian times the tangents: how the value moves as
    the inputs move along them. Inputs and tangents are one array each, or tuples of them.

    The pullback is linear in its cotangent u, and its own transpose is the Jacobian: so the
    tangent is the gradient, with respect to u, of <pullback(u), tangents>.

    >>> import numpy as np
    >>> from tinygrad_lite import jvp
    >>> jvp(np.sin, 0.0, 2.0)[1].item()
    2.0

    Raises: ValueError if a tangent has another shape than its input.
    """
    several = isinstance(inputs, (tuple, list))
    arguments = [as_argument(x) for x in (inputs if several else (inputs,))]
    directions = tangents if several else (tangents,)
    if len(directions) != len(arguments):
        raise ValueError(
            f"jvp: {len(arguments)} inputs need as many tangents, not {len(directions)}"
        )
    for x, v in zip(arguments, directions, strict=True):
        if np.shape(v) != x.shape:
            raise ValueError(f"jvp: the tangent of {describe(x)} has the shape {np.shape(v)}")
    value = f(*arguments)
    u = Tensor(np.zeros(value.shape, value.dtype), requires_grad=True)
    along = [(g * v).sum() for g, v in zip(pull_back(value, arguments, u), directions, strict=True)]
    return value, pull_back(sum(along[1:], along[0]), [u])[0]


@recording()
def jacobian(f: Callable[..., Tensor], *inputs: Any) -> Any:
    """The derivative of each element of f's value by each element of the inputs.

    For each input (one: a Tensor, several: a tuple) its shape is the value's shape followed
    by the input's. It takes one reverse pass for each element of the value.

    >>> import numpy as np
    >>> from tinygrad_lite import jacobian
    >>> jacobian(lambda x: x * x, np.array([1.0, 2.0])).numpy()
    array([[2., 0.],
           [0., 4.]])

    Raises: TypeError if f does not return a Tensor.
    """
    arguments = [as_argument(x) for x in inputs]
    value = f(*arguments)
    if not isinstance(value, Tensor):
        raise TypeError(f"jacobian: f must return a Tensor, but returned {type(value).__name__}")
    units = np.eye(value.size, dtype=value.dtype).reshape(value.size, *value.shape)
    rows = [pull_back(value, arguments, unit) for unit in units]
    return one_or_all(
        [
            stack([row[i] for row in rows]).reshape(value.shape + x.shape)
            if rows
            else Tensor(np.zeros(value.shape + x.shape, x.dtype))
            for i, x in enumerate(arguments)
        ]
    )


def hessian(f: Callable[..., Tensor], *inputs: Any) -> Any:
    """The second derivatives of f's value, the Jacobian of its Jacobian.

    For one input x a Tensor of the value's shape (of a scalar: none) followed by x's twice.
    For several, ``hessian(f, x, y)[i][j]`` differentiates by input i first, then by j.

    >>> from tinygrad_lite import hessian
    >>> hessian(lambda x: (x**3).sum(), [1.0, 2.0]).numpy()
    array([[ 6.,  0.],
           [ 0., 12.]])

    Raises: TypeError if f does not return a Tensor.
    """
    if len(inputs) == 1:
        return jacobian(lambda x: jacobian(f, x), *inputs)
    return tuple(
        jacobian(lambda *xs, i=i: jacobian(f, *xs)[i], *inputs) for i in range(len(inputs))
    )
