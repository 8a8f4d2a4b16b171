"""Latencies as counts in bins whose edges never change: those of any time, worker and machine add up.

Eight bins to each doubling, from a microsecond to a minute, so that a quantile is right to about 6 %.
"""

from collections.abc import Mapping

# Bin → how many; bins that are empty are left out.
Counts = Mapping[int, int]

_FIRST_BITS = 11  # of the first duration that is not in bin 0: 1,024 ns
_PER_DOUBLING = 8
LAST = 1 + _PER_DOUBLING * 26


def bin_of(duration_ns: int) -> int:
    """Return the bin of a duration."""
    bits = duration_ns.bit_length()
    if bits < _FIRST_BITS:
        return 0
    return min(LAST, 1 + (bits - _FIRST_BITS) * _PER_DOUBLING + ((duration_ns >> (bits - 4)) & 7))


def edge_ns(number: int) -> int:
    """Return where a bin begins (ns); the last has no end."""
    if number <= 0:
        return 0
    doublings, part = divmod(number - 1, _PER_DOUBLING)
    return (_PER_DOUBLING + part) << (doublings + _FIRST_BITS - 4)


def quantile_ms(counts: Counts, share: float) -> float | None:
    """Return the duration (ms) that a share of those counted do not exceed, by even bins; None of none."""
    wanted, before = share * sum(counts.values()), 0
    for number, count in sorted(counts.items()):
        if before + count >= wanted and count:
            low, high = edge_ns(number), edge_ns(min(number, LAST) + 1)
            return (low + (high - low) * (wanted - before) / count) / 1e6
        before += count
    return None
