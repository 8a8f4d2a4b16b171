"""What the online store remembers beside the state of views: which rows it has seen, and how far it has come."""

import hashlib
import struct
from collections.abc import Iterator, Sequence

import msgspec
import polars as pl

from charkha.features.events import Row, RowLayout
from charkha.storage.online import OnlineReader, OnlineWriter

_APPLIED = b"\x00applied:"
_DECLARED = b"\x00declared:"
_NEWEST = b"\x00newest:"
_ROW = b"\x00row:"
_LONGEST_PLACE = 400  # bytes
_VIEWS = b"\x00views"
_TAKEN = b"\x00taken:"
_LONG_PLACE = b"\xff"  # begins no UTF-8 text

_INT64 = struct.Struct("<q")
_CONTENT = msgspec.msgpack.Encoder()


def applied_offset(state: OnlineReader, source: str) -> int:
    """Return up to which offset the log of a source's events has been applied."""
    return _stored_int(state, _APPLIED + source.encode())


def set_applied_offset(state: OnlineWriter, source: str, offset: int) -> None:
    """Record up to which offset the log of a source's events has been applied."""
    state.put(_APPLIED + source.encode(), _INT64.pack(offset))


def newest_known(state: OnlineReader) -> int:
    """Return when the newest row of any source became known (µs); 0 when there is none."""
    return _stored_int(state, _NEWEST)


def newest_known_of(state: OnlineReader, sources: Sequence[str]) -> dict[str, int]:
    """Return, per source that ever had a row, when its newest row became known (µs)."""
    stored = state.get_many([_NEWEST + name.encode() for name in sources])
    return {name: int(_INT64.unpack(value)[0]) for name, value in zip(sources, stored, strict=True) if value}


def set_newest_known(state: OnlineWriter, source: str, known_us: int) -> None:
    """Record that a row of a source became known; times never go back."""
    for place in (_NEWEST, _NEWEST + source.encode()):
        if known_us > _stored_int(state, place):
            state.put(place, _INT64.pack(known_us))


def view_registry(state: OnlineReader) -> bytes | None:
    """Return the views whose state is kept, as JSON: every process applies rows to all of them."""
    return state.get(_VIEWS)


def set_view_registry(state: OnlineWriter, registry: bytes) -> None:
    """Record the views whose state is kept."""
    state.put(_VIEWS, registry)


class Taken(msgspec.Struct, frozen=True):
    """What the state has of a source's files.

    until_us: their rows known by then. batches: the stamp of each batch that was read, by name. waiting_us: when the
    first of their other rows becomes known, None when there are none. built_us: when it was last built anew, by the
    clock; why: because of what, in words.
    """

    until_us: int
    batches: dict[str, tuple[str, ...]]
    waiting_us: int | None
    built_us: int = 0
    why: str = ""


_TAKEN_DECODER = msgspec.json.Decoder(Taken)


def taken_of(state: OnlineReader, source: str) -> Taken | None:
    """Return what the state has of a source's files; None when it was never built."""
    stored = state.get(_TAKEN + source.encode())
    return _TAKEN_DECODER.decode(stored) if stored else None


def set_taken(state: OnlineWriter, source: str, taken: Taken | None) -> None:
    """Record what the state has of a source's files; None: nothing."""
    if taken is None:
        state.delete(_TAKEN + source.encode())
    else:
        state.put(_TAKEN + source.encode(), msgspec.json.encode(taken))


def declared_of(state: OnlineReader, source: str) -> str | None:
    """Return as what its rows were applied, by `declaration_digest`; "" for as several things, None for never built."""
    stored = state.get(_DECLARED + source.encode())
    return None if stored is None else stored.decode()


def set_declared(state: OnlineWriter, source: str, digest: str) -> None:
    """Record as what the rows of a source are applied."""
    state.put(_DECLARED + source.encode(), digest.encode())


def remember_row(state: OnlineWriter, layout: RowLayout, row: Row) -> bool | None:
    """Remember a row; return whether it is new (True), a correction (False) or a repetition (None)."""
    (place,), (content,) = row_places(layout, [row]), row_contents(layout, [row])
    before = state.get(place)
    if before == content:
        return None
    state.put(place, content)
    return before is None


def remember_rows(state: OnlineWriter, layout: RowLayout, rows: Sequence[Row]) -> list[tuple[Row, bool]]:
    """Remember rows that became known together; return those that count, each with whether it is its row's first.

    The others are repetitions. What the last version of a row says is what rows that came together say of it: if that
    is known already, no version of it counts, and so a batch may come again, whatever versions are in it.
    """
    places, contents = row_places(layout, rows), row_contents(layout, rows)
    last = dict(zip(places, contents, strict=True))
    said = dict(zip(last, state.get_many(list(last)), strict=True))
    known = {place for place, content in said.items() if content == last[place]}
    fresh = []
    for place, content, row in zip(places, contents, rows, strict=True):
        before = said[place]
        if place not in known and content != before:
            fresh.append((row, before is None))
            said[place] = content
    state.put_many(sorted((place, content) for place, content in last.items() if place not in known))
    return fresh


def remembered(state: OnlineReader, layout: RowLayout, row: Row) -> bytes | None:
    """Return what is remembered of the newest row of a row's key; None when there was none."""
    return state.get(row_places(layout, [row])[0])


def rows_to_remember(layout: RowLayout, rows: pl.DataFrame) -> Iterator[tuple[bytes, bytes]]:
    """Yield where and what to remember of many rows, byte for byte as `remember_rows` does.

    rows: the source's fields, times as µs; a slice that the caches of a processor hold costs half of a large one.
    """
    columns = [rows[name].to_list() for name in layout.fields]
    values = list(zip(*columns, strict=True))
    yield from zip(row_places(layout, values), row_contents(layout, values), strict=True)


def row_places(layout: RowLayout, rows: Sequence[Row]) -> list[bytes]:
    """Return where it is remembered that the state has each row: rows that come together lie together."""
    prefix = rows_prefix(layout.source)
    return [_short(prefix, prefix + str(key).encode()) for key in layout.keys_of(rows)]


def row_contents(layout: RowLayout, rows: Sequence[Row]) -> list[bytes]:
    """Return, for each row, eight bytes that stand for what it says, and of which fields."""
    encode, digest, salt = _CONTENT.encode, hashlib.blake2b, layout.salt
    return [digest(encode(row), digest_size=8, salt=salt).digest() for row in rows]


def _short(prefix: bytes, place: bytes) -> bytes:
    """Return a place as the store can take it."""
    if len(place) <= _LONGEST_PLACE:
        return place
    return prefix + _LONG_PLACE + hashlib.blake2b(place, digest_size=32).digest()


def rows_prefix(source: str) -> bytes:
    """Return how the places of all rows of a source begin."""
    return _ROW + f"{source}\x00".encode()


def _stored_int(state: OnlineReader, key: bytes) -> int:
    stored = state.get(key)
    return int(_INT64.unpack(stored)[0]) if stored else 0
