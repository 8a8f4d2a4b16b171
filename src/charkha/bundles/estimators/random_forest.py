"""Random forests with scikit-learn."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from attrs import frozen

from charkha.bundles.fitting import check_rows, require
from charkha.bundles.parameters import check_parameters, count, share
from charkha.bundles.predictor import Load
from charkha.bundles.trees.compiled import CompiledForest
from charkha.bundles.trees.forest import Forest
from charkha.bundles.trees.on_numpy import NumpyForest, prepared
from charkha.bundles.trees.scikit_learn import codes_of, forest_of_averages, hold_to
from charkha.bundles.trees.stored import restored, store
from charkha.spec.model import FloatArray, Lesson, Task


@frozen(kw_only=True)
class RandomForest:
    """The mean of many trees, each grown on rows of its own: little to tune, and hard to overfit.

    Boosting is usually a little better, and smaller. A null goes to the side of each split where it helped in training;
    categories are taken as numbers, the most frequent first, and one never seen counts as null. Numbers become float32.

        ck.RandomForest()
        ck.RandomForest(trees=500, min_rows_per_leaf=50)

    trees: how many. More are steadier; time to train and to predict grow with them.
    leaves: the most leaves of one tree. The state and the memory of a server grow with them.
    min_rows_per_leaf: the fewest training rows behind one answer. Raise it against noise.
    feature_share: the share of the features each split may choose from. Below 1, trees differ more.
    row_share: the share of the rows each tree learns from.
    threads: for training; 0 uses every core. Predictions always use one: a server's cores are for its requests.

    Raises DefinitionError with every parameter that is out of bounds.
    """

    kind: ClassVar[str] = "random_forest"
    tasks: ClassVar[tuple[Task, ...]] = ("binary", "regression")

    trees: int = count(200)
    leaves: int = count(1024, low=2, high=131072)
    min_rows_per_leaf: int = count(20)
    feature_share: float = share(0.4)
    row_share: float = share(0.8)
    threads: int = count(0, low=0)

    def __attrs_post_init__(self) -> None:
        check_parameters(self)

    def fit(self, lesson: Lesson) -> bytes:
        """Learn from the training rows alone, and return the trees as flat arrays. Raises CannotFit."""
        ensemble = require("sklearn.ensemble", "train")
        check_rows(lesson)
        kind = ensemble.RandomForestClassifier if lesson.task == "binary" else ensemble.RandomForestRegressor
        learner = kind(
            n_estimators=self.trees,
            max_leaf_nodes=self.leaves,
            min_samples_leaf=self.min_rows_per_leaf,
            max_features=self.feature_share,
            max_samples=self.row_share,
            n_jobs=self.threads or -1,
            random_state=lesson.seed,
        )
        codes = codes_of(lesson.train[0], lesson.categorical)
        rows = prepared(Forest(columns=len(codes), trees=(), single=True, codes=codes), lesson.train[0])
        with np.errstate(over="ignore", invalid="ignore"):  # of the sum by which it looks for what is not finite
            learner.fit(rows.astype(np.float32), lesson.train[1], sample_weight=lesson.weights)
        forest = forest_of_averages(learner, lesson.task, codes)

        def own(asked: FloatArray) -> FloatArray:
            scores: FloatArray = (
                learner.predict_proba(asked)[:, 1] if lesson.task == "binary" else learner.predict(asked)
            )
            return scores

        hold_to(own, forest, lesson.examples)
        return store(forest)


RUNTIMES: Mapping[str, Load] = {
    "numpy": lambda state: NumpyForest(restored(state)),
    "compiled": lambda state: CompiledForest(restored(state)),
}
