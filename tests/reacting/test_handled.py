"""Handled ids: an effect in a database of one's own happens once, however often its event is delivered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa

from sacho.reacting import Delivery, HandledIds
from tests.reacting.conftest import Place
from tests.reacting.domain import scored

THREADS = 4


@pytest.fixture(params=["sqlite", "postgres"])
def engines(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], sa.Engine]]:
    """Give a function that makes an engine on one database, as another process would."""
    with ExitStack() as opened:
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path}/own.db"
        else:
            given: str = request.getfixturevalue("postgres_database_url")
            url = given.replace("postgresql://", "postgresql+psycopg://")

        def make() -> sa.Engine:
            engine = sa.create_engine(url)
            opened.callback(engine.dispose)
            return engine

        yield make


@pytest.fixture
def delivery(place: Place) -> Delivery:
    place.store.append("game-1", scored("ann", 1))
    return Delivery(next(iter(place.store.read("game-1"))), UUID(int=7))


def test_processes_that_start_at_once_all_find_the_table_made(engines: Callable[[], sa.Engine]) -> None:
    for _ in range(10):
        made = [engines() for _ in range(THREADS)]
        with made[0].begin() as connection:
            connection.exec_driver_sql("DROP TABLE IF EXISTS sacho_handled")
        errors: list[BaseException] = []
        together = threading.Barrier(THREADS)

        def make(
            engine: sa.Engine, errors: list[BaseException] = errors, together: threading.Barrier = together
        ) -> None:
            together.wait()
            try:
                HandledIds("heard").make_table(engine)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=make, args=(engine,)) for engine in made]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []


def test_an_id_is_noted_with_its_effect_or_not_at_all(engines: Callable[[], sa.Engine], delivery: Delivery) -> None:
    engine, ids = engines(), HandledIds("heard")
    ids.make_table(engine)
    with closing(engine.connect()) as connection:
        assert ids.is_new(connection, delivery)
        connection.rollback()
        assert ids.is_new(connection, delivery)
        connection.commit()
        assert not ids.is_new(connection, delivery)
        assert HandledIds("another").is_new(connection, delivery)
