"""Tests of process managers that read like their rules, with a clock in hand.

given = given_process(Registration(), now=NOW)

def test_an_order_that_is_not_paid_is_rejected() -> None:
    given(OrderPlaced("o1", ...)).when_due("payment").then(Send(RejectOrder("o1")), Done())
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pprint import pformat
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from sacho.events import (
    CommandTurnedDown,
    DeadlinePassed,
    RecordedEvent,
    deadline_stream,
    refusal_stream,
    type_name_of,
)
from sacho.reacting.processes import ProcessManager, Reaction
from sacho.reacting.processes.stepping import NOT_BEGUN, Process, Step, Stepping
from sacho.testing.given_when_then import assert_equal

S = TypeVar("S")


class ManualClock:
    """A clock that stands until it is moved; hand it to an application: `Application(..., clock=ManualClock(NOW))`."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """Return the time it shows."""
        return self.now

    def advance(self, **parts: float) -> datetime:
        """Move it on (`minutes=15`, as for timedelta; below zero, back) and return the time it shows then."""
        self.now += timedelta(**parts)
        return self.now


class GivenForProcess(Protocol[S]):
    """What `given_process` returns: the events that a process took before, one after the other."""

    def __call__(self, *events: Any) -> GivenProcess[S]:
        """Say which events have come."""


def given_process(manager: ProcessManager[S], *, now: datetime) -> GivenForProcess[S]:
    """Return `given`, the beginning of each scenario of this process manager, at a time (with a time zone)."""

    def given(*events: Any) -> GivenProcess[S]:
        found = GivenProcess(manager, now)
        for event in events:
            found = found.and_then(event)
        return found

    return given


class GivenProcess(Generic[S]):
    """A process at a moment. Its methods return new ones; events that are none of the process's lead to nothing."""

    def __init__(
        self, manager: ProcessManager[S], now: datetime, process: Process = NOT_BEGUN, position: int = 0
    ) -> None:
        self._manager = manager
        self._stepping = Stepping(manager, _stored_form)
        self._now = now
        self._process = process
        self._position = position

    def and_then(self, event: Any) -> GivenProcess[S]:
        """Let the process take one more event. Raises what its method raises."""
        step = self._step(event)
        return self._after(step)

    def at(self, now: datetime) -> GivenProcess[S]:
        """Let it be another time."""
        return GivenProcess(self._manager, now, self._process, self._position)

    def when(self, event: Any) -> WhenProcess[S]:
        """Let the process take an event. What its method raises is kept for `then_fails`."""
        try:
            step = self._step(event)
        except Exception as error:
            return WhenProcess(self, event, None, error)
        return WhenProcess(self._after(step), event, step, None)

    def when_due(self, name: str) -> WhenProcess[S]:
        """Let the time of a deadline come that the process waits for."""
        last = self._process.last
        pending = last.deadlines.get(name) if last else None
        if last is None or pending is None:
            raise AssertionError(f"the process waits for no deadline {name!r}, but {sorted(self.deadlines)}")
        event = DeadlinePassed(last.process, last.key, name, pending.due_at, pending.set_by)
        return self.at(max(self._now, pending.due_at)).when(event)

    def when_refused(self, command: Any, refusal: Exception) -> WhenProcess[S]:
        """Let a command that the process sent be refused."""
        last = self._process.last
        if last is None:
            raise AssertionError("the process was not begun, and has sent no command")
        name, data = _stored_form(command)
        event = CommandTurnedDown(last.process, last.key, "of a test", name, data, type(refusal).__name__, str(refusal))
        return self.when(event)

    @property
    def state(self) -> S:
        """The state of the process."""
        found: S = self._stepping.state(self._process)
        return found

    @property
    def deadlines(self) -> Mapping[str, datetime]:
        """The times of the deadlines that the process waits for, by name."""
        last = self._process.last
        return {name: one.due_at for name, one in last.deadlines.items()} if last else {}

    @property
    def is_done(self) -> bool:
        """Whether the process has ended."""
        return self._process.last is not None and self._process.last.is_done

    def _step(self, event: Any) -> Step | None:
        recorded = self._recorded(event)
        return self._stepping.step(self._process, recorded, self._now) if self._manager.concerns(recorded) else None

    def _after(self, step: Step | None) -> GivenProcess[S]:
        process = self._process if step is None else Process(self._process.version + 1, step.advanced)
        return GivenProcess(self._manager, self._now, process, self._position + 1)

    def _recorded(self, event: Any) -> RecordedEvent:
        position = self._position + 1
        stream = "test-1"
        if isinstance(event, DeadlinePassed):
            stream = deadline_stream(self._manager.stream_of(event.key))
        elif isinstance(event, CommandTurnedDown):
            stream = refusal_stream(self._manager.stream_of(event.key))
        at = round(self._now.timestamp() * 1_000_000)
        return RecordedEvent(
            position, stream, position, type_name_of(type(event)), 1, event, position.to_bytes(16), None, None, at
        )


class WhenProcess(Generic[S]):
    """What came of an event."""

    def __init__(self, after: GivenProcess[S], event: object, step: Step | None, error: Exception | None) -> None:
        self._after = after
        self._event = event
        self._reactions = step.reactions if step else []
        self._error = error

    def then(self, *expected: Reaction) -> WhenProcess[S]:
        """Assert that the process reacts in exactly this way, in this order."""
        self._assert_taken()
        assert_equal(f"the reactions to {self._event!r}", self._reactions, list(expected))
        return self

    def then_sends(self, *commands: Any) -> WhenProcess[S]:
        """Assert that the process sends exactly these commands, in this order, whatever else it does."""
        self._assert_taken()
        sent = [one.command for one in self._reactions if hasattr(one, "command")]
        assert_equal(f"the commands sent upon {self._event!r}", sent, list(commands))
        return self

    def then_nothing(self) -> WhenProcess[S]:
        """Assert that the process does nothing about it."""
        return self.then()

    def then_fails(self, kind: type[Exception], text: str = "") -> Exception:
        """Assert that an error of this kind is raised, with `text` in its message; return it."""
        if self._error is None:
            raise AssertionError(f"{self._event!r} did not fail but led to\n{pformat(self._reactions)}")
        if not isinstance(self._error, kind) or text not in str(self._error):
            raise AssertionError(f"{self._event!r} failed by {self._error!r}, not {kind.__name__}") from self._error
        return self._error

    def state_is(self, expected: S) -> WhenProcess[S]:
        """Assert the state after it."""
        self._assert_taken()
        assert_equal(f"the state after {self._event!r}", self._after.state, expected)
        return self

    def deadlines_are(self, expected: Mapping[str, datetime]) -> WhenProcess[S]:
        """Assert all deadlines that the process waits for after it, by name."""
        self._assert_taken()
        assert_equal(f"the deadlines after {self._event!r}", dict(self._after.deadlines), dict(expected))
        return self

    def is_done(self) -> WhenProcess[S]:
        """Assert that the process has ended."""
        self._assert_taken()
        if not self._after.is_done:
            raise AssertionError(f"the process goes on after {self._event!r}")
        return self

    @property
    def after(self) -> GivenProcess[S]:
        """The process after it, for what comes next."""
        self._assert_taken()
        return self._after

    def _assert_taken(self) -> None:
        if self._error is not None:
            raise AssertionError(f"{self._event!r} failed: {self._error!r}") from self._error


def _stored_form(command: Any) -> tuple[str, Any]:
    values: Any = msgspec.to_builtins(command, str_keys=True)
    return type(command).__name__, values
