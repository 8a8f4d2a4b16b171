"""Means over rows that come in clusters: the rows of one entity stand together."""

import numpy as np
from attrs import frozen

from charkha.monitoring.sequential.arrays import FloatArray, IntArray


@frozen
class ClusterMean:
    """A mean over rows. variance: of it, with whole clusters as the independent units; NaN with fewer than two."""

    value: float
    variance: float
    rows: int
    clusters: int


def cluster_mean(losses: FloatArray, clusters: IntArray) -> ClusterMean:
    """Return the mean of rows (n,) and its variance.

    clusters: (n,), from 0 up, whichever rows stand together. The mean is a ratio of two sums over clusters, linearised
    (as in Deng, Knoblich and Lu 2018): a cluster's part is the sum of its rows less what the mean expects of so many.
    """
    rows = len(losses)
    if rows == 0:
        return ClusterMean(float("nan"), float("nan"), 0, 0)
    counts = np.bincount(clusters)
    sums = np.bincount(clusters, weights=losses)
    present = counts > 0
    number, value = int(present.sum()), float(losses.mean())
    if number < 2:
        return ClusterMean(value, float("nan"), rows, number)
    parts = sums[present] - value * counts[present]
    variance = float(np.square(parts).sum()) / rows**2 * number / (number - 1)
    return ClusterMean(value, variance, rows, number)
