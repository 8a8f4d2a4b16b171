"""The aggregations, one file each, all of the same verbs (see `aggregation`), found by the name users write."""

from collections.abc import Mapping

from charkha.features.aggregations.aggregation import Aggregation
from charkha.features.aggregations.count import Count
from charkha.features.aggregations.extreme import Maximum, Minimum
from charkha.features.aggregations.last import Last
from charkha.features.aggregations.total import Mean, Sum
from charkha.features.aggregations.variance import Variance
from charkha.spec.views import AggregateKind

AGGREGATIONS: Mapping[AggregateKind, Aggregation] = {
    "count": Count(),
    "sum": Sum(),
    "mean": Mean(),
    "min": Minimum(),
    "max": Maximum(),
    "last": Last(),
    "variance": Variance(),
}

__all__ = ["AGGREGATIONS", "Aggregation"]
