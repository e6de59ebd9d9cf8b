"""How soon a subscriber in another process has an event. From the call of the append to the subscriber's typed event."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import quantiles

import sacho
from benchmarks.clients import clients
from benchmarks.domain import reservations
from benchmarks.job import Job
from benchmarks.ours.logs import fresh
from benchmarks.ours.seats import SeatsReserved

APPENDS_A_SECOND = 200
WARM_UP = APPENDS_A_SECOND
PATIENCE_SECONDS = 30.0


def middle(job: Job) -> float:
    """ms: the median, at a steady 200 appends a second by one writer."""
    return _percentiles(job)[49]


def late(job: Job) -> float:
    """ms: what 99 of 100 events take at most, at the same rate."""
    return _percentiles(job)[98]


@contextmanager
def subscriber(job: Job, _: int) -> Iterator[Callable[[], list[float]]]:
    """A process that subscribes; it tells the time at which it had each event."""
    count = _count(job)
    with sacho.connect(fresh(job)) as store, store.subscribe(after=store.head()) as subscription:

        def follow() -> list[float]:
            times = []
            for number in range(count):
                recorded = subscription.next(timeout=PATIENCE_SECONDS)
                times.append(time.perf_counter())
                if recorded is None or int(recorded.event.reservation_id) != number:
                    raise AssertionError(f"event {number} did not come, but {recorded}")
            return times

        yield follow


def _percentiles(job: Job) -> list[float]:
    wanted = reservations(0, range(_count(job)))
    appended: list[float] = []
    with sacho.connect(fresh(job)) as store, clients(f"{__name__}:subscriber", job, 1) as following:
        following.start()
        started = time.perf_counter()
        for number, fields in enumerate(wanted):
            time.sleep(max(0.0, started + number / APPENDS_A_SECOND - time.perf_counter()))
            appended.append(time.perf_counter())
            store.append("seats-0", [SeatsReserved(*fields)], expected=number)
        (worked,) = following.results()
    took = [1_000 * (got - gave) for gave, got in zip(appended, worked.result, strict=True)]
    return quantiles(took[WARM_UP:], n=100, method="inclusive")


def _count(job: Job) -> int:
    """Return how many events are appended, those of the warm-up second among them."""
    return WARM_UP + job.count(5, 1) * APPENDS_A_SECOND
