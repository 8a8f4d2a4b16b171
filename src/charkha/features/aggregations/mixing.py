"""Numbers to well-mixed bits, the same on every machine and in every release: what sketches choose by.

SplitMix64's finaliser (Steele, Lea and Flood 2014) over the bits of a float64. It is a bijection, so different values
never share their hash, and a hash gives its value back. The version for one value says the same as that for a column.
"""

import struct

import numpy as np

from charkha.spec.model import FloatArray

HashArray = np.ndarray[tuple[int, ...], np.dtype[np.uint64]]

_MASK = (1 << 64) - 1
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_FIRST_INVERSE, _SECOND_INVERSE = pow(_FIRST, -1, 1 << 64), pow(_SECOND, -1, 1 << 64)
_BITS = struct.Struct("<Q")
_FLOAT = struct.Struct("<d")


def hashes(values: FloatArray) -> HashArray:
    """Return 64 bits for each value: float64 (n,) → uint64 (n,). Zero has one hash, whatever its sign."""
    mixed = (values + 0.0).view(np.uint64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(_FIRST)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(_SECOND)
    return mixed ^ (mixed >> np.uint64(31))


def values_of(mixed: HashArray) -> FloatArray:
    """Return the values that have these hashes: uint64 (n,) → float64 (n,)."""
    mixed = (mixed ^ (mixed >> np.uint64(31)) ^ (mixed >> np.uint64(62))) * np.uint64(_SECOND_INVERSE)
    mixed = (mixed ^ (mixed >> np.uint64(27)) ^ (mixed >> np.uint64(54))) * np.uint64(_FIRST_INVERSE)
    values: FloatArray = (mixed ^ (mixed >> np.uint64(30)) ^ (mixed >> np.uint64(60))).view(np.float64)
    return values


def hash_of(value: float) -> int:
    """Return the 64 bits of one value."""
    (mixed,) = _BITS.unpack(_FLOAT.pack(value + 0.0))
    mixed = (mixed ^ (mixed >> 30)) * _FIRST & _MASK
    mixed = (mixed ^ (mixed >> 27)) * _SECOND & _MASK
    return int(mixed ^ (mixed >> 31))
