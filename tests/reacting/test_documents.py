"""Document views: one typed document for each key, found by its columns; entity views fold by a decider."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum, IntEnum
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from sacho import EventData, RecordedEvent
from sacho.errors import InvalidConsumer
from sacho.reacting import Application, Documents, DocumentView, EntityView, handles
from tests.reacting.conftest import Place
from tests.reacting.domain import AT_ONCE, PATIENCE, Left, Noise, Player, Players, Scored, Scoring, caught_up, scored


def documents(app: Application, view: type[DocumentView[Any]]) -> dict[str, Any]:
    with app.reading(view) as found:
        rows = found.execute(sa.select(view.view)).all()
    return {row.key: msgspec.json.decode(row.document, type=view.document) for row in rows}


def test_a_document_that_readers_could_not_be_given_again_is_the_events_fault(place: Place) -> None:
    class Odd(DocumentView[Player]):
        independent_keys = True
        retry = AT_ONCE

        @handles(Scored, key="who")
        def scored(self, event: Scored, player: Player | None) -> Player:
            others: dict[str, Any] = {"dict": {"points": 1}, "none": Player(None)}  # type: ignore[arg-type]
            found: Player = others.get(event.who, Player(event.points))
            return found

    place.store.append("game-1", [Scored("dict", 1), Scored("none", 1), Scored("ann", 1)])
    with place.running(Odd) as app:
        assert app.wait_for(Odd, 3, PATIENCE)
        errors = [one.error for one in app.administration.parked(Odd)]
        with app.reading(Odd) as view:
            assert [key for key, _ in view.find()] == ["ann"]
    assert [str(error) for error in errors] == [
        "TypeError: the document of 'dict' is a dict, no Player",
        "TypeError: the document of 'none' could not be read again: Expected `int`, got `null` - at `$.points`",
    ]


def test_a_keyed_handler_is_given_its_document_and_returns_the_next(place: Place) -> None:
    place.store.append("game-1", [*scored("ann", 1, 2), *scored("bob", 5)])
    place.run(Players)
    place.store.append("game-1", scored("ann", 4))
    place.run(Players)
    with place.application(Players) as app:
        assert documents(app, Players) == {"ann": Player(7, 3), "bob": Player(5, 1)}


def test_a_document_is_gone_when_its_handler_returns_none_and_may_come_again(place: Place) -> None:
    with place.running(Players) as app:
        place.store.append("game-1", [*scored("ann", 1), Left("ann"), Left("nobody"), *scored("bob", 2), Left("bob")])
        caught_up(app, Players)
        assert documents(app, Players) == {}
        place.store.append("game-1", [*scored("bob", 3), Left("bob"), *scored("bob", 8)])
        caught_up(app, Players)
        assert documents(app, Players) == {"bob": Player(8, 1)}


def test_indexed_columns_hold_fields_and_properties_and_the_position_of_the_last_change(place: Place) -> None:
    place.store.append("game-1", [*scored("ann", 1, 2), *scored("bob", 5), Noise()])
    place.run(Players)
    with place.application(Players) as app, app.reading(Players) as view:
        c = Players.view.c
        found = view.execute(sa.select(c.key, c.points, c.average, c.as_of).order_by(c.points))
        assert [tuple(row) for row in found] == [("ann", 3, 1.5, 2), ("bob", 5, 5.0, 3)]
        assert view.execute(sa.select(c.key).where(c.average > 2.0)).scalars().all() == ["bob"]


class Teams(DocumentView[Player]):
    """All handlers are without a key: they look up, put, delete and find what they want."""

    retry = AT_ONCE
    indexed = ("points",)

    @handles(Scored)
    def scored(self, event: Scored, teams: Documents[Player]) -> None:
        for key in (event.who[0], "all"):
            before = teams.get(key) or Player()
            teams.put(key, Player(before.points + event.points, teams.recorded.position))

    @handles(Left)
    def left(self, event: Left, teams: Documents[Player]) -> None:
        for key, player in teams.find(self.view.c.points < 10):
            assert player.points < 10
            teams.delete(key)


def test_a_handler_without_a_key_puts_finds_and_deletes_any(place: Place) -> None:
    with place.running(Teams) as app:
        place.store.append("game-1", [*scored("ann", 4, 5), *scored("bob", 20), *scored("amy", 2)])
        caught_up(app, Teams)
        assert documents(app, Teams) == {"a": Player(11, 4), "b": Player(20, 3), "all": Player(31, 4)}
        place.store.append("game-1", [*scored("cid", 1), Left("x"), *scored("cid", 3)])
        caught_up(app, Teams)
        assert documents(app, Teams) == {
            "a": Player(11, 4),
            "b": Player(20, 3),
            "c": Player(3, 7),
            "all": Player(35, 7),
        }


def test_find_comes_before_changes_of_the_same_event(place: Place) -> None:
    class Careless(Teams):
        name = "careless"

        @handles(Left)
        def left(self, event: Left, teams: Documents[Player]) -> None:
            teams.put("x", Player())
            teams.find(self.view.c.points < 10)

    place.store.append("game-1", [Left("x")])
    with place.application(Careless) as app, pytest.raises(Exception, match="comes before put"):
        app.run(once=True)


class Rank(Enum):
    LOW = "low"
    HIGH = "high"


class Card(msgspec.Struct, frozen=True):
    rank: Rank
    at: datetime
    nick: str | None = None
    is_best: bool = False


class Cards(DocumentView[Card]):
    """Columns of other types than numbers."""

    indexed = ("rank", "at", "nick", "is_best")

    @handles(Scored, key="who")
    def scored(self, event: Scored, card: Card | None) -> Card:
        at = datetime(2025, 1, event.points, tzinfo=UTC)
        return Card(Rank.HIGH if event.points > 5 else Rank.LOW, at, event.who if event.points > 5 else None)


def test_columns_may_be_enums_times_truths_and_empty(place: Place) -> None:
    place.store.append("game-1", [*scored("ann", 1), *scored("bob", 9)])
    place.run(Cards)
    with place.application(Cards) as app, app.reading(Cards) as view:
        c = Cards.view.c
        rows = {row.key: row for row in view.execute(sa.select(Cards.view))}
        assert [(row.rank, row.nick, row.is_best) for row in (rows["ann"], rows["bob"])] == [
            ("low", None, False),
            ("high", "bob", False),
        ]
        after = view.execute(sa.select(c.key).where(c.at > datetime(2025, 1, 5, tzinfo=UTC)))
        assert after.scalars().all() == ["bob"]


def test_a_column_of_no_plain_type_is_refused() -> None:
    with pytest.raises(InvalidConsumer, match="no field or property"):

        class Wrong(DocumentView[Player]):
            indexed = ("nothing",)


def test_a_view_that_does_not_say_what_its_documents_are_is_refused() -> None:
    with pytest.raises(InvalidConsumer, match="what its documents are"):

        class Wrong(DocumentView):  # type: ignore[type-arg]
            pass


def test_partitions_need_keys_in_every_handler() -> None:
    with pytest.raises(InvalidConsumer, match="need a key"):

        class Wrong(DocumentView[Player]):
            partitions = 2

            @handles(Scored)
            def scored(self, event: Scored, players: Documents[Player]) -> None: ...


def test_documents_dealt_among_partitions_are_all_there(place: Place) -> None:
    class DealtPlayers(Players):
        partitions = 4

    for number in range(60):
        place.store.append(f"game-{number % 5}", scored(f"player {number % 11}", number, 1))
    place.run(DealtPlayers)
    place.run(Players)
    with place.application(DealtPlayers, Players) as app:
        assert documents(app, DealtPlayers) == documents(app, Players)


class PlayerStates(EntityView[Player]):
    """The state of each player's stream."""

    decider = Scoring()
    category = "player"


