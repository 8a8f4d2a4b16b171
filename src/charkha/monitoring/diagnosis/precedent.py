"""Has it been so before? What was found is held against every stretch of the healthy history of the same length.

A null learnt from blocks knows how far blocks are apart, and little of what comes once in a fortnight: a holiday, one
large customer, a trip that took a day. What goes no further than such a stretch went is no fault of anybody's.
"""

import numpy as np

from charkha.spec.model import FloatArray

# How many times as far from what is usual as any healthy stretch was.
BEYOND = 1.5
# A week of hours: longer ones would leave too few to compare with.
MOST_BLOCKS = 7 * 24
# Of the rows that there are now, so many that are as usual are added to each stretch.
ALIKE = 1 / 8


def unprecedented(
    hits: FloatArray, rows: FloatArray, now_hits: FloatArray, now_rows: FloatArray, beyond: float = BEYOND
) -> bool:
    """Say whether a share is further from the usual one than in any healthy stretch, on the same side.

    hits, rows: of each healthy block, such as an hour, float64 (blocks,). now_hits, now_rows: of each block since it
    began. Shares of few rows are drawn towards the usual one, by an eighth of the rows there are now, one at least: a
    night in which five ask says little of a day. Means of effects are shares too: of effects times their precisions
    among these.
    """
    if not rows.sum() or not now_rows.sum():
        return False
    usual = hits.sum() / rows.sum()
    length = max(1, min(len(now_rows), MOST_BLOCKS, len(rows) // 2))
    alike = max(1.0, float(now_rows.sum()) * length / len(now_rows) * ALIKE)
    before = _apart(_stretches(hits, length), _stretches(rows, length), usual, alike)
    now = float(_apart(now_hits.sum(), now_rows.sum(), usual, alike))
    furthest = before.max() if now > 0 else -before.min()
    return abs(now) > beyond * max(float(furthest), 0.0)


def _apart(hits: FloatArray, rows: FloatArray, usual: float, alike: float) -> FloatArray:
    return np.asarray((hits + alike * usual) / (rows + alike) - usual)


def _stretches(values: FloatArray, length: int) -> FloatArray:
    """Return the sum of every stretch of so many blocks."""
    added = np.concatenate([[0.0], np.cumsum(values)])
    sums: FloatArray = added[length:] - added[:-length]
    return sums
