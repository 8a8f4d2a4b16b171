"""The online state of a view: the tiles of its rings and its latest row, per key, as bytes in an online store.

A view's state is filed under a digest of what it computes, so that two definitions never read each other's state and a
changed view is built anew beside the old one.
"""

import hashlib
import struct
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
from attrs import asdict, frozen

from charkha.features.aggregations.aggregation import State
from charkha.features.latest import LatestRows
from charkha.features.rings import Ring, rings_of
from charkha.spec.model import FloatArray
from charkha.spec.views import FeatureView
from charkha.storage.online import OnlineWriter

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
    said = {
        "keys": view.entity.keys,
        "source": (source.name, source.time, source.known, source.key, source.static),
        "windows": [asdict(window) for window in view.all_windows()],
        "latest": view.latest,
    }
    return hashlib.blake2b(msgspec.json.encode(said, order="deterministic"), digest_size=6).digest()


Update = Callable[[State, float], State]


@frozen(eq=False)
class RingState:
    """One ring of a view as bytes: per tile the hop (int64) and the states (float64 each), oldest tile first.

    steps: how a row changes a tile: of each part its update, the row's field, and which states of the tile are its.
    """

    ring: Ring
    steps: tuple[tuple[Update, int | None, int, int], ...]
    empty: tuple[float, ...]
    tile: struct.Struct
    dtype: np.dtype[np.void]

    @classmethod
    def of(cls, ring: Ring, place: Mapping[str, int]) -> "RingState":
        """Return the layout of a ring whose rows have their fields at `place`: a tile is its hop, then its states."""
        steps = tuple(
            (part.aggregation.update, place[part.column] if part.column else None, part.start, part.stop)
            for part in ring.parts
        )
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
        return kept + self.tile.pack(hop, *self._with_row(states, row))

    def _with_row(self, states: Sequence[float], row: Sequence[object]) -> list[float]:
        updated: list[float] = []
        for update, column, start, stop in self.steps:
            value = _as_float(row[column]) if column is not None else 0.0
            updated.extend(update(tuple(states[start:stop]), value))
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


@frozen(eq=False)
class ViewState:
    """Where the state of a view lies and how a row changes it."""

    view: FeatureView
    digest: bytes
    rings: tuple[RingState, ...]
    latest: LatestRows
    key_columns: tuple[int, ...]
    latest_columns: tuple[int, ...]

    @classmethod
    def of(cls, view: FeatureView) -> "ViewState":
        """Return the state of a view whose rows come in the order of its source's fields."""
        place: Mapping[str, int] = {name: index for index, name in enumerate(view.source.fields)}
        rings = tuple(RingState.of(ring, place) for ring in rings_of(view))
        keys = tuple(place[column] for column in view.entity.keys)
        latest = tuple(place[column] for column in view.latest)
        return cls(view, view_digest(view), rings, LatestRows.of(view), keys, latest)

    @property
    def feature_names(self) -> list[str]:
        """The full names of the view's features."""
        names = [window.name for ring in self.rings for window, _ in ring.ring.windows]
        return [f"{self.view.name}.{name}" for name in (*names, *self.view.latest)]

    def ring_place(self, ring: int) -> bytes:
        """Return where the tiles of all keys lie: this, then the key's bytes. `ring` counts from 0."""
        return self.digest + _SLOTS[ring]

    @property
    def latest_place(self) -> bytes:
        """Where the latest rows of all keys lie: this, then the key's bytes."""
        return self.digest + _SLOTS[_LATEST_SLOT]

    def apply(
        self, state: OnlineWriter, key: str, row: Sequence[object], times: tuple[int, int], *, first: bool
    ) -> None:
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
    windows = {window.column for window in view.all_windows() if window.column}
    return {*view.entity.keys, *windows, *view.latest}


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
