"""The waiting process: seats that come back are offered to those who wait, in order. One per conference.

It counts what is available as the deltas say. When somebody who waits fits in, it has the seats reserved and then offered:
one at a time of a type, so that nobody is asked before somebody who came earlier and wants no more. Others may be quicker
between the two; then the reservation falls short, is given back, and the count says who fits now.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TypeAlias

import msgspec

from examples.conference.seats import (
    AvailableSeatsChanged,
    CancelReservation,
    MakeReservation,
    ReservationCancelled,
    SeatsReleased,
    SeatsReserved,
)
from examples.conference.waiting import (
    TIME_TO_ACCEPT,
    ExpireOffer,
    OfferAccepted,
    OfferSeats,
    OfferWithdrawn,
    SeatsOffered,
    Waiter,
    WaitingListJoined,
    WaitingListLeft,
    first_who_fits,
)
from sacho.events import CommandTurnedDown
from sacho.reacting import Become, Moment, ProcessManager, Reaction, Send, continues, on_refusal, starts


class Asked(msgspec.Struct, frozen=True):
    """A reservation that was asked for, to be offered to an order."""

    reservation_id: str
    order_id: str
    seats: int


class OneList(msgspec.Struct, frozen=True):
    """One seat type: how many seats are available, who waits in order, and what was asked for and not answered yet."""

    available: int = 0
    waiters: tuple[Waiter, ...] = ()
    asked: Asked | None = None


class Lists(msgspec.Struct, frozen=True):
    """A conference's waiting lists by seat type, and how many reservations were asked for."""

    of: dict[str, OneList] = {}
    asked: int = 0

    def change(self, seat_type: str, **changes: object) -> Lists:
        """Return the lists with one changed."""
        one = msgspec.structs.replace(self.of.get(seat_type, OneList()), **changes)
        return msgspec.structs.replace(self, of={**self.of, seat_type: one})

    def without(self, seat_type: str, order_id: str) -> Lists:
        """Return the lists with an order gone from one of them."""
        waiters = self.of[seat_type].waiters
        return self.change(seat_type, waiters=tuple(one for one in waiters if one.order_id != order_id))


Moved: TypeAlias = AvailableSeatsChanged | SeatsReserved | ReservationCancelled | SeatsReleased


class WaitingProcess(ProcessManager[Lists]):
    """Offers what comes back. It lasts as long as its conference."""

    name = "waiting"
    initial = Lists()

    @starts(AvailableSeatsChanged, SeatsReserved, ReservationCancelled, SeatsReleased, key="conference_id")
    def moved(self, event: Moved, state: Lists, moment: Moment) -> Iterator[Reaction]:
        for type, delta in event.deltas.items():
            state = state.change(type, available=state.of.get(type, OneList()).available + delta)
        if isinstance(event, SeatsReserved) and (seat_type := _asked_for(event, state)):
            state = yield from _answered(event, seat_type, state, moment)
        yield from _ask_next(event.conference_id, state)

    @starts(WaitingListJoined, key="conference_id")  # one may wait before the first seats are known
    def joined(self, event: WaitingListJoined, state: Lists, moment: Moment) -> Iterator[Reaction]:
        waiters = (*state.of.get(event.seat_type, OneList()).waiters, Waiter(event.order_id, event.seats))
        yield from _ask_next(event.conference_id, state.change(event.seat_type, waiters=waiters))

    @continues(WaitingListLeft, OfferAccepted, key="conference_id")
    def left(self, event: WaitingListLeft | OfferAccepted, state: Lists, moment: Moment) -> Iterator[Reaction]:
        yield Become(state.without(event.seat_type, event.order_id))

    @continues(SeatsOffered, key="conference_id")
    def offered(self, event: SeatsOffered, state: Lists, moment: Moment) -> Iterator[Reaction]:
        expire = ExpireOffer(event.conference_id, event.seat_type, event.order_id, event.reservation_id)
        yield Send(expire, at=event.expires_at)

    @continues(OfferWithdrawn, key="conference_id")
    def withdrawn(self, event: OfferWithdrawn, state: Lists, moment: Moment) -> Iterator[Reaction]:
        yield Send(CancelReservation(event.conference_id, event.reservation_id))
        yield Become(state.without(event.seat_type, event.order_id))

    @on_refusal(OfferSeats)
    def not_offered(self, refusal: CommandTurnedDown, state: Lists, moment: Moment) -> Iterator[Reaction]:
        yield Send(CancelReservation(moment.key, refusal.data["reservation_id"]))  # who was to be asked has left

    @on_refusal(MakeReservation)
    def not_reserved(self, refusal: CommandTurnedDown, state: Lists, moment: Moment) -> Iterator[Reaction]:
        [seat_type] = refusal.data["wanted"]
        yield Become(state.change(seat_type, asked=None))


def _asked_for(event: SeatsReserved, state: Lists) -> str | None:
    """Return the seat type whose list asked for this reservation, if one did."""
    found = (type for type, one in state.of.items() if one.asked and one.asked.reservation_id == event.reservation_id)
    return next(found, None)


def _answered(event: SeatsReserved, seat_type: str, state: Lists, moment: Moment) -> Generator[Reaction, None, Lists]:
    """Offer what a reservation holds if it is all that was asked for and who asked is still there, else give it back."""
    one = state.of[seat_type]
    assert one.asked is not None
    order_id, seats = one.asked.order_id, one.asked.seats
    still_waits = Waiter(order_id, seats) in one.waiters
    if not still_waits or event.held.get(seat_type, 0) < seats:
        yield Send(CancelReservation(event.conference_id, event.reservation_id))
        return state.change(seat_type, asked=None)
    expires_at = moment.now + TIME_TO_ACCEPT
    yield Send(OfferSeats(event.conference_id, seat_type, order_id, seats, event.reservation_id, expires_at))
    asked = Waiter(order_id, seats, event.reservation_id)
    waiters = tuple(asked if waiter.order_id == order_id else waiter for waiter in one.waiters)
    return state.change(seat_type, asked=None, waiters=waiters)


def _ask_next(conference_id: str, state: Lists) -> Iterator[Reaction]:
    """Have seats reserved for whose turn it is, in each list that waits for no answer."""
    for seat_type, one in state.of.items():
        turn = None if one.asked else first_who_fits(one.waiters, one.available)
        if turn is not None:
            number = state.asked + 1
            id = f"{turn.order_id}~offer{number}"
            yield Send(MakeReservation(conference_id, id, {seat_type: turn.seats}))
            asked = Asked(id, turn.order_id, turn.seats)
            state = msgspec.structs.replace(state.change(seat_type, asked=asked), asked=number)
    yield Become(state)
