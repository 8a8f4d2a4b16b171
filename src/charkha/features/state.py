"""The online state of a view: the tiles of its rings and its latest row, per key, as bytes in an online store.

A view's state is filed under a digest of what it computes, so that two definitions never read each other's state and a
changed view is built anew beside the old one.
"""

import hashlib
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Protocol

import msgspec
import numpy as np
from attrs import asdict, frozen

from charkha.features.aggregations.aggregation import State
from charkha.features.expressions import plain_value
from charkha.features.filters import RowFilters, filters_of
from charkha.features.fingerprints import fingerprint
from charkha.features.latest import LatestRows
from charkha.features.rings import Part, Ring, rings_of
from charkha.spec.model import FloatArray
from charkha.spec.sources import Source
from charkha.spec.views import FeatureView

_LATEST_SLOT = 255
_LONGEST_KEY = 400  # bytes; an LMDB key has at most 511. Longer ones are hashed.
_NULL = float("nan")
_SLOTS = tuple(bytes((slot,)) for slot in range(256))
# Neither begins any UTF-8 text, so no key is mistaken for these.
_NULL_KEY = b"\xfe"
_LONG_KEY = b"\xff"


def view_digest(view: FeatureView) -> bytes:
    """Return six bytes that name what a view computes, whatever the view is called."""
    source = view.source
    lag = [source.lag] if source.lag else []
    said = {
        "keys": view.entity.keys,
        "source": (source.name, source.time, source.known, source.key, source.static, *lag),
        "windows": [asdict(window, value_serializer=plain_value) for window in view.all_windows()],
        "latest": view.latest,
    }
    return hashlib.blake2b(msgspec.json.encode(said, order="deterministic"), digest_size=6).digest()


def declaration_digest(source: Source) -> str:
    """Return a text that is another whenever a source's rows, or what they mean, may be; a contract changes neither."""
    said = {
        "fields": {name: kind.__name__ for name, kind in source.fields.items()},
        "times": (source.time, source.known, source.lag, source.static),
        "key": source.key,
        "data": None if source.data is None else (type(source.data).__name__, asdict(source.data)),
    }
    return hashlib.blake2b(msgspec.json.encode(said, order="deterministic"), digest_size=8).hexdigest()


@frozen
class Step:
    """How a row changes the state of one part: states `start` to `stop` of a tile.

    read: turns the row's value at `place` into a float; None for a part that reads none. kept: the place of its
    filter's answer, None without one.
    """

    update: Callable[[State, float, int], State]
    read: Callable[[object], float]
    place: int | None
    kept: int | None
    start: int
    stop: int

    @classmethod
    def of(cls, part: Part, places: Mapping[str, int]) -> "Step":
        """Return the step of a part whose rows have fields and filters at these places."""
        read = fingerprint if part.fingerprinted else _as_float
        place = None if part.column is None else places[part.column]
        kept = None if part.filter is None else places[part.filter]
        return cls(part.aggregation.update, read, place, kept, part.start, part.stop)


@frozen(eq=False)
class RingState:
    """One ring of a view as bytes: per tile the hop (int64) and the states (float64 each), oldest tile first.

    steps: how a row changes a tile, part by part.
    """

    ring: Ring
    steps: tuple[Step, ...]
    empty: tuple[float, ...]
    tile: struct.Struct
    dtype: np.dtype[np.void]

    @classmethod
    def of(cls, ring: Ring, places: Mapping[str, int]) -> "RingState":
        """Return the layout of a ring whose rows have their fields at `places`: a tile is its hop, then its states."""
        steps = tuple(Step.of(part, places) for part in ring.parts)
        empty = tuple(number for part in ring.parts for number in part.aggregation.empty)
        dtype = np.dtype([("hop", "<i8"), ("states", "<f8", (ring.width,))])
        return cls(ring, steps, empty, struct.Struct(f"<q{ring.width}d"), dtype)

    def updated(self, tiles: bytes | None, known_us: int, row: Sequence[object]) -> bytes:
        """Return the tiles with one more row, those beyond the longest window dropped."""
        hop = known_us // self.ring.hop_us
        size = self.tile.size
        kept = tiles or b""
        states: Sequence[float] = self.empty
        if kept:
            newest, *found = self.tile.unpack_from(kept, len(kept) - size)
            if newest >= hop:
                hop, states, kept = newest, found, kept[:-size]
            else:
                kept = kept[self._outdated(kept, hop) :]
        return kept + self.tile.pack(hop, *self._with_row(states, row, known_us))

    def _with_row(self, states: Sequence[float], row: Sequence[object], known_us: int) -> list[float]:
        updated: list[float] = []
        for step in self.steps:
            state = tuple(states[step.start : step.stop])
            if step.kept is None or row[step.kept]:
                value = 0.0 if step.place is None else step.read(row[step.place])
                state = step.update(state, value, known_us)
            updated.extend(state)
        return updated

    def _outdated(self, tiles: bytes, hop: int) -> int:
        """Return how many bytes of tiles no window asked for from `hop` on can reach."""
        cut = 0
        while cut < len(tiles) and struct.unpack_from("<q", tiles, cut)[0] < hop - self.ring.hops:
            cut += self.tile.size
        return cut

    def pack(self, hops: np.ndarray[tuple[int], np.dtype[np.int64]], states: FloatArray) -> bytes:
        """Return many tiles of one key at once, those beyond the longest window dropped."""
        tiles = np.empty(len(hops), self.dtype)
        tiles["hop"], tiles["states"] = hops, states
        kept: bytes = tiles[hops >= hops[-1] - self.ring.hops].tobytes()
        return kept


