"""A source whose keys and times fit in memory: latest values are found by them, then fetched."""

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
import polars as pl
from attrs import frozen

from charkha.engines.engine import Engine
from charkha.features.keys import key_codes
from charkha.features.newest import NOBODY, Arrivals, newest_known
from charkha.features.offline import joined_in_buckets
from charkha.features.pieces import EVENT, KNOWN, Piece, fetched
from charkha.features.segments import IntArray
from charkha.features.state import columns_of
from charkha.features.versions import Versions, versions_of
from charkha.spec.fields import polars_schema
from charkha.spec.sources import Source
from charkha.spec.views import FeatureView


@frozen(eq=False)
class Pieced:
    """A source that is being read: its pieces, and what each of its rows is."""

    source: Source
    pieces: Sequence[Piece]
    versions: Versions
    engine: Engine

    @classmethod
    def of(cls, source: Source, pieces: Sequence[Piece], engine: Engine) -> "Pieced":
        """Look through a source. engine: what joins its windows. Raises DataError."""
        return cls(source, pieces, versions_of(pieces, source), engine)

    def joined(self, view: FeatureView, asked: pl.DataFrame, doing: Callable[[str], None]) -> pl.DataFrame:
        """Return the features of a view for questions, in their order. asked: keys and `_at_us`."""
        doing(f"joining {view.name}")
        latest = self._latest_columns(view, asked) if view.latest else []
        return self._window_columns(view, asked).hstack(latest) if view.windows else pl.DataFrame(latest)

    def _latest_columns(self, view: FeatureView, asked: pl.DataFrame) -> list[pl.Series]:
        places = self._newest_places(view, asked)
        types = polars_schema(view.source.fields)
        found = fetched(self.pieces, list(view.latest), places)
        return [column.cast(types[column.name]).alias(f"{view.name}.{column.name}") for column in found]

    def _newest_places(self, view: FeatureView, asked: pl.DataFrame) -> IntArray:
        """Return the place, among all rows, of the one that answers each question."""
        keys = list(view.entity.keys)
        rows = pl.concat([piece.read([*keys, EVENT, KNOWN]) for piece in self.pieces])
        codes, asked_codes = key_codes(rows, asked, keys)
        never = (rows[EVENT].is_null() | rows[KNOWN].is_null()).to_numpy() | ~self.versions.kept
        if never.any():
            codes = np.where(never, NOBODY, codes)
        event_us, known_us = (rows[name].fill_null(0).to_numpy() for name in (EVENT, KNOWN))
        never_asked = asked["_at_us"].is_null().to_numpy()
        at_us = asked["_at_us"].fill_null(0).to_numpy()
        rows_known = Arrivals(codes, known_us, event_us)
        return newest_known(rows_known, np.where(never_asked, NOBODY, asked_codes), at_us, view.max_age_us)

    def _window_columns(self, view: FeatureView, asked: pl.DataFrame) -> pl.DataFrame:
        windows = FeatureView(view.name, view.entity, view.source, windows=view.windows)
        rows = self.rows_of(list(columns_of(windows)))
        return joined_in_buckets(windows, rows, asked.select(*view.entity.keys, "_at_us"), self.engine)

    def rows_of(self, fields: Sequence[str]) -> pl.DataFrame:
        """Return some fields of all rows, with their times and `_first`, in the order in which they became known."""
        return pl.concat(list(self._pieces_of(fields))).sort(KNOWN, nulls_last=True, maintain_order=True)

    def known_us(self) -> Iterator[pl.Series]:
        """Yield when the rows became known, µs; null for never."""
        yield from (rows[KNOWN] for rows in self._pieces_of([]))

    def _pieces_of(self, reads: Collection[str]) -> Iterator[pl.DataFrame]:
        """Yield the rows, piece by piece, with `_first`; no repetitions, none without its time. reads: the fields."""
        low, names = 0, [*(name for name in self.source.fields if name in reads), EVENT, KNOWN]
        for piece in self.pieces:
            here = slice(low, low + piece.height)
            rows = piece.read(names).with_columns(_first=pl.Series(self.versions.first[here]))
            yield rows.filter(pl.Series(self.versions.kept[here]) & rows[EVENT].is_not_null())
            low += piece.height
