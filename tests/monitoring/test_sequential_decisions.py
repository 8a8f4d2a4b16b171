"""Budgets, discoveries, onsets and blocks: what an alarm needs, which of many are real, since when, of which hours."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.monitoring.sequential.arrays import FloatArray
from charkha.monitoring.sequential.blocks import block_sums, slots, usual, usual_apart
from charkha.monitoring.sequential.budget import HOURS_PER_YEAR, Budget
from charkha.monitoring.sequential.discoveries import e_bh, over
from charkha.monitoring.sequential.onset import onset
from charkha.monitoring.sequential.trail import Trail


def test_a_budget_by_hand() -> None:
    assert Budget(1.0, 1.0, 40).looks_between == pytest.approx(40 * HOURS_PER_YEAR)
    assert Budget(2.0, 1 / 24, 40).looks_between == pytest.approx(40 * 365.25 / 2)
    assert Budget(1e9).log_level == 0, "an alarm at every look, and no less"


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=20), st.floats(0.1, 10))
def test_shares_of_a_budget_add_up_to_it(weights: list[float], alarms_per_year: float) -> None:
    budget = Budget(alarms_per_year, 1.0, len(weights))
    spent = budget.looks_per_year / np.exp(budget.shared(weights))
    assert spent.sum() == pytest.approx(alarms_per_year)


@pytest.mark.parametrize("wrong", [{"alarms_per_year": 0.0}, {"looks_per_hour": -1.0}, {"checks": 0}])
def test_no_budget_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"expected {next(iter(wrong))} above 0"):
        Budget(**wrong)  # type: ignore[arg-type]


def test_weights_of_others_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 2 weights above 0, got"):
        Budget(checks=2).shared([1.0, 0.0])


def test_e_bh_by_hand() -> None:
    values = np.log([100.0, 1.0, 30.0, 10.0])
    assert e_bh(values, 0.1).tolist() == [True, False, True, False]
    assert e_bh(values, 0.2).tolist() == [True, False, True, True]
    assert e_bh([0.0], 0.1).tolist() == [False]
    assert e_bh([], 0.1).tolist() == []
    with pytest.raises(ValueError, match="alpha between 0 and 1"):
        e_bh([1.0], 0.0)


def test_few_discoveries_are_wrong() -> None:
    """100 dependent Gaussian checks of which 10 moved by 4: at most 10 % of discoveries wrong, and most found."""
    random, alpha, wrong, found = np.random.default_rng(1), 0.1, [], []
    for _ in range(2_000):
        z = 0.6 * random.normal() + 0.8 * random.normal(size=100)
        z[:10] += 4
        discovered = e_bh(4 * z - 8, alpha)
        wrong.append(discovered[10:].sum() / max(discovered.sum(), 1))
        found.append(discovered[:10].mean())
    assert np.mean(wrong) <= alpha
    assert np.mean(found) > 0.5


def test_few_discoveries_of_trails_are_wrong() -> None:
    """60 streams, a third of which moved in the middle: looked at after a patience of 200 blocks."""
    random, steps, wrong, found = np.random.default_rng(3), np.array([0.5, 1.0, 2.0]), [], []
    for _ in range(40):
        z = random.normal(size=(200, 60))
        z[100:, :20] += 1
        trail = Trail.start(60, 3)
        for block, each in enumerate(z):
            trail = trail.looked(block, each[:, None] * steps - steps**2 / 2, np.ones(60))
        discovered = e_bh(over(trail.evidence, len(z)), 0.1)
        wrong.append(discovered[20:].sum() / max(discovered.sum(), 1))
        found.append(discovered[:20].mean())
    assert np.mean(wrong) <= 0.1
    assert np.mean(found) > 0.9


def test_the_first_discovery_needs_what_the_budget_asks_for() -> None:
    budget = Budget(0.1, 1.0, 40)
    evidence = np.full(40, -np.inf)
    evidence[3] = budget.log_level
    assert e_bh(over(evidence + 1e-9, budget.looks_per_year), 0.1).sum() == 1
    assert e_bh(over(evidence - 1e-9, budget.looks_per_year), 0.1).sum() == 0


def test_the_interval_of_an_onset_covers_it() -> None:
    random, steps, began = np.random.default_rng(2), np.array([0.5, 1.0, 2.0]), 50
    covered, apart = [], []
    for _ in range(500):
        z = random.normal(size=70)
        z[began:] += 1.5
        found = onset(z[:, None] * steps - steps**2 / 2)
        covered.append(found.earliest <= began <= found.latest)
        apart.append(abs(found.began - began))
        assert found.earliest <= found.began <= found.latest
    assert np.mean(covered) > 0.92
    assert np.median(apart) <= 1


def test_an_onset_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one block"):
        onset(np.empty((0, 3)))


@given(st.integers(-500, 500_000), st.integers(0, 100), st.sampled_from([1, 6, 24]))
def test_blocks_are_the_whole_ones_and_have_one_number(first: int, hours: int, length: int) -> None:
    hourly = np.arange(first, first + hours, dtype=np.float64)[:, None]
    block, sums = block_sums(hourly, first, length)
    numbers, counts = np.unique(hourly[:, 0] // length, return_counts=True)
    whole = numbers[counts == length]
    assert sums[:, 0] == pytest.approx([sum(range(int(b) * length, int(b + 1) * length)) for b in whole])
    assert len(whole) == 0 or block == whole[0]


def test_blocks_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one tile"):
        block_sums(np.ones((3, 1)), 0, 0)


def test_usual_is_that_of_the_same_hour_in_other_weeks() -> None:
    slot = slots(0, 4 * 168, 168)
    counts: FloatArray = (100.0 * (1 + slot % 24))[:, None].astype(np.float64)
    counts[168 + 5] = 9_999  # one hour of the second week
    per = np.ones_like(counts)
    apart = usual_apart(counts, per, slot)
    assert apart[168 + 5] == pytest.approx(600, rel=0.01), "it has no part in what is expected of itself"
    assert apart[5] == pytest.approx((600 + 600 + 9_999) / 3, rel=0.01)
    assert usual(counts, per, slot, np.array([23]))[0] == pytest.approx(2_400, rel=0.01)
    assert np.isnan(usual(counts[:20], per[:20], slot[:20], np.array([100]))).all()
    assert np.isnan(usual_apart(counts[:168], per[:168], slot[:168])).all(), "one week has no other"
