"""Appending lines of JSON: all or none, and what was read from one log is taken by another."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import pytest

import sacho
from sacho import EventData, RawEvent
from tests.cli.program import fill, head_of, line, read_lines, run


def test_lines_become_the_events_of_one_append(url: str) -> None:
    id = str(sacho.uuid7())
    lines = line("A", {"n": 1}, id=id, tags=["k:v"], metadata={"actor": "kim"}, schema_version=3) + line("B", [None])
    done = run(url, "append", "seats-1", "--json", lines=lines)
    assert json.loads(done.stdout) == {"stream": "seats-1", "version": 2, "position": 2, "events": 2}
    first, second = read_lines(url, "read", "seats-1")
    assert (first["id"], first["tags"], first["metadata"], first["schema_version"]) == (
        id,
        ["k:v"],
        {"actor": "kim"},
        3,
    )
    assert (second["type"], second["data"], second["tags"], second["schema_version"]) == ("B", [None], [], 1)
    assert first["recorded_at"] == second["recorded_at"]


@pytest.mark.parametrize(("count", "text"), [(1, "1 event appended"), (2, "2 events appended")])
def test_people_are_told_version_and_position(url: str, count: int, text: str) -> None:
    done = run(url, "append", "seats-1", lines=line() * count)
    assert done.stdout == f"{text}: version {count}, position {count}\n"


def test_a_correlation_id_in_the_metadata_is_found_by_its_index(url: str) -> None:
    run(url, "append", "seats-1", lines=line(metadata={"correlation_id": "c1"}))
    with sacho.connect(url) as store:
        assert len(list(store.correlated("c1", raw=True))) == 1


AWKWARD = [
    {"text": "한국어 \x00 \x1b[31m \x9b \u2028 \u202e 😀", "nested": [{"a": None}, True, 1.5, -0.0]},
    2**63 - 1,
    -(2**63),
    1e300,
    "",
    [],
    None,
]


def test_what_was_read_is_appended_to_another_log_unchanged(url: str, tmp_path: Path) -> None:
    with sacho.connect(url) as store:
        events = [EventData(RawEvent("A", data, 2), tags=["k:ü"], metadata={"m": data}) for data in AWKWARD]
        store.append("seats-1", events)
    lines = run(url, "read", "seats-1", "--json").stdout
    other = f"sqlite:///{tmp_path / 'other.db'}"
    assert run(other, "append", "seats-1", "--expected", "none", lines=lines).returncode == 0
    expected, found = read_lines(url, "read", "seats-1"), read_lines(other, "read", "seats-1")
    for one in expected + found:
        del one["recorded_at"]
    assert found == expected
    assert [one["data"] for one in found] == AWKWARD


def test_the_same_lines_again_change_nothing_and_say_the_same(url: str) -> None:
    lines = line(id=str(UUID(int=1))) + line(id=str(UUID(int=2)))
    first = run(url, "append", "seats-1", "--expected", "none", lines=lines)
    again = run(url, "append", "seats-1", "--expected", "none", lines=lines)
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert head_of(url) == 2


@pytest.mark.parametrize(
    ("expected", "code"), [("any", 0), ("none", 3), ("exists", 0), ("0", 3), ("3", 0), ("2", 3), ("4", 3)]
)
def test_the_expected_version_decides(url: str, expected: str, code: int) -> None:
    fill(url)
    done = run(url, "append", "seats-1", "--expected", expected, lines=line())
    assert done.returncode == code
    assert ("version 3, expected" in done.stderr) == (code == 3)
    assert head_of(url) == (4 if code == 0 else 3)


def test_an_id_that_is_there_with_other_content_is_a_conflict(url: str) -> None:
    id = str(UUID(int=1))
    run(url, "append", "seats-1", lines=line(data=1, id=id))
    done = run(url, "append", "seats-1", lines=line(data=2, id=id))
    assert done.returncode == 3
    assert id in done.stderr


GOOD = line("A", 1)


@pytest.mark.parametrize(
    ("lines", "number", "text"),
    [
        (GOOD + "nonsense\n" + GOOD, 2, "malformed"),
        (GOOD + '{"type": "A", "data": 1', 2, "truncated"),
        ("[]\n", 1, "object"),
        (GOOD * 2 + '{"type": "A"}\n', 3, "`data`"),
        ('{"data": 1}\n', 1, "`type`"),
        ('{"type": 5, "data": 1}\n', 1, "$.type"),
        (line("A", 1, colour="red"), 1, "`colour`"),
        (line("A", 1, id="no-uuid"), 1, "$.id"),
        (line("A", 1, tags="k:v"), 1, "$.tags"),
        (line("A", 1, tags=["no-name"]), 1, "key:value"),
        ("\n\n" + line("A", 1, tags=["k:\x07"]), 3, "control characters"),
        (line("A", 1, metadata=[]), 1, "$.metadata"),
        (line("A", 1, metadata={"correlation_id": 5}), 1, "correlation_id"),
        (line("A", 1, schema_version=0), 1, "$.schema_version"),
        (line("A", 1, schema_version=10**30), 1, "$.schema_version"),
        (line("A", 1, schema_version=True), 1, "$.schema_version"),
        (line(""), 1, "empty"),
        (line("x" * 300), 1, "255"),
        (GOOD + '{"type": "A", "data": NaN}\n', 2, "malformed"),
        (GOOD + '{"type": "A", "data": 1e999}\n', 2, "out of range"),
        (GOOD + '{"type": "A", "data": "\\ud800"}\n', 2, ""),
        (GOOD + line("A", "x" * 1_100_000), 2, "over the limit"),
        ('{"type": "A", "data": ' + "[" * 100_000 + "]" * 100_000 + "}\n", 1, "nested too deeply"),
        (GOOD.encode() + b'{"type": "A", "data": "\xff"}\n', 2, "utf-8"),
        (b"\x00\x01\x02\n", 1, ""),
    ],
)
def test_a_line_that_is_no_event_is_named_by_its_number_and_nothing_is_written(
    url: str, tmp_path: Path, lines: str | bytes, number: int, text: str
) -> None:
    done = run(url, "append", "seats-1", lines=lines)
    assert done.returncode == 4
    assert done.stderr.startswith(f"sacho: error: line {number}: ")
    assert text in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("lines", ["", "\n", " \n\n"])
def test_an_empty_append_is_refused_and_makes_no_log(url: str, tmp_path: Path, lines: str) -> None:
    done = run(url, "append", "seats-1", lines=lines)
    assert (done.returncode, done.stderr) == (4, "sacho: error: no events to append\n")
    assert list(tmp_path.iterdir()) == []


def test_blank_lines_are_passed_over_and_the_last_line_may_lack_its_end(url: str) -> None:
    assert run(url, "append", "seats-1", lines=f"\n{line()}  \n{line().strip()}").returncode == 0
    assert head_of(url) == 2


def test_a_larger_event_is_taken_when_the_limit_is_raised(url: str) -> None:
    done = run(url, "append", "seats-1", "--max-event-bytes", "2000000", lines=line("A", "x" * 1_100_000))
    assert done.returncode == 0


@pytest.mark.parametrize("stream", ["", "a\nb", "x" * 256])
def test_a_stream_id_out_of_rules_is_refused(url: str, tmp_path: Path, stream: str) -> None:
    done = run(url, "append", stream, lines=line())
    assert done.returncode == 4
    assert "stream id" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [(), ("seats-1", "seats-2")])
def test_append_takes_one_stream(url: str, arguments: Sequence[str]) -> None:
    assert run(url, "append", *arguments, lines=line()).returncode == 2
