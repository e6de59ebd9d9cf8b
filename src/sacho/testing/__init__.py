"""For tests: given/when/then for deciders and process managers, simulation, and the conformance suite for storage engines."""

from sacho.testing.given_when_then import Given, GivenFor, When, given_for
from sacho.testing.processes import GivenForProcess, GivenProcess, ManualClock, WhenProcess, given_process
from sacho.testing.simulation import (
    CALM,
    Actor,
    Chances,
    Counts,
    Played,
    Report,
    Simulation,
    SimulationFailed,
    World,
    simulate,
)

__all__ = [
    "CALM",
    "Actor",
    "Chances",
    "Counts",
    "Given",
    "GivenFor",
    "GivenForProcess",
    "GivenProcess",
    "ManualClock",
    "Played",
    "Report",
    "Simulation",
    "SimulationFailed",
    "When",
    "WhenProcess",
    "World",
    "given_for",
    "given_process",
    "simulate",
]
