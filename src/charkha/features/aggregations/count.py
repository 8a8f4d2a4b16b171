"""How many rows."""

import numpy as np

from charkha.features.aggregations.aggregation import State
from charkha.features.segments import IntArray, reduce_ranges
from charkha.spec.model import FloatArray


class Count:
    """Counts rows, whatever their values; no rows are 0."""

    width = 1
    empty: State = (0.0,)
    exact = True

    def prepare(self, values: FloatArray, known_us: IntArray) -> FloatArray:
        """One row counts one."""
        return np.ones((len(values), 1))

    def update(self, state: State, value: float, known_us: int) -> State:
        """Count one more."""
        return (state[0] + 1.0,)

    def merge(self, states: FloatArray, lows: IntArray, highs: IntArray) -> FloatArray:
        """Add the counts."""
        return reduce_ranges(np.add, states, lows, highs, 0.0)

    def finalise(self, states: FloatArray, at_us: IntArray) -> FloatArray:
        """The count itself."""
        return states[:, :1]
