"""What a fitted model is measured by, on rows it has not learnt from."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from charkha.bundles.manifest import Estimate
from charkha.spec.durations import MICROS
from charkha.spec.model import FloatArray, Model
from charkha.training.metrics import Clusters, estimate, estimate_slices
from charkha.training.split import TimeArray

# An interval from fewer clusters is hardly one: its t quantile alone is 2.4 or more.
FEWEST_CLUSTERS = 7

Slices = dict[str, dict[str, dict[str, Estimate]]]


def time_clusters(at_us: TimeArray) -> Clusters:
    """Return the day of each row as its cluster, or the hour, minute or second when the rows span too few days.

    Rows of one day share its weather, its outages and its campaigns: an interval that takes them for independent is far
    too narrow, and promotes by luck.
    """
    for unit in ("d", "h", "m", "s"):
        clusters = at_us // MICROS[unit]
        if len(np.unique(clusters)) >= FEWEST_CLUSTERS:
            return clusters
    return np.arange(len(at_us))


def reported_metrics(model: Model) -> tuple[str, ...]:
    """Return the metrics of the definition, primary first, and for probabilities their calibration error."""
    return (*model.metrics, "calibration_error") if model.task == "binary" else model.metrics


def measure(metrics: Sequence[str], labels: FloatArray, scores: FloatArray, clusters: Clusters) -> dict[str, Estimate]:
    """Return each metric with its interval; all arrays are (n,). Raises MetricUndefined."""
    return {metric: estimate(metric, labels, scores, clusters) for metric in metrics}


def measure_slices(
    model: Model, spine: pl.DataFrame, labels: FloatArray, scores: FloatArray, clusters: Clusters
) -> Slices:
    """Return request field → its value → metric → estimate, for the slices of the definition that can be measured."""
    slices: Slices = {}
    for field in model.slices:
        by_value = slices.setdefault(field, {})
        for metric in model.metrics:
            for value, found in estimate_slices(metric, labels, scores, spine[field], clusters).items():
                by_value.setdefault(value, {})[metric] = found
    return slices
