"""Files that appear whole: made under another name, then named in one step, durably, never over what is there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sacho.errors import DestinationExists, StorageFailed

BESIDE: Final = ("-wal", "-shm", "-journal")
"""Files that belong to a database file of SQLite's; left over from another one, they would be taken for the backup's."""


def check_free(path: Path) -> None:
    """Raise DestinationExists where something is, or what SQLite would take for a part of it."""
    for one in (path, *beside(path)):
        if os.path.lexists(one):
            raise DestinationExists(str(one))


def give_name(file: Path, path: Path) -> None:
    """Give a file its name, unless the name is taken by now; durable when it returns."""
    with told(path):
        try:
            os.link(file, path)
        except FileExistsError:
            raise DestinationExists(str(path)) from None
        except OSError:  # a file system without hard links, so without a way to refuse and rename in one step
            check_free(path)
            file.rename(path)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """See to it that the names in a folder are on the disk."""
    if os.name == "posix":  # elsewhere a folder cannot be opened, and need not be
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what the file system says into the typed error."""
    try:
        yield
    except OSError as error:
        raise StorageFailed(f"{path} cannot be written: {error.strerror}") from error


def beside(path: Path) -> list[Path]:
    """Return the files that SQLite keeps beside one of its own."""
    return [path.with_name(path.name + ending) for ending in BESIDE]
