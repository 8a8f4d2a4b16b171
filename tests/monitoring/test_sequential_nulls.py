"""What is healthy: e-values of healthy blocks have a mean of at most 1, also on average over histories; others more."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.monitoring.sequential.arrays import FloatArray
from charkha.monitoring.sequential.counts import Counts
from charkha.monitoring.sequential.null import LEAST_BLOCKS, Null
from charkha.monitoring.sequential.ranks import STEPS, Ranks
from charkha.monitoring.sequential.shares import RisingShares, Shares
from charkha.monitoring.sequential.trail import mixed

BLOCKS, CHECKS = 672, 200


def mean_e(null: Null, *observed: FloatArray) -> FloatArray:
    """The mean e-value of each alternative over blocks and checks."""
    means: FloatArray = np.exp(null.log_e(*observed)).mean(axis=(0, 1))
    return means


def within(means: FloatArray) -> bool:
    """Say whether means of 134,000 e-values are at most 1, but for chance."""
    return bool(np.all(means < 1.15))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.5])
@pytest.mark.parametrize("correlation", [0.0, 0.01])
def test_healthy_shares_are_no_evidence(share: float, correlation: float) -> None:
    random = np.random.default_rng(1)
    rows = random.integers(0, 2_000, (2 * BLOCKS, CHECKS))
    own = np.full(rows.shape, share)
    if share and correlation:
        scale = 1 / correlation - 1
        own = random.beta(share * scale, (1 - share) * scale, rows.shape)
    hits, size = random.binomial(rows, own).astype(np.float64), rows.astype(np.float64)
    assert within(mean_e(Shares.of(hits[:BLOCKS], size[:BLOCKS]), hits[BLOCKS:], size[BLOCKS:]))


@pytest.mark.parametrize("dispersion", [0.0, 0.05])
@pytest.mark.parametrize("level", [0.1, 20.0, 5_000.0])
def test_healthy_counts_are_no_evidence(dispersion: float, level: float) -> None:
    random = np.random.default_rng(2)
    usual = np.full((2 * BLOCKS, CHECKS), level)
    rate = random.gamma(1 / dispersion, dispersion, usual.shape) * level if dispersion else usual
    counts = random.poisson(rate).astype(np.float64)
    assert within(mean_e(Counts.of(counts[:BLOCKS], usual[:BLOCKS]), counts[BLOCKS:], usual[BLOCKS:]))


@pytest.mark.parametrize("kind", ["normal", "lognormal", "t3", "uniform", "few values", "constant"])
@pytest.mark.parametrize("blocks", [30, 672])
def test_healthy_values_are_no_evidence(kind: str, blocks: int) -> None:
    random = np.random.default_rng(3)
    shape = (blocks + BLOCKS, CHECKS)
    values = {
        "normal": random.normal(size=shape),
        "lognormal": random.lognormal(sigma=1.5, size=shape),
        "t3": random.standard_t(3, shape),
        "uniform": random.random(shape),
        "few values": random.integers(0, 3, shape).astype(np.float64),
        "constant": np.ones(shape),
    }[kind]
    log_e = Ranks.of(values[:blocks]).log_e(values[blocks:])
    near = [alternative for alternative, step in enumerate([*STEPS, *STEPS]) if step <= 2]
    assert within(np.exp(log_e).mean(axis=(0, 1))[near])
    # The mean of the far alternatives is that of a few values that no history of this length can place. What alarms
    # need is less: that large e-values are rare.
    for large in (10, 100, 1_000):
        assert (mixed(log_e) > np.log(large)).mean() < 1 / large


def test_what_changed_is_evidence() -> None:
    random = np.random.default_rng(4)
    rows = np.full((BLOCKS, 1), 600.0)
    shares = Shares.of(random.binomial(600, 0.02, (BLOCKS, 1)).astype(np.float64), rows)
    counts = Counts.of(random.poisson(600, (BLOCKS, 1)).astype(np.float64), rows)
    values = Ranks.of(random.normal(size=(BLOCKS, 1)))
    one = np.full((1, 1), 600.0)
    for null, observed, rises in (
        (shares, (one, one), True),
        (shares, (np.full((1, 1), 60.0), one), True),
        (counts, (np.zeros((1, 1)), one), False),
        (counts, (3 * one, one), True),
        (values, (np.full((1, 1), 1e6),), True),
        (values, (np.full((1, 1), -1e6),), False),
    ):
        log_e = null.log_e(*observed)[0, 0]
        half = len(log_e) // 2
        found, other = (log_e[:half], log_e[half:]) if rises else (log_e[half:], log_e[:half])
        assert found.max() > 15
        assert other.max() < 0


def test_a_value_far_out_is_as_rare_as_the_history_can_tell() -> None:
    values = Ranks.of(np.random.default_rng(5).normal(size=(BLOCKS, 3)))
    assert values.p_above(np.full((1, 3), 1e9))[0] == pytest.approx(values.resolution)
    three = values.p_above(np.full((1, 3), 3.0))
    assert np.all((three > 0.00135) & (three < 0.0125)), "rather too likely than too rare"


@given(st.integers(0, 2**32 - 1))
def test_a_value_further_out_is_not_less_rare(seed: int) -> None:
    random = np.random.default_rng(seed)
    values = Ranks.of(random.standard_t(3, (60, 1)))
    above = values.p_above(np.sort(random.standard_t(1, (50, 1)), axis=0))[:, 0]
    assert np.all(np.diff(above) <= 1e-12)


def test_a_wider_null_says_less() -> None:
    random = np.random.default_rng(6)
    hits, rows = random.binomial(600, 0.02, (BLOCKS, 2)).astype(np.float64), np.full((BLOCKS, 2), 600.0)
    null = Shares.of(hits, rows)
    wide = null.widened(np.array([4.0, 1.0]), np.array([1.0, 9.0]))
    flood = (np.full((1, 2), 100.0), rows[:1])
    narrow_e, wide_e = null.log_e(*flood)[0], wide.log_e(*flood)[0]
    assert wide_e[0, 3] < narrow_e[0, 3] / 4
    assert wide_e[1, 3] < narrow_e[1, 3]
    assert wide.only(np.array([False, True])).alike.tolist() == [9.0]


def test_no_data_is_no_evidence() -> None:
    random = np.random.default_rng(7)
    values = random.normal(size=(BLOCKS, 2))
    values[::3, 1] = np.nan
    assert np.all(Ranks.of(values).log_e(np.full((1, 2), np.nan)) == 0)
    rows = np.full((BLOCKS, 2), 50.0)
    shares = Shares.of(random.binomial(50, 0.1, (BLOCKS, 2)).astype(np.float64), rows)
    assert np.abs(shares.log_e(np.zeros((1, 2)), np.zeros((1, 2)))).max() < 1e-6
    counts = Counts.of(random.poisson(50, (BLOCKS, 2)).astype(np.float64), rows)
    assert np.all(counts.log_e(np.full((1, 2), 9.0), np.full((1, 2), np.nan)) == 0)


def test_a_share_that_follows_the_week_is_judged_by_its_hour() -> None:
    random = np.random.default_rng(8)
    usual = np.where(np.arange(BLOCKS) % 24 < 12, 0.02, 0.3)[:, None]
    rows = np.full((BLOCKS, 1), 600.0)
    hits = random.binomial(600, usual).astype(np.float64)
    by_hour, flat = Shares.of(hits, rows, usual), Shares.of(hits, rows)
    night = (np.full((1, 1), 180.0), rows[:1])
    assert by_hour.log_e(*night, usual[:1]).max() > 20 > flat.log_e(*night).max()
    assert by_hour.log_e(*night, usual[12:13]).max() < 1
    unknown = by_hour.log_e(*night, np.full((1, 1), np.nan))
    assert np.all(unknown == by_hour.log_e(*night)), "of an hour that is not known, the share of all"


def test_a_history_that_is_too_short_is_refused() -> None:
    few = np.ones((LEAST_BLOCKS - 1, 2))
    for learn in (lambda: Shares.of(few, few), lambda: Counts.of(few, few), lambda: Ranks.of(few)):
        with pytest.raises(ValueError, match="has 13 blocks of healthy history, and 14 are needed"):
            learn()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="hits between 0 and the rows"):
        Shares.of(np.full((20, 1), 3.0), np.full((20, 1), 2.0))
    with pytest.raises(ValueError, match="hits between 0 and the rows"):
        Shares.of(np.full((20, 1), np.nan), np.full((20, 1), 2.0))
    with pytest.raises(ValueError, match="counts that are not negative"):
        Counts.of(np.full((20, 1), -3.0), np.full((20, 1), 2.0))


def test_a_history_of_single_rows_does_not_make_larger_blocks_a_wonder() -> None:
    """One row an hour cannot tell how alike the rows of an hour are; then forty come, with the same share of hits."""
    random = np.random.default_rng(5)
    history = np.ones((150, 20))
    null = Shares.of(random.binomial(1, 0.06, history.shape).astype(float), history)
    rows = np.full((200, 20), 40.0)
    log_e = null.log_e(random.binomial(40, 0.06, rows.shape).astype(float), rows)
    assert np.median(log_e.sum(axis=0).max(axis=-1)) < 0


def test_shares_say_the_same_of_many_blocks_as_of_each() -> None:
    """Of many blocks they are read from tables, of few they are worked out."""
    random = np.random.default_rng(9)
    rows = random.integers(0, 40, (BLOCKS, 5)).astype(np.float64)
    hits = random.binomial(rows.astype(np.int64), 0.1).astype(np.float64)
    null = Shares.of(hits, rows)
    blocks = [null.log_e(hits[[block]], rows[[block]])[0] for block in range(BLOCKS)]
    np.testing.assert_array_equal(null.log_e(hits, rows), np.stack(blocks))
    expected = rows * (hits.sum(axis=0) / rows.sum(axis=0))
    np.testing.assert_array_equal(null.surprise(hits, rows), null.log_e(hits, rows) - null.log_e(expected, rows))


def test_where_only_a_rise_matters_the_evidence_is_that_of_the_rise() -> None:
    random = np.random.default_rng(4)
    rows = np.full((200, 3), 50.0)
    hits = random.binomial(50, 0.2, rows.shape).astype(float)
    both, rising = Shares.of(hits, rows), RisingShares.of(hits, rows)
    assert np.array_equal(rising.log_e(hits, rows), both.log_e(hits, rows)[..., : rising.log_e(hits, rows).shape[-1]])
    assert type(rising.only(np.array([True, False, True]))) is RisingShares


def test_three_bursts_are_enough_where_hits_come_in_bursts() -> None:
    bursts = np.zeros((600, 1))
    bursts[::200] = 10.0
    rows = np.full((600, 1), 10.0)
    (told,) = Shares.of(bursts, rows).log_e(np.full((1, 1), 10.0), np.full((1, 1), 10.0))
    assert 3.0 < told.max() < 6.0  # no more than the odds of a burst, for its rows hang together
    assert told.max() == told[0, 5]  # and more than a rise by four says
