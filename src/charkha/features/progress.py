"""What the online store remembers beside the state of views: which rows it has seen, and how far it has come."""

import hashlib
import struct
from collections.abc import Iterable, Sequence

import msgspec

from charkha.features.events import Row, RowLayout
from charkha.storage.online import OnlineReader, OnlineWriter

_APPLIED = b"\x00applied:"
_NEWEST = b"\x00newest:"
_ROW = b"\x00row:"
_LONGEST_PLACE = 400  # bytes
_VIEWS = b"\x00views"
_SEEDED = b"\x00seeded:"

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


def is_seeded(state: OnlineReader, source: str) -> bool:
    """Say whether the rows of a source's files are remembered."""
    return state.get(_SEEDED + source.encode()) is not None


def mark_seeded(state: OnlineWriter, source: str) -> None:
    """Record that the rows of a source's files are remembered."""
    state.put(_SEEDED + source.encode(), b"1")


def remember_rows(state: OnlineWriter, layout: RowLayout, rows: Iterable[Row]) -> list[tuple[Row, bool]]:
    """Remember rows that became known together; return those that count, each with whether it is its row's first.

    The others are repetitions. What the last version of a row says is what rows that came together say of it: if that
    is known already, no version of it counts, and so a batch may come again, whatever versions are in it.
    """
    placed = [(row_place(layout, row), row_content(row), row) for row in rows]
    last = {place: content for place, content, _ in placed}
    said = {place: state.get(place) for place in last}
    known = {place for place, content in said.items() if content == last[place]}
    fresh = []
    for place, content, row in placed:
        before = said[place]
        if place not in known and content != before:
            fresh.append((row, before is None))
            said[place] = content
    state.put_many(sorted((place, content) for place, content in last.items() if place not in known))
    return fresh


def remembered(state: OnlineReader, layout: RowLayout, row: Row) -> bytes | None:
    """Return what is remembered of the newest row of a row's key; None when there was none."""
    return state.get(row_place(layout, row))


def row_place(layout: RowLayout, row: Row) -> bytes:
    """Return where it is remembered that the state has a row."""
    place = _ROW + f"{layout.source}\x00{layout.key_of(row)}".encode()  # rows that come together lie together
    if len(place) > _LONGEST_PLACE:
        place = _ROW + hashlib.blake2b(place, digest_size=32).digest()
    return place


def rows_prefix(source: str) -> bytes:
    """Return how the places of all rows of a source begin, but for those with very long keys."""
    return _ROW + f"{source}\x00".encode()


def row_content(row: Row) -> bytes:
    """Return eight bytes that stand for what a row says."""
    return hashlib.blake2b(_CONTENT.encode(row), digest_size=8).digest()


def _stored_int(state: OnlineReader, key: bytes) -> int:
    stored = state.get(key)
    return int(_INT64.unpack(stored)[0]) if stored else 0
