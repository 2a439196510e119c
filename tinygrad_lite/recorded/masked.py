"""Whether a gradient is NaN because of a mask, and the cure.

With ``y = where(x > 0, log(x), 0)`` every value of y is finite, and the gradient of x is NaN where
x is 0: what was not taken is sent the gradient 0, log multiplies it by its infinite derivative,
and 0 * inf is NaN. Any op that sends back 0 masks like that. It is told only where a cure helps:
another number going into the op, at the elements whose gradient is 0. Each is tried before it is
shown, and where values change with it, as those of ``sign(sqrt(x))``, that is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from ..ancestors import ancestors
from ..backward import contributions, messages
from ..ops import where
from ..value import Value
from .expressions import ATOM, nested_call
from .joins import Use
from .names import Names
from .rerun import rerun

FILLS = (1.0, 0.5, 2.0, 1e-6)  # at one of them almost every function has a derivative


class Bad(NamedTuple):
    """What an op sent through a slot in the reverse pass from `output`: not finite, though the
    gradient `g` that arrived is; and all that arrived and was sent until then."""

    output: Value
    node: Value
    slot: int
    g: np.ndarray
    part: np.ndarray
    arrived: dict[Value, Any]
    sent: dict[Use, Any]


class Cure(NamedTuple):
    """What helps: ``where(condition, x, fill)`` for the operand x in a slot, with x and fill
    swapped if it is `inverted`, so that some elements are replaced; the mask, if an op is one; and
    whether no value changes."""

    slot: int
    condition: str
    inverted: bool
    replaced: np.ndarray
    fill: float
    mask: Use | None
    is_exact: bool


def mask_text(bad: Bad, names: Names) -> str:
    """The sentences on the mask that is the cause and on the cure; "" if none is."""
    node, op = bad.node, bad.node.op
    assert op is not None
    cures: list[Cure] = []
    with suppress(Exception):  # an op may refuse other numbers
        cures = list(cures_of(bad, names))
    if not cures:
        return ""
    cure = next((cure for cure in cures if cure.is_exact), cures[0])
    who = f"{names.made(cure.mask[0])}, passes 0" if cure.mask else "0 arrives"
    operands = names.operands(node)
    branches = [operands[cure.slot][0], str(cure.fill)][:: -1 if cure.inverted else 1]
    operands[cure.slot] = f"where({cure.condition}, {', '.join(branches)})", ATOM
    call = nested_call(op, operands, node.params)[0]
    note = ", where keep says which elements count" * (cure.condition == "keep")
    if not cure.is_exact:
        note += "; as that changes the result there, choose that by a where too"
    if not is_enough(bad, cure):
        note += "; another op then sends what is not finite, and needs the same"
    return (
        f"A mask is the cause: {who} there, and 0 times a derivative that is not finite is NaN.\n"
        f"Cure: mask what goes into {op.name}, not what comes out: {call}{note}."
    )


def cures_of(bad: Bad, names: Names) -> Iterator[Cure]:
    """What helps, if a mask is the cause: other numbers in an operand, on which only elements of
    the result depend that were sent 0, and with which what the op sends is finite."""
    node = bad.node
    for i, elements in suspects(bad):
        reached = dependents(node, i, elements)
        if not reached.any() or bad.g[reached].any():
            continue
        mask = mask_of(bad, reached)
        ends = [bad.output, *([mask[0]] if mask else [])]
        for condition, inverted, replaced in conditions(bad, i, elements, mask, names):
            covers = replaced[elements].all() and not bad.g[dependents(node, i, replaced)].any()
            for fill in FILLS if covers else ():
                arrays = list(node.arrays)
                arrays[i] = np.where(replaced, fill, arrays[i])
                if is_cured(bad, tuple(arrays)):
                    changed = values_with(bad, arrays)
                    same = all(is_kept(end._array, changed[end]) for end in ends)
                    yield Cure(i, condition, inverted, replaced, fill, mask, same)


def suspects(bad: Bad) -> Iterator[tuple[int, np.ndarray]]:
    """The operands that may be to blame, by slot, with those elements; if the op is elementwise in
    the shape of its result."""
    node, op = bad.node, bad.node.op
    assert op is not None
    sent = ~np.isfinite(bad.part)
    if op.elementwise:
        rule: Any = op.rule(bad.slot)
        unsummed = rule(bad.g, node._array, *node.arrays, **node.params)
        sent = np.broadcast_to(~np.isfinite(unsummed), node._array.shape)
    for i, x in enumerate(node.inputs):
        if isinstance(x, Value) and x._array.dtype.kind in "fiu":
            yield i, sent if op.elementwise or i == bad.slot else ~np.isfinite(node.arrays[i])


def is_cured(bad: Bad, arrays: tuple[Any, ...]) -> bool:
    """Whether what is sent is finite with other arrays for the op."""
    node = bad.node
    assert node.op is not None
    seen = node.op.compute(*arrays, **node.params), arrays
    within = {node.inputs[bad.slot]}
    parts = contributions(node, bad.g, operands=lambda _: seen, within=within)
    return all(np.isfinite(part).all() for slot, _, part in parts if slot == bad.slot)


def is_enough(bad: Bad, cure: Cure) -> bool:
    """Whether the whole gradient is finite with a cure."""
    output: Any = bad.output
    masked = where(np.logical_not(cure.replaced), bad.node.inputs[cure.slot], cure.fill)
    made = rerun(ancestors([output]), {}, {}, {(bad.node, cure.slot): masked})
    passed = messages(made[output], bad.arrived[output])
    return all(slot is None or np.isfinite(part).all() for _, _, slot, part in passed)


def values_with(bad: Bad, arrays: list[Any]) -> dict[Value, Any]:
    """The values that are computed from the result of the op, with other arrays for that."""
    found = dict[Value, Any]()
    for v in ancestors([bad.output]):
        changed = arrays
        if v is not bad.node:
            changed = [
                found.get(x, a) if isinstance(x, Value) else a
                for x, a in zip(v.inputs, v.arrays, strict=True)
            ]
        if v.op and (v is bad.node or any(isinstance(x, Value) and x in found for x in v.inputs)):
            found[v] = v.op.compute(*changed, **v.params)
    return found


def is_kept(before: Any, after: Any) -> bool:
    """Whether the finite elements of an array are the same in another."""
    before = np.asarray(before)
    return bool((np.asarray(after) == before)[np.isfinite(before)].all())


def dependents(node: Value, slot: int, elements: np.ndarray) -> np.ndarray:
    """The elements of a result that depend on some of an operand: the same if the op is
    elementwise, else those that change with them."""
    op = node.op
    assert op is not None
    if op.elementwise:
        return np.broadcast_to(elements, node._array.shape)
    arrays: list[Any] = [a if a is None else np.where(np.isfinite(a), a, 0.25) for a in node.arrays]
    before = np.asarray(op.compute(*arrays, **node.params))
    moved = np.linspace(0.5, 1, elements.size).reshape(elements.shape)
    arrays[slot] = arrays[slot] + elements * moved
    return before != np.asarray(op.compute(*arrays, **node.params))


def mask_of(bad: Bad, elements: np.ndarray) -> Use | None:
    """The op that sends back 0 to some elements of the result, though more was sent to it, and the
    slot; None where the cotangent is 0, or parts cancel."""
    node = bad.node
    while use := next((use for use in bad.sent if use[0].inputs[use[1]] is node), None):
        if bad.sent[use][elements].any():
            return None
        node, reached = use[0], dependents(*use, elements)
        if not reached.any() or np.asarray(bad.arrived[node])[reached].any():
            return use
        elements = reached
    return None


def conditions(
    bad: Bad, i: int, elements: np.ndarray, mask: Use | None, names: Names
) -> Iterator[tuple[str, bool, np.ndarray]]:
    """Ways to say which elements of an operand count, in the user's own words where these do: the
    condition, whether it holds of the others instead, and what is replaced then."""
    found: list[tuple[str, bool, Any]] = []
    if mask:
        at, slot = mask
        name = at.op.name if at.op else ""
        for k, y in enumerate(at.inputs):
            if k != slot and isinstance(y, Value) and (y.op or names.name(y)):
                operand, is_zero = names.operands(at)[k], np.asarray(at.arrays[k]) == 0
                if name == "where" and k == 0:
                    found.append((operand[0], slot == 2, is_zero if slot == 1 else ~is_zero))
                elif name == "multiply":
                    found.append((f"{bracketed(operand)} != 0", False, is_zero))
    x, array = names.operands(bad.node)[i], np.broadcast_to(bad.node.arrays[i], elements.shape)
    values = np.unique(array[elements])
    if len(values) == 1 and np.isfinite(values[0]):
        found.append((f"{bracketed(x)} != {values[0] + 0.0:g}", False, array == values[0]))
    elif not np.isfinite(values).any():
        found.append((f"isfinite({x[0]})", False, ~np.isfinite(array)))
    found.append(("keep", False, elements))
    for condition, inverted, replaced in found:
        with suppress(ValueError):  # another shape
            yield condition, inverted, np.broadcast_to(replaced, elements.shape)


def bracketed(operand: tuple[str, int]) -> str:
    """An operand of a comparison, in brackets if it needs them."""
    text, tight = operand
    return text if tight > 1 else f"({text})"
