"""What is relayed to a broker: all of it, in order of each key, though the broker and those who relay are killed again and again."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from random import Random

from sacho.reacting import Application
from servers.nats import NatsServer, running_nats
from tests.proof.processes import ROOT, WAIT, Count, Counted, command, until
from tests.proof.relay_programs import LEASE_SECONDS, STREAM, Outside, target
from tests.proof.relay_programs import Counted as Event
from tests.reacting.messaging.broker import Found, contents, count, make_stream

KEYS = 30
EACH_ROUND = 300
RELAYS = 2


@contextmanager
def relaying(url: str, server: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that relays, and wait until it does; it is killed at the end of the block."""
    process = subprocess.Popen(
        command("relay_programs.relays", url, server),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"running\n"
        yield process
    finally:
        process.kill()
        process.wait(WAIT)
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


class Numbers:
    """Has events come: of each key one number after the other."""

    def __init__(self, app: Application, chance: Random) -> None:
        self._app = app
        self._chance = chance
        self.next = dict.fromkeys((f"key {number}" for number in range(KEYS)), 0)

    def come(self, count: int) -> None:
        for _ in range(count):
            name = f"key {self._chance.randrange(KEYS)}"
            self._app.store.append(f"counts-{name}", [Event(name, self.next[name])])
            self.next[name] += 1


def check(found: Sequence[Found], expected: dict[str, int]) -> int:
    """All is there; what came again is the same message; of each key the first of each came in order. Return how many came again."""
    bodies: dict[str, bytes] = {}
    firsts: dict[str, list[int]] = {name: [] for name in expected}
    for one in found:
        id = one.headers["Nats-Msg-Id"]
        if id in bodies:
            assert bodies[id] == one.body
            continue
        bodies[id] = one.body
        firsts[one.event["subject"]].append(one.event["data"]["number"])
    assert firsts == {name: list(range(number)) for name, number in expected.items()}
    return len(found) - len(bodies)


def disturb(chance: Random, server: NatsServer, url: str, relays: list[ExitStack], numbers: Numbers) -> None:
    """Kill the broker, or one that relays, or both, at a random instant of the way; start what was killed again."""
    begun = count(server.url, STREAM)
    numbers.come(EACH_ROUND)
    at = begun + chance.randint(1, EACH_ROUND // 2)
    until(lambda: count(server.url, STREAM) >= at)
    victim, kind = chance.randrange(RELAYS), chance.choice(["broker", "relay", "both"])
    if kind != "relay":
        server.kill()
    if kind != "broker":
        relays[victim].close()
        relays[victim].enter_context(relaying(url, server.url))
    numbers.come(chance.randint(1, 50))
    if kind != "relay":
        server.start()


def test_nothing_is_lost_and_each_key_keeps_its_order_whoever_is_killed(
    log_url: str, soak_count: Count, counted: Counted
) -> None:
    chance, kills = Random(5), soak_count(50)
    with ExitStack() as ends:
        server = ends.enter_context(running_nats())
        # what comes again after a moment is not dropped by the server, so that it is seen here
        make_stream(server.url, STREAM, duplicate_window=0.1)
        app = ends.enter_context(Application(log_url, consumers=[Outside(ends.enter_context(target(server.url)))]))
        app.prepare()
        numbers = Numbers(app, chance)
        relays = [ends.enter_context(ExitStack()) for _ in range(RELAYS)]
        for one in relays:
            one.enter_context(relaying(log_url, server.url))
        for _ in range(kills):
            disturb(chance, server, log_url, relays, numbers)
        for one in relays:
            one.close()
        with app.running(lease_seconds=LEASE_SECONDS):
            assert app.wait_for(Outside, app.store.head(), WAIT)
        assert app.administration.parked(Outside) == []
        found = contents(server.url, STREAM)
    again = check(found, numbers.next)
    counted(
        f"{log_url.partition(':')[0]}: kills of broker and relays / messages, all in order of their keys / came again",
        (kills, len(found) - again, again),
    )
