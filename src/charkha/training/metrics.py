"""Metrics with their confidence intervals: of all rows, of each slice, and as means of what single rows lost."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

import numpy as np
import polars as pl

from charkha.bundles.manifest import Estimate
from charkha.bundles.rules import BoolArray
from charkha.spec.model import COST, METRICS, FloatArray
from charkha.training.influence import INFLUENCES, Influence, MetricUndefined, mean_influence
from charkha.training.intervals import Clusters, Spread, from_zero, spread, up_to_one, wald, within_unit

__all__ = [
    "Clusters",
    "Estimate",
    "MetricUndefined",
    "estimate",
    "estimate_mean",
    "estimate_slices",
    "higher_is_better",
]

SMALLEST_SLICE = 50

_INTERVALS: Mapping[str, Callable[[Influence, Spread, float], Estimate]] = {
    "roc_auc": within_unit,
    "average_precision": within_unit,
    "r2": up_to_one,
    COST: wald,  # gains are costs below zero
}


def estimate(
    metric: str,
    labels: FloatArray,
    scores: FloatArray,
    clusters: Clusters | None = None,
    *,
    confidence: float = 0.95,
) -> Estimate:
    """Return a metric with its interval, from labels (n,), scores (n,) and, when rows of a day or a user stand or fall
    together, the cluster of each row (n,): the interval then widens to what so many independent clusters allow.

    Metrics are those of `spec.model.METRICS` and `ROW_LOSSES`, and `calibration_error`. Raises MetricUndefined when
    these rows cannot give one.
    """
    influence = influence_of(metric, labels, scores)
    return _INTERVALS.get(metric, from_zero)(influence, spread(metric, influence.rows, clusters), confidence)


def influence_of(metric: str, labels: FloatArray, scores: FloatArray) -> Influence:
    """Return the influence of each row on a metric. Raises ValueError for an unknown metric or unusable numbers."""
    if metric not in INFLUENCES:
        raise ValueError(f"expected one of the metrics {', '.join(INFLUENCES)}; got {metric!r}")
    if labels.shape != scores.shape or labels.ndim != 1:
        raise ValueError(f"{metric}: expected one score for each label, got {labels.shape} and {scores.shape}")
    if len(labels) == 0:
        raise MetricUndefined(metric, "rows", "none")
    if not (np.isfinite(labels).all() and np.isfinite(scores).all()):
        raise ValueError(f"{metric}: expected finite labels and scores, got nulls or infinities among {len(labels)}")
    return INFLUENCES[metric](labels, scores)


def estimate_slices(
    metric: str,
    labels: FloatArray,
    scores: FloatArray,
    slices: pl.Series,
    clusters: Clusters | None = None,
    *,
    smallest: int = SMALLEST_SLICE,
) -> dict[str, Estimate]:
    """Return the metric for each value of `slices` (n,), by that value as text, the largest slice first.

    Slices of fewer than `smallest` rows, of null, or on which the metric is undefined are left out.
    """
    found: dict[str, Estimate] = {}
    for value, rows in rows_of_slices(slices, smallest):
        with suppress(MetricUndefined):
            found[value] = estimate(metric, labels[rows], scores[rows], None if clusters is None else clusters[rows])
    return found


def rows_of_slices(slices: pl.Series, smallest: int = SMALLEST_SLICE) -> Iterator[tuple[str, BoolArray]]:
    """Yield each value of `slices` (n,) as text, and which rows have it, bool (n,); the largest slice first.

    Slices of fewer than `smallest` rows, and of null, are left out.
    """
    values = slices.cast(pl.String)
    counts = values.drop_nulls().value_counts(sort=True).filter(pl.col("count") >= smallest)
    for value in counts[values.name]:
        yield value, (values == value).fill_null(False).to_numpy()


def estimate_mean(
    metric: str, losses: FloatArray, clusters: Clusters | None = None, *, confidence: float = 0.95
) -> Estimate:
    """Return the mean of row losses (n,), all finite, with its interval; as `estimate` of a metric that is such a mean.

    Raises MetricUndefined with fewer than two rows or clusters.
    """
    if len(losses) == 0:
        raise MetricUndefined(metric, "rows", "none")
    influence = mean_influence(losses)
    return _INTERVALS.get(metric, from_zero)(influence, spread(metric, influence.rows, clusters), confidence)


def higher_is_better(metric: str) -> bool:
    """Say whether a higher value of the metric means a better model; losses and errors are better low."""
    return any(names.get(metric, False) for names in METRICS.values())
