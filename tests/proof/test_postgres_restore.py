"""A PostgreSQL log that was dumped during writes and restored elsewhere is the same log, and goes on in order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import pytest

import sacho
from sacho import EventData, EventStore, Query, RawEvent, RecordedEvent
from servers.postgres import PostgresServer
from tests.postgres_server import own_server_or_skip, running_server
from tests.proof.judging import check_all
from tests.proof.processes import WAIT, Count, Counted, finished, started
from tests.proof.reading import Reader, follow, in_disorder, poll

FIRST = [
    EventData(RawEvent("First", {"text": "null\0ü"}), id=sacho.uuid7(), tags=["k:1"], metadata={"actor": "me"}),
    EventData(RawEvent("First", 2), id=sacho.uuid7()),
]


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """The one that is dumped, and the one where it is restored."""
    own_server_or_skip()
    with running_server() as source, running_server() as target:
        yield source, target


@pytest.mark.parametrize("form", ["custom", "plain"])
def test_a_restored_log_is_the_same_and_goes_on_in_order(
    servers: tuple[PostgresServer, PostgresServer], tmp_path: Path, form: str, soak_count: Count, counted: Counted
) -> None:
    """Two processes write while it is dumped; all that was there before is in the dump, and nothing half.

    Then 20 connections write to the restored log, slowly and out of order, and no reader skips an event. Seen to fail
    with a restored sequence that begins anew, which gives positions out again.
    """
    source, target = servers
    url, moved = (f"{server.url()}?schema=moved_{form}" for server in servers)
    with sacho.connect(url) as store:
        first = store.append("first-1", FIRST)
        before = dumped_during_writes(source, target, store, tmp_path / "over", form, soak_count(2_000))
        restored = [facts(one) for one in check_all(moved)]
        everything = {one.position: facts(one) for one in store.read_all(raw=True)}
        identity = store.identity
    assert restored[: len(before)] == before
    assert restored == [everything[one.position] for one in restored]
    with sacho.connect(moved) as store:
        assert store.identity == identity
        assert store.append("first-1", FIRST) == first
        assert store.append("first-1", [RawEvent("After", 1)], expected=2).position > restored[-1].position
    events = check_order(moved, soak_count(20_000))
    told = f"{len(restored)}, {len(before)}, {events}"
    counted(f"events dumped during writes ({form}), written before, in disorder after", told)


def dumped_during_writes(
    source: PostgresServer, target: PostgresServer, store: EventStore, over: Path, form: str, events: int
) -> list[Facts]:
    """Move the log while others write; return what was there when the dump began."""
    with ExitStack() as stack:
        url, path = f"{source.url()}?schema=moved_{form}", str(target.folder / form)
        writers = [stack.enter_context(started("slow_appends.write_until", url, over)) for _ in range(2)]
        live = stack.enter_context(store.subscribe(raw=True))
        for _ in range(events):
            assert live.next(timeout=WAIT) is not None
        before = [facts(one) for one in store.read_all(raw=True)]
        dump = ["-d", source.url(), f"--schema=moved_{form}", f"--format={form}", "-f", path]
        target.run("pg_dump", *dump)
        over.touch()
        finished(*writers)
    if form == "custom":
        target.run("pg_restore", "-d", target.url(), "--exit-on-error", "--single-transaction", path)
    else:
        target.run("psql", "-d", target.url(), "-q", "-v", "ON_ERROR_STOP=1", "-f", path)
    return before


def check_order(url: str, events: int) -> int:
    """Slow writers skip nothing for readers who begin at the start; return how many events there are in the end."""
    polling, following = Reader(), Reader()
    with sacho.connect(url) as store:
        in_disorder(url, events, [lambda: poll(store, polling), lambda: follow(store, Query(), following)])
    everything = [one.position for one in check_all(url)]
    assert polling.faults == following.faults == []
    assert polling.seen == following.seen == everything
    return len(everything)


class Facts(NamedTuple):
    """All that an event says."""

    position: int
    stream: str | None
    version: int | None
    type: str
    data: object
    id: UUID
    recorded_at: datetime
    tags: list[str]
    metadata: dict[str, object]


def facts(one: RecordedEvent) -> Facts:
    tags, metadata = sorted(one.tags), dict(one.metadata)
    return Facts(
        one.position, one.stream, one.version, one.type, one.event.data, one.id, one.recorded_at, tags, metadata
    )
