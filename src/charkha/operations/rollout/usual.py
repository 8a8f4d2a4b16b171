"""What the champion usually shows of what is compared, and how much of its variance more rows cannot take away.

A row's value varies within its entity and between entities. Written over rows, with r what a row lies above the mean,
the variance of a mean over n rows of clusters is exactly

    (Σ over entities of (Σ r)²) / n²  =  σ² / n + C q,    q = Σ m (m - 1) / n²,    C = Σ pairs r r' / Σ m (m - 1),

m being the rows of an entity, σ² the mean of r², C the covariance of two rows of one entity, and q the share of the
pairs of rows that are of one entity. Where each entity is new, q falls as 1 / n; where the same ones come again, it
stays. So q is taken to be q(n) = a + b / n, by all rows of the window and by its halves, and C a is what is left of the
variance however long one waits.
"""

import numpy as np
import polars as pl
from attrs import frozen

from charkha.monitoring.performance import Span
from charkha.monitoring.sequential.arrays import FloatArray, IntArray
from charkha.monitoring.sequential.clusters import ClusterMean, cluster_mean
from charkha.operations.rollout.rows import entities_of, values_of
from charkha.spec.durations import DAY_US
from charkha.spec.model import Model


@frozen(kw_only=True)
class Usual:
    """The champion's mean of what is compared in its usual traffic.

    per_day: rows with a known value, of a day. floor: the variance of the mean that stays, however many rows of the
    same entities come.
    """

    mean: ClusterMean
    per_day: float
    floor: float = 0.0

    @property
    def of_a_row(self) -> float:
        """The variance of a row as it counts in a mean, besides the floor: that of n rows is this / n + floor."""
        return (self.mean.variance - self.floor) * self.mean.rows


def usual_of(rows: pl.DataFrame, model: Model, version: str, span: Span) -> Usual:
    """Return what a version usually shows of what is compared, by its answers in a span.

    rows: as of `live_of`, of that span. Where it answered first later than the span begins, its days count from then.
    """
    own = rows.filter((pl.col("version") == version) & pl.col("role").is_in(["champion", "challenger"]))
    first_us = own["_at_us"].min()
    days = (span.until_us - max(span.since_us, first_us)) / DAY_US if isinstance(first_us, int) else 0.0
    values = values_of(own, model)
    known = ~np.isnan(values)
    told = own.filter(pl.Series(known)).with_columns(pl.Series("_value", values[known])).sort("_at_us")
    entity = entities_of(told, model)
    found = told["_value"].to_numpy()
    return Usual(
        mean=cluster_mean(found, entity),
        per_day=len(found) / days if days > 0 else 0.0,
        floor=floor_of(found, entity),
    )


def floor_of(values: FloatArray, entity: IntArray) -> float:
    """Return the variance of the mean that stays however many rows come, for the same entities come again.

    values, entity: (n,), in the order of time. 0 where no entity came twice, or its rows are no more alike than others.
    """
    pairs = _pairs(entity)
    if pairs == 0:
        return 0.0
    rows, half = len(values), len(values) // 2
    above = values - values.mean()
    sums = np.bincount(entity, weights=above)
    covariance = float(np.square(sums).sum() - np.square(above).sum()) / pairs
    alike = pairs / rows**2
    of_halves = (_pairs(entity[:half]) / half**2 + _pairs(entity[half:]) / (rows - half) ** 2) / 2
    stays = float(np.clip(2 * alike - of_halves, 0.0, alike))
    return max(0.0, covariance) * stays


def _pairs(entity: IntArray) -> float:
    """Return how many ordered pairs of different rows are of one entity."""
    counts = np.bincount(entity).astype(np.float64)
    return float((counts * (counts - 1)).sum())
