"""WaitingList: who waits for seats of a type that has run out, and what they are offered.

One entity for each conference and seat type, stream `waiting-<conference id>/<seat type>`. An offer is made of seats that
a reservation holds already, so what is offered can be had. Whose turn it is, is decided here (`first_who_fits`): the first
in the list who wants no more than there is. Who wants more is passed over and stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

import msgspec

from examples.conference.orders import MOST_OF_A_TYPE
from examples.conference.rules import check_number
from sacho import CommandRefused, Decider, Event, stream_id

TIME_TO_ACCEPT: Final = timedelta(minutes=30)
Ending: TypeAlias = Literal["declined", "timed out", "left"]


def waiting_stream(conference_id: str, seat_type: str) -> str:
    """Return the stream of a waiting list."""
    return stream_id("waiting", f"{conference_id}/{seat_type}")


# --- events -------------------------------------------------------------------------------------------


class WaitingListJoined(Event, tags=("conference:{conference_id}", "order:{order_id}")):
    """An order waits for seats; `place` of those who wait are before it or are it."""

    conference_id: str
    seat_type: str
    order_id: str
    seats: int
    place: int


class WaitingListLeft(Event, tags=("conference:{conference_id}", "order:{order_id}")):
    """An order does not wait any more."""

    conference_id: str
    seat_type: str
    order_id: str


class SeatsOffered(Event, tags=("conference:{conference_id}", "order:{order_id}")):
    """Seats, held by a reservation, are offered to an order until the offer expires."""

    conference_id: str
    seat_type: str
    order_id: str
    seats: int
    reservation_id: str
    expires_at: datetime


class OfferAccepted(Event, tags=("conference:{conference_id}", "order:{order_id}")):
    """The order takes what was offered; the reservation is the order's from now on."""

    conference_id: str
    seat_type: str
    order_id: str
    seats: int
    reservation_id: str


class OfferWithdrawn(Event, tags=("conference:{conference_id}", "order:{order_id}")):
    """The offer is over, and the order waits no more: it was declined, its time was over, or the registrant left."""

    conference_id: str
    seat_type: str
    order_id: str
    reservation_id: str
    ending: Ending


WaitingEvent: TypeAlias = WaitingListJoined | WaitingListLeft | SeatsOffered | OfferAccepted | OfferWithdrawn

# --- commands -----------------------------------------------------------------------------------------


class JoinWaitingList(msgspec.Struct, frozen=True):
    """Wait for seats of a type."""

    conference_id: str
    seat_type: str
    order_id: str
    seats: int


class LeaveWaitingList(msgspec.Struct, frozen=True):
    """Wait no more; also gives back what is offered. Of who does not wait, it changes nothing."""

    conference_id: str
    seat_type: str
    order_id: str


class OfferSeats(msgspec.Struct, frozen=True):
    """Offer seats that a reservation holds."""

    conference_id: str
    seat_type: str
    order_id: str
    seats: int
    reservation_id: str
    expires_at: datetime


class AcceptOffer(msgspec.Struct, frozen=True):
    """Take what is offered."""

    conference_id: str
    seat_type: str
    order_id: str


class DeclineOffer(msgspec.Struct, frozen=True):
    """Do not take what is offered."""

    conference_id: str
    seat_type: str
    order_id: str


class ExpireOffer(msgspec.Struct, frozen=True):
    """End an offer whose time is over; one that is over already stays as it is."""

    conference_id: str
    seat_type: str
    order_id: str
    reservation_id: str


WaitingCommand: TypeAlias = JoinWaitingList | LeaveWaitingList | OfferSeats | AcceptOffer | DeclineOffer | ExpireOffer

# --- refusals -----------------------------------------------------------------------------------------


class WaitsAlready(CommandRefused):
    """The order is on the list. Carries `order_id`."""

    def __init__(self, order_id: str) -> None:
        self.order_id = order_id
        super().__init__(f"order {order_id!r} is on the waiting list already")


class DoesNotWait(CommandRefused):
    """The order is not on the list, or has an offer already. Carries `order_id`."""

    def __init__(self, order_id: str) -> None:
        self.order_id = order_id
        super().__init__(f"order {order_id!r} does not wait for an offer")


class NoOffer(CommandRefused):
    """There is no offer for the order, or not any more. Carries `order_id`."""

    def __init__(self, order_id: str) -> None:
        self.order_id = order_id
        super().__init__(f"there is no offer for order {order_id!r}, or not any more")


# --- state --------------------------------------------------------------------------------------------


class Waiter(msgspec.Struct, frozen=True):
    """An order that waits for seats, and the reservation that it is offered, if it is."""

    order_id: str
    seats: int
    reservation_id: str | None = None


def first_who_fits(waiters: Iterable[Waiter], available: int) -> Waiter | None:
    """Return whose turn it is when so many seats can be had: the first without an offer who wants no more than that."""
    return next((one for one in waiters if one.reservation_id is None and one.seats <= available), None)


class WaitingState(msgspec.Struct, frozen=True):
    """Who waits, in the order in which they came."""

    waiters: tuple[Waiter, ...] = ()

    def find(self, order_id: str) -> Waiter | None:
        """Return the place of an order in the list."""
        return next((one for one in self.waiters if one.order_id == order_id), None)


class WaitingList(Decider[WaitingCommand, WaitingState, WaitingEvent]):
    """Decides who is on the list and what they are offered."""

    initial = WaitingState()

    def decide(self, command: WaitingCommand, state: WaitingState) -> Iterator[WaitingEvent]:
        key = (command.conference_id, command.seat_type, command.order_id)
        waiter = state.find(command.order_id)
        offered = None if waiter is None else waiter.reservation_id
        match command:
            case JoinWaitingList(seats=seats):
                check_number("seats", seats, least=1, most=MOST_OF_A_TYPE)
                if waiter is not None:
                    raise WaitsAlready(command.order_id)
                yield WaitingListJoined(*key, seats, len(state.waiters) + 1)
            case LeaveWaitingList():
                if offered is not None:
                    yield OfferWithdrawn(*key, offered, "left")
                elif waiter is not None:
                    yield WaitingListLeft(*key)
            case OfferSeats(seats=seats, reservation_id=reservation_id, expires_at=expires_at):
                if waiter is None or offered is not None:
                    raise DoesNotWait(command.order_id)
                yield SeatsOffered(*key, seats, reservation_id, expires_at)
            case ExpireOffer(reservation_id=reservation_id):
                if offered == reservation_id:
                    yield OfferWithdrawn(*key, reservation_id, "timed out")
            case _ if waiter is None or offered is None:
                raise NoOffer(command.order_id)
            case AcceptOffer():
                yield OfferAccepted(*key, waiter.seats, offered)
            case DeclineOffer():
                yield OfferWithdrawn(*key, offered, "declined")

    def evolve(self, state: WaitingState, event: WaitingEvent) -> WaitingState:
        match event:
            case WaitingListJoined(_, _, order_id, seats):
                return WaitingState((*state.waiters, Waiter(order_id, seats)))
            case SeatsOffered(_, _, order_id, seats, reservation_id):
                offered = Waiter(order_id, seats, reservation_id)
                return WaitingState(tuple(offered if one.order_id == order_id else one for one in state.waiters))
            case WaitingListLeft() | OfferAccepted() | OfferWithdrawn():
                return WaitingState(tuple(one for one in state.waiters if one.order_id != event.order_id))
