"""The states of a gradient, and the one table of how each is told and shown.

Text, pictures, the terminal and the page all read this table, so that a state bears the
same word and the same look everywhere, and a new state is a new line here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from ..text import number


class State(StrEnum):
    """What became of a gradient. Where several are seen as one, the first of them tells.

    It is *zero* by its values, *blocked* where a derivative is 0 wherever it exists, as a
    step's; *cancelled* where opposite parts met and only their rounding is left; *vanishing*
    where its norm is above 0 and below sqrt(eps) of that of the nearest gradient towards the
    output. All that lies further back inherits it. *Not computed* is what no reverse pass
    came to, *stopped* what was cut on purpose.
    """

    NAN = "nan"
    INFINITE = "infinite"
    GRADIENT = "gradient"
    EXPLODING = "exploding"
    VANISHING = "vanishing"
    CANCELLED = "cancelled"
    ZERO = "zero"
    STOPPED = "stopped"
    BLOCKED = "blocked"
    NOT_COMPUTED = "not computed"
    NO_GRADIENT = "no gradient"

    __repr__ = str.__repr__

    @property
    def arrives(self) -> bool:
        """Whether there is a gradient, of whatever size."""
        return self in (State.GRADIENT, State.EXPLODING, State.VANISHING)


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
    State.NAN: Appearance("NaN gradient", "NaN", "NaN", "NaN from {}", "magenta", width=2.5),
    State.INFINITE: Appearance(
        "infinite gradient", "∞", "infinite", "inf from {}", "magenta", "dashed", 2.5
    ),
    State.GRADIENT: Appearance("norm of the gradient", colour="blue", width=4.0),
    State.EXPLODING: Appearance(
        "exploding gradient", "exploding", "exploding", "exploding", "orange", width=6.0
    ),
    State.VANISHING: Appearance(
        "vanishing gradient", "vanishing", "vanishing", "vanishing", "blue", "dotted"
    ),
    State.CANCELLED: Appearance(
        "paths cancel, only rounding is left", "cancelled", "paths cancel: only rounding is left",
        "paths cancel at {}", dash="dashed",
    ),
    State.ZERO: Appearance("zero gradient", "0", "zero", "{} passes 0", dash="dotted"),
    State.STOPPED: Appearance(
        "stopped by you", "stopped", "stopped by you", "stopped at {}", dash="dashed",
        width=1.2, head="blocked",
    ),
    State.BLOCKED: Appearance(
        "blocked, the derivative is 0", "blocked", "blocked: nothing passes here",
        "blocked at {}", dash="dotted", width=1.2, head="blocked",
    ),
    State.NOT_COMPUTED: Appearance("gradient not computed", cause="not computed"),
    State.NO_GRADIENT: Appearance(
        "no gradient asked for", colour="pale", width=0.8, head="open"
    ),
}  # fmt: skip


def size_text(state: State, size: float) -> str:
    """A gradient's norm in a few letters, or its state where that says more."""
    if state.arrives:
        return f"{number(size)} {APPEARANCE[state].symbol}".rstrip()
    return APPEARANCE[state].symbol or state
