"""Simulation: an application's processes in virtual time, by one seed, with crashes and with all that may come twice or late."""

from sacho.testing.simulation.calling import Actor
from sacho.testing.simulation.chances import CALM, Chances
from sacho.testing.simulation.counts import Counts
from sacho.testing.simulation.simulating import Played, Report, Simulation, SimulationFailed, simulate
from sacho.testing.simulation.world import World

__all__ = [
    "CALM",
    "Actor",
    "Chances",
    "Counts",
    "Played",
    "Report",
    "Simulation",
    "SimulationFailed",
    "World",
    "simulate",
]
