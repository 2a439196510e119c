"""A user's script: run as Python would run it, and the tensors that it left.

An error in it is shown as Python would, without our own lines, and ends the process with exit
status 1.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import chdir, redirect_stdout
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from .tensor import Tensor

PACKAGE = str(Path(__file__).parent) + os.sep


def tensors_at(targets: Sequence[str], arguments: Sequence[str]) -> list[Tensor]:
    """The tensor of each ``FILE.py:NAME``; a script that comes twice is run once."""
    places = [split_target(target) for target in targets]
    ran = {file: run_script(Path(file), arguments) for file in dict(places)}
    return [tensor_named(name, ran[file], file) for file, name in places]


def split_target(target: str) -> tuple[str, str]:
    """The script and the name in ``FILE.py:NAME``."""
    file, _, name = target.rpartition(":")
    if not file or not name.isidentifier():
        how = "say which tensor of which script as FILE.py:NAME, for example net.py:loss"
        raise ValueError(f"{how}; got {target!r}")
    if not Path(file).exists():
        raise ValueError(f"the script {file!r} does not exist")
    if Path(file).is_dir():
        raise ValueError(f"the script {file!r} is a folder")
    return file, name


def tensor_named(name: str, names: dict[str, Any], file: str) -> Tensor:
    """The tensor a script left under a name."""
    if isinstance(names.get(name), Tensor):
        return names[name]
    tensors = [key for key, value in names.items() if isinstance(value, Tensor)]
    close = get_close_matches(name, tensors, n=3, cutoff=0.5) or tensors[:8]
    hint = f"; its tensors include {', '.join(close)}" if close else "; it left no tensor at all"
    if name in names:
        raise ValueError(f"{name} in {file} is not a Tensor but {type(names[name]).__name__}{hint}")
    raise ValueError(f"{file} left nothing under the name {name}{hint}")


def run_script(path: Path, arguments: Sequence[str]) -> dict[str, Any]:
    """Run a script as ``python FILE`` does, and give the names it left; what it prints goes to
    standard error, and its tensors without a name are called as its variables. If it goes to
    another folder, we come back."""
    script, code = ModuleType("__main__"), path.read_bytes()
    script.__file__ = str(path.absolute())
    sys.modules["__main__"] = script
    sys.argv = [str(path), *arguments]
    sys.path.insert(0, str(path.resolve().parent))
    try:
        with redirect_stdout(sys.stderr), chdir("."):
            # dont_inherit: this file's own __future__ imports are not the script's.
            exec(compile(code, script.__file__, "exec", dont_inherit=True), script.__dict__)
    except SystemExit as stop:
        if stop.code not in (None, 0):
            said = f"{stop.code}\n" if isinstance(stop.code, str) else ""
            raise SystemExit(f"{said}tinygrad-lite: {path} ended with an error") from None
    except Exception as error:
        raise SystemExit(script_traceback(error)) from None
    name_by_variables(script.__dict__)
    return script.__dict__


def name_by_variables(names: dict[str, Any]) -> None:
    """Give every tensor without a name that of its variable, where no other has it."""
    tensors = {key: x for key, x in names.items() if isinstance(x, Tensor)}
    taken = {x.name for x in tensors.values()}
    for key, tensor in tensors.items():
        if tensor.name is None and key not in taken and not key.startswith("_"):
            tensor.name = key


def script_traceback(error: BaseException) -> str:
    """An error of the script as Python shows it, without the lines of this package."""
    report = traceback.TracebackException.from_exception(error)
    part: traceback.TracebackException | None = report
    while part is not None:
        users = [frame for frame in part.stack if not frame.filename.startswith(PACKAGE)]
        part.stack = traceback.StackSummary.from_list(users)
        part = part.__cause__ or part.__context__
    return "".join(report.format()).removesuffix("\n")
