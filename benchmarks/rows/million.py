"""What stays when the log is long: the same work at 1,000,000 events and at 10,000."""

from benchmarks.benchmark import Benchmark, Comparison, Side

LONG = Side("log of 1,000,000", "benchmarks.ours.million:build_long")
SHORT = Side("log of 10,000", "benchmarks.ours.million:build_short")

MEMORY = Benchmark(
    "million-memory",
    "MiB",
    prepare=(LONG,),
    sides=(Side("sacho", "benchmarks.ours.million:memory_of_reading"),),
    comparisons=(Comparison("memory while reading 1,000,000 events, above the start", "sacho", at_most=50.0),),
)

LOAD = Benchmark(
    "million-load",
    "µs/load",
    prepare=(LONG, SHORT),
    sides=(
        Side("at 1,000,000", "benchmarks.ours.million:load_from_long"),
        Side("at 10,000", "benchmarks.ours.million:load_from_short"),
    ),
    comparisons=(
        Comparison("entity load at 1,000,000 events vs at 10,000 (time)", "at 1,000,000", "at 10,000", at_most=1.3),
    ),
)

APPEND = Benchmark(
    "million-append",
    "µs/append",
    prepare=(LONG, SHORT),
    sides=(
        Side("at 1,000,000", "benchmarks.ours.million:append_to_long"),
        Side("at 10,000", "benchmarks.ours.million:append_to_short"),
    ),
    comparisons=(
        Comparison("append at 1,000,000 events vs at 10,000 (time)", "at 1,000,000", "at 10,000", at_most=1.3),
    ),
)

CONDITION = Benchmark(
    "million-condition",
    "µs/append",
    prepare=(LONG,),
    sides=(
        Side("tag, none", "benchmarks.ours.million:condition_by_absent_tag"),
        Side("type, none", "benchmarks.ours.million:condition_by_absent_type"),
        Side("type, few", "benchmarks.ours.million:condition_by_rare_type"),
        Side("tag, frequent", "benchmarks.ours.million:condition_by_frequent_tag"),
        Side("type, frequent", "benchmarks.ours.million:condition_by_frequent_type"),
    ),
    comparisons=(
        Comparison("type-only condition, no such event, vs by tag (time)", "type, none", "tag, none", at_most=2.0),
        Comparison("type-only condition, few such events, vs by tag (time)", "type, few", "tag, none", at_most=2.0),
        Comparison(
            "type-only condition, frequent before the head, vs by tag (time)",
            "type, frequent",
            "tag, frequent",
            at_most=2.0,
        ),
    ),
)

MILLION = (MEMORY, LOAD, APPEND, CONDITION)
