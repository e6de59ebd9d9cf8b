"""What proofs of processes run by themselves: `python -m tests.proof.process_programs MODULE URL`.

It runs the application that a module of the proofs makes, until standard input ends or it is killed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from random import Random
from subprocess import DEVNULL, PIPE, Popen
from threading import Event, Thread
from typing import Any

from sacho.reacting import Application
from tests.proof.processes import ROOT, WAIT

LEASE_SECONDS = 1.0


class Workers:
    """Processes that run an application. One that is killed has another take its place."""

    def __init__(self, module: Any, url: str, count: int, held: ExitStack) -> None:
        self._command = [sys.executable, "-m", __name__, module.__name__, url]
        self._held = held
        self.alive = [self._start() for _ in range(count)]

    def kill_one(self, chance: Random) -> None:
        """Kill one at random, and start another."""
        dead = self.alive.pop(chance.randrange(len(self.alive)))
        dead.kill()
        dead.wait(WAIT)
        self.alive.append(self._start())

    def _start(self) -> Popen[bytes]:
        """Start one, and wait until it runs."""
        process = Popen(self._command, cwd=ROOT, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
        self._held.callback(_end, process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"running\n"
        return process


def _end(process: Popen[bytes]) -> None:
    process.kill()
    process.wait(WAIT)
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()


@contextmanager
def workers(module: Any, url: str, count: int = 2) -> Iterator[Workers]:
    """Run a module's application in so many processes for the length of the block."""
    with ExitStack() as held:
        yield Workers(module, url, count, held)


@contextmanager
def placing(module: Any, app: Application, pause: float) -> Iterator[None]:
    """Have a module's writers place something again and again, from another thread, as long as the block lasts."""
    stopping, chance, errors = Event(), Random(5), list[BaseException]()

    def place() -> None:
        try:
            while not stopping.wait(chance.uniform(0, 2 * pause)):
                module.place(app, chance)
        except BaseException as error:
            errors.append(error)

    thread = Thread(target=place)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(WAIT)
    assert not errors, errors


def main() -> None:
    """Run the consumers; say so; end when standard input does."""
    with import_module(sys.argv[1]).application(sys.argv[2]) as app, app.running(lease_seconds=LEASE_SECONDS):
        print("running", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
