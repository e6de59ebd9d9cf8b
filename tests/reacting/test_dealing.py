"""Dealing: the number of partitions changes beside processes that still run the number before."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from sacho.reacting import Application, Projection, handles
from sacho.reacting.bookkeeping import Bookkeeping, Lease
from sacho.reacting.building import Builder
from sacho.reacting.changes import Changes
from sacho.reacting.tables import Generation
from tests.reacting.conftest import Place
from tests.reacting.domain import Scored, caught_up, status, until

WHO = "abcdef"
BUILD = Generation("dealt-sums", 1, 0)


class DealtSums(Projection):
    """Points by player, added blindly, so that what is counted twice shows."""

    sums = sa.Table(
        "reacting_dealt_sums",
        sa.MetaData(),
        sa.Column("who", sa.Text, primary_key=True),
        sa.Column("points", sa.BigInteger, nullable=False),
    )

    def key(self, recorded: Any) -> str:
        return str(recorded.event.who)

    def prepare(self) -> None:
        self.move = self.upsert(self.sums, add=["points"])

    @handles(Scored)
    def scored(self, event: Scored, changes: Changes) -> None:
        changes.execute(self.move, {"who": event.who, "points": event.points})


def dealt(count: int) -> Projection:
    found = DealtSums()
    found.partitions = count  # type: ignore[misc]  # the class as another deployment has it
    return found


def sums(app: Application) -> dict[str, int]:
    with app.reading(DealtSums) as view:
        return {row.who: row.points for row in view.execute(sa.select(DealtSums.sums))}


@pytest.mark.parametrize(("before", "now"), [(1, 3), (3, 1)])
def test_another_number_beside_a_worker_of_the_number_before_counts_each_event_once(
    place: Place, before: int, now: int
) -> None:
    one_of_each = [Scored(who, 1) for who in WHO]
    with place.running(dealt(before)) as old:
        place.store.append("game-1", one_of_each)
        caught_up(old, DealtSums)
        with place.running(dealt(now)) as new:
            for _ in range(20):
                place.store.append("game-1", one_of_each)
            until(lambda: not old._runners[0].workers)
            place.store.append("game-1", one_of_each)
            caught_up(new, DealtSums)
            assert sums(new) == dict.fromkeys(WHO, 22)
            assert len(status(new).partitions) == now
            assert len({one.owner for one in status(new).partitions}) == 1


def test_who_is_left_of_a_deployment_deals_anew(place: Place) -> None:
    one_of_each = [Scored(who, 1) for who in WHO]
    with place.running(dealt(2)) as new:
        place.store.append("game-1", one_of_each)
        caught_up(new, DealtSums)
        with place.running(dealt(1)) as old:  # a process of the old code that began last
            place.store.append("game-1", one_of_each)
            caught_up(old, DealtSums)
        until(lambda: len(status(new).partitions) == 2)
        place.store.append("game-1", one_of_each)
        caught_up(new, DealtSums)
        assert sums(new) == dict.fromkeys(WHO, 3)


def test_a_lease_of_before_is_none_of_the_new_partitions(place: Place) -> None:
    with place.application(dealt(1)) as app:
        app.run(once=True)
        books = Bookkeeping(app.views)
        for count in (3, 2, 3, 1):
            with app.views.writing() as connection:
                before = books.acquire(connection, BUILD, "me", 9, 4.0, count=len(books.leases(connection, BUILD)))
                books.deal(connection, BUILD, 0, count)
                assert not books.acquire(connection, BUILD, "me", 9, 4.0, count=count + 1)
                after = books.acquire(connection, BUILD, "me", 9, 4.0, count=count)
                assert len(after) == count
                assert not {_right(one) for one in before} & {_right(one) for one in after}


def test_what_a_worker_commits_while_partitions_are_dealt_is_not_counted_again(place: Place, monkeypatch: Any) -> None:
    place.store.append("game-1", [Scored("ann", 1)])
    with place.application(dealt(1)) as app:
        app.run(once=True)
        place.store.append("game-1", [Scored("ann", 1)])
        builder, order = Builder(place.store, Bookkeeping(app.views), dealt(2)), list[str]()
        for name in ("fence_off", "partitions", "deal"):
            _note(monkeypatch, name, order)
        builder.enter()
    assert order[-3:] == ["fence_off", "partitions", "deal"]  # who holds them is waited for before it is read how far
    with place.running(dealt(2)) as app:
        caught_up(app, DealtSums)
        assert sums(app) == {"ann": 2}


def _right(lease: Lease) -> tuple[int, int]:
    return lease.partition, lease.token


def _note(monkeypatch: Any, name: str, order: list[str]) -> None:
    original = getattr(Bookkeeping, name)

    def noted(self: Bookkeeping, *arguments: Any) -> Any:
        order.append(name)
        return original(self, *arguments)

    monkeypatch.setattr(Bookkeeping, name, noted)
