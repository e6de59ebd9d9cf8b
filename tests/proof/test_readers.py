"""Readers: nothing appears late, memory stays small, thousands may wait, the write-ahead log stays bounded."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import sacho
from sacho import EventStore, Query, QueryItem, RawEvent
from tests.conftest import IS_SOAK
from tests.postgres_server import fresh_schema
from tests.proof.judging import check_all
from tests.proof.processes import WAIT, Count, Counted, finished, run, started
from tests.proof.programs import in_threads, poll, switching_often, wal_bytes

SUBSCRIBERS = 2_000
THREADS_OF_A_HANDFUL = 16
WAL_BOUND = 16 * 1024 * 1024


def test_a_reader_during_writes_never_sees_a_lower_position_late(
    log_url: str, soak_count: Count, counted: Counted
) -> None:
    """Readers poll and subscribe, here and in another process, while three processes with two threads each write.

    What each saw, in its order, is what the log says in the end. Seen to fail with a head that is told one too high.
    """
    engine, each, writers = log_url.partition(":")[0], soak_count(4_000), 3
    total, seen = each * writers * 2, dict[int, list[int]]()
    ours = Query(QueryItem(categories=["w1"]))
    with ExitStack() as stack:
        store = stack.enter_context(sacho.connect(log_url))
        follower = stack.enter_context(started("follow", log_url, total))
        processes = [stack.enter_context(started("write_plainly", log_url, f"w{n}-", each, 2)) for n in range(writers)]

        def read(number: int) -> None:
            if number == 0:
                seen[0] = poll(store, total)
            elif number == 1:
                seen[1] = subscribed(store, Query(), total)
            else:
                seen[2] = subscribed(store, ours, 2 * each)

        in_threads(read, 3)
        (seen[3],) = finished(follower)
        finished(*processes)
    events = check_all(log_url)
    positions = [one.position for one in events]
    assert len(positions) == total
    assert seen[0] == seen[1] == seen[3] == positions
    assert seen[2] == [one.position for one in events if (one.stream or "").startswith("w1-")]
    counted(f"events read by four readers during the writes of three processes ({engine})", total)


def subscribed(store: EventStore, query: Query, total: int) -> list[int]:
    """Return the positions that a subscription gives, `total` of them; it gives no more."""
    seen = []
    with store.subscribe(query, raw=True) as live:
        for _ in range(total):
            recorded = live.next(timeout=WAIT)
            assert recorded is not None
            seen.append(recorded.position)
        assert live.next(timeout=0) is None
    return seen


def test_subscribers_in_memory_see_all_in_order_while_threads_write(soak_count: Count, counted: Counted) -> None:
    """Seen to fail with a subscription that takes a batch that was cut for one that reached the head."""
    each, seen = soak_count(10_000), dict[int, list[int]]()
    with sacho.connect("memory://") as store, switching_often():

        def work(number: int) -> None:
            if number < 3:
                seen[number] = subscribed(store, Query(), 4 * each)
            else:
                for count in range(each):
                    store.append(f"s-{number}", [RawEvent("Plain", count)])

        in_threads(work, 7)
    assert [seen[number] == list(range(1, 4 * each + 1)) for number in range(3)] == [True] * 3
    counted("events seen by three subscribers in memory", 4 * each)


def test_two_thousand_waiting_subscribers_each_get_every_event_once(
    log_url: str, soak_count: Count, counted: Counted
) -> None:
    """Events of this process and of another; half of the subscribers ask for a part of them by a query.

    Seen to fail with a wake-up that forgets those who wait for a batch.
    """
    engine, events = log_url.partition(":")[0], soak_count(200)
    threads, others_threads = list[int](), threading.active_count()

    async def follow(store: sacho.aio.AsyncEventStore, number: int, ready: asyncio.Semaphore) -> list[int]:
        some = number % 2 == 1
        query = Query(QueryItem(categories=["other"])) if some else Query()
        async with store.subscribe(query, raw=True) as live:
            ready.release()
            found = [await live.next(timeout=WAIT) for _ in range(events if some else 2 * events)]
            threads.append(threading.active_count() - others_threads)
            assert await live.next(timeout=0) is None
        return [one.position for one in found if one is not None]

    async def everything() -> list[list[int]]:
        ready = asyncio.Semaphore(0)
        async with sacho.connect_async(log_url) as store:
            tasks = [asyncio.create_task(follow(store, number, ready)) for number in range(SUBSCRIBERS)]
            for _ in range(SUBSCRIBERS):
                await ready.acquire()
            with started("write_plainly", log_url, "other-1", events) as process:
                for number in range(events):
                    await store.append("own-1", [RawEvent("Own", number)])
                await asyncio.to_thread(finished, process)
                return await asyncio.gather(*tasks)

    seen = asyncio.run(everything())
    log = check_all(log_url)
    others = [one.position for one in log if one.stream == "other-1"]
    assert len(log) == 2 * len(others) == 2 * events
    assert seen == [[one.position for one in log], others] * (SUBSCRIBERS // 2)
    assert max(threads) <= THREADS_OF_A_HANDFUL
    counted(f"subscribers ({engine}), events, threads for them", f"{SUBSCRIBERS}, {2 * events}, {max(threads)}")


def test_a_wake_up_crosses_processes_there_and_back(log_url: str, soak_count: Count, counted: Counted) -> None:
    """A ping is answered by another process with a pong; none is missed, whatever the time it takes."""
    engine, times, took = log_url.partition(":")[0], soak_count(2_000), list[float]()
    with sacho.connect(log_url) as store, started("echo", log_url, times) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b'"listening"\n'
        with store.subscribe(Query(QueryItem(types=["Pong"])), raw=True) as live:
            for number in range(times):
                begun = time.perf_counter()
                store.append("ping-1", [RawEvent("Ping", number)])
                pong = live.next(timeout=WAIT)
                took.append(time.perf_counter() - begun)
                assert pong is not None
                assert pong.event.data == number
    took.sort()
    p50, p99 = (1_000 * took[int(times * share)] for share in (0.5, 0.99))
    counted(f"ping-pongs between processes ({engine}): times, p50 ms, p99 ms", f"{times}, {p50:.1f}, {p99:.1f}")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def long_log(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    if request.param == "sqlite":
        yield filled(f"sqlite:///{tmp_path_factory.mktemp('long') / 'log.db'}", 1_000 if IS_SOAK else 200)
    else:
        with fresh_schema(request.getfixturevalue("postgres_server_url")) as url:
            yield filled(url, 200 if IS_SOAK else 50)


def filled(url: str, appends: int) -> tuple[str, int]:
    """Fill a log with appends of a thousand events; return it and their count."""
    with sacho.connect(url) as store:
        for number in range(appends):
            events = [RawEvent("Long", {"n": n, "pad": "x" * 180}) for n in range(1_000)]
            tagged = [sacho.EventData(event, tags=["k:1"]) for event in events]
            store.append(f"long-{number % 2}", tagged)
    return url, 1_000 * appends


@pytest.mark.parametrize("way", ["all", "type", "tag", "stream"])
def test_a_long_log_is_read_in_little_memory(long_log: tuple[str, int], way: str, counted: Counted) -> None:
    """Seen to fail with pages of a million rows."""
    url, total = long_log
    count, kib = run("read_in_little_memory", url, way)
    assert count == (total // 2 if way == "stream" else total)
    assert kib <= 50 * 1024
    counted(f"events read by {way} ({url.partition(':')[0]}), KiB of memory above the start", f"{count}, {kib}")


def test_large_events_are_read_in_little_memory(log_url: str, counted: Counted) -> None:
    """Seen to fail with pages that are bounded by rows only."""
    with sacho.connect(log_url) as store:
        for number in range(500):
            store.append(f"long-{number % 2}", [RawEvent("Large", "x" * 256 * 1024)])
    count, kib = run("read_in_little_memory", log_url, "all")
    assert count == 500
    assert kib <= 50 * 1024
    counted(f"events of 256 KiB read ({log_url.partition(':')[0]}), KiB of memory above the start", f"{count}, {kib}")


@pytest.mark.parametrize("breaks", [False, True], ids=["sacho", "a reader that holds a transaction"])
def test_a_reader_that_pauses_does_not_let_the_write_ahead_log_grow(
    tmp_path: Path, breaks: bool, counted: Counted
) -> None:
    """Between two pages no transaction is open. With one that is, the bound is broken: the proof can fail."""
    path = tmp_path / "log.db"
    with sacho.connect(f"sqlite:///{path}") as store, ExitStack() as stack:
        store.append("s-1", [RawEvent("Before", {"pad": "x" * 500}) for _ in range(5_000)])
        paused = [iter(store.read_all(raw=True)), iter(store.read("s-1", raw=True, backwards=True))]
        paused.append(iter(store.read_all(Query(QueryItem(types=["Before"])), raw=True)))
        paused.append(iter(stack.enter_context(store.subscribe(raw=True))))
        assert [next(one).position for one in paused] == [1, 5_000, 1, 1]
        if breaks:
            holder = sqlite3.connect(path, isolation_level=None)
            stack.callback(holder.close)
            holder.execute("BEGIN")
            holder.execute("SELECT count(*) FROM events").fetchone()
        largest = 0
        for _ in range(60):
            store.append("s-2", [RawEvent("After", {"pad": "x" * 500}) for _ in range(500)])
            largest = max(largest, wal_bytes(path))
        assert (largest > WAL_BOUND) is breaks
        assert [sum(1 for _ in one) for one in paused[:3]] == [4_999] * 3
    counted(f"largest WAL beside paused readers{' and an open transaction' * breaks}, KiB", largest // 1024)


def test_after_readers_without_a_pause_the_write_ahead_log_is_used_anew(tmp_path: Path, counted: Counted) -> None:
    """While many read all the time SQLite may not begin the WAL anew; as soon as they end it does, and cuts it."""
    path = tmp_path / "log.db"
    url, events = f"sqlite:///{path}", [RawEvent("Many", {"pad": "x" * 500}) for _ in range(500)]
    with sacho.connect(url) as store:
        store.append("s-1", events * 4)
        with ExitStack() as stack:
            readers = [stack.enter_context(started("read_for_ever", url, 4)) for _ in range(2)]
            for reader in readers:
                assert reader.stdout is not None
                assert reader.stdout.readline() == b'"reading"\n'
            largest = 0
            for _ in range(40):
                store.append("s-2", events)
                largest = max(largest, wal_bytes(path))
        for _ in range(20):
            store.append("s-3", events)
        store.append("s-3", events)
        assert wal_bytes(path) <= max(largest, 64 * 1024 * 1024)
        before = wal_bytes(path)
        for _ in range(20):
            store.append("s-4", events)
        assert wal_bytes(path) == before
    counted("largest WAL beside eight threads that read without a pause, KiB", largest // 1024)
