"""The rows of a source in pieces that are not read yet: a piece per run of batches, then what was pushed.

So that columns can be read without the others, some of its rows fetched by their place among all, and all of them
read some at a time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from attrs import evolve, frozen

from charkha.features.batches import Batch
from charkha.features.newest import NOBODY
from charkha.features.rows import checked_batches, pushed_frames, stamped
from charkha.features.runs import runs_of, unreadable
from charkha.features.segments import IntArray
from charkha.features.spool import spooled
from charkha.spec.fields import polars_schema
from charkha.spec.sources import Query, Source
from charkha.storage.log import Log

EVENT, KNOWN = "_event_us", "_known_us"
# At most so many rows, and so many values, are read at a time.
_MOST_ROWS, _MOST_VALUES = 1 << 20, 1 << 23
# So many files that lie alike are one piece.
MOST_FILES = 256


@frozen(eq=False)
class Piece:
    """Some rows. frame: as they lie. height: how many. fields: how each field, and the two times, come of it.

    batches: where they lie, none for what was pushed. seeks: rows in the midst can be read without those before them.
    """

    frame: pl.LazyFrame
    height: int
    fields: Mapping[str, pl.Expr]
    batches: Sequence[Batch] = ()
    seeks: bool = True

    def read(self, names: Sequence[str]) -> pl.DataFrame:
        """Return some fields of all rows. Raises DataError."""
        return self._collected(self.frame.select(**{name: self.fields[name] for name in names}))

    def fetch(self, names: Sequence[str], places: pl.Series) -> pl.DataFrame:
        """Return some fields of some rows; null where a place is null. Only those are read. Raises DataError.

        They are read of all rows: what cannot be taken is found whichever rows are wanted.
        """
        at_once = max(1, _MOST_VALUES // max(1, self.height))
        read = [name for name in names if self.fields[name].meta.root_names()]
        found = [
            column.gather(places)
            for low in range(0, len(read), at_once)
            for column in self.read(read[low : low + at_once])
        ]
        # The times of a static source: the same for all rows.
        same = {name: self.fields[name].repeat_by(len(places)).explode() for name in names if name not in read}
        return pl.DataFrame(found).with_columns(**same).select(names)

    def chunks(self, names: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield some fields of all rows, some rows at a time. Raises DataError."""
        fields = {name: self.fields[name] for name in names}
        roots = list(dict.fromkeys(root for field in fields.values() for root in field.meta.root_names()))
        at_once = min(_MOST_ROWS, max(1, _MOST_VALUES // max(1, len(roots))))
        for low in range(0, self.height, at_once):
            rows = self._collected(self.frame.select(roots).slice(low, at_once))
            yield self._collected(rows.lazy().select(**fields))

    def seekable(self, path: Path) -> "Piece":
        """Return the same rows in a form that seeks: as declared in a file, which is made, unless they do already."""
        if self.seeks:
            return self
        path.parent.mkdir(parents=True, exist_ok=True)
        self._collected(self.frame.select(**self.fields).sink_ipc(path, compression="lz4", lazy=True))
        return evolve(self, frame=pl.scan_ipc(path), fields={name: pl.col(name) for name in self.fields}, seeks=True)

    def _collected(self, frame: pl.LazyFrame) -> pl.DataFrame:
        try:
            return frame.collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            if not self.batches:
                raise
            raise unreadable(self.batches, error) from error


def pieces_of(source: Source, root: Path, log: Log | None, spool: Path, most_files: int = MOST_FILES) -> list[Piece]:
    """Return the rows of a source: batches in the order of their names, then what was pushed.

    Repetitions are there, and rows without an event time. spool: a folder that is made for what a query gives and what
    was pushed, where that is much; it is read as long as the pieces are. most_files: of one piece. Raises DataError.
    """
    pieces: list[Piece] = []
    if source.data is not None:
        seeks = isinstance(source.data, Query) or source.data.format in ("parquet", "arrow")
        for run in runs_of(source, root, checked_batches(source, root, log, spool), most_files):
            height = run.frame.select(pl.len()).collect().item()
            fields = {**run.declared, **_times(source, run.declared)}
            pieces.append(Piece(run.frame, height, fields, run.batches, seeks))
    if log is not None:
        pushed = spooled(pushed_frames(source, log), spool / "pushed")
        names = (*polars_schema(source.fields), EVENT, KNOWN)
        height = pushed.select(pl.len()).collect().item()
        pieces.append(Piece(pushed, height, {name: pl.col(name) for name in names}))
    return pieces


def stamped_pieces(
    pieces: Sequence[Piece], source: Source, chosen: Callable[[pl.DataFrame], pl.DataFrame] = lambda rows: rows
) -> pl.DataFrame:
    """Return the rows that happened, as of `stamped_rows`. chosen: given some rows at a time, returns those to keep."""
    fields = polars_schema(source.fields)
    frames = [pl.DataFrame(schema={**fields, EVENT: pl.Int64(), KNOWN: pl.Int64(), "_pushed": pl.Boolean()})]
    for piece in pieces:
        for rows in piece.chunks([*fields] if piece.batches else [*fields, EVENT, KNOWN]):
            # Times in text are read once.
            happened = stamped(rows, source) if piece.batches else rows.filter(pl.col(EVENT).is_not_null())
            frames.append(chosen(happened).with_columns(_pushed=pl.lit(not piece.batches)))
    return pl.concat(frames)


def fetched(pieces: Sequence[Piece], names: Sequence[str], places: IntArray) -> pl.DataFrame:
    """Return some fields of the rows at some places among all rows; null at NOBODY.

    places: int64 (k,), in any order. Without any row the columns are of type Null.
    """
    ends = np.cumsum([piece.height for piece in pieces])
    there = np.flatnonzero(places != NOBODY)
    owners = np.searchsorted(ends, places[there], side="right")
    in_pieces = np.argsort(owners, kind="stable")
    there, bounds = there[in_pieces], np.searchsorted(owners[in_pieces], np.arange(len(pieces) + 1))
    parts = []
    for piece, end, low, high in zip(pieces, ends, bounds, bounds[1:], strict=False):
        if high > low:
            parts.append(piece.fetch(names, pl.Series(places[there[low:high]] - (end - piece.height))))
    if not parts:
        return pl.DataFrame({name: pl.Series([None] * len(places), dtype=pl.Null()) for name in names})
    where = np.full(len(places), NOBODY)
    where[there] = np.arange(len(there))
    from_parts = pl.Series(where).set(pl.Series(where == NOBODY), None)
    return pl.DataFrame([column.gather(from_parts) for column in pl.concat(parts)])


def _times(source: Source, declared: Mapping[str, pl.Expr]) -> dict[str, pl.Expr]:
    if source.time is None or source.known is None:
        return {EVENT: pl.lit(0, pl.Int64), KNOWN: pl.lit(0, pl.Int64)}
    return {EVENT: declared[source.time].dt.epoch("us"), KNOWN: declared[source.known].dt.epoch("us") + source.lag_us}
