"""The newest known row, against loops over rows."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charkha.features.newest import NOBODY, Arrivals, newest_known

small = st.integers(-1, 3)
times = st.integers(-20, 20)
far = st.sampled_from([0, -(1 << 60), 1 << 60])  # so far apart that keys and times do not fit one integer
rows = st.lists(st.tuples(small, times, times), max_size=30)
asked = st.lists(st.tuples(small, times), min_size=1, max_size=10)


def obvious(history: list[tuple[int, int, int]], code: int, at_us: int, max_age_us: int | None) -> int:
    arrived = sorted(range(len(history)), key=lambda place: history[place][1])
    known = [place for place in arrived if code >= 0 and history[place][0] == code and history[place][1] <= at_us]
    newest = NOBODY
    for place in known:
        if newest == NOBODY or history[place][2] >= history[newest][2]:
            newest = place
    if newest != NOBODY and max_age_us is not None and at_us - history[newest][2] > max_age_us:
        return NOBODY
    return newest


@settings(max_examples=500, deadline=None)
@given(rows, asked, st.none() | st.integers(0, 20), far)
def test_each_question_gets_the_row_that_loops_find(history: Any, questions: Any, max_age: Any, away: int) -> None:
    history = [(code, known, event + (away if place % 2 else 0)) for place, (code, known, event) in enumerate(history)]
    columns = [np.array(column, np.int64) for column in zip(*history, strict=True)] or [np.empty(0, np.int64)] * 3
    codes, at_us = (np.array(column, np.int64) for column in zip(*questions, strict=True))
    expected = [obvious(history, code, at, max_age) for code, at in questions]
    assert newest_known(Arrivals(*columns), codes, at_us, max_age).tolist() == expected


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_questions_may_come_in_any_order(order: slice) -> None:
    random = np.random.default_rng(3)
    history = Arrivals(*(random.integers(0, high, 500) for high in (5, 100, 100)))
    codes, at_us = random.integers(0, 6, 200), np.sort(random.integers(0, 100, 200))
    found = newest_known(history, codes[order], at_us[order])
    assert (found == newest_known(history, codes, at_us)[order]).all()
