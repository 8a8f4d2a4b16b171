"""A source of any size: its rows are read once, some at a time, and cut into buckets of the keys that are asked for.

Two cuts where rows have a key of their own: by that key, where repetitions and corrections are told apart, for a
correction may move a row to another entity; then by the entity's keys, where the kernel joins bucket after bucket.
Nothing in memory grows with the source, only with the rows of one key.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl
from attrs import frozen

from charkha.engines.engine import Engine
from charkha.features.buckets import Buckets
from charkha.features.declared import DataError
from charkha.features.offline import joined_in_buckets
from charkha.features.pieced import Pieced
from charkha.features.pieces import EVENT, KNOWN, Piece
from charkha.features.rows import refuse_null_keys
from charkha.features.state import columns_of
from charkha.features.versions import pushed_from, told_apart
from charkha.spec.fields import polars_schema
from charkha.spec.sources import Source
from charkha.spec.views import FeatureView

_PLACE, _CONTENT, _FIRST = "_place", "_content", "_first"
_STAMPS = {EVENT: pl.Int64(), KNOWN: pl.Int64(), _PLACE: pl.Int64()}
# Of how many columns a row is one row of a bucket's size; wider ones count for more.
_COLUMNS = 8

Doing = Callable[[str], None]
Keys = tuple[str, ...]


@frozen(eq=False)
class Spilled:
    """A source whose rows lie in buckets, for each of the entities that are asked for by their keys."""

    source: Source
    pieces: Sequence[Piece]
    buckets: Mapping[Keys, Buckets]
    engine: Engine

    @classmethod
    def of(
        cls,
        source: Source,
        pieces: Sequence[Piece],
        views: Iterable[FeatureView],
        folder: Path,
        *,
        engine: Engine,
        bucket_rows: int,
        doing: Doing,
    ) -> "Spilled":
        """Read a source once and cut its rows. views: those that will be joined. folder: for the buckets.

        engine: what joins the rows of a bucket. bucket_rows: about how many rows a bucket has. Raises DataError.
        """
        read: dict[Keys, set[str]] = {}
        for view in views:
            read.setdefault(tuple(view.entity.keys), set()).update(columns_of(view))
        every, rows = set[str]().union(*read.values()), sum(piece.height for piece in pieces)

        def cut(name: str, keys: Keys, fields: set[str], **more: pl.DataType) -> Buckets:
            columns = {field: kind for field, kind in polars_schema(source.fields).items() if field in fields}
            schema = pl.Schema({**columns, **_STAMPS, **more})
            size = rows * max(1.0, len(schema) / _COLUMNS)
            return Buckets(folder / name, keys, max(1, -int(-size // bucket_rows)), schema)

        buckets = {
            keys: cut(f"by-entity-{number}", keys, fields, **{_FIRST: pl.Boolean()})
            for number, (keys, fields) in enumerate(read.items())
        }
        told = _arrivals(source, pieces, [name for name in source.fields if source.key or name in every], doing)
        try:
            if source.key:
                by_row = cut("by-row", tuple(source.key), {*source.key, *every}, **{_CONTENT: pl.UInt64()})
                told = _versions(source, told, by_row, pushed_from(pieces, source), doing)
            for frame in told:
                for each in buckets.values():
                    each.add(frame)
        except OSError as error:
            raise DataError(
                f"source {source.name!r}: its {rows:,} rows are cut into files in {folder}, and one cannot be written: "
                f"{error}. Make room there, or choose another folder for the output"
            ) from error
        return cls(source, pieces, buckets, engine)

    def joined(self, view: FeatureView, asked: pl.DataFrame, doing: Doing) -> pl.DataFrame:
        """Return the features of a view for questions, in their order. asked: keys and `_at_us`."""
        buckets, keys = self.buckets[tuple(view.entity.keys)], list(view.entity.keys)
        questions = asked.select(*keys, "_at_us").with_row_index(_PLACE)
        names = [name for name in buckets.schema.names() if name.startswith("_") or name in columns_of(view)]
        parts: list[pl.DataFrame] = []
        for number, some in buckets.cut(questions):
            doing(f"joining {view.name}: {len(parts) + 1:,} of {buckets.count:,} buckets")
            parts.append(self._of_bucket(view, buckets.read(number, names), some))
        if not parts:
            parts.append(self._of_bucket(view, pl.DataFrame(schema=buckets.schema), questions))
        return pl.concat(parts).sort(_PLACE).drop(_PLACE)

    def _of_bucket(self, view: FeatureView, rows: pl.DataFrame, questions: pl.DataFrame) -> pl.DataFrame:
        in_order = rows[KNOWN].is_sorted() and rows[_PLACE].is_sorted()
        known = (rows if in_order else rows.sort(KNOWN, _PLACE)).drop(_PLACE)
        asked = questions.drop(_PLACE)
        return joined_in_buckets(view, known, asked, self.engine).with_columns(questions[_PLACE])

    def rows_of(self, fields: Sequence[str]) -> pl.DataFrame:
        """Return some fields of all rows, with their times and `_first`, in the order in which they became known.

        They are in memory, and so are the keys and times of all rows while they are read.
        """
        return Pieced.of(self.source, self.pieces, self.engine).rows_of(fields)

    def known_us(self) -> Iterator[pl.Series]:
        """Yield when the rows became known, µs."""
        buckets = next(iter(self.buckets.values()))
        yield from (buckets.read(number, [KNOWN])[KNOWN] for number in range(buckets.count))


def _arrivals(source: Source, pieces: Sequence[Piece], names: Sequence[str], doing: Doing) -> Iterator[pl.DataFrame]:
    """Yield the rows that happened and became known, with their place among all and, if they have a key, their content.

    Raises DataError for one without its key.
    """
    low, rows = 0, sum(piece.height for piece in pieces)
    for piece in pieces:
        for chunk in piece.chunks([*names, EVENT, KNOWN]):
            doing(f"sorting {source.name} into buckets: {low:,} of {rows:,} rows read")
            placed = chunk.with_columns(pl.int_range(low, low + chunk.height, dtype=pl.Int64).alias(_PLACE))
            low += chunk.height
            happened = placed.filter(pl.col(EVENT).is_not_null())
            if source.key:
                refuse_null_keys(happened, source)
                happened = happened.with_columns(pl.struct(list(source.fields)).hash().alias(_CONTENT))
            # A row that is never known is no answer, and comes after all versions that are.
            yield happened.filter(pl.col(KNOWN).is_not_null()).with_columns(pl.lit(value=True).alias(_FIRST))


def _versions(
    source: Source, arrived: Iterable[pl.DataFrame], by_row: Buckets, pushed_from: int, doing: Doing
) -> Iterator[pl.DataFrame]:
    """Yield the rows without repetitions, `_first` telling first versions from corrections; in no order."""
    for rows in arrived:
        by_row.add(rows)
    for number in range(by_row.count):
        doing(f"telling corrections of {source.name} apart: {number:,} of {by_row.count:,} buckets")
        rows = by_row.read(number)
        by_row.delete(number)
        several = rows.select(source.key).is_duplicated()
        yield rows.filter(~several).with_columns(pl.lit(value=True).alias(_FIRST))
        if several.any():
            yield told_apart(rows.filter(several), source.key, pushed_from).filter("_kept")
