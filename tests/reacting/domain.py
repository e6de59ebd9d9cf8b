"""A small domain for tests of the read side: players score, and some of what they do is made to fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event as Signal
from threading import Timer
from typing import Any, ClassVar

import msgspec
import sqlalchemy as sa

from sacho import Decider, Event, EventStore
from sacho.deciding import Retry
from sacho.reacting import Application, Changes, DocumentView, Projection, Status, handles

PATIENCE = 120.0
"""Seconds after which a test says that something hangs."""
AT_ONCE = Retry(attempts=3, first_pause=0.001, longest_pause=0.001)
BROKEN: set[str] = set()
"""Of whom nothing can be handled just now."""


class Scored(Event, type="ReactingScored"):
    who: str
    points: int


class Left(Event, type="ReactingLeft"):
    who: str


class Noise(Event, type="ReactingNoise"):
    """Nobody handles it."""


def check(who: str) -> None:
    if who in BROKEN:
        raise ValueError(f"{who} is broken")


class Scores(Projection):
    """Points and their count by player; written by statements that are made once, so that a batch has many."""

    retry = AT_ONCE
    scores = sa.Table(
        "reacting_scores",
        sa.MetaData(),
        sa.Column("who", sa.Text, primary_key=True),
        sa.Column("points", sa.BigInteger, nullable=False),
        sa.Column("times", sa.BigInteger, nullable=False),
    )

    def prepare(self) -> None:
        c = self.scores.c
        who, points = sa.bindparam("new_who", type_=sa.Text), sa.bindparam("new_points", type_=sa.BigInteger)
        missing = sa.select(who, sa.literal(0), sa.literal(0)).where(~sa.exists().where(c.who == who))
        self.enter = self.scores.insert().from_select(["who", "points", "times"], missing)
        self.add = self.scores.update().where(c.who == who).values(points=c.points + points, times=c.times + 1)
        self.remove = self.scores.delete().where(c.who == who)

    @handles(Scored)
    def scored(self, event: Scored, changes: Changes) -> None:
        check(event.who)
        changes.execute(self.enter, {"new_who": event.who})
        changes.execute(self.add, {"new_who": event.who, "new_points": self.worth(event)})

    @handles(Left)
    def left(self, event: Left, changes: Changes) -> None:
        check(event.who)
        changes.execute(self.remove, {"new_who": event.who})

    def worth(self, event: Scored) -> int:
        return event.points


class DoubledScores(Scores):
    """The second version: points count twice."""

    name = "scores"
    version = 2

    def worth(self, event: Scored) -> int:
        return 2 * event.points


class Trails(Projection):
    """What each player scored, in order; each event looks up what those before it made, so that order and loss show."""

    retry = AT_ONCE
    independent_keys = True
    most_parked = 3
    trails = sa.Table(
        "reacting_trails",
        sa.MetaData(),
        sa.Column("who", sa.Text, primary_key=True),
        sa.Column("trail", sa.Text, nullable=False),
    )

    @handles(Scored)
    def scored(self, event: Scored, changes: Changes) -> None:
        check(event.who)
        mine = self.trails.c.who == event.who
        before = changes.fetch(sa.select(self.trails.c.trail).where(mine))
        changes.execute(self.trails.delete().where(mine))
        check(f"{event.who}{event.points}")
        trail = f"{before[0].trail if before else ''}{event.points} "
        changes.execute(self.trails.insert().values(who=event.who, trail=trail))


class SharedTrails(Trails):
    """The same, dealt among partitions."""

    partitions = 4
    trails = Trails.trails.to_metadata(sa.MetaData(), name="reacting_shared_trails")


class Player(msgspec.Struct, frozen=True):
    points: int = 0
    times: int = 0

    @property
    def average(self) -> float:
        return self.points / self.times if self.times else 0.0


class Players(DocumentView[Player]):
    """A document for each player, by a handler with a key; it is gone when the player left."""

    retry = AT_ONCE
    indexed: ClassVar[Sequence[str]] = ("points", "average")

    @handles(Scored, key="who")
    def scored(self, event: Scored, player: Player | None) -> Player:
        check(event.who)
        before = player or Player()
        return Player(before.points + event.points, before.times + 1)

    @handles(Left, key=lambda event: event.who)
    def left(self, event: Left, player: Player | None) -> Player | None:
        return None


class Scoring(Decider[Any, Player, Any]):
    """Folds the events of one player."""

    initial = Player()

    def evolve(self, state: Player, event: Any) -> Player:
        match event:
            case Scored(_, points):
                return Player(state.points + points, state.times + 1)
            case _:
                return self.initial


def scored(who: str, *points: int) -> list[Scored]:
    return [Scored(who, one) for one in points]


def expected_scores(store: EventStore, factor: int = 1, to: int | None = None) -> dict[str, tuple[int, int]]:
    """What `Scores` has to hold, folded in plain Python."""
    found: dict[str, tuple[int, int]] = {}
    for recorded in store.read_all(to=to):
        match recorded.event:
            case Scored(who, points):
                before = found.get(who, (0, 0))
                found[who] = (before[0] + factor * points, before[1] + 1)
            case Left(who):
                found.pop(who, None)
    return found


def scores(app: Application, projection: type[Scores] = Scores) -> dict[str, tuple[int, int]]:
    with app.reading(projection) as view:
        return {row.who: (row.points, row.times) for row in view.execute(sa.select(projection.scores))}


def trails(app: Application, projection: type[Trails] = Trails) -> dict[str, list[int]]:
    with app.reading(projection) as view:
        found = view.execute(sa.select(projection.trails))
        return {row.who: [int(one) for one in row.trail.split()] for row in found}


def caught_up(app: Application, projection: Any) -> None:
    assert app.wait_for(projection, app.store.head(), PATIENCE)


def status(app: Application, version: int = 1, build: int = 0) -> Status:
    (found,) = [one for one in app.administration.status() if (one.version, one.build) == (version, build)]
    return found


def is_serving(app: Application, version: int = 1, build: int = 0) -> bool:
    states = {(one.version, one.build): one.state for one in app.administration.status()}
    return states.get((version, build)) == "serving"


def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds, or fail."""
    ended = Signal()
    timer = Timer(PATIENCE, ended.set)
    timer.start()
    try:
        while not condition():
            assert not ended.wait(0.002), "it did not come to pass"
    finally:
        timer.cancel()
