"""The write side: a decider says what happens, a handler loads the state, lets it decide, and appends."""

from sacho.deciding.aggregate import Aggregate, AggregateDecider
from sacho.deciding.command_handler import CommandHandler
from sacho.deciding.decider import Decider
from sacho.deciding.outcome import Loaded, Outcome
from sacho.deciding.retry import Retry

__all__ = ["Aggregate", "AggregateDecider", "CommandHandler", "Decider", "Loaded", "Outcome", "Retry"]
