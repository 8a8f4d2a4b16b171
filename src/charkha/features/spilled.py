"""A source of any size: cut into buckets of the keys that are asked for, in files, and joined bucket after bucket."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
from attrs import frozen

from charkha.engines.engine import Engine
from charkha.features.cutting import PLACE, Cut, Cutter, Doing, in_order
from charkha.features.offline import joined_in_buckets
from charkha.features.pieced import Pieced
from charkha.features.pieces import KNOWN, Piece
from charkha.features.state import columns_of
from charkha.spec.sources import Source
from charkha.spec.views import FeatureView


@frozen(eq=False)
class Spilled:
    """A source whose rows lie in buckets, for each of the entities that are asked for by their keys."""

    source: Source
    pieces: Sequence[Piece]
    cut: Cut
    engine: Engine

    @classmethod
    def of(
        cls,
        source: Source,
        pieces: Sequence[Piece],
        views: Sequence[FeatureView],
        folder: Path,
        *,
        engine: Engine,
        bucket_rows: int,
        doing: Doing,
    ) -> "Spilled":
        """Read a source once and cut its rows. views: those that will be joined. folder: for the buckets.

        engine: what joins the rows of a bucket. bucket_rows: about how many rows a bucket has. Raises DataError.
        """
        return cls(source, pieces, Cutter(views, folder, bucket_rows, doing).cut(source, pieces), engine)

    def joined(self, view: FeatureView, asked: pl.DataFrame, doing: Doing) -> pl.DataFrame:
        """Return the features of a view for questions, in their order. asked: keys and `_at_us`."""
        buckets, keys = self.cut.buckets[tuple(view.entity.keys)], list(view.entity.keys)
        questions = asked.select(*keys, "_at_us").with_row_index(PLACE)
        names = [name for name in buckets.schema.names() if name.startswith("_") or name in columns_of(view)]
        parts: list[pl.DataFrame] = []
        for number, some in buckets.cut(questions):
            doing(f"joining {view.name}: {len(parts) + 1:,} of {buckets.count:,} buckets")
            parts.append(self._of_bucket(view, buckets.read(number, names), some))
        if not parts:
            parts.append(self._of_bucket(view, pl.DataFrame(schema=buckets.schema), questions))
        return pl.concat(parts).sort(PLACE).drop(PLACE)

    def _of_bucket(self, view: FeatureView, rows: pl.DataFrame, questions: pl.DataFrame) -> pl.DataFrame:
        found = joined_in_buckets(view, in_order(rows), questions.drop(PLACE), self.engine)
        return found.with_columns(questions[PLACE])

    def rows_of(self, fields: Sequence[str]) -> pl.DataFrame:
        """Return some fields of all rows, with their times and `_first`, in the order in which they became known.

        They are in memory, and so are the keys and times of all rows while they are read.
        """
        return Pieced.of(self.source, self.pieces, self.engine).rows_of(fields)

    def known_us(self) -> Iterator[pl.Series]:
        """Yield when the rows became known, µs."""
        buckets = next(iter(self.cut.buckets.values()))
        yield from (buckets.read(number, [KNOWN])[KNOWN] for number in range(buckets.count))
