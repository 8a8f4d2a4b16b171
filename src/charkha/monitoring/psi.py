"""The population stability index: how far a distribution over bins has moved from its reference.

    PSI = Σ (p - q) · ln(p / q)        q: shares of the reference, p: shares now

A bin that is empty on one side would make it infinite, so half an observation is added to every bin of both sides
(the prior of Jeffreys). By the convention of banks, below 0.1 nothing has moved and above 0.25 much has.
"""

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike

from charkha.spec.model import FloatArray

HALF_AN_OBSERVATION = 0.5
Z_95 = 1.959963984540054


@frozen
class Psi:
    """An index and its 95 % interval, in no unit; none is below zero."""

    value: float
    low: float
    high: float


def psi(reference: ArrayLike, current: ArrayLike) -> float:
    """Return the index of two histograms over the same bins (counts, one per bin); 0 when they have the same shares.

    Raises ValueError when the histograms have not the same bins, or none.
    """
    q, p = _smoothed_shares(reference, current)
    return float(((p - q) * np.log(p / q)).sum())


def psi_interval(reference: ArrayLike, current: ArrayLike) -> Psi:
    """Return the index with its 95 % interval (delta method), the interval less what chance alone adds.

    Two samples of one distribution differ by chance: over k bins, n and m rows have an expected index of
    (k - 1)(1/n + 1/m). It is taken off the bounds, so that a small sample does not look like a drift. Rows are taken
    to be independent; rows of one day are often alike, so the interval of a few days is somewhat too narrow.
    Raises ValueError when the histograms have not the same bins, or none.
    """
    q, p = _smoothed_shares(reference, current)
    log_ratio = np.log(p / q)
    rows, reference_rows = _rows(current), _rows(reference)
    variance = _variance(p, log_ratio + 1 - q / p, rows) + _variance(q, -log_ratio + 1 - p / q, reference_rows)
    by_chance = (len(p) - 1) * (1 / rows + 1 / reference_rows)
    value = float(((p - q) * log_ratio).sum())
    half_width = Z_95 * float(np.sqrt(variance))
    return Psi(value, max(0.0, value - by_chance - half_width), max(0.0, value - by_chance + half_width))


def _smoothed_shares(reference: ArrayLike, current: ArrayLike) -> tuple[FloatArray, FloatArray]:
    q, p = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    if q.ndim != 1 or q.shape != p.shape or len(q) == 0:
        raise ValueError(f"expected two histograms over the same bins, got shapes {q.shape} and {p.shape}")
    q, p = q + HALF_AN_OBSERVATION, p + HALF_AN_OBSERVATION
    return q / q.sum(), p / p.sum()


def _rows(counts: ArrayLike) -> float:
    smoothed = np.asarray(counts, dtype=np.float64) + HALF_AN_OBSERVATION
    return float(smoothed.sum())


def _variance(shares: FloatArray, slope: FloatArray, rows: float) -> float:
    """The variance of a smooth function of multinomial shares, whose derivative by each share is `slope`."""
    spread = float((shares * slope**2).sum() - (shares * slope).sum() ** 2)
    return max(0.0, spread) / rows
