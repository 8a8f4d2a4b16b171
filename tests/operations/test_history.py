"""Too little history: a choice that is named would do, and none is named where none would."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from charkha.monitoring.performance import Span
from charkha.operations.history import LEAST_DAYS, choice_of
from charkha.spec.durations import DAY_US, parse_duration

NOW_US = 20_000 * DAY_US
DAYS = st.sets(st.integers(1, 90), max_size=30)
LENGTHS = st.tuples(st.sampled_from(["1m", "6h", "1d", "7d", "60d", "4000d"]), st.sampled_from(["1m", "5d", "28d"]))


def healthy_of(window_us: int, healthy_us: int) -> Span:
    return Span(NOW_US - window_us - healthy_us, NOW_US - window_us)


def days_in(span: Span, ago: set[int]) -> int:
    return sum(span.since_us <= NOW_US - each * DAY_US < span.until_us for each in ago)


@given(DAYS, LENGTHS)
def test_a_choice_that_is_named_would_do(ago: set[int], given: tuple[str, str]) -> None:
    at_us = pl.Series("_at_us", [NOW_US - each * DAY_US for each in ago], pl.Int64)
    window_us, healthy_us = map(parse_duration, given)
    said = choice_of(at_us, NOW_US, (window_us, healthy_us), healthy_of)
    _, does, options = said.partition("This would do: ")
    if does:
        words = dict(zip(options.split()[::2], map(parse_duration, options.split()[1::2]), strict=True))
        chosen = healthy_of(words.get("--window", window_us), words.get("--healthy", healthy_us))
        assert days_in(chosen, ago) >= LEAST_DAYS
    else:
        assert "no --window or --healthy would do" in said
        assert days_in(Span(0, NOW_US - min(window_us, DAY_US)), ago) < LEAST_DAYS


def test_an_open_incident_that_began_at_the_start_is_named() -> None:
    at_us = pl.Series("_at_us", [NOW_US - each * DAY_US for each in range(1, 31)], pl.Int64)
    began_us = NOW_US - 28 * DAY_US
    said = choice_of(at_us, NOW_US, (7 * DAY_US, 28 * DAY_US), lambda w, h: Span(began_us - h, began_us))
    assert said.startswith("In all there are 30 predictions on 30 days, since ")
    assert "no --window or --healthy would do while its incident is open" in said
