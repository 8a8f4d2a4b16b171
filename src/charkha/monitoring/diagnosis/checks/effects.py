"""Effects: by how much something moved in each block of time, with the variance that its rows alone give it.

The null is a random-effects model (DerSimonian and Laird 1986): healthy effects wander from block to block by more than
their rows explain. The evidence is the likelihood ratio of effects that moved by each of some steps, under Student's t
with few degrees of freedom, so that a single stormy day counts for little and what lasts for much.
"""

from typing import Self

import numpy as np
from attrs import frozen
from scipy.special import stdtr

from charkha.monitoring.sequential.arrays import FloatArray
from charkha.monitoring.sequential.null import MARGIN, PerCheck, enough

STEPS = np.array([0.5, 1.0, 2.0])
# Degrees of freedom of a healthy effect, of which a month of days tells the wander: the t distribution is what a new
# one has when its variance is an estimate, so the wander is a plain estimate and not the upper end of an interval.
DEGREES = 30.0


@frozen(eq=False)
class Effects(PerCheck):
    """Which effects are healthy. All float64 (checks,).

    centre: their mean. wander: their variance beside that of rows. error: the standard error of the centre, were blocks
    independent. width, alike: see `Null`.
    """

    centre: FloatArray
    wander: FloatArray
    error: FloatArray
    width: FloatArray
    alike: FloatArray

    @classmethod
    def of(cls, effect: FloatArray, variance: FloatArray) -> Self:
        """Learn from a history of blocks (blocks, checks); NaN and infinite where a block says nothing.

        Raises ValueError for a history that is too short.
        """
        told = np.isfinite(effect) & np.isfinite(variance)
        blocks = told.sum(axis=0).astype(np.float64)
        enough(blocks)
        value = np.where(told, effect, 0.0)
        precision = np.where(told, 1 / np.where(told, variance, 1.0), 0.0)
        centre = (precision * value).sum(axis=0) / precision.sum(axis=0)
        beyond = (precision * (value - centre) ** 2).sum(axis=0) - (blocks - 1)
        wander = np.maximum(beyond, 0.0) / (precision.sum(axis=0) - (precision**2).sum(axis=0) / precision.sum(axis=0))
        weight = np.where(told, 1 / (np.where(told, variance, 1.0) + wander), 0.0)
        centre = (weight * value).sum(axis=0) / weight.sum(axis=0)
        return cls(centre, wander, 1 / np.sqrt(weight.sum(axis=0)), np.ones_like(centre), np.ones_like(centre))

    def log_e(self, *observed: FloatArray) -> FloatArray:
        """Return log e-values (…, checks, 2 × steps), a rise first, of effects and their variances."""
        effect, variance = observed
        told = np.isfinite(effect) & np.isfinite(variance)
        spread = np.sqrt(np.where(told, variance, 1.0) + self.wander)
        away = np.where(told, effect - self.centre, 0.0)
        margin = MARGIN * self.error * np.sqrt(self.width * self.alike)
        sides = [_moved((sign * away - margin) / spread, STEPS / spread[..., None]) for sign in (1, -1)]
        both = np.concatenate(sides, axis=-1) / self.width[:, None]
        return np.where(told[..., None], both, 0.0)


def _moved(z: FloatArray, steps: FloatArray) -> FloatArray:
    """Return the log likelihood ratios of Student's t moved by steps, against not.

    Beyond its highest point a ratio stays as high, for what is further out is no less evidence; and it is divided by
    the mean that it then has, so that it remains an e-value.
    """
    highest = (steps + np.sqrt(steps**2 + 4 * DEGREES)) / 2
    ratio = _ratio(np.minimum(z[..., None], highest), steps)
    mean = stdtr(DEGREES, highest - steps) + np.exp(_ratio(highest, steps)) * stdtr(DEGREES, -highest)
    fair: FloatArray = ratio - np.log(mean)
    return fair


def _ratio(z: FloatArray, steps: FloatArray) -> FloatArray:
    ratio: FloatArray = np.log1p(z**2 / DEGREES) - np.log1p((z - steps) ** 2 / DEGREES)
    return ratio * (DEGREES + 1) / 2
