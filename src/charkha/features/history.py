"""The rows of a view as the kernels read them: sorted by key and known time, with what each part of a ring reads."""

from functools import cached_property

import numpy as np
import polars as pl
from attrs import field, frozen

from charkha.features.fingerprints import fingerprints
from charkha.features.merging import Ranges
from charkha.features.newest import Arrivals
from charkha.features.rings import Part
from charkha.features.segments import IntArray, KeyTimeIndex, range_chunks, range_members
from charkha.spec.model import FloatArray

# How many floats of row states one part lays out at once.
_MOST_FLOATS = 1 << 24


@frozen(eq=False)
class History:
    """Rows of one view in the order of (key, known time, arrival). `codes`: the keys as integers; n rows."""

    frame: pl.DataFrame
    codes: IntArray
    known_us: IntArray
    _read: dict[tuple[str | None, bool], FloatArray] = field(factory=dict, init=False)
    _parts: dict[tuple[object, ...], "PartRows"] = field(factory=dict, init=False)

    def __getitem__(self, some: slice) -> "History":
        """Return some of the rows, without a copy."""
        return History(self.frame[some], self.codes[some], self.known_us[some])

    @property
    def arrivals(self) -> Arrivals:
        """The rows as `newest_known` reads them."""
        return Arrivals(self.codes, self.known_us, self.frame["_event_us"].to_numpy())

    @cached_property
    def index(self) -> KeyTimeIndex:
        """The rows by key and known time."""
        return KeyTimeIndex(self.codes, self.known_us)

    def within(self, ranges: Ranges) -> "History":
        """Return the rows that are in any of the ranges, whose highs ascend too; all rows, where that saves little."""
        places = ranges.members()
        if 4 * len(places) > 3 * len(self.codes):
            return self
        return History(self.frame[places], self.codes[places], self.known_us[places])

    def rows_of(self, part: Part) -> "PartRows":
        """Return what a part reads of the rows, worked out once for all rings that have such a part."""
        what = (part.aggregation, part.column, part.fingerprinted, part.filter)
        if what not in self._parts:
            self._parts[what] = PartRows.of(part, self)
        return self._parts[what]

    def values(self, part: Part) -> FloatArray:
        """Return what a part reads of each row, worked out once for all rings: float64 (n,), NaN for null."""
        what = (part.column, part.fingerprinted)
        if what not in self._read:
            self._read[what] = _part_values(part, self.frame)
        return self._read[what]


@frozen(eq=False)
class PartRows:
    """What a part reads of a history's n rows.

    values, known_us: of the m rows that its filter keeps. before: how many kept rows come before each row, int64
    (n + 1,); None where all are kept.
    """

    part: Part
    values: FloatArray
    known_us: IntArray
    before: IntArray | None

    @classmethod
    def of(cls, part: Part, history: History) -> "PartRows":
        """Return what a part reads of a history, whose frame has the filters' columns (see `with_filters`)."""
        values = history.values(part)
        if part.filter is None:
            return cls(part, values, history.known_us, None)
        kept = history.frame[part.filter].to_numpy()
        return cls(part, values[kept], history.known_us[kept], np.append(0, np.cumsum(kept)))

    def merged(self, ranges: Ranges) -> FloatArray:
        """Return the states of k ranges of the history's rows: (k, width).

        A row alone has a state as wide as a tile's, so rows are prepared some at a time, and long ranges in pieces.
        """
        if self.before is not None:
            ranges = Ranges(self.before[ranges.lows], self.before[ranges.highs])
        aggregation, most = self.part.aggregation, _MOST_FLOATS // self.part.aggregation.width
        if len(self.values) <= most:
            return ranges.merged(aggregation, self._states)
        pieces = np.maximum(1, -(-ranges.lengths // most))
        owner, place = range_members(np.zeros(len(pieces), np.int64), pieces)
        starts = ranges.lows[owner] + place * most
        states = self._prepared(starts, np.minimum(starts + most, ranges.highs[owner]), most)
        ends = np.cumsum(pieces)
        return states if len(states) == len(pieces) else aggregation.merge(states, ends - pieces, ends)

    @cached_property
    def _states(self) -> FloatArray:
        return self.part.aggregation.prepare(self.values, self.known_us)

    def _prepared(self, lows: IntArray, highs: IntArray, most: int) -> FloatArray:
        """Return the states of ranges of at most `most` rows, of which so many are laid out at once."""
        aggregation = self.part.aggregation
        states = np.empty((len(lows), aggregation.width))
        for chunk in range_chunks(lows, highs, most):
            _, index = range_members(lows[chunk], highs[chunk])
            ends = np.cumsum(highs[chunk] - lows[chunk])
            rows = aggregation.prepare(self.values[index], self.known_us[index])
            states[chunk] = aggregation.merge(rows, np.append(0, ends[:-1]), ends)
        return states


def _part_values(part: Part, frame: pl.DataFrame) -> FloatArray:
    if part.column is None:
        return np.zeros(len(frame))
    if part.fingerprinted:
        return fingerprints(frame[part.column])
    return frame[part.column].cast(pl.Float64).fill_null(float("nan")).to_numpy()


def history_of_first_versions(history: History) -> History:
    """Return the history without corrections: what windows count."""
    first = history.frame["_first"].to_numpy()
    if first.all():
        return history
    return History(history.frame.filter(pl.Series(first)), history.codes[first], history.known_us[first])
