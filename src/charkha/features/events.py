"""Pushed rows as the log keeps them: MessagePack, times as µs since 1970 UTC."""

from typing import Any

import msgspec

EVENTS = "events"
# One partition: the order of all events is one order, so that whatever is derived from them can be rebuilt.
PARTITION = "all"

Row = tuple[Any, ...]


class EventBatch(msgspec.Struct, frozen=True, array_like=True):
    """Rows of one source that became known together. rows: values in the order of the source's fields."""

    source: str
    known_us: int
    rows: list[Row]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(EventBatch)


def encode_events(batch: EventBatch) -> bytes:
    """Return the payload of a log record."""
    return _ENCODER.encode(batch)


def decode_events(payload: bytes) -> EventBatch:
    """Return the batch of a log record."""
    return _DECODER.decode(payload)
