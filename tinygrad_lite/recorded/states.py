"""The states of a gradient, and the one table of how each is told.

Text, pictures, the terminal and the page all read this table, so that a state bears the
same word everywhere; how it is drawn is told in views/looks.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

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
    """How a state is told.

    `words` stand in legends and tooltips. `symbol` stands beside an arrow, in the place of
    the size. `remark` explains a value that was sent. `cause` is filled with the name of
    the op at which the state began.
    """

    words: str
    symbol: str = ""
    remark: str = ""
    cause: str = ""


APPEARANCE = {
    State.NAN: Appearance("NaN: not a number", "NaN", "NaN", "NaN from {}"),
    State.INFINITE: Appearance("infinite", "∞", "infinite", "inf from {}"),
    State.GRADIENT: Appearance("the gradient"),
    State.EXPLODING: Appearance("exploding", "exploding", "exploding", "exploding"),
    State.VANISHING: Appearance(
        "vanishing: next to nothing is left", "≈0", "vanishing", "vanishing"
    ),
    State.CANCELLED: Appearance(
        "cancelled: opposite parts met, only rounding is left", "cancelled",
        "paths cancel: only rounding is left", "paths cancel at {}",
    ),
    State.ZERO: Appearance("zero, exactly", "0", "zero", "{} passes 0"),
    State.STOPPED: Appearance(
        "stopped by you", "stopped", "stopped by you", "stopped at {}"
    ),
    State.BLOCKED: Appearance(
        "blocked: the slope is 0 wherever there is one", "blocked",
        "blocked: nothing passes here", "blocked at {}",
    ),
    State.NOT_COMPUTED: Appearance("gradient not computed", cause="not computed"),
    State.NO_GRADIENT: Appearance("no gradient asked for"),
}  # fmt: skip


def size_text(state: State, size: float) -> str:
    """A gradient's norm in a few letters, or its state where that says more."""
    if state is State.VANISHING:
        return f"≈0 ({number(size)})"
    if state.arrives:
        return f"{number(size)} {APPEARANCE[state].symbol}".rstrip()
    return APPEARANCE[state].symbol or state
