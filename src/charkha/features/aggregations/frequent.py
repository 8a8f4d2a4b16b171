"""The most frequent numbers: counts of a sample of the values.

The state counts the values with the smallest hashes, at most 48. A value among the smallest of a whole is among the
smallest of every part it occurs in, so no count is ever lost, and merging is exact in any order. While a window holds
no more different values than that, the answer is exact; beyond, it is that of a fixed random sample of the values.
Buckets of hashes, each with a count, would take the same room and mix values up from about the tenth on.
"""

from bisect import bisect_left
from math import isnan

import numpy as np
from attrs import frozen

from charkha.features.aggregations.aggregation import State
from charkha.features.aggregations.mixing import hash_of, hashes, values_of
from charkha.features.segments import IntArray, places_in_runs, range_chunks, range_members, sum_by
from charkha.spec.model import FloatArray

_MOST_VALUES = 48
# What makes the order of int64 that of uint64.
_SIGN = np.uint64(1 << 63)
_MOST = 1 << 16  # states that are laid out at once


@frozen
class TopK:
    """The k most frequent values, the most frequent first, of equal ones the smaller; null where there are fewer.

    State: the values in the order of their hashes (NaN behind them), then how often each came.
    """

    k: int

    width = 2 * _MOST_VALUES
    empty = (float("nan"),) * _MOST_VALUES + (0.0,) * _MOST_VALUES
    exact = True

    def prepare(self, values: FloatArray, known_us: IntArray) -> FloatArray:
        """The value, once; a null is none."""
        states = np.empty((len(values), self.width))
        states[:] = self.empty
        states[:, 0] = values + 0.0
        states[:, _MOST_VALUES] = ~np.isnan(values)
        return states

    def update(self, state: State, value: float, known_us: int) -> State:
        """Count the value, or put it in its place; the one with the largest hash goes if there are too many."""
        if isnan(value):
            return state
        values, counts = state[:_MOST_VALUES], state[_MOST_VALUES:]
        size = _MOST_VALUES - counts.count(0.0)
        place = bisect_left(values, hash_of(value), hi=size, key=hash_of)
        if place == _MOST_VALUES:
            return state
        if place < size and values[place] == value:
            return (*values, *counts[:place], counts[place] + 1.0, *counts[place + 1 :])
        values = (*values[:place], value + 0.0, *values[place:-1])
        return (*values, *counts[:place], 1.0, *counts[place:-1])

    def merge(self, states: FloatArray, lows: IntArray, highs: IntArray) -> FloatArray:
        """Add the counts of each value of each range and keep those with the smallest hashes."""
        merged = np.empty((len(lows), self.width))
        merged[:] = self.empty
        for chunk in range_chunks(lows, highs, _MOST):
            owner, index = range_members(lows[chunk], highs[chunk])
            member, place = np.nonzero(states[index, _MOST_VALUES:])
            mixed = hashes(states[index[member], place])
            counts = states[index[member], _MOST_VALUES + place].astype(np.int64)
            found, keys, sums = sum_by(owner[member], (mixed ^ _SIGN).view(np.int64), counts)
            values = values_of(keys.view(np.uint64) ^ _SIGN)
            rank = places_in_runs(found)
            kept = rank < _MOST_VALUES
            rows, rank = found[kept] + chunk.start, rank[kept]
            merged[rows, rank], merged[rows, _MOST_VALUES + rank] = values[kept], sums[kept]
        return merged

    def finalise(self, states: FloatArray, at_us: IntArray) -> FloatArray:
        """The k values that came most often."""
        values, counts = states[:, :_MOST_VALUES], states[:, _MOST_VALUES:]
        order = np.lexsort((values, -counts), axis=1)[:, : self.k]
        return np.take_along_axis(values, order, axis=1)
