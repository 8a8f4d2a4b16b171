"""Evidence that a count (of requests, of rows that arrived) is not what is usual at that hour.

Counts are negative binomial under the null, their dispersion estimated from the history around what is usual. The
evidence is the likelihood ratio of a rate that is higher or lower by each of some factors; the margin and the mixture
are those of shares.
"""

from typing import Self

import numpy as np
from attrs import frozen

from charkha.monitoring.sequential.arrays import FloatArray
from charkha.monitoring.sequential.null import MARGIN, PerCheck, enough, excess

# In logarithms of the rate: ± 10 % to fifty times as much, or almost nothing.
STEPS = np.array([0.1, 0.25, 0.5, 1.0, 2.0, 4.0])
# With less than this expected, a block that is empty says nothing of a fall, and its ratio is 0 / 0.
LEAST_USUAL = 1e-9
LEAST_DISPERSION = 1e-9


@frozen(eq=False)
class Counts(PerCheck):
    """How counts vary around the usual. All float64 (checks,).

    dispersion: the variance of a block is usual + dispersion × usual². error: the standard error of the logarithm of
    the rate, were blocks independent. width, alike: see `Null`.
    """

    dispersion: FloatArray
    error: FloatArray
    width: FloatArray
    alike: FloatArray

    @classmethod
    def of(cls, counts: FloatArray, usual: FloatArray) -> Self:
        """Learn from a history of blocks (blocks, checks): what was counted, and what was usual (NaN: not known).

        What is usual must not have been learnt from the block itself: see `blocks.usual_apart`.
        Raises ValueError for a history that is too short or negative.
        """
        if np.any(counts < 0):
            raise ValueError("expected counts that are not negative")
        told = (usual > LEAST_USUAL) & np.isfinite(counts)
        blocks = told.sum(axis=0).astype(np.float64)
        enough(blocks)
        expected = np.where(told, usual, 0.0)
        residual = np.where(told, (counts - expected) ** 2 / np.where(told, usual, 1.0), 0.0)
        over = excess(residual.sum(axis=0), blocks)
        dispersion = np.maximum(over * blocks / expected.sum(axis=0), LEAST_DISPERSION)
        total = (expected + dispersion * expected**2).sum(axis=0)
        return cls(
            dispersion, np.sqrt(total) / expected.sum(axis=0), np.ones_like(dispersion), np.ones_like(dispersion)
        )

    def log_e(self, *observed: FloatArray) -> FloatArray:
        """Return log e-values (…, checks, 2 × steps), of a rise first, of counts and of what is usual then."""
        counts, usual = observed
        told = (usual > LEAST_USUAL) & np.isfinite(counts)
        count, expected = np.where(told, counts, 0.0), np.where(told, usual, 0.0)
        margin = MARGIN * self.error * np.sqrt(self.width * self.alike)
        sides = [self._moved(count, expected * np.exp(sign * margin), sign * STEPS) for sign in (1, -1)]
        return np.concatenate(sides, axis=-1) / self.width[:, None]

    def surprise(self, *observed: FloatArray) -> FloatArray:
        """Return log e-values less those of counts that are as usual."""
        counts, usual = observed
        return self.log_e(counts, usual) - self.log_e(np.where(np.isfinite(counts), usual, np.nan), usual)

    def _moved(self, count: FloatArray, expected: FloatArray, steps: FloatArray) -> FloatArray:
        """Return the log likelihood ratios of rates that are exp(step) times as high."""
        dispersion = self.dispersion[:, None]
        gained = expected[..., None] * np.expm1(steps)
        # log (1 + d m₁) / (1 + d m₀), exact also where the dispersion is next to nothing (Poisson).
        weight = np.log1p(dispersion * gained / (1 + dispersion * expected[..., None]))
        return count[..., None] * (steps - weight) - weight / dispersion
