"""Views: exact after stop and start, rebuilt beside live traffic, holding back what cannot be handled, and waited for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest
import sqlalchemy as sa

from sacho import Decider, Event, RawEvent, own_writes
from sacho.deciding import Retry
from sacho.errors import (
    ConsumerStopped,
    DuplicateConsumer,
    ForeignCheckpoint,
    InvalidConsumer,
    KeyParked,
    ProjectionChanged,
    ViewNotReady,
)
from sacho.reacting import (
    Application,
    Changes,
    Consumer,
    Delivery,
    Documents,
    DocumentView,
    EntityView,
    HandledIds,
    Projection,
    fold,
    handles,
)
from tests.conftest import ENGINES

AT_ONCE = Retry(attempts=2, first_pause=0.001, longest_pause=0.001)
PATIENCE = 120.0


class Put(Event, type="ViewsPut"):
    shelf: str
    what: str
    pieces: int


class Cleared(Event, type="ViewsCleared"):
    shelf: str


class Stock(Projection):
    """How many pieces of what stand on which shelf. A shelf is cleared by deleting its rows; `broken` fails."""

    retry = AT_ONCE
    broken: ClassVar[set[str]] = set()
    stock = sa.Table(
        "stock",
        sa.MetaData(),
        sa.Column("shelf", sa.Text, primary_key=True),
        sa.Column("what", sa.Text, primary_key=True),
        sa.Column("pieces", sa.BigInteger, nullable=False),
    )

    @handles(Put)
    def put(self, event: Put, changes: Changes) -> None:
        if event.what in self.broken:
            raise ValueError(f"{event.what} does not fit")
        c = self.stock.c
        there = sa.and_(c.shelf == event.shelf, c.what == event.what)
        if changes.fetch(sa.select(c.pieces).where(there)):
            changes.execute(self.stock.update().where(there).values(pieces=c.pieces + event.pieces))
        else:
            changes.execute(self.stock.insert().values(shelf=event.shelf, what=event.what, pieces=event.pieces))

    @handles(Cleared)
    def cleared(self, event: Cleared, changes: Changes) -> None:
        changes.execute(self.stock.delete().where(self.stock.c.shelf == event.shelf))


class ParkingStock(Stock):
    """The same, where shelves are independent of each other."""

    independent_keys = True
    most_parked = 2
    partitions = 3
    stock = Stock.stock.to_metadata(sa.MetaData(), name="parking_stock")


def rows(app: Application, projection: type[Stock] = Stock) -> dict[tuple[str, str], int]:
    with app.reading(projection) as view:
        found = view.execute(sa.select(projection.stock))
        return {(row.shelf, row.what): row.pieces for row in found}


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, url_of: Callable[[str], str]) -> str:
    return url_of(request.param)


@pytest.fixture(autouse=True)
def nothing_is_broken() -> Iterator[None]:
    Stock.broken.clear()
    yield
    Stock.broken.clear()


@contextmanager
def running(url: str, *consumers: type[Consumer]) -> Iterator[Application]:
    with Application(url, consumers=consumers) as app, app.running():
        yield app


def caught_up(app: Application, projection: type[Consumer]) -> None:
    assert app.wait_for(projection, app.store.head(), PATIENCE)


def test_lookups_see_what_earlier_events_changed_and_rows_can_be_deleted(url: str) -> None:
    with running(url, Stock) as app:
        app.store.append("shelf-a", [Put("a", "tea", 1)] * 5 + [Put("b", "tea", 2), Put("b", "rum", 1)])
        app.store.append("shelf-b", [Cleared("b"), Put("b", "tea", 4)])
        caught_up(app, Stock)
        assert rows(app) == {("a", "tea"): 5, ("b", "tea"): 4}


def test_after_a_stop_it_goes_on_where_it_was(url: str) -> None:
    with Application(url, consumers=[Stock]) as app:
        for _ in range(3):
            app.store.append("shelf-a", [Put("a", "tea", 1)] * 4)
            app.run(once=True)
        assert rows(app) == {("a", "tea"): 12}


def test_a_view_may_live_in_another_database(url: str, tmp_path: Path) -> None:
    with Application(url, consumers=[Stock], views=f"sqlite:///{tmp_path}/views.db") as app:
        app.store.append("shelf-a", [Put("a", "tea", 1)])
        app.run(once=True)
        assert rows(app) == {("a", "tea"): 1}


def test_a_view_that_was_never_built_says_so(url: str) -> None:
    with Application(url, consumers=[Stock]) as app, pytest.raises(ViewNotReady, match="sacho run"):
        rows(app)


def test_a_request_waits_for_its_own_writes(url: str) -> None:
    with running(url, Stock) as app:
        with own_writes() as own:
            app.store.append("shelf-a", [Put("a", "tea", 1)])
        assert app.wait_for(Stock, own.position, PATIENCE)
        assert rows(app) == {("a", "tea"): 1}


def test_waiting_ends_at_once_where_nothing_concerns_the_view(url: str) -> None:
    with Application(url, consumers=[Stock]) as app:
        app.run(once=True)
        done = app.store.append("else-1", [RawEvent("SomethingElse", {})])
        assert app.wait_for(Stock, done.position, 0.0)
        done = app.store.append("shelf-a", [Put("a", "tea", 1)])
        assert not app.wait_for(Stock, done.position, 0.0)


# --- poison events ------------------------------------------------------------------------------------


def test_a_poison_event_stops_the_consumer_there_until_it_is_tried_again(url: str) -> None:
    Stock.broken.add("egg")
    with running(url, Stock) as app:
        app.store.append("shelf-a", [Put("a", "tea", 1), Put("a", "egg", 1), Put("a", "tea", 1)])
        with pytest.raises(ConsumerStopped, match="egg does not fit"):
            app.wait_for(Stock, app.store.head(), PATIENCE)
        (parked,) = app.administration.parked(Stock)
        assert (parked.position, parked.key, parked.attempts) == (2, "shelf-a", 2)
        Stock.broken.clear()
        assert app.administration.retry(Stock) == 1
        _wait_until(lambda: not app.administration.parked(Stock))
        caught_up(app, Stock)
        assert rows(app) == {("a", "tea"): 2, ("a", "egg"): 1}


def test_where_keys_are_independent_only_the_poisoned_one_is_held_back(url: str) -> None:
    ParkingStock.broken.add("egg")
    with running(url, ParkingStock) as app:
        caught_up(app, ParkingStock)
        app.store.append("shelf-a", [Put("a", "egg", 1)])
        held = app.store.append("shelf-a", [Put("a", "tea", 1)])
        app.store.append("shelf-b", [Put("b", "tea", 1)])
        caught_up(app, ParkingStock)
        with pytest.raises(KeyParked, match="shelf-a"):
            app.wait_for(ParkingStock, held.position, PATIENCE)
        assert rows(app, ParkingStock) == {("b", "tea"): 1}
        assert [(one.position, one.error is None) for one in app.administration.parked(ParkingStock)] == [
            (1, False),
            (2, True),
        ]
        ParkingStock.broken.clear()
        app.administration.retry(ParkingStock, 1)
        _wait_until(lambda: not app.administration.parked(ParkingStock))
        assert rows(app, ParkingStock) == {("a", "egg"): 1, ("a", "tea"): 1, ("b", "tea"): 1}


def test_the_consumer_stops_before_it_parks_everything(url: str) -> None:
    ParkingStock.broken.add("egg")
    with running(url, ParkingStock) as app:
        caught_up(app, ParkingStock)
        for number in range(9):
            app.store.append(f"shelf-{number}", [Put(str(number), "egg", 1)])
        with pytest.raises(ConsumerStopped, match="most_parked"):
            app.wait_for(ParkingStock, app.store.head(), PATIENCE)


def test_a_dropped_event_is_left_out_and_the_next_go_on(url: str) -> None:
    ParkingStock.broken.add("egg")
    with running(url, ParkingStock) as app:
        caught_up(app, ParkingStock)
        app.store.append("shelf-a", [Put("a", "egg", 1), Put("a", "tea", 1)])
        _wait_until(lambda: len(app.administration.parked(ParkingStock)) == 2)
        app.administration.drop(ParkingStock, 1)
        _wait_until(lambda: not app.administration.parked(ParkingStock))
        assert rows(app, ParkingStock) == {("a", "tea"): 1}


def test_an_event_that_does_not_fit_its_class_is_poison(url: str) -> None:
    with running(url, Stock) as app:
        app.store.append("shelf-a", [Put("a", "tea", 1)])
        app.store.append("shelf-a", [RawEvent("ViewsPut", {"shelf": 7})])
        with pytest.raises(ConsumerStopped, match="UndecodableEvent"):
            app.wait_for(Stock, app.store.head(), PATIENCE)


class Unique(Projection):
    """Inserts what may be there already."""

    retry = AT_ONCE
    seen = sa.Table("seen", sa.MetaData(), sa.Column("what", sa.Text, primary_key=True))

    @handles(Put)
    def put(self, event: Put, changes: Changes) -> None:
        changes.execute(self.seen.insert(), {"what": event.what})


def test_the_one_event_that_the_database_refuses_is_found_in_a_batch(url: str) -> None:
    with Application(url, consumers=[Unique]) as app:
        things = [Put("a", f"thing {number}", 1) for number in range(50)]
        app.store.append("shelf-a", [*things[:30], things[3], *things[30:]])
        with pytest.raises(ConsumerStopped, match="position 31"):
            app.run(once=True)


# --- building beside ----------------------------------------------------------------------------------


class CountedStock(Stock):
    """A second version: counts each piece twice."""

    name = "stock"
    version = 2

    @handles(Put)
    def put(self, event: Put, changes: Changes) -> None:
        super().put(Put(event.shelf, event.what, 2 * event.pieces), changes)


def test_a_new_version_takes_over_at_once_and_can_be_gone_back_from(url: str) -> None:
    with Application(url, consumers=[Stock]) as app:
        app.store.append("shelf-a", [Put("a", "tea", 1)] * 300)
        app.run(once=True)
    if url == "memory://":
        return  # nothing of it is left
    with Application(url, consumers=[Stock, CountedStock]) as app:
        stopping, seen = threading.Event(), set()

        def read() -> None:
            while not stopping.is_set():
                with app.reading(Stock) as view:
                    seen.add(
                        (view.generation.version, view.position, view.execute(sa.select(Stock.stock)).one().pieces)
                    )

        reader = threading.Thread(target=read)
        reader.start()
        with app.running():
            for _ in range(20):
                app.store.append("shelf-a", [Put("a", "tea", 1)])
            _wait_until(lambda: any(one.version == 2 and one.state == "serving" for one in app.administration.status()))
            caught_up(app, CountedStock)
            stopping.set()
            reader.join()
            assert seen
            assert [one for one in seen if one[2] != one[0] * one[1]] == []
            assert rows(app) == {("a", "tea"): 640}


def test_the_same_version_is_built_again_beside_itself(url: str) -> None:
    with running(url, Stock) as app:
        app.store.append("shelf-a", [Put("a", "tea", 1)] * 10)
        caught_up(app, Stock)
        generation = app.administration.rebuild(Stock)
        _wait_until(
            lambda: any((one.build, one.state) == (generation.build, "serving") for one in app.administration.status())
        )
        assert rows(app) == {("a", "tea"): 10}
        assert app.administration.remove(Stock, 1, 0)
        app.store.append("shelf-a", [Put("a", "tea", 1)])
        caught_up(app, Stock)
        assert rows(app) == {("a", "tea"): 11}


# --- documents, entities, consumers -------------------------------------------------------------------


class Shelf(msgspec.Struct, frozen=True):
    """What stands on a shelf."""

    pieces: int = 0
    kinds: int = 0


class Shelves(DocumentView[Shelf]):
    """A document for each shelf; and for the largest put of all, by a handler without a key."""

    indexed = ("pieces",)

    @handles(Put, key="shelf")
    def put(self, event: Put, shelf: Shelf | None) -> Shelf:
        before = shelf or Shelf()
        return Shelf(before.pieces + event.pieces, before.kinds + 1)

    @handles(Cleared)
    def cleared(self, event: Cleared, shelves: Documents[Shelf]) -> None:
        for key, shelf in shelves.find(self.view.c.pieces > 2):
            if key == event.shelf and shelf.pieces:
                shelves.delete(key)


def test_documents_are_put_found_by_column_and_deleted(url: str) -> None:
    with running(url, Shelves) as app:
        app.store.append("shelf-a", [Put("a", "tea", 3), Put("b", "tea", 1), Put("a", "rum", 1), Put("c", "rum", 9)])
        app.store.append("shelf-a", [Cleared("a"), Cleared("b")])
        caught_up(app, Shelves)
        with app.reading(Shelves) as view:
            found = {row.key: (row.document, row.pieces, row.as_of) for row in view.execute(sa.select(Shelves.view))}
        assert found == {"b": ('{"pieces":1,"kinds":1}', 1, 2), "c": ('{"pieces":9,"kinds":1}', 9, 4)}


class Pieces(Decider[object, Shelf, Put]):
    """Folds a shelf's pieces."""

    initial = Shelf()

    def evolve(self, state: Shelf, event: Put) -> Shelf:
        return Shelf(state.pieces + event.pieces, state.kinds) if isinstance(event, Put) else Shelf()


