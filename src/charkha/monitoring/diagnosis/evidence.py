"""All that a diagnosis argues with: the case, what checks have found, and distributions before and since."""

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
import polars as pl
from attrs import frozen

from charkha.bundles.profile import NumericShape
from charkha.features.lineage import origins
from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.features import FeatureView, counted
from charkha.monitoring.diagnosis.checks.grid import Grid
from charkha.monitoring.diagnosis.checks.hollow import Told
from charkha.monitoring.diagnosis.checks.keys import KeyCounts, counts_of_keys
from charkha.monitoring.diagnosis.precedent import unprecedented
from charkha.monitoring.diagnosis.signal import Signal
from charkha.monitoring.diagnosis.statistics import FeatureStatistics
from charkha.monitoring.diagnosis.stores import Stillness, stillness
from charkha.monitoring.performance import Span
from charkha.monitoring.tiles import TILE_US
from charkha.monitoring.traffic import AGE_PREFIX
from charkha.serving.prediction_frames import FEATURES_LOGGED
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.spec.model import FloatArray

HOUR = HOUR_US // TILE_US
WEEK_US = 7 * DAY_US
# So many rows of a source show that it is fed.
FED = 3
# By which factor rows come later before they are called late.
LATER = 2.0


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

    def is_text(self, feature: str) -> bool:
        """Say whether a feature is a category, not a number."""
        return not isinstance(self.view.shape.parts[feature], NumericShape)

    def numbers_of(self, view: str) -> list[str]:
        """Return the full names of the numbers of a view."""
        return [name for name in self.view.shape.parts if self.view_of(name) == view and not self.is_text(name)]

    def source_of(self, view: str) -> str:
        """Return the name of a view's source."""
        return next(each.source.name for each in self.case.plan.views if each.name == view)

    def weeks_before(self, began_us: int) -> list[Span]:
        """Return the time since an onset as it was one, two, three and four weeks before, where it was healthy."""
        since, healthy = self.since(began_us), self.case.healthy
        weeks = (Span(since.since_us - k * WEEK_US, since.until_us - k * WEEK_US) for k in range(1, 5))
        return [week for week in weeks if week.since_us >= healthy.since_us and week.until_us <= began_us]

    def arrived(self, source: str, began_us: int) -> tuple[int, float]:
        """Return how many rows of a source came since an onset, and in as long a time of the weeks before."""
        rows, at = self.case.traffic.arrivals.filter(pl.col("source") == source), pl.col("_hour_us")

        def came(span: Span) -> int:
            return int(rows.filter(at.is_between(span.since_us, span.until_us, closed="left"))["rows"].sum())

        weeks = self.weeks_before(began_us)
        return came(self.since(began_us)), sum(map(came, weeks)) / len(weeks) if weeks else 0.0

    def comes_late(self, source: str, began_us: int) -> bool:
        """Say whether rows of a source become known hours after their time since an onset, as they did not before."""
        healthy, since = (self._lateness(source, span) for span in (self.case.healthy, self.since(began_us)))
        return since - healthy >= HOUR_US / 1e6 and since >= LATER * healthy

    def _lateness(self, source: str, span: Span) -> float:
        """Return how long after their time rows become known, on average (s)."""
        inside = pl.col("_hour_us").is_between(span.since_us, span.until_us, closed="left")
        rows = self.case.traffic.arrivals.filter(pl.col("source") == source, inside).drop_nulls("late_s")
        count = float(rows["rows"].sum())
        return float((rows["late_s"] * rows["rows"]).sum()) / count if count else 0.0

    def asked(self, span: Span) -> pl.DataFrame:
        """Return the questions of a span, shadows left out."""
        inside = pl.col("_at_us").is_between(span.since_us, span.until_us, closed="left")
        return self.case.traffic.predictions.filter(inside, pl.col("role") != "shadow")

    def since(self, began_us: int) -> Span:
        """Return the time from an onset to the end of what is watched."""
        return Span(began_us, self.case.watched.until_us)

    def is_fed(self, source: str, began_us: int) -> bool:
        """Say whether rows of a source came since an onset, and not much fewer than in the weeks before."""
        came, usual = self.arrived(source, began_us)
        return came >= FED and came >= usual / 2

    def stillness(self, view: str) -> Stillness | None:
        """Return what questions see of the store of a view; None where ages are not logged."""
        if view not in self._stillness:
            (found,) = (each for each in self.case.plan.views if each.name == view)
            self._stillness[view] = stillness(self.case, found)
        return self._stillness[view]

    @cached_property
    def _stillness(self) -> dict[str, Stillness | None]:
        return {}

    def is_unprecedented(self, signal: Signal) -> bool:
        """Say whether what a feature shows goes beyond all that any stretch of the healthy history showed."""
        hours = Span(signal.began_us // HOUR_US * HOUR_US, -(-self.case.watched.until_us // HOUR_US) * HOUR_US)
        if signal.check == "hollow":
            before, since = (self._hollow_hours(span) for span in (self.case.healthy, hours))
            column = self._told.features.index(signal.subject)
            (hits, rows), (now_hits, now_rows) = before, since
            return unprecedented(hits[:, column], rows[:, column], now_hits[:, column], now_rows[:, column])
        if signal.check in ("own", "same"):
            told, grid = self._of_keys(signal.check)
            column, since_us = told.names.index(signal.subject), hours.since_us - self.case.watched.since_us
            began = grid.before + max(0, since_us) // HOUR_US
            agree, rows = told.agree[:, column], told.rows[:, column]
            return unprecedented(agree[: grid.before], rows[: grid.before], agree[began:], rows[began:])
        now, place = self.view.statistics(hours, HOUR), self._healthy_hours.names.index(signal.subject)
        hits, rows = counted(signal.check, self._healthy_hours)
        now_hits, now_rows = counted(signal.check, now)
        return unprecedented(hits[:, place], rows[:, place], now_hits[:, place], now_rows[:, place])

    def _of_keys(self, kind: str) -> tuple[KeyCounts, Grid]:
        if kind not in self._by_key:
            grid = Grid(self.case.healthy, self.case.watched)
            self._by_key[kind] = counts_of_keys(self.case, kind, grid), grid
        return self._by_key[kind]

    @cached_property
    def _by_key(self) -> dict[str, tuple[KeyCounts, Grid]]:
        return {}

    @cached_property
    def _told(self) -> Told:
        return Told.of(self.case)

    def _hollow_hours(self, span: Span) -> tuple[FloatArray, FloatArray]:
        return self._told.counts(Grid(span, Span(span.until_us, span.until_us)))

    @cached_property
    def _healthy_hours(self) -> FeatureStatistics:
        return self.view.statistics(self.case.healthy, HOUR)

    def nulls_beyond_ages(self, feature: str, began_us: int) -> float:
        """Return the share of rows in which a feature is null though what is stored of its key is as old as in others.

        What nobody ever told of a key is null, and what was told long ago has left the windows: that is who asks. See
        `checks.hollow`; of features of which it cannot be told by their declaration, by what was null at such ages.
        """
        if feature in self._told.features:
            return self._told.share(feature, self.since(began_us)) - self._told.share(feature, self.case.healthy)
        age = AGE_PREFIX + (self.view_of(feature) or "")
        rows = self.case.traffic.predictions.filter(pl.col("role") != "shadow", pl.col(FEATURES_LOGGED))
        null = rows[feature].is_null().to_numpy().astype(np.float64)
        times, since = rows["_at_us"].to_numpy(), self.since(began_us)
        healthy, now = ((times >= span.since_us) & (times < span.until_us) for span in (self.case.healthy, since))
        if not healthy.any() or not now.any():
            return 0.0
        seconds = rows[age].fill_null(np.inf).to_numpy() if age in rows.columns else np.full(len(null), np.inf)
        told = seconds[healthy & np.isfinite(seconds)]
        if not len(told):
            return float(null[now].mean() - null[healthy].mean())
        edges = np.unique(np.quantile(told, np.linspace(0.1, 1, 10)))
        place = np.where(np.isfinite(seconds), np.searchsorted(edges, seconds), len(edges) + 1)
        count = np.bincount(place[healthy], minlength=len(edges) + 2)
        usual = np.bincount(place[healthy], null[healthy], minlength=len(edges) + 2) / np.maximum(count, 1)
        usual = np.where(count > 0, usual, 1.0)
        return float((null[now] - usual[place[now]]).mean())

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
        return self._apart(feature, self.case.healthy, self.since(began_us))

    def moved_from(self, feature: str, spans: Sequence[Span], began_us: int) -> float:
        """Return how far a feature's values since an onset are from those of some spans together: as `moved`."""
        before = sum((self.counts(feature, span) for span in spans), np.zeros(1))
        return _distance(before[:-1], self.counts(feature, self.since(began_us))[:-1])

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


def earliest(signals: Iterable[Signal]) -> tuple[int, int, int]:
    """Return since when all of this is so: the likeliest onset of the strongest signal, and the interval of it (µs)."""
    strongest = max(signals, key=lambda signal: signal.evidence)
    return strongest.began_us, strongest.earliest_us, strongest.latest_us
