"""Gradient-boosted trees with LightGBM: the estimator to start with on tables."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from attrs import frozen

from charkha.bundles.fitting import check_rows
from charkha.bundles.lightgbm_runtime import NativeBooster
from charkha.bundles.openmp import wait_asleep
from charkha.bundles.parameters import amount, check_parameters, count, share
from charkha.bundles.predictor import Load
from charkha.bundles.trees.compiled import CompiledForest
from charkha.bundles.trees.lightgbm_text import read_lightgbm
from charkha.spec.model import Lesson, Task

# Task → LightGBM's objective, and the metric that early stopping watches.
OBJECTIVES: dict[Task, tuple[str, str]] = {"binary": ("binary", "binary_logloss"), "regression": ("regression", "l2")}


@frozen(kw_only=True)
class LightGBM:
    """Gradient-boosted trees: strong on tables as they come, with nulls, categories and numbers of any scale.

    The defaults suit 10,000 to 10 million rows. With fewer, lower `leaves` (to 7, say) and `min_rows_per_leaf` (to
    10); when train is much better than test, raise `min_rows_per_leaf`. A null is a value of its own, and goes to the
    side of each split where it helped in training; a category never seen counts as null.

        ck.LightGBM()
        ck.LightGBM(trees=2000, learning_rate=0.02)     # slower, often a little better

    trees: the most trees to grow. Early stopping usually takes fewer. Time to train and to predict grow with them.
    leaves: the most leaves of one tree. More catch finer interactions, and memorise small data.
    learning_rate: how much each tree corrects. Half of it wants about twice the trees.
    min_rows_per_leaf: the fewest training rows behind one answer. Raise it against noise.
    early_stopping: stop when this many trees in a row did not help on the validation rows, and keep the best number;
        None grows all `trees`.
    feature_share: the share of the features each tree may look at. Below 1, no single feature takes over.
    row_share: the share of the rows each tree learns from. Below 1 it trains faster and memorises less.
    l2: penalty on large leaf values. Raise it against noise; 0 is none.
    threads: for training; 0 uses every core. Predictions always use one: a server's cores are for its requests.

    The same rows, parameters, seed and version of LightGBM give the same model on any number of threads.
    Raises DefinitionError with every parameter that is out of bounds.
    """

    kind: ClassVar[str] = "lightgbm"
    tasks: ClassVar[tuple[Task, ...]] = ("binary", "regression")

    trees: int = count(400)
    leaves: int = count(31, low=2, high=131072)
    learning_rate: float = amount(0.05, above=True)
    min_rows_per_leaf: int = count(50)
    early_stopping: int | None = count(50, optional=True)
    feature_share: float = share(0.8)
    row_share: float = share(0.8)
    l2: float = amount(1.0)
    threads: int = count(0, low=0)

    def __attrs_post_init__(self) -> None:
        check_parameters(self)

    def fit(self, lesson: Lesson) -> bytes:
        """Learn, and return the model in LightGBM's own text format.

        Without validation rows all `trees` are grown. Raises CannotFit.
        """
        wait_asleep()
        import lightgbm

        check_rows(lesson)
        parameters = self._parameters(lesson)
        rows = lightgbm.Dataset(
            *lesson.train, weight=lesson.weights, params=parameters, categorical_feature=list(lesson.categorical)
        )
        watched: list[lightgbm.Dataset] = []
        callbacks: list[Callable[..., Any]] = []
        if self.early_stopping is not None and lesson.validates:
            watched = [rows.create_valid(*lesson.validation)]
            callbacks = [lightgbm.early_stopping(self.early_stopping, verbose=False)]
        booster = lightgbm.train(parameters, rows, self.trees, valid_sets=watched, callbacks=callbacks)
        return bytes(booster.model_to_string(num_iteration=booster.best_iteration).encode())

    def _parameters(self, lesson: Lesson) -> dict[str, Any]:
        objective, metric = OBJECTIVES[lesson.task]
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
            "seed": lesson.seed,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }


def _compiled(state: bytes) -> CompiledForest:
    return CompiledForest(read_lightgbm(state))


RUNTIMES: Mapping[str, Load] = {"native": NativeBooster, "compiled": _compiled}
