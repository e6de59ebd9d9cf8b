"""Building: a new version or build is made beside the one that serves, takes over at one instant, and can be gone back from."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import msgspec
import pytest
import sqlalchemy as sa

from sacho.errors import CannotSwitch, ViewNotReady
from sacho.reacting import Application, Changes, Consumer, Delivery, Projection, handles
from tests.reacting.conftest import Place
from tests.reacting.domain import (
    PATIENCE,
    DoubledScores,
    Player,
    Players,
    Scored,
    Scores,
    caught_up,
    expected_scores,
    is_serving,
    scored,
    scores,
    status,
    until,
)


class ManualScores(DoubledScores):
    """The second version, which waits to be told."""

    name = "scores"
    takes_over = "manual"


class GatedScores(DoubledScores):
    """The second version, which does not get on before the test opens the gate."""

    name = "scores"
    gate = threading.Event()

    @handles(Scored)
    def scored(self, event: Scored, changes: Changes) -> None:
        assert self.gate.wait(PATIENCE), "nobody opened the gate"
        super().scored(event, changes)


def test_the_old_view_is_read_while_the_new_version_is_built_and_then_it_takes_over(place: Place) -> None:
    place.store.append("game-1", scored("ann", 1, 2))
    place.run(Scores)
    GatedScores.gate.clear()
    with place.running(Scores, GatedScores) as app:
        place.store.append("game-1", scored("ann", 3))
        assert app.wait_for(Scores, 3, PATIENCE)
        assert (status(app, 1).state, status(app, 2).state) == ("serving", "building")
        assert scores(app) == expected_scores(place.store)
        GatedScores.gate.set()
        until(lambda: is_serving(app, 2))
        assert status(app, 1).state == "standby"
        assert scores(app) == expected_scores(place.store, 2)


def test_a_first_build_cannot_be_read_before_it_has_caught_up(place: Place) -> None:
    place.store.append("game-1", scored("ann", 1, 2))
    GatedScores.gate.clear()
    with place.running(GatedScores) as app:
        with pytest.raises(ViewNotReady) as told:
            scores(app)
        assert (told.value.position, told.value.head) == (0, 2)
        assert not app.wait_for(GatedScores, 1, 0.02)
        GatedScores.gate.set()
        caught_up(app, GatedScores)
        assert scores(app) == expected_scores(place.store, 2)


def test_the_old_code_goes_on_beside_the_new_until_it_is_taken_over_and_then_rests(place: Place) -> None:
    place.store.append("game-1", scored("ann", 1, 2))
    with place.running(Scores) as old:
        caught_up(old, Scores)
        place.run(Scores, DoubledScores)
        place.store.append("game-1", scored("ann", 3))
        place.run(Scores, DoubledScores)
        assert status(old, 1).state == "standby"
        assert scores(old) == expected_scores(place.store, 2)


def test_a_version_that_rests_is_held_by_no_worker_and_has_no_time_left(place: Place) -> None:
    place.store.append("game-1", scored("ann", 1))
    place.run(Scores)
    place.run(DoubledScores)
    place.store.append("game-1", scored("ann", 2))
    with place.application(DoubledScores) as app:
        rests = app.administration.status()[0]
        assert (rests.state, rests.partitions[0].owner, rests.seconds_left) == ("standby", None, None)


def test_one_can_switch_back_and_the_version_before_catches_up_first(place: Place) -> None:
    place.store.append("game-1", scored("ann", 1, 2))
    place.run(Scores)
    with place.running(Scores, DoubledScores) as app:
        until(lambda: is_serving(app, 2))
        place.store.append("game-1", scored("ann", 3))
        caught_up(app, DoubledScores)
        app.administration.switch("scores", 1)
        until(lambda: is_serving(app, 1))
        assert status(app, 2).state == "standby"
        assert scores(app) == expected_scores(place.store)
        place.store.append("game-1", scored("ann", 4))
        caught_up(app, Scores)
        assert scores(app) == expected_scores(place.store)


def test_a_version_that_does_not_serve_is_removed_with_its_tables(place: Place) -> None:
    place.store.append("game-1", scored("ann", 1, 2))
    place.run(Scores)
    with place.running(Scores, DoubledScores) as app:
        until(lambda: is_serving(app, 2))
        with pytest.raises(CannotSwitch, match="it serves"):
            app.administration.remove("scores", 2)
        assert [str(one) for one in app.administration.remove("scores", 1)] == ["scores@1"]
        with app.views.reading() as connection:
            names = sa.inspect(connection).get_table_names()
        assert "reacting_scores_v2" in names
        assert "reacting_scores_v1" not in names
        with pytest.raises(CannotSwitch, match="no build"):
            app.administration.remove("scores", 1)
        place.store.append("game-1", scored("ann", 3))
        caught_up(app, DoubledScores)
        assert scores(app) == expected_scores(place.store, 2)


def test_a_version_whose_class_was_changed_in_its_place_can_be_removed(place: Place) -> None:
    place.store.append("game-1", scored("ann", 1))
    place.run(Scores)
    place.run(DoubledScores)
    with place.application(DoubledScores) as app:
        app.administration.remove("scores", 1)
        assert not has_table(app, "reacting_scores_v1")
        assert [one.version for one in app.administration.status()] == [2]


def test_what_no_class_declares_any_more_can_be_removed_once_nobody_works_on_it(place: Place) -> None:
    place.store.append("game-1", scored("ann", 1))
    with place.running(Scores) as other:
        caught_up(other, Scores)
        with place.application() as app, pytest.raises(CannotSwitch, match="workers of another application"):
            app.administration.remove("scores", 1)
    with place.application() as app:
        with pytest.raises(CannotSwitch, match="no build of version 7"):
            app.administration.remove("scores", 7)
        app.administration.remove("scores", 1)
        assert not has_table(app, "reacting_scores_v1")
        assert not has_table(app, "reacting_scores")
        assert app.administration.status() == []


def has_table(app: Application, name: str) -> bool:
    with app.views.reading() as connection:
        found = sa.inspect(connection)
        return name in {*found.get_table_names(app.views.schema), *found.get_view_names(app.views.schema)}


def test_a_build_in_the_making_can_be_removed(place: Place) -> None:
    place.store.append("game-1", scored("ann", 1, 2))
    place.run(Scores)
    with place.running(Scores, ManualScores) as app:
        app.administration.remove("scores", 2)
        place.store.append("game-1", scored("ann", 3))
        caught_up(app, Scores)
        assert [one.version for one in app.administration.status()] == [1]
        assert scores(app) == expected_scores(place.store)


def test_a_removed_old_version_is_not_built_again_beside_a_newer_one(place: Place) -> None:
    place.run(Scores)
    with place.running(Scores, DoubledScores) as app:
        until(lambda: is_serving(app, 2))
        app.administration.remove("scores", 1)
    with place.running(Scores, DoubledScores) as app:
        assert [one.version for one in app.administration.status()] == [2]


def test_a_manual_version_waits_until_it_is_told(place: Place) -> None:
    place.store.append("game-1", scored("ann", 1, 2))
    place.run(Scores)
    place.run(Scores, ManualScores)
    with place.running(Scores, ManualScores) as app:
        until(lambda: status(app, 2).position == 2)
        assert not is_serving(app, 2)
        assert scores(app) == expected_scores(place.store)
        app.administration.switch("scores", 2)
        assert is_serving(app, 2)
        assert scores(app) == expected_scores(place.store, 2)


def test_a_manual_version_that_is_told_while_it_is_behind_takes_over_once_it_has_caught_up(place: Place) -> None:
    place.store.append("game-1", scored("ann", 1, 2))
    place.run(Scores)
    place.run(Scores, ManualScores)
    place.store.append("game-1", scored("ann", 3))
    place.run(Scores)
    with place.application(Scores, ManualScores) as app:
        app.administration.switch("scores", 2)
        with app.running():
            until(lambda: is_serving(app, 2))
            assert scores(app) == expected_scores(place.store, 2)


def test_there_is_no_switching_to_what_is_not_there(place: Place) -> None:
    place.run(Scores)
    with place.application(Scores, DoubledScores) as app:
        with pytest.raises(CannotSwitch, match="no build of version 2"):
            app.administration.switch("scores", 2)
        with pytest.raises(CannotSwitch, match="no class of version 7"):
            app.administration.switch("scores", 7)


def test_a_rebuild_replaces_what_was_spoiled(place: Place) -> None:
    place.store.append("game-1", scored("ann", 1, 2))
    place.run(Scores)
    with place.running(Scores) as app:
        with app.views.writing() as connection:
            connection.execute(sa.text("UPDATE reacting_scores_v1 SET points = 77"))
        assert scores(app) == {"ann": (77, 2)}
        build = app.administration.rebuild(Scores).build
        until(lambda: is_serving(app, 1, build))
        assert scores(app) == expected_scores(place.store)
        assert [one.build for one in app.administration.remove("scores", 1, 0)] == [0]
        place.store.append("game-1", scored("ann", 3))
        caught_up(app, Scores)
        assert scores(app) == expected_scores(place.store)


def test_a_rebuild_goes_on_after_a_stop(place: Place) -> None:
    place.store.append("game-1", scored("ann", *range(100)))
    place.run(Scores)
    with place.application(Scores) as app:
        build = app.administration.rebuild(Scores).build
        assert not is_serving(app, 1, build)
        assert scores(app) == expected_scores(place.store)
    place.run(Scores)
    with place.application(Scores) as app:
        assert is_serving(app, 1, build)
        assert scores(app) == expected_scores(place.store)


def test_what_is_no_projection_has_nothing_to_build(place: Place) -> None:
    class Plain(Consumer):
        @handles(Scored)
        def scored(self, event: Scored, delivery: Delivery) -> None: ...

    place.run(Plain)
    with place.application(Plain) as app, pytest.raises(CannotSwitch, match="no projection"):
        app.administration.rebuild(Plain)


class FullPlayer(msgspec.Struct, frozen=True):
    points: int = 0
    best: int = 0


class BestPlayers(Players):
    """The second version of the documents: another class, other columns."""

    name = "players"
    version = 2
    document = FullPlayer
    indexed = ("best",)

    @handles(Scored, key="who")
    def scored(self, event: Scored, player: FullPlayer | None) -> FullPlayer:  # type: ignore[override]
        before = player or FullPlayer()
        return FullPlayer(before.points + event.points, max(before.best, event.points))


def test_a_new_version_of_documents_may_have_another_shape(place: Place) -> None:
    place.store.append("game-1", scored("ann", 5, 2))
    place.run(Players)
    place.run(Players, BestPlayers)
    with place.application(Players, BestPlayers) as app, app.reading(BestPlayers) as view:
        (row,) = view.execute(sa.select(BestPlayers.view))
        assert (row.key, row.document, row.best) == ("ann", '{"points":7,"best":5}', 5)
    assert msgspec.json.decode('{"points":7,"times":2}', type=Player) == Player(7, 2)


# --- readers beside writers and builds ----------------------------------------------------------------


class Count(Projection):
    """How many events there were: never else than the position."""

    counts = sa.Table("reacting_count", sa.MetaData(), sa.Column("position", sa.BigInteger, primary_key=True))

    def prepare(self) -> None:
        self.insert = self.counts.insert()

    @handles(Scored)
    def scored(self, event: Scored, changes: Changes) -> None:
        changes.execute(self.insert, {"position": changes.recorded.position})


class SecondCount(Count):
    name = "count"
    version = 2


@contextmanager
def reading_and_writing(app: Application) -> Iterator[list[tuple[int, int, int, int]]]:
    """Have readers note (version, build, position, count) again and again, while a writer appends."""
    seen: list[tuple[int, int, int, int]] = []
    failures: list[BaseException] = []
    ended = threading.Event()

    def read() -> None:
        try:
            while not ended.is_set():
                with app.reading(Count) as view:
                    count = view.execute(sa.select(sa.func.count()).select_from(Count.counts)).scalar_one()
                    seen.append((view.generation.version, view.generation.build, view.position, count))
        except BaseException as error:
            failures.append(error)

    def write() -> None:
        try:
            while not ended.is_set():
                done = app.store.append("game-1", scored("ann", 1, 2, 3))
                assert app.wait_for("count", done.position, PATIENCE)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for work in (read, read, write)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert failures == []


def test_readers_never_see_an_empty_or_half_view_while_a_version_takes_over_under_writes(place: Place) -> None:
    place.store.append("game-1", scored("ann", *range(500)))
    place.run(Count)
    with ExitStack() as later, place.running(Count) as old, reading_and_writing(old) as seen:
        until(lambda: seen)
        app = later.enter_context(place.running(Count, SecondCount))
        until(lambda: is_serving(app, 2))
        until(lambda: seen[-1][0] == 2)
    assert {one[0] for one in seen} == {1, 2}
    assert [one for one in seen if one[2] != one[3] or one[3] < 500] == []
    place.run(Count, SecondCount)
    with place.application(Count, SecondCount) as app, app.reading(Count) as view:
        assert view.execute(sa.select(sa.func.count()).select_from(Count.counts)).scalar_one() == place.store.head()


def test_readers_never_see_an_empty_or_half_view_while_it_is_built_again_under_writes(place: Place) -> None:
    place.store.append("game-1", scored("ann", *range(500)))
    place.run(Count)
    with place.running(Count) as app, reading_and_writing(app) as seen:
        until(lambda: seen)
        for _ in range(2):
            build = app.administration.rebuild(Count).build
            until(lambda: is_serving(app, 1, build))  # noqa: B023
            until(lambda: seen[-1][1] == build)  # noqa: B023
    assert {one[1] for one in seen} == {0, 1, 2}
    assert [one for one in seen if one[2] != one[3] or one[3] < 500] == []


class Narrow(Projection):
    name = "widened"
    widened = sa.Table("reacting_widened", sa.MetaData(), sa.Column("position", sa.Integer, primary_key=True))

    @handles(Scored)
    def scored(self, event: Scored, changes: Changes) -> None:
        changes.execute(self.widened.insert(), {"position": changes.recorded.position})


class Wide(Narrow):
    name = "widened"
    version = 2
    widened = sa.Table("reacting_widened", sa.MetaData(), sa.Column("position", sa.BigInteger, primary_key=True))


def test_a_reader_that_asks_again_and_again_does_not_notice_that_a_columns_type_changes(place: Place) -> None:
    place.store.append("game-1", scored("ann", 1))
    place.run(Narrow)
    with place.application(Narrow) as app:
        for _ in range(2):
            for _ in range(8):
                with app.reading(Narrow) as view:
                    assert view.execute(sa.select(Narrow.widened)).all() == [(1,)]
            place.run(Narrow, Wide)
