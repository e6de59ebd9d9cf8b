"""Programs that the proofs run as processes of their own: `python -m tests.proof.programs NAME URL ...`.

An acknowledgement is one line, written by one system call, after the append has returned. Those that break a promise on
purpose, so that a proof can be seen to fail, do it here and leave nothing in the package.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count as counting
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import sacho
from sacho import (
    Append,
    AppendCondition,
    CommandHandler,
    Decider,
    Event,
    EventData,
    EventStore,
    Query,
    QueryItem,
    RawEvent,
    operations,
)
from sacho.errors import AppendConditionFailed, DuplicateEventId, StorageError, WrongExpectedVersion
from tests.proof.processes import SECONDS, WAIT

THREADS = 4
ATTEMPTS = 30


def acknowledge(facts: object, *, descriptor: int = 1) -> None:
    os.write(descriptor, json.dumps(facts).encode() + b"\n")


# --- writing ------------------------------------------------------------------------------------------


def write_for_ever(url: str) -> None:
    """Append batches from several threads, some of them without waiting, and acknowledge each."""
    store = sacho.connect(url)

    def write(number: int) -> None:
        random = Random()
        while True:
            if random.random() < 0.8:
                parts = batch(random, number)
                acknowledge(told(parts, store.append_many(parts)))
            else:
                some = [batch(random, number) for _ in range(random.randint(2, 6))]
                waiting = [store.storage.submit(store.encode_many(parts)) for parts in some]
                for parts, future in zip(some, waiting, strict=True):
                    acknowledge(told(parts, future.result(WAIT)))

    for number in range(THREADS):
        threading.Thread(target=write, args=(number,), daemon=True).start()
    threading.Event().wait()


def batch(random: Random, number: int) -> list[Append]:
    """Return the parts of an append to one to three streams, or to none; each event says how many there are in all."""
    streams = [f"own-{os.getpid()}x{number}", f"shared-{random.randint(1, 3)}", None]
    parts = [(stream, random.randint(1, 4)) for stream in random.sample(streams, random.randint(1, 3))]
    facts = {"batch": str(sacho.uuid7()), "of": sum(size for _, size in parts), "pad": "x" * random.randint(0, 2_000)}
    return [
        Append(
            stream,
            [
                EventData(
                    RawEvent(f"Written{random.randint(1, 3)}", facts),
                    id=sacho.uuid7(),
                    tags=[f"b:{facts['batch']}", f"t:{random.randint(1, 5)}"],
                )
                for _ in range(size)
            ],
        )
        for stream, size in parts
    ]


def told(parts: list[Append], done: list[sacho.Appended]) -> list[list[Any]]:
    """Return what an acknowledgement says of each event: id, stream, version, batch, and of the last of a part the position.

    Positions before it are not told: appends of others may stand between.
    """
    facts = []
    for part, made in zip(parts, done, strict=True):
        for back, data in enumerate(reversed(part.events)):
            version = None if made.version is None else made.version - back
            position = None if back else made.position
            facts.append([str(data.id), part.stream, version, data.event.data["batch"], position])
    return facts


def make_for_ever(folder: str) -> None:
    """Make one log after the other, with one event each, and acknowledge each."""
    for number in counting():
        with sacho.connect(f"sqlite:///{folder}/{number}.db") as store:
            store.append("made-1", [RawEvent("Made", number)])
            acknowledge(number)


def write_in_turn(url: str, appends: str, threads: str, synchronous: str) -> None:
    """Append batches of one to three events and acknowledge each on standard error; reopen the log now and then.

    `synchronous` OFF or NORMAL breaks the promise.
    """
    if synchronous != "FULL":
        connect_with(lambda statement: statement.replace("synchronous = FULL", f"synchronous = {synchronous}"))
    acknowledge("BEGIN", descriptor=2)
    for start in range(0, int(appends), 50):
        numbers = iter(range(start, min(start + 50, int(appends))))
        with sacho.connect(url) as store:

            def write(thread: int, numbers: Iterator[int] = numbers, store: EventStore = store) -> None:
                for number in numbers:
                    of = 1 + number % 3
                    pad = "x" * (number * 7919 % 3_000 if number % 10 else 20_000)
                    events = [RawEvent("Written", {"n": number, "of": of, "pad": pad}) for _ in range(of)]
                    store.append(f"seats-{thread}", events)
                    acknowledge(["ACK", number], descriptor=2)

            in_threads(write, int(threads))


def pad(number: int) -> str:
    """Return what fills the events of an append: mostly little, sometimes some pages."""
    return "x" * (number * 7919 % 3_000 if number % 10 else 20_000)


def write_plainly(url: str, stream: str, appends: str, threads: str = "1") -> None:
    """Append events, one at a time, each thread to a stream of its own."""
    with sacho.connect(url) as store:

        def write(thread: int) -> None:
            for number in range(int(appends)):
                store.append(f"{stream}{thread or ''}", [RawEvent("Plain", number)])

        in_threads(write, int(threads))


def write_among_faults(url: str, appends: str) -> None:
    """Append while the disk fails now and then; repeat each append with the same ids until it is accepted.

    Where an error says that nothing was written, nothing must be there. Tells how often which error came.
    """
    errors: Counter[str] = Counter()
    with sacho.connect(url) as store:
        store.append("begin-1", [RawEvent("Begin", None)])
        for number in range(int(appends)):
            ids = [sacho.uuid7() for _ in range(3)]
            events = [EventData(RawEvent("Faulty", {"n": number, "pad": "x" * 900}), id=id, tags=["a:b"]) for id in ids]
            for attempt in range(ATTEMPTS):
                try:
                    store.append(f"faulty-{number % 7}", events)
                    break
                except StorageError as error:
                    errors[f"{type(error).__name__} {error.may_have_happened}"] += 1
                    if not error.may_have_happened:
                        assert [store.find(id, raw=True) for id in ids] == [None] * 3
                    assert attempt < ATTEMPTS - 1
    acknowledge(errors)


def write_interrupted(url: str, bursts: str) -> None:
    """In bursts, append from threads and from the main thread, whose appends Ctrl-C interrupts wherever they are.

    Whoever waits for ever breaks a barrier. Tells how many of the main thread's appends returned, and were interrupted.
    """
    count, armed, interrupted = int(bursts), False, 0
    begin, end = threading.Barrier(THREADS + 1), threading.Barrier(THREADS + 1)

    def interrupt(number: int, frame: object) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise KeyboardInterrupt

    def write(number: int) -> None:
        for burst in range(count):
            begin.wait(WAIT)
            for version in range(burst * 3, burst * 3 + 3):
                store.append(f"own-{number}", [RawEvent("Own", version)], expected=version)
            end.wait(WAIT)

    signal.signal(signal.SIGALRM, interrupt)
    with sacho.connect(url) as store:
        threads = [threading.Thread(target=write, args=(number,), daemon=True) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.000_7)
        for burst in range(count):
            begin.wait(WAIT)
            try:
                armed = True
                store.append("main-1", [RawEvent("Main", burst)])
                armed = False
            except KeyboardInterrupt:
                interrupted += 1
            end.wait(WAIT)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for thread in threads:
            thread.join(WAIT)
    acknowledge([count - interrupted, interrupted])


def copy_told(source: str, target: str, way: str) -> None:
    """Copy a log, `in place` or `behind`; acknowledge the beginning, and each batch once it is in the target."""

    def tell(progress: operations.Progress) -> None:
        if progress.step == "copying":
            acknowledge(progress.done)

    with sacho.connect(source) as one, sacho.connect(target) as other:
        copying = operations.copy if way == "in place" else operations.copy_behind
        copying(one, other, progress=tell)


def back_up_again_and_again(url: str, folder: str, times: str) -> None:
    """Back up a log so many times; acknowledge each backup's number, head and digest."""
    with sacho.connect(url) as store:
        for number in range(int(times)):
            done = operations.back_up(store, f"{folder}/{number}.db")
            acknowledge([number, done.digest.head, done.digest.sha256])


