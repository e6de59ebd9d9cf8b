"""Wake-ups: tells listeners, once each, that the head has risen. A listener is a callback that never blocks."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sacho.storage.statistics import call_safely


class Wakeups:
    """The listeners of one engine. `rise(head)` calls them if the head is higher than the last one told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.listeners: tuple[Callable[[int], None], ...] = ()
        """Whom `rise` calls."""
        self._head = 0

    def add(self, listener: Callable[[int], None]) -> Callable[[], None]:
        """Take a listener in; return what takes it out again."""
        with self._lock:
            self.listeners = (*self.listeners, listener)

        def remove() -> None:
            with self._lock:
                self.listeners = tuple(other for other in self.listeners if other is not listener)

        return remove

    def rise(self, head: int) -> None:
        """Tell the listeners of a new head; a head that was told before is told to nobody."""
        if not self.listeners:
            return
        with self._lock:
            if head <= self._head:
                return
            self._head = head
            listeners = self.listeners
        for listener in listeners:
            call_safely(listener, head)
