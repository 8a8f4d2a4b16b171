"""Sum and mean: one state, the number of values and their sum."""

from math import isnan

import numpy as np

from charkha.features.aggregations.aggregation import State
from charkha.features.segments import IntArray, reduce_ranges
from charkha.spec.model import FloatArray


class Sum:
    """Adds the values that are not null; null when there are none, for a null is not a zero."""

    width = 2
    empty: State = (0.0, 0.0)
    exact = False

    def prepare(self, values: FloatArray, known_us: IntArray) -> FloatArray:
        """One value and itself; a null is none."""
        present = ~np.isnan(values)
        return np.column_stack((present.astype(np.float64), np.where(present, values, 0.0)))

    def update(self, state: State, value: float, known_us: int) -> State:
        """Add one value."""
        return state if isnan(value) else (state[0] + 1.0, state[1] + value)

    def merge(self, states: FloatArray, lows: IntArray, highs: IntArray) -> FloatArray:
        """Add numbers and sums."""
        return reduce_ranges(np.add, states, lows, highs, 0.0)

    def finalise(self, states: FloatArray, at_us: IntArray) -> FloatArray:
        """The sum, or null."""
        return np.where(states[:, :1] > 0, states[:, 1:], np.nan)


class Mean(Sum):
    """The mean of the values that are not null; null when there are none."""

    def finalise(self, states: FloatArray, at_us: IntArray) -> FloatArray:
        """The sum over the number, or null."""
        number = states[:, :1]
        mean: FloatArray = np.divide(states[:, 1:], number, out=np.full((len(states), 1), np.nan), where=number > 0)
        return mean
