"""An event that an engine gives out is encoded again as it was: what one log holds, another one takes."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sacho import EventData, RawEvent, Registry
from sacho.errors import InvalidEvent
from sacho.events import EncodedEvent
from sacho.schema import Encoding
from sacho.schema.encoding import encoded_again
from sacho.storage.port import row_of

ENCODING = Encoding(Registry())
ID = bytes(range(16))


def again(event: EncodedEvent) -> EncodedEvent:
    """Send an event through the form in which engines give it out."""
    _, _, _, type, schema_version, data, id, tags, metadata, _ = row_of(1, None, None, event, 1)
    return encoded_again(id, type, schema_version, data, tags, metadata)


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(TEXT), st.dictionaries(TEXT, TEXT), st.none() | TEXT | st.uuids())
def test_any_event_is_encoded_again_as_it_was(tags: list[str], more: dict[str, str], correlation_id: Any) -> None:
    metadata = more if correlation_id is None else {**more, "correlation_id": correlation_id}
    event = ENCODING.encode(EventData(RawEvent("A", {"n": 1}, 3)), lambda: ID, metadata)
    event = msgspec.structs.replace(event, tags=tuple(tags))
    assert again(event) == event


def test_a_correlation_id_is_found_as_text() -> None:
    id = UUID(int=5)
    event = ENCODING.encode(RawEvent("A", 1), lambda: ID, {"correlation_id": id, "nested": {"correlation_id": "other"}})
    assert again(event).correlation_id == event.correlation_id == str(id)


@pytest.mark.parametrize(
    ("tags", "metadata"),
    [("[", None), ("[1]", None), ("{}", None), (None, "{"), (None, "[]"), (None, '{"correlation_id":1}')],
)
def test_what_no_store_has_written_is_refused(tags: str | None, metadata: str | None) -> None:
    with pytest.raises(InvalidEvent, match="A"):
        encoded_again(ID, "A", 1, "{}", tags, metadata)
