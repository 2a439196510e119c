"""The lines of the user's code that lead to an op of PyTorch."""

from __future__ import annotations

import sys
from typing import Any

from ..recorded.lines import DEEPEST, LIBRARIES

USERS: dict[str, bool] = {}  # by file: is it the user's?


class Lines:
    """Notes the calls in the user's code that lead to an op, as `Calls` does, which knows no others
    than the user's; the calls around the last one are remembered."""

    def __init__(self) -> None:
        self.last: tuple[Any, tuple[Any, ...]] = (None, ())

    def note(self) -> tuple[Any, ...]:
        """The calls that led here, innermost first."""
        frame = users_frame(sys._getframe(2))
        if frame is None:
            return ()
        if frame is not self.last[0]:
            frames, outer = list[Any](), frame
            while len(frames) < DEEPEST and outer.f_code.co_name != "<module>":
                if (outer := users_frame(outer.f_back)) is None:
                    break
                frames.append(outer)
            calls: tuple[Any, ...] = ()
            for outer in reversed(frames):
                calls = outer.f_code, outer.f_lasti, calls
            self.last = frame, calls
        return frame.f_code, frame.f_lasti, self.last[1]


def users_frame(frame: Any) -> Any:
    """The innermost frame, from this one out, that runs code of the user's; None if none does."""
    while frame is not None:
        name = frame.f_code.co_filename
        if (users := USERS.get(name)) is None:
            users = USERS[name] = not name.startswith(LIBRARIES)
        if users:
            return frame
        frame = frame.f_back
    return None
