"""A backup: a consistent copy of a log that is in use, made by the engine's own means, verified, and only then named."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, Protocol, runtime_checkable
from uuid import uuid4

import msgspec

from sacho.errors import LogsDiffer, UnsupportedOperation
from sacho.operations.comparing import Comparison, Digest, in_place
from sacho.operations.files import beside, check_free, give_name, told
from sacho.operations.pipeline import Progress, Tell, silent
from sacho.storage.port import LogIdentity, Storage
from sacho.store import EventStore

REMEDIES: Final = {
    "postgres": "back it up with PostgreSQL's own tools: pg_dump, or pg_basebackup",
    "memory": "copy it into a log in a file: `sacho.operations.copy`",
}
"""What to do instead, by the name of the engine."""


@runtime_checkable
class SupportsBackup(Protocol):
    """An engine that can copy its log into a file while others go on writing."""

    def back_up(self, destination: Path, tell: Callable[[int, int], None]) -> Storage:
        """Write the log, as it is at one moment, durably into an empty file that is there; return it, opened.

        The copy was checked to be sound by the engine's own means, and has the same identity. `tell(done, total)` is
        called now and then; what it raises ends the backup. Raises StorageError, which may leave the file half written.
        """


class BackedUp(msgspec.Struct, frozen=True):
    """A backup that was verified: the file, which log it is, and the digest of its events."""

    path: Path
    identity: LogIdentity
    digest: Digest


def back_up(store: EventStore, destination: str | Path, *, progress: Tell = silent) -> BackedUp:
    """Write a consistent copy of a log that is in use into a new file, and verify it; writers go on meanwhile.

    The copy is made under another name beside `destination`. The engine checks that it is sound; its identity, and all
    its events up to its head, are compared with the log's. Only then it gets its name, in one step and durably. If
    anything fails, nothing is left. Only the file's owner may read it, until you allow more.

    Raises UnsupportedOperation where the engine cannot, DestinationExists where something is already, LogsDiffer if the
    copy is not equal to the log; StorageError.
    """
    storage, path = store.storage, Path(destination).absolute()
    if not isinstance(storage, SupportsBackup):
        raise UnsupportedOperation(
            "online-backup", storage.name, storage.capabilities, REMEDIES.get(storage.name, "use its own tools")
        )
    check_free(path)
    with _unnamed(path) as file:
        with closing(
            storage.back_up(file, lambda done, total: progress(Progress("copying", "pages", done, total)))
        ) as made:
            done = BackedUp(path, made.identity, _verified(storage, made, progress))
        give_name(file, path)
    return done


def _verified(log: Storage, copy: Storage, progress: Tell) -> Digest:
    """Compare a backup with the log that goes on. Raises LogsDiffer."""
    head = copy.head()
    if copy.identity != log.identity:
        raise LogsDiffer(head, "is in a log of another identity")
    comparison = Comparison(progress)
    comparison.go(in_place(log, copy, 0, head), "verifying", 0, head)
    return comparison.digesting.up_to(head)


@contextmanager
def _unnamed(path: Path) -> Iterator[Path]:
    """Give a new, empty file beside a path; in the end it is gone, with all that SQLite has put beside it."""
    file = path.with_name(f".{path.name}.{uuid4().hex}.partial")
    try:
        with told(path):
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        yield file
    finally:
        for one in (file, *beside(file)):
            one.unlink(missing_ok=True)
