"""The `eventsourcing` library: an Application on its SQLite or PostgreSQL module, with its own JSON transcoder and mapper.

Events are its own classes with its timestamp. The classes `apply` themselves, which is faster than its `@event` decorator.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate
from eventsourcing.persistence import IntegrityError

from benchmarks.domain import SEAT_TYPE, STREAMS, Reservation, going_round, reservation, reservations
from benchmarks.job import Job
from benchmarks.peers.eventsourcing_places import Place, check_durability, for_reading, fresh, prepared
from benchmarks.timing import seconds, seconds_in_threads

WARM_UP = 100
"""How many saves of a hundred make SQLite's WAL as long as it gets, so that no timed save makes the file longer."""
ENOUGH_SEATS = 100_000_000
COMMANDS_PER_ENTITY = 20
ENTITY_EVENTS = 1_000
PAGE = 2_000
ENTITIES = "entities"
LOG = "log"
CACHE = {"AGGREGATE_CACHE_MAXSIZE": "1000"}
FEW_CONNECTIONS = {"POSTGRES_POOL_SIZE": "4", "POSTGRES_MAX_OVERFLOW": "0"}
"""Sixteen threads are quickest with these: more connections than a few only wait for the table's lock."""
NO_LOCK = {"POSTGRES_ENABLE_DB_FUNCTIONS": "yes", "POSTGRES_POOL_SIZE": "16", "POSTGRES_MAX_OVERFLOW": "0"}
"""Saves by a function in the database, without the table's lock: whoever follows the log may then miss events."""


class Seats(Aggregate):  # type: ignore[misc]  # the library is not followed by the type checker
    """The seats of one conference, as its users write aggregates."""

    def __init__(self, seat_type: str, seats: int) -> None:
        self.remaining = {seat_type: seats}

    class Reserved(Aggregate.Event):  # type: ignore[misc]  # as above
        """Seats were taken."""

        conference_id: str
        reservation_id: str
        seat_type: str
        seats: int
        note: str

        def apply(self, aggregate: Seats) -> None:
            """Take them off what remains."""
            aggregate.remaining[self.seat_type] -= self.seats

    def reserve(self, wanted: Reservation) -> None:
        """Take seats, or refuse."""
        if self.remaining.get(wanted.seat_type, 0) < wanted.seats:
            raise ValueError("sold out")
        self.trigger_event(self.Reserved, **wanted._asdict())


class Bookings(Application[UUID]):  # type: ignore[misc]  # as above
    """The application that saves them."""


def append_one(job: Job) -> float:
    """Events a second: one thread, one typed event per save, over 20 aggregates' versions."""
    return _append_one(job, {})


def append_one_without_lock(job: Job) -> float:
    """The same without the table's lock."""
    return _append_one(job, NO_LOCK)


def append_hundred(job: Job) -> float:
    """Events a second: one thread, 100 typed events per save. The library has neither event ids nor tags."""
    saves = job.count(100, 5)
    with _application(fresh(job)) as app:
        _save(app, WARM_UP, 100)
        wanted = going_round(saves, 100)
        return 100 * saves / seconds(lambda: _save_all(app, wanted))


def sixteen_threads(job: Job) -> float:
    """Events a second: 16 threads with one application, one typed event per save, each thread for an aggregate of its own."""
    return _sixteen_threads(job, FEW_CONNECTIONS)


def sixteen_threads_without_lock(job: Job) -> float:
    """The same without the table's lock."""
    return _sixteen_threads(job, NO_LOCK)


def hot_entity(job: Job) -> float:
    """Commands a second: 16 threads book seats of one aggregate; who loses the race tries again, until it succeeds.

    With the library's aggregate cache on, since without it every attempt folds the whole history (ten times slower).
    """
    each = job.count(60, 5)
    with _application(fresh(job), CACHE) as app:
        warm, seats = Seats(SEAT_TYPE, ENOUGH_SEATS), Seats(SEAT_TYPE, ENOUGH_SEATS)
        app.save(warm, seats)
        _save(app, WARM_UP, 100)
        seconds_in_threads(16, lambda caller: _book(app, warm.id, caller, 2))
        took = seconds_in_threads(16, lambda caller: _book(app, seats.id, caller, each))
        loaded: Seats = app.repository.get(seats.id)
        if loaded.version != 16 * each + 1:
            raise AssertionError(f"{loaded.version - 1} reservations were recorded, not {16 * each}")
        return 16 * each / took


def load_decide_append(job: Job) -> float:
    """Commands a second: one caller, 20 commands for one aggregate after the other, read from the log each time."""
    return _decide(job, {})


def cached_decide_append(job: Job) -> float:
    """The same with the library's aggregate cache on."""
    return _decide(job, CACHE)


def build_entities(job: Job) -> float:
    """Build aggregates of 1,000 events; return events a second."""
    entities = job.count(20, 2)
    with _application(prepared(job, ENTITIES)) as app:
        return entities * ENTITY_EVENTS / seconds(lambda: _build(app, entities, ENTITY_EVENTS))


