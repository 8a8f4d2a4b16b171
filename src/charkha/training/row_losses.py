"""What each row lost: by its score, or by the decision as it was served."""

from collections.abc import Callable, Mapping

import numpy as np

from charkha.spec.model import COST, Costs, FloatArray
from charkha.training.influence import absolute_errors, binary_log_losses, squared_errors
from charkha.training.threshold import decision_costs

_OF_SCORES: Mapping[str, Callable[[FloatArray, FloatArray], FloatArray]] = {
    "log_loss": binary_log_losses,
    "brier": squared_errors,
    "absolute_error": absolute_errors,
    "squared_error": squared_errors,
}


def row_losses(metric: str, labels: FloatArray, scores: FloatArray, decided: FloatArray, costs: Costs) -> FloatArray:
    """Return what each row lost, (n,); NaN where it is not known: without a label, or a score or decision to judge.

    metric: of `spec.model.ROW_LOSSES`, or `COST`. labels, scores, decided: (n,), NaN where there is none; decisions are
    1 and 0. Raises ValueError for another metric.
    """
    if metric != COST and metric not in _OF_SCORES:
        raise ValueError(f"expected one of the losses {', '.join((*_OF_SCORES, COST))}, got {metric!r}")
    judged = decided if metric == COST else scores
    known = np.isfinite(labels) & np.isfinite(judged)
    found = np.full(len(labels), np.nan)
    if metric == COST:
        found[known] = decision_costs(labels[known], judged[known] > 0.5, costs)
    else:
        found[known] = _OF_SCORES[metric](labels[known], judged[known])
    return found
