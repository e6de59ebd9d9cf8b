"""A small domain for tests of the write side: accounts that take deposits, pay, and can be made to fail."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

import msgspec

from sacho import CommandRefused, Decider, Event, EventStore, Registry

T = TypeVar("T")
PATIENCE = 120.0
"""Seconds after which a test says that something hangs."""


class Deposited(Event, register=False):
    amount: int


class Paid(Event, register=False):
    amount: int


class FeeTaken(Event, register=False):
    amount: int


class Spoiled(Event, register=False):
    """No account knows how to go on after this one."""


REGISTRY = Registry(Deposited, Paid, FeeTaken, Spoiled)


class Deposit(msgspec.Struct, frozen=True):
    amount: int = 1


class Pay(msgspec.Struct, frozen=True):
    amount: int


class PayWithFee(msgspec.Struct, frozen=True):
    amount: int
    fee: int


class Look(msgspec.Struct, frozen=True):
    """Changes nothing."""


class Break(msgspec.Struct, frozen=True):
    """Meets a bug in `decide`."""


class Spoil(msgspec.Struct, frozen=True):
    """Meets a bug in `evolve`."""


class NotEnough(CommandRefused):
    def __init__(self, balance: int, wanted: int) -> None:
        self.balance = balance
        self.wanted = wanted
        super().__init__(f"there is {balance}, not {wanted}")


class Balance(msgspec.Struct, frozen=True):
    amount: int = 0
    events: int = 0


class Accounts(Decider[Any, Balance, Any]):
    """Counts how often it was asked to decide and to evolve."""

    initial = Balance()

    def __init__(self) -> None:
        self.decided = 0
        self.evolved = 0

    def decide(self, command: Any, state: Balance) -> Iterator[Any]:
        self.decided += 1
        match command:
            case Deposit(amount):
                yield Deposited(amount)
            case Pay(amount):
                if amount > state.amount:
                    raise NotEnough(state.amount, amount)
                yield Paid(amount)
            case PayWithFee(amount, fee):
                yield Paid(amount)
                if amount + fee > state.amount:
                    raise NotEnough(state.amount, amount + fee)
                yield FeeTaken(fee)
            case Break():
                raise ZeroDivisionError("a bug in decide")
            case Spoil():
                yield Spoiled()

    def evolve(self, state: Balance, event: Any) -> Balance:
        self.evolved += 1
        match event:
            case Deposited(amount):
                return Balance(state.amount + amount, state.events + 1)
            case Paid(amount) | FeeTaken(amount):
                return Balance(state.amount - amount, state.events + 1)
            case _:
                raise LookupError("a bug in evolve")


class Hold(msgspec.Struct, frozen=True):
    """Waits in `decide` until the test opens the gate; so a test knows which commands wait behind it."""


class GatedAccounts(Accounts):
    """Holds whoever decides `Hold`, so that all that is handed in meanwhile makes one batch behind it."""

    def __init__(self, after: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.gate = threading.Event()
        self._after = after

    def decide(self, command: Any, state: Balance) -> Iterator[Any]:
        if isinstance(command, Hold):
            self.entered.set()
            assert self.gate.wait(PATIENCE), "nobody opened the gate"
            self._after()
            command = Deposit()
        yield from super().decide(command, state)


class InterferingAccounts(Accounts):
    """Another writer is always faster: before each of its first decisions somebody deposits 1."""

    def __init__(self, store: EventStore, stream: str, times: int) -> None:
        super().__init__()
        self._store = store
        self._stream = stream
        self._left = times

    def decide(self, command: Any, state: Balance) -> Iterator[Any]:
        if self._left:
            self._left -= 1
            self._store.append(self._stream, [Deposited(1)])
        yield from super().decide(command, state)


def in_thread(work: Callable[[], T]) -> Future[T]:
    """Run `work` in a thread of its own that cannot keep the test run from ending; the future has what it came to."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def at_once(count: int, work: Callable[[int], T]) -> list[T]:
    """Run `work(0)` to `work(count - 1)` in threads that start together; return the results, or raise the first error."""
    start = threading.Barrier(count)

    def run(number: int) -> T:
        start.wait(PATIENCE)
        return work(number)

    futures = [in_thread(lambda number=number: run(number)) for number in range(count)]  # type: ignore[misc]
    return [future.result(timeout=PATIENCE) for future in futures]


def versions(store: EventStore, stream: str) -> list[int | None]:
    return [recorded.version for recorded in store.read(stream)]


def recorded_events(store: EventStore, stream: str) -> list[Any]:
    return [recorded.event for recorded in store.read(stream)]
