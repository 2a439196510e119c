"""A script in a process of its own, started again whenever it is saved.

The process runs `tinygrad_lite.worker`, says one line when it is ready (or why it is not), and then
answers each line with a line. While a new one starts the old one answers; if the new one fails, the
old one stays.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

from .server import News

EVERY = 0.25  # seconds between two looks at the files
# Half of the cores are the browser's, which draws what is computed: where threads of a matrix
# product wait for a core that is busy, they take longer than one alone.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class ScriptError(Exception):
    """A script that could not be run: `told` is what to show."""

    def __init__(self, told: dict[str, Any]) -> None:
        super().__init__(told.get("text", ""))
        self.told = told


class Worker:
    """One run of the script; of a module of PyTorch the names of its inputs are told, and the key
    of the output."""

    def __init__(
        self, target: str, arguments: Sequence[str], inputs: Sequence[str], key: str | None
    ) -> None:
        # In a session of its own, so that it and all that it starts can be ended together, and
        # Ctrl-C comes to us alone.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tinygrad_lite.worker", target, json.dumps([inputs, key]),
             *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
            env=dict.fromkeys(THREADS, str(max(1, (os.cpu_count() or 1) // 2))) | os.environ,
        )  # fmt: skip
        self.lock = Lock()

    def start(self) -> dict[str, Any]:
        """What it says when it is ready. Raises: ScriptError if it never is."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        told = json.loads(line) if line else {"error": {"text": "the script ended its process"}}
        if "error" in told:
            self.end()
            raise ScriptError(told["error"])
        return dict(told)

    def ask(self, question: dict[str, Any]) -> bytes:
        """The answer to a question. Raises: OSError if the process has ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with self.lock:
            self.process.stdin.write(json.dumps(question).encode() + b"\n")
            self.process.stdin.flush()
            if line := self.process.stdout.readline():
                return line
        raise OSError("the process of the script has ended; save the script to start it again")

    def end(self) -> None:
        """End the process, and what it has started."""
        with suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                if stream is not None:
                    stream.close()


class Script:
    """The script of a target as what a page is served from; `news` tells when it was saved.
    `inputs` and `key` are as in `tensors_at`.

    Raises: ScriptError if the script cannot be run at first.
    """

    def __init__(
        self,
        target: str,
        arguments: Sequence[str],
        news: News,
        inputs: Sequence[str] = (),
        key: str | None = None,
    ) -> None:
        self.asked, self.news = (target, arguments, inputs, key), news
        self.closing, self.error = Event(), dict[str, Any]()
        self.worker = Worker(*self.asked)
        self.starting: Worker | None = self.worker
        try:
            self.ready = self.worker.start()
        except BaseException:
            self.worker.end()
            raise
        self.starting = None
        self.seen = self.times()
        Thread(target=self.watch, daemon=True).start()

    def page(self) -> str:
        """The page of the last run that went well."""
        return str(self.ready["page"])

    def answer(self, question: dict[str, Any]) -> bytes:
        """What the process answers."""
        if question.get("kind") == "state":
            return json.dumps({"error": self.error} if self.error else {}).encode()
        return self.worker.ask(question)

    def times(self) -> dict[str, float]:
        """When the script, and what it imported from beside it, was saved last."""
        found = {}
        for name in self.ready.get("files", []):
            with suppress(OSError):
                status = Path(name).stat()
                found[name] = status.st_mtime_ns + status.st_size / 1e6
        return found

    def watch(self) -> None:
        """Start the script again whenever one of its files was saved."""
        while not self.closing.wait(EVERY):
            times = self.times()
            if times != self.seen and times:
                self.seen = times
                self.reload()

    def reload(self) -> None:
        """Run the script anew, in the place of the old process if that goes well."""
        self.news.tell({"kind": "running"})
        new = self.starting = Worker(*self.asked)
        try:
            ready = new.start()
        except ScriptError as failure:
            self.error = failure.told
            self.news.tell({"kind": "error", "error": failure.told})
        else:
            old, self.worker, self.ready, self.error = self.worker, new, ready, {}
            old.end()
            self.seen = self.times()
            self.news.tell({"kind": "reload"})
        finally:
            self.starting = None
            if self.closing.is_set():
                new.end()

    def close(self) -> None:
        """End the process."""
        self.closing.set()
        for worker in (self.starting, self.worker):
            if worker is not None:
                worker.end()
