"""What must hold of a conference's log, whatever crashed, came twice or came late. Pure functions of events: each returns the faults.

They know nothing of deciders, processes and views, so that they can judge them. Those that speak of the end hold once
nothing is on its way any more.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, Final, TypeAlias

from examples.conference.orders import OrderCancelled, OrderConfirmed, OrderExpired, OrderReinstated
from examples.conference.payments import PaymentCompleted, PaymentRefunded
from examples.conference.seats import (
    AvailableSeatsChanged,
    ReservationCancelled,
    ReservationCommitted,
    Seats,
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
from sacho import RecordedEvent
from sacho.events import ProcessAdvanced

Events: TypeAlias = Sequence[RecordedEvent]
LASTING: Final = frozenset({"bridge", "waiting"})
"""Processes that live as long as their conference."""


def faults(events: Iterable[RecordedEvent]) -> list[str]:
    """Return all faults of a log in which nothing is on its way any more; none of a sound one."""
    log = list(events)
    return [fault for invariant in INVARIANTS for fault in invariant(log)]


def no_seat_is_sold_twice(events: Events) -> list[str]:
    """At any time: reservations hold no more than there is, give back what they held, and end once."""
    found: list[str] = []
    remaining: dict[str, Counter[str]] = defaultdict(Counter)
    held: dict[tuple[str, str], Seats] = {}
    over: set[tuple[str, str]] = set()
    for recorded in events:
        event = recorded.event
        if isinstance(event, AvailableSeatsChanged):
            remaining[event.conference_id].update(event.deltas)
        if not isinstance(event, SeatsReserved | ReservationCommitted | ReservationCancelled | SeatsReleased):
            continue
        id, left = (event.conference_id, event.reservation_id), remaining[event.conference_id]
        before = _some(held.get(id, {}))
        match event:
            case SeatsReserved():
                if id in over or _some(event.deltas) != _difference(before, event.held):
                    found.append(f"{recorded.position}: {id} holds {event.held} after {before}, by {event.deltas}")
                left.update(event.deltas)
                if any(delta < 0 and left[type] < 0 for type, delta in event.deltas.items()):
                    found.append(f"{recorded.position}: {id} was given seats that there are not: {dict(left)} left")
                held[id] = event.held
            case ReservationCommitted():
                if id in over or id not in held:
                    found.append(f"{recorded.position}: {id} was committed, and holds nothing")
                over.add(id)
            case ReservationCancelled() | SeatsReleased():
                if (
                    id not in held
                    or _some(event.deltas) != before
                    or ((id in over) != isinstance(event, SeatsReleased))
                ):
                    found.append(f"{recorded.position}: {id} gave back {event.deltas} and held {before}")
                left.update(event.deltas)
                held.pop(id, None)
                over.add(id)
    return found


def orders_have_their_seats(events: Events) -> list[str]:
    """At the end: a confirmed order has the seats it is for, for good; one that is over has none."""
    seats: dict[str, Counter[str]] = defaultdict(Counter)
    pending: dict[str, Counter[str]] = defaultdict(Counter)
    held: dict[tuple[str, str], Seats] = {}
    confirmed: dict[str, Seats] = {}
    over: set[str] = set()
    for event in (recorded.event for recorded in events):
        match event:
            case SeatsReserved():
                held[event.conference_id, event.reservation_id] = event.held
            case ReservationCommitted():
                seats[_order(event)].update(held.pop((event.conference_id, event.reservation_id), {}))
            case ReservationCancelled():
                held.pop((event.conference_id, event.reservation_id), None)
            case SeatsReleased():
                seats[_order(event)].subtract(event.deltas)
            case OrderConfirmed():
                confirmed[event.order_id] = event.seats
            case OrderExpired() | OrderCancelled():
                confirmed.pop(event.order_id, None)
                over.add(event.order_id)
            case OrderReinstated():
                over.discard(event.order_id)
    for (_, reservation), some in held.items():
        pending[reservation.partition("~")[0]].update(some)
    wrong = [id for id, wanted in confirmed.items() if _some(seats[id]) != _some(wanted)]
    kept = [id for id in over if _some(seats[id]) or _some(pending[id])]
    return [
        *(f"order {id} is confirmed for {confirmed[id]} and has {_some(seats[id])}" for id in wrong),
        *(f"order {id} is over and keeps {_some(seats[id])} and {_some(pending[id])}" for id in kept),
    ]


def who_paid_has_seats_or_the_money_back(events: Events) -> list[str]:
    """At the end: a payment that is kept is of an order that is confirmed by it; one that is refunded is of none."""
    kept: dict[str, str] = {}
    confirmed: dict[str, str | None] = {}
    for event in (recorded.event for recorded in events):
        match event:
            case PaymentCompleted():
                kept[event.payment_id] = event.order_id
            case PaymentRefunded():
                kept.pop(event.payment_id, None)
            case OrderConfirmed():
                confirmed[event.order_id] = event.payment_id
            case OrderCancelled():
                confirmed.pop(event.order_id, None)
    unsettled = [id for id, order in kept.items() if confirmed.get(order) != id]
    unpaid = [order for order, id in confirmed.items() if id is not None and id not in kept]
    return [
        *(f"payment {id} of order {kept[id]} is kept, and the order is not confirmed by it" for id in unsettled),
        *(f"order {order} is confirmed by payment {confirmed[order]}, which is not kept" for order in unpaid),
    ]


def money_moves_once(events: Events) -> list[str]:
    """At any time: a payment comes once, and goes back once, after it came and in full."""
    found: list[str] = []
    came: dict[str, Decimal] = {}
    went: set[str] = set()
    for recorded in events:
        match recorded.event:
            case PaymentCompleted(payment_id, _, amount):
                if payment_id in came:
                    found.append(f"{recorded.position}: payment {payment_id} came twice")
                came[payment_id] = amount
            case PaymentRefunded(payment_id, _, amount):
                if payment_id in went or came.get(payment_id) != amount:
                    found.append(f"{recorded.position}: {amount} of payment {payment_id} went back wrongly")
                went.add(payment_id)
    return found


def every_process_ends(events: Events) -> list[str]:
    """At the end: processes are done, but for those that live as long as their conference."""
    last: dict[tuple[str, str], ProcessAdvanced] = {}
    for recorded in events:
        if isinstance(recorded.event, ProcessAdvanced):
            last[recorded.event.process, recorded.event.key] = recorded.event
    open_ones = [one for (process, _), one in last.items() if process not in LASTING and not one.is_done]
    return [f"process {one.process} {one.key} goes on after {one.input_type}, at {one.state}" for one in open_ones]


def waiting_lists_are_served_in_order(events: Events) -> list[str]:
    """At any time: who is offered seats is the first of those who want no more. At the end: no offer is open."""
    found: list[str] = []
    lists: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    offers: dict[tuple[str, str, str], str] = {}
    for recorded in events:
        event: Any = recorded.event
        match event:
            case WaitingListJoined():
                lists[event.conference_id, event.seat_type][event.order_id] = event.seats
            case SeatsOffered():
                one = lists[event.conference_id, event.seat_type]
                first = next((order for order, seats in one.items() if seats <= event.seats), None)
                if first != event.order_id:
                    found.append(f"{recorded.position}: {event.order_id} was offered what {first} came for before")
                one.pop(event.order_id, None)
                offers[event.conference_id, event.seat_type, event.order_id] = event.reservation_id
            case WaitingListLeft():
                lists[event.conference_id, event.seat_type].pop(event.order_id, None)
            case OfferAccepted() | OfferWithdrawn():
                offers.pop((event.conference_id, event.seat_type, event.order_id), None)
    return [*found, *(f"offer {reservation} of order {id[2]} is open" for id, reservation in offers.items())]


INVARIANTS: Final[tuple[Callable[[Events], list[str]], ...]] = (
    no_seat_is_sold_twice,
    orders_have_their_seats,
    who_paid_has_seats_or_the_money_back,
    money_moves_once,
    every_process_ends,
    waiting_lists_are_served_in_order,
)
"""All of them."""


def _some(seats: Any) -> Seats:
    """Return seats without the types of which there are none."""
    return {type: quantity for type, quantity in seats.items() if quantity}


def _difference(before: Seats, after: Seats) -> Seats:
    types = {**before, **after}
    return _some({type: before.get(type, 0) - after.get(type, 0) for type in types})


def _order(event: Any) -> str:
    """Return the order that a reservation is for."""
    order: str = event.reservation_id.partition("~")[0]
    return order
