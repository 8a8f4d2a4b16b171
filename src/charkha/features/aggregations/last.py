"""The value that became known last."""

from math import isnan

import numpy as np

from charkha.features.aggregations.aggregation import State
from charkha.features.segments import IntArray
from charkha.spec.model import FloatArray


class Last:
    """The last value that is not null, in the order in which rows became known; null when there are none."""

    width = 1
    empty: State = (float("nan"),)
    exact = True

    def prepare(self, values: FloatArray, known_us: IntArray) -> FloatArray:
        """The value itself."""
        return values[:, None].astype(np.float64)

    def update(self, state: State, value: float, known_us: int) -> State:
        """Take the newer value unless it is null."""
        return state if isnan(value) else (value,)

    def merge(self, states: FloatArray, lows: IntArray, highs: IntArray) -> FloatArray:
        """Take the last that is not null of each range."""
        values = states[:, 0]
        places = np.where(np.isnan(values), -1, np.arange(len(values)))
        newest = np.append(-1, np.maximum.accumulate(places))[highs]
        found = newest >= lows
        merged = np.full(len(lows), np.nan)
        merged[found] = values[newest[found]]
        return merged[:, None]

    def finalise(self, states: FloatArray, at_us: IntArray) -> FloatArray:
        """The value itself."""
        return states[:, :1]
