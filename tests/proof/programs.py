"""Programs that the proofs run as processes of their own: `python -m tests.proof.programs NAME URL ...`.

An acknowledgement is one line on standard output, written by one system call, after the append has returned.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from random import Random

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
)
from sacho.errors import Conflict

THREADS = 4


def acknowledge(facts: object) -> None:
    os.write(1, json.dumps(facts).encode() + b"\n")


def write_for_ever(url: str) -> None:
    """Append from several threads, to one stream or two at once, one to five events; acknowledge each append."""
    store = sacho.connect(url)

    def write(number: int) -> None:
        random = Random()
        while True:
            batch, count = str(sacho.uuid7()), random.randint(1, 5)
            own, shared = f"own-{os.getpid()}x{number}", f"shared-{random.randint(1, 3)}"
            events = [
                EventData(RawEvent("Written", {"batch": batch, "of": 2 * count, "pad": "x" * 200}), tags=[f"b:{batch}"])
                for _ in range(2 * count)
            ]
            done = store.append_many([Append(own, events[:count]), Append(shared, events[count:])])
            acknowledge({"batch": batch, "of": 2 * count, "position": done[1].position, "version": done[0].version})

    for number in range(THREADS):
        threading.Thread(target=write, args=(number,), daemon=True).start()
    threading.Event().wait()


def write_in_turn(url: str, count: str, synchronous: str) -> None:
    """Append one event after the other, in one thread, and acknowledge each; `synchronous` OFF breaks the promise."""
    with sacho.connect(url) as store:
        if synchronous != "FULL":
            store.storage._writer._connection.execute(f"PRAGMA synchronous = {synchronous}")  # type: ignore[attr-defined]
        os.write(2, b"BEGIN\n")
        for number in range(int(count)):
            done = store.append("seats-1", [RawEvent("Written", {"n": number})], expected=number)
            os.write(2, f"ACK {done.position}\n".encode())


def race_versions(url: str, seed: str, appends: str) -> None:
    """Race for the versions of three streams, with what was read; count what was won and lost."""
    random, won, lost = Random(seed), 0, 0
    with sacho.connect(url) as store:
        for _ in range(int(appends)):
            stream = f"race-{random.randint(1, 3)}"
            version = store.version(stream)
            try:
                store.append(stream, [RawEvent("Won", {"on": version, "by": seed})], expected=version)
                won += 1
            except Conflict:
                lost += 1
    acknowledge([won, lost])


def race_conditions(url: str, seed: str, appends: str) -> None:
    """Append on conditions by tag, type and category; each event records its own condition, for the judge."""
    random = Random(seed)
    with sacho.connect(url) as store:
        won = sum(append_on_condition(store, random) for _ in range(int(appends)))
    acknowledge([won, int(appends) - won])


def append_on_condition(store: EventStore, random: Random) -> int:
    """Read by a random query, then append on condition of it; return 1 if that was accepted, else 0."""
    type, tag, category = (f"{name}{random.randint(1, 3)}" for name in ("T", "k:", "c"))
    asked = {"types": [type], "tags": [tag], "categories": [category]}
    kept = {name: value for name, value in asked.items() if random.random() < 0.5}
    query = Query(QueryItem(**kept))
    found = store.read_all(query, raw=True, backwards=True, limit=1)
    data = {"query": kept, "after": found.head}
    event = EventData(RawEvent(type, data), tags=[tag])
    try:
        store.append(f"{category}-{random.randint(1, 9)}", [event], condition=AppendCondition(query, found.head))
    except Conflict:
        return 0
    return 1


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
    """Send commands for one stream from eight threads."""
    with sacho.connect(url, registry=registry()) as store:
        handler = CommandHandler(store, Booking())

        def work(number: int) -> None:
            for count in range(int(commands)):
                handler.handle("hot-1", f"{name} {number} {count}")

        in_threads(work, 8)
    acknowledge("done")


def write_plainly(url: str, stream: str, count: str) -> None:
    """Append events, one at a time."""
    with sacho.connect(url) as store:
        for number in range(int(count)):
            store.append(stream, [RawEvent("Plain", number)])


def open_and_close(url: str, times: str) -> None:
    """Open the log, read its head and close it, again and again."""
    for _ in range(int(times)):
        with sacho.connect(url) as store:
            store.head()


def read_in_little_memory(url: str) -> None:
    """Read the whole log and tell how many events there were and how much memory was needed above the start, in KiB."""
    with sacho.connect(url) as store:
        for _ in store.read_all(raw=True, limit=100):
            pass
        start = peak = _resident()
        for count, _ in enumerate(store.read_all(raw=True), start=1):
            if count % 20_000 == 0:
                peak = max(peak, _resident())
    acknowledge([count, peak - start])


def in_threads(work: Callable[[int], None], count: int) -> None:
    """Run `work` in threads, and raise what one of them raised."""
    errors: list[BaseException] = []

    def safely(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=safely, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    if errors:
        raise errors[0]


def _resident() -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
