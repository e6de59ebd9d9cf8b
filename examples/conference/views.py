"""What is read of a conference: what is left of each seat type, who holds what, and the organiser's figures. All from events."""

from __future__ import annotations

import os
from collections import Counter
from datetime import datetime
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec
import sqlalchemy as sa

from examples.conference.race import STORE
from examples.conference.seats import (
    AvailableSeatsChanged,
    ReservationCancelled,
    ReservationCommitted,
    Seats,
    SeatsReleased,
    SeatsReserved,
)
from sacho import EventStore, RecordedEvent
from sacho.reacting import Application, Changes, DocumentView, Projection, View, handles

Moved: TypeAlias = SeatsReserved | ReservationCancelled | SeatsReleased
Ended: TypeAlias = ReservationCommitted | ReservationCancelled | SeatsReleased
State: TypeAlias = Literal["held", "committed", "cancelled", "released"]


class SeatAvailability(Projection):
    """What is available of each conference's seat types: one sum of deltas."""

    available = sa.Table(
        "seat_availability",
        sa.MetaData(),
        sa.Column("conference_id", sa.Text, primary_key=True),
        sa.Column("seat_type", sa.Text, primary_key=True),
        sa.Column("on_sale", sa.BigInteger, nullable=False),
        sa.Column("available", sa.BigInteger, nullable=False),
    )

    def prepare(self) -> None:
        self.change = self.upsert(self.available, add=["on_sale", "available"])

    @handles(AvailableSeatsChanged)
    def changed(self, event: AvailableSeatsChanged, changes: Changes) -> None:
        for kind, delta in event.deltas.items():
            self._add(event.conference_id, kind, changes, on_sale=delta, available=delta)

    @handles(SeatsReserved, ReservationCancelled, SeatsReleased)
    def moved(self, event: Moved, changes: Changes) -> None:
        for kind, delta in event.deltas.items():
            self._add(event.conference_id, kind, changes, on_sale=0, available=delta)

    def _add(self, conference_id: str, kind: str, changes: Changes, **more: int) -> None:
        changes.execute(self.change, {"conference_id": conference_id, "seat_type": kind, **more})


class Conference(msgspec.Struct, frozen=True):
    """A conference as far as its seats tell: what there is of each seat type, and when that changed last."""

    on_sale: Seats
    available: Seats
    changed_at: datetime

    @property
    def is_sold_out(self) -> bool:
        return any(self.on_sale.values()) and not any(self.available.values())


class Conferences(DocumentView[Conference]):
    """Each conference that has had seats on sale, by its id."""

    indexed = ("is_sold_out",)

    @handles(AvailableSeatsChanged, key="conference_id")
    def changed(self, event: AvailableSeatsChanged, known: Conference | None, recorded: RecordedEvent) -> Conference:
        on_sale, available = ({}, {}) if known is None else (known.on_sale, known.available)
        return Conference(_sum(on_sale, event.deltas), _sum(available, event.deltas), recorded.recorded_at)

    @handles(SeatsReserved, ReservationCancelled, SeatsReleased, key="conference_id")
    def moved(self, event: Moved, known: Conference | None, recorded: RecordedEvent) -> Conference | None:
        if known is None:
            return None
        return Conference(known.on_sale, _sum(known.available, event.deltas), recorded.recorded_at)


def _sum(seats: Seats, deltas: Seats) -> Seats:
    return {kind: seats.get(kind, 0) + deltas.get(kind, 0) for kind in {**seats, **deltas}}


class Attendance(msgspec.Struct, frozen=True):
    """One reservation: what it holds (or held, once it is over), what became of it, and when."""

    conference_id: str
    held: Seats
    asked_at: datetime
    changed_at: datetime
    state: State = "held"

    @property
    def got(self) -> int:
        """How many seats it was given, whatever became of them."""
        return sum(self.held.values())

    @property
    def seats(self) -> int:
        """How many seats it holds."""
        return self.got if self.state in {"held", "committed"} else 0


def _key(event: SeatsReserved | Ended) -> str:
    return f"{event.conference_id} {event.reservation_id}"


