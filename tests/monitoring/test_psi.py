"""The population stability index: its meaning, and that its interval tells drift from chance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.monitoring.psi import band_of, psi, psi_interval

COUNTS = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)), min_size=1, max_size=20)


@given(COUNTS)
def test_psi_is_never_negative_and_symmetric(pairs: list[tuple[int, int]]) -> None:
    reference, current = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    assert psi(reference, current) >= -1e-12
    assert psi(reference, current) == pytest.approx(psi(current, reference), abs=1e-12)


@given(COUNTS)
def test_interval_holds_the_same_index(pairs: list[tuple[int, int]]) -> None:
    reference, current = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    interval = psi_interval(reference, current)
    assert interval.value == pytest.approx(psi(reference, current))
    assert 0 <= interval.low <= interval.high


@given(COUNTS, st.permutations(range(20)))
def test_order_of_the_bins_does_not_matter(pairs: list[tuple[int, int]], order: list[int]) -> None:
    kept = [position for position in order if position < len(pairs)]
    shuffled = [pairs[position] for position in kept]
    before = psi([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    assert psi([pair[0] for pair in shuffled], [pair[1] for pair in shuffled]) == pytest.approx(before)


def test_psi_by_hand() -> None:
    shares = [0.5, 0.3, 0.2], [0.4, 0.3, 0.3]
    expected = sum((p - q) * np.log(p / q) for q, p in zip(*shares, strict=True))
    million = [[round(share * 1_000_000) for share in side] for side in shares]
    assert psi(*million) == pytest.approx(expected, rel=1e-4)


def test_same_shares_of_other_sizes_are_no_drift() -> None:
    assert psi([10_000, 20_000, 30_000], [1_000, 2_000, 3_000]) < 1e-6


def test_an_empty_bin_gives_a_finite_index() -> None:
    assert 0.25 < psi([500, 500, 0], [0, 500, 500]) < 20


def test_interval_covers_no_drift_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    shares = np.full(11, 1 / 11)
    drawn = [psi_interval(random.multinomial(5_000, shares), random.multinomial(900, shares)) for _ in range(400)]
    assert np.mean([interval.low > 0 for interval in drawn]) < 0.06


@pytest.mark.parametrize("rows", [20, 200, 2_000])
def test_a_small_sample_is_not_a_drift(rows: int) -> None:
    random = np.random.default_rng(4)
    shares = np.full(12, 1 / 12)
    drawn = [psi_interval(random.multinomial(20_000, shares), random.multinomial(rows, shares)) for _ in range(300)]
    assert sum(interval.low > 0.1 for interval in drawn) == 0


def test_interval_covers_the_true_index_of_a_real_drift() -> None:
    random = np.random.default_rng(5)
    q, p = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    truth = float(((p - q) * np.log(p / q)).sum())
    drawn = [psi_interval(random.multinomial(4_000, q), random.multinomial(1_500, p)) for _ in range(400)]
    covered = np.mean([interval.low <= truth <= interval.high for interval in drawn])
    assert 0.92 < covered < 0.98


def test_bands_are_those_of_banks() -> None:
    assert [band_of(each) for each in (0.0, 0.0999, 0.1, 0.2499, 0.25)] == ["stable", "stable", "watch", "watch", "act"]


@pytest.mark.parametrize(
    ("reference", "current", "band"),
    [
        ([1, 1, 0], [4_000, 0, 9_000], None),  # a reference of two rows
        ([2, 0], [2, 0], None),  # the same twice, and nothing known
        ([2, 0], [0, 9_000], None),  # far apart, and nothing known of one side
        ([500] * 12, [4] * 12, None),  # chance alone is beyond 0.1
        ([500] * 12, [0] * 11 + [100], "act"),  # few rows, but beyond doubt
        ([5_000, 5_000], [5_000, 5_000], "stable"),
        ([50_000, 50_000], [30_000, 70_000], "watch"),
        ([50_000, 50_000], [20_000, 80_000], "act"),
        ([500, 500], [350, 650], None),  # 0.09: this side of 0.1 or that
    ],
)
def test_a_band_is_said_where_there_are_rows_enough(reference: list[int], current: list[int], band: str | None) -> None:
    assert psi_interval(reference, current).band == band


def test_two_bands_are_both_said() -> None:
    few, between, one = (
        psi_interval(*pair)
        for pair in (([3, 2], [2, 3]), ([500, 500], [350, 650]), ([50_000, 50_000], [20_000, 80_000]))
    )
    assert [each.words for each in (few, between, one)] == ["too few rows", "stable or watch", "act"]


@given(COUNTS)
def test_a_band_holds_the_whole_interval(pairs: list[tuple[int, int]]) -> None:
    found = psi_interval([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    assert found.band in (None, band_of(found.low))
    assert found.band is None or band_of(found.low) == band_of(found.high)


@pytest.mark.parametrize(("reference", "current"), [([1, 2], [1]), ([], []), ([[1]], [[1]])])
def test_other_bins_are_refused(reference: list[int], current: list[int]) -> None:
    with pytest.raises(ValueError, match="two histograms over the same bins"):
        psi(reference, current)
