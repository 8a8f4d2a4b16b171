"""Nulls tried on their own history keep their budget on what follows: alike hours, wandering shares, heavy tails."""

import numpy as np
import pytest

from charkha.monitoring.sequential.alarms import alarms
from charkha.monitoring.sequential.arrays import FloatArray
from charkha.monitoring.sequential.budget import HOURS_PER_YEAR, Budget
from charkha.monitoring.sequential.calibration import calibrated
from charkha.monitoring.sequential.dependence import autocorrelation
from charkha.monitoring.sequential.ranks import Ranks
from charkha.monitoring.sequential.shares import Shares

HISTORY, MONTH, CHECKS = 672, 720, 200
# One false alarm of a check in 100 looks: often enough that few would be noticed.
OFTEN = Budget(alarms_per_year=HOURS_PER_YEAR / 100)


def alike(correlation: float, seed: int = 1) -> FloatArray:
    """First-order autoregressions (hours, checks) of variance 1."""
    noise = np.random.default_rng(seed).standard_normal((HISTORY + MONTH, CHECKS))
    for hour in range(1, len(noise)):
        noise[hour] = correlation * noise[hour - 1] + np.sqrt(1 - correlation**2) * noise[hour]
    return noise


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_alike_hours_keep_their_budget(correlation: float) -> None:
    values = alike(correlation)
    found = calibrated(Ranks.of(values[:HISTORY]), (values[:HISTORY],), OFTEN)
    rang = alarms(found.null.log_e(values[HISTORY:]), found.null.alike, OFTEN.log_level)
    assert found.usable.all()
    assert rang.mean() <= 1 / 100


def test_without_calibration_alike_hours_would_break_it() -> None:
    values = alike(0.9)
    null = Ranks.of(values[:HISTORY])
    assert alarms(null.log_e(values[HISTORY:]), null.alike, OFTEN.log_level).mean() > 2 / 100


@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_shares_that_wander_keep_their_budget(correlation: float) -> None:
    share = 1 / (1 + np.exp(3 - 0.5 * alike(correlation)))
    rows = np.full(share.shape, 500.0)
    hits = np.random.default_rng(2).binomial(500, share).astype(np.float64)
    found = calibrated(Shares.of(hits[:HISTORY], rows[:HISTORY]), (hits[:HISTORY], rows[:HISTORY]), OFTEN)
    log_e = found.null.log_e(hits[HISTORY:], rows[HISTORY:])
    assert alarms(log_e, found.null.alike, OFTEN.log_level).mean() <= 1 / 100


def test_a_shift_is_still_seen() -> None:
    """Three standard deviations, in alike hours: in some day, at a budget of one alarm a year over 40 checks."""
    budget, values = Budget(1.0, 1.0, 40), alike(0.5)
    found = calibrated(Ranks.of(values[:HISTORY]), (values[:HISTORY],), budget)
    rang = alarms(found.null.log_e(values[HISTORY:] + 3), found.null.alike, budget.log_level)
    assert np.median(rang.argmax(axis=0)) < 36
    far = alarms(found.null.log_e(values[HISTORY:] + 1_000), found.null.alike, budget.log_level)
    assert far[0].mean() > 0.95, "what is far out is seen at once, however alike hours are"
    assert far[:12].any(axis=0).all()


def test_a_history_that_its_model_does_not_fit_widens_the_null() -> None:
    """A share of next to nothing with a flood every other day is no beta-binomial."""
    random = np.random.default_rng(3)
    rows = np.full((HISTORY, 2), 1_000.0)
    hits = random.binomial(1_000, 0.001, rows.shape).astype(np.float64)
    hits[::31, 0] = 400
    found = calibrated(Shares.of(hits, rows), (hits, rows), OFTEN)
    assert found.null.width[0] > 1 == found.null.width[1]
    assert found.alarms_after[0] < found.alarms_before[0]
    assert "tried on 672 healthy blocks" in found.said(0)
    assert f"{found.alarms_before[0]} → {found.alarms_after[0]}" in found.said(0)
    assert "→" not in found.said(1)


def test_autocorrelation_is_that_of_the_process() -> None:
    for correlation in (0.0, 0.5, 0.8):
        truth = (1 + correlation) / (1 - correlation)
        assert np.median(autocorrelation(alike(correlation))) == pytest.approx(truth, rel=0.4)
        assert np.quantile(autocorrelation(alike(correlation)), 0.2) > 0.85 * truth
    assert autocorrelation(np.ones((50, 2))).tolist() == [1, 1]
    assert autocorrelation(np.ones((5, 1))).tolist() == [1]
