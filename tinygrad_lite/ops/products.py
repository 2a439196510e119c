"""Sums of products: `einsum`, and NumPy's products of vectors and arrays, from few ops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..operation import op
from .arrange import diagonal, expand_dims, moveaxis, ravel
from .elementwise import Array, multiply, operand, subtract
from .linear import matmul
from .reduce import axes_of
from .shape import broadcast_to, reshape, stack

__all__ = ["cross", "dot", "einsum", "inner", "kron", "outer", "tensordot", "vdot"]

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"  # without loading `string`


def einsum(subscripts: Any, *operands: Any, optimize: Any = False) -> Array:
    """The sum over all indices that the result lacks, as `numpy.einsum` writes it.

    ``einsum("ij,jk->ik", a, b)`` is the matrix product. Without ``->`` the result has the
    indices that occur once, in alphabetical order; ``...`` stands for broadcast axes, and
    an index named twice in one operand takes its diagonal. Instead of letters each operand
    may be followed by a list of numbers (and ...), the last list being the result's. The
    order is planned for large operands whatever `optimize` says.

    Raises: ValueError if subscripts and shapes do not fit.
    """
    if not isinstance(subscripts, str):
        subscripts, operands = read_interleaved(subscripts, *operands)
    arrays = [operand(x) for x in operands]
    terms, result = explicit(subscripts, arrays)
    for k, term in enumerate(terms):
        while twice := [i for i in term if term.count(i) > 1]:
            one, two = term.index(twice[0]), term.rindex(twice[0])
            if arrays[k].shape[one] != arrays[k].shape[two]:
                raise ValueError(
                    f"einsum: the index {twice[0]} names axes of sizes {arrays[k].shape[one]} and "
                    f"{arrays[k].shape[two]} of operand {k}; they must be equal"
                )
            arrays[k] = diagonal(arrays[k], 0, one, two)
            term = term.replace(twice[0], "", 2) + twice[0]
        terms[k] = term
    return sum_of_products(arrays, subscripts=f"{','.join(terms)}->{result}")


def read_interleaved(*given: Any) -> tuple[str, tuple[Any, ...]]:
    """The subscripts as letters, and the operands, of ``einsum(a, [0, 1], b, [1, 2], [0, 2])``."""
    letters = sorted(LETTERS)
    lists = [*given[1::2], *(given[-1:] if len(given) % 2 else [])]
    try:
        terms = ["".join("..." if i is ... else letters[i] for i in one) for one in lists]
    except (TypeError, IndexError):
        raise ValueError(
            "einsum takes a string of subscripts first, or after each operand a list of numbers "
            "from 0 to 51 (and ...)"
        ) from None
    operands = given[: len(given) // 2 * 2 : 2]
    result = f"->{terms[-1]}" if len(given) % 2 else ""
    return ",".join(terms[: len(operands)]) + result, operands


def explicit(subscripts: str, arrays: list[Array]) -> tuple[list[str], str]:
    """The indices of each operand and of the result, each a letter, with nothing implied."""
    given, arrow, result = subscripts.replace(" ", "").partition("->")
    terms = given.split(",")
    named = [term.replace("...", "") for term in terms]
    if len(terms) != len(arrays):
        raise ValueError(f"einsum {subscripts!r} is for {len(terms)} operands, not {len(arrays)}")
    rest = [x.ndim - len(term) for x, term in zip(arrays, named, strict=True)]
    for x, term, letters, n in zip(arrays, terms, named, rest, strict=True):
        if n < 0 or (n and letters == term):
            raise ValueError(f"einsum {subscripts!r}: {term!r} does not fit the shape {x.shape}")
    spare = "".join(i for i in LETTERS if i not in subscripts)[: max(rest)]
    dots = [spare[len(spare) - n :] for n in rest]
    terms = [term.replace("...", dot) for term, dot in zip(terms, dots, strict=True)]
    if not arrow:
        once = sorted(i for i in "".join(named) if given.count(i) == 1)
        return terms, spare + "".join(once)
    return terms, result.replace("...", spare)


@op(
    symbol="einsum",
    sequence=True,
    linear=True,
    shapes="the axes that an index names must have one size",
    formula="the products of g and the other inputs, summed over the indices that arrays lacks",
)
def sum_of_products(arrays: Sequence[Array], subscripts: str) -> Array:
    """`einsum` with every index a letter, and no letter twice in one operand."""
    arrays = [operand(x) for x in arrays]
    large = max(x.size for x in arrays) > 1000  # planning the order costs 50 µs
    return np.einsum(subscripts, *arrays, optimize=large)


@sum_of_products.vjp
def _(g: Array, out: Array, arrays: Sequence[Array], subscripts: str) -> list[Array]:
    given, result = subscripts.split("->")
    terms, found = given.split(","), []
    for k, (x, term) in enumerate(zip(arrays, terms, strict=True)):
        others = [result, *terms[:k], *terms[k + 1 :]]
        alone = tuple(axis for axis, i in enumerate(term) if i not in "".join(others))
        kept = "".join(i for i in term if i in "".join(others))
        part = sum_of_products(
            [g, *arrays[:k], *arrays[k + 1 :]], subscripts=f"{','.join(others)}->{kept}"
        )
        # Along an index that x alone has, which was summed, the gradient is the same.
        part = expand_dims(part, alone)
        found.append(broadcast_to(part, np.broadcast_shapes(part.shape, x.shape)))
    return found


def tensordot(a: Array, b: Array, axes: Any = 2) -> Array:
    """The sum of products over the last `axes` axes of a and the first of b, or over the
    axes of a and of b that a pair lists. Raises: ValueError if their sizes differ."""
    a, b = operand(a), operand(b)
    if isinstance(axes, (int, np.integer)):
        axes = range(-axes, 0), range(axes)
    axes_a, axes_b = axes
    pairs = list(zip(axes_of(axes_a, a.ndim), axes_of(axes_b, b.ndim), strict=True))
    if any(a.shape[p] != b.shape[q] for p, q in pairs):
        raise ValueError(f"tensordot: the axes {pairs} of {a.shape} and {b.shape} differ in size")
    of_a, of_b = list(LETTERS[: a.ndim]), list(LETTERS[a.ndim :][: b.ndim])
    for p, q in pairs:
        of_b[q] = of_a[p]
    result = [i for i in of_a if i not in of_b] + [i for i in of_b if i not in of_a]
    return einsum(f"{''.join(of_a)},{''.join(of_b)}->{''.join(result)}", a, b)


def dot(a: Array, b: Array) -> Array:
    """The product of vectors and matrices; of more axes, the last of a and the last but one
    of b are summed over; with a scalar, the multiple."""
    a, b = operand(a), operand(b)
    if not (a.ndim and b.ndim):
        return multiply(a, b)
    return matmul(a, b) if a.ndim == 1 or b.ndim <= 2 else tensordot(a, b, (-1, -2))


def inner(a: Array, b: Array) -> Array:
    """The sum of products over the last axes of a and b; with a scalar, the multiple."""
    a, b = operand(a), operand(b)
    return tensordot(a, b, (-1, -1)) if a.ndim and b.ndim else multiply(a, b)


def vdot(a: Array, b: Array) -> Array:
    """The sum of the products of all elements, in C order."""
    return matmul(ravel(a), ravel(b))


def outer(a: Array, b: Array) -> Array:
    """The product of each element of a, flat, with each of b."""
    return multiply(reshape(a, (-1, 1)), ravel(b))


def kron(a: Array, b: Array) -> Array:
    """Blocks of b, one for each element of a and multiplied by it, laid out as a is."""
    ndim = max(np.ndim(a), np.ndim(b))
    a = expand_dims(a, tuple(range(ndim - np.ndim(a))))
    b = expand_dims(b, tuple(range(ndim - np.ndim(b))))
    every = range(2 * ndim)
    product = multiply(expand_dims(a, tuple(every[1::2])), expand_dims(b, tuple(every[::2])))
    return reshape(product, tuple(n * m for n, m in zip(a.shape, b.shape, strict=True)))


def cross(
    a: Array, b: Array, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Array:
    """The vectors that stand at right angles to those of a and of b, which have three elements
    along `axisa` and `axisb`, as the result has along `axisc`; `axis` is all of them.

    Raises: ValueError for vectors of another length.
    """
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = moveaxis(operand(a), axisa, -1), moveaxis(operand(b), axisb, -1)
    if a.shape[-1] != 3 or b.shape[-1] != 3:
        raise ValueError(
            f"cross: vectors have 3 elements, but here {a.shape[-1]} and {b.shape[-1]}; of vectors "
            "in a plane it is a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]"
        )
    parts = [
        subtract(multiply(a[..., i], b[..., j]), multiply(a[..., j], b[..., i]))
        for i, j in ((1, 2), (2, 0), (0, 1))
    ]
    return moveaxis(stack(parts, -1), -1, axisc)
