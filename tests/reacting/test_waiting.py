"""Waiting: true once a view has come so far, at once where nothing concerns it, false when the time is up."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from sacho import Query, QueryItem
from sacho.errors import UnknownConsumer, ViewNotReady
from sacho.reacting import Consumer, Delivery, handles
from tests.reacting.conftest import Place
from tests.reacting.domain import PATIENCE, Noise, Scored, Scores, SharedTrails, Trails, scored, scores


def test_after_waiting_the_view_has_the_event(place: Place) -> None:
    with place.running(Scores) as app:
        for number in range(1, 40):
            done = place.store.append("game-1", scored("ann", 1))
            assert app.wait_for(Scores, done.position, PATIENCE)
            assert scores(app) == {"ann": (number, number)}


def test_waiting_is_true_at_once_where_nothing_concerns_the_view(place: Place) -> None:
    place.store.append("game-1", scored("ann", 1))
    place.run(Scores)
    with place.application(Scores) as app:
        done = place.store.append("game-1", [Noise()] * 3)
        assert app.wait_for(Scores, done.position, 0)


def test_waiting_is_true_at_once_where_nothing_is_in_the_consumers_stream(place: Place) -> None:
    class OneGame(Consumer):
        stream = "game-1"

        @handles(Scored)
        def scored(self, event: Scored, delivery: Delivery) -> None: ...

    place.store.append("game-1", scored("ann", 1))
    place.run(OneGame)
    with place.application(OneGame) as app:
        done = place.store.append("game-2", scored("ann", 1))
        assert app.wait_for(OneGame, done.position, 0)
        done = place.store.append("game-1", scored("ann", 1))
        assert not app.wait_for(OneGame, done.position, 0)


def test_waiting_is_false_when_the_time_is_up(place: Place) -> None:
    place.run(Scores)
    with place.application(Scores) as app:
        done = place.store.append("game-1", scored("ann", 1))
        assert not app.wait_for(Scores, done.position, 0.02)


def test_waiting_for_what_is_not_in_the_log_yet_is_false(place: Place) -> None:
    with place.running(Scores) as app:
        done = place.store.append("game-1", scored("ann", 1))
        assert app.wait_for(Scores, done.position, PATIENCE)
        assert not app.wait_for(Scores, done.position + 1, 0.02)


def test_waiting_for_a_view_that_was_never_built_is_false(place: Place) -> None:
    with place.application(Scores) as app:
        assert not app.wait_for(Scores, 0, 0.02)
        with pytest.raises(ViewNotReady):
            scores(app)


def test_waiting_goes_on_until_somebody_else_has_done_it(place: Place) -> None:
    done = place.store.append("game-1", scored("ann", 1))
    with place.application(Scores) as reader:
        results: list[bool] = []
        waiting = threading.Thread(target=lambda: results.append(reader.wait_for(Scores, done.position, PATIENCE)))
        waiting.start()
        place.run(Scores)
        waiting.join()
        assert results == [True]
        assert scores(reader) == {"ann": (1, 1)}


def test_waiting_covers_all_partitions(place: Place) -> None:
    with place.running(SharedTrails) as app:
        for number in range(30):
            done = place.store.append(f"game-{number}", scored(f"player {number}", 1))
        assert app.wait_for(SharedTrails, done.position, PATIENCE)
        with app.reading(SharedTrails) as view:
            assert view.position == done.position


def test_waiting_in_asyncio_holds_up_nobody(place: Place) -> None:
    async def work() -> bool:
        with place.application(Scores) as app:
            async with app.running_async():
                done = place.store.append("game-1", scored("ann", 1))
                return await app.wait_for_async(Scores, done.position, PATIENCE)

    assert asyncio.run(work())


@pytest.mark.parametrize("named", ["trails", Trails])
def test_waiting_for_an_unknown_consumer_is_refused(place: Place, named: Any) -> None:
    with place.application(Scores) as app, pytest.raises(UnknownConsumer, match="scores"):
        app.wait_for(named, 1)


# --- another version serves ---------------------------------------------------------------------------


class InlineScores(Scores):
    name = "scores"
    version = 2
    inline = True


class Departures(Scores):
    """A version of the same view that is about less."""

    name = "scores"
    version = 3
    query = Query(QueryItem(types=["ReactingLeft"]))


@pytest.mark.parametrize("kind", [InlineScores, Departures])
def test_waiting_and_reading_go_by_the_version_that_serves(place: Place, kind: type[Scores]) -> None:
    place.store.append("game-1", scored("ann", 1))
    place.run(Scores)
    done = place.store.append("game-1", scored("ann", 1))
    with place.application(Scores, kind) as app:
        assert not app.wait_for(kind, done.position, 0.02)
        with app.reading(kind) as view:
            assert view.position == 1
    with place.application(kind) as app:  # which does not know what the version that serves is about
        assert not app.wait_for(kind, done.position, 0.02)
        with app.reading(kind) as view:
            assert view.position == 1
