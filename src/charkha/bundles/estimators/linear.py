"""Linear models: logistic regression for `binary`, ridge for `regression`."""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
import numpy as np
from attrs import frozen

from charkha.bundles.fitting import check_rows
from charkha.bundles.linear_runtime import (
    LinearPredictor,
    LinearState,
    code_count,
    finite_or_null,
    numeric_columns,
)
from charkha.bundles.parameters import amount, check_parameters
from charkha.bundles.predictor import BadState, Load
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
        return msgspec.json.encode(self.weights_of(lesson))

    def weights_of(self, lesson: Lesson) -> LinearState:
        """Learn from the training rows alone, and return the weights. Raises CannotFit."""
        check_rows(lesson)
        pipeline = self.pipeline(lesson.task, lesson.train[0], lesson.categorical)
        pipeline.fit(*lesson.train, **{f"{pipeline.steps[-1][0]}__sample_weight": lesson.weights})
        return _state_of(pipeline, lesson.task, lesson.train[0], self.clip, lesson.categorical)

    def pipeline(self, task: Task, matrix: FloatArray, categorical: tuple[int, ...]) -> Any:
        """Return the same model as an unfitted scikit-learn pipeline. `matrix`: the training rows."""
        from sklearn.compose import ColumnTransformer
        from sklearn.impute import MissingIndicator, SimpleImputer
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

        numeric = numeric_columns(matrix, categorical)
        clip = FunctionTransformer(np.clip, kw_args={"a_min": -self.clip, "a_max": self.clip})
        mean = SimpleImputer(strategy="constant", fill_value=0.0, keep_empty_features=True)
        codes = [np.arange(code_count(matrix[:, position])) for position in categorical]
        columns = ColumnTransformer(
            [
                ("numbers", make_pipeline(FunctionTransformer(finite_or_null), StandardScaler(), clip, mean), numeric),
                (
                    "nulls",
                    make_pipeline(FunctionTransformer(finite_or_null), MissingIndicator(features="all")),
                    numeric,
                ),
                ("codes", OneHotEncoder(categories=codes, handle_unknown="ignore"), list(categorical)),
            ]
        )
        learner = LogisticRegression(C=1 / self.strength, max_iter=1000) if task == "binary" else Ridge(self.strength)
        return make_pipeline(columns, learner)


def _on_numpy(state: bytes) -> LinearPredictor:
    """Return the predictor of a fitted state. Raises BadState."""
    try:
        return LinearPredictor(msgspec.json.decode(state, type=LinearState))
    except msgspec.DecodeError as error:
        raise BadState(f"expected the JSON of a linear model: {error}") from None


RUNTIMES: Mapping[str, Load] = {"numpy": _on_numpy}


def _state_of(pipeline: Any, task: Task, matrix: FloatArray, clip: float, categorical: tuple[int, ...]) -> LinearState:
    transformer, learner = pipeline[0], pipeline[1]
    numeric = numeric_columns(matrix, categorical)
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
