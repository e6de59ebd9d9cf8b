"""An export has every event with all that it has, goes on where it ended, and gives no half-written file its name."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import msgspec
import pyarrow.parquet as pq
import pytest

import sacho
from sacho import EventData, EventStore, Query, QueryItem, RawEvent, RecordedEvent
from sacho.cli.lines import line_of
from sacho.errors import (
    DestinationExists,
    InvalidQuery,
    MissingExtra,
    OtherExport,
    StorageFailed,
    UnknownFormat,
)
from sacho.operations import Progress, export, export_to, exporting, exporting_parquet
from sacho.operations.exporting_formats import TableRow
from sacho.storage.port import ImportedEvent
from sacho.testing.conformance.building import noted
from tests.operations.conftest import Opened
from tests.operations.logs import TEXTS, Interrupted, at, fill, grow, interrupting

FORMATS = ("parquet", "jsonl", "csv")


@pytest.fixture
def log(opened: Opened) -> EventStore:
    store = opened("sqlite")
    fill(store, 3_000)
    return store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for exports."""
    path = tmp_path / "exports"
    path.mkdir()
    return path


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part has one page of a read, a row group too."""
    monkeypatch.setattr(exporting, "PART_ROWS", 1)
    monkeypatch.setattr(exporting_parquet, "GROUP_ROWS", 1)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch, small_parts: None) -> None:
    """A page of a read has a few hundred events."""
    monkeypatch.setattr("sacho.storage.sqlite.reading.CHUNK_ROWS", 300)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def events_of(store: EventStore, query: Query = Query(), **part: Any) -> list[dict[str, Any]]:
    """Return what an export should have of each event, as a log tells it."""
    return [_expected(recorded) for recorded in store.read_all(query, raw=True, **part)]


def _expected(recorded: RecordedEvent) -> dict[str, Any]:
    return {
        "position": recorded.position,
        "stream": recorded.stream,
        "version": recorded.version,
        "type": recorded.type,
        "schema_version": recorded.schema_version,
        "id": recorded.id,
        "recorded_at": recorded.recorded_at,
        "tags": sorted(recorded.tags),
        "metadata": recorded.metadata,
        "data": recorded.event.data,
    }


def found_in(path: Path, format: str) -> list[dict[str, Any]]:
    """Return what a file, or the files of a folder, tell of each event."""
    if path.is_dir():
        return [event for one in sorted(path.glob(f"events-*.{format}")) for event in found_in(one, format)]
    if format == "parquet":
        return [_from_table(row) for row in pq.read_table(path, partitioning=None).to_pylist()]
    if format == "csv":
        with path.open(encoding="utf-8", newline="") as file:
            return [_from_csv(row) for row in csv.DictReader(file)]
    return [_from_line(line) for line in path.read_bytes().split(b"\n") if line]


def _from_line(line: bytes) -> dict[str, Any]:
    found = json.loads(line)
    return {**found, "id": UUID(found["id"]), "recorded_at": datetime.fromisoformat(found["recorded_at"])}


def _from_csv(row: dict[str, str]) -> dict[str, Any]:
    assert tuple(row) == TableRow._fields
    values: dict[str, Any] = {name: value or None for name, value in row.items()}
    for name in ("position", "version", "schema_version"):
        values[name] = int(row[name]) if row[name] else None
    values["tags"] = json.loads(row["tags"])
    values["recorded_at"] = datetime.fromisoformat(row["recorded_at"])
    if json.loads(row["metadata"]).get("actor") == "":
        values["actor"] = ""  # in CSV an empty text is an empty cell
    return _from_table(values)


def _from_table(row: dict[str, Any]) -> dict[str, Any]:
    assert tuple(row) == TableRow._fields
    metadata = json.loads(row["metadata"])
    for name in ("correlation_id", "causation_id", "actor"):
        assert row.pop(name) == metadata.get(name)
    return {**row, "id": UUID(row["id"]), "metadata": metadata, "data": json.loads(row["data"])}


# --- what is in it ------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_has_every_event_with_all_that_it_has(source: EventStore, folder: Path, format: str) -> None:
    fill(source, 3_000)
    path = folder / f"events.{format}"
    done = export(source, path)
    assert found_in(path, format) == events_of(source)
    assert (done.path, done.format, done.identity) == (path, format, source.identity)
    assert (done.written, done.events, done.head) == (3_000, 3_000, source.head())
    assert done.size == path.stat().st_size
    assert names(folder) == [path.name]


@pytest.mark.parametrize("format", FORMATS)
def test_the_events_of_a_query_and_a_range_are_exported(source: EventStore, folder: Path, format: str) -> None:
    fill(source, 1_000)
    middle = events_of(source)[500]["position"]
    for number, (query, part) in enumerate(
        [
            (Query(QueryItem(types=["열림"]), QueryItem(tags=["k:ä", "l:"])), {}),
            (Query(QueryItem(categories=["orders"])), {"after": middle}),
            (Query(), {"to": middle}),
            (Query(QueryItem(types=["Nothing"])), {}),
        ]
    ):
        path = folder / f"{number}.{format}"
        done = export(source, path, query=query, **part)
        expected = events_of(source, query, **part)
        assert found_in(path, format) == expected
        assert (done.events, done.head) == (len(expected), part.get("to", source.head()))


@pytest.mark.parametrize("format", FORMATS)
def test_the_events_of_a_correlation_id_are_exported(source: EventStore, folder: Path, format: str) -> None:
    fill(source, 1_000)
    query = Query(QueryItem(types=["Opened"], tags=["k:1"]), QueryItem(types=["Closed"]))
    expected = [one for one in events_of(source, query) if one["metadata"].get("correlation_id") == "c1"]
    assert export(source, folder / f"e.{format}", query=query, correlation_id="c1").events == len(expected) > 50
    assert found_in(folder / f"e.{format}", format) == expected


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("text", [*TEXTS, "=1+1", "@SUM(A1)", "a,b;c\r\n\"d'", "\x9b31m", "\ufeff"])
def test_text_of_any_kind_survives(opened: Opened, folder: Path, format: str, text: str) -> None:
    store = opened("memory")
    store.append("s-1", [EventData(RawEvent("A", {text: [text]}), metadata={"actor": text, "nul": text})])
    export(store, folder / f"e.{format}")
    assert found_in(folder / f"e.{format}", format) == events_of(store)


def test_metadata_that_are_no_text_stand_in_their_columns_as_json(opened: Opened, folder: Path) -> None:
    store = opened("memory")
    actor = {"name": "anna", "roles": [1, None]}
    store.append("s-1", [EventData(RawEvent("A", None), metadata={"actor": actor, "causation_id": 7})])
    export(store, folder / "e.parquet")
    (row,) = pq.read_table(folder / "e.parquet").to_pylist()
    assert (json.loads(row["actor"]), row["causation_id"], row["correlation_id"]) == (actor, "7", None)


def test_lines_are_those_of_the_command_line(log: EventStore, folder: Path) -> None:
    """Their JSON means the same; the command line writes some characters in another way."""
    export(log, folder / "e.jsonl")
    lines = (folder / "e.jsonl").read_text(encoding="utf-8").split("\n")
    expected = [line_of(recorded) for recorded in log.read_all(raw=True)]
    assert lines.pop() == ""
    assert [list(json.loads(line).items()) for line in lines] == [list(json.loads(line).items()) for line in expected]


def test_json_with_line_ends_between_its_parts_stays_one_line(opened: Opened, folder: Path) -> None:
    """Only others than Sacho write such JSON: by the import path, or straight into the database."""
    store, data = opened("sqlite"), '{\r\n  "a": 1,\n  "b": "\\n"}\r'
    event = noted(data=data, metadata='{\n"actor": "x"}')
    store.storage.import_events(
        ImportedEvent(n, "s-1", n, msgspec.structs.replace(event, id=sacho.uuid7().bytes), n) for n in (1, 2, 3)
    )
    for format in FORMATS:
        assert export(store, folder / f"e.{format}").events == 3
        assert found_in(folder / f"e.{format}", format) == events_of(store)
        export(store, f"{folder}/{format}/", format=format)
        assert export(store, f"{folder}/{format}/").events == 3


def test_duckdb_reads_all_formats_with_the_types_that_are_meant(log: EventStore, folder: Path) -> None:
    expected = sum(one["data"]["n"] for one in events_of(log))
    for format in FORMATS:
        export(log, folder / f"e.{format}")
        with duckdb.connect() as duck:
            duck.execute(f"CREATE VIEW events AS FROM '{folder}/e.{format}'")
            data = "data.n" if format == "jsonl" else "(data->>'n')::INT"
            columns = duck.execute("DESCRIBE events").fetchall()
            types = {name: type for name, type, *_ in columns}
            assert types["position"] == types["version"] == "BIGINT"
            assert types["recorded_at"].startswith("TIMESTAMP")
            query = f"SELECT sum({data}), count(DISTINCT id), max(position) FROM events"
            assert duck.execute(query).fetchone() == (expected, 3_000, log.head())


@pytest.mark.parametrize("format", FORMATS)
def test_an_empty_log_is_a_file_without_events(opened: Opened, folder: Path, format: str) -> None:
    done = export(opened("memory"), folder / f"e.{format}")
    assert (done.written, done.events, done.head) == (0, 0, 0)
    assert found_in(folder / f"e.{format}", format) == []


def test_a_range_behind_the_head_is_a_file_without_events(log: EventStore, folder: Path) -> None:
    told: list[Progress] = []
    assert export(log, folder / "e.csv", after=log.head() + 5, progress=told.append).events == 0
    assert {one.total for one in told} == {0}


@pytest.mark.parametrize(("ending", "format"), [("ndjson", "jsonl"), ("CSV", "csv"), ("Parquet", "parquet")])
def test_the_ending_tells_the_format_unless_it_is_given(
    log: EventStore, folder: Path, ending: str, format: str
) -> None:
    assert export(log, str(folder / f"e.{ending}")).format == format
    assert export(log, folder / f"f.{ending}", format="csv").format == "csv"


@pytest.mark.parametrize("format", FORMATS)
def test_a_stream_gets_what_a_file_does(log: EventStore, folder: Path, format: str) -> None:
    query, told = Query(QueryItem(types=["Opened"])), list[Progress]()
    export(log, folder / f"e.{format}", query=query, after=5, to=100_000)
    out = io.BytesIO()
    assert export_to(log, out, format=format, query=query, after=5, to=100_000, progress=told.append) > 10
    assert out.getvalue() == (folder / f"e.{format}").read_bytes()
    assert told[-1] == Progress("exporting", "positions", 99_995, 99_995)


# --- going on -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("step", "number"), [("exporting", 1), ("exporting", 2), ("exporting", 6), ("joining", 3)])
def test_an_interrupted_export_goes_on_where_it_ended(
    log: EventStore, folder: Path, format: str, step: str, number: int, small_pages: None
) -> None:
    export(log, folder / f"at-once.{format}")
    path = folder / f"e.{format}"
    with pytest.raises(Interrupted):
        export(log, path, progress=interrupting(step, number))
    assert not path.exists()
    told: list[Progress] = []
    done = export(log, path, progress=told.append)
    assert (done.written, done.events) == (3_000 - 300 * (10 if step == "joining" else max(number - 2, 0)), 3_000)
    assert path.read_bytes() == (folder / f"at-once.{format}").read_bytes()
    assert found_in(path, format) == events_of(log)
    assert names(folder) == [f"at-once.{format}", f"e.{format}"]
    for name in ("exporting", "joining"):
        steps = [one.done for one in told if one.step == name]
        assert steps == sorted(steps)
        assert steps[-1] == next(one.total for one in told if one.step == name)


def test_an_export_that_goes_on_ends_at_the_head_that_is_then(log: EventStore, folder: Path, small_pages: None) -> None:
    with pytest.raises(Interrupted):
        export(log, folder / "e.csv", progress=interrupting("exporting", 5))
    grow(log)
    assert export(log, folder / "e.csv").head == log.head()
    assert found_in(folder / "e.csv", "csv") == events_of(log)


def test_an_export_is_of_the_log_at_its_start(log: EventStore, folder: Path, small_pages: None) -> None:
    head = log.head()
    done = export(log, folder / "e.jsonl", progress=at("exporting", 3, lambda: grow(log)))
    assert (done.head, done.events) == (head, 3_000)
    beyond = export(log, folder / "f.jsonl", to=10**12, progress=at("exporting", 3, lambda: grow(log)))
    assert (beyond.head, beyond.events) == (log.head() - 4, 3_004)


@pytest.mark.parametrize("instant", ["named", "whole deleted"])
def test_what_is_left_beside_a_finished_file_is_tidied_up(
    log: EventStore, folder: Path, instant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill between the two steps."""
    path, tidy = folder / "e.csv", exporting._tidy
    monkeypatch.setattr(exporting, "_tidy", lambda partial: None)
    made = export(log, path)
    monkeypatch.setattr(exporting, "_tidy", tidy)
    assert names(folder) == ["e.csv", "e.csv.partial"]
    if instant == "whole deleted":
        for name in names(folder / "e.csv.partial"):
            if name != "_finished.json":
                (folder / "e.csv.partial" / name).unlink()
    for other in ({"query": Query(QueryItem(types=["A"]))}, {"to": 5}, {"format": "jsonl"}):
        with pytest.raises(DestinationExists):
            export(log, path, **other)
    again = export(log, path)
    assert (again.written, again.events, again.head, again.size) == (0, 3_000, made.head, made.size)
    assert names(folder) == ["e.csv"]
    with pytest.raises(DestinationExists):
        export(log, path)


