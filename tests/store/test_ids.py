"""Ids: those of a clock and a randomness that are given are the same each time, and nobody else's."""

from __future__ import annotations

import threading
from random import Random
from uuid import UUID

from sacho import uuid7
from sacho.store.ids import ids_from, new_ids

SECOND = 1_000_000_000


def made() -> list[UUID]:
    with ids_from(lambda: 1_700_000_000 * SECOND, Random(7)):
        return [uuid7(), *(UUID(bytes=id) for id in new_ids(3)), uuid7()]


def test_ids_of_a_given_clock_and_randomness_are_the_same_each_time() -> None:
    assert made() == made()
    assert len(set(made())) == 5
    assert {id.version for id in made()} == {7}
    assert {id.int >> 80 for id in made()} == {1_700_000_000_000}


def test_other_threads_have_ids_of_their_own_meanwhile() -> None:
    found: list[UUID] = []
    with ids_from(lambda: 0, Random(7)):
        thread = threading.Thread(target=lambda: found.append(uuid7()))
        thread.start()
        thread.join()
        assert uuid7().int >> 80 == 0
    assert found[0].int >> 80 > 1_700_000_000_000
    assert uuid7().int >> 80 > 1_700_000_000_000
