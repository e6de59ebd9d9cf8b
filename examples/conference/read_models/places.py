"""Attendees by place: who sits where, of each confirmed order."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from examples.conference.assignments import (
    Attendee,
    SeatAssigned,
    SeatAssignmentsCreated,
    SeatAssignmentsWithdrawn,
    SeatAssignmentUpdated,
    SeatUnassigned,
)
from sacho.reacting import DocumentView, handles

Assigned: TypeAlias = SeatAssigned | SeatAssignmentUpdated


class Place(msgspec.Struct, frozen=True):
    """A place and who sits there, None if nobody was assigned."""

    seat_type: str
    attendee: Attendee | None = None


class Places(msgspec.Struct, frozen=True):
    """The places of an order, in order of their numbers."""

    places: list[Place]

    @property
    def unassigned(self) -> int:
        """How many places nobody was assigned to."""
        return sum(1 for place in self.places if place.attendee is None)

    def with_attendee(self, number: int, attendee: Attendee | None) -> Places:
        """Return the places with another attendee at one."""
        changed = Place(self.places[number].seat_type, attendee)
        return Places([changed if index == number else place for index, place in enumerate(self.places)])


class OrderPlaces(DocumentView[Places]):
    """The places of each confirmed order, by the order's id."""

    indexed = ("unassigned",)

    @handles(SeatAssignmentsCreated, key="order_id")
    def created(self, event: SeatAssignmentsCreated, known: Places | None) -> Places:
        return Places([Place(seat_type) for seat_type in event.places])

    @handles(SeatAssigned, SeatAssignmentUpdated, key="order_id")
    def assigned(self, event: Assigned, known: Places | None) -> Places | None:
        return known and known.with_attendee(event.place, event.attendee)

    @handles(SeatUnassigned, key="order_id")
    def unassigned(self, event: SeatUnassigned, known: Places | None) -> Places | None:
        return known and known.with_attendee(event.place, None)

    @handles(SeatAssignmentsWithdrawn, key="order_id")
    def withdrawn(self, event: SeatAssignmentsWithdrawn, known: Places | None) -> Places | None:
        return None
