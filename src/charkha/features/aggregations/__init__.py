"""The aggregations, one file each, all of the same verbs (see `aggregation`), found by the name users write."""

from collections.abc import Callable, Mapping
from functools import cache

from charkha.features.aggregations.aggregation import Aggregation
from charkha.features.aggregations.count import Count
from charkha.features.aggregations.decayed import DecayedSum
from charkha.features.aggregations.distinct import Distinct
from charkha.features.aggregations.extreme import Maximum, Minimum
from charkha.features.aggregations.first import First
from charkha.features.aggregations.frequent import TopK
from charkha.features.aggregations.last import Last
from charkha.features.aggregations.last_k import LastK
from charkha.features.aggregations.quantile import Quantile
from charkha.features.aggregations.recency import TimeSinceLast
from charkha.features.aggregations.total import Mean, Sum
from charkha.features.aggregations.variance import StandardDeviation, Variance
from charkha.spec.aggregates import AggregateKind, Measure

# Each makes the aggregation of a measure; those with parameters take them from it.
AGGREGATIONS: Mapping[AggregateKind, Callable[[Measure], Aggregation]] = {
    "count": lambda _: Count(),
    "sum": lambda _: Sum(),
    "mean": lambda _: Mean(),
    "min": lambda _: Minimum(),
    "max": lambda _: Maximum(),
    "first": lambda _: First(),
    "last": lambda _: Last(),
    "last_k": lambda measure: LastK(measure.k or 1),
    "variance": lambda _: Variance(),
    "std": lambda _: StandardDeviation(),
    "distinct": lambda _: Distinct(),
    "quantile": lambda measure: Quantile(measure.q),
    "top_k": lambda measure: TopK(measure.k or 1),
    "time_since_last": lambda _: TimeSinceLast(),
    "decayed_sum": lambda measure: DecayedSum(measure.half_life or ""),
}


def aggregation_of(measure: Measure) -> Aggregation:
    """Return the aggregation of a measure: the same object for all measures that differ in column and filter only."""
    return _made(Measure(measure.kind, k=measure.k, q=measure.q, half_life=measure.half_life))


@cache
def _made(measure: Measure) -> Aggregation:
    return AGGREGATIONS[measure.kind](measure)


__all__ = ["AGGREGATIONS", "Aggregation", "aggregation_of"]
