"""Events that cannot be handled: they stop their partition, or hold back their own key only; mended, all is exact."""

from __future__ import annotations

import time

import pytest
import sqlalchemy as sa

from sacho import RawEvent
from sacho.deciding import Retry
from sacho.errors import ConsumerStopped, KeyParked, UnknownConsumer
from sacho.reacting import Application, Changes, Consumer, Delivery, Projection, handles
from sacho.reacting.runner import Runner
from tests.reacting.conftest import Place
from tests.reacting.domain import (
    AT_ONCE,
    BROKEN,
    PATIENCE,
    DoubledScores,
    Players,
    Scored,
    Scores,
    SharedTrails,
    Trails,
    caught_up,
    expected_scores,
    is_serving,
    scored,
    scores,
    status,
    trails,
    until,
)

TRAILS = pytest.mark.parametrize("kind", [Trails, SharedTrails])


def nothing_is_parked(app: Application, consumer: type[Consumer]) -> None:
    until(lambda: not app.administration.parked(consumer))


# --- not independent ----------------------------------------------------------------------------------


def test_a_failing_event_stops_the_view_right_before_it(place: Place) -> None:
    BROKEN.add("bob")
    place.store.append("game-1", [*scored("ann", 1, 2), *scored("bob", 5), *scored("ann", 3)])
    with place.running(Scores) as app:
        with pytest.raises(ConsumerStopped, match="bob is broken") as told:
            app.wait_for(Scores, 4, PATIENCE)
        assert told.value.position == 3
        assert (status(app).is_stopped, status(app).position, status(app).parked) == (True, 2, 1)
        (parked,) = app.administration.parked(Scores)
        assert (parked.position, parked.type, parked.stream) == (3, "ReactingScored", "game-1")
        assert (parked.error, parked.attempts) == ("ValueError: bob is broken", AT_ONCE.attempts)
        assert "domain.py" in str(parked.traceback)


def test_what_was_there_before_the_failing_event_can_be_waited_for(place: Place) -> None:
    with place.running(Scores) as app:
        caught_up(app, Scores)
        BROKEN.add("bob")
        place.store.append("game-1", [*scored("ann", 1, 2), *scored("bob", 5), *scored("ann", 3)])
        with pytest.raises(ConsumerStopped):
            app.wait_for(Scores, 3, PATIENCE)
        assert app.wait_for(Scores, 2, PATIENCE)
        assert scores(app) == expected_scores(place.store, to=2)


def test_after_mending_a_retry_goes_on_exactly(place: Place) -> None:
    with place.running(Scores) as app:
        caught_up(app, Scores)
        BROKEN.add("bob")
        place.store.append("game-1", [*scored("ann", 1, 2), *scored("bob", 5), *scored("ann", 3)])
        with pytest.raises(ConsumerStopped):
            app.wait_for(Scores, 4, PATIENCE)
        BROKEN.clear()
        assert app.administration.retry(Scores) == 1
        nothing_is_parked(app, Scores)
        caught_up(app, Scores)
        assert scores(app) == expected_scores(place.store)
        assert not status(app).is_stopped


def test_a_retry_of_what_still_fails_stops_again(place: Place) -> None:
    BROKEN.add("bob")
    place.store.append("game-1", [*scored("ann", 1), *scored("bob", 5)])
    with place.running(Scores) as app:
        for _ in range(2):
            until(lambda: any(one.action is None for one in app.administration.parked(Scores)))
            app.administration.retry(Scores, 2)
        until(lambda: any(one.action is None for one in app.administration.parked(Scores)))
        assert status(app).position == 1


def test_a_stop_outlives_the_process(place: Place) -> None:
    BROKEN.add("bob")
    place.store.append("game-1", [*scored("ann", 1), *scored("bob", 5)])
    for _ in range(2):
        with pytest.raises(ConsumerStopped):
            place.run(Scores)
        BROKEN.clear()  # nobody asked for a retry
    with place.running(Scores) as app:
        app.administration.retry(Scores)
        until(lambda: is_serving(app))
        caught_up(app, Scores)
        assert scores(app) == expected_scores(place.store)


def test_a_dropped_event_is_left_out_and_the_rest_goes_on(place: Place) -> None:
    with place.running(Scores) as app:
        caught_up(app, Scores)
        BROKEN.add("bob")
        place.store.append("game-1", [*scored("ann", 1), *scored("bob", 5), *scored("ann", 3)])
        with pytest.raises(ConsumerStopped):
            app.wait_for(Scores, 3, PATIENCE)
        assert app.administration.drop(Scores, 2) == 1
        nothing_is_parked(app, Scores)
        caught_up(app, Scores)
        assert scores(app) == {"ann": (4, 2)}


