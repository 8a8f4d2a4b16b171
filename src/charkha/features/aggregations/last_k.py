"""The values that became known last, several of them."""

from math import isnan

import numpy as np
from attrs import frozen

from charkha.features.aggregations.aggregation import State
from charkha.features.segments import IntArray
from charkha.spec.model import FloatArray


@frozen
class LastK:
    """The last k values that are not null, newest first; null where there are fewer. State: these values."""

    k: int

    @property
    def width(self) -> int:
        """One float64 a value."""
        return self.k

    @property
    def empty(self) -> State:
        """No value at all."""
        return (float("nan"),) * self.k

    @property
    def exact(self) -> bool:
        """Values are kept as they are."""
        return True

    def prepare(self, values: FloatArray, known_us: IntArray) -> FloatArray:
        """The value itself, and none before it."""
        states = np.full((len(values), self.k), np.nan)
        states[:, 0] = values
        return states

    def update(self, state: State, value: float, known_us: int) -> State:
        """Put a value before the others; the oldest goes."""
        return state if isnan(value) else (value, *state[:-1])

    def merge(self, states: FloatArray, lows: IntArray, highs: IntArray) -> FloatArray:
        """Take the last k of all values of each range, laid out from the oldest to the newest."""
        in_time = states[:, ::-1]
        present = ~np.isnan(in_time)
        values, before = in_time[present], np.append(0, np.cumsum(present.sum(axis=1)))
        places = before[highs][:, None] - 1 - np.arange(self.k)
        found = places >= before[lows][:, None]
        merged = np.full(places.shape, np.nan)
        merged[found] = values[places[found]]
        return merged

    def finalise(self, states: FloatArray, at_us: IntArray) -> FloatArray:
        """The values themselves."""
        return states
