"""What was served, read from its table a part at a time and kept within a bound: all of it, or a sample.

The sample is drawn by a hash of the calls: all rows of a call are in it or none, with every version that scored them.
One look draws what the look before drew, and as often of the healthy history as of what is watched, so shares, and
counts beside counts, are as they are in all.
"""

from collections.abc import Sequence
from functools import reduce

import polars as pl
from attrs import frozen

from charkha.monitoring.collect import predictions_table
from charkha.monitoring.parts import current, day_of, parse_part
from charkha.monitoring.performance import Span
from charkha.serving.prediction_frames import PREDICTION_SCHEMA
from charkha.serving.prediction_ids import call_of_ids
from charkha.storage.home import Home

# So many predictions are kept of all that is read, one per version that scored: some hundred bytes each.
MOST_ROWS = 1_000_000
# Of no use to a diagnosis.
UNREAD = ("rules",)
_HASHES = 64  # bits


@frozen(eq=False)
class Drawn:
    """Predictions as of `decode_predictions`, by time; total: how many there were, of which these may be a sample."""

    rows: pl.DataFrame
    total: int


def draw_predictions(home: Home, model: str, span: Span, cut: Sequence[Span] = (), most: int = MOST_ROWS) -> Drawn:
    """Return what a model served in a span outside of `cut`, as far as `collect` has come: at most `most` predictions.

    No more than a part of the table and the sample is in memory.
    """
    table, first, last = predictions_table(model), day_of(span.since_us), day_of(max(0, span.until_us - 1))
    parts = current(parse_part(name) for name in home.tables.parts(table))
    within = (pl.col("_at_us") >= span.since_us) & (pl.col("_at_us") < span.until_us)
    sample = _Sample(most)
    for part in parts:
        if first <= part.day <= last:
            rows = home.tables.read(table, part.name).drop(UNREAD, strict=False)
            sample.add(outside(rows.filter(within), "_at_us", cut))
    frames = [pl.DataFrame(schema=PREDICTION_SCHEMA).drop(UNREAD), *sample.held]
    return Drawn(pl.concat(frames, how="diagonal_relaxed").sort("_at_us", maintain_order=True), sample.total)


def outside(rows: pl.DataFrame, time: str, cut: Sequence[Span]) -> pl.DataFrame:
    """Return the rows whose time (µs, a column) is in none of some spans."""
    if not cut:
        return rows
    inside = [pl.col(time).is_between(each.since_us, each.until_us, closed="left") for each in cut]
    return rows.filter(~reduce(pl.Expr.or_, inside))


class _Sample:
    """Holds at most `most` rows: whenever there are more, half of the calls are left out, those before among them."""

    def __init__(self, most: int) -> None:
        self.held: list[pl.DataFrame] = []
        self.total = 0
        self._most, self._halvings = most, 0

    def add(self, rows: pl.DataFrame) -> None:
        self.total += rows.height
        self.held.append(self._drawn(rows))
        while sum(each.height for each in self.held) > self._most and self._halvings < _HASHES - 1:
            self._halvings += 1
            self.held = [self._drawn(each) for each in self.held]

    def _drawn(self, rows: pl.DataFrame) -> pl.DataFrame:
        if not self._halvings:
            return rows
        return rows.filter(call_of_ids(pl.col("id")).hash(0) < (1 << (_HASHES - self._halvings)))
