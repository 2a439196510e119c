"""Makes the pages that are run, side by side, each in a process of its own."""

import os
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cells
import names
import numpy as np

Task = tuple[str, str, object]  # the address of the page, what it is, and what it is made from


def make_all(tasks: list[Task]) -> Iterator[tuple[str, str, dict[str, bytes]]]:
    """Each page: its address, its Markdown, and the pictures that lie beside it."""
    # Matrices are small here, and every core has a process of its own.
    os.environ |= {
        "OPENBLAS_NUM_THREADS": "1",
        "MPLBACKEND": "Agg",
        "PYTHONUTF8": "1",
        "TQDM_DISABLE": "1",
    }
    here = Path(__file__).parent
    sys.path[:0] = [str(here), str(here.parent)]  # where a process looks for this file
    spawn = get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), spawn, max_tasks_per_child=1) as pool:
        for made in pool.map(make, tasks):
            for uri, (text, pictures) in made.items():
                yield uri, text, pictures


def make(task: Task) -> dict[str, cells.Made]:
    """The pages of one task, by their addresses."""
    uri, kind, what = task
    try:
        match kind:
            case "example":
                text, pictures = cells.run_example(what)
                first = re.compile(r"^# .*\n", re.MULTILINE)  # the title
                note = about_example(what)
                return {uri: (first.sub(lambda title: title[0] + note, text, count=1), pictures)}
            case "page":
                return {uri: cells.run_page(what.read_text(encoding="utf-8"), what.stem)}
            case "names":
                return {f"names/{name}.md": names.page_of(name) for name in names.sections()}
            case "functions":
                np.set_printoptions(precision=4, suppress=True)
                return {f"names/{name}.md": names.function_page(name) for name in names.calls()}
    except BaseException as error:
        raise RuntimeError(f"{uri} cannot be made: {type(error).__name__}: {error}") from error


def about_example(script: Path) -> str:
    """What stands above an example: how it was run here."""
    source = script.read_text(encoding="utf-8")
    quick = bool(re.search(r"^from pictures import .*\bquick\b", source, re.MULTILINE))
    call = f"`python examples/{script.name}{' --quick' * quick}`"
    less = (
        " It is a short run, on less data; [the course](README.md) has the numbers of a whole one."
    )
    return (
        f"!!! note\n\n    What {call} printed and drew when this site was built.{less * quick}\n\n"
    )
