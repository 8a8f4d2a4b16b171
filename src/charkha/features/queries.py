"""The rows that a query of a database gives. What its address keeps secret is read when the query is run, never kept.

No error says it either: whatever a driver tells is searched for it first, and the driver's own error is not chained.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from re import Match
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import UUID

import polars as pl

from charkha.features.declared import DataError, declared_fields, require_columns, unlike_declared
from charkha.spec.fields import polars_schema
from charkha.spec.sources import VARIABLE, Query, Source, written_secrets

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

QUERY = "query"
ROWS_AT_ONCE = 50_000
_PLAIN = frozenset({str, int, float, bool, datetime, type(None)})


def query_frames(
    source: Source,
    query: Query,
    root: Path,
    *,
    environment: Mapping[str, str] = os.environ,
    rows_at_once: int = ROWS_AT_ONCE,
) -> Iterator[pl.DataFrame]:
    """Yield the declared fields of all rows that a query gives, in its order, so many at a time; first a table of none.

    root: the folder that an SQLite file is looked for in. environment: the variables that the query's address names.
    rows_at_once: so many rows are fetched, and brought into columns, at a time. Raises DataError.
    """
    from sqlalchemy.exc import SQLAlchemyError

    address = _filled(source, query.url, environment)
    secrets = {address, *written_secrets(address), *(environment[name] for name in VARIABLE.findall(query.url))}
    try:
        url = _located(source, address, root)
        secrets |= {str(url.password or ""), quote(str(url.password or ""), safe="")}
        yield from _fetched(source, query.text, url, rows_at_once)
        return
    except ImportError as error:
        said = f"its url needs the package {error.name}, which is not installed. Install it"
    except SQLAlchemyError as error:
        told = str(getattr(error, "orig", None) or error).partition("\n")[0]
        said = f"its query cannot be run: {told}. Check its SQL and its url, and that the database answers"
    except (pl.exceptions.PolarsError, OSError, TypeError, ValueError, OverflowError) as error:
        told = str(error).partition("\n")[0]
        said = f"its query cannot be read as declared: {told}. Mend the source's fields, or cast in the query"
    # Raised outside of the handlers: the error they had may hold the address, and would be shown as the cause.
    raise DataError(f"source {source.name!r}: {_without(secrets, said)}")


def _filled(source: Source, url: str, environment: Mapping[str, str]) -> str:
    """Return the address with the values of its variables. Raises DataError for one that is not set."""
    for name in VARIABLE.findall(url):
        if not environment.get(name):
            raise DataError(
                f"source {source.name!r}: expected the environment variable {name}, which its url names, and it is "
                f"not set. Set it where this runs: export {name}=…"
            )

    def value(found: Match[str]) -> str:
        # A password may have any characters; what is a whole address, a host or a folder is written as in one.
        is_part = found.start() > 0 and ("@" in url[found.end() :] or "?" in url[: found.start()])
        text = environment[found[1]]
        return quote(text, safe="") if is_part else text

    return VARIABLE.sub(value, url)


def _located(source: Source, address: str, root: Path) -> "URL":
    """Return the address, an SQLite file's from the project's folder. Raises DataError for a file that is not there."""
    from sqlalchemy import make_url

    url = make_url(address)
    plain = url.get_backend_name() == "sqlite" and url.database and not url.database.startswith((":", "file:"))
    if not plain:
        return url
    path = root / str(url.database)  # SQLite would make a file that is not there
    if not path.exists():
        raise DataError(f"source {source.name!r}: no SQLite database {str(path)!r}. Check the url, or what makes it")
    return url.set(database=str(path))


def _fetched(source: Source, text: str, url: "URL", rows_at_once: int) -> Iterator[pl.DataFrame]:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    engine: Engine = create_engine(url, poolclass=NullPool)
    # The text goes to the driver as it is: neither ":name" nor "%" in it is a parameter.
    how: dict[str, Any] = {"stream_results": True, "yield_per": rows_at_once, "no_parameters": True}
    with engine.connect() as connection:
        result = connection.exec_driver_sql(text, execution_options=how)
        columns = list(result.keys()) if result.returns_rows else []
        require_columns(source, columns, "its query")
        _require_once(source, columns)
        yield pl.DataFrame(schema=polars_schema(source.fields))
        for rows in result.partitions(rows_at_once):
            yield _typed(source, columns, rows)


def _require_once(source: Source, columns: Sequence[str]) -> None:
    twice = [name for name in source.fields if columns.count(name) > 1]
    if twice:
        raise DataError(
            f"source {source.name!r}: expected each column of its query once, got {twice} more than once. Tell them "
            "apart with AS"
        )


def _typed(source: Source, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
    """Return rows of Python values as the declared fields."""
    places = {name: columns.index(name) for name in source.fields}
    found = pl.LazyFrame([_column(name, [row[place] for row in rows]) for name, place in places.items()])
    try:
        return found.select(**declared_fields(source, found, "its query")).collect()
    except pl.exceptions.PolarsError as error:
        raise unlike_declared(source, found, "its query") or error from None


def _column(name: str, values: Sequence[Any]) -> pl.Series:
    """Return values as they are: whole numbers among others become such numbers, and none is lost on the way."""
    if not _PLAIN.issuperset(map(type, values)):
        values = [_plain(value) for value in values]
    column = pl.Series(name, values, strict=False)
    if column.null_count() != sum(value is None for value in values):
        raise TypeError(f"expected values of one type in column {name!r}, got several")
    return column


def _plain(value: object) -> object:
    """Return a driver's value as one that Polars takes: it panics at a decimal that is no number."""
    if isinstance(value, UUID):
        return str(value)
    return float(value) if isinstance(value, Decimal) and not value.is_finite() else value


def _without(secrets: set[str], said: str) -> str:
    for secret in sorted(secrets - {""}, key=len, reverse=True):
        said = said.replace(secret, "***")
    return said
