"""Files that are written whole or not at all, and data as strict JSON."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from secrets import token_hex
from typing import Any


def check_target(path: Path, suffixes: Sequence[str]) -> None:
    """Refuse a file name that cannot be saved to, before any work is done."""
    if path.suffix.lower() not in suffixes:
        found = f"ends in {path.suffix}" if path.suffix else "has no suffix"
        known = f"use one of {', '.join(suffixes)}"
        raise ValueError(f"the file name says the format, but {str(path)!r} {found}; {known}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {str(path.parent)!r} does not exist; make it first")


def save_file(
    path: str | os.PathLike[str], suffixes: Sequence[str], content: Callable[[str], bytes]
) -> None:
    """Write a file in the format that its suffix says, one of `suffixes`; `content` makes
    the bytes for a suffix."""
    target = Path(path)
    check_target(target, suffixes)
    with whole_file(target) as file:
        file.write(content(target.suffix.lower()))


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Any]:
    """A binary file that takes its name only when it is complete."""
    unfinished = path.with_name(f".{token_hex(8)}{path.suffix}")
    try:
        with unfinished.open("xb") as file:
            yield file
        if path.exists():
            unfinished.chmod(path.stat().st_mode & 0o7777)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def json_text(data: Any) -> str:
    """Plain data as strict JSON, in the spelling of `strict`."""
    return json.dumps(strict(data), indent=1, allow_nan=False)


def strict(data: Any) -> Any:
    """Plain data as it comes back from JSON; numbers that JSON lacks are strings that `float`
    reads: "NaN", "Infinity" or "-Infinity"."""
    return json.loads(json.dumps(data), parse_constant=str)
