"""Evidence that one of several that should be alike is not: its hits, given those of all.

If rows are exchangeable between members (replicas behind one balancer), the hits of a member are hypergeometric given
how many rows it has and how many hits all have, whatever the share is and however it moves: nothing has to be learnt.
The bet on odds that are θ times as high pays θ^h / (1 - p + p θ)^n; its mean is at most 1 because draws without
replacement are less spread than draws with it, for every convex function (Hoeffding 1963, theorem 4), and draws from
several strata less than from one with their mean share (Hoeffding 1956).
"""

from typing import Self

import numpy as np
from attrs import frozen

from charkha.monitoring.sequential.arrays import FloatArray
from charkha.monitoring.sequential.null import PerCheck
from charkha.monitoring.sequential.shares import STEPS


@frozen(eq=False)
class Exchangeable(PerCheck):
    """Members that are alike. width, alike: see `Null`; float64 (checks,), above 1 where a healthy history was not."""

    width: FloatArray
    alike: FloatArray

    @classmethod
    def of(cls, checks: int) -> Self:
        """Return the null of so many checks."""
        return cls(np.ones(checks), np.ones(checks))

    def log_e(self, *observed: FloatArray) -> FloatArray:
        """Return log e-values (…, checks, 2 × steps), a rise first, of hits, rows, and all's share."""
        hits, rows, share = observed
        sides = [self._bet(hits, rows, share), self._bet(rows - hits, rows, 1 - share)]
        return np.concatenate(sides, axis=-1) / self.width[:, None]

    def surprise(self, *observed: FloatArray) -> FloatArray:
        """Return log e-values less those of as many hits as the share of all asks for."""
        _, rows, share = observed
        return self.log_e(*observed) - self.log_e(rows * share, rows, share)

    def _bet(self, hits: FloatArray, rows: FloatArray, share: FloatArray) -> FloatArray:
        paid = np.log1p(share[..., None] * np.expm1(STEPS))
        ratios: FloatArray = hits[..., None] * STEPS - rows[..., None] * paid
        return ratios
