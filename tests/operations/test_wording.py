"""Figures in reasons: enough digits to see the interval, never a minus before nothing."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.clock import parse_time
from charkha.operations.steps import NoteFailure, Promote, Reject, StartShadow, Step, Train, TrainFirst
from charkha.operations.wording import (
    count_of,
    digits_for,
    figure,
    length_of,
    metric_name,
    moment,
    percent,
    step_in_words,
    with_interval,
)
from charkha.spec.durations import DAY_US, HOUR_US
from charkha.spec.model import METRICS, ROW_LOSSES
from charkha.training.metrics import Estimate


@pytest.mark.parametrize(
    ("half", "digits"), [(0.0, 3), (5.0, 3), (0.2, 3), (0.0125, 3), (0.009, 4), (0.0007, 5), (1e-9, 6)]
)
def test_digits_show_the_half_width_with_two_figures(half: float, digits: int) -> None:
    assert digits_for(Estimate(1.0, 1.0 - half, 1.0 + half, 9)) == digits


def test_a_value_with_its_interval() -> None:
    assert with_interval(Estimate(0.702, 0.695, 0.709, 9), 3) == "0.702 (95 % 0.695 to 0.709)"
    assert (
        with_interval(Estimate(-0.021, -0.034, 0.009, 9), 3, confidence=0.999, signed=True)
        == "-0.021 (99.9 % -0.034 to +0.009)"
    )


@given(st.floats(-1e-4, 1e-4), st.booleans())
def test_nothing_is_never_negative(value: float, signed: bool) -> None:
    assert figure(value, 3, signed=signed) == ("+0.000" if signed else "0.000")


@pytest.mark.parametrize(
    ("duration_us", "words"),
    [
        (DAY_US, "1 day"),
        (7 * DAY_US, "7 days"),
        (36 * HOUR_US, "36 hours"),
        (80 * HOUR_US, "3 days"),
        (HOUR_US, "1 hour"),
        (HOUR_US // 5, "12 minutes"),
        (0, "0 minutes"),
    ],
)
def test_lengths_in_words(duration_us: int, words: str) -> None:
    assert length_of(duration_us) == words


def test_counts_percentages_and_moments() -> None:
    assert [count_of(count, "label") for count in (0, 1, 5412)] == ["0 labels", "1 label", "5,412 labels"]
    assert [percent(share) for share in (0.95, 0.999, 0.9)] == ["95 %", "99.9 %", "90 %"]
    assert moment(parse_time("2013-04-01T06:30:59Z")) == "2013-04-01 06:30 UTC"


def test_every_metric_has_a_name_people_use() -> None:
    for metric in {name for names in (*METRICS.values(), *ROW_LOSSES.values()) for name in names}:
        assert "_" not in metric_name(metric)
    assert metric_name("calibration_error") == "calibration error"


WHY: dict[str, Any] = {"reason": "because", "evidence": {}}
OF_V3: dict[str, Any] = {"version": "v3", "generation": 2, **WHY}


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (TrainFirst(run_key="a", as_of_us=1, **WHY), "train the first champion"),
        (Train(run_key="a", as_of_us=1, **WHY), "train"),
        (NoteFailure(run_key="a", **WHY), "write down that a training failed"),
        (StartShadow(**OF_V3), "start v3 as a shadow"),
        (Promote(**OF_V3), "promote v3"),
        (Reject(**OF_V3), "reject v3"),
    ],
)
def test_a_step_is_said_in_words(step: Step, words: str) -> None:
    assert step_in_words(step) == words