# --- racing -------------------------------------------------------------------------------------------


def race_versions(url: str, seed: str, versions: str) -> None:
    """Race for every version of three streams; tell which were won, and how often another was faster."""
    with sacho.connect(url) as store:
        acknowledge(race_for_versions(store, seed, int(versions)))


def race_for_versions(store: EventStore, seed: str, versions: int) -> tuple[list[list[Any]], int]:
    """Append with the version that comes next, by what the last answer said, until each stream has `versions`."""
    won: list[list[Any]] = []
    lost = 0
    following = {f"race-{number}": 0 for number in range(3)}
    while min(following.values()) < versions:
        stream = min(following, key=following.__getitem__)
        try:
            event = RawEvent("Won", {"on": following[stream], "by": seed})
            done = store.append(stream, [event], expected=following[stream])
            won.append([stream, done.version, done.position])
            following[stream] += 1
        except WrongExpectedVersion as error:
            assert error.expected == following[stream]
            assert error.actual != following[stream]
            lost += 1
            following[stream] = error.actual
    return won, lost


def race_conditions(url: str, seed: str, appends: str) -> None:
    """Append on conditions; each event records its own condition, for the judge. Tell the positions that refused."""
    random = Random(seed)
    with sacho.connect(url) as store:
        acknowledge([one for _ in range(int(appends)) if (one := append_on_condition(store, random)) is not None])


