"""Consumers watched through OpenTelemetry: position, lag, what was handled, what is parked, what stopped.

Asked for when metrics are collected, so it costs the consumers nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final
from weakref import ref

from sacho.errors import MissingExtra, SachoError
from sacho.reacting.administration import Status

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

    from sacho.reacting.application import Application

FRESH_SECONDS: Final = 0.5
"""For how long one look serves all instruments of a collection."""

GAUGES: Final[tuple[tuple[str, str, str, Callable[[Status], float]], ...]] = (
    ("sacho.consumer.position", "{position}", "Up to which position all is handled", lambda one: one.position),
    ("sacho.consumer.lag", "{position}", "How many positions it is behind", lambda one: one.lag_events),
    ("sacho.consumer.lag.duration", "s", "Age of the first event that is not handled", lambda one: one.lag_seconds),
    ("sacho.consumer.rate", "{event}/s", "Events handled a second, while it last worked", lambda one: one.rate),
    ("sacho.consumer.parked", "{event}", "Events that failed and are parked", lambda one: one.parked),
    ("sacho.consumer.waiting", "{event}", "Events that wait behind parked ones", lambda one: one.waiting),
    ("sacho.consumer.stopped", "{partition}", "Partitions that stopped", lambda one: sum(
        1 for part in one.partitions if part.stopped_at is not None)),
    ("sacho.consumer.owned", "{partition}", "Partitions that a worker holds", lambda one: sum(
        1 for part in one.partitions if part.owner is not None)),
)  # fmt: skip
HANDLED: Final = ("sacho.consumer.handled", "{event}", "Events handled")


def observe(app: Application, meter_provider: MeterProvider | None = None) -> None:
    """Report an application's consumers to a meter provider (the global one if none is given), as long as the application lives.

    All instruments carry the attributes `sacho.consumer`, `sacho.consumer.version`, `sacho.consumer.build` and
    `sacho.consumer.state`. Observe one application for each provider. Raises MissingExtra without opentelemetry-api.
    """
    try:
        from opentelemetry import metrics
    except ImportError as error:
        raise MissingExtra("watching with OpenTelemetry", "otel") from error
    meter = metrics.get_meter("sacho", meter_provider=meter_provider)
    look = _Look(app)
    for name, unit, description, of in GAUGES:
        meter.create_observable_gauge(name, [look.callback(of)], unit, description)
    name, unit, description = HANDLED
    meter.create_observable_counter(name, [look.callback(lambda one: one.handled)], unit, description)


class _Look:
    """What the consumers' status was a moment ago."""

    def __init__(self, app: Application) -> None:
        self._app = ref(app)
        self._found: list[Status] = []
        self._at = float("-inf")

    def callback(self, of: Callable[[Status], float]) -> Callable[[CallbackOptions], Iterable[Observation]]:
        """Return what an instrument calls."""
        from opentelemetry.metrics import Observation

        def observed(_: CallbackOptions) -> Iterable[Observation]:
            return [Observation(of(one), _attributes(one)) for one in self._status()]

        return observed

    def _status(self) -> list[Status]:
        app = self._app()
        if app is None:
            return []
        if time.monotonic() - self._at > FRESH_SECONDS:
            try:
                self._found = app.administration.status()
            except SachoError:  # closed, or its database is away: there is nothing to tell
                self._found = []
            self._at = time.monotonic()
        return self._found


def _attributes(one: Status) -> dict[str, str | int]:
    return {
        "sacho.consumer": one.name,
        "sacho.consumer.version": one.version,
        "sacho.consumer.build": one.build,
        "sacho.consumer.state": one.state,
    }
