"""Messages to the outside: a relay that reads them from the log, against plain nats-py that has them in hand."""

from __future__ import annotations

from benchmarks.benchmark import Benchmark, Comparison, Side

RELAY = Benchmark(
    "relay-jetstream",
    "messages/s",
    prepare=(Side("log of 10,000 orders to relay (sacho)", "benchmarks.ours.messaging:build"),),
    sides=(
        Side("relay", "benchmarks.ours.messaging:relay"),
        Side("nats-py, together", "benchmarks.peers.nats_publishing:publish_together"),
        Side("nats-py, in turn", "benchmarks.peers.nats_publishing:publish_in_turn"),
        Side("relay, unsynced", "benchmarks.ours.messaging:relay_unsynced"),
        Side("nats-py, unsynced", "benchmarks.peers.nats_publishing:publish_together_unsynced"),
    ),
    comparisons=(
        Comparison(
            "relay of 10,000 messages over 1,000 keys to JetStream vs nats-py, 500 publishes at once",
            "relay",
            "nats-py, together",
            at_least=0.5,
        ),
        Comparison("the same vs nats-py, one after the other", "relay", "nats-py, in turn", at_least=0.5),
        Comparison(
            "the same, a server that syncs every two minutes: what Python costs",
            "relay, unsynced",
            "nats-py, unsynced",
            at_least=0.5,
        ),
    ),
)

MESSAGING = (RELAY,)
