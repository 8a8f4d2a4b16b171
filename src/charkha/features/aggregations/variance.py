"""The sample variance and its root, from (number, mean, sum of squared deviations).

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

    def prepare(self, values: FloatArray, known_us: IntArray) -> FloatArray:
        """One value: its own mean, no deviation."""
        present = ~np.isnan(values)
        return np.column_stack((present.astype(np.float64), np.where(present, values, 0.0), np.zeros(len(values))))

    def update(self, state: State, value: float, known_us: int) -> State:
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
            weight, means, squares = states.take(index, axis=0).T
            # Means are added up as distances from one of them: of equal values, each distance is exactly 0.
            anchor = np.zeros(size)
            present = np.flatnonzero(weight > 0)
            anchor[owner[present]] = means[present]
            number = np.bincount(owner, weight, size)
            distance = np.bincount(owner, weight * (means - anchor[owner]), size)
            mean = anchor + np.divide(distance, number, out=np.zeros(size), where=number > 0)
            # An empty state has no mean to be far from.
            deviation = weight * np.where(weight > 0, means - mean[owner], 0.0) ** 2
            merged[chunk] = np.column_stack((number, mean, np.bincount(owner, squares + deviation, size)))
        return merged

    def finalise(self, states: FloatArray, at_us: IntArray) -> FloatArray:
        """The squared deviations over n - 1, or null."""
        number = states[:, :1]
        null = np.full((len(states), 1), np.nan)
        spread: FloatArray = np.divide(states[:, 2:], number - 1.0, out=null, where=number > 1)
        return spread


class StandardDeviation(Variance):
    """The root of the variance; null when there are fewer than two values."""

    def finalise(self, states: FloatArray, at_us: IntArray) -> FloatArray:
        """The root, or null."""
        return np.sqrt(super().finalise(states, at_us))
