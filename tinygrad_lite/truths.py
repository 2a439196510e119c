"""What code asked of Tensors on its way: a replay asks again, as the code might go another way.

The truth of a Tensor (`if t > 0`, `bool(t)`) is noted on the values that it was computed from,
with its answer and the line, and with the few ops that lie between, so that it can be asked of
other arrays. It holds no value alive.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from weakref import ref

from .context import CONTEXT, PACKAGE
from .value import Value

MOST = 8  # ops between a truth and the values that it is noted on
KEPT = 64  # truths that are noted on a leaf: it may be asked in every round of a loop


@dataclass(frozen=True, slots=True)
class Truth:
    """An answer, where it was asked, and the values that it was computed from by way of `ops`, each
    with its static parameters and its inputs: a place among the values, or an array."""

    answer: bool
    line: tuple[str, int]
    values: tuple[ref[Value], ...]  # first those it is noted on, then the results of the ops
    ops: tuple[tuple[Any, dict[str, Any], tuple[Any, ...]], ...]

    def again(self, made: Mapping[Value, Value]) -> bool | None:
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
        return bool(arrays[-1])

    def of(self, made: Mapping[Value, Value]) -> Truth:
        """The same, noted on the values that a replay made of these."""
        known = ((old, old()) for old in self.values)
        moved = (old if x is None or x not in made else ref(made[x]) for old, x in known)
        return replace(self, values=tuple(moved))


def note_truth(t: Value) -> None:
    """Note the truth of a Tensor on what it was computed from."""
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

    def read(v: Value) -> tuple[Any, ...]:
        return tuple(
            (places.get(x) if isinstance(x, Value) else None, array)
            for x, array in zip(v.inputs, v.arrays, strict=True)
        )

    frame: Any = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    line = frame.f_code.co_filename, frame.f_lineno
    recipe = tuple((v.op, v.params, read(v)) for v in ops)
    truth = Truth(bool(t._array), line, tuple(map(ref, values)), recipe)
    for x in [x for x in values if x.op is not None and x is not t] or values:
        x.truths = [*getattr(x, "truths", ())[-KEPT:], truth]
