"""The commands that are about a log as a whole: copy it, back it up, begin a new epoch after a restore."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Final
from uuid import uuid4

from cyclopts import Parameter

from sacho.cli.lines import as_json
from sacho.cli.opening import opened
from sacho.cli.options import DEFAULT_LOG, Json, Log
from sacho.cli.progress import shown
from sacho.cli.showing import say_facts, show_rows
from sacho.operations import Copied, back_up, copy_behind
from sacho.operations import copy as copy_in_place
from sacho.store import connect

RANGE_HEADINGS: Final = ("old first", "old last", "new first", "new last")


def copy(
    source: str,
    target: str,
    *,
    new_positions: Annotated[
        bool,
        Parameter(negative=(), show_default=False, help="Copy behind the target's own events, at new positions."),
    ] = False,
    map: Annotated[
        Path | None, Parameter(help="Write to this file where events stand now: old and new positions, as JSON lines.")
    ] = None,
    json: Json = False,
) -> None:
    """Copy a log into another one and verify the copy; both are named by URLs.

    All stays as it was, positions too. After an interruption, or when the source has grown, run it again: it goes on
    where it ended. The target is made if it is not there.

    Parameters
    ----------
    source
        The URL of the log to copy.
    target
        The URL of the log to copy into: empty, or with a beginning of the source.
    """
    with opened(source) as log, _written(map) as file, shown() as progress, connect(target) as other:
        done = (copy_behind if new_positions else copy_in_place)(log, other, progress=progress)
        ranges = [one._asdict() for one in done.positions.ranges]
        if file is not None:
            file.writelines(f"{as_json(one)}\n" for one in ranges)
    say_facts({**_facts(done), **({"positions": ranges} if json else {})}, json=json)
    if new_positions and not json:
        show_rows(RANGE_HEADINGS, done.positions.ranges)


def backup(destination: Path, *, log: Log = DEFAULT_LOG) -> None:
    """Write a consistent copy of a log that is in use into a new file, and verify it. For SQLite.

    Parameters
    ----------
    destination
        The file to make; it must not be there.
    """
    with opened(log.store) as store, shown() as progress:
        done = back_up(store, destination, progress=progress)
    facts = {
        "file": str(done.path),
        "log_id": str(done.identity.id),
        "epoch": done.identity.epoch,
        "events": done.digest.events,
        "head": done.digest.head,
        "sha256": done.digest.sha256,
    }
    say_facts(facts, json=log.json)


def new_epoch(*, log: Log = DEFAULT_LOG) -> None:
    """Begin a new epoch of a log: after a restore, or whenever the newest events may have been lost.

    Checkpoints of the log's life before are then known not to belong to it.
    """
    with opened(log.store) as store:
        identity = store.storage.begin_epoch()
    say_facts({"log_id": str(identity.id), "epoch": identity.epoch}, json=log.json)


def _facts(done: Copied) -> dict[str, object]:
    return {
        "written": done.written,
        "events": done.digest.events,
        "head": done.digest.head,
        "sha256": done.digest.sha256,
    }


@contextmanager
def _written(path: Path | None) -> Iterator[IO[str] | None]:
    """Give a file that takes the path's place once all went well, or None where no path is given."""
    if path is None:
        yield None
        return
    new = path.with_name(f".{path.name}.{uuid4().hex}.partial")
    try:
        with new.open("x", encoding="utf-8") as file:
            yield file
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