def test_an_entity_view_has_the_state_of_each_stream_of_its_category(place: Place) -> None:
    with place.running(PlayerStates) as app:
        place.store.append("player-ann", scored("ann", 1, 2))
        place.store.append("player-bob", [*scored("bob", 1), Left("bob")])
        place.store.append("other-ann", scored("ann", 9))
        place.store.append("player-ann", scored("ann", 4))
        caught_up(app, PlayerStates)
        assert documents(app, PlayerStates) == {"player-ann": Player(7, 3), "player-bob": Player()}


def test_a_document_stays_exact_over_many_stops(place: Place) -> None:
    for number in range(5):
        place.store.append("game-1", scored("ann", *range(number * 10 + 1)))
        place.run(Players)
    with place.application(Players) as app:
        points = sum(recorded.event.points for recorded in place.store.read_all())
        assert documents(app, Players) == {"ann": Player(points, place.store.head())}


class Timed(msgspec.Struct, frozen=True):
    points: int
    first: datetime
    actor: str | None


class TimedPlayers(DocumentView[Timed]):
    """Its handlers have a key, and are given the recorded event."""

    indexed = ("points",)

    @handles(Scored, key="who")
    def scored(self, event: Scored, player: Timed | None, recorded: RecordedEvent) -> Timed:
        if player is None:
            return Timed(event.points, recorded.recorded_at, recorded.metadata.get("actor"))
        return Timed(player.points + event.points, player.first, player.actor)


