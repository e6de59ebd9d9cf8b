"""Looking into a log: lists, streams, the whole log, facts about it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

import sacho
from sacho import EventData, RawEvent
from tests.cli.program import fill, read_lines, run

FIELDS = "stream version position type schema_version id tags metadata recorded_at data".split()


def test_a_line_has_all_that_the_log_knows_of_an_event(url: str) -> None:
    event = EventData(RawEvent("A", {"n": 1}, 2), id=sacho.uuid7(), tags=["k:2", "k:1"], metadata={"actor": "kim"})
    with sacho.connect(url) as store:
        store.append("seats-1", [event])
        (recorded,) = store.read("seats-1", raw=True)
    (found,) = read_lines(url, "read", "seats-1")
    assert list(found) == FIELDS
    assert datetime.fromisoformat(found.pop("recorded_at")) == recorded.recorded_at
    assert UUID(found.pop("id")) == event.id
    expected = {"stream": "seats-1", "version": 1, "position": 1, "type": "A", "schema_version": 2, "data": {"n": 1}}
    assert found == {**expected, "tags": ["k:1", "k:2"], "metadata": {"actor": "kim"}}


def test_times_are_in_utc(url: str) -> None:
    fill(url, count=1)
    (found,) = read_lines(url, "read", "seats-1")
    assert datetime.fromisoformat(found["recorded_at"]).tzinfo == UTC


@pytest.mark.parametrize(
    ("arguments", "numbers"),
    [
        ((), [0, 1, 2, 3, 4]),
        (("--after", "3"), [3, 4]),
        (("--to", "2"), [0, 1]),
        (("--after", "1", "--to", "4", "--limit", "2"), [1, 2]),
        (("--backwards", "--limit", "2"), [4, 3]),
        (("--limit", "0"), []),
    ],
)
@pytest.mark.parametrize("command", [("read", "seats-1"), ("read-all",), ("read-all", "--correlation", "c1")])
def test_ranges_mean_what_they_mean_in_the_store(
    url: str, command: Sequence[str], arguments: Sequence[str], numbers: Sequence[int]
) -> None:
    fill(url, count=5, metadata={"correlation_id": "c1"})
    assert [found["data"]["n"] for found in read_lines(url, *command, *arguments)] == list(numbers)


@pytest.mark.parametrize(
    ("filters", "positions"),
    [
        ((), [1, 2, 3, 4, 5]),
        (("--type", "A"), [1, 2, 3]),
        (("--type", "A", "--type", "B"), [1, 2, 3, 4, 5]),
        (("--tag", "k:0"), [1, 3]),
        (("--tag", "k:0", "--tag", "k:1"), []),
        (("--category", "rooms"), [4]),
        (("--category", "rooms", "--category", "seats"), [1, 2, 3, 4]),
        (("--type", "A", "--tag", "k:1", "--category", "seats"), [2]),
        (("--correlation", "c1"), [4, 5]),
        (("--correlation", "c1", "--category", "rooms"), [4]),
        (("--correlation", "c2"), []),
    ],
)
def test_filters_are_any_type_all_tags_any_category(url: str, filters: Sequence[str], positions: Sequence[int]) -> None:
    fill(url)
    with sacho.connect(url) as store:
        store.append("rooms-1", [EventData(RawEvent("B", 1), metadata={"correlation_id": "c1"})])
        store.append(None, [EventData(RawEvent("B", 2), metadata={"correlation_id": "c1"}, tags=["x:y"])])
    assert [found["position"] for found in read_lines(url, "read-all", *filters)] == list(positions)


def test_an_event_without_stream_has_null_for_stream_and_version(url: str) -> None:
    with sacho.connect(url) as store:
        store.append(None, [RawEvent("B", 1)])
    (found,) = read_lines(url, "read-all")
    assert (found["stream"], found["version"]) == (None, None)
    assert "None" not in run(url, "read-all", COLUMNS="140").stdout


def test_a_stream_that_is_not_there_reads_as_empty(url: str) -> None:
    fill(url)
    done = run(url, "read", "seats-9")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_streams_and_categories_are_listed_with_their_last_event(url: str) -> None:
    fill(url)
    fill(url, "seats-2")
    fill(url, "rooms-1", 1)
    streams = read_lines(url, "streams")
    assert [(one["stream"], one["version"], one["position"]) for one in streams] == [
        ("rooms-1", 1, 7),
        ("seats-1", 3, 3),
        ("seats-2", 3, 6),
    ]
    categories = read_lines(url, "categories")
    assert [(one["category"], one["position"]) for one in categories] == [("rooms", 7), ("seats", 6)]
    assert all(datetime.fromisoformat(one["recorded_at"]).tzinfo == UTC for one in streams + categories)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("--category", "seats"), ["seats-1", "seats-2"]),
        (("--after", "rooms-1"), ["seats-1", "seats-2"]),
        (("--limit", "1"), ["rooms-1"]),
    ],
)
def test_streams_are_listed_by_category_and_page_by_page(
    url: str, arguments: Sequence[str], names: Sequence[str]
) -> None:
    for stream in ("seats-1", "seats-2", "rooms-1"):
        fill(url, stream, 1)
    assert [found["stream"] for found in read_lines(url, "streams", *arguments)] == list(names)


def test_head_is_the_highest_position(url: str) -> None:
    fill(url)
    assert run(url, "head").stdout == "3\n"
    assert read_lines(url, "head") == [{"head": 3}]


def test_info_says_which_log_it_is(url: str) -> None:
    fill(url)
    with sacho.connect(url) as store:
        identity, capabilities = store.identity, sorted(store.capabilities)
    (found,) = read_lines(url, "info")
    assert found["engine"] == "sqlite"
    assert (UUID(found["log_id"]), found["epoch"]) == (identity.id, identity.epoch)
    assert (found["head"], found["capabilities"]) == (3, capabilities)
    assert found["log_bytes"] > 0
    assert found["wal_bytes"] >= 0
    assert str(identity[0]) in run(url, "info").stdout


@pytest.mark.parametrize(
    "arguments",
    [("--store", "{}", "head", "--json"), ("--json", "--store={}", "head"), ("head", "--store", "{}", "--json")],
)
def test_the_store_may_be_named_before_or_behind_the_command(url: str, arguments: Sequence[str]) -> None:
    fill(url)
    done = run(None, *[argument.format(url) for argument in arguments])
    assert json.loads(done.stdout) == {"head": 3}


def test_the_option_goes_before_the_environment(url: str, tmp_path: Path) -> None:
    fill(url)
    assert run(f"sqlite:///{tmp_path / 'none.db'}", "head", "--store", url).stdout == "3\n"


@pytest.mark.parametrize(
    "command",
    ["streams", "categories", "read", "read-all", "append", "tail", "head", "info", "copy", "backup", "new-epoch"],
)
def test_every_command_has_help(command: str) -> None:
    done = run(None, command, "--help")
    assert done.returncode == 0
    assert ("TARGET" if command == "copy" else "--store") in done.stdout
    assert done.stderr == ""


def test_the_version_is_told() -> None:
    done = run(None, "--version")
    assert done.returncode == 0
    assert done.stdout.startswith("sacho")
