"""Parts of tables that are derived from a log: what each holds is in its name, so what a name holds never changes.

The part `2013-04-01.web-0.000000000000000-000000000065536` holds, of the records of partition "web-0" from offset 0 to
65536, the rows of that day. When more records of the day are collected, a part with the same start and a later end
takes its place. A collection that is done again after a crash writes the same names, or ones that take their place: no
row is ever there twice. And a part that was read once need never be read again.
"""

import re
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import polars as pl
from attrs import frozen

from charkha.clock import to_datetime
from charkha.spec.durations import DAY_US
from charkha.storage.tables import Tables, UnknownPart

Content = TypeVar("Content")

_NAME = re.compile(r"(\d{4}-\d\d-\d\d)\.(.+)\.(\d{15})-(\d{15})")


@frozen(order=True)
class Part:
    """The rows of one day (ISO, UTC) in the records of a partition from offset `start` until `end`."""

    day: str
    partition: str
    start: int
    end: int

    @property
    def name(self) -> str:
        """The part's name in its table; names sort by day, then by place in the log."""
        return f"{self.day}.{self.partition}.{self.start:015d}-{self.end:015d}"

    def replaces(self, other: "Part") -> bool:
        """Say whether this part holds all that the other one does, and more."""
        return (self.day, self.partition, self.start) == (other.day, other.partition, other.start) and (
            self.end > other.end
        )


def parse_part(name: str) -> Part:
    """Return the part of a name. Raises ValueError for a name that no collection wrote."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"expected a part named like {Part('2013-04-01', 'web-0', 0, 65536).name!r}, got {name!r}")
    return Part(match[1], match[2], int(match[3]), int(match[4]))


def day_of(time_us: int) -> str:
    """Return the day in UTC of a time in µs since 1970, such as "2013-04-01"."""
    return to_datetime(time_us).date().isoformat()


def current(parts: Iterable[Part]) -> list[Part]:
    """Return the parts that no other one replaces, sorted."""
    newest: dict[tuple[str, str, int], Part] = {}
    for part in sorted(parts):
        newest[part.day, part.partition, part.start] = part
    return list(newest.values())


class PartReader(Generic[Content]):
    """Reads the parts of some days of a table, and remembers those of the last window it was asked for.

    read: what to make of a part once it is read, such as a choice of columns.
    """

    def __init__(self, tables: Tables, table: str, read: Callable[[pl.DataFrame], Content]) -> None:
        self._tables, self._table, self._read = tables, table, read
        self._remembered: dict[Part, Content] = {}

    def between(self, since_us: int, until_us: int) -> list[Content]:
        """Return the contents of the parts whose day has a time from `since_us` until `until_us`, by day."""
        if until_us <= since_us:
            return []
        try:
            return self._between(day_of(since_us), day_of(until_us - 1))
        except UnknownPart:  # a collection has put another part in its place since they were listed
            return self._between(day_of(since_us), day_of(until_us - 1))

    def _between(self, first_day: str, last_day: str) -> list[Content]:
        listed = (name for name in self._tables.parts(self._table) if first_day <= name[:10] <= last_day)
        wanted = current(map(parse_part, listed))
        self._remembered = {part: self._content(part) for part in wanted}
        return list(self._remembered.values())

    def _content(self, part: Part) -> Content:
        if part in self._remembered:
            return self._remembered[part]
        return self._read(self._tables.read(self._table, part.name))


def days(times_us: pl.Expr) -> pl.Expr:
    """Return the day of each time as ISO text, as in the names of parts."""
    return (times_us // DAY_US * DAY_US).cast(pl.Datetime("us")).dt.strftime("%Y-%m-%d")
