"""Inline projections: written within appends, registered in the log, with no hole however many append meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

import sacho
from sacho import Event
from sacho.errors import InlineViewFailed, InlineViewMissing, InvalidConsumer, UnsupportedOperation
from sacho.reacting import Application, Changes, Projection, handles
from sacho.reacting.bookkeeping import Bookkeeping
from sacho.reacting.building import Builder
from sacho.reacting.inline import generation_of
from tests.reacting.domain import PATIENCE

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


class LaterScores(InlineScores):
    """The next version, inline, too."""

    name = "inline-scores"
    version = 2


class BehindScores(InlineScores):
    """The next version, which appends need not write any more. Its code is the same but for that."""

    name = "inline-scores"
    version = 3
    inline = False


def test_one_can_switch_back_from_an_inline_version_to_the_one_before(url: str) -> None:
    with serving(url) as app:
        app.store.append("hits-1", [InlineHit("ann", 1)] * 3)
    with Application(url, consumers=[InlineScores, LaterScores]) as app:
        app.run(once=True)
        app.store.append("hits-1", [InlineHit("ann", 1)])
        app.administration.switch("inline-scores", 1)
        app.run(once=True)
        app.store.append("hits-1", [InlineHit("ann", 1)])
        assert scores(app) == {"ann": 5}


def test_a_version_that_is_not_inline_takes_over_and_appends_need_none_any_more(url: str) -> None:
    with serving(url) as app:
        app.store.append("hits-1", [InlineHit("ann", 1)])
    with Application(url, consumers=[InlineScores, BehindScores]) as app:
        app.run(once=True)
        assert app.store.storage.inline_views() == ()
        app.administration.remove("inline-scores", 1)
    with sacho.connect(url) as store:
        store.append("hits-1", [InlineHit("ann", 2)])
    with Application(url, consumers=[BehindScores]) as app:
        app.run(once=True)
        with app.reading(BehindScores) as view:
            assert [tuple(row) for row in view.execute(sa.select(BehindScores.scores))] == [("ann", 3)]


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
