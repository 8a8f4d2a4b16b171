"""Whether it was so before: what features show, held against the healthy history of the same case."""

from functools import cached_property

import numpy as np
import polars as pl
from attrs import frozen

from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.features import FeatureView, counted
from charkha.monitoring.diagnosis.checks.grid import Grid
from charkha.monitoring.diagnosis.checks.hollow import Told
from charkha.monitoring.diagnosis.checks.keys import KeyCounts, counts_of_keys
from charkha.monitoring.diagnosis.precedent import unprecedented
from charkha.monitoring.diagnosis.signal import Signal
from charkha.monitoring.diagnosis.statistics import FeatureStatistics
from charkha.monitoring.performance import Span
from charkha.monitoring.tiles import TILE_US
from charkha.monitoring.traffic import AGE_PREFIX
from charkha.serving.prediction_frames import FEATURES_LOGGED
from charkha.spec.durations import HOUR_US
from charkha.spec.model import FloatArray

HOUR = HOUR_US // TILE_US


@frozen(eq=False, slots=False)
class Before:
    """The healthy history of a case's features."""

    case: Case
    view: FeatureView

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
            return self._told.share(feature, Span(began_us, self.case.watched.until_us)) - self._told.share(
                feature, self.case.healthy
            )
        age = AGE_PREFIX + feature.partition(".")[0]
        rows = self.case.traffic.predictions.filter(pl.col("role") != "shadow", pl.col(FEATURES_LOGGED))
        null = rows[feature].is_null().to_numpy().astype(np.float64)
        times, since = rows["_at_us"].to_numpy(), Span(began_us, self.case.watched.until_us)
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
