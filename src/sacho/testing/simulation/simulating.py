"""Simulating: many seeds, one after the other, until one breaks what must hold. That one is told, and can be had again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, TypeAlias

from sacho.events import RecordedEvent
from sacho.schema import Encoding, Registry, default_registry
from sacho.store.ids import ids_from
from sacho.testing.simulation.chances import Chances
from sacho.testing.simulation.counts import Counts
from sacho.testing.simulation.running import Run
from sacho.testing.simulation.trace import Trace
from sacho.testing.simulation.world import World

Invariant: TypeAlias = Callable[[Sequence[RecordedEvent]], Iterable[str] | None]
"""Takes the events of the log in order. Raises AssertionError, or returns or yields what is wrong, a sentence each."""

Scenario: TypeAlias = Callable[[World], Invariant | None]
"""Says what the application is and what comes from outside; may return one more invariant, of what is outside the log."""

START: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
HORIZON: Final = timedelta(days=30)
MOST_STEPS: Final = 100_000
LINES_SHOWN: Final = 40
FAULTS_SHOWN: Final = 10


class Played(NamedTuple):
    """A simulation that came to its end: all events of its log, the trace, and counts."""

    seed: int
    events: list[RecordedEvent]
    trace: Trace
    counts: Counts


class Report(NamedTuple):
    """What became of many simulations: how many there were, what happened in all of them, and how long that took."""

    seeds: int
    counts: Counts
    seconds: float

    def __str__(self) -> str:
        return f"{self.seeds:,} seeds in {self.seconds:.1f} s ({self.seeds / max(self.seconds, 1e-9):.0f}/s): {self.counts}"


class SimulationFailed(AssertionError):
    """A seed broke what must hold. Carries `seed`, `faults` (a sentence each), `trace`, `counts` and `events`.

    The same seed fails again in the same way, in any process: `simulate(..., seeds=[seed])`.
    """

    def __init__(self, scenario: str, played: Played, faults: Sequence[str]) -> None:
        self.seed = played.seed
        self.faults = list(faults)
        self.trace = played.trace
        self.counts = played.counts
        self.events = played.events
        shown = [f"  {fault}" for fault in self.faults[:FAULTS_SHOWN]]
        more = len(self.faults) - len(shown)
        lines = list(self.trace.lines(LINES_SHOWN))
        super().__init__(
            "\n".join(
                [
                    f"seed {self.seed} of {scenario} failed ({self.counts}):",
                    *shown,
                    *([f"  and {more} more"] if more else []),
                    f"the last {len(lines)} of {len(self.trace)} lines of its trace (all: error.trace):",
                    *lines,
                    f"to have the same again: simulate({scenario}, ..., seeds=[{self.seed}])",
                ]
            )
        )


class Simulation:
    """A scenario with what must hold of it. `run(seed)` plays it once; see `simulate` for what may be given."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        invariants: Iterable[Invariant] = (),
        always: Iterable[Invariant] = (),
        chances: Chances = Chances(),  # noqa: B008 - a frozen value
        may_park: bool = False,
        start: datetime = START,
        horizon: timedelta = HORIZON,
        most_steps: int = MOST_STEPS,
        registry: Registry | None = None,
    ) -> None:
        self._scenario = scenario
        self._name = getattr(scenario, "__name__", repr(scenario))
        self._invariants = tuple(invariants)
        self._always = tuple(always)
        self._chances = chances
        self._may_park = may_park
        self._start = start
        self._horizon = horizon
        self._most_steps = most_steps
        self._encoding = Encoding(registry or default_registry())

    def run(self, seed: int) -> Played:
        """Play a seed to its end. Raises SimulationFailed."""
        run = Run(seed, self._encoding, self._chances, self._start)
        played = Played(seed, run.events, run.trace, run.counts)
        try:
            with ids_from(run.clock_ns, run.ids):
                faults = self._play(seed, run)
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
            raise SimulationFailed(self._name, played, [f"the simulation met {text}"]) from error
        finally:
            run.store.close()
        if faults:
            raise SimulationFailed(self._name, played, faults)
        return played

    def _play(self, seed: int, run: Run) -> list[str]:
        """Let all happen until nothing more does; return what is wrong."""
        run.begin()
        own = self._scenario(World(seed, run))
        horizon, seen = self._start + self._horizon, 0
        while run.step(horizon):
            if self._always and len(run.events) > seen:
                seen = len(run.events)
                if found := list(_faults(self._always, run.events)):
                    return found
            if run.counts.steps >= self._most_steps:
                return [f"after {run.counts.steps:,} steps it has not come to rest"]
        parked = [] if self._may_park else run.parked
        invariants = (*self._always, *self._invariants, *([own] if own else []))
        return [*parked, *_faults(invariants, run.events)]


def simulate(
    scenario: Scenario,
    *,
    seeds: Iterable[int] = range(100),
    invariants: Iterable[Invariant] = (),
    always: Iterable[Invariant] = (),
    chances: Chances = Chances(),  # noqa: B008 - a frozen value
    may_park: bool = False,
    start: datetime = START,
    horizon: timedelta = HORIZON,
    most_steps: int = MOST_STEPS,
    registry: Registry | None = None,
    progress: Callable[[int], object] | None = None,
) -> Report:
    """Play a scenario once for each seed, until one fails, and say what happened.

    `scenario(world)` says what the application is and what comes from outside. A simulation ends when nothing is on its
    way and nothing is due before the `horizon`, after `start`. `invariants` must hold then, `always` also after each step:
    functions of the recorded events; the scenario may return one, too. `chances` say how often what goes wrong. An event that cannot be handled and would be
    parked is a fault, unless it `may_park`. `progress` is called with the number of seeds done, after each.

    Raises SimulationFailed with the first seed that fails.
    """
    simulation = Simulation(
        scenario,
        invariants=invariants,
        always=always,
        chances=chances,
        may_park=may_park,
        start=start,
        horizon=horizon,
        most_steps=most_steps,
        registry=registry,
    )
    counts, done, began = Counts(), 0, time.perf_counter()
    for seed in seeds:
        counts.add(simulation.run(seed).counts)
        done += 1
        if progress is not None:
            progress(done)
    return Report(done, counts, time.perf_counter() - began)


def _faults(invariants: Iterable[Invariant], events: Sequence[RecordedEvent]) -> Iterator[str]:
    """Yield what invariants find."""
    for invariant in invariants:
        name = getattr(invariant, "__name__", repr(invariant))
        try:
            found: Any = invariant(events)
            yield from (f"{name}: {fault}" for fault in found or ())
        except AssertionError as error:
            yield f"{name}: {error or 'does not hold'}"
