"""Gradient-boosted trees with CatBoost."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import msgspec
import numpy as np
from attrs import frozen

from charkha.bundles.fitting import check_rows, require
from charkha.bundles.openmp import wait_asleep
from charkha.bundles.parameters import amount, check_parameters, count, share
from charkha.bundles.predictor import BadState, Load, check_columns
from charkha.bundles.trees.catboost_model import forest_of_catboost
from charkha.bundles.trees.compiled import CompiledForest
from charkha.bundles.trees.forest import Array, Forest, NotThisForest
from charkha.bundles.trees.on_numpy import prepared
from charkha.bundles.trees.scikit_learn import codes_of, hold_to
from charkha.bundles.trees.stored import restored, store
from charkha.spec.model import FloatArray, Lesson, Task

LOSSES: dict[Task, str] = {"binary": "Logloss", "regression": "RMSE"}
# Features of more categories are split by statistics of them, which only CatBoost itself can answer.
MOST_SINGLE_CATEGORIES = 255


@frozen(kw_only=True)
class CatBoost:
    """Gradient-boosted trees of which each level asks one question, by CatBoost. Needs `charkha[catboost]` to train.

    Sturdy with few rows. A null number counts as the lowest of all, a null category as one of its own, and a category
    never seen as null. Features of up to 255 categories are split one category at a time; with more, statistics of the
    labels by category are learnt, and CatBoost itself has to serve: slower, and it must be installed there. Numbers
    become float32.

        ck.CatBoost()
        ck.CatBoost(trees=2000, learning_rate=0.02)     # slower, often a little better

    trees: the most trees to grow. Early stopping usually takes fewer. Time to train and to predict grow with them.
    depth: the questions of one tree. More catch finer interactions, and memorise small data.
    learning_rate: how much each tree corrects. Half of it wants about twice the trees.
    early_stopping: stop when this many trees in a row did not help on the validation rows, and keep the best number;
        None grows all `trees`.
    feature_share: the share of the features each split may choose from. Below 1, no single feature takes over.
    l2: penalty on large leaf values. Raise it against noise; 0 is none.
    threads: for training; 0 uses every core. Predictions always use one: a server's cores are for its requests.

    Raises DefinitionError with every parameter that is out of bounds.
    """

    kind: ClassVar[str] = "catboost"
    tasks: ClassVar[tuple[Task, ...]] = ("binary", "regression")

    trees: int = count(400)
    depth: int = count(6, low=1, high=12)
    learning_rate: float = amount(0.05, above=True)
    early_stopping: int | None = count(50, optional=True)
    feature_share: float = share(0.8)
    l2: float = amount(3.0)
    threads: int = count(0, low=0)

    def __attrs_post_init__(self) -> None:
        check_parameters(self)

    def fit(self, lesson: Lesson) -> bytes:
        """Learn, and return the model in CatBoost's binary format, beside flat arrays where those stand for it.

        Without validation rows all `trees` are grown. Raises CannotFit.
        """
        wait_asleep()
        catboost = require("catboost", "catboost")
        check_rows(lesson)
        codes = codes_of(lesson.train[0], lesson.categorical)
        shape = _shape(codes)
        model = catboost.CatBoost(self._parameters(lesson))
        watched = {}
        if self.early_stopping is not None and lesson.validates:
            held_out = _pool(catboost, shape, lesson.validation[0], lesson.validation[1])
            watched = {"eval_set": held_out, "early_stopping_rounds": self.early_stopping}
        model.fit(_pool(catboost, shape, *lesson.train, lesson.weights), **watched)
        metadata = model.get_metadata()
        for name in ("train_finish_time", "model_guid"):  # the same rows make the same bytes
            metadata[name] = ""
        kept = CatBoostState(
            task=lesson.task,
            codes=tuple(None if np.isinf(count) else int(count) for count in codes),
            model=_saved(model, "cbm"),
            forest=_forest(catboost, model, shape, lesson.task, lesson.examples),
        )
        return msgspec.msgpack.encode(kept)

    def _parameters(self, lesson: Lesson) -> dict[str, Any]:
        return {
            "loss_function": LOSSES[lesson.task],
            "iterations": self.trees,
            "depth": self.depth,
            "learning_rate": self.learning_rate,
            "rsm": self.feature_share,
            "l2_leaf_reg": self.l2,
            "one_hot_max_size": MOST_SINGLE_CATEGORIES,
            "boosting_type": "Plain",
            "thread_count": self.threads or -1,
            "random_seed": lesson.seed,
            "allow_writing_files": False,
            "logging_level": "Silent",
        }


class CatBoostState(msgspec.Struct, frozen=True, kw_only=True):
    """codes: of each column how many, None for numbers. model: CatBoost's. forest: the same stored, if it can be."""

    task: Task
    codes: tuple[int | None, ...]
    model: bytes
    forest: bytes | None


