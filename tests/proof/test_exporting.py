"""An export that is killed at any instant goes on to what one made at once is; a full disk leaves no half a file."""

from __future__ import annotations

import subprocess
from itertools import count
from pathlib import Path
from random import Random

import pytest

import sacho
from sacho import EventData, RawEvent
from sacho.errors import StorageFull
from sacho.operations import export
from tests.operations.logs import fill
from tests.proof.processes import Count, Counted, run, started
from tests.proof.test_disk import fill as fill_disk
from tests.proof.test_disk import small_disk as small_disk  # noqa: PLC0414 - a fixture
from tests.proof.tracing import strace_or_skip

EVENTS = 20_000
PAGE = 2_000
"""How many events a part has in these exports."""

CALLS = ("mkdir", "write", "fsync", "rename", "link", "unlink", "rmdir")
"""What an export does to files, and at which it is killed."""


class Export:
    """An export that may be killed, and what it must become."""

    def __init__(self, folder: Path, events: int, format: str, *, to_folder: bool) -> None:
        self.url, self.format, self.to_folder = f"sqlite:///{folder}/log.db", format, to_folder
        self.folder = folder / "exports"
        self.folder.mkdir()
        with sacho.connect(self.url) as store:
            fill(store, events)
            export(store, f"{folder}/at-once.{format}")
        run("exporting.export_in_small_parts", self.url, f"{folder}/at-once/", format)
        self.whole = (folder / f"at-once.{format}").read_bytes() if format != "parquet" else b""
        self.parts = {part.name: part.read_bytes() for part in (folder / "at-once").glob("events-*")}
        if format == "parquet":
            run("exporting.export_in_small_parts", self.url, folder / "small-parts.parquet", format)
            self.whole = (folder / "small-parts.parquet").read_bytes()
        self.number = 0

    @property
    def path(self) -> Path:
        return self.folder / (f"{self.number}" if self.to_folder else f"{self.number}.{self.format}")

    @property
    def arguments(self) -> tuple[str, str, str, str]:
        destination = f"{self.path}{'/' * self.to_folder}"
        return "exporting.export_in_small_parts", self.url, destination, self.format

    def check(self, *, is_finished: bool = False) -> int:
        """What is there is whole, or a beginning made of whole parts; return how many parts these are."""
        partial = self.path if self.to_folder else self.path.with_name(f"{self.path.name}.partial")
        parts = {part.name: part.read_bytes() for part in partial.glob("events-*")}
        assert parts.items() <= self.parts.items()
        if not self.to_folder and self.path.exists():
            assert self.path.read_bytes() == self.whole
        elif self.to_folder or partial.exists():
            assert sorted(parts) == sorted(self.parts)[: len(parts)]
        if is_finished and self.to_folder:
            assert parts == self.parts
            assert {path.name for path in self.path.iterdir()} == {*parts, "_export.json", "_lock"}
        elif is_finished:
            assert self.path.read_bytes() == self.whole
            assert not partial.exists()
        return len(parts)


def killed(random: Random, one: Export) -> bool:
    """Export, and kill at a random instant; return whether it was killed."""
    with started(*one.arguments) as process:
        assert process.stdout is not None
        for _ in range(random.randrange(1, 30)):
            process.stdout.readline()
        try:
            process.wait(random.uniform(0.0, 0.01))
        except subprocess.TimeoutExpired:
            process.kill()
            return True
        return False


@pytest.mark.parametrize("to_folder", [False, True], ids=["file", "folder"])
@pytest.mark.parametrize("format", ["parquet", "jsonl", "csv"])
def test_an_export_killed_again_and_again_becomes_what_one_made_at_once_is(
    tmp_path: Path, format: str, to_folder: bool, soak_count: Count, counted: Counted
) -> None:
    random, kills, exports = Random(), 0, 0
    one = Export(tmp_path, EVENTS, format, to_folder=to_folder)
    while kills < soak_count(30):
        one.number += 1
        before = 0
        while killed(random, one):
            kills += 1
            there = one.check()
            assert there >= before or one.path.exists()
            before = there
        one.check(is_finished=True)
        exports += 1
    counted(
        f"kill -9 while exporting {format} to a {'folder' if to_folder else 'file'}: kills, exports",
        f"{kills}, {exports}",
    )


@pytest.mark.parametrize("to_folder", [False, True], ids=["file", "folder"])
@pytest.mark.parametrize("call", CALLS)
def test_an_export_killed_at_each_of_its_calls_becomes_what_one_made_at_once_is(
    tmp_path: Path, call: str, to_folder: bool, soak_count: Count, counted: Counted
) -> None:
    """In turn at the first of these calls, the second, and so on; a short run takes only some of them."""
    strace, step, kills = [*strace_or_skip(), "-o", "/dev/null"], 10 // soak_count(10), 0
    one = Export(tmp_path, 3 * PAGE, "csv", to_folder=to_folder)
    for when in count(Random().randrange(1, step + 1), step):
        one.number += 1
        kill = ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={when}"]
        with started(*one.arguments, before=[*strace, *kill]) as process:
            process.communicate()
        if process.returncode == 0:
            break
        kills += 1
        one.check()
        with started(*one.arguments) as again:
            again.communicate()
        assert again.returncode == 0 or one.path.exists()
        one.check(is_finished=True)
    counted(f"kill -9 at each {call} of an export to a {'folder' if to_folder else 'file'}: kills", kills)


def test_a_full_disk_leaves_whole_parts_that_are_gone_on_with(small_disk: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.db"
    with sacho.connect(url) as store:
        fill(store, EVENTS)
        for format in ("csv", "jsonl", "parquet"):
            path = small_disk / f"e.{format}"
            filler = fill_disk(small_disk)
            filler.write_bytes(filler.read_bytes()[: -64 * 1024])
            with pytest.raises(StorageFull, match="whole stay"):
                export(store, path)
            assert not path.exists()
            filler.unlink()
            (tmp_path / path.name).unlink(missing_ok=True)
            export(store, tmp_path / path.name)
            subprocess.run(["mount", "-o", "remount,size=100m", str(small_disk)], check=True)
            assert export(store, path).events == EVENTS
            assert path.read_bytes() == (tmp_path / path.name).read_bytes()
            path.unlink()
            subprocess.run(["mount", "-o", "remount,size=2m", str(small_disk)], check=True)


@pytest.mark.parametrize("format", ["parquet", "jsonl", "csv"])
def test_an_export_of_a_long_log_needs_little_memory(
    tmp_path: Path, format: str, soak_count: Count, counted: Counted
) -> None:
    """Of the figure for Parquet, 62 MiB are its library."""
    url, events = f"sqlite:///{tmp_path}/log.db", soak_count(1_000_000)
    with sacho.connect(url) as store:
        for first in range(0, events, 5_000):
            store.append(f"seats-{first}", [_event(number) for number in range(first, min(first + 5_000, events))])
    done, kibibytes = run("exporting.export_in_little_memory", url, tmp_path / f"e.{format}")
    assert done == events
    assert kibibytes < (160 if format == "parquet" else 30) * 1024
    counted(f"events exported to {format}, MiB above the start", f"{events:,}, {kibibytes // 1024}")


def _event(number: int) -> EventData:
    data = {"conference_id": str(number % 50), "reservation_id": f"r{number}", "held": {"GA": number % 5}}
    return EventData(RawEvent("SeatsReserved", data), tags=[f"conference:{number % 50}"], metadata={"actor": "anna"})
