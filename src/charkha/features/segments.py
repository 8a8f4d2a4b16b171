"""Reductions over many ranges of one array at once: what every aggregation and both paths are built on."""

from collections.abc import Iterator

import numpy as np

from charkha.spec.model import FloatArray

IntArray = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


def reduce_ranges(
    ufunc: np.ufunc,
    values: FloatArray,
    lows: IntArray,
    highs: IntArray,
    empty: float,
) -> FloatArray:
    """Return `ufunc` reduced over the rows low to high of each of the k ranges: float64 (k, w).

    values: float64 (n, w). lows, highs: int64 (k,), 0 ≤ low ≤ high ≤ n, lows ascending (else slow, not wrong).
    An empty range gives `empty`.
    """
    width = values.shape[1]
    if len(lows) == 0:
        return np.empty((0, width))
    if (highs - lows == 2).all():  # pairs, of which whatever runs through is made: reduceat takes ten times as long
        pairs: FloatArray = ufunc(values.take(lows, axis=0), values.take(lows + 1, axis=0))
        return pairs
    if (lows[1:] == highs[:-1]).all() and (lows < highs).all():  # one range after the other, none of them empty
        parts: FloatArray = ufunc.reduceat(values[: highs[-1]], lows, axis=0)
        return parts
    ending = np.flatnonzero(highs == len(values))
    if len(ending) == 0:
        return _reduced(ufunc, values, lows, highs, empty)
    # An index must lie within the array: from the first that ends with it on, ranges get a copy with one element more.
    first = ending[0]
    begin = lows[first:].min()
    padded = np.empty((len(values) - begin + 1, width))
    padded[:-1], padded[-1] = values[begin:], empty
    last = _reduced(ufunc, padded, lows[first:] - begin, highs[first:] - begin, empty)
    return np.concatenate((_reduced(ufunc, values, lows[:first], highs[:first], empty), last)) if first else last


def _reduced(ufunc: np.ufunc, values: FloatArray, lows: IntArray, highs: IntArray, empty: float) -> FloatArray:
    """Return the reductions of ranges that end before the array does."""
    # reduceat takes the ranges between neighbouring indices, of which every second one is ours.
    indices = np.empty(2 * len(lows), np.intp)
    indices[0::2], indices[1::2] = lows, highs
    reduced: FloatArray = ufunc.reduceat(values, indices, axis=0)[::2]
    reduced[np.flatnonzero(lows == highs)] = empty
    return reduced


class KeyTimeIndex:
    """Rows in the order of (key, time), made ready for many searches: key and time share one integer."""

    def __init__(self, keys: IntArray, times: IntArray) -> None:
        """Index rows. keys, times: int64 (n,), sorted by key, then time; keys from 0."""
        self._ranked: IntArray | None = None
        self._first, last = (int(times.min()), int(times.max())) if len(times) else (0, 0)
        self._stride = last - self._first + 3
        if len(keys) and (int(keys[-1]) + 2) * self._stride >= 1 << 62:
            ordered = np.sort(times)
            self._ranked = ordered[run_starts(ordered)]  # np.unique hashes, which is slower here
            self._stride = len(self._ranked) + 3
        self._packed = keys * self._stride + self._places(times, equal=True)
        self._last_key = int(keys[-1]) if len(keys) else -1

    def count_until(self, keys: IntArray, times: IntArray, *, equal: bool) -> IntArray:
        """Return for each question how many rows are of smaller keys, or of its key and an earlier (or equal) time.

        keys, times: int64 (k,). Result: int64 (k,) in 0 … n.
        """
        asked = np.minimum(keys, self._last_key + 1) * self._stride + self._places(times, equal=equal)
        return np.searchsorted(self._packed, asked, side="right" if equal else "left")

    def _places(self, times: IntArray, *, equal: bool) -> IntArray:
        """Return times as small integers of the same order, 1 for the first; 0 and the last for what lies beyond."""
        if self._ranked is None:
            return np.clip(times, self._first - 1, self._first + self._stride - 2) - (self._first - 1)
        below = np.searchsorted(self._ranked, times, side="left")
        # A time that is no row's lies between two of them, which is nearer to the later one when it is asked for less.
        return below + (self._ranked[np.minimum(below, len(self._ranked) - 1)] == times) if equal else below + 1


def run_starts(*columns: IntArray) -> IntArray:
    """Return where a new run of equal rows begins in columns that are sorted together: int64 (runs,)."""
    if len(columns[0]) == 0:
        return np.empty(0, np.int64)
    changed = np.zeros(len(columns[0]), bool)
    changed[0] = True
    for column in columns:
        changed[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(changed)


def run_ends(starts: IntArray, size: int) -> IntArray:
    """Return where the runs that begin at `starts` end, in an array of `size` rows: int64 (runs,)."""
    return np.append(starts[1:], size)[: len(starts)]


def range_chunks(lows: IntArray, highs: IntArray, most: int = 1 << 16) -> Iterator[slice]:
    """Yield slices of the ranges whose lengths add up to about `most`, so that ranges can be laid out in memory.

    As many as a processor's cache holds with what is made of them: twice as fast as two million at a time.
    """
    total = np.cumsum(highs - lows)
    begin = 0
    while begin < len(lows):
        before = total[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(total, before + most, side="right")))
        yield slice(begin, end)
        begin = end


def range_members(lows: IntArray, highs: IntArray) -> tuple[IntArray, IntArray]:
    """Return (owner, index): for every member of every range, which range it is of and its place in the array."""
    lengths = highs - lows
    owner = np.repeat(np.arange(len(lows)), lengths)
    offset = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return owner, lows[owner] + offset


def sum_by(owner: IntArray, keys: IntArray, counts: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Return the sum of the counts of each key of each owner, as (owner, key, sum) in the order of owner, then key.

    owner, keys, counts: int64 (n,). Result: int64 (m,) each, m ≤ n.
    """
    if len(owner) == 0:
        return owner, keys, counts
    order = _order_of_keys(owner, keys)
    owner, keys = owner[order], keys[order]
    starts = run_starts(owner, keys)
    return owner[starts], keys[starts], np.add.reduceat(counts[order], starts)


def _order_of_keys(owner: IntArray, keys: IntArray) -> IntArray:
    """Return the order by owner, then key. One number for both sorts several times faster, where it holds them."""
    low, span, owners = int(keys.min()), int(keys.max()) - int(keys.min()) + 1, int(owner.max()) + 1
    if span * owners < 1 << 62:
        return np.argsort(owner * span + (keys - low), kind="stable")
    bits = owners.bit_length()
    leading = (keys.view(np.uint64) ^ np.uint64(1 << 63)) >> np.uint64(bits + 1)
    order = np.argsort((owner << (63 - bits)) + leading.view(np.int64), kind="stable")
    owner, keys = owner[order], keys[order]
    if ((keys[1:] < keys[:-1]) & (owner[1:] == owner[:-1])).any():  # keys that differ only where they were cut off
        return order[np.lexsort((keys, owner))]
    return order


def places_in_runs(*columns: IntArray) -> IntArray:
    """Return the place of each row within its run of equal rows (see `run_starts`), counted from 0: int64 (n,)."""
    starts, size = run_starts(*columns), len(columns[0])
    return np.arange(size) - np.repeat(starts, run_ends(starts, size) - starts)
