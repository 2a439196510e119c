"""Quicker ways to the same answers: without this folder every answer stays the same.

The engine is written to be read. Where that costs time that someone would notice, the function
is a slot: importing this package puts a quicker one in its place. `TINYGRAD_LITE_PLAIN=1` in the
environment leaves all slots as they are; a test holds both to the same answers.
"""

from __future__ import annotations

from typing import Any

# (where, the slot's name there, what fills it): in the order in which they are filled.
SLOTS: list[tuple[Any, str, Any]] = []


def fill() -> None:
    """Put the quicker functions into their slots."""
    for place, name, quicker in SLOTS:
        setattr(place, name, quicker)
