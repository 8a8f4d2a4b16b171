"""The cut of a source of any size: its rows are read once, some at a time, and lie in buckets of the keys asked for.

Two cuts where rows have a key of their own: by that key, where repetitions and corrections are told apart, for a
correction may move a row to another entity; then by the entity's keys. Nothing in memory grows with the source, only
with the rows of one key.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from attrs import frozen

from charkha.features.buckets import Buckets
from charkha.features.declared import DataError
from charkha.features.pieces import EVENT, KNOWN, Piece
from charkha.features.rows import refuse_null_keys
from charkha.features.state import columns_of
from charkha.features.versions import pushed_from, told_apart
from charkha.spec.fields import polars_schema
from charkha.spec.sources import Source
from charkha.spec.views import FeatureView

PLACE = "_place"
_CONTENT, _FIRST = "_content", "_first"
# Of how many columns a row is one row of a bucket's size; wider ones count for more.
_COLUMNS = 8

Doing = Callable[[str], None]
Keys = tuple[str, ...]


@frozen(eq=False)
class Cut:
    """The rows of a source, without repetitions, in buckets.

    buckets: by the keys of each entity; with what its views read, the times of rows, their place among all of the
    source, and `_first` as of `read_rows`. newest_us: when the newest row became known; None where there is no row.
    """

    buckets: Mapping[Keys, Buckets]
    newest_us: int | None


@frozen(eq=False)
class Cutter:
    """How sources are cut. views: by whose keys, and what they read is kept. folder: for the buckets.

    bucket_rows: about how many rows a bucket has. until_us: only rows that were known by then count; all unless given.
    last: given the last versions of all rows that have a key, some at a time, with all fields.
    """

    views: Sequence[FeatureView]
    folder: Path
    bucket_rows: int
    doing: Doing
    until_us: int | None = None
    last: Callable[[pl.DataFrame], None] | None = None

    def cut(self, source: Source, pieces: Sequence[Piece]) -> Cut:
        """Read a source once and cut its rows. Raises DataError, where files cannot be written too."""
        read: dict[Keys, set[str]] = {}
        for view in self.views:
            read.setdefault(tuple(view.entity.keys), set()).update(columns_of(view))
        every, rows, newest_us = set[str]().union(*read.values()), _height(pieces), None
        buckets = {
            keys: self._buckets(f"by-entity-{number}", keys, rows, _schema(source, fields, _first=pl.Boolean()))
            for number, (keys, fields) in enumerate(read.items())
        }
        found = self._arrivals(source, pieces, [name for name in source.fields if source.key or name in every])
        with room_for(source, rows, self.folder):
            if source.key:
                fields = {*source.key, *every} if self.last is None else {*source.fields}
                schema = _schema(source, fields, _content=pl.UInt64())
                by_row = self._buckets("by-row", tuple(source.key), rows, schema)
                found = self._versions(source, found, by_row, pushed_from(pieces, source))
            for frame in found:
                newest_us = _newest(newest_us, frame[KNOWN])
                for each in buckets.values():
                    each.add(frame)
        return Cut(buckets, newest_us)

    def _buckets(self, name: str, keys: Keys, rows: int, schema: pl.Schema) -> Buckets:
        size = rows * max(1.0, len(schema) / _COLUMNS)
        return Buckets(self.folder / name, keys, max(1, -int(-size // self.bucket_rows)), schema)

    def _arrivals(self, source: Source, pieces: Sequence[Piece], names: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield the rows that happened and became known, with their place and, if they have a key, their content.

        Raises DataError for one without its key.
        """
        low, rows = 0, _height(pieces)
        for piece in pieces:
            for chunk in piece.chunks([*names, EVENT, KNOWN]):
                self.doing(f"sorting {source.name} into buckets: {low:,} of {rows:,} rows read")
                placed = chunk.with_columns(pl.int_range(low, low + chunk.height, dtype=pl.Int64).alias(PLACE))
                low += chunk.height
                happened = placed.filter(pl.col(EVENT).is_not_null())
                if self.until_us is not None:
                    happened = happened.filter(pl.col(KNOWN) <= self.until_us)
                if source.key:
                    refuse_null_keys(happened, source)
                    happened = happened.with_columns(pl.struct(list(source.fields)).hash().alias(_CONTENT))
                # A row that is never known is no answer, and comes after all versions that are.
                yield happened.filter(pl.col(KNOWN).is_not_null()).with_columns(pl.lit(value=True).alias(_FIRST))

    def _versions(
        self, source: Source, arrived: Iterable[pl.DataFrame], by_row: Buckets, pushed_from: int
    ) -> Iterator[pl.DataFrame]:
        """Yield the rows without repetitions, `_first` telling first versions from corrections; in no order."""
        for rows in arrived:
            by_row.add(rows)
        for number in range(by_row.count):
            self.doing(f"telling corrections of {source.name} apart: {number:,} of {by_row.count:,} buckets")
            rows = by_row.read(number)
            by_row.delete(number)
            several = rows.select(source.key).is_duplicated()
            if self.last is not None:
                self.last(_last_versions(rows, several, source.key))
            yield rows.filter(~several).with_columns(pl.lit(value=True).alias(_FIRST))
            if several.any():
                yield told_apart(rows.filter(several), source.key, pushed_from).filter("_kept")


def in_order(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows of a bucket in the order in which they became known, without their place."""
    ordered = rows[KNOWN].is_sorted() and rows[PLACE].is_sorted()
    return (rows if ordered else rows.sort(KNOWN, PLACE)).drop(PLACE)


@contextmanager
def room_for(source: Source, rows: int, folder: Path) -> Iterator[None]:
    """Say in a DataError that files cannot be written which are made of a source's rows."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"source {source.name!r}: its {rows:,} rows are cut into files in {folder}, and one cannot be written: "
            f"{error}. Make room there, or choose another folder: for the output, or for temporary files (TMPDIR)"
        ) from error


def _last_versions(rows: pl.DataFrame, several: pl.Series, key: Sequence[str]) -> pl.DataFrame:
    """Return the last version of each row: repetitions of it, earlier ones too, say the same."""
    if not several.any():
        return rows
    last = rows.filter(several).sort(KNOWN, PLACE).unique(key, keep="last")
    return pl.concat([rows.filter(~several), last])


def _schema(source: Source, fields: set[str], **more: pl.DataType) -> pl.Schema:
    columns = {field: kind for field, kind in polars_schema(source.fields).items() if field in fields}
    return pl.Schema({**columns, EVENT: pl.Int64(), KNOWN: pl.Int64(), PLACE: pl.Int64(), **more})


def _newest(before_us: int | None, known_us: pl.Series) -> int | None:
    if known_us.is_empty():
        return before_us
    newest_us = int(known_us.to_numpy().max())
    return newest_us if before_us is None else max(before_us, newest_us)


def _height(pieces: Sequence[Piece]) -> int:
    return sum(piece.height for piece in pieces)
