"""Linear models: logistic regression for `binary`, ridge for `regression`."""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
import numpy as np
from attrs import frozen

from charkha.bundles.fitting import check_rows
from charkha.bundles.parameters import amount, check_parameters
from charkha.bundles.predictor import BadState, Load, check_columns
from charkha.spec.model import FloatArray, Lesson, Task


@frozen(kw_only=True)
class Linear:
    """A weighted sum of the features: small, quick, easy to explain; and the baseline that trees should beat.

    Numbers are standardised (less their mean, over their standard deviation); a null or infinite one counts as the
    mean, and that it was so has a weight of its own. Every category has a weight; one never seen has none.

        ck.Linear()
        ck.Linear(strength=10)      # fewer rows than features, or noise: smaller weights

    strength: of the penalty on large weights. Higher values follow the data less.
    clip: numbers further from their mean than this many standard deviations count as if they were there, so that one
        absurd value cannot decide alone.

    Raises DefinitionError with every parameter that is out of bounds.
    """

    kind: ClassVar[str] = "linear"
    tasks: ClassVar[tuple[Task, ...]] = ("binary", "regression")

    strength: float = amount(1.0, above=True)
    clip: float = amount(10.0, above=True)

    def __attrs_post_init__(self) -> None:
        check_parameters(self)

    def fit(self, lesson: Lesson) -> bytes:
        """Learn from the training rows alone, and return the weights as JSON. Raises CannotFit."""
        check_rows(lesson)
        pipeline = self.pipeline(lesson.task, lesson.train[0], lesson.categorical)
        pipeline.fit(*lesson.train, **{f"{pipeline.steps[-1][0]}__sample_weight": lesson.weights})
        return msgspec.json.encode(_state_of(pipeline, lesson.task, lesson.train[0], self.clip, lesson.categorical))

    def pipeline(self, task: Task, matrix: FloatArray, categorical: tuple[int, ...]) -> Any:
        """Return the same model as an unfitted scikit-learn pipeline. `matrix`: the training rows."""
        from sklearn.compose import ColumnTransformer
        from sklearn.impute import MissingIndicator, SimpleImputer
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

        numeric = _numeric(matrix, categorical)
        clip = FunctionTransformer(np.clip, kw_args={"a_min": -self.clip, "a_max": self.clip})
        mean = SimpleImputer(strategy="constant", fill_value=0.0, keep_empty_features=True)
        codes = [np.arange(_codes(matrix[:, position])) for position in categorical]
        columns = ColumnTransformer(
            [
                ("numbers", make_pipeline(FunctionTransformer(_finite), StandardScaler(), clip, mean), numeric),
                ("nulls", make_pipeline(FunctionTransformer(_finite), MissingIndicator(features="all")), numeric),
                ("codes", OneHotEncoder(categories=codes, handle_unknown="ignore"), list(categorical)),
            ]
        )
        learner = LogisticRegression(C=1 / self.strength, max_iter=1000) if task == "binary" else Ridge(self.strength)
        return make_pipeline(columns, learner)


class LinearState(msgspec.Struct, frozen=True, kw_only=True):
    """The fitted weights; those of columns are in the order of `numeric` or `categorical`.

    numeric, categorical: the positions of the columns in the matrix.
    centres, scales, weights: per numeric column; (value - centre) / scale, within ±clip, is weighted.
    null_weights: per numeric column; added when the value is null.
    tables: per categorical column: what each code adds; null or unseen adds nothing.
    """

    task: Task
    columns: int
    intercept: float
    clip: float
    numeric: tuple[int, ...]
    centres: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    null_weights: tuple[float, ...]
    categorical: tuple[int, ...]
    tables: tuple[tuple[float, ...], ...]


