"""The race: hundreds of registrants want seats of one conference at once, from several threads and two processes."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

import msgspec

import sacho
from examples.conference.audit import Audit
from examples.conference.seats import (
    AddSeats,
    CancelReservation,
    CommitReservation,
    MakeReservation,
    Seats,
    SeatsAvailability,
    seats_stream,
)
from sacho import CommandHandler, EventStore, Query, QueryItem

ON_SALE: Final[Seats] = {"general": 120, "workshop": 40, "cocktail": 60}
PROCESSES: Final = 2
THREADS: Final = 8
STORE: Final = "SACHO_STORE"
"""The variable that tells the processes of a race which store to use."""


class Result(msgspec.Struct, frozen=True):
    """What a race came to. `faults` are the promises that were broken; a sound race has none."""

    conference_id: str
    registrants: int
    processes: int
    threads: int
    events: int
    on_sale: Seats
    remaining: Seats
    held: Seats
    complete: int
    partial: int
    nothing: int
    cancelled: int
    faults: list[str]

    @property
    def is_sound(self) -> bool:
        """Whether every promise was kept."""
        return not self.faults

    def as_json(self) -> str:
        """Return the result as one JSON object, with `sound` in it."""
        return msgspec.json.encode({**msgspec.structs.asdict(self), "sound": self.is_sound}).decode()


class Race:
    """One conference, its seats on sale, and those who want them."""

    def __init__(self, url: str, registrants: int) -> None:
        self.url = url
        self.registrants = registrants
        self.conference_id = str(sacho.uuid7())
        self.stream = seats_stream(self.conference_id)

    def put_on_sale(self, store: EventStore) -> None:
        """Put the seats on sale."""
        handler = CommandHandler(store, SeatsAvailability())
        with sacho.metadata(actor="organiser"):
            for seat_type, quantity in ON_SALE.items():
                handler.handle(self.stream, AddSeats(self.conference_id, seat_type, quantity))

    @contextmanager
    def running(self) -> Iterator[Sequence[subprocess.Popen[bytes]]]:
        """Start the processes that race; whatever happens, none of them goes on after this."""
        share = -(-self.registrants // PROCESSES)
        processes: list[subprocess.Popen[bytes]] = []
        try:
            processes.extend(
                self._process(first, min(first + share, self.registrants))
                for first in range(0, self.registrants, share)
            )
            yield processes
        finally:
            for process in processes:
                process.kill()
                process.wait()

    def result(self, store: EventStore) -> Result:
        """Return what came of the race, judged by the log alone."""
        return judge(store, self.conference_id, self.registrants)

    def _process(self, first: int, last: int) -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            "-m",
            "examples.conference",
            "registrants",
            self.conference_id,
            str(first),
            str(last),
        ]
        environment = {**os.environ, STORE: self.url}  # it may have a password, which arguments would show to all
        # A group of its own: Ctrl-C is for the one who started the race, and may come while this one is still loading.
        return subprocess.Popen(command, env=environment, process_group=0)  # noqa: S603 - our own program


def register(url: str, conference_id: str, numbers: Iterable[int]) -> None:
    """Be these registrants: each wants some seats, most commit to what they got, some give it back."""
    with sacho.connect(url) as store, ThreadPoolExecutor(THREADS) as threads:
        handler = CommandHandler(store, SeatsAvailability())
        for _ in threads.map(lambda number: _register_one(handler, conference_id, number), numbers):
            pass


def wanted_by(number: int) -> Seats:
    """Return what a registrant wants."""
    chance = random.Random(number)
    return {"general": 2} if number % 2 else {"general": 1, "workshop": chance.randint(0, 2), "cocktail": 1}


def _register_one(handler: CommandHandler[Any, Any, Any], conference_id: str, number: int) -> None:
    stream, reservation_id = seats_stream(conference_id), f"r{number}"
    reserve = MakeReservation(conference_id, reservation_id, wanted_by(number))
    ending = CancelReservation if number % 5 == 0 else CommitReservation
    with sacho.metadata(actor=f"registrant {number}"):
        handler.handle(stream, reserve, command_id=f"{conference_id} reserve {number}")
        handler.handle(stream, ending(conference_id, reservation_id), command_id=f"{conference_id} end {number}")


def judge(store: EventStore, conference_id: str, registrants: int) -> Result:
    """Say what came of a race, by the log alone: by the decider's fold, and by an audit that knows nothing of it."""
    state = CommandHandler(store, SeatsAvailability()).load(seats_stream(conference_id)).state
    audit = Audit()
    for recorded in store.read_all(Query(QueryItem(tags=[f"conference:{conference_id}"]))):
        audit.take(recorded)
    answers = [sum(audit.first_held.get(f"r{number}", {}).values()) for number in range(registrants)]
    wishes = [sum(wanted_by(number).values()) for number in range(registrants)]
    complete = sum(1 for got, wanted in zip(answers, wishes, strict=True) if got == wanted)
    nothing = answers.count(0)
    return Result(
        conference_id=conference_id,
        registrants=registrants,
        processes=PROCESSES,
        threads=PROCESSES * THREADS,
        events=audit.events,
        on_sale=audit.on_sale,
        remaining=state.remaining,
        held=audit.held(),
        complete=complete,
        partial=registrants - complete - nothing,
        nothing=nothing,
        cancelled=audit.given_back,
        faults=[*audit.faults, *audit.compare(state.remaining, registrants)],
    )
