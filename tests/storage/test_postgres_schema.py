"""The log's schema: made once, migrated once, closed to changes, open to those who may."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

import sacho
from sacho import AppendCondition, Event, EventData, EventStore, Query, QueryItem, RawEvent, Registry
from sacho.errors import (
    ForeignDatabase,
    LogMissing,
    MissingRights,
    NewerSchema,
    OlderSchema,
    UnsupportedServer,
)
from sacho.storage.port import Snapshot
from sacho.storage.postgres.locking import ALL, hash_of
from tests.postgres_server import fresh_schema

OPENERS = 6
OPEN = "import sys, sacho; store = sacho.connect(sys.argv[1]); print(store.identity.id); store.close()"


@pytest.fixture
def login(admin: psycopg.Connection, postgres_server_url: str) -> Iterator[str]:
    """The name and password of a role that may do nothing yet."""
    name = f"r_{secrets.token_hex(6)}"
    admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{name}'")
    yield name
    admin.execute(f"DROP OWNED BY {name}")
    admin.execute(f"DROP ROLE {name}")


def schema_of(url: str) -> str:
    return url.rpartition("schema=")[2]


def as_role(url: str, name: str) -> str:
    return f"postgresql://{name}:{name}@{url.rpartition('@')[2]}"


def test_a_new_log_may_be_opened_by_many_processes_at_once(postgres_url: str) -> None:
    openers = [
        subprocess.Popen([sys.executable, "-c", OPEN, postgres_url], stdout=subprocess.PIPE, text=True)
        for _ in range(OPENERS)
    ]
    told = [opener.communicate(timeout=120)[0].strip() for opener in openers]
    assert [opener.returncode for opener in openers] == [0] * OPENERS
    assert len(set(told)) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {}.{} SET position = position",
        "DELETE FROM {}.{}",
        "TRUNCATE {}.{}",
        "INSERT INTO {}.{} SELECT * FROM {}.{}",
        "INSERT INTO {}.{} SELECT * FROM {}.{} ON CONFLICT DO NOTHING",
    ],
)
@pytest.mark.parametrize("table", ["event_rows", "event_tags", "events"])
def test_events_are_immutable_in_the_database(
    store: EventStore, admin: psycopg.Connection, statement: str, table: str
) -> None:
    """Even for a superuser, short of taking the triggers away."""
    store.append("seats-1", [EventData(RawEvent("Noted", None), tags=["a:b"])])
    schema = schema_of(str(store.storage.settings.schema))  # type: ignore[attr-defined]  # the engine's
    with pytest.raises(psycopg.Error):
        admin.execute(statement.format(schema, table, schema, table))
    assert len(list(store.read_all(raw=True))) == 1


def test_an_append_leaves_no_way_for_the_transaction_to_insert(
    store: EventStore, postgres_url: str, admin: psycopg.Connection
) -> None:
    """The way is open within the function alone."""
    schema = schema_of(postgres_url)
    with admin.transaction():
        store.joined(admin).append("seats-1", [RawEvent("Noted", None)])
        with pytest.raises(psycopg.Error, match="appended by Sacho only"), admin.transaction():
            admin.execute(f"INSERT INTO {schema}.event_tags VALUES ('a:b', 1)")


def test_events_are_readable_with_plain_sql(store: EventStore, postgres_url: str, admin: psycopg.Connection) -> None:
    with sacho.metadata(actor="ä"):
        store.append(
            "seats-1", [EventData(RawEvent("Noted", {"text": "\x00a\\u0000\\\x00\x00", "n": 5}), tags=["a:b"])]
        )
    rows = admin.execute(
        f"SELECT stream, data ->> 'n', tags ->> 0, metadata ->> 'actor', recorded_at > now() - interval '1 minute', "
        f"data ->> 'text' FROM {schema_of(postgres_url)}.events"
    ).fetchall()
    assert [row[:5] for row in rows] == [("seats-1", "5", "a:b", "ä", True)]
    assert rows[0][5] == "\ufffda\\u0000\\\ufffd\ufffd"  # a NUL is shown, the text beside it is as it was


def test_names_and_ids_with_odd_characters_survive(store: EventStore) -> None:
    odd = ["a\x00b", "a\\0b", "a\\", "', '); --", "%s %(a)s {} @schema@"]
    for number, correlation_id in enumerate(odd):
        with sacho.metadata(correlation_id=correlation_id):
            store.append(f"seats-{number}'%s", [EventData(RawEvent("Noted'%s", correlation_id), tags=["k:'%s\\"])])
    for correlation_id in odd:
        (recorded,) = store.correlated(correlation_id, raw=True)
        assert recorded.event.data == correlation_id
    query = Query(QueryItem(types=["Noted'%s"], tags=["k:'%s\\"]))
    assert len(list(store.read_all(query, raw=True))) == len(odd)


def test_a_newer_schema_is_refused(store: EventStore, postgres_url: str, admin: psycopg.Connection) -> None:
    admin.execute(f"UPDATE {schema_of(postgres_url)}.log SET schema_version = 99")
    with pytest.raises(NewerSchema) as error:
        sacho.connect(postgres_url)
    assert (error.value.found, error.value.known) == (99, 2)
    assert store.append("seats-1", [RawEvent("Noted", None)]).version == 1  # who is connected goes on


def test_a_schema_of_something_else_is_left_as_it_was(postgres_url: str, admin: psycopg.Connection) -> None:
    schema = schema_of(postgres_url)
    admin.execute(f"CREATE SCHEMA {schema} CREATE TABLE log (id int)")
    with pytest.raises(ForeignDatabase, match="schema=NAME"):
        sacho.connect(postgres_url)
    assert admin.execute(f"SELECT count(*) FROM {schema}.log").fetchone() == (0,)


def test_an_empty_schema_of_ones_own_is_enough(postgres_url: str, admin: psycopg.Connection, login: str) -> None:
    """Whoever may not make schemas is given one."""
    admin.execute(f"CREATE SCHEMA {schema_of(postgres_url)} AUTHORIZATION {login}")
    with sacho.connect(as_role(postgres_url, login)) as store:
        assert store.append("seats-1", [RawEvent("Noted", None)]).version == 1


def test_where_there_is_no_log_and_none_may_be_made_it_says_so(postgres_url: str, login: str) -> None:
    with pytest.raises(LogMissing, match="sacho migrate"):
        sacho.connect(f"{postgres_url}&migrate=no")
    with pytest.raises(LogMissing, match="sacho migrate"):
        sacho.connect(as_role(postgres_url, login))


def test_an_older_schema_waits_for_one_who_may_migrate_it(
    store: EventStore, postgres_url: str, admin: psycopg.Connection, login: str
) -> None:
    roles = store.storage.make_roles()
    admin.execute(f"GRANT {roles[0]} TO {login}")
    admin.execute(f"UPDATE {schema_of(postgres_url)}.log SET schema_version = 0")
    for url in (f"{postgres_url}&migrate=no", as_role(postgres_url, login)):
        with pytest.raises((OlderSchema, LogMissing)):
            sacho.connect(url)
    drop_roles(admin, roles)


def test_a_writer_may_append_and_read_and_nothing_else(
    store: EventStore, postgres_url: str, admin: psycopg.Connection, login: str
) -> None:
    roles = store.storage.make_roles()
    assert store.storage.make_roles() == roles
    admin.execute(f"GRANT {roles[1]} TO {login}")
    use_as_writer(as_role(postgres_url, login))
    schema = schema_of(postgres_url)
    with psycopg.connect(as_role(postgres_url, login).partition("?")[0], autocommit=True) as connection:
        for statement in (
            f"INSERT INTO {schema}.event_rows SELECT * FROM {schema}.event_rows",
            f"DELETE FROM {schema}.event_rows",
            f"UPDATE {schema}.log SET epoch = 9",
            f"SELECT nextval('{schema}.positions')",
            f"SELECT setval('{schema}.positions', 1)",
            f"CREATE TABLE {schema}.t ()",
            f"DROP SCHEMA {schema} CASCADE",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
    drop_roles(admin, roles)


def use_as_writer(url: str) -> None:
    with sacho.connect(url) as log:
        condition = AppendCondition(Query(QueryItem(tags=["a:b"])))
        log.append("seats-1", [EventData(RawEvent("Noted", None), tags=["a:b"])], condition=condition)
        assert len(list(log.read_all(Query(QueryItem(tags=["a:b"])), raw=True))) == 1
        with log.subscribe(raw=True) as live:
            assert live.next(timeout=60) is not None
        log.storage.save_snapshot(Snapshot("seats-1", 1, "f", b""))
        log.storage.delete_snapshots()
        with pytest.raises(MissingRights):
            log.storage.begin_epoch()


def test_a_reader_may_read_and_nothing_else(
    store: EventStore, postgres_url: str, admin: psycopg.Connection, login: str
) -> None:
    roles = store.storage.make_roles()
    store.append("seats-1", [EventData(RawEvent("Noted", None), tags=["a:b"])])
    admin.execute(f"GRANT {roles[0]} TO {login}")
    with sacho.connect(as_role(postgres_url, login)) as log:
        assert [recorded.stream for recorded in log.read_all(raw=True)] == ["seats-1"]
        assert len(list(log.read_all(Query(QueryItem(tags=["a:b"], types=["Noted"])), raw=True))) == 1
        assert [info.stream for info in log.streams()] == ["seats-1"]
        with pytest.raises(MissingRights, match=f"{roles[1]}"):
            log.append("seats-1", [RawEvent("Noted", None)])
    drop_roles(admin, roles)


def drop_roles(admin: psycopg.Connection, roles: tuple[str, ...]) -> None:
    for role in roles:
        admin.execute(f"DROP OWNED BY {role}")
        admin.execute(f"DROP ROLE {role}")


def test_logs_in_schemas_of_one_database_know_nothing_of_each_other(
    store: EventStore, postgres_server_url: str
) -> None:
    with fresh_schema(postgres_server_url) as url, sacho.connect(url) as other:
        store.append("seats-1", [RawEvent("Here", None)], expected=0)
        other.append("seats-1", [RawEvent("There", None)], expected=0)
        assert [recorded.type for recorded in store.read_all(raw=True)] == ["Here"]
        assert [recorded.type for recorded in other.read_all(raw=True)] == ["There"]
        assert store.identity.id != other.identity.id


def test_a_database_of_another_encoding_is_refused(admin: psycopg.Connection, postgres_server_url: str) -> None:
    name = f"latin_{uuid4().hex}"
    admin.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'")
    try:
        with pytest.raises(UnsupportedServer, match="UTF8"):
            sacho.connect(f"{postgres_server_url.rpartition('/')[0]}/{name}")
    finally:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_default_of_serializable_transactions_is_no_hindrance(
    postgres_url: str, admin: psycopg.Connection, login: str
) -> None:
    admin.execute(f"ALTER ROLE {login} SET default_transaction_isolation = 'serializable'")
    admin.execute(f"ALTER ROLE {login} SET synchronous_commit = off")
    admin.execute(f"CREATE SCHEMA {schema_of(postgres_url)} AUTHORIZATION {login}")
    with sacho.connect(as_role(postgres_url, login)) as store:
        store.append("seats-1", [RawEvent("Noted", None)])
        assert store.head() == 1
        assert len(list(store.read_all(raw=True))) == 1


def test_hashes_of_lock_keys_are_part_of_the_format() -> None:
    """All processes must agree on them, of whatever version they are."""
    assert [ALL, hash_of("stream:seats-1"), hash_of("tag:guest:ä")] == [1982915514, 1677088718, 1983843552]


class Renamed(Event, register=False):
    """An event whose class is not registered."""

    n: int


def test_typed_events_come_back_as_their_class(postgres_url: str) -> None:
    with sacho.connect(postgres_url, registry=Registry(Renamed)) as store:
        store.append("seats-1", [Renamed(n) for n in range(3)])
        assert [recorded.event for recorded in store.read("seats-1")] == [Renamed(0), Renamed(1), Renamed(2)]
