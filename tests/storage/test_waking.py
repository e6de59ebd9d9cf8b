"""Waking one thread: a call is never lost, however it meets the wait, and none is counted twice."""

from __future__ import annotations

import threading

from sacho.storage.waking import Wake


def test_a_call_before_the_wait_ends_it_at_once_and_counts_once() -> None:
    wake = Wake()
    wake.call()
    wake.call()
    assert wake.wait(0)
    assert not wake.wait(0)


def test_a_call_during_the_wait_ends_it() -> None:
    wake, answers = Wake(), list[bool]()
    waiting = threading.Thread(target=lambda: answers.append(wake.wait(60)))
    waiting.start()
    wake.call()
    waiting.join()
    assert answers == [True]
