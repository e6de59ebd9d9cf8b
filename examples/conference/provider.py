"""A payment provider that is simulated: it takes money, or not, or says nothing, or says it twice; by a plan, or by a seed.

It is outside: it knows payments by their ids and tells what became of them by notices. Notices may come late and more than
once; each has an id of its own, which the command that it becomes is handled once by. Asked the same twice, it moves money
once, as real providers do by their "idempotency keys".
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final, Literal, TypeAlias

import msgspec

from examples.conference.payments import CompletePayment, RejectPayment
from sacho.deciding import Envelope

Behaviour: TypeAlias = Literal["success", "failure", "timeout", "twice"]
"""`timeout`: the provider says nothing until `settle` is called, as when the registrant is slow."""
BEHAVIOURS: Final[tuple[Behaviour, ...]] = ("success", "failure", "timeout", "twice")


class Charge(msgspec.Struct, frozen=True):
    """Take the money of a payment."""

    payment_id: str
    amount: Decimal


class GiveBack(msgspec.Struct, frozen=True):
    """Give the money of a payment back."""

    payment_id: str
    amount: Decimal


class Notice(msgspec.Struct, frozen=True):
    """What the provider tells: whether a payment has succeeded. The same notice has the same id."""

    id: str
    payment_id: str
    has_succeeded: bool


def command_of(notice: Notice) -> CompletePayment | RejectPayment:
    """Return what a notice means to the application."""
    return (CompletePayment if notice.has_succeeded else RejectPayment)(notice.payment_id)


class SimulatedProvider:
    """Behaves by `plan` for the payments named there, else by `usually`, else by a throw of dice that `seed` decides.

    `notify`, which the application sets, is called with each notice, in the thread that charges or settles; what it raises
    reaches the caller, who may ask again. Thread-safe. `charged` and `given_back` say what money has moved, by payment.
    """

    def __init__(
        self,
        *,
        plan: Mapping[str, Behaviour] | None = None,
        usually: Behaviour | None = None,
        seed: int = 0,
    ) -> None:
        self.notify: Callable[[Notice], object] = _nobody_listens
        self.plan = plan or {}
        self.usually = usually
        self.seed = seed
        self.charged: dict[str, Decimal] = {}
        self.given_back: dict[str, Decimal] = {}
        self._outcomes: dict[str, bool] = {}
        self._open: dict[str, Decimal] = {}
        self._lock = threading.Lock()

    def behaviour(self, payment_id: str) -> Behaviour:
        """Return how the provider behaves about a payment: always the same."""
        planned = self.plan.get(payment_id, self.usually)
        return random.Random(f"{self.seed} {payment_id}").choice(BEHAVIOURS) if planned is None else planned

    def charge(self, command: Charge, envelope: Envelope) -> None:
        """Take money, and tell; or leave that to `settle`."""
        behaviour = self.behaviour(command.payment_id)
        with self._lock:
            if command.payment_id not in self._outcomes:
                self._open[command.payment_id] = command.amount
        if behaviour != "timeout":
            for _ in range(2 if behaviour == "twice" else 1):
                self.settle(command.payment_id, has_succeeded=behaviour != "failure")

    def settle(self, payment_id: str, *, has_succeeded: bool = True) -> None:
        """Let a payment come to its end, and tell. It has one end; a second call only tells again.

        Raises KeyError for a payment that it was never asked for.
        """
        with self._lock:
            if payment_id not in self._outcomes:
                amount = self._open.pop(payment_id)
                self._outcomes[payment_id] = has_succeeded
                if has_succeeded:
                    self.charged[payment_id] = amount
            outcome = self._outcomes[payment_id]
        self.notify(Notice(f"notice of {payment_id}", payment_id, outcome))

    def give_back(self, command: GiveBack, envelope: Envelope) -> None:
        """Give money back, once."""
        with self._lock:
            self.given_back.setdefault(command.payment_id, command.amount)


def _nobody_listens(notice: Notice) -> None:
    raise RuntimeError(f"nobody listens to {notice}; set notify")
