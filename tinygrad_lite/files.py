"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


def check_target(path: Path, suffixes: Sequence[str]) -> None:
    """Refuse a file name that cannot be saved to, before any work is done."""
    if path.suffix.lower() not in suffixes:
        found = f"ends in {path.suffix}" if path.suffix else "has no suffix"
        raise ValueError(
            f"the file name says the format, but {str(path)!r} {found}; "
            f"use one of {', '.join(suffixes)}"
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {str(path.parent)!r} does not exist; make it first")


@contextlib.contextmanager
def written(path: Path) -> Iterator[Any]:
    """A binary file that takes its name only when it is complete."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.suffix)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        mode = path.stat().st_mode if path.exists() else 0o666 & ~umask()
        os.chmod(name, mode & 0o7777)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def umask() -> int:
    """The process's mask for new files, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
