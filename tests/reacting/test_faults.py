"""Faults of odd kinds: whatever a handler, its data or its database do, the consumer neither hangs nor loses an event."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, ClassVar

import msgspec
import pytest
import sqlalchemy as sa

import sacho
from sacho.errors import ConsumerStopped, KeyParked
from sacho.events import RecordedEvent
from sacho.reacting import Changes, Consumer, Delivery, DocumentView, Projection, handles
from sacho.reacting.sifting import Sifting
from tests.reacting.conftest import Place
from tests.reacting.domain import (
    AT_ONCE,
    PATIENCE,
    Player,
    Players,
    Scored,
    caught_up,
    scored,
    status,
    until,
)


class Mute(Exception):
    """Cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Odd(Projection):
    """Fails in its own way for each player; what became of the others is in the table."""

    independent_keys = True
    retry = AT_ONCE
    faults: ClassVar[dict[str, BaseException]] = {
        "nul": ValueError("a\0b"),
        "surrogate": ValueError("\ud800"),
        "mute": Mute(),
        "cancelled": asyncio.CancelledError(),
    }
    rows = sa.Table("reacting_odd", sa.MetaData(), sa.Column("position", sa.BigInteger, primary_key=True))

    @handles(Scored)
    def scored(self, event: Scored, changes: Changes) -> None:
        if event.who in self.faults:
            raise self.faults[event.who]
        changes.execute(self.rows.insert(), {"position": changes.recorded.position})


@pytest.mark.parametrize("who", list(Odd.faults))
def test_an_event_is_parked_whatever_its_error_says(place: Place, who: str) -> None:
    place.store.append("game-1", scored(who, 1))
    last = place.store.append("game-2", scored("fine", 1)).position
    with place.running(Odd) as app:
        assert app.wait_for(Odd, last, PATIENCE)
        (parked,) = app.administration.parked(Odd)
        assert (parked.stream, bool(parked.traceback)) == ("game-1", True)


def test_an_event_whose_key_the_database_cannot_keep_is_parked(place: Place) -> None:
    class Unkept(Players):
        independent_keys = True

        @handles(Scored, key="who")
        def scored(self, event: Scored, player: Player | None) -> Player:
            if event.who != "fine":
                raise ValueError(event.who)
            return Player(event.points, 1)

    place.store.append("game-1", [Scored("a\0b", 1), Scored("a\0b", 2), Scored("fine", 3)])
    with place.running(Unkept) as app:
        assert app.wait_for(Unkept, 3, PATIENCE)
        assert [one.key for one in app.administration.parked(Unkept)] == ["a\\x00b"] * 2
        with pytest.raises(KeyParked):
            app.wait_for(Unkept, 3, PATIENCE, key="a\0b")


class Number(msgspec.Struct):
    value: float = 0.0


def test_a_document_that_cannot_be_decoded_fails_the_event_that_needs_it(place: Place) -> None:
    class Numbers(DocumentView[Number]):
        retry = AT_ONCE

        @handles(Scored, key="who")
        def scored(self, event: Scored, number: Number | None) -> Number:
            return Number(1.0)

    place.store.append("game-1", scored("ann", 1))
    with place.application(Numbers) as app:
        app.run(once=True)
        with app.views.writing() as connection:
            connection.execute(sa.text("UPDATE numbers_v1 SET document = :wrong"), {"wrong": '{"value": null}'})
    place.store.append("game-1", [*scored("bob", 1), *scored("ann", 1)])
    with place.running(Numbers) as app:
        with pytest.raises(ConsumerStopped) as told:
            app.wait_for(Numbers, 3, PATIENCE)
        assert (told.value.position, status(app).position) == (3, 2)


def test_what_came_before_in_a_batch_is_not_done_again_while_a_handlers_own_database_is_away(place: Place) -> None:
    seen: list[int] = []
    tries: list[int] = []

    class Mails(Consumer):
        @handles(Scored)
        def scored(self, event: Scored, delivery: Delivery) -> None:
            if event.points == 4 and len(tries) < 2 * self.retry.attempts:
                tries.append(event.points)
                raise sa.exc.OperationalError("SELECT 1", None, Exception("the server is not there"))
            seen.append(event.points)

        retry = AT_ONCE

    place.store.append("game-1", scored("ann", *range(1, 7)))
    with place.running(Mails) as app:
        caught_up(app, Mails)
    assert seen == [1, 2, 3, 4, 5, 6]


def test_a_drop_that_is_asked_while_the_event_is_tried_again_is_not_forgotten(place: Place) -> None:
    inside, gate = threading.Event(), threading.Event()
    tries: list[int] = []

    class Poison(Consumer):
        independent_keys = True
        retry = AT_ONCE

        @handles(Scored)
        def scored(self, event: Scored, delivery: Delivery) -> None:
            tries.append(1)
            if len(tries) > self.retry.attempts:
                inside.set()
                assert gate.wait(PATIENCE)
            raise ValueError(event.who)

    place.store.append("game-1", scored("ann", 1))
    with place.running(Poison) as app:
        until(lambda: app.administration.parked(Poison))
        app.administration.retry(Poison)
        assert inside.wait(PATIENCE)
        app.administration.drop(Poison, 1)
        gate.set()
        until(lambda: not app.administration.parked(Poison))