class LinearPredictor:
    """A fitted linear model on NumPy alone; never changes, so safe to use from several threads."""

    def __init__(self, state: LinearState) -> None:
        self._state = state
        self._numeric = np.array(state.numeric, dtype=np.intp)
        self._centres, self._scales = np.array(state.centres), np.array(state.scales)
        self._weights, self._null_weights = np.array(state.weights), np.array(state.null_weights)
        self._tables = [
            (at, np.array((*table, 0.0))) for at, table in zip(state.categorical, state.tables, strict=True)
        ]

    def predict(self, matrix: FloatArray) -> FloatArray:
        """Return (rows,): probabilities or values. `matrix`: float64 (rows, columns). Raises WrongShape."""
        check_columns(matrix, self._state.columns)
        total = self._numbers_add(matrix[:, self._numeric])
        for position, table in self._tables:
            total += table[_codes_or_last(matrix[:, position], len(table) - 1)]
        return np.exp(-np.logaddexp(0.0, -total)) if self._state.task == "binary" else total

    def contributions(self, matrix: FloatArray) -> FloatArray:
        """Return (rows, columns + 1), as `Explainer` says: beside the mean of each column. Raises WrongShape."""
        check_columns(matrix, self._state.columns)
        parts = np.zeros((len(matrix), self._state.columns + 1))
        clipped, null = self._clipped(matrix[:, self._numeric])
        parts[:, self._numeric] = clipped * self._weights + null * self._null_weights
        for position, table in self._tables:
            parts[:, position] = table[_codes_or_last(matrix[:, position], len(table) - 1)]
        parts[:, -1] = self._state.intercept
        return parts

    def _numbers_add(self, numbers: FloatArray) -> FloatArray:
        clipped, null = self._clipped(numbers)
        # Row by row in one order: a product of matrices would add up a row otherwise in another company.
        added = np.ascontiguousarray(clipped * self._weights + null * self._null_weights)
        total: FloatArray = self._state.intercept + added.sum(axis=1)
        return total

    def _clipped(self, numbers: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return numbers in standard units, 0 for null, and where they are null."""
        null = ~np.isfinite(numbers)
        with np.errstate(over="ignore", invalid="ignore"):
            standard = (numbers - self._centres) / self._scales
        return np.where(null, 0.0, np.clip(standard, -self._state.clip, self._state.clip)), null


def _on_numpy(state: bytes) -> LinearPredictor:
    """Return the predictor of a fitted state. Raises BadState."""
    try:
        return LinearPredictor(msgspec.json.decode(state, type=LinearState))
    except msgspec.DecodeError as error:
        raise BadState(f"expected the JSON of a linear model: {error}") from None


RUNTIMES: Mapping[str, Load] = {"numpy": _on_numpy}


def _numeric(matrix: FloatArray, categorical: tuple[int, ...]) -> list[int]:
    """Return the positions of the numbers. A column without any has no mean and teaches nothing: it is left out."""
    some: list[int] = np.flatnonzero(np.isfinite(matrix).any(axis=0)).tolist()
    return [position for position in some if position not in categorical]


def _codes(column: FloatArray) -> int:
    """Return how many codes a training column has; at least one, which scikit-learn asks for."""
    return int(np.nanmax(column, initial=0.0)) + 1


def _finite(numbers: FloatArray) -> FloatArray:
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _codes_or_last(values: FloatArray, last: int) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
    return np.where((values >= 0) & (values < last), values, last).astype(np.intp)


def _state_of(pipeline: Any, task: Task, matrix: FloatArray, clip: float, categorical: tuple[int, ...]) -> LinearState:
    transformer, learner = pipeline[0], pipeline[1]
    numeric = _numeric(matrix, categorical)
    scaler = transformer.named_transformers_["numbers"][1] if numeric else None
    sizes = [len(codes) for codes in transformer.named_transformers_["codes"].categories_] if categorical else []
    parts = np.split(np.ravel(learner.coef_), np.cumsum([len(numeric), len(numeric), *sizes])[:-1])
    weights, null_weights, *tables = [tuple(part.tolist()) for part in parts]
    return LinearState(
        task=task,
        columns=matrix.shape[1],
        intercept=float(np.ravel(learner.intercept_)[0]),
        clip=clip,
        numeric=tuple(numeric),
        centres=tuple(scaler.mean_.tolist()) if scaler else (),
        scales=tuple(scaler.scale_.tolist()) if scaler else (),
        weights=weights,
        null_weights=null_weights,
        categorical=categorical,
        tables=tuple(tables),
    )
