"""The online state of a view: the tiles of its rings and its latest row, per key, as bytes in an online store.

A view's state is filed under a digest of what it computes, so that two definitions never read each other's state and a
changed view is built anew beside the old one.
"""

import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Protocol

import msgspec
import numpy as np
from attrs import asdict, frozen

from charkha.features.aggregations.aggregation import State
from charkha.features.arrived import ArrivedRows
from charkha.features.events import Row
from charkha.features.expressions import plain_value
from charkha.features.filters import RowFilters, filters_of
from charkha.features.fingerprints import fingerprint
from charkha.features.latest import LatestRows
from charkha.features.rings import Part, Ring, rings_of
from charkha.spec.model import FloatArray
from charkha.spec.sources import Source
from charkha.spec.views import FeatureView

_LATEST_SLOT = 255
_NULL = float("nan")
_SLOTS = tuple(bytes((slot,)) for slot in range(256))


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

    def updated(self, tiles: bytes | None, rows: Sequence[tuple[int, Row]]) -> bytes:
        """Return the tiles of a key with more rows, each known at a time (µs); none beyond the longest window."""
        kept = tiles or b""
        for known_us, row in rows:
            kept = self._with_one(kept, known_us, row)
        return kept

    def _with_one(self, tiles: bytes, known_us: int, row: Row) -> bytes:
        hop, size = known_us // self.ring.hop_us, self.tile.size
        states: Sequence[float] = self.empty
        if tiles:
            newest, *found = self.tile.unpack_from(tiles, len(tiles) - size)
            if newest >= hop:
                hop, states, tiles = newest, found, tiles[:-size]
            else:
                tiles = tiles[self._outdated(tiles, hop) :]
        return tiles + self.tile.pack(hop, *self._with_row(states, row, known_us))

    def _with_row(self, states: Sequence[float], row: Row, known_us: int) -> list[float]:
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


class Readable(Protocol):
    """State that can be read by key."""

    def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Return the value of each key in the order asked, None for those that have none."""
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

    def changes(self, state: Readable, arrived: ArrivedRows) -> Iterator[tuple[bytes, bytes]]:
        """Yield what rows make of the state of their keys, each place once. A correction changes latest values only."""
        yield from self._latest_changes(state, arrived)
        yield from self._ring_changes(state, arrived)

    def _latest_changes(self, state: Readable, arrived: ArrivedRows) -> Iterator[tuple[bytes, bytes]]:
        if not self.latest_columns:
            return
        newest, prefix, event_us = arrived.newest(self.key_columns), self.latest_place, arrived.event_us
        places = [prefix + key for key in newest]
        stored = zip(places, newest.values(), state.get_many(places), strict=True)
        applied = self.latest.event_us
        won = [(place, row) for place, row, found in stored if not found or event_us[row] >= applied(found)]
        rows = [arrived.rows[row] for _, row in won]
        columns = [[row[column] for row in rows] for column in self.latest_columns]
        encoded = self.latest.encode_columns([event_us[row] for _, row in won], columns)
        yield from zip((place for place, _ in won), encoded, strict=True)

    def _ring_changes(self, state: Readable, arrived: ArrivedRows) -> Iterator[tuple[bytes, bytes]]:
        if not self.rings:
            return
        of_key: dict[bytes, list[int]] = {}
        for row, (key, first) in enumerate(zip(arrived.keys(self.key_columns), arrived.firsts, strict=True)):
            if first and key is not None:
                of_key.setdefault(key, []).append(row)
        for index, ring in enumerate(self.rings):
            places = [self.ring_place(index) + key for key in of_key]
            for place, tiles, rows in zip(places, state.get_many(places), of_key.values(), strict=True):
                yield place, ring.updated(tiles, [(arrived.known_us[row], arrived.rows[row]) for row in rows])


def columns_of(view: FeatureView) -> set[str]:
    """Return the fields of its source that a view reads."""
    measures = [window.measure for window in view.all_windows()]
    read = {measure.column for measure in measures if measure.column is not None}
    filtered = {root for where in filters_of([view]).values() for root in where.meta.root_names()}
    return {*view.entity.keys, *read, *filtered, *view.latest}


def _as_float(value: object) -> float:
    return _NULL if value is None else float(value)  # type: ignore[arg-type]  # numeric: checked by spec.check
