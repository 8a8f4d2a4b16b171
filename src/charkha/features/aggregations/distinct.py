"""About how many different values: a HyperLogLog of 258 registers.

After Flajolet et al. (2007), read by Ertl's improved estimator (arXiv:1702.01284), which needs no tables and no change
of formula between small and large. The standard error is 1.04/√258 = 6.5 %, and far less below a hundred values. A
register is the largest rank of the hashes that fell to it, so merging takes maxima: exact in any order.
"""

from math import isnan, log

import numpy as np

from charkha.features.aggregations.aggregation import State
from charkha.features.aggregations.mixing import hash_of, hashes
from charkha.features.segments import IntArray, places_in_runs, range_chunks, range_members
from charkha.spec.model import FloatArray

_WIDTH = 43
# A float64 holds six registers of a byte each as a whole number below 2^48: never the bits of a NaN, and read quickly.
_PER_FLOAT = 6
_REGISTERS = _WIDTH * _PER_FLOAT
ByteArray = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
_RANK_BITS = 52  # of the hash, behind those that choose the register
_MOST = 1 << 14  # states that are unpacked at once


def _sigma(empty: int) -> float:
    """Return what empty registers stand for, Σ x^(2^i) 2^(i-1) with x their share: infinite when all are empty."""
    if empty == _REGISTERS:
        return float("inf")
    share = empty / _REGISTERS
    total, weight = share, 0.5
    for _ in range(16):
        share, weight = share * share, weight * 2.0
        total += share * weight
    return total


_EMPTY_ONES = np.array([_REGISTERS * _sigma(empty) for empty in range(_REGISTERS + 1)])
_SCALE = _REGISTERS * _REGISTERS / (2.0 * log(2.0))


class Distinct:
    """About how many different values that are not null; null when there are none."""

    width = _WIDTH
    empty: State = (0.0,) * width
    exact = True

    def prepare(self, values: FloatArray, known_us: IntArray) -> FloatArray:
        """The rank of the value's hash in its register; a null has none."""
        mixed = hashes(values)
        register = (mixed % np.uint64(_REGISTERS)).astype(np.int64)
        # A whole number below 2^53 is a float64, whose exponent is the number of its bits.
        used = np.frexp((mixed >> np.uint64(64 - _RANK_BITS)).astype(np.float64))[1]
        rank = np.minimum(_RANK_BITS + 1 - used, _RANK_BITS).astype(np.int64)
        present = np.flatnonzero(~np.isnan(values))
        states = np.zeros((len(values), self.width))
        packed = rank << register % _PER_FLOAT * 8
        states[present, register[present] // _PER_FLOAT] = packed[present]
        return states

    def update(self, state: State, value: float, known_us: int) -> State:
        """Raise one register if the value's rank is above it."""
        if isnan(value):
            return state
        mixed = hash_of(value)
        place, shift = mixed % _REGISTERS // _PER_FLOAT, mixed % _REGISTERS % _PER_FLOAT * 8
        rank = min(_RANK_BITS + 1 - (mixed >> (64 - _RANK_BITS)).bit_length(), _RANK_BITS)
        packed = int(state[place])
        before = packed >> shift & 0xFF
        if rank <= before:
            return state
        return (*state[:place], float(packed + (rank - before << shift)), *state[place + 1 :])

    def merge(self, states: FloatArray, lows: IntArray, highs: IntArray) -> FloatArray:
        """Take the largest of each register, some ranges at a time to bound the memory.

        Neighbours are merged until each range is one: reducing long ranges of wide rows takes a hundred times as long.
        """
        merged = np.zeros((len(lows), self.width))
        for chunk in range_chunks(lows, highs, _MOST):
            owner, index = range_members(lows[chunk], highs[chunk])
            registers = _registers(states[index])
            while len(left := np.flatnonzero(places_in_runs(owner) % 2 == 0)) < len(owner):
                right = np.minimum(left + 1, len(owner) - 1)
                right = np.where(owner[right] == owner[left], right, left)
                registers, owner = np.maximum(registers[left], registers[right]), owner[left]
            merged[owner + chunk.start] = _packed(registers)
        return merged

    def finalise(self, states: FloatArray, at_us: IntArray) -> FloatArray:
        """The estimate, or null. Powers of two are added as whole numbers, so that their order cannot matter."""
        estimates = np.empty((len(states), 1))
        for low in range(0, len(states), _MOST):
            registers = _registers(states[low : low + _MOST]).astype(np.int64)
            registers = registers.reshape(-1, _WIDTH, 8)[:, :, :_PER_FLOAT].reshape(-1, _REGISTERS)
            none = registers == 0
            powers = np.where(none, 0, np.int64(1) << (_RANK_BITS - registers)).sum(axis=1)
            empty = none.sum(axis=1)
            estimate = _SCALE / (_EMPTY_ONES[empty] + powers / float(1 << _RANK_BITS))
            estimates[low : low + _MOST, 0] = np.where(empty == _REGISTERS, np.nan, estimate)
        return estimates


def _registers(states: FloatArray) -> ByteArray:
    """Unpack states: float64 (n, 43) → uint8 (n, 344), of each eight bytes the last two zero."""
    return states.astype("<i8").view(np.uint8)


def _packed(registers: ByteArray) -> FloatArray:
    """Pack what `_registers` gives, or maxima of it."""
    return registers.view("<i8").astype(np.float64)
