"""Inline projections: written within appends, registered in the log, with no hole however many append meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa

import sacho
from sacho import Event
from sacho.errors import ForeignCheckpoint, InlineViewFailed, InlineViewMissing, InvalidConsumer, UnsupportedOperation
from sacho.reacting import Application, Changes, Generation, Projection, handles
from sacho.reacting.bookkeeping import Bookkeeping
from sacho.reacting.building import Builder
from sacho.reacting.inline import generation_of, register
from tests.reacting.domain import PATIENCE, is_serving, status, until

THREADS = 4
EACH = 50


class InlineHit(Event):
    who: str
    points: int


class InlineScores(Projection):
    """Points by who made them."""

    inline = True
    scores = sa.Table(
        "inline_scores",
        sa.MetaData(),
        sa.Column("who", sa.Text, primary_key=True),
        sa.Column("points", sa.BigInteger, nullable=False),
    )

    @handles(InlineHit)
    def hit(self, event: InlineHit, changes: Changes) -> None:
        if event.points < 0:
            raise ValueError("points are never taken away")
        if changes.fetch(sa.select(self.scores.c.who).where(self.scores.c.who == event.who)):
            more = self.scores.c.points + event.points
            changes.execute(self.scores.update().where(self.scores.c.who == event.who).values(points=more))
        else:
            changes.execute(self.scores.insert().values(who=event.who, points=event.points))


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, url_of: Callable[[str], str]) -> str:
    return url_of(request.param)


class InlineAll(Projection):
    """The position of every event, of whatever type."""

    inline = True
    seen = sa.Table("inline_all", sa.MetaData(), sa.Column("position", sa.BigInteger, primary_key=True))

    @handles("*")
    def any(self, event: object, changes: Changes) -> None:
        changes.execute(self.seen.insert(), {"position": changes.recorded.position})


def scores(app: Application) -> dict[str, int]:
    with app.reading(InlineScores) as view:
        return {row.who: row.points for row in view.execute(sa.select(InlineScores.scores))}


def serving(url: str) -> Application:
    app = Application(url, consumers=[InlineScores])
    with app.running():
        assert app.wait_for(InlineScores, 0, PATIENCE)
    return app


def test_a_view_registered_while_others_append_has_each_event_once(url: str) -> None:
    with Application(url, consumers=[InlineScores]) as app:
        app.store.append("hits-0", [InlineHit("before", 1)] * 20)

        def write(number: int) -> None:
            for _ in range(EACH):
                app.store.append(f"hits-{number}", [InlineHit("during", 1)])

        threads = [threading.Thread(target=write, args=(number,)) for number in range(THREADS)]
        with app.running():
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert app.wait_for(InlineScores, app.store.head(), PATIENCE)
        app.store.append("hits-9", [InlineHit("after", 1)])
        assert scores(app) == {"before": 20, "during": THREADS * EACH, "after": 1}


def test_it_is_never_behind_and_needs_no_runner(url: str) -> None:
    with serving(url) as app:
        done = app.store.append("hits-1", [InlineHit("a", 2)])
        assert app.wait_for(InlineScores, done.position, 0)
        assert scores(app) == {"a": 2}


def test_a_handler_that_raises_refuses_the_append_whole(url: str) -> None:
    with serving(url) as app:
        with pytest.raises(InlineViewFailed, match="never taken away"):
            app.store.append("hits-1", [InlineHit("a", 2), InlineHit("a", -1)])
        assert app.store.head() == 0
        assert scores(app) == {}


def test_a_writer_that_does_not_know_it_is_refused(url: str) -> None:
    serving(url).close()
    with sacho.connect(url) as store, pytest.raises(InlineViewMissing, match="inline-scores@1"):
        store.append("hits-1", [InlineHit("a", 2)])


def test_a_runner_that_starts_later_counts_nothing_again(url: str) -> None:
    with serving(url) as app:
        app.store.append("hits-1", [InlineHit("a", 2)])
        app.run(once=True)
        assert scores(app) == {"a": 2}


def test_a_repeated_append_counts_once(url: str) -> None:
    with serving(url) as app:
        data = sacho.EventData(InlineHit("a", 2), id=sacho.uuid7())
        assert app.store.append("hits-1", [data]) == app.store.append("hits-1", [data])
        assert scores(app) == {"a": 2}


def test_one_that_handles_every_type_is_given_every_event_appended(url: str) -> None:
    with Application(url, consumers=[InlineAll]) as app:
        app.store.append("hits-1", [InlineHit("a", 1)])
        app.run(once=True)
        done = app.store.append("hits-1", [InlineHit("a", 2), InlineHit("b", 3)])
        with app.reading(InlineAll) as view:
            seen = list(view.execute(sa.select(InlineAll.seen.c.position)).scalars())
            assert (len(seen), max(seen), view.position) == (3, done.position, done.position)


def test_its_status_is_at_the_head_and_names_no_worker(url: str) -> None:
    with serving(url) as app:
        head = app.store.append("hits-1", [InlineHit("a", 2)]).position
        (found,) = app.administration.status()
        assert (found.state, found.position, found.lag_events, found.lag_seconds) == ("serving", head, 0, 0)
        assert (found.seconds_left, found.partitions[0].owner) == (0, None)


def test_after_a_restore_it_is_offered_what_it_can_do(url: str) -> None:
    with serving(url) as app:
        app.store.append("hits-1", [InlineHit("a", 2)])
        app.store.storage.begin_epoch()
        with pytest.raises(ForeignCheckpoint, match=r"by a new version of the class.*projections accept inline-scores"):
            app.run(once=True)
        app.administration.accept(InlineScores)
        app.run(once=True)
        app.store.append("hits-1", [InlineHit("a", 3)])
        assert scores(app) == {"a": 5}


def test_it_lives_in_the_logs_own_database(url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidConsumer, match="own database"):
        Application(url, consumers=[InlineScores], views=f"sqlite:///{tmp_path}/other.db")


def test_an_engine_that_cannot_says_so() -> None:
    with pytest.raises(UnsupportedOperation, match="inline-views"):
        Application("memory://", consumers=[InlineScores])


def test_a_build_that_is_behind_is_not_registered_since_appends_would_wait_for_it(url: str) -> None:
    with Application(url, consumers=[InlineScores]) as app:
        app.store.append("game-1", [InlineHit("ann", 1), InlineHit("ann", 2)])
        app.prepare()
        builder, generation = (
            Builder(app.store, Bookkeeping(app.views), app.consumers[0]),
            generation_of(InlineScores()),
        )
        builder.enter()
        assert not builder.take_over(generation, app.store.head(), 1.0)
        assert app.store.storage.inline_views() == ()
        app.run(once=True)
        assert app.store.storage.inline_views() == (str(generation),)
        assert scores(app) == {"ann": 3}


def one_of_many(number: int) -> type[Projection]:
    class OneOfMany(Projection):
        name = f"one-of-many-{number}"
        inline = True
        rows = sa.Table(f"one_of_many_{number}", sa.MetaData(), sa.Column("position", sa.BigInteger, primary_key=True))

        @handles(InlineHit)
        def hit(self, event: InlineHit, changes: Changes) -> None:
            changes.execute(self.rows.insert(), {"position": changes.recorded.position})

    return OneOfMany


def test_all_that_are_registered_at_once_are_written(url: str) -> None:
    many = [one_of_many(number) for number in range(6)]
    with Application(url, consumers=many) as app:
        app.store.append("hits-1", [InlineHit("ann", 1)])
        app.run(once=True)
        assert app.store.storage.inline_views() == tuple(f"{one.name}@1" for one in many)
        app.store.append("hits-1", [InlineHit("ann", 1)])
        for one in many:
            with app.reading(one) as view:
                assert view.execute(sa.select(one.tables["rows"])).scalars().all() == [1, 2]


# --- taking over --------------------------------------------------------------------------------------


class Totals(Projection):
    """Points by who made them, added blindly, so that what is counted twice shows."""

    name = "totals"
    totals = sa.Table(
        "inline_totals",
        sa.MetaData(),
        sa.Column("who", sa.Text, primary_key=True),
        sa.Column("points", sa.BigInteger, nullable=False),
    )

    def prepare(self) -> None:
        self.move = self.upsert(self.totals, add=["points"])

    @handles(InlineHit)
    def hit(self, event: InlineHit, changes: Changes) -> None:
        changes.execute(self.move, {"who": event.who, "points": event.points})


class InlineTotals(Totals):
    name = "totals"
    version = 2
    inline = True


class NextInlineTotals(Totals):
    name = "totals"
    version = 3
    inline = True


class LateTotals(Totals):
    name = "totals"
    version = 4
    partitions = 3


def totals(app: Application) -> dict[str, int]:
    with app.reading(Totals) as view:
        return {row.who: row.points for row in view.execute(sa.select(Totals.totals))}


def hits(*points: int) -> list[InlineHit]:
    return [InlineHit("ann", one) for one in points]


def registered(app: Application) -> set[str]:
    return set(app.store.storage.inline_views())


def test_one_can_switch_back_to_an_inline_version_and_counts_nothing_again(url: str) -> None:
    with Application(url, consumers=[InlineTotals]) as app, app.running():
        until(lambda: is_serving(app, 2))
        app.store.append("hits-1", hits(1, 1, 1))
    with Application(url, consumers=[InlineTotals, NextInlineTotals]) as app, app.running():
        until(lambda: is_serving(app, 3))
        assert registered(app) == {"totals@3"}
        app.store.append("hits-1", hits(1))
        app.administration.switch(InlineTotals, 2)
        until(lambda: is_serving(app, 2))
        assert registered(app) == {"totals@2"}
        app.store.append("hits-1", hits(1))
        assert totals(app) == {"ann": 5}


def test_a_version_that_is_not_inline_takes_over_from_one_that_is(url: str) -> None:
    with Application(url, consumers=[InlineTotals]) as app, app.running():
        until(lambda: is_serving(app, 2))
        app.store.append("hits-1", hits(1, 1))
    with Application(url, consumers=[InlineTotals, LateTotals]) as app, app.running():
        until(lambda: is_serving(app, 4))
        assert registered(app) == set()
        app.administration.remove(InlineTotals, 2)
    with Application(url) as plain:
        done = plain.store.append("hits-2", hits(1))
    with Application(url, consumers=[LateTotals]) as app, app.running():
        assert app.wait_for(LateTotals, done.position, PATIENCE)
        assert totals(app) == {"ann": 3}


def test_a_switch_beside_the_worker_that_builds_counts_nothing_twice(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Told(InlineTotals):
        name = "totals"
        version = 2
        takes_over = "manual"

    with Application(url, consumers=[Told]) as app, app.running(lease_seconds=1.0):
        app.store.append("hits-1", hits(1, 1))
        until(lambda: status(app, 2).position == 2)
        main = threading.current_thread()

        def late(*arguments: Any) -> bool:
            if threading.current_thread() is main:
                app.store.append("hits-1", hits(1, 1))
                until(lambda: status(app, 2).position == 4)
            return register(*arguments)

        monkeypatch.setattr("sacho.reacting.building.register", late)
        app.administration.switch(Told, 2)
        until(lambda: is_serving(app, 2))
        assert totals(app) == {"ann": 4}


def test_a_handler_of_every_type_and_one_of_a_single_stream_are_given_what_is_theirs(url: str) -> None:
    class Places(Projection):
        inline = True
        places = sa.Table("inline_places", sa.MetaData(), sa.Column("position", sa.BigInteger, primary_key=True))

        @handles("*")
        def any(self, event: object, changes: Changes) -> None:
            changes.execute(self.places.insert(), {"position": changes.recorded.position})

    class OfOne(Places):
        stream = "hits-1"
        places = sa.Table("inline_of_one", sa.MetaData(), sa.Column("position", sa.BigInteger, primary_key=True))

    with Application(url, consumers=[Places, OfOne]) as app:
        app.store.append("hits-1", hits(1))
        app.store.append("hits-2", hits(1))
        with app.running():
            until(lambda: all(one.state == "serving" for one in app.administration.status()))
        app.store.append("hits-1", hits(1))
        app.store.append("hits-2", hits(1))
        for kind, expected in ((Places, [1, 2, 3, 4]), (OfOne, [1, 3])):
            with app.reading(kind) as view:
                assert list(view.execute(sa.select(kind.places)).scalars()) == expected


def test_an_inline_projection_that_no_class_declares_any_more_is_left_out_of_appends_once_it_is_removed(
    url: str,
) -> None:
    with serving(url) as app:
        app.store.append("hits-1", [InlineHit("ann", 1)])
    with Application(url) as plain:
        with pytest.raises(InlineViewMissing):
            plain.store.append("hits-1", [InlineHit("ann", 1)])
        plain.administration.remove("inline-scores", 1)
        assert plain.store.append("hits-1", [InlineHit("ann", 1)]).version == 2


def test_a_handler_that_appends_within_the_append_is_refused_and_hangs_nobody(url: str) -> None:
    class Chatty(Projection):
        inline = True
        rows = sa.Table("inline_chatty", sa.MetaData(), sa.Column("position", sa.BigInteger, primary_key=True))
        stores: ClassVar[list[sacho.EventStore]] = []

        @handles(InlineHit)
        def hit(self, event: InlineHit, changes: Changes) -> None:
            if event.points:
                self.stores[0].append("hits-2", [InlineHit("bob", 0)])

    with Application(url, consumers=[Chatty]) as app:
        app.run(once=True)
        Chatty.stores.append(app.store)
        for append in (app.store.append, lambda *given: app.store.submit(*given).result(PATIENCE)):
            with pytest.raises(InlineViewFailed, match="an append within an append"):
                append("hits-1", [InlineHit("ann", 1)])
        assert app.store.append("hits-1", [InlineHit("ann", 0)]).version == 1


def test_what_is_left_at_the_registering_is_of_the_views_stream_only(url: str) -> None:
    class Streamed(InlineTotals):
        name = "totals"
        version = 2
        stream = "hits-1"

    with Application(url, consumers=[Streamed]) as app:
        app.store.append("hits-1", hits(1))
        app.prepare()
        builder = Builder(app.store, Bookkeeping(app.views), app.consumers[0])
        builder.enter()
        app.store.append("hits-2", hits(10))
        assert builder.take_over(Generation("totals", 2, 0), 0, 1.0)
        assert totals(app) == {"ann": 1}
