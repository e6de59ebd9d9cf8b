"""A crash at any instant loses no acknowledged event and shows no half: kill -9 again and again."""

from __future__ import annotations

import json
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import sacho
from sacho import RawEvent
from tests.proof.judging import check_all, check_file, check_sound
from tests.proof.processes import Count, Counted, started


def lines_until_killed(process: subprocess.Popen[bytes], ends: float) -> list[Any]:
    """Read acknowledgements until `ends`, kill the process, and read what it had said by then."""
    assert process.stdout is not None
    lines = []
    while time.monotonic() < ends:
        lines.append(process.stdout.readline())
    process.kill()
    lines += process.stdout.readlines()
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def killed_while_writing(url: str, random: Random) -> list[Any]:
    """Run two writers at once, kill one and soon the other, at random instants; return all acknowledgements."""
    with ExitStack() as stack:
        writers = [stack.enter_context(started("write_for_ever", url)) for _ in range(2)]
        first = []
        for writer in writers:
            assert writer.stdout is not None
            first.append(json.loads(writer.stdout.readline()))
        ends = time.monotonic()
        for writer in writers:
            ends += random.uniform(0.0, 0.1)
            first += lines_until_killed(writer, ends)
    return first


def test_kill_9_loses_nothing_that_was_acknowledged_and_leaves_nothing_half(
    log_url: str, soak_count: Count, counted: Counted
) -> None:
    """Seen to fail with acknowledgements before the append, and with the parts of an append committed one by one."""
    engine, random, rounds = log_url.partition(":")[0], Random(), soak_count(100)
    acknowledged: dict[str, list[Any]] = {}
    appends = 0
    for number in range(rounds):
        answers = killed_while_writing(log_url, random)
        appends += len(answers)
        acknowledged.update({fact[0]: fact for answer in answers for fact in answer})
        with sacho.connect(log_url) as store:
            done = store.append("after-1", [RawEvent("After", number)], expected=number)
            assert done.version == number + 1
            last = max(answers, key=lambda answer: answer[0][4])
            assert [store.find(UUID(fact[0]), raw=True) is not None for fact in last] == [True] * len(last)
        check_sound(log_url)
    stored = {
        str(one.id): [str(one.id), one.stream, one.version, one.event.data["batch"], one.position]
        for one in check_all(log_url)
        if one.type != "After"
    }
    for id, fact in acknowledged.items():
        assert stored[id] == (fact if fact[4] else [*fact[:4], stored[id][4]])
    counted(f"kill -9 of two writers ({engine}): rounds", rounds)
    counted(f"kill -9 ({engine}): appends acknowledged, all there", appends)
    counted(f"kill -9 ({engine}): events acknowledged, events in the log", f"{len(acknowledged)}, {len(stored)}")


def test_kill_9_while_a_log_is_made_leaves_a_log_or_nothing(
    tmp_path: Path, soak_count: Count, counted: Counted
) -> None:
    """Seen to fail with the acknowledgement before the append."""
    random, rounds, logs = Random(), soak_count(60), 0
    for number in range(rounds):
        folder = tmp_path / str(number)
        folder.mkdir()
        with started("make_for_ever", folder) as maker:
            assert maker.stdout is not None
            first = json.loads(maker.stdout.readline())
            made = {first, *lines_until_killed(maker, time.monotonic() + random.uniform(0.0, 0.15))}
        for path in folder.glob("*.db"):
            log = int(path.stem)
            with sacho.connect(f"sqlite:///{path}") as store:
                found = [one.event.data for one in store.read("made-1", raw=True)]
                assert found in ([[log]] if log in made else ([], [log]))
                assert store.append("made-1", [RawEvent("Made", log)], expected=len(found)).version == len(found) + 1
            check_file(path)
            logs += 1
    counted("kill -9 while logs are made: rounds, logs looked at", f"{rounds}, {logs}")
