"""The rise of a share: known values, coverage, and what happens at the edges."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.monitoring.shares import share_rise, wilson


@given(st.integers(1, 10_000), st.integers(1, 10_000), st.data())
def test_interval_holds_the_rise(rows: int, reference_rows: int, data: st.DataObject) -> None:
    hits, reference_hits = data.draw(st.integers(0, rows)), data.draw(st.integers(0, reference_rows))
    rise = share_rise(hits, rows, reference_hits, reference_rows)
    assert rise.low <= rise.value + 1e-12
    assert rise.value <= rise.high + 1e-12
    assert rise.low >= -1 - 1e-12
    assert rise.high <= 1 + 1e-12


def test_newcombe_by_hand() -> None:
    """The worked example of Newcombe (1998), method 10: 56/70 against 48/80."""
    rise = share_rise(56, 70, 48, 80)
    assert (rise.value, rise.low, rise.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_wilson_of_none_is_not_certain() -> None:
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=5e-5)


def test_interval_covers_the_truth() -> None:
    random = np.random.default_rng(1)
    drawn = [share_rise(random.binomial(300, 0.05), 300, random.binomial(900, 0.02), 900) for _ in range(1_000)]
    assert 0.92 < np.mean([rise.low <= 0.03 <= rise.high for rise in drawn]) < 0.99


@pytest.mark.parametrize(("rows", "reference_rows"), [(0, 10), (10, 0)])
def test_no_rows_are_refused(rows: int, reference_rows: int) -> None:
    with pytest.raises(ValueError, match="rows on both sides"):
        share_rise(0, rows, 0, reference_rows)
