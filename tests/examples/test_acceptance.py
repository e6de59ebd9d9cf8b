"""The acceptance scenarios that the seats alone can answer, by their numbers in the description of the domain."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import pytest

import sacho
from examples.conference.audit import Audit
from examples.conference.seats import (
    AddSeats,
    CommitReservation,
    MakeReservation,
    Seats,
    SeatsAvailability,
    SeatsCommand,
    SeatsEvent,
    SeatsReserved,
    SeatsState,
    seats_stream,
)
from sacho import CommandHandler, EventStore

STREAM = seats_stream("c1")
PATIENCE = 120
"""Seconds after which a test says that something hangs."""
Handler: TypeAlias = CommandHandler[SeatsCommand, SeatsState, SeatsEvent]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    with sacho.connect(f"sqlite:///{tmp_path / 'conference.db'}") as opened:
        yield opened


@pytest.fixture
def handler(store: EventStore) -> Handler:
    return CommandHandler(store, SeatsAvailability())


def put_on_sale(handler: Handler, **quantities: int) -> None:
    for seat_type, quantity in quantities.items():
        handler.handle(STREAM, AddSeats("c1", seat_type, quantity))


def reserve(handler: Handler, reservation_id: str, **wanted: int) -> Seats:
    """What the reservation holds now."""
    [event] = handler.handle(STREAM, MakeReservation("c1", reservation_id, wanted)).events
    assert isinstance(event, SeatsReserved)
    return event.held


def at_once(count: int, work: Callable[[int], Seats]) -> list[Seats]:
    start = threading.Barrier(count, timeout=PATIENCE)

    def run(number: int) -> Seats:
        start.wait()
        return work(number)

    with ThreadPoolExecutor(count) as threads:
        return [future.result(timeout=PATIENCE) for future in [threads.submit(run, number) for number in range(count)]]


def audited(store: EventStore) -> Audit:
    audit = Audit()
    for recorded in store.read(STREAM):
        audit.take(recorded)
    return audit


def test_5_when_everything_is_taken_every_type_is_sold_out(handler: Handler) -> None:
    put_on_sale(handler, GA=20, WS=20, CP=20)
    reserve(handler, "r1", GA=20, WS=20, CP=20)
    handler.handle(STREAM, CommitReservation("c1", "r1"))
    assert handler.load(STREAM).state.remaining == {"GA": 0, "WS": 0, "CP": 0}
    assert reserve(handler, "r2", GA=1, WS=1, CP=1) == {"GA": 0, "WS": 0, "CP": 0}


def test_6_who_wants_more_than_is_left_gets_what_is_left_and_may_accept_or_change(handler: Handler) -> None:
    put_on_sale(handler, GA=20, WS=20, CP=20)
    reserve(handler, "r1", GA=18, WS=20, CP=10)
    assert reserve(handler, "r2", GA=3, WS=1, CP=2) == {"GA": 2, "WS": 0, "CP": 2}
    assert handler.load(STREAM).state.remaining == {"GA": 0, "WS": 0, "CP": 8}
    assert reserve(handler, "r2", GA=1, CP=4) == {"GA": 1, "WS": 0, "CP": 4}
    assert handler.load(STREAM).state.remaining == {"GA": 1, "WS": 0, "CP": 6}
    accepted = handler.handle(STREAM, CommitReservation("c1", "r2"))
    assert len(accepted.events) == 1


def test_12_of_four_who_race_for_four_seats_two_each_never_more_than_four_are_sold(
    store: EventStore, handler: Handler
) -> None:
    put_on_sale(handler, WS=4)
    held = at_once(4, lambda number: reserve(handler, f"r{number}", WS=2))
    assert sorted(seats["WS"] for seats in held) == [0, 0, 2, 2]
    assert audited(store).compare(handler.load(STREAM).state.remaining, registrants=4) == []


def test_13_of_two_hundred_who_race_for_two_hundred_seats_two_each_one_hundred_are_served(
    store: EventStore, handler: Handler
) -> None:
    put_on_sale(handler, GA=200)
    held = at_once(200, lambda number: reserve(handler, f"r{number}", GA=2))
    assert sorted(seats["GA"] for seats in held) == [0] * 100 + [2] * 100
    audit = audited(store)
    assert audit.faults == audit.compare(handler.load(STREAM).state.remaining, registrants=200) == []
    assert (audit.held(), audit.events) == ({"GA": 200}, 201)
