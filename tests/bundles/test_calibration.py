"""Calibration is a rising map into probabilities, and agrees with its peers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit

from charkha.bundles.calibration import Calibration

ISOTONIC = Calibration.isotonic(np.array([0.2, 0.5, 0.5, 0.8]), np.array([0.1, 0.3, 0.4, 0.9]))
SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=20)


@given(SCORES, st.sampled_from([ISOTONIC, Calibration.sigmoid(1.7, -0.3), Calibration.sigmoid(0.2, 4.0)]))
def test_probabilities_rise_with_scores(scores: list[float], calibration: Calibration) -> None:
    probabilities = calibration.apply(np.sort(scores))
    assert (np.diff(probabilities) >= 0).all()
    assert ((probabilities >= 0) & (probabilities <= 1)).all()


def test_isotonic_is_linear_between_its_points_and_constant_outside() -> None:
    scores = np.array([0.0, 0.2, 0.35, 0.65, 0.8, 1.0])
    np.testing.assert_allclose(ISOTONIC.apply(scores), [0.1, 0.1, 0.2, 0.65, 0.9, 0.9])


@given(st.floats(1e-9, 1 - 1e-9), st.floats(0.01, 10), st.floats(-5, 5))
def test_sigmoid_is_a_line_in_log_odds(score: float, slope: float, intercept: float) -> None:
    found = Calibration.sigmoid(slope, intercept).apply(np.array([score]))
    np.testing.assert_allclose(found, expit(slope * logit(score) + intercept), rtol=1e-9)


@given(SCORES)
def test_slope_one_and_intercept_zero_change_nothing(scores: list[float]) -> None:
    inside = np.clip(scores, 1e-12, 1 - 1e-12)
    np.testing.assert_allclose(Calibration.sigmoid(1.0, 0.0).apply(inside), inside, rtol=1e-9)


@pytest.mark.parametrize("calibration", [ISOTONIC, Calibration.sigmoid(2.0, 1.0)])
def test_certain_scores_are_answered_and_an_unknown_one_stays_unknown(calibration: Calibration) -> None:
    answers = calibration.apply(np.array([0.0, 1.0, np.nan]))
    assert np.isfinite(answers[:2]).all()
    assert np.isnan(answers[2])
    assert calibration.apply(np.empty(0)).shape == (0,)
