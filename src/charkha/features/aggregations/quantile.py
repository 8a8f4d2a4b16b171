"""About the quantiles: a histogram of logarithms whose bins double in width when there are too many of them.

After DDSketch (Masson, Rim and Lee, VLDB 2019) with the uniform collapse of UDDSketch (Epicoco et al. 2020). A bin
spans a factor of 2^(1/32), so a quantile is the exact one (the lower, where two would do) to 1.1 %. When more than 64
bins are in use, neighbours merge and the factor is squared, until they fit. A window of up to 64 values never comes to
that; one that fills its bins keeps 1.1 % while its largest value is up to 3.8 times the smallest, 2.2 % up to 14 times,
4.4 % up to 200 times and 8.7 % up to 40,000 times. How often neighbours merge depends on the values alone, and halving
twice is halving by four, so merging states adds counts and is exact in any order.
"""

from bisect import bisect_left
from math import frexp, isnan

import numpy as np
from attrs import frozen

from charkha.features.aggregations.aggregation import State
from charkha.features.segments import IntArray, places_in_runs, range_chunks, range_members, reduce_ranges, sum_by
from charkha.spec.model import FloatArray

_BINS = 64
_MOST = 1 << 16  # states that are laid out at once
# Magnitudes from 2^-41 to 2^87 have bins 1 to 4096, smaller ones bin 0; negative values have negative bins.
_PER_OCTAVE, _LOWEST_EXPONENT, _LARGEST = 32, -40, 2.0**87 * (1.0 - 2.0**-53)
# Where each bin of an octave ends. Bins are found by comparing with these: logarithms differ in their last bits between
# one value and a vector of them.
_EDGES = [2.0 ** ((place + 1) / _PER_OCTAVE - 1.0) for place in range(_PER_OCTAVE)]
_EDGE_ARRAY = np.array(_EDGES)
# A float64 holds a bin and its count: bin × 2^39 + count, exact below 2^53.
_UNIT = float(1 << 39)
# The value of a bin, over its upper edge, that is equally far, relatively, from both edges: per level of collapse.
_MIDDLES = np.array([2.0 / (1.0 + 2.0 ** (2**level / _PER_OCTAVE)) for level in range(13)])


@frozen
class Quantile:
    """About the quantiles q of the values that are not null; null when there are none.

    State: how often neighbouring bins were merged, then the bins in use in ascending order, then zeros.
    """

    q: tuple[float, ...]

    width = 1 + _BINS
    empty = (0.0,) * (1 + _BINS)
    exact = True

    def prepare(self, values: FloatArray, known_us: IntArray) -> FloatArray:
        """The value's bin, once; a null has none."""
        present = ~np.isnan(values)
        states = np.zeros((len(values), self.width))
        states[present, 1] = _bins(values[present]) * _UNIT + 1.0
        return states

    def update(self, state: State, value: float, known_us: int) -> State:
        """Count the value in its bin."""
        if isnan(value):
            return state
        bins, size = state[1:], _BINS - state[1:].count(0.0)
        key = _halved(_bin(value), int(state[0])) * _UNIT
        place = bisect_left(bins, key, hi=size)
        if place < size and bins[place] < key + _UNIT:
            return (state[0], *bins[:place], bins[place] + 1.0, *bins[place + 1 :])
        if size < _BINS:
            return (state[0], *bins[:place], key + 1.0, *bins[place:-1])
        both = np.vstack((np.array(state), self.prepare(np.array([value]), np.array([known_us]))))
        merged: State = tuple(self.merge(both, np.array([0]), np.array([2]))[0].tolist())
        return merged

    def merge(self, states: FloatArray, lows: IntArray, highs: IntArray) -> FloatArray:
        """Add the counts of each bin of each range; where there are too many bins, merge neighbours until they fit."""
        merged = np.zeros((len(lows), self.width))
        levels = reduce_ranges(np.maximum, states[:, :1], lows, highs, 0.0)[:, 0].astype(np.int64)
        for chunk in range_chunks(lows, highs, _MOST):
            owner, index = range_members(lows[chunk], highs[chunk])
            member, place = np.nonzero(states[index, 1:])
            bins, counts = _unpacked(states[index[member], 1 + place])
            owner, level = owner[member], levels[chunk]
            bins = _halved_all(bins, level[owner] - states[index[member], 0].astype(np.int64))
            owner, bins, counts = sum_by(owner, bins, counts)
            while (crowded := np.bincount(owner, minlength=len(level)) > _BINS).any():
                level = level + crowded
                owner, bins, counts = sum_by(owner, _halved_all(bins, crowded[owner].astype(np.int64)), counts)
            merged[chunk, 0] = level
            merged[owner + chunk.start, 1 + places_in_runs(owner)] = bins * _UNIT + counts
        return merged

    def finalise(self, states: FloatArray, at_us: IntArray) -> FloatArray:
        """The middle of the bin that holds each quantile, or null."""
        bins, counts = _unpacked(states[:, 1:])
        running = np.cumsum(counts, axis=1)
        rows = np.arange(len(states))
        values = np.full((len(states), len(self.q)), np.nan)
        for number, q in enumerate(self.q):
            place = (running <= q * (running[:, -1:] - 1)).sum(axis=1)
            found = running[:, -1] > 0
            values[found, number] = _values(bins[rows[found], place[found]], states[found, 0].astype(np.int64))
        return values


def _bin(value: float) -> int:
    """Return the bin of one value: what `_bins` gives for it."""
    mantissa, exponent = frexp(min(abs(value), _LARGEST))
    if exponent < _LOWEST_EXPONENT or mantissa == 0.0:  # the exponent of zero is 0
        return 0
    place = bisect_left(_EDGES, mantissa) + 1 + (exponent - _LOWEST_EXPONENT) * _PER_OCTAVE
    return -place if value < 0 else place


def _bins(values: FloatArray) -> IntArray:
    """Return the bin of each value: float64 (n,) → int64 (n,)."""
    mantissas, exponents = np.frexp(np.minimum(np.abs(values), _LARGEST))
    octaves = exponents.astype(np.int64) - _LOWEST_EXPONENT
    places = np.searchsorted(_EDGE_ARRAY, mantissas) + 1 + octaves * _PER_OCTAVE
    bins: IntArray = np.where((octaves < 0) | (mantissas == 0.0), 0, np.sign(values).astype(np.int64) * places)
    return bins


def _halved(bin_: int, times: int) -> int:
    """Return the bin that holds one after neighbours were merged so many times."""
    place = -(-abs(bin_) >> times)
    return -place if bin_ < 0 else place


def _halved_all(bins: IntArray, times: IntArray) -> IntArray:
    """Return the same for each bin: int64 (n,), (n,) → (n,)."""
    halved: IntArray = np.sign(bins) * -(-np.abs(bins) >> times)
    return halved


def _unpacked(packed: FloatArray) -> tuple[IntArray, IntArray]:
    """Return bins and their counts."""
    bins = np.floor(packed / _UNIT)
    return bins.astype(np.int64), (packed - bins * _UNIT).astype(np.int64)


def _values(bins: IntArray, levels: IntArray) -> FloatArray:
    """Return the value in the middle of each bin: products of table entries, so that it has one last bit everywhere."""
    last = (np.abs(bins) << levels) - 1  # the last of the finest bins that it holds
    upper = np.ldexp(_EDGE_ARRAY[last % _PER_OCTAVE], last // _PER_OCTAVE + _LOWEST_EXPONENT)
    values: FloatArray = np.sign(bins) * upper * _MIDDLES[levels]
    return values
