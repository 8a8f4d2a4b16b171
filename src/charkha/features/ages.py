"""How old the newest is of what was fetched for a request: the stored row of its key, or the newest tile.

What is stored says itself when it is of. These *stamps* are kept as the bytes they are, for some nanoseconds each, and
become times when somebody asks. Of a view with latest values it is the event time of the stored row, expired or not;
of any other the beginning of its newest tile of the shortest hop: the newest row became known up to one hop later.
"""

import struct
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from attrs import frozen

from charkha.features.latest import DOUBLES, LatestRows
from charkha.features.online import Fetched, layout_of
from charkha.features.plan import FeaturePlan
from charkha.features.segments import IntArray
from charkha.features.state import ViewState
from charkha.spec.aggregates import ALL_US

# In place of the time of nothing.
NOTHING_US = -(1 << 63)

_NOTHING = struct.pack("<q", NOTHING_US)


@frozen(eq=False)
class _Stamp:
    """Of one view: the place of the layout where its stamps are, the size of a tile there, and the unit of them (µs).

    latest: how the rows lie there, where it is rows that do.
    """

    view: str
    place: int
    tile_bytes: int
    unit_us: int
    latest: LatestRows | None

    def of(self, stored: Sequence[bytes | None]) -> list[bytes]:
        if self.latest is not None:
            other = self.latest.stamp
            # What is packed, as most is, without a call.
            return [(row[1:9] if row[0] <= DOUBLES else other(row)) if row else _NOTHING for row in stored]
        low, high = -self.tile_bytes, len(_NOTHING) - self.tile_bytes
        return [tiles[low:high] if tiles else _NOTHING for tiles in stored]


def aged_views(plan: FeaturePlan) -> tuple[str, ...]:
    """Return the views whose state has an age: not those of rows without time, nor of the whole history alone."""
    return tuple(stamp.view for stamp in _stamps_of(plan))


def stamps(plan: FeaturePlan, fetched: Fetched, rows: Sequence[int] | None = None) -> bytes:
    """Return when the newest is of that was fetched, of each of `aged_views` for each request, in this order.

    int64 (views, requests) as bytes; see `newest_us`. rows: of the requests, all unless given.
    """
    found: list[bytes] = []
    for stamp in _stamps_of(plan):
        stored = fetched.stored[stamp.place]
        found += stamp.of(stored if rows is None else [stored[row] for row in rows])
    return b"".join(found)


def newest_us(plan: FeaturePlan, parts: Sequence[bytes | None], counts: Sequence[int]) -> IntArray:
    """Return the times in stamps, NOTHING_US where nothing was stored: int64 (views, requests), µs.

    parts: as `stamps` made them, None where it is not known. counts: of each part, the requests.
    """
    units = np.array([stamp.unit_us for stamp in _stamps_of(plan)], np.int64)
    sizes = np.array(counts, np.int64)
    unknown = _NOTHING * len(units)
    packed = b"".join(unknown * count if part is None else part for part, count in zip(parts, counts, strict=True))
    firsts, part_of = np.cumsum(sizes) - sizes, np.repeat(np.arange(len(sizes)), sizes)
    within = np.arange(sizes.sum()) - firsts[part_of]
    of_view = firsts[part_of] * len(units) + within
    numbers = np.frombuffer(packed, "<i8")[of_view + np.arange(len(units))[:, None] * sizes[part_of]]
    return np.where(numbers == NOTHING_US, NOTHING_US, numbers * units[:, None])


@lru_cache(maxsize=256)
def _stamps_of(plan: FeaturePlan) -> tuple[_Stamp, ...]:
    layout = layout_of(plan)
    found = zip(layout.states, layout.newest, strict=True)
    return tuple(stamp for state, place in found if (stamp := _stamp(state, place)) is not None)


def _stamp(state: ViewState, place: int) -> _Stamp | None:
    name = state.view.name
    if state.view.source.static:
        return None
    if state.latest.names:
        return _Stamp(name, place, 0, 1, state.latest)
    ring = state.rings[0]
    return None if ring.ring.hop_us >= ALL_US else _Stamp(name, place, ring.tile.size, ring.ring.hop_us, None)
