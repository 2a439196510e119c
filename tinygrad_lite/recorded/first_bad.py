"""Where a computation first has a NaN or an infinity: among its values, and among its gradients.

The two often differ: log(0) is infinite, but where it is not taken only its gradient is NaN, and
an overflow on the way back is seen in no value.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np

from ..ancestors import ancestors
from ..backward import messages
from ..text import number
from ..value import Value
from .joins import Use
from .masked import Bad, mask_text
from .names import Names
from .outcome import Outcome, Receipts


class FirstBad(NamedTuple):
    """The first value that is not finite, and the one at whose op a gradient first was not, each
    with the sentences on it; None and "" where there is none."""

    value: Value | None = None
    of_value: str = ""
    sender: Value | None = None
    of_gradient: str = ""

    def __str__(self) -> str:
        return "\n".join(filter(None, (self.of_value, self.of_gradient)))


@np.errstate(all="ignore")
def first_bad(
    output: Value,
    names: Names,
    start: Any = None,
    found: Receipts | None = None,
    within: Collection[Value] | None = None,
) -> FirstBad:
    """Where the numbers first are not finite, in the computation of `output` and in the reverse
    pass that `found` tells of: from the cotangent `start`, inside `within`."""
    sender, of_gradient = None, ""
    if found is not None and (place := first_sender(found)):
        sender, slot = place
        if slot is None:
            of_gradient = sum_text(sender, output, names)
        else:
            bad = again(output, start, within, (sender, slot))
            of_gradient = sent_text(bad, found.uses[sender, slot].outcome, names)
    end = ""
    if sender is None and is_finite(output._array):
        which = "output is" if found is None else "output and the gradients are"
        end = f"; the {which} finite all the same"
    value, of_value = first_value(output, end, names)
    return FirstBad(value, of_value, sender, of_gradient)


def is_finite(array: Any) -> bool:
    """Whether an array has neither a NaN nor an infinity."""
    # One call for almost all: the sum of the squares is finite only if every element is.
    return math.isfinite(np.vdot(array, array)) or bool(np.isfinite(array).all())


# Values


def first_value(output: Value, end: str, names: Names) -> tuple[Value | None, str]:
    """The first op whose result has a NaN or an infinity though none of its inputs has one, or
    that was given one; and a sentence on it, which has an `end` where that did no harm. Infinities
    that were given come last, and those that did no harm, as a mask's, are not told."""
    given: tuple[Value | None, str] = None, ""
    for v in ancestors([output]):
        if v.op is None or is_finite(v._array):
            continue
        kind = np.isnan if np.isnan(v._array).any() else np.isinf
        operands = zip(v.inputs, v.arrays, strict=True)
        guilty = [(x, a) for x, a in operands if a is not None and kind(a).any()]
        if not guilty:
            text = f"{names.made(v)}, has {bad_text(v._array)}; its inputs have none{end}"
            return v, f"First bad value: {text}."
        x, a = guilty[0]
        if kind is np.isnan or (given[0] is None and not (isinstance(x, Value) and x.op)):
            what = names.title(x) if isinstance(x, Value) else "a number"
            text = f"{what} was given with {bad_text(a)}, to {names.made(v)}{end}"
            given = v, f"First bad value: {text}."
        if kind is np.isnan:
            return given
    return (None, "") if end else given


def bad_text(array: Any) -> str:
    """The kinds of elements of an array that are not finite, and how many they are."""
    array = np.asarray(array)
    bad = array[~np.isfinite(array)]
    kinds = " and ".join(map(number, np.unique(bad)))
    return kinds if array.size == 1 else f"{kinds} at {bad.size:,} of {array.size:,} elements"


# Gradients


def first_sender(found: Receipts) -> tuple[Value, int | None] | None:
    """The value at whose op a gradient first was not finite, and the slot through which it was
    sent; without a slot where it was not sent, but the sum of what arrived, or the cotangent."""
    inf = math.inf
    whole = next((node for node, here in found.values.items() if not here.norm < inf), None)
    sent = next((use for use, part in found.uses.items() if not part.norm < inf), None)
    if whole is not None and (sent is None or whole.index >= sent[0].index):
        return whole, None  # it was visited before anything like that was sent
    return sent


def sum_text(node: Value, output: Value, names: Names) -> str:
    """A sentence on a gradient that was not sent as what it is."""
    if node is output:
        return "First bad gradient: the cotangent, with which the reverse pass starts."
    return (
        f"First bad gradient: that of {names.made(node)}, the sum of finite parts, which overflows."
    )


def again(output: Value, start: Any, within: Collection[Value] | None, end: Use) -> Bad:
    """The reverse pass once more, as far as a message."""
    arrived, sent = dict[Value, Any](), dict[Use, Any]()
    for node, g, slot, part in messages(output, start, within=within):
        arrived[node] = g
        if slot is not None:
            sent[node, slot] = np.asarray(part)
            if node is end[0] and slot == end[1]:
                break
    return Bad(output, *end, np.asarray(arrived[end[0]]), sent[end], arrived, sent)


def sent_text(bad: Bad, outcome: Outcome, names: Names) -> str:
    """The sentences on what an op sent: what it was, and where a mask is the cause, the cure."""
    node, x = bad.node, bad.node.inputs[bad.slot]
    what = f"{names.made(node)}, sends {names.title(x)} {bad_text(bad.part)}"
    why = "overflows: " if outcome.left_range else ""
    first = f"First bad gradient: {what}; {why}what arrived was finite."
    return "\n".join(filter(None, (first, mask_text(bad, names))))
