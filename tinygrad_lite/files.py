"""Files that are written whole or not at all, and data as strict JSON."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from secrets import token_hex
from typing import Any


def file_path(path: Any) -> Path:
    """The path. Raises: TypeError for what is none."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"the name of a file is a str or Path, but got {type(path).__name__}")
    return Path(path)


def check_target(path: Path, suffixes: Sequence[str]) -> None:
    """Refuse a file name that cannot be saved to, before any work is done."""
    if path.suffix.lower() not in suffixes:
        found = f"ends in {path.suffix}" if path.suffix else "has no suffix"
        known = f"use one of {', '.join(suffixes)}"
        raise ValueError(f"the file name says the format, but {str(path)!r} {found}; {known}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {str(path.parent)!r} does not exist; make it first")
    if path.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder; give the name of a file in it")


def save_file(
    path: str | os.PathLike[str], suffixes: Sequence[str], content: Callable[[str], bytes]
) -> None:
    """Write a file in the format that its suffix says, one of `suffixes`; `content` makes
    the bytes for a suffix."""
    target = file_path(path)
    check_target(target, suffixes)
    data = content(target.suffix.lower())
    with whole_file(target) as file:
        file.write(data)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Any]:
    """A binary file that takes its name only when it is complete; where that is a link, the
    file that it points to is replaced.

    Raises: OSError, of the kind that the system gave, in one sentence.
    """
    path = Path(os.path.realpath(path))
    unfinished = path.with_name(f".{token_hex(8)}")
    try:
        with unfinished.open("xb") as file:
            yield file
        if path.exists():
            unfinished.chmod(path.stat().st_mode & 0o7777)
        unfinished.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        if isinstance(error, OSError) and error.errno:
            why = f"{str(path)!r} cannot be written: {error.strerror}; choose another place"
            raise type(error)(why) from None
        raise


def json_text(data: Any) -> str:
    """Plain data as strict JSON, in the spelling of `strict`."""
    return json.dumps(strict(data), indent=1, allow_nan=False)


def strict(data: Any) -> Any:
    """Plain data as it comes back from JSON; numbers that JSON lacks are strings that `float`
    reads: "NaN", "Infinity" or "-Infinity"."""
    return json.loads(json.dumps(data), parse_constant=str)
