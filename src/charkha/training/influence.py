"""How much each row moves a metric: the one idea behind every interval in Charkha.

A metric is a smooth function of how often each row counts. Its *influence* is the derivative of the metric by each
row's count, so the influences of all rows sum to zero, and the metric's sampling variance is the sum of their squares
(the infinitesimal jackknife). Three things follow for every metric alike, each in one line elsewhere:

    variance of the metric             sum of squares of the rows' influences
    rows that stand or fall together   add influences within a cluster before squaring
    model a against model b            influences of a minus influences of b, on the same rows

For a mean this is the textbook standard error, for the area under the ROC curve it is DeLong's method (DeLong, DeLong
and Clarke-Pearson 1988) and, in clusters, Obuchowski's (1997). Everything here takes O(n log n).
"""

from collections.abc import Callable, Mapping

import numpy as np
from attrs import frozen

from charkha.spec.model import FloatArray

# scikit-learn's clip: a probability of exactly 0 or 1 that is wrong costs 36 nats, not infinity.
SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)


class MetricUndefined(ValueError):
    """A metric has no value, or no interval, on these rows. `metric`, `needs` and `found` say which and why."""

    def __init__(self, metric: str, needs: str, found: str) -> None:
        self.metric, self.needs, self.found = metric, needs, found
        super().__init__(f"{metric} needs {needs}; got {found}. Take a longer window, or leave this part out")


@frozen(eq=False)
class Influence:
    """A metric's value and the influence of each row on it.

    rows: float64 (n,), sums to 0, in the metric's unit; scaled so that with U independent units U / (U - 1) times the
        sum of squares is the unbiased (for the AUC: DeLong's) variance.
    support: how many independent rows a perfect value rests on: the rarer class's for the AUC, else all.
    """

    value: float
    rows: FloatArray
    support: int


def mean_influence(losses: FloatArray) -> Influence:
    """Return the influence on the mean of one loss per row, (n,)."""
    value = float(losses.mean())
    return Influence(value, (losses - value) / len(losses), len(losses))


def binary_log_losses(labels: FloatArray, scores: FloatArray) -> FloatArray:
    """Return each row's negative log likelihood, in nats, (n,)."""
    clipped = np.clip(scores, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    return -np.log(np.where(labels > 0.5, clipped, 1 - clipped))


def squared_errors(labels: FloatArray, scores: FloatArray) -> FloatArray:
    """Return each row's squared error, (n,); for a binary label its Brier loss."""
    return np.square(labels - scores)


def absolute_errors(labels: FloatArray, scores: FloatArray) -> FloatArray:
    """Return each row's absolute error, (n,)."""
    return np.abs(labels - scores)


def auc_influence(labels: FloatArray, scores: FloatArray) -> Influence:
    """Return the influence on the area under the ROC curve: the placement values of DeLong, ties counting half.

    Raises MetricUndefined with fewer than two rows of either class.
    """
    positive = labels > 0.5
    wins, losses = scores[positive], scores[~positive]
    _require_both_classes("roc_auc", len(wins), len(losses))
    above = _share_below(losses, wins)
    value = float(above.mean())
    rows = np.empty(len(labels))
    rows[positive] = (above - value) * _delong_scale(len(wins), len(labels))
    rows[~positive] = (1 - _share_below(wins, losses) - value) * _delong_scale(len(losses), len(labels))
    return Influence(value, rows, min(len(wins), len(losses)))


def _share_below(others: FloatArray, scores: FloatArray) -> FloatArray:
    """Return for each score the share of `others` that lie below it, ties counting half."""
    ranked = np.sort(others)
    below_twice = np.searchsorted(ranked, scores, "left") + np.searchsorted(ranked, scores, "right")
    return np.asarray(below_twice / (2 * len(others)))


def _delong_scale(of_class: int, of_all: int) -> float:
    """DeLong divides each class's squares by its own n - 1; the variance of an `Influence` divides by that of all."""
    return float(np.sqrt((of_all - 1) / of_all / (of_class - 1) / of_class))


def average_precision_influence(labels: FloatArray, scores: FloatArray) -> Influence:
    """Return the influence on average precision (the step-wise area under precision over recall, as scikit-learn's).

    A positive adds its own precision; and every row moves the precision at all positives ranked at or below it.
    Raises MetricUndefined with fewer than two rows of either class.
    """
    positives = int(np.count_nonzero(labels > 0.5))
    _require_both_classes("average_precision", positives, len(labels) - positives)
    distinct, group = np.unique(-scores, return_inverse=True)
    hits = np.bincount(group, weights=labels, minlength=len(distinct))
    ranked = np.cumsum(np.bincount(group, minlength=len(distinct)))
    precision = np.cumsum(hits) / ranked
    value = float(hits @ precision / positives)
    when_a_hit = np.cumsum((hits / ranked)[::-1])[::-1]
    when_any = np.cumsum((hits * precision / ranked)[::-1])[::-1]
    rows = labels * (precision[group] - value + when_a_hit[group]) - when_any[group]
    return Influence(value, rows / positives, positives)


def _require_both_classes(metric: str, positives: int, negatives: int) -> None:
    if min(positives, negatives) < 2:
        raise MetricUndefined(
            metric, "at least two rows of each class", f"{positives} positive and {negatives} negative rows"
        )


def rmse_influence(labels: FloatArray, scores: FloatArray) -> Influence:
    """Return the influence on the root of the mean squared error."""
    squared = mean_influence(squared_errors(labels, scores))
    value = float(np.sqrt(squared.value))
    return Influence(value, squared.rows / (2 * value) if value else squared.rows, squared.support)


def r2_influence(labels: FloatArray, scores: FloatArray) -> Influence:
    """Return the influence on the share of variance explained. Raises MetricUndefined when all labels are equal."""
    spread = np.square(labels - labels.mean())
    total = float(spread.sum())
    if total == 0:
        raise MetricUndefined("r2", "labels that differ", f"{len(labels)} labels that are all {labels[0]:g}")
    errors = squared_errors(labels, scores)
    unexplained = float(errors.sum()) / total
    return Influence(1 - unexplained, (unexplained * spread - errors) / total, len(labels))


def calibration_influence(labels: FloatArray, scores: FloatArray, bins: int = 10) -> Influence:
    """Return the influence on the expected calibration error: mean |observed - predicted| over bins of equal count.

    Within a bin the sign of its deviation is fixed, so the error is a mean of signed residuals. Equal scores share a
    bin: a calibrated step holds many rows of one score, and cutting it would count noise as error.
    """
    edges = np.unique(np.quantile(scores, np.arange(1, bins) / bins))
    bin_of = np.searchsorted(edges, scores, "right")
    residuals = labels - scores
    deviation = np.bincount(bin_of, weights=residuals, minlength=len(edges) + 1)
    return mean_influence(residuals * np.sign(deviation)[bin_of])


def _mean_of(losses: Callable[[FloatArray, FloatArray], FloatArray]) -> Callable[[FloatArray, FloatArray], Influence]:
    return lambda labels, scores: mean_influence(losses(labels, scores))


# Every metric that a definition may name, and those that decide a rollout.
INFLUENCES: Mapping[str, Callable[[FloatArray, FloatArray], Influence]] = {
    "roc_auc": auc_influence,
    "average_precision": average_precision_influence,
    "log_loss": _mean_of(binary_log_losses),
    "brier": _mean_of(squared_errors),
    "mae": _mean_of(absolute_errors),
    "rmse": rmse_influence,
    "r2": r2_influence,
    "absolute_error": _mean_of(absolute_errors),
    "squared_error": _mean_of(squared_errors),
    "calibration_error": calibration_influence,
}
