"""SeatsAvailability: what can be had of a conference's seats. Never sells one twice.

One entity for each conference, stream `seats-<conference id>`. Seats are reserved under a reservation id, for a while;
then the reservation is committed or cancelled. The organiser may add seats, and remove them even when they are taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

import msgspec

from sacho import CommandRefused, Decider, Event, stream_id

Seats: TypeAlias = dict[str, int]
"""Numbers of seats by seat type."""


def seats_stream(conference_id: str) -> str:
    """Return the stream of a conference's seats."""
    return stream_id("seats", conference_id)


# --- events -------------------------------------------------------------------------------------------


class AvailableSeatsChanged(Event, tags=("conference:{conference_id}",)):
    """The organiser added or removed seats."""

    conference_id: str
    deltas: Seats


class SeatsReserved(Event, tags=("conference:{conference_id}", "reservation:{reservation_id}"), omit_defaults=True):
    """A reservation now holds `held`; what is available changed by `deltas`. Also recorded when nothing was left.

    `request` is the number of the request that it answers, 0 if that had none.
    """

    conference_id: str
    reservation_id: str
    held: Seats
    deltas: Seats
    request: int = 0


class ReservationCommitted(Event, tags=("conference:{conference_id}", "reservation:{reservation_id}")):
    """The seats that the reservation held are taken for good."""

    conference_id: str
    reservation_id: str


class ReservationCancelled(Event, tags=("conference:{conference_id}", "reservation:{reservation_id}")):
    """The seats of a pending reservation were given back."""

    conference_id: str
    reservation_id: str
    deltas: Seats


class SeatsReleased(Event, tags=("conference:{conference_id}", "reservation:{reservation_id}")):
    """The seats of a committed reservation were given back."""

    conference_id: str
    reservation_id: str
    deltas: Seats


SeatsEvent: TypeAlias = (
    AvailableSeatsChanged | SeatsReserved | ReservationCommitted | ReservationCancelled | SeatsReleased
)

# --- commands -----------------------------------------------------------------------------------------


class OpenSeatType(msgspec.Struct, frozen=True):
    """Make a type of seats known that has none yet; a type that is known stays as it is."""

    conference_id: str
    seat_type: str


class AddSeats(msgspec.Struct, frozen=True):
    """Put more seats of a type on sale."""

    conference_id: str
    seat_type: str
    quantity: int


class RemoveSeats(msgspec.Struct, frozen=True):
    """Take seats of a type off sale, whoever may hold them."""

    conference_id: str
    seat_type: str
    quantity: int


class MakeReservation(msgspec.Struct, frozen=True):
    """Hold as many of the wanted seats as can be had; the same id again asks anew with other numbers.

    Who waits for the answer numbers the requests of a reservation, from 1: then each is answered, even where nothing
    changes, and an answer says which request it is for.
    """

    conference_id: str
    reservation_id: str
    wanted: Mapping[str, int]
    request: int = 0


class CommitReservation(msgspec.Struct, frozen=True):
    """Make a pending reservation final."""

    conference_id: str
    reservation_id: str


class CancelReservation(msgspec.Struct, frozen=True):
    """Give the seats of a pending reservation back."""

    conference_id: str
    reservation_id: str


class ReleaseSeats(msgspec.Struct, frozen=True):
    """Give the seats of a committed reservation back."""

    conference_id: str
    reservation_id: str


SeatsCommand: TypeAlias = (
    OpenSeatType | AddSeats | RemoveSeats | MakeReservation | CommitReservation | CancelReservation | ReleaseSeats
)

# --- refusals -----------------------------------------------------------------------------------------


class UnknownSeatType(CommandRefused):
    """The conference has no seats of this type."""

    def __init__(self, seat_type: str) -> None:
        self.seat_type = seat_type
        super().__init__(f"the conference has no seats of type {seat_type!r}")


class InvalidQuantity(CommandRefused):
    """A number of seats that cannot be meant."""

    def __init__(self, seat_type: str, quantity: object) -> None:
        self.seat_type = seat_type
        self.quantity = quantity
        super().__init__(f"{quantity!r} is no number of seats of type {seat_type!r}")


# --- state --------------------------------------------------------------------------------------------


