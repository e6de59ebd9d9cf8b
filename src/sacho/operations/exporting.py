"""An export: events as files for other tools (Parquet, JSON lines, CSV), in bounded memory, gone on with after any end.

Events are written in parts. A folder keeps them, and a later export adds what is new; for a single file they stand in a
folder beside it until all are there, and are joined then. Nothing half written ever has the final name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from sacho.errors import DestinationExists, OtherExport
from sacho.events import Query
from sacho.operations.exporting_formats import Format, format_of, name_by_ending
from sacho.operations.exporting_parts import (
    BEGIN_ANEW,
    Meaning,
    Parts,
    check_ours,
    held,
    items_of,
    meaning_of,
    told,
    write_durably,
)
from sacho.operations.files import give_name
from sacho.operations.pipeline import EVERYTHING, Along, Progress, Tell, pumped, silent
from sacho.storage.port import LogIdentity, Row, Storage
from sacho.store import EventStore
from sacho.store.event_store import check_range, checked_query

PART_ROWS: Final = 100_000
PART_BYTES: Final = 64 * 1024 * 1024
"""At how many events, or bytes of its file, a part ends: so much is lost at most when an export is killed."""

WHOLE: Final = "_whole"
FINISHED: Final = "_finished.json"
FOLDER_FORMAT: Final = "parquet"


class Exported(msgspec.Struct, frozen=True):
    """What an export has made: where, in which format, of which log, and up to which position of it all is there.

    `written` is how many events this run wrote, `events` how many are there in all, `size` bytes.
    """

    path: Path
    format: str
    identity: LogIdentity
    written: int
    events: int
    head: int
    size: int


class _Finished(msgspec.Struct, frozen=True):
    """What stands beside a file while it gets its name and until all is tidied up."""

    meaning: Meaning
    made: Exported


class _Selection(msgspec.Struct, frozen=True):
    """Which events of a log are exported."""

    query: Query
    correlation_id: str | None
    after: int
    to: int

    def pages(self, storage: Storage, after: int) -> Iterator[list[Row]]:
        """Yield those of the events that stand after a position."""
        if self.correlation_id is None:
            yield from storage.read_all(self.query, after=after, to=self.to, limit=None, backwards=False)
            return
        for page in storage.correlated(self.correlation_id, after=after, to=self.to):
            rows = [row for row in page if self.query.matches(row[3], _tags(row[7]) if row[7] else (), row[1])]
            if rows:
                yield rows

    def meaning(self, identity: LogIdentity, format: str) -> Meaning:
        """Return what an export of them means."""
        return Meaning(*identity, format, items_of(self.query), self.correlation_id, self.after)


def export(
    store: EventStore,
    destination: str | Path,
    *,
    format: str | None = None,
    query: Query = EVERYTHING,
    correlation_id: str | None = None,
    after: int = 0,
    to: int | None = None,
    progress: Tell = silent,
) -> Exported:
    """Write the events that match, with after < position <= to (the head, if it is not given), to a file or a folder.

    The format is `parquet`, `jsonl` or `csv`; a file's ending tells it, too. A destination that is a folder, or ends
    with `/`, holds files `events-FIRST-LAST` (Parquet unless told otherwise), and a later export adds what is new.
    A file is made under another name and appears in one step, whole; until then its parts stand beside it, in a folder
    that ends with `.partial`. After an interruption, whatever it was, export again: it goes on where it ended.
    The log may be in use. Reads raw, in bounded memory.

    Raises DestinationExists where something else is, or the file is there already; OtherExport if what is there is of an
    export of another log, epoch, format, range or other filters; UnknownFormat; MissingExtra; InvalidQuery; StorageFull,
    StorageFailed and the rest of StorageError.
    """
    meant = _selection(store, query, correlation_id, after, to)
    path = Path(destination).absolute()
    with told(path):
        if path.is_dir() or str(destination).endswith(("/", os.sep)):
            return _into_folder(store, path, format, meant, progress)
        return _into_file(store, path, format_of(format or name_by_ending(path)), meant, progress)


def export_to(
    store: EventStore,
    out: BinaryIO,
    *,
    format: str,
    query: Query = EVERYTHING,
    correlation_id: str | None = None,
    after: int = 0,
    to: int | None = None,
    progress: Tell = silent,
) -> int:
    """Write the events to a stream, such as a pipe or an upload, from the beginning to the end; return how many.

    Takes what `export` takes. Raises UnknownFormat, MissingExtra, InvalidQuery, StorageError, and what `out` raises.
    """
    meant = _selection(store, query, correlation_id, after, to)
    kind = format_of(format)
    along = Along(progress, "exporting", after, meant.to)
    with kind.opened(out) as sink:
        written = pumped(meant.pages(store.storage, after), kind.change, sink, along)
    along.end()
    return written


def _selection(store: EventStore, query: Query, correlation_id: str | None, after: int, to: int | None) -> _Selection:
    checked_query(query)
    check_range(after, to, None)
    head = store.head()
    return _Selection(query, correlation_id, after, max(after, head if to is None else min(to, head)))


def _into_folder(store: EventStore, path: Path, name: str | None, meant: _Selection, tell: Tell) -> Exported:
    """Add what is new to the parts in a folder."""
    if name is None and path.is_dir():
        check_ours(path)
        there = meaning_of(path)
        name = None if there is None else there.format
    kind = format_of(name or FOLDER_FORMAT)
    with held(path, meant.meaning(store.identity, kind.name)) as parts:
        written, events = _extended(store.storage, parts, kind, meant, tell)
        size = sum(part.path.stat().st_size for part in parts.all)
    return Exported(path, kind.name, store.identity, written, events, meant.to, size)


def _into_file(store: EventStore, path: Path, kind: Format, meant: _Selection, tell: Tell) -> Exported:
    """Bring the parts beside a file to their end, join them, give the file its name, and tidy up."""
    partial = path.with_name(f"{path.name}.partial")
    meaning = meant.meaning(store.identity, kind.name)
    if os.path.lexists(path):
        return _tidied(path, partial, meaning, meant.to)
    with held(partial, meaning) as parts:
        written, events = _extended(store.storage, parts, kind, meant, tell)
        _join(parts, partial / WHOLE, kind, meant, tell)
        size = (partial / WHOLE).stat().st_size
        made = Exported(path, kind.name, store.identity, written, events, meant.to, size)
        write_durably(partial / FINISHED, msgspec.json.encode(_Finished(meaning, made), enc_hook=str))
        give_name(partial / WHOLE, path)
        _tidy(partial)
    return made


def _extended(storage: Storage, parts: Parts, kind: Format, meant: _Selection, tell: Tell) -> tuple[int, int]:
    """Write parts until all events are there; return how many were written now, and how many are there in all."""
    if parts.last > meant.to:
        reason = f"holds events up to position {parts.last}, which is more than position {meant.to}"
        raise OtherExport(str(parts.folder), reason, BEGIN_ANEW)
    before, written = sum(kind.count(part.path) for part in parts.all), 0
    along = Along(tell, "exporting", parts.last, meant.to)
    while count := _next_part(storage, parts, kind, meant, along):
        written += count
    along.end()
    return written, before + written


def _next_part(storage: Storage, parts: Parts, kind: Format, meant: _Selection, along: Callable[[Row], None]) -> int:
    """Write the next part and return how many events it has. At 0 there is none: all are there.

    Each part is a read of its own, so where it ends depends on nothing but the log and where it begins.
    """
    last = parts.last

    def passed(row: Row) -> None:
        nonlocal last
        last = row[0]
        along(row)

    with parts.unnamed() as file, kind.opened(file) as sink:
        pages = _until_full(meant.pages(storage, parts.last), file)
        count = pumped(pages, kind.change, sink, passed)
    if count:
        parts.name(last)
    return count


def _until_full(pages: Iterator[list[Row]], file: BinaryIO) -> Iterator[list[Row]]:
    rows = 0
    for page in pages:
        yield page
        rows += len(page)
        if rows >= PART_ROWS or file.tell() >= PART_BYTES:
            return


def _join(parts: Parts, whole: Path, kind: Format, meant: _Selection, tell: Tell) -> None:
    """Write the parts into one file, durably."""
    total = parts.last - meant.after

    def paths() -> Iterator[Path]:
        for part in parts.all:
            tell(Progress("joining", "positions", part.first - 1 - meant.after, total))
            yield part.path
        tell(Progress("joining", "positions", total, total))

    with whole.open("wb") as file:
        kind.join(paths(), file)
        file.flush()
        os.fsync(file.fileno())


def _tidied(path: Path, partial: Path, meaning: Meaning, to: int) -> Exported:
    """Tidy up after an export that ended when its file had its name; return what it made. Else DestinationExists."""
    try:
        found = msgspec.json.decode((partial / FINISHED).read_bytes(), type=_Finished, dec_hook=_made_of)
    except (FileNotFoundError, NotADirectoryError):
        with suppress(OSError):
            partial.rmdir()  # all that an export leaves if it ends just before it does this itself
        raise DestinationExists(str(path)) from None
    whole = partial / WHOLE
    is_ours = not whole.exists() or whole.samefile(path)
    if not is_ours or found.meaning != meaning or found.made.head > to:
        raise DestinationExists(str(path))
    _tidy(partial)
    return msgspec.structs.replace(found.made, path=path, written=0)


def _tidy(partial: Path) -> None:
    """Delete what an export has left beside its finished file; what tells that it is finished comes last."""
    order = {WHOLE: 1, FINISHED: 2}
    for path in sorted(partial.iterdir(), key=lambda path: order.get(path.name, 0)):
        with suppress(OSError):  # what somebody else has put there stays
            path.unlink()
    with suppress(OSError):
        partial.rmdir()


def _made_of(kind: type[Any], text: str) -> Any:
    return kind(text)


_tags = msgspec.json.Decoder(tuple[str, ...]).decode
