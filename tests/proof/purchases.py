"""Purchases with money: what they cost is held, then taken or given back, by one process for each; some are paid too late.

The processes live for seconds. Purses are poor, so that some are refused while money of others is held, and could be
accepted a moment later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TypeAlias

import msgspec

from sacho import CommandRefused, Decider, Event, RecordedEvent, route, stream_id
from sacho.events import CommandTurnedDown, DeadlinePassed
from sacho.reacting import (
    Application,
    Become,
    CancelDeadline,
    Done,
    Moment,
    ProcessManager,
    Reaction,
    Send,
    SetDeadline,
    continues,
    on_deadline,
    on_refusal,
    starts,
)
from sacho.store.ids import new_id_text

PURSES = 5
IN_A_PURSE = 12


class Wanted(Event, type="ProofWanted"):
    purchase: str
    purse: str
    amount: int
    seconds: float


class Paid(Event, type="ProofPurchasePaid"):
    purchase: str


class Closed(Event, type="ProofClosed"):
    purchase: str
    why: str


class Held(Event, type="ProofHeld"):
    purse: str
    purchase: str
    amount: int


class Taken(Event, type="ProofTaken"):
    purse: str
    purchase: str
    amount: int


class GivenBack(Event, type="ProofGivenBack"):
    purse: str
    purchase: str
    amount: int


class Refunded(Event, type="ProofRefunded"):
    purse: str
    purchase: str
    amount: int


class Pay(msgspec.Struct, frozen=True):
    purchase: str


class Close(msgspec.Struct, frozen=True):
    purchase: str
    why: str


class Hold(msgspec.Struct, frozen=True):
    purse: str
    purchase: str
    amount: int


class Take(msgspec.Struct, frozen=True):
    purse: str
    purchase: str


class GiveBack(msgspec.Struct, frozen=True):
    purse: str
    purchase: str


class Refund(msgspec.Struct, frozen=True):
    purse: str
    purchase: str
    amount: int


class TooLittle(CommandRefused):
    pass


class Purchase(Decider[Pay | Close, frozenset[type], Paid | Closed]):
    """Paid once, closed once, in any order: a payment may come late."""

    initial = frozenset()

    def decide(self, command: Pay | Close, state: frozenset[type]) -> Iterator[Paid | Closed]:
        if isinstance(command, Pay) and Paid not in state:
            yield Paid(command.purchase)
        elif isinstance(command, Close) and Closed not in state:
            yield Closed(command.purchase, command.why)

    def evolve(self, state: frozenset[type], event: Paid | Closed) -> frozenset[type]:
        return state | {type(event)}


OfPurse: TypeAlias = Held | Taken | GivenBack | Refunded


class Purse(Decider[Hold | Take | GiveBack | Refund, dict[str, int], OfPurse]):
    """What is held of a purse, by purchase. Nothing guards against the same command twice but that it is handled once."""

    initial: dict[str, int] = {}

    def decide(self, command: Hold | Take | GiveBack | Refund, state: dict[str, int]) -> Iterator[OfPurse]:
        match command:
            case Hold(purse, purchase, amount):
                if sum(state.values()) + amount > IN_A_PURSE:
                    raise TooLittle(f"{purse} has too little for {purchase}")
                yield Held(purse, purchase, amount)
            case Take(purse, purchase):
                yield Taken(purse, purchase, state.get(purchase, 0))
            case GiveBack(purse, purchase):
                yield GivenBack(purse, purchase, state.get(purchase, 0))
            case Refund(purse, purchase, amount):
                yield Refunded(purse, purchase, amount)

    def evolve(self, state: dict[str, int], event: OfPurse) -> dict[str, int]:
        held = state.get(event.purchase, 0)
        if isinstance(event, Held):
            return {**state, event.purchase: held + event.amount}
        return state if isinstance(event, Refunded) else {**state, event.purchase: 0}


class State(msgspec.Struct, frozen=True):
    purse: str = ""
    amount: int = 0
    is_over: bool = False
    is_held: bool = False


class Buying(ProcessManager[State]):
    """Holds, waits for the payment and takes; gives back if it does not come in time; refunds one that comes later."""

    name = "proof-buying"
    initial = State()

    @starts(Wanted, key="purchase")
    def wanted(self, event: Wanted, state: State, moment: Moment) -> Iterator[Reaction]:
        yield Send(Hold(event.purse, event.purchase, event.amount))
        yield SetDeadline("payment", moment.now + timedelta(seconds=event.seconds))
        yield Become(State(event.purse, event.amount))

    @continues(Held, key="purchase")
    def held(self, event: Held, state: State, moment: Moment) -> Iterator[Reaction]:
        yield Become(msgspec.structs.replace(state, is_held=True))
        yield SetDeadline("payment", moment.now + timedelta(seconds=1))

    @continues(Paid, key="purchase", when_done=True)
    def paid(self, event: Paid, state: State, moment: Moment) -> Iterator[Reaction]:
        if not state.is_held:
            yield Send(Refund(state.purse, event.purchase, state.amount))
            if state.is_over:
                yield Done()
            return
        yield CancelDeadline("payment")
        yield Send(Take(state.purse, event.purchase))
        yield Send(Close(event.purchase, "paid"), at=moment.now + timedelta(seconds=0.3))
        yield Become(msgspec.structs.replace(state, is_held=False, is_over=True))
        yield Done()

    @on_deadline("payment")
    def overdue(self, deadline: DeadlinePassed, state: State, moment: Moment) -> Iterator[Reaction]:
        if not state.is_held:
            yield SetDeadline("payment", moment.now + timedelta(seconds=0.5))
            return
        yield Send(GiveBack(state.purse, deadline.key))
        yield Send(Close(deadline.key, "not paid"))
        yield Become(msgspec.structs.replace(state, is_held=False, is_over=True))
        yield Done()

    @on_refusal(Hold)
    def refused(self, refusal: CommandTurnedDown, state: State, moment: Moment) -> Iterator[Reaction]:
        yield Send(Close(refusal.key, refusal.reason))
        yield Become(msgspec.structs.replace(state, is_over=True))
        yield Done()


def application(url: str) -> Application:
    """Return the application."""
    routes = [
        route(Purchase(), (Pay, Close), stream=lambda command: stream_id("purchase", command.purchase)),
        route(Purse(), (Hold, Take, GiveBack, Refund), stream=lambda command: stream_id("purse", command.purse)),
    ]
    return Application(url, consumers=[Buying], routes=routes)


def place(app: Application, chance: Random) -> None:
    """Want something; pay for it by a stored command: soon, about when its time is over, or not at all."""
    purchase = new_id_text()
    purse, amount = f"p{chance.randrange(PURSES)}", chance.randint(1, 5)
    app.store.append(f"wanted-{purchase}", [Wanted(purchase, purse, amount, chance.uniform(0.2, 2.0))])
    if chance.random() < 0.7:
        at = datetime.now(UTC) + timedelta(seconds=chance.choice([0.0, 0.1, 1.0, 1.2, 2.5]))
        app.bus.store(Pay(purchase), at=at if chance.random() < 0.8 else None)


def faults(events: Sequence[RecordedEvent]) -> list[str]:
    """Return what is wrong with the money at the end."""
    found: list[str] = []
    counts: dict[str, Counter[type]] = {}
    amounts: dict[str, Counter[type]] = {}
    turned_down: set[str] = set()
    for event in (one.event for one in events):
        if isinstance(event, CommandTurnedDown):
            turned_down.add(event.key)
        elif isinstance(event, Wanted | Paid | Closed | Held | Taken | GivenBack | Refunded):
            counts.setdefault(event.purchase, Counter())[type(event)] += 1
            amounts.setdefault(event.purchase, Counter())[type(event)] += getattr(event, "amount", 0)
    for purchase, count in counts.items():
        amount = amounts[purchase]
        if any(times > 1 for times in count.values()):
            found.append(f"{purchase}: something happened twice: {count}")
        if count[Held] + (purchase in turned_down) != 1:
            found.append(f"{purchase}: held {count[Held]} times, refused: {purchase in turned_down}")
        if amount[Held] != amount[Taken] + amount[GivenBack]:
            found.append(f"{purchase}: of what was held, not all was taken or given back, once: {amount}")
        if count[Paid] != count[Taken] + count[Refunded]:
            found.append(f"{purchase}: a payment was neither used nor refunded, or both: {count}")
        if not count[Closed]:
            found.append(f"{purchase}: never closed")
    return found
