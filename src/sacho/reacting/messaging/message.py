"""Message: a public event on its way out, as a CloudEvent (specification: CloudEvents 1.0.2, and its JSON event format).

Written here and not by the `cloudevents` library: that writes JSON by the standard library's rules, which let NaN pass,
and takes data apart that are encoded already. It reads what is written here (the tests see to it), and what comes in.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from sacho.reacting.messaging.public_event import PublicEvent

CONTENT_TYPE: Final = "application/cloudevents+json; charset=utf-8"
SEQUENCE_DIGITS: Final = 19


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message: what a target sends. The names are those of CloudEvents, with its documented extensions.

    `id` is the same each time that the message is sent, and with `source` unique. `subject` and `partitionkey` are the key
    by which messages keep their order, `sequence` tells that order as text that sorts (the event's position in the log; of
    several messages of one event, the later ones have a number behind it). `time` is when the event was recorded.
    `causationid` is the id of that event, `correlationid` what its metadata say. `data` is the public event as JSON.
    """

    id: str
    source: str
    type: str
    subject: str
    time: datetime
    sequence: str
    causationid: str
    correlationid: str | None
    data: str
    event: PublicEvent

    @property
    def key(self) -> str:
        """What messages keep their order by: those of one key are sent one after the other."""
        return self.subject

    def structured(self) -> bytes:
        """Return the message in the structured mode: one JSON object, attributes and data, of `CONTENT_TYPE`."""
        return _to_json(
            _Structured(
                id=self.id,
                source=self.source,
                type=self.type,
                subject=self.subject,
                time=self.time,
                partitionkey=self.subject,
                sequence=self.sequence,
                causationid=self.causationid,
                correlationid=msgspec.UNSET if self.correlationid is None else self.correlationid,
                data=msgspec.Raw(self.data.encode()),
            )
        )


class _Structured(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The JSON event format, in the order in which it is written."""

    specversion: str = "1.0"
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    partitionkey: str
    sequence: str
    causationid: str
    correlationid: str | msgspec.UnsetType = msgspec.UNSET
    datacontenttype: str = "application/json"
    data: msgspec.Raw


_to_json: Final = msgspec.json.Encoder().encode


def sequence_of(position: int, index: int) -> str:
    """Return a text for the place of a message of an event: texts sort as the messages do."""
    first = f"{position:0{SEQUENCE_DIGITS}d}"
    return f"{first}.{index:06d}" if index else first
