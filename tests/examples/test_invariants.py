"""The invariants find what they are for: each says nothing of a sound history, and names the fault in one that is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

import sacho
from examples.conference.invariants import (
    every_process_ends,
    faults,
    money_moves_once,
    no_seat_is_sold_twice,
    orders_have_their_seats,
    waiting_lists_are_served_in_order,
    who_paid_has_seats_or_the_money_back,
)
from examples.conference.orders import OrderCancelled, OrderConfirmed, OrderExpired, OrderReinstated
from examples.conference.payments import PaymentCompleted, PaymentRefunded
from examples.conference.seats import (
    AvailableSeatsChanged,
    ReservationCancelled,
    ReservationCommitted,
    SeatsReleased,
    SeatsReserved,
)
from examples.conference.waiting import (
    OfferAccepted,
    OfferWithdrawn,
    SeatsOffered,
    WaitingListJoined,
    WaitingListLeft,
)
from sacho import Event, RecordedEvent
from sacho.events import ProcessAdvanced

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
TOTAL = Decimal("398.00")

TWO = AvailableSeatsChanged("c1", {"GA": 2})
R1 = SeatsReserved("c1", "o1", {"GA": 2}, {"GA": -2}, 1)
COMMITTED = ReservationCommitted("c1", "o1")
CANCELLED = ReservationCancelled("c1", "o1", {"GA": 2})
RELEASED = SeatsReleased("c1", "o1", {"GA": 2})
CONFIRMED = OrderConfirmed("o1", "c1", {"GA": 2}, TOTAL, "p1")
EXPIRED = OrderExpired("o1", "c1")
ORDER_CANCELLED = OrderCancelled("o1", "c1", was_confirmed=True)
CAME = PaymentCompleted("p1", "o1", TOTAL)
WENT = PaymentRefunded("p1", "o1", TOTAL, "order cancelled")


def log(*events: Event) -> Sequence[RecordedEvent]:
    with sacho.connect("memory://") as store:
        store.append("test-1", events)
        return list(store.read_all())


def joined(order_id: str, seats: int) -> WaitingListJoined:
    return WaitingListJoined("c1", "WS", order_id, seats, 1)


def offered(order_id: str, seats: int) -> SeatsOffered:
    return SeatsOffered("c1", "WS", order_id, seats, f"{order_id}~offer1", NOW)


def over(order_id: str) -> OfferWithdrawn:
    return OfferWithdrawn("c1", "WS", order_id, f"{order_id}~offer1", "declined")


def advanced(process: str, *, is_done: bool) -> ProcessAdvanced:
    return ProcessAdvanced(process, "o1", "1", "OrderPlaced", 1, NOW, {}, is_done=is_done)


Check = Callable[[Sequence[RecordedEvent]], list[str]]

SOUND: list[tuple[Check, list[Any]]] = [
    (no_seat_is_sold_twice, [TWO, R1, COMMITTED, RELEASED]),
    (no_seat_is_sold_twice, [TWO, R1, CANCELLED, SeatsReserved("c1", "o2", {"GA": 1}, {"GA": -1})]),
    (no_seat_is_sold_twice, [TWO, R1, AvailableSeatsChanged("c1", {"GA": -1}), COMMITTED]),
    (no_seat_is_sold_twice, [TWO, R1, SeatsReserved("c1", "o1", {"GA": 1}, {"GA": 1}, 2), COMMITTED]),
    (no_seat_is_sold_twice, [TWO, SeatsReserved("c2", "o1", {"GA": 0}, {})]),
    (orders_have_their_seats, [TWO, R1, CONFIRMED, COMMITTED]),
    (orders_have_their_seats, [TWO, R1, EXPIRED, CANCELLED]),
    (orders_have_their_seats, [TWO, R1, CONFIRMED, COMMITTED, ORDER_CANCELLED, RELEASED]),
    (orders_have_their_seats, [TWO, R1, EXPIRED, OrderReinstated("o1", "c1"), CONFIRMED, COMMITTED]),
    (who_paid_has_seats_or_the_money_back, [CAME, CONFIRMED]),
    (who_paid_has_seats_or_the_money_back, [CAME, EXPIRED, WENT]),
    (who_paid_has_seats_or_the_money_back, [CAME, CONFIRMED, ORDER_CANCELLED, WENT]),
    (who_paid_has_seats_or_the_money_back, [OrderConfirmed("o1", "c1", {"GA": 2}, Decimal(0), None)]),
    (money_moves_once, [CAME, WENT]),
    (every_process_ends, [advanced("registration", is_done=False), advanced("registration", is_done=True)]),
    (every_process_ends, [advanced("bridge", is_done=False)]),
    (waiting_lists_are_served_in_order, [joined("o1", 3), joined("o2", 2), offered("o2", 2), over("o2")]),
    (
        waiting_lists_are_served_in_order,
        [joined("o1", 2), WaitingListLeft("c1", "WS", "o1"), joined("o2", 2), offered("o2", 2), over("o2")],
    ),
    (
        waiting_lists_are_served_in_order,
        [joined("o1", 2), joined("o2", 2), offered("o1", 2), OfferAccepted("c1", "WS", "o1", 2, "o1~offer1")],
    ),
]

BROKEN: list[tuple[Check, list[Any], str]] = [
    (no_seat_is_sold_twice, [TWO, R1, SeatsReserved("c1", "o2", {"GA": 1}, {"GA": -1})], "there are not"),
    (no_seat_is_sold_twice, [TWO, SeatsReserved("c1", "o1", {"GA": 2}, {"GA": -1})], "holds"),
    (no_seat_is_sold_twice, [TWO, R1, CANCELLED, R1], "holds"),
    (no_seat_is_sold_twice, [TWO, R1, CANCELLED, CANCELLED], "gave back"),
    (no_seat_is_sold_twice, [TWO, R1, RELEASED], "gave back"),
    (no_seat_is_sold_twice, [TWO, R1, COMMITTED, CANCELLED], "gave back"),
    (no_seat_is_sold_twice, [TWO, R1, ReservationCancelled("c1", "o1", {"GA": 1})], "gave back"),
    (no_seat_is_sold_twice, [TWO, COMMITTED], "holds nothing"),
    (no_seat_is_sold_twice, [TWO, R1, COMMITTED, COMMITTED], "holds nothing"),
    (orders_have_their_seats, [TWO, R1, CONFIRMED], "is confirmed"),
    (orders_have_their_seats, [TWO, R1, CONFIRMED, COMMITTED, RELEASED], "is confirmed"),
    (orders_have_their_seats, [TWO, R1, EXPIRED], "is over"),
    (orders_have_their_seats, [TWO, R1, CONFIRMED, COMMITTED, ORDER_CANCELLED], "is over"),
    (who_paid_has_seats_or_the_money_back, [CAME], "payment p1"),
    (who_paid_has_seats_or_the_money_back, [CAME, CONFIRMED, PaymentCompleted("p2", "o1", TOTAL)], "payment p2"),
    (who_paid_has_seats_or_the_money_back, [CAME, CONFIRMED, ORDER_CANCELLED], "payment p1"),
    (who_paid_has_seats_or_the_money_back, [CAME, CONFIRMED, WENT], "is confirmed by payment p1"),
    (who_paid_has_seats_or_the_money_back, [CONFIRMED], "is confirmed by payment p1"),
    (money_moves_once, [CAME, CAME], "came twice"),
    (money_moves_once, [CAME, WENT, WENT], "went back"),
    (money_moves_once, [WENT], "went back"),
    (money_moves_once, [CAME, PaymentRefunded("p1", "o1", Decimal(1), "order cancelled")], "went back"),
    (every_process_ends, [advanced("registration", is_done=True), advanced("registration", is_done=False)], "goes on"),
    (waiting_lists_are_served_in_order, [joined("o1", 2), joined("o2", 2), offered("o2", 2), over("o2")], "o1"),
    (waiting_lists_are_served_in_order, [offered("o1", 2), over("o1")], "o1"),
    (waiting_lists_are_served_in_order, [joined("o1", 2), offered("o1", 2)], "is open"),
]


@pytest.mark.parametrize(("invariant", "events"), SOUND)
def test_a_sound_history_has_no_faults(invariant: Check, events: list[Any]) -> None:
    assert invariant(log(*events)) == []


@pytest.mark.parametrize(("invariant", "events", "text"), BROKEN)
def test_a_broken_history_has_its_fault_named(invariant: Check, events: list[Any], text: str) -> None:
    [fault] = invariant(log(*events))
    assert text in fault
    assert fault in faults(log(*events))
