"""The race as a program: what it prints, for people and for programs, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import sacho
from examples.conference.audit import Audit
from examples.conference.seats import AvailableSeatsChanged, SeatsReserved
from sacho import Event, Query, QueryItem

ROOT = Path(__file__).parents[2]
PATIENCE = 120


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "examples.conference", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_a_race_prints_one_json_object_and_is_sound(engine: str, url_of: Callable[[str], str]) -> None:
    url = url_of(engine)
    done = demo("race", "--json", "--store", url)
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert result["sound"] is True
    assert result["faults"] == []
    assert result["registrants"] == result["complete"] + result["partial"] + result["nothing"] == 200
    assert (result["processes"], result["cancelled"]) == (2, 40)
    assert result["events"] == 403
    for seat_type, on_sale in result["on_sale"].items():
        assert result["remaining"][seat_type] + result["held"][seat_type] == on_sale
        assert result["remaining"][seat_type] >= 0


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_what_a_race_says_stands_in_its_log(engine: str, url_of: Callable[[str], str]) -> None:
    url = url_of(engine)
    result = json.loads(demo("race", "--json", "--store", url, "--registrants", "60").stdout)
    with sacho.connect(url) as store:
        query = Query(QueryItem(tags=[f"conference:{result['conference_id']}"]))
        log = list(store.read_all(query))
    audit = Audit()
    for recorded in log:
        audit.take(recorded)
    assert (audit.events, audit.held(), audit.faults) == (result["events"], result["held"], [])
    assert [recorded.version for recorded in log] == list(range(1, len(log) + 1))
    actors = {recorded.metadata["actor"] for recorded in log}
    assert actors == {"organiser", *(f"registrant {number}" for number in range(60))}


def test_a_second_race_on_the_same_file_is_a_conference_of_its_own(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'race.db'}"
    first, second = (json.loads(demo("race", "--json", "--store", url, "--registrants", "20").stdout) for _ in range(2))
    assert first["conference_id"] != second["conference_id"]
    assert second["sound"] is True
    assert second["events"] == 43


def test_the_race_is_shown_to_people(tmp_path: Path) -> None:
    done = demo()
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"registrants .*200/200", done.stdout)
    for shown in ("History of seats-", "AvailableSeatsChanged", "organiser", "MakeReservation", "State by replay"):
        assert shown in done.stdout
    assert re.search(r"│ +3 │ 120 general, 40 workshop, 60 cocktail", done.stdout), "the state of an earlier version"
    assert done.stdout.rstrip().endswith("Not one seat was sold twice.")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--store", "nowhere://x"), 1, "unknown scheme 'nowhere'"),
        (("--store", "memory://"), 1, "cross-process"),
        (("--store", "sqlite:////nowhere/at/all.db"), 1, "cannot be opened"),
        (("--store", f"sqlite:///{__file__}"), 1, "is not a SQLite database"),
        (("--registrants", "0"), 2, "--registrants"),
        (("--registrants", "many"), 2, "--registrants"),
        (("--unknown",), 2, "--unknown"),
    ],
)
def test_what_cannot_be_done_is_said_without_a_traceback(arguments: tuple[str, ...], code: int, said: str) -> None:
    done = demo("race", "--json", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_oversold_conference_is_not_called_sound() -> None:
    """The audit sees what the decider would never do."""
    audit = Audit()
    with sacho.connect("memory://") as store:
        events = [
            AvailableSeatsChanged("c1", {"GA": 1}),
            SeatsReserved("c1", "r1", {"GA": 1}, {"GA": -1}),
            SeatsReserved("c1", "r2", {"GA": 1}, {"GA": -1}),
        ]
        store.append("seats-c1", events)
        for recorded in store.read("seats-c1"):
            audit.take(recorded)
    assert audit.faults == ["2 GA seats are held after version 3"]
    assert audit.compare({"GA": -1}, registrants=2) == [
        "GA seats: -1 remain by the fold, -1 by what is held, -1 by the deltas"
    ]
    assert len(audit.compare({"GA": 0}, registrants=3)) == 2


@pytest.mark.parametrize(
    ("awaited", "events"),
    [(AvailableSeatsChanged, 3), (SeatsReserved, 1), (SeatsReserved, 100)],
    ids=["loading", "begun", "racing"],
)
def test_ctrl_c_ends_the_race_and_leaves_a_sound_log(tmp_path: Path, awaited: type[Event], events: int) -> None:
    """While the processes are loading, when one of the two has begun, and amid the race."""
    url = f"sqlite:///{tmp_path / 'race.db'}"
    program = (
        "import runpy, signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a test run in the background ignores it
        "runpy.run_module('examples.conference', run_name='__main__', alter_sys=True)\n"
    )
    command = [sys.executable, "-c", program, "race", "--registrants", "20000", "--store", url]
    racing = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        with sacho.connect(url) as store, store.subscribe(Query(QueryItem(types=[awaited]))) as live:
            for _ in range(events):
                assert live.next(timeout=PATIENCE) is not None
            os.killpg(racing.pid, signal.SIGINT)
            _, said = racing.communicate(timeout=PATIENCE)
            assert racing.returncode == 130
            assert "Traceback" not in said
            versions = [recorded.version for recorded in store.read_all()]
            assert versions == list(range(1, len(versions) + 1))
    finally:
        racing.kill()
        racing.wait()