# --- folders ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_a_folder_gets_what_is_new(source: EventStore, folder: Path, format: str) -> None:
    fill(source, 1_000)
    path = folder / "history"
    assert export(source, f"{path}/", format=format).written == 1_000
    head = source.head()
    first = {name: (path / name).read_bytes() for name in names(path)}
    assert export(source, path).written == 0
    assert {name: (path / name).read_bytes() for name in names(path)} == first
    grow(source)
    done = export(source, path)
    assert (done.written, done.events, done.head) == (4, 1_004, head + 4)
    assert found_in(path, format) == events_of(source)
    assert set(names(path)) - set(first) == {f"events-{head + 1:012}-{head + 4:012}.{format}"}
    assert all((path / name).read_bytes() == content for name, content in first.items())
    assert done.size == sum(one.stat().st_size for one in path.glob("events-*"))


def test_an_empty_folder_is_filled_with_parquet_unless_told_otherwise(log: EventStore, folder: Path) -> None:
    assert export(log, folder).format == "parquet"
    assert found_in(folder, "parquet") == events_of(log)
    with duckdb.connect() as duck:
        assert duck.execute(f"SELECT count(*) FROM '{folder}/*.parquet'").fetchone() == (3_000,)
    assert pq.read_table(folder).num_rows == 3_000


