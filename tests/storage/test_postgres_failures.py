"""What a server, a network or a pooler may do to the log: clear errors without secrets, and retries where they are safe."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from msgspec.structs import replace

import sacho
from sacho import EventStore, RawEvent
from sacho.errors import (
    InvalidURL,
    SachoError,
    StorageBusy,
    StorageFailed,
    StorageUnreachable,
    UnsupportedOperation,
    UnsupportedServer,
)
from sacho.storage.postgres import PostgresSettings, connecting
from sacho.store.connecting import StoreURL
from servers.postgres import GIVEN_URL, PASSWORD, PASSWORD_IN_URL, kept_port
from tests.postgres_server import own_server_or_skip, running_server

NOTED = RawEvent("Noted", None)
SECONDS = 60.0
"""After how long a test says that something hangs."""


def settings(url: str) -> PostgresSettings:
    parts = StoreURL.parse(url)
    return PostgresSettings.of(parts.authority, parts.path, parts.options)


# --- what cannot be connected to --------------------------------------------------------------------------


@pytest.mark.skipif(bool(GIVEN_URL), reason="the given server may let everybody in")
def test_a_wrong_password_is_told_without_it(postgres_server_url: str) -> None:
    url = postgres_server_url.replace(PASSWORD_IN_URL, "hunter2%40")
    with pytest.raises(StorageUnreachable, match="check the user, and the password") as error:
        sacho.connect(url)
    assert "hunter2" not in str(error.value)
    assert error.value.__cause__ is None


def test_a_missing_database_is_named(postgres_server_url: str) -> None:
    with pytest.raises(StorageUnreachable, match='"nowhere" does not exist; create it'):
        sacho.connect(f"{postgres_server_url.rpartition('/')[0]}/nowhere")


def test_a_server_that_is_not_there_is_told_at_once() -> None:
    port, keeper = kept_port()
    with keeper, pytest.raises(StorageUnreachable, match="refused"):
        sacho.connect(f"postgresql://postgres:{PASSWORD_IN_URL}@127.0.0.1:{port}/postgres")


def test_an_older_server_is_refused(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen through a bound that all servers are below, since none so old can be had here."""
    monkeypatch.setattr(connecting, "OLDEST_SERVER", 990_000)
    with pytest.raises(UnsupportedServer, match=r"PostgreSQL \d+\.\d+.* is too old"):
        sacho.connect(postgres_url)


def test_no_secret_is_shown(store: EventStore) -> None:
    engine = store.storage
    shown = [repr(store), repr(engine), repr(engine.settings), str(engine.settings), store.url]  # type: ignore[attr-defined]
    assert [text for text in shown if PASSWORD in text or PASSWORD_IN_URL in text] == []


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://u:secret@h:54x/d", "port"),
        ("postgresql://u:sec:ret@x@h:1:2/d", "port"),
        ("postgresql://u:secret@h/d?color=blue", "'color'"),
        ("postgresql://u:secret@h/d?schema=Public", "schema"),
        ("postgresql://u:secret@h/d?schema=pg_catalog", "schema"),
        ("postgresql://u:secret@h/d?schema=a%22b", "schema"),
        ("postgresql://u:secret@h/d?timeout=never", "timeout"),
        ("postgresql://u:secret@h/d?pool=0", "pool"),
        ("postgresql://u:secret@h/d?pool=2.5", "pool"),
        ("postgresql://u:secret@h/d?migrate=maybe", "migrate"),
        ("postgresql://u:secret@h/d?durability=none", "durability"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_without_its_secret(url: str, told: str) -> None:
    with pytest.raises(InvalidURL) as error:
        sacho.connect(url)
    assert told in str(error.value)
    assert "secret" not in str(error.value)
    assert "ret@x" not in str(error.value)


def test_a_url_names_all_that_libpq_knows() -> None:
    given = settings("postgresql://u%40x:p%3A@h1:1,[::1]:2/d%20b?schema=s1&timeout=2.5&pool=3&sslmode=require")
    assert {name: given.parameters[name] for name in ("user", "password", "host", "port", "dbname", "sslmode")} == {
        "user": "u@x",
        "password": "p:",
        "host": "h1,::1",
        "port": "1,2",
        "dbname": "d b",
        "sslmode": "require",
    }
    assert (given.schema, given.timeout, given.pool) == ("s1", 2.5, 3)
    assert given.parameters["target_session_attrs"] == "primary"
    assert settings("postgresql:///d?host=/tmp&target_session_attrs=any").parameters["host"] == "/tmp"


# --- what happens to a log in use -------------------------------------------------------------------------


def test_killed_backends_are_replaced(store: EventStore, admin: psycopg.Connection) -> None:
    for version in range(10):
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sacho' AND datname = "
            "current_database() AND pid <> pg_backend_pid()"
        )
        assert store.append("seats-1", [NOTED], expected=version).version == version + 1
        assert store.version("seats-1") == version + 1


