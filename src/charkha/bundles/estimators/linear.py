"""Linear models: logistic regression for `binary`, ridge for `regression`."""

from typing import ClassVar

import msgspec
import numpy as np
from attrs import field, frozen
from attrs.validators import gt

from charkha.bundles.fitting import check_rows
from charkha.bundles.predictor import BadState, WrongShape
from charkha.spec.model import FloatArray, Task


class LinearState(msgspec.Struct, frozen=True):
    """The fitted weights. All arrays are in the order of their columns.

    numeric, categorical: the positions of the columns in the matrix.
    centres, scales, weights: per numeric column: standardised = (value - centre) / scale, within ±clip.
    null_weights: per numeric column: added when the value is null.
    tables: per categorical column: what each code adds; a null or unseen category adds nothing.
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


@frozen(kw_only=True)
class Linear:
    """A weighted sum of the features: small, quick and easy to explain; a baseline that trees should beat."""

    kind: ClassVar[str] = "linear"
    tasks: ClassVar[tuple[Task, ...]] = ("binary", "regression")

    strength: float = field(default=1.0, validator=gt(0))
    clip: float = field(default=10.0, validator=gt(0))

    def fit(
        self,
        task: Task,
        train: tuple[FloatArray, FloatArray],
        validation: tuple[FloatArray, FloatArray],
        categorical: tuple[int, ...],
        seed: int,
    ) -> bytes:
        """Learn, and return the weights as JSON. Raises CannotFit."""
        check_rows(task, *train)
        return msgspec.json.encode(_fit(self, task, train, categorical))


def load(state: bytes) -> "LinearPredictor":
    """Return the predictor of a fitted state. Raises BadState."""
    try:
        return LinearPredictor(msgspec.json.decode(state, type=LinearState))
    except msgspec.DecodeError as error:
        raise BadState(f"expected the JSON of a linear model: {error}") from None


class LinearPredictor:
    """A fitted linear model on NumPy alone."""

    def __init__(self, state: LinearState) -> None:
        self._state = state
        self._numeric = np.array(state.numeric, dtype=np.intp)
        self._centres, self._scales = np.array(state.centres), np.array(state.scales)
        self._weights, self._null_weights = np.array(state.weights), np.array(state.null_weights)
        self._tables = [np.array((*table, 0.0)) for table in state.tables]

    def predict(self, matrix: FloatArray) -> FloatArray:
        """Return (rows,): probabilities or values. `matrix`: float64 (rows, columns). Raises WrongShape."""
        if matrix.ndim != 2 or matrix.shape[1] != self._state.columns:
            raise WrongShape(self._state.columns, matrix.shape)
        numbers = matrix[:, self._numeric]
        null = np.isnan(numbers)
        standard = ((numbers - self._centres) / self._scales).clip(-self._state.clip, self._state.clip)
        standard[null] = 0.0
        total = self._state.intercept + standard @ self._weights + null @ self._null_weights
        for position, table in zip(self._state.categorical, self._tables, strict=True):
            codes = matrix[:, position]
            known = (codes >= 0) & (codes < len(table) - 1)
            total += table[np.where(known, codes, len(table) - 1).astype(np.intp)]
        return np.exp(-np.logaddexp(0.0, -total)) if self._state.task == "binary" else total


def _fit(
    declared: Linear, task: Task, train: tuple[FloatArray, FloatArray], categorical: tuple[int, ...]
) -> LinearState:
    from sklearn.linear_model import LogisticRegression, Ridge

    matrix, labels = train
    numeric = tuple(i for i in range(matrix.shape[1]) if i not in categorical)
    numbers = matrix[:, list(numeric)]
    null = np.isnan(numbers)
    counts = np.maximum((~null).sum(axis=0), 1)
    centres = np.where(null, 0.0, numbers).sum(axis=0) / counts
    spread = np.sqrt(np.where(null, 0.0, (numbers - centres) ** 2).sum(axis=0) / counts)
    scales = np.where(spread > 0, spread, 1.0)
    standard = np.where(null, 0.0, ((numbers - centres) / scales).clip(-declared.clip, declared.clip))
    sizes = [int(np.nanmax(matrix[:, i], initial=-1.0)) + 1 for i in categorical]
    onehot = [matrix[:, [i]] == np.arange(size) for i, size in zip(categorical, sizes, strict=True)]
    design = np.hstack([standard, null, *onehot]).astype(np.float64)
    if task == "binary":
        model = LogisticRegression(C=declared.strength, max_iter=1000)
    else:
        model = Ridge(alpha=1.0 / declared.strength)
    model.fit(design, labels)
    weights = np.ravel(model.coef_)
    bounds = np.cumsum([len(numeric), len(numeric), *sizes])
    parts = np.split(weights, bounds[:-1])
    return LinearState(
        task, matrix.shape[1], float(np.ravel(model.intercept_)[0]), declared.clip,
        numeric, tuple(centres.tolist()), tuple(scales.tolist()), tuple(parts[0].tolist()), tuple(parts[1].tolist()),
        categorical, tuple(tuple(part.tolist()) for part in parts[2:]),
    )  # fmt: skip
