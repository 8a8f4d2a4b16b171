"""The sequential tests of rollouts: their errors under peeking, their power, and what they agree with."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import beta, norm

from charkha.monitoring.sequential.clusters import cluster_mean
from charkha.monitoring.sequential.events import (
    band,
    log_e_above,
    log_e_more,
    log_e_uneven,
    shift_at_least,
)
from charkha.monitoring.sequential.mixtures import half_width, information_needed, log_e_of_mean, sharpest_at

ALPHA = 0.05
WORLDS = 2_000


def ever(log_e: np.ndarray) -> float:
    """Return the share of worlds (worlds, looks) in which the e-value reaches 1/alpha at any look."""
    return float((log_e.max(axis=1) >= -np.log(ALPHA)).mean())


def test_peeking_at_a_mean_errs_no_more_often_than_declared() -> None:
    random = np.random.default_rng(3)
    steps = random.exponential(size=(WORLDS, 300, 20)).sum(axis=2) - 20  # skewed, as losses are
    n = 20.0 * np.arange(1, 301)
    means = steps.cumsum(axis=1) / n
    late = n >= 100
    log_e = log_e_of_mean(means[:, late], n[late], sharpest_at(4_000.0, ALPHA))
    assert 0.005 < ever(log_e) <= ALPHA


def test_the_planned_information_finds_the_effect_as_often_as_planned() -> None:
    random = np.random.default_rng(5)
    effect, power = 0.02, 0.8
    needed = float(information_needed(effect, ALPHA, power))
    tau2 = float(sharpest_at(needed, ALPHA))
    at_once = random.normal(effect, 1 / np.sqrt(needed), 20_000)
    found = np.abs(at_once) > half_width(needed, tau2, ALPHA)
    assert found.mean() == pytest.approx(power, abs=0.01)


@given(st.floats(-3, 3), st.floats(0.1, 1e4), st.floats(1e-3, 10))
def test_the_sequence_is_where_the_e_value_is_small(estimate: float, information: float, tau2: float) -> None:
    width = float(half_width(information, tau2, ALPHA))
    at_the_edge = float(log_e_of_mean(width, information, tau2))
    assert at_the_edge == pytest.approx(-np.log(ALPHA), rel=1e-6)
    outside = abs(estimate) > width
    assert outside == (float(log_e_of_mean(estimate, information, tau2)) > -np.log(ALPHA) + 1e-9) or (
        abs(abs(estimate) - width) < 1e-6
    )


def test_no_information_excludes_nothing() -> None:
    assert half_width(np.array([0.0, 1.0]), 1.0, ALPHA)[0] == np.inf


@pytest.mark.parametrize("tau2", [0.05, 0.5])
def test_the_e_value_of_a_mean_is_the_mixture_that_it_says(tau2: float) -> None:
    def ratio(theta: float) -> float:
        return float(norm.pdf(0.4, theta, 0.2) / norm.pdf(0.4, 0, 0.2) * norm.pdf(theta, 0, np.sqrt(tau2)))

    assert float(log_e_of_mean(0.4, 25.0, tau2)) == pytest.approx(np.log(quad(ratio, -6, 6)[0]), abs=1e-6)


@pytest.mark.parametrize(("hits", "misses", "limit"), [(3, 5, 0.2), (0, 40, 0.1), (12, 3, 0.5)])
def test_the_e_value_of_a_rate_is_the_mixture_that_it_says(hits: int, misses: int, limit: float) -> None:
    prior = beta(0.5, 0.5)

    def ratio(p: float) -> float:
        return float((p / limit) ** hits * ((1 - p) / (1 - limit)) ** misses * prior.pdf(p) / prior.sf(limit))

    assert float(log_e_above(hits, misses, limit)) == pytest.approx(np.log(quad(ratio, limit, 1)[0]), abs=1e-4)


@pytest.mark.parametrize("rate", [0.01, 0.3])
def test_peeking_at_events_errs_no_more_often_than_declared(rate: float) -> None:
    """Both arms alike, the rate moving with the day: the share of the traffic is all that is assumed."""
    random = np.random.default_rng(7)
    share, hours = 0.25, 200
    moving = rate * (1 + 0.9 * np.sin(np.arange(hours) / 4))
    mine = random.binomial(50, share * moving, (WORLDS, hours)).cumsum(axis=1)
    others = random.binomial(50, (1 - share) * moving, (WORLDS, hours)).cumsum(axis=1)
    assert ever(log_e_more(mine, others, share)) <= ALPHA
    assert ever(log_e_more(2 * mine, others, share)) > 0.5 or rate < 0.05


def test_a_sample_ratio_mismatch_is_found_and_chance_is_not() -> None:
    random = np.random.default_rng(9)
    mine = random.binomial(50, 0.25, (WORLDS, 200)).cumsum(axis=1)
    others = 50 * np.arange(1, 201) - mine
    assert ever(log_e_uneven(mine, others, 0.25)) <= ALPHA
    lost = random.binomial(mine[:, -1], 0.9)
    assert (log_e_uneven(lost, others[:, -1], 0.25) > -np.log(ALPHA)).mean() > 0.9


def test_a_band_holds_at_all_times_at_once() -> None:
    random = np.random.default_rng(11)
    values = random.random((400, 2_000))
    left = np.zeros(400, dtype=bool)
    for n in range(5, 2_000, 40):
        ordered = np.sort(values[:, :n], axis=1)
        distance = np.abs(ordered - (np.arange(n) + 0.5) / n).max(axis=1) + 0.5 / n
        left |= distance > band(n, ALPHA)
    assert left.mean() <= ALPHA
    assert float(band(0, ALPHA)) == 1.0


def test_how_far_scores_have_moved() -> None:
    alike = np.array([[100.0, 100, 100, 100]])
    assert shift_at_least(alike, 3 * alike, ALPHA)[0] == 0
    constant = np.array([[0.0, 20_000, 0, 0]])
    assert shift_at_least(constant, 500 * alike, ALPHA)[0] > 0.4


def test_rows_of_one_entity_stand_together() -> None:
    losses = np.array([1.0, 1, 1, 1, 3, 3, 3, 3])
    apart = cluster_mean(losses, np.arange(8))
    assert apart.variance == pytest.approx(losses.var(ddof=1) / 8)
    together = cluster_mean(losses, np.repeat([0, 5], 4))
    assert (together.value, together.clusters) == (2.0, 2)
    assert together.variance == pytest.approx(1.0)
    assert np.isnan(cluster_mean(losses, np.zeros(8, dtype=np.int64)).variance)
    assert cluster_mean(losses[:0], np.zeros(0, dtype=np.int64)).rows == 0


def test_peeking_at_entities_that_come_again_errs_to_the_safe_side() -> None:
    """A/A with 60 entities in each arm, each with a level of its own, whose rows come hour by hour."""
    random = np.random.default_rng(13)
    wrong = 0
    for _ in range(200):
        level = random.normal(size=120) + 2
        arm = np.arange(120) % 2
        entity = random.integers(0, 120, (30, 200))
        losses = level[entity] + random.normal(size=entity.shape)
        for hour in range(5, 31, 5):
            who, rows = entity[:hour].ravel(), losses[:hour].ravel()
            means = [cluster_mean(rows[arm[who] == one], who[arm[who] == one]) for one in (0, 1)]
            known = 1 / (means[0].variance + means[1].variance)
            if abs(means[1].value - means[0].value) > half_width(known, sharpest_at(30.0, ALPHA), ALPHA):
                wrong += 1
                break
    assert wrong <= 200 * ALPHA