def append_on_condition(store: EventStore, random: Random) -> list[Any] | None:
    """Append on condition of a random query; return None if it was accepted, else the condition and what refused it.

    Mostly the position comes from a reading, sometimes it is older.
    """
    asked = [random_item(random) for _ in range(random.choice([1, 1, 2]))]
    query = Query(*[QueryItem(**item) for item in asked])
    after = store.read_all(query, raw=True, backwards=True, limit=1).head
    if random.random() < 0.2:
        after = max(0, after - random.randint(0, 150))
    facts = {"append": str(sacho.uuid7()), "query": asked, "after": after}
    events = [random_event(random, facts) for _ in range(random.randint(1, 3))]
    parts = [Append(random.choice(["c1-1", "c1-2", "c2-1", "c3-1", None]), [event]) for event in events]
    try:
        store.append_many(parts, condition=AppendCondition(query, after))
    except AppendConditionFailed as error:
        return [asked, after, error.position]
    return None


def random_item(random: Random) -> dict[str, list[str]]:
    item = {
        "types": random.sample(["T1", "T2", "T3"], random.randint(1, 2)),
        "tags": random.sample(["k:1", "k:2", "k:3", "k:4"], random.randint(1, 2)),
        "categories": random.sample(["c1", "c2", "c3"], 1),
    }
    return {name: names for name, names in item.items() if random.random() < 0.5} or {"tags": ["k:1", "k:2"]}


def random_event(random: Random, data: Any) -> EventData:
    tags = random.sample(["k:1", "k:2", "k:3", "k:4"], random.randint(0, 3))
    return EventData(RawEvent(random.choice(["T1", "T2", "T3"]), data), tags=tags)


def race_ids(url: str, seed: str, appends: str) -> None:
    """Append the same ids as all others do, sometimes with other content; tell what came of each."""
    with sacho.connect(url) as store:
        acknowledge(race_for_ids(store, int(seed), int(appends)))


def race_for_ids(store: EventStore, seed: int, appends: int) -> list[Any]:
    """Return the racer's content and result for each number; the result is None where the ids were another's."""
    results = []
    for number in range(appends):
        content = seed % 2 if number % 3 == 0 else 0
        events = [EventData(RawEvent("Once", content), id=UUID(int=2 * number + part + 1)) for part in (0, 1)]
        try:
            done = store.append(f"once-{number}", events, expected=0)
            results.append([content, done.version, done.position])
        except DuplicateEventId as error:
            assert [id.int for id in error.ids] == [2 * number + 1, 2 * number + 2]
            results.append([content, None, None])
    return results


