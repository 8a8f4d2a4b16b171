"""Merging many ranges at once against merging each, and the rows of ranges against sets."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from charkha.features.aggregations import AGGREGATIONS
from charkha.features.merging import Ranges
from charkha.spec.aggregates import Measure

SIZE = 9
steps = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=8)


def _ranges(steps: Any) -> Ranges:
    """Ranges within SIZE whose lows and highs ascend."""
    lows = np.minimum(np.cumsum([low for low, _ in steps]).astype(np.int64), SIZE)
    lengths = np.array([length for _, length in steps], np.int64)
    return Ranges(lows, np.minimum(np.maximum.accumulate(lows + lengths), SIZE) if steps else lows)


@given(steps, st.sampled_from(["count", "sum", "min", "last", "variance", "distinct"]))
def test_ranges_merged_together_are_each_merged_alone(steps: Any, kind: Any) -> None:
    ranges, aggregation = _ranges(steps), AGGREGATIONS[kind](Measure(kind, column="x"))
    values = np.where(np.arange(SIZE) % 4 == 2, np.nan, np.arange(SIZE) * 0.25)
    states = aggregation.prepare(values, np.arange(SIZE))
    merged = ranges.merged(aggregation, states)
    assert merged.shape == (len(ranges.lows), aggregation.width)
    for place in range(len(ranges.lows)):
        alone = aggregation.merge(states, ranges.lows[[place]], ranges.highs[[place]])
        np.testing.assert_array_equal(merged[[place]], alone)


@given(steps)
def test_members_are_all_rows_of_any_range_once(steps: Any) -> None:
    ranges = _ranges(steps)
    expected = {place for low, high in zip(ranges.lows, ranges.highs, strict=True) for place in range(low, high)}
    assert ranges.members().tolist() == sorted(expected)
