"""The population stability index: how far a distribution over bins has moved from its reference.

    PSI = Σ (p - q) · ln(p / q)        q: shares of the reference, p: shares now

A bin that is empty on one side would make it infinite, so half an observation is added to every bin of both sides
(the prior of Jeffreys). By the convention of banks, below 0.1 nothing has moved and above 0.25 much has.
"""

from typing import Literal

import numpy as np
from attrs import frozen
from numpy.typing import ArrayLike

from charkha.spec.model import FloatArray

Band = Literal["stable", "watch", "act"]
# The convention of banks: below the first nothing has moved, above the second something must be done.
WATCH, ACT = 0.1, 0.25
# With fewer rows on a side than this the interval itself is not to be trusted.
LEAST_ROWS = 30
HALF_AN_OBSERVATION = 0.5
Z_95 = 1.959963984540054


@frozen
class Psi:
    """An index and its 95 % interval, in no unit; none is below zero.

    by_chance: what the index of so many rows is expected to be where nothing moved. rows: of the smaller side.
    """

    value: float
    low: float
    high: float
    by_chance: float
    rows: int

    @property
    def band(self) -> Band | None:
        """What the convention of banks says of the index; None where there are too few rows to say it.

        There are too few where the interval reaches into another band, where a side has fewer than `LEAST_ROWS`, and
        where chance alone would take what did not move out of its band: only "act" can be said then.
        """
        band = band_of(self.low)
        told = self.rows >= LEAST_ROWS and band == band_of(self.high) and (self.by_chance < WATCH or band == "act")
        return band if told else None

    @property
    def words(self) -> str:
        """The band, both where the interval reaches from one into another, or that there are too few rows."""
        if self.band is not None:
            return self.band
        bands = dict.fromkeys(map(band_of, (self.low, self.high)))
        few = self.rows < LEAST_ROWS or self.by_chance >= WATCH or len(bands) == 1
        return "too few rows" if few else " or ".join(bands)


def band_of(index: float) -> Band:
    """Return what the convention of banks says of an index that is known exactly."""
    return "stable" if index < WATCH else "watch" if index < ACT else "act"


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
    low, high = (max(0.0, value - by_chance + side * half_width) for side in (-1, 1))
    smaller = min(int(np.sum(reference)), int(np.sum(current)))
    return Psi(value, low, high, by_chance, smaller)


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
