"""The same on PostgreSQL, and what only a server has: many processes, and subscribers in others."""

from benchmarks.benchmark import Benchmark, Comparison, Side

ONE = Benchmark(
    "postgres-append-one",
    "events/s",
    sides=(
        Side("sacho", "benchmarks.ours.appending:one"),
        Side("psycopg", "benchmarks.peers.raw_postgres:rows"),
        Side("eventsourcing", "benchmarks.peers.eventsourcing_app:append_one"),
        Side("eventsourcing, no lock", "benchmarks.peers.eventsourcing_app:append_one_without_lock"),
    ),
    comparisons=(
        Comparison("one event per append, one thread, vs eventsourcing save", "sacho", "eventsourcing", at_least=2.3),
        Comparison("the same vs eventsourcing, no lock: followers miss events", "sacho", "eventsourcing, no lock"),
        Comparison("the same vs a prepared INSERT per commit", "sacho", "psycopg"),
    ),
    on_postgres=True,
)

THREADS = Benchmark(
    "postgres-append-threads",
    "events/s",
    sides=(
        Side("sacho", "benchmarks.ours.appending:sixteen_threads"),
        Side("eventsourcing", "benchmarks.peers.eventsourcing_app:sixteen_threads"),
        Side("eventsourcing, no lock", "benchmarks.peers.eventsourcing_app:sixteen_threads_without_lock"),
        Side("sacho, 64 tasks", "benchmarks.ours.appending:sixty_four_tasks"),
    ),
    comparisons=(
        Comparison("16 threads, one event per append, vs eventsourcing", "sacho", "eventsourcing", at_least=5.0),
        Comparison("the same vs eventsourcing, no lock: followers miss events", "sacho", "eventsourcing, no lock"),
        Comparison(
            "64 asyncio tasks, one event per append, vs eventsourcing, 16 threads", "sacho, 64 tasks", "eventsourcing"
        ),
    ),
    on_postgres=True,
)

PROCESSES = Benchmark(
    "postgres-append-processes",
    "events/s",
    sides=(
        Side("4 × 4", "benchmarks.ours.contending:four_by_four"),
        Side("1 × 1", "benchmarks.ours.appending:one"),
    ),
    comparisons=(
        Comparison("4 processes × 4 threads, all together, vs one thread of one", "4 × 4", "1 × 1", at_least=2.5),
    ),
    on_postgres=True,
)

HUNDRED = Benchmark(
    "postgres-append-hundred",
    "events/s",
    sides=(
        Side("sacho", "benchmarks.ours.appending:hundred"),
        Side("eventsourcing", "benchmarks.peers.eventsourcing_app:append_hundred"),
        Side("psycopg", "benchmarks.peers.raw_postgres:tagged_hundreds"),
        Side("sacho, no tags", "benchmarks.ours.appending:hundred_untagged"),
    ),
    comparisons=(
        Comparison("100 events per append vs eventsourcing save", "sacho, no tags", "eventsourcing", at_least=3.0),
        Comparison("the same with ids and tags, which the peer has not", "sacho", "eventsourcing"),
        Comparison("the same vs one prepared INSERT of rows and tags", "sacho", "psycopg"),
    ),
    on_postgres=True,
)

LOAD = Benchmark(
    "postgres-load-entity",
    "events/s",
    prepare=(
        Side("entities of 1,000 on PostgreSQL (sacho)", "benchmarks.ours.reading:build_entities"),
        Side("entities of 1,000 on PostgreSQL (eventsourcing)", "benchmarks.peers.eventsourcing_app:build_entities"),
    ),
    sides=(
        Side("sacho", "benchmarks.ours.reading:load_entities"),
        Side("eventsourcing", "benchmarks.peers.eventsourcing_app:load_entities"),
    ),
    comparisons=(
        Comparison("load an entity of 1,000 events vs eventsourcing", "sacho", "eventsourcing", at_least=5.0),
    ),
    on_postgres=True,
)

LOG = Benchmark(
    "postgres-read-log",
    "events/s",
    prepare=(
        Side("log of 100,000 on PostgreSQL (sacho)", "benchmarks.ours.reading:build_log"),
        Side("log of 100,000 on PostgreSQL (eventsourcing)", "benchmarks.peers.eventsourcing_app:build_log"),
    ),
    sides=(
        Side("sacho", "benchmarks.ours.reading:read_log"),
        Side("eventsourcing", "benchmarks.peers.eventsourcing_app:read_log"),
    ),
    comparisons=(
        Comparison("read the whole log vs eventsourcing with its mapper", "sacho", "eventsourcing", at_least=1.8),
    ),
    on_postgres=True,
)

CONDITIONS = Benchmark(
    "postgres-conditions",
    "failed",
    sides=(
        Side("16 threads", "benchmarks.ours.contending:failed_among_threads"),
        Side("4 × 4", "benchmarks.ours.contending:failed_among_processes"),
    ),
    comparisons=(
        Comparison("unrelated conditional appends, 16 threads, failed", "16 threads", at_most=0.0),
        Comparison("unrelated conditional appends, 4 processes × 4 threads, failed", "4 × 4", at_most=0.0),
    ),
    on_postgres=True,
)

LATENCY = Benchmark(
    "postgres-latency",
    "ms",
    sides=(
        Side("p50", "benchmarks.ours.subscribing:middle"),
        Side("p99", "benchmarks.ours.subscribing:late"),
    ),
    comparisons=(
        Comparison("append → subscriber in another process, 200 appends/s, p50", "p50", at_most=5.0),
        Comparison("the same, p99", "p99", at_most=20.0),
    ),
    on_postgres=True,
)

POSTGRES = (ONE, THREADS, PROCESSES, HUNDRED, LOAD, LOG, CONDITIONS, LATENCY)
