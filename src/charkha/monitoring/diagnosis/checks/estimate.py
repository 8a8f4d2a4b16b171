"""How well a model does before its labels are there, with an interval; and how well it did, as they come.

Where the label is known it counts, where it is not yet what is expected of it given the score does (confidence-based
performance estimation: Kivimäki, Białek, Kuberski and Nurminen 2025, "Performance Estimation in Binary Classification
Using Calibrated Confidence"): one figure, that becomes the realised one as labels mature. Scores are recalibrated
on the healthy span. How far a day's figure is from its estimate is learnt there as well, day by day, so what the scores
cannot know of a day, its weather or its news, is in the interval.

It is blind to concept drift: it believes that, given the score, what was true in the healthy span is true now.
"""

from collections.abc import Callable, Mapping

import numpy as np
from attrs import frozen
from scipy.special import expit, stdtrit

from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.expectation import Errors, Odds, expectation
from charkha.monitoring.diagnosis.checks.graded import Graded, inside
from charkha.monitoring.diagnosis.performance_estimate import Metric, PerformanceEstimate
from charkha.monitoring.performance import Span
from charkha.monitoring.sequential.arrays import BoolArray
from charkha.monitoring.sequential.dependence import autocorrelation
from charkha.spec.durations import DAY_US
from charkha.spec.model import FloatArray

EDGE = 1e-6
# Days with fewer rows give no figure, and fewer days than these give no interval.
LEAST_ROWS, LEAST_DAYS = 20, 7


def estimated_performance(
    case: Case, span: Span, metric: Metric, *, confidence: float = 0.95
) -> PerformanceEstimate | None:
    """Return what is known of a metric in a span of the case: before labels, and as far as they are there.

    None where the healthy span has too few labels, or the span no rows. Raises ValueError for a metric that the task
    does not have.
    """
    if (metric in BINARY) != (case.task == "binary"):
        raise ValueError(f"expected a metric of {case.task} models ({', '.join(METRICS[case.task])}), got {metric!r}")
    graded = Graded.of(case)
    healthy = graded.known(case.healthy)
    expected = expectation(case.task, graded.level[healthy], graded.label[healthy])
    rows = inside(graded.at_us, span)
    if expected is None or not rows.any():
        return None
    figure = _Figure(graded, expected, metric)
    apart = _apart(figure, healthy)
    if len(apart) < LEAST_DAYS:
        return None
    known = rows & np.isfinite(graded.label)
    estimated, current = figure.of(rows, known & False), figure.of(rows, known)
    bias, half = _interval(apart, max(span.days, 1.0), confidence)
    return PerformanceEstimate(
        metric=metric,
        span=span,
        estimated=estimated + bias,
        low=estimated + bias - half,
        high=estimated + bias + half,
        realised=figure.of(known, known) if known.any() else None,
        current=current,
        mature=float(known.sum() / rows.sum()),
        rows=int(rows.sum()),
    )


@frozen(eq=False)
class _Figure:
    """A metric of some rows, of which some have a label and the others an expectation."""

    graded: Graded
    expected: Odds | Errors
    metric: Metric

    def of(self, rows: BoolArray, known: BoolArray) -> float:
        """Return the metric of rows, by the labels of those that are `known`. Both: (rows of the graded,)."""
        score, level, label = (each[rows] for each in (self.graded.score, self.graded.level, self.graded.label))
        told = known[rows]
        if isinstance(self.expected, Odds):
            truth = np.where(told, np.nan_to_num(label), expit(self.expected.log_odds(level)))
            return BINARY[self.metric](score, truth)
        mean, spread = self.expected.at(level)
        error = np.where(told, np.abs(np.nan_to_num(label) - score), 0.0)
        absolute, square = self.expected.loss(mean - score, spread)
        losses = (
            np.where(told, error, absolute) if self.metric == "absolute_error" else np.where(told, error**2, square)
        )
        return float(losses.mean())


def _log_loss(score: FloatArray, truth: FloatArray) -> float:
    p = np.clip(score, EDGE, 1 - EDGE)
    return float(-(truth * np.log(p) + (1 - truth) * np.log(1 - p)).mean())


def _brier(score: FloatArray, truth: FloatArray) -> float:
    return float((truth * (1 - score) ** 2 + (1 - truth) * score**2).mean())


def _roc_auc(score: FloatArray, truth: FloatArray) -> float:
    """Return the share of pairs of true and false that the score orders rightly; ties count half, as does no pair."""
    values, place = np.unique(score, return_inverse=True)
    true, false = (np.bincount(place, each, minlength=len(values)) for each in (truth, 1 - truth))
    below = np.cumsum(false) - false
    # A row is no pair with itself, though it may be a little of both.
    alone = float((truth * (1 - truth)).sum())
    pairs = float(true.sum() * false.sum()) - alone
    right = float((true * (below + false / 2)).sum()) - alone / 2
    return right / pairs if pairs > 0 else 0.5


BINARY: Mapping[str, Callable[[FloatArray, FloatArray], float]] = {
    "log_loss": _log_loss,
    "brier": _brier,
    "roc_auc": _roc_auc,
}
METRICS: Mapping[str, tuple[str, ...]] = {
    "binary": tuple(BINARY),
    "regression": ("absolute_error", "squared_error"),
}


def _apart(figure: _Figure, healthy: BoolArray) -> FloatArray:
    """Return the realised less the estimated metric of each healthy day: float64 (days,)."""
    days = figure.graded.at_us // DAY_US
    found = []
    for day in np.unique(days[healthy]):
        rows = healthy & (days == day)
        if rows.sum() >= LEAST_ROWS:
            found.append(figure.of(rows, rows) - figure.of(rows, rows & False))
    return np.array(found, dtype=np.float64)


def _interval(apart: FloatArray, days: float, confidence: float) -> tuple[float, float]:
    """Return the mean of the days' differences, and the half width for the mean of so many new days."""
    alike = float(autocorrelation(apart[:, None])[0])
    worth = max(len(apart) / alike, 2.0)
    error = float(apart.std(ddof=1)) * np.sqrt(alike / days + 1 / worth)
    return float(apart.mean()), float(stdtrit(max(worth - 1, 1.0), (1 + confidence) / 2) * error)