def test_who_waits_too_long_for_a_lock_is_told_and_nothing_is_written(
    postgres_url: str, postgres_server_url: str
) -> None:
    with sacho.connect(f"{postgres_url}&timeout=0.2") as store, psycopg.connect(postgres_server_url) as other:
        store.joined(other).append("seats-1", [NOTED])
        with pytest.raises(StorageBusy, match="locked by another transaction for 0.2 s"):
            store.append("seats-1", [NOTED])
        other.rollback()
        assert store.append("seats-1", [NOTED], expected=0).version == 1


def test_an_exhausted_pool_is_told(postgres_url: str) -> None:
    with sacho.connect(f"{postgres_url}&pool=1") as store:
        readers = store.storage._readers  # type: ignore[attr-defined]
        with readers._pool.connection():  # it is made by now: that may take longer than is waited below
            readers._settings = replace(readers._settings, timeout=0.2)
            with pytest.raises(StorageBusy, match="all 1 connections"):
                store.head()
        assert store.head() == 0


def test_a_statement_that_the_server_cancels_is_told(postgres_url: str) -> None:
    """Statements of the log are short; a server's own timeout is told by its name."""
    sacho.connect(postgres_url).close()  # its tables are made by statements that may take a while
    with sacho.connect(f"{postgres_url}&options=-c%20statement_timeout%3D1000") as store:
        with pytest.raises(StorageFailed, match="statement_timeout"):
            store.storage._execute("SELECT pg_sleep(600)", ())  # type: ignore[attr-defined]


def test_a_log_with_relaxed_durability_is_not_called_durable(store: EventStore, postgres_url: str) -> None:
    assert "durable" in store.capabilities
    with sacho.connect(f"{postgres_url}&durability=relaxed") as relaxed:
        assert store.capabilities - relaxed.capabilities == {"durable"}


def test_a_server_that_does_not_sync_is_not_called_durable() -> None:
    own_server_or_skip()
    with running_server(fsync="off") as server, sacho.connect(server.url()) as store:
        assert "durable" not in store.capabilities
        with pytest.raises(UnsupportedOperation, match="durable"):
            sacho.connect(server.url(), require={"durable"})


# --- poolers ----------------------------------------------------------------------------------------------


@pytest.fixture
def pooler(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgres_server_url: str
) -> Iterator[str]:
    """The server's URL through PgBouncer in the mode asked for."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer is not installed; `make test` installs it where it may")
    server, (port, keeper) = urlsplit(postgres_server_url), kept_port()
    folder = Path(tempfile.mkdtemp(prefix="sacho-pgbouncer-"))
    folder.chmod(0o755)
    config = folder / "pgbouncer.ini"
    config.write_text(
        f"[databases]\n* = host={server.hostname} port={server.port} user=postgres password='{PASSWORD}'\n[pgbouncer]\n"
        f"listen_addr=127.0.0.1\nlisten_port={port}\nauth_type=any\npool_mode={request.param}\nunix_socket_dir=\n"
        "max_client_conn=200\n"
    )
    as_nobody = {"user": pwd.getpwnam("nobody").pw_uid} if os.geteuid() == 0 else {}
    config.chmod(0o644)
    process = subprocess.Popen([program, "-q", str(config)], stderr=subprocess.PIPE, **as_nobody)  # type: ignore[call-overload]
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    try:
        yield url
    finally:
        process.kill()
        process.communicate()
        keeper.close()
        shutil.rmtree(folder)


def connected(url: str) -> EventStore:
    """Connect once the pooler listens."""
    ends = time.monotonic() + SECONDS
    while True:
        try:
            return sacho.connect(url)
        except StorageUnreachable as error:
            if "refused" not in str(error) or time.monotonic() > ends:
                raise


@pytest.mark.skipif(bool(GIVEN_URL), reason="the pooler is set before a server of the tests' own")
@pytest.mark.parametrize("pooler", ["session", "transaction"], indirect=True)
def test_a_pooler_of_sessions_or_transactions_may_stand_between(pooler: str, postgres_url: str) -> None:
    schema = postgres_url.rpartition("schema=")[2]
    with connected(f"{pooler}?schema={schema}") as store, sacho.connect(postgres_url) as direct:
        with store.subscribe(raw=True) as live, direct.subscribe(raw=True) as other:
            for version in range(50):
                (store if version % 2 else direct).append("seats-1", [NOTED], expected=version)
            for subscription in (live, other):
                assert [
                    event.version for event in (subscription.next(timeout=SECONDS) for _ in range(50)) if event
                ] == list(range(1, 51))
        with psycopg.connect(pooler) as connection:
            store.joined(connection).append("seats-1", [NOTED], expected=50)
        assert direct.version("seats-1") == 51


@pytest.mark.skipif(bool(GIVEN_URL), reason="the pooler is set before a server of the tests' own")
@pytest.mark.parametrize("pooler", ["statement"], indirect=True)
def test_a_pooler_of_statements_is_refused_with_the_remedy(pooler: str) -> None:
    with pytest.raises(UnsupportedServer, match="pool_mode to session or transaction"):
        connected(f"{pooler}?schema=never")


def test_errors_survive_a_trip_between_processes() -> None:
    import pickle

    error = StorageUnreachable("here", "gone", may_have_happened=True)
    again: SachoError = pickle.loads(pickle.dumps(error))
    assert (str(again), again.__dict__) == (str(error), error.__dict__)
