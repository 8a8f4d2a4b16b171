import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.clock import parse_time
from charkha.spec.durations import DAY_US
from charkha.spec.model import Split
from charkha.training.split import SplitTooSmall, TimeArray, split_by_time, split_spans

AS_OF = parse_time("2013-04-01")
SPLIT = Split(validation="7d", test="5d")


def an_hour_apart(days: int) -> TimeArray:
    return np.arange(AS_OF - days * DAY_US, AS_OF, DAY_US // 24, dtype=np.int64)


def test_parts_lie_in_time_with_a_gap_of_the_delay() -> None:
    at_us = an_hour_apart(60)
    parts = split_by_time(at_us, at_us + DAY_US // 2, SPLIT, DAY_US, AS_OF)
    back = [(AS_OF - at_us[rows]) / DAY_US for rows in (parts.train, parts.validation, parts.test)]
    assert [(round(days.max(), 2), round(days.min(), 2)) for days in back] == [(60, 15.04), (14, 7.04), (6, 1.04)]


@given(st.integers(0, 10_000), st.integers(1, 100), st.integers(1, 60))
def test_nothing_learnt_was_known_later_than_the_next_part_begins(
    seed: int, longest_lag_hours: int, delay_hours: int
) -> None:
    hour, rng = DAY_US // 24, np.random.default_rng(seed)
    at_us = AS_OF - rng.integers(0, 90 * 24, 2000) * hour
    known_us = at_us + rng.integers(0, longest_lag_hours + 1, 2000) * hour
    spans = split_spans(SPLIT, delay_hours * hour, AS_OF)
    parts = split_by_time(at_us, known_us, SPLIT, delay_hours * hour, AS_OF)
    assert known_us[parts.train].max() < at_us[parts.validation].min()
    assert known_us[parts.validation].max() < at_us[parts.test].min()
    assert known_us[parts.test].max() <= AS_OF
    assert spans.test.holds(at_us[parts.test]).all()


def test_a_shorter_gap_takes_what_is_known_by_now() -> None:
    at_us = an_hour_apart(60)
    split = Split(validation="7d", test="5d", gap="1h")
    parts = split_by_time(at_us, at_us + 20 * DAY_US, split, 20 * DAY_US, AS_OF)
    back = [(AS_OF - at_us[rows]) / DAY_US for rows in (parts.train, parts.validation, parts.test)]
    assert [(round(days.max()), round(days.min())) for days in back] == [(60, 32), (32, 25), (25, 20)]
    with pytest.raises(SplitTooSmall):
        split_by_time(at_us, at_us + 61 * DAY_US, split, 20 * DAY_US, AS_OF)


def test_a_window_bounds_the_training_part_alone() -> None:
    at_us = an_hour_apart(60)
    whole = split_by_time(at_us, at_us, SPLIT, DAY_US, AS_OF)
    recent = split_by_time(at_us, at_us, SPLIT, DAY_US, AS_OF, window_us=10 * DAY_US)
    assert len(recent.train) == 240
    assert recent.train[-1] == whole.train[-1]
    np.testing.assert_array_equal(recent.test, whole.test)


@pytest.mark.parametrize(
    ("days", "known_after_days", "message"),
    [
        (
            15,
            0,
            "the train part of the split has 0 rows .* at least 50 .* until 2013-03-17T00:00:00Z. Train as of a",
        ),
        (60, 10, "the train part .* known in time"),
        (0, 0, "the train part of the split has 0 rows"),
    ],
)
def test_too_few_rows_say_what_to_do(days: int, known_after_days: int, message: str) -> None:
    at_us = an_hour_apart(days)
    known_us = np.full(len(at_us), AS_OF + 1) if known_after_days else at_us
    with pytest.raises(SplitTooSmall, match=message):
        split_by_time(at_us, known_us, SPLIT, DAY_US, AS_OF)


def test_a_part_without_rows_names_its_time_and_its_setting() -> None:
    at_us = an_hour_apart(60)
    at_us = at_us[at_us < AS_OF - 6 * DAY_US]
    with pytest.raises(
        SplitTooSmall,
        match=r"the test part .* 0 rows .* from 2013-03-26T00:00:00Z until 2013-03-31T00:00:00Z. Train as of a time .* "
        r"\(charkha train --as-of TIME\).* Or lengthen Split\(test",
    ) as caught:
        split_by_time(at_us, at_us, SPLIT, DAY_US, AS_OF)
    assert (caught.value.part, caught.value.rows, caught.value.needed) == ("test", 0, 20)
