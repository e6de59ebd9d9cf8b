"""Reads: one entity folded from its events, and the whole log as typed events."""

from benchmarks.benchmark import Benchmark, Comparison, Side

LOAD = Benchmark(
    "load-entity",
    "events/s",
    prepare=(
        Side("entities of 1,000 (sacho)", "benchmarks.ours.reading:build_entities"),
        Side("entities of 1,000 (eventsourcing)", "benchmarks.peers.eventsourcing_app:build_entities"),
    ),
    sides=(
        Side("sacho", "benchmarks.ours.reading:load_entities"),
        Side("eventsourcing", "benchmarks.peers.eventsourcing_app:load_entities"),
    ),
    comparisons=(
        Comparison("load an entity of 1,000 events vs eventsourcing", "sacho", "eventsourcing", at_least=8.0),
    ),
)

LOG = Benchmark(
    "read-log",
    "events/s",
    prepare=(
        Side("log of 100,000 (sacho)", "benchmarks.ours.reading:build_log"),
        Side("log of 100,000 (eventsourcing)", "benchmarks.peers.eventsourcing_app:build_log"),
    ),
    sides=(
        Side("sacho", "benchmarks.ours.reading:read_log"),
        Side("eventsourcing", "benchmarks.peers.eventsourcing_app:read_log"),
    ),
    comparisons=(
        Comparison("read the whole log vs eventsourcing with its mapper", "sacho", "eventsourcing", at_least=3.0),
    ),
)

READING = (LOAD, LOG)
