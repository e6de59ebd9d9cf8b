"""How writes that wait come into one commit."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from sacho.events import Appended, StreamWrite, Write
from sacho.storage.group_commit import GroupCommit
from sacho.storage.port import Outcome

SECONDS = 60.0
WRITE = Write((StreamWrite("seats-1", []),))


class Commits:
    """A group commit whose commits are counted: how many writes each had."""

    def __init__(self, gather_seconds: float) -> None:
        self.sizes: list[int] = []
        self.told = threading.Semaphore(0)
        self.group = GroupCommit(self.commit, "test", gather_seconds)

    def commit(self, writes: Sequence[Write]) -> list[Outcome]:
        self.sizes.append(len(writes))
        return [[Appended(1, 1)] for _ in writes]

    def hand_in(self) -> None:
        self.group.hand_in((WRITE,), lambda _: self.told.release())

    def are_told(self, count: int) -> bool:
        return all(self.told.acquire(timeout=SECONDS) for _ in range(count))


@pytest.fixture
def patient() -> Iterator[Commits]:
    """Waits for those who were told together, for longer than a test may last."""
    commits = Commits(10 * SECONDS)
    yield commits
    commits.group.close()


def two_at_once(commits: Commits) -> None:
    """Commit for two together."""
    with commits.group.turn:
        commits.hand_in()
        commits.hand_in()
    assert commits.are_told(2)


def test_callers_who_were_told_together_are_waited_for(patient: Commits) -> None:
    two_at_once(patient)
    patient.hand_in()
    assert not patient.group.is_free  # nobody goes alone meanwhile
    patient.hand_in()
    assert patient.are_told(2)
    assert patient.sizes == [2, 2]


def test_a_caller_who_was_alone_is_not_waited_for(patient: Commits) -> None:
    for _ in range(3):
        patient.hand_in()
        assert patient.are_told(1)
    assert patient.sizes == [1, 1, 1]


def test_those_who_do_not_come_again_are_not_waited_for_long() -> None:
    commits = Commits(0.001)
    two_at_once(commits)
    commits.hand_in()
    assert commits.are_told(1)
    commits.group.close()
    assert commits.sizes == [2, 1]


def test_closing_waits_for_nobody_who_may_come_again(patient: Commits) -> None:
    two_at_once(patient)
    patient.hand_in()
    patient.group.close()
    assert patient.are_told(1)
    assert patient.sizes == [2, 1]