class ShelfStates(EntityView[Shelf]):
    """The state of each shelf."""

    decider = Pieces()
    category = "shelf"


def test_an_entity_view_keeps_what_the_decider_folds(url: str) -> None:
    with running(url, ShelfStates) as app:
        app.store.append("shelf-a", [Put("a", "tea", 3), Put("a", "tea", 1)])
        app.store.append("else-a", [Put("a", "tea", 7)])
        caught_up(app, ShelfStates)
        with app.reading(ShelfStates) as view:
            (row,) = view.execute(sa.select(ShelfStates.view))
        folded = fold(app.store, Pieces().evolve, Pieces.initial, "shelf-a")
        assert (row.key, msgspec.json.decode(row.document, type=Shelf)) == ("shelf-a", folded.state)
        assert fold(app.store, Pieces().evolve, Pieces.initial, "shelf-a", until=1).state.pieces == 3


class Heard(Consumer):
    """Hears what is put, in asyncio, and fails at first."""

    retry = AT_ONCE

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []

    @handles(Put)
    async def put(self, event: Put, delivery: Delivery) -> None:
        await asyncio.sleep(0)
        self.deliveries.append(delivery)
        if len(self.deliveries) == 1:
            raise ConnectionError("not yet")


def test_a_consumer_gets_an_event_again_under_the_same_message_id(url: str) -> None:
    heard = Heard()
    with Application(url, consumers=[heard]) as app:
        app.store.append("shelf-a", [Put("a", "tea", 3)])
        app.run(once=True)
        first, second = heard.deliveries
        assert first == second
        app.prepare()
        ids = HandledIds("heard")
        with app.views.writing() as connection:
            assert [ids.is_new(connection, first), ids.is_new(connection, second)] == [True, False]


