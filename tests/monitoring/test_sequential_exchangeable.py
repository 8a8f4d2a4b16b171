"""A bet that members are not alike pays at most its stake on average while they are, whatever the share."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from charkha.monitoring.sequential.exchangeable import Exchangeable


@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 60))
def test_its_mean_is_at_most_one_over_all_ways_to_deal_the_hits(rows: int, others: int, hits: int) -> None:
    every = rows + others
    hits = min(hits, every)
    dealt = np.arange(rows + 1, dtype=np.float64)[:, None]
    log_e = Exchangeable.of(1).log_e(dealt, np.full_like(dealt, rows), np.full_like(dealt, hits / every))
    chance = hypergeom(every, hits, rows).pmf(dealt[:, 0])
    mean = (chance[:, None] * np.where(chance[:, None] > 0, np.exp(log_e[:, 0]), 0.0)).sum(axis=0)
    assert np.all(mean <= 1 + 1e-9)


def test_a_member_that_differs_is_told_from_the_others() -> None:
    null = Exchangeable.of(1)
    same, more = (null.log_e(np.array([[hits]]), np.array([[100.0]]), np.array([[0.2]])).max() for hits in (20.0, 50.0))
    assert same <= 0
    assert more > 15
