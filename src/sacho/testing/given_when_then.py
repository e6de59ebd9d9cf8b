"""Tests of deciders that read like their rules: given these events, when this command, then these events.

    given = given_for(SeatsAvailability())

    def test_a_reservation_takes_what_is_left() -> None:
        given(TEN_GA_SEATS).when(MakeReservation("r1", {"GA": 12})).then(SeatsReserved("c1", "r1", {"GA": 10}, ...))

Source of the form: Greg Young's "SimpleCQRS" specifications and Emmett's DeciderSpecification.
"""

from __future__ import annotations

from collections.abc import Iterable
from pprint import pformat
from typing import Any, Generic, Protocol, TypeVar

from sacho.deciding import Decider

C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E")


class GivenFor(Protocol[C, S, E]):
    """What `given_for` returns: the events that have happened, one after the other."""

    def __call__(self, *events: E) -> Given[C, S, E]:
        """Say which events have happened."""


def given_for(decider: Decider[C, S, E]) -> GivenFor[C, S, E]:
    """Return `given`, the beginning of each scenario of this decider."""

    def given(*events: E) -> Given[C, S, E]:
        return Given(decider, events)

    return given


class Given(Generic[C, S, E]):
    """What has happened before."""

    def __init__(self, decider: Decider[C, S, E], events: Iterable[E]) -> None:
        self._decider = decider
        self._events = tuple(events)
        self._state()

    def when(self, command: C) -> When[S, E]:
        """Let the decider decide a command. What it raises is kept for `then_refused`."""
        state = self._state()
        try:
            events: list[E] = list(self._decider.decide(command, state))
        except Exception as refusal:
            return When(command, state, [], refusal)
        return When(command, self._decider.fold(state, events), events, None)

    def state_is(self, expected: S) -> None:
        """Assert the state that the events lead to."""
        assert_equal("the state after what was given", self._state(), expected)

    def _state(self) -> S:
        return self._decider.fold(self._decider.initial, self._events)


class When(Generic[S, E]):
    """What came of the command."""

    def __init__(self, command: object, state: S, events: list[E], refusal: Exception | None) -> None:
        self._command = command
        self._state = state
        self._events = events
        self._refusal = refusal

    def then(self, *expected: E) -> When[S, E]:
        """Assert that exactly these events happen, in this order."""
        self._assert_decided()
        assert_equal(f"the events of {self._command!r}", self._events, list(expected))
        return self

    def then_nothing(self) -> When[S, E]:
        """Assert that nothing happens, and that this is no refusal."""
        return self.then()

    def then_refused(self, kind: type[Exception], text: str = "") -> Any:
        """Assert that the command is refused with an error of this kind, with `text` in its message; return the error."""
        if self._refusal is None:
            raise AssertionError(f"{self._command!r} was not refused but led to\n{pformat(self._events)}")
        if not isinstance(self._refusal, kind) or text not in str(self._refusal):
            wanted = f"{kind.__name__} with {text!r}" if text else kind.__name__
            raise AssertionError(f"{self._command!r} was refused by {self._refusal!r}, not {wanted}") from self._refusal
        return self._refusal

    def state_is(self, expected: S) -> When[S, E]:
        """Assert the state after the events."""
        self._assert_decided()
        assert_equal(f"the state after {self._command!r}", self._state, expected)
        return self

    def _assert_decided(self) -> None:
        if self._refusal is not None:
            raise AssertionError(f"{self._command!r} was refused: {self._refusal!r}") from self._refusal


def assert_equal(what: str, found: object, expected: object) -> None:
    """Raise AssertionError that shows both, unless they are equal."""
    if found != expected:
        raise AssertionError(f"{what}:\n{pformat(found)}\nexpected:\n{pformat(expected)}")
