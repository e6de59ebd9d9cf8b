"""For tests: given/when/then for deciders and process managers, and the conformance suite that every storage engine passes."""

from sacho.testing.given_when_then import Given, GivenFor, When, given_for
from sacho.testing.processes import GivenForProcess, GivenProcess, ManualClock, WhenProcess, given_process

__all__ = [
    "Given",
    "GivenFor",
    "GivenForProcess",
    "GivenProcess",
    "ManualClock",
    "When",
    "WhenProcess",
    "given_for",
    "given_process",
]
