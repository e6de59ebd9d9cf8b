"""Inline views: what the conformance suite cannot see, of migrated logs, broken views, and transactions that fail."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy import create_engine, text

import sacho
from sacho import EventStore, RawEvent
from sacho.errors import (
    InlineViewFailed,
    InlineViewMissing,
    StorageBusy,
    StorageFailed,
    StorageFull,
    UnsupportedOperation,
)
from sacho.storage.port import Row, Storage
from sacho.storage.postgres import connecting
from sacho.storage.postgres import schema as postgres_schema
from sacho.storage.postgres.session import Session
from sacho.storage.sqlite import SqliteStorage
from sacho.storage.sqlite import schema as sqlite_schema
from sacho.testing.conformance.inline_views import Totals

NOTED = RawEvent("Noted", None)
Take = Callable[[Sequence[Row], Any], object]


class View:
    """A view that does what a test says."""

    name = "odd@1"
    types: frozenset[str] = frozenset({"Noted"})

    def __init__(self, take: Take) -> None:
        self._take = take

    def take(self, rows: Sequence[Row], connection: Any) -> None:
        self._take(rows, connection)


def keep(storage: Storage, *views: Any) -> None:
    """Attach and register views; totals with their tables."""

    def finish(_: int, raw: Any) -> None:
        for view in views:
            if isinstance(view, Totals):
                view.make(raw)

    storage.attach(views)
    storage.register_inline([view.name for view in views], finish)


def keep_totals(storage: Storage) -> Totals:
    totals = Totals(storage)
    keep(storage, totals)
    return totals


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def file(path: Path) -> Iterator[EventStore]:
    """A store on a file."""
    with sacho.connect(f"sqlite:///{path}") as store:
        yield store


def schema_of(url: str) -> str:
    return url.rpartition("schema=")[2]


# --- SQLite -------------------------------------------------------------------------------------------


def test_a_file_of_the_first_schema_is_migrated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        first = sqlite_schema.migrations()[:1]
        patch.setattr(sqlite_schema, "migrations", lambda: first)
        SqliteStorage(path).close()
    with sqlite3.connect(path) as raw:
        assert raw.execute("PRAGMA user_version").fetchone() == (1,)
        raw.execute(
            "INSERT INTO event_rows VALUES (1, 'a-1', 1, 'Noted', 1, '{}', randomblob(16), NULL, NULL, NULL, 1)"
        )
    raw.close()
    with sacho.connect(f"sqlite:///{path}") as store:
        assert store.storage.inline_views() == ()
        assert store.append("a-1", [NOTED], expected=1).position == 2
        totals = keep_totals(store.storage)
        store.append("a-1", [NOTED])
        assert totals.row() == (1, 3)


def test_an_append_that_no_view_takes_is_one_statement(file: EventStore) -> None:
    keep(file.storage, View(lambda *_: pytest.fail("nothing was to be taken")))
    file.append("a-1", [RawEvent("Other", None)])
    statements: list[str] = []
    file.storage._writer.connection.set_trace_callback(statements.append)  # type: ignore[attr-defined]  # the engine's
    file.append("a-1", [RawEvent("Other", None)])
    assert [statement.split()[0] for statement in statements if not statement.startswith("--")] == ["INSERT"]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO log (one) VALUES (1)",
        "INSERT OR ROLLBACK INTO log (one) VALUES (1)",
        "SELECT nothing",
        "UPDATE event_rows SET type = 'x'",
    ],
)
def test_what_sqlite_says_to_a_view_is_the_views_failure(file: EventStore, statement: str) -> None:
    """And no damage of the log, even where the view's statement has rolled back the transaction by itself."""
    keep(file.storage, View(lambda _, raw: raw.execute(statement)))
    with pytest.raises(InlineViewFailed) as error:
        file.append("a-1", [NOTED])
    assert isinstance(error.value.__cause__, sqlite3.Error)
    file.append("a-1", [RawEvent("Other", None)], expected=0)
    assert [one.type for one in file.read_all(raw=True)] == ["Other"]


def test_a_full_disk_is_told_as_such_though_a_view_has_met_it(file: EventStore) -> None:
    def fill(_: Sequence[Row], raw: sqlite3.Connection) -> None:
        raw.execute(f"PRAGMA max_page_count = {raw.execute('PRAGMA page_count').fetchone()[0] + 10}")
        try:
            raw.execute("CREATE TABLE big AS SELECT zeroblob(1000000)")
        except sqlite3.Error as error:
            raise RuntimeError("wrapped, as libraries do") from error

    keep(file.storage, View(fill))
    with pytest.raises(StorageFull):
        file.append("a-1", [NOTED])
    assert file.head() == 0


