"""A user's script or notebook, run as Python or Jupyter would run it.

What it writes to standard output goes to standard error. An error in it is shown as Python
would, without our own lines, and ends the process with exit status 1.
"""

from __future__ import annotations

import ast
import json
import linecache
import os
import re
import sys
import traceback
from collections.abc import Collection, Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout, suppress
from dis import opname
from pathlib import Path
from types import ModuleType
from typing import Any

from .text import TRANSLITERATE

PACKAGE = str(Path(__file__).parent) + os.sep


def run_script(path: Path, arguments: Sequence[str]) -> dict[str, Any]:
    """Run a script as ``python FILE`` does, or the code cells of a notebook in order, and give
    the names it left; its tensors without a name are called as its variables. If it goes to
    another folder, we come back."""
    script, code = ModuleType("__main__"), sources(path)
    script.__file__ = str(path.absolute())
    if is_notebook(path):
        script.__dict__["display"] = print  # as Jupyter has it
    sys.modules["__main__"] = script
    sys.argv = [str(path), *arguments]
    sys.path.insert(0, str(path.resolve().parent))
    os.environ.setdefault("MPLBACKEND", "Agg")  # so that matplotlib opens no window that waits
    try:
        with output_to_errors(), chdir(path.parent if is_notebook(path) else "."):
            for called, text in code:
                # dont_inherit: this file's own __future__ imports are not the script's.
                exec(compile(text, called, "exec", dont_inherit=True), script.__dict__)
    except SystemExit as stop:
        if stop.code not in (None, 0):
            said = f"{stop.code}\n" if isinstance(stop.code, str) else ""
            raise SystemExit(f"{said}tinygrad-lite: {path} ended with an error") from None
    except Exception as error:
        raise SystemExit(script_traceback(error)) from None
    return script.__dict__


@contextmanager
def kept_locals(names: Collection[str], path: Path) -> Iterator[dict[str, dict[str, Any]]]:
    """For each of the names: the local variables of the last call, of a function of a script that
    binds it, that returned inside the block. Without names, Python is not slowed down."""
    kept: dict[str, dict[str, Any]] = {}
    files = {called for called, _ in sources(path)} if names else ()

    def note(frame: Any, event: str, _: object) -> None:
        code = frame.f_code
        if event != "return" or code.co_filename not in files or code.co_name[0] == "<":
            return
        # An exception that leaves a function, and a generator that waits, are "return" too.
        if opname[code.co_code[frame.f_lasti]] in ("RETURN_VALUE", "RETURN_CONST"):
            around = dict(frame.f_locals)
            bound = {*code.co_varnames, *code.co_cellvars} & {*names} & around.keys()
            kept.update(dict.fromkeys(bound, around))

    before = sys.getprofile()
    sys.setprofile(note if names else before)
    try:
        yield kept
    finally:
        sys.setprofile(before)


@contextmanager
def output_to_errors() -> Iterator[None]:
    """Send what is written to standard output, by whatever means, to standard error; a stream
    that is closed or replaced meanwhile is put back."""
    kept = os.dup(1)
    os.dup2(2, 1)  # for programs that are started, and code that is not Python's
    out = open(2, "w", 1, sys.stderr.encoding, TRANSLITERATE, closefd=False)  # noqa: SIM115
    try:
        with redirect_stdout(out), redirect_stderr(sys.stderr):
            yield
    finally:
        os.dup2(2, 1)  # again, for what is still buffered: the script may have closed it
        for stream in filter(None, (out, sys.__stdout__)):
            with suppress(ValueError):  # it may be closed
                stream.flush()
        os.dup2(kept, 1)
        os.close(kept)


def is_notebook(path: Path) -> bool:
    """Whether a file is a Jupyter notebook, by its name."""
    return path.suffix == ".ipynb"


def sources(path: Path) -> list[tuple[str, str | bytes]]:
    """The code of a script, or of each code cell of a notebook, behind what tracebacks call it."""
    called, content = str(path.absolute()), path.read_bytes()
    if not is_notebook(path):
        return [(called, content)]
    try:
        cells = json.loads(content)["cells"]
        texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, LookupError, TypeError):
        raise ValueError(f"{path} is not a Jupyter notebook of format 4") from None
    found = [(f"{called}, cell {i}", plain_cell(text)) for i, text in enumerate(texts, 1)]
    for cell, text in found:  # so that lines of it can be shown
        linecache.cache[cell] = (len(text), None, text.splitlines(keepends=True), cell)
    return list(found)


def plain_cell(text: str) -> str:
    """A cell as Python alone: what is for IPython, lines that begin with % or ! and cells in
    another language, becomes a comment."""
    with suppress(SyntaxError):
        ast.parse(text)
        return text
    theirs = ".*" if re.match(r"\s*%%(?!time|capture)", text) else "[%!].*"
    return re.sub(rf"(?m)^([ \t]*)({theirs})", r"\1pass  # \2", text)


def forget_modules(folders: set[Path], loaded: set[str]) -> None:
    """Forget what scripts imported from these folders, so that another script gets modules of
    its own under the same names; what was `loaded` before stays."""
    brought = set()
    for top in {name.partition(".")[0] for name in sys.modules} - loaded:
        module = sys.modules.get(top)
        places = [*getattr(module, "__path__", ()), getattr(module, "__file__", None) or ""]
        if Path(places[0]).parent in folders:
            brought.add(top)
    for name in list(sys.modules):
        if name.partition(".")[0] in brought:
            del sys.modules[name]


def script_traceback(error: BaseException) -> str:
    """An error of the script as Python shows it, without the lines of this package."""
    report = traceback.TracebackException.from_exception(error)
    part: traceback.TracebackException | None = report
    while part is not None:
        users = [frame for frame in part.stack if not frame.filename.startswith(PACKAGE)]
        part.stack = traceback.StackSummary.from_list(users)
        part = part.__cause__ or part.__context__
    return "".join(report.format()).removesuffix("\n")
