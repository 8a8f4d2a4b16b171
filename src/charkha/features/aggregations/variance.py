"""The sample variance, from (number, mean, sum of squared deviations).

One row is added by Welford's method (Technometrics 1962), groups are merged by the formula of Chan, Golub and LeVeque
(1979): sums of squares would lose every digit where the mean is large against the spread.
"""

from math import isnan

import numpy as np

from charkha.features.aggregations.aggregation import State
from charkha.features.segments import IntArray, range_chunks, range_members
from charkha.spec.model import FloatArray


class Variance:
    """The variance (n - 1) of the values that are not null; null when there are fewer than two."""

    width = 3
    empty: State = (0.0, 0.0, 0.0)
    exact = False

    def prepare(self, values: FloatArray) -> FloatArray:
        """One value: its own mean, no deviation."""
        present = ~np.isnan(values)
        return np.column_stack((present.astype(np.float64), np.where(present, values, 0.0), np.zeros(len(values))))

    def update(self, state: State, value: float) -> State:
        """Add one value."""
        if isnan(value):
            return state
        number = state[0] + 1.0
        shift = value - state[1]
        mean = state[1] + shift / number
        return (number, mean, state[2] + shift * (value - mean))

    def merge(self, states: FloatArray, lows: IntArray, highs: IntArray) -> FloatArray:
        """Merge each range around its own mean, some ranges at a time to bound the memory."""
        merged = np.zeros((len(lows), 3))
        for chunk in range_chunks(lows, highs):
            owner, index = range_members(lows[chunk], highs[chunk])
            size = len(lows[chunk])
            weight = states[index, 0]
            number, total = np.bincount(owner, weight, size), np.bincount(owner, weight * states[index, 1], size)
            mean = np.divide(total, number, out=np.zeros(size), where=number > 0)
            deviation = weight * (states[index, 1] - mean[owner]) ** 2
            merged[chunk] = np.column_stack((number, mean, np.bincount(owner, states[index, 2] + deviation, size)))
        return merged

    def finalise(self, states: FloatArray) -> FloatArray:
        """The squared deviations over n - 1, or null."""
        number = states[:, 0]
        spread: FloatArray = np.divide(states[:, 2], number - 1.0, out=np.full(len(states), np.nan), where=number > 1)
        return spread