def test_a_slow_consumer_holds_up_neither_others_nor_writers(url: str) -> None:
    entered, goes_on = threading.Event(), threading.Event()

    class Slow(Consumer):
        @handles(Put)
        def put(self, event: Put, delivery: Delivery) -> None:
            entered.set()
            goes_on.wait(PATIENCE)

    with running(url, Slow, Stock) as app:
        app.store.append("shelf-a", [Put("a", "tea", 1)])
        assert entered.wait(PATIENCE)
        app.store.append("shelf-a", [Put("a", "tea", 1)])
        caught_up(app, Stock)
        goes_on.set()


# --- bad input ----------------------------------------------------------------------------------------


def test_a_handler_for_an_unknown_type_is_refused() -> None:
    class Lost(Projection):
        @handles("NoSuchType")
        def no(self, event: object, changes: Changes) -> None: ...

    with pytest.raises(InvalidConsumer, match="NoSuchType"):
        Application("memory://", consumers=[Lost])


def test_two_consumers_of_one_name_are_refused() -> None:
    with pytest.raises(DuplicateConsumer, match="stock"):
        Application("memory://", consumers=[Stock, Stock])


def test_a_changed_projection_without_a_new_version_is_refused_until_accepted(tmp_path: Path) -> None:
    class Changed(Stock):
        name = "stock"

        def another(self) -> None: ...

    with Application(f"sqlite:///{tmp_path}/log.db", consumers=[Stock]) as app:
        app.run(once=True)
    with Application(f"sqlite:///{tmp_path}/log.db", consumers=[Changed]) as app:
        with pytest.raises(ProjectionChanged, match="version = 2"):
            app.run(once=True)
        app.administration.accept("stock")
        app.run(once=True)


def test_a_restored_log_is_told_and_gone_on_from_its_end_when_accepted(tmp_path: Path) -> None:
    with Application(f"sqlite:///{tmp_path}/log.db", consumers=[Stock]) as app:
        app.store.append("shelf-a", [Put("a", "tea", 1)])
        app.run(once=True)
        app.store.storage.begin_epoch()
        with pytest.raises(ForeignCheckpoint, match="epoch 1"):
            app.run(once=True)
        app.administration.accept(Stock)
        app.run(once=True)


def _wait_until(condition: Callable[[], bool]) -> None:
    ends = threading.Event()
    timer = threading.Timer(PATIENCE, ends.set)
    timer.start()
    try:
        while not condition():
            assert not ends.is_set(), "it did not come to pass"
    finally:
        timer.cancel()
