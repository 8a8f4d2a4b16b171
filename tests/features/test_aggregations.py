"""The laws every aggregation keeps: merging is associative, empty is neutral, a column says what its rows say."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charkha.features.aggregations import AGGREGATIONS

NAN = float("nan")
numbers = st.one_of(st.just(NAN), st.integers(-50, 50).map(float), st.floats(-1e6, 1e6))
columns = st.lists(numbers, max_size=12).map(lambda values: np.array(values, dtype=np.float64))


every_aggregation = pytest.mark.parametrize("aggregation", AGGREGATIONS.values(), ids=AGGREGATIONS)


def merged(aggregation: Any, states: Any) -> Any:
    """All states as one."""
    return aggregation.merge(states, np.array([0]), np.array([len(states)]))


def same(left: Any, right: Any, values: Any) -> Any:
    """Equal states, to the precision of sums of such values."""
    scale = np.nansum(np.abs(values)) ** 2 if len(values) else 0.0
    return np.allclose(left, right, rtol=1e-9, atol=1e-9 * max(1.0, scale), equal_nan=True)


@every_aggregation
@given(columns, st.integers(0, 12), st.integers(0, 12))
def test_merging_is_associative(aggregation: Any, values: Any, one: Any, other: Any) -> None:
    first, second = sorted((min(one, len(values)), min(other, len(values))))
    states = aggregation.prepare(values)
    parts = aggregation.merge(states, np.array([0, first, second]), np.array([first, second, len(values)]))
    left = merged(aggregation, np.vstack((merged(aggregation, parts[:2]), parts[2:])))
    right = merged(aggregation, np.vstack((parts[:1], merged(aggregation, parts[1:]))))
    assert same(left, right, values)
    assert same(left, merged(aggregation, states), values)


@every_aggregation
@given(columns)
def test_rows_one_by_one_make_the_state_of_their_column(aggregation: Any, values: Any) -> None:
    state = aggregation.empty
    for value in values:
        state = aggregation.update(state, float(value))
    assert same(np.array(state), merged(aggregation, aggregation.prepare(values))[0], values)


@every_aggregation
@given(columns)
def test_the_empty_state_is_neutral(aggregation: Any, values: Any) -> None:
    states = aggregation.prepare(values)
    empty = np.array([aggregation.empty])
    around = np.vstack((empty, states, empty))
    assert same(merged(aggregation, around), merged(aggregation, states), values)


@every_aggregation
@given(st.integers(0, 5))
def test_nulls_are_not_zeros(aggregation: Any, nulls: Any) -> None:
    states = merged(aggregation, aggregation.prepare(np.full(nulls, NAN)))
    value = aggregation.finalise(states)[0]
    assert value == nulls if aggregation is AGGREGATIONS["count"] else math.isnan(value)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12), st.floats(-1e9, 1e9))
def test_variance_keeps_its_digits_far_from_zero(values: Any, mean: Any) -> None:
    shifted = np.array(values) + mean
    variance = AGGREGATIONS["variance"]
    halves = variance.merge(variance.prepare(shifted), np.array([0, 1]), np.array([1, len(values)]))
    found = variance.finalise(merged(variance, halves))[0]
    assert found == pytest.approx(np.var(shifted, ddof=1), rel=1e-6, abs=1e-12 + 1e-15 * abs(mean))


def test_variance_merges_overlapping_ranges() -> None:
    variance = AGGREGATIONS["variance"]
    values = np.random.default_rng(5).normal(size=5000)
    lows, highs = np.arange(0, 4000, 2), np.arange(1000, 5000, 2)
    found = variance.finalise(variance.merge(variance.prepare(values), lows, highs))
    expected = [np.var(values[low:high], ddof=1) for low, high in zip(lows, highs, strict=True)]
    assert np.allclose(found, expected)
