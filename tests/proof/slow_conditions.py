"""Conditional appends of many connections that are slow to commit: each event tells its condition, for the judge."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from contextlib import ExitStack
from random import Random
from typing import Any

import sacho
from sacho import Append, AppendCondition, EventData, EventStore, Query, QueryItem, RawEvent
from sacho.errors import AppendConditionFailed, SachoError
from sacho.events import Write
from sacho.storage.postgres.locking import hash_of
from tests.proof.processes import until
from tests.proof.programs import acknowledge, in_threads, random_event, random_item
from tests.proof.slow_appends import SHARE_ROLLED_BACK, Killed, SlowAppends, encoded, locks_of, opened

STREAMS = ("c1-1", "c1-2", "c2-1", "c3-1", None)


class Racer:
    """One connection's worth of appends: random ones, and some on a tag that nobody else has."""

    def __init__(self, store: EventStore, slow: SlowAppends | None, random: Random, name: str) -> None:
        self.told = Counter[str]()
        self._store = store
        self._slow = slow
        self._random = random
        self._tag = f"own:{name}"
        self._behind = 0

    def race(self) -> None:
        """Append on condition of a random query; mostly the position comes from a reading, sometimes it is older."""
        random = self._random
        asked = [random_item(random) for _ in range(random.choice([1, 1, 2]))]
        query = Query(*[QueryItem(**item) for item in asked])
        after = self._store.read_all(query, raw=True, backwards=True, limit=1).head
        if random.random() < 0.1:
            after = max(0, after - random.randint(0, 30))
        count = random.randint(1, 3)
        batch = str(sacho.uuid7())
        facts = {"append": batch, "batch": batch, "of": count, "query": asked, "after": after}
        parts = [Append(random.choice(STREAMS), [random_event(random, facts)]) for _ in range(count)]
        outcome = self._append(parts, AppendCondition(query, after))
        self.told["refused" if isinstance(outcome, AppendConditionFailed) else "won"] += 1

    def append_alone(self) -> None:
        """Append on condition of a tag of one's own, from a head that has one's own last event."""
        heads: list[int] = []
        until(lambda: heads.append(self._store.head()) or heads[-1] >= self._behind)  # type: ignore[func-returns-value]
        condition = AppendCondition(Query(QueryItem(tags=[self._tag])), heads[-1])
        data = EventData(RawEvent("Alone", {"query": []}), tags=[self._tag])
        outcome = self._append([Append(None, [data])], condition)
        self.told["alone"] += 1
        if isinstance(outcome, SachoError):
            self.told["alone, refused"] += 1
        elif outcome is not None:
            self._behind = outcome[0].position

    def _append(self, parts: list[Append], condition: AppendCondition) -> Any:
        """Return what became of an append; None where that is not known, or it was rolled back."""
        if self._slow is None:
            try:
                return self._store.append_many(parts, condition=condition)
            except AppendConditionFailed as error:
                return error
        rolls_back = self._random.random() < SHARE_ROLLED_BACK
        try:
            outcome = self._slow.append(encoded(parts, condition), rolls_back=rolls_back)
        except Killed:
            self._tag += "'"  # what stands behind which event is not known of the one before
            return None
        return None if rolls_back and not isinstance(outcome, SachoError) else outcome


def locks_of_streams(write: Write) -> list[int]:
    """Return the locks of streams only, so that versions hold and conditions do not."""
    return sorted({hash_of(f"stream:{part.stream}") + 1 for part in write.parts if part.stream is not None})


def race(url: str, seed: str, appends: str, slowest: str, locks: str) -> None:
    """Race with five connections: two stores, and three that call the function; tell what came of it."""
    told, lock = Counter({"refused": 0, "alone": 0, "alone, refused": 0}), threading.Lock()
    taken = locks_of if locks == "of keys and streams" else locks_of_streams

    def work(number: int) -> None:
        random = Random(f"{seed} {number}")
        with ExitStack() as stack:
            store = stack.enter_context(opened(url)) if number < 2 else reading
            slow = SlowAppends(url, random, float(slowest), taken) if number >= 2 or taken is locks_of_streams else None
            if slow is not None:
                stack.callback(slow.close)
            racer = Racer(store, slow, random, f"{seed}x{number}")
            for count in range(int(appends) // 5):
                if count % 5 == 4:
                    racer.append_alone()
                else:
                    racer.race()
        with lock:
            told.update(racer.told)

    with opened(url) as reading:
        in_threads(work, 5)
    acknowledge(told)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
