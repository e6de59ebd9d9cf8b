"""The reference application's views say what the decider's fold and the audit say."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import msgspec
import pytest
import sqlalchemy as sa

from examples.conference.audit import Audit
from examples.conference.seats import (
    AddSeats,
    AvailableSeatsChanged,
    CancelReservation,
    CommitReservation,
    MakeReservation,
    ReleaseSeats,
    RemoveSeats,
    ReservationCancelled,
    ReservationCommitted,
    SeatsAvailability,
    SeatsCommand,
    SeatsReleased,
    SeatsReserved,
    seats_stream,
)
from examples.conference.views import (
    Attendance,
    Attendees,
    Conference,
    Conferences,
    Funnel,
    SalesByMinute,
    SeatAvailability,
    application,
    availability,
    funnel,
    sell_out,
)
from sacho import CommandHandler, RecordedEvent
from sacho.reacting import Application, Projection
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


def check(app: Application, conference_id: str) -> None:
    """The views say what the decider's fold, the audit and the events themselves say."""
    stream = seats_stream(conference_id)
    state = CommandHandler(app.store, SeatsAvailability()).load(stream).state
    log = list(app.store.read(stream))
    audit = Audit()
    for recorded in log:
        audit.take(recorded)
    with app.reading(SeatAvailability) as view:
        seats = availability(view, conference_id)
    assert {kind: one.available for kind, one in seats.items()} == state.remaining
    assert {kind: one.on_sale for kind, one in seats.items()} == audit.on_sale
    with app.reading(Conferences) as view:
        last = max(one.recorded_at for one in log if not isinstance(one.event, ReservationCommitted))
        assert view.get(conference_id) == Conference(audit.on_sale, state.remaining, last)
        assert [key for key, _ in view.find(Conferences.view.c.is_sold_out)].count(conference_id) == (
            not any(state.remaining.values())
        )
    with app.reading(SalesByMinute) as view:
        curves = sell_out(view, conference_id)
    assert {kind: curves[kind][-1][1] for kind in KINDS} == audit.held()
    assert curves == curves_of(log)
    with app.reading(Attendees) as view:
        c = Attendees.view.c
        rows = view.execute(sa.select(c.key, c.document, c.seats).where(c.conference_id == conference_id)).all()
        stages = funnel(view, conference_id)
    found = {row.key.split()[1]: msgspec.json.decode(row.document, type=Attendance) for row in rows}
    assert sum(row.seats for row in rows) == sum(audit.held().values())
    for what, those in (("held", state.pending), ("committed", state.committed)):
        assert {id: one.held for id, one in found.items() if one.state == what} == those
    ends = {
        kind: {recorded.event.reservation_id for recorded in log if isinstance(recorded.event, kind)}
        for kind in (SeatsReserved, ReservationCommitted, ReservationCancelled, SeatsReleased)
    }
    assert set(found) == ends[SeatsReserved]
    for id, one in found.items():
        times = [recorded.recorded_at for recorded in log if getattr(recorded.event, "reservation_id", None) == id]
        assert (one.asked_at, one.changed_at) == (times[0], times[-1])
    assert stages == Funnel(
        asked=len(ends[SeatsReserved]),
        held=sum(1 for one in found.values() if sum(one.held.values())),
        committed=len(ends[ReservationCommitted]),
        cancelled=len(ends[ReservationCancelled]),
        released=len(ends[SeatsReleased]),
    )
    assert min(stages) > 0, "a history that tries little"


def curves_of(log: list[RecordedEvent]) -> dict[str, list[tuple[str, int]]]:
    """What was held of each type at the end of each minute, by the events."""
    held: Counter[str] = Counter()
    curves: dict[str, dict[str, int]] = {}
    for recorded in log:
        if not isinstance(recorded.event, AvailableSeatsChanged | ReservationCommitted):
            for kind, delta in recorded.event.deltas.items():
                held[kind] -= delta
                curves.setdefault(kind, {})[f"{recorded.recorded_at:%Y-%m-%d %H:%M}"] = held[kind]
    return {kind: list(curve.items()) for kind, curve in curves.items()}


@pytest.mark.parametrize("engine", ENGINES)
def test_the_views_say_what_the_fold_and_the_audit_say(engine: str, url_of: Callable[[str], str]) -> None:
    with application(url_of(engine)) as app:
        for seed in (1, 2):
            live(app, f"c{seed}", seed)
        app.run(once=True)
        for conference_id in ("c1", "c2"):
            check(app, conference_id)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_views_go_on_and_are_the_same_when_rebuilt(engine: str, url_of: Callable[[str], str]) -> None:
    with application(url_of(engine)) as app:
        for seed in (3, 4):
            live(app, "c1", seed)
            app.run(once=True)
            check(app, "c1")
        for view in (Conferences, SeatAvailability, Attendees, SalesByMinute):
            before = contents(app, view)
            build = app.administration.rebuild(view)
            app.run(once=True)
            with app.reading(view) as rebuilt:
                assert rebuilt.generation == build
            assert contents(app, view) == before
        check(app, "c1")


def contents(app: Application, projection: type[Projection]) -> list[list[tuple[object, ...]]]:
    """All rows of a view."""
    with app.reading(projection) as view:
        return [sorted(map(tuple, view.execute(sa.select(table)))) for table in projection.tables.values()]
