"""Since when: the block at which a change began, with an interval.

The Shiryaev-Roberts form sums, over all beginnings, the likelihood ratio of "it began here" to "it never did". With no
preference among beginnings before the data (Shiryaev 1963), its terms are therefore the posterior odds of each. The
interval is between two quantiles of that posterior, and the estimate is its highest point: the beginning that the
CUSUM form has kept. Both are conditional on that there was a change, and on the alternatives.
"""

import numpy as np
from attrs import frozen
from scipy.special import logsumexp

from charkha.monitoring.sequential.arrays import FloatArray


@frozen
class Onset:
    """Blocks, counted from the first of those that were looked at: the likeliest, and the ends of the interval."""

    began: int
    earliest: int
    latest: int


def onset(log_e: FloatArray, level: float = 0.95) -> Onset:
    """Return since when one check has changed. log_e: (blocks, alternatives), from its last restart to the alarm,
    divided by the null's `alike`.

    Raises ValueError when there is no block.
    """
    if log_e.ndim != 2 or len(log_e) == 0:
        raise ValueError(f"expected log e-values (blocks, alternatives), at least one block, got shape {log_e.shape}")
    since = np.cumsum(log_e[::-1], axis=0)[::-1]
    odds = logsumexp(since, axis=1)
    posterior = np.cumsum(np.exp(odds - logsumexp(odds)))
    outside = (1 - level) / 2
    earliest, latest = np.searchsorted(posterior, [outside, 1 - outside])
    began = int(since.max(axis=1).argmax())
    return Onset(began, min(int(earliest), began), max(min(int(latest), len(odds) - 1), began))
