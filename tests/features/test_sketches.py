"""What sketches promise: their error beyond what they hold exactly, and states of one size."""

import math
from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charkha.features.aggregations.distinct import Distinct
from charkha.features.aggregations.frequent import TopK
from charkha.features.aggregations.mixing import hash_of, hashes, values_of
from charkha.features.aggregations.quantile import Quantile
from charkha.features.fingerprints import fingerprint, fingerprints

finite = st.floats(allow_nan=False, allow_infinity=False)


def answer(aggregation: Any, values: Any) -> Any:
    values = np.array(values, np.float64)
    none = np.zeros(len(values), np.int64)
    state = aggregation.merge(aggregation.prepare(values, none), np.array([0]), np.array([len(values)]))
    assert state.shape == (1, aggregation.width)
    return aggregation.finalise(state, np.zeros(1, np.int64))[0]


@pytest.mark.parametrize("count", [1, 5, 20, 100, 300, 1000, 20_000])
def test_distinct_keeps_its_standard_error(count: int) -> None:
    """Over 30 sets: no bias beyond two standard errors of the mean, and the spread that the docstring tells."""
    random = np.random.default_rng(count)
    sets = (random.random(count) for _ in range(30))
    errors = np.array([answer(Distinct(), values)[0] / count - 1 for values in sets])
    assert abs(errors.mean()) < 0.065 * 2.5 / math.sqrt(30) + 0.002
    assert np.sqrt((errors**2).mean()) < 0.065 * 1.4
    if count <= 20:
        assert np.abs(errors).max() * count < 2


@settings(deadline=None)
@given(st.lists(finite, min_size=1, max_size=64), st.floats(0, 1))
def test_quantiles_of_few_values_are_within_a_bin(values: list[float], q: float) -> None:
    expected = sorted(values)[math.floor(q * (len(values) - 1))]
    (found,) = answer(Quantile((q,)), values)
    if abs(expected) < 2.0**-41:
        assert found == 0.0
    elif abs(expected) < 2.0**87:
        assert math.isclose(found, expected, rel_tol=0.0109)
    else:
        assert abs(found) > 2.0**86


@pytest.mark.parametrize(("ratio", "error"), [(3.8, 0.0109), (14, 0.0217), (200, 0.0434), (40_000, 0.0867)])
def test_quantiles_lose_what_the_page_says_as_values_spread(ratio: float, error: float) -> None:
    values = np.exp(np.random.default_rng(7).random(20_000) * math.log(ratio)) * 17.0
    quantiles = (0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 1.0)
    found = answer(Quantile(quantiles), values)
    expected = np.quantile(values, quantiles, method="lower")
    assert np.abs(found / expected - 1).max() < error


def test_the_most_frequent_are_exact_until_there_are_too_many_values() -> None:
    random = np.random.default_rng(3)
    values = random.zipf(1.3, 5000) % 48
    expected = sorted(Counter(values.tolist()).items(), key=lambda item: (-item[1], item[0]))[:5]
    assert answer(TopK(5), values).tolist() == [value for value, _ in expected]
    more = np.append(values, np.arange(1000, 1100))
    counts, found = Counter(more.tolist()), answer(TopK(5), more)
    assert [counts[value] for value in found] == sorted((counts[value] for value in found), reverse=True)


@given(st.lists(finite, min_size=1))
def test_a_hash_is_one_values_and_gives_it_back(values: list[float]) -> None:
    column = np.array(values) + 0.0
    mixed = hashes(column)
    assert mixed.tolist() == [hash_of(value) for value in values]
    assert values_of(mixed).tolist() == column.tolist()
    assert hash_of(-0.0) == hash_of(0.0)


@pytest.mark.parametrize(
    "values", [["a", "", None, "a", "ü\x00"], [1, -1, 2**62, 2**62 + 1, None], [True, None, False]], ids=str
)
def test_a_column_has_the_fingerprints_of_its_values(values: list[Any]) -> None:
    column = fingerprints(pl.Series(values))
    assert np.array_equal(column, [fingerprint(value) for value in values], equal_nan=True)
    assert len({*column.tolist()} - {math.nan}) >= len({*values} - {None})
    assert np.nanmax(column) < 2**53


def test_fingerprints_are_the_same_in_every_release() -> None:
    assert fingerprint("charkha") == fingerprints(pl.Series(["charkha"]))[0] == 5824222542956052.0
    assert hash_of(1.0) == 3035652100526550566