def test_there_is_nothing_to_retry_where_nothing_is_parked(place: Place) -> None:
    place.store.append("game-1", scored("ann", 1))
    place.run(Scores)
    with place.application(Scores) as app:
        assert app.administration.retry(Scores) == 0
        with pytest.raises(UnknownConsumer, match="position 1"):
            app.administration.retry(Scores, 1)
        with pytest.raises(UnknownConsumer, match="position 1"):
            app.administration.drop(Scores, 1)


# --- independent keys ---------------------------------------------------------------------------------


@TRAILS
def test_only_the_poisoned_key_is_held_back(place: Place, kind: type[Trails]) -> None:
    BROKEN.add("bob2")
    with place.running(kind) as app:
        for number in range(1, 6):
            place.store.append("game-bob", scored("bob", number))
            place.store.append("game-ann", scored("ann", number))
        caught_up(app, kind)
        until(lambda: is_serving(app))
        assert trails(app, kind) == {"ann": [1, 2, 3, 4, 5], "bob": [1]}
        parked = app.administration.parked(kind)
        assert [(one.position, one.key, one.error is None) for one in parked] == [
            (3, "game-bob", False),
            (5, "game-bob", True),
            (7, "game-bob", True),
            (9, "game-bob", True),
        ]
        assert (status(app).parked, status(app).waiting, status(app).is_stopped) == (1, 3, False)


def test_status_tells_the_last_error_of_what_stopped_and_of_what_is_parked(place: Place) -> None:
    BROKEN.add("bob1")
    place.store.append("game-bob", scored("bob", 1))
    with place.application(Trails) as app:
        app.run(once=True)
        (found,) = app.administration.status()
        assert (found.parked, found.partitions[0].error) == (1, None)
        assert found.error == app.administration.parked(Trails)[0].error
        BROKEN.clear()
        app.administration.retry(Trails)
        with app.running():
            until(lambda: not app.administration.parked(Trails))
        assert app.administration.status()[0].error is None


@TRAILS
def test_a_retried_key_is_made_up_for_in_order_while_others_go_on(place: Place, kind: type[Trails]) -> None:
    BROKEN.add("bob1")
    with place.running(kind) as app:
        for number in range(5):
            place.store.append("game-bob", scored("bob", number))
            place.store.append("game-ann", scored("ann", number))
        caught_up(app, kind)
        BROKEN.clear()
        assert app.administration.retry(kind) == 1
        for number in range(5, 40):
            place.store.append("game-bob", scored("bob", number))
            place.store.append("game-ann", scored("ann", number))
        nothing_is_parked(app, kind)
        caught_up(app, kind)
        assert trails(app, kind) == {"ann": [*range(40)], "bob": [*range(40)]}


@TRAILS
def test_a_parked_key_stays_parked_over_a_stop(place: Place, kind: type[Trails]) -> None:
    BROKEN.add("bob1")
    place.store.append("game-bob", scored("bob", 1))
    place.run(kind)
    BROKEN.clear()
    place.store.append("game-bob", scored("bob", 2))
    place.store.append("game-ann", scored("ann", 2))
    place.run(kind)
    with place.running(kind) as app:
        assert trails(app, kind) == {"ann": [2]}
        app.administration.retry(kind, 1)
        nothing_is_parked(app, kind)
        assert trails(app, kind) == {"ann": [2], "bob": [1, 2]}


@TRAILS
def test_who_waits_for_a_held_back_position_is_told(place: Place, kind: type[Trails]) -> None:
    with place.running(kind) as app:
        caught_up(app, kind)
        BROKEN.add("bob1")
        failed = place.store.append("game-bob", scored("bob", 1))
        held = place.store.append("game-bob", scored("bob", 2))
        free = place.store.append("game-ann", scored("ann", 3))
        assert app.wait_for(kind, free.position, PATIENCE)
        for position in (failed.position, held.position):
            with pytest.raises(KeyParked, match="bob1 is broken") as told:
                app.wait_for(kind, position, PATIENCE)
            assert (told.value.key, told.value.position) == ("game-bob", failed.position)
        with pytest.raises(KeyParked):
            app.wait_for(kind, free.position, PATIENCE, key="game-bob")
        assert app.wait_for(kind, free.position, PATIENCE, key="game-ann")


@TRAILS
def test_a_dropped_event_of_a_key_lets_those_behind_it_go_on(place: Place, kind: type[Trails]) -> None:
    with place.running(kind) as app:
        caught_up(app, kind)
        BROKEN.add("bob1")
        place.store.append("game-bob", scored("bob", 0, 1, 2, 3))
        until(lambda: len(app.administration.parked(kind)) == 3)
        app.administration.drop(kind, 2)
        nothing_is_parked(app, kind)
        caught_up(app, kind)
        assert trails(app, kind) == {"bob": [0, 2, 3]}


