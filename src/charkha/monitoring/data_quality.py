"""The quality of what a version was given, in figures: the fields of the request and the features of each row."""

import polars as pl
from attrs import frozen

from charkha.monitoring.collect import predictions_table
from charkha.monitoring.parts import PartReader
from charkha.monitoring.performance import Span
from charkha.serving.prediction_frames import REQUEST_PREFIX, with_features
from charkha.spec.model import Model
from charkha.storage.home import Home


@frozen(kw_only=True)
class ColumnQuality:
    """One field of the request (`request.<field>`) or feature.

    nulls: how many rows have none; NaN counts as null. distinct: how many values there are, null not among them. least,
    mean, most: None for text and times, and without values; true counts as 1. commonest: of text, and None without any.
    """

    name: str
    rows: int
    nulls: int
    distinct: int
    least: float | None
    mean: float | None
    most: float | None
    commonest: str | None


@frozen
class DataQuality:
    """All columns. duplicates: how many of the rows are, in all columns, what a row before them was."""

    rows: int
    duplicates: int
    columns: tuple[ColumnQuality, ...]


def data_quality(rows: pl.DataFrame) -> DataQuality:
    """Return the quality of rows: one for each question, its columns those to look at and no other."""
    duplicates = rows.height - rows.n_unique() if rows.width and rows.height else 0
    return DataQuality(rows.height, duplicates, tuple(map(_column, rows)))


def _column(values: pl.Series) -> ColumnQuality:
    numeric = values.dtype.is_numeric() or values.dtype == pl.Boolean
    if numeric:
        values = values.cast(pl.Float64).fill_nan(None)
    known = values.drop_nulls()
    return ColumnQuality(
        name=values.name,
        rows=len(values),
        nulls=values.null_count(),
        distinct=known.n_unique(),
        least=_number(known.min()) if numeric else None,
        mean=_number(known.mean()) if numeric else None,
        most=_number(known.max()) if numeric else None,
        commonest=_commonest(known) if values.dtype == pl.String else None,
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _commonest(known: pl.Series) -> str | None:
    counts = known.value_counts(sort=True).sort("count", known.name, descending=[True, False])
    return None if counts.is_empty() else str(counts[known.name][0])


def served_rows(home: Home, model: Model, version: str, names: list[str], span: Span) -> pl.DataFrame:
    """Return what a version was given in a span: the fields of the requests, and the features of some full names.

    Of rows whose features were not logged, and of those that a fallback answered, nothing is told. Reads what `collect`
    has written.
    """
    wanted = [*(REQUEST_PREFIX + field for field in model.request), *names]
    within = pl.col("_at_us").is_between(span.since_us, span.until_us, closed="left")
    of_version = within & (pl.col("version") == version) & (pl.col("role") != "fallback")

    def chosen(part: pl.DataFrame) -> pl.DataFrame:
        rows = with_features(part.filter(of_version))
        return rows.select(name for name in wanted if name in rows.columns)

    parts = PartReader(home.tables, predictions_table(model.name), chosen).between(span.since_us, span.until_us)
    found = pl.concat(parts, how="diagonal_relaxed") if parts else pl.DataFrame()
    return found.select(name for name in wanted if name in found.columns)
