"""Backing up: a copy of the file, made by SQLite's online backup while others write.

The whole copy is of one snapshot, which a read transaction holds until its end. Without that, SQLite would begin anew
at every commit of another connection, and under steady writes never end. Writers go on; what they write stays in the
write-ahead log until the copy is done.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sacho.errors import CorruptLog, ForeignDatabase
from sacho.storage.sqlite.connecting import WRITER_CACHE_KIB, open_connection, translate

STEP_PAGES: Final = 1_000
"""How many pages are copied between two looks at the world (4 MiB)."""

ONE_SNAPSHOT: Final = "SELECT 1 FROM log"
SOUND: Final = "PRAGMA integrity_check(1)"


def copy_file(source: sqlite3.Connection, path: Path, destination: Path, tell: Callable[[int, int], None]) -> None:
    """Copy the log at `path`, on this connection, into an empty file, durably, and check that the copy is sound.

    `tell(done, total)` is called after each step, with numbers of pages. Raises sqlite3.Error for what concerns the
    source, CorruptLog if the copy is not sound, another StorageError for what concerns the destination.
    """
    copy = open_connection(destination, timeout=0.0, cache_kib=WRITER_CACHE_KIB)
    try:
        source.execute("BEGIN")
        source.execute(ONE_SNAPSHOT).fetchone()
        source.backup(copy, pages=STEP_PAGES, progress=lambda _, left, total: tell(total - left, total))
        (found,) = copy.execute(SOUND).fetchone()
        if found != "ok":
            raise CorruptLog(str(path), f"its copy is not sound: {found}")
    except sqlite3.Error as error:
        raise _of_destination(error, destination) from error
    finally:
        if source.in_transaction:
            source.execute("ROLLBACK")
        copy.close()


def _of_destination(error: sqlite3.Error, destination: Path) -> Exception:
    """Return the error to raise: only damage concerns the source, of which no more than pages is read."""
    found = translate(error, destination)
    return error if isinstance(found, CorruptLog | ForeignDatabase) else found
