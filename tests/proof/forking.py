"""The program that forks: threads write without a pause, children use the parent's store."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import sacho
from sacho import Append, CommandHandler, EventStore, RawEvent
from sacho.errors import StoreForked
from tests.proof.processes import WAIT
from tests.proof.programs import Booking, acknowledge, registry

SECONDS_OF_A_CHILD = 60
HUNG, UNNOTICED, OTHER = -signal.SIGALRM, 1, 2


class Parent:
    """A store with everything under way that a fork could cut through."""

    def __init__(self, url: str) -> None:
        self.store: EventStore | None = sacho.connect(url, registry=registry())
        self.handler: CommandHandler[str, int, Any] | None = CommandHandler(self.store, Booking())
        self.live = self.store.subscribe(raw=True)
        self.acknowledged = 0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._begun = threading.Barrier(5)
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(4)]
        self.store.append("s-1", [RawEvent("A", None)] * 3_000)
        self.handler.submit("hot-1", "first").result(60)
        self.acknowledged += 3_001
        self.reading = iter(self.store.read_all(raw=True))
        next(self.reading)
        for thread in self._threads:
            thread.start()
        self._begun.wait(WAIT)

    def _work(self, number: int) -> None:
        assert self.store is not None
        assert self.handler is not None
        count = 0
        while not self._stop.is_set():
            if number < 2:
                self.handler.handle("hot-1", f"{number} {count}")
            else:
                self.store.append(f"own-{number}", [RawEvent("Own", count)])
            count += 1
            with self._lock:
                self.acknowledged += 1
            if count == 1:
                self._begun.wait(WAIT)

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(WAIT)
        assert self.store is not None
        self.store.close()

    def use(self, name: str) -> None:
        """Use the store in one way."""
        store, handler, event = self.store, self.handler, RawEvent("A", None)
        assert store is not None
        assert handler is not None
        ways: dict[str, Callable[[], object]] = {
            "append": lambda: store.append("s-1", [event]),
            "append many": lambda: store.append_many([Append("s-1", [event])]),
            "submit": lambda: store.submit("s-1", [event]).result(60),
            "read": lambda: list(store.read("s-1", raw=True)),
            "read on": lambda: list(self.reading),
            "head": store.head,
            "subscribe": store.subscribe,
            "subscribed": lambda: [self.live.next(timeout=0) for _ in range(10_000)],
            "find": lambda: store.find(sacho.uuid7()),
            "version": lambda: store.version("s-1"),
            "handle": lambda: handler.handle("hot-1", "child"),
            "submit command": lambda: handler.submit("hot-2", "child").result(60),
        }
        ways[name]()


def fork_and_use(url: str, ending: str, uses: str) -> None:
    """Fork for each use; tell each child's code (0: it was told of the fork) and how much the parent has written."""
    parent = Parent(url)
    codes: dict[str, int] = {}
    for name in uses.split(","):
        child = os.fork()
        if child == 0:
            signal.alarm(SECONDS_OF_A_CHILD)
            in_child(parent, name, ending)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        codes[name] = code
        if code:
            break
    parent.end()
    acknowledge({"children": codes, "acknowledged": parent.acknowledged})


def in_child(parent: Parent, name: str, ending: str) -> None:
    """Use the store, then end the process."""
    code = OTHER
    try:
        parent.use(name)
        code = UNNOTICED
    except StoreForked:
        code = 0
    if ending == "at once":
        os._exit(code)
    if ending == "after close" and parent.store is not None:
        parent.store.close()
    if ending == "after garbage collection":
        parent.store = parent.handler = None
        gc.collect()
    sys.exit(code)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
