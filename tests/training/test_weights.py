"""The weights of training rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from charkha.spec.durations import DAY_US
from charkha.training.split import TimeArray
from charkha.training.weights import row_weights

DAYS = hnp.arrays(np.int64, st.integers(1, 50), elements=st.integers(0, 20_000))


def test_without_a_half_life_rows_have_no_weights() -> None:
    assert row_weights(None, np.array([1, 2])) is None
    assert row_weights("30d", np.array([], np.int64)) is None


def test_a_row_older_by_the_half_life_counts_half_as_much() -> None:
    weights = row_weights("30d", np.array([0, 30, 60]) * DAY_US)
    assert weights is not None
    assert weights / weights[-1] == pytest.approx([0.25, 0.5, 1.0])


@given(DAYS)
def test_weights_are_positive_of_mean_one_and_never_fall_with_time(days: TimeArray) -> None:
    weights = row_weights("7d", np.sort(days) * DAY_US)
    assert weights is not None
    assert weights.mean() == pytest.approx(1.0)
    assert (weights > 0).all()
    assert (np.diff(weights) >= 0).all()
