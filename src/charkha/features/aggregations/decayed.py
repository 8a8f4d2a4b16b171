"""A sum that forgets: each value is halved with every half-life since it became known."""

from functools import cached_property
from math import isnan

import numpy as np
from attrs import frozen

from charkha.features.aggregations.aggregation import State
from charkha.features.segments import IntArray, range_chunks, range_members, reduce_ranges
from charkha.spec.durations import parse_duration
from charkha.spec.model import FloatArray


@frozen
class DecayedSum:
    """The sum of values × 2^(-age / half-life); null when there are none.

    State: when the newest value became known (µs), and the sum as it was then. Growing values towards the newest would
    overflow; shrinking older ones towards it cannot.
    """

    half_life: str

    width = 2
    empty = (float("nan"), 0.0)
    exact = False

    def prepare(self, values: FloatArray, known_us: IntArray) -> FloatArray:
        """The row's own time and value; a null is none."""
        present = ~np.isnan(values)
        return np.column_stack((np.where(present, known_us, np.nan), np.where(present, values, 0.0)))

    def update(self, state: State, value: float, known_us: int) -> State:
        """Let the sum decay until now and add the value."""
        if isnan(value):
            return state
        before = 0.0 if isnan(state[0]) else state[1] * 2.0 ** ((state[0] - known_us) / self._half_life_us)
        return (float(known_us), before + value)

    def merge(self, states: FloatArray, lows: IntArray, highs: IntArray) -> FloatArray:
        """Let the sums of each range decay until its newest time and add them, some ranges at a time."""
        newest = reduce_ranges(np.fmax, states[:, :1], lows, highs, np.nan)[:, 0]
        sums = np.zeros(len(lows))
        for chunk in range_chunks(lows, highs):
            owner, index = range_members(lows[chunk], highs[chunk])
            decay = np.exp2((states[index, 0] - newest[chunk][owner]) / self._half_life_us)
            sums[chunk] = np.bincount(owner, np.where(np.isnan(decay), 0.0, states[index, 1] * decay), len(sums[chunk]))
        return np.column_stack((newest, sums))

    def finalise(self, states: FloatArray, at_us: IntArray) -> FloatArray:
        """Let the sum decay until the prediction; null without a time."""
        decayed: FloatArray = states[:, 1] * np.exp2((states[:, 0] - at_us) / self._half_life_us)
        return decayed[:, None]

    @cached_property
    def _half_life_us(self) -> int:
        return parse_duration(self.half_life)
