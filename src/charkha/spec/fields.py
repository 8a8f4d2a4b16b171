"""The types a field of a source may have, and what each is called in a table, in JSON and in an error."""

from collections.abc import Iterable, Mapping
from datetime import datetime

import polars as pl

FieldType = type[str] | type[int] | type[float] | type[bool] | type[datetime]

TIME = pl.Datetime("us", "UTC")
POLARS_TYPES: Mapping[FieldType, pl.DataType] = {
    str: pl.String(),
    int: pl.Int64(),
    float: pl.Float64(),
    bool: pl.Boolean(),
    datetime: TIME,
}


def polars_schema(fields: Mapping[str, FieldType]) -> pl.Schema:
    """Return the table schema of declared fields, in their order."""
    return pl.Schema({name: POLARS_TYPES[kind] for name, kind in fields.items()})


def is_numeric(kind: FieldType) -> bool:
    """Say whether a field can be summed: numbers and booleans can, text and times cannot."""
    return kind in (int, float, bool)


def one_or_many(names: str | Iterable[str]) -> tuple[str, ...]:
    """Return names as a tuple; one may be written without the brackets. Raises TypeError for what holds no names."""
    return (names,) if isinstance(names, str) else tuple(names)
