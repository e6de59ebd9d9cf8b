"""A relay's fold is that of the history up to the event, and a long stream is not read from its beginning for each event."""

from __future__ import annotations

from typing import Any

import sacho
from sacho import Decider, Event
from sacho.reacting.messaging.folds import Folds


class Step(Event, type="folds.step"):
    number: int


class Steps(Decider[Any, list[int], Step]):
    """Changes its state in place, and counts how often it evolves."""

    evolved = 0

    @property
    def initial(self) -> list[int]:  # type: ignore[override]
        return []

    def evolve(self, state: list[int], event: Step) -> list[int]:
        Steps.evolved += 1
        state.append(event.number)
        return state


def test_a_state_is_that_of_the_version_asked_for_and_goes_on_from_the_one_before() -> None:
    Steps.evolved = 0
    with sacho.connect("memory://") as store:
        store.append("steps-1", [Step(number) for number in range(1, 101)])
        folds = Folds(store)
        for version in range(1, 101):
            assert len(folds.at(Steps(), "steps-1", version)) == version
        assert Steps.evolved == 100
        assert folds.at(Steps(), "steps-1", 3) == [1, 2, 3]
        assert folds.at(Steps(), "steps-1", 3) == [1, 2, 3]
        assert folds.at(Steps(), "steps-1", 5) == [1, 2, 3, 4, 5]
        assert Steps.evolved == 105
