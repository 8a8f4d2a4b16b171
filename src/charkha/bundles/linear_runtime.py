"""A linear model on NumPy: its state as plain numbers, and the scores of it; shared by all that learn one."""

import msgspec
import numpy as np

from charkha.bundles.predictor import check_columns
from charkha.spec.model import FloatArray, Task


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
            total += table[codes_or_last(matrix[:, position], len(table) - 1)]
        return np.exp(-np.logaddexp(0.0, -total)) if self._state.task == "binary" else total

    def contributions(self, matrix: FloatArray) -> FloatArray:
        """Return (rows, columns + 1), as `Explainer` says: beside the mean of each column. Raises WrongShape."""
        check_columns(matrix, self._state.columns)
        parts = np.zeros((len(matrix), self._state.columns + 1))
        clipped, null = self._clipped(matrix[:, self._numeric])
        parts[:, self._numeric] = clipped * self._weights + null * self._null_weights
        for position, table in self._tables:
            parts[:, position] = table[codes_or_last(matrix[:, position], len(table) - 1)]
        parts[:, -1] = self._state.intercept
        return parts

    def _numbers_add(self, numbers: FloatArray) -> FloatArray:
        clipped, null = self._clipped(numbers)
        # Row by row in one order: a product of matrices would add up a row otherwise in another company.
        added = np.ascontiguousarray(clipped * self._weights + null * self._null_weights)
        total: FloatArray = self._state.intercept + added.sum(axis=1)
        return total

    def _clipped(self, numbers: FloatArray) -> tuple[FloatArray, FloatArray]:
        return standardised(numbers, self._centres, self._scales, self._state.clip)


def standardised(
    numbers: FloatArray, centres: FloatArray, scales: FloatArray, clip: float
) -> tuple[FloatArray, FloatArray]:
    """Return numbers (n, columns) in standard units within ±clip, 0 for null, and where they are null."""
    null = ~np.isfinite(numbers)
    with np.errstate(over="ignore", invalid="ignore"):
        standard = (numbers - centres) / scales
    return np.where(null, 0.0, np.clip(standard, -clip, clip)), null


def numeric_columns(matrix: FloatArray, categorical: tuple[int, ...]) -> list[int]:
    """Return the positions of the numbers. A column without any has no mean and teaches nothing: it is left out."""
    some: list[int] = np.flatnonzero(np.isfinite(matrix).any(axis=0)).tolist()
    return [position for position in some if position not in categorical]


def code_count(column: FloatArray) -> int:
    """Return how many codes a training column has; at least one, which scikit-learn asks for."""
    return int(np.nanmax(column, initial=0.0)) + 1


def finite_or_null(numbers: FloatArray) -> FloatArray:
    """Return numbers with NaN for what is infinite."""
    return np.where(np.isfinite(numbers), numbers, np.nan)


def codes_or_last(values: FloatArray, last: int) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
    """Return codes as places in a table; null or unseen is the last one."""
    return np.where((values >= 0) & (values < last), values, last).astype(np.intp)
