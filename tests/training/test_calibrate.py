from typing import Literal

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from charkha.spec.model import FloatArray
from charkha.training.calibrate import fit_calibration
from charkha.training.metrics import estimate


def overconfident(n: int, seed: int = 0) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Labels, scores whose log odds are twice the truth plus one, and the true probabilities."""
    rng = np.random.default_rng(seed)
    truth = rng.beta(2, 2, n)
    scores = 1 / (1 + np.exp(-(2 * np.log(truth / (1 - truth)) + 1)))
    return (rng.random(n) < truth).astype(np.float64), scores, truth


@pytest.mark.parametrize("kind", ["isotonic", "sigmoid"])
def test_calibration_finds_the_truth(kind: Literal["isotonic", "sigmoid"]) -> None:
    calibration = fit_calibration(kind, *overconfident(20_000)[:2])
    labels, scores, truth = overconfident(5_000, seed=1)
    calibrated = calibration.apply(scores)
    assert np.abs(calibrated - truth).mean() < 0.02 < np.abs(scores - truth).mean()
    assert estimate("calibration_error", labels, calibrated).value < 0.03
    assert estimate("log_loss", labels, calibrated).value < estimate("log_loss", labels, scores).value


def test_sigmoid_undoes_a_shift_of_log_odds() -> None:
    calibration = fit_calibration("sigmoid", *overconfident(100_000)[:2])
    assert (calibration.x[0], calibration.y[0]) == pytest.approx((0.5, -0.5), abs=0.03)


def test_isotonic_is_scikit_learns_short_of_certainty() -> None:
    labels, scores, _ = overconfident(500)
    peer = IsotonicRegression(out_of_bounds="clip").fit(scores, labels)
    new = np.linspace(0, 1, 101)
    expected = np.clip(peer.predict(new), 1 / 502, 501 / 502)
    ours = fit_calibration("isotonic", labels, scores).apply(new)
    np.testing.assert_allclose(ours, expected, atol=1 / 502)
    assert 0 < ours.min() < ours.max() < 1


def test_one_surprise_after_isotonic_is_not_ruinous() -> None:
    calibration = fit_calibration("isotonic", np.repeat([0.0, 1.0], 50), np.linspace(0, 1, 100))
    assert estimate("log_loss", np.array([1.0, 1.0]), calibration.apply(np.array([0.01, 0.01]))).value < 5
