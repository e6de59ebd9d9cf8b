"""Errors about consumers, projections and their views; see the tree in `sacho.errors`."""

from __future__ import annotations

from collections.abc import Iterable

from sacho.errors.base import SachoError

__all__ = [
    "CannotSwitch",
    "CheckpointAhead",
    "CommandFailed",
    "ConsumerStopped",
    "DuplicateConsumer",
    "ForeignCheckpoint",
    "InvalidConsumer",
    "InvalidReaction",
    "KeyParked",
    "LeaseLost",
    "PartitionsDiffer",
    "ProjectionChanged",
    "ReactingError",
    "UnknownConsumer",
    "UnknownProcess",
    "ViewNotReady",
    "ViewsUnreachable",
]

_REBUILD = "Build the view again (sacho projections rebuild {0}), or go on from the log's end as it is now"
_GO_ON = "Go on from the log's end as it is now"
_INLINE = "Build the view again, by a new version of the class, or go on with it as it is"
_ACCEPT = " (sacho projections accept {0})"


def _after_restore(consumer: str, kind: str) -> str:
    offers = {"projection": _REBUILD, "inline": _INLINE}
    return (offers.get(kind, _GO_ON) + _ACCEPT).format(consumer)


class ReactingError(SachoError):
    """Something about consumers, projections or their views."""


class InvalidConsumer(ReactingError, TypeError):
    """A class that cannot be declared as a consumer or projection. `consumer` names it, `reason` says why."""

    def __init__(self, consumer: str, reason: str) -> None:
        self.consumer = consumer
        self.reason = reason
        super().__init__(f"{consumer}: {reason}")


class DuplicateConsumer(ReactingError, TypeError):
    """Two consumers that would share a name or a table. `what` says which, `first` and `second` name the classes."""

    def __init__(self, what: str, first: str, second: str) -> None:
        self.what = what
        self.first = first
        self.second = second
        super().__init__(f"{what} belongs to {first} already and cannot belong to {second}; give one another name")


