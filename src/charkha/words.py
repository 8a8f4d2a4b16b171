"""Every word of a definition, in one place: what `import charkha as ck` offers."""

from charkha.bundles.estimators import LightGBM, Linear
from charkha.spec.aggregates import (
    count,
    decayed_sum,
    distinct,
    first,
    last,
    last_k,
    max,
    mean,
    min,
    quantile,
    ratio,
    std,
    sum,
    time_since_last,
    top_k,
    variance,
)
from charkha.spec.contracts import Contract, Expect
from charkha.spec.faults import DefinitionError, Fault
from charkha.spec.gates import at_least, beats_champion, beats_rules, beats_trivial, calibrated
from charkha.spec.model import Costs, Label, Model, Rule, Split
from charkha.spec.policies import Budget, Monitors, Retrain, compare, shadow
from charkha.spec.sources import Entity, Source, arrow, csv, delta, iceberg, parquet, sql
from charkha.spec.views import FeatureView, RequestFeatures, on_request

__all__ = [
    "Budget",
    "Contract",
    "Costs",
    "DefinitionError",
    "Entity",
    "Expect",
    "Fault",
    "FeatureView",
    "Label",
    "LightGBM",
    "Linear",
    "Model",
    "Monitors",
    "RequestFeatures",
    "Retrain",
    "Rule",
    "Source",
    "Split",
    "arrow",
    "at_least",
    "beats_champion",
    "beats_rules",
    "beats_trivial",
    "calibrated",
    "compare",
    "count",
    "csv",
    "decayed_sum",
    "delta",
    "distinct",
    "first",
    "iceberg",
    "last",
    "last_k",
    "max",
    "mean",
    "min",
    "on_request",
    "parquet",
    "quantile",
    "ratio",
    "shadow",
    "sql",
    "std",
    "sum",
    "time_since_last",
    "top_k",
    "variance",
]
