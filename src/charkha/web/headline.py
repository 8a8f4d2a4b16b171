"""What a replay comes to, in one comparison: what was served against what would have been without retraining."""

from attrs import frozen

from charkha.operations.replay_summary import MonthRow, ReplaySummary


@frozen
class Headline:
    """The mean of the months, weighted by labels, served and frozen; None when no month has both.

    gain: how much better what was served is; positive is better, whichever way the metric points.
    better, worse: the months in which what was served was better or worse than the frozen model.
    """

    served: float | None
    frozen: float | None
    gain: float | None
    better: int
    worse: int


def headline(summary: ReplaySummary) -> Headline:
    """Return the comparison of a replay."""
    pairs = [
        (month.served.value, month.frozen.value, month.labels)
        for month in summary.months
        if month.served.value is not None and month.frozen.value is not None
    ]
    gains = [month_gain(month, higher_is_better=summary.higher_is_better) for month in summary.months]
    better, worse = (sum(1 for gain in gains if gain is not None and sign * gain > 0) for sign in (1, -1))
    weight = sum(labels for _, _, labels in pairs)
    if not weight:
        return Headline(None, None, None, better, worse)
    served = sum(value * labels for value, _, labels in pairs) / weight
    frozen_mean = sum(value * labels for _, value, labels in pairs) / weight
    sign = 1 if summary.higher_is_better else -1
    return Headline(served, frozen_mean, sign * (served - frozen_mean), better, worse)


def month_gain(month: MonthRow, *, higher_is_better: bool) -> float | None:
    """Return how much better what was served in a month is than the frozen model; None when unknown."""
    if month.served.value is None or month.frozen.value is None:
        return None
    difference = month.served.value - month.frozen.value
    return difference if higher_is_better else -difference
