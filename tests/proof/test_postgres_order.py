"""PostgreSQL's order without a global lock: no reader skips, repeats or sees half, whatever happens beside the log."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from random import Random

import psycopg

import sacho
from sacho import Append, Query, QueryItem, RawEvent
from tests.postgres_server import without_schema
from tests.proof.disturbing import foreign, killing, named
from tests.proof.judging import check_all
from tests.proof.processes import WAIT, Count, Counted, until
from tests.proof.reading import LAST, Reader, follow, in_disorder, poll, read_naively
from tests.proof.slow_appends import Killed, SlowAppends, encoded, opened

OWN = Query(QueryItem(categories=["own"]), QueryItem(types=[LAST]))


def test_no_reader_skips_repeats_or_sees_half_of_an_append(
    postgres_url: str, soak_count: Count, counted: Counted
) -> None:
    """20 connections write, slowly and out of order, some roll back, some are killed, beside all that others may hold.

    A naive reader of the same workload skips events: the proof can fail. Seen to fail with a head that is the sequence's
    last value, and with one that looks for appends in flight a millisecond before it reads that value.
    """
    url, naive = named(postgres_url), list[int]()
    readers = [Reader() for _ in range(3)]
    with ExitStack() as stack:
        store = stack.enter_context(opened(url))
        stack.enter_context(foreign(postgres_url))
        killed = stack.enter_context(killing(postgres_url, 0.1))
        told = in_disorder(
            url,
            soak_count(110_000),
            [
                lambda: poll(store, readers[0]),
                lambda: follow(store, Query(), readers[1]),
                lambda: follow(store, OWN, readers[2]),
                lambda: read_naively(postgres_url, naive),
            ],
        )
    events = check_all(postgres_url)
    everything = [one.position for one in events]
    owned = [one.position for one in events if one.type == LAST or (one.stream or "").startswith("own-")]
    assert [reader.faults for reader in readers] == [[], [], []]
    assert readers[0].seen == readers[1].seen == everything
    assert readers[2].seen == owned
    batches = {one.event.data["batch"] for one in events[:-1]}
    fates = {fate: {batch for one in told for batch in one[fate]} for fate in told[0]}
    assert fates["acknowledged"] <= batches <= fates["acknowledged"] | fates["unknown"]
    assert not fates["rolled back"] & batches
    skipped = len(set(everything) - set(naive))
    assert skipped > 0
    counted(
        "events of 20 connections in disorder, appends, backends killed",
        f"{len(events)}, {len(batches)}, {len(killed)}",
    )
    counted(
        "appends rolled back, lost on the way (committed of these)",
        f"{len(fates['rolled back'])}, {len(fates['unknown'])} ({len(batches & fates['unknown'])})",
    )
    counted(
        "events skipped, repeated, out of order or seen in part by three readers; skipped by a naive one",
        f"0; {skipped}",
    )


def test_what_others_hold_stalls_nobody(postgres_url: str, soak_count: Count, counted: Counted) -> None:
    """Every acknowledged append is at the head at once, and the subscriber has it.

    Seen to fail with a head that takes locks of the other form for appends in flight, or with other numbers, or of
    another database.
    """
    count, slowest = soak_count(2_000), 0.0
    with sacho.connect(postgres_url) as store, foreign(postgres_url), store.subscribe(raw=True) as live:
        for number in range(count):
            done = store.append("s-1", [RawEvent("Held", number)] * (1 + number % 3))
            assert store.head() == done.position
            begun = time.monotonic()
            for _ in range(1 + number % 3):
                one = live.next(timeout=WAIT)
                assert one is not None
                assert one.event.data == number
            slowest = max(slowest, time.monotonic() - begun)
    counted(
        "appends beside foreign transactions and locks: at the head at once, slowest wake-up ms",
        f"{count}, {1_000 * slowest:.0f}",
    )


def test_an_append_in_flight_holds_the_head_until_it_ends(postgres_url: str) -> None:
    """Whether it commits, rolls back or is killed; what was acknowledged behind it is shown then."""
    with sacho.connect(postgres_url) as store:
        for number, ending in enumerate(["commits", "rolls back", "is killed"]):
            before = store.append("s-1", [RawEvent("Before", number)]).position
            slow = SlowAppends(postgres_url, Random(), 0.0)
            with suppress(Killed), slow.transaction(rolls_back=ending == "rolls back") as connection:
                slow.append(encoded([Append("slow-1", [RawEvent("Slow", number)] * 2)]))
                behind = store.append("s-1", [RawEvent("Behind", number)] * 2)
                assert store.head() == before
                assert list(store.read_all(after=before, raw=True)) == []
                assert store.version("s-1") == behind.version
                if ending == "is killed":
                    connection.close()
            slow.close()
            until(lambda: store.head() > before)
            assert store.head() == behind.position
        assert store.version("slow-1") == 2


def test_an_append_that_registers_late_skips_and_repeats_nothing(postgres_url: str) -> None:
    """Between reading the sequence's last value and registering it a writer may be held up while others go on.

    Who looks for the first time is shown nothing then until it ends; who has seen more keeps that, and what comes in the
    end stands above all that was shown.
    """
    server, schema = without_schema(postgres_url)
    with sacho.connect(postgres_url) as store, psycopg.connect(server) as late, store.subscribe(raw=True) as live:
        shown = [store.append("s-1", [RawEvent("Shown", number)]).position for number in range(3)]
        assert [one.position for _ in shown if (one := live.next(timeout=WAIT))] == shown
        late.execute(f"SELECT {schema}.register_append(0)")
        with sacho.connect(postgres_url) as newcomer:
            assert (newcomer.head(), store.head()) == (0, shown[-1])
        behind = store.append("s-1", [RawEvent("Behind", None)]).position
        assert list(store.read_all(after=shown[-1], raw=True)) == []
        late.rollback()
        one = live.next(timeout=WAIT)
        assert one is not None
        assert one.position == behind == store.head()


def test_no_head_cuts_an_append_in_two(postgres_url: str) -> None:
    """Wherever another append has registered; also where two appends have taken positions in between each other's.

    Seen to fail with a head that looks at what is in flight only, and with one that looks for cuts just once.
    """
    server, schema = without_schema(postgres_url)
    with sacho.connect(postgres_url) as store, psycopg.connect(server, autocommit=True) as other:
        other.execute(f"ALTER SEQUENCE {schema}.positions INCREMENT BY 2")
        store.append("a-1", [RawEvent("A", None)] * 3)
        other.execute(f"ALTER SEQUENCE {schema}.positions RESTART 2")
        store.append("b-1", [RawEvent("B", None)] * 3)
        other.execute(f"ALTER SEQUENCE {schema}.positions INCREMENT BY 1")
        store.append("c-1", [RawEvent("C", None)] * 2)
        assert [one.position for one in store.read_all(raw=True)] == [1, 2, 3, 4, 5, 6, 7, 8]
        heads = []
        for registered in range(9):
            with other.transaction():
                other.execute(f"SELECT {schema}.register_append({registered})")
                heads.append(asked(other, f"SELECT {schema}.head()"))
        assert heads == [0, 0, 0, 0, 0, 0, 6, 6, 8]


def asked(connection: psycopg.Connection, statement: str) -> object:
    """Return the one value that a statement gives."""
    row = connection.execute(statement).fetchone()
    assert row is not None
    return row[0]
