"""Which types of a column can become a declared one without a value changing what it says, and how.

No number is read from text or from a boolean, and no time from a number, for nobody says its unit: as in pushes. Only
where the data has no other way to say it is text read: in CSV all of it, and the times of a database.
"""

from collections.abc import Callable
from datetime import datetime

import polars as pl
from attrs import frozen

from charkha.features.numbers import finite
from charkha.features.texts import from_text, words
from charkha.spec.fields import POLARS_TYPES, TIME, FieldType
from charkha.spec.sources import Files, Query, Source


@frozen(eq=False)
class Conversion:
    """How a field comes of a column. wanted: what its values must be, in words.

    strict: its values, as an expression that fails where one cannot be taken. loose: null there instead. there: where
    the column has a value: an empty cell is none, nor is a number that is not finite.
    """

    wanted: str
    strict: pl.Expr
    loose: pl.Expr
    there: pl.Expr

    @property
    def odd(self) -> pl.Expr:
        """Where there is a value that cannot be taken."""
        return self.there & self.loose.is_null()


# Given a column and whether it is strict, returns its values.
_Values = Callable[[pl.Expr, bool], pl.Expr]


def conversion(source: Source, name: str, found: pl.DataType) -> Conversion | None:
    """Return how a field of a source comes of a column of a type; None where values of that type are not taken."""
    kind, column = source.fields[name], pl.col(name)
    wanted, values, there = kind.__name__, _typed(kind, found), column.is_not_null()
    if isinstance(source.data, Query):
        values = values or _of_driver(kind, found)
    if isinstance(source.data, Files) and source.data.format == "csv" and found == pl.String():
        written = source.data.format_of(name)
        wanted, values, there = words(kind, written), _of_text(kind, written), there & (column != "")
    if values is None:
        return None
    if found.is_float():
        there = finite(column).is_not_null()
    strict, loose = values(column, True), values(column, False)
    return Conversion(wanted, finite(strict) if kind is float else strict, loose, there)


def nothing(name: str, kind: FieldType) -> pl.Expr:
    """Return a column of any type that has no value as a field."""
    return pl.when(pl.col(name).is_not_null()).then(pl.lit(None, dtype=POLARS_TYPES[kind]))


def _typed(kind: FieldType, found: pl.DataType) -> _Values | None:
    """Return how values of a type become a field's; None where they do not."""
    if found == pl.Null() or found == POLARS_TYPES[kind]:
        return _cast(kind)
    if kind is str and found in (pl.Categorical, pl.Enum):
        return _cast(kind)
    if kind is int and (found.is_float() or found.is_decimal()):
        return _whole(found)
    if kind in (int, float) and found.is_numeric():
        return _cast(kind)
    return _time(found) if kind is datetime and found in (pl.Date, pl.Datetime) else None


def _of_driver(kind: FieldType, found: pl.DataType) -> _Values | None:
    """Return how what a database's driver gives becomes a field where the database has no such type."""
    if kind is datetime and found == pl.String():
        return _of_text(kind, None)
    if kind is bool and found.is_integer():
        return lambda column, strict: from_text(column.cast(pl.String()), pl.Boolean(), None, strict=strict)
    return None


def _of_text(kind: FieldType, written: str | None) -> _Values:
    return lambda column, strict: from_text(column, POLARS_TYPES[kind], written, strict=strict)


def _cast(kind: FieldType) -> _Values:
    return lambda column, strict: column.cast(POLARS_TYPES[kind], strict=strict)


def _whole(found: pl.DataType) -> _Values:
    """Return how numbers that may have decimals become whole ones: pandas writes whole numbers so where some lack."""

    def values(column: pl.Expr, strict: bool) -> pl.Expr:
        number = finite(column) if found.is_float() else column
        whole = number.cast(pl.Int64(), strict=False)
        odd = number.is_not_null() & whole.cast(found, strict=False).ne_missing(number)
        # The text of what is odd is no whole number, so that this fails: a cast would cut off its decimals.
        return (
            pl.when(odd)
            .then(pl.when(odd).then(number).cast(pl.String()).cast(pl.Int64(), strict=strict))
            .otherwise(whole)
        )

    return values


def _time(found: pl.DataType) -> _Values:
    def values(column: pl.Expr, strict: bool) -> pl.Expr:
        zone = found.time_zone if isinstance(found, pl.Datetime) else None
        if zone:
            return column.dt.convert_time_zone("UTC").cast(TIME, strict=strict)
        return column.cast(pl.Datetime("us"), strict=strict).dt.replace_time_zone("UTC")

    return values
