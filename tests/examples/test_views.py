"""The reference application's views say what the decider's fold and the audit say."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from examples.conference.audit import Audit
from examples.conference.seats import (
    AddSeats,
    CancelReservation,
    CommitReservation,
    MakeReservation,
    ReleaseSeats,
    RemoveSeats,
    SeatsAvailability,
    SeatsCommand,
    seats_stream,
)
from examples.conference.views import Attendees, SalesByMinute, SeatAvailability, application
from sacho import CommandHandler
from sacho.reacting import Application
from tests.conftest import ENGINES

KINDS = ("general", "workshop")
STEPS = 200


def live(app: Application, conference_id: str, seed: int) -> None:
    """Let a conference have a random history."""
    chance = random.Random(seed)
    handler = CommandHandler(app.store, SeatsAvailability())
    stream = seats_stream(conference_id)
    for kind in KINDS:
        handler.handle(stream, AddSeats(conference_id, kind, 30))
    for _ in range(STEPS):
        reservation = f"r{chance.randrange(40)}"
        wanted = {kind: chance.randint(0, 4) for kind in KINDS}
        commands: list[SeatsCommand] = [
            MakeReservation(conference_id, reservation, wanted),
            CommitReservation(conference_id, reservation),
            CancelReservation(conference_id, reservation),
            ReleaseSeats(conference_id, reservation),
            AddSeats(conference_id, chance.choice(KINDS), 1),
            RemoveSeats(conference_id, chance.choice(KINDS), 1),
        ]
        handler.handle(stream, chance.choice(commands))


@pytest.mark.parametrize("engine", ENGINES)
def test_the_views_say_what_the_fold_and_the_audit_say(engine: str, url_of: Callable[[str], str]) -> None:
    with application(url_of(engine)) as app:
        for seed in (1, 2):
            live(app, f"c{seed}", seed)
        app.run(once=True)
        for conference_id in ("c1", "c2"):
            state = CommandHandler(app.store, SeatsAvailability()).load(seats_stream(conference_id)).state
            audit = Audit()
            for recorded in app.store.read(seats_stream(conference_id)):
                audit.take(recorded)
            with app.reading(SeatAvailability) as view:
                table = SeatAvailability.available
                rows = view.execute(sa.select(table).where(table.c.conference_id == conference_id)).all()
            assert {row.seat_type: row.available for row in rows} == state.remaining
            assert {row.seat_type: row.on_sale for row in rows} == audit.on_sale
            with app.reading(Attendees) as view:
                c = Attendees.view.c
                held = view.execute(
                    sa.select(sa.func.sum(c.seats)).where(c.conference_id == conference_id)
                ).scalar_one()
            assert held == sum(audit.held().values())
            with app.reading(SalesByMinute) as view:
                sales = SalesByMinute.sales
                curve: Counter[str] = Counter()
                for row in view.execute(sa.select(sales).where(sales.c.conference_id == conference_id)):
                    curve[row.seat_type] += row.taken - row.given_back
            assert {kind: curve[kind] for kind in KINDS} == audit.held()
