"""The rows of some keys of a source, found without holding all the others, unless these are few."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl
from attrs import frozen

from charkha.features.keys import key_column
from charkha.features.pieces import Piece, pieces_of, stamped_pieces
from charkha.features.reading import WHOLE_ROWS
from charkha.features.rows import known_rows
from charkha.spec.sources import Source
from charkha.storage.log import Log

# Keys that are sought: the columns of an entity, and the keys as `key_column` gives them.
Wanted = tuple[Sequence[str], pl.Series]


@frozen(eq=False)
class SoughtRows:
    """A source in which rows are sought. whole: all its rows, as of `read_rows`; None where these are too many."""

    source: Source
    pieces: Sequence[Piece]
    whole: pl.DataFrame | None

    @classmethod
    def of(cls, source: Source, root: Path, log: Log, spool: Path) -> "SoughtRows":
        """Open a source. spool: a folder for files, needed as long as this is used. Raises DataError."""
        pieces = pieces_of(source, root, log, spool / "rows")
        if sum(piece.height for piece in pieces) <= WHOLE_ROWS:
            return cls(source, pieces, known_rows(stamped_pieces(pieces, source), source))
        return cls(source, [piece.seekable(spool / f"{number:05d}.arrow") for number, piece in enumerate(pieces)], None)

    def of_keys(self, wanted: Sequence[Wanted]) -> pl.DataFrame:
        """Return the rows of which any key is wanted, as of `read_rows`. Raises DataError.

        A large source is looked through, a million rows at a time; twice where rows have a key of their own: a
        correction may have moved a row to another entity, and which version is the first is told by all of them.
        """
        if self.whole is not None:
            return self.whole.filter(has_any(self.whole, wanted))
        found = stamped_pieces(self.pieces, self.source, lambda rows: rows.filter(has_any(rows, wanted)))
        if self.source.key:
            keys = found.select(self.source.key).unique()
            found = stamped_pieces(self.pieces, self.source, lambda rows: rows.join(keys, on=keys.columns, how="semi"))
        versions = known_rows(found, self.source)
        return versions.filter(has_any(versions, wanted))


def has_any(rows: pl.DataFrame, wanted: Iterable[Wanted]) -> pl.Series:
    """Say of each row whether any of its keys is wanted."""
    found = pl.repeat(value=False, n=rows.height, eager=True)
    for columns, keys in wanted:
        found |= key_column(rows, columns).is_in(keys.implode()).fill_null(value=False)
    return found
