"""Commands: a rush on one entity, and one caller going through many."""

from benchmarks.benchmark import Benchmark, Comparison, Side

HOT_ENTITY = Benchmark(
    "hot-entity",
    "commands/s",
    sides=(
        Side("sacho", "benchmarks.ours.deciding:hot_entity"),
        Side("CRUD counter", "benchmarks.peers.crud_counter:sixty_four_tasks"),
        Side("eventsourcing", "benchmarks.peers.eventsourcing_app:hot_entity"),
    ),
    comparisons=(
        Comparison("64 tasks booking one conference vs the CRUD counter", "sacho", "CRUD counter", at_least=1.0),
        Comparison("the same vs eventsourcing, retry loop, 16 threads", "sacho", "eventsourcing", at_least=5.0),
    ),
)

DECIDE = Benchmark(
    "decide",
    "commands/s",
    sides=(
        Side("sacho", "benchmarks.ours.deciding:load_decide_append"),
        Side("eventsourcing", "benchmarks.peers.eventsourcing_app:load_decide_append"),
        Side("sacho, cached", "benchmarks.ours.deciding:cached_decide_append"),
        Side("eventsourcing, cached", "benchmarks.peers.eventsourcing_app:cached_decide_append"),
    ),
    comparisons=(
        Comparison("load ≤ 20 events + decide + append vs eventsourcing", "sacho", "eventsourcing", at_least=2.0),
        Comparison("the same, both with their cache", "sacho, cached", "eventsourcing, cached"),
    ),
)

DECIDING = (HOT_ENTITY, DECIDE)
