"""What can learn. Each module is one kind of estimator: its declaration, how it fits, and the runtimes of its state.

A new kind is a new module here with a declaration (see `charkha.spec.model.Estimator`) whose `kind` is the module's
name, and its `RUNTIMES` (see `charkha.bundles.predictor`), the first of which needs nothing but what serving has.
"""

from charkha.bundles.estimators.catboost import CatBoost
from charkha.bundles.estimators.hist_gradient_boosting import HistGradientBoosting
from charkha.bundles.estimators.lightgbm import LightGBM
from charkha.bundles.estimators.linear import Linear
from charkha.bundles.estimators.online_linear import OnlineLinear
from charkha.bundles.estimators.random_forest import RandomForest
from charkha.bundles.estimators.xgboost import XGBoost

__all__ = ["CatBoost", "HistGradientBoosting", "LightGBM", "Linear", "OnlineLinear", "RandomForest", "XGBoost"]
