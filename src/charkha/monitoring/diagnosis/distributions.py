"""How the values of features lie, before and since: by the counts of their bins."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from attrs import frozen

from charkha.bundles.profile import NumericShape
from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.features import FeatureView
from charkha.monitoring.performance import Span
from charkha.spec.durations import DAY_US
from charkha.spec.model import FloatArray

WEEK_US = 7 * DAY_US


@frozen(eq=False)
class Distributions:
    """The values of a case's features."""

    case: Case
    view: FeatureView

    def counts(self, feature: str, span: Span) -> FloatArray:
        """Return the counts of a feature's bins in a span, float64 (bins,), the last of them nulls."""
        shape = self.view.shape
        start, bins = shape.starts[feature], shape.parts[feature].bins
        tile, place = pl.col("tile_us"), pl.col("bin").cast(pl.Int64) - start
        inside = self.view.counted.filter((tile >= span.since_us) & (tile < span.until_us), place >= 0, place < bins)
        totals = np.zeros(bins)
        np.add.at(totals, inside.select(place)["bin"].to_numpy(), inside["count"].to_numpy())
        return totals

    def usual_top(self, feature: str) -> float:
        """Return the share of the most frequent bin among the healthy values, 0 to 1."""
        counts = self.counts(feature, self.case.healthy)[:-1]
        return float(counts.max() / counts.sum()) if counts.sum() else 1.0

    def quantiles(self, feature: str, span: Span, levels: Sequence[float]) -> FloatArray:
        """Return quantiles of a number in a span, as well as its bins tell; NaN where it is always null."""
        part = self.view.shape.parts[feature]
        counts = self.counts(feature, span)[:-1]
        if not isinstance(part, NumericShape) or not counts.sum() or not part.edges:
            return np.full(len(levels), np.nan)
        edges = np.asarray(part.edges)
        middles = np.concatenate([edges[:1], (edges[:-1] + edges[1:]) / 2, edges[-1:]])
        place = np.searchsorted(np.cumsum(counts), np.asarray(levels) * counts.sum())
        found: FloatArray = middles[np.minimum(place, len(middles) - 1)]
        return found

    def moved(self, feature: str, began_us: int) -> float:
        """Return how far a feature's values are from the healthy ones: Kolmogorov's distance, 0 to 1."""
        return self._apart(feature, self.case.healthy, Span(began_us, self.case.watched.until_us))

    def moved_from(self, feature: str, spans: Sequence[Span], began_us: int) -> float:
        """Return how far a feature's values since an onset are from those of some spans together: as `moved`."""
        before = sum((self.counts(feature, span) for span in spans), np.zeros(1))
        return _distance(before[:-1], self.counts(feature, Span(began_us, self.case.watched.until_us))[:-1])

    def moved_then(self, feature: str, began_us: int) -> float:
        """Return how far a feature's values since an onset, of a week at most, are from those a week before.

        Less what they moved by themselves from any week of the healthy history to the next, 0 to 1: a month changes,
        and pressure too.
        """
        length_us = min(self.case.watched.until_us - began_us, WEEK_US)
        if length_us < DAY_US:
            return 0.0
        healthy = self.case.healthy
        turns = range(healthy.since_us + WEEK_US, healthy.until_us - length_us + 1, DAY_US)
        usual = max((self._turned(feature, turn_us, length_us) for turn_us in turns), default=1.0)
        return max(0.0, self._turned(feature, began_us, length_us) - usual)

    def _turned(self, feature: str, at_us: int, length_us: int) -> float:
        week_before = Span(at_us - WEEK_US, at_us - WEEK_US + length_us)
        return self._apart(feature, week_before, Span(at_us, at_us + length_us))

    def _apart(self, feature: str, one: Span, other: Span) -> float:
        return _distance(self.counts(feature, one)[:-1], self.counts(feature, other)[:-1])


def _distance(before: FloatArray, now: FloatArray) -> float:
    """Return Kolmogorov's distance of two distributions, by their counts; 0 where one has none."""
    if not before.sum() or not now.sum():
        return 0.0
    return float(np.abs(np.cumsum(before) / before.sum() - np.cumsum(now) / now.sum()).max())
