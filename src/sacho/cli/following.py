"""Following a log: events as they are recorded, for as long as somebody reads what is printed."""

from __future__ import annotations

import select
import sys
from collections.abc import Iterator
from typing import Final

from sacho.events import RecordedEvent
from sacho.store import Subscription

LOOK_SECONDS: Final = 0.5
"""How often it is looked whether the reader of the output is still there."""


def followed(live: Subscription) -> Iterator[RecordedEvent]:
    """Yield events without end. Raises BrokenPipeError soon after the reader of standard output has gone away."""
    while True:
        recorded = live.next(timeout=LOOK_SECONDS)
        if recorded is not None:
            yield recorded
        elif _reader_is_gone():
            raise BrokenPipeError


def _reader_is_gone() -> bool:
    if not hasattr(select, "poll"):  # Windows: the next write will tell
        return False
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))
