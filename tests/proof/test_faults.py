"""Faults: a full disk, a file that may not be written, locks, forks, and a rush on one entity."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import sacho
from sacho import CommandHandler, RawEvent
from sacho.aio import AsyncCommandHandler
from sacho.errors import StorageBusy, StorageFull, StorageReadOnly, StoreForked
from tests.proof.processes import ROOT, finished, started
from tests.proof.programs import Booking, registry

Count = Callable[[int], int]
Counted = Callable[[str, object], None]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "sacho", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no small file system may be mounted here, so no disk can be filled")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_a_clear_error_and_the_log_stays_whole(small_disk: Path, counted: Counted) -> None:
    path = small_disk / "log.db"
    events = [RawEvent("Large", {"pad": "x" * 1_000}) for _ in range(20)]
    with sacho.connect(f"sqlite:///{path}") as store:
        acknowledged = 0
        with pytest.raises(StorageFull, match="no space left"):
            for _ in range(1_000):
                store.append("s-1", events)
                acknowledged += len(events)
        assert store.version("s-1") == acknowledged == store.head()
        for _ in range(5):
            with pytest.raises(StorageFull):
                store.append("s-1", events * 20)
        assert store.head() == acknowledged
    bigger = small_disk.parent / "copy.db"
    shutil.copy(path, bigger)
    for suffix in ("-wal",):
        if path.with_name(f"log.db{suffix}").exists():
            shutil.copy(path.with_name(f"log.db{suffix}"), bigger.with_name(f"copy.db{suffix}"))
    with sacho.connect(f"sqlite:///{bigger}") as store:
        assert store.append("s-1", events, expected=acknowledged).version == acknowledged + len(events)
    connection = sqlite3.connect(bigger)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    counted("events acknowledged before the disk was full, all there", acknowledged)


def test_a_log_on_a_read_only_disk_can_be_read_and_refuses_appends(small_disk: Path) -> None:
    """The writer left without closing, so its write-ahead log is still there and has to be read too."""
    url = f"sqlite:///{small_disk / 'log.db'}"
    program = f"import os, sacho; sacho.connect({url!r}).append('s-1', [sacho.RawEvent('A', 1)]); os._exit(0)"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with sacho.connect(url) as store:
        assert [one.event.data for one in store.read("s-1", raw=True)] == [1]
        with pytest.raises(StorageReadOnly, match="read-only"):
            store.append("s-1", [RawEvent("A", 2)])
        assert store.head() == 1


def test_a_second_process_that_opens_and_closes_loses_nobodys_locks(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    url = f"sqlite:///{path}"
    with sacho.connect(url) as store:
        store.append("s-1", [RawEvent("A", 1)])
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with started("open_and_close", url, 20) as other:
            finished(other)
        for _ in range(20):
            with sacho.connect(url) as again:
                assert again.head() == 1
        with sacho.connect(f"{url}?timeout=0.05") as impatient, pytest.raises(StorageBusy):
            impatient.append("s-1", [RawEvent("A", 2)])
        holder.execute("ROLLBACK")
        holder.close()
        assert store.append("s-1", [RawEvent("A", 2)]).version == 2


def test_stores_that_open_and_close_beside_a_writer_lose_no_event(
    tmp_path: Path, soak_count: Count, counted: Counted
) -> None:
    url, count = f"sqlite:///{tmp_path / 'log.db'}", soak_count(5_000)
    with ExitStack() as stack:
        store = stack.enter_context(sacho.connect(url))
        writer = stack.enter_context(started("write_plainly", url, "other-1", count))
        for number in range(count):
            store.append("own-1", [RawEvent("Own", number)])
            if number % 10 == 0:
                with sacho.connect(url) as other:
                    other.head()
        finished(writer)
        for stream in ("own-1", "other-1"):
            assert [one.event.data for one in store.read(stream, raw=True)] == list(range(count))
    counted("events written beside stores that open and close", 2 * count)


def test_a_fork_is_noticed_and_the_parent_goes_on(tmp_path: Path) -> None:
    with sacho.connect(f"sqlite:///{tmp_path / 'log.db'}") as store:
        store.append("s-1", [RawEvent("A", 1)])
        for _ in range(10):
            child = os.fork()
            if child == 0:
                os._exit(_used_after_a_fork(store))
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            store.append("s-1", [RawEvent("A", 1)])
        assert store.version("s-1") == 11


def _used_after_a_fork(store: sacho.EventStore) -> int:
    uses: list[Callable[[], object]] = [
        lambda: store.append("s-1", [RawEvent("A", 1)]),
        lambda: list(store.read("s-1")),
        store.head,
        store.subscribe,
        lambda: CommandHandler(store, Booking()).handle("s-1", "x"),
    ]
    noticed = 0
    for use in uses:
        try:
            use()
        except StoreForked:
            noticed += 1
    store.close()
    return len(uses) - noticed


def test_no_command_of_a_rush_runs_out_of_retries(tmp_path: Path, soak_count: Count, counted: Counted) -> None:
    """64 tasks here and eight threads in each of two other processes, all for one stream."""
    url, each = f"sqlite:///{tmp_path / 'log.db'}", soak_count(200)

    async def rush() -> None:
        async with sacho.connect_async(url, registry=registry()) as store:
            handler = AsyncCommandHandler(store, Booking())

            async def task(number: int) -> None:
                for count in range(each):
                    await handler.handle("hot-1", f"here {number} {count}")

            await asyncio.gather(*map(task, range(64)))

    with ExitStack() as stack:
        others = [stack.enter_context(started("book", url, name, each)) for name in ("first", "second")]
        asyncio.run(rush())
        finished(*others)
    with sacho.connect(url, registry=registry()) as store:
        names = [recorded.event.name for recorded in store.read("hot-1")]
        assert CommandHandler(store, Booking()).load("hot-1").state == len(names)
    assert len(names) == len(set(names)) == each * (64 + 16)
    counted("commands of a rush on one stream, each recorded once", len(names))
