"""How well versions do on labels that have matured: one version by itself, and two on the same predictions.

A prediction's label has *matured* once the label's declared delay has passed. Before that only the fast labels are
there, and fast ones differ (a flight that lands early is known early), so younger predictions are left out even when
their label is known. Intervals take the days as the independent units: rows of one day share its weather.
"""

import numpy as np
import polars as pl
from attrs import frozen

from charkha.spec.durations import DAY_US
from charkha.spec.model import Costs, FloatArray
from charkha.spec.rollout import Compare
from charkha.training.compare import paired_means
from charkha.training.metrics import Clusters, Estimate, MetricUndefined, estimate, estimate_mean
from charkha.training.row_losses import row_losses


@frozen
class Span:
    """A stretch of time, from `since_us` until `until_us` (µs since 1970 UTC; the end is outside)."""

    since_us: int
    until_us: int

    @property
    def days(self) -> float:
        """Its length in days; 0 for one that ends before it begins."""
        return max(0, self.until_us - self.since_us) / DAY_US


@frozen(kw_only=True)
class Performance:
    """What one version showed on predictions of a span.

    role: of the predictions measured; None when all roles were taken together.
    estimate: of the metric; None where these rows cannot give one (no labels, one class only, a single day).
    predictions: how many had matured; labels: how many of them have a label; days: on how many days those lie.
    """

    version: str
    role: str | None
    metric: str
    estimate: Estimate | None
    predictions: int
    labels: int
    days: int
    span: Span


@frozen(kw_only=True)
class Contest:
    """Champion and challenger on the same labelled predictions of a span.

    difference: the challenger's loss minus the champion's, row by row; None while there are fewer than two days.
    """

    champion: str
    challenger: str
    metric: str
    confidence: float
    champion_loss: Estimate | None
    challenger_loss: Estimate | None
    difference: Estimate | None
    labels: int
    days: int
    span: Span


def performance(outcomes: pl.DataFrame, version: str, metric: str, span: Span, role: str | None = None) -> Performance:
    """Return what `version` showed on the predictions of a span; the caller ends it the label's delay ago.

    outcomes: as `monitoring.outcomes.outcomes` returns them. All roles of the version are taken together unless `role`
    is given: what it scored as a shadow counts as well.
    """
    of_version = _within(outcomes, span).filter(pl.col("version") == version)
    rows = of_version if role is None else of_version.filter(pl.col("role") == role)
    labelled = _labelled(rows)
    days = _days(labelled)
    return Performance(
        version=version,
        role=role,
        metric=metric,
        estimate=_estimate(metric, _numbers(labelled, "_label"), _numbers(labelled, "score"), days),
        predictions=rows.height,
        labels=labelled.height,
        days=_distinct(days),
        span=span,
    )


def performances(outcomes: pl.DataFrame, metrics: tuple[str, ...], span: Span) -> list[Performance]:
    """Return every metric of every version in every role it had, versions and roles in order of their names."""
    pairs = _within(outcomes, span).select("version", "role").unique().sort("version", "role")
    return [
        performance(outcomes, version, metric, span, role) for version, role in pairs.iter_rows() for metric in metrics
    ]


def contest(
    outcomes: pl.DataFrame, champion: str, challenger: str, compare: Compare, span: Span, *, costs: Costs | None = None
) -> Contest:
    """Compare two versions on the predictions of a span that both made and that have a label.

    outcomes: as `monitoring.outcomes.outcomes` returns them. compare: by a loss, or by `cost`: then each version is
    judged by its own decisions, and `costs` is what they cost.
    """
    labelled = _within(outcomes, span).filter(pl.col("_label").is_not_null())
    theirs = labelled.filter(pl.col("version") == challenger).select(
        "id", pl.col("score").alias("_theirs"), pl.col("decision").alias("_their_decision")
    )
    both = labelled.filter(pl.col("version") == champion).join(theirs, on="id", how="inner", maintain_order="left")
    a = _losses(compare.metric, both, ("_theirs", "_their_decision"), costs or Costs())
    b = _losses(compare.metric, both, ("score", "decision"), costs or Costs())
    known = ~np.isnan(a) & ~np.isnan(b)
    a, b, days = a[known], b[known], _days(both)[known]
    return Contest(
        champion=champion,
        challenger=challenger,
        metric=compare.metric,
        confidence=compare.confidence,
        champion_loss=_mean(compare.metric, b, days),
        challenger_loss=_mean(compare.metric, a, days),
        difference=_difference(compare, a, b, days),
        labels=len(days),
        days=_distinct(days),
        span=span,
    )


def _within(outcomes: pl.DataFrame, span: Span) -> pl.DataFrame:
    return outcomes.filter((pl.col("_at_us") >= span.since_us) & (pl.col("_at_us") < span.until_us))


def _labelled(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("_label").is_not_null() & pl.col("score").is_finite())


def _days(rows: pl.DataFrame) -> Clusters:
    return rows.get_column("_at_us").to_numpy() // DAY_US


def _distinct(days: Clusters) -> int:
    return len(set(days.tolist()))


def _numbers(rows: pl.DataFrame, column: str) -> FloatArray:
    return rows.get_column(column).to_numpy()


def _estimate(metric: str, labels: FloatArray, scores: FloatArray, days: Clusters) -> Estimate | None:
    try:
        return estimate(metric, labels, scores, days)
    except MetricUndefined:
        return None


def _losses(metric: str, both: pl.DataFrame, judged: tuple[str, str], costs: Costs) -> FloatArray:
    """Return what rows lost by a version. judged: the columns with its scores and decisions."""
    labels, scores, decided = (floats(both[name]) for name in ("_label", *judged))
    return row_losses(metric, labels, scores, decided, costs)


def floats(values: pl.Series) -> FloatArray:
    """Return numbers or truth values as float64 (n,), NaN for null."""
    found: FloatArray = values.cast(pl.Float64).to_numpy()
    return found


def _mean(metric: str, losses: FloatArray, days: Clusters) -> Estimate | None:
    try:
        return estimate_mean(metric, losses, days)
    except MetricUndefined:
        return None


def _difference(compare: Compare, a: FloatArray, b: FloatArray, days: Clusters) -> Estimate | None:
    try:
        return paired_means(compare.metric, a, b, clusters=days, confidence=compare.confidence)
    except MetricUndefined:
        return None
