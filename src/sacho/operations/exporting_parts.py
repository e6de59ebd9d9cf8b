"""A folder of parts: files of events that are whole once they have their names, and whose names tell how far they go.

The name is the checkpoint, so a crash at any instant leaves either a part or none. Parts stand without a gap, one behind
the other; none is ever written again.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple
from uuid import UUID

import msgspec

from sacho.errors import DestinationExists, OtherExport, StorageFailed, StorageFull
from sacho.events import Query
from sacho.operations.files import sync_folder

MEANING: Final = "_export.json"
LOCK: Final = "_lock"
UNNAMED: Final = "_part"
OURS: Final = frozenset({LOCK, UNNAMED, f"{MEANING}.new"})
"""What an export may have left in its folder before it wrote what it means. Readers of data sets pass over names that
begin with an underscore."""

BEGIN_ANEW: Final = "delete it to begin anew, or export to another place"
FULL: Final = {errno.ENOSPC, errno.EDQUOT}

Item = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]


class Meaning(msgspec.Struct, frozen=True):
    """What an export is of. Only one that means the same goes on with its parts."""

    log_id: UUID
    epoch: int
    format: str
    query: tuple[Item, ...]
    correlation_id: str | None
    after: int


class Part(NamedTuple):
    """A file with the events that matter of the positions from `first` to `last`, which is that of its last event."""

    path: Path
    first: int
    last: int


class Parts:
    """The parts in a folder that is held by this process alone."""

    def __init__(self, folder: Path, meaning: Meaning) -> None:
        self._name = re.compile(rf"events-(\d+)-(\d+)\.{meaning.format}")
        self.folder = folder
        self._format = meaning.format
        self.last = meaning.after
        self.all: list[Part] = []
        for part in sorted(self._found(), key=lambda part: part.first):
            if part.first != self.last + 1:
                gap = f"lacks the part that begins at position {self.last + 1}, before {part.path.name}"
                raise OtherExport(str(folder), gap, f"bring it back; or {BEGIN_ANEW}")
            self._add(part)

    @contextmanager
    def unnamed(self) -> Iterator[BinaryIO]:
        """Give a new file for the next part; unless it gets its name, the next one takes its place."""
        with (self.folder / UNNAMED).open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())

    def name(self, last: int) -> None:
        """Give the file its name, as the part that ends with position `last`; durable when it returns."""
        first = self.last + 1
        path = self.folder / f"events-{first:012}-{last:012}.{self._format}"
        (self.folder / UNNAMED).replace(path)
        sync_folder(self.folder)
        self._add(Part(path, first, last))

    def _add(self, part: Part) -> None:
        self.all.append(part)
        self.last = part.last

    def _found(self) -> Iterator[Part]:
        for path in self.folder.iterdir():
            found = self._name.fullmatch(path.name)
            if found:
                yield Part(path, int(found[1]), int(found[2]))


@contextmanager
def held(folder: Path, meaning: Meaning) -> Iterator[Parts]:
    """Give the parts of an export, in a folder that is made if it is not there.

    Raises OtherExport if those there are of an export that means something else, or if one runs there now;
    DestinationExists for a folder of other things.
    """
    if not folder.is_dir():
        if os.path.lexists(folder):
            raise DestinationExists(str(folder))
        folder.mkdir()
        sync_folder(folder.parent)
    check_ours(folder)
    with _alone(folder):
        there = meaning_of(folder)
        if there is None:
            write_durably(folder / MEANING, msgspec.json.encode(meaning))
        elif there != meaning:
            raise OtherExport(str(folder), f"holds an export {_difference(there, meaning)}", BEGIN_ANEW)
        yield Parts(folder, meaning)
        (folder / UNNAMED).unlink(missing_ok=True)


def check_ours(folder: Path) -> None:
    """Raise DestinationExists unless a folder is empty, or that of an export."""
    names = {path.name for path in folder.iterdir()}
    if MEANING not in names and not names <= OURS:
        raise DestinationExists(str(folder))


def meaning_of(folder: Path) -> Meaning | None:
    """Return what the export in a folder is of, or None where there is none yet. Raises OtherExport."""
    try:
        return msgspec.json.decode((folder / MEANING).read_bytes(), type=Meaning)
    except FileNotFoundError:
        return None
    except (ValueError, msgspec.MsgspecError) as error:
        raise OtherExport(str(folder / MEANING), f"cannot be read ({error})", BEGIN_ANEW) from error


def items_of(query: Query) -> tuple[Item, ...]:
    """Return a query in a form that is the same for all that mean the same."""
    return () if query.is_everything else tuple(sorted((one.types, one.tags, one.categories) for one in query.items))


def write_durably(path: Path, content: bytes) -> None:
    """Write a small file: all of it or nothing."""
    new = path.with_name(f"{path.name}.new")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_folder(path.parent)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what the file system says into typed errors."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise StorageFull(str(path), "parts of the export that are whole stay") from error
        raise StorageFailed(f"{path} cannot be written: {error.strerror or error}") from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes out, until this one ends the block or itself ends."""
    with (folder / LOCK).open("ab") as file:
        if os.name == "posix":
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OtherExport(str(folder), "is being written by another export", "wait for its end") from None
        yield


def _difference(there: Meaning, wanted: Meaning) -> str:
    if there.log_id != wanted.log_id:
        return "of another log"
    if there.epoch != wanted.epoch:
        return f"of epoch {there.epoch} of the log, which is in epoch {wanted.epoch} now"
    if there.format != wanted.format:
        return f"in another format, {there.format}"
    if there.after != wanted.after:
        return f"that begins after position {there.after}"
    return "with other filters"
