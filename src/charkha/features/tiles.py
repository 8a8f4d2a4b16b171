"""The tiles of a ring: the state of every hop in which a key had rows, offline and in the online store the same."""

import numpy as np
from attrs import frozen

from charkha.features.history import History
from charkha.features.merging import Ranges
from charkha.features.rings import Ring
from charkha.features.segments import IntArray, run_ends, run_starts
from charkha.spec.model import FloatArray


@frozen(eq=False)
class Tiles:
    """The tiles of many keys in the order of (key, hop); `parts` are the states of each part: (m, its width)."""

    codes: IntArray
    hops: IntArray
    parts: tuple[FloatArray, ...]

    @property
    def states(self) -> FloatArray:
        """The states as they lie in the online store: (m, ring.width)."""
        return np.hstack(self.parts)


def tiles_of(ring: Ring, history: History) -> Tiles:
    """Return the tiles of sorted rows: one for every hop of a key in which a row became known."""
    hops = history.known_us // ring.hop_us
    starts = run_starts(history.codes, hops)
    ranges = Ranges(starts, run_ends(starts, len(hops)))
    parts = tuple(history.rows_of(part).merged(ranges) for part in ring.parts)
    return Tiles(history.codes[starts], hops[starts], parts)
