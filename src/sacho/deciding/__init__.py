"""The write side: a decider says what happens, a handler loads the state, lets it decide, and appends; a bus finds it."""

from sacho.deciding.aggregate import Aggregate, AggregateDecider
from sacho.deciding.bus import CommandBus
from sacho.deciding.command_handler import CommandHandler
from sacho.deciding.decider import Decider
from sacho.deciding.envelope import Envelope, Origin
from sacho.deciding.outcome import Loaded, Outcome
from sacho.deciding.retry import Retry
from sacho.deciding.routing import Route, call, route
from sacho.deciding.storing import Stored

__all__ = [
    "Aggregate",
    "AggregateDecider",
    "CommandBus",
    "CommandHandler",
    "Decider",
    "Envelope",
    "Loaded",
    "Origin",
    "Outcome",
    "Retry",
    "Route",
    "Stored",
    "call",
    "route",
]
