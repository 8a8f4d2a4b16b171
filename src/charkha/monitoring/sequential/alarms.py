"""Alarms over many blocks at once: what an hourly look would have said, for a history, a drill or a benchmark."""

import numpy as np

from charkha.monitoring.sequential.arrays import BoolArray, FloatArray

# e^300: an alarm at any level, and no overflow.
MOST = 300.0


def alarms(log_e: FloatArray, alike: FloatArray, log_level: FloatArray | float) -> BoolArray:
    """Return at which blocks each check rings, with a restart after every alarm: bool (blocks, checks).

    log_e: (blocks, checks, alternatives). alike: (checks,), of their null. log_level: of `Trail.evidence`, one or one
    for each check. It is `Trail` without what alarms do not need: no logarithms, since a restart keeps sums small.
    """
    blocks, checks, alternatives = log_e.shape
    level = np.broadcast_to(np.exp(log_level), (checks,)) * alternatives * 2
    sums, once = np.zeros((checks, alternatives)), np.zeros(checks)
    rang = np.zeros((blocks, checks), dtype=np.bool_)
    for block in range(blocks):
        bounded = np.minimum(log_e[block], MOST)
        once += np.exp(bounded).sum(axis=-1)
        sums += 1
        sums *= np.exp(bounded / alike[:, None])
        rang[block] = sums.sum(axis=-1) + once >= level
        sums[rang[block]] = 0
        once[rang[block]] = 0
    return rang