def test_a_retry_that_fails_again_leaves_all_of_the_key_where_it_was(place: Place) -> None:
    BROKEN.update({"bob1", "bob3"})
    with place.running(Trails) as app:
        place.store.append("game-bob", scored("bob", 0, 1, 2, 3, 4))
        until(lambda: is_serving(app))
        until(lambda: len(app.administration.parked(Trails)) == 4)
        BROKEN.remove("bob1")
        app.administration.retry(Trails)
        until(lambda: [one.position for one in app.administration.parked(Trails)] == [4, 5])
        until(lambda: app.administration.parked(Trails)[0].error)
        assert trails(app) == {"bob": [0, 1, 2]}
        BROKEN.clear()
        app.administration.retry(Trails, 4)
        nothing_is_parked(app, Trails)
        assert trails(app) == {"bob": [0, 1, 2, 3, 4]}


@TRAILS
def test_the_consumer_stops_where_more_would_be_parked_than_may(place: Place, kind: type[Trails]) -> None:
    with place.running(kind) as app:
        caught_up(app, kind)
        names = [f"player {number}" for number in range(9)]
        BROKEN.update(names)
        for name in names:
            place.store.append(f"game-{name}", scored(name, 1))
        with pytest.raises(ConsumerStopped, match="most_parked"):
            app.wait_for(kind, place.store.head(), PATIENCE)
        BROKEN.clear()
        until(lambda: not app.administration.retry(kind))
        nothing_is_parked(app, kind)
        caught_up(app, kind)
        assert trails(app, kind) == {name: [1] for name in names}


def test_running_once_goes_on_behind_a_stop_once_room_was_made_by_dropping_a_parked_event(place: Place) -> None:
    names = [f"player {number}" for number in range(4)]
    BROKEN.update(names)
    for name in names:
        place.store.append(f"game-{name}", scored(name, 1))
    with place.application(Trails) as app:
        with pytest.raises(ConsumerStopped, match="most_parked"):
            app.run(once=True)
        BROKEN.clear()
        for one in app.administration.parked(Trails)[:3]:
            app.administration.drop(Trails, one.position)
        assert not Runner(app.store, app._books, app.consumers, moved=print)._have_reached(place.store.head())
        app.run(once=True)
        assert trails(app, Trails) == {names[3]: [1]}


def test_parked_events_can_be_retried_after_the_partitions_have_changed(place: Place) -> None:
    class Heard(Consumer):
        independent_keys = True
        retry = AT_ONCE
        partitions = 8

        @handles(Scored)
        def scored(self, event: Scored, delivery: Delivery) -> None:
            if event.who in BROKEN:
                raise ValueError("broken")

    class HeardAlone(Heard):
        name = "heard"
        partitions = 1

    names = [f"player {number}" for number in range(9)]
    BROKEN.update(names)
    for name in names:
        place.store.append(f"game-{name}", scored(name, 1))
    place.run(Heard)
    BROKEN.clear()
    with place.running(HeardAlone) as app:
        assert app.administration.retry(HeardAlone) == len(names)
        until(lambda: not app.administration.parked(HeardAlone))


# --- what is poison -----------------------------------------------------------------------------------


def test_an_event_that_does_not_fit_its_class_is_poison(place: Place) -> None:
    place.store.append("game-1", scored("ann", 1))
    place.store.append("game-1", [RawEvent("ReactingScored", {"who": 7})])
    with pytest.raises(ConsumerStopped, match="UndecodableEvent") as told:
        place.run(Scores)
    assert told.value.position == 2


def test_an_event_that_does_not_fit_its_class_is_parked_by_its_stream(place: Place) -> None:
    place.store.append("game-bob", [RawEvent("ReactingScored", {"who": 7})])
    place.store.append("game-ann", scored("ann", 1))
    place.run(Trails)
    with place.application(Trails) as app:
        assert [(one.position, one.key) for one in app.administration.parked(Trails)] == [(1, "game-bob")]
        assert trails(app) == {"ann": [1]}


def test_an_event_of_an_unknown_type_is_poison_to_who_handles_every_type(place: Place) -> None:
    class Everything(Consumer):
        retry = AT_ONCE

        @handles("*")
        def any(self, event: object, delivery: Delivery) -> None: ...

    place.store.append("game-1", [*scored("ann", 1), RawEvent("ReactingNoSuchType", {})])
    with pytest.raises(ConsumerStopped, match="UnknownEventType"):
        place.run(Everything)


def test_an_event_of_an_unknown_type_is_nothing_to_who_does_not_handle_it(place: Place) -> None:
    place.store.append("game-1", [*scored("ann", 1), RawEvent("ReactingNoSuchType", {}), *scored("ann", 2)])
    place.run(Scores, Players)
    with place.application(Scores) as app:
        assert scores(app) == {"ann": (3, 2)}


