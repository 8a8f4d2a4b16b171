"""The metric of what was served, month by month, on all labels that came."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from charkha.monitoring.performance import Span
from charkha.operations.backtest.history import History
from charkha.operations.backtest.results import MonthScore
from charkha.operations.replay_summary import Interval
from charkha.spec.fields import TIME
from charkha.spec.model import FloatArray
from charkha.training.evaluate import time_clusters
from charkha.training.metrics import MetricUndefined, estimate


def months_of(history: History, scores: FloatArray, span: Span) -> tuple[MonthScore, ...]:
    """Return each month of a span in which labels came of what was scored. scores: float64 (n,), NaN for none.

    What is true is what the sources say, also where an incident that was put in tells other labels.
    """
    places, metric = history.places(span), history.model.metrics[0]
    at_us, truth, answered = history.at_us[places], history.truth[places], scores[places]
    known = np.isfinite(truth) & np.isfinite(answered)
    names = pl.Series(at_us).cast(TIME).dt.strftime("%Y-%m").to_numpy()
    return tuple(
        MonthScore(
            month=str(name),
            metric=_measured(metric, truth[rows], answered[rows], at_us[rows]),
        )
        for name in np.unique(names[known])
        if (rows := np.flatnonzero(known & (names == name))).size
    )


def overall(months: Sequence[MonthScore]) -> float | None:
    """Return the mean of the months weighted by their labels; None where no month has a value.

    A ranking metric of all rows together would tell of how often things are true in which month, more than of how well
    they are told apart in any.
    """
    known = [(each.metric.value, each.metric.n) for each in months if each.metric.value is not None]
    return sum(value * n for value, n in known) / sum(n for _, n in known) if known else None


def _measured(
    metric: str, truth: FloatArray, scores: FloatArray, at_us: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]"
) -> Interval:
    try:
        found = estimate(metric, truth, scores, time_clusters(at_us))
    except MetricUndefined:
        return Interval(None, None, None, len(truth))
    return Interval(found.value, found.low, found.high, found.n)
