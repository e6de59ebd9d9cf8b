"""Holding: the partitions of a build that one worker holds, how far each is done, and how workers share them."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from sacho.reacting.bookkeeping import Bookkeeping, Lease
from sacho.reacting.tables import Generation


class Holding:
    """Leases by partition. One thread changes them; any may ask how far a partition is."""

    def __init__(
        self, books: Bookkeeping, generation: Generation, worker: str, partitions: int, seconds: float
    ) -> None:
        self.place, self.workers_alive = 0, 1
        """The worker's place among those that live, and how many they are: by these they share."""
        self.leases: dict[int, Lease] = {}
        self.passed = 0
        """Up to where nothing concerns the consumer, behind what is written."""
        self._books = books
        self._generation = generation
        self._worker = worker
        self._partitions = partitions
        self._seconds = seconds

    # --- how far --------------------------------------------------------------------------------------

    def done(self, partition: int) -> int | None:
        """Return up to where a partition that is held is done, written or not; None if it is not held."""
        lease = self.leases.get(partition)
        if lease is None or lease.stopped_at is not None:
            return None if lease is None else lease.position
        return max(lease.position, self.passed)

    def written(self, partition: int) -> int | None:
        """Return the position of a partition that is held, as it was last written; or None."""
        lease = self.leases.get(partition)
        return None if lease is None else lease.position

    def has_reached(self, position: int) -> bool:
        """Tell whether all partitions that are held, at least one, are written up to a position."""
        leases = list(self.leases.values())
        return bool(leases) and min(lease.position for lease in leases) >= position

    def active(self) -> list[Lease]:
        """Return the leases of partitions that have not stopped."""
        return [lease for lease in self.leases.values() if lease.stopped_at is None]

    def low(self) -> int:
        """Return up to where all partitions that have not stopped are done."""
        return max(self.passed, min((lease.position for lease in self.active()), default=0))

    def reached(self, leases: Sequence[Lease], position: int) -> None:
        """Note how far partitions are written."""
        for lease in leases:
            if lease.position < position:
                self.leases[lease.partition] = lease._replace(position=position)

    def change(self, lease: Lease) -> None:
        """Note that a partition stopped, or goes on."""
        self.passed = 0
        self.leases[lease.partition] = lease

    # --- sharing --------------------------------------------------------------------------------------

    @property
    def is_short(self) -> bool:
        """Whether it is less than the worker's share, so that others are about to give some back."""
        return len(self.leases) < self._share()

    def balance(self, connection: sa.Connection) -> tuple[Sequence[Lease], Sequence[Lease]]:
        """Give back what is above the worker's share, or take what is missing and free; return what went and what came.

        They are to be entered by `changed` once the transaction is committed.
        """
        share = self._share()
        gone = list(self.leases.values())[share:]
        if gone:
            self._books.release(connection, self._generation, gone)
        more, held = share - len(self.leases), self.leases.values()
        if more <= 0:
            return gone, []
        come = self._books.acquire(
            connection, self._generation, self._worker, more, self._seconds, held, count=self._partitions
        )
        return gone, come

    def changed(self, gone: Sequence[Lease], come: Sequence[Lease]) -> None:
        """Enter what `balance` gave back and took."""
        for lease in gone:
            del self.leases[lease.partition]
        for lease in come:
            self.change(lease)

    def give_back(self, connection: sa.Connection) -> None:
        """Give all back, and leave."""
        if self.leases:
            self._books.release(connection, self._generation, self.leases.values())
        self._books.leave(connection, self._generation, self._worker)

    def clear(self) -> None:
        """Forget all: it is lost, or given back."""
        self.leases.clear()
        self.passed = 0

    def _share(self) -> int:
        """Return how many partitions the worker is to hold."""
        each, rest = divmod(self._partitions, max(1, self.workers_alive))
        return each + (self.place < rest)
