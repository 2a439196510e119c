"""Runs the code of a page as a notebook runs its cells, and puts below each what it gave.

What a block prints stands below it as text, and so does the value of its last line; a picture is
shown where that value has one, and where the block wrote one into a file. Nothing here knows of
MkDocs: `run_page` and `transcript` make Markdown from Markdown, and pictures beside it.
"""

import ast
import contextlib
import io
import linecache
import os
import re
import struct
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

PYTHON = re.compile(r"^```python\n(.*?)^```\n", re.DOTALL | re.MULTILINE)
TORCH = re.compile(r"^import torch\b", re.MULTILINE)
# A piece of the package's source: the file, how the first line begins, and how the last does.
SOURCE = re.compile(r"^```source (\S+)\n(.*)\n(.*)\n```\n", re.MULTILINE)
PACKAGE = Path(__file__).parent.parent / "tinygrad_lite"
SHOWN = (".svg", ".png", ".html")
Made = tuple[str, dict[str, bytes]]  # Markdown, and the pictures that it shows


def run_page(text: str, stem: str) -> Made:
    """A page with every block of Python run, in order, as one program in an empty folder."""
    return in_empty_folder(lambda: run_blocks(text, stem))


def run_example(script: Path) -> Made:
    """An example as a page: the text of its cells, their code, and what a `--quick` run gives."""
    text, first = "", {}
    for kind, cell, line in cells_of(script.read_text(encoding="utf-8")):
        if kind == "markdown":
            text += "\n" + re.sub(r"^# ?", "", cell, flags=re.MULTILINE) + "\n"
        else:
            first[len(first)] = line
            text += f"\n```python\n{cell.rstrip()}\n```\n"
    sys.argv = [str(script), "--quick"]
    sys.path.insert(0, str(script.parent))
    return in_empty_folder(lambda: run_blocks(text, script.stem, script, first))


def cells_of(source: str) -> list[tuple[str, str, int]]:
    """The cells of a script (`# %%`): what they are, their text, and the line before it."""
    found, line = [], 0
    for part in re.split(r"(?m)^(?=# %%)", source):
        head, _, body = part.partition("\n")
        if body.strip():
            found.append(("markdown" if "markdown" in head else "code", body, line + 1))
        line += part.count("\n")
    return found


def in_empty_folder(make):
    """What `make` returns, called in a new folder that is gone afterwards."""
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            return make()
        finally:
            os.chdir(here)


def run_blocks(text: str, stem: str, script: Path | None = None, first: dict | None = None) -> Made:
    """The page with the output of its blocks; `first` has the line before each, in a script."""
    if TORCH.search(text) and not find_spec("torch"):
        if os.environ.get("TINYGRAD_LITE_REQUIRE_ALL"):
            raise ModuleNotFoundError("PyTorch is not installed")
        return f"!!! note\n\n    Not run here: PyTorch was not installed.\n\n{text}", {}
    names = {"__name__": "__main__", "__file__": str(script or stem)}
    pictures: dict[str, bytes] = {}
    count = 0

    def run(block: re.Match[str]) -> str:
        nonlocal count
        code, number, count = block[1], count, count + 1
        before = picture_files()
        if script is None:
            file = f"{stem}, block {number + 1}"
            linecache.cache[file] = (len(code), None, code.splitlines(keepends=True), file)
        else:
            file = str(script)
            code = "\n" * first[number] + code
        printed, value = run_code(code, file, names)
        given = block[0] + as_output(printed)
        for path, written in sorted(picture_files().items(), key=lambda item: item[1]):
            if before.get(path) != written:
                name = f"{stem}-{path.name}"
                pictures[name] = path.read_bytes()
                given += show(name, pictures[name], path.name)
        if picture := getattr(value, "_repr_svg_", lambda: None)():
            name = f"{stem}-{number + 1}.svg"
            pictures[name] = picture.encode()
            given += show(name, pictures[name])
        if value is not None and not (picture and hasattr(value, "to_networkx")):
            given += as_output(repr(value))  # of a graph the picture is enough
        return given

    return SOURCE.sub(source_of, PYTHON.sub(run, text)), pictures


def source_of(piece: re.Match[str]) -> str:
    """A piece of the package's source, as it stands there."""
    file, first, last = piece.groups()
    lines = (PACKAGE / file).read_text(encoding="utf-8").splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith(first))
    end = next(i for i, line in enumerate(lines[begin:], begin + 1) if line.startswith(last))
    text = "\n".join(lines[begin:end])
    where = f"tinygrad_lite/{file}, line {begin + 1}"
    return f'```{{ .python title="{where}" }}\n{text}\n```\n'


def as_output(text: str) -> str:
    """What was printed, in Markdown."""
    text = text.strip("\n")
    kind = "output" if "  " in text or "\n" in text else "output sentence"
    return f"\n```{{ .text .{kind.replace(' ', ' .')} }}\n{text}\n```\n" if text else ""


def picture_files() -> dict[Path, int]:
    """The pictures and pages in this folder, with the time when each was written."""
    return {p: p.stat().st_mtime_ns for p in Path().rglob("*.*") if p.suffix in SHOWN}


def run_code(code: str, file: str, names: dict) -> tuple[str, object]:
    """What the code prints, and the value of its last line if that is an expression."""
    tree = ast.parse(code, file)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    value = None
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(tree, file, "exec", dont_inherit=True), names)
        if last is not None:
            expression = ast.Expression(last.value)
            value = eval(compile(expression, file, "eval", dont_inherit=True), names)
    return out.getvalue(), value


def transcript(code: str, names: dict) -> str:
    """The code with prompts, run in `names`, and below each statement what a console would show."""
    lines, shown = code.splitlines(), []
    for statement in ast.parse(code).body:
        own = lines[statement.lineno - 1 : statement.end_lineno]
        shown += [f"{'... ' if i else '>>> '}{line}".rstrip() for i, line in enumerate(own)]
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile(ast.Interactive([statement]), "<console>", "single"), names)
        shown += out.getvalue().splitlines()
    return "```pycon\n" + "\n".join(shown) + "\n```\n"


def show(name: str, data: bytes, title: str = "") -> str:
    """A picture in Markdown, with its width for site.css, or a page as a link."""
    if name.endswith(".html"):
        return f"\n[Open {title}](./{name}){{ .md-button }}\n"
    if name.endswith(".svg"):
        root = ElementTree.fromstring(data)
        width = float(re.sub("[^0-9.]", "", root.get("width") or root.get("viewBox").split()[2]))
        title = title or next((e.text for e in root if e.tag.endswith("title")), None) or name
    else:
        width = struct.unpack(">I", data[16:20])[0]
    title = re.sub(r"[\[\]\n]", " ", title)
    size = f'style="--width: {width:.0f}px"'
    return f"\n[![{title}]({name}){{ {size} }}]({name}){{ .picture }}\n"
