"""Conferences as everybody sees them: what is said of each, its seat types, and what is available of them."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from examples.conference.management import (
    ConferenceCreated,
    ConferencePublished,
    ConferenceUnpublished,
    ConferenceUpdated,
    Details,
    SeatType,
    SeatTypeAdded,
    SeatTypeUpdated,
)
from examples.conference.orders import Prices
from examples.conference.seats import AvailableSeatsChanged, ReservationCancelled, Seats, SeatsReleased, SeatsReserved
from sacho.reacting import DocumentReader, DocumentView, handles

SeatsMoved: TypeAlias = AvailableSeatsChanged | SeatsReserved | ReservationCancelled | SeatsReleased


class ConferencePage(msgspec.Struct, frozen=True):
    """A conference. `available` has the seat types that booking knows, which is a moment after they were added."""

    slug: str
    access_code: str
    details: Details
    is_published: bool = False
    seat_types: dict[str, SeatType] = {}
    available: Seats = {}

    @property
    def prices(self) -> Prices:
        """What one seat costs, of each type that can be booked: what a RegisterToConference is to be given."""
        return {key: one.price for key, one in self.seat_types.items() if key in self.available}

    @property
    def sold_out(self) -> list[str]:
        """The seat types of which nothing is left."""
        return [key for key in self.seat_types if self.available.get(key, 0) <= 0]


class ConferencePages(DocumentView[ConferencePage]):
    """Each conference, by its id."""

    indexed = ("slug", "is_published")

    @handles(ConferenceCreated, key="conference_id")
    def created(self, event: ConferenceCreated, known: ConferencePage | None) -> ConferencePage:
        return ConferencePage(event.slug, event.access_code, event.details)

    @handles(ConferenceUpdated, key="conference_id")
    def updated(self, event: ConferenceUpdated, known: ConferencePage | None) -> ConferencePage | None:
        return known and msgspec.structs.replace(known, details=event.details)

    @handles(ConferencePublished, key="conference_id")
    def published(self, event: ConferencePublished, known: ConferencePage | None) -> ConferencePage | None:
        return known and msgspec.structs.replace(known, is_published=True)

    @handles(ConferenceUnpublished, key="conference_id")
    def unpublished(self, event: ConferenceUnpublished, known: ConferencePage | None) -> ConferencePage | None:
        return known and msgspec.structs.replace(known, is_published=False)

    @handles(SeatTypeAdded, SeatTypeUpdated, key="conference_id")
    def seat_type(self, event: SeatTypeAdded | SeatTypeUpdated, known: ConferencePage | None) -> ConferencePage | None:
        one = SeatType(event.name, event.description, event.quantity, event.price)
        return known and msgspec.structs.replace(known, seat_types={**known.seat_types, event.seat_type: one})

    @handles(AvailableSeatsChanged, SeatsReserved, ReservationCancelled, SeatsReleased, key="conference_id")
    def moved(self, event: SeatsMoved, known: ConferencePage | None) -> ConferencePage | None:
        if known is None:
            return None
        changed = {key: known.available.get(key, 0) + delta for key, delta in event.deltas.items()}
        return msgspec.structs.replace(known, available={**known.available, **changed})


def conference_of(view: DocumentReader[ConferencePage], slug: str) -> tuple[str, ConferencePage] | None:
    """Return the id and the page of the published conference of a slug, or None."""
    c = ConferencePages.view.c
    return next(iter(view.find(c.slug == slug, c.is_published)), None)
