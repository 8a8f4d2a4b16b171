"""Alarms over many blocks at once: what an hourly look would have said, for a history, a drill or a benchmark."""

import numpy as np

from charkha.monitoring.sequential.arrays import BoolArray, FloatArray, IntArray

# e^300: an alarm at any level, and no overflow.
MOST = 300.0


def alarms(log_e: FloatArray, alike: FloatArray, log_level: FloatArray | float) -> BoolArray:
    """Return at which blocks each check rings, with a restart after every alarm: bool (blocks, checks).

    log_e: (blocks, checks, alternatives). alike: (checks,), of their null. log_level: of `Trail.evidence`, one or one
    for each check. It is `Trail` without what alarms do not need: no logarithms, since a restart keeps sums small.
    """
    return _rang(log_e, alike, np.broadcast_to(log_level, (1, log_e.shape[1])))[:, 0]


def alarm_counts(log_e: FloatArray, alike: FloatArray, log_levels: FloatArray) -> IntArray:
    """Return how often each check rings at each of some levels, int64 (levels, checks); as `alarms`."""
    levels = np.broadcast_to(log_levels[:, None], (len(log_levels), log_e.shape[1]))
    counts: IntArray = _rang(log_e, alike, levels).sum(axis=0)
    return counts


def _rang(log_e: FloatArray, alike: FloatArray, log_levels: FloatArray) -> BoolArray:
    """Return the alarms at levels (levels, checks): bool (blocks, levels, checks)."""
    blocks, checks, alternatives = log_e.shape
    level = np.exp(log_levels) * alternatives * 2
    bounded = np.minimum(log_e, MOST)
    gained = np.exp(bounded).sum(axis=-1)
    factors = np.exp((bounded / alike[:, None]).transpose(0, 2, 1), order="C")  # sums over the middle axis are quicker
    sums, once = np.zeros((len(level), alternatives, checks)), np.zeros((len(level), checks))
    rang = np.zeros((blocks, len(level), checks), dtype=np.bool_)
    for block in range(blocks):
        once += gained[block]
        sums += 1
        sums *= factors[block]
        evidence = np.add.reduce(sums, axis=1)
        evidence += once
        now = np.greater_equal(evidence, level, out=rang[block])
        if np.count_nonzero(now):
            np.copyto(sums, 0, where=now[:, None])
            once[now] = 0
    return rang
