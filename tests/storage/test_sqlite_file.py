"""The SQLite file: what it is, what it refuses to be, who may change it, and who may hold it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import sacho
from sacho import Event, EventData, EventStore, RawEvent, Registry
from sacho.errors import (
    CorruptLog,
    ForeignDatabase,
    NewerSchema,
    StorageBusy,
    StorageError,
    StorageFailed,
    WrongExpectedVersion,
)
from sacho.storage.sqlite.indexing import INDEX_EVERY, INDEX_EVERY_BYTES
from sacho.storage.sqlite.schema import APPLICATION_ID


class FileNoted(Event, type="file-noted", tags=("topic:{topic}",), register=False):
    text: str
    topic: str = "none"


REGISTRY = Registry(FileNoted)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def store(path: Path) -> Iterator[EventStore]:
    with opened(path) as found:
        yield found


def opened(path: Path, options: str = "") -> EventStore:
    return sacho.connect(f"sqlite:///{path}{options}", registry=REGISTRY)


def raw(path: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(path, isolation_level=None))


def run(program: str, *arguments: object) -> str:
    """Run a program in a process of its own; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- opening ------------------------------------------------------------------------------------------


def test_a_new_file_and_an_empty_one_become_logs(path: Path) -> None:
    path.touch()
    with opened(path) as store:
        assert store.append("a-1", [FileNoted("x")]).version == 1
    with opened(path) as store:
        assert store.head() == 1


def test_the_file_bears_the_mark_and_number_of_its_schema(path: Path, store: EventStore) -> None:
    with raw(path) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert connection.execute("PRAGMA user_version").fetchone()[0] >= 1
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize(
    "content", [b"just some text\n" * 100, b"\x00" * 5_000, b"SQLite format 3\x00 but not really" * 50, b"xy"]
)
def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises((ForeignDatabase, CorruptLog)) as caught:
        opened(path)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == content


def test_a_database_of_something_else_is_refused_and_left_as_it_was(path: Path) -> None:
    with raw(path) as connection:
        connection.execute("CREATE TABLE events (mine TEXT)")
    before = path.read_bytes()
    with pytest.raises(ForeignDatabase, match="something else"):
        opened(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("pragma", ["application_id", "user_version"])
def test_a_database_with_another_mark_is_refused_though_it_is_empty(path: Path, pragma: str) -> None:
    with raw(path) as connection:
        connection.execute(f"PRAGMA {pragma} = 7")
    with pytest.raises(ForeignDatabase):
        opened(path)


def test_a_log_of_a_newer_schema_is_refused_and_left_as_it_was(path: Path) -> None:
    opened(path).close()
    with raw(path) as connection:
        connection.execute("PRAGMA user_version = 999")
    before = path.read_bytes()
    with pytest.raises(NewerSchema) as caught:
        opened(path)
    assert caught.value.found == 999
    assert caught.value.known < 999
    assert path.read_bytes() == before


@pytest.mark.parametrize("tables", ["", "CREATE TABLE log (id, epoch, indexed_to)"])
def test_a_file_with_the_mark_of_a_log_but_not_its_tables_is_an_error_of_storage(path: Path, tables: str) -> None:
    with raw(path) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        connection.execute(tables)
    with pytest.raises(StorageError, match=path.name):
        opened(path)


def test_a_damaged_file_is_named_as_such(path: Path) -> None:
    with opened(path) as store:
        store.append("a-1", [FileNoted("x" * 1_000) for _ in range(500)])
    content = bytearray(path.read_bytes())
    content[4096 * 20 :] = b"\xa5" * (len(content) - 4096 * 20)
    path.write_bytes(content)
    with pytest.raises(CorruptLog, match=path.name), opened(path) as store:
        list(store.read_all())


def test_a_missing_folder_and_a_folder_in_the_files_place_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match="folder"):
        opened(tmp_path / "not-there" / "log.db")
    assert not (tmp_path / "not-there").exists()
    with pytest.raises(StorageError):
        opened(tmp_path)


def test_a_failed_opening_leaves_the_file_free_for_others(path: Path) -> None:
    opened(path).close()
    with raw(path) as connection:
        connection.execute("PRAGMA user_version = 999")
    with pytest.raises(NewerSchema):
        opened(path)
    with raw(path) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_paths_with_spaces_and_odd_characters_are_opened_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "söme folder"
    folder.mkdir()
    with sacho.connect(f"sqlite:///{folder}/a%20b%23c%3Fd.db") as store:
        store.append("a-1", [RawEvent("X", 1)])
    assert (folder / "a b#c?d.db").exists()


# --- immutable, and readable with plain SQL -----------------------------------------------------------