def test_a_keyed_handler_may_be_given_the_recorded_event(place: Place) -> None:
    place.store.append("game-1", [EventData(Scored("ann", 3), metadata={"actor": "me"}), *scored("ann", 2)])
    place.run(TimedPlayers)
    first = next(iter(place.store.read("game-1"))).recorded_at
    with place.application(TimedPlayers) as app, app.reading(TimedPlayers) as view:
        assert view.get("ann") == Timed(5, first, "me")


def test_readers_get_documents_by_key_and_by_their_columns(place: Place) -> None:
    place.store.append("game-1", [*scored("ann", 5), *scored("bob", 1, 1), *scored("cid", 9), *scored("dan", 2)])
    place.run(Players)
    c = Players.view.c
    with place.application(Players) as app, app.reading(Players) as view:
        assert view.get("bob") == Player(2, 2)
        assert view.get("eve") is None
        assert view.position == place.store.head()
        assert view.find(c.points == 2) == [("bob", Player(2, 2)), ("dan", Player(2, 1))]
        assert [key for key, _ in view.find(c.points > 1, order_by=[c.points.desc()], limit=2)] == ["cid", "ann"]
        assert view.find(c.points == 2, c.average == 2.0) == [("dan", Player(2, 1))]
        assert (view.count(), view.count(c.points > 4)) == (4, 2)


def test_a_view_is_read_in_asyncio_without_holding_up_the_loop(place: Place) -> None:
    place.store.append("game-1", scored("ann", 5))
    place.run(Players)
    with place.application(Players) as app:
        assert asyncio.run(app.read_async(Players, lambda view: view.get("ann"))) == Player(5, 1)


class Grade(IntEnum):
    FIRST = 1
    SECOND = 2
    TENTH = 10


class Entry(msgspec.Struct, frozen=True):
    at: datetime
    rank: Rank
    grade: Grade


class Entries(DocumentView[Entry]):
    """Times in several zones, and enums of both kinds."""

    indexed = ("at", "rank", "grade")

    @handles(Scored, key="who")
    def scored(self, event: Scored, entry: Entry | None) -> Entry:
        east = timezone(timedelta(hours=event.points - 1))
        at = datetime(2025, 1, 1, 10, tzinfo=east)  # the further east, the sooner
        return Entry(at, Rank.HIGH if event.points > 5 else Rank.LOW, Grade(event.points))


def test_times_of_other_zones_and_members_of_enums_are_found_and_in_order(place: Place) -> None:
    place.store.append("game-1", [*scored("ann", 2), *scored("bob", 10), *scored("cid", 1)])
    place.run(Entries)
    with place.application(Entries) as app, app.reading(Entries) as view:
        c = Entries.view.c
        assert [key for key, _ in view.find(order_by=[c.at])] == ["bob", "ann", "cid"]
        assert [key for key, _ in view.find(c.at < datetime(2025, 1, 1, 10, tzinfo=UTC))] == ["ann", "bob"]
        first = view.execute(sa.select(c.at).where(c.key == "bob")).scalar_one()
        assert first == datetime(2025, 1, 1, 1, tzinfo=UTC)
        assert [key for key, _ in view.find(c.rank == Rank.HIGH)] == ["bob"]
        assert [key for key, _ in view.find(c.rank == "low")] == ["ann", "cid"]
        assert [key for key, _ in view.find(c.grade == Grade.TENTH)] == ["bob"]
        assert [key for key, _ in view.find(c.grade > 1, order_by=[c.grade])] == ["ann", "bob"]


def test_a_key_that_the_database_refuses_is_the_events_fault_and_parked_alone(place: Place) -> None:
    class Parking(Players):
        name = "parking"
        retry = AT_ONCE
        independent_keys = True

    place.store.append("game-1", [*scored("ann", 1), *scored("b\0b", 2), *scored("cid", 3)])
    with place.application(Parking) as app:
        app.run(once=True)
        refused = [one.position for one in app.administration.parked(Parking)]
        with app.reading(Parking) as view:
            assert {"ann", "cid"} <= {key for key, _ in view.find()}
        assert refused == ([2] if app.views.dialect == "postgresql" else [])
