"""How long ago the newest row became known."""

import numpy as np

from charkha.features.aggregations.aggregation import State
from charkha.features.segments import IntArray, reduce_ranges
from charkha.spec.model import FloatArray


class TimeSinceLast:
    """Seconds from the newest row's known time to the prediction; null without rows. State: that time in µs."""

    width = 1
    empty: State = (float("nan"),)
    exact = True  # µs since 1970 are whole numbers below 2^53 until the year 2255

    def prepare(self, values: FloatArray, known_us: IntArray) -> FloatArray:
        """The row's own time, whatever its values."""
        return known_us[:, None].astype(np.float64)

    def update(self, state: State, value: float, known_us: int) -> State:
        """Rows come in the order of time: the newest is this one."""
        return (float(known_us),)

    def merge(self, states: FloatArray, lows: IntArray, highs: IntArray) -> FloatArray:
        """Take the newest time."""
        return reduce_ranges(np.fmax, states, lows, highs, np.nan)

    def finalise(self, states: FloatArray, at_us: IntArray) -> FloatArray:
        """The time between."""
        return (at_us[:, None] - states) / 1e6