class Seen(Projection):
    """Inserts what may be there already."""

    retry = AT_ONCE
    independent_keys = True
    seen = sa.Table("reacting_seen", sa.MetaData(), sa.Column("points", sa.BigInteger, primary_key=True))

    @handles(Scored)
    def scored(self, event: Scored, changes: Changes) -> None:
        changes.execute(self.seen.insert(), {"points": event.points})


class PreparedSeen(Seen):
    """The same by a statement that is made once: a batch is one call of the database."""

    seen = Seen.seen.to_metadata(sa.MetaData(), name="reacting_prepared_seen")

    def prepare(self) -> None:
        self.insert = self.seen.insert()

    @handles(Scored)
    def scored(self, event: Scored, changes: Changes) -> None:
        changes.execute(self.insert, {"points": event.points})


@pytest.mark.parametrize("kind", [Seen, PreparedSeen])
@pytest.mark.parametrize("place_of_it", [0, 1, 77, 199])
def test_the_one_event_that_the_database_refuses_is_found_in_a_batch(
    place: Place, kind: type[Seen], place_of_it: int
) -> None:
    place.store.append("game-1", scored("ann", -1))
    for number in range(200):
        points = -1 if number == place_of_it else number
        place.store.append(f"game-{number}", scored("ann", points))
    place.run(kind)
    with place.application(kind) as app:
        (parked,) = app.administration.parked(kind)
        assert (parked.position, str(parked.error).partition(":")[0]) == (place_of_it + 2, "IntegrityError")
        with app.reading(kind) as view:
            found = view.execute(sa.select(kind.seen).order_by(kind.seen.c.points)).scalars().all()
            assert found == [number for number in range(-1, 200) if number != place_of_it]


def test_a_handler_that_ends_the_program_is_poison_too(place: Place) -> None:
    class Leaving(Consumer):
        retry = AT_ONCE

        @handles(Scored)
        def scored(self, event: Scored, delivery: Delivery) -> None:
            raise SystemExit(1)

    with place.running(Leaving) as app:
        place.store.append("game-1", scored("ann", 1))
        with pytest.raises(ConsumerStopped, match="SystemExit"):
            app.wait_for(Leaving, 1, PATIENCE)


def test_pauses_between_tries_are_kept_while_others_append(place: Place) -> None:
    tries: list[float] = []

    class Waiting(Consumer):
        retry = Retry(attempts=3, first_pause=0.4, longest_pause=0.4)

        @handles(Scored)
        def scored(self, event: Scored, delivery: Delivery) -> None:
            tries.append(time.monotonic())
            place.store.append("elsewhere-1", [RawEvent("ReactingNoise", {})])
            raise ConnectionError("not yet")

    place.store.append("game-1", scored("ann", 1))
    with pytest.raises(ConsumerStopped):
        place.run(Waiting)
    assert all(later - earlier >= 0.19 for earlier, later in zip(tries[-3:], tries[-2:], strict=False))


# --- in a build ---------------------------------------------------------------------------------------


def test_a_build_that_stopped_beside_the_one_that_serves_can_be_told_to_go_on(place: Place) -> None:
    place.store.append("game-1", [*scored("ann", 1), *scored("bob", 2)])
    place.run(Scores)
    BROKEN.add("bob")
    with place.running(Scores, DoubledScores) as app:
        until(lambda: status(app, 2).is_stopped)
        assert scores(app) == {"ann": (1, 1), "bob": (2, 1)}
        BROKEN.clear()
        assert app.administration.retry(DoubledScores) == 1
        until(lambda: is_serving(app, 2))
        assert scores(app) == {"ann": (2, 1), "bob": (4, 1)}


def test_a_rebuild_that_parked_an_event_takes_over_once_it_is_mended(place: Place) -> None:
    place.store.append("game-bob", scored("bob", 1))
    place.run(Trails)
    BROKEN.add("bob")
    with place.running(Trails) as app:
        build = app.administration.rebuild(Trails).build
        until(lambda: status(app, 1, build).parked)
        assert trails(app) == {"bob": [1]}
        BROKEN.clear()
        app.administration.retry(Trails)
        until(lambda: is_serving(app, 1, build))
        assert trails(app) == {"bob": [1]}


def test_an_error_that_says_what_a_database_cannot_hold_is_told(place: Place) -> None:
    class Odd(Consumer):
        retry = AT_ONCE

        @handles(Scored)
        def scored(self, event: Scored, delivery: Delivery) -> None:
            raise ValueError(f"what is {event.who}?")

    with place.running(Odd) as app:
        place.store.append("game-1", scored("a\0b", 1))
        with pytest.raises(ConsumerStopped, match="what is a\\\\x00b"):
            app.wait_for(Odd, 1, 20)
