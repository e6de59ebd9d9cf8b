"""PostgreSQL ends connections: appends, reads and subscriptions go on, and what was said to be done is done."""

from __future__ import annotations

import threading
import time
from queue import SimpleQueue

import psycopg
import pytest

import sacho
from sacho import RawEvent
from sacho.errors import StorageFailed
from tests.postgres_server import without_schema
from tests.proof.disturbing import killed_all, killing, named
from tests.proof.judging import check_all
from tests.proof.processes import WAIT, Count, Counted
from tests.proof.programs import in_threads
from tests.proof.slow_appends import opened

PAUSE = 30.0
"""For how many seconds a lost connection may keep a subscriber from what was appended: a pause, never a stall."""


def test_the_first_append_finds_its_connection_killed(postgres_url: str) -> None:
    """Nothing was prepared yet. Seen to fail with an engine that takes libpq's own errors for the server's."""
    with sacho.connect(named(postgres_url)) as store:
        assert killed_all(postgres_url) > 0
        assert store.append("s-1", [RawEvent("A", 1)]).version == 1
        assert store.version("s-1") == 1


def test_a_subscriber_pauses_but_does_not_stall_where_all_connections_are_killed(
    postgres_url: str, soak_count: Count, counted: Counted
) -> None:
    """The writer's, the readers', those that listen and that notify; the events come through another store.

    Seen to fail with a watcher that ends with its connection.
    """
    times, pauses, url = soak_count(200), list[float](), named(postgres_url)
    came: SimpleQueue[int | None] = SimpleQueue()

    def follow() -> None:
        for one in live:
            came.put(one.version)

    with sacho.connect(url) as store, sacho.connect(url) as other, other.subscribe(raw=True) as live:
        threading.Thread(target=follow, daemon=True).start()
        for number in range(times):
            killed_all(postgres_url)
            begun = time.monotonic()
            assert store.append("s-1", [RawEvent("Killed", number)], expected=number).version == number + 1
            assert came.get(timeout=WAIT) == number + 1
            pauses.append(time.monotonic() - begun)
            assert [one.event.data for one in other.read("s-1", after=number, raw=True)] == [number]
    assert max(pauses) < PAUSE
    told = f"{times}, {1_000 * max(pauses):.0f}"
    counted("times all connections were killed, longest pause of a subscriber ms", told)


def test_each_version_is_written_once_while_backends_are_killed(
    postgres_url: str, soak_count: Count, counted: Counted
) -> None:
    """Four threads append, each at the version that comes next. Seen to fail with an engine that does not try again."""
    each, url = soak_count(1_500), named(postgres_url)
    with opened(url) as store, killing(postgres_url, 0.01) as killed:

        def write(number: int) -> None:
            for version in range(each):
                events = [RawEvent("Written", version)]
                assert store.append(f"own-{number}", events, expected=version).version == version + 1

        in_threads(write, 4)
    with sacho.connect(postgres_url) as store:
        for number in range(4):
            assert [one.event.data for one in store.read(f"own-{number}", raw=True)] == list(range(each))
    assert len(check_all(postgres_url)) == 4 * each
    counted("appends at exact versions, backends killed meanwhile", f"{4 * each}, {len(killed)}")


REFUSE_AT_COMMIT = """
CREATE FUNCTION {schema}.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused at commit'; END $$;
CREATE CONSTRAINT TRIGGER refused AFTER INSERT ON {schema}.event_rows DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN (NEW.type = 'Refused') EXECUTE FUNCTION {schema}.refuse()
"""


def test_an_append_whose_commit_fails_is_not_said_to_be_done(postgres_url: str) -> None:
    """The server gives the rows of an answer before it commits; a constraint that is looked at late shows that.

    Seen to fail with an engine that goes by the first result: a crash between the two lost acknowledged events.
    """
    server, schema = without_schema(postgres_url)
    with sacho.connect(postgres_url) as store:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(REFUSE_AT_COMMIT.format(schema=schema))
        with pytest.raises(StorageFailed, match="refused at commit"):
            store.append("s-1", [RawEvent("Refused", None)])
        assert store.append("s-1", [RawEvent("Accepted", None)]).version == 1