# --- deciding -----------------------------------------------------------------------------------------


class Booked(Event, register=False):
    """A seat was booked by a command with this name."""

    name: str


class Booking(Decider[str, int, Booked]):
    """Counts bookings; refuses none."""

    initial = 0

    def decide(self, command: str, state: int) -> list[Booked]:
        return [Booked(command)]

    def evolve(self, state: int, event: Booked) -> int:
        return state + 1


def registry() -> sacho.Registry:
    return sacho.Registry(Booked)


def book(url: str, name: str, commands: str) -> None:
    """Send commands for one stream from eight threads, every fifth of them one that others send too; tell the outcomes."""
    outcomes: dict[str, list[int]] = {}
    with sacho.connect(url, registry=registry()) as store:
        handler = CommandHandler(store, Booking())

        def work(number: int) -> None:
            for count in range(int(commands)):
                sender = "all" if count % 5 == 0 else name
                command = f"{sender} {number} {count}"
                done = handler.handle("hot-1", command, command_id=command)
                outcomes[command] = [done.version, done.position]

        in_threads(work, 8)
    acknowledge(outcomes)


# --- reading ------------------------------------------------------------------------------------------


def follow(url: str, total: str) -> None:
    """Poll the log while others write, until it has `total` events; tell the positions in the order they were seen."""
    with sacho.connect(url) as store:
        acknowledge(poll(store, int(total)))


def poll(store: EventStore, total: int) -> list[int]:
    """Return the positions in the order in which polling showed them; the head never falls."""
    seen: list[int] = []
    head, ends = 0, time.monotonic() + SECONDS
    while len(seen) < total:
        assert time.monotonic() < ends, f"{len(seen)} of {total} events seen"
        reading = store.read_all(after=seen[-1] if seen else 0, raw=True)
        assert reading.head >= head
        head = reading.head
        seen += [recorded.position for recorded in reading]
        assert not seen or seen[-1] <= head <= store.head()
    return seen


def echo(url: str, times: str) -> None:
    """Answer each ping with a pong."""
    with sacho.connect(url) as store, store.subscribe(Query(QueryItem(types=["Ping"])), raw=True) as live:
        acknowledge("listening")
        for number in range(int(times)):
            recorded = live.next(timeout=WAIT)
            assert recorded is not None
            store.append("pong-1", [RawEvent("Pong", number)])


def read_in_little_memory(url: str, way: str) -> None:
    """Read the whole log and tell how many events there were and how much memory was needed above the start, in KiB."""
    queries = {"type": Query(QueryItem(types=["Long"])), "tag": Query(QueryItem(tags=["k:1"]))}
    query = queries.get(way, Query())
    with sacho.connect(url) as store:
        for _ in store.read_all(query, raw=True, limit=100):
            pass
        start = _kib("VmRSS")
        reading = store.read("long-0", raw=True) if way == "stream" else store.read_all(query, raw=True)
        total = sum(1 for _ in reading)
    acknowledge([total, _kib("VmHWM") - start])


def read_for_ever(url: str, threads: str) -> None:
    """Read the whole log again and again."""
    with sacho.connect(url) as store:
        acknowledge("reading")

        def read(_: int) -> None:
            while True:
                sum(1 for _ in store.read_all(raw=True))

        in_threads(read, int(threads))


def _kib(name: str) -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name))


# --- locks, permissions, forks ------------------------------------------------------------------------


def open_and_close(url: str, times: str) -> None:
    """Open the log, read and append nothing, and close it, again and again."""
    for _ in range(int(times)):
        with sacho.connect(url) as store:
            store.head()
            list(store.read_all(raw=True, limit=1))


