"""Readers: nothing appears late, memory stays small, thousands may wait, the write-ahead log stays bounded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import sacho
from sacho import RawEvent, RecordedEvent
from tests.proof.processes import finished, started
from tests.proof.programs import in_threads

Count = Callable[[int], int]
Counted = Callable[[str, object], None]
SECONDS = 120
SUBSCRIBERS = 2_000


def test_a_reader_during_writes_never_sees_a_lower_position_late(
    tmp_path: Path, soak_count: Count, counted: Counted
) -> None:
    """Readers poll and subscribe while processes write; what each saw first is what the log says in the end."""
    url, each, writers = f"sqlite:///{tmp_path / 'log.db'}", soak_count(5_000), 3
    total = each * writers
    with ExitStack() as stack:
        store = stack.enter_context(sacho.connect(url))
        processes = [stack.enter_context(started("write_plainly", url, f"s-{n}", each)) for n in range(writers)]
        seen: list[list[int]] = [[], [], []]

        def read(number: int) -> None:
            if number == 0:
                while len(seen[0]) < total:
                    found = store.read_all(after=seen[0][-1] if seen[0] else 0, raw=True)
                    seen[0] += [recorded.position for recorded in found]
            else:
                with store.subscribe(raw=True) as live:
                    for _ in range(total):
                        recorded = live.next(timeout=SECONDS)
                        assert recorded is not None
                        seen[number].append(recorded.position)

        in_threads(read, 3)
        finished(*processes)
        positions = [recorded.position for recorded in store.read_all(raw=True)]
    assert len(positions) == total
    assert seen == [positions] * 3
    counted("events read by three readers during the writes of three processes", total)


def test_two_thousand_waiting_subscribers_each_get_every_event_once(
    tmp_path: Path, soak_count: Count, counted: Counted
) -> None:
    url, events = f"sqlite:///{tmp_path / 'log.db'}", soak_count(200)

    async def follow(store: sacho.aio.AsyncEventStore, ready: asyncio.Semaphore) -> list[int]:
        async with store.subscribe(raw=True) as live:
            ready.release()
            found: list[RecordedEvent | None] = [await live.next(timeout=SECONDS) for _ in range(2 * events)]
            assert await live.next(timeout=0) is None
        return [recorded.position for recorded in found if recorded is not None]

    async def everything() -> tuple[list[list[int]], int]:
        ready = asyncio.Semaphore(0)
        async with sacho.connect_async(url) as store:
            tasks = [asyncio.create_task(follow(store, ready)) for _ in range(SUBSCRIBERS)]
            for _ in range(SUBSCRIBERS):
                await ready.acquire()
            with started("write_plainly", url, "other-1", events) as process:
                for number in range(events):
                    await store.append("own-1", [RawEvent("Own", number)])
                await asyncio.to_thread(finished, process)
            threads = threading.active_count()
            return await asyncio.gather(*tasks), threads

    seen, threads = asyncio.run(everything())
    assert seen == [list(range(1, 2 * events + 1))] * SUBSCRIBERS
    assert threads <= 16
    counted("subscribers, events each, threads in the process", f"{SUBSCRIBERS}, {2 * events}, {threads}")


def test_a_long_log_is_read_in_little_memory(tmp_path: Path, soak_count: Count, counted: Counted) -> None:
    url, appends = f"sqlite:///{tmp_path / 'log.db'}", soak_count(1_000)
    with sacho.connect(url) as store:
        for number in range(appends):
            store.append(f"s-{number % 50}", [RawEvent("Long", {"n": n, "pad": "x" * 180}) for n in range(1_000)])
    with started("read_in_little_memory", url) as reader:
        ((count, kib),) = finished(reader)
    assert count == appends * 1_000
    assert kib <= 50 * 1024
    counted("events read, KiB of memory above the start", f"{count}, {kib}")


def test_a_reader_that_pauses_does_not_let_the_write_ahead_log_grow(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with sacho.connect(f"sqlite:///{path}") as store:
        store.append("s-1", [RawEvent("Before", {"pad": "x" * 500}) for _ in range(5_000)])
        reading = iter(store.read_all(raw=True))
        assert next(reading).position == 1
        for _ in range(100):
            store.append("s-2", [RawEvent("After", {"pad": "x" * 500}) for _ in range(500)])
        assert path.with_name("log.db-wal").stat().st_size < 32 * 1024 * 1024
        assert sum(1 for _ in reading) == 4_999