class UnknownConsumer(ReactingError, LookupError):
    """There is no consumer, version or parked event of that name. `name` is what was asked for, `known` what there is."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        self.known = tuple(known)
        super().__init__(
            f"there is no {name}; there {'is' if self.known else 'are none'} {', '.join(self.known)}".strip()
        )


class ProjectionChanged(ReactingError):
    """A projection is another one than its tables were built by. Carries `consumer` and `version`."""

    def __init__(self, consumer: str, version: int) -> None:
        self.consumer = consumer
        self.version = version
        super().__init__(
            f"{consumer} has changed, but its version is still {version}: its tables hold what the code before made. Give "
            f"it version = {version + 1}, which is built beside and takes over; or, if the change makes no difference to "
            f"the tables, accept it: sacho projections accept {consumer}"
        )


class CheckpointAhead(ReactingError):
    """A checkpoint stands beyond the log's end. Carries `consumer`, `position` and `head`.

    `kind` (projection, inline or plain) tells what the message offers.
    """

    def __init__(self, consumer: str, position: int, head: int, kind: str = "projection") -> None:
        self.consumer = consumer
        self.position = position
        self.head = head
        super().__init__(
            f"{consumer} has handled events up to position {position}, but the log ends at {head}: it was restored from a "
            f"backup, perhaps. {_after_restore(consumer, kind)}"
        )


class ForeignCheckpoint(ReactingError):
    """A checkpoint belongs to another log, or another epoch of this one. Carries `consumer`, `kept` and `found`: (id, epoch).

    `kind` (projection, inline or plain) tells what the message offers.
    """

    def __init__(self, consumer: str, kept: tuple[str, int], found: tuple[str, int], kind: str = "projection") -> None:
        self.consumer = consumer
        self.kept = kept
        self.found = found
        same = kept[0] == found[0]
        what = (
            f"epoch {kept[1]} of the log, which is in epoch {found[1]} now"
            if same
            else f"log {kept[0]}, not {found[0]}"
        )
        super().__init__(f"{consumer} has handled events of {what}. {_after_restore(consumer, kind)}")


class PartitionsDiffer(ReactingError):
    """Checkpoints were kept for another number of partitions. Carries `consumer`, `kept` and `declared`."""

    def __init__(self, consumer: str, kept: int, declared: int) -> None:
        self.consumer = consumer
        self.kept = kept
        self.declared = declared
        super().__init__(
            f"{consumer} has {declared} partitions now, and its checkpoints are those of {kept}: they can change only when "
            "all of them stand at one position. Let the code before catch up (sacho run --once), stop it, then start this"
        )


class ConsumerStopped(ReactingError):
    """A consumer stopped at an event. Carries `consumer`, `position` and `reason`."""

    def __init__(self, consumer: str, position: int, reason: str) -> None:
        self.consumer = consumer
        self.position = position
        self.reason = reason
        super().__init__(
            f"{consumer} stopped at position {position}: {reason}. Mend the cause, then: sacho projections retry {consumer.partition('@')[0]}"
        )


class KeyParked(ReactingError):
    """An event of a key is parked, and the later ones of that key wait behind it. Carries `consumer`, `key` and `position`."""

    def __init__(self, consumer: str, key: str, position: int, reason: str) -> None:
        self.consumer = consumer
        self.key = key
        self.position = position
        self.reason = reason
        super().__init__(f"{consumer} has parked key {key!r} at position {position}: {reason}")


class UnknownProcess(ReactingError, LookupError):
    """An event for a process that was never begun. Carries `process` (the kind), `key` and `type`."""

    is_final = True

    def __init__(self, process: str, key: str, type: str) -> None:
        self.process = process
        self.key = key
        self.type = type
        super().__init__(
            f"there is no process {key!r} of {process}, for which {type!r} came; if it may begin one, mark its method by "
            "@starts; if it is for none of this kind, let its key be None"
        )


class InvalidReaction(ReactingError, TypeError):
    """A process manager did what cannot be meant. Carries `process` (the kind), `reaction` and `reason`."""

    is_final = True

    def __init__(self, process: str, reaction: object, reason: str) -> None:
        self.process = process
        self.reaction = reaction
        self.reason = reason
        super().__init__(f"{process} yielded {reaction!r}: {reason}")


class CommandFailed(ReactingError):
    """A command that a process sent, or that was stored, cannot be handled. Carries `command`, `command_id` and `reason`."""

    is_final = True

    def __init__(self, command: str, command_id: str, reason: str) -> None:
        self.command = command
        self.command_id = command_id
        self.reason = reason
        super().__init__(f"command {command} ({command_id}) was not handled: {reason}")


class ViewNotReady(ReactingError):
    """A view is being built for the first time. Carries `consumer`, `position` and `head`: how far it is."""

    def __init__(self, consumer: str, position: int, head: int) -> None:
        self.consumer = consumer
        self.position = position
        self.head = head
        super().__init__(
            f"the view {consumer} is being built and can be read once it has caught up: it is at position {position} of "
            f"{head}; is its runner at work? (sacho run)"
        )


class CannotSwitch(ReactingError):
    """A version of a projection cannot take over or be removed. Carries `consumer` and `reason`."""

    def __init__(self, consumer: str, reason: str) -> None:
        self.consumer = consumer
        self.reason = reason
        super().__init__(f"{consumer}: {reason}")


class LeaseLost(ReactingError):
    """Another worker has taken over a partition; nothing was written. `consumer` names whose."""

    def __init__(self, consumer: str) -> None:
        self.consumer = consumer
        super().__init__(f"another worker has taken over partitions of {consumer}; nothing was written")


class ViewsUnreachable(ReactingError):
    """The database of the views does not answer, or cannot be written. `where` is it, without credentials."""

    def __init__(self, where: str, reason: str) -> None:
        self.where = where
        self.reason = reason
        super().__init__(f"the views' database {where} cannot be used: {reason}")