class Changing(Protocol):
    """State that can be read and written by key."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None."""
        ...

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value of a key."""
        ...


@frozen(eq=False)
class ViewState:
    """Where the state of a view lies and how a row changes it.

    ratios: the full names of each ratio, its numerator and its denominator.
    """

    view: FeatureView
    digest: bytes
    rings: tuple[RingState, ...]
    latest: LatestRows
    key_columns: tuple[int, ...]
    latest_columns: tuple[int, ...]
    ratios: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, view: FeatureView, filters: RowFilters | None = None) -> "ViewState":
        """Return the state of a view whose rows have its source's fields in order, and behind them these filters.

        filters: of all views of the source; those of this view unless given.
        """
        places = (filters or RowFilters.of(view.source, [view])).row_places
        rings = tuple(RingState.of(ring, places) for ring in rings_of(view))
        keys = tuple(places[column] for column in view.entity.keys)
        latest = tuple(places[column] for column in view.latest)
        names = [(ratio.name, *ratio.sides) for ratio in view.ratios()]
        ratios = tuple(tuple(f"{view.name}.{name}" for name in three) for three in names)
        return cls(view, view_digest(view), rings, LatestRows.of(view), keys, latest, ratios)

    @cached_property
    def feature_names(self) -> list[str]:
        """The full names of the view's features."""
        return [f"{self.view.name}.{name}" for name in (*self.view.window_features(), *self.view.latest)]

    def ring_place(self, ring: int) -> bytes:
        """Return where the tiles of all keys lie: this, then the key's bytes. `ring` counts from 0."""
        return self.digest + _SLOTS[ring]

    @property
    def latest_place(self) -> bytes:
        """Where the latest rows of all keys lie: this, then the key's bytes."""
        return self.digest + _SLOTS[_LATEST_SLOT]

    def apply(self, state: Changing, key: str, row: Sequence[object], times: tuple[int, int], *, first: bool) -> None:
        """Let a row change the state of its key. times: event, known (µs). A correction changes latest values only."""
        event_us, known_us = times
        key_place = key_bytes(key)
        if first:
            for index, ring in enumerate(self.rings):
                place = self.ring_place(index) + key_place
                state.put(place, ring.updated(state.get(place), known_us, row))
        if self.latest_columns:
            place = self.latest_place + key_place
            newest = state.get(place)
            if newest is None or event_us >= self.latest.event_us(newest):
                state.put(place, self.latest.encode(event_us, [row[column] for column in self.latest_columns]))


def columns_of(view: FeatureView) -> set[str]:
    """Return the fields of its source that a view reads."""
    measures = [window.measure for window in view.all_windows()]
    read = {measure.column for measure in measures if measure.column is not None}
    filtered = {root for where in filters_of([view]).values() for root in where.meta.root_names()}
    return {*view.entity.keys, *read, *filtered, *view.latest}


def key_bytes(key: str | None) -> bytes:
    """Return a key as it ends a place in the store; nothing ever lies where it says for a null key."""
    if key is None:
        return _NULL_KEY
    encoded = key.encode()
    if len(encoded) <= _LONGEST_KEY:
        return encoded
    return _LONG_KEY + hashlib.blake2b(encoded, digest_size=32).digest()


def _as_float(value: object) -> float:
    return _NULL if value is None else float(value)  # type: ignore[arg-type]  # numeric: checked by spec.check
