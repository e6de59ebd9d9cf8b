"""Errors about messages to and from the outside; see the tree in `sacho.errors`."""

from __future__ import annotations

from collections.abc import Iterable

from sacho.errors.base import SachoError

__all__ = [
    "InvalidPublicEvent",
    "InvalidSignature",
    "InvalidTarget",
    "MalformedMessage",
    "MessageRefused",
    "MessageTooLarge",
    "MessagingError",
    "StreamMissing",
    "TargetFailed",
    "TargetUnreachable",
    "UnknownMessageType",
    "UnpublishableEvent",
    "WebhookFailed",
    "WebhookGone",
    "WebhookRefused",
]


class MessagingError(SachoError):
    """Something about messages to or from the outside."""


# --- declaring ----------------------------------------------------------------------------------------


class InvalidPublicEvent(MessagingError, TypeError):
    """A class that cannot be declared as a public event. `event` names it, `reason` says why."""

    def __init__(self, event: str, reason: str) -> None:
        self.event = event
        self.reason = reason
        super().__init__(f"{event}: {reason}")


class InvalidTarget(MessagingError, ValueError):
    """A target, or a secret, that cannot be meant. `reason` says why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


# --- to the outside -----------------------------------------------------------------------------------


class UnpublishableEvent(MessagingError, ValueError):
    """What a relay's method returned cannot leave. `relay` and `method` name where, `reason` says why."""

    is_final = True

    def __init__(self, relay: str, method: str, reason: str) -> None:
        self.relay = relay
        self.method = method
        self.reason = reason
        super().__init__(f"{relay}.{method}: {reason}")


class TargetUnreachable(MessagingError):
    """A target does not answer at all, which is no message's fault: it is waited for, without end, and nothing is parked.

    Base of a target's own errors of that kind. `target` names it without credentials, `reason` says what was met.
    """

    def __init__(self, target: str, reason: str) -> None:
        self.target = target
        self.reason = reason
        super().__init__(f"{target} cannot be reached: {reason}")


class StreamMissing(TargetUnreachable):
    """No stream of JetStream takes a subject, or the server has no JetStream. Carries `target` and `subject`."""

    def __init__(self, target: str, subject: str) -> None:
        self.subject = subject
        super().__init__(target, f"no stream takes the subject {subject!r}; make one, and the relay goes on")


class TargetFailed(MessagingError):
    """A target did not take a message this time: it is sent again, and then parked.

    Carries `target`, `reason`, and `retry_after`: the seconds after which the target wants to be asked again, or None.
    """

    def __init__(self, target: str, reason: str, retry_after: float | None = None) -> None:
        self.target = target
        self.reason = reason
        self.retry_after = retry_after
        super().__init__(f"{target} did not take the message: {reason}")


class WebhookFailed(TargetFailed):
    """A webhook answered 408, 425, 429 or 5xx, or not in time. `status` is the answer's, None where there was none."""

    def __init__(self, target: str, status: int | None, reason: str, retry_after: float | None = None) -> None:
        self.status = status
        super().__init__(target, reason, retry_after)


class MessageRefused(MessagingError):
    """A target will never take a message: it is parked at once. Base of a target's own errors of that kind.

    Carries `target` and `reason`.
    """

    is_final = True

    def __init__(self, target: str, reason: str) -> None:
        self.target = target
        self.reason = reason
        super().__init__(f"{target} refuses the message: {reason}")


class MessageTooLarge(MessageRefused):
    """A message over a limit. `size` and `limit` are bytes, with what the target counts beside the message itself."""

    def __init__(self, target: str, size: int, limit: int) -> None:
        self.size = size
        self.limit = limit
        super().__init__(
            target, f"it has {size} bytes, and {limit} are allowed; publish less, or where to find the rest"
        )


class WebhookRefused(MessageRefused):
    """A webhook answered that it will not take a message: 4xx, or a redirect, which is not followed. Carries `status`."""

    def __init__(self, target: str, status: int, reason: str) -> None:
        self.status = status
        super().__init__(target, reason)


class WebhookGone(WebhookRefused):
    """A webhook answered 410: nobody listens there any more. Take it out of the consumers, or name another URL."""


# --- from the outside ---------------------------------------------------------------------------------


class InvalidSignature(MessagingError, ValueError):
    """A signed message whose signature is missing, wrong or too old. `reason` says which; never what would be right."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the message's signature does not hold: {reason}")


class MalformedMessage(MessagingError, ValueError):
    """What came in is no CloudEvent, or its data does not fit the type. `reason` says what stands in the way."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the message cannot be read: {reason}")


class UnknownMessageType(MessagingError, LookupError):
    """A message of a type that the inbox does not accept. Carries `type`, and `known`: those it does."""

    def __init__(self, type: str, known: Iterable[str]) -> None:
        self.type = type
        self.known = tuple(sorted(known))
        super().__init__(f"no method accepts messages of type {type!r}; there are {', '.join(self.known) or 'none'}")
