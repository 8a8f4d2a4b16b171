"""Events that may be counted as often as one likes: e-values of beta mixtures, and bands of distribution functions.

Two arms share the traffic. Of the entities that something happened to, the share that lies in one arm is known if it
happens as often in both: it is that arm's share of the traffic. So a rate is compared with the other arm's, of the same
time, without either being known, and without assuming that it stays the same.
All functions work on arrays of any shapes that fit together.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betainc, betaln, xlog1py, xlogy

from charkha.monitoring.sequential.arrays import FloatArray

# How closely the mixture of an assignment's shares lies around the one that was declared: as a thousand entities say.
CLOSENESS = 1_000.0


def log_e_above(hits: ArrayLike, misses: ArrayLike, limit: ArrayLike) -> FloatArray:
    """Return the logarithm of the e-value against a probability of a hit of at most `limit`.

    The likelihood of the hits and misses, mixed over all probabilities above the limit by Jeffreys' prior, against that
    of the limit itself, which is the best of those below.
    """
    hit, miss = np.asarray(hits, dtype=np.float64), np.asarray(misses, dtype=np.float64)
    at_limit = xlogy(hit, limit) + xlog1py(miss, -np.asarray(limit, dtype=np.float64))
    with np.errstate(divide="ignore"):
        above = np.log(betainc(miss + 0.5, hit + 0.5, 1 - np.asarray(limit, dtype=np.float64)))
        prior = np.log(betainc(0.5, 0.5, 1 - np.asarray(limit, dtype=np.float64)))
    return np.asarray(betaln(hit + 0.5, miss + 0.5) - betaln(0.5, 0.5) + above - prior - at_limit)


def log_e_more(events: ArrayLike, others: ArrayLike, share: ArrayLike, factor: ArrayLike = 1.0) -> FloatArray:
    """Return the logarithm of the e-value against events being at most `factor` times as frequent as in the other arm.

    events, others: in this arm and in the other. share: of the traffic that this arm has.
    """
    part = np.asarray(share, dtype=np.float64)
    odds = part / (1 - part) * np.asarray(factor, dtype=np.float64)
    return log_e_above(events, others, odds / (1 + odds))


def log_e_uneven(mine: ArrayLike, others: ArrayLike, share: ArrayLike) -> FloatArray:
    """Return the logarithm of the e-value against entities falling into an arm with its declared share.

    The sequential multinomial test of a sample ratio mismatch (Lindon and Malek 2022), for two arms.
    """
    a, b = CLOSENESS * np.asarray(share, dtype=np.float64), CLOSENESS * (1 - np.asarray(share, dtype=np.float64))
    declared = xlogy(mine, share) + xlog1py(others, -np.asarray(share, dtype=np.float64))
    of_mine, of_others = np.asarray(mine, dtype=np.float64), np.asarray(others, dtype=np.float64)
    return np.asarray(betaln(a + of_mine, b + of_others) - betaln(a, b) - declared)


def band(count: ArrayLike, alpha: float) -> FloatArray:
    """Return how far an empirical distribution function may lie from the true one, at all times and places at once.

    The time-uniform Dvoretzky-Kiefer-Wolfowitz inequality of Howard and Ramdas (2022, theorem 2). count: of values.
    """
    n = np.maximum(np.asarray(count, dtype=np.float64), 1.0)
    width = 0.85 * np.sqrt((np.log(np.log(np.e * n)) + 0.8 * np.log(1612 / alpha)) / n)
    return np.where(np.asarray(count) > 0, np.minimum(width, 1.0), 1.0)


def shift_at_least(mine: FloatArray, others: FloatArray, alpha: float) -> FloatArray:
    """Return a lower bound of the largest distance of two distribution functions, 0 to 1, (…,).

    mine, others: counts (…, bins) of the values of each arm in the same bins, ascending. Holds at all times at once
    with probability 1 - alpha.
    """
    of_mine, of_others = mine.sum(axis=-1), others.sum(axis=-1)
    below = np.cumsum(mine, axis=-1) / np.maximum(of_mine, 1.0)[..., None]
    below_others = np.cumsum(others, axis=-1) / np.maximum(of_others, 1.0)[..., None]
    distance = np.abs(below - below_others).max(axis=-1)
    bound: FloatArray = np.maximum(distance - band(of_mine, alpha / 2) - band(of_others, alpha / 2), 0.0)
    return bound