@pytest.mark.parametrize("statement", ["COMMIT", "ROLLBACK"])
def test_a_view_that_ends_the_transaction_of_sqlite_is_found_out(file: EventStore, statement: str) -> None:
    """What became of the append is open then; its ids tell."""
    keep(file.storage, View(lambda _, raw: raw.execute(statement)))
    with pytest.raises(StorageFailed, match="ended the append's transaction") as error:
        file.append("a-1", [NOTED])
    assert error.value.may_have_happened
    file.append("a-2", [RawEvent("Other", None)])
    assert len(list(file.read_all(raw=True))) == (2 if statement == "COMMIT" else 1)


def test_a_deferred_constraint_of_a_view_is_the_views_failure(file: EventStore) -> None:
    keep(file.storage, View(lambda _, raw: raw.execute("INSERT INTO child VALUES (1)")))
    raw = file.storage._writer.connection  # type: ignore[attr-defined]  # the engine's
    raw.execute("PRAGMA foreign_keys = ON")
    raw.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
    raw.execute("CREATE TABLE child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(InlineViewFailed, match="FOREIGN KEY"):
        file.append("a-1", [NOTED])
    assert file.head() == 0


@pytest.mark.parametrize("statement", ["COMMIT", "ROLLBACK"])
def test_a_registration_whose_transaction_was_ended_is_none(file: EventStore, statement: str) -> None:
    with pytest.raises(StorageFailed, match="nothing was registered"):
        file.storage.register_inline(["odd@1"], lambda _, raw: raw.execute(statement))
    assert file.storage.inline_views() == ()


# --- PostgreSQL: older and other processes --------------------------------------------------------------

OLD_APPEND = """
SELECT outcome, version, position FROM {schema}.append(ARRAY[{all_shared}]::bigint[], ARRAY[1], ARRAY[0], ARRAY[false],
    ARRAY[NULL]::bigint[], ARRAY[NULL]::text[], ARRAY['a-1'], ARRAY[NULL]::bigint[], ARRAY[1], ARRAY[gen_random_uuid()],
    ARRAY['Noted'], ARRAY[1], ARRAY['null'], ARRAY[NULL]::text[], ARRAY[NULL]::text[], ARRAY[NULL]::text[],
    ARRAY[]::integer[], ARRAY[]::text[], false, true, false, false, 1000, NULL)
"""
"""An append as processes of the first schema make it."""


def old_append(url: str) -> str:
    return OLD_APPEND.format(schema=schema_of(url), all_shared=1982915514)


def test_a_schema_of_the_first_kind_is_migrated_while_others_append(
    postgres_url: str, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They go on while there are no views, and are refused with a clear error from then on."""
    with monkeypatch.context() as patch:
        first = postgres_schema.migrations()[:1]
        patch.setattr(postgres_schema, "migrations", lambda: first)
        sacho.connect(postgres_url).close()
    assert admin.execute(old_append(postgres_url)).fetchone() == (0, 1, 1)
    with sacho.connect(postgres_url) as store:
        assert admin.execute(old_append(postgres_url)).fetchone() == (0, 2, 2)
        assert store.append("a-1", [NOTED], expected=2).position == 3
        totals = keep_totals(store.storage)
        with pytest.raises(psycopg.errors.RestrictViolation, match="upgrade sacho"):
            admin.execute(old_append(postgres_url))
        store.append("a-1", [NOTED], expected=3)
        store.storage.register_inline([], lambda *_: None)
        assert admin.execute(old_append(postgres_url)).fetchone() == (0, 5, 5)
        assert totals.row() == (1, 4)


def test_an_old_append_that_was_under_way_at_the_migration_leaves_no_hole(
    postgres_url: str, admin: psycopg.Connection
) -> None:
    """It says that it inserts, and compares nothing; the guard of inserts does."""
    with sacho.connect(postgres_url) as store:
        keep_totals(store.storage)
        with admin.transaction():
            admin.execute("SELECT set_config('sacho.appending', 'yes', true)")
            insert = f"INSERT INTO {schema_of(postgres_url)}.event_tags VALUES ('a:b', 1)"
            with pytest.raises(psycopg.errors.RestrictViolation), admin.transaction():
                admin.execute(insert)
        store.storage.register_inline([], lambda *_: None)
        with admin.transaction(force_rollback=True):
            admin.execute("SELECT set_config('sacho.appending', 'yes', true)")
            admin.execute(insert)


def test_a_registration_that_was_rolled_back_costs_a_look_and_nothing_else(
    store: EventStore, postgres_url: str, admin: psycopg.Connection
) -> None:
    """The sequence that tells of changes has moved; the table has the last word."""
    totals = keep_totals(store.storage)
    with admin.transaction(force_rollback=True):
        admin.execute(f"SELECT {schema_of(postgres_url)}.register_inline(1982915514, 'x')")
    store.append("a-1", [NOTED])
    with sacho.connect(postgres_url) as other:
        other.storage.attach([totals])
        other.append("a-1", [NOTED])
    assert totals.row() == (2, store.head())


def test_a_writer_may_register_and_write_views(store: EventStore, postgres_url: str, admin: psycopg.Connection) -> None:
    """It is who runs the application, in a schema of its own for the tables; a reader may not."""
    schema = schema_of(postgres_url)
    roles = store.storage.make_roles()
    totals = Totals(store.storage)
    totals.make(admin)
    admin.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {roles[1]}")
    for role in roles:
        admin.execute(f"ALTER ROLE {role} LOGIN PASSWORD '{role}'")
    reader, writer = (f"postgresql://{role}:{role}@{postgres_url.rpartition('@')[2]}" for role in roles)
    with sacho.connect(writer) as log:
        log.storage.attach([totals])
        log.storage.register_inline([totals.name], lambda *_: None)
        log.append("a-1", [NOTED])
    assert totals.row() == (1, 1)
    with sacho.connect(reader) as log:
        assert log.storage.inline_views() == (totals.name,)
        with pytest.raises(sacho.errors.MissingRights):
            log.storage.register_inline([], lambda *_: None)
    for role in roles:
        admin.execute(f"DROP OWNED BY {role}")
        admin.execute(f"DROP ROLE {role}")


def test_a_registration_waits_for_appends_under_way_no_longer_than_it_may(
    postgres_url: str, postgres_server_url: str
) -> None:
    with sacho.connect(f"{postgres_url}&timeout=0.1") as store, psycopg.connect(postgres_server_url) as connection:
        store.joined(connection).append("a-1", [NOTED])
        with pytest.raises(StorageBusy):
            store.storage.register_inline(["odd@1"], lambda *_: None)
        connection.rollback()
        store.storage.register_inline(["odd@1"], lambda *_: None)
        with pytest.raises(InlineViewMissing):
            store.append("a-1", [NOTED])


def test_views_are_written_behind_a_pooler_too(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is set for the session, and nothing prepared."""
    monkeypatch.setattr(connecting, "is_pooled", lambda _: True)
    with sacho.connect(postgres_url) as store:
        totals = keep_totals(store.storage)
        idle: list[Any] = []
        watching = View(lambda _, raw: idle.append(raw.execute("SHOW idle_in_transaction_session_timeout").fetchone()))
        keep_both = [totals.name, watching.name]
        store.storage.attach([watching])
        store.storage.register_inline(keep_both, lambda *_: None)
        for version in range(3):
            store.append("a-1", [NOTED, NOTED], expected=2 * version)
        assert totals.row() == (6, store.head())
        assert idle == [("5s",)] * 3


# --- PostgreSQL: views that fail ------------------------------------------------------------------------


def hide_an_error(_: Sequence[Row], raw: psycopg.Connection) -> None:
    try:
        raw.execute("SELECT nothing")
    except psycopg.Error:
        pass


@pytest.mark.parametrize(
    "take",
    [
        lambda _, raw: raw.execute("SELECT nothing"),
        lambda _, raw: raw.execute("INSERT INTO no_table VALUES (1)"),
        lambda _, raw: raw.execute("SELECT 1 / 0"),
        hide_an_error,
    ],
)
def test_what_postgresql_says_to_a_view_is_the_views_failure(store: EventStore, take: Take) -> None:
    keep(store.storage, View(take))
    with pytest.raises(InlineViewFailed):
        store.append("a-1", [NOTED])
    store.append("a-1", [RawEvent("Other", None)], expected=0)
    assert [one.type for one in store.read_all(raw=True)] == ["Other"]


@pytest.mark.parametrize("take", [lambda _, raw: raw.commit(), lambda _, raw: raw.rollback()])
def test_a_view_that_ends_the_transaction_of_postgresql_is_found_out(store: EventStore, take: Take) -> None:
    keep(store.storage, View(take))
    with pytest.raises(StorageFailed, match="ended the append's transaction") as error:
        store.append("a-1", [NOTED])
    assert error.value.may_have_happened
    assert store.append("a-2", [RawEvent("Other", None)]).version == 1


def test_a_deferred_constraint_is_the_views_failure(store: EventStore, postgres_url: str) -> None:
    table = f"{schema_of(postgres_url)}.once"

    def finish(_: int, raw: psycopg.Connection) -> None:
        raw.execute(f"CREATE TABLE {table} (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")

    view = View(lambda _, raw: raw.execute(f"INSERT INTO {table} VALUES (1)"))
    store.storage.attach([view])
    store.storage.register_inline([view.name], finish)
    store.append("a-1", [NOTED])
    with pytest.raises(InlineViewFailed, match="duplicate key"):
        store.append("a-1", [NOTED])
    assert store.head() == 1


def test_a_view_cannot_insert_events_itself(store: EventStore, postgres_url: str) -> None:
    """The way is open within the append function alone."""
    insert = f"INSERT INTO {schema_of(postgres_url)}.event_tags VALUES ('a:b', 1)"
    keep(store.storage, View(lambda _, raw: raw.execute(insert)))
    for events in ([NOTED], [NOTED, NOTED]):
        with pytest.raises(InlineViewFailed, match="appended by Sacho only"):
            store.append("a-1", events)


# --- PostgreSQL: transactions that fail -----------------------------------------------------------------


class Once:
    """Does something at the first call only."""

    def __init__(self, work: Take) -> None:
        self.work = work
        self.calls = 0

    def __call__(self, rows: Sequence[Row], raw: Any) -> None:
        self.calls += 1
        if self.calls == 1:
            self.work(rows, raw)


def wrapped(error: Exception) -> Take:
    def take(*_: object) -> None:
        raise RuntimeError("as a library wraps it") from error

    return take


@pytest.mark.parametrize("error", [psycopg.errors.SerializationFailure(), psycopg.errors.DeadlockDetected()])
def test_what_passes_is_tried_again(store: EventStore, error: Exception) -> None:
    once = Once(wrapped(error))
    totals = Totals(store.storage)
    keep(store.storage, View(once), totals)
    store.append("a-1", [NOTED])
    assert once.calls == 2
    assert totals.row() == (1, store.head())


def test_views_that_lock_each_other_out_are_tried_again(
    store: EventStore, postgres_url: str, admin: psycopg.Connection
) -> None:
    """Two appends whose views take the same rows in another order: both succeed in the end."""
    table = f"{schema_of(postgres_url)}.rows"
    admin.execute(f"CREATE TABLE {table} AS SELECT n, 0 AS taken FROM generate_series(1, 2) n")
    both = threading.Barrier(2)

    def taking(first: int) -> Take:
        met: list[bool] = []

        def take(_: Sequence[Row], raw: psycopg.Connection) -> None:
            raw.execute(f"UPDATE {table} SET taken = taken + 1 WHERE n = {first}")
            if not met:
                met.append(True)
                both.wait(60)
            raw.execute(f"UPDATE {table} SET taken = taken + 1 WHERE n = {3 - first}")

        return take

    with sacho.connect(postgres_url) as other:
        other.storage.attach([View(taking(2))])
        keep(store.storage, View(taking(1)))
        future = other.submit("b-1", [NOTED])
        store.append("a-1", [NOTED])
        future.result(60)
    assert admin.execute(f"SELECT taken FROM {table}").fetchall() == [(2,), (2,)]


def test_a_connection_that_is_lost_within_a_view_is_made_anew(store: EventStore, admin: psycopg.Connection) -> None:
    """The events are written once, and so is the view."""
    once = Once(
        lambda _, raw: (
            admin.execute("SELECT pg_terminate_backend(%s)", (raw.info.backend_pid,)),
            raw.execute("SELECT 1"),
        )
    )
    totals = Totals(store.storage)
    keep(store.storage, View(once), totals)
    assert store.append("a-1", [NOTED], expected=0).version == 1
    assert once.calls == 2
    assert (totals.row(), store.head()) == ((1, store.head()), store.version("a-1") and store.head())


@pytest.mark.parametrize("is_committed", [True, False])
def test_a_commit_whose_end_is_unknown_is_settled(
    store: EventStore, monkeypatch: pytest.MonkeyPatch, is_committed: bool
) -> None:
    """Whether it was committed or not, events and views are there once."""
    totals = keep_totals(store.storage)
    commits: list[Session] = []
    commit = Session.commit

    def lost(session: Session) -> None:
        commits.append(session)
        if len(commits) == 1:
            if is_committed:
                commit(session)
            session.close()
            raise psycopg.OperationalError("the connection was lost")
        commit(session)

    monkeypatch.setattr(Session, "commit", lost)
    assert store.append("a-1", [NOTED, NOTED], expected=0).version == 2
    assert totals.row() == (2, store.head())
    assert len(list(store.read_all(raw=True))) == 2


# --- PostgreSQL: joined appends -------------------------------------------------------------------------


def test_a_joined_append_writes_the_views_in_its_transaction(store: EventStore, postgres_server_url: str) -> None:
    totals = keep_totals(store.storage)
    engine = create_engine(postgres_server_url.replace("postgresql:", "postgresql+psycopg:"))
    with psycopg.connect(postgres_server_url, row_factory=dict_row) as connection:
        store.joined(connection).append("a-1", [NOTED, NOTED])
        assert totals.row() == (0, 0)
        assert connection.execute("SELECT 1 AS one").fetchone() == {"one": 1}
    assert totals.row() == (2, store.head())
    with engine.connect() as session, session.begin() as transaction:
        store.joined(session).append("a-1", [NOTED])
        transaction.rollback()
    assert totals.row() == (2, store.head())
    with engine.begin() as session:
        store.joined(session).append("a-1", [NOTED])
        assert session.execute(text("SELECT 1")).scalar() == 1
    engine.dispose()
    assert totals.seen[:2] + totals.seen[-1:] == [
        row
        for page in store.storage.read_all(sacho.Query(), after=0, to=99, limit=None, backwards=False)
        for row in page
    ]
    assert totals.row() == (3, store.head())


def test_a_failing_view_undoes_the_joined_append_and_leaves_the_transaction(
    store: EventStore, postgres_url: str, postgres_server_url: str, admin: psycopg.Connection
) -> None:
    admin.execute(f"CREATE TABLE {schema_of(postgres_url)}.mine (n int)")
    keep(store.storage, View(lambda _, raw: raw.execute("SELECT nothing")))
    with psycopg.connect(postgres_server_url) as connection:
        connection.execute(f"INSERT INTO {schema_of(postgres_url)}.mine VALUES (1)")
        with pytest.raises(InlineViewFailed):
            store.joined(connection).append("a-1", [NOTED])
        store.joined(connection).append("a-1", [RawEvent("Other", None)], expected=0)
    assert [one.type for one in store.read_all(raw=True)] == ["Other"]
    assert admin.execute(f"SELECT n FROM {schema_of(postgres_url)}.mine").fetchall() == [(1,)]


def test_what_passes_is_for_the_joined_transaction_to_try_again(store: EventStore, postgres_server_url: str) -> None:
    keep(store.storage, View(wrapped(psycopg.errors.DeadlockDetected())))
    with psycopg.connect(postgres_server_url) as connection:
        with pytest.raises(StorageFailed, match="roll it back and try again"):
            store.joined(connection).append("a-1", [NOTED])
        connection.rollback()
    assert store.head() == 0


def test_a_joined_append_without_the_view_is_refused_and_leaves_the_transaction(
    store: EventStore, postgres_url: str, postgres_server_url: str
) -> None:
    keep_totals(store.storage)
    with sacho.connect(postgres_url) as other, psycopg.connect(postgres_server_url) as connection:
        with pytest.raises(InlineViewMissing):
            other.joined(connection).append("a-1", [NOTED])
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_joined_append_over_asyncio_is_refused_where_a_view_is_concerned(
    store: EventStore, postgres_url: str, postgres_server_url: str
) -> None:
    """Where none is, it is accepted."""
    view = View(lambda *_: None)
    keep(store.storage, view)

    async def use() -> None:
        async with sacho.connect_async(postgres_url) as other:
            other.blocking.storage.attach([view])
            async with await psycopg.AsyncConnection.connect(postgres_server_url) as connection:
                with pytest.raises(UnsupportedOperation, match="blocking connection"):
                    await other.joined(connection).append("a-1", [NOTED])
                await other.joined(connection).append("a-1", [RawEvent("Other", None)])

    asyncio.run(use())
    assert [one.type for one in store.read_all(raw=True)] == ["Other"]
