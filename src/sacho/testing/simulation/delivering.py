"""Delivering: the events of one consumer, in order of each key and in any order across keys, some of them more than once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from sacho.reacting.consumer import Consumer
from sacho.reacting.taking import HandlerFailed, Taking, said

if TYPE_CHECKING:
    from sacho.events import RecordedEvent
    from sacho.storage.port import Row
    from sacho.testing.simulation.running import Run
    from sacho.testing.simulation.workers import Worker

WEIGHTS: Final = (0.1, 0.5, 1.0, 1.0)
"""How quick a consumer is in one seed, beside others."""
MOST_TOGETHER: Final = 4


class Lane:
    """The events of one key. Those before `done` were taken, those before `saved` for good; `reached` is the most it ever was."""

    __slots__ = ("done", "failures", "is_busy", "is_ready", "key", "owner", "reached", "rows", "saved", "stuck")

    def __init__(self, key: str, owner: Worker) -> None:
        self.key = key
        self.owner = owner
        self.rows: list[Row] = []
        self.done = self.saved = self.reached = 0
        self.failures = 0
        self.stuck: str | None = None
        self.is_ready = False
        """Whether it stands among those that may be picked."""
        self.is_busy = False


class Deliveries:
    """The deliveries to one consumer."""

    def __init__(self, run: Run, consumer: Consumer) -> None:
        self.consumer = consumer
        self.name = consumer.name
        self.query = consumer.events()
        self.weight = run.dice.choice(WEIGHTS)
        self._run = run
        self._has_keys = consumer.independent_keys or consumer.partitions > 1
        self._lanes: dict[str, Lane] = {}
        self._ready: list[Lane] = []
        self._late: list[tuple[Lane, Row]] = []

    def offer(self, row: Row, recorded: RecordedEvent) -> None:
        """Put an event that the query finds into its lane."""
        consumer = self.consumer
        if consumer.stream not in {None, recorded.stream} or not consumer.concerns(recorded):
            return
        key = str(consumer.key(recorded)) if self._has_keys else ""
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key, self._run.any_worker())
        lane.rows.append(row)
        self._call(lane)

    def has_work(self) -> bool:
        """Tell whether something is to be delivered."""
        return bool(self._ready or self._late)

    def step(self, but: Worker | None = None) -> bool:
        """Deliver something, by another worker than `but`; return whether it did."""
        run = self._run
        if self._late and (not self._ready or run.dice.random() < 0.2):
            return self._deliver_late(but)
        lane = self._pick(but)
        if lane is None:
            return False
        lanes, taking = [lane], lane.owner.taking(self.consumer)
        if taking.slices().size > 1 and run.dice.random() < 0.3:
            lanes += self._more(lane.owner)
        self._deliver(lanes, taking)
        return True

    def restart(self, worker: Worker) -> None:
        """Let what a worker has taken since its checkpoints come again, some of it to others."""
        for lane in self._lanes.values():
            if lane.owner is worker and not lane.is_busy:
                self._again(lane)

    # --- parts ----------------------------------------------------------------------------------------

    def _pick(self, but: Worker | None) -> Lane | None:
        """Take out one of the lanes that are ready."""
        ready = self._ready
        if not ready:
            return None
        place = self._run.dice.randrange(len(ready))
        lane = ready[place]
        if lane.owner is but:
            return None
        ready[place] = ready[-1]
        ready.pop()
        lane.is_ready = False
        return lane

    def _more(self, owner: Worker) -> list[Lane]:
        """Take out some more lanes of a worker, to be delivered together."""
        found = [lane for lane in self._ready if lane.owner is owner][:MOST_TOGETHER]
        for lane in found:
            self._ready.remove(lane)
            lane.is_ready = False
        return found

    def _deliver(self, lanes: Sequence[Lane], taking: Taking) -> None:
        run, worker = self._run, lanes[0].owner
        rows = sorted(lane.rows[lane.done] for lane in lanes)
        self._count(lanes)
        for row in rows:
            run.note("{} takes {} {} for {}", worker, row[0], row[3], self.name)
        for lane in lanes:
            lane.is_busy = True
        error = run.attempt(worker, partial(self._take, taking, rows))
        for lane in lanes:
            lane.is_busy = False
        if worker.is_dead:
            run.restart(worker)
        elif error is None:
            taking.committed()
            for lane in lanes:
                self._taken(lane)
        else:
            taking.discard()
            self._failed(lanes, error)
        for lane in lanes:
            self._call(lane)

    def _take(self, taking: Taking, rows: Sequence[Row]) -> None:
        events = self._run.store.decoding(raw=False).page(list(rows))
        taking.take(events, is_replay=False)

    def _count(self, lanes: Sequence[Lane]) -> None:
        counts = self._run.counts
        counts.deliveries += len(lanes)
        counts.duplicates += sum(1 for lane in lanes if lane.done < lane.reached)

    def _taken(self, lane: Lane) -> None:
        run, chances = self._run, self._run.chances
        lane.failures = 0
        lane.done += 1
        lane.reached = max(lane.reached, lane.done)
        if run.happens(chances.late):
            self._late.append((lane, lane.rows[lane.done - 1]))
        if run.happens(chances.again):
            run.note("{} begins again at the checkpoint of {!r}", self.name, lane.key)
            self._again(lane)
        elif run.dice.random() < 0.5:
            lane.saved = lane.done

    def _again(self, lane: Lane) -> None:
        """Begin again at the checkpoint, perhaps elsewhere. To whom a lease comes remembers nothing of it from before."""
        lane.done = lane.saved
        lane.owner = self._run.any_worker()
        lane.owner.taking(self.consumer).discard()
        self._call(lane)

    def _failed(self, lanes: Sequence[Lane], failed: BaseException) -> None:
        """Try again what failed, as often as the consumer declares; then hold its key up. What failed together is tried alone.

        Where the log gave no answer, it is tried again without end.
        """
        if self._run.is_passing(failed):
            return
        if not isinstance(failed, HandlerFailed):
            raise failed
        if len(lanes) > 1:
            return
        lane, error = lanes[0], failed.__cause__ or failed
        lane.failures += 1
        self._run.note("it failed: {}", said(error))
        if getattr(error, "is_final", False) or lane.failures >= self.consumer.retry.attempts:
            lane.stuck = said(error)
            place = f"position {failed.recorded.position}, {failed.recorded.type}"
            self._run.parked.append(f"{self.name} cannot handle {place}, and parks it: {lane.stuck}")

    def _deliver_late(self, but: Worker | None) -> bool:
        """Deliver an event that was delivered before, to a worker that does not know."""
        run = self._run
        lane, row = self._late[0]
        worker = run.any_worker()
        if worker in {but, lane.owner}:
            return False
        self._late.pop(0)
        run.counts.deliveries += 1
        run.counts.duplicates += 1
        run.note("{} takes {} {} for {}, late", worker, row[0], row[3], self.name)
        taking = worker.taking(self.consumer)
        error = run.attempt(worker, partial(self._take, taking, [row]))
        if worker.is_dead:
            run.restart(worker)
        elif error is not None:
            taking.discard()  # what a worker without a lease fails at, it cannot park
        else:
            taking.committed()
        return True

    def _call(self, lane: Lane) -> None:
        """Let a lane be picked, if there is something in it."""
        if lane.done < len(lane.rows) and lane.stuck is None and not (lane.is_ready or lane.is_busy):
            lane.is_ready = True
            self._ready.append(lane)
