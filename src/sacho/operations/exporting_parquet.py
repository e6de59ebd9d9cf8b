"""Events in Parquet: typed columns in row groups that are small enough for little memory and large enough for queries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

import pyarrow as pa
import pyarrow.parquet as pq

from sacho.errors import OtherExport
from sacho.operations.exporting_formats import Sink, TableRow, table_row
from sacho.storage.port import Row

GROUP_ROWS: Final = 100_000
GROUP_BYTES: Final = 8 * 1024 * 1024
"""At how many events, or bytes of their columns, a row group ends."""

SCHEMA: Final = pa.schema(
    [
        pa.field("position", pa.int64(), nullable=False),
        pa.field("stream", pa.string()),
        pa.field("version", pa.int64()),
        pa.field("type", pa.string(), nullable=False),
        pa.field("schema_version", pa.int32(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("recorded_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("tags", pa.list_(pa.string()), nullable=False),
        pa.field("correlation_id", pa.string()),
        pa.field("causation_id", pa.string()),
        pa.field("actor", pa.string()),
        pa.field("metadata", pa.string(), nullable=False),
        pa.field("data", pa.string(), nullable=False),
    ]
)
REPEATED: Final = ["stream", "type", "schema_version", "tags.list.element", "correlation_id", "actor"]
"""Columns whose values come again and again; the others gain nothing from a dictionary."""


class ParquetFormat:
    """Parquet, compressed by Zstandard."""

    name = "parquet"

    def change(self, rows: list[Row]) -> Sequence[TableRow]:
        """Return the rows of the table."""
        return list(map(table_row, rows))

    @contextmanager
    def opened(self, file: BinaryIO) -> Iterator[Sink]:
        """Give what gathers rows and writes them in row groups."""
        with _writing(file) as writer:
            groups = _RowGroups(writer)
            yield groups.take
            groups.flush()

    def count(self, path: Path) -> int:
        """Return what the file's end tells. Raises OtherExport for a damaged file."""
        with _readable(path) as part:
            return int(part.metadata.num_rows)

    def join(self, paths: Iterable[Path], file: BinaryIO) -> None:
        """Write all row groups into one file, one at a time. Raises OtherExport for a damaged file."""
        with _writing(file) as writer:
            for path in paths:
                with _readable(path) as part:
                    for number in range(part.num_row_groups):
                        writer.write_table(part.read_row_group(number, use_threads=False))


class _RowGroups:
    """Gathers rows until a row group is full."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer
        self._gathered: list[pa.RecordBatch] = []
        self._rows = 0
        self._bytes = 0

    def take(self, rows: Sequence[TableRow]) -> int:
        """Take more rows; return how many."""
        columns = zip(*rows, strict=True)
        arrays = [pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)]
        batch = pa.record_batch(arrays, schema=SCHEMA)
        self._gathered.append(batch)
        self._rows += len(rows)
        self._bytes += batch.nbytes
        if self._rows >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self.flush()
        return len(rows)

    def flush(self) -> None:
        """Write what was gathered."""
        if self._gathered:
            self._writer.write_table(pa.Table.from_batches(self._gathered, SCHEMA), row_group_size=self._rows)
        self._gathered, self._rows, self._bytes = [], 0, 0


@contextmanager
def _writing(file: BinaryIO) -> Iterator[pq.ParquetWriter]:
    writer = pq.ParquetWriter(file, SCHEMA, compression="zstd", use_dictionary=REPEATED)
    try:
        yield writer
    except BaseException:
        with suppress(Exception):  # the first error is the one to tell
            writer.close()
        raise
    writer.close()


@contextmanager
def _readable(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path, pre_buffer=False) as part:
            yield part
    except pa.ArrowException as error:
        raise OtherExport(str(path), f"cannot be read ({error})", "delete it, and what stands after it") from error
