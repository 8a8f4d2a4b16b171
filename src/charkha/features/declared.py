"""The declared fields of columns that were found, whatever holds them; and the error where they do not come of them."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import polars as pl

from charkha.features.contracts import said
from charkha.features.conversions import conversion, nothing
from charkha.features.csv_files import other_separator
from charkha.spec.sources import Files, Query, Source

_ROW = "_row"


class DataError(Exception):
    """Rows that cannot be used as declared; says where they lie, what was expected and what to do."""


def declared_fields(source: Source, rows: pl.LazyFrame, place: str) -> dict[str, pl.Expr]:
    """Return how each declared field comes of the columns that were found; decimals in their one form (see `finite`).

    rows: as they lie; read only in a column whose type is not taken, for it may hold no value at all. place: where they
    were found, for the error. Raises DataError when columns are not there or are of other types, all of them at once.
    An expression fails where a value cannot be taken: see `unlike_declared`.
    """
    found = rows.collect_schema()
    require_columns(source, found.names(), place)
    ways = {name: conversion(source, name, found[name]) for name in source.fields}
    faults = list(_type_faults(source, rows, {name: found[name] for name, way in ways.items() if way is None}))
    if faults:
        raise DataError(
            f"source {source.name!r}: {place} cannot be read as declared: {'; '.join(faults)}. Mend the source's "
            "fields, or what holds its rows"
        )
    return {name: way.strict if way else nothing(name, source.fields[name]) for name, way in ways.items()}


def is_by_type(source: Source, found: pl.Schema) -> bool:
    """Say whether columns become all fields by their types, whatever their values are: see `declared_fields`."""
    return all(name in found and conversion(source, name, found[name]) for name in source.fields)


def require_columns(source: Source, found: Sequence[str], place: str) -> None:
    """Raise DataError unless there is one column for each declared field."""
    missing = [name for name in source.fields if name not in found]
    if missing:
        several = "columns" if len(missing) > 1 else "column"
        raise DataError(
            f"source {source.name!r}: {place} cannot be read as declared: it has no {several} "
            f"{', '.join(map(repr, missing))}{_beside(source, missing, found)}"
        )


_MOST_NAMED = 8


def _beside(source: Source, missing: Sequence[str], found: Sequence[str]) -> str:
    """Return what there is in place of missing columns, and what to do about it."""
    other = other_separator(list(found))
    if other is not None and isinstance(source.data, Files) and source.data.format == "csv":
        return f'; its header reads {found[0]!r}. Say how its columns are separated: ck.csv(…, separator="{other}")'
    others = [name for name in found if name not in source.fields]
    named = ", ".join(map(repr, others[:_MOST_NAMED])) + (" …" if len(others) > _MOST_NAMED else "")
    beside = f"; there are {named} that are not declared" if others else ""
    return f"{beside}. Mend the source's fields, or what holds its rows"


def unlike_declared(source: Source, rows: pl.LazyFrame, place: str) -> DataError | None:
    """Return the error of the first value that no field can take, sought in all rows; None where there is none."""
    found = rows.collect_schema()
    for name in source.fields:
        way = conversion(source, name, found[name])
        first = way and _first(source, rows, name, way.odd)
        if way and first:
            return DataError(
                f"source {source.name!r}: {place} cannot be read as declared: expected {way.wanted} for {name!r}, got "
                f"{first}. {_way_out(source, name)}"
            )
    return None


def _type_faults(source: Source, rows: pl.LazyFrame, others: Mapping[str, pl.DataType]) -> Iterator[str]:
    for name, found in others.items():
        first = _first(source, rows, name, pl.col(name).is_not_null())
        if first:
            yield f"expected {source.fields[name].__name__} for {name!r}, got {found}, such as {first}"


def _first(source: Source, rows: pl.LazyFrame, name: str, which: pl.Expr) -> str | None:
    """Return the first value of a column that is one of those sought, in words, and where it stands; None without."""
    sought = rows.select(name).with_row_index(_ROW).filter(which).head(1)
    found = sought.collect(engine="streaming")  # which stops there
    if found.is_empty():
        return None
    value = said(found[name].item())
    # Rows of a query come in pieces, and in another order the next time.
    return value if isinstance(source.data, Query) else f"{value} in row {found[_ROW].item():,}"


def _way_out(source: Source, name: str) -> str:
    data = source.data
    if not isinstance(data, Files) or data.format != "csv" or source.fields[name] is not datetime:
        return "Mend the source's fields, or what holds its rows"
    if data.format_of(name):
        return "Mend times= of its ck.csv(…), or the file"
    return f'Say how its times are written, such as ck.csv(…, times={{"{name}": "%d/%m/%Y %H:%M"}}), or mend the file'