def load_entities(job: Job) -> float:
    """Events a second: aggregates of 1,000 events rebuilt by the repository, one after the other."""
    with _application(for_reading(job, ENTITIES)) as app:
        ids = list(dict.fromkeys(one.originator_id for one in app.recorder.select_notifications(1, 10**9)))

        def load_all(some: Sequence[UUID]) -> None:
            for one in some:
                seats: Seats = app.repository.get(one)
                if seats.version != ENTITY_EVENTS:
                    raise AssertionError(f"{one} was not loaded whole")

        load_all(ids[:2])
        return len(ids) * ENTITY_EVENTS / seconds(lambda: load_all(ids))


def build_log(job: Job) -> float:
    """Build the log that is read; return events a second."""
    events = job.count(100_000, 2_000)
    with _application(prepared(job, LOG)) as app:
        return events / seconds(lambda: _build(app, events // 100, 100))


def read_log(job: Job) -> float:
    """Events a second: every notification of the log, made a typed event by the mapper, 2,000 to a select."""
    with _application(for_reading(job, LOG)) as app:
        for one in app.recorder.select_notifications(1, 1_000):
            app.mapper.to_domain_event(one)
        started = time.perf_counter()
        count = sum(1 for _ in _typed_events(app))
        return count / (time.perf_counter() - started)


@contextmanager
def _application(place: Place, settings: Mapping[str, str] | None = None) -> Iterator[Bookings]:
    """Open the application at a place, sure of its durability."""
    with Bookings(env={**place, **(settings or {})}) as app:
        check_durability(app.recorder)
        yield app


def _append_one(job: Job, settings: Mapping[str, str]) -> float:
    count = job.count(3_000, 150)
    with _application(fresh(job), settings) as app:
        _save(app, WARM_UP, 100)
        _save(app, WARM_UP, 1)
        wanted = going_round(count, 1)
        return count / seconds(lambda: _save_all(app, wanted))


def _sixteen_threads(job: Job, settings: Mapping[str, str]) -> float:
    each = job.count(400, 20)
    with _application(fresh(job), settings) as app:
        _save(app, WARM_UP, 100)
        wanted = [reservations(caller, range(each)) for caller in range(16)]
        seconds_in_threads(16, lambda caller: _save_in_turn(app, wanted[caller][:20]))
        return 16 * each / seconds_in_threads(16, lambda caller: _save_in_turn(app, wanted[caller]))


def _save(app: Bookings, saves: int, events: int) -> None:
    """Save so many times, so many events each, going round over fresh aggregates' ids."""
    _save_all(app, going_round(saves, events))


def _save_all(app: Bookings, wanted: Sequence[Sequence[Reservation]]) -> None:
    ids = [uuid4() for _ in range(STREAMS)]
    for number, some in enumerate(wanted):
        turn, stream = divmod(number, STREAMS)
        first = turn * len(some) + 1
        app.save(*(_reserved(ids[stream], version, fields) for version, fields in enumerate(some, first)))


def _save_in_turn(app: Bookings, wanted: Sequence[Reservation]) -> None:
    """Save one event after the other, of one fresh aggregate."""
    id_ = uuid4()
    for version, fields in enumerate(wanted, 1):
        app.save(_reserved(id_, version, fields))


def _reserved(id_: UUID, version: int, wanted: Reservation) -> Seats.Reserved:
    timestamp = Seats.Reserved.create_timestamp()
    return Seats.Reserved(originator_id=id_, originator_version=version, timestamp=timestamp, **wanted._asdict())


def _book(app: Bookings, id_: UUID, caller: int, count: int) -> None:
    for number in range(count):
        while True:
            seats: Seats = app.repository.get(id_)
            seats.reserve(reservation(1, caller * count + number))
            try:
                app.save(seats)
                break
            except IntegrityError:
                continue


def _decide(job: Job, settings: Mapping[str, str]) -> float:
    entities = job.count(60, 4)
    with _application(fresh(job), settings) as app:
        _save(app, WARM_UP, 100)
        _go_through(app, 3)
        return entities * COMMANDS_PER_ENTITY / seconds(lambda: _go_through(app, entities))


def _go_through(app: Bookings, entities: int) -> None:
    for entity in range(entities):
        seats = Seats(SEAT_TYPE, ENOUGH_SEATS)
        app.save(seats)
        for number in range(COMMANDS_PER_ENTITY - 1):
            loaded: Seats = app.repository.get(seats.id)
            loaded.reserve(reservation(entity, number))
            app.save(loaded)


def _build(app: Bookings, entities: int, events: int) -> None:
    for entity in range(entities):
        seats = Seats(SEAT_TYPE, 10 * events)
        for number in range(1, events):
            seats.reserve(reservation(entity, number))
        app.save(seats)


def _typed_events(app: Bookings) -> Iterator[Any]:
    start = 1
    while page := app.recorder.select_notifications(start, PAGE):
        for one in page:
            yield app.mapper.to_domain_event(one)
        start = page[-1].id + 1
