"""How the windows of a view lie on tiles.

Time is cut into hops; the state of the rows that became known in one hop is a *tile*. A window of n hops, asked for at
time t, is the n whole hops before that of t, and the open hop up to t ("sawtooth windows", after Chronon): its head is
exact, its tail moves in hops. All windows with the same hop share one ring of tiles per key. The whole history is one
hop without end, so a ring with a single tile.
"""

from attrs import frozen

from charkha.features.aggregations import Aggregation, aggregation_of
from charkha.features.filters import filter_column
from charkha.spec.aggregates import FINGERPRINTED, Measure, Window
from charkha.spec.sources import Source
from charkha.spec.views import FeatureView


@frozen
class Part:
    """The states of one measure within a tile: floats `start` to `stop` of it.

    column: whose values it reads, None where rows alone count. fingerprinted: whether it reads what tells them apart
    rather than their size.
    filter: the column that says which rows it leaves out, None for none.
    """

    aggregation: Aggregation
    column: str | None
    fingerprinted: bool
    filter: str | None
    start: int
    stop: int

    @classmethod
    def of(cls, measure: Measure, source: Source, start: int) -> "Part":
        """Return the part of a measure over a source's rows that begins at a float of the tile."""
        aggregation = aggregation_of(measure)
        where = None if measure.where is None else filter_column(measure.where)
        # A float that was pushed as a whole number is still that float, and is told from others as one.
        fingerprinted = measure.kind in FINGERPRINTED and source.fields[str(measure.column)] is not float
        return cls(aggregation, measure.column, fingerprinted, where, start, start + aggregation.width)


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


def rings_of(view: FeatureView) -> tuple[Ring, ...]:
    """Return the rings of a view, shortest hop first; windows of equal measures share their part."""
    by_hop: dict[int, list[Window]] = {}
    for window in view.all_windows():
        by_hop.setdefault(window.hop_us, []).append(window)
    return tuple(_ring(view.source, hop_us, windows) for hop_us, windows in sorted(by_hop.items()))


def _ring(source: Source, hop_us: int, windows: list[Window]) -> Ring:
    parts: dict[Measure, Part] = {}
    start = 0
    for window in windows:
        if window.measure not in parts:
            parts[window.measure] = Part.of(window.measure, source, start)
            start = parts[window.measure].stop
    placed = tuple((window, parts[window.measure]) for window in windows)
    return Ring(hop_us, max(window.hops for window in windows), tuple(parts.values()), placed)
