"""What single rows lost: means are those of scikit-learn, and what is not known is nobody's loss."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as peer

import charkha as ck
from charkha.training.row_losses import row_losses
from charkha.training.threshold import total_cost

LABELS = np.array([0.0, 1, 1, 0, 1])
SCORES = np.array([0.2, 0.9, 0.4, 0.6, 0.5])
COSTS = ck.Costs(false_positive=1, false_negative=4, true_positive=-2, true_negative=0.5)
TRUTH = st.sampled_from([0.0, 1.0, float("nan")])


def losses(metric: str, scores: np.ndarray = SCORES, decided: np.ndarray | None = None) -> np.ndarray:
    return row_losses(metric, LABELS, scores, (scores >= 0.5).astype(float) if decided is None else decided, COSTS)


def test_means_are_those_of_the_metrics() -> None:
    assert losses("log_loss").mean() == pytest.approx(peer.log_loss(LABELS, SCORES))
    assert losses("brier").mean() == pytest.approx(peer.brier_score_loss(LABELS, SCORES))
    assert losses("absolute_error").mean() == pytest.approx(peer.mean_absolute_error(LABELS, SCORES))
    assert losses("squared_error").mean() == pytest.approx(peer.mean_squared_error(LABELS, SCORES))


def test_a_cost_is_that_of_the_decision_not_of_the_score() -> None:
    assert losses("cost").tolist() == [0.5, -2, 4, 1, -2]
    ruled = np.array([1.0, 0, 0, 0, 0])
    assert losses("cost", decided=ruled).tolist() == [1, 4, 4, 0.5, 4]
    no_scores = np.full(5, np.nan)
    assert losses("cost", no_scores, ruled).tolist() == [1, 4, 4, 0.5, 4]


@given(st.lists(st.tuples(TRUTH, TRUTH), max_size=30))
def test_what_is_not_known_is_nan_and_the_rest_adds_up(rows: list[tuple[float, float]]) -> None:
    labels, decided = (np.array([row[place] for row in rows]) for place in (0, 1))
    found = row_losses("cost", labels, decided, decided, COSTS)
    known = np.isfinite(labels) & np.isfinite(decided)
    assert (np.isnan(found) == ~known).all()
    assert found[known].sum() == pytest.approx(total_cost(labels[known], decided[known] > 0.5, COSTS))
    assert (np.isnan(row_losses("log_loss", labels, decided, decided, COSTS)) == ~known).all()


def test_another_metric_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one of the losses log_loss, .*, cost, got 'roc_auc'"):
        losses("roc_auc")
