"""The command line, run as a program: what it shows, what it takes, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import sacho
from sacho import EventData, RawEvent

SECONDS = 30


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'log.db'}"


def run(url: str | None, *arguments: str, lines: str = "") -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "SACHO_STORE"}
    if url is not None:
        environment["SACHO_STORE"] = url
    command = [sys.executable, "-m", "sacho", *arguments]
    return subprocess.run(command, env=environment, input=lines, capture_output=True, text=True, timeout=SECONDS)


def start(url: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sacho", *arguments, "--store", url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def fill(url: str, count: int = 3) -> None:
    with sacho.connect(url) as store:
        store.append("seats-1", [EventData(RawEvent("A", {"n": n}), tags=[f"k:{n % 2}"]) for n in range(count)])


def test_what_was_appended_by_lines_is_read_back_as_lines(url: str) -> None:
    done = run(
        url, "append", "seats-1", "--expected", "none", "--json", lines='{"type":"A","data":{"n":1},"tags":["k:v"]}\n'
    )
    assert (done.returncode, json.loads(done.stdout)["version"]) == (0, 1)
    (line,) = run(url, "read", "seats-1", "--json").stdout.splitlines()
    found = json.loads(line)
    assert (found["type"], found["data"], found["tags"], found["version"]) == ("A", {"n": 1}, ["k:v"], 1)


def test_lines_that_were_read_can_be_appended_to_another_log(url: str, tmp_path: Path) -> None:
    fill(url)
    lines = run(url, "read", "seats-1", "--json").stdout
    other = f"sqlite:///{tmp_path / 'other.db'}"
    assert run(other, "append", "seats-1", lines=lines).returncode == 0
    ids = [json.loads(line)["id"] for line in lines.splitlines()]
    assert [json.loads(line)["id"] for line in run(other, "read-all", "--json").stdout.splitlines()] == ids


def test_the_whole_log_is_filtered_by_type_tag_and_category(url: str) -> None:
    fill(url)
    for arguments, count in ((("--tag", "k:0"), 2), (("--type", "B"), 0), (("--category", "seats"), 3), ((), 3)):
        assert len(run(url, "read-all", "--json", *arguments).stdout.splitlines()) == count


def test_tables_show_streams_categories_and_events(url: str) -> None:
    fill(url)
    assert "seats-1" in run(url, "streams").stdout
    assert "seats" in run(url, "categories").stdout
    assert '{"n":2}' in run(url, "read", "seats-1").stdout
    assert run(url, "head").stdout == "3\n"
    assert "sqlite" in run(url, "info").stdout


def test_terminal_escapes_and_markup_of_events_are_shown_not_obeyed(url: str) -> None:
    with sacho.connect(url) as store:
        store.append("seats-1", [RawEvent("[red]A", "\x1b[31m")])
    found = run(url, "read", "seats-1").stdout
    assert "\x1b" not in found
    assert "[red]A" in found


@pytest.mark.parametrize(
    ("arguments", "lines", "code", "text"),
    [
        (("read", "seats-2", "--after", "-1"), "", 4, "after=-1"),
        (("read", ""), "", 4, "empty"),
        (("append", "seats-1"), '{"type":"A","data":1}\nnonsense\n', 4, "line 2"),
        (("append", "seats-1"), '{"type":"A"}\n', 4, "line 1"),
        (("append", "seats-1"), '{"type":"A","data":1,"tags":["x"]}\n', 4, "key:value"),
        (("append", "seats-1"), "", 4, "no events"),
        (("append", "seats-1", "--expected", "soon"), '{"type":"A","data":1}\n', 2, "soon"),
        (("append", "seats-1", "--expected", "1"), '{"type":"A","data":1}\n', 3, "version 3"),
        (("nonsense",), "", 2, "nonsense"),
        (("read",), "", 2, "stream"),
        (("head", "--store", "foo://x"), "", 2, "foo"),
        (("head", "--store", "sqlite:///nowhere/log.db"), "", 5, "no log"),
    ],
)
def test_an_error_is_one_line_with_its_code_and_nothing_is_written(
    url: str, arguments: tuple[str, ...], lines: str, code: int, text: str
) -> None:
    fill(url)
    done = run(url, *arguments, lines=lines)
    assert done.returncode == code
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("sacho: error: ")
    assert text in done.stderr
    assert run(url, "head").stdout == "3\n"


def test_without_a_store_it_says_how_to_name_one() -> None:
    done = run(None, "head")
    assert done.returncode == 2
    assert "--store" in done.stderr
    assert "SACHO_STORE" in done.stderr


def test_looking_makes_no_file(url: str, tmp_path: Path) -> None:
    assert run(url, "streams").returncode == 5
    assert list(tmp_path.iterdir()) == []


def test_tail_follows_what_another_process_appends_and_ends_by_interrupt(url: str) -> None:
    fill(url)
    tail = start(url, "tail", "--after", "3", "--json")
    try:
        assert tail.stdout is not None
        with sacho.connect(url) as store:
            for n in range(3):
                store.append("seats-2", [RawEvent("B", n)])
                assert json.loads(tail.stdout.readline())["data"] == n
        tail.send_signal(signal.SIGINT)
        _, errors = tail.communicate(timeout=SECONDS)
    finally:
        tail.kill()
        tail.wait()
    assert (tail.returncode, errors) == (130, "")


def test_a_closed_pipe_ends_it_quietly(url: str) -> None:
    fill(url, 5_000)
    reader = start(url, "read-all", "--json")
    assert reader.stdout is not None
    assert reader.stdout.readline()
    reader.stdout.close()
    try:
        assert reader.wait(SECONDS) == 0
        assert reader.stderr is not None
        assert reader.stderr.read() == ""
        reader.stderr.close()
    finally:
        reader.kill()
