"""Every acknowledged commit was synced before: seen from outside the process, and by cutting the power at any instant."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import NamedTuple, TypeAlias

import pytest

import sacho
from tests.conftest import IS_SOAK
from tests.proof.judging import check_file
from tests.proof.processes import Count, Counted
from tests.proof.programs import pad
from tests.proof.tracing import Call, Disk, traced

APPENDS = 2_000 if IS_SOAK else 200
KINDS = ("nothing", "everything", "some", "some", "some")


class Trace(NamedTuple):
    """What a writer did that acknowledges many appends and reopens its log between them; its log as it is in the end."""

    calls: list[Call]
    path: Path


Traces: TypeAlias = Callable[[int], Trace]


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Traces:
    """The trace of a writer with so many threads; made once."""

    @cache
    def trace(threads: int) -> Trace:
        path = tmp_path_factory.mktemp("traced") / "log.db"
        calls = traced(path.parent, "write_in_turn", f"sqlite:///{path}", APPENDS, threads, "FULL")
        assert len([call for call in calls if acknowledged(call) is not None]) == APPENDS
        return Trace(calls, path)

    return trace


def acknowledged(call: Call) -> int | None:
    """Return the number of the append that is acknowledged here."""
    said = json.loads(call.data) if call.name == "said" and call.data.startswith(b"[") else None
    return said[1] if isinstance(said, list) and said[0] == "ACK" else None


def unsynced(calls: list[Call]) -> list[int]:
    """Return the appends that were acknowledged when something written to the WAL was not synced, or nothing written."""
    state, found = "", []
    for call in calls:
        if (number := acknowledged(call)) is not None:
            if state != "synced":
                found.append(number)
            state = ""
        elif call.file.endswith("-wal") and call.name in {"write", "sync"}:
            state = {"write": "written", "sync": "synced" if state == "written" else state}[call.name]
    return found


def test_each_acknowledged_commit_of_one_thread_was_written_then_synced(traces: Traces, counted: Counted) -> None:
    """One thread: between an acknowledgement and the next the WAL is written and, after that, synced."""
    calls = traces(1).calls
    syncs = sum(1 for call in calls if call.name == "sync" and call.file.endswith("-wal"))
    assert syncs >= APPENDS
    assert unsynced(calls) == []
    counted("acknowledged commits, syncs of the write-ahead log seen from outside", f"{APPENDS}, {syncs}")


@pytest.mark.parametrize("synchronous", ["OFF", "NORMAL"])
def test_a_writer_that_does_not_sync_is_found_out(tmp_path: Path, synchronous: str) -> None:
    """The same looks at a log that is written without syncs: the proofs can fail."""
    calls = traced(tmp_path, "write_in_turn", f"sqlite:///{tmp_path / 'log.db'}", 60, 1, synchronous)
    assert len(unsynced(calls)) > 50
    cuts = [cut_at for cut_at, call in enumerate(calls) if acknowledged(call) is not None]
    assert len([fault for fault in faults_of(calls, cuts, ["nothing"], tmp_path / "cuts") if "lost" in fault]) > 50


@pytest.mark.parametrize("threads", [1, 8])
def test_the_simulated_disk_holds_what_the_real_one_does(traces: Traces, threads: int) -> None:
    """Where the power stays on, what was traced adds up to the file that is there: no write was overlooked."""
    calls, path = traces(threads)
    disk = Disk()
    for call in calls:
        disk.do(call)
    assert disk.files("everything", Random()) == {"log.db": path.read_bytes()}


@pytest.mark.parametrize("threads", [1, 8])
def test_after_a_power_cut_at_any_instant_every_acknowledged_event_is_there(
    traces: Traces, threads: int, tmp_path: Path, soak_count: Count, counted: Counted
) -> None:
    """Cut at acknowledgements and anywhere; of what was not synced nothing, everything, or odd and torn parts survive."""
    calls, random, count = traces(threads).calls, Random(), soak_count(150)
    begin = next(at for at, call in enumerate(calls) if call.data == b'"BEGIN"\n')
    answers = [at for at, call in enumerate(calls) if acknowledged(call) is not None]
    cuts = random.sample(answers, count // 2) + random.sample(range(begin, len(calls)), count - count // 2)
    assert list(faults_of(calls, sorted(cuts), KINDS, tmp_path / "cuts")) == []
    counted(f"power cuts of {threads} threads, disks left by them", f"{count}, {count * len(KINDS)}")


def faults_of(calls: list[Call], cuts: list[int], kinds: Sequence[str], folder: Path) -> Iterator[str]:
    """Yield what is wrong with the logs that power cuts just after these calls leave."""
    disk, random, done, sure = Disk(), Random(), 0, set[int]()
    for cut in cuts:
        for call in calls[done : cut + 1]:
            disk.do(call)
            if (number := acknowledged(call)) is not None:
                sure.add(number)
        done = cut + 1
        for index, kind in enumerate(kinds):
            place = folder / f"{cut}-{index}"
            place.mkdir(parents=True)
            for name, content in disk.files(kind, random).items():
                (place / name).write_bytes(content)
            fault = fault_of(place / "log.db", sure)
            shutil.rmtree(place)
            if fault is not None:
                yield f"cut after call {cut}, {kind} survives: {fault}"


def fault_of(path: Path, sure: set[int]) -> str | None:
    """Return what is wrong with a log: an acknowledged append lost, a half one, an unsound file."""
    try:
        with sacho.connect(f"sqlite:///{path}") as store:
            events = list(store.read_all(raw=True))
            found = [one.event.data["n"] for one in events]
            if missing := sorted(sure.difference(found)):
                return f"lost {missing[:5]}"
            there = Counter(found)
            if half := [one for one in events if there[one.event.data["n"]] != one.event.data["of"]]:
                return f"half there {half[:1]}"
            if [one.event.data["pad"] for one in events] != [pad(number) for number in found]:
                return "other content"
            store.append("after-1", [sacho.RawEvent("After", None)])
        check_file(path)
    except (sacho.SachoError, sqlite3.Error, AssertionError) as error:
        return f"{type(error).__name__}: {error}"
    return None
