"""Appends: one event or a hundred at a time, by one caller, by threads, by tasks."""

from benchmarks.benchmark import Benchmark, Comparison, Side

ONE = Benchmark(
    "append-one",
    "events/s",
    sides=(
        Side("sacho", "benchmarks.ours.appending:one"),
        Side("sqlite3", "benchmarks.peers.raw_floors:sqlite_rows"),
        Side("eventsourcing", "benchmarks.peers.eventsourcing_app:append_one"),
        Side("fdatasync", "benchmarks.peers.raw_floors:synced_lines"),
    ),
    comparisons=(
        Comparison("one event per append, one thread, vs raw sqlite3", "sacho", "sqlite3", at_least=0.70),
        Comparison("the same vs eventsourcing save", "sacho", "eventsourcing", at_least=1.4),
        Comparison("the same vs append + fdatasync to a file", "sacho", "fdatasync"),
    ),
)

THREADS = Benchmark(
    "append-threads",
    "events/s",
    sides=(
        Side("sacho", "benchmarks.ours.appending:sixteen_threads"),
        Side("umadb", "benchmarks.peers.umadb_server:sixteen_threads"),
    ),
    comparisons=(Comparison("16 threads, one event per append, vs UmaDB 16 threads", "sacho", "umadb", at_least=1.2),),
)

TASKS = Benchmark(
    "append-tasks",
    "events/s",
    sides=(
        Side("sacho", "benchmarks.ours.appending:sixty_four_tasks"),
        Side("umadb", "benchmarks.peers.umadb_server:sixteen_threads"),
    ),
    comparisons=(
        Comparison("64 asyncio tasks, one event per append, vs UmaDB 16 threads", "sacho", "umadb", at_least=3.0),
    ),
)

HUNDRED = Benchmark(
    "append-hundred",
    "events/s",
    sides=(
        Side("sacho", "benchmarks.ours.appending:hundred"),
        Side("eventsourcing", "benchmarks.peers.eventsourcing_app:append_hundred"),
        Side("umadb", "benchmarks.peers.umadb_server:append_hundred"),
    ),
    comparisons=(
        Comparison(
            "100 events per append, ids and tags, vs eventsourcing save", "sacho", "eventsourcing", at_least=2.0
        ),
        Comparison("100 events per append vs UmaDB, same ids and tags", "sacho", "umadb", at_least=1.0),
    ),
)

CONDITION = Benchmark(
    "append-condition",
    "events/s",
    sides=(
        Side("with", "benchmarks.ours.appending:with_condition"),
        Side("without", "benchmarks.ours.appending:without_condition"),
    ),
    comparisons=(Comparison("append with a condition by tag vs without", "with", "without", at_least=0.8),),
)

APPENDING = (ONE, THREADS, TASKS, HUNDRED, CONDITION)
