"""The laws every aggregation keeps: merging is associative, empty is neutral, a column says what its rows say."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charkha.features.aggregations import AGGREGATIONS, aggregation_of
from charkha.spec.aggregates import Measure

PARAMETERS: dict[str, dict[str, Any]] = {
    "last_k": {"k": 3},
    "top_k": {"k": 3},
    "quantile": {"q": (0.1, 0.5, 0.95)},
    "decayed_sum": {"half_life": "1h"},
}
EVERY = {kind: aggregation_of(Measure(kind, "x", **PARAMETERS.get(kind, {}))) for kind in AGGREGATIONS}
NAN = float("nan")
# What is not finite never gets to an aggregation: it is null. Sums of numbers beyond these may be.
ODD = [NAN, -0.0, 0.0, 1e100, -1e100, 1e-100, 2.0**53 + 2, -(2.0**63), 0.1, 0.3]
numbers = st.one_of(st.sampled_from(ODD), st.integers(-50, 50).map(float), st.floats(-1e6, 1e6))


def many(size: int, seed: int, spread: float) -> Any:
    """So many values that sketches have to leave out or merge some: of both signs, some of them null, many equal."""
    random = np.random.default_rng(seed)
    values = np.round(random.normal(size=size) * np.exp(random.normal(size=size) * spread), 2)
    return np.where(random.random(size) < 0.1, NAN, values)


columns = st.one_of(
    st.lists(numbers, max_size=12).map(lambda values: np.array(values, dtype=np.float64)),
    st.builds(many, st.integers(40, 300), st.integers(0, 99), st.sampled_from([0.0, 1.0, 4.0])),
)


every_aggregation = pytest.mark.parametrize("aggregation", EVERY.values(), ids=EVERY)


def times(values: Any) -> Any:
    """When each of some values became known (µs), some at once."""
    return 1_700_000_000_000_000 + np.arange(len(values)) // 2 * 600_000_000


def prepared(aggregation: Any, values: Any) -> Any:
    return aggregation.prepare(values, times(values))


def finalised(aggregation: Any, states: Any, at_us: int = 1_700_000_000_000_000) -> Any:
    return aggregation.finalise(states, np.full(len(states), at_us))[0]


def merged(aggregation: Any, states: Any) -> Any:
    """All states as one."""
    return aggregation.merge(states, np.array([0]), np.array([len(states)]))


def same(aggregation: Any, left: Any, right: Any, values: Any) -> Any:
    """Equal states: to the last bit where that is promised, else to the precision of sums of such values."""
    if aggregation.exact:
        return np.array_equal(left, right, equal_nan=True)
    scale = np.nansum(np.abs(values)) ** 2 if len(values) else 0.0
    return np.allclose(left, right, rtol=1e-9, atol=1e-9 * max(1.0, scale), equal_nan=True)


@every_aggregation
@settings(deadline=None)
@given(columns, st.floats(0, 1), st.floats(0, 1))
def test_merging_is_associative(aggregation: Any, values: Any, one: Any, other: Any) -> None:
    first, second = sorted((round(one * len(values)), round(other * len(values))))
    states = prepared(aggregation, values)
    parts = aggregation.merge(states, np.array([0, first, second]), np.array([first, second, len(values)]))
    left = merged(aggregation, np.vstack((merged(aggregation, parts[:2]), parts[2:])))
    right = merged(aggregation, np.vstack((parts[:1], merged(aggregation, parts[1:]))))
    assert same(aggregation, left, right, values)
    assert same(aggregation, left, merged(aggregation, states), values)


@every_aggregation
@settings(deadline=None)
@given(columns)
def test_rows_one_by_one_make_the_state_of_their_column(aggregation: Any, values: Any) -> None:
    state = aggregation.empty
    for value, known_us in zip(values, times(values), strict=True):
        state = aggregation.update(state, float(value), int(known_us))
    assert same(aggregation, np.array(state), merged(aggregation, prepared(aggregation, values))[0], values)


@every_aggregation
@settings(deadline=None)
@given(columns)
def test_the_empty_state_is_neutral(aggregation: Any, values: Any) -> None:
    states = prepared(aggregation, values)
    empty = np.array([aggregation.empty])
    around = np.vstack((empty, states, empty))
    assert same(aggregation, merged(aggregation, around), merged(aggregation, states), values)


@every_aggregation
@settings(deadline=None)
@given(st.integers(0, 5))
def test_nulls_are_not_zeros(aggregation: Any, nulls: Any) -> None:
    values = finalised(aggregation, merged(aggregation, prepared(aggregation, np.full(nulls, NAN))))
    if aggregation is EVERY["count"]:
        assert values == nulls
    elif aggregation is EVERY["time_since_last"] and nulls:
        assert (values <= 0).all()  # it is rows that come, whatever is in them
    else:
        assert np.isnan(values).all()


@settings(deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12), st.floats(-1e9, 1e9))
def test_variance_keeps_its_digits_far_from_zero(values: Any, mean: Any) -> None:
    shifted = np.array(values) + mean
    variance = EVERY["variance"]
    halves = variance.merge(prepared(variance, shifted), np.array([0, 1]), np.array([1, len(values)]))
    found = finalised(variance, merged(variance, halves))[0]
    assert found == pytest.approx(np.var(shifted, ddof=1), rel=1e-6, abs=1e-12 + 1e-15 * abs(mean))


def test_variance_merges_overlapping_ranges() -> None:
    variance = EVERY["variance"]
    values = np.random.default_rng(5).normal(size=5000)
    lows, highs = np.arange(0, 4000, 2), np.arange(1000, 5000, 2)
    found = variance.finalise(variance.merge(prepared(variance, values), lows, highs), lows)[:, 0]
    expected = [np.var(values[low:high], ddof=1) for low, high in zip(lows, highs, strict=True)]
    assert np.allclose(found, expected)
