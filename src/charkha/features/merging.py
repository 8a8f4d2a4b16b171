"""Merging many states at once: of ranges, of pairs, of all up to each one. States of nothing are not merged at all."""

from functools import cached_property

import numpy as np
from attrs import frozen

from charkha.features.aggregations.aggregation import Aggregation
from charkha.features.segments import IntArray, range_members, run_ends
from charkha.spec.model import FloatArray


@frozen(eq=False)
class Ranges:
    """k ranges of neighbouring rows or states, each from its low up to its high: int64 (k,), (k,). Lows ascend."""

    lows: IntArray
    highs: IntArray

    @cached_property
    def lengths(self) -> IntArray:
        """How many rows each range has."""
        return self.highs - self.lows

    @cached_property
    def _none(self) -> IntArray:
        return np.flatnonzero(self.lengths == 0)

    @cached_property
    def _several(self) -> IntArray:
        return np.flatnonzero(self.lengths > 1)

    def merged(self, aggregation: Aggregation, states: FloatArray) -> FloatArray:
        """Return the state of each range: (n, width) → (k, width), an array of its own.

        Only ranges of several are merged: most are empty or of one state where rows are few.
        """
        if len(self._several) == len(self.lows):
            return aggregation.merge(states, self.lows, self.highs)
        if len(self._none) == len(self.lows):
            return np.tile(aggregation.empty, (len(self.lows), 1))
        # `take` is many times quicker than an index in brackets, and than putting most of the states in their places.
        merged = states.take(np.minimum(self.lows, len(states) - 1), axis=0)
        merged[self._none] = aggregation.empty
        if len(self._several):
            several = self.lows[self._several], self.highs[self._several]
            merged[self._several] = aggregation.merge(states, *several)
        return merged

    def members(self) -> IntArray:
        """Return the places of all rows that are in any range, each once, ascending. The highs ascend too."""
        some = np.flatnonzero(self.lengths > 0)
        lows, highs = self.lows[some], self.highs[some]
        starts = np.flatnonzero(lows[1:] > highs[:-1]) + 1
        starts = np.append(0, starts)[: len(lows)]
        _, places = range_members(lows[starts], highs[run_ends(starts, len(lows)) - 1])
        return places


def merged_pairs(aggregation: Aggregation, before: FloatArray, after: FloatArray) -> FloatArray:
    """Return each state merged with the one that comes after it: (k, width), (k, width) → (k, width)."""
    both = np.stack((before, after), axis=1).reshape(-1, aggregation.width)
    pairs = np.arange(0, len(both), 2)
    return aggregation.merge(both, pairs, pairs + 2)


def running(aggregation: Aggregation, states: FloatArray, places: IntArray) -> FloatArray:
    """Return each state merged with all those before it in its run. places: of the states within their runs.

    Pairs are merged, then what runs through the pairs is found in the same way: two merges a state, however long a run.
    """
    odd = np.flatnonzero(places % 2)
    if len(odd) == 0:
        return states
    merged = states.copy()
    merged[odd] = running(aggregation, merged_pairs(aggregation, states[odd - 1], states[odd]), places[odd] // 2)
    even = np.flatnonzero((places % 2 == 0) & (places > 0))
    merged[even] = merged_pairs(aggregation, merged[even - 1], states[even])
    return merged
