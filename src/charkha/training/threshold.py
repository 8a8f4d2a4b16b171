"""The decision threshold: the score from which deciding True is cheaper."""

import numpy as np

from charkha.bundles.rules import BoolArray
from charkha.spec.model import Costs, FloatArray

# No probability reaches it: with this threshold the score never decides True.
NEVER = float(np.nextafter(1.0, 2.0))


def cheapest_threshold(labels: FloatArray, scores: FloatArray, costs: Costs) -> float:
    """Return the threshold at which `scores >= threshold` costs least on these rows, both float64 (n,).

    It lies halfway between two scores, so that rounding cannot tip a decision; 0 decides True on every row and `NEVER`
    on none. Of equally cheap thresholds the highest is taken: it intervenes least. Raises ValueError without rows.
    """
    if len(labels) == 0:
        raise ValueError("expected labelled rows to choose a threshold on, got none")
    distinct, group = np.unique(scores, return_inverse=True)
    positives = np.bincount(group, weights=labels, minlength=len(distinct))
    negatives = np.bincount(group, weights=1 - labels, minlength=len(distinct))
    to_true = positives * (costs.true_positive - costs.false_negative) + negatives * (
        costs.false_positive - costs.true_negative
    )
    # What it costs to answer True from the i-th distinct score on, beyond never doing so; the last: never.
    extra = np.append(np.cumsum(to_true[::-1])[::-1], 0.0)
    return float(_candidates(distinct)[_last_smallest(extra)])


def _candidates(distinct: FloatArray) -> FloatArray:
    below, above = distinct[:-1], distinct[1:]
    halfway = (below + above) / 2
    return np.concatenate([[0.0], np.where(halfway > below, halfway, above), [NEVER]])


def _last_smallest(values: FloatArray) -> int:
    return len(values) - 1 - int(np.argmin(values[::-1]))


def decision_costs(labels: FloatArray, decisions: BoolArray, costs: Costs) -> FloatArray:
    """Return what each decision, bool (n,), cost, given the labels, float64 (n,)."""
    truth = labels > 0.5
    when_true = np.where(truth, costs.true_positive, costs.false_positive)
    when_false = np.where(truth, costs.false_negative, costs.true_negative)
    return np.where(decisions, when_true, when_false).astype(np.float64)


def total_cost(labels: FloatArray, decisions: BoolArray, costs: Costs) -> float:
    """Return what the decisions, bool (n,), cost in all, given the labels, float64 (n,)."""
    return float(decision_costs(labels, decisions, costs).sum())
