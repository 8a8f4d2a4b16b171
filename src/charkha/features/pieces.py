"""The rows of a source in pieces that are not read yet: a piece per batch, then what was pushed.

So that a column can be read without the others, and some of its rows fetched by their place among all.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from attrs import frozen

from charkha.features.batches import Batch
from charkha.features.newest import NOBODY
from charkha.features.rows import checked_batches, pushed_rows
from charkha.features.segments import IntArray
from charkha.spec.fields import polars_schema
from charkha.spec.sources import Source
from charkha.storage.log import Log

EVENT, KNOWN = "_event_us", "_known_us"


@frozen(eq=False)
class Piece:
    """Some rows. frame: as they lie. height: how many. fields: how each field, and the two times, come of it.

    batch: where they lie, None for what was pushed.
    """

    frame: pl.LazyFrame
    height: int
    fields: Mapping[str, pl.Expr]
    batch: Batch | None = None

    def read(self, names: Sequence[str]) -> pl.DataFrame:
        """Return some fields of all rows. Raises DataError."""
        return self._collected(self.frame.select(**{name: self.fields[name] for name in names}))

    def fetch(self, name: str, places: pl.Series) -> pl.Series:
        """Return a field of some rows; null where a place is null. Only that field is read. Raises DataError.

        Numbers are cast afterwards, when they are few. Text is cast before: how a time is written is told by all rows.
        """
        roots = list(dict.fromkeys(self.fields[name].meta.root_names()))
        if not roots:  # the times of a static source: the same for all rows
            return pl.select(self.fields[name].repeat_by(len(places)).explode().alias(name)).to_series()
        rows = self._collected(self.frame.select(roots))
        if not all(kind.is_numeric() for kind in rows.dtypes):
            return self._collected(rows.lazy().select(self.fields[name].alias(name))).to_series().gather(places)
        gathered = rows.select(pl.all().gather(places))
        return self._collected(gathered.lazy().select(self.fields[name].alias(name))).to_series()

    def _collected(self, frame: pl.LazyFrame) -> pl.DataFrame:
        try:
            return frame.collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            if self.batch is None:
                raise
            raise self.batch.unreadable(error) from error


def pieces_of(source: Source, root: Path, log: Log | None = None) -> list[Piece]:
    """Return the rows of a source: batches in the order of their names, then what was pushed.

    Repetitions are there, and rows without an event time. Raises DataError.
    """
    pieces: list[Piece] = []
    if source.data is not None:
        for batch in checked_batches(source, root, log):
            frame, declared = batch.scan()
            height = frame.select(pl.len()).collect().item()
            pieces.append(Piece(frame, height, {**declared, **_times(source, declared)}, batch))
    if log is not None:
        pushed = pushed_rows(source, log)
        names = (*polars_schema(source.fields), EVENT, KNOWN)
        pieces.append(Piece(pushed.lazy(), pushed.height, {name: pl.col(name) for name in names}))
    return pieces


def fetched(pieces: Sequence[Piece], name: str, places: IntArray) -> pl.Series:
    """Return a field of the rows at some places among all rows; null at NOBODY. places: int64 (k,), in any order."""
    offset, parts, owners = 0, [], []
    for piece in pieces:
        owned = np.flatnonzero((places >= offset) & (places < offset + piece.height))
        if len(owned) == len(places):
            return piece.fetch(name, pl.Series(places - offset))
        if len(owned):
            parts.append(piece.fetch(name, pl.Series(places[owned] - offset)))
            owners.append(owned)
        offset += piece.height
    if not parts:
        return pl.Series(name, [None] * len(places), dtype=pl.Null())
    where = np.full(len(places), NOBODY)
    where[np.concatenate(owners)] = np.arange(sum(map(len, owners)))
    return pl.concat(parts).gather(pl.Series(where).set(pl.Series(where == NOBODY), None))


def _times(source: Source, declared: Mapping[str, pl.Expr]) -> dict[str, pl.Expr]:
    if source.time is None or source.known is None:
        return {EVENT: pl.lit(0, pl.Int64), KNOWN: pl.lit(0, pl.Int64)}
    return {EVENT: declared[source.time].dt.epoch("us"), KNOWN: declared[source.known].dt.epoch("us")}
