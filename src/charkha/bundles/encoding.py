"""From a table of features to the matrix an estimator learns from, and the schema that remembers how.

The order of the columns and the code of every category are fixed when the schema is learnt, so a row encodes to the
same numbers in training and in serving. Null, NaN and a category never seen are all NaN.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import msgspec
import numpy as np
import polars as pl

from charkha.spec.model import FloatArray

MAX_CATEGORIES = 512


class EncodingError(ValueError):
    """A table that cannot be encoded: a feature is missing, or is of a type that is neither number nor text."""

    def __init__(self, feature: str, expected: str, found: str, remedy: str) -> None:
        self.feature, self.expected, self.found = feature, expected, found
        super().__init__(f"feature {feature!r}: expected {expected}, got {found}. {remedy}")


Reader = tuple[str, Mapping[str | None, float] | None]


class FeatureColumn(msgspec.Struct, frozen=True):
    """One column of the matrix. `vocabulary`: the categories in the order of their codes; empty for numbers."""

    name: str
    kind: Literal["numeric", "categorical"]
    vocabulary: tuple[str, ...] = ()


class FeatureSchema(msgspec.Struct, frozen=True, dict=True):
    """The columns of the matrix, in order."""

    columns: tuple[FeatureColumn, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The features' full names, in the order of the matrix."""
        return tuple(column.name for column in self.columns)

    @property
    def categorical(self) -> tuple[int, ...]:
        """The positions of the categorical columns, as estimators want them."""
        return tuple(i for i, column in enumerate(self.columns) if column.kind == "categorical")

    @cached_property
    def readers(self) -> tuple[Reader, ...]:
        """Per column: its name, and category → code, or None for a number."""
        return tuple(
            (column.name, _codes_of(column) if column.kind == "categorical" else None) for column in self.columns
        )

    @cached_property
    def categories(self) -> Mapping[str, pl.Enum]:
        """Categorical column → its categories as a type whose physical values are the codes."""
        return {column.name: pl.Enum(column.vocabulary) for column in self.columns if column.kind == "categorical"}


def learn_schema(frame: pl.DataFrame, names: Sequence[str], max_categories: int = MAX_CATEGORIES) -> FeatureSchema:
    """Learn which features are categories, and their codes: the most frequent first, ties by name.

    frame: the training rows. names: the features, in the order the matrix shall have.
    max_categories: only so many of the most frequent are kept; the others encode as unseen. More let the model tell
    rare categories apart, at the price of splits learnt from a handful of rows.
    Raises EncodingError when a feature is missing or is neither a number, a flag nor text.
    """
    return FeatureSchema(tuple(_learn_column(_column(frame, name), max_categories) for name in names))


def encode(schema: FeatureSchema, frame: pl.DataFrame) -> FloatArray:
    """Return the matrix, float64 (rows, columns), C order. Other columns of the frame are ignored.

    Raises EncodingError when a feature is missing or of another type than the schema's; a column that holds nothing
    but nulls may be of any type.
    """
    matrix = np.empty((frame.height, len(schema.columns)), dtype=np.float64)
    for position, column in enumerate(schema.columns):
        values = _column(frame, column.name)
        matrix[:, position] = _encode_column(schema.categories.get(column.name), values)
    return matrix


def encode_lists(schema: FeatureSchema, columns: Mapping[str, Sequence[Any] | FloatArray]) -> FloatArray:
    """Return the same matrix for a small batch of lists (null: None) and arrays (NaN), where a table would cost more.

    The values must be of the types that the feature plan gives them. Raises EncodingError when a feature is missing.
    """
    numbers: list[Sequence[Any] | FloatArray] = []
    for name, codes in schema.readers:
        if name not in columns:
            raise EncodingError(name, "a column of this name", f"{sorted(columns)}", "Compute the feature first.")
        values = columns[name]
        numbers.append(values if codes is None else [codes.get(value, np.nan) for value in values])
    return np.ascontiguousarray(np.array(numbers, dtype=np.float64).T)


def most_frequent(values: pl.Series, most: int) -> tuple[str, ...]:
    """Return the `most` most frequent values of a text column, the most frequent first, ties in the order of text."""
    counts = values.alias("value").drop_nulls().value_counts()
    return tuple(counts.sort(["count", "value"], descending=[True, False]).get_column("value").head(most))


def _codes_of(column: FeatureColumn) -> Mapping[str | None, float] | None:
    if column.kind == "numeric":
        return None
    return {category: float(code) for code, category in enumerate(column.vocabulary)}


def _column(frame: pl.DataFrame, name: str) -> pl.Series:
    if name not in frame.columns:
        raise EncodingError(name, "a column of this name", f"the columns {frame.columns}", "Compute the feature first.")
    return frame.get_column(name)


def _learn_column(values: pl.Series, max_categories: int) -> FeatureColumn:
    if _is_number(values.dtype) or values.dtype == pl.Null:
        return FeatureColumn(values.name, "numeric")
    if values.dtype != pl.String:
        raise _wrong_type(values, "a number, a flag or text")
    return FeatureColumn(values.name, "categorical", most_frequent(values, max_categories))


def _is_number(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype == pl.Boolean


def _wrong_type(values: pl.Series, expected: str) -> EncodingError:
    remedy = "Turn it into a number or text with a request feature (times: an hour, an age), or leave it out."
    return EncodingError(values.name, expected, f"{values.dtype}", remedy)


def _encode_column(categories: pl.Enum | None, values: pl.Series) -> FloatArray | float:
    if values.null_count() == values.len():
        return np.nan
    if categories is None:
        if not _is_number(values.dtype):
            raise _wrong_type(values, "a number or a flag, as in training")
        return values.cast(pl.Float64).to_numpy()
    if values.dtype != pl.String:
        raise _wrong_type(values, "text, as in training")
    return values.cast(categories, strict=False).to_physical().cast(pl.Float64).to_numpy()
