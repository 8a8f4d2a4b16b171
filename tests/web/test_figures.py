from math import inf, nan

import pytest

from charkha.operations.replay_summary import Interval
from charkha.web.figures import (
    date_text,
    decimals_for,
    interval_text,
    metric_text,
    month_end,
    percent_text,
    seconds_text,
    size_text,
)


@pytest.mark.parametrize(
    ("value", "decimals", "signed", "expected"),
    [
        (0.77149, 3, False, "0.771"),
        (0.012, 3, True, "+0.012"),
        (-0.0121, 3, True, "−0.012"),
        (-0.0001, 3, True, "+0.000"),
        (None, 3, False, "–"),
        (inf, 3, False, "–"),
    ],
)
def test_metrics(value: float | None, decimals: int, signed: bool, expected: str) -> None:
    assert metric_text(value, decimals, signed=signed) == expected


def test_decimals_follow_the_size() -> None:
    assert [decimals_for([value, None]) for value in (0.8, 12.5, 4_000.0, inf)] == [3, 2, 0, 3]


def test_intervals_without_bounds_say_nothing() -> None:
    assert interval_text(Interval(0.5, 0.4, 0.6, 9), 2) == "0.40 to 0.60"
    assert interval_text(Interval(0.5, None, None, 9), 2) == ""


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, "0"), (0.137, "0.14"), (2.22e-16, "2.2e-16"), (1e-9, "1e-9"), (1.5e10, "1.5e+10"), (inf, "∞"), (nan, "–")],
)
def test_sizes(value: float, expected: str) -> None:
    assert size_text(value) == expected


def test_shares_lengths_and_dates() -> None:
    assert [percent_text(share) for share in (0.0, 0.004, 0.123, 1.0, nan)] == ["0 %", "0.4 %", "12 %", "100 %", "–"]
    assert [seconds_text(length) for length in (4.4, 59.6, 125)] == ["4 s", "1 min 0 s", "2 min 5 s"]
    assert date_text("2013-04-01T23:30:00-05:00") == "2 Apr 2013"
    assert month_end("2013-12").isoformat() == "2014-01-01T00:00:00+00:00"
