"""The declared fields of columns that were found, whatever holds them; and the error where they do not come of them."""

from collections.abc import Sequence

import polars as pl

from charkha.features.numbers import finite
from charkha.spec.fields import TIME, polars_schema
from charkha.spec.sources import Source


class DataError(Exception):
    """Rows that cannot be used as declared; says where they lie, what was expected and what to do."""


def declared_fields(source: Source, found: pl.Schema, place: str) -> dict[str, pl.Expr]:
    """Return how each declared field comes of the columns that were found; decimals in their one form (see `finite`).

    place: where they were found, for the error. Raises DataError when some are not there.
    """
    require_columns(source, found.names(), place)
    return {name: _as_declared(found[name], name, kind) for name, kind in polars_schema(source.fields).items()}


def require_columns(source: Source, found: Sequence[str], place: str) -> None:
    """Raise DataError unless there is one column for each declared field."""
    missing = [name for name in source.fields if name not in found]
    if missing:
        raise DataError(
            f"source {source.name!r}: {place} cannot be read as declared: expected the columns {list(source.fields)}, "
            f"{missing} are not among {list(found)}. Mend the source's fields, or what holds its rows"
        )


def _as_declared(found: pl.DataType, name: str, kind: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if kind != TIME:
        return finite(column.cast(kind)) if kind == pl.Float64 else column.cast(kind)
    if found == pl.String():
        return column.str.to_datetime(time_unit="us", time_zone="UTC")
    zone = found.time_zone if isinstance(found, pl.Datetime) else None
    aware = column.dt.convert_time_zone("UTC") if zone else column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return aware.cast(TIME)
