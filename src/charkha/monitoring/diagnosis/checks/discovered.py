"""From a null and what was observed to what has changed: at which block that was plain, and since when.

All checks are looked at together, and at each block e-BH says which of them are discoveries: so the many slices in
which one may look for a culprit are counted. A check once found stays found.
"""

from collections.abc import Iterator

import numpy as np
from attrs import frozen

from charkha.monitoring.sequential.arrays import FloatArray
from charkha.monitoring.sequential.budget import Budget
from charkha.monitoring.sequential.calibration import calibrated
from charkha.monitoring.sequential.discoveries import e_bh, over
from charkha.monitoring.sequential.null import Null
from charkha.monitoring.sequential.onset import Onset, onset
from charkha.monitoring.sequential.trail import Trail


@frozen
class Discovery:
    """One check that has changed.

    block: at which it was plain, counted from the first watched one. rise: whether it rose. evidence: the logarithm of
    the e-value over a year of looks.
    """

    check: int
    block: int
    rise: bool
    onset: Onset
    evidence: float


def discovered(
    null: Null, healthy: tuple[FloatArray, ...], watched: tuple[FloatArray, ...], budget: Budget
) -> Iterator[Discovery]:
    """Yield each check that has changed; those that cannot be calibrated are silent.

    healthy, watched: as the null's `log_e` takes them, (blocks, checks).
    """
    tried = calibrated(null, healthy, budget)
    log_e, alike = tried.null.log_e(*watched), tried.null.alike
    blocks, checks, alternatives = log_e.shape
    looks, alpha = budget.looks_per_year / budget.alarms_per_year, 1.0
    trail, found = Trail.start(checks, alternatives), np.zeros(checks, dtype=np.bool_)
    for block in range(blocks):
        trail = trail.looked(block, log_e[block], alike)
        evidence = np.where(tried.usable, over(trail.evidence, looks), -np.inf)
        new = e_bh(evidence, alpha) & ~found
        for check in np.flatnonzero(new).tolist():
            since = onset(log_e[: block + 1, check] / alike[check])
            rise = bool(trail.best[check].argmax() < alternatives // 2)
            yield Discovery(check, block, rise, since, float(evidence[check]))
        found |= new
