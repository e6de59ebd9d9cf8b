"""Processes that do nothing but wait for one deadline each, at a time that the event which begins them says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from sacho import Append, Envelope, Event, EventStore, RecordedEvent, call
from sacho.events import DeadlinePassed, ProcessAdvanced
from sacho.reacting import Application, Done, Moment, ProcessManager, Reaction, SetDeadline, on_deadline, starts

AT_ONCE = 500


class Begun(Event, type="ProofBegun"):
    key: str
    ends_at: datetime


class Remark(msgspec.Struct, frozen=True):
    text: str


class Waiting(ProcessManager[bool]):
    """Waits, and is done."""

    name = "proof-waiting"
    initial = False

    @starts(Begun, key="key")
    def begun(self, event: Begun, state: bool, moment: Moment) -> Iterator[Reaction]:
        yield SetDeadline("end", event.ends_at)

    @on_deadline("end")
    def ended(self, deadline: DeadlinePassed, state: bool, moment: Moment) -> Iterator[Reaction]:
        yield Done()


def remark(command: Remark, envelope: Envelope) -> None:
    """Handle a command that nobody sends; without a route there are no processes."""


def application(url: str) -> Application:
    """Return the application."""
    return Application(url, consumers=[Waiting], routes=[call(remark, Remark)])


def begin(store: EventStore, times: Sequence[datetime]) -> None:
    """Begin a process for each time."""
    for start in range(0, len(times), AT_ONCE):
        some = list(enumerate(times[start : start + AT_ONCE], start))
        store.append_many([Append(f"begun-{number}", [Begun(str(number), time)]) for number, time in some])


class Lateness(NamedTuple):
    """By how many seconds after their times deadlines had passed, and their processes had taken the step; in order."""

    passed: list[float]
    stepped: list[float]


def lateness(events: Sequence[RecordedEvent]) -> Lateness:
    """Return how late all was. Asserts that each deadline passed once, and led to one step that ended its process."""
    passed: dict[str, float] = {}
    stepped: dict[str, float] = {}
    due: dict[str, datetime] = {}
    for recorded in events:
        match recorded.event:
            case DeadlinePassed(_, key, _, due_at):
                assert key not in passed, f"the deadline of {key} passed twice"
                due[key] = due_at
                passed[key] = (recorded.recorded_at - due_at).total_seconds()
            case ProcessAdvanced(is_done=True) as step:
                assert step.key not in stepped, f"{step.key} took the step twice"
                stepped[step.key] = (recorded.recorded_at - due[step.key]).total_seconds()
    assert stepped.keys() == passed.keys()
    return Lateness(sorted(passed.values()), sorted(stepped.values()))


def shown(seconds: Sequence[float], allowed: float) -> str:
    """Return the median, the 99th of 100, the last, and how many took longer than is allowed."""
    p50, p99, last = (seconds[min(len(seconds) - 1, len(seconds) * part // 100)] for part in (50, 99, 100))
    late = sum(one > allowed for one in seconds)
    return f"p50 {p50:.3f} s, p99 {p99:.3f} s, last {last:.3f} s, {late} of {len(seconds)} later than {allowed:g} s"
