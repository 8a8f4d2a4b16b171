from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from charkha.web.scales import Scale, apart, band_path, line_path, nice_ticks, runs

FIGURES = st.floats(-1e6, 1e6)


def test_scale_maps_its_ends_and_runs_downwards() -> None:
    scale = Scale(0.7, 0.8, 300, 20)

    assert (scale(0.7), scale(0.75), scale(0.8)) == (300, 160, 20)
    assert (scale(0.1), scale(9.0)) == (300, 20)


def test_scale_without_extent_puts_all_in_the_middle() -> None:
    assert Scale(0.5, 0.5, 0, 100)(0.5) == 50


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.741, 0.8, (0.74, 0.76, 0.78, 0.8)), (0, 1, (0.0, 0.5, 1.0)), (3, 97, (0, 50, 100)), (5, 5, (4, 6))],
)
def test_nice_ticks_are_round(low: float, high: float, expected: tuple[float, ...]) -> None:
    assert nice_ticks(low, high) == expected


@given(low=FIGURES, span=st.floats(1e-4, 1e6), about=st.integers(2, 9))
def test_nice_ticks_enclose_and_ascend(low: float, span: float, about: int) -> None:
    assume(span > 1e-6 * abs(low))

    ticks = nice_ticks(low, low + span, about)

    slack = 1e-5 * span
    assert ticks[0] <= low + slack
    assert ticks[-1] >= low + span - slack
    assert all(one < other for one, other in pairwise(ticks))
    assert 2 <= len(ticks) <= about + 2


def test_nice_ticks_refuse_a_range_upside_down() -> None:
    with pytest.raises(ValueError, match="expected low ≤ high, got 2 and 1"):
        nice_ticks(2, 1)


def test_lines_break_at_gaps() -> None:
    assert line_path([(0, 1), (2, 3.5), None, (4, 5)]) == "M0,1 L2,3.5 M4,5"
    assert line_path([None]) == ""


def test_bands_go_out_above_and_back_below() -> None:
    assert band_path([(0, 9), (1, 8)], [(0, 2), (1, 3)]) == "M0,2 L1,3 L1,8 L0,9 Z"


@given(st.lists(st.none() | st.tuples(FIGURES, FIGURES)))
def test_runs_keep_every_point_and_no_gap(points: list[tuple[float, float] | None]) -> None:
    found = runs(points)

    assert [point for run in found for point in run] == [point for point in points if point is not None]
    assert all(found)


@given(first=FIGURES, second=FIGURES, gap=st.floats(0, 100))
def test_apart_leaves_the_gap_and_the_middle(first: float, second: float, gap: float) -> None:
    one, other = apart(first, second, gap)

    assert abs(one - other) >= gap - 1e-6
    assert (one + other) / 2 == pytest.approx((first + second) / 2, abs=1e-6)
