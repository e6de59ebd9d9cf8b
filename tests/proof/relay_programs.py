"""What the proof of the relay runs as processes of their own: `python -m tests.proof.relay_programs NAME ...`."""

from __future__ import annotations

import sys
from collections.abc import Callable

from sacho import Event
from sacho.deciding import Retry
from sacho.reacting import Application, Context, JetStreamTarget, PublicEvent, Relay, publishes

LEASE_SECONDS = 1.0
STREAM = "proof"


class Counted(Event, type="ProofRelayed"):
    """The number of an event of its key, counted from 0."""

    name: str
    number: int


class PublicCounted(PublicEvent, type="proof.counted"):
    name: str
    number: int


class Outside(Relay):
    """Tells each event, in order of its key."""

    name = "proof-outside"
    source = "urn:sacho:proof"
    partitions = 4
    retry = Retry(attempts=3, first_pause=0.01, longest_pause=0.05)

    @publishes(Counted, key="name")
    def counted(self, event: Counted, context: Context) -> PublicEvent:
        return PublicCounted(event.name, event.number)


def target(server: str) -> JetStreamTarget:
    """The stream of the proof."""
    return JetStreamTarget(server, subject=f"{STREAM}.{{type}}.{{key}}", options={"connect_timeout": 2})


def relays(url: str, server: str) -> None:
    """Relay until standard input ends."""
    with (
        target(server) as to,
        Application(url, consumers=[Outside(to)]) as app,
        app.running(lease_seconds=LEASE_SECONDS),
    ):
        print("running", flush=True)
        sys.stdin.read()


PROGRAMS: dict[str, Callable[..., None]] = {"relays": relays}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
