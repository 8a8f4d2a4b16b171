"""From a null and what was observed to what has changed, when that was plain and since when."""

from collections.abc import Iterator

import numpy as np
from attrs import frozen

from charkha.monitoring.sequential.alarms import alarms
from charkha.monitoring.sequential.arrays import FloatArray
from charkha.monitoring.sequential.budget import Budget
from charkha.monitoring.sequential.calibration import calibrated
from charkha.monitoring.sequential.null import Null
from charkha.monitoring.sequential.onset import Onset, onset
from charkha.monitoring.sequential.trail import Trail


@frozen
class Changed:
    """One check that rang. block: at which, counted from the first watched one. evidence: logarithm of the e-value."""

    check: int
    block: int
    onset: Onset
    evidence: float


def changed(
    null: Null, healthy: tuple[FloatArray, ...], watched: tuple[FloatArray, ...], budget: Budget
) -> Iterator[Changed]:
    """Yield each check that rings in the watched blocks, at its first alarm; those that cannot be calibrated do not.

    healthy, watched: as the null's `log_e` takes them, (blocks, checks).
    """
    found = calibrated(null, healthy, budget)
    log_e, alike = found.null.log_e(*watched), found.null.alike
    rang = alarms(log_e, alike, budget.log_level) & found.usable
    for check in np.flatnonzero(rang.any(axis=0)).tolist():
        block = int(rang[:, check].argmax())
        own = log_e[: block + 1, [check]]
        trail = Trail.start(1, own.shape[-1])
        for each in range(block + 1):
            trail = trail.looked(each, own[each], alike[[check]])
        yield Changed(check, block, onset(own[:, 0] / alike[check]), float(trail.evidence[0]))
