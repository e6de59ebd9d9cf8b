"""The plain alternative: one row per seat type, and an UPDATE that takes seats if there are enough. It keeps no history."""

from __future__ import annotations

import asyncio

from benchmarks.domain import SEAT_TYPE, SEATS_PER_RESERVATION
from benchmarks.job import Job
from benchmarks.peers.raw_floors import open_database
from benchmarks.timing import seconds_in_tasks

TABLE = "CREATE TABLE seats (type TEXT PRIMARY KEY, remaining INTEGER NOT NULL)"
TAKE = "UPDATE seats SET remaining = remaining - ? WHERE type = ? AND remaining >= ?"
ENOUGH_SEATS = 100_000_000


def sixty_four_tasks(job: Job) -> float:
    """Commands a second: 64 tasks take seats of one type, one commit each.

    The tasks call SQLite straight from the event loop, on one connection: no thread hop, no lock, nothing ever waits for
    another. It is the fastest of the ways tried; threads that share a connection under a lock, tasks that go through an
    executor, and a connection for each thread are all slower.
    """
    return asyncio.run(_sixty_four_tasks(job, job.count(100, 5)))


async def _sixty_four_tasks(job: Job, each: int) -> float:
    connection = open_database(job.file("seats.db"))
    connection.execute(TABLE)
    connection.execute("INSERT INTO seats VALUES (?, ?)", (SEAT_TYPE, ENOUGH_SEATS))

    async def book(count: int) -> None:
        for _ in range(count):
            taken = connection.execute(TAKE, (SEATS_PER_RESERVATION, SEAT_TYPE, SEATS_PER_RESERVATION))
            if taken.rowcount != 1:
                raise AssertionError("sold out")
            await asyncio.sleep(0)

    await seconds_in_tasks(64, lambda _: book(20))  # 1,280 pages: the WAL is as long as it gets
    took = await seconds_in_tasks(64, lambda _: book(each))
    connection.close()
    return 64 * each / took
