"""Tensors in nested tuples, lists and dicts: taken out, and put back into the same form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .arrays import Carrier


def is_nest(x: Any) -> bool:
    """Whether x is a container of several values: a dict, or a tuple or list that holds a Tensor,
    an array or such a container. A list of numbers, or of lists of them, is one array."""
    if isinstance(x, (list, tuple)):
        return x == () or any(is_nest(y) or isinstance(y, (Carrier, np.ndarray)) for y in x)
    return isinstance(x, dict)


def leaves_of(x: Any) -> list[Any]:
    """What a nest holds, from left to right; of anything else, itself."""
    if not is_nest(x):
        return [x]
    parts = x.values() if isinstance(x, dict) else x
    return [leaf for part in parts for leaf in leaves_of(part)]


def map_leaves(f: Callable[[Any], Any], x: Any) -> Any:
    """The nest with f of each leaf in its place."""
    if not is_nest(x):
        return f(x)
    if isinstance(x, dict):
        return {key: map_leaves(f, part) for key, part in x.items()}
    parts = [map_leaves(f, part) for part in x]
    if isinstance(x, list):
        return parts
    return type(x)(*parts) if hasattr(x, "_fields") else tuple(parts)


def replace_leaves(x: Any, leaves: Any) -> Any:
    """The nest with other leaves, an iterable in the order of `leaves_of`."""
    following = iter(leaves)
    return map_leaves(lambda _: next(following), x)


def leaves_like(form: Any, x: Any) -> list[Any]:
    """What x holds where the nest `form` has its leaves. Raises: ValueError if it has another
    form."""
    if not is_nest(form):
        return [x]
    keys = form if isinstance(form, dict) else range(len(form))
    same = x.keys() == form.keys() if isinstance(x, dict) else isinstance(x, (list, tuple))
    if isinstance(x, dict) != isinstance(form, dict) or not same or len(x) != len(form):
        raise ValueError(f"{x!r} has not the form of {form!r}")
    return [leaf for key in keys for leaf in leaves_like(form[key], x[key])]
