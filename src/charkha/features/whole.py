"""A source that fits in memory with all its columns: read once, and joined bucket after bucket of keys."""

from collections.abc import Callable, Iterator, Sequence

import polars as pl
from attrs import frozen

from charkha.engines.engine import Engine
from charkha.features.filters import with_filters
from charkha.features.offline import joined_in_buckets
from charkha.features.pieces import EVENT, KNOWN, Piece, stamped_pieces
from charkha.features.rows import known_rows
from charkha.spec.sources import Source
from charkha.spec.views import FeatureView


@frozen(eq=False)
class Whole:
    """The rows of a source, as of `known_rows`, with the filters of the views that will be joined."""

    rows: pl.DataFrame
    engine: Engine

    @classmethod
    def of(cls, source: Source, pieces: Sequence[Piece], views: Sequence[FeatureView], engine: Engine) -> "Whole":
        """Read a source. Raises DataError."""
        return cls(with_filters(known_rows(stamped_pieces(pieces, source), source), views), engine)

    def joined(self, view: FeatureView, asked: pl.DataFrame, doing: Callable[[str], None]) -> pl.DataFrame:
        """Return the features of a view for questions, in their order. asked: keys and `_at_us`."""
        doing(f"joining {view.name}")
        return joined_in_buckets(view, self.rows, asked, self.engine)

    def rows_of(self, fields: Sequence[str]) -> pl.DataFrame:
        """Return some fields of all rows, with their times and `_first`, in the order in which they became known."""
        return self.rows.select(*fields, EVENT, KNOWN, "_first")

    def known_us(self) -> Iterator[pl.Series]:
        """Yield when the rows became known, µs; null for never."""
        yield self.rows[KNOWN]
