"""Every word of a definition, in one place: what `import charkha as ck` offers."""

from charkha.bundles.estimators import LightGBM, Linear
from charkha.spec.contracts import Contract, Expect
from charkha.spec.faults import DefinitionError, Fault
from charkha.spec.gates import at_least, beats_champion, beats_rules, beats_trivial, calibrated
from charkha.spec.model import Costs, Label, Model, Rule, Split
from charkha.spec.policies import Budget, Monitors, Retrain, compare, shadow
from charkha.spec.sources import Entity, Source, csv, parquet
from charkha.spec.views import FeatureView, RequestFeatures, count, last, max, mean, min, sum, variance

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
    "at_least",
    "beats_champion",
    "beats_rules",
    "beats_trivial",
    "calibrated",
    "compare",
    "count",
    "csv",
    "last",
    "max",
    "mean",
    "min",
    "parquet",
    "shadow",
    "sum",
    "variance",
]
