"""What is healthy, as a hypothesis that blocks speak against."""

from typing import Protocol, Self

import numpy as np
from attrs import evolve
from scipy.special import chdtri

from charkha.monitoring.sequential.arrays import BoolArray, FloatArray

# A history is too short to learn from below so many blocks.
LEAST_BLOCKS = 14
# A null is as wide as what its history cannot tell apart from it: so many standard errors to either side.
MARGIN = 2.0
# Dispersions are the upper ends of one-sided intervals of this level: a short history gives a wider null.
CAUTION = 0.9


class Null(Protocol):
    """What is healthy for many checks at once, learnt from their history.

    width, alike: float64 (checks,), at least 1, by which the variance of one block exceeds the model's, and that of a
    sum of blocks the sum of theirs. Logarithms of e-values are divided by the first, those of their products by both:
    for a Gaussian statistic that is exactly the wider likelihood, and for any other it keeps the mean of an e-value
    below 1 (Jensen's inequality). Both widen the margin.
    """

    @property
    def width(self) -> FloatArray:
        """The factor of a block."""

    @property
    def alike(self) -> FloatArray:
        """The factor of a sum of blocks."""

    def log_e(self, *observed: FloatArray) -> FloatArray:
        """Return log e-values (…, checks, alternatives) of blocks (…, checks), each for itself; 0 for no data."""

    def surprise(self, *observed: FloatArray) -> FloatArray:
        """Return the same less what the blocks would have said had they been as expected.

        An hour of many rows says more than one of few, by day and by night: that is not what makes hours alike.
        """

    def widened(self, width: FloatArray, alike: FloatArray) -> Self:
        """Return the null with its factors multiplied."""

    def only(self, checks: BoolArray) -> Self:
        """Return the null of some of the checks."""


class PerCheck:
    """A null whose every field is an array with the checks as its last axis, `width` and `alike` among them."""

    width: FloatArray
    alike: FloatArray

    def widened(self, width: FloatArray, alike: FloatArray) -> Self:
        """Return the null with its factors multiplied."""
        return evolve(self, width=self.width * width, alike=self.alike * alike)  # type: ignore[misc]

    def only(self, checks: BoolArray) -> Self:
        """Return the null of some of the checks."""
        names = [field.name for field in self.__attrs_attrs__]  # type: ignore[attr-defined]
        return evolve(self, **{name: getattr(self, name)[..., checks] for name in names})  # type: ignore[misc]


def enough(blocks: FloatArray) -> None:
    """Raise ValueError when a check has too few blocks of history. blocks: how many each has, (checks,)."""
    if blocks.size and blocks.min() < LEAST_BLOCKS:
        found, check = int(blocks.min()), int(blocks.argmin())
        raise ValueError(
            f"check {check} has {found} blocks of healthy history, and {LEAST_BLOCKS} are needed to say what is usual: "
            "take shorter blocks, or a longer history"
        )


def excess(pearson: FloatArray, blocks: FloatArray) -> FloatArray:
    """Return by how much the variance of blocks exceeds the model's, as a share of it: χ²/df - 1, its upper end, ≥ 0.

    pearson: the sum of squared standardised residuals of each check. blocks: how many they are of.
    """
    degrees = np.maximum(blocks - 1, 1.0)
    least = chdtri(degrees, CAUTION)
    beyond: FloatArray = np.maximum(pearson / least - 1, 0.0)
    return beyond