def _shape(codes: FloatArray) -> Forest:
    """Return how rows are prepared: a null category is the code after the last."""
    null = np.where(np.isinf(codes), np.nan, codes)
    return Forest(columns=len(codes), trees=(), single=True, codes=codes, null=null)


def _pool(
    catboost: Any,
    shape: Forest,
    matrix: FloatArray,
    labels: FloatArray | None = None,
    weights: FloatArray | None = None,
) -> Any:
    """Return rows as CatBoost's table: numbers as float32, codes as text."""
    rows = prepared(shape, matrix)
    numbers = np.isinf(shape.codes)
    highest = int(np.max(shape.codes[~numbers], initial=0))
    texts = np.array([str(code).encode() for code in range(highest + 1)], dtype=object)
    data = catboost.FeaturesData(
        num_feature_data=np.ascontiguousarray(rows[:, numbers], dtype=np.float32) if numbers.any() else None,
        cat_feature_data=np.ascontiguousarray(texts[rows[:, ~numbers].astype(np.int64)]) if not numbers.all() else None,
    )
    return catboost.Pool(data, labels, weight=weights)


def _saved(model: Any, form: str) -> bytes:
    with TemporaryDirectory(prefix="charkha-catboost-") as folder:
        path = Path(folder) / "model"
        model.save_model(str(path), format=form)
        return path.read_bytes()


def _forest(catboost: Any, model: Any, shape: Forest, task: Task, matrix: FloatArray) -> bytes | None:
    """Return the model's trees as a stored forest, held to its own predictions; None where CatBoost has to serve."""
    leaves: list[Array] = []
    for at in np.flatnonzero(np.isfinite(shape.codes)):
        probe = np.full((int(shape.codes[at]) + 1, shape.columns), np.nan)
        probe[:-1, at] = np.arange(len(probe) - 1)
        leaves.append(np.asarray(model.calc_leaf_indexes(_pool(catboost, shape, probe))).astype(np.int64))
    try:
        link = "sigmoid" if task == "binary" else "identity"
        forest = forest_of_catboost(_saved(model, "json"), leaves, shape, link)  # type: ignore[arg-type]
    except NotThisForest:
        return None
    hold_to(lambda rows: _scores(model, _pool(catboost, shape, rows), task), forest, matrix)
    return store(forest)


def _scores(model: Any, pool: Any, task: Task) -> FloatArray:
    kind = "Probability" if task == "binary" else "RawFormulaVal"
    scores = np.asarray(model.predict(pool, prediction_type=kind, thread_count=1), dtype=np.float64)
    return np.ascontiguousarray(scores[:, 1] if task == "binary" else scores)


class CatBoostModel:
    """A model predicted by CatBoost itself, on one thread; safe to use from several."""

    def __init__(self, state: bytes) -> None:
        """Load a state. Raises BadState, and RuntimeMissing without CatBoost."""
        kept = _read(state)
        self._task = kept.task
        self._shape = _shape(np.array([np.inf if count is None else count for count in kept.codes], dtype=np.float64))
        wait_asleep()
        self._catboost = require("catboost", "catboost")
        try:
            self._model = self._catboost.CatBoost().load_model(blob=kept.model)
        except self._catboost.CatBoostError as error:
            raise BadState(f"expected a model that CatBoost can load: {error}") from None

    def predict(self, matrix: FloatArray) -> FloatArray:
        """Return (rows,): probabilities or values. `matrix`: float64 (rows, columns). Raises WrongShape."""
        check_columns(matrix, self._shape.columns)
        return (
            _scores(self._model, _pool(self._catboost, self._shape, matrix), self._task) if len(matrix) else np.empty(0)
        )

    def contributions(self, matrix: FloatArray) -> FloatArray:
        """Return (rows, columns + 1), as `Explainer` says. Raises WrongShape."""
        check_columns(matrix, self._shape.columns)
        pool = _pool(self._catboost, self._shape, matrix)
        return np.asarray(self._model.get_feature_importance(pool, type="ShapValues", thread_count=1), np.float64)


def _read(state: bytes) -> CatBoostState:
    try:
        return msgspec.msgpack.decode(state, type=CatBoostState)
    except msgspec.DecodeError as error:
        raise BadState(f"expected the state of a CatBoost model: {error}") from None


def _compiled(state: bytes) -> CompiledForest:
    forest = _read(state).forest
    if forest is None:
        raise NotThisForest(
            f"a feature has more than {MOST_SINGLE_CATEGORIES} categories: CatBoost itself has to serve"
        )
    return CompiledForest(restored(forest))


RUNTIMES: Mapping[str, Load] = {"native": CatBoostModel, "compiled": _compiled}
