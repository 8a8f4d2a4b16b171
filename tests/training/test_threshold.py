import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.spec.model import Costs
from charkha.training.threshold import NEVER, cheapest_threshold, total_cost

costs = st.builds(
    Costs,
    false_positive=st.integers(0, 5),
    false_negative=st.integers(0, 5),
    true_positive=st.integers(-2, 2),
    true_negative=st.integers(-2, 2),
)


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=40), costs)
def test_no_threshold_is_cheaper(rows: list[tuple[int, float]], costs: Costs) -> None:
    labels, scores = np.array(rows, float).T
    found = cheapest_threshold(labels, scores, costs)
    tried = [total_cost(labels, scores >= threshold, costs) for threshold in (*scores, 0.0, NEVER)]
    assert total_cost(labels, scores >= found, costs) == min(tried)


def test_it_lies_halfway_between_scores() -> None:
    assert cheapest_threshold(np.array([0.0, 0, 1, 1]), np.array([0.1, 0.2, 0.6, 0.9]), Costs()) == pytest.approx(0.4)


def test_calibrated_scores_give_the_threshold_of_decision_theory() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(200_000)
    labels = (rng.random(200_000) < scores).astype(np.float64)
    assert cheapest_threshold(labels, scores, Costs(false_positive=1, false_negative=4)) == pytest.approx(0.2, abs=0.03)


def test_always_and_never() -> None:
    labels, scores = np.array([0.0, 1.0]), np.array([0.7, 0.2])
    assert cheapest_threshold(labels, scores, Costs(false_negative=100)) < 0.2
    assert cheapest_threshold(labels, scores, Costs(false_positive=100)) == NEVER
    assert not (scores >= NEVER).any()


def test_no_rows_no_threshold() -> None:
    with pytest.raises(ValueError, match="expected labelled rows"):
        cheapest_threshold(np.array([]), np.array([]), Costs())
