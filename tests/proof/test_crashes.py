"""A crash at any instant loses no acknowledged event and shows no half: kill -9 again and again."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import sacho
from sacho import Query, QueryItem, RawEvent
from tests.proof.processes import started

Counted = Callable[[str, object], None]


def killed_while_writing(url: str, random: Random) -> list[Any]:
    """Run a writer, kill it at a random instant after its first acknowledgement; return all acknowledgements."""
    with started("write_for_ever", url) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline()]
        ends = time.monotonic() + random.uniform(0.0, 0.15)
        while time.monotonic() < ends:
            lines.append(writer.stdout.readline())
        writer.kill()
        lines += writer.stdout.readlines()
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def test_kill_9_loses_nothing_that_was_acknowledged_and_leaves_nothing_half(
    tmp_path: Path, soak_count: Callable[[int], int], counted: Counted
) -> None:
    """Seen to fail with acknowledgements before the append, and with the parts of an append committed one by one."""
    path = tmp_path / "log.db"
    url, random, rounds, total = f"sqlite:///{path}", Random(1), soak_count(100), 0
    for _ in range(rounds):
        acknowledged = killed_while_writing(url, random)
        total += len(acknowledged)
        with sacho.connect(url) as store:
            for one in acknowledged:
                found = list(store.read_all(Query(QueryItem(tags=[f"b:{one['batch']}"])), raw=True))
                assert len(found) == one["of"]
                assert found[-1].position == one["position"]
                assert found[one["of"] // 2 - 1].version == one["version"]
            store.append("after-1", [RawEvent("After", None)])
    check_soundness(path, url)
    counted("kill -9 rounds, acknowledged appends", f"{rounds}, {total}")


def check_soundness(path: Path, url: str) -> None:
    """No append is half there, versions have no gap, every mark stands for an event and the file is sound."""
    batches: Counter[str] = Counter()
    sizes: dict[str, int] = {}
    versions: dict[str, list[int]] = defaultdict(list)
    with sacho.connect(url) as store:
        for recorded in store.read_all(raw=True):
            versions[str(recorded.stream)].append(recorded.version or 0)
            if recorded.type == "Written":
                batches[recorded.event.data["batch"]] += 1
                sizes[recorded.event.data["batch"]] = recorded.event.data["of"]
        total = store.head()
        marked = sum(1 for _ in store.read_all(Query(QueryItem(types=["Written", "After"])), raw=True))
    assert dict(batches) == sizes
    assert all(found == list(range(1, len(found) + 1)) for found in versions.values())
    assert marked == total
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
