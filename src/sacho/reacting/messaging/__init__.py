"""Messages to the outside and from it: what leaves is declared, relayed in order of its key, and comes in once in effect."""

from sacho.reacting.messaging.inbox import Accepted, Inbox, accepts
from sacho.reacting.messaging.into_log import LogTarget
from sacho.reacting.messaging.jetstream import JetStreamTarget
from sacho.reacting.messaging.message import Message
from sacho.reacting.messaging.public_event import PublicEvent
from sacho.reacting.messaging.relay import Context, Relay, publishes
from sacho.reacting.messaging.signing import verify_webhook
from sacho.reacting.messaging.source import JetStreamSource
from sacho.reacting.messaging.target import Target, one_by_one
from sacho.reacting.messaging.webhook import WebhookTarget

__all__ = [
    "Accepted",
    "Context",
    "Inbox",
    "JetStreamSource",
    "JetStreamTarget",
    "LogTarget",
    "Message",
    "PublicEvent",
    "Relay",
    "Target",
    "WebhookTarget",
    "accepts",
    "one_by_one",
    "publishes",
    "verify_webhook",
]
