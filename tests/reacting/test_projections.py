"""Projections: handlers by type, exact after stop and start, lookups that see all changes, effects after the commit."""

from __future__ import annotations

from typing import ClassVar

import pytest
import sqlalchemy as sa

import sacho
from sacho.errors import InvalidConsumer
from sacho.reacting import Application, Changes, Projection, handles
from tests.reacting.conftest import Place
from tests.reacting.domain import (
    AT_ONCE,
    PATIENCE,
    Left,
    Noise,
    Scored,
    Scores,
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


def test_each_type_of_event_goes_to_its_handler(place: Place) -> None:
    place.store.append("game-1", [*scored("ann", 1, 2), *scored("bob", 5), Noise(), Left("bob")])
    place.run(Scores)
    with place.application(Scores) as app:
        assert scores(app) == {"ann": (3, 2)}


def test_view_and_checkpoint_are_exact_after_each_stop_and_start(place: Place) -> None:
    for number in range(4):
        place.store.append(f"game-{number}", scored("ann", *range(30)) + scored("bob", number))
        place.run(Scores)
        with place.application(Scores) as app, app.reading(Scores) as view:
            assert view.position == place.store.head()
            assert scores(app) == expected_scores(place.store)
            assert status(app).handled == place.store.head()


def test_a_stop_in_the_middle_loses_and_repeats_nothing(place: Place) -> None:
    for number in range(40):
        place.store.append(f"game-{number % 3}", scored(f"player {number % 7}", *range(50)))
    for part in (500, 1_000, 1_500):
        with place.running(Scores, Trails) as app:
            app.wait_for(Trails, part, PATIENCE)
    with place.running(Scores, Trails) as app:
        caught_up(app, Scores)
        caught_up(app, Trails)
        assert scores(app) == expected_scores(place.store)
        assert sum(len(trail) for trail in trails(app).values()) == place.store.head()


def test_a_view_is_read_as_of_the_position_that_it_names(place: Place) -> None:
    with place.running(Scores) as app:
        for number in range(30):
            done = place.store.append("game-1", scored("ann", number))
            assert app.wait_for(Scores, done.position, PATIENCE)
            with app.reading(Scores) as view:
                times = view.execute(sa.select(Scores.scores.c.times)).scalar_one()
                assert times == view.position >= done.position


class Lookups(Projection):
    """Writes down what it sees of itself: before, in between and after its own change."""

    retry = AT_ONCE
    rows = sa.Table(
        "reacting_lookups",
        sa.MetaData(),
        sa.Column("points", sa.BigInteger, primary_key=True),
        sa.Column("before", sa.BigInteger),
        sa.Column("after", sa.BigInteger),
    )

    @handles(Scored)
    def scored(self, event: Scored, changes: Changes) -> None:
        count = sa.select(sa.func.count()).select_from(self.rows)
        before = changes.fetch(count)[0][0]
        changes.execute(self.rows.insert(), {"points": event.points, "before": before})
        after = changes.fetch(count)[0][0]
        mine = self.rows.c.points == event.points
        changes.execute(self.rows.update().where(mine).values(after=after))
        (seen,) = changes.fetch(sa.select(self.rows.c.after).where(mine))
        assert seen.after == after


def test_a_lookup_sees_what_earlier_events_and_the_same_event_changed(place: Place) -> None:
    place.store.append("game-1", scored("ann", *range(40)))
    place.run(Lookups)
    with place.application(Lookups) as app, app.reading(Lookups) as view:
        found = [tuple(row) for row in view.execute(sa.select(Lookups.rows).order_by(Lookups.rows.c.points))]
        assert found == [(number, number, number + 1) for number in range(40)]


class Leaders(Projection):
    """Who has the most points of a game; each event deletes the rows of all who have less."""

    leaders = sa.Table(
        "reacting_leaders",
        sa.MetaData(),
        sa.Column("who", sa.Text, primary_key=True),
        sa.Column("points", sa.BigInteger, nullable=False),
    )

    @handles(Scored)
    def scored(self, event: Scored, changes: Changes) -> None:
        changes.execute(self.leaders.delete().where(self.leaders.c.points < event.points))
        if not changes.fetch(sa.select(self.leaders)):
            changes.execute(self.leaders.insert(), {"who": event.who, "points": event.points})


def test_a_handler_may_delete_rows_of_others(place: Place) -> None:
    place.store.append("game-1", [Scored("ann", 3), Scored("bob", 9), Scored("cid", 4)])
    place.run(Leaders)
    with place.application(Leaders) as app, app.reading(Leaders) as view:
        assert [tuple(row) for row in view.execute(sa.select(Leaders.leaders))] == [("bob", 9)]


class Announced(Projection):
    """Tells each event once it is in the view."""

    retry = AT_ONCE
    told: ClassVar[list[int]] = []
    fails: ClassVar[set[int]] = set()
    rows = sa.Table("reacting_announced", sa.MetaData(), sa.Column("points", sa.BigInteger, primary_key=True))

    @handles(Scored)
    def scored(self, event: Scored, changes: Changes) -> None:
        changes.execute(self.rows.insert(), {"points": event.points})
        changes.after_commit(lambda: self.tell(event.points))

    def tell(self, points: int) -> None:
        self.told.append(points)
        if points in self.fails:
            raise ConnectionError("nobody listens")


def announced(place: Place) -> list[int]:
    with place.application(Announced) as app, app.reading(Announced) as view:
        return list(view.execute(sa.select(Announced.rows).order_by(Announced.rows.c.points)).scalars())


def test_effects_happen_once_after_the_commit_and_never_while_a_build_replays(place: Place) -> None:
    Announced.told.clear()
    place.store.append("game-1", scored("ann", 1, 2))
    place.run(Announced)
    assert Announced.told == []
    place.store.append("game-1", scored("ann", 3, 4))
    place.run(Announced)
    assert Announced.told == [3, 4]
    place.run(Announced)
    assert Announced.told == [3, 4]


def test_an_effect_sees_its_event_in_the_view(place: Place) -> None:
    seen: list[list[int]] = []

    class Looking(Announced):
        rows = Announced.rows.to_metadata(sa.MetaData(), name="reacting_looking")

        def tell(self, points: int) -> None:
            with place.application(Looking) as app, app.reading(Looking) as view:
                seen.append(list(view.execute(sa.select(Looking.rows)).scalars()))

    place.run(Looking)
    place.store.append("game-1", scored("ann", 3))
    place.run(Looking)
    assert seen == [[3]]


def test_an_effect_that_raises_takes_nothing_from_the_view(place: Place) -> None:
    Announced.told.clear()
    Announced.fails.add(3)
    try:
        place.run(Announced)
        place.store.append("game-1", scored("ann", 3))
        place.run(Announced)
        place.store.append("game-1", scored("ann", 4))
        place.run(Announced)
        assert announced(place) == [3, 4]
        assert Announced.told == [3, 4]
    finally:
        Announced.fails.clear()


def test_views_may_live_in_another_database_than_the_log(apart: Place) -> None:
    apart.store.append("game-1", scored("ann", 1, 2))
    apart.run(Scores)
    apart.store.append("game-1", scored("ann", 3))
    apart.run(Scores)
    with apart.application(Scores) as app:
        assert scores(app) == {"ann": (6, 3)}


def test_several_projections_go_on_side_by_side(place: Place) -> None:
    with place.running(Scores, Trails, Leaders) as app:
        place.store.append("game-1", scored("ann", 1, 2))
        for one in (Scores, Trails, Leaders):
            caught_up(app, one)
        assert (scores(app), trails(app)) == ({"ann": (3, 2)}, {"ann": [1, 2]})


# --- upserts, and what readers have rights to ----------------------------------------------------------


class Balances(Projection):
    """Sums by a statement that inserts or adds, and the last value beside."""

    balances = sa.Table(
        "reacting_balances",
        sa.MetaData(),
        sa.Column("who", sa.Text, primary_key=True),
        sa.Column("points", sa.BigInteger, nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("note", sa.Text),
    )

    def prepare(self) -> None:
        self.move = self.upsert(self.balances, add=["points"], set=["last"])
        self.enter = self.upsert(self.balances)

    @handles(Scored)
    def scored(self, event: Scored, changes: Changes) -> None:
        changes.execute(self.move, {"who": event.who, "points": event.points, "last": event.points})

    @handles(Left)
    def left(self, event: Left, changes: Changes) -> None:
        changes.execute(self.enter, {"who": event.who, "points": 0, "last": 0, "note": "left"})


def test_an_upsert_inserts_adds_or_replaces_and_leaves_other_columns_alone(place: Place) -> None:
    place.store.append("game-1", [*scored("ann", 5, 2), Left("ann"), *scored("ann", 1), *scored("bob", 4)])
    place.run(Balances)
    with place.application(Balances) as app, app.reading(Balances) as view:
        rows = view.execute(sa.select(Balances.balances).order_by(Balances.balances.c.who)).all()
    assert [tuple(row) for row in rows] == [("ann", 1, 1, "left"), ("bob", 4, 4, None)]


@pytest.mark.parametrize("wrong", [{"add": ["none"]}, {"add": ["who"]}, {"set": ["other"]}])
def test_an_upsert_of_columns_that_are_not_there_is_refused(place: Place, wrong: dict[str, list[str]]) -> None:
    class Wrong(Balances):
        balances = Balances.balances.to_metadata(sa.MetaData(), name="reacting_wrong")

        def prepare(self) -> None:
            self.upsert(self.balances, **wrong)

    with place.application(Wrong) as app, pytest.raises(InvalidConsumer, match="upsert"), app.running():
        pass


class WiderBalances(Balances):
    """The second version: one column fewer, so that the SQL view is made anew."""

    name = "balances"
    version = 2
    balances = sa.Table(
        "reacting_balances",
        sa.MetaData(),
        sa.Column("who", sa.Text, primary_key=True),
        sa.Column("points", sa.BigInteger, nullable=False),
    )

    def prepare(self) -> None:
        self.move = self.upsert(self.balances, add=["points"])

    @handles(Scored)
    def scored(self, event: Scored, changes: Changes) -> None:
        changes.execute(self.move, {"who": event.who, "points": event.points})

    @handles(Left)
    def left(self, event: Left, changes: Changes) -> None: ...


class SameBalances(Balances):
    name = "balances"
    version = 2


@pytest.mark.parametrize("version", [SameBalances, WiderBalances])
def test_rights_on_a_view_outlive_a_new_version(version: type[Projection], postgres_url: str) -> None:
    with sacho.connect(postgres_url) as store:
        store.append("game-1", scored("ann", 5, 2))
        with Application(store, consumers=[Balances]) as app:
            app.run(once=True)
            with app.views.writing() as connection:
                connection.exec_driver_sql("GRANT SELECT ON reacting_balances TO PUBLIC")
        with Application(store, consumers=[Balances, version]) as app:
            app.run(once=True)
            with app.views.reading() as connection:
                rights = connection.exec_driver_sql(
                    "SELECT relacl::text FROM pg_class WHERE oid = to_regclass('reacting_balances')"
                ).scalar_one()
                assert ",=r/" in rights.replace("{", ",")
            assert is_serving(app, 2)


def test_a_view_that_stands_on_one_whose_columns_change_is_told(
    postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with sacho.connect(postgres_url) as store:
        store.append("game-1", scored("ann", 5, 2))
        with Application(store, consumers=[Balances]) as app:
            app.run(once=True)
            with app.views.writing() as connection:
                connection.exec_driver_sql("CREATE VIEW standing AS SELECT note FROM reacting_balances")
        with Application(store, consumers=[Balances, WiderBalances]) as app, app.running():
            until(lambda: "drop that, and make it again" in caplog.text)
            assert "standing" in caplog.text
            assert is_serving(app, 1)
            with app.views.writing() as connection:
                connection.exec_driver_sql("DROP VIEW standing")
            until(lambda: is_serving(app, 2))


class Noted(Projection):
    """Gives a statement that is made once values for other columns now and then."""

    rows = sa.Table(
        "reacting_noted",
        sa.MetaData(),
        sa.Column("position", sa.BigInteger, primary_key=True),
        sa.Column("who", sa.Text),
    )

    def prepare(self) -> None:
        self.note = self.rows.insert()

    @handles(Scored)
    def scored(self, event: Scored, changes: Changes) -> None:
        values = {"position": changes.recorded.position}
        changes.execute(self.note, values | ({"who": event.who} if event.who else {}))


def test_values_for_more_columns_than_those_before_are_all_written(place: Place) -> None:
    place.store.append("game-1", [Scored(who, 1) for who in ("", "ann", "", "bob", "cid")])
    place.run(Noted)
    with place.application(Noted) as app, app.reading(Noted) as view:
        found = view.execute(sa.select(Noted.rows.c.who).order_by(Noted.rows.c.position)).scalars().all()
    assert found == [None, "ann", None, "bob", "cid"]
