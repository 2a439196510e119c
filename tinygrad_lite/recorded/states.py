"""The states of a gradient, and the one table of how each is told and shown.

Text, pictures, the terminal and the page all read this table, so that a state bears the
same word and the same look everywhere, and a new state is a new line here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import numpy as np


class State(StrEnum):
    """What became of a gradient. Where several are seen as one, the first of them tells."""

    NAN = "nan"
    GRADIENT = "gradient"
    EXPLODING = "exploding"
    VANISHING = "vanishing"
    CANCELLED = "cancelled"
    ZERO = "zero"
    BLOCKED = "blocked"
    NOT_COMPUTED = "not computed"
    NO_GRADIENT = "no gradient"

    __repr__ = str.__repr__


@dataclass(frozen=True, slots=True)
class Appearance:
    """How a state is told and shown.

    `words` stand in legends and tooltips. `symbol` stands beside an arrow, in the place of
    the norm. `remark` explains a value that was sent. `cause` is filled with the name of
    the op at which the state began. The rest is an arrow's look, its colour a name in
    `drawing.picture.COLOURS`.
    """

    words: str
    symbol: str = ""
    remark: str = ""
    cause: str = ""
    colour: str = "grey"
    dash: Literal["solid", "dashed", "dotted"] = "solid"
    width: float = 1.0
    head: Literal["normal", "open", "blocked"] = "normal"


APPEARANCE = {
    State.NAN: Appearance(
        "NaN or infinite gradient", "NaN", "NaN or infinite", "NaN or inf from {}",
        "magenta", width=2.5,
    ),
    State.GRADIENT: Appearance("norm of the gradient", colour="blue", width=4.0),
    State.EXPLODING: Appearance("exploding gradient", colour="orange", width=6.0),
    State.VANISHING: Appearance(
        "vanishing gradient", "≈0", "vanishing", colour="blue", dash="dotted"
    ),
    State.CANCELLED: Appearance(
        "paths cancel, only rounding is left", "≈0", "paths cancel", "paths cancel at {}",
        dash="dashed",
    ),
    State.ZERO: Appearance("zero gradient", "0", "zero", "{} passes 0", dash="dotted"),
    State.BLOCKED: Appearance(
        "blocked, the derivative is 0", "blocked", "blocked: nothing passes here",
        "blocked at {}", dash="dotted", width=1.2, head="blocked",
    ),
    State.NOT_COMPUTED: Appearance("gradient not computed", cause="not computed"),
    State.NO_GRADIENT: Appearance(
        "no gradient asked for", colour="pale", width=0.8, head="open"
    ),
}  # fmt: skip


def state_of(gradient: Any) -> State:
    """The state that the numbers of a gradient alone show."""
    if not np.isfinite(gradient).all():
        return State.NAN
    return State.GRADIENT if np.any(gradient) else State.ZERO
