"""What code asked of Tensors on its way: a replay asks again, as the code might go another way.

The truth of a Tensor (`if t > 0`, `bool(t)`), and its values where it is a static argument (an
index), are noted on what it was computed from, with the answer and the line, and with the few ops
that lie between, so that it can be asked of other arrays. It holds no value alive.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any
from weakref import ref

from .ancestors import place_in_order
from .context import CONTEXT, PACKAGE
from .value import Value

MOST = 8  # ops between a truth and the values that it is noted on
KEPT = 64  # truths that are noted on a leaf: it may be asked in every round of a loop


class Truth:
    """An answer, where it was asked, and the values that it was computed from by way of `ops`, each
    with its static parameters and its inputs: a place among the values, or an array."""

    def __init__(
        self,
        read: Callable[[Any], Any],  # how the answer comes from the last array: bool, or `digest`
        answer: Any,
        line: tuple[str, int],
        place: int,  # that of the Tensor: it says nothing of what was computed before
        values: tuple[ref[Value], ...],  # first those it is noted on, then the results of the ops
        leaves: tuple[Any, ...],  # the arrays of those that are leaves, else None
        ops: tuple[tuple[Any, dict[str, Any], tuple[Any, ...]], ...],
    ) -> None:
        self.read, self.answer, self.line, self.place = read, answer, line, place
        self.values, self.leaves, self.ops = values, leaves, ops

    def is_about(self, had: Mapping[Value, Any]) -> bool:
        """Whether it was asked of leaves while they had these arrays."""
        pairs = zip(self.values, self.leaves, strict=True)
        known = [(x(), a) for x, a in pairs if a is not None]
        return all(x is None or had.get(x, a) is a for x, a in known)

    def again(self, made: Mapping[Value, Value]) -> Any:
        """The answer for the values that a replay made of these; None if it made none."""
        known = [x() for x in self.values]
        new = [made.get(x) for x in known if x is not None]
        if not any(x is not None for x in new):
            return None
        arrays = [None if x is None else made.get(x, x)._array for x in known]
        for i, (op, params, inputs) in enumerate(self.ops, len(known) - len(self.ops)):
            x = known[i]
            if x is None or x not in made:
                given = (a if n is None or arrays[n] is None else arrays[n] for n, a in inputs)
                arrays[i] = op.compute(*given, **params)
        return self.read(arrays[-1])

    def of(self, made: Mapping[Value, Value]) -> Truth:
        """The same, noted on the values that a replay made of these."""
        known = [(old, None if (x := old()) is None else made.get(x)) for old in self.values]
        moved = tuple(ref(x) if x is not None else old for old, x in known)
        pairs = zip(self.leaves, known, strict=True)
        leaves = (a if a is None or x is None else x._array for a, (_, x) in pairs)
        return Truth(self.read, self.answer, self.line, self.place, moved, tuple(leaves), self.ops)


def digest(array: Any) -> tuple[Any, ...]:
    """What tells an array from others, and is short."""
    from hashlib import blake2b  # which loads OpenSSL

    return array.shape, array.dtype.str, blake2b(array.tobytes()).digest()


def note(t: Value, read: Callable[[Any], Any] = bool, line: tuple[str, int] | None = None) -> None:
    """Note what is read of a Tensor, its truth or its values, on what it was computed from; on the
    line that runs, if none is given."""
    if not CONTEXT.get().recording:
        return
    inner, waiting = {t} if t.op is not None else set(), [t]
    while waiting and len(inner) < MOST:
        for x in waiting.pop(0).inputs:
            if isinstance(x, Value) and x.op is not None and x not in inner:
                inner.add(x)
                waiting.append(x)
    ops = sorted(inner, key=lambda v: v.index)
    ends = dict.fromkeys(x for v in ops for x in v.inputs if isinstance(x, Value))
    values = [*(x for x in ends if x not in inner), *ops] or [t]
    places = {x: i for i, x in enumerate(values)}

    def operands(v: Value) -> tuple[Any, ...]:
        return tuple(
            (places.get(x) if isinstance(x, Value) else None, None if x in inner else array)
            for x, array in zip(v.inputs, v.arrays, strict=True)
        )

    frame: Any = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    line = line or (frame.f_code.co_filename, frame.f_lineno)
    recipe = tuple((v.op, v.params, operands(v)) for v in ops)
    leaves = tuple(x._array if x.op is None else None for x in values)
    known = tuple(map(ref, values))
    truth = Truth(read, read(t._array), line, place_in_order(t), known, leaves, recipe)
    # A leaf outlives what is computed from it, so it notes only what needs no array of that.
    whole = all(x.op is None or x in inner for x in values)
    for x in [x for x in values if x is not t and (whole or x.op is not None)] or values:
        noted = [old for old in getattr(x, "truths", ()) if old.is_about({x: x._array})]
        x.truths = [*noted[-KEPT:], truth]
