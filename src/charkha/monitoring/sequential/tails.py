"""How rare a value beyond the history is: generalised Pareto tails (Pickands 1975), fitted by moments.

A history of n blocks can show by its ranks that a value is rarer than 1 in n, and no more. Beyond its highest tenth
the excesses over a threshold follow a generalised Pareto distribution, for most distributions there are. Its weighted
moments give it in closed form (Hosking and Wallis 1987), for many checks at once, without a search that may fail.
"""

from typing import Self

import numpy as np
from attrs import frozen

from charkha.monitoring.sequential.arrays import BoolArray, FloatArray, IntArray

# The share of the history that its tail is fitted to, and how many values at least.
SHARE, LEAST_VALUES = 0.1, 10
# A tail is never believed to be as thin as an exponential, however the history looks: that a value is too far out to be
# healthy would then be said too soon. Heavier than 1/2 it has no variance, and the moments are of no use.
LIGHTEST, HEAVIEST = 0.1, 0.5


@frozen(eq=False)
class Tails:
    """Upper tails of many checks. All float64 (checks,).

    threshold: where the tail begins. scale: of the excess, in the unit of the value. shape: 0 is exponential, 1/2 very
    heavy. values: int64, how many of the history are beyond the threshold.
    """

    threshold: FloatArray
    scale: FloatArray
    shape: FloatArray
    values: IntArray

    @classmethod
    def of(cls, ordered: FloatArray, blocks: FloatArray) -> Self:
        """Fit the tails of histories (blocks, checks), each check ascending with its NaN last. blocks: without NaN.

        The shape is taken one standard error heavier than it looks, for a tail is wanted that is not too thin.
        """
        last = blocks.astype(np.int64) - 1
        beyond = np.maximum(np.ceil(SHARE * blocks), LEAST_VALUES).astype(np.int64)
        beyond = np.minimum(beyond, last)
        checks = np.arange(ordered.shape[1])
        threshold = ordered[last - beyond, checks]
        place = np.arange(len(ordered))[:, None]
        inside = (place > last - beyond) & (place <= last)
        excess = np.where(inside, ordered - threshold, 0.0)
        # The weight of the i-th smallest excess: the share of those above it.
        above = np.where(inside, (last - place) / np.maximum(beyond - 1, 1), 0.0)
        mean, weighted = excess.sum(axis=0) / beyond, (above * excess).sum(axis=0) / beyond
        least = np.maximum(np.abs(threshold), 1.0) * 1e-12
        apart = np.maximum(mean - 2 * weighted, least)
        shape = 2 - mean / apart
        shape = np.clip(shape + (1 + np.abs(shape)) / np.sqrt(beyond), LIGHTEST, HEAVIEST)
        # With its shape made heavier, a tail keeps its mean excess: scale / (1 - shape).
        scale = np.maximum(mean * (1 - shape), least)
        return cls(threshold, scale, shape, beyond)

    def beyond(self, value: FloatArray) -> FloatArray:
        """Return the probability that a value of the tail is as high, from 0 to 1; 1 below the threshold."""
        excess = np.maximum(value - self.threshold, 0.0) / self.scale
        heavy = np.maximum(self.shape, 1e-9)
        return np.exp(-np.log1p(heavy * excess) / heavy)

    def only(self, checks: BoolArray) -> Self:
        """Return the tails of some of the checks."""
        return type(self)(self.threshold[checks], self.scale[checks], self.shape[checks], self.values[checks])
