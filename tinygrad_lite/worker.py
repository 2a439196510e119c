"""The process in which the script of a live page runs: ``tinygrad_lite.worker TARGET MODULE``.

It runs the script, says in a line whether that went well, and then answers each line that comes
with a line, until nothing comes any more. What the script prints goes to standard error. MODULE is
the `inputs` and the `key` of `tensors_at`, as JSON.
"""

from __future__ import annotations

import json
import linecache
import os
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, BinaryIO

import numpy as np

from .insight.knobs import Knobs
from .insight.stepper import steps
from .target import split_target, tensors_at


def main(target: str, arguments: list[str], inputs: list[str], key: str | None) -> None:
    """Run the script, and answer."""
    # Nothing that the script writes or reads may come between.
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    waiting: SimpleQueue[bytes] = SimpleQueue()
    Thread(target=listen, args=(questions, waiting), daemon=True).start()
    try:
        knobs = run(target, arguments, inputs, key)
        say(answers, {"page": knobs.page(), "files": files_of(target)})
    except SystemExit as stop:
        say(answers, {"error": failure(str(stop.code), target)})
        return
    except (ValueError, TypeError, RuntimeError, OSError) as error:
        say(answers, {"error": {"text": str(error)}})
        return
    while True:
        try:
            answer = knobs.answer(json.loads(waiting.get()))
        except (ValueError, TypeError, KeyError, IndexError, RuntimeError) as error:
            answer = json.dumps({"error": {"text": str(error)}}).encode()
        answers.write(answer + b"\n")
        answers.flush()


def listen(questions: BinaryIO, waiting: SimpleQueue[bytes]) -> None:
    """Take in what is asked; where nobody asks any more, end all that runs here at once."""
    for line in questions:
        waiting.put(line)
    with suppress(OSError, AttributeError):
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
    os._exit(0)


def say(answers: BinaryIO, what: dict[str, Any]) -> None:
    """Write one line."""
    answers.write(json.dumps(what).encode() + b"\n")
    answers.flush()


def run(target: str, arguments: list[str], inputs: list[str], key: str | None) -> Knobs:
    """The computation that the script left under a name, with ones for its cotangent where it ran
    no backward. Raises: as `tensors_at`; ValueError if it requires no gradient."""
    ((tensor, names),) = tensors_at([target], arguments, inputs, key)
    if tensor.requires_grad and not hasattr(tensor, "cotangent"):
        tensor.cotangent = np.ones(tensor.shape, tensor.dtype)
    return Knobs(steps(tensor, names=names), split_target(target)[1])


def files_of(target: str) -> list[str]:
    """The script, and the modules that it imported from its own folder."""
    script = Path(split_target(target)[0]).resolve()
    found = {str(script)}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file and Path(file).resolve().is_relative_to(script.parent):
            found.add(str(Path(file).resolve()))
    return sorted(found)


def failure(report: str, target: str) -> dict[str, Any]:
    """An error of the script: its traceback, its last line, and where in the script it was."""
    script = str(Path(split_target(target)[0]).absolute())
    places = re.findall(r'File "([^"]+)", line (\d+)', report)
    own = [(file, int(n)) for file, n in places if file == script] or [
        (file, int(n)) for file, n in places
    ]
    told: dict[str, Any] = {"text": report.strip().rpartition("\n")[2], "report": report}
    if own:
        file, line = own[-1]
        linecache.checkcache(file)
        told |= {"file": os.path.basename(file), "line": line}
        told["code"] = linecache.getline(file, line).strip()
    return told


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[3:], *json.loads(sys.argv[2]))
