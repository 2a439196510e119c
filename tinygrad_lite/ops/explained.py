"""Errors of ops, and of functions made of ops, as sentences: who says it, what is wrong, and what
was given."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np

from ..arrays import Carrier, describe, label
from ..elsewhere import with_options
from ..operation import ERRORS, OURS, Op, Rule


def explain(
    error: Exception,
    name: str,
    inputs: dict[str, Any],
    static: dict[str, Any],
    defaults: dict[str, Any],
    shapes: str | None = None,
) -> Exception:
    """An error of the function `name`, told with its inputs and, where they are to blame, its
    other arguments; some have `defaults`, and `shapes` is the rule that shapes must obey."""
    said = str(error).rstrip(".")
    # NumPy says so if shapes do not fit; another error, as of 2 ** -1, speaks for itself.
    if shapes and any(word in said for word in ("broadcast", "dimension", "aligned")):
        said = shapes
    elif said.startswith((f"{name}: ", f"{name}() ", f"{name} ")):
        return error
    kinds = (np.exceptions.AxisError, ValueError, IndexError)  # the first is both of the others
    kind = next((k for k in kinds if isinstance(error, k)), TypeError)
    missing = [key for key, x in inputs.items() if x is None and key not in defaults]
    odd = [f"{k} = {label(repr(x))}" for k, x in static.items() if x is not defaults.get(k, k)]
    if missing:
        kind, said = TypeError, f"{missing[0]} must be an array or a number, but is None"
    elif kind is TypeError and odd:
        said = f"it cannot take {', '.join(odd)} ({said})"
    elif "read-only" in said:
        said = f"its function would change an input ({said}); let it change a copy, np.array(x)"
    elif "not supported for the input types" in said:
        said = "it is not for these dtypes; convert one of them with .astype"
    told = ", ".join(
        f"{key} = {describe(x)}" if isinstance(x, Carrier) else f"{key} of shape {np.shape(x)}"
        for key, x in inputs.items()
        if x is not None
    )
    return kind(f"{name}: {said}" + f"; got {told}" * bool(told and "; got " not in said))


def explain_op(
    op: Op, error: Exception, inputs: Sequence[Any], static: dict[str, Any] | None = None
) -> Exception:
    """`Op.explain`. What an op of yours cannot do with a kind of argument, Python says itself, and
    where."""
    said = with_options(str(error), [*op.inputs, *op.static])
    if said != str(error):
        return TypeError(said)
    if not (isinstance(error, (ValueError, IndexError)) or op.__module__.startswith(OURS)):
        return error
    names = op.inputs
    if op.sequence:
        names = tuple(f"{names[0]}[{i}]" for i in range(len(inputs)))
    given = dict(zip(names, inputs, strict=False))
    return explain(error, op.name, given, static or {}, op.defaults, op.shapes)


def explained(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function made of ops, its errors told as those of an op."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except ERRORS as error:
            signature = inspect.signature(function)
            parameters = signature.parameters.values()
            defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
            try:
                given = signature.bind(*args, **kwargs).arguments
            except TypeError as mismatch:
                said = with_options(str(mismatch), list(signature.parameters))
                raise TypeError(f"{function.__name__}: {said}") from None
            arrays = (Carrier, np.ndarray, np.generic, type(None))
            inputs = {key: x for key, x in given.items() if isinstance(x, arrays)}
            static = {key: x for key, x in given.items() if key not in inputs}
            raise explain(error, function.__name__, inputs, static, defaults) from None

    return call


bind = Op.bind


def bind_op(op: Op, args: tuple[Any, ...], static: dict[str, Any]) -> Any:
    """`Op.bind`; where a keyword is none of the op's, the error says what there is."""
    try:
        return bind(op, args, static)
    except TypeError as error:
        raise explain_op(op, error, ()) from None


vjp = Op.vjp


@wraps(vjp)
def vjp_checked(op: Op, *rules: Any) -> Callable[..., Rule]:
    """`Op.vjp`, where each rule of an op of yours takes what rules are given."""
    if op.foreign and all(map(callable, rules)) and len(rules) <= len(op.inputs):
        for rule in rules:
            check_arguments(op, rule)
    given = vjp(op, *rules)
    return given if callable(rules[0]) else lambda rule: given(check_arguments(op, rule))


def check_arguments(op: Op, rule: Rule) -> Rule:
    """The rule. Raises: TypeError if it does not take what rules of this op are called with."""
    try:
        signature = inspect.signature(rule)
    except (TypeError, ValueError):  # of something that does not say
        return rule
    inputs = ("g", "out", *op.inputs)
    try:
        signature.bind(*inputs, **dict.fromkeys(op.static))
    except TypeError:
        raise TypeError(
            f"a rule of {op.name} takes ({', '.join((*inputs, *op.static))}), but this one takes "
            f"{signature}"
        ) from None
    return rule


Op.explain = explain_op  # type: ignore[method-assign, assignment]
Op.bind = bind_op  # type: ignore[method-assign, assignment]
Op.vjp = vjp_checked  # type: ignore[method-assign, assignment]
