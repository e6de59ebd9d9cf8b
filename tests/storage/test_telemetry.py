"""An engine can be watched through OpenTelemetry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import sacho
from sacho import NO_STREAM, RawEvent
from sacho.errors import WrongExpectedVersion
from sacho.storage.telemetry import observe


def collected(reader: InMemoryMetricReader) -> dict[str, Any]:
    data = reader.get_metrics_data()
    found = [] if data is None else data.resource_metrics
    return {
        metric.name: metric.data.data_points[0]
        for resource in found
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def test_appends_conflicts_and_sizes_are_reported_until_the_engine_is_closed(tmp_path: Path) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    with sacho.connect(f"sqlite:///{tmp_path / 'log.db'}") as store:
        observe(store.storage, provider)
        store.append("a-1", [RawEvent("A", 1), RawEvent("A", 2)], expected=NO_STREAM)
        with pytest.raises(WrongExpectedVersion):
            store.append("a-1", [RawEvent("A", 3)], expected=NO_STREAM)
        found = collected(reader)
        assert found["sacho.appends"].value == 1
        assert found["sacho.conflicts"].value == 1
        assert found["sacho.events"].value == 2
        assert found["sacho.commit.events"].sum == 2
        assert found["sacho.commit.duration"].count == 2
        assert found["sacho.commit.duration"].attributes == {"sacho.engine": "sqlite"}
        assert found["sacho.log.size"].value > 0
        assert found["sacho.append.oldest_in_flight"].value == 0
    assert "sacho.appends" not in collected(reader)
    provider.shutdown()


def test_an_observer_that_raises_does_not_make_an_append_fail(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("observer")

    with sacho.connect("memory://") as store:
        store.storage.observe(fail)
        assert store.append("a-1", [RawEvent("A", 1)]).version == 1
    assert "observer" in caplog.text
