"""Copying, backing up, beginning an epoch: results for people and programs, a bar for terminals, no half a file."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

import sacho
from sacho import RawEvent
from sacho.operations import digest
from tests.cli.program import COMMAND, SECONDS, environment, fill, head_of, interrupted_amid, run, started
from tests.cli.test_ending import told


@pytest.fixture
def other(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'other.db'}"


def digest_of(url: str) -> str:
    with sacho.connect(url) as store:
        return digest(store).sha256


def names(tmp_path: Path) -> set[str]:
    return {path.name for path in tmp_path.iterdir()}


def answered(*arguments: str) -> object:
    """Run a command with --json and return the one object that it prints."""
    done = run(None, *arguments, "--json")
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
    return json.loads(done.stdout)


# --- copy ---------------------------------------------------------------------------------------------


def test_a_copy_is_made_and_told(url: str, other: str) -> None:
    fill(url)
    positions = [{"old_first": 1, "old_last": 3, "new_first": 1, "new_last": 3}]
    expected = {"written": 3, "events": 3, "head": 3, "sha256": digest_of(url), "positions": positions}
    assert answered("copy", url, other) == expected
    assert digest_of(other) == digest_of(url)
    assert answered("copy", url, other) == {**expected, "written": 0}
    shown = run(None, "copy", url, other)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert digest_of(url) in shown.stdout


def test_a_copy_at_new_positions_has_its_map_in_a_file(url: str, other: str, tmp_path: Path) -> None:
    fill(url)
    fill(other, "own-1", 2)
    done = run(None, "copy", url, other, "--new-positions", "--map", str(tmp_path / "map"), COLUMNS="80")
    assert (done.returncode, done.stderr) == (0, "")
    line = {"old_first": 1, "old_last": 3, "new_first": 3, "new_last": 5}
    assert [json.loads(one) for one in (tmp_path / "map").read_text().splitlines()] == [line]
    assert done.stdout.splitlines()[-1].split() == ["1", "3", "3", "5"]
    fill(url, "seats-2", 1)
    assert run(None, "copy", url, other, "--new-positions", "--map", str(tmp_path / "map")).returncode == 0
    assert json.loads((tmp_path / "map").read_text()) == {**line, "old_last": 4, "new_last": 6}
    assert not any("partial" in name for name in names(tmp_path))


def test_a_copy_into_a_log_with_events_of_its_own_is_a_conflict(url: str, other: str) -> None:
    fill(url)
    fill(other, "own-1", 2)
    done = run(None, "copy", url, other)
    assert (done.returncode, done.stdout) == (3, "")
    assert "new positions" in told(done)
    assert head_of(other) == 2
    fill(other)
    clash = run(None, "copy", url, other, "--new-positions")
    assert clash.returncode == 3
    assert "version 1 of stream 'seats-1'" in told(clash)


def test_a_source_that_is_not_there_makes_no_target(url: str, other: str, tmp_path: Path) -> None:
    done = run(None, "copy", url, other)
    assert done.returncode == 5
    assert "no log" in told(done)
    assert names(tmp_path) == set()


def test_a_map_that_cannot_be_written_is_told_before_anything_is_copied(url: str, other: str, tmp_path: Path) -> None:
    fill(url)
    done = run(None, "copy", url, other, "--map", str(tmp_path / "nowhere" / "map"))
    assert done.returncode == 1
    told(done)
    assert names(tmp_path) == {"log.db"}


def test_a_map_of_a_copy_that_failed_is_not_written(url: str, other: str, tmp_path: Path) -> None:
    fill(url)
    fill(other, "own-1", 1)
    (tmp_path / "map").write_text("of an earlier copy")
    assert run(None, "copy", url, other, "--map", str(tmp_path / "map")).returncode == 3
    assert (tmp_path / "map").read_text() == "of an earlier copy"
    assert names(tmp_path) == {"log.db", "other.db", "map"}


@pytest.mark.parametrize("place", [0, 1])
def test_no_error_of_a_copy_shows_a_secret(url: str, place: int) -> None:
    fill(url)
    urls = [url, url]
    urls[place] = "oracle://ann:s3cret@host/db"
    done = run(None, "copy", *urls)
    assert done.returncode == 2
    assert "s3cret" not in told(done)
    assert "s3cret" not in run(None, "copy", *urls, "one-too-many").stderr


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="the memory of one child cannot be told here")
@pytest.mark.parametrize("options", [(), ("--new-positions",)])
def test_the_memory_of_a_copy_does_not_grow_with_the_log(tmp_path: Path, options: Sequence[str]) -> None:
    sizes = []
    for events in (2_000, 60_000):
        url = f"sqlite:///{tmp_path / f'{events}.db'}"
        fill(url, count=events)
        with started(url, "copy", url, f"{url}-copy", *options) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        sizes.append(usage.ru_maxrss)
    small, large = sizes
    assert large - small < 24 * 1024, f"{small} and {large} KiB"


# --- backup -------------------------------------------------------------------------------------------


def test_a_backup_is_made_and_told(url: str, tmp_path: Path) -> None:
    fill(url)
    with sacho.connect(url) as store:
        log_id, epoch = store.identity
    backup = tmp_path / "backup.db"
    assert answered("backup", str(backup), "--store", url) == {
        "file": str(backup),
        "log_id": str(log_id),
        "epoch": epoch,
        "events": 3,
        "head": 3,
        "sha256": digest_of(url),
    }
    assert names(tmp_path) == {"log.db", "backup.db"}
    assert digest_of(f"sqlite:///{backup}") == digest_of(url)


def test_a_backup_may_be_named_from_where_one_stands(url: str, tmp_path: Path) -> None:
    fill(url)
    done = subprocess.run(
        [*COMMAND, "backup", "here.db"], cwd=tmp_path, env=environment(url), capture_output=True, timeout=SECONDS
    )
    assert done.returncode == 0
    assert names(tmp_path) == {"log.db", "here.db"}


def test_a_backup_overwrites_nothing(url: str, tmp_path: Path) -> None:
    fill(url)
    (tmp_path / "backup.db").write_text("a diary")
    done = run(url, "backup", str(tmp_path / "backup.db"))
    assert done.returncode == 4
    assert "is there already" in told(done)
    assert (tmp_path / "backup.db").read_text() == "a diary"


def test_an_engine_without_backups_says_what_to_do(tmp_path: Path) -> None:
    done = run("memory://", "backup", str(tmp_path / "backup.db"))
    assert done.returncode == 2
    assert "copy" in told(done)
    assert names(tmp_path) == set()


def test_ctrl_c_leaves_nothing_of_a_backup(url: str, tmp_path: Path) -> None:
    with sacho.connect(url) as store:
        for number in range(40):
            store.append(f"large-{number}", [RawEvent("Large", "x" * 250_000)] * 4)
    folder = tmp_path / "backups"
    folder.mkdir()
    backup = folder / "backup.db"
    interrupted_amid(url, lambda: names(folder), backup.unlink, "backup", str(backup))
    assert names(folder) == set()


# --- new-epoch ----------------------------------------------------------------------------------------


def test_a_new_epoch_is_begun_and_told(url: str) -> None:
    fill(url)
    with sacho.connect(url) as store:
        log_id, epoch = store.identity
    assert answered("new-epoch", "--store", url) == {"log_id": str(log_id), "epoch": epoch + 1}
    assert str(epoch + 2) in run(url, "new-epoch").stdout.split()
    with sacho.connect(url) as store:
        assert store.identity == (log_id, epoch + 2)
        assert store.head() == 3


# --- progress -----------------------------------------------------------------------------------------


def at_terminal(*arguments: str) -> tuple[bytes, bytes]:
    """Run a command whose standard error is a terminal; return what came on standard output and there."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, *arguments], env=environment(None, TERM="xterm"), stdout=subprocess.PIPE, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 65_536):
                shown += part
        except OSError:  # how a terminal says that nobody writes to it any more
            pass
        os.close(ours)
        assert process.stdout is not None
        output = process.stdout.read()
        assert process.wait(SECONDS) == 0
    return output, shown


@pytest.mark.parametrize("command", [("copy",), ("backup",)])
def test_a_terminal_sees_a_bar_and_nothing_else_does(
    url: str, other: str, tmp_path: Path, command: Sequence[str]
) -> None:
    fill(url, count=20_000)
    arguments = ("copy", url, other) if command == ("copy",) else ("backup", str(tmp_path / "b.db"), "--store", url)
    output, shown = at_terminal(*arguments, "--json")
    assert json.loads(output)["events"] == 20_000
    for word in (b"copying", b"verifying", b"100%", b"left", b"positions/s"):
        assert word in shown
