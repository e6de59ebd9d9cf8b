"""How commands end: codes that scripts can use, one line on standard error, no traceback, no secret, no file made."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

import sacho
from sacho import Append, RawEvent
from tests.cli.program import COMMAND, SECONDS, environment, fill, head_of, line, run, started

READING = [
    ("streams",),
    ("categories",),
    ("read", "seats-1"),
    ("read-all",),
    ("tail",),
    ("head",),
    ("info",),
    ("backup", "backup.db"),
    ("new-epoch",),
]


def told(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line of an error."""
    assert done.stderr.startswith("sacho: error: ")
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("\n")
    return done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("nonsense",), 2, "nonsense"),
        (("read",), 2, "stream"),
        (("read", "a", "b"), 2, "b"),
        (("read", "a", "--limit", "many"), 2, "many"),
        (("read", "a", "--limit"), 2, "--limit"),
        (("read", "a", "--colour"), 2, "--colour"),
        (("append", "a", "--expected", "soon"), 2, "soon"),
        (("tail", "--after", "soon"), 2, "soon"),
        (("head", "--store", "foo://x"), 2, "foo"),
        (("head", "--store", "log.db"), 2, "scheme"),
        (("head", "--store", "sqlite:///"), 2, "sqlite:///"),
        (("head", "--store", "sqlite:///log.db?speed=1"), 2, "log.db"),
        (("append", "a", "--expected", "-1"), 4, "below 0"),
        (("read", "a", "--after", "-1"), 4, "after=-1"),
        (("read-all", "--limit", "-1"), 4, "limit=-1"),
        (("read-all", "--correlation", "c", "--to", "-1"), 4, "to=-1"),
        (("streams", "--limit", "-1"), 4, "limit=-1"),
        (("tail", "--limit", "-1"), 4, "limit=-1"),
        (("read", ""), 4, "empty"),
        (("read-all", "--tag", "no-name"), 4, "key:value"),
        (("read-all", "--type", ""), 4, "empty"),
        (("head", "--store", "sqlite:///nowhere/log.db"), 5, "no log"),
        (("append", "a", "--store", "sqlite:///nowhere/log.db"), 5, "folder"),
    ],
)
def test_an_error_is_one_line_with_its_code_and_nothing_is_written(
    url: str, arguments: Sequence[str], code: int, text: str
) -> None:
    fill(url)
    done = run(url, *arguments, lines=line())
    if arguments[-1] == "sqlite:///log.db?speed=1":
        code = 5  # the file is not there either, which is told first
    assert (done.returncode, done.stdout) == (code, "")
    assert text in told(done)
    assert head_of(url) == 3


@pytest.mark.parametrize(
    ("given", "command"), [*((None, command) for command in [*READING, ("append", "seats-1")]), ("", ("head",))]
)
def test_without_a_store_it_says_how_to_name_one(given: str | None, command: Sequence[str]) -> None:
    done = run(given, *command, lines=line())
    assert done.returncode == 2
    assert "--store" in told(done)
    assert "SACHO_STORE" in done.stderr


@pytest.mark.parametrize("command", READING)
def test_looking_makes_no_file_and_says_what_does(url: str, tmp_path: Path, command: Sequence[str]) -> None:
    done = run(url, *command)
    assert done.returncode == 5
    assert "`sacho append` makes one" in told(done)
    assert list(tmp_path.iterdir()) == []


def test_looking_into_an_empty_file_leaves_it_empty(url: str, tmp_path: Path) -> None:
    (tmp_path / "log.db").touch()
    assert run(url, "head").returncode == 5
    assert [(path.name, path.stat().st_size) for path in tmp_path.iterdir()] == [("log.db", 0)]


@pytest.mark.parametrize("command", [("head",), ("append", "seats-1")])
def test_a_file_that_is_no_log_is_refused_and_left_as_it_was(url: str, tmp_path: Path, command: Sequence[str]) -> None:
    path = tmp_path / "log.db"
    path.write_bytes(b"a diary, not a database. " * 100)
    assert run(url, *command, lines=line()).returncode == 5
    assert path.read_bytes() == b"a diary, not a database. " * 100


def test_a_database_of_something_else_is_refused(url: str, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "log.db")
    other.execute("CREATE TABLE diary (day)")
    other.close()
    done = run(url, "append", "seats-1", lines=line())
    assert done.returncode == 5
    assert "something else" in told(done)


def test_a_folder_is_no_log(tmp_path: Path) -> None:
    done = run(f"sqlite:///{tmp_path}", "head")
    assert done.returncode == 5
    told(done)


def test_a_log_that_is_locked_is_told_after_the_timeout(url: str, tmp_path: Path) -> None:
    fill(url)
    other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    done = run(f"{url}?timeout=0.1", "append", "seats-1", lines=line())
    other.close()
    assert done.returncode == 5
    assert "locked" in told(done)


@pytest.mark.parametrize(
    "arguments",
    [
        ("head", "--store", "oracle://ann:s3cret@host/db"),
        ("head", "--store", "sqlite://ann:s3cret@host/log.db"),
        ("head", "--stor", "oracle://ann:s3cret@host/db"),
        ("head", "--stor=oracle://ann:s3cret@host/db"),
        ("--stor=oracle://ann:s3cret@host/db", "head"),
        ("head", "oracle://ann:s3cret@host/db"),
        ("oracle://ann:s3cret@host/db",),
        ("head", "oracle://ann:a s3cret/with@signs@host/db?password=s3cret"),
        ("read", "a", "--limit", "oracle://ann:s3cret@host/db"),
    ],
)
def test_no_error_shows_a_secret(arguments: Sequence[str]) -> None:
    done = run(None, *arguments)
    assert done.returncode == 2
    assert "s3cret" not in told(done) + done.stdout


def test_control_characters_in_an_error_are_written_out(tmp_path: Path) -> None:
    done = run(f"sqlite:///{tmp_path}/no\nthing\x1b[31m/log.db", "head")
    assert done.returncode == 5
    assert "\x1b" not in told(done)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("command", [("read-all", "--json"), ("read-all",), ("head",)])
def test_output_that_cannot_be_written_is_an_error(url: str, command: Sequence[str]) -> None:
    fill(url, count=500)
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*COMMAND, *command], env=environment(url), stdout=full, stderr=subprocess.PIPE, text=True, timeout=SECONDS
        )
    assert done.returncode == 1
    assert "No space left" in told(done)


@pytest.mark.skipif(os.name != "posix", reason="closing descriptors is a matter of POSIX shells")
@pytest.mark.parametrize(("closing", "code"), [("<&-", 4), (">&-", 1)])
def test_closed_input_or_output_is_told(url: str, closing: str, code: int) -> None:
    fill(url)
    command = '"$0" -m sacho append seats-1 ' + closing
    done = subprocess.run(
        ["sh", "-c", command, COMMAND[0]], env=environment(url), capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == code
    assert "is closed" in told(done)


@pytest.mark.parametrize("command", [("read-all", "--json"), ("read-all",), ("streams", "--json")])
def test_a_reader_that_goes_away_ends_it_quietly(url: str, command: Sequence[str]) -> None:
    with sacho.connect(url) as store:
        store.append_many([Append(f"{'s' * 200}-{number}", [RawEvent("A", number)]) for number in range(2_000)])
    with started(url, *command) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(SECONDS) == 0
        assert process.stderr.read() == ""
