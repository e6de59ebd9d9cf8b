"""Commands that name their account, for tests of the bus; and functions that note what they are called with."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta

from sacho import CommandBus, Envelope, EventStore, call, route
from sacho.deciding import Retry
from tests.deciding.accounts import Accounts, Balance, Deposit, Pay


class PutIn(msgspec.Struct, frozen=True):
    account: str
    amount: Annotated[int, Meta(ge=1)]


@dataclass(frozen=True)
class TakeOut:
    account: str
    amount: int


class Notify(msgspec.Struct, frozen=True):
    text: str


class Unheard(msgspec.Struct, frozen=True):
    """Has no handler."""


BankCommand: TypeAlias = PutIn | TakeOut


class Bank(Accounts):
    def decide(self, command: Any, state: Balance) -> Iterator[Any]:
        yield from super().decide(Deposit(command.amount) if isinstance(command, PutIn) else Pay(command.amount), state)


def stream_of(command: Any) -> str:
    return f"account-{command.account}"


class Notices:
    """A function for `call`; it notes the envelopes, and raises what it was told to, each once."""

    __name__ = "notices"

    def __init__(self, *errors: Exception) -> None:
        self.envelopes: list[Envelope] = []
        self._errors = list(errors)
        self._lock = threading.Lock()

    def __call__(self, command: Any, envelope: Envelope) -> None:
        with self._lock:
            self.envelopes.append(envelope)
            if self._errors:
                raise self._errors.pop(0)


AT_ONCE = Retry(attempts=4, first_pause=0.0, longest_pause=0.0)


def bank_bus(store: EventStore, notices: Notices | None = None, **options: Any) -> CommandBus:
    routes = [route(Bank(), BankCommand, stream=stream_of), call(notices or Notices(), Notify)]
    return CommandBus(store, routes, **{"retry": AT_ONCE, **options})
