"""All that a diagnosis argues with: the case, what checks have found, and distributions before and since."""

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
import polars as pl
from attrs import frozen

from charkha.bundles.profile import NumericShape
from charkha.features.lineage import origins
from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.features import FeatureView
from charkha.monitoring.diagnosis.signal import Signal
from charkha.monitoring.performance import Span
from charkha.monitoring.traffic import AGE_PREFIX
from charkha.spec.durations import HOUR_US
from charkha.spec.model import FloatArray


@frozen(eq=False, slots=False)
class Evidence:
    """What is known of a case."""

    case: Case
    signals: Sequence[Signal]
    view: FeatureView

    def of(self, *checks: str) -> list[Signal]:
        """Return the signals of some checks, the strongest first."""
        found = [signal for signal in self.signals if signal.check in checks]
        return sorted(found, key=lambda signal: -signal.evidence)

    @cached_property
    def origins(self) -> dict[str, tuple[tuple[str, str], ...]]:
        """What fields each feature is made of; see `features.lineage.origins`."""
        return origins(self.case.plan)

    def view_of(self, feature: str) -> str | None:
        """Return the name of the view that a feature is of; None for features of the request."""
        owner = feature.partition(".")[0]
        return owner if any(view.name == owner for view in self.case.plan.views) else None

    def source_of(self, view: str) -> str:
        """Return the name of a view's source."""
        return next(each.source.name for each in self.case.plan.views if each.name == view)

    def since(self, began_us: int) -> Span:
        """Return the time from an onset to the end of what is watched."""
        return Span(began_us, self.case.watched.until_us)

    def stands_still(self, view: str) -> bool:
        """Say whether nothing newer was stored of any key of a view for longer than ever at this time of the day."""
        age, at = AGE_PREFIX + view, pl.col("_at_us")
        rows = self.case.traffic.predictions
        if age not in rows.columns:
            return False
        told = (
            rows.filter(pl.col("role") != "shadow")
            .select(at, newest=at - (pl.col(age) * 1e6).cast(pl.Int64))
            .drop_nulls()
        )
        lags = (
            told.sort("_at_us")
            .with_columns(lag=at - pl.col("newest").cum_max(), _hour=at // HOUR_US)
            .group_by("_hour", maintain_order=True)
            .agg(pl.col("lag").last(), at.last())
        )
        inside = lags.filter(at.is_between(self.case.healthy.since_us, self.case.healthy.until_us, closed="left"))
        last = lags.filter(at < self.case.watched.until_us).tail(1)
        if inside.is_empty() or last.is_empty() or last["_at_us"][0] < self.case.watched.since_us:
            return False
        now_hour = last["_hour"][0] % 24
        near = inside.filter(((pl.col("_hour") - now_hour + 25) % 24) <= 2)["lag"]  # the hour, and those beside it
        usual = near.max() if near.len() else inside["lag"].max()
        return bool(last["lag"][0] > 2 * usual)  # type: ignore[operator]

    def counts(self, feature: str, span: Span) -> FloatArray:
        """Return the counts of a feature's bins in a span, float64 (bins,), the last of them nulls."""
        shape = self.view.shape
        start, bins = shape.starts[feature], shape.parts[feature].bins
        tile, place = pl.col("tile_us"), pl.col("bin").cast(pl.Int64) - start
        inside = self.view.counted.filter((tile >= span.since_us) & (tile < span.until_us), place >= 0, place < bins)
        totals = np.zeros(bins)
        np.add.at(totals, inside.select(place)["bin"].to_numpy(), inside["count"].to_numpy())
        return totals

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
        before, now = self.counts(feature, self.case.healthy)[:-1], self.counts(feature, self.since(began_us))[:-1]
        if not before.sum() or not now.sum():
            return 0.0
        return float(np.abs(np.cumsum(before) / before.sum() - np.cumsum(now) / now.sum()).max())


def earliest(signals: Iterable[Signal]) -> tuple[int, int, int]:
    """Return since when all of this is so: the likeliest onset of the strongest signal, and the interval of it (µs)."""
    strongest = max(signals, key=lambda signal: signal.evidence)
    return strongest.began_us, strongest.earliest_us, strongest.latest_us
