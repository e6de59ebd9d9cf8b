"""Dealing: processes with other numbers of partitions beside each other, as while a new setting is deployed."""

from __future__ import annotations

import sqlalchemy as sa

from sacho.reacting import Application, Changes, Projection, handles
from tests.reacting.conftest import Place
from tests.reacting.domain import PATIENCE, Scored, caught_up, scored, status, until

HALVES = sa.Table("dealt", sa.MetaData(), sa.Column("who", sa.Text), sa.Column("points", sa.BigInteger))


class Whole(Projection):
    """A row for each event; one that is handled twice is there twice."""

    name = "dealt"
    rows = HALVES

    @handles(Scored)
    def scored(self, event: Scored, changes: Changes) -> None:
        changes.execute(self.rows.insert(), {"who": event.who, "points": event.points})


class Halved(Whole):
    name = "dealt"
    partitions = 2


Halved.code = Whole.code  # type: ignore[method-assign]  # only the setting is another, as in one module at two times


def written(app: Application) -> list[int]:
    with app.reading(Whole) as view:
        return sorted(view.execute(sa.select(HALVES.c.points)).scalars())


def append(place: Place, *points: int) -> None:
    for one in points:
        place.store.append(f"game-{one % 7}", scored("ann", one))


def test_each_event_is_handled_once_while_others_have_more_partitions(place: Place) -> None:
    with place.running(Whole) as old:
        append(place, *range(10))
        caught_up(old, Whole)
        with place.running(Halved) as new:
            for first in range(10, 60, 5):
                append(place, *range(first, first + 5))
            caught_up(new, Halved)
            assert len(status(new).partitions) == 2
        assert written(old) == list(range(60))


def test_each_event_is_handled_once_while_others_have_fewer_partitions(place: Place) -> None:
    with place.running(Halved) as old:
        append(place, *range(10))
        caught_up(old, Halved)
        with place.running(Whole) as new:
            for first in range(10, 60, 5):
                append(place, *range(first, first + 5))
            caught_up(new, Whole)
            assert len(status(new).partitions) == 1
        assert written(old) == list(range(60))


def test_who_is_left_of_a_deployment_deals_anew(place: Place) -> None:
    with place.running(Halved) as new:
        append(place, *range(10))
        caught_up(new, Halved)
        with place.running(Whole) as old:  # a process of the old code that began last
            append(place, 10)
            caught_up(old, Whole)
        until(lambda: len(status(new).partitions) == 2)
        append(place, 11)
        assert new.wait_for(Halved, place.store.head(), PATIENCE)
        assert written(new) == list(range(12))