class Dealt(DocumentView[Player]):
    """Dealt by a key that only a decoded event tells."""

    partitions = 4
    retry = AT_ONCE

    @handles(Scored, key="who")
    def scored(self, event: Scored, player: Player | None) -> Player:
        before = player or Player()
        return Player(before.points + event.points, before.times + 1)


@pytest.fixture
def undecodable(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The positions of events that cannot be decoded just now."""
    broken: set[int] = set()
    original = Sifting.events

    def events(self: Sifting, rows: Sequence[Any]) -> list[RecordedEvent]:
        raw = self._store.decoding(raw=True).page
        return [one for row in rows for one in (raw([row]) if row[0] in broken else original(self, [row]))]

    monkeypatch.setattr(Sifting, "events", events)
    return broken


@pytest.mark.parametrize("asked", ["retry", "drop"])
def test_an_event_whose_key_cannot_be_told_holds_up_all_partitions_and_none_loses_it(
    place: Place, undecodable: set[int], asked: str
) -> None:
    with place.running(Dealt) as app, place.running(Dealt):
        place.store.append("game-1", [Scored(who, 1) for who in "abcdef"])
        caught_up(app, Dealt)
        until(lambda: len({one.owner for one in status(app).partitions}) == 2)
        undecodable.add(7)
        place.store.append("game-1", scored("a", 10))
        place.store.append("game-1", [Scored(who, 100) for who in "abcdef"])
        until(lambda: [(one.position, one.stopped_at) for one in status(app).partitions] == [(6, 7)] * 4)
        with pytest.raises(ConsumerStopped):
            app.wait_for(Dealt, 13, PATIENCE)
        if asked == "retry":
            undecodable.clear()
            app.administration.retry(Dealt)
        else:
            app.administration.drop(Dealt, 7)
        until(lambda: not app.administration.parked(Dealt))
        until(lambda: not status(app).is_stopped)
        caught_up(app, Dealt)
        with app.reading(Dealt) as view:
            found = {key: document.points for key, document in view.find()}
        assert found == {**dict.fromkeys("abcdef", 101), "a": 111 if asked == "retry" else 101}


def test_an_event_whose_key_cannot_be_told_is_not_parked_beside_others_of_its_key(
    place: Place, undecodable: set[int]
) -> None:
    class Independent(Dealt):
        partitions = 1
        independent_keys = True

    undecodable.add(1)
    place.store.append("game-1", [Scored("a", 1), Scored("a", 2)])
    with place.running(Independent) as app:
        with pytest.raises(ConsumerStopped):
            app.wait_for(Independent, 2, PATIENCE)
        undecodable.clear()
        app.administration.retry(Independent)
        until(lambda: not status(app).is_stopped)
        caught_up(app, Independent)
        with app.reading(Independent) as view:
            assert view.get("a") == Player(3, 2)


class Hiding(Projection):
    """Hides that the database refuses a row."""

    retry = AT_ONCE
    rows = sa.Table("reacting_hiding", sa.MetaData(), sa.Column("who", sa.Text, primary_key=True))

    @handles(Scored)
    def scored(self, event: Scored, changes: Changes) -> None:
        with suppress(sa.exc.IntegrityError):
            changes.execute(self.rows.insert(), {"who": event.who})
            changes.fetch(sa.select(self.rows))


def test_a_handler_that_hides_an_error_of_the_database_fails(place: Place) -> None:
    place.store.append("game-1", scored("ann", 1, 2))
    with place.running(Hiding) as app:
        with pytest.raises(ConsumerStopped) as told:
            app.wait_for(Hiding, 2, PATIENCE)
        assert (told.value.position, status(app).position) == (2, 1)


def test_a_handler_that_takes_too_long_within_a_transaction_fails(postgres_url: str) -> None:
    class Lingering(Projection):
        retry = AT_ONCE
        rows = sa.Table("reacting_lingering", sa.MetaData(), sa.Column("who", sa.Text, primary_key=True))

        @handles(Scored)
        def scored(self, event: Scored, changes: Changes) -> None:
            changes.execute(self.rows.insert(), {"who": event.who})
            changes.fetch(sa.select(sa.func.set_config("idle_in_transaction_session_timeout", "20ms", True)))
            threading.Event().wait(0.2)

    with sacho.connect(postgres_url) as store, Place(store, None).running(Lingering) as app:
        done = store.append("game-1", scored("ann", 1))
        with pytest.raises(ConsumerStopped, match="TimeoutError"):
            app.wait_for(Lingering, done.position, PATIENCE)