COLUMNS = "(position, stream, version, type, schema_version, data, id, recorded_at)"
INTO = f"events {COLUMNS}"
INDEX = ("event_ids", "event_streams", "event_correlations", "marks")
FORBIDDEN = [
    "UPDATE events SET data = '{}'",
    "UPDATE events SET position = position + 1000",
    "UPDATE events SET stream = 'b-1' WHERE position = 2",
    "UPDATE OR REPLACE events SET position = 1 WHERE position = 2",
    "DELETE FROM events",
    "DELETE FROM events WHERE position = 2",
    f"REPLACE INTO {INTO} VALUES (2, 'z-1', 1, 'X', 1, '{{}}', x'00', 0)",
    f"INSERT INTO {INTO} VALUES (0, 'z-1', 1, 'X', 1, '{{}}', x'00', 0)",
    f"INSERT INTO {INTO} VALUES (1000000, 'z-1', 1, 'X', 1, '{{}}', x'00', 0)",
    "UPDATE event_rows SET data = '{}'",
    "UPDATE OR REPLACE event_rows SET position = 1 WHERE position = 2",
    f"INSERT INTO event_rows {COLUMNS} VALUES (2, 'z-1', 1, 'X', 1, '{{}}', x'00', 0)",
    f"INSERT INTO event_rows {COLUMNS} VALUES (2, 'z-1', 1, 'X', 1, '{{}}', x'00', 0) ON CONFLICT DO UPDATE SET data = 1",
    "DELETE FROM event_rows",
    "UPDATE marks SET last = 9",
    "DELETE FROM marks",
    "UPDATE event_ids SET position = 9",
    "DELETE FROM event_ids",
    "UPDATE event_streams SET version = version + 1000",
    "DELETE FROM event_streams",
    "UPDATE event_correlations SET position = 9",
    "DELETE FROM event_correlations",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_nobody_changes_an_event_whoever_writes_to_the_file(path: Path, statement: str) -> None:
    with opened(path) as store:
        with sacho.metadata(correlation_id="c-1"):
            store.append("a-1", [FileNoted(str(number)) for number in range(INDEX_EVERY)])
    with raw(path) as connection:
        before = connection.execute("SELECT * FROM events ORDER BY position").fetchall()
        index = [connection.execute(f"SELECT * FROM {table}").fetchall() for table in INDEX]
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(statement)
        assert connection.execute("SELECT * FROM events ORDER BY position").fetchall() == before
        assert [connection.execute(f"SELECT * FROM {table}").fetchall() for table in INDEX] == index
        assert all(index)


def test_an_operator_reads_the_log_with_plain_sql(path: Path, store: EventStore) -> None:
    store.append("a-1", [EventData(FileNoted("nul \x00 ä", "x"), metadata={"actor": "Ann"})])
    with raw(path) as connection:
        row = connection.execute(
            "SELECT stream, version, type, data ->> '$.topic', metadata ->> '$.actor', tags ->> '$[0]',"
            " json_valid(data), typeof(data), length(id) FROM events"
        ).fetchone()
    assert row == ("a-1", 1, "file-noted", "x", "Ann", "topic:x", 1, "text", 16)


def test_the_stored_data_holds_no_nul_character(path: Path, store: EventStore) -> None:
    store.append("a-1", [FileNoted("a\x00b")])
    with raw(path) as connection:
        (data,) = connection.execute("SELECT data FROM events").fetchone()
    assert "\x00" not in data
    assert [recorded.event for recorded in store.read("a-1")] == [FileNoted("a\x00b")]


# --- other processes ----------------------------------------------------------------------------------

OPEN_AND_CLOSE = """
import sys, sacho
for _ in range(3):
    with sacho.connect(sys.argv[1]) as store:
        print(store.head())
"""

APPEND = """
import sys, sacho
with sacho.connect(sys.argv[1]) as store:
    print(store.append("b-1", [sacho.RawEvent("X", 1)]).position)
"""

TRY_TO_WRITE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
try:
    connection.execute("BEGIN IMMEDIATE")
    print("written")
except sqlite3.OperationalError as error:
    print(error)
"""


def test_a_second_process_that_opens_and_closes_the_file_loses_nobodys_locks(path: Path, store: EventStore) -> None:
    store.append("a-1", [FileNoted("first")])
    with raw(path) as holder:
        holder.execute("BEGIN IMMEDIATE")
        assert run(OPEN_AND_CLOSE, store.url).split() == ["1", "1", "1"]
        assert run(TRY_TO_WRITE, path) == "database is locked\n"
        holder.execute("ROLLBACK")
    assert path.with_name("log.db-wal").exists()
    for number in range(5):
        store.append("a-1", [FileNoted(str(number))])
        run(OPEN_AND_CLOSE, store.url)
    assert run(OPEN_AND_CLOSE, store.url).split() == ["6", "6", "6"]


def test_a_second_store_of_this_process_that_is_closed_loses_nobodys_locks(path: Path, store: EventStore) -> None:
    store.append("a-1", [FileNoted("first")])
    with raw(path) as holder:
        holder.execute("BEGIN IMMEDIATE")
        for _ in range(3):
            with opened(path) as other:
                assert other.head() == 1
                assert other.storage.statistics().log_bytes > 0
        store.storage.statistics()
        assert run(TRY_TO_WRITE, path) == "database is locked\n"
        holder.execute("ROLLBACK")
    assert store.append("a-1", [FileNoted("second")]).version == 2
    assert run(OPEN_AND_CLOSE, store.url).split() == ["2", "2", "2"]


def test_an_append_of_another_process_wakes_a_subscriber(store: EventStore) -> None:
    with store.subscribe(raw=True) as live:
        assert live.next(timeout=0) is None
        run(APPEND, store.url)
        recorded = live.next(timeout=60)
    assert recorded is not None
    assert (recorded.stream, recorded.event) == ("b-1", RawEvent("X", 1))


def test_an_append_of_another_process_counts_for_versions(store: EventStore) -> None:
    store.append("b-1", [FileNoted("x")], expected=0)
    run(APPEND, store.url)
    with pytest.raises(WrongExpectedVersion) as caught:
        store.append("b-1", [FileNoted("x")], expected=1)
    assert caught.value.actual == 2


def test_a_writer_that_waits_too_long_says_so_and_writes_nothing(path: Path) -> None:
    with opened(path, "?timeout=0.05") as store, raw(path) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageBusy) as caught:
            store.append("a-1", [FileNoted("x")])
        assert caught.value.seconds == 0.05
        assert caught.value.may_have_happened is False
        holder.execute("ROLLBACK")
        assert store.head() == 0
        assert store.append("a-1", [FileNoted("x")]).version == 1


FORK = """
import os, sys, sacho
from sacho.errors import StoreForked

store = sacho.connect(sys.argv[1])
event = sacho.RawEvent("X", 1)
store.append("a-1", [event])
reading = store.read_all(raw=True)
uses = {
    "append": lambda: store.append("a-1", [event]),
    "append_many": lambda: store.append_many([sacho.Append("a-1", [event])]),
    "submit": lambda: store.submit("a-1", [event]),
    "read": lambda: list(store.read("a-1")),
    "read_all": lambda: list(store.read_all()),
    "reading": lambda: list(reading),
    "head": store.head,
    "find": lambda: store.find(sacho.uuid7()),
    "streams": lambda: list(store.streams()),
    "categories": store.categories,
    "subscribe": store.subscribe,
    "snapshot": lambda: store.storage.load_snapshot("a-1"),
}
child = os.fork()
if child == 0:
    lost = []
    for name, use in uses.items():
        try:
            use()
        except StoreForked as error:
            if "fork" not in str(error):
                lost.append(name)
        else:
            lost.append(name)
    print(",".join(lost) or "all told", flush=True)
    store.close()
    with sacho.connect(sys.argv[1]) as own:
        print(own.append("b-1", [event]).version, flush=True)
    os._exit(0)
_, status = os.waitpid(child, 0)
print(status, store.append("a-1", [event], expected=1).version)
store.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("engine", ["memory", "sqlite"])
def test_a_store_notices_a_fork(path: Path, engine: str) -> None:
    url = "memory://" if engine == "memory" else f"sqlite:///{path}"
    assert run(FORK, url).splitlines() == ["all told", "1", "0 2"]


def test_a_store_says_where_it_is_by_its_url(path: Path, store: EventStore) -> None:
    assert str(path) in repr(store)


def test_reading_a_large_log_takes_little_memory(path: Path, store: EventStore) -> None:
    import tracemalloc

    for _ in range(20):
        store.append("a-1", [FileNoted("x" * 2_000) for _ in range(1_000)])
    tracemalloc.start()
    try:
        count = sum(1 for _ in store.read_all())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 20_000
    assert peak < 16 * 1024 * 1024


def test_a_failure_in_the_middle_of_a_migration_leaves_nothing(path: Path) -> None:
    """A file with one of the log's tables already there cannot become a log, and stays as it is."""
    with raw(path) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("CREATE TABLE snapshots (mine TEXT)")
    with pytest.raises(StorageError):
        opened(path)
    with raw(path) as connection:
        names: list[Any] = connection.execute("SELECT name FROM sqlite_schema").fetchall()
    assert names == [("snapshots",)]


def test_large_events_do_not_gather_in_memory(path: Path) -> None:
    """Few of them are taken into the index, so that the writer lets go of them. Seen to fail without the bound on bytes."""
    with opened(path) as store:
        for number in range(20):
            store.append("a-1", [FileNoted(str(number), "x"), RawEvent("large", "x" * 900_000)])
        known = store.storage._writer.known  # type: ignore[attr-defined]
        assert sum(len(event.data) for _, _, _, event, _ in known.tail.entries) < INDEX_EVERY_BYTES + 2_000_000
        assert len(list(store.read("a-1", raw=True))) == store.version("a-1") == 40


def test_a_stream_in_memory_is_not_taken_for_the_newest_when_another_process_wrote(path: Path) -> None:
    """Seen to fail when what is remembered is not compared with `PRAGMA data_version`."""
    with opened(path) as store, opened(path) as other:
        store.append("a-1", [FileNoted("1")])
        other.append("a-1", [FileNoted("2")])
        assert [recorded.event.text for recorded in store.read("a-1")] == ["1", "2"]
        store.append("a-1", [FileNoted("3")], expected=2)
        assert [recorded.version for recorded in other.read("a-1", after=1)] == [2, 3]
        assert [recorded.version for recorded in store.read("a-1", after=1, limit=1)] == [2]
        assert list(store.read("a-1", after=3)) == list(store.read("a-1", after=1, to=1)) == []
