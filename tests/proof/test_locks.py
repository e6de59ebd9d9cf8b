"""Opening and closing the file, here or in another process, loses nobody's locks; a fork is noticed."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

import pytest

import sacho
from sacho import RawEvent
from tests.proof.judging import check_all
from tests.proof.processes import Count, Counted, finished, run, started


def test_a_lock_held_here_outlives_stores_that_open_and_close_here_and_elsewhere(tmp_path: Path) -> None:
    """Asked from another process, since a process never sees its own locks go.

    Seen to fail when connect() opens and closes the file beside SQLite, which drops all locks of the process.
    """
    path = tmp_path / "log.db"
    url = f"sqlite:///{path}"
    with sacho.connect(url) as store:
        store.append("s-1", [RawEvent("A", 1)])
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        for _ in range(5):
            with sacho.connect(url) as again:
                assert again.head() == 1
            run("open_and_close", url, 5)
            assert run("try_to_append", f"{url}?timeout=0.05") == "StorageBusy"
        store.storage.statistics()
        assert run("try_to_append", f"{url}?timeout=0.05") == "StorageBusy"
        holder.execute("ROLLBACK")
        assert run("try_to_append", f"{url}?timeout=0.05") is None
        holder.close()
        assert store.append("s-1", [RawEvent("A", 2)]).version == 2


def test_a_lock_that_is_lost_is_seen(tmp_path: Path) -> None:
    """The same look where the process does open a file beside SQLite: the proof can fail."""
    path = tmp_path / "log.db"
    with sacho.connect(f"sqlite:///{path}"):
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        path.with_name("log.db-shm").read_bytes()
        assert run("try_to_append", f"sqlite:///{path}?timeout=0.05") is None
        holder.close()


def test_a_lock_held_by_another_process_outlives_those_who_open_and_close(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    url = f"sqlite:///{path}"
    with sacho.connect(url) as store:
        store.append("s-1", [RawEvent("A", 1)])
    with ExitStack() as stack:
        holder = stack.enter_context(started("hold_the_lock", path))
        assert holder.stdout is not None
        assert holder.stdout.readline() == b'"held"\n'
        finished(*[stack.enter_context(started("open_and_close", url, 20)) for _ in range(3)])
        assert run("try_to_append", f"{url}?timeout=0.05") == "StorageBusy"
        holder.kill()
        assert run("try_to_append", url) is None


def test_stores_that_open_and_close_beside_writers_lose_no_event(
    tmp_path: Path, soak_count: Count, counted: Counted
) -> None:
    """This process and two others write, here stores open and close all the time, and so does a fourth process."""
    path, count = tmp_path / "log.db", soak_count(5_000)
    url = f"sqlite:///{path}"
    with ExitStack() as stack:
        store = stack.enter_context(sacho.connect(url))
        writers = [stack.enter_context(started("write_plainly", url, f"other-{n}", count)) for n in range(2)]
        stack.enter_context(started("open_and_close", url, 1_000_000))
        for number in range(count):
            store.append("own-1", [RawEvent("Plain", number)])
            if number % 5 == 0:
                with sacho.connect(url) as other:
                    other.head()
                    other.storage.statistics()
        finished(*writers)
    with sacho.connect(url) as store:
        for stream in ("own-1", "other-0", "other-1"):
            assert [one.event.data for one in store.read(stream, raw=True)] == list(range(count))
    assert len(check_all(url)) == 3 * count
    counted("events written beside stores that open and close", 3 * count)


FORKS = ("append", "append many", "submit", "read", "read on", "head", "subscribe", "subscribed", "find", "version")


@pytest.mark.parametrize("ending", ["at once", "normally", "after close", "after garbage collection"])
def test_a_fork_is_noticed_and_the_parent_goes_on(log_url: str, ending: str, counted: Counted) -> None:
    """Each use of the store in a child raises StoreForked, while threads of the parent write; no child takes from it.

    Seen to fail when the engine takes every process for its own.
    """
    found = run("forking.fork_and_use", log_url, ending, ",".join(FORKS))
    assert found["children"] == dict.fromkeys(FORKS, 0)
    events = check_all(log_url)
    assert len(events) == found["acknowledged"] > 0
    engine = log_url.partition(":")[0]
    counted(f"forks noticed ({engine}, the child ends {ending}), events meanwhile", f"{len(FORKS)}, {len(events)}")


@pytest.mark.parametrize("use", ["handle", "submit command"])
def test_a_fork_is_noticed_by_command_handlers(log_url: str, use: str) -> None:
    """The parent's threads were at work on the same entity when it forked: the child must not wait for them."""
    found = run("forking.fork_and_use", log_url, "at once", ",".join([use] * 5))
    assert found["children"] == {use: 0}


def test_whoever_is_interrupted_holds_nobody_up(log_url: str, soak_count: Count, counted: Counted) -> None:
    """Ctrl-C in the midst of appends that wait for a common commit.

    Seen to fail when the committing thread leaves it to the callers alone to wake each other.
    """
    engine, bursts = log_url.partition(":")[0], soak_count(2_000)
    returned, interrupted = run("write_interrupted", log_url, bursts)
    streams: defaultdict[str | None, list[int]] = defaultdict(list)
    for one in check_all(log_url):
        streams[one.stream].append(one.event.data)
    main = streams.pop("main-1", [])
    assert interrupted > 0
    assert returned <= len(main) == len(set(main)) <= bursts
    assert list(streams.values()) == [list(range(3 * bursts))] * 4
    counted(
        f"appends of the main thread ({engine}): returned, interrupted, recorded",
        f"{returned}, {interrupted}, {len(main)}",
    )