class SeatsState(msgspec.Struct):
    """What remains of each type (below zero when oversold by decision), who holds what, and what is over."""

    remaining: Seats = {}
    pending: dict[str, Seats] = {}
    committed: dict[str, Seats] = {}
    over: set[str] = set()

    def can_hold(self, reservation_id: str, wanted: Mapping[str, int]) -> Seats:
        """Return what a reservation can hold of what is wanted: what it has, and what remains."""
        already = self.pending.get(reservation_id, {})
        types = dict.fromkeys([*already, *wanted])
        return {type: min(wanted.get(type, 0), max(self.remaining[type], 0) + already.get(type, 0)) for type in types}

    def deltas(self, reservation_id: str, held: Mapping[str, int]) -> Seats:
        """Return how the remainder changes if the reservation holds `held` from now on."""
        already = self.pending.get(reservation_id, {})
        changes = {type: already.get(type, 0) - held.get(type, 0) for type in dict.fromkeys([*already, *held])}
        return {type: change for type, change in changes.items() if change}

    def change(self, deltas: Mapping[str, int]) -> None:
        """Let the remainder change."""
        for seat_type, delta in deltas.items():
            self.remaining[seat_type] = self.remaining.get(seat_type, 0) + delta


class SeatsAvailability(Decider[SeatsCommand, SeatsState, SeatsEvent]):
    """Decides what can be had of a conference's seats; never sells one twice.

    Its state is changed in place: a conference may have many thousand reservations, and copying them at each event
    would make the fold slow.
    """

    @property
    def initial(self) -> SeatsState:  # type: ignore[override]  # a new one each time, since it changes
        """No seats and no reservations."""
        return SeatsState()

    def decide(self, command: SeatsCommand, state: SeatsState) -> Iterator[SeatsEvent]:
        match command:
            case OpenSeatType(conference_id, seat_type) if seat_type not in state.remaining:
                yield AvailableSeatsChanged(conference_id, {seat_type: 0})
            case AddSeats(conference_id, seat_type, quantity):
                yield AvailableSeatsChanged(conference_id, {seat_type: _checked(seat_type, quantity, least=1)})
            case RemoveSeats(conference_id, seat_type, quantity):
                _check_known(state, seat_type)
                yield AvailableSeatsChanged(conference_id, {seat_type: -_checked(seat_type, quantity, least=1)})
            case MakeReservation():
                yield from self._reserve(command, state)
            case CommitReservation(conference_id, reservation_id) if reservation_id in state.pending:
                yield ReservationCommitted(conference_id, reservation_id)
            case CancelReservation(conference_id, reservation_id) if reservation_id in state.pending:
                yield ReservationCancelled(conference_id, reservation_id, _given(state.pending[reservation_id]))
            case ReleaseSeats(conference_id, reservation_id) if reservation_id in state.committed:
                yield SeatsReleased(conference_id, reservation_id, _given(state.committed[reservation_id]))

    def evolve(self, state: SeatsState, event: SeatsEvent) -> SeatsState:
        match event:
            case AvailableSeatsChanged(_, deltas):
                state.change(deltas)
            case SeatsReserved(_, reservation_id, held, deltas):
                state.change(deltas)
                state.pending[reservation_id] = held
            case ReservationCommitted(_, reservation_id):
                state.committed[reservation_id] = state.pending.pop(reservation_id)
                state.over.add(reservation_id)
            case ReservationCancelled(_, reservation_id, deltas):
                state.change(deltas)
                del state.pending[reservation_id]
                state.over.add(reservation_id)
            case SeatsReleased(_, reservation_id, deltas):
                state.change(deltas)
                del state.committed[reservation_id]
        return state

    def _reserve(self, command: MakeReservation, state: SeatsState) -> Iterator[SeatsEvent]:
        for seat_type, quantity in command.wanted.items():
            _check_known(state, seat_type)
            _checked(seat_type, quantity, least=0)
        if command.reservation_id in state.over:
            return
        held = state.can_hold(command.reservation_id, command.wanted)
        if command.request or held != state.pending.get(command.reservation_id):
            deltas = state.deltas(command.reservation_id, held)
            yield SeatsReserved(command.conference_id, command.reservation_id, held, deltas, command.request)


def _checked(seat_type: str, quantity: object, *, least: int) -> int:
    if not isinstance(quantity, int) or isinstance(quantity, bool) or quantity < least:
        raise InvalidQuantity(seat_type, quantity)
    return quantity


def _check_known(state: SeatsState, seat_type: str) -> None:
    if seat_type not in state.remaining:
        raise UnknownSeatType(seat_type)


def _given(held: Seats) -> Seats:
    return {type: quantity for type, quantity in held.items() if quantity}
