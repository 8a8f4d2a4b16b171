"""How well a model does before its labels are there, as a value: made by `checks.estimate`, kept with a diagnosis."""

from typing import Literal

from attrs import frozen

from charkha.monitoring.performance import Span

Metric = Literal["log_loss", "brier", "roc_auc", "absolute_error", "squared_error"]

BLIND = "it cannot see concept drift: it takes what was true of each score in the healthy span to be true now"


@frozen(kw_only=True)
class PerformanceEstimate:
    """One metric of a span.

    estimated: from scores alone, with the interval `low` to `high`. realised: of the rows whose label is known; None
    where there are none. current: with labels as far as they are known, and what is expected of the others.
    mature: the share of rows whose label is known. rows: how many there are. blind: what it does not see.
    """

    metric: Metric
    span: Span
    estimated: float
    low: float
    high: float
    realised: float | None
    current: float
    mature: float
    rows: int
    blind: str = BLIND
