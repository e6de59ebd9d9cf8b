"""Exporting on the command line: a file, a folder, standard output; results for people and programs, one line of error."""

from __future__ import annotations

import csv
import json
import os
import pty
import resource
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import sacho
from sacho import RawEvent
from tests.cli.program import COMMAND, SECONDS, environment, fill, interrupted_amid, read_lines, run, started
from tests.cli.test_ending import told
from tests.cli.test_operating import at_terminal, names


def exported(url: str, *arguments: str) -> dict[str, object]:
    """Export with --json and return the one object that is printed."""
    (answer,) = read_lines(url, "export", *arguments)
    assert isinstance(answer, dict)
    return answer


def lines_in(path: Path) -> list[object]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_an_export_is_made_and_told(url: str, tmp_path: Path) -> None:
    fill(url)
    path = tmp_path / "events.jsonl"
    with sacho.connect(url) as store:
        log_id, epoch = store.identity
    assert exported(url, str(path)) == {
        "destination": str(path),
        "format": "jsonl",
        "log_id": str(log_id),
        "epoch": epoch,
        "written": 3,
        "events": 3,
        "head": 3,
        "bytes": path.stat().st_size,
    }
    assert lines_in(path) == read_lines(url, "read-all")
    shown = run(url, "export", str(tmp_path / "events.csv"))
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "events       3" in shown.stdout
    assert names(tmp_path) == {"log.db", "events.jsonl", "events.csv"}


def test_lines_of_an_export_can_be_appended(url: str, tmp_path: Path) -> None:
    fill(url)
    other = f"sqlite:///{tmp_path / 'other.db'}"
    lines = run(url, "export", "-").stdout
    assert run(other, "append", "seats-1", lines=lines).returncode == 0
    assert [one["data"] for one in read_lines(other, "read-all")] == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_filters_and_ranges_are_those_of_read_all(url: str, tmp_path: Path) -> None:
    fill(url, count=10)
    fill(url, "rooms-1", metadata={"correlation_id": "c1"})
    for number, filters in enumerate(
        [
            ("--type", "A", "--tag", "k:1", "--category", "seats"),
            ("--correlation", "c1"),
            ("--after", "3", "--to", "7"),
            ("--type", "B"),
        ]
    ):
        path = tmp_path / f"{number}.jsonl"
        exported(url, str(path), *filters)
        assert lines_in(path) == read_lines(url, "read-all", *filters)
        assert run(url, "export", "-", *filters).stdout == path.read_text()


def test_a_folder_gets_what_is_new_and_may_be_named_from_where_one_stands(url: str, tmp_path: Path) -> None:
    fill(url)
    for written in (3, 0):
        done = subprocess.run(
            [*COMMAND, "export", "history/", "--json"],
            cwd=tmp_path,
            env=environment(url),
            capture_output=True,
            timeout=SECONDS,
        )
        assert json.loads(done.stdout)["written"] == written
    fill(url)
    assert exported(url, str(tmp_path / "history"))["written"] == 3
    assert pq.read_table(tmp_path / "history").column("position").to_pylist() == [1, 2, 3, 4, 5, 6]


def test_standard_output_takes_every_format(url: str, tmp_path: Path) -> None:
    fill(url)
    assert run(url, "export", "-").stdout == run(url, "read-all", "--json").stdout
    rows = list(csv.DictReader(run(url, "export", "-", "--format", "csv").stdout.splitlines()))
    assert [(row["position"], row["data"]) for row in rows] == [("1", '{"n":0}'), ("2", '{"n":1}'), ("3", '{"n":2}')]
    with (tmp_path / "piped").open("wb") as file:
        subprocess.run([*COMMAND, "export", "-", "--format", "parquet"], env=environment(url), stdout=file, check=True)
    assert pq.read_table(tmp_path / "piped").num_rows == 3
    assert names(tmp_path) == {"log.db", "piped"}


def test_a_reader_that_has_enough_is_no_error(url: str) -> None:
    fill(url, count=20_000)
    with started(url, "export", "-", "--format", "csv") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("position,")
        process.stdout.close()
        assert process.wait(SECONDS) == 0
        assert process.stderr.read() == ""


def test_a_terminal_obeys_nothing_of_what_it_is_shown(url: str) -> None:
    with sacho.connect(url) as store:
        store.append("s-1", [RawEvent("A", {"\x9b31m": "\u202e"})])
    for format in ("jsonl", "csv"):
        shown = on_terminal(url, "export", "-", "--format", format)
        assert b"\\u009b31m" in shown
        assert "\x9b".encode() not in shown
        assert "\u202e".encode() not in shown
    assert b"not for terminals" in on_terminal(url, "export", "-", "--format", "parquet")


