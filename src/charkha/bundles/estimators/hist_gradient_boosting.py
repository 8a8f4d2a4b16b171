"""Gradient-boosted trees with scikit-learn."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from attrs import frozen

from charkha.bundles.fitting import check_rows, require
from charkha.bundles.openmp import wait_asleep
from charkha.bundles.parameters import amount, check_parameters, count, share
from charkha.bundles.predictor import Load
from charkha.bundles.trees.compiled import CompiledForest
from charkha.bundles.trees.forest import Forest
from charkha.bundles.trees.on_numpy import NumpyForest, prepared
from charkha.bundles.trees.scikit_learn import codes_of, forest_of_boosting, hold_to
from charkha.bundles.trees.stored import restored, store
from charkha.spec.model import FloatArray, Lesson, Task

BoolArray = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
# Of a column with more categories, the rarest are null: scikit-learn takes no more than these.
MOST_CATEGORIES = 255
LARGEST = 1e300


@frozen(kw_only=True)
class HistGradientBoosting:
    """Gradient-boosted trees by scikit-learn: much like LightGBM, for those who know them from there.

    A null goes to the side of each split where it helped in training; a category never seen counts as null, and so do
    all but the 255 most frequent of a feature.

        ck.HistGradientBoosting()

    trees: the most trees to grow. Early stopping usually takes fewer. Time to train and to predict grow with them.
    leaves: the most leaves of one tree. More catch finer interactions, and memorise small data.
    learning_rate: how much each tree corrects. Half of it wants about twice the trees.
    min_rows_per_leaf: the fewest training rows behind one answer. Raise it against noise.
    early_stopping: stop when this many trees in a row did not help on the validation rows, and keep the best number;
        None grows all `trees`.
    feature_share: the share of the features each split may choose from. Below 1, no single feature takes over.
    l2: penalty on large leaf values. Raise it against noise; 0 is none.

    Training uses every core, predictions one. Raises DefinitionError with every parameter that is out of bounds.
    """

    kind: ClassVar[str] = "hist_gradient_boosting"
    tasks: ClassVar[tuple[Task, ...]] = ("binary", "regression")

    trees: int = count(400)
    leaves: int = count(31, low=2, high=131072)
    learning_rate: float = amount(0.05, above=True)
    min_rows_per_leaf: int = count(50)
    early_stopping: int | None = count(50, optional=True)
    feature_share: float = share(0.8)
    l2: float = amount(1.0)

    def __attrs_post_init__(self) -> None:
        check_parameters(self)

    def fit(self, lesson: Lesson) -> bytes:
        """Learn, and return the trees as flat arrays. Raises CannotFit.

        Without validation rows all `trees` are grown.
        """
        wait_asleep()
        ensemble = require("sklearn.ensemble", "train")
        check_rows(lesson)
        untaught: BoolArray = np.all(np.isnan(lesson.train[0]), axis=0)
        taught = tuple(at for at in lesson.categorical if not untaught[at])
        codes = codes_of(lesson.train[0], taught, MOST_CATEGORIES)
        blank = Forest(columns=len(codes), trees=(), codes=codes)

        def seen(matrix: FloatArray) -> FloatArray:
            """Return rows as scikit-learn takes them: it fails on columns without values, and adds the largest up."""
            return np.where(untaught, 0.0, np.clip(prepared(blank, matrix), -LARGEST, LARGEST))

        stops = self.early_stopping is not None and lesson.validates
        kind = (
            ensemble.HistGradientBoostingClassifier
            if lesson.task == "binary"
            else ensemble.HistGradientBoostingRegressor
        )
        learner = kind(
            max_iter=self.trees,
            max_leaf_nodes=self.leaves,
            learning_rate=self.learning_rate,
            min_samples_leaf=self.min_rows_per_leaf,
            max_features=self.feature_share,
            l2_regularization=self.l2,
            categorical_features=taught or None,
            early_stopping=stops,
            n_iter_no_change=self.early_stopping or 10,
            random_state=lesson.seed,
        )
        watched = {"X_val": seen(lesson.validation[0]), "y_val": lesson.validation[1]} if stops else {}
        learner.fit(seen(lesson.train[0]), lesson.train[1], sample_weight=lesson.weights, **watched)
        best = int(np.argmax(learner.validation_score_)) if stops else self.trees
        forest = forest_of_boosting(learner, lesson.task, codes, best)
        own = _own(learner, lesson.task, best)
        hold_to(lambda rows: own(seen(rows)), forest, lesson.examples)
        return store(forest)


def _own(learner: Any, task: Task, trees: int) -> Any:
    """Return scikit-learn's own predictions by the first trees."""

    def predict(rows: FloatArray) -> FloatArray:
        stages = learner.staged_predict_proba(rows) if task == "binary" else learner.staged_predict(rows)
        if trees == 0:
            start = learner._baseline_prediction[0, 0]
            return np.full(len(rows), 1 / (1 + np.exp(-start)) if task == "binary" else start)
        last = next(scores for number, scores in enumerate(stages, 1) if number == min(trees, learner.n_iter_))
        return np.asarray(last[:, 1] if task == "binary" else last)

    return predict


RUNTIMES: Mapping[str, Load] = {
    "numpy": lambda state: NumpyForest(restored(state)),
    "compiled": lambda state: CompiledForest(restored(state)),
}
