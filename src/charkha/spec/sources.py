"""Where rows come from: entities, and sources of timestamped rows about them."""

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from attrs import field, frozen

from charkha.spec.contracts import Contract
from charkha.spec.durations import parse_duration
from charkha.spec.fields import FieldType, one_or_many


@frozen
class Entity:
    """A thing that features describe, such as a card, a rider or an airport.

    name: what it is called.
    keys: the columns that identify it, the same in every source and in a request; the name itself unless given.
    """

    name: str
    keys: tuple[str, ...] = field(converter=one_or_many)

    @keys.default
    def _name_alone(self) -> tuple[str, ...]:
        return (self.name,)


VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PASSWORD = re.compile(r"://[^:/?#]*:([^@]*)@")
_PARAMETER = re.compile(r"[?&](?:\w*password|passwd|pwd|\w*token|\w*secret|\w*passphrase)=([^&]*)", re.IGNORECASE)


def written_secrets(url: str) -> list[str]:
    """Return what a database's address holds that nobody should see, unless a variable stands there in its place."""
    found = [*_PASSWORD.findall(url), *_PARAMETER.findall(url)]
    return [text for text in found if text and not VARIABLE.search(text)]


def _hidden(url: object) -> str:
    if not isinstance(url, str):
        return repr(url)
    for secret in written_secrets(url):
        url = url.replace(secret, "***")
    return repr(url)


@frozen
class Files:
    """Batch files or tables of one format; `pattern` is a path or glob, relative to the project's folder.

    nulls: the spellings of a missing value in CSV, beside an empty one. times: how times are written in CSV, a format
    for all of them or field → format; ISO 8601 where there is none. separator: what stands between the columns of CSV.
    """

    format: Literal["parquet", "csv", "arrow", "delta", "iceberg"]
    pattern: str
    nulls: tuple[str, ...] = field(default=(), converter=one_or_many)
    times: str | Mapping[str, str] | None = None
    separator: str = ","

    def format_of(self, name: str) -> str | None:
        """Return how the times of a field are written; None for ISO 8601."""
        return self.times.get(name) if isinstance(self.times, Mapping) else self.times


@frozen
class Query:
    """Rows that a query of a database gives.

    url: the database, as SQLAlchemy writes it; `${NAME}` in it is an environment variable, put in when it is read.
    """

    text: str
    url: str = field(repr=_hidden)


def parquet(pattern: str) -> Files:
    """Rows in Parquet files, such as `parquet("data/flights/*.parquet")`."""
    return Files("parquet", pattern)


def csv(
    pattern: str,
    nulls: str | Iterable[str] = (),
    times: str | Mapping[str, str] | None = None,
    separator: str = ",",
) -> Files:
    """Rows in CSV files with a header line.

    nulls: spellings of a missing value, such as `["n/a", "-"]`. times: how times are written if not in ISO 8601, such
    as `"%d/%m/%Y %H:%M"`: a format of Polars (chrono's) for all of them, or one for each field that needs it.
    separator: what stands between the columns, such as `";"` or a tab.
    """
    return Files("csv", pattern, nulls, times, separator)


def arrow(pattern: str) -> Files:
    """Rows in Arrow IPC files (Feather), such as `arrow("data/flights/*.arrow")`."""
    return Files("arrow", pattern)


def delta(folder: str) -> Files:
    """Rows in a Delta Lake table, as its newest version has them: `delta("data/orders")`. Needs the extra `lake`."""
    return Files("delta", folder)


def iceberg(folder: str) -> Files:
    """Rows in an Iceberg table, by its folder or a metadata file of it: `iceberg("data/orders")`.

    A folder is read as its newest metadata says, without a catalog. Needs the extra `lake`.
    """
    return Files("iceberg", folder)


def sql(query: str, url: str = "") -> Query:
    """Rows that a query gives, such as `sql("select * from orders", url="${WAREHOUSE_URL}")`.

    url: the database, as SQLAlchemy writes it. What is secret in it stays in environment variables: `${NAME}`, for all
    of it or a part. The path of an SQLite file is relative to the project's folder.
    """
    return Query(query, url)


@frozen
class Source:
    """Timestamped rows of one kind: rows in batches, rows pushed over HTTP, or both.

    name: what it is called in features, routes and errors.
    fields: the columns used, and their types (`str`, `int`, `float`, `bool`, `datetime`). Times without a zone are UTC.
    data: the batch files, tables or query, or None when rows are only pushed.
    time: the column with a row's event time.
    known: the column with the time from which a row was known; the event time unless given. A row whose known time is
        null never becomes known. A pushed row is known from the moment the log has it, whatever this column says.
    lag: how long after its known time a row of the data reaches the features, such as "1s"; at once unless given.
        Needed where a row was known, by its own account, at the very time of the prediction that is asked for it: a
        payment is scored before it is written. Pushed rows are known when they come, whatever this says.
    key: the columns that identify a row. Needed to push rows: it makes a repeated push harmless, and tells a
        correction (same key, other content) from a new row.
    static: True for rows without time, known since always (a table of aircraft, say). Such a table hides when its rows
        were learnt, so it must be asked for.
    contract: what the rows must keep; a batch of them that does not is not read, and a push is set aside whole.
    owner: who is paged when its rows are at fault, such as a team or its address; the model's owner unless given.
    """

    name: str
    fields: Mapping[str, FieldType]
    data: Files | Query | None = None
    time: str | None = field(default=None, kw_only=True)
    known: str | None = field(kw_only=True)
    key: tuple[str, ...] = field(default=(), converter=one_or_many, kw_only=True)
    static: bool = field(default=False, kw_only=True)
    contract: Contract | None = field(default=None, kw_only=True)
    lag: str | None = field(default=None, kw_only=True)
    owner: str | None = field(default=None, kw_only=True)

    @property
    def lag_us(self) -> int:
        """`lag` in µs."""
        return parse_duration(self.lag) if self.lag else 0

    @known.default
    def _when_it_happened(self) -> str | None:
        return self.time
