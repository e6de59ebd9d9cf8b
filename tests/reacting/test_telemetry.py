"""Consumers are watched through OpenTelemetry."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from sacho import Event
from sacho.reacting import Application, Consumer, Delivery, handles
from sacho.reacting.telemetry import observe


class Rung(Event, type="TelemetryRung"):
    loud: bool


class Bell(Consumer):
    """Hears what rings."""

    @handles(Rung)
    def rung(self, event: Rung, delivery: Delivery) -> None:
        assert delivery.recorded.event is event


def figures(reader: InMemoryMetricReader) -> dict[str, list[tuple[Any, Any]]]:
    data: Any = reader.get_metrics_data()
    return {
        metric.name: [(point.value, dict(point.attributes)["sacho.consumer"]) for point in metric.data.data_points]
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def test_position_lag_and_count_are_told_for_each_consumer() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    with Application("memory://", consumers=[Bell]) as app:
        app.store.append("bells-1", [Rung(True)] * 3)
        app.run(once=True)
        app.store.append("bells-1", [Rung(False)] * 2)
        observe(app, provider)
        found = figures(reader)
    provider.shutdown()
    assert found["sacho.consumer.position"] == [(3, "bell")]
    assert found["sacho.consumer.lag"] == [(2, "bell")]
    assert found["sacho.consumer.handled"] == [(3, "bell")]
    assert found["sacho.consumer.stopped"] == [(0, "bell")]
    assert found["sacho.consumer.rate"][0][0] > 0
    assert found["sacho.consumer.owned"] == [(0, "bell")]
    assert found["sacho.consumer.lag.duration"][0][0] >= 0
