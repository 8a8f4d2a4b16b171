"""A key's rate: no more calls than it allows in any stretch of time, and none refused that it has left."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.serving.allowance import Allowance

RATES = st.floats(0.001, 1e5)


class Watch:
    """A clock that is set by hand (s)."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_second_of_calls_may_come_at_once_and_then_one_at_a_time() -> None:
    watch = Watch()
    allowance = Allowance(5, watch)
    assert [allowance.take() for _ in range(6)] == [0, 0, 0, 0, 0, pytest.approx(0.2)]
    watch.now += 0.2001
    assert allowance.take() == 0
    assert allowance.take() > 0
    watch.now += 3600
    assert [allowance.take() == 0 for _ in range(6)] == [True] * 5 + [False]


@given(rate=RATES, pauses=st.lists(st.floats(0, 5), min_size=1, max_size=60))
def test_no_stretch_of_time_holds_more_calls_than_allowed(rate: float, pauses: list[float]) -> None:
    watch = Watch()
    allowance = Allowance(rate, watch)
    taken: list[float] = []
    for pause in pauses:
        watch.now += pause
        if allowance.take() == 0:
            taken.append(watch.now)
    for first, begin in enumerate(taken):
        for last, end in enumerate(taken[first:], first):
            assert last - first + 1 <= max(1.0, rate) + (end - begin) * rate + 1e-6


@given(rate=RATES, early=st.floats(0, 0.9))
def test_who_waits_as_told_is_let_in_and_not_sooner(rate: float, early: float) -> None:
    watch = Watch()
    allowance = Allowance(rate, watch)
    for _ in range(math.ceil(max(1.0, rate))):
        allowance.take()
    wait = allowance.take()
    if wait == 0:
        return
    watch.now += wait * early
    assert allowance.take() > 0
    watch.now += wait * (1 - early) + 1e-6
    assert allowance.take() == 0
