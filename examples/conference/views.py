"""What is read of a conference: what is left of each seat type, who holds what, and the organiser's figures. All from events."""

from __future__ import annotations

import os
from collections import Counter
from datetime import datetime
from typing import Any, Literal, NamedTuple

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
from sacho import EventStore
from sacho.reacting import Application, Changes, Documents, DocumentView, Projection, View, handles


class SeatAvailability(Projection):
    """What is available of each conference's seat types. One sum of deltas, so several workers keep it exact together."""

    available = sa.Table(
        "seat_availability",
        sa.MetaData(),
        sa.Column("conference_id", sa.Text, primary_key=True),
        sa.Column("seat_type", sa.Text, primary_key=True),
        sa.Column("on_sale", sa.BigInteger, nullable=False),
        sa.Column("available", sa.BigInteger, nullable=False),
    )

    def prepare(self) -> None:
        table = self.available
        c = table.c
        of, kind = sa.bindparam("of", type_=sa.Text), sa.bindparam("kind", type_=sa.Text)
        there = sa.select(1).where(c.conference_id == of, c.seat_type == kind)
        new = sa.select(of, kind, sa.literal(0), sa.literal(0)).where(~there.exists())
        self.begin: Any = table.insert().from_select(["conference_id", "seat_type", "on_sale", "available"], new)
        self.change: Any = (
            table.update()
            .where(c.conference_id == of, c.seat_type == kind)
            .values(
                available=c.available + sa.bindparam("delta", type_=sa.BigInteger),
                on_sale=c.on_sale + sa.bindparam("more", type_=sa.BigInteger),
            )
        )

    @handles(AvailableSeatsChanged)
    def changed(self, event: AvailableSeatsChanged, changes: Changes) -> None:
        for kind, delta in event.deltas.items():
            changes.execute(self.begin, {"of": event.conference_id, "kind": kind})
            changes.execute(self.change, {"of": event.conference_id, "kind": kind, "delta": delta, "more": delta})

    @handles(SeatsReserved, ReservationCancelled, SeatsReleased)
    def moved(self, event: SeatsReserved | ReservationCancelled | SeatsReleased, changes: Changes) -> None:
        for kind, delta in event.deltas.items():
            changes.execute(self.change, {"of": event.conference_id, "kind": kind, "delta": delta, "more": 0})


class Attendance(msgspec.Struct, frozen=True):
    """One reservation: what it holds (or held, once it is over), what became of it, and when."""

    conference_id: str
    held: Seats
    asked_at: datetime
    changed_at: datetime
    state: Literal["held", "committed", "cancelled", "released"] = "held"

    @property
    def got(self) -> int:
        """How many seats it was given, whatever became of them."""
        return sum(self.held.values())

    @property
    def seats(self) -> int:
        """How many seats it holds."""
        return self.got if self.state in {"held", "committed"} else 0


class Attendees(DocumentView[Attendance]):
    """Each reservation of each conference, by conference and reservation."""

    indexed = ("conference_id", "state", "got", "seats")

    @handles(SeatsReserved)
    def reserved(self, event: SeatsReserved, documents: Documents[Attendance]) -> None:
        key, now = _key(event), documents.recorded.recorded_at
        known = documents.get(key)
        documents.put(key, Attendance(event.conference_id, event.held, now if known is None else known.asked_at, now))

    @handles(ReservationCommitted)
    def committed(self, event: ReservationCommitted, documents: Documents[Attendance]) -> None:
        _end(event, documents, "committed")

    @handles(ReservationCancelled)
    def cancelled(self, event: ReservationCancelled, documents: Documents[Attendance]) -> None:
        _end(event, documents, "cancelled")

    @handles(SeatsReleased)
    def released(self, event: SeatsReleased, documents: Documents[Attendance]) -> None:
        _end(event, documents, "released")


def _key(event: SeatsReserved | ReservationCommitted | ReservationCancelled | SeatsReleased) -> str:
    return f"{event.conference_id} {event.reservation_id}"


def _end(
    event: ReservationCommitted | ReservationCancelled | SeatsReleased,
    documents: Documents[Attendance],
    state: Literal["committed", "cancelled", "released"],
) -> None:
    attendance = documents.get(_key(event))
    if attendance is not None:
        ended = msgspec.structs.replace(attendance, state=state, changed_at=documents.recorded.recorded_at)
        documents.put(_key(event), ended)


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
        c = self.sales.c
        keys = {name: sa.bindparam(name + "_", type_=sa.Text) for name in ("conference_id", "minute", "seat_type")}
        same = sa.and_(*(c[name] == key for name, key in keys.items()))
        new = sa.select(*keys.values(), sa.literal(0), sa.literal(0)).where(~sa.select(1).where(same).exists())
        self.begin: Any = self.sales.insert().from_select([*keys, "taken", "given_back"], new)
        self.count: Any = (
            self.sales.update()
            .where(same)
            .values(
                taken=c.taken + sa.bindparam("more", type_=sa.BigInteger),
                given_back=c.given_back + sa.bindparam("less", type_=sa.BigInteger),
            )
        )

    @handles(SeatsReserved, ReservationCancelled, SeatsReleased)
    def moved(self, event: SeatsReserved | ReservationCancelled | SeatsReleased, changes: Changes) -> None:
        minute = f"{changes.recorded.recorded_at:%Y-%m-%d %H:%M}"
        for kind, delta in event.deltas.items():
            keys = {"conference_id_": event.conference_id, "minute_": minute, "seat_type_": kind}
            changes.execute(self.begin, keys)
            changes.execute(self.count, {**keys, "more": max(-delta, 0), "less": max(delta, 0)})


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
    views = [SeatAvailability, Attendees, SalesByMinute]
    return Application(store or os.environ[STORE], consumers=views)
