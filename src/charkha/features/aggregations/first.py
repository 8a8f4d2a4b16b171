"""The value that became known first."""

from math import isnan

import numpy as np

from charkha.features.aggregations.aggregation import State
from charkha.features.segments import IntArray
from charkha.spec.model import FloatArray


class First:
    """The first value that is not null, in the order in which rows became known; null when there are none."""

    width = 1
    empty: State = (float("nan"),)
    exact = True

    def prepare(self, values: FloatArray, known_us: IntArray) -> FloatArray:
        """The value itself."""
        return values[:, None].astype(np.float64)

    def update(self, state: State, value: float, known_us: int) -> State:
        """Take a value only where there is none."""
        return (value,) if isnan(state[0]) else state

    def merge(self, states: FloatArray, lows: IntArray, highs: IntArray) -> FloatArray:
        """Take the first that is not null of each range."""
        values = states[:, 0]
        places = np.where(np.isnan(values), len(values), np.arange(len(values)))
        oldest = np.append(np.minimum.accumulate(places[::-1])[::-1], len(values))[lows]
        found = oldest < highs
        merged = np.full(len(lows), np.nan)
        merged[found] = values[oldest[found]]
        return merged[:, None]

    def finalise(self, states: FloatArray, at_us: IntArray) -> FloatArray:
        """The value itself."""
        return states[:, :1]
