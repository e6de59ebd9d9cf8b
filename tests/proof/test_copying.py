"""A copy goes on after kill -9 at any instant; a backup is whole however much is written meanwhile."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from random import Random

import pytest

import sacho
from sacho import RawEvent
from sacho.operations import copy, copy_behind, digest, verify
from sacho.storage.port import Row
from tests.operations.logs import fill, rows
from tests.postgres_server import fresh_schema
from tests.proof.judging import check_all, check_file, check_log
from tests.proof.processes import SECONDS, WAIT, Count, Counted, started

EVENTS = 20_000
BACKUPS = 3


def killed_while_copying(random: Random, source: str, target: str, way: str, batches: int) -> bool:
    """Copy, and kill at a random instant when some batches more than these were written; return whether it was killed."""
    with started("copy_told", source, target, way) as process:
        assert process.stdout is not None
        for _ in range(random.randrange(8) + (batches if way == "behind" else 0)):
            process.stdout.readline()
        try:
            process.wait(random.uniform(0.0, 0.01))
        except subprocess.TimeoutExpired:
            process.kill()
            return True
        assert process.returncode == 0
        return False


@pytest.fixture(params=["sqlite", "postgres"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Names an empty log, another one at each call."""
    numbers = count()
    with ExitStack() as stack:
        if request.param == "postgres":
            server: str = request.getfixturevalue("postgres_server_url")
            yield lambda: stack.enter_context(fresh_schema(server))
        else:
            yield lambda: f"sqlite:///{tmp_path}/{next(numbers)}.db"


@pytest.mark.parametrize("way", ["in place", "behind"])
def test_a_copy_killed_again_and_again_goes_on_to_an_equal_log(
    tmp_path: Path, new_url: Callable[[], str], way: str, soak_count: Count, counted: Counted
) -> None:
    """Seen to fail with batches of several transactions, and with ids that are not looked for."""
    source, random, kills, copies = f"sqlite:///{tmp_path}/source.db", Random(), 0, 0
    with sacho.connect(source) as one:
        fill(one, EVENTS)
        wanted, events = digest(one), rows(one)
    for number in range(soak_count(20)):
        target, written = new_url(), 0
        if way == "behind":
            with sacho.connect(target) as other:
                other.append("own-1", [RawEvent("Own", number)])
        while written < EVENTS:
            kills += killed_while_copying(random, source, target, way, written // 1_000)
            there = whole_batches(target)
            assert written <= len(there)
            assert [row[1:] for row in there] == [row[1:] for row in events[: len(there)]]
            written = len(there)
        with sacho.connect(source) as one, sacho.connect(target) as other:
            done = (copy if way == "in place" else copy_behind)(one, other)
            assert (done.written, done.digest) == (0, wanted)
            check_log(other)
        copies += 1
    engine = target.partition(":")[0]
    counted(f"kill -9 while copying {way} to {engine}: kills, copies all equal", f"{kills}, {copies}")


def whole_batches(url: str) -> list[Row]:
    """Return what was copied; it has no half of a batch, and a file is sound."""
    with sacho.connect(url) as store:
        there = [row for row in rows(store) if row[1] != "own-1"]
    if url.startswith("sqlite:"):
        check_file(Path(url.removeprefix("sqlite:///")))
    assert len(there) % 1_000 == 0
    return there


def lines_of(process: subprocess.Popen[bytes]) -> int:
    """Read what a program acknowledges, to its end, and count it."""
    assert process.stdout is not None
    return sum(1 for _ in process.stdout)


def test_backups_under_writes_are_whole_and_hold_nobody_up(tmp_path: Path, soak_count: Count, counted: Counted) -> None:
    """Two processes write on. Seen to fail, in one of two short runs, with the file copied without SQLite's knowledge."""
    rounds, backups, appends = soak_count(10), 0, 0
    for number in range(rounds):
        folder = tmp_path / str(number)
        (folder / "backups").mkdir(parents=True)
        found, meanwhile = backed_up_under_writes(folder)
        heads = [head for _, head, _ in found]
        assert heads == sorted(set(heads))
        check_backups(folder, found)
        backups += len(found)
        appends += meanwhile
    counted("backups under the writes of two processes, appends meanwhile", f"{backups}, {appends}")


def backed_up_under_writes(folder: Path) -> tuple[list[tuple[int, int, str]], int]:
    """Back up a new log a few times (it grows fast); return number, head and digest of each, and how many appends came."""
    url = f"sqlite:///{folder}/log.db"
    with sacho.connect(url) as store:
        fill(store, EVENTS)
    with (
        ThreadPoolExecutor(2) as threads,
        started("write_for_ever", url) as writer,
        started("write_for_ever", url) as other,
    ):
        for one in (writer, other):
            assert one.stdout is not None
            assert one.stdout.readline()  # it writes: no two backups find the log as long
        answers = [threads.submit(lines_of, one) for one in (writer, other)]
        with started("back_up_again_and_again", url, folder / "backups", BACKUPS) as program:
            output, _ = program.communicate(timeout=SECONDS)
            assert program.returncode == 0
        writer.kill()
        other.kill()
        return [json.loads(line) for line in output.splitlines()], sum(answer.result(WAIT) for answer in answers)


def check_backups(folder: Path, found: list[tuple[int, int, str]]) -> None:
    """The log and its backups are whole, each backup a beginning of the log; there is nothing besides."""
    assert {one.name for one in (folder / "backups").iterdir()} == {f"{number}.db" for number in range(BACKUPS)}
    check_all(f"sqlite:///{folder}/log.db")
    with sacho.connect(f"sqlite:///{folder}/log.db") as store:
        for number, head, sha256 in found:
            url = f"sqlite:///{folder}/backups/{number}.db"
            check_all(url)
            with sacho.connect(url) as backup:
                assert (backup.head(), backup.identity) == (head, store.identity)
                assert verify(store, backup, to=head).sha256 == sha256
