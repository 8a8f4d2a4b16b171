"""The smallest and the largest value."""

from math import isnan

import numpy as np

from charkha.features.aggregations.aggregation import State
from charkha.features.segments import IntArray, reduce_ranges
from charkha.spec.model import FloatArray


class Minimum:
    """The smallest value that is not null; null when there are none."""

    width = 1
    empty: State = (float("nan"),)
    exact = True
    ufunc: np.ufunc = np.fmin

    def prepare(self, values: FloatArray, known_us: IntArray) -> FloatArray:
        """The value itself."""
        return values[:, None].astype(np.float64)

    def update(self, state: State, value: float, known_us: int) -> State:
        """Keep the smaller; a null loses against anything."""
        return (value,) if isnan(state[0]) or value < state[0] else state

    def merge(self, states: FloatArray, lows: IntArray, highs: IntArray) -> FloatArray:
        """Keep the extreme; fmin and fmax pass over NaN."""
        return reduce_ranges(self.ufunc, states, lows, highs, np.nan)

    def finalise(self, states: FloatArray, at_us: IntArray) -> FloatArray:
        """The extreme itself."""
        return states[:, :1]


class Maximum(Minimum):
    """The largest value that is not null; null when there are none."""

    ufunc = np.fmax

    def update(self, state: State, value: float, known_us: int) -> State:
        """Keep the larger; a null loses against anything."""
        return (value,) if isnan(state[0]) or value > state[0] else state
