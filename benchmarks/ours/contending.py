"""Sacho by several clients at once, threads or processes: how much they append together, and that they do not refuse each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import sacho
from benchmarks.clients import seconds_in_clients
from benchmarks.domain import Reservation, reservations
from benchmarks.job import Job
from benchmarks.ours.appending import WARM_UP, append_hundreds, append_in_turn
from benchmarks.ours.logs import fresh
from benchmarks.ours.seats import TaggedSeatsReserved
from benchmarks.timing import seconds_in_threads
from sacho import AppendCondition, EventStore, Query, QueryItem
from sacho.errors import AppendConditionFailed

PROCESSES = 4
THREADS = 4


def four_by_four(job: Job) -> float:
    """Events a second, of all: 4 processes with 4 threads each, one event per append, each thread in a stream of its own."""
    with sacho.connect(fresh(job)) as store:
        append_hundreds(store, "before", WARM_UP)
    took, worked = seconds_in_clients(f"{__name__}:four_appending", job, PROCESSES)
    return float(sum(one.result for one in worked)) / took


@contextmanager
def four_appending(job: Job, client: int) -> Iterator[Callable[[], int]]:
    """One process of four threads that append; it tells how many events they appended."""
    each = job.count(600, 20)
    with sacho.connect(fresh(job)) as store:
        wanted = [reservations(THREADS * client + thread, range(each)) for thread in range(THREADS)]

        def append(category: str, count: int) -> int:
            streams = [f"{category}-{THREADS * client + thread}" for thread in range(THREADS)]
            seconds_in_threads(THREADS, lambda thread: append_in_turn(store, streams[thread], wanted[thread][:count]))
            return THREADS * count

        append("warm", 20)
        yield lambda: append("seats", each)


def failed_among_threads(job: Job) -> float:
    """Appends that failed: 16 threads of one process, each append on condition that nobody else has used its thread's tag."""
    each = job.count(200, 20)
    failed: list[int] = []
    with sacho.connect(fresh(job)) as store:
        seconds_in_threads(16, lambda thread: failed.append(_failures(store, reservations(thread, range(each)))))
    return sum(failed)


def failed_among_processes(job: Job) -> float:
    """The same by 4 processes with 4 threads each."""
    with sacho.connect(fresh(job)):
        pass  # the log is there before the clients come
    _, worked = seconds_in_clients(f"{__name__}:four_conditional", job, PROCESSES)
    return float(sum(one.result for one in worked))


@contextmanager
def four_conditional(job: Job, client: int) -> Iterator[Callable[[], int]]:
    """One process of four threads that append under conditions; it tells how many appends failed."""
    each = job.count(200, 20)
    with sacho.connect(fresh(job)) as store:
        wanted = [reservations(THREADS * client + thread, range(each)) for thread in range(THREADS)]
        failed: list[int] = []

        def append() -> int:
            seconds_in_threads(THREADS, lambda thread: failed.append(_failures(store, wanted[thread])))
            return sum(failed)

        yield append


def _failures(store: EventStore, wanted: Sequence[Reservation]) -> int:
    """Append events of one tag, each on condition that none came since the last; return how many were refused."""
    query = Query(QueryItem(tags=[f"conference:{wanted[0].conference_id}"]))
    failed = last = 0
    for fields in wanted:
        try:
            done = store.append(None, [TaggedSeatsReserved(*fields)], condition=AppendCondition(query, last))
            last = done.position
        except AppendConditionFailed:
            failed += 1
    return failed
