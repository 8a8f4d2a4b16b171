"""Gradient-boosted trees with XGBoost."""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
import numpy as np
from attrs import frozen

from charkha.bundles.fitting import check_rows, require
from charkha.bundles.openmp import wait_asleep
from charkha.bundles.parameters import amount, check_parameters, count, share
from charkha.bundles.predictor import BadState, Load, check_columns
from charkha.bundles.trees.compiled import CompiledForest
from charkha.bundles.trees.on_numpy import prepared
from charkha.bundles.trees.xgboost_json import CODES, read_xgboost
from charkha.spec.model import FloatArray, Lesson, Task

OBJECTIVES: dict[Task, str] = {"binary": "binary:logistic", "regression": "reg:squarederror"}


@frozen(kw_only=True)
class XGBoost:
    """Gradient-boosted trees of even depth, by XGBoost. Needs `charkha[xgboost]` to train.

    Much like LightGBM; its trees grow level by level, so that `depth` says how large they become. A null goes to the
    side of each split where it helped in training; a category never seen counts as null. Numbers become float32.

        ck.XGBoost()
        ck.XGBoost(trees=2000, learning_rate=0.02)     # slower, often a little better

    trees: the most trees to grow. Early stopping usually takes fewer. Time to train and to predict grow with them.
    depth: the most splits above a leaf. More catch finer interactions, and memorise small data.
    learning_rate: how much each tree corrects. Half of it wants about twice the trees.
    min_weight_per_leaf: the least weight of training rows behind one answer: for regression their number, for `binary`
        at most a quarter of it. Raise it against noise.
    early_stopping: stop when this many trees in a row did not help on the validation rows, and keep the best number;
        None grows all `trees`.
    feature_share: the share of the features each tree may look at. Below 1, no single feature takes over.
    row_share: the share of the rows each tree learns from. Below 1 it trains faster and memorises less.
    l2: penalty on large leaf values. Raise it against noise; 0 is none.
    threads: for training; 0 uses every core. Predictions always use one: a server's cores are for its requests.

    Raises DefinitionError with every parameter that is out of bounds.
    """

    kind: ClassVar[str] = "xgboost"
    tasks: ClassVar[tuple[Task, ...]] = ("binary", "regression")

    trees: int = count(400)
    depth: int = count(6, low=1, high=16)
    learning_rate: float = amount(0.05, above=True)
    min_weight_per_leaf: float = amount(10.0)
    early_stopping: int | None = count(50, optional=True)
    feature_share: float = share(0.8)
    row_share: float = share(0.8)
    l2: float = amount(1.0)
    threads: int = count(0, low=0)

    def __attrs_post_init__(self) -> None:
        check_parameters(self)

    def fit(self, lesson: Lesson) -> bytes:
        """Learn, and return the model in XGBoost's own JSON, with the number of codes of each column.

        Without validation rows all `trees` are grown. Raises CannotFit.
        """
        wait_asleep()
        xgboost = require("xgboost", "xgboost")
        check_rows(lesson)
        codes = [
            _codes(lesson.train[0][:, at]) if at in lesson.categorical else None
            for at in range(lesson.train[0].shape[1])
        ]
        rows = _table(xgboost, *lesson.train, codes, self.threads, weights=lesson.weights)
        stopping: dict[str, Any] = {}
        if self.early_stopping is not None and lesson.validates:
            watched = _table(xgboost, *lesson.validation, codes, self.threads)
            stopping = {"evals": [(watched, "validation")], "early_stopping_rounds": self.early_stopping}
        booster = xgboost.train(self._parameters(lesson), rows, self.trees, **stopping, verbose_eval=False)
        if stopping:
            booster = booster[: booster.best_iteration + 1]
        # Not the best score and iteration, nor whatever else training left: the trees are all there is.
        booster.set_attr(**dict.fromkeys(booster.attributes()), **{CODES: msgspec.json.encode(codes).decode()})
        return bytes(booster.save_raw("json"))

    def _parameters(self, lesson: Lesson) -> dict[str, Any]:
        return {
            "objective": OBJECTIVES[lesson.task],
            "tree_method": "hist",
            "max_depth": self.depth,
            "learning_rate": self.learning_rate,
            "min_child_weight": self.min_weight_per_leaf,
            "colsample_bytree": self.feature_share,
            "subsample": self.row_share,
            "reg_lambda": self.l2,
            "nthread": self.threads,
            "seed": lesson.seed,
            "verbosity": 0,
        }


def _codes(column: FloatArray) -> int:
    return int(np.nanmax(column, initial=-1.0)) + 1


def _table(
    xgboost: Any,
    matrix: FloatArray,
    labels: FloatArray | None,
    codes: list[int | None],
    threads: int,
    *,
    weights: FloatArray | None = None,
) -> Any:
    """Return rows as XGBoost's table, float32, without infinite numbers or codes that training has not seen."""
    limits = np.array([np.inf if count is None else count for count in codes])
    largest = float(np.finfo(np.float32).max)
    kept = np.where((matrix < limits) | np.isinf(limits), np.clip(matrix, -largest, largest), np.nan)
    types = ["q" if count is None else "c" for count in codes]
    return xgboost.DMatrix(
        kept, labels, weight=weights, feature_types=types, enable_categorical=True, nthread=threads or None
    )


class XGBoostBooster:
    """A model predicted by XGBoost itself, on one thread; safe to use from several."""

    def __init__(self, state: bytes) -> None:
        """Load a model of XGBoost's JSON. Raises BadState, and RuntimeMissing without XGBoost."""
        self._forest = read_xgboost(state)
        wait_asleep()
        xgboost = self._xgboost = require("xgboost", "xgboost")
        self._booster = xgboost.Booster({"nthread": 1})
        try:
            self._booster.load_model(bytearray(state))
        except xgboost.core.XGBoostError as error:
            raise BadState(f"expected a model that XGBoost can load: {error}") from None
        self._booster.set_param({"nthread": 1})

    def predict(self, matrix: FloatArray) -> FloatArray:
        """Return (rows,): probabilities or values. `matrix`: float64 (rows, columns). Raises WrongShape."""
        check_columns(matrix, self._forest.columns)
        if not len(matrix):
            return np.empty(0)
        rows = np.ascontiguousarray(prepared(self._forest, matrix), dtype=np.float32)
        return np.asarray(self._booster.inplace_predict(rows, validate_features=False), dtype=np.float64)

    def contributions(self, matrix: FloatArray) -> FloatArray:
        """Return (rows, columns + 1), as `Explainer` says; of XGBoost's own float32. Raises WrongShape."""
        check_columns(matrix, self._forest.columns)
        codes = msgspec.json.decode(self._booster.attr(CODES) or "[]", type=list[int | None])
        rows = _table(self._xgboost, matrix, None, codes, 1)
        parts = self._booster.predict(rows, pred_contribs=True, validate_features=False)
        return np.asarray(parts, dtype=np.float64)


def _compiled(state: bytes) -> CompiledForest:
    return CompiledForest(read_xgboost(state))


RUNTIMES: Mapping[str, Load] = {"native": XGBoostBooster, "compiled": _compiled}
