"""A way to a server that can be cut: behind what the server has done, and before the answer comes back."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

CHUNK = 65_536


class Line:
    """Hands bytes on between clients and a server. `cut_after` arms it; `heal` lets clients through again."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.is_cut = threading.Event()
        self._marker: bytes | None = None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, marker: bytes) -> None:
        """Cut all connections as soon as the server answers something that had `marker` in it, and take no new ones."""
        self._marker = marker

    def heal(self) -> None:
        """Take connections again."""
        self.is_cut.clear()

    def close(self) -> None:
        """Take no more connections and end those there are."""
        self._listener.close()
        self._end_all()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.is_cut.is_set():
                    client.close()
                    continue
                server = socket.create_connection(self._server)
                with self._lock:
                    self._open |= {client, server}
                asked = threading.Event()
                for source, target, is_question in ((client, server, True), (server, client, False)):
                    threading.Thread(
                        target=self._hand_on, args=(source, target, asked, is_question), daemon=True
                    ).start()

    def _hand_on(self, source: socket.socket, target: socket.socket, asked: threading.Event, is_question: bool) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                if is_question:
                    if self._marker is not None and self._marker in data:
                        asked.set()
                elif asked.is_set() and self._marker is not None:
                    self._marker = None
                    self.is_cut.set()
                    self._end_all()
                    return
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _end_all(self) -> None:
        with self._lock:
            ended, self._open = self._open, set()
        for one in ended:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@contextmanager
def line_to(url: str) -> Iterator[tuple[str, Line]]:
    """Return the URL of the same database over a line that can be cut, and the line."""
    parts = urlsplit(url)
    line = Line((parts.hostname or "127.0.0.1", parts.port or 5432))
    login = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    try:
        yield urlunsplit(parts._replace(netloc=f"{login}127.0.0.1:{line.port}")), line
    finally:
        line.close()
