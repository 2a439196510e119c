"""A page served on loopback: to whoever has the token in its address, and to nobody else.

Whatever answers, a computation of this process or a script in another, is a `Source`. The standard
library serves it: a page is one file, an answer one message, and there are a few readers at most.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hmac import compare_digest
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, SimpleQueue
from secrets import token_urlsafe
from threading import Event, Lock, Thread
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

LOOPBACK = "127.0.0.1"
LARGEST = 1_000_000  # bytes of a question, at most
IDLE = 15.0  # seconds after which a stream says that it is still there


class Source(Protocol):
    """What is served."""

    def page(self) -> str:
        """The page, as HTML."""

    def answer(self, question: dict[str, Any]) -> bytes:
        """The answer to a question of the page, as JSON. Raises: ValueError for a wrong one."""

    def close(self) -> None:
        """End what belongs to it."""


class News:
    """What is to be told to every page that is open."""

    def __init__(self) -> None:
        self.readers: list[SimpleQueue[dict[str, Any]]] = []
        self.lock = Lock()

    def tell(self, event: dict[str, Any]) -> None:
        """Tell all readers."""
        with self.lock:
            for reader in self.readers:
                reader.put(event)

    @contextmanager
    def reader(self) -> Iterator[SimpleQueue[dict[str, Any]]]:
        """What is told from now on."""
        mine: SimpleQueue[dict[str, Any]] = SimpleQueue()
        with self.lock:
            self.readers.append(mine)
        try:
            yield mine
        finally:
            with self.lock:
                self.readers.remove(mine)


class Handler(BaseHTTPRequestHandler):
    """One request: refused unless host, origin and token are those of our own page."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # an answer is small, and waited for
    timeout = 600
    server: Server

    def do_GET(self) -> None:
        """The page, or the stream of what happens."""
        place = self.allowed(origin_needed=False)
        if place == "/":
            self.send(200, "text/html; charset=utf-8", self.server.source.page().encode())
        elif place == "/events":
            self.stream()
        elif place is not None:
            self.send(404, "text/plain", b"there is nothing here")

    def do_POST(self) -> None:
        """A question of the page."""
        if (place := self.allowed(origin_needed=True)) is None:
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > LARGEST:
            self.close_connection = True
            return self.send(413, "text/plain", b"this question has no length, or is too long")
        body = self.rfile.read(int(length))
        if place != "/ask":
            return self.send(404, "text/plain", b"there is nothing here")
        try:
            question = json.loads(body)
            if not isinstance(question, dict):
                raise ValueError("a question is an object")
            found = self.server.source.answer(question)
        except (ValueError, TypeError, KeyError, IndexError, RuntimeError, OSError) as error:
            found = json.dumps({"error": {"text": str(error)}}).encode()
        self.send(200, "application/json", found)

    def allowed(self, origin_needed: bool) -> str | None:
        """The place that is asked for, if the request may be answered; else it is refused.

        A page from elsewhere can send requests here, but not with our host as its origin, nor
        with a token that it does not know; a name that is made to point here has another host.
        """
        parts, hosts = urlsplit(self.path), self.server.hosts
        token = parse_qs(parts.query).get("token", [""])[0]
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        own = {f"http://{host}" for host in hosts}
        right = host in hosts and (origin in own if origin_needed else origin in {None, *own})
        if right and compare_digest(token.encode(), self.server.token.encode()):
            return parts.path
        self.close_connection = True
        self.send(403, "text/plain", b"open the address with the token that was printed")
        return None

    def stream(self) -> None:
        """Server-sent events, as long as the reader stays."""
        self.close_connection = True
        self.head(200, "text/event-stream", None)
        with self.server.news.reader() as reader, suppress(OSError):
            self.wfile.write(b": hello\n\n")
            while not self.server.closing.is_set():
                try:
                    event = reader.get(timeout=IDLE)
                except Empty:
                    self.wfile.write(b": still here\n\n")
                    continue
                self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())

    def head(self, status: int, kind: str, length: int | None) -> None:
        """The head of an answer: nobody keeps it, frames from elsewhere cannot read it."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is None:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(length))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.end_headers()

    def send(self, status: int, kind: str, body: bytes) -> None:
        """A whole answer; nobody may be there any more."""
        with suppress(ConnectionError):
            self.head(status, kind, len(body))
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


class Server(ThreadingHTTPServer):
    """Serves one source on loopback, from a thread of its own until it is closed."""

    daemon_threads = True
    allow_reuse_address = False
    request_queue_size = 32

    def __init__(self, source: Source, port: int = 0, news: News | None = None) -> None:
        self.source, self.news = source, news or News()
        self.token, self.closing = token_urlsafe(24), Event()
        try:
            super().__init__((LOOPBACK, port), Handler)
        except OSError as error:
            raise OSError(f"port {port} of {LOOPBACK} cannot be used: {error.strerror}") from None
        self.port = self.server_address[1]
        self.hosts = {f"{LOOPBACK}:{self.port}", f"localhost:{self.port}"}
        self.thread = Thread(target=self.serve_forever, args=(0.1,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        """The address of the page, with its token."""
        return f"http://{LOOPBACK}:{self.port}/?token={self.token}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that went away is no error of ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def close(self) -> None:
        """Answer nobody any more, and end what the source runs."""
        if not self.closing.is_set():
            self.closing.set()
            self.news.tell({"kind": "closed"})
            self.shutdown()
            self.server_close()
            self.source.close()


class Live:
    """A page that is served: `url` is its address, `close()` ends it, `wait()` waits for Ctrl-C.

    A notebook shows the page itself.
    """

    def __init__(self, server: Server, saved: str = "") -> None:
        self.server, self.saved = server, saved

    @property
    def url(self) -> str:
        """The address of the page, with its token."""
        return self.server.url

    def close(self) -> None:
        """End the server, and what runs for it."""
        self.server.close()

    def wait(self) -> None:
        """Serve until Ctrl-C, or until it is closed elsewhere; then end."""
        try:
            while not self.server.closing.wait(0.5):
                pass
        except KeyboardInterrupt:
            pass
        finally:
            self.close()

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Live({self.url})"

    def _repr_html_(self, height: int = 720) -> str:
        """The page in a frame; where its address cannot be reached, the one without a server."""
        style = (
            f"box-sizing:border-box;width:100%;height:{height}px;border:1px solid #8884;"
            "border-radius:6px"
        )
        why = (
            f"<p>The live page at {escape(self.url)} cannot be reached from here, as this notebook "
            "runs on another machine. This is the page without a server.</p>"
        )
        return (
            f'<object data="{escape(self.url)}" type="text/html" style="{style}" '
            f'aria-label="live steps of a computation">{why}{self.saved}</object>'
        )


def serve(
    source: Source,
    port: int = 0,
    browser: bool | None = None,
    news: News | None = None,
    saved: str = "",
) -> Live:
    """Serve a source; `browser` says whether to open one: None for where there is a screen.

    Raises: OSError if the port cannot be used.
    """
    live = Live(Server(source, port, news), saved)
    if browser or (browser is None and has_screen()):
        Thread(target=webbrowser.open, args=(live.url,), daemon=True).start()
    return live


def has_screen() -> bool:
    """Whether a browser that is opened would be seen; a notebook shows the page by itself."""
    if "ipykernel" in sys.modules:
        return False
    return sys.platform in ("win32", "darwin") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )


def reachable(port: int) -> bool:
    """Whether somebody listens on a port of loopback."""
    with suppress(OSError), socket.create_connection((LOOPBACK, port), 0.5):
        return True
    return False
