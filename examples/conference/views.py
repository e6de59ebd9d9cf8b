"""What is read of a conference: what is left of each seat type, who holds what, and the organiser's figures. All from events."""

from __future__ import annotations

import os
from typing import Any, Literal

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
from sacho.reacting import Application, Changes, DocumentView, Projection, handles


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
    """One reservation: what it holds, and what became of it."""

    conference_id: str
    held: Seats
    state: Literal["held", "committed", "cancelled", "released"] = "held"

    @property
    def seats(self) -> int:
        """How many seats it holds."""
        return sum(self.held.values()) if self.state in {"held", "committed"} else 0


class Attendees(DocumentView[Attendance]):
    """Each reservation of each conference, by conference and reservation."""

    indexed = ("conference_id", "state", "seats")

    @handles(SeatsReserved, key=lambda event: f"{event.conference_id} {event.reservation_id}")
    def reserved(self, event: SeatsReserved, _: Attendance | None) -> Attendance:
        return Attendance(event.conference_id, event.held)

    @handles(ReservationCommitted, key=lambda event: f"{event.conference_id} {event.reservation_id}")
    def committed(self, event: ReservationCommitted, attendance: Attendance) -> Attendance:
        return msgspec.structs.replace(attendance, state="committed")

    @handles(ReservationCancelled, key=lambda event: f"{event.conference_id} {event.reservation_id}")
    def cancelled(self, event: ReservationCancelled, attendance: Attendance) -> Attendance:
        return msgspec.structs.replace(attendance, state="cancelled")

    @handles(SeatsReleased, key=lambda event: f"{event.conference_id} {event.reservation_id}")
    def released(self, event: SeatsReleased, attendance: Attendance) -> Attendance:
        return msgspec.structs.replace(attendance, state="released")


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


def application(url: str | None = None) -> Application:
    """Return the application over a store: of this URL, or of the one that the environment names."""
    views = [SeatAvailability, Attendees, SalesByMinute]
    return Application(url or os.environ[STORE], consumers=views)
