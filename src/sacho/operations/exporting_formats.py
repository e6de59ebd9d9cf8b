"""The formats of an export: JSON lines as the command line prints and takes them, CSV, and Parquet where its library is.

Data are left as they are stored: their JSON text is never decoded on the way.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, Protocol, TypeAlias

import msgspec

from sacho.errors import MissingExtra, UnknownFormat
from sacho.storage.port import Row, moment

Sink: TypeAlias = Callable[[Sequence[Any]], int]
"""Writes what a format has made of some events; returns how many these were."""

ENDINGS: Final = {".parquet": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}
"""Which format a file's ending means."""

NAMES: Final = tuple(dict.fromkeys(ENDINGS.values()))

CHUNK_BYTES: Final = 1024 * 1024


class TableRow(NamedTuple):
    """The columns of a table, in their order. `recorded_at` is microseconds since 1970 UTC, the last two are JSON text."""

    position: int
    stream: str | None
    version: int | None
    type: str
    schema_version: int
    id: str
    recorded_at: int
    tags: list[str]
    correlation_id: str | None
    causation_id: str | None
    actor: str | None
    metadata: str
    data: str


class Format(Protocol):
    """How events are written to a file. A file of no events is a whole one, too."""

    name: str

    def change(self, rows: list[Row]) -> Sequence[Any]:
        """Return what is written of each event."""

    def opened(self, file: BinaryIO) -> AbstractContextManager[Sink]:
        """Give what writes into a file. After the block, if all went well, all has been handed to the file."""

    def count(self, path: Path) -> int:
        """Return how many events a file of this format has."""

    def join(self, paths: Iterable[Path], file: BinaryIO) -> None:
        """Write the events of several files of this format into one."""


class TextFormat:
    """A line for each event, behind a header or none."""

    def __init__(self, name: str, header: bytes, line: Callable[[Row], bytes]) -> None:
        self.name = name
        self._header = header
        self._line = line

    def change(self, rows: list[Row]) -> Sequence[bytes]:
        """Return the lines."""
        return list(map(self._line, rows))

    @contextmanager
    def opened(self, file: BinaryIO) -> Iterator[Sink]:
        """Write the header, and give what writes lines."""
        file.write(self._header)

        def written(lines: Sequence[bytes]) -> int:
            file.write(b"".join(lines))
            return len(lines)

        yield written

    def count(self, path: Path) -> int:
        """Count the lines but for the header."""
        with path.open("rb") as file:
            lines = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(CHUNK_BYTES), b""))
        return lines - self._header.count(b"\n")

    def join(self, paths: Iterable[Path], file: BinaryIO) -> None:
        """Write the header once, and then all lines."""
        file.write(self._header)
        for path in paths:
            with path.open("rb") as part:
                part.seek(len(self._header))
                shutil.copyfileobj(part, file, CHUNK_BYTES)


def format_of(name: str) -> Format:
    """Return a format by name. Raises UnknownFormat; MissingExtra where the format's library is not installed."""
    if name == "jsonl":
        return TextFormat(name, b"", _json_line)
    if name == "csv":
        return TextFormat(name, _csv(TableRow._fields).encode(), _csv_line)
    if name != "parquet":
        raise UnknownFormat(name, NAMES)
    try:
        from sacho.operations.exporting_parquet import ParquetFormat
    except ImportError as error:
        raise MissingExtra("exporting to Parquet", "export") from error
    return ParquetFormat()


def name_by_ending(path: Path) -> str:
    """Return the name of the format that a file's ending means. Raises UnknownFormat."""
    found = ENDINGS.get(path.suffix.lower())
    if found is None:
        raise UnknownFormat(path.suffix, NAMES)
    return found


def table_row(row: Row) -> TableRow:
    """Return an event as a row of a table."""
    position, stream, version, type, schema_version, data, id, tags, metadata, at = row
    told = _told(metadata) if metadata else _NOTHING
    return TableRow(
        position,
        stream,
        version,
        type,
        schema_version,
        _uuid(id),
        at,
        _names(tags),
        _text(told.correlation_id),
        _text(told.causation_id),
        _text(told.actor),
        metadata or "{}",
        data,
    )


class _Told(msgspec.Struct):
    """The usual keys of metadata."""

    correlation_id: Any = None
    causation_id: Any = None
    actor: Any = None


class _Line(msgspec.Struct):
    """An event as the command line prints it with `--json`."""

    stream: str | None
    version: int | None
    position: int
    type: str
    schema_version: int
    id: str
    tags: list[str]
    metadata: msgspec.Raw
    recorded_at: datetime
    data: msgspec.Raw


class _Echo:
    """A file whose `write` returns what it is given, which is what writing a row returns then."""

    def write(self, text: str) -> str:
        return text


_NOTHING: Final = _Told()
_told = msgspec.json.Decoder(_Told).decode
_list = msgspec.json.Decoder(list[str]).decode
_encode = msgspec.json.Encoder().encode
_csv: Callable[[Iterable[Any]], str] = csv.writer(_Echo(), lineterminator="\n").writerow


def _json_line(row: Row) -> bytes:
    position, stream, version, type, schema_version, data, id, tags, metadata, at = row
    values = msgspec.Raw(_on_one_line(metadata or "{}")), moment(at), msgspec.Raw(_on_one_line(data))
    line = _Line(stream, version, position, type, schema_version, _uuid(id), _names(tags), *values)
    return _encode(line) + b"\n"


def _csv_line(row: Row) -> bytes:
    values = table_row(row)
    at = moment(values.recorded_at).isoformat(timespec="microseconds").replace("+00:00", "Z")
    metadata, data = _on_one_line(values.metadata), _on_one_line(values.data)
    tags = _encode(values.tags).decode()
    return _csv(values._replace(recorded_at=at, tags=tags, metadata=metadata, data=data)).encode()  # type: ignore[arg-type]  # a row of text


def _on_one_line(json: str) -> str:
    """Return JSON text without line ends; they stand between its parts only, if somebody else wrote it."""
    return json.replace("\n", " ").replace("\r", " ") if "\n" in json or "\r" in json else json


def _names(tags: str | None) -> list[str]:
    return _list(tags) if tags else []


def _text(value: Any) -> str | None:
    """Return text as it is, and any other value as JSON."""
    return value if value is None or isinstance(value, str) else _encode(value).decode()


def _uuid(id: bytes) -> str:
    text = id.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
