"""Calibrators of p-values: what they integrate to, and what they are against the obvious formula."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from charkha.monitoring.sequential.arrays import FloatArray
from charkha.monitoring.sequential.calibrators import log_mixture, log_normal_score, log_power, p_of

CALIBRATORS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "power 0.1": lambda p: log_power(p, 0.1),
    "power 0.5": lambda p: log_power(p, 0.5),
    "mixture": log_mixture,
    "normal 1": lambda p: log_normal_score(p, 1.0),
    "normal 4": lambda p: log_normal_score(p, 4.0),
}


@pytest.mark.parametrize("name", CALIBRATORS)
def test_a_calibrator_integrates_to_one(name: str) -> None:
    """Over p = exp(-x), where a power's integrand has no pole."""
    whole, _ = quad(lambda x: float(np.exp(CALIBRATORS[name](np.exp(-x)) - x)), 0, 600, limit=500, points=[1, 10, 40])
    # The mixture's tail beyond 600 is 1/600.
    assert whole == pytest.approx(1, abs=1 / 500)


@given(st.floats(1e-12, 1), st.sampled_from(sorted(CALIBRATORS)))
def test_a_smaller_p_is_more_evidence(p: float, name: str) -> None:
    less, more = CALIBRATORS[name](np.array([p, p / 2]))
    assert more >= less


def test_the_mixture_is_the_mean_of_powers() -> None:
    kappas = (np.arange(100_000) + 0.5) / 100_000
    for p in (1e-9, 0.01, 0.5, 0.999):
        assert np.exp(log_mixture(p)) == pytest.approx(np.mean(kappas * p ** (kappas - 1)), rel=1e-4)
    assert np.exp(log_mixture([1.0, 1 - 1e-9])) == pytest.approx(0.5)


def test_no_p_is_without_end() -> None:
    assert all(np.all(np.isfinite(each(np.array([0.0, 1.0])))) for each in CALIBRATORS.values())
    assert p_of([0.0, np.log(20), -3.0]) == pytest.approx([1.0, 0.05, 1.0])


def test_what_is_no_p_value_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        log_mixture([0.5, 1.5])
    with pytest.raises(ValueError, match="kappa between 0 and 1"):
        log_power(0.5, 1.0)
