"""Gradient-boosted trees with LightGBM: the estimator to start with on tables."""

from typing import Any, ClassVar

from attrs import field, frozen
from attrs.validators import ge, gt, le

from charkha.bundles.fitting import check_rows
from charkha.bundles.lightgbm_runtime import NativeBooster
from charkha.spec.model import FloatArray, Task

OBJECTIVES: dict[Task, tuple[str, str]] = {"binary": ("binary", "binary_logloss"), "regression": ("regression", "l2")}


@frozen(kw_only=True)
class LightGBM:
    """Gradient-boosted trees: strong on tables as they come, with nulls, categories and unscaled numbers."""

    kind: ClassVar[str] = "lightgbm"
    tasks: ClassVar[tuple[Task, ...]] = ("binary", "regression")

    trees: int = field(default=400, validator=ge(1))
    leaves: int = field(default=31, validator=[ge(2), le(131072)])
    learning_rate: float = field(default=0.05, validator=gt(0))
    min_rows_per_leaf: int = field(default=50, validator=ge(1))
    early_stopping: int | None = field(default=50)
    feature_share: float = field(default=0.8, validator=[gt(0), le(1)])
    row_share: float = field(default=0.8, validator=[gt(0), le(1)])
    l2: float = field(default=1.0, validator=ge(0))
    threads: int = field(default=0, validator=ge(0))

    def fit(
        self,
        task: Task,
        train: tuple[FloatArray, FloatArray],
        validation: tuple[FloatArray, FloatArray],
        categorical: tuple[int, ...],
        seed: int,
    ) -> bytes:
        """Learn, and return the model in LightGBM's own text format. Raises CannotFit."""
        import lightgbm

        check_rows(task, *train)
        rows = lightgbm.Dataset(train[0], train[1], categorical_feature=list(categorical), free_raw_data=True)
        stops = self.early_stopping is not None and len(validation[1]) > 0
        booster = lightgbm.train(
            self._parameters(task, seed),
            rows,
            num_boost_round=self.trees,
            valid_sets=[lightgbm.Dataset(validation[0], validation[1], reference=rows)] if stops else [],
            callbacks=[lightgbm.early_stopping(self.early_stopping, verbose=False)] if stops else [],
        )
        return bytes(booster.model_to_string(num_iteration=booster.best_iteration).encode())

    def _parameters(self, task: Task, seed: int) -> dict[str, Any]:
        objective, metric = OBJECTIVES[task]
        return {
            "objective": objective,
            "metric": metric,
            "num_leaves": self.leaves,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": self.min_rows_per_leaf,
            "feature_fraction": self.feature_share,
            "bagging_fraction": self.row_share,
            "bagging_freq": 1,
            "lambda_l2": self.l2,
            "num_threads": self.threads,
            "seed": seed,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }


def load(state: bytes) -> NativeBooster:
    """Return the predictor of a fitted state. Raises BadState."""
    return NativeBooster(state)
