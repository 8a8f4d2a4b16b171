"""From rows of Python values to the bodies of calls: encoded row by row, and cut where the server's limits are."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import msgspec

Row = Mapping[str, Any]

# What a server takes in one call, with room for what goes around the rows.
MOST_ROWS = 1000
MOST_BYTES = (4 << 20) - 1024


def encoded(rows: Iterable[Row]) -> list[bytes]:
    """Return each row as JSON. NaN and infinity are null, a date is its midnight in UTC, numbers may be NumPy's.

    Raises TypeError for a value that has no JSON.
    """
    return [_encoder.encode({name: _plain(value) for name, value in row.items()}) for row in rows]


def one(row: bytes) -> bytes:
    """Return the body of a single row."""
    return row


def many(rows: Sequence[bytes]) -> bytes:
    """Return the body of many rows."""
    return b'{"rows":[' + b",".join(rows) + b"]}"


def cut(rows: Sequence[bytes], most_rows: int, most_bytes: int = MOST_BYTES) -> Iterator[Sequence[bytes]]:
    """Yield rows in calls of at most so many rows and bytes; a row that is too large by itself is a call of its own."""
    low, size = 0, 0
    for place, row in enumerate(rows):
        if place > low and (place - low >= most_rows or size + len(row) > most_bytes):
            yield rows[low:place]
            low, size = place, 0
        size += len(row) + 1
    if low < len(rows):
        yield rows[low:]


def _plain(value: Any) -> Any:
    if isinstance(value, date):
        if not isinstance(value, datetime):
            return datetime(value.year, value.month, value.day, tzinfo=UTC)
        if type(value) is not datetime:  # pandas' Timestamp is one, and its NaT, which says that it is none
            said = value.isoformat()
            return None if said == "NaT" else said
    return value


def _other(value: Any) -> Any:
    """Return a NumPy number as Python's; msgspec knows all others that have a JSON."""
    if hasattr(value, "dtype") and hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        return _plain(value.item())
    raise TypeError(f"expected a value that JSON has: text, a number, a boolean, a time or None, got {value!r}")


_encoder = msgspec.json.Encoder(enc_hook=_other)