def open_at_once(url: str, times: str) -> None:
    """Open new logs at the same time as others do; all wait for a line on standard input before each."""
    for number in range(int(times)):
        acknowledge("ready")
        sys.stdin.readline()
        with sacho.connect(f"{url}-{number}.db") as store:
            store.append("new-1", [RawEvent("New", None)])


def hold_the_lock(path: str) -> None:
    """Hold the write lock of a log until killed."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    acknowledge("held")
    threading.Event().wait()


def try_to_append(url: str) -> None:
    """Append once; tell the name of the error, or none."""
    with sacho.connect(url) as store:
        try:
            store.append("tried-1", [RawEvent("Tried", None)])
            acknowledge(None)
        except StorageError as error:
            acknowledge(type(error).__name__)


def use_as_nobody(url: str, spare: str) -> None:
    """Give up all rights, then open, read and append; tell what came of each.

    Everything is used once before, as a user without rights may not be able to read the packages.
    """
    with sacho.connect(spare) as store:
        store.append("s-1", [RawEvent("A", 1)])
        list(store.read_all(raw=True))
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    acknowledge(uses(url))


def uses(url: str) -> dict[str, object]:
    """Open, read, append, and tell what came of each: a result, or an error's name."""
    found: dict[str, object] = {}
    try:
        with sacho.connect(url) as store:
            found["read"] = [recorded.event.data for recorded in store.read_all(raw=True)]
            found["head"] = store.head()
            with store.subscribe(raw=True) as live:
                first = live.next(timeout=WAIT)
                found["subscribe"] = first and first.position
            try:
                found["append"] = store.append("s-1", [RawEvent("A", "new")]).position
            except StorageError as error:
                found["append"] = type(error).__name__
    except StorageError as error:
        found["error"] = type(error).__name__
    return found


def connect_with(change: Callable[[str], str], settings: str = "") -> list[sqlite3.Connection]:
    """Have all connections made from now on run changed statements; return the list that they will stand in."""
    made: list[sqlite3.Connection] = []

    class Changed(sqlite3.Connection):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            if settings:
                super().execute(settings)
            made.append(self)

        def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
            return super().execute(change(statement), *values)

    original = sqlite3.connect
    sqlite3.connect = lambda *arguments, **named: original(*arguments, **{**named, "factory": Changed})
    return made


def small_log(url: str) -> None:
    """Fill a log that may have 60 pages only, then give it more room; tell how many events were acknowledged."""
    acknowledged = 0
    limited = connect_with(lambda statement: statement, "PRAGMA max_page_count = 60")
    with sacho.connect(url) as store:
        while not (refused := _append_or_name(store)):
            acknowledged += 1
        assert refused == "StorageFull"
        assert _append_or_name(store) == "StorageFull"
        assert store.head() == store.version("small-1") == acknowledged == len(list(store.read_all(raw=True)))
        for connection in limited:
            connection.execute("PRAGMA max_page_count = 1000000")
        assert not _append_or_name(store)
    acknowledge(acknowledged + 1)


def _append_or_name(store: EventStore) -> str:
    try:
        store.append("small-1", [RawEvent("Small", "x" * 3_000)])
        return ""
    except StorageError as error:
        return type(error).__name__


def in_threads(work: Callable[[int], None], count: int) -> None:
    """Run `work` in threads, and raise what one of them raised as soon as it did."""
    errors: list[BaseException] = []

    def safely(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=safely, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    ends = time.monotonic() + SECONDS
    while not errors and time.monotonic() < ends and any(thread.is_alive() for thread in threads):
        for thread in threads:
            thread.join(0.1)
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in threads)


@contextmanager
def switching_often() -> Iterator[None]:
    """Let threads interrupt each other a hundred times as often as they do."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.000_05)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def wal_bytes(path: Path) -> int:
    wal = path.with_name(f"{path.name}-wal")
    return wal.stat().st_size if wal.exists() else 0


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
