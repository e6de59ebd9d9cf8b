"""Watching for appends: one thread tells the listeners of this process, another the other processes.

After a commit, and outside of it, the other processes are told by NOTIFY: at once, but not more often than every few
milliseconds. The watching thread, which runs only while somebody listens, hears of both and asks for the head. A lost
connection is made again; behind all of it stands a poll, so that what is missed is a pause and never a stall.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import psycopg

from sacho.errors import SachoError
from sacho.storage.postgres.connecting import Connection, connect
from sacho.storage.wakeups import Wakeups
from sacho.storage.waking import Wake

if TYPE_CHECKING:
    from sacho.storage.postgres.settings import PostgresSettings

NOTIFY_SECONDS: Final = 0.002
LONGEST_NOTIFY_SECONDS: Final = 0.02
"""The shortest time between two notifications, for each append told of by the first; and how long it gets at most.

Each costs as much as half an append: where there are many, one tells of many.
"""
POLL_SECONDS: Final = 1.0
"""How often the head is asked for although nothing was heard."""
POOLED_POLL_SECONDS: Final = 0.02
"""The same behind a pooler, which may keep notifications to itself."""
BEHIND_SECONDS: Final = (0.002, 0.05)
"""How often, at first and at last, while the head lies below an append that was heard of: another one holds it back."""
RECONNECT_SECONDS: Final = (0.05, 2.0)

NOTIFY: Final = "SELECT set_config('synchronous_commit', 'off', true), pg_notify(%s, %s)"
"""Tell the others. Nothing is written, so nothing need be waited for."""


class Notifier:
    """Tells other processes that the log has grown, by a thread and connection of its own."""

    def __init__(self, settings: PostgresSettings, channel: str) -> None:
        self._settings = settings
        self._channel = channel
        self._position = self._appends = 0
        self._changed = Wake()
        self._closing = False
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def tell(self, position: int) -> None:
        """Have the others told of a position soon; never blocks."""
        self._position = max(self._position, position)
        self._appends += 1
        if self._thread is None:
            self._start()
        self._changed.call()

    def close(self) -> None:
        """Tell what is left, and end."""
        self._closing = True
        self._changed.call()
        with self._lock:
            if self._thread is not None:
                self._thread.join()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._serve, name="sacho-postgres-notify", daemon=True)
                self._thread.start()

    def _serve(self) -> None:
        told, connection = 0, None
        while not self._closing or told < self._position:
            self._changed.wait()
            position, appends, self._appends = self._position, self._appends, 0
            try:
                connection = connection or connect(self._settings)
                connection.execute(NOTIFY, (self._channel, str(position)))
                told = position
            except (psycopg.Error, SachoError):
                if connection is not None:
                    connection.close()
                connection = None
                if self._closing:
                    break
                self._changed.call()
                time.sleep(RECONNECT_SECONDS[0])
            time.sleep(min(NOTIFY_SECONDS * appends, LONGEST_NOTIFY_SECONDS))
        if connection is not None:
            connection.close()


class Watcher:
    """One thread that tells the listeners when the head has risen by anybody's hand."""

    def __init__(self, settings: PostgresSettings, channel: str, wakeups: Wakeups, head: Callable[[], int]) -> None:
        self._settings = settings
        self._channel = channel
        self._wakeups = wakeups
        self._head = head
        self._lock = threading.Lock()
        self._watch: _Watch | None = None

    def listen(self, callback: Callable[[int], None]) -> Callable[[], None]:
        """Take a listener in and see to it that the thread runs; return what takes it out again."""
        with self._lock:
            remove = self._wakeups.add(callback)
            if self._watch is None:
                self._watch = _Watch(self._settings, self._channel, self._wakeups, self._head)

        def end() -> None:
            with self._lock:
                remove()
                if not self._wakeups.listeners:
                    self._end()

        return end

    def poke(self, position: int) -> None:
        """Say that this process has appended up to a position; never blocks."""
        watch = self._watch
        if watch is not None:
            watch.poke(position)

    def close(self) -> None:
        """End the thread and wait for it."""
        with self._lock:
            watch = self._end()
        if watch is not None:
            watch.join()

    def _end(self) -> _Watch | None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.stop()
        return watch


class _Watch:
    """A watching thread, with a socket that wakes it."""

    def __init__(self, settings: PostgresSettings, channel: str, wakeups: Wakeups, head: Callable[[], int]) -> None:
        self._settings = settings
        self._channel = channel
        self._wakeups = wakeups
        self._head = head
        self._stopped = False
        self._heard_of = 0
        self._is_poked = False
        self._ear, self._mouth = socket.socketpair()
        self._ear.setblocking(False)
        self._mouth.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="sacho-postgres-watch", daemon=True)
        self._thread.start()

    def poke(self, position: int) -> None:
        self._heard_of = max(self._heard_of, position)
        if not self._is_poked:
            self._is_poked = True
            with suppress(OSError):
                self._mouth.send(b"!")

    def stop(self) -> None:
        self._stopped = True
        self._is_poked = False
        self.poke(0)

    def join(self) -> None:
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        pause = RECONNECT_SECONDS[0]
        while not self._stopped:
            try:
                with connect(self._settings) as connection:
                    connection.execute(f'LISTEN "{self._channel}"')
                    pause = RECONNECT_SECONDS[0]
                    self._follow(connection)
            except (psycopg.Error, SachoError, OSError):
                self._hear(None, pause)
                with suppress(SachoError):
                    self._wakeups.rise(self._head())
                pause = min(2 * pause, RECONNECT_SECONDS[1])
        self._ear.close()
        self._mouth.close()

    def _follow(self, connection: Connection) -> None:
        """Ask for the head whenever something is heard, and now and then, until the connection is lost."""
        idle = POLL_SECONDS if connection.prepare_threshold is not None else POOLED_POLL_SECONDS
        behind = BEHIND_SECONDS[0]
        while not self._stopped:
            head = self._head()
            self._wakeups.rise(head)
            if head >= self._heard_of:
                behind = BEHIND_SECONDS[0]
                self._hear(connection, idle)
            else:
                self._hear(connection, behind)
                behind = min(2 * behind, BEHIND_SECONDS[1])

    def _hear(self, connection: Connection | None, seconds: float) -> None:
        """Wait until something is heard, at most so long."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._ear, selectors.EVENT_READ)
            if connection is not None:
                selector.register(connection.fileno(), selectors.EVENT_READ)
            selector.select(seconds)
        self._is_poked = False
        with suppress(BlockingIOError):
            self._ear.recv(64)
        if connection is not None:
            for told in connection.notifies(timeout=0):
                if told.payload.isdecimal():
                    self._heard_of = max(self._heard_of, int(told.payload))
