"""Connections to the file: opened one way, pooled for readers, with SQLite's failures turned into typed errors.

The file is only ever opened through SQLite: opening and closing it beside SQLite would drop the process's locks.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from sacho.errors import (
    ConfigurationError,
    CorruptLog,
    ForeignDatabase,
    StorageBusy,
    StorageError,
    StorageFailed,
    StorageFull,
    StorageReadOnly,
    StoreClosed,
    StoreForked,
)
from sacho.storage.busy import is_busy, primary_code, until_free
from sacho.storage.processes import same_process

MINIMUM_SQLITE: Final = (3, 35, 0)
DEFAULT_TIMEOUT: Final = 30.0
READER_CACHE_KIB: Final = 4_096
WRITER_CACHE_KIB: Final = 32_768
WAL_LIMIT_BYTES: Final = 64 * 1024 * 1024
"""To what the write-ahead log's file is cut after a checkpoint."""
CHECKPOINT_PAGES: Final = 1_000
"""After how many pages of 4 KiB the write-ahead log is moved into the database file. Each commit writes a page or two
of every index; the more commits share a checkpoint, the fewer pages it has to write."""

T = TypeVar("T")

_OF_THE_FILE = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL,
}


def open_connection(path: Path, *, timeout: float, cache_kib: int) -> sqlite3.Connection:
    """Open the file, in autocommit mode, durable to the disk at each commit. Raises StorageError."""
    if sqlite3.sqlite_version_info < MINIMUM_SQLITE:
        raise ConfigurationError(f"SQLite {sqlite3.sqlite_version} is too old; Sacho needs 3.35 or newer")
    with translated(path):
        connection = sqlite3.connect(
            path, timeout=timeout, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{cache_kib:d}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES:d}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES:d}")
    return connection


def open_plainly(path: Path, timeout: float) -> sqlite3.Connection:
    """Open the file for others than the log, in autocommit mode. Raises what SQLite does."""
    return sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what SQLite raises into the typed error that says what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error, path) from error


def translate(error: sqlite3.Error, path: Path) -> StorageError:
    """Return the typed error for one of SQLite's."""
    code = getattr(error, "sqlite_errorcode", 0) or 0
    where = str(path)
    match code & 0xFF:
        case sqlite3.SQLITE_FULL:
            return StorageFull(where)
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return StorageReadOnly(where)
        case sqlite3.SQLITE_NOTADB:
            return ForeignDatabase(where, "is not a SQLite database")
        case sqlite3.SQLITE_CORRUPT:
            return CorruptLog(where, str(error))
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StorageBusy(DEFAULT_TIMEOUT)
        case sqlite3.SQLITE_CANTOPEN if path.exists() and not os.access(path.parent, os.W_OK):
            return StorageReadOnly(where)
        case sqlite3.SQLITE_CANTOPEN:
            return StorageFailed(f"{where} cannot be opened: does its folder exist, and may it be written to?")
        case sqlite3.SQLITE_IOERR if code == sqlite3.SQLITE_IOERR_SHMSIZE:
            return StorageFull(where)
        case sqlite3.SQLITE_IOERR:
            return StorageFailed(f"{where}: {error} (code {code})", may_have_happened=_is_unsynced(code))
        case _:
            return StorageFailed(f"{where}: {error}")


def is_of_the_file(error: BaseException) -> bool:
    """Tell whether it is the file or the machine that failed, whatever was asked of it."""
    return primary_code(error) in _OF_THE_FILE


def when_free(work: Callable[[], object], timeout: float, path: Path) -> None:
    """Run a statement that needs a lock, trying for up to `timeout` seconds. Raises StorageBusy."""
    try:
        until_free(work, timeout)
    except sqlite3.OperationalError as error:
        if is_busy(error):
            raise StorageBusy(timeout) from error
        raise translate(error, path) from error


class ReaderPool:
    """Connections for reading. One is lent for one statement or page at a time, so none holds a snapshot open."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._is_same_process = same_process()
        self._idle: list[sqlite3.Connection] = []
        self._closed = False

    def run(self, work: Callable[[sqlite3.Connection], T], /) -> T:
        """Run work on a connection. Raises StoreClosed, StoreForked, or the typed error for what SQLite raises."""
        if not self._is_same_process():
            raise StoreForked
        if self._closed:
            raise StoreClosed
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = open_connection(self._path, timeout=self._timeout, cache_kib=READER_CACHE_KIB)
        try:
            return work(connection)
        except sqlite3.Error as error:
            raise translate(error, self._path) from error
        finally:
            if self._closed:
                connection.close()
            else:
                self._idle.append(connection)

    def close(self) -> None:
        """Close the idle connections; those that are lent out are closed when they come back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()


def _is_unsynced(code: int) -> bool:
    return code in {sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC}
