"""Latencies as counts in bins whose edges never change: those of any time, worker and machine add up.

Eight bins to each doubling, from a microsecond to a minute, so that a quantile is right to about 6 %.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

# Bin → how many; bins that are empty are left out.
Counts = Mapping[int, int]

_FIRST_BITS = 11  # of the first duration that is not in bin 0: 1,024 ns
_PER_DOUBLING = 8
LAST = 1 + _PER_DOUBLING * 26


def edge_ns(number: int) -> int:
    """Return where a bin begins (ns); the last has no end."""
    if number <= 0:
        return 0
    doublings, part = divmod(number - 1, _PER_DOUBLING)
    return (_PER_DOUBLING + part) << (doublings + _FIRST_BITS - 4)


_EDGES = np.array([edge_ns(number) for number in range(LAST + 1)])


def binned(durations_ns: NDArray[np.int64]) -> dict[int, int]:
    """Return the counts of durations."""
    numbers, counts = np.unique(np.searchsorted(_EDGES, durations_ns, side="right") - 1, return_counts=True)
    return dict(zip(numbers.tolist(), counts.tolist(), strict=True))


def quantile_ms(counts: Counts, share: float) -> float | None:
    """Return the duration (ms) that a share of those counted do not exceed, by even bins; None of none."""
    wanted, before = share * sum(counts.values()), 0
    for number, count in sorted(counts.items()):
        if before + count >= wanted and count:
            low, high = edge_ns(number), edge_ns(min(number, LAST) + 1)
            return (low + (high - low) * (wanted - before) / count) / 1e6
        before += count
    return None
