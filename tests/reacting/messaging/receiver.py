"""A real HTTP server on loopback that receives webhooks, and answers as a test says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

NEVER = 0
TRICKLE = -1


class Posted(NamedTuple):
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """Keeps what is posted. `answers` returns the status, and perhaps headers; NEVER answers nothing, TRICKLE byte after byte."""

    def __init__(self) -> None:
        self.posted: list[Posted] = []
        self.taken: list[Posted] = []
        self.answers: Callable[[Posted], int | tuple[int, dict[str, str]]] = lambda posted: 204
        self.text = b""
        self.ending = threading.Event()
        self.most_together = 0
        self.together: list[str] = []
        self.url = ""
        self._lock = threading.Lock()

    def begins(self, posted: Posted) -> None:
        with self._lock:
            self.posted.append(posted)
            self.together.append(posted.headers["webhook-id"])
            self.most_together = max(self.most_together, len(self.together))

    def ends(self, posted: Posted, status: int) -> None:
        with self._lock:
            self.together.remove(posted.headers["webhook-id"])
            if 200 <= status < 300:
                self.taken.append(posted)


@contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    """Give a receiver that is at work for the length of the block."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            posted = Posted(self.path, headers, self.rfile.read(int(headers["content-length"])))
            receiver.begins(posted)
            answer = receiver.answers(posted)
            status, more = answer if isinstance(answer, tuple) else (answer, {})
            receiver.ends(posted, status)
            with suppress(OSError):
                self._answer(status, more)

        def _answer(self, status: int, more: dict[str, str]) -> None:
            if status == NEVER:
                receiver.ending.wait()
                self.close_connection = True
                return
            if status == TRICKLE:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
                while not receiver.ending.wait(0.02):
                    self.wfile.write(b"x")
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("content-length", str(len(receiver.text)))
            self.end_headers()
            if status != 204:
                self.wfile.write(receiver.text)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        allow_reuse_address = True
        request_queue_size = 128

    with Server(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        receiver.url = f"http://127.0.0.1:{server.server_address[1]}/hooks"
        try:
            yield receiver
        finally:
            receiver.ending.set()
            server.shutdown()
            thread.join()
