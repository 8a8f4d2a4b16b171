"""Evidence that a statistic of any kind (a mean, a distance, a loss) is not what it was, by its rank in a history.

Where a block's value stands among those of the history gives p-values above and below it, with no assumption on its
distribution. Three things make them honest:

- a history is only a sample: the p-value is the upper end of what the rank can stand for (Wilson 1927;
  "calibration-conditional" conformal p-values: Bates, Candès, Lei, Romano and Sesia 2023, "Testing for outliers with
  conformal p-values"), so that one history, looked at for a year, does not betray itself;
- beyond the highest tenth of the history a generalised Pareto tail takes over (`tails`);
- and no p-value is below 1 / (`BEYOND` × blocks of the history): the resolution, which is told.

Evidence is the normal-score calibrator's, for statistics that moved by each of some steps to either side.
"""

from typing import Literal, Self

import numpy as np
from attrs import evolve, frozen
from scipy.special import ndtri

from charkha.monitoring.sequential.arrays import BoolArray, FloatArray, IntArray
from charkha.monitoring.sequential.null import MARGIN, enough
from charkha.monitoring.sequential.tails import Tails

# In standard deviations of a block's statistic: four days of hours show the first, one hour the last.
STEPS = np.array([0.5, 1.0, 2.0, 4.0, 6.0])
# How many times longer than the history the time may be in which a value is thought to come once. A month of hours so
# lets one block be enough for an alarm at one false alarm a year; the tails that say so are taken rather too heavy.
BEYOND = 1e6
# Of the orders of magnitude by which a fitted tail says that a value is rare, so many are believed: a tail that was
# fitted to some dozens of values is wrong by orders of magnitude where it is extended furthest.
TRUST = 2 / 3
# A normal quantile of exactly 1 is infinite.
MOST_P = 1 - 1e-12


@frozen(eq=False)
class Ranks:
    """Which values are healthy, of many checks.

    ordered: float64 (blocks, checks), each check's history ascending, NaN last. blocks: float64 (checks,), without NaN.
    upper, lower: the tails of the values, and of the values with their sign turned. width, alike: see `Null`.
    """

    ordered: FloatArray
    blocks: FloatArray
    upper: Tails
    lower: Tails
    width: FloatArray
    alike: FloatArray

    @classmethod
    def of(cls, values: FloatArray) -> Self:
        """Learn from a history of blocks (blocks, checks), NaN where a block had no data.

        Raises ValueError for a history that is too short.
        """
        blocks = np.isfinite(values).sum(axis=0).astype(np.float64)
        enough(blocks)
        ordered = np.sort(np.where(np.isfinite(values), values, np.nan), axis=0)
        turned = np.sort(-ordered, axis=0)
        return cls(ordered, blocks, Tails.of(ordered, blocks), Tails.of(turned, blocks), *np.ones((2, len(blocks))))

    @property
    def resolution(self) -> FloatArray:
        """The smallest p-value of one block, (checks,)."""
        return 1 / (BEYOND * (self.blocks + 1))

    def p_above(self, values: FloatArray) -> FloatArray:
        """Return the probability of a value at least as high, blocks (…, checks); 1 where there is none."""
        lower = _searched(self.ordered, values, "left")
        return self._p(values, self.blocks - np.minimum(lower, self.blocks), self.upper)

    def p_below(self, values: FloatArray) -> FloatArray:
        """Return the probability of a value at most as high, blocks (…, checks); 1 where there is none."""
        return self._p(-values, np.minimum(_searched(self.ordered, values, "right"), self.blocks), self.lower)

    def log_e(self, *observed: FloatArray) -> FloatArray:
        """Return log e-values (…, checks, 2 × steps), of a rise first, of the blocks' values."""
        (values,) = observed
        sides = [-ndtri(p)[..., None] * STEPS - STEPS**2 / 2 for p in (self.p_above(values), self.p_below(values))]
        told = np.isfinite(values)[..., None]
        return np.where(told, np.concatenate(sides, axis=-1), 0.0) / self.width[:, None]

    def surprise(self, *observed: FloatArray) -> FloatArray:
        """Return log e-values: all blocks say as much."""
        return self.log_e(*observed)

    def widened(self, width: FloatArray, alike: FloatArray) -> Self:
        """Return the null with its factors multiplied."""
        return evolve(self, width=self.width * width, alike=self.alike * alike)

    def only(self, checks: BoolArray) -> Self:
        """Return the null of some of the checks."""
        return type(self)(
            self.ordered[:, checks],
            self.blocks[checks],
            self.upper.only(checks),
            self.lower.only(checks),
            self.width[checks],
            self.alike[checks],
        )

    def _p(self, values: FloatArray, as_far: FloatArray, tails: Tails) -> FloatArray:
        """Return p-values. as_far: how many of the history are at least as far out."""
        in_tail = self._at_most(tails.values) * tails.beyond(values) ** TRUST
        by_rank = self._at_most(as_far)
        p = np.where(values > tails.threshold, np.minimum(in_tail, by_rank), by_rank)
        return np.where(np.isfinite(values), np.clip(p, self.resolution, MOST_P), MOST_P)

    def _at_most(self, as_far: FloatArray | IntArray) -> FloatArray:
        """Return what share of all blocks may be as far out as so many of the history, by the upper end of an interval.

        Blocks that are alike count for fewer.
        """
        worth, z2 = self.blocks / self.alike, MARGIN**2
        share = as_far / self.blocks
        half = MARGIN * np.sqrt(share * (1 - share) / worth + z2 / (4 * worth**2))
        return (share + z2 / (2 * worth) + half) / (1 + z2 / worth)


def _searched(ordered: FloatArray, values: FloatArray, side: Literal["left", "right"]) -> FloatArray:
    """Return the place of values (…, checks) among those of their check's history."""
    flat = values.reshape(-1, values.shape[-1])
    pairs = zip(ordered.T, flat.T, strict=True)
    places = np.stack([np.searchsorted(history, now, side=side) for history, now in pairs], axis=-1)
    return places.reshape(values.shape).astype(np.float64)
