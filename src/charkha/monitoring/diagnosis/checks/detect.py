"""From a null and what was observed to what has changed, when that was plain and since when."""

from collections.abc import Iterator

import numpy as np
from attrs import frozen

from charkha.monitoring.sequential.alarms import alarms
from charkha.monitoring.sequential.arrays import FloatArray, IntArray
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
    checks = np.flatnonzero(rang.any(axis=0))
    blocks = rang[:, checks].argmax(axis=0)
    evidence = _evidence(log_e[:, checks], alike[checks], blocks)
    for check, block, own in zip(checks.tolist(), blocks.tolist(), evidence.tolist(), strict=True):
        yield Changed(check, block, onset(log_e[: block + 1, check] / alike[check]), own)


def _evidence(log_e: FloatArray, alike: FloatArray, blocks: IntArray) -> FloatArray:
    """Return the evidence of each check at a block of its own: (checks,)."""
    trail = Trail.start(log_e.shape[1], log_e.shape[2])
    found = np.zeros(len(blocks))
    for block in range(int(blocks.max(initial=-1)) + 1):
        trail = trail.looked(block, log_e[block], alike)
        now = blocks == block
        if now.any():
            found[now] = trail.evidence[now]
    return found
