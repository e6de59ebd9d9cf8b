"""A backup is whole, checked and named in one step; or it is not there at all."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

import sacho
from sacho import EventStore, RawEvent
from sacho.errors import (
    CorruptLog,
    DestinationExists,
    LogsDiffer,
    StorageFailed,
    StorageFull,
    StoreClosed,
    UnsupportedOperation,
)
from sacho.operations import Progress, SupportsBackup, back_up, backing_up, digest
from sacho.storage.port import Snapshot, Storage
from sacho.storage.sqlite import backing_up as sqlite_backing_up
from sacho.storage.sqlite.connecting import open_connection
from tests.operations.conftest import Opened
from tests.operations.logs import Interrupted, at, fill, grow, interrupting, rows
from tests.proof.judging import check_file


@pytest.fixture
def log(opened: Opened) -> EventStore:
    store = opened("sqlite")
    fill(store, 3_000)
    grow(store)
    return store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for backups."""
    path = tmp_path / "backups"
    path.mkdir()
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_backup_is_the_log(log: EventStore, folder: Path) -> None:
    log.storage.save_snapshot(Snapshot("seats-1", 1, "f", b"state"))
    done = back_up(log, folder / "backup.db")
    assert names(folder) == ["backup.db"]
    assert done.path == folder / "backup.db"
    check_file(done.path)
    with sacho.connect(f"sqlite:///{done.path}") as copy:
        assert rows(copy) == rows(log)
        assert copy.identity == log.identity == done.identity
        assert digest(copy) == digest(log) == done.digest
        assert copy.storage.load_snapshot("seats-1") == log.storage.load_snapshot("seats-1")
        assert copy.append("seats-1", [RawEvent("Next", 1)]) == log.append("seats-1", [RawEvent("Next", 1)])


def test_an_empty_log_has_an_empty_backup(opened: Opened, folder: Path) -> None:
    done = back_up(opened("sqlite"), str(folder / "backup.db"))
    assert (done.digest.events, done.digest.head) == (0, 0)
    check_file(done.path)


