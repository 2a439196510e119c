"""Which line of the user's code made a value: noted while it runs, and looked up when shown."""

from __future__ import annotations

import ast
import inspect
import linecache
import sys
import sysconfig
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from types import CodeType
from typing import Any

from ..context import OUTSIDE, PACKAGE

DEEPEST = 12  # calls around an op that are noted
SUSPENDS = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
Line = tuple[str, int]  # a file, and the number of a line in it

# Where code lies that is not the user's.
LIBRARIES = (
    PACKAGE,
    "<frozen ",
    *{sysconfig.get_path(n) for n in ("stdlib", "purelib", "platlib")},
)


class Calls:
    """Notes where in the user's code an op runs: the calls that led there, each as (code, place of
    an instruction in it, the call around it). recorded/lines.py says what they mean.

    The call around the last one is remembered, so that ops in one function cost 0.3 us each.
    """

    def __init__(self) -> None:
        self.last: tuple[Any, int, Any] = (None, -1, ())

    def note(self) -> tuple[Any, ...]:
        """The calls that led to the caller's caller, innermost first."""
        frame: Any = sys._getframe(2)
        while frame.f_code.co_filename.startswith(PACKAGE) and frame.f_back is not None:
            frame = frame.f_back
        around, place, calls = self.last
        if frame.f_back is not around or around is None or around.f_lasti != place:
            calls = self.calls_around(frame)
        return frame.f_code, frame.f_lasti, calls

    def calls_around(self, frame: Any) -> tuple[Any, ...]:
        """The calls around the one in a frame, as far as the module; remembered."""
        frames: list[Any] = [frame]
        calls: tuple[Any, ...] = ()
        while frames[-1].f_back is not None and frames[-1].f_code.co_name != "<module>":
            frames.append(frames[-1].f_back)
        for outer in reversed(frames[1 : DEEPEST + 1]):
            calls = outer.f_code, outer.f_lasti, calls
        if len(frames) > 1 and not any(f.f_code.co_flags & SUSPENDS for f in frames):
            self.last = frames[1], frames[1].f_lasti, calls
        return calls


def note_outside_blocks() -> None:
    """Note the lines of every op, as if all ran in `source_lines()`."""
    OUTSIDE.sources = Calls()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value was made: the line, the calls that led there from the outermost in, that line
    the last of them, the text of the sub-expression, and where it begins in the line (-1 where
    Python cannot tell)."""

    source: Line
    calls: tuple[Line, ...]
    expression: str
    column: int


def place_of(noted: tuple[Any, ...] | None) -> Place | None:
    """What `Calls.note` noted, looked up; None where nothing was, or none of it is the user's."""
    lines: list[Line] = []
    place: list[Any] = []  # the text of the sub-expression, and where it begins
    while noted:
        code, instruction, noted = noted
        if not code.co_filename.startswith(LIBRARIES):
            line, *shown = look_up(code, instruction)
            place = place if lines else shown
            lines.append((code.co_filename, line))
    return Place(lines[0], tuple(reversed(lines)), *place) if lines else None


@lru_cache(maxsize=4096)
def look_up(code: CodeType, instruction: int) -> tuple[int, str, int]:
    """The line of an instruction, the text of the expression that it is of, and the column where
    that begins ("" and -1 where Python cannot tell)."""
    positions = next(islice(code.co_positions(), instruction // 2, None))
    line, last, start, end = positions
    if line is None:
        return code.co_firstlineno, "", -1
    if last is None or start is None or end is None:
        return line, "", -1
    lines = [linecache.getline(code.co_filename, n).encode() for n in range(line, last + 1)]
    column = len(lines[0][:start].decode(errors="replace"))
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][start:]
    text = b"".join(lines).decode(errors="replace")
    if line != last:
        with suppress(SyntaxError, ValueError):
            text = ast.unparse(ast.parse(f"({text}\n)", mode="eval"))  # on one line
    return line, text, column
