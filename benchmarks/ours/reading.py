"""Sacho's reads, from logs that were built once; a file is copied for each round, which is not timed."""

from __future__ import annotations

import time

import sacho
from benchmarks.domain import SEAT_TYPE, conference_id, reservation
from benchmarks.job import Job
from benchmarks.ours.logs import for_reading, prepared
from benchmarks.ours.seats import Command, SeatsAdded, SeatsDecider, SeatsEvent, SeatsReserved, State
from benchmarks.timing import seconds
from sacho import CommandHandler, EventStore

ENTITY_EVENTS = 1_000
PASSES = 5
ENTITIES = "entities"
LOG = "log"


def build_entities(job: Job) -> float:
    """Build entities of 1,000 events; return events a second."""
    entities = job.count(20, 2)
    with sacho.connect(prepared(job, ENTITIES)) as store:
        return entities * ENTITY_EVENTS / seconds(lambda: _build(store, entities, ENTITY_EVENTS))


def load_entities(job: Job) -> float:
    """Events a second: entities of 1,000 events folded to their state, one after the other, from the log each time."""
    with sacho.connect(for_reading(job, ENTITIES)) as store:
        handler: CommandHandler[Command, State, SeatsEvent] = CommandHandler(store, SeatsDecider())
        streams = [info.stream for info in store.streams("seats")]

        def load_all(passes: int) -> None:
            for stream in streams * passes:
                if handler.load(stream).version != ENTITY_EVENTS:
                    raise AssertionError(f"{stream} was not loaded whole")

        load_all(1)
        took = seconds(lambda: load_all(PASSES))
        return PASSES * len(streams) * ENTITY_EVENTS / took


def build_log(job: Job) -> float:
    """Build the log that is read; return events a second."""
    events = job.count(100_000, 2_000)
    with sacho.connect(prepared(job, LOG)) as store:
        return events / seconds(lambda: _build(store, events // 100, 100))


def read_log(job: Job) -> float:
    """Events a second: every event of the log as a RecordedEvent with its typed event, in order."""
    with sacho.connect(for_reading(job, LOG)) as store:
        _read(store, 1_000)
        started = time.perf_counter()
        count = _read(store, None)
        return count / (time.perf_counter() - started)


def _build(store: EventStore, entities: int, events: int) -> None:
    """Append entities of so many events, a whole one at a time."""
    for entity in range(entities):
        added = SeatsAdded(conference_id(entity), SEAT_TYPE, 10 * events)
        reserved = [SeatsReserved(*reservation(entity, number)) for number in range(1, events)]
        store.append(f"seats-{entity}", [added, *reserved], expected=0)


def _read(store: EventStore, limit: int | None) -> int:
    count = 0
    for recorded in store.read_all(limit=limit):
        count += recorded.event.seats > 0
    return count
