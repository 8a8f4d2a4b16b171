"""Every word of a definition, in one place: what `import charkha as ck` offers."""

from charkha.bundles.estimators import CatBoost, HistGradientBoosting, LightGBM, Linear, RandomForest, XGBoost
from charkha.spec.autonomy import Autonomy
from charkha.spec.contracts import Contract, Expect
from charkha.spec.drills import incident
from charkha.spec.faults import DefinitionError, Fault
from charkha.spec.gates import (
    at_least,
    beats_champion,
    beats_rules,
    beats_trivial,
    calibrated,
    costs_at_most,
    no_slice_worse,
    survives_drill,
)
from charkha.spec.model import Costs, Label, Model, Split
from charkha.spec.policies import Budget, Fallback, LogPolicy, Monitors, Retrain
from charkha.spec.prices import Prices
from charkha.spec.rollout import approval, canary, compare, shadow
from charkha.spec.rules import Rule, score
from charkha.spec.sources import Entity, Source, arrow, csv, delta, iceberg, parquet, sql
from charkha.spec.views import FeatureView, RequestFeatures, on_request
from charkha.spec.windowed import (
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

__all__ = [
    "Autonomy",
    "Budget",
    "CatBoost",
    "Contract",
    "Costs",
    "DefinitionError",
    "Entity",
    "Expect",
    "Fallback",
    "Fault",
    "FeatureView",
    "HistGradientBoosting",
    "Label",
    "LightGBM",
    "Linear",
    "LogPolicy",
    "Model",
    "Monitors",
    "Prices",
    "RandomForest",
    "RequestFeatures",
    "Retrain",
    "Rule",
    "Source",
    "Split",
    "XGBoost",
    "approval",
    "arrow",
    "at_least",
    "beats_champion",
    "beats_rules",
    "beats_trivial",
    "calibrated",
    "canary",
    "compare",
    "costs_at_most",
    "count",
    "csv",
    "decayed_sum",
    "delta",
    "distinct",
    "first",
    "iceberg",
    "incident",
    "last",
    "last_k",
    "max",
    "mean",
    "min",
    "no_slice_worse",
    "on_request",
    "parquet",
    "quantile",
    "ratio",
    "score",
    "shadow",
    "sql",
    "std",
    "sum",
    "survives_drill",
    "time_since_last",
    "top_k",
    "variance",
]
