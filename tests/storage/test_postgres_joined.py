"""Appends that join a transaction of the application."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

import sacho
from sacho import Append, AppendCondition, EventData, EventStore, Query, QueryItem, RawEvent
from sacho.errors import (
    AppendConditionFailed,
    DuplicateEventId,
    InvalidConnection,
    StorageError,
    StorageFailed,
    UnsupportedOperation,
    UnsupportedServer,
    WrongExpectedVersion,
)
from tests.postgres_server import fresh_schema

PAID = RawEvent("OrderPaid", {"amount": "10.00"})
SECONDS = 60


@pytest.fixture
def table(postgres_server_url: str) -> Iterator[str]:
    """A table of the application."""
    name = f"payments_{uuid4().hex}"
    with psycopg.connect(postgres_server_url, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE {name} (amount text)")
        yield name
        connection.execute(f"DROP TABLE {name}")


def events(store: EventStore) -> list[str]:
    return [recorded.type for recorded in store.read_all(raw=True)]


def rows(url: str, table: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        return row[0] if row else 0


def test_rows_and_events_commit_together(store: EventStore, table: str, postgres_server_url: str) -> None:
    with psycopg.connect(postgres_server_url) as connection:
        connection.execute(f"INSERT INTO {table} VALUES ('10.00')")
        done = store.joined(connection).append("orders-1", [PAID, PAID], expected=0)
        assert events(store) == []
    assert (done.version, done.position) == (2, store.head())
    assert events(store) == ["OrderPaid", "OrderPaid"]
    assert rows(postgres_server_url, table) == 1


def test_rows_and_events_are_rolled_back_together(store: EventStore, table: str, postgres_server_url: str) -> None:
    with psycopg.connect(postgres_server_url, row_factory=dict_row) as connection:
        connection.execute(f"INSERT INTO {table} VALUES ('10.00')")
        store.joined(connection).append_many([Append("orders-1", [PAID], 0), Append(None, [PAID])])
        connection.rollback()
    assert events(store) == []
    assert rows(postgres_server_url, table) == 0
    assert store.append("orders-1", [PAID], expected=0).version == 1


def test_a_savepoint_that_is_rolled_back_takes_its_append_with_it(store: EventStore, postgres_server_url: str) -> None:
    with psycopg.connect(postgres_server_url) as connection:
        joined = store.joined(connection)
        joined.append("orders-1", [RawEvent("Kept", None)])
        with connection.transaction(force_rollback=True):
            joined.append("orders-1", [RawEvent("Undone", None)])
        joined.append("orders-1", [RawEvent("Kept", None)], expected=1)
    assert events(store) == ["Kept", "Kept"]


def test_a_refused_append_leaves_the_transaction_to_be_used_on(store: EventStore, postgres_server_url: str) -> None:
    store.append("orders-1", [PAID])
    known = EventData(PAID, id=uuid4())
    store.append("orders-2", [known])
    anything = AppendCondition(Query(QueryItem(types=["OrderPaid"])))
    with psycopg.connect(postgres_server_url) as connection:
        joined = store.joined(connection)
        with pytest.raises(WrongExpectedVersion):
            joined.append_many([Append("orders-3", [PAID]), Append("orders-1", [PAID], 0)])
        with pytest.raises(AppendConditionFailed):
            joined.append("orders-1", [PAID], condition=anything)
        with pytest.raises(DuplicateEventId):
            joined.append("orders-1", [known])
        assert joined.append("orders-2", [known], expected=0).version == 1
        assert joined.append("orders-1", [PAID], expected=1).version == 2
    assert len(events(store)) == 3
    assert store.version("orders-3") == 0


def test_it_joins_connections_and_sessions_of_sqlalchemy(
    store: EventStore, table: str, postgres_server_url: str
) -> None:
    engine = create_engine(postgres_server_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(text(f"INSERT INTO {table} VALUES ('10.00')"))
        store.joined(connection).append("orders-1", [PAID], expected=0)
    with Session(engine) as session:
        session.execute(text(f"INSERT INTO {table} VALUES ('10.00')"))
        store.joined(session).append("orders-1", [PAID], expected=1)
        session.commit()
    with Session(engine) as session:
        store.joined(session).append("orders-1", [PAID], expected=2)
    engine.dispose()
    assert len(events(store)) == rows(postgres_server_url, table) == 2


def test_it_joins_asyncio_connections_and_sessions(postgres_url: str, table: str, postgres_server_url: str) -> None:
    async def use() -> list[int]:
        async with sacho.connect_async(postgres_url) as store:
            async with await psycopg.AsyncConnection.connect(postgres_server_url) as connection:
                await store.joined(connection).append("orders-1", [PAID], expected=0)
                with pytest.raises(WrongExpectedVersion):
                    await store.joined(connection).append_many([Append("orders-1", [PAID], 0)])
            engine = create_async_engine(postgres_server_url.replace("postgresql://", "postgresql+psycopg://"))
            async with engine.begin() as begun:
                await store.joined(begun).append("orders-1", [PAID], expected=1)
            async with AsyncSession(engine) as session:
                await store.joined(session).append("orders-1", [PAID], expected=2)
                await session.commit()
            await engine.dispose()
            return [recorded.version or 0 async for recorded in store.read("orders-1", raw=True)]

    assert asyncio.run(use()) == [1, 2, 3]


def test_a_listener_hears_when_the_transaction_commits(store: EventStore, postgres_server_url: str) -> None:
    with store.subscribe(raw=True) as live:
        assert live.next(timeout=0) is None
        with psycopg.connect(postgres_server_url) as connection:
            store.joined(connection).append("orders-1", [PAID])
        recorded = live.next(timeout=SECONDS)
    assert recorded is not None
    assert recorded.stream == "orders-1"


def test_others_append_meanwhile_and_readers_are_shown_it_afterwards(
    store: EventStore, postgres_server_url: str
) -> None:
    with psycopg.connect(postgres_server_url) as connection:
        store.joined(connection).append("orders-1", [RawEvent("Joined", None)])
        other = store.append("orders-2", [RawEvent("Other", None)], expected=0)
        assert [recorded.position for recorded in store.read("orders-2", raw=True)] == [other.position]
        assert store.version("orders-2") == 1
        assert events(store) == []
    assert events(store) == ["Joined", "Other"]


def test_a_transaction_that_idles_is_ended_and_holds_up_nobody(postgres_url: str, postgres_server_url: str) -> None:
    sacho.connect(postgres_url).close()  # it is made in a transaction, which would have to keep to the limit below
    with sacho.connect(f"{postgres_url}&joined_timeout=1") as store:
        connection = psycopg.connect(postgres_server_url)
        store.joined(connection).append("orders-1", [RawEvent("Joined", None)])
        store.append("orders-2", [RawEvent("Other", None)])
        with store.subscribe(raw=True) as live:
            recorded = live.next(timeout=SECONDS)
        assert recorded is not None
        assert recorded.type == "Other"
        assert store.append("orders-1", [PAID], expected=0).version == 1
        with pytest.raises(StorageError, match="nothing of the transaction was written"):
            store.joined(connection).append("orders-1", [PAID])
        connection.close()


def test_a_connection_without_a_transaction_is_refused(store: EventStore, postgres_server_url: str) -> None:
    with psycopg.connect(postgres_server_url, autocommit=True) as connection:
        with pytest.raises(InvalidConnection, match="no transaction is open"):
            store.joined(connection).append("orders-1", [PAID])
        with connection.transaction():
            store.joined(connection).append("orders-1", [PAID])
    assert len(events(store)) == 1


@pytest.mark.parametrize("level", [psycopg.IsolationLevel.REPEATABLE_READ, psycopg.IsolationLevel.SERIALIZABLE])
def test_a_transaction_that_would_not_see_others_is_refused(
    store: EventStore, postgres_server_url: str, level: psycopg.IsolationLevel
) -> None:
    """It decides by a snapshot of its beginning, so conditions and versions would not hold."""
    with psycopg.connect(postgres_server_url) as connection:
        connection.isolation_level = level
        with pytest.raises(UnsupportedServer, match="READ COMMITTED"):
            store.joined(connection).append("orders-1", [PAID])
    assert events(store) == []


def test_a_connection_to_another_log_is_refused(store: EventStore, postgres_server_url: str) -> None:
    with fresh_schema(postgres_server_url) as url, sacho.connect(url):
        pass
    with psycopg.connect(postgres_server_url, autocommit=True) as admin:
        name = f"other_{uuid4().hex}"
        admin.execute(f"CREATE DATABASE {name}")
        schema = store.url and store.storage.settings.schema  # type: ignore[attr-defined]  # the engine's
        elsewhere = f"{postgres_server_url.rpartition('/')[0]}/{name}"
        try:
            with sacho.connect(f"{elsewhere}?schema={schema}") as other, psycopg.connect(elsewhere) as connection:
                with pytest.raises(InvalidConnection, match="another log"):
                    store.joined(connection).append("orders-1", [PAID])
                connection.rollback()
                assert events(other) == []
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_connection_to_a_database_without_a_log_is_refused_and_may_be_used_on(
    store: EventStore, postgres_server_url: str
) -> None:
    elsewhere = f"{postgres_server_url.rpartition('/')[0]}/template1"
    with psycopg.connect(elsewhere) as connection:
        with pytest.raises(InvalidConnection, match="another log"):
            store.joined(connection).append("orders-1", [PAID])
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_joined_append_waits_no_longer_than_others_and_leaves_the_settings_alone(
    postgres_url: str, postgres_server_url: str
) -> None:
    with sacho.connect(f"{postgres_url}&timeout=0.1") as store:
        with psycopg.connect(postgres_server_url) as first, psycopg.connect(postgres_server_url) as second:
            store.joined(first).append("orders-1", [PAID])
            with pytest.raises(StorageFailed, match="roll it back"):
                store.joined(second).append("orders-1", [PAID])
            assert first.execute("SHOW lock_timeout").fetchone() == ("0",)
            first.rollback()
            second.rollback()


@pytest.mark.parametrize("connection", [None, "postgresql://", object()])
def test_what_is_no_connection_is_refused(store: EventStore, connection: object) -> None:
    with pytest.raises(InvalidConnection, match="psycopg 3"):
        store.joined(connection).append("orders-1", [PAID])


def test_connections_of_other_drivers_and_of_the_other_colour_are_refused(
    store: EventStore, postgres_server_url: str
) -> None:
    async def use() -> None:
        async with await psycopg.AsyncConnection.connect(postgres_server_url) as connection:
            with pytest.raises(InvalidConnection, match="connect_async"):
                store.joined(connection).append("orders-1", [PAID])

    asyncio.run(use())
    with create_engine("sqlite://").begin() as connection, pytest.raises(InvalidConnection, match="sqlite3"):
        store.joined(connection).append("orders-1", [PAID])


def test_the_same_ids_at_the_same_time_fail_the_transaction_with_a_clear_error(
    store: EventStore, postgres_server_url: str
) -> None:
    same = EventData(PAID, id=uuid4())
    with psycopg.connect(postgres_server_url) as connection:
        store.joined(connection).append("orders-1", [same])
        future = store.submit("orders-2", [same])
        connection.rollback()
    assert future.result(SECONDS)[0].version == 1
    with psycopg.connect(postgres_server_url) as first, psycopg.connect(postgres_server_url) as second:
        again = EventData(PAID, id=uuid4())
        store.joined(first).append("orders-3", [again])
        second.execute("SET LOCAL lock_timeout = '50ms'")
        with pytest.raises(StorageFailed, match="roll it back and try again"):
            store.joined(second).append("orders-4", [again])
        second.rollback()


@pytest.mark.parametrize("url", ["memory://", "sqlite:///{}/log.db"])
def test_engines_without_joined_appends_say_so(url: str, tmp_path: object) -> None:
    with sacho.connect(url.format(tmp_path)) as store:
        with pytest.raises(UnsupportedOperation, match="joined-appends"):
            store.joined(object())
    with pytest.raises(UnsupportedOperation, match="joined-appends"):
        sacho.connect("memory://", require={"joined-appends"})
