"""The whole application: conferences from their first plan to the last seat, over one log."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from examples.conference.bridge import Bridge
from examples.conference.checks import check_order
from examples.conference.management import CreateConference, create_conference
from examples.conference.money import Money
from examples.conference.provider import Notice, SimulatedProvider, command_of
from examples.conference.race import STORE
from examples.conference.read_models import READ_MODELS
from examples.conference.registration import RegistrationProcess
from examples.conference.routes import authorise, routes
from examples.conference.seating import Seating
from examples.conference.waiting_process import WaitingProcess
from sacho import Envelope, EventStore, call
from sacho.reacting import Application, Consumer

PROCESSES: Final = (Bridge, RegistrationProcess, Seating, Money, WaitingProcess)
"""What leads from one event to the next step."""


def utc_now() -> datetime:
    """Return the present."""
    return datetime.now(UTC)


def application(
    store: str | EventStore | None = None,
    *,
    provider: SimulatedProvider | None = None,
    clock: Callable[[], datetime] = utc_now,
    consumers: Sequence[Consumer | type[Consumer]] = (),
    steps: Sequence[Callable[[Envelope], Envelope]] = (),
) -> Application:
    """Return the application over a store: an open one, one of a URL, or the one that the environment names.

    Its payments go to `provider`, by default one that always succeeds. `consumers` and `steps` of the
    bus are more than its own.
    """
    bank = provider or SimulatedProvider(usually="success")

    def create(command: CreateConference, envelope: Envelope) -> None:
        create_conference(app.store, command, envelope.id)

    def notified(notice: Notice) -> None:
        app.bus.handle(command_of(notice), command_id=notice.id, origin="inbox")

    def checked(envelope: Envelope) -> Envelope:
        check_order(app.store, envelope.command)
        return envelope

    app = Application(
        store or os.environ[STORE],
        consumers=[*PROCESSES, *READ_MODELS, *consumers],
        routes=[call(create, CreateConference), *routes(bank)],
        authorise=authorise,
        steps=[checked, *steps],
        clock=clock,
    )
    bank.notify = notified
    return app
