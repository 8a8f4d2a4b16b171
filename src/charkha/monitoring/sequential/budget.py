"""How many false alarms a year are bearable, and what each check may spend of them."""

from math import inf, log

import numpy as np
from attrs import field, frozen
from numpy.typing import ArrayLike

from charkha.monitoring.sequential.arrays import FloatArray

HOURS_PER_YEAR = 24 * 365.25


def _positive(instance: object, attribute: object, value: float) -> None:
    if not 0 < value < inf:
        raise ValueError(f"expected {getattr(attribute, 'name', 'a number')} above 0, got {value}")


@frozen
class Budget:
    """False alarms a model may give in a year of looks, over all its checks.

    alarms_per_year: more of them find smaller faults sooner; the delay shrinks with the logarithm only. looks_per_hour:
    how often a check gets a new block, 1/24 for days. Looks without a new block cost nothing, for they say nothing.
    checks: how many share the budget, those of all segments and versions counted.
    """

    alarms_per_year: float = field(default=1.0, validator=_positive)
    looks_per_hour: float = field(default=1.0, validator=_positive)
    checks: int = field(default=1, validator=_positive)

    @property
    def looks_per_year(self) -> float:
        """How many blocks a check gets in a year."""
        return HOURS_PER_YEAR * self.looks_per_hour

    @property
    def looks_between(self) -> float:
        """The average run length: how many healthy blocks of one check there are to be to one false alarm."""
        return max(self.looks_per_year * self.checks / self.alarms_per_year, 1.0)

    @property
    def log_level(self) -> float:
        """The logarithm of what the evidence (`Trail.evidence`) of a check has to reach."""
        return log(self.looks_between)

    def shared(self, weights: ArrayLike) -> FloatArray:
        """Return the level of each check where some may spend more than others. weights: above 0, one for each check.

        Raises ValueError for other weights.
        """
        given = np.asarray(weights, dtype=np.float64)
        if given.shape != (self.checks,) or not np.all(given > 0):
            raise ValueError(f"expected {self.checks} weights above 0, got {given.tolist()}")
        levels: FloatArray = np.maximum(self.log_level - np.log(given * self.checks / given.sum()), 0.0)
        return levels