def test_a_folder_of_filtered_events_goes_on_behind_its_last(log: EventStore, folder: Path) -> None:
    query = Query(QueryItem(types=["Grown"]))
    assert export(log, folder, query=query).written == 0
    grow(log)
    assert export(log, folder, query=query).written == 4
    log.append("s-1", [RawEvent("Other", None)])
    assert export(log, folder, query=Query(QueryItem(types=["Grown", "Grown"]), QueryItem(["Grown"]))).written == 0
    grow(log)
    assert export(log, folder, query=query).written == 4
    assert found_in(folder, "parquet") == events_of(log, query)


def test_parts_of_a_folder_are_whole_and_in_place_whenever_the_export_ends(
    log: EventStore, folder: Path, small_pages: None
) -> None:
    for number in (1, 2, 3, 1, 4):
        before = found_in(folder, "csv")
        with pytest.raises(Interrupted):
            export(log, folder, format="csv", progress=interrupting("exporting", number))
        found = found_in(folder, "csv")
        assert found == events_of(log)[: len(found)]
        assert len(found) == len(before) + 300 * max(number - 2, 0)
    export(log, folder)
    assert found_in(folder, "csv") == events_of(log)
    assert "_part" not in names(folder)


# --- refusals -----------------------------------------------------------------------------------------