def test_a_backup_is_of_one_moment_whoever_writes_meanwhile(
    log: EventStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Appends between any two steps neither come into it nor make it begin anew."""
    monkeypatch.setattr(sqlite_backing_up, "STEP_PAGES", 10)
    before, told = digest(log), []

    def grown(progress: Progress) -> None:
        told.append(progress)
        assert len(told) < 1_000
        grow(log, 1)

    done = back_up(log, folder / "backup.db", progress=grown)
    assert done.digest == before
    pages = [one.done for one in told if one.unit == "pages"]
    assert len(pages) > 10
    assert pages == sorted(set(pages))
    assert log.head() > before.head
    check_file(done.path)


def test_only_its_owner_may_read_a_backup(log: EventStore, folder: Path) -> None:
    back_up(log, folder / "backup.db")
    assert stat.S_IMODE((folder / "backup.db").stat().st_mode) == 0o600


# --- what is there already ----------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["", "-wal", "-shm", "-journal"])
def test_nothing_is_overwritten_nor_taken_for_a_part_of_the_backup(log: EventStore, folder: Path, ending: str) -> None:
    (folder / f"backup.db{ending}").write_bytes(b"a diary")
    with pytest.raises(DestinationExists) as refused:
        back_up(log, folder / "backup.db")
    assert refused.value.where == str(folder / f"backup.db{ending}")
    assert names(folder) == [f"backup.db{ending}"]
    assert (folder / f"backup.db{ending}").read_bytes() == b"a diary"


def test_a_link_to_nowhere_is_not_followed(log: EventStore, folder: Path) -> None:
    (folder / "backup.db").symlink_to(folder / "nowhere")
    with pytest.raises(DestinationExists):
        back_up(log, folder / "backup.db")
    assert names(folder) == ["backup.db"]


@pytest.mark.parametrize("has_links", [True, False])
def test_what_comes_meanwhile_is_not_overwritten(
    log: EventStore, folder: Path, has_links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_links:
        monkeypatch.setattr(os, "link", without_links)
    diary = at("verifying", 1, lambda: (folder / "backup.db").write_bytes(b"a diary"))
    with pytest.raises(DestinationExists):
        back_up(log, folder / "backup.db", progress=diary)
    assert names(folder) == ["backup.db"]
    assert (folder / "backup.db").read_bytes() == b"a diary"


def test_a_file_system_without_hard_links_will_do(
    log: EventStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", without_links)
    done = back_up(log, folder / "backup.db")
    assert names(folder) == ["backup.db"]
    check_file(done.path)


def without_links(*_: object) -> None:
    raise PermissionError(1, "Operation not permitted")


# --- nothing is left behind ---------------------------------------------------------------------------


@pytest.mark.parametrize(("step", "number"), [("copying", 1), ("copying", 2), ("verifying", 1), ("verifying", 3)])
@pytest.mark.parametrize("error", [Interrupted, KeyboardInterrupt])
def test_an_interrupted_backup_leaves_nothing(
    log: EventStore, folder: Path, step: str, number: int, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_backing_up, "STEP_PAGES", 10)

    def interrupt() -> None:
        assert names(folder) != []
        raise error

    with pytest.raises(error):
        back_up(log, folder / "backup.db", progress=at(step, number, interrupt))
    assert names(folder) == []
    assert back_up(log, folder / "backup.db").digest == digest(log)


def test_a_log_goes_on_after_an_interrupted_backup(log: EventStore, folder: Path) -> None:
    """Its connection is given back without a transaction: it sees what is written later."""
    with pytest.raises(Interrupted):
        back_up(log, folder / "backup.db", progress=interrupting("copying", 1))
    grow(log)
    assert len(rows(log)) == 3_008


@pytest.mark.parametrize(
    "change", ["UPDATE event_rows SET recorded_at = 1 WHERE position = ?", "UPDATE log SET epoch = 9"]
)
def test_a_backup_that_is_not_the_log_is_not_named(
    log: EventStore, folder: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = sqlite_backing_up.copy_file
    place = rows(log)[2_000][0]

    def wrong(source: sqlite3.Connection, path: Path, destination: Path, tell: Any) -> None:
        original(source, path, destination, tell)
        connection = sqlite3.connect(destination)
        connection.execute("DROP TRIGGER event_rows_are_never_updated")
        connection.execute(change, (place,) * change.count("?"))
        connection.commit()
        connection.close()

    monkeypatch.setattr("sacho.storage.sqlite.engine.copy_file", wrong)
    with pytest.raises(LogsDiffer, match="time" if "?" in change else "identity") as differ:
        back_up(log, folder / "backup.db")
    assert differ.value.position == (place if "?" in change else log.head())
    assert names(folder) == []


def test_a_damaged_log_has_no_backup(log: EventStore, folder: Path, tmp_path: Path) -> None:
    path = next(tmp_path.glob("*.db"))
    log.close()
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 2_000] = b"\xff" * 2_000
    path.write_bytes(data)
    with sacho.connect(f"sqlite:///{path}") as damaged, pytest.raises(CorruptLog) as found:
        back_up(damaged, folder / "backup.db")
    assert found.value.where == str(path)
    assert names(folder) == []


def test_a_log_that_reads_well_but_is_not_sound_has_no_backup(log: EventStore, folder: Path, tmp_path: Path) -> None:
    path = next(tmp_path.glob("*.db"))
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.execute("INSERT INTO log (one, id, epoch) VALUES (2, 'x', 1)")
    connection.commit()
    connection.close()
    with pytest.raises(CorruptLog, match="its copy is not sound: CHECK constraint failed in log") as found:
        back_up(log, folder / "backup.db")
    assert found.value.where == str(path)
    assert names(folder) == []


def test_a_full_disk_is_told_of_the_destination(log: EventStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = open_connection

    def small(*arguments: Any, **named: Any) -> sqlite3.Connection:
        connection = original(*arguments, **named)
        connection.execute("PRAGMA max_page_count = 20")
        return connection

    monkeypatch.setattr(sqlite_backing_up, "open_connection", small)
    with pytest.raises(StorageFull) as full:
        back_up(log, folder / "backup.db")
    assert str(folder) in full.value.where
    assert names(folder) == []


def test_a_folder_that_is_not_there_is_told(log: EventStore, folder: Path) -> None:
    with pytest.raises(StorageFailed, match="cannot be written"):
        back_up(log, folder / "nowhere" / "backup.db")
    assert names(folder) == []


def test_a_closed_log_has_no_backup(log: EventStore, folder: Path) -> None:
    log.close()
    with pytest.raises(StoreClosed):
        back_up(log, folder / "backup.db")
    assert names(folder) == []


# --- engines that cannot ------------------------------------------------------------------------------


@pytest.mark.parametrize(("engine", "remedy"), [("memory", "sacho.operations.copy"), ("postgres", "pg_dump")])
def test_an_engine_that_cannot_says_what_to_do_instead(opened: Opened, folder: Path, engine: str, remedy: str) -> None:
    with pytest.raises(UnsupportedOperation, match=remedy) as refused:
        back_up(opened(engine), folder / "backup.db")
    assert (refused.value.capability, refused.value.engine) == ("online-backup", engine)
    assert names(folder) == []


def test_engines_are_known_by_what_they_can_do(opened: Opened) -> None:
    found: list[Storage] = [opened("memory").storage, opened("sqlite").storage]
    assert [isinstance(one, SupportsBackup) for one in found] == [False, True]
    assert set(backing_up.REMEDIES) == {"memory", "postgres"}
