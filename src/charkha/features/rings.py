"""How the windows of a view lie on tiles.

Time is cut into hops; the state of the rows that became known in one hop is a *tile*. A window of n hops, asked for at
time t, is the n whole hops before that of t, and the open hop up to t ("sawtooth windows", after Chronon): its head is
exact, its tail moves in hops. All windows with the same hop share one ring of tiles per key.
"""

from collections.abc import Sequence

import numpy as np
from attrs import frozen

from charkha.features.aggregations import AGGREGATIONS, Aggregation
from charkha.features.segments import IntArray
from charkha.spec.model import FloatArray
from charkha.spec.views import AggregateKind, FeatureView, Window


@frozen
class Part:
    """The states of one aggregation of one column within a tile: floats `start` to `stop` of it."""

    aggregation: Aggregation
    column: str | None
    start: int
    stop: int


@frozen
class Ring:
    """The tiles of one hop length: which parts a tile has, and how many hops back any window reaches."""

    hop_us: int
    hops: int
    parts: tuple[Part, ...]
    windows: tuple[tuple[Window, Part], ...]

    @property
    def width(self) -> int:
        """How many float64 the states of a tile take."""
        return self.parts[-1].stop

    def prepare(self, columns: Sequence[FloatArray]) -> FloatArray:
        """Return the states of each row alone. columns: the values of each part's column (n,). Result: (n, width)."""
        return np.hstack([part.aggregation.prepare(values) for part, values in zip(self.parts, columns, strict=True)])

    def merge(self, states: FloatArray, lows: IntArray, highs: IntArray) -> FloatArray:
        """Return the states of ranges of rows or tiles: (n, width) → (k, width)."""
        merged = [part.aggregation.merge(states[:, part.start : part.stop], lows, highs) for part in self.parts]
        return np.hstack(merged)


def rings_of(view: FeatureView) -> tuple[Ring, ...]:
    """Return the rings of a view, shortest hop first; equal aggregations of windows share their part."""
    by_hop: dict[int, list[Window]] = {}
    for window in view.all_windows():
        by_hop.setdefault(window.hop_us, []).append(window)
    return tuple(_ring(hop_us, windows) for hop_us, windows in sorted(by_hop.items()))


def _ring(hop_us: int, windows: list[Window]) -> Ring:
    parts: dict[tuple[AggregateKind, str | None], Part] = {}
    start = 0
    for window in windows:
        if (window.kind, window.column) not in parts:
            stop = start + AGGREGATIONS[window.kind].width
            parts[window.kind, window.column] = Part(AGGREGATIONS[window.kind], window.column, start, stop)
            start = stop
    placed = tuple((window, parts[window.kind, window.column]) for window in windows)
    return Ring(hop_us, max(window.hops for window in windows), tuple(parts.values()), placed)
