"""The events and the decider that Sacho's side records and folds: seats of a conference, as a user would write them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from benchmarks.domain import Reservation
from sacho import CommandRefused, Decider, Event


class SeatsReserved(Event):
    """Seats were taken. Belongs to its stream only."""

    conference_id: str
    reservation_id: str
    seat_type: str
    seats: int
    note: str


class TaggedSeatsReserved(Event, tags=("conference:{conference_id}",)):
    """The same, found by its conference too."""

    conference_id: str
    reservation_id: str
    seat_type: str
    seats: int
    note: str


class SeatsAdded(Event):
    """Seats were put on sale."""

    conference_id: str
    seat_type: str
    seats: int


class AddSeats(msgspec.Struct, frozen=True):
    """Put seats on sale."""

    conference_id: str
    seat_type: str
    seats: int


class MakeReservation(msgspec.Struct, frozen=True):
    """Take seats."""

    wanted: Reservation


Command = AddSeats | MakeReservation
SeatsEvent = SeatsAdded | SeatsReserved


class State(msgspec.Struct, frozen=True):
    """How many seats of each type remain."""

    remaining: Mapping[str, int] = {}


class SoldOut(CommandRefused):
    """Fewer seats remain than are wanted."""


class SeatsDecider(Decider[Command, State, SeatsEvent]):
    """Never sells a seat twice."""

    initial = State()

    def decide(self, command: Command, state: State) -> Iterator[SeatsEvent]:
        """Return what happens, or refuse."""
        match command:
            case AddSeats(conference_id, seat_type, seats):
                yield SeatsAdded(conference_id, seat_type, seats)
            case MakeReservation(wanted):
                if state.remaining.get(wanted.seat_type, 0) < wanted.seats:
                    raise SoldOut(f"no {wanted.seats} seats of {wanted.seat_type} remain")
                yield SeatsReserved(*wanted)

    def evolve(self, state: State, event: SeatsEvent) -> State:
        """Return how many remain after `event`."""
        change = event.seats if isinstance(event, SeatsAdded) else -event.seats
        remaining = state.remaining
        return State({**remaining, event.seat_type: remaining.get(event.seat_type, 0) + change})
