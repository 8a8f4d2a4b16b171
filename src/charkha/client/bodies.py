"""From rows of Python values to the bodies of calls: encoded row by row, and cut where the server's limits are."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import msgspec

from charkha.client.errors import WrongCall

Row = Mapping[str, Any]
_NO_JSON = (TypeError, ValueError, OverflowError, RecursionError)

# What a server takes in one call, with room for what goes around the rows.
MOST_ROWS = 1000
MOST_BYTES = (4 << 20) - 1024


def encoded(rows: Iterable[Row]) -> list[bytes]:
    """Return each row as JSON. NaN and infinity are null, a date is its midnight in UTC, numbers may be NumPy's.

    Raises WrongCall for what is no rows, and for a value that has no JSON.
    """
    if isinstance(rows, str | bytes) or not isinstance(rows, Iterable):
        raise WrongCall(f"expected a row, as a mapping of names to values, or many of them, got {_shown(rows)}", "rows")
    if hasattr(rows, "columns"):
        ways = {"to_dicts": "frame.to_dicts()", "to_pylist": "table.to_pylist()"}
        how = next((way for name, way in ways.items() if hasattr(rows, name)), 'frame.to_dict("records")')
        raise WrongCall(f"expected rows, as mappings of names to values, got a {_kind(rows)}. Pass {how}", "rows")
    return [_encoded(row, f"rows[{number}]") for number, row in enumerate(rows)]


def encoded_one(row: Row) -> bytes:
    """Return one row as JSON. Raises as `encoded`."""
    return _encoded(row, "")


def _encoded(row: Row, place: str) -> bytes:
    if not isinstance(row, Mapping):
        raise WrongCall(f"expected a mapping of names to values, got {_shown(row)}", place)
    try:
        return _encoder.encode({name: _plain(value) for name, value in row.items()})
    except _NO_JSON as error:
        raise _without_json(row, place, error) from None


def _without_json(row: Row, place: str, error: Exception) -> WrongCall:
    """Return what is said of a row that cannot be encoded: the first value that cannot, or a name."""
    for name, value in row.items():
        field = f"{place}.{name}" if place else str(name)
        if not isinstance(name, str):
            return WrongCall(f"expected a name as text, got {_shown(name)}", field)
        try:
            _encoder.encode({name: _plain(value)})
        except _NO_JSON:
            said = "expected a value that JSON has: text, a number, a boolean, a time or None"
            return WrongCall(f"{said}, got {_shown(value)}", field)
    return WrongCall(f"expected a row that can be written as JSON: {error}", place or None)


def _kind(value: object) -> str:
    return f"{type(value).__module__.partition('.')[0]}.{type(value).__name__}"


def _shown(value: object) -> str:
    """Return a value in few words."""
    said = repr(value)
    return said if len(said) <= 80 else f"a {_kind(value)}"


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
    raise TypeError(f"no value of JSON: {type(value).__name__}")


_encoder = msgspec.json.Encoder(enc_hook=_other)