def on_terminal(url: str, *arguments: str) -> bytes:
    """Run a command whose output all goes to a terminal; return it."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([*COMMAND, *arguments], env=environment(url), stdout=theirs, stderr=theirs):
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 65_536):
                shown += part
        except OSError:  # how a terminal says that nobody writes to it any more
            pass
        os.close(ours)
    return shown


def test_a_terminal_sees_a_bar(url: str, tmp_path: Path) -> None:
    fill(url, count=20_000)
    output, shown = at_terminal("export", str(tmp_path / "e.csv"), "--store", url, "--json")
    assert json.loads(output)["events"] == 20_000
    for word in (b"exporting", b"joining", b"100%", b"left", b"positions/s"):
        assert word in shown
    output, shown = at_terminal("export", "-", "--to", "100", "--store", url)
    assert output.count(b"\n") == 100
    assert b"exporting" in shown


# --- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ((), 2, "destination"),
        (("--colour",), 2, "--colour"),
        (("e.csv", "--colour"), 2, "--colour"),
        (("e.txt",), 2, "known are parquet, jsonl, csv"),
        (("e.csv", "--format", "xml"), 2, "xml"),
        (("e.csv", "--after", "-1"), 4, "after=-1"),
        (("-", "--to", "-1"), 4, "to=-1"),
        (("e.csv", "--tag", "no-name"), 4, "key:value"),
        (("there.csv",), 4, "is there already"),
        (("nowhere/e.csv",), 5, "cannot be written"),
        (("history/", "--type", "B"), 3, "other filters"),
        (("history/", "--format", "csv"), 3, "another format, parquet"),
    ],
)
def test_what_is_refused_is_told_in_one_line_and_makes_nothing(
    url: str, tmp_path: Path, arguments: tuple[str, ...], code: int, text: str
) -> None:
    fill(url)
    (tmp_path / "there.csv").write_text("a diary")
    exported(url, f"{tmp_path}/history/")
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    done = subprocess.run(
        [*COMMAND, "export", *arguments], cwd=tmp_path, env=environment(url), capture_output=True, timeout=SECONDS
    )
    refused = subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
    assert (refused.returncode, refused.stdout) == (code, "")
    assert text in told(refused).lower()
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


def test_a_log_that_is_not_there_is_told_and_nothing_is_made(url: str, tmp_path: Path) -> None:
    done = run(url, "export", str(tmp_path / "e.csv"))
    assert done.returncode == 5
    assert "no log" in told(done)
    assert names(tmp_path) == set()


def test_an_export_over_a_limit_is_one_line_and_goes_on_without_it(url: str, tmp_path: Path) -> None:
    fill(url, count=5_000)
    path = tmp_path / "e.csv"
    done = subprocess.run(
        [*COMMAND, "export", str(path)],
        env=environment(url),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    assert done.returncode == 5
    assert "File too large" in told(done)
    assert names(tmp_path) == {"log.db", "log.db-wal", "log.db-shm", "e.csv.partial"} & names(tmp_path)
    assert exported(url, str(path))["events"] == 5_000
    assert names(tmp_path) == {"log.db", "e.csv"}


def test_ctrl_c_ends_an_export_that_can_be_gone_on_with(url: str, tmp_path: Path) -> None:
    with sacho.connect(url) as store:
        for number in range(100):
            store.append(f"large-{number}", [RawEvent("Large", "x" * 250_000)] * 4)
    path = tmp_path / "e.csv"

    def parts() -> list[str]:
        return sorted(part.stem for part in (tmp_path / "e.csv.partial").glob("events-*"))

    interrupted_amid(url, parts, path.unlink, "export", str(path))
    assert not path.exists()
    there = int(parts()[-1].rpartition("-")[2])
    assert there > 0
    answer = exported(url, str(path))
    assert (answer["events"], answer["written"]) == (400, 400 - there)


# --- memory -------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="the memory of one child cannot be told here")
@pytest.mark.parametrize(("format", "mebibytes"), [("parquet", 100), ("jsonl", 24), ("csv", 24)])
def test_the_memory_of_an_export_does_not_grow_with_the_log(tmp_path: Path, format: str, mebibytes: int) -> None:
    """Measured are 55 MiB more for Parquet, whose row groups are held until they are full, and 10 for text."""
    sizes = []
    for events in (2_000, 120_000):
        url = f"sqlite:///{tmp_path / f'{events}.db'}"
        fill(url, count=events)
        with started(url, "export", str(tmp_path / f"{events}.{format}")) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        sizes.append(usage.ru_maxrss)
    small, large = sizes
    assert large - small < mebibytes * 1024, f"{small} and {large} KiB"
