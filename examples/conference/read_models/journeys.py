"""What the organiser learns of how people buy: how far orders come, where they end, when they are placed, how long they take."""

from __future__ import annotations

from datetime import datetime
from statistics import median
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec
import sqlalchemy as sa

from examples.conference.orders import (
    OrderCancelled,
    OrderConfirmed,
    OrderExpired,
    OrderPartiallyReserved,
    OrderPlaced,
    OrderRegistrantAssigned,
    OrderReservationCompleted,
)
from examples.conference.payments import PaymentInitiated
from sacho import RecordedEvent
from sacho.reacting import DocumentView, View, handles

Stage: TypeAlias = Literal["placed", "reserved", "registered", "paying", "confirmed"]
STAGES: Final[tuple[Stage, ...]] = ("placed", "reserved", "registered", "paying", "confirmed")
"""How far an order may come: seats held, registrant known, payment begun, done."""


class Journey(msgspec.Struct, frozen=True):
    """How far an order came at most, and when; `ending` says how it ended, if it did not by being confirmed."""

    conference_id: str
    placed_at: datetime
    furthest: Stage = "placed"
    confirmed_at: datetime | None = None
    ending: Literal["", "expired", "cancelled"] = ""

    @property
    def stage(self) -> int:
        """How far it came, as a number from 0."""
        return STAGES.index(self.furthest)

    @property
    def minute(self) -> str:
        """The minute in which it was placed."""
        return f"{self.placed_at:%Y-%m-%d %H:%M}"

    @property
    def seconds(self) -> float | None:
        """How long it took from the order to its confirmation."""
        return None if self.confirmed_at is None else (self.confirmed_at - self.placed_at).total_seconds()

    def reaching(self, stage: Stage) -> Journey:
        """Return the journey having come to a stage, if it was not further before."""
        return msgspec.structs.replace(self, furthest=stage) if STAGES.index(stage) > self.stage else self


class OrderJourneys(DocumentView[Journey]):
    """The journey of each order, by its id. Times are those at which the log recorded."""

    indexed = ("conference_id", "stage", "ending", "minute", "seconds")

    @handles(OrderPlaced, key="order_id")
    def placed(self, event: OrderPlaced, known: Journey | None, recorded: RecordedEvent) -> Journey:
        return Journey(event.conference_id, recorded.recorded_at)

    @handles(OrderReservationCompleted, OrderPartiallyReserved, key="order_id")
    def reserved(
        self, event: OrderReservationCompleted | OrderPartiallyReserved, known: Journey | None
    ) -> Journey | None:
        return known.reaching("reserved") if known and event.seats else known

    @handles(OrderRegistrantAssigned, key="order_id")
    def registered(self, event: OrderRegistrantAssigned, known: Journey | None) -> Journey | None:
        return known and known.reaching("registered")

    @handles(PaymentInitiated, key="order_id")
    def paying(self, event: PaymentInitiated, known: Journey | None) -> Journey | None:
        return known and known.reaching("paying")

    @handles(OrderConfirmed, key="order_id")
    def confirmed(self, event: OrderConfirmed, known: Journey | None, recorded: RecordedEvent) -> Journey | None:
        return known and msgspec.structs.replace(
            known.reaching("confirmed"), confirmed_at=recorded.recorded_at, ending=""
        )

    @handles(OrderExpired, key="order_id")
    def expired(self, event: OrderExpired, known: Journey | None) -> Journey | None:
        return known and msgspec.structs.replace(known, ending="expired")

    @handles(OrderCancelled, key="order_id")
    def cancelled(self, event: OrderCancelled, known: Journey | None) -> Journey | None:
        return known and msgspec.structs.replace(known, ending="cancelled")


class Step(NamedTuple):
    """One step of the funnel: how many orders came so far, and how many of them ended there."""

    stage: Stage
    reached: int
    dropped: int


def journey_funnel(view: View, conference_id: str) -> list[Step]:
    """Return the funnel of a conference from order to payment, with where people drop off."""
    c = OrderJourneys.view.c
    rows = view.execute(
        sa.select(c.stage, sa.func.count().label("orders"), sa.func.count(sa.case((c.ending != "", 1))).label("ended"))
        .where(c.conference_id == conference_id)
        .group_by(c.stage)
    ).all()
    here = {row.stage: row.orders for row in rows}
    ended = {row.stage: row.ended for row in rows}
    return [
        Step(stage, sum(count for other, count in here.items() if other >= number), ended.get(number, 0))
        for number, stage in enumerate(STAGES)
    ]


def busiest_minutes(view: View, conference_id: str, limit: int = 10) -> list[tuple[str, int]]:
    """Return the minutes in which most orders were placed, and how many; the busiest first."""
    c = OrderJourneys.view.c
    count = sa.func.count().label("orders")
    rows = view.execute(
        sa.select(c.minute, count)
        .where(c.conference_id == conference_id)
        .group_by(c.minute)
        .order_by(count.desc(), c.minute)
        .limit(limit)
    )
    return [(row.minute, row.orders) for row in rows]


class TimeToPay(NamedTuple):
    """How many seconds it took from the order to its confirmation: half of the orders took no longer than the median."""

    orders: int
    quickest: float
    median: float
    slowest: float


def time_to_pay(view: View, conference_id: str) -> TimeToPay | None:
    """Return how long orders of a conference took, None if none was confirmed."""
    c = OrderJourneys.view.c
    rows = view.execute(sa.select(c.seconds).where(c.conference_id == conference_id, c.seconds.is_not(None)))
    seconds = sorted(float(row.seconds) for row in rows)
    return TimeToPay(len(seconds), seconds[0], median(seconds), seconds[-1]) if seconds else None
