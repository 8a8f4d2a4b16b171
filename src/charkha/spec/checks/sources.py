"""Checks of sources and entities."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime

import polars as pl

from charkha.spec.checks.contracts import contract_faults
from charkha.spec.checks.values import column_faults, duration_faults, name_faults, quote, repeated, text_faults
from charkha.spec.faults import Fault
from charkha.spec.fields import POLARS_TYPES, FieldType
from charkha.spec.sources import VARIABLE, Entity, Files, Query, Source, written_secrets

_WORDS = "ck.parquet(…), ck.csv(…), ck.arrow(…), ck.delta(…), ck.iceberg(…) or ck.sql(…)"


def entity_faults(entity: Entity) -> Iterator[Fault]:
    """Yield what is wrong with an entity on its own."""
    where = f"entity {entity.name!r}"
    yield from name_faults(where, entity.name)
    if not entity.keys:
        yield Fault(f"{where}, keys", "at least one column", "none", "Name the columns that identify it.")
    for key in entity.keys:
        yield from text_faults(f"{where}, keys", key, "the key's column")


def source_faults(source: Source) -> Iterator[Fault]:
    """Yield what is wrong with a source on its own."""
    where = f"source {source.name!r}"
    if not isinstance(source.static, bool):
        yield Fault(f"{where}, static", "True or False", quote(source.static), "Leave it out for rows with a time.")
        return
    yield from name_faults(where, source.name)
    if source.owner is not None:
        yield from text_faults(f"{where}, owner", source.owner, "who is paged when its rows are at fault")
    yield from _data_faults(where, source)
    yield from _fields_faults(where, source.fields)
    fields = known_fields(source)
    if fields:
        yield from _time_faults(where, source, fields)
        for column in source.key:
            yield from column_faults(f"{where}, key", column, fields, source.name)
        for column in repeated(source.key):
            yield Fault(f"{where}, key", "each column once", f"{column!r} twice", "Name it once.")
        yield from contract_faults(where, source, fields)


def known_fields(source: Source) -> dict[str, FieldType]:
    """Return the declared fields, or none when they are no mapping of names at all."""
    is_mapping = isinstance(source.fields, Mapping) and all(isinstance(name, str) for name in source.fields)
    return dict(source.fields) if is_mapping else {}


def _fields_faults(where: str, fields: object) -> Iterator[Fault]:
    if not isinstance(fields, Mapping) or not fields:
        remedy = 'List every column you use and its type: {"origin": str, "delay": float}.'
        yield Fault(f"{where}, fields", "a dict of column names and types", quote(fields), remedy)
        return
    for name, kind in fields.items():
        yield from text_faults(f"{where}, fields", name, "the column's name")
        if not isinstance(kind, type) or kind not in POLARS_TYPES:
            found = f"{quote(kind)} for {name!r}"
            remedy = "Write the Python type itself, not its name in quotes or a Polars type."
            if kind in (date, "date", "datetime", pl.Date, pl.Datetime):
                remedy = "Write datetime, of the module datetime: a day is its midnight in UTC."
            yield Fault(f"{where}, fields", "one of str, int, float, bool, datetime", found, remedy)
        if isinstance(name, str) and name.startswith("_"):
            remedy = "Rename the column in your data: names with _ in front belong to Charkha's own tables."
            yield Fault(f"{where}, fields", "a name that does not begin with _", quote(name), remedy)


def _data_faults(where: str, source: Source) -> Iterator[Fault]:
    if source.data is None:
        if not source.key:
            remedy = f"Give data={_WORDS}, or a key=[…] so that rows can be pushed."
            yield Fault(f"{where}, data", "data, or a key to push rows by", "neither", remedy)
        return
    if isinstance(source.data, Query):
        yield from _query_faults(f"{where}, data", source.data)
        return
    if not isinstance(source.data, Files):
        remedy = f"Write ck.parquet({quote(source.data)})." if isinstance(source.data, str) else "Use ck.parquet(…)."
        yield Fault(f"{where}, data", _WORDS, quote(source.data), remedy)
        return
    yield from text_faults(f"{where}, data", source.data.pattern, "the path or glob of the files")
    for spelling in source.data.nulls:
        if not isinstance(spelling, str):
            remedy = 'Write it as it stands in the file: nulls=["n/a"].'
            yield Fault(f"{where}, data, nulls", "a text", quote(spelling), remedy)
    separator = source.data.separator
    if not isinstance(separator, str) or len(separator.encode()) != 1 or separator in '"\r\n':
        remedy = 'Write the one that stands between the columns: separator=";".'
        yield Fault(f"{where}, data, separator", "one plain character", quote(separator), remedy)
    yield from _times_faults(f"{where}, data, times", source)


def _times_faults(where: str, source: Source) -> Iterator[Fault]:
    """Yield what is wrong with how the times of CSV files are said to be written."""
    times = source.data.times if isinstance(source.data, Files) else None
    dated = [name for name, kind in known_fields(source).items() if kind is datetime]
    for name in times if isinstance(times, Mapping) else ():
        if name not in dated:
            yield Fault(
                where, f"fields that are times ({', '.join(dated) or 'none'})", quote(name), "Name one of them."
            )
    for written in times.values() if isinstance(times, Mapping) else () if times is None else (times,):
        if not isinstance(written, str) or not _tells_a_day(written):
            remedy = 'Write all its parts, such as "%d/%m/%Y %H:%M"; leave it out for ISO 8601.'
            yield Fault(
                where, "a format of chrono that tells a day, and all of the time or none", quote(written), remedy
            )


_DAY = datetime(2026, 11, 23, tzinfo=UTC)


def _tells_a_day(written: str) -> bool:
    """Say whether a day that is written in a format can be read again."""
    try:
        # An offset that may be shorter is one that is only read.
        text = pl.Series([_DAY]).dt.strftime(written.replace("%#z", "%z"))
        return bool(text.str.to_datetime(written, time_unit="us", time_zone="UTC").item() == _DAY)
    except pl.exceptions.PolarsError:
        return False


def _query_faults(where: str, query: Query) -> Iterator[Fault]:
    if not isinstance(query.text, str) or not query.text.strip():
        remedy = 'Write it: ck.sql("select … from orders", url="${WAREHOUSE_URL}").'
        yield Fault(where, "a query", quote(query.text), remedy)
    if not isinstance(query.url, str) or not query.url.strip():
        remedy = 'Name the variable that holds it: url="${WAREHOUSE_URL}", or write url="sqlite:///data/orders.db".'
        yield Fault(f"{where}, url", "the address of a database", quote(query.url), remedy)
    elif written_secrets(query.url):
        remedy = "Take it out, change it, and name an environment variable in its place: ${WAREHOUSE_PASSWORD}."
        yield Fault(f"{where}, url", "no password written out", "one", remedy)
    elif "://" not in query.url and not VARIABLE.search(query.url):
        remedy = 'Write it as SQLAlchemy does: "postgresql://user:${PASSWORD}@host/database", or "${WAREHOUSE_URL}".'
        yield Fault(f"{where}, url", "the address of a database, or a ${VARIABLE}", quote(query.url), remedy)


def _time_faults(where: str, source: Source, fields: dict[str, FieldType]) -> Iterator[Fault]:
    if source.static and (source.time is not None or source.known is not None):
        remedy = "Leave out static=True to keep the times, or leave out the times."
        yield Fault(f"{where}, static", "either times or static=True", "both", remedy)
        return
    if not source.static and source.time is None:
        remedy = 'Name its time column (time="…"), or say static=True when its rows were known since always.'
        yield Fault(f"{where}, time", "an event time, or static=True", "neither", remedy)
    if source.lag is not None:
        yield from duration_faults(f"{where}, lag", source.lag)
        if source.static:
            yield Fault(f"{where}, lag", "a source with time", "a static one", "Leave out lag= or static=True.")
    for parameter, column in (("time", source.time), ("known", source.known)):
        known_when_it_happened = parameter == "known" and source.known is source.time
        if column is not None and not known_when_it_happened:
            yield from column_faults(f"{where}, {parameter}", column, fields, source.name, (datetime,))