class Attendees(DocumentView[Attendance]):
    """Each reservation of each conference, by conference and reservation."""

    indexed = ("conference_id", "state", "got", "seats")

    @handles(SeatsReserved, key=_key)
    def reserved(self, event: SeatsReserved, known: Attendance | None, recorded: RecordedEvent) -> Attendance:
        now = recorded.recorded_at
        return Attendance(event.conference_id, event.held, now if known is None else known.asked_at, now)

    @handles(ReservationCommitted, ReservationCancelled, SeatsReleased, key=_key)
    def ended(self, event: Ended, known: Attendance | None, recorded: RecordedEvent) -> Attendance | None:
        if known is None:
            return None
        return msgspec.structs.replace(known, state=_STATES[type(event)], changed_at=recorded.recorded_at)


_STATES: Final[dict[type, State]] = {
    ReservationCommitted: "committed",
    ReservationCancelled: "cancelled",
    SeatsReleased: "released",
}


class SalesByMinute(Projection):
    """The organiser's figures: seats taken and given back in each minute, by seat type. Their sums are the sell-out curve."""

    sales = sa.Table(
        "sales_by_minute",
        sa.MetaData(),
        sa.Column("conference_id", sa.Text, primary_key=True),
        sa.Column("minute", sa.Text, primary_key=True),
        sa.Column("seat_type", sa.Text, primary_key=True),
        sa.Column("taken", sa.BigInteger, nullable=False),
        sa.Column("given_back", sa.BigInteger, nullable=False),
    )

    def prepare(self) -> None:
        self.count = self.upsert(self.sales, add=["taken", "given_back"])

    @handles(SeatsReserved, ReservationCancelled, SeatsReleased)
    def moved(self, event: Moved, changes: Changes) -> None:
        keys = {"conference_id": event.conference_id, "minute": f"{changes.recorded.recorded_at:%Y-%m-%d %H:%M}"}
        for kind, delta in event.deltas.items():
            counts = {"taken": max(-delta, 0), "given_back": max(delta, 0)}
            changes.execute(self.count, {**keys, "seat_type": kind, **counts})


class Availability(NamedTuple):
    """What there is of a seat type."""

    on_sale: int
    available: int


class Funnel(NamedTuple):
    """How many reservations came how far: all that asked, got a seat, were committed; and how many gave theirs back."""

    asked: int
    held: int
    committed: int
    cancelled: int
    released: int


def availability(view: View, conference_id: str) -> dict[str, Availability]:
    """Return what there is of each seat type, from the view of `SeatAvailability`."""
    c = SeatAvailability.available.c
    rows = view.execute(sa.select(c.seat_type, c.on_sale, c.available).where(c.conference_id == conference_id))
    return {row.seat_type: Availability(row.on_sale, row.available) for row in rows}


def funnel(view: View, conference_id: str) -> Funnel:
    """Return how far a conference's reservations came, from the view of `Attendees`."""
    c = Attendees.view.c
    count, with_seats = (
        sa.func.count().label("reservations"),
        sa.func.count(sa.case((c.got > 0, 1))).label("with_seats"),
    )
    rows = view.execute(
        sa.select(c.state, count, with_seats).where(c.conference_id == conference_id).group_by(c.state)
    ).all()
    of = Counter({row.state: row.reservations for row in rows})
    return Funnel(
        asked=of.total(),
        held=sum(row.with_seats for row in rows),
        committed=of["committed"] + of["released"],
        cancelled=of["cancelled"],
        released=of["released"],
    )


def sell_out(view: View, conference_id: str) -> dict[str, list[tuple[str, int]]]:
    """Return how many seats of each type were held at the end of each minute that changed it, from `SalesByMinute`."""
    c = SalesByMinute.sales.c
    rows = view.execute(
        sa.select(c.seat_type, c.minute, (c.taken - c.given_back).label("more"))
        .where(c.conference_id == conference_id)
        .order_by(c.seat_type, c.minute)
    )
    curves: dict[str, list[tuple[str, int]]] = {}
    for row in rows:
        curve = curves.setdefault(row.seat_type, [])
        curve.append((row.minute, row.more + (curve[-1][1] if curve else 0)))
    return curves


def application(store: str | EventStore | None = None) -> Application:
    """Return the application over a store: an open one, one of a URL, or the one that the environment names."""
    views = [Conferences, SeatAvailability, Attendees, SalesByMinute]
    return Application(store or os.environ[STORE], consumers=views)