def left_alone(folder: Path) -> Callable[[], bool]:
    before = {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}
    return lambda: {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")} == before


@pytest.mark.parametrize("name", ["e.csv", "e.csv.partial/diary", "e.csv.partial", "folder/diary", "folder"])
def test_nothing_of_others_is_touched(log: EventStore, folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("a diary")
    is_same = left_alone(folder)
    with pytest.raises(DestinationExists) as refused:
        export(log, f"{folder}/folder/" if "folder" in name else folder / "e.csv")
    assert refused.value.where.endswith(name.removesuffix("/diary"))
    assert is_same()


def test_a_link_to_nowhere_is_not_followed(log: EventStore, folder: Path) -> None:
    (folder / "e.csv").symlink_to(folder / "nowhere")
    with pytest.raises(DestinationExists):
        export(log, folder / "e.csv")
    assert names(folder) == ["e.csv"]


def test_what_comes_meanwhile_is_not_overwritten(log: EventStore, folder: Path) -> None:
    with pytest.raises(DestinationExists):
        export(log, folder / "e.csv", progress=at("joining", 1, lambda: (folder / "e.csv").write_text("a diary")))
    with pytest.raises(DestinationExists):
        export(log, folder / "e.csv")
    assert (folder / "e.csv").read_text() == "a diary"
    (folder / "e.csv").unlink()
    assert export(log, folder / "e.csv").events == 3_000
    assert names(folder) == ["e.csv"]


@pytest.mark.parametrize("is_folder", [True, False])
def test_an_export_of_something_else_is_not_gone_on_with(
    log: EventStore, opened: Opened, folder: Path, is_folder: bool, small_pages: None
) -> None:
    path = folder if is_folder else folder / "e.data"
    other = opened("sqlite")
    with pytest.raises(Interrupted):
        export(log, path, format="csv", query=Query(QueryItem(["Opened"])), progress=interrupting("exporting", 4))
    is_same = left_alone(folder)
    query = Query(QueryItem(["Opened"]))
    refusals: list[tuple[str, EventStore, dict[str, Any]]] = [
        ("another log", other, {"query": query}),
        ("another format, csv", log, {"query": query, "format": "jsonl"}),
        ("other filters", log, {"query": Query(QueryItem(["Closed"]))}),
        ("other filters", log, {}),
        ("other filters", log, {"query": query, "correlation_id": "c1"}),
        ("begins after position 0", log, {"query": query, "after": 1}),
        ("more than position 3", log, {"query": query, "to": 3}),
    ]
    for reason, store, options in refusals:
        with pytest.raises(OtherExport, match=reason) as refused:
            export(store, path, **{"format": "csv", **options})
        assert "delete" in str(refused.value)
        assert is_same()
    log.storage.begin_epoch()
    with pytest.raises(OtherExport, match="epoch 1 of the log, which is in epoch 2 now"):
        export(log, path, format="csv", query=query)
    assert is_same()


def test_a_folder_that_another_export_writes_is_left_to_it(log: EventStore, folder: Path) -> None:
    export(log, folder)
    grow(log)
    with (folder / "_lock").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(OtherExport, match="wait"):
            export(log, folder)
    assert export(log, folder).written == 4


@pytest.mark.parametrize("number", [0, 1])
def test_a_part_that_is_missing_is_told(log: EventStore, folder: Path, number: int, small_pages: None) -> None:
    export(log, folder)
    part = sorted(folder.glob("events-*"))[number]
    part.unlink()
    with pytest.raises(OtherExport, match=f"position {int(part.name.split('-')[1])}"):
        export(log, folder)


def test_a_damaged_part_is_told_and_made_again_once_it_is_deleted(
    log: EventStore, folder: Path, small_pages: None
) -> None:
    export(log, folder)
    part = max(folder.glob("events-*"))
    part.write_bytes(part.read_bytes()[:-5])
    with pytest.raises(OtherExport, match="delete it") as refused:
        export(log, folder)
    assert refused.value.where == str(part)
    part.unlink()
    assert export(log, folder).written == 300
    assert found_in(folder, "parquet") == events_of(log)


def test_damaged_facts_about_an_export_are_told(log: EventStore, folder: Path) -> None:
    export(log, folder)
    (folder / "_export.json").write_text("{}")
    with pytest.raises(OtherExport, match="delete it"):
        export(log, folder)


@pytest.mark.parametrize(("name", "format"), [("e.txt", None), ("e", None), ("e.csv", "xml"), ("folder/", "xml")])
def test_an_unknown_format_is_told_before_anything_is_made(
    log: EventStore, folder: Path, name: str, format: str | None
) -> None:
    with pytest.raises(UnknownFormat) as refused:
        export(log, f"{folder}/{name}", format=format)
    assert refused.value.known == FORMATS
    assert names(folder) == []


def test_without_its_library_parquet_says_which_extra_brings_it(
    log: EventStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "sacho.operations.exporting_parquet")
    monkeypatch.delattr("sacho.operations.exporting_parquet")
    for destination in (folder / "e.parquet", f"{folder}/history/"):
        with pytest.raises(MissingExtra, match=r"sacho\[export\]"):
            export(log, destination)
    assert names(folder) == []
    assert export(log, folder / "e.csv").events == 3_000


@pytest.mark.parametrize("name", ["nowhere/e.csv", "nowhere/folder/", "file/e.csv"])
def test_a_place_that_cannot_be_written_is_told(log: EventStore, folder: Path, name: str) -> None:
    (folder / "file").touch()
    with pytest.raises(StorageFailed, match="cannot be written"):
        export(log, f"{folder}/{name}")
    assert names(folder) == ["file"]


def test_what_cannot_be_meant_is_told(log: EventStore, folder: Path) -> None:
    for wrong in ({"after": -1}, {"to": -1}, {"query": "all"}):
        with pytest.raises(InvalidQuery):
            export(log, folder / "e.csv", **wrong)
    assert names(folder) == []


def test_a_limit_of_the_file_size_leaves_whole_parts_to_go_on_with(
    log: EventStore, folder: Path, small_pages: None
) -> None:
    for format in FORMATS:
        path = folder / f"e.{format}"
        export(log, f"{folder}/{format}/", format=format)
        largest = max(part.stat().st_size for part in (folder / format).glob("events-*"))
        with limited_files(largest + 1_000), pytest.raises(StorageFailed, match="too large"):
            export(log, path)
        assert not path.exists()
        assert found_in(folder / f"e.{format}.partial", format) == events_of(log)
        assert export(log, path).written == 0
        assert found_in(path, format) == events_of(log)


@contextmanager
def limited_files(size: int) -> Iterator[None]:
    """Within the block no file of this process can grow over some bytes."""
    handler, before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_large_events_are_exported(opened: Opened, folder: Path) -> None:
    store, limit = opened("sqlite"), csv.field_size_limit(2**20)
    for number in range(60):
        store.append("large-1", [RawEvent("Large", {"n": number, "pad": os.urandom(250_000).hex()})])
    for format in FORMATS:
        export(store, folder / f"e.{format}")
        assert found_in(folder / f"e.{format}", format) == events_of(store)
    csv.field_size_limit(limit)
    assert pq.ParquetFile(folder / "e.parquet").num_row_groups > 1
