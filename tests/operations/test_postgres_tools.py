"""What the how-to says of PostgreSQL's own tools holds: a log comes back whole from them, and goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import sacho
from sacho import EventStore, RawEvent
from sacho.operations import digest, verify
from servers.postgres import PostgresServer
from tests.operations.logs import fill
from tests.postgres_server import own_server_or_skip, running_server
from tests.proof.judging import check_log


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    own_server_or_skip()
    with running_server() as running:
        yield running


@contextmanager
def in_use(url: str) -> Iterator[EventStore]:
    """A log that is written to for as long as the block lasts."""
    ended = threading.Event()

    def write(store: EventStore) -> None:
        while not ended.is_set():
            store.append("live-1", [RawEvent("Live", "\\u0000")] * 3)

    with sacho.connect(url) as store:
        fill(store, 3_000)
        writer = threading.Thread(target=write, args=(store,))
        writer.start()
        try:
            yield store
        finally:
            ended.set()
            writer.join(60)


def check_restored(log: EventStore, url: str) -> None:
    """It is the log as it was at one moment; after a new epoch it is another one, and goes on."""
    with sacho.connect(url) as restored:
        head = restored.head()
        assert head >= 3_000
        assert verify(log, restored, to=head) == digest(restored)
        assert restored.version("live-1") % 3 == 0
        assert restored.identity == log.identity
        restored.storage.begin_epoch()
        assert restored.identity == (log.identity.id, log.identity.epoch + 1)
        assert restored.append("after-1", [RawEvent("After", 1)], expected=0).position > head
        check_log(restored)


def test_a_log_comes_back_from_pg_dump(server: PostgresServer) -> None:
    dump = str(server.folder / "conference.dump")
    with in_use(server.url()) as log:
        server.run("pg_dump", "--schema=sacho", "--format=custom", f"--file={dump}", server.url())
    server.run("createdb", f"--maintenance-db={server.url()}", "restored")
    restore = ("--exit-on-error", "--single-transaction", f"--dbname={server.url('restored')}", dump)
    server.run("pg_restore", *restore)
    with sacho.connect(server.url()) as log:
        check_restored(log, server.url("restored"))


def test_a_log_comes_back_from_pg_basebackup(server: PostgresServer) -> None:
    other = PostgresServer()
    try:
        with in_use(server.url()):
            place = f"--pgdata={other.data}"
            server.run("pg_basebackup", place, "--wal-method=stream", "--checkpoint=fast", f"--dbname={server.url()}")
        server.run("pg_verifybackup", str(other.data))
        other.start()
        with sacho.connect(server.url()) as log:
            check_restored(log, other.url())
    finally:
        other.remove()
