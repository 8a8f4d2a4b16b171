"""Pushed rows as the log keeps them: MessagePack, times as µs since 1970 UTC."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from attrs import frozen

from charkha.features.keys import key_texts
from charkha.spec.fields import FieldType
from charkha.spec.sources import Source

# The rows of a source have one order, so that whatever is derived from them can be rebuilt.
PARTITION = "all"

Row = tuple[Any, ...]

_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_PLAIN_TYPES: Mapping[FieldType, Any] = {str: str, int: _Int64, float: float, bool: bool, datetime: _Int64}


class EventBatch(msgspec.Struct, frozen=True, array_like=True):
    """Rows of one source that became known together. fields: what the values of each row are."""

    source: str
    known_us: int
    fields: tuple[str, ...]
    rows: list[Row]

    def rows_of(self, fields: tuple[str, ...]) -> list[Row]:
        """Return the rows with values in another order, since definitions change; what a row lacks is null."""
        if fields == self.fields:
            return self.rows
        places = {name: place for place, name in enumerate(self.fields)}
        wanted = [places.get(name) for name in fields]
        return [tuple(None if place is None else row[place] for place in wanted) for row in self.rows]


@frozen
class RowLayout:
    """Where, in the values of a source's rows, their key and their event time are.

    rows_type: rows as the log keeps them, for msgspec: lists of tuples with the type of each field, or null. salt: 16
    bytes that stand for the fields' names, so that equal values of other fields are not taken for the same row.
    """

    source: str
    fields: tuple[str, ...]
    key_places: tuple[int, ...]
    time_place: int | None
    datetime_places: tuple[int, ...]
    float_places: tuple[int, ...]
    rows_type: Any
    salt: bytes

    @classmethod
    def of(cls, source: Source) -> "RowLayout":
        """Return the layout of rows whose values are in the order of the source's fields."""
        fields = tuple(source.fields)
        time = fields.index(source.time) if source.time is not None else None
        datetimes, floats = (
            tuple(place for place, kind in enumerate(source.fields.values()) if kind is wanted)
            for wanted in (datetime, float)
        )
        keys = tuple(fields.index(column) for column in source.key)
        types = tuple(_PLAIN_TYPES[kind] | None for kind in source.fields.values())
        salt = hashlib.blake2b("\x00".join(fields).encode(), digest_size=16).digest()
        return cls(source.name, fields, keys, time, datetimes, floats, list[tuple[types]], salt)  # type: ignore[valid-type]

    def keys_of(self, rows: Sequence[Row]) -> list[str | None]:
        """Return the key of each row as text: None where a part of it is null, "" without a row key."""
        if not self.key_places:
            return [""] * len(rows)
        return key_texts([[row[place] for row in rows] for place in self.key_places])

    def events_us(self, rows: Sequence[Row]) -> list[int | None]:
        """Return the event time of each row, as `event_us` does of one."""
        return [0] * len(rows) if self.time_place is None else [row[self.time_place] for row in rows]

    def event_us(self, row: Row) -> int | None:
        """Return a row's event time (µs); 0, always, for a static source."""
        return 0 if self.time_place is None else row[self.time_place]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(EventBatch)


def event_stream(source: str) -> str:
    """Return the name of the log stream that holds a source's pushed rows."""
    return f"events/{source}"


def encode_events(batch: EventBatch) -> bytes:
    """Return the payload of a log record."""
    return _ENCODER.encode(batch)


def decode_events(payload: bytes) -> EventBatch:
    """Return the batch of a log record."""
    return _DECODER.decode(payload)
