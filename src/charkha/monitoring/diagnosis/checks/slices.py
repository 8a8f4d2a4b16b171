"""Slices in which a culprit is sought: segments of the request, the two sides of a number, categories of a text."""

from collections.abc import Iterator

import numpy as np
import polars as pl
from attrs import frozen

from charkha.monitoring.diagnosis.case import Case
from charkha.monitoring.diagnosis.checks.graded import Graded
from charkha.monitoring.sequential.arrays import BoolArray
from charkha.serving.prediction_frames import REQUEST_PREFIX
from charkha.spec.model import FloatArray

# Slices with a smaller share of the healthy rows, or of what is left outside of them, tell nothing in days.
LEAST_SHARE = 0.01
MOST_CATEGORIES = 30


@frozen(eq=False)
class Slices:
    """subjects, words: of each slice. inside: float64 (rows of the graded, slices), 1 for a row that is in it."""

    subjects: tuple[str, ...]
    words: tuple[str, ...]
    inside: FloatArray


def slices_of(case: Case, graded: Graded, healthy: BoolArray) -> Slices:
    """Return the slices that the healthy rows have enough of. healthy: (rows of the graded,)."""
    subjects, words, columns = [], [], []
    for subject, said, column in _all(case, graded.rows, healthy):
        share = float(column[healthy].mean()) if healthy.any() else 0.0
        if LEAST_SHARE <= share <= 1 - LEAST_SHARE:
            subjects.append(subject)
            words.append(said)
            columns.append(column)
    inside = np.stack(columns, axis=1) if columns else np.zeros((graded.rows.height, 0))
    return Slices(tuple(subjects), tuple(words), inside)


def _all(case: Case, rows: pl.DataFrame, healthy: BoolArray) -> Iterator[tuple[str, str, FloatArray]]:
    usual = rows.filter(pl.Series(healthy))
    fields = [name for name in case.segments if REQUEST_PREFIX + name in rows.columns]
    for name in fields:
        subject = f"{name}={{}}"
        yield from _categories(rows[REQUEST_PREFIX + name], usual[REQUEST_PREFIX + name], subject, subject)
    for name in case.traffic.features:
        if rows.schema[name] == pl.Float64():
            yield from _sides(rows[name], usual[name])
        elif name.rpartition(".")[2] not in fields:
            yield from _categories(rows[name], usual[name], name, f"{name} = {{}}")


def _categories(values: pl.Series, usual: pl.Series, subject: str, words: str) -> Iterator[tuple[str, str, FloatArray]]:
    counts = usual.cast(pl.String).drop_nulls().value_counts(sort=True).head(MOST_CATEGORIES)
    text = values.cast(pl.String)
    for value in counts[usual.name]:
        yield subject.format(value), words.format(value), _flags(text == value)


def _sides(values: pl.Series, usual: pl.Series) -> Iterator[tuple[str, str, FloatArray]]:
    middle = usual.fill_nan(None).median()
    if isinstance(middle, float):
        yield values.name, f"{values.name} above {middle:.4g}", _flags(values > middle)


def _flags(inside: pl.Series) -> FloatArray:
    return inside.fill_null(value=False).cast(pl.Float64).to_numpy()
