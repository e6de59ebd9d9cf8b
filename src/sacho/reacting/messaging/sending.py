"""Sending: how a relay takes events in. A slice of them becomes messages, which go to the target together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sacho.events import RecordedEvent
from sacho.reacting.messaging.folds import Folds
from sacho.reacting.messaging.message import Message
from sacho.reacting.messaging.target import Outcome
from sacho.reacting.pace import Slices
from sacho.reacting.taking import Taking, waiting_or_failure

if TYPE_CHECKING:
    from sacho.reacting.messaging.relay import Relay
    from sacho.store import EventStore

SLICE_SECONDS: Final = 1.0
"""For about how long messages are under way before the worker looks up; so long a stop waits."""
LEAST_AT_ONCE: Final = 16
"""How many events go together at least, however slow the target is: most are of different keys."""
MOST_REMEMBERED: Final = 100_000


class Sending(Taking):
    """Takes events for a relay.

    Where one fails, those before it have been sent, and of those behind it the ones of other keys. These are remembered,
    so that they are not sent again by this worker once the event that failed is parked.
    """

    acts_at_once = True

    def __init__(self, relay: Relay, store: EventStore) -> None:
        self._relay = relay
        self._store = store
        self._folds = Folds(store)
        self._sent: set[int] = set()
        """The positions of events behind one that failed whose messages the target has."""

    def slices(self) -> Slices:
        """As many as the target takes at once."""
        at_once = max(1, self._relay.target.at_once)
        return Slices(at_once, SLICE_SECONDS, min(at_once, LEAST_AT_ONCE))

    def take(self, events: Sequence[RecordedEvent], *, is_replay: bool) -> None:
        """Send the messages of events, up to the first event of which none could be made."""
        made: list[tuple[RecordedEvent, int]] = []
        messages: list[Message] = []
        broken: tuple[RecordedEvent, BaseException] | None = None
        for recorded in events:
            if is_replay or recorded.position in self._sent:
                continue
            try:
                messages += self._relay.messages(recorded, self._store, self._folds)
            except BaseException as error:
                broken = (recorded, error)
                break
            made.append((recorded, len(messages)))
        self._look(made, self._outcomes(messages))
        if broken is not None:
            raise waiting_or_failure(broken[1], broken[0]) from broken[1]

    def _outcomes(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        if not messages:
            return ()
        try:
            outcomes = self._relay.target.send(messages)
        except BaseException as error:
            return [error] * len(messages)
        if len(outcomes) != len(messages):
            wrong = TypeError(f"send() of the target returned {len(outcomes)} outcomes for {len(messages)} messages")
            return [wrong] * len(messages)
        return outcomes

    def _look(self, made: Sequence[tuple[RecordedEvent, int]], outcomes: Sequence[Outcome]) -> None:
        """Raise for the first event of which a message failed; remember those behind it whose messages did not."""
        failed: tuple[RecordedEvent, BaseException] | None = None
        begins = 0
        for recorded, ends in made:
            error = next((one for one in outcomes[begins:ends] if one is not None), None)
            begins = ends
            if failed is not None and error is None:
                self._remember(recorded.position)
            elif failed is None and error is not None:
                failed = (recorded, error)
        if failed is not None:
            raise waiting_or_failure(failed[1], failed[0]) from failed[1]

    def _remember(self, position: int) -> None:
        if len(self._sent) >= MOST_REMEMBERED:
            self._sent.clear()  # they are sent again, with the same ids
        self._sent.add(position)
